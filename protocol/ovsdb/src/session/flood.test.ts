// A peer that sends more than is asked for costs a slice of time after the other, not all at once.
import { Duplex } from "node:stream";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";

import { Replica } from "../replica/replica.ts";
import type { SessionOptions } from "./options.ts";
import type { RowChange } from "./rows.ts";
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

const SCHEMA = {
  name: "D", version: "1.0.0",
  tables: { T: { columns: { name: { type: "string" }, others: { type: { key: "string", min: 0, max: "unlimited" } } } } },
};
const uuidOf = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;

/** A session that follows a table, and what its server sends once it was asked for rows. */
async function following(options: SessionOptions, answer: (monitor: string) => readonly string[]): Promise<{ session: OvsdbSession; replica: Replica; attached: Promise<unknown> }> {
  const server = createServer((peer) => {
    cleanups.push(() => peer.destroy());
    peer.on("error", () => undefined);
    peer.on("data", (chunk: Buffer) => {
      const { method, params, id } = JSON.parse(chunk.toString()) as { method: string; params: unknown[]; id: unknown };
      if (method === "get_schema") peer.write(JSON.stringify({ id, result: SCHEMA, error: null }));
      else for (const text of answer(params[1] as string)) peer.write(text.replace('"ID"', String(id)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const session = new OvsdbSession(connect((server.address() as AddressInfo).port, "127.0.0.1"), options);
  cleanups.push(() => { void session.close(); server.close(); });
  const replica = new Replica("D", { T: ["name", "others"] }, { methods: ["monitor_cond"] });
  return { session, replica, attached: replica.attach(session) };
}

test("a long answer is read and its rows are taken in slices; what comes behind it waits", async () => {
  const rows = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [uuidOf(n), { initial: { name: `n${n}`, others: ["set", ["a", "b", "c"]] } }]));
  const { session, replica, attached } = await following({}, (monitor) => [
    `{"id":"ID","error":null,"result":${JSON.stringify({ T: rows })}}`,
    JSON.stringify({ id: null, method: "update2", params: [monitor, { T: { [uuidOf(1)]: { modify: { name: "changed" } } } }] }),
  ]);
  const changed = new Promise<readonly RowChange[]>((resolve) => replica.on("change", (changes) => { if (changes.length === 1) resolve(changes); }));
  await attached;
  expect((await changed)[0]).toMatchObject({ old: { name: "n1" }, new: { name: "changed" } });
  expect(replica.table("T").size).toBe(10_000);
  // A million bytes of JSON, and 50,000 atoms.
  expect(session.slices).toBeGreaterThan(1_000_000 / 65_536 + 50_000 / 4200);
});

test.each([
  ["too many elements", { maxElements: 5000 }, { T: Object.fromEntries(Array.from({ length: 6000 }, (_, n) => [uuidOf(n), { initial: { name: "n" } }])) }, "too much"],
  ["too many values", { maxValues: 20_000 }, { T: Object.fromEntries(Array.from({ length: 8000 }, (_, n) => [uuidOf(n), { initial: { name: "n" } }])) }, "too much"],
  ["a row of a table not asked for", {}, { ["__proto__x"]: {} }, "bad update"],
])("%s end the session", async (_, options, result, code) => {
  const { session, attached } = await following(options, () => [`{"id":"ID","error":null,"result":${JSON.stringify(result)}}`]);
  const closed = new Promise<Error | undefined>((resolve) => session.on("close", resolve));
  await expect(attached).rejects.toThrow();
  expect(await closed).toMatchObject({ code });
});

test("a schema that is too long ends the session, and whoever asked for it hears of it", async () => {
  const { session, attached } = await following({ maxSchemaBytes: 100 }, () => []);
  const closed = new Promise<Error | undefined>((resolve) => session.on("close", resolve));
  await expect(attached).rejects.toThrow(/a schema of/);
  expect(await closed).toMatchObject({ code: "message too long" });
});

test("a long request is not sent back, and what takes too much room gives way", async () => {
  const echo = await following({}, () => [JSON.stringify({ id: 1, method: "echo", params: ["x".repeat(70_000)] })]);
  expect(await new Promise((resolve) => echo.session.on("close", resolve))).toMatchObject({ code: "message too long" });
  await expect(echo.attached).rejects.toThrow();
  const told: number[] = [];
  let ended = 0;
  const room = { open: (giveUp: () => void) => ({ set: (bytes: number): boolean => { told.push(bytes); if (bytes > 100_000) giveUp(); return bytes <= 100_000; }, end: () => { ended++; } }) };
  const large = await following({ room }, () => [`{"id":"ID","error":null,"result":{"T":{"x":"${"x".repeat(200_000)}`]);
  expect(await new Promise((resolve) => large.session.on("close", resolve))).toMatchObject({ name: "OvsdbConnectionError", code: "no room" });
  await expect(large.attached).rejects.toThrow();
  expect(Math.max(...told)).toBeGreaterThan(100_000);
  expect(ended).toBe(1);
});

test("a peer whose messages wait for their turn is not silent; one that says nothing is dead", async () => {
  const held: (() => void)[] = [];
  const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done: () => void) => { done(); } });
  const session = new OvsdbSession(socket, { echoIntervalMs: 10, echoTimeoutMs: 10, turns: { take: (piece) => { held.push(piece); } } });
  const closed = new Promise<Error | undefined>((resolve) => session.on("close", resolve));
  const noticed: string[] = [];
  session.on("notification", (method) => noticed.push(method));
  socket.push('{"id":null,"method":"noise","params":[]}');
  await new Promise((resolve) => setTimeout(resolve, 150));
  expect(session.open).toBe(true);
  expect(held).toHaveLength(1);
  held[0]!();
  expect(noticed).toEqual(["noise"]);
  expect(await closed).toMatchObject({ code: "dead peer" });
});
