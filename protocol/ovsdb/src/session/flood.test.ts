// A peer that sends more than is asked for costs a slice of time after the other, not all at once.
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";

import { OvsdbSession } from "./session.ts";

const cleanups: (() => void)[] = [];
afterEach(() => { for (const cleanup of cleanups.splice(0)) cleanup(); });

test("a flood is taken in slices, in order, and beyond its rate it waits in the peer", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const session = new OvsdbSession(connect((server.address() as AddressInfo).port, "127.0.0.1"), { rate: { messages: 20_000, messageBurst: 500, bytes: 1e9, byteBurst: 1e9 } });
  const peer = await accepted;
  cleanups.push(() => { void session.close(); peer.destroy(); server.close(); });
  const seen: unknown[] = [];
  let throttled = 0;
  session.on("throttled", () => throttled++);
  const all = new Promise<void>((resolve) => session.on("notification", (_, [n]) => { seen.push(n); if (seen.length === 2000) resolve(); }));
  peer.write(Array.from({ length: 2000 }, (_, n) => JSON.stringify({ method: "noise", params: [n], id: null })).join(""));
  await all;
  expect(seen).toEqual(Array.from({ length: 2000 }, (_, n) => n));
  expect(session.slices).toBeGreaterThanOrEqual(2000 / 64);
  expect(throttled).toBeGreaterThan(0);
  expect(session.open).toBe(true);
});
