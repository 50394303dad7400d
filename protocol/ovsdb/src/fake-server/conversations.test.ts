/**
 * Conversations that others had with ovsdb-server 3.1, held with the fake one: what the client said is sent, what the
 * server said is expected. What a recording does not say, what was in the database before and what others did meanwhile, is
 * in testing/world.ts.
 */

import { describe, expect, test } from "vitest";

import { sortedText } from "./parse.ts";
import { RawClient, unify } from "../testing/compare.ts";
import { isArray, isObject, parseExact, stringify, type Json, type JsonObject } from "../wire/json.ts";
import { conversationFiles, haveVectors, until, vectors } from "../testing/support.ts";
import { beginnings, complete, holdAll, list, object, operationsOf, World, type Entry } from "../testing/world.ts";

const ofFile = (file: string): Entry[] => vectors(file).slice(1) as unknown as Entry[];
const schemaIn = (file: string): Json => ofFile(`conversations/${file}.jsonl`).map(({ json }) => json?.["result"]).find((result) => isObject(result) && "tables" in result)!;

/** What is said at once may come in another order; a server that follows two databases tells of them when it likes. */
const ANY_ORDER = /clustered/;

/** What is no part of the contract: an absent result, how many log entries a cluster has had, the order of names. */
function bare(message: JsonObject): JsonObject {
  const blank = (json: Json): Json => {
    if (isArray(json)) return json.map(blank);
    if (!isObject(json)) return typeof json === "string" ? json.replace(/after \d+ ms/, "after n ms") : json;
    return Object.fromEntries(Object.entries(json).filter(([name, value]) => !(name === "result" && value === null))
      .map(([name, value]) => [name, name === "index" && typeof value === "number" ? "index" : blank(value)]));
  };
  const { result } = message;
  const names = isArray(result) && result.length > 1 && result.every((name) => typeof name === "string");
  return blank(names ? { ...message, result: [...result].sort() } : message) as JsonObject;
}

class Replay {
  readonly #world: World;
  readonly #entries: readonly Entry[];
  readonly #meanwhile: Readonly<Record<number, readonly [string, readonly Json[]]>>;
  readonly #anyOrder: boolean;
  readonly #target: { host: string; port: number };
  readonly #clients = new Map<number, RawClient>();
  readonly #compared = new Map<number, number>();
  readonly #expected = new Map<number, JsonObject[]>();
  readonly #transcripts: { readonly theirs: Json[]; readonly ours: Json[] } = { theirs: [], ours: [] };
  #names: ReadonlyMap<string, string> = new Map();
  /** Requests of ours that change something and have no answer in the recording yet. */
  readonly #open = new Set<string>();
  readonly #monitors = new Map<string, string>();
  readonly #told: { readonly text: string; readonly by: Set<string> }[] = [];
  messages = 0;

  constructor(world: World, target: { host: string; port: number }, entries: readonly Entry[], meanwhile: Readonly<Record<number, readonly [string, readonly Json[]]>>, anyOrder: boolean) {
    this.#world = world;
    this.#target = target;
    this.#entries = entries;
    this.#meanwhile = meanwhile;
    this.#anyOrder = anyOrder;
  }

  async run(): Promise<void> {
    for (const [i, entry] of this.#entries.entries()) {
      const meanwhile = this.#meanwhile[i];
      if (meanwhile !== undefined) await this.#world.run(...meanwhile);
      if (entry.dir === "client-to-server") await this.#say(entry.conn, entry.json!);
      else if (entry.json === undefined) await this.#seeEnd(entry.conn);
      else await this.#expect(i, entry.conn, entry.json);
    }
    await this.#compare();
    // nothing that the recording has not: an echo comes back after all that was under way
    for (const [conn, client] of this.#clients) {
      if (client.closed) continue;
      const said = await client.ask("echo", [], "the end");
      expect(said.slice(0, -1), `connection ${conn}`).toEqual([]);
    }
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }

  async #say(conn: number, message: JsonObject): Promise<void> {
    await this.#compare();
    let client = this.#clients.get(conn);
    if (client === undefined) this.#clients.set(conn, client = await RawClient.connect(this.#target));
    const { method, params, id } = message;
    const of = list(params);
    if (method === "transact" || method === "convert" || method === "monitor_cond_change") this.#open.add(`${conn} ${stringify(id!)}`);
    if (typeof method === "string" && /^monitor(_cond(_since)?)?$/.test(method)) this.#monitors.set(`${conn} ${sortedText(of[1]!)}`, of[0] as string);
    if (method === "monitor_cond_change") {
      const db = this.#monitors.get(`${conn} ${sortedText(of[0]!)}`);
      if (db !== undefined) this.#monitors.set(`${conn} ${sortedText(of[1]!)}`, db);
    }
    client.write(stringify(message).replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, (uuid) => this.#names.get(uuid) ?? uuid));
  }

  async #seeEnd(conn: number): Promise<void> {
    await this.#compare();
    await until(() => this.#clients.get(conn)!.closed);
  }

  async #expect(i: number, conn: number, message: JsonObject): Promise<void> {
    let expected = this.#expected.get(conn);
    if (expected === undefined) this.#expected.set(conn, expected = []);
    expected.push(message);
    const { method, params, id } = message;
    if (method === undefined) this.#open.delete(`${conn} ${stringify(id!)}`);
    else if (method === "locked") this.#leave(i, conn);
    else if (typeof method === "string" && method.startsWith("update") && this.#open.size === 0) await this.#follow(conn, method, list(params));
  }

  /** Whoever else has nothing to say any more goes, and with it its locks. */
  #leave(i: number, conn: number): void {
    for (const [other, client] of this.#clients) {
      if (other !== conn && !this.#entries.slice(i).some((entry) => entry.conn === other)) client.close();
    }
  }

  async #follow(conn: number, method: string, params: readonly Json[]): Promise<void> {
    const monitor = `${conn} ${sortedText(params[0]!)}`, db = this.#monitors.get(monitor)!;
    if (db === "_Server") return;
    const updates = object(params.at(-1)), zero = typeof params[1] !== "string" || params[1].startsWith("00000000");
    const text = zero ? sortedText(updates) : params[1] as string;
    const known = this.#told.find((told) => told.text === text && !told.by.has(monitor));
    if (known !== undefined) { known.by.add(monitor); return; }
    this.#told.push({ text, by: new Set([monitor]) });
    await this.#compare(true);
    await this.#world.follow(db, parseExact(stringify(updates).replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, (uuid) => this.#names.get(uuid) ?? uuid)) as JsonObject);
    expect(method).toMatch(/^update[23]?$/);
  }

  /** Compares what came with what was expected so far; `butLast` leaves the newest of each connection for later. */
  async #compare(butLast = false): Promise<void> {
    for (const [conn, all] of this.#expected) {
      const from = this.#compared.get(conn) ?? 0, to = butLast ? all.length - 1 : all.length;
      if (to <= from) continue;
      const client = this.#clients.get(conn)!;
      await client.until(() => client.messages.length >= to).catch((error: unknown) => {
        throw new Error(`expected ${stringify(all.slice(from, to))}, got ${stringify(client.messages.slice(from))}`, { cause: error });
      });
      const part = (messages: readonly JsonObject[]): Json => ({ [this.#anyOrder ? "rows" : "said"]: messages.slice(from, to).map(bare) });
      this.#transcripts.theirs.push(part(all));
      this.#transcripts.ours.push(part(client.messages));
      this.#compared.set(conn, to);
      const names = unify(this.#transcripts.theirs, this.#transcripts.ours);
      if (names === undefined) expect(this.#transcripts.ours.at(-1), `connection ${conn}, after ${stringify(this.#transcripts.theirs.slice(0, -1)).slice(-300)}`).toEqual(this.#transcripts.theirs.at(-1));
      this.#names = names!;
      this.messages += to - from;
    }
  }
}

// ---- what the recordings leave out --------------------------------------------------------------------------------------

const bridge = (name: string, k: string, bridgeUuid: string, portUuid: string, interfaceUuid: string): Json[] => [
  { op: "insert", table: "Bridge", uuid: bridgeUuid, row: { name, ports: ["uuid", portUuid], external_ids: ["map", [["k", k]]] } },
  { op: "insert", table: "Port", uuid: portUuid, row: { name, interfaces: ["uuid", interfaceUuid] } },
  { op: "insert", table: "Interface", uuid: interfaceUuid, row: { name, type: "internal" } },
  { op: "mutate", table: "Open_vSwitch", where: [], mutations: [["bridges", "insert", ["uuid", bridgeUuid]]] },
];
const THE_SWITCH: readonly Json[] = [{ op: "insert", table: "Open_vSwitch", row: { next_cfg: 1 } }];
/** What ovs-vsctl had made before the recordings of ovsdb-client's transactions. */
const THREE_BRIDGES: readonly Json[] = [
  ...THE_SWITCH,
  ...bridge("br1", "1", "3e81c200-61cf-4fd2-bc01-3d2cf6124bc6", "0a758e86-1e4b-44dc-ba76-d9947811a3c9", "cb0efef0-a547-47e2-9a65-6f16fae0649d"),
  ...bridge("br2", "2", "ef044a94-cb38-4916-bf35-5714d6533319", "34731a28-e27a-4981-8b79-048ac7f47385", "050bda6f-cab2-4332-8148-b210870663fb"),
  ...bridge("br3", "3", "d29cfd0b-8fe8-46af-a26f-a475602f2f9e", "36e64e5a-e436-4b69-b98c-96244c72e403", "8daf19ca-db4b-4d25-9ac5-4d438eb18176"),
];

const BEFORE: readonly (readonly [RegExp, string, readonly Json[]])[] = [
  [/client-transact-(insert|6\.)/, "Open_vSwitch", THE_SWITCH], [/client-transact-\d|client-dump-bridge/, "Open_vSwitch", THREE_BRIDGES],
];
/** What others did, by the index of the entry before which they did it. */
const MEANWHILE: Readonly<Record<string, Readonly<Record<number, readonly [string, readonly Json[]]>>>> = {
  "scripted-wait-cancel": { 3: ["Mini", [{ op: "insert", table: "Root", row: { name: "w", n: 2 } }]] },
};

const CONVERTED = list(ofFile("conversations/client-convert.jsonl").find(({ json }) => json?.["method"] === "convert")?.json?.["params"])?.[1] ?? null;

const SLOW = 30_000;

describe.skipIf(!haveVectors)("recorded conversations", () => {
  const files = conversationFiles();
  let held = 0, messages = 0;

  test.each(files)("%s", async (file) => {
    const entries = ofFile(file), clustered = file.includes("clustered");
    const texts = entries.flatMap(({ json }) => [...stringify(json ?? null).matchAll(/"name":"(Mini|Open_vSwitch)","schema":("(?:[^"\\]|\\.)*")|"schema":("(?:[^"\\]|\\.)*")/g)])
      .map((match) => parseExact(parseExact((match[2] ?? match[3])!) as string) as JsonObject);
    const replies = entries.flatMap(({ json }) => (isObject(json?.["result"]) && "tables" in object(json["result"]) ? [object(json["result"])] : []));
    const converted = entries.some(({ json }) => json?.["method"] === "convert");
    const find = (name: string): Json | undefined => [...texts, ...(converted ? [] : replies)].find((schema) => schema["name"] === name);
    const schemas: Json[] = [find("Mini") ?? schemaIn(clustered ? "client-clustered-monitor-cond-since" : "client-backup")];
    if (!clustered) schemas.push(find("Open_vSwitch") ?? schemaIn("client-get-schema-vswitch"));

    const world = new World(schemas, clustered);
    // recorded after a conversion, which _Server never told of
    if (file.includes("/idl-") && !clustered) world.convert(CONVERTED);
    const before = BEFORE.find(([pattern]) => pattern.test(file));
    if (before !== undefined) await world.run(before[1], before[2]);
    for (const [db, rows] of before === undefined ? beginnings(entries) : []) {
      complete(world.schema(db), rows);
      holdAll(world.schema(db), rows);
      await world.run(db, operationsOf(rows));
    }
    const target = await world.server.listen();
    const name = file.replace(/^.*\/|\.jsonl$/g, "");
    const replay = new Replay(world, target, entries, MEANWHILE[name] ?? {}, ANY_ORDER.test(file));
    try {
      await replay.run();
      held++;
      messages += replay.messages;
    } finally {
      replay.close();
      await world.server.close();
    }
  }, SLOW);

  test("all were held", () => {
    console.log(`${held} of ${files.length} conversations, ${messages} messages of the server`);
    expect(held).toBe(files.length);
  });
});
