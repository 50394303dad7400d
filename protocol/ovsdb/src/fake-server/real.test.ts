/**
 * The fake server beside the real one: the same transactions, the same monitors, and whatever the one says the other must
 * say too, up to the UUIDs of row versions.
 */

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { FakeOvsdbServer } from "./server.ts";
import { RawClient, unify } from "../testing/compare.ts";
import { isArray, isObject, stringify, type Json, type JsonObject } from "../wire/json.ts";
import { haveOvs, RealServer } from "../testing/support.ts";

const SCHEMA: JsonObject = {
  name: "Zoo", version: "1.2.3",
  tables: {
    Root: {
      isRoot: true, indexes: [["name"], ["n", "flag"]],
      columns: {
        name: { type: { key: { type: "string", minLength: 1, maxLength: 6 } } }, n: { type: "integer" }, flag: { type: "boolean" },
        small: { type: { key: { type: "integer", minInteger: -10, maxInteger: 10 } } },
        opt: { type: { key: "real", min: 0, max: 1 } }, reals: { type: { key: "real", min: 0, max: "unlimited" } },
        tags: { type: { key: "integer", min: 0, max: 4 } }, words: { type: { key: { type: "string", enum: ["set", ["a", "b", "true", "x y"]] }, min: 1, max: 3 } },
        ext: { type: { key: "string", value: "string", min: 0, max: "unlimited" } }, marks: { type: { key: "integer", value: "real", min: 0, max: 3 } },
        kids: { type: { key: { type: "uuid", refTable: "Kid" }, min: 0, max: "unlimited" } }, heir: { type: { key: { type: "uuid", refTable: "Kid" }, min: 0, max: 1 } },
        friends: { type: { key: { type: "uuid", refTable: "Kid", refType: "weak" }, min: 0, max: "unlimited" } },
        named: { type: { key: "string", value: { type: "uuid", refTable: "Kid", refType: "weak" }, min: 0, max: "unlimited" } },
        fixed: { type: "integer", mutable: false }, eph: { type: "string", ephemeral: true },
      },
    },
    Kid: {
      maxRows: 9,
      columns: {
        k: { type: "integer" }, next: { type: { key: { type: "uuid", refTable: "Kid" }, min: 0, max: 1 } },
        pals: { type: { key: { type: "uuid", refTable: "Ward", refType: "weak" }, min: 0, max: 2 } },
      },
    },
    Ward: { isRoot: true, columns: { of: { type: { key: { type: "uuid", refTable: "Kid", refType: "weak" }, min: 1, max: 2 } }, note: { type: "string" } } },
  },
};

// ---- transactions at random ---------------------------------------------------------------------------------------------
// Where a row holds two faults, ovsdb-server names the one that its hash of column names brings up first. So a row here
// has one fault at most, and likewise what a mutation does to several rows can go wrong in one way only.

const uuidOf = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
const pick = fc.constantFrom;
type Cells = fc.Arbitrary<Json>;

const uuid = fc.nat({ max: 11 }).map((n): Json => ["uuid", uuidOf(n)]);
const reference = fc.oneof({ weight: 7, arbitrary: uuid }, { weight: 1, arbitrary: pick<Json>(["named-uuid", "k0"], ["named-uuid", "k1"]) });
const string = fc.oneof(pick<Json>("a", "b", "true", "x y", "é中", ""), fc.string({ maxLength: 3, unit: pick("a", "-", "0", "\"", "\\", "\u00e9", "\u{1f600}", "\uffee") }));
const smallInteger = fc.integer({ min: -3, max: 9 });
const integer = fc.oneof(smallInteger, pick<Json>(9223372036854775807n, -9223372036854775808n, 3037000500, 2 ** 53));
const real = fc.oneof(fc.integer({ min: -3, max: 3 }), pick<Json>(0.5, -1.25, 1e300, 1e-7, 123456789.125, 0.1));
const distinct = (element: Cells, maxLength: number) => fc.uniqueArray(element, { maxLength, selector: stringify });
const setOf = (element: Cells, maxLength = 3) => fc.oneof({ weight: 1, arbitrary: element }, { weight: 3, arbitrary: distinct(element, maxLength).map((elements): Json => ["set", elements]) });
const mapOf = (key: Cells, value: Cells) => fc.uniqueArray(fc.tuple(key, value), { maxLength: 3, selector: ([k]) => stringify(k) }).map((pairs): Json => ["map", pairs]);

/** Values that fit, by table and column. */
const VALUES: Readonly<Record<string, Readonly<Record<string, Cells>>>> = {
  Root: {
    name: pick("r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"), n: integer, flag: fc.boolean(), small: fc.integer({ min: -10, max: 10 }),
    opt: setOf(real, 1), reals: setOf(real), tags: setOf(fc.integer({ min: 0, max: 9 }), 4), words: pick<Json>("a", "b", ["set", ["b", "true", "x y"]]),
    ext: mapOf(string, string), marks: mapOf(fc.integer({ min: 0, max: 5 }), real), kids: setOf(reference), heir: setOf(reference, 1),
    friends: setOf(reference), named: mapOf(string, reference), fixed: integer, eph: string,
  },
  Kid: { k: fc.integer({ min: 0, max: 5 }), next: setOf(reference, 1), pals: setOf(reference, 2) },
  Ward: { of: setOf(reference, 2).filter((value) => !isArray(value) || value[0] !== "set" || (value[1] as readonly Json[]).length > 0), note: string },
};

/** Cells that do not fit, each in one way. */
const MISFITS: Readonly<Record<string, Cells>> = {
  Root: pick<Json>(
    ["name", ""], ["name", "too long"], ["name", "éééééé"], ["name", 1], ["name", ["set", []]], ["name", ["set", ["a", "b"]]], ["n", 0.5], ["n", "1"], ["n", 2 ** 64], ["n", null],
    ["small", 11], ["small", -11], ["opt", ["set", [1, 2]]], ["opt", "x"], ["reals", ["set", [1, 1]]], ["reals", ["set", 1]], ["tags", ["set", [1, 2, 3, 4, 5]]], ["words", ["set", []]],
    ["words", "c"], ["words", "x-y"], ["words", ["set", ["a", "a"]]], ["ext", ["set", []]], ["ext", {}], ["ext", ["map", [["a"]]]], ["ext", ["map", [["a", "b"], ["a", "c"]]]], ["ext", ["map", [[1, "b"]]]],
    ["marks", ["map", [[1, 1], [2, 1], [3, 1], [4, 1]]]], ["kids", ["uuid", "x"]], ["kids", "k0"], ["kids", ["named-uuid", "0"]], ["heir", ["set", [["uuid", uuidOf(1)], ["uuid", uuidOf(1)]]]],
    ["flag", 1], ["nosuch", 1], ["reals", ["set", [1e-7, "x"]]],
  ),
  Kid: pick<Json>(["k", 1.5], ["next", 1], ["pals", ["set", [["uuid", uuidOf(1)], ["uuid", uuidOf(2)], ["uuid", uuidOf(3)]]]], ["_other", 1]),
  Ward: pick<Json>(["of", ["set", []]], ["note", false]),
};
const TABLES = Object.keys(VALUES);
const tableName = pick("Root", "Root", "Root", "Kid", "Kid", "Ward");
type Cell = readonly [string, Json];
const cell = (table: string): fc.Arbitrary<Cell> => pick(...Object.keys(VALUES[table]!)).chain((column) => VALUES[table]![column]!.map((value): Cell => [column, value]));
const misfit = (table: string) => MISFITS[table]! as unknown as fc.Arbitrary<Cell>;
const row = (table: string, minLength: number) => fc.oneof(
  { weight: 12, arbitrary: fc.uniqueArray(cell(table), { selector: ([column]) => column, minLength, maxLength: 4 }).map((cells): JsonObject => Object.fromEntries(cells)) },
  { weight: 1, arbitrary: misfit(table).map((one): JsonObject => Object.fromEntries([one])) },
);
/** With what has no default that fits. */
const newRow = (table: string): fc.Arbitrary<JsonObject> => {
  const given: Readonly<Record<string, Cells>> = table === "Root"
    ? { name: VALUES["Root"]!["name"]!, n: fc.integer({ min: 0, max: 30 }), words: pick<Json>("a", ["set", ["b", "true"]]) } : table === "Ward" ? { of: reference } : {};
  return fc.tuple(fc.record(given), row(table, 0)).map(([least, more]): JsonObject => ({ ...least, ...more }));
};

const FUNCTIONS = ["==", "!=", "includes", "excludes"] as const;
const ordered = pick("<", "<=", ">", ">=");
const clause = (table: string): Cells => fc.oneof(
  { weight: 6, arbitrary: fc.tuple(cell(table), pick(...FUNCTIONS)).map(([[column, value], fn]): Json => [column, fn, value]) },
  { weight: 4, arbitrary: fc.tuple(table === "Root" ? pick("n", "opt", "small") : pick("k"), ordered, smallInteger).map(([column, fn, value]): Json => [column, fn, value]) },
  { weight: 4, arbitrary: fc.tuple(pick("==", "!=", "excludes"), uuid).map(([fn, value]): Json => ["_uuid", fn, value]) },
  { weight: 1, arbitrary: pick<Json>(true, false, ["nosuch", "==", 1], ["_uuid", "~", 1], []) },
  { weight: 1, arbitrary: fc.tuple(fc.oneof(misfit(table), cell(table)), pick(...FUNCTIONS, "<", ">=")).map(([[column, value], fn]): Json => [column, fn, value]) },
);
const where = (table: string) => fc.oneof({ weight: 1, arbitrary: fc.constant<Json[]>([]) }, { weight: 4, arbitrary: fc.array(clause(table), { minLength: 1, maxLength: 2 }) });
const columns = (table: string) => fc.uniqueArray(pick("_uuid", ...Object.keys(VALUES[table]!)), { minLength: 1, maxLength: 4 });

/** Multiplying a negative number by zero stops ovsdb-server 3.1 (it divides by that zero); nothing here does. */
const nonzero = smallInteger.filter((value) => value !== 0);
const SETS: Readonly<Record<string, readonly string[]>> = {
  Root: ["opt", "reals", "tags", "words", "ext", "marks", "kids", "heir", "friends", "named"], Kid: ["next", "pals"], Ward: ["of"],
};
const mutation = (table: string): Cells => {
  const changed = pick(...SETS[table]!).chain((column) => VALUES[table]![column]!.map((value): Cell => [column, value]));
  const arithmetic = pick("+=", "-=", "*=", "/=", "%=");
  return fc.oneof(
    { weight: 6, arbitrary: fc.tuple(changed, pick("insert", "delete")).map(([[column, value], mutator]): Json => [column, mutator, value]) },
    { weight: 3, arbitrary: fc.tuple(table === "Root" ? pick("small", "tags") : pick("k"), arithmetic, nonzero).map(([column, mutator, value]): Json => [column, mutator, value]) },
    { weight: table === "Root" ? 3 : 0, arbitrary: fc.tuple(pick("n", "opt", "reals"), pick("+=", "-=", "*=", "/="), fc.oneof(nonzero, pick<Json>(0.5, 1e300, 2 ** 53, 9223372036854775807n, -9223372036854775808n))).map(([column, mutator, value]): Json => [column, mutator, value]) },
    { weight: table === "Root" ? 1 : 0, arbitrary: fc.tuple(pick("ext", "named"), setOf(string)).map(([column, keys]): Json => [column, "delete", keys]) },
    { weight: 1, arbitrary: pick<Json>(["n", "/=", 0], ["k", "%=", 0], ["name", "insert", "x"], ["nosuch", "+=", 1], ["fixed", "+=", 1], ["k", "^=", 1], ["k"], ["opt", "%=", 2], ["name", "+=", 1], ["ext", "*=", 2]) },
  );
};

const operation: fc.Arbitrary<JsonObject> = tableName.chain((table): fc.Arbitrary<JsonObject> => {
  const op = (name: string, members: Record<string, fc.Arbitrary<Json>>) => fc.record(members).map((rest): JsonObject => ({ op: name, table, ...(rest) }));
  const inserted = fc.tuple(newRow(table), fc.nat({ max: 24 }), pick(undefined, "k0", "k1"))
    .map(([given, n, name]): JsonObject => ({ op: "insert", table, row: given, uuid: uuidOf(n), ...(name === undefined ? {} : { "uuid-name": name }) }));
  return fc.oneof(
    { weight: 8, arbitrary: inserted }, { weight: 3, arbitrary: op("update", { where: where(table), row: row(table, 1) }) },
    { weight: 6, arbitrary: op("mutate", { where: where(table), mutations: fc.array(mutation(table), { minLength: 1, maxLength: 2 }) }) },
    { weight: 2, arbitrary: op("delete", { where: where(table) }) }, { weight: 2, arbitrary: op("select", { where: where(table), columns: columns(table) }) },
    { weight: 1, arbitrary: op("wait", { where: where(table), columns: columns(table), until: pick("==", "!="), rows: fc.array(row(table, 0), { maxLength: 2 }), timeout: fc.constant(0) }) },
    {
      weight: 1, arbitrary: pick<JsonObject>(
        { op: "abort" }, { op: "comment", comment: "x" }, { op: "commit", durable: false }, { op: "assert", lock: "l" }, { op: "nosuch" }, {}, { op: "comment" },
        { op: "select", table: "Nosuch", where: [] }, { op: "delete", table: "Kid", where: [], extra: 1 }, { op: "insert", table: "Kid", row: {}, "uuid-name": "0" },
      ),
    },
  );
});

const transactions = fc.array(fc.array(operation, { minLength: 1, maxLength: 4 }), { minLength: 6, maxLength: 12 });

/** A few rows to begin with: references should find something, and names too. */
const BEGINNING: readonly Json[] = [
  ...[0, 1, 2, 3, 4, 5].map((n): Json => ({ op: "insert", table: "Kid", uuid: uuidOf(n), row: { k: n, next: n === 5 ? ["uuid", uuidOf(4)] : ["set", []] } })),
  ...["r0", "r1", "r2"].map((name, i): Json => ({
    op: "insert", table: "Root", uuid: uuidOf(100 + i),
    row: { name, n: i, words: "a", tags: ["set", [1, i + 2]], kids: ["set", [2 * i, 2 * i + 1].map((n): Json => ["uuid", uuidOf(n)])], friends: ["uuid", uuidOf(i)] },
  })),
  { op: "insert", table: "Ward", uuid: uuidOf(11), row: { of: ["uuid", uuidOf(3)] } },
];

// ---- both servers -------------------------------------------------------------------------------------------------------

const MONITORS: readonly (readonly [string, readonly Json[]])[] = [
  ["monitor", ["Zoo", "whole", { Root: [{ columns: ["name", "n", "kids", "ext"] }, { columns: ["eph"], select: { modify: false, initial: false } }], Kid: {} }]],
  ["monitor_cond", ["Zoo", "cond", { Root: [{ columns: ["name", "tags", "named", "friends", "opt"], where: [["n", "<", 5], ["flag", "==", true]] }], Ward: { columns: ["of"] } }]],
  ["monitor_cond_since", ["Zoo", "since", { Kid: [{ columns: ["k", "pals", "_version"], select: { delete: false } }], Root: [{ columns: ["kids", "marks"], where: [["tags", "includes", ["set", [1]]]] }] }, uuidOf(0)]],
];

/** What cannot be the same is made so: versions of rows. Rows of a select come sorted; 1e16 and 10000000000000000 are one real. */
function normalised(json: Json): Json {
  if (typeof json === "bigint") return String(Number(json)) === json.toString() ? Number(json) : json;
  if (isArray(json)) return json.map(normalised);
  if (!isObject(json)) return json;
  return Object.fromEntries(Object.entries(json).map(([name, value]): [string, Json] => {
    if (name === "_version") return [name, "version"];
    const inside = normalised(value);
    return [name, name === "rows" ? [...inside as readonly Json[]].sort((a, b) => (stringify(a) < stringify(b) ? -1 : 1)) : inside];
  }).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const object = (json: Json | undefined): JsonObject => json as JsonObject;

/**
 * Which of several faults is named, which of two rows comes first, and which row of several a mutation fails on, depends
 * on hashes in the real server: at least the same operation is refused, and for the same kind of reason.
 */
const anyOfSeveral = (results: Json): Json => (isArray(results)
  ? results.map((result) => (isObject(result) && typeof result["error"] === "string" ? { error: result["error"].replace(/^(range|domain) error$/, "constraint violation") } : result))
  : results);

describe.skipIf(!haveOvs)("beside ovsdb-server", () => {
  let real: RealServer, fake: FakeOvsdbServer;
  let clients: readonly [RawClient, RawClient];

  beforeAll(async () => {
    real = await RealServer.start();
    const schema = join(real.directory, "zoo.ovsschema"), db = join(real.directory, "zoo.db");
    writeFileSync(schema, stringify(SCHEMA));
    execFileSync("ovsdb-tool", ["create", db, schema]);
    await real.appctl("ovsdb-server/add-db", db);
    fake = new FakeOvsdbServer({ databases: [{ schema: SCHEMA }] });
    clients = [await RawClient.connect({ path: real.path }), await RawClient.connect(await fake.listen())];
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    await fake.close();
    await real.stop();
  });

  /** Asks both and gives what each said until the reply, updates in the order of their monitors. */
  async function both(method: string, params: readonly Json[]): Promise<[Json[], Json[]]> {
    const said = await Promise.all(clients.map((client) => client.ask(method, params))).catch((error: unknown) => {
      throw new Error(`${clients.map(({ closed }, i) => (closed ? ["the real one has closed", "the fake one has closed"][i]! : "")).join("")} at ${method} ${stringify(params)}`, { cause: error });
    });
    return said.map((messages) => {
      const reply = messages.at(-1)!;
      const updates = messages.slice(0, -1).map(normalised).sort((a, b) => (stringify(a) < stringify(b) ? -1 : 1));
      return [...updates, normalised(reply)];
    }) as [Json[], Json[]];
  }

  async function begin(): Promise<void> {
    await both("transact", ["Zoo", ...TABLES.map((table) => ({ op: "delete", table, where: [] }))]);
    const [, made] = await both("transact", ["Zoo", ...BEGINNING]);
    expect(((made.at(-1) as JsonObject)["result"] as readonly Json[]).length).toBe(BEGINNING.length);
  }

  const ALL: readonly Json[] = TABLES.map((table) => ({ op: "select", table, where: [] }));
  const counts = { transactions: 0, committed: 0, refused: new Map<string, number>(), otherDetails: 0 };

  test("random transactions give the same results, updates and tables", async () => {
    const seed = Number(process.env["FC_SEED"] ?? (process.env["AXION_NIGHTLY"] === undefined ? 20261124 : Date.now() % 2 ** 31));
    const numRuns = Number(process.env["FC_RUNS"] ?? 30);
    console.log(`fake ovsdb-server beside the real one: FC_SEED=${seed} FC_RUNS=${numRuns}`);
    for (const [method, params] of MONITORS) {
      const [theirs, ours] = await both(method, params);
      expect(ours).toEqual(theirs);
    }
    await fc.assert(fc.asyncProperty(transactions, async (list) => {
      await begin();
      for (const operations of list) {
        const [theirs, ours] = await both("transact", ["Zoo", ...operations]);
        counts.transactions++;
        const results = (theirs.at(-1) as JsonObject)["result"] as readonly (JsonObject | null)[];
        const error = results.find((result) => result !== null && "error" in result)?.["error"] as string | undefined;
        if (error === undefined) counts.committed++;
        else counts.refused.set(error, (counts.refused.get(error) ?? 0) + 1);
        if (unify(theirs, ours) === undefined) {
          const loose = (messages: Json[]): Json => [...messages.slice(0, -1), anyOfSeveral((messages.at(-1) as JsonObject)["result"]!)];
          if (unify(loose(theirs), loose(ours)) === undefined) {
            expect(stringify(ours), stringify(operations)).toBe(stringify(theirs));
          }
          counts.otherDetails++;
          if (process.env["FC_DETAILS"] !== undefined) console.log(stringify(operations), "\n real", stringify(theirs.at(-1)!), "\n fake", stringify(ours.at(-1)!));
        }
      }
      const [theirs, ours] = await both("transact", ["Zoo", ...ALL]);
      expect(ours).toEqual(theirs);
    }), { seed, numRuns, endOnFailure: process.env["FC_SHRINK"] === undefined });
    console.log(`${counts.transactions} transactions, ${counts.committed} committed, refused ${JSON.stringify(Object.fromEntries(counts.refused))}, details differ in ${counts.otherDetails}`);
    expect(counts.committed).toBeGreaterThan(counts.transactions / 10);
    expect(counts.refused.size).toBeGreaterThan(4);
  });

  test("random monitors, conditions and locks give the same replies and updates", async () => {
    const seed = Number(process.env["FC_SEED"] ?? (process.env["AXION_NIGHTLY"] === undefined ? 20261124 : Date.now() % 2 ** 31)), numRuns = Number(process.env["FC_RUNS"] ?? 30);
    console.log(`fake ovsdb-server beside the real one, other requests: FC_SEED=${seed} FC_RUNS=${numRuns}`);
    const id = fc.oneof({ weight: 6, arbitrary: pick<Json>("m", ["a", { b: 1 }]) }, { weight: 1, arbitrary: fc.constant<Json>("other") }), lock = pick<Json>("l", "k", "0", 1);
    const mostly = (right: Cells, wrong: Cells): Cells => fc.oneof({ weight: 15, arbitrary: right }, { weight: 1, arbitrary: wrong });
    const select = mostly(fc.record({ initial: fc.boolean(), insert: fc.boolean(), delete: fc.boolean(), modify: fc.boolean() }, { requiredKeys: [] }), pick<Json>({ nosuch: true }, { insert: 1 }, 1));
    /** Conditions that fit; two at most, since ovsdb-server 3.1 overlooks a "true" after two "false". */
    const sound = (table: string) => fc.array(fc.oneof(
      fc.boolean(), fc.tuple(cell(table), pick(...FUNCTIONS)).map(([[column, value], fn]): Json => [column, fn, value]),
      fc.tuple(table === "Ward" ? pick("_uuid") : table === "Kid" ? pick("k") : pick("n", "small"), ordered, smallInteger).map(([column, fn, value]): Json => (column === "_uuid" ? [column, "==", ["uuid", uuidOf(1)]] : [column, fn, value])),
    ), { maxLength: 2 }) as Cells;
    const monitorRequest = (table: string, conditions: boolean) => fc.record({
      columns: mostly(fc.uniqueArray(pick("_version", ...Object.keys(VALUES[table]!)), { maxLength: 4 }) as Cells, pick<Json>(["nosuch"], ["_uuid", "_uuid"], 1, [1])),
      select, ...(conditions ? { where: where(table) } : {}),
    }, { requiredKeys: [] }) as Cells;
    const monitorRequests = (conditions: boolean) => mostly(
      fc.uniqueArray(pick(...TABLES), { minLength: 1, maxLength: 3 }).chain((tables) => fc.tuple(...tables.map((table) => fc.tuple(fc.constant(table), fc.oneof(monitorRequest(table, conditions), monitorRequest(table, conditions).map((one): Json => [one]))))))
        .map((pairs): Json => Object.fromEntries(pairs)),
      pick<Json>({ Nosuch: {} }, [], { Kid: 1 }, { Kid: { where: 1 } }, { Kid: { extra: 1 } }),
    );
    const changes = mostly(pick(...TABLES).chain((table) => mostly(sound(table), where(table) as Cells).map((given): Json => ({ [table]: [{ where: given }] }))), pick<Json>({ Nosuch: [] }, { Kid: {} }, 1, { Kid: [{ columns: [] }] }));
    const call = (method: string, ...params: Cells[]) => fc.tuple(...params).map((list): [string, Json[]] => [method, list]);
    const zoo = fc.constant<Json>("Zoo");
    const request: fc.Arbitrary<[string, Json[]]> = fc.oneof(
      { weight: 20, arbitrary: fc.array(operation, { minLength: 1, maxLength: 2 }).map((operations): [string, Json[]] => ["transact", ["Zoo", ...operations]]) },
      { weight: 2, arbitrary: call("monitor", zoo, id, monitorRequests(false)) }, { weight: 3, arbitrary: call("monitor_cond", zoo, id, monitorRequests(true)) },
      { weight: 2, arbitrary: call("monitor_cond_since", zoo, id, monitorRequests(true), mostly(pick<Json>(uuidOf(0), "00000000-0000-0000-0000-000000000000"), pick<Json>("x", 1))) },
      { weight: 4, arbitrary: call("monitor_cond_change", id, id, changes) }, { weight: 1, arbitrary: call("monitor_cancel", id) },
      { weight: 1, arbitrary: call("lock", lock) }, { weight: 1, arbitrary: call("steal", lock) }, { weight: 1, arbitrary: call("unlock", lock) },
      { weight: 1, arbitrary: pick<[string, Json[]]>(["get_schema", ["Zoo"]], ["get_schema", []], ["set_db_change_aware", []], ["monitor_cond", ["Zoo", 1]], ["monitor_cancel", []], ["nosuch", []], ["convert", ["Zoo"]], ["transact", ["Zoo"]], ["transact", [1]], ["lock", []]) },
    );
    let asked = 0, refused = 0, updates = 0;
    const first = fc.tuple(pick("monitor_cond", "monitor_cond"), zoo, fc.constant<Json>("m"), monitorRequests(true)).map(([method, ...params]): [string, Json[]] => [method, params]);
    const conversation = fc.tuple(first, fc.array(request, { minLength: 8, maxLength: 25 })).map(([monitored, rest]) => [monitored, ...rest]);
    await fc.assert(fc.asyncProperty(conversation, async (requests) => {
      await begin();
      const kept = clients;
      clients = [await RawClient.connect({ path: real.path }), await RawClient.connect(await fake.listen())];
      try {
        for (const [method, params] of requests) {
          const [theirs, ours] = await both(method, params);
          asked++;
          updates += theirs.length - 1;
          const isRefused = (message: Json | undefined): boolean => (object(message)["error"] ?? null) !== null;
          if (isRefused(theirs.at(-1))) refused++;
          // where several tables are at fault, one is named
          const last = (message: Json): Json => (isRefused(message) && method.startsWith("monitor") ? "refused" : method === "transact" ? anyOfSeveral(object(message)["result"] ?? object(message)["error"]!) : message);
          const details = (messages: Json[]): Json => [...messages.slice(0, -1), last(messages.at(-1)!)];
          if (unify(details(theirs), details(ours)) === undefined) expect(stringify(ours), `${method} ${stringify(params)}`).toBe(stringify(theirs));
        }
      } finally {
        for (const client of clients) client.close();
        clients = kept;
      }
    }), { seed, numRuns, endOnFailure: process.env["FC_SHRINK"] === undefined });
    console.log(`${asked} requests, ${refused} refused, ${updates} updates`);
    expect(updates).toBeGreaterThan(0);
  });
});
