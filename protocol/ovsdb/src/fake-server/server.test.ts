import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";

import { connect, listen } from "../session/connect.ts";
import { FakeOvsdbServer, type FakeServerOptions } from "./server.ts";
import { RawClient } from "../testing/compare.ts";
import { Replica } from "../replica/replica.ts";
import { stringify, type Json, type JsonObject } from "../wire/json.ts";
import { OvsdbSession } from "../session/session.ts";
import { until } from "../testing/support.ts";
import { abort, assert, insert, mutate, select, update, wait } from "../session/transact.ts";

const SCHEMA: Json = {
  name: "D", version: "1.0.0",
  tables: {
    Top: { isRoot: true, indexes: [["name"]], columns: { name: { type: "string" }, n: { type: "integer" }, parts: { type: { key: { type: "uuid", refTable: "Part" }, min: 0, max: "unlimited" } } } },
    Part: { columns: { tag: { type: { key: "integer", min: 0, max: 1 } } } },
  },
};
const PART = "00000000-0000-4000-8000-000000000001", ZERO = "00000000-0000-0000-0000-000000000000";
const ROWS = { Part: [{ _uuid: PART, tag: 7 }], Top: [{ name: "a", n: 1, parts: [PART] }] };

const servers: FakeOvsdbServer[] = [], sessions: OvsdbSession[] = [], clients: RawClient[] = [];
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close();
  for (const client of clients.splice(0)) client.close();
  for (const server of servers.splice(0)) await server.close();
});

function serve(options: FakeServerOptions = {}): FakeOvsdbServer {
  const server = new FakeOvsdbServer({ databases: [{ schema: SCHEMA, rows: ROWS }], ...options });
  servers.push(server);
  return server;
}
async function session(server: FakeOvsdbServer): Promise<OvsdbSession> {
  const { host, port } = await server.listen();
  const made = await connect({ host, port });
  sessions.push(made);
  return made;
}
async function raw(server: FakeOvsdbServer): Promise<RawClient> {
  const client = await RawClient.connect(await server.listen());
  clients.push(client);
  return client;
}
const resultOf = async (client: RawClient, method: string, params: readonly Json[]): Promise<Json> => (await client.ask(method, params)).at(-1)!["result"]!;
const names = (server: FakeOvsdbServer): unknown[] => server.rows("D", "Top").map((row) => row["name"]).sort();

describe("the test's own side", () => {
  test("rows to begin with, rows to look at", async () => {
    const server = serve();
    expect(server.rows("D", "Part")).toEqual([{ _uuid: PART, _version: expect.any(String) as unknown, tag: 7 }]);
    expect(server.rows("D", "Top")[0]).toMatchObject({ name: "a", n: 1, parts: [PART] });
    const [{ uuid } = {}] = await server.transact("D", [insert("Top", { name: "b" })]);
    expect(server.rows("D", "Top").find((row) => row._uuid === uuid)).toMatchObject({ name: "b", n: 0, parts: [] });
  });

  test("refusals are errors with the index of the operation", async () => {
    const server = serve();
    await expect(server.transact("D", [insert("Top", { name: "b" }), abort()])).rejects.toMatchObject({ code: "aborted", opIndex: 1 });
    await expect(server.transact("D", [insert("Top", { name: "a" })])).rejects.toMatchObject({ code: "constraint violation", opIndex: 1 });
    await expect(server.transact("D", [assert("l")])).rejects.toMatchObject({ code: "not owner" });
    expect(names(server)).toEqual(["a"]);
    expect(() => server.rows("D", "Nosuch")).toThrow("unknown table");
    await expect(server.transact("Nosuch", [])).rejects.toThrow("unknown database");
  });

  test("schemas and rows that would be refused are refused at once", () => {
    expect(() => new FakeOvsdbServer({ databases: [{ schema: { name: "D" } }] })).toThrow("Required 'tables' member is missing.");
    expect(() => new FakeOvsdbServer({ databases: [{ schema: SCHEMA, rows: { Top: [{ name: "a" }, { name: "a" }] } }] })).toThrow("identical values (a)");
    expect(() => new FakeOvsdbServer({ databases: [{ schema: SCHEMA }, { schema: SCHEMA }] })).toThrow("duplicate database");
  });

  test("UUIDs from the test's own source", async () => {
    let n = 0;
    const make = () => serve({ databases: [{ schema: SCHEMA }], newUuid: (purpose) => `00000000-0000-4000-8000-${purpose.length.toString(16).padStart(4, "0")}${(n++).toString(16).padStart(8, "0")}` });
    const run = async (server: FakeOvsdbServer) => {
      await server.transact("D", [insert("Top", { name: "a" })]);
      return server.rows("D", "Top");
    };
    const first = await run(make());
    n = 0;
    expect(await run(make())).toEqual(first);
  });

  test("a Unix socket, several clients, the messages of all", async () => {
    const directory = mkdtempSync(join(tmpdir(), "fake-ovsdb-")), path = join(directory, "db.sock");
    const server = serve(), seen: string[] = [];
    server.on("message", (connection, direction, message) => seen.push(`${connection} ${direction} ${typeof message["method"] === "string" ? message["method"] : "reply"}`));
    expect((await server.listen({ path })).path).toBe(path);
    for (const client of [await connect({ path }), await connect({ path })]) {
      sessions.push(client);
      expect(await client.listDbs()).toEqual(["D", "_Server"]);
    }
    expect(seen).toEqual(["0 in list_dbs", "0 out reply", "1 in list_dbs", "1 out reply"]);
    expect(server.connections).toBe(2);
    rmSync(directory, { recursive: true });
  });

  test("connects to whoever listens, as a switch does, and again when cut", async () => {
    const server = serve(), met: OvsdbSession[] = [];
    const listener = await listen({ host: "127.0.0.1", port: 0 }, (made) => met.push(made));
    const active = server.connectTo({ host: "127.0.0.1", port: listener.port }, { retryMs: 5 });
    await until(() => met.length === 1);
    expect((await met[0]!.transact("D", [select("Top", [], ["name"])]))[0]?.rows).toEqual([{ name: "a" }]);
    server.disconnectAll();
    await until(() => met.length === 2);
    expect(await met[1]!.listDbs()).toContain("D");
    active.close();
    await until(() => !met[1]!.open);
    expect(server.connections).toBe(0);
    await listener.close();
  });
});

describe("for clients", () => {
  test("a replica follows, resumes and writes", async () => {
    const server = serve({ databases: [{ schema: SCHEMA, rows: ROWS, model: "clustered" }], historyLength: 10 });
    const replica = new Replica("D", { Top: ["name", "n"] });
    const changes: string[] = [];
    replica.on("change", (list) => { for (const { old, new: row } of list) changes.push(stringify([old?.["name"] ?? null, old?.["n"] ?? null, row?.["name"] ?? null, row?.["n"] ?? null] as Json)); });
    const first = await session(server);
    await replica.attach(first);
    await replica.transact([insert("Top", { name: "b" }), update("Top", [["name", "==", "a"]], { n: 2 })]);
    await first.close();
    await server.transact("D", [mutate("Top", [["name", "==", "b"]], [["n", "+=", 5]])]);
    const replies: JsonObject[] = [];
    server.on("message", (_, direction, message) => { if (direction === "out") replies.push(message); });
    await replica.attach(await session(server));
    expect([...changes].sort()).toEqual(['["a",1,"a",2]', '["b",0,"b",5]', '[null,null,"a",1]', '[null,null,"b",0]']);
    const since = replies.map(({ result }) => result).find((result) => Array.isArray(result) && result.length === 3) as unknown as readonly Json[];
    expect([since[0], Object.keys((since[2] as JsonObject)["Top"] as JsonObject).length]).toEqual([true, 1]);
  });

  test("history has an end", async () => {
    const server = serve({ databases: [{ schema: SCHEMA, model: "clustered" }], historyLength: 2 });
    const client = await raw(server);
    const idNow = async (): Promise<Json> => (await resultOf(client, "monitor_cond_since", ["D", `m${Math.random()}`, { Top: {} }, ZERO]) as readonly Json[])[1]!;
    const ids: Json[] = [];
    for (const name of ["1", "2", "3", "4"]) {
      await server.transact("D", [insert("Top", { name })]);
      ids.push(await idNow());
    }
    const found = [];
    for (const id of ids) found.push((await resultOf(client, "monitor_cond_since", ["D", `since ${id as string}`, { Top: {} }, id]) as readonly Json[])[0]);
    expect(found).toEqual([false, false, true, true]);
    expect(new Set(ids).size).toBe(4);
  });

  test("a wait ends when its condition holds, when it is canceled, or in time", async () => {
    const server = serve(), client = await raw(server);
    const until2 = [wait("Top", [["name", "==", "a"]], ["n"], "==", [{ n: 2 }])];
    const mine = server.transact("D", until2);
    const json = { op: "wait", table: "Top", where: [["name", "==", "a"]], columns: ["n"], until: "==", rows: [{ n: 3 }] };
    client.send({ method: "transact", params: ["D", json, { op: "mutate", table: "Top", where: [], mutations: [["n", "*=", 10]] }], id: 1 });
    client.send({ method: "transact", params: ["D", json], id: 2 });
    client.send({ method: "set_db_change_aware", params: [true], id: 3 });
    await client.until(() => client.messages.length === 1);
    expect(server.waiting).toBe(3);
    client.send({ method: "cancel", params: [2], id: null });
    await client.until(() => client.messages.length === 2);
    expect(client.messages[1]).toEqual({ id: 2, error: "canceled" });
    await server.transact("D", [update("Top", [], { n: 2 })]);
    expect(await mine).toEqual([{}]);
    await server.transact("D", [update("Top", [], { n: 3 })]);
    await client.until(() => client.messages.length === 3);
    expect(client.messages[2]).toEqual({ id: 1, result: [{}, { count: 1 }], error: null });
    expect(server.rows("D", "Top")[0]).toMatchObject({ n: 30 });
    await expect(server.transact("D", [wait("Top", [], ["n"], "==", [], 10)])).rejects.toMatchObject({ code: "timed out", details: expect.stringMatching(/^"wait" timed out after \d+ ms$/) as unknown });
    expect(server.waiting).toBe(0);
  });

  test("waits of a client that has gone are forgotten", async () => {
    const server = serve(), client = await raw(server);
    client.send({ method: "transact", params: ["D", { op: "wait", table: "Top", where: [], columns: ["n"], until: "==", rows: [] }], id: 1 });
    await until(() => server.waiting === 1);
    client.close();
    await until(() => server.waiting === 0);
  });

  test("locks go from hand to hand", async () => {
    const server = serve(), a = await raw(server), b = await raw(server), c = await raw(server);
    expect(await resultOf(a, "lock", ["l"])).toEqual({ locked: true });
    expect(await resultOf(b, "lock", ["l"])).toEqual({ locked: false });
    expect(await resultOf(c, "steal", ["l"])).toEqual({ locked: true });
    await a.until(() => a.messages.length === 2);
    expect(a.messages[1]).toEqual({ id: null, method: "stolen", params: ["l"] });
    const owns = async (client: RawClient): Promise<boolean> => !JSON.stringify(await resultOf(client, "transact", ["D", { op: "assert", lock: "l" }])).includes("not owner");
    expect([await owns(a), await owns(b), await owns(c)]).toEqual([false, false, true]);
    // the owner it was stolen from is next, then whoever waited
    expect(await resultOf(c, "unlock", ["l"])).toEqual({});
    await a.until(() => a.messages.some(({ method }) => method === "locked"));
    a.close();
    await b.until(() => b.messages.some(({ method }) => method === "locked"));
    expect([await owns(b), await owns(c)]).toEqual([true, false]);
  });

  test("a conversion ends monitors, waits, and those that cannot bear it", async () => {
    const server = serve(), aware = await raw(server), unaware = await raw(server);
    await aware.ask("set_db_change_aware", [true]);
    await aware.ask("monitor", ["D", "m", { Top: {} }]);
    aware.send({ method: "transact", params: ["D", { op: "wait", table: "Top", where: [], columns: ["n"], until: "==", rows: [] }], id: "w" });
    await until(() => server.waiting === 1);
    const more = structuredClone(SCHEMA) as { tables: { Top: { columns: Record<string, Json> } } };
    more.tables.Top.columns["more"] = { type: "string" };
    server.convert("D", more);
    await until(() => unaware.closed);
    await aware.ask("echo", []);
    expect(aware.messages.slice(2)).toEqual([
      { id: "w", error: "canceled" }, { id: null, method: "monitor_canceled", params: ["m"] }, expect.anything() as unknown,
    ]);
    expect(server.rows("D", "Top")[0]).toMatchObject({ name: "a", n: 1, more: "" });
    // what does not fit leaves all as it is
    expect(() => server.convert("D", { name: "D", tables: { Top: { columns: { name: { type: "integer" } } } } })).toThrow("expected integer");
    expect(server.rows("D", "Top")[0]).toMatchObject({ more: "" });
  });
});

describe("a cluster", () => {
  test("shares its tables, and tells who leads", async () => {
    const first = serve({ databases: [{ schema: SCHEMA, model: "clustered" }] });
    const second = serve({ databases: [], join: first });
    const a = await raw(first), b = await raw(second);
    const status = async (client: RawClient): Promise<Json> => {
      const [{ rows } = {}] = await resultOf(client, "transact", ["_Server", { op: "select", table: "Database", where: [["name", "==", "D"]], columns: ["leader", "model", "connected"] }]) as unknown as { rows: Json[] }[];
      return rows![0]!;
    };
    expect([await status(a), await status(b)]).toEqual([{ leader: true, model: "clustered", connected: true }, { leader: false, model: "clustered", connected: true }]);
    await b.ask("monitor_cond", ["_Server", "s", { Database: [{ columns: ["leader"], where: [["name", "==", "D"]] }] }]);
    await b.ask("monitor", ["D", "m", { Top: [{ columns: ["name"] }] }]);
    await a.ask("transact", ["D", { op: "insert", table: "Top", row: { name: "x" } }]);
    await b.until(() => b.messages.some(({ method }) => method === "update"));

    first.setLeader(false);
    a.send({ method: "transact", params: ["D", { op: "insert", table: "Top", row: { name: "y" } }], id: "late" });
    await until(() => first.waiting === 1);
    expect(second.rows("D", "Top").map((row) => row["name"])).toEqual(["x"]);
    second.setLeader(true);
    await a.until(() => a.messages.some(({ id }) => id === "late"));
    await b.until(() => b.messages.some(({ method }) => method === "update2"));
    expect(second.rows("D", "Top").map((row) => row["name"])).toEqual(["x", "y"]);
    expect([await status(a), await status(b)]).toMatchObject([{ leader: false }, { leader: true }]);
    second.setConnected(false);
    expect(await status(b)).toMatchObject({ connected: false });
    await first.close();
    expect((await second.transact("D", [insert("Top", { name: "z" })])).length).toBe(1);
  });
});

describe("faults", () => {
  test("a transaction is refused, the next is not", async () => {
    const server = serve(), client = await session(server);
    server.faults.refuseTransaction(2, { error: "constraint violation", details: "no" });
    expect((await client.transact("D", [insert("Top", { name: "1" })])).length).toBe(1);
    await expect(client.transact("D", [insert("Top", { name: "2" })])).rejects.toMatchObject({ code: "constraint violation", details: "no", opIndex: 1 });
    expect((await client.transact("D", [insert("Top", { name: "3" })])).length).toBe(1);
    expect(names(server)).toEqual(["1", "3", "a"]);
  });

  test("the answer to a transaction never comes, though it is done", async () => {
    const server = serve(), client = await session(server);
    server.faults.dropBeforeAnswer();
    await expect(client.transact("D", [insert("Top", { name: "1" })])).rejects.toMatchObject({ code: expect.stringMatching(/^(closed by peer|unknown outcome)$/) as unknown });
    expect(names(server)).toEqual(["1", "a"]);
  });

  test("a connection is cut after any number of bytes", async () => {
    const server = serve();
    for (const n of [0, 1, 20, 39]) {
      const client = await raw(server);
      server.faults.dropAfterBytes(n);
      client.send({ method: "list_dbs", params: [], id: 1 }); // the answer has 44 bytes
      await until(() => client.closed);
      expect([client.bytes, client.messages.length]).toEqual([n, 0]);
    }
    const next = await raw(server);
    expect(await resultOf(next, "list_dbs", [])).toEqual(["D", "_Server"]);
  });

  test("slow answers keep their order", async () => {
    const server = serve(), client = await raw(server);
    server.faults.delayMs = 200;
    const had: number[] = [];
    server.on("message", (_, direction) => { if (direction === "out") had.push(client.messages.length); });
    for (let id = 0; id < 5; id++) client.send({ method: "echo", params: [id], id });
    await until(() => had.length === 5);
    expect(had).toEqual([0, 0, 0, 0, 0]);
    server.faults.clear();
    client.send({ method: "echo", params: [5], id: 5 });
    await client.until(() => client.messages.length === 6);
    expect(client.messages.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test("a server without a sign of life", async () => {
    const server = serve();
    server.faults.answersEcho = false;
    const { host, port } = await server.listen();
    const client = await connect({ host, port }, { echoIntervalMs: 20, echoTimeoutMs: 20 });
    const reason = await new Promise((resolve) => client.once("close", resolve));
    expect(reason).toMatchObject({ code: "dead peer" });
  });
});

describe("limits", () => {
  test("a message too long ends the connection", async () => {
    const server = serve({ maxMessageBytes: 1000 }), client = await raw(server);
    expect(await resultOf(client, "echo", ["x".repeat(900)])).toEqual(["x".repeat(900)]);
    client.send({ method: "echo", params: ["x".repeat(1000)], id: 1 });
    await until(() => client.closed);
    expect(client.messages.length).toBe(1);
  });

  test("what nobody reads is not kept for ever", async () => {
    const server = serve({ maxQueuedBytes: 100_000 }), client = await raw(server);
    server.faults.delayMs = 60_000;
    for (let i = 0; i < 3; i++) client.send({ method: "echo", params: ["x".repeat(60_000)], id: i });
    await until(() => client.closed);
    expect(server.connections).toBe(0);
  });

  test("a silent client is asked, and cut when it stays silent", async () => {
    const server = serve({ probeIntervalMs: 20 }), client = await raw(server);
    await until(() => client.closed);
    expect(client.messages).toEqual([{ id: "echo", method: "echo", params: [] }]);
  });

  test("bytes of any kind do no harm", async () => {
    const seed = Number(process.env["FC_SEED"] ?? (process.env["AXION_NIGHTLY"] === undefined ? 20261124 : Date.now() % 2 ** 31));
    console.log(`fake ovsdb-server, bytes of any kind: FC_SEED=${seed}`);
    const server = serve(), { host, port } = await server.listen();
    const json = fc.oneof(fc.json({ maxDepth: 4 }), fc.string(), fc.constantFrom('{"method":"transact","params":["D",{"op":"', '","id":1}', "]}", "{", '{"id":1,"method":"monitor","params":["D",1,{"Top":'));
    const method = fc.constantFrom("transact", "monitor", "monitor_cond", "monitor_cond_since", "monitor_cond_change", "monitor_cancel", "lock", "steal", "unlock", "convert", "get_schema", "set_db_change_aware", "cancel");
    const request = fc.record({ method, params: fc.array(fc.oneof(fc.constantFrom<Json>("D", "_Server", ZERO, { op: "select", table: "Top", where: [] }, { Top: [{ where: [] }] }), fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>), { maxLength: 4 }), id: fc.nat({ max: 3 }) });
    await fc.assert(fc.asyncProperty(fc.array(fc.oneof({ weight: 1, arbitrary: json }, { weight: 4, arbitrary: request.map((message) => JSON.stringify(message)) }), { maxLength: 12 }), async (texts) => {
      const client = await RawClient.connect({ host, port });
      for (const text of texts) client.write(text);
      const other = await RawClient.connect({ host, port });
      expect((await other.ask("list_dbs", [])).at(-1)!["result"]).toEqual(["D", "_Server"]);
      client.close();
      other.close();
    }), { seed, numRuns: 100 });
    expect(names(server)).toEqual(["a"]);
  });
});
