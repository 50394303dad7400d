/**
 * What other implementations said to each other, through a session: whole conversations, whatever the pieces they come in,
 * transactions, and what is no JSON-RPC at all. Values by themselves are in schema/vectors.test.ts.
 */

import { Duplex } from "node:stream";

import { describe, expect, test } from "vitest";

import { OvsdbError, OvsdbProtocolError, OvsdbValueError } from "../wire/errors.ts";
import { isArray, isObject, stringify, type Json, type JsonObject } from "../wire/json.ts";
import { Feed, monitoredTables, type MonitorMethod } from "./monitor.ts";
import { RowStore } from "./rows.ts";
import { parseSchema, type DatabaseSchema } from "../schema/schema.ts";
import { OvsdbSession } from "./session.ts";
import { conversationFiles, haveVectors, vectors } from "../testing/support.ts";
import { decodeResults, encodeOperations, type Operation } from "./transact.ts";
import { map, namedUuid, type Condition, type ConditionFunction, type InputAtom, type InputValue, type Mutation, type Mutator } from "../schema/values.ts";

// ---- conversations --------------------------------------------------------------------------------------------------

/** A socket without a network: what is written is kept, what arrives is said by the test, piece by piece. */
class TestSocket extends Duplex {
  readonly written: JsonObject[] = [];
  override _read(): void { /* the test emits */ }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written.push(JSON.parse(chunk.toString()) as JsonObject);
    done();
  }
}

interface Line { readonly conn: number; readonly dir: string; readonly json: JsonObject }

/** One connection of a recording: what the client asked, and all that the server said, in order. */
interface Recorded {
  readonly name: string;
  readonly asked: readonly JsonObject[];
  readonly said: readonly JsonObject[];
}

/** The schemas a conversation speaks of: replies to get_schema, and the text in rows of the database _Server. */
function schemasIn(json: Json | undefined, found: Map<string, DatabaseSchema>): void {
  if (isArray(json)) for (const element of json) schemasIn(element, found);
  if (!isObject(json)) return;
  for (const [name, member] of Object.entries(json)) {
    const schema = name === "schema" && typeof member === "string" ? parseSchema(JSON.parse(member) as Json)
      : name === "result" && isObject(member) && isObject(member["tables"]) ? parseSchema(member) : undefined;
    if (schema === undefined) schemasIn(member, found);
    else if (!found.has(schema.name)) found.set(schema.name, schema);
  }
}

const same = (a: Json | undefined, b: Json | undefined): boolean => stringify(a ?? null) === stringify(b ?? null);

/** Asks on a session what the client of a recording asked, and gives the server's words with the ids that this session chose. */
function replay(recorded: Recorded, schemas: ReadonlyMap<string, DatabaseSchema>): { session: OvsdbSession; socket: TestSocket; stream: Buffer; ends: number[]; log: string[]; stores: RowStore[] } {
  const socket = new TestSocket();
  const session = new OvsdbSession(socket, { echoIntervalMs: 0 });
  const log: string[] = [], stores: RowStore[] = [];
  const ids: { readonly recorded: Json; readonly ours: Json }[] = [];
  const monitors: { readonly recorded: Json; readonly ours: Json }[] = [];
  const ourMonitor = (id: Json): Json => monitors.find((one) => same(one.recorded, id))?.ours ?? id;
  const told = (what: string, json: Json | undefined): void => { log.push(`${what} ${stringify(json ?? null)}`); };
  for (const { method, params, id } of recorded.asked) {
    if (id === null || typeof method !== "string" || !isArray(params)) continue;
    const reply = recorded.said.find((message) => message["method"] === undefined && same(message["id"], id));
    if (reply === undefined) continue; // canceled
    const schema = schemas.get(params[0] as string);
    const follow = /^monitor(_cond(_since)?)?$/.test(method) && schema !== undefined && isObject(reply["result"] ?? {}) !== isArray(reply["result"]) && reply["error"] === null
      && !(isArray(reply["result"]) && reply["result"][0] === true); // rows that only an earlier connection knew
    if (follow) {
      const tables = Object.fromEntries(Object.entries(params[2] as JsonObject).map(([name, wanted]) => {
        const list = (isArray(wanted) ? wanted : [wanted]) as readonly JsonObject[];
        const columns = list.flatMap((one) => (one["columns"] as readonly string[] | undefined) ?? [...schema.tables.get(name)!.columns.keys(), "_version"]);
        return [name, { columns: columns.filter((column) => column !== "added") }];
      }));
      const store = new RowStore();
      stores.push(store);
      const feed = new Feed(session, store, {
        synced: (changes, _method, resumed) => told("synced", [changes.length, resumed]),
        changed: (changes) => told("changed", changes.map(({ table, uuid, old, new: row }) => `${old === undefined ? "+" : row === undefined ? "-" : "~"}${table} ${uuid}`)),
        lost: (reason) => told("lost", reason.code),
      }, undefined, [method as MonitorMethod]);
      feed.start(schema, monitoredTables(schema, tables), new Map()).catch((error: unknown) => told("refused", (error as { code: string }).code));
      monitors.push({ recorded: params[1]!, ours: (socket.written.at(-1)!["params"] as readonly Json[])[1]! });
    } else {
      const own = method === "monitor_cond_change" ? [ourMonitor(params[0]!), ourMonitor(params[0]!), ...params.slice(2)] : method === "monitor_cancel" ? params.map(ourMonitor) : params;
      if (method === "monitor_cond_change") monitors.push({ recorded: params[1]!, ours: ourMonitor(params[0]!) });
      session.requestSync(method, own, (found) => told(`result of ${method}`, found), (error) => told(`error of ${method}`, (error as { readonly code?: string }).code));
    }
    ids.push({ recorded: id!, ours: socket.written.at(-1)!["id"]! });
  }
  session.on("locked", (lock) => told("locked", lock));
  session.on("stolen", (lock) => told("stolen", lock));
  session.on("notification", (method, params) => told(method, params));
  session.on("close", (reason) => told("closed", (reason as OvsdbError | undefined)?.code));
  const used = new Set<Json>();
  const pieces = recorded.said.map((message) => {
    if (message["method"] === undefined) {
      // two requests may have had the same id, one after the other
      const found = ids.find((one) => same(one.recorded, message["id"]) && !used.has(one.ours));
      if (found === undefined) return undefined;
      used.add(found.ours);
      return { ...message, id: found.ours };
    }
    const params = message["params"] as readonly Json[];
    return /^(update|monitor_canceled)/.test(message["method"] as string) ? { ...message, params: [ourMonitor(params[0]!), ...params.slice(1)] } : message;
  }).filter((message) => message !== undefined).map((message) => Buffer.from(stringify(message)));
  let end = 0;
  const ends = pieces.map((piece) => (end += piece.length));
  return { session, socket, stream: Buffer.concat(pieces), ends, log, stores };
}

const rowsOf = (stores: readonly RowStore[], schemas: ReadonlyMap<string, DatabaseSchema>): string =>
  stores.map((store) => [...schemas.values()].flatMap((schema) => [...schema.tables.keys()].map((table) => [...store.table(table)].map((row) => JSON.stringify(row, (_, value: unknown) => (value instanceof Map ? [...value as Map<unknown, unknown>] : value))).join())).join()).join("|");

describe.skipIf(!haveVectors)("recorded conversations through a session", () => {
  const all = conversationFiles().map((file) => ({ file, lines: vectors(file).filter((line) => isObject(line["json"])) as unknown as Line[] }));
  const schemas = new Map<string, DatabaseSchema>();
  for (const { lines } of all) for (const { json } of lines) schemasIn(json, schemas);
  const connections: [string, Recorded][] = all.flatMap(({ file, lines }) => [...new Set(lines.map((line) => line.conn))].map((conn): [string, Recorded] => {
    const of = (dir: string): JsonObject[] => lines.filter((line) => line.conn === conn && line.dir === dir).map((line) => line.json);
    const name = `${file.split("/").at(-1)!} ${conn}`;
    return [name, { name, asked: of("client-to-server"), said: of("server-to-client") }];
  }));
  let messages = 0, updates = 0, results = 0, errors = 0;

  test.each(connections)("%s", (_, recorded) => {
    const { session, socket, stream, log, ends } = replay(recorded, schemas);
    socket.emit("data", stream);
    expect(session.open, log.at(-1)).toBe(true);
    const failed = recorded.said.filter((message) => message["error"] !== undefined && message["error"] !== null);
    expect(log.filter((line) => line.startsWith("error of")).length).toBe(failed.length);
    for (const message of failed) {
      const error = message["error"]!;
      expect(log.some((line) => line.startsWith("error of") && line.endsWith(stringify(isObject(error) ? error["error"]! : error)))).toBe(true);
    }
    messages += ends.length;
    results += log.filter((line) => line.startsWith("result of") || line.startsWith("synced")).length;
    errors += failed.length;
    updates += log.filter((line) => line.startsWith("changed")).length;
  });

  test("all were held", () => {
    expect({ connections: connections.length, messages, results, errors, updates }).toEqual({ connections: 78, messages: 307, results: 226, errors: 13, updates: 65 });
  });

  const chosen = connections.filter(([name]) => /^(scripted-(monitor-cond-and|clustered|locks|convert|monitor-cond-since)|idl-clustered|client-monitor-(root|cond-kid))/.test(name));
  // One of them soon, the others by npm run test:long.
  for (const [name, recorded] of chosen) test(`${name}: cut at every byte, and ended at every byte`, { timeout: 120_000, ...(!name.startsWith("client-monitor-root") && { tags: "long" }) }, () => {
    const whole = replay(recorded, schemas);
    whole.socket.emit("data", whole.stream);
    const rows = rowsOf(whole.stores, schemas);
    const bytes = replay(recorded, schemas);
    for (const byte of bytes.stream) bytes.socket.emit("data", Buffer.from([byte]));
    expect(bytes.log).toEqual(whole.log);
    expect(rowsOf(bytes.stores, schemas)).toBe(rows);
    for (let cut = 0; cut <= whole.stream.length; cut++) {
      const inTwo = replay(recorded, schemas);
      inTwo.socket.emit("data", inTwo.stream.subarray(0, cut));
      const before = inTwo.log.length;
      inTwo.socket.emit("data", inTwo.stream.subarray(cut));
      if (inTwo.log.join("\n") !== whole.log.join("\n") || rowsOf(inTwo.stores, schemas) !== rows) throw new Error(`cut at ${cut} gives another result`);
      const ended = replay(recorded, schemas);
      ended.socket.emit("data", ended.stream.subarray(0, cut));
      ended.socket.emit("end");
      const complete = cut === 0 || whole.ends.includes(cut);
      expect(ended.log.slice(0, before), `ended at ${cut}`).toEqual(whole.log.slice(0, before));
      expect(ended.log.at(-1), `ended at ${cut}`).toBe(`closed "${complete ? "closed by peer" : "truncated"}"`);
    }
  });
});

describe.skipIf(!haveVectors)("transactions of the recordings", () => {
  /** What a user would have written for a value on the wire. */
  const written = (json: Json): InputValue => {
    if (!isArray(json)) return json as InputAtom;
    if (json[0] === "uuid") return json[1] as string;
    if (json[0] === "named-uuid") return namedUuid(json[1] as string);
    if (json[0] === "set") return (json[1] as readonly Json[]).map((element) => written(element) as InputAtom);
    return map(new Map((json[1] as readonly (readonly [Json, Json])[]).map(([k, v]) => [written(k) as InputAtom, written(v) as InputAtom])));
  };
  const rowOf = (json: Json | undefined) => Object.fromEntries(Object.entries(json as JsonObject).map(([column, value]) => [column, written(value)]));
  const whereOf = (json: Json | undefined): Condition[] => (json as readonly Json[]).map((one) => (isArray(one) ? [one[0] as string, one[1] as ConditionFunction, written(one[2]!)] : one as boolean));

  const operationOf = (json: JsonObject): Operation => {
    const table = json["table"] as string, where = json["where"] === undefined ? [] : whereOf(json["where"]);
    switch (json["op"]) {
      case "insert": return { op: "insert", table, row: rowOf(json["row"] ?? {}), uuidName: json["uuid-name"] as string | undefined, uuid: json["uuid"] as string | undefined };
      case "select": return { op: "select", table, where, columns: json["columns"] as string[] | undefined };
      case "update": return { op: "update", table, where, row: rowOf(json["row"]) };
      case "mutate": return { op: "mutate", table, where, mutations: (json["mutations"] as readonly (readonly [string, Mutator, Json])[]).map(([column, mutator, value]): Mutation => [column, mutator, written(value)]) };
      case "delete": return { op: "delete", table, where };
      case "wait": return { op: "wait", table, where, columns: json["columns"] as string[], until: json["until"] as "==", rows: (json["rows"] as readonly Json[]).map(rowOf), timeoutMs: json["timeout"] as number | undefined };
      case "commit": return { op: "commit", durable: json["durable"] as boolean };
      case "abort": return { op: "abort" };
      case "comment": return { op: "comment", comment: json["comment"] as string };
      case "assert": return { op: "assert", lock: json["lock"] as string };
      default: throw new TypeError("no operation of OVSDB");
    }
  };
  /** One way to write each value: a set in order, one of one element as it stands in JSON alone. */
  const canonicalJson = (json: Json): Json => {
    if (isArray(json) && json[0] === "set" && isArray(json[1])) {
      const elements = json[1].map(canonicalJson).sort((a, b) => (stringify(a) < stringify(b) ? -1 : 1));
      return elements.length === 1 ? elements[0]! : ["set", elements];
    }
    if (isArray(json) && json[0] === "map" && isArray(json[1])) return ["map", json[1].map(canonicalJson).sort((a, b) => (stringify(a) < stringify(b) ? -1 : 1))];
    if (isArray(json)) return json.map(canonicalJson);
    return isObject(json) ? Object.fromEntries(Object.entries(json).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => [name, canonicalJson(value)])) : json;
  };
  const schemasOf = new Map<string, DatabaseSchema>();
  const pairs: { readonly file: string; readonly params: readonly Json[]; readonly result: Json }[] = [];
  for (const file of conversationFiles()) {
    const lines = vectors(file).filter((line) => isObject(line["json"])) as unknown as Line[];
    for (const { json } of lines) schemasIn(json, schemasOf);
    for (const [i, { conn, dir, json }] of lines.entries()) {
      if (dir !== "client-to-server" || json["method"] !== "transact") continue;
      const reply = lines.slice(i).find((line) => line.conn === conn && line.dir !== dir && line.json["method"] === undefined && same(line.json["id"], json["id"]));
      if (reply?.json["result"] !== undefined && reply.json["result"] !== null) pairs.push({ file, params: json["params"] as readonly Json[], result: reply.json["result"] });
    }
  }
  let encoded = 0, refused = 0, decoded = 0, failures = 0, unsayable = 0;

  test("are written as others write them, their results and errors read", () => {
    for (const { file, params: [db, ...operations], result } of pairs) {
      const schema = schemasOf.get(db as string);
      if (schema === undefined) continue;
      if (operations.some((one) => !isObject(one) || one["op"] === "frobnicate")) {
        unsayable++;
        continue;
      }
      const plain = operations.filter(isObject).map(operationOf);
      const codes = (isArray(result) ? result : []).flatMap((one) => (isObject(one) && typeof one["error"] === "string" ? [one["error"]] : []));
      let ours: JsonObject[];
      try {
        ours = encodeOperations(schema, plain);
      } catch (error) {
        // what cannot be right is not sent: the server refused it too
        expect(error, file).toBeInstanceOf(OvsdbValueError);
        expect(codes.length, `${file}: ${(error as Error).message}`).toBeGreaterThan(0);
        refused++;
        continue;
      }
      expect(canonicalJson(ours), file).toEqual(canonicalJson(operations));
      encoded++;
      if (codes.length === 0) {
        expect(decodeResults(schema, plain, result).length, file).toBe(operations.length);
        decoded++;
      } else {
        expect(() => decodeResults(schema, plain, result), file).toThrow(expect.objectContaining({ name: "OvsdbError", code: codes[0] }));
        failures++;
      }
    }
    expect({ pairs: pairs.length, encoded, refused, decoded, failures, unsayable }).toEqual({ pairs: 57, encoded: 49, refused: 5, decoded: 36, failures: 13, unsayable: 3 });
  });
});

// ---- what is no JSON-RPC --------------------------------------------------------------------------------------------

describe.skipIf(!haveVectors)("malformed messages to a client", () => {
  const all = vectors("malformed-json-rpc.jsonl");
  /** What a server takes and hangs up on, or the other way round, is another matter for a client. */
  const ends: Record<string, string> = {};

  test.each(all.map((vector): [string, JsonObject] => [vector["name"] as string, vector]))("%s", (name, vector) => {
    const text = typeof vector["text"] === "string" ? vector["text"] : `{"method":"echo","params":${"[".repeat(2000)}${"]".repeat(2000)},"id":1}`;
    const outcome = (pieces: readonly Buffer[]) => {
      const socket = new TestSocket();
      const session = new OvsdbSession(socket, { echoIntervalMs: 0 });
      const closed: unknown[] = [], pending: unknown[] = [];
      session.on("close", (reason) => closed.push(reason));
      session.requestSync("list_dbs", [], (found) => { pending.push(found); }, (error) => { pending.push(error); });
      for (const piece of pieces) if (session.open) socket.emit("data", piece);
      const answers = socket.written.slice(1);
      return { open: session.open, closed, pending, answers, destroyed: socket.destroyed };
    };
    const bytes = Buffer.from(text);
    const whole = outcome([bytes]);
    ends[name.split("/")[1]!] = whole.open ? "" : (whole.closed[0] as OvsdbError).code;
    if (whole.open) {
      // nothing was wrong with it for a client: an answer to an echo, or nothing at all
      expect(whole.pending).toEqual([]);
      for (const answer of whole.answers) expect(Object.keys(answer).sort()).toEqual(["error", "id", "result"]);
    } else {
      expect(whole.closed.length).toBe(1);
      expect(whole.closed[0]).toBeInstanceOf(OvsdbProtocolError);
      expect(whole.pending).toEqual([whole.closed[0]]);
      expect(whole.destroyed).toBe(true);
      expect(whole.answers).toEqual([]);
    }
    const split = outcome([...bytes].map((byte) => Buffer.from([byte])));
    expect(split.open).toBe(whole.open);
    expect(split.answers).toEqual(whole.answers);
    expect(split.closed.map((error) => (error as OvsdbError).code)).toEqual(whole.closed.map((error) => (error as OvsdbError).code));
  });

  test("each has its end", () => {
    const named = (code: string): string[] => Object.entries(ends).filter(([, end]) => end === code).map(([name]) => name).sort();
    expect(named("malformed json")).toEqual([
      "1e400", "NaN", "bad escape", "comment", "control character in string", "plus sign", "raw newline in string", "single quotes", "unclosed string then newline", "uppercase TRUE",
    ]);
    expect(named("not an object")).toEqual(["BOM", "HTTP", "OpenFlow hello", "number"]);
    expect(named("not json-rpc")).toEqual(["method number", "params object"]);
    expect(named("unexpected reply")).toEqual(["error to nothing", "reply to nothing"]);
    expect(named("nested too deep")).toEqual(["nested 2000"]);
    // requests and notifications in order, one that is not complete, and what we do not mind: other members, NUL, half a pair
    expect(named("").length).toBe(16);
    expect(Object.keys(ends).length).toBe(35);
  });
});

// ---- many at once ---------------------------------------------------------------------------------------------------

test("a thousand messages in one chunk, and in chunks of any size, are the same", async () => {
  const schema = parseSchema({ name: "D", version: "1.0.0", tables: { T: { columns: { n: { type: "integer" }, s: { type: { key: "string", min: 0, max: "unlimited" } } } } } });
  const uuid = (i: number): string => `00000000-0000-4000-8000-${(i % 40).toString(16).padStart(12, "0")}`;
  const messages: Json[] = [{ id: 1, result: { T: {} }, error: null }];
  const live = new Set<number>();
  for (let i = 0; messages.length < 1000; i++) {
    const k = i % 40;
    const update: JsonObject = !live.has(k) ? { insert: { n: i, s: ["set", [`a${i}`, "\u00e9\ud83d\ude00\\\""]] } } : i % 3 === 0 ? { delete: null } : { modify: { n: i, s: ["set", [`b${i}`]] } };
    if ("delete" in update) live.delete(k);
    else live.add(k);
    messages.push({ id: null, method: "update2", params: ["m1", { T: { [uuid(i)]: update } }] });
  }
  const stream = Buffer.from(messages.map(stringify).join("\n"));
  const play = async (size: number): Promise<string> => {
    const socket = new TestSocket();
    const session = new OvsdbSession(socket, { echoIntervalMs: 0 });
    const store = new RowStore();
    let changes = 0;
    const feed = new Feed(session, store, { synced: () => undefined, changed: (all) => { changes += all.length; }, lost: () => undefined }, undefined, ["monitor_cond"]);
    void feed.start(schema, monitoredTables(schema, { T: {} }), new Map());
    expect((socket.written[0]!["params"] as Json[])[1]).toBe("m1");
    for (let i = 0; i < stream.length; i += size) {
      socket.emit("data", stream.subarray(i, i + size));
      while (socket.isPaused()) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(session.open).toBe(true);
    expect(changes).toBe(999);
    return JSON.stringify([...store.table("T")]);
  };
  const whole = await play(stream.length);
  for (const size of [1, 2, 3, 7, 100, 1448, 4096, 65536]) expect(await play(size), `pieces of ${size}`).toBe(whole);
});
