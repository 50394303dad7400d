// Answers in parts of one buffer, over real connections.
import { once } from "node:events";
import { createServer, get, request, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { sendAll } from "./send.ts";

let server: Server | undefined;
afterEach(() => void server?.close());

const PART = 64 << 10;
const made = { parts: 0, ended: false, errors: [] as string[] };

/** One buffer for all parts: each is filled with its number. */
async function* numbered(count: number, failAt = Infinity): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(PART);
  try {
    for (let i = 0; i < count; i++) {
      if (i === failAt) throw new Error("no more");
      buffer.fill(i % 251);
      made.parts++;
      yield buffer;
      await Promise.resolve();
    }
  } finally {
    made.ended = true;
  }
}

async function serve(count: number, failAt?: number): Promise<number> {
  Object.assign(made, { parts: 0, ended: false, errors: [] });
  server = createServer((_, response) => void sendAll(response, "text/x", numbered(count, failAt), (error) => made.errors.push(error.message)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((done) => setTimeout(done, 5));
}

it("sends each part as it was, though all are one buffer", async () => {
  const port = await serve(100);
  const [response] = (await once(get({ port, host: "127.0.0.1" }), "response")) as [IncomingMessage];
  let at = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) for (const byte of chunk) if (byte !== Math.floor(at++ / PART) % 251) throw new Error(`byte ${at - 1} is ${byte}`);
  expect([at, response.headers["content-type"], made.ended]).toEqual([100 * PART, "text/x", true]);
});

it("makes no more than is read, and ends when nobody reads any more", async () => {
  const port = await serve(100_000);
  const [response] = (await once(get({ port, host: "127.0.0.1" }), "response")) as [IncomingMessage];
  response.pause();
  // It stops at what the kernel holds, and stays there.
  let last = -1;
  while (last !== made.parts) {
    last = made.parts;
    await new Promise((done) => setTimeout(done, 200));
  }
  expect(made.parts).toBeLessThan(1_000);
  expect(made.ended).toBe(false);
  response.destroy();
  await until(() => made.ended);
  expect(made.errors).toHaveLength(1);
});

it("a HEAD has no parts; what breaks off is no whole answer", async () => {
  let port = await serve(10);
  const [head] = (await once(request({ port, host: "127.0.0.1", method: "HEAD" }).end(), "response")) as [IncomingMessage];
  head.resume();
  await once(head, "end");
  expect([head.statusCode, made.parts]).toEqual([200, 0]);
  server!.close();
  port = await serve(10, 5);
  const [broken] = (await once(get({ port, host: "127.0.0.1" }), "response")) as [IncomingMessage];
  broken.on("error", () => undefined).resume();
  await new Promise((done) => broken.on("close", done));
  expect([broken.complete, made.errors]).toEqual([false, ["no more"]]);
});
