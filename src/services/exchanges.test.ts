// What is asked over the machine's own network, by UDP and by TCP.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { machineClock } from "../lib/clock.ts";
import { framed as framedMessage, MESSAGE_MAX, Messages } from "../lib/tcp/messages.ts";
import { Exchanges, machineExchanges } from "./exchanges.ts";

const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const end of cleanup.splice(0)) end();
});
const framed = (text: string): Buffer => Buffer.concat([Buffer.from([0, text.length]), Buffer.from(text)]);

async function tcp(serve: (socket: Socket) => void): Promise<{ address: string; port: number }> {
  const server = createServer(serve).listen(0, "127.0.0.1");
  cleanup.push(() => server.close());
  await once(server, "listening");
  return { address: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

test("by UDP: one datagram, and the first that is accepted", async () => {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  cleanup.push(() => socket.close());
  socket.on("message", (data, from) => {
    for (const text of ["no", `yes ${String(data)}`]) socket.send(text, from.port, from.address);
  });
  const answer = await new Exchanges(machineClock).exchange({ address: "127.0.0.1", port: socket.address().port }, Buffer.from("x"), { accept: (data) => String(data).startsWith("yes") });
  expect(String(answer)).toBe("yes x");
});

test("by TCP: behind its length, in pieces, the first that is accepted; then the connection ends", async () => {
  let ended = false;
  const to = await tcp((socket) => {
    socket.on("close", () => (ended = true));
    socket.once("data", (data) => {
      const all = Buffer.concat([framed("no"), framed(`yes ${data.toString("latin1", 2)}`)]);
      socket.write(all.subarray(0, 5));
      setTimeout(() => socket.write(all.subarray(5)), 20);
    });
  });
  const answer = await new Exchanges(machineClock).exchange(to, Buffer.from("hello"), { overTcp: true, accept: (data) => String(data).startsWith("yes") });
  expect(String(answer)).toBe("yes hello");
  await expect.poll(() => ended).toBe(true);
});

test("what cannot be sent is refused before there is a socket, as what fits is sent whole", async () => {
  let connections = 0;
  const whole = Buffer.alloc(MESSAGE_MAX, 7);
  const to = await tcp((socket) => {
    connections++;
    const questions = new Messages();
    socket.on("data", (chunk) => {
      questions.push(chunk);
      const question = questions.next();
      if (question !== undefined) socket.write(framedMessage(question));
    });
  });
  const exchanges = new Exchanges(machineClock);
  await expect(exchanges.exchange(to, Buffer.alloc(MESSAGE_MAX + 1), { overTcp: true })).rejects.toMatchObject({ code: "INVALID", message: "a message of 65536 bytes: by TCP 65535 are the most" });
  expect(() => machineExchanges.openStream(to, Buffer.alloc(MESSAGE_MAX + 1), () => undefined, () => undefined)).toThrow(RangeError);
  for (const overTcp of [true, false]) await expect(exchanges.exchange({ ...to, port: 65_536 }, Buffer.from("x"), { overTcp })).rejects.toMatchObject({ code: "INVALID" });
  expect((await exchanges.exchange(to, whole, { overTcp: true })).equals(whole)).toBe(true);
  expect(connections).toBe(1);
});

test("by TCP: who closes, or is not there, has not answered", async () => {
  const to = await tcp((socket) => socket.end(framed("cut").subarray(0, 3)));
  await expect(new Exchanges(machineClock).exchange(to, Buffer.from("x"), { overTcp: true })).rejects.toMatchObject({ code: "UNREACHABLE", message: expect.stringContaining("closed the connection") });
  await expect(new Exchanges(machineClock).exchange({ address: "127.0.0.1", port: 1 }, Buffer.from("x"), { overTcp: true })).rejects.toMatchObject({ code: "UNREACHABLE" });
});
