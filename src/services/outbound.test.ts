// Outbound requests against a real HTTP server on loopback.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { SimulatedClock, machineClock } from "../lib/clock.ts";
import { Outbound } from "./outbound.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handle);
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
const until = async (what: () => boolean): Promise<void> => {
  while (!what()) await new Promise((done) => setTimeout(done, 5));
};
const code = (promise: Promise<unknown>): Promise<string> => promise.then(() => "answered", (error: unknown) => (error as { code: string }).code);

describe("an outbound request", () => {
  it("sends method, headers and body, and gives any status, redirects too", async () => {
    const url = await serve((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (c: Buffer) => chunks.push(c));
      request.on("end", () => response.writeHead(request.url === "/moved" ? 302 : 418, { location: "/", "x-kind": "tea" }).end(`${request.method} ${String(request.headers["x-a"])} ${Buffer.concat(chunks).toString()}`));
    });
    const outbound = new Outbound(machineClock);
    const answer = await outbound.fetch(`${url}/pot`, { method: "POST", headers: { "x-a": "1" }, body: "hello" });
    expect({ ...answer, body: answer.body.toString(), headers: answer.headers["x-kind"] }).toEqual({ status: 418, headers: "tea", body: "POST 1 hello" });
    expect((await outbound.fetch(`${url}/moved`)).status).toBe(302);
  });

  it.each([["limitBytes", NaN], ["limitBytes", Infinity], ["limitBytes", -1], ["timeoutMs", NaN], ["timeoutMs", Infinity], ["timeoutMs", 0]])("is refused without a limit: %s %s", async (name, value) => {
    const outbound = new Outbound(machineClock);
    const refusal = outbound.fetch(await serve((_, response) => response.end("x".repeat(2 << 20))), { [name]: value });
    await expect(refusal).rejects.toMatchObject({ code: "INVALID", message: expect.stringContaining(name) as string });
  });

  it("ends after its time, also in the middle of the answer", async () => {
    const clock = new SimulatedClock();
    let asked = 0;
    const url = await serve((request, response) => {
      asked++;
      if (request.url === "/half") response.writeHead(200).write("half");
    });
    const outbound = new Outbound(clock);
    const ends = [code(outbound.fetch(`${url}/never`, { timeoutMs: 500 })), code(outbound.fetch(`${url}/half`, { timeoutMs: 500 }))];
    await until(() => asked === 2);
    clock.advance(500);
    expect(await Promise.all(ends)).toEqual(["TIMEOUT", "TIMEOUT"]);
    expect(clock.pending).toBe(0);
  });

  it("takes no more bytes than it may", async () => {
    const url = await serve((_, response) => void response.writeHead(200).end(Buffer.alloc(5000)));
    const outbound = new Outbound(machineClock);
    expect(await code(outbound.fetch(url, { limitBytes: 4999 }))).toBe("TOO_LARGE");
    expect((await outbound.fetch(url, { limitBytes: 5000 })).body).toHaveLength(5000);
  });

  it("is one of few: the others wait, and what is too much is refused", async () => {
    const open: ServerResponse[] = [];
    let most = 0;
    const url = await serve((_, response) => void (most = Math.max(most, open.push(response))));
    const clock = new SimulatedClock();
    const outbound = new Outbound(clock, undefined, { concurrency: 2, queue: 3 });
    const calls = Array.from({ length: 6 }, () => code(outbound.fetch(url)));
    expect(await calls[5]).toBe("QUEUE_FULL");
    for (let n = 0; n < 5; n++) {
      await until(() => open.length > 0);
      open.shift()!.end("x");
    }
    expect(await Promise.all(calls.slice(0, 5))).toEqual(Array.from({ length: 5 }, () => "answered"));
    expect(most).toBeLessThanOrEqual(2);
    expect(clock.pending).toBe(0);
  });

  it("that waits may time out, and takes nobody's turn with it", async () => {
    const open: ServerResponse[] = [];
    const url = await serve((_, response) => void open.push(response));
    const clock = new SimulatedClock();
    const outbound = new Outbound(clock, undefined, { concurrency: 1, queue: 5 });
    const first = code(outbound.fetch(url, { timeoutMs: 10_000 }));
    const second = code(outbound.fetch(url, { timeoutMs: 100 }));
    const third = code(outbound.fetch(url, { timeoutMs: 10_000 }));
    await until(() => open.length === 1);
    clock.advance(200);
    expect(await second).toBe("TIMEOUT");
    open.shift()!.end();
    expect(await first).toBe("answered");
    await until(() => open.length === 1);
    open.shift()!.end();
    expect(await third).toBe("answered");
  });

  it("fails when nobody is there, or the URL is none", async () => {
    const outbound = new Outbound(machineClock);
    expect(await code(outbound.fetch("http://127.0.0.1:1/"))).toBe("UNREACHABLE");
    for (const url of ["", "127.0.0.1", "file:///etc/passwd", "ftp://127.0.0.1/"]) expect(await code(outbound.fetch(url))).toBe("INVALID");
  });

  it("ends with the service, and none begins after", async () => {
    let asked = 0;
    const url = await serve(() => (asked += 1));
    const clock = new SimulatedClock();
    const outbound = new Outbound(clock, undefined, { concurrency: 1 });
    const calls = [code(outbound.fetch(url)), code(outbound.fetch(url))];
    await until(() => asked === 1);
    outbound.stop();
    expect(await Promise.all(calls)).toEqual(["STOPPED", "STOPPED"]);
    expect(await code(outbound.fetch(url))).toBe("STOPPED");
    expect(clock.pending).toBe(0);
  });
});
