import { createHash } from "node:crypto";

import { describe, expect, test } from "vitest";

import { OvsdbProtocolError } from "../wire/errors.ts";
import { MessageScanner } from "../wire/framing.ts";
import { isArray, isObject, stringify, type Json, type JsonObject } from "../wire/json.ts";
import { monitoredTables } from "./monitor.ts";
import { done, RowStore, type RowChange } from "./rows.ts";
import { parseSchema, type DatabaseSchema } from "../schema/schema.ts";
import { conversationFiles, haveVectors, vectors } from "../testing/support.ts";

const SCHEMA = parseSchema({
  name: "D", version: "1.0.0", tables: { T: { columns: { name: { type: "string" }, n: { type: { key: "integer", min: 0, max: 1 } }, tags: { type: { key: "integer", min: 0, max: "unlimited" } }, ext: { type: { key: "string", value: "string", min: 0, max: "unlimited" } } } } },
});
const A = "00000000-0000-4000-8000-00000000000a", B = "00000000-0000-4000-8000-00000000000b";

function store(): RowStore {
  const rows = new RowStore();
  rows.configure(monitoredTables(SCHEMA, { T: {} }));
  done(rows.replaceAll({ T: { [A]: { initial: { name: "a", tags: ["set", [1, 2]] } } } }, 2));
  return rows;
}
const brief = (changes: readonly RowChange[]): unknown[] => changes.map(({ uuid, old, new: next }) => [uuid.slice(-1), old, next]);
const rowA = { _uuid: A, name: "a", n: undefined, tags: [1, 2], ext: {} }, rowB = { _uuid: B, name: "b", n: undefined, tags: [], ext: {} };

describe("rows", () => {
  const cases: readonly [string, 1 | 2, JsonObject, unknown[]][] = [
    ["insert", 2, { [B]: { insert: { name: "b" } } }, [["b", undefined, rowB]]],
    ["insert, first form", 1, { [B]: { new: { name: "b", n: ["set", []], tags: ["set", []], ext: ["map", []] } } }, [["b", undefined, rowB]]],
    ["delete", 2, { [A]: { delete: null } }, [["a", rowA, undefined]]],
    ["delete, first form", 1, { [A]: { old: { name: "a" } } }, [["a", rowA, undefined]]],
    ["delete of what is not there", 2, { [B]: { delete: null } }, []],
    ["modify is a difference", 2, { [A]: { modify: { tags: ["set", [2, 3]], n: 5 } } }, [["a", rowA, { ...rowA, n: 5, tags: [1, 3] }]]],
    ["modify, first form, is a whole row", 1, { [A]: { old: { n: ["set", []] }, new: { name: "a", n: 5, tags: ["set", [2, 1]], ext: ["map", []] } } }, [["a", rowA, { ...rowA, n: 5 }]]],
    ["a modification that changes nothing", 1, { [A]: { old: { n: 1 }, new: { name: "a", n: ["set", []], tags: ["set", [1, 2]], ext: ["map", []] } } }, []],
  ];
  test.each(cases)("%s", (_, form, updates, expected) => {
    const rows = store();
    expect(brief(done(rows.apply({ T: updates }, form)))).toEqual(expected);
  });

  test("a full reply gives the differences", () => {
    const rows = store();
    expect(done(rows.replaceAll({ T: { [A]: { initial: { name: "a", tags: ["set", [2, 1]] } } } }, 2))).toEqual([]);
    expect(brief(done(rows.replaceAll({ T: { [B]: { new: { name: "b" } } } }, 1)))).toEqual([["b", undefined, rowB], ["a", rowA, undefined]]);
    expect(brief(done(rows.replaceAll({}, 2)))).toEqual([["b", rowB, undefined]]);
  });

  const bad: readonly [string, Json][] = [
    ["not an object", []], ["unknown table", { X: {} }], ["rows no object", { T: 5 }], ["no UUID", { T: { x: { delete: null } } }],
    ["update no object", { T: { [A]: null } }], ["of no kind", { T: { [A]: {} } }], ["modify of the unknown", { T: { [B]: { modify: {} } } }],
    ["unknown column", { T: { [A]: { modify: { nosuch: 1 } } } }], ["unknown column inserted", { T: { [B]: { insert: { nosuch: 1 } } } }],
    ["prototype as a table", { __proto__x: {} }],
  ];
  test.each(bad)("refuses %s and keeps the rows", (_, updates) => {
    const rows = store();
    const good = isObject(updates) && isObject(updates["T"]) ? { T: { [B]: { insert: { name: "b" } }, ...updates["T"] } } : updates;
    expect(() => done(rows.apply(good, 2))).toThrow(OvsdbProtocolError);
    expect([...rows.table("T").keys()]).toEqual([A]);
  });

  test.each([[1, { new: {} }], [2, { initial: {} }]] as const)("rows of which all columns are left out are taken in pieces, in form %d", (form, update) => {
    const rows = new RowStore();
    rows.configure(monitoredTables(SCHEMA, { T: {} }));
    const work = rows.replaceAll({ T: Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`, update])) }, form);
    let pieces = 1;
    while (work.next().done !== true) pieces++;
    expect(rows.table("T").size).toBe(5000);
    expect(pieces).toBeGreaterThan((5000 * 5) / 4200); // a row and its four columns
  });

  test("rows that the server cannot filter are filtered", () => {
    const rows = new RowStore();
    const [table] = monitoredTables(SCHEMA, { T: { columns: ["name", "n"] } }).values();
    rows.configure(new Map([["T", { ...table!, filter: [["n", ">", 5], ["name", "==", "x"]] }]]));
    done(rows.replaceAll({ T: { [A]: { new: { name: "a", n: 3 } }, [B]: { new: { name: "x", n: 3 } } } }, 1));
    expect([...rows.table("T").keys()]).toEqual([B]);
    expect(brief(done(rows.apply({ T: { [A]: { old: { n: 3 }, new: { name: "a", n: 6 } }, [B]: { old: { name: "x" }, new: { name: "y", n: 3 } } } }, 1))))
      .toEqual([["a", undefined, { _uuid: A, name: "a", n: 6 }], ["b", { _uuid: B, name: "x", n: 3 }, undefined]]);
  });
});

// ---- recorded conversations -----------------------------------------------------------------------------------------

/** The schemas a conversation speaks of: replies to get_schema, and the text in rows of the database _Server. */
function schemasOf(json: Json, found = new Map<string, DatabaseSchema>()): Map<string, DatabaseSchema> {
  const add = (schema: DatabaseSchema): void => void found.set(schema.name, schema);
  if (isArray(json)) for (const element of json) schemasOf(element, found);
  if (!isObject(json)) return found;
  for (const [name, member] of Object.entries(json)) {
    if (name === "schema" && typeof member === "string") add(parseSchema(JSON.parse(member) as Json));
    else if (name === "result" && isObject(member) && isObject(member["tables"])) add(parseSchema(member));
    else schemasOf(member, found);
  }
  return found;
}

/** Feeds all that the server said of its monitors to a store for each; returns how many updates that were. */
function replay(lines: readonly JsonObject[], schemas: ReadonlyMap<string, DatabaseSchema>): number {
  const requests = new Map<string, { method: string; params: readonly Json[] }>();
  const stores = new Map<string, { rows: RowStore; form: 1 | 2 }>();
  let updates = 0;
  for (const line of lines) {
    const json = line["json"];
    if (!isObject(json)) continue;
    const conn = stringify(line["conn"] ?? null), id = json["id"] ?? null, method = json["method"], params = json["params"];
    const key = (value: Json | undefined): string => `${conn} ${stringify(value ?? null)}`;
    if (line["dir"] === "client-to-server") {
      if (typeof method === "string" && isArray(params)) {
        requests.set(key(id), { method, params });
        const store = method === "monitor_cond_change" ? stores.get(key(params[0])) : undefined;
        if (store !== undefined && isArray(params)) stores.set(key(params[1]), store);
      }
      continue;
    }
    if (typeof method === "string" && method.startsWith("update") && isArray(params)) {
      const store = stores.get(key(params[0]));
      if (store === undefined) continue;
      done(store.rows.apply(params[method === "update3" ? 2 : 1], store.form));
      updates++;
      continue;
    }
    const request = requests.get(key(id));
    const found = json["result"];
    if (request?.method.startsWith("monitor") !== true || /cancel|change/.test(request.method) || found === undefined || found === null) continue;
    const schema = schemas.get(request.params[0] as string)!;
    const tables = Object.fromEntries(Object.entries(request.params[2] as JsonObject).map(([name, wanted]) => {
      const list = (isArray(wanted) ? wanted : [wanted]) as readonly JsonObject[];
      const columns = list.flatMap((one) => (one["columns"] as readonly string[] | undefined) ?? [...schema.tables.get(name)!.columns.keys(), "_version"]);
      // one database was recorded with a column that no recorded schema has; its rows leave it at the default
      return [name, { columns: columns.filter((column) => column !== "added") }];
    }));
    const form = request.method === "monitor" ? 1 : 2;
    const rows = new RowStore();
    rows.configure(monitoredTables(schema, tables));
    // a resumed reply is about rows that only the earlier connection knew
    if (isArray(found) && found[0] === true) continue;
    done(rows.replaceAll(isArray(found) ? found[2] : found, form));
    stores.set(key(request.params[1]), { rows, form });
    updates++;
  }
  return updates;
}

describe.skipIf(!haveVectors)("recorded conversations", () => {
  const all = new Map(conversationFiles().map((file) => [file, vectors(file)]));
  const common = new Map<string, DatabaseSchema>();
  for (const lines of all.values()) for (const [name, schema] of schemasOf(lines)) if (!common.has(name)) common.set(name, schema);
  const replayed = (lines: readonly JsonObject[]): number => replay(lines, new Map([...common, ...schemasOf(lines)]));

  test.each([...all])("%s", (_, lines) => { replayed(lines); });

  test("they hold what they are replayed for", () => {
    let updates = 0;
    for (const lines of all.values()) updates += replayed(lines);
    expect(updates).toBeGreaterThan(100);
  });
});

// ---- thousands of rows ----------------------------------------------------------------------------------------------

/** The text of the canonical form: members sorted, no white space. */
const canonicalText = (json: Json): string => {
  if (isArray(json)) return `[${json.map(canonicalText).join(",")}]`;
  if (isObject(json)) return `{${Object.keys(json).sort().map((name) => `${JSON.stringify(name)}:${canonicalText(json[name]!)}`).join(",")}}`;
  return stringify(json);
};

describe.skipIf(!haveVectors)("large replies", () => {
  const [recipe] = vectors("large.jsonl");
  const COLUMNS = { Row: { columns: ["name", "n", "ext", "tags"] } };
  const schema = haveVectors ? parseSchema(recipe!["schema"]) : undefined;
  const setOf = (atoms: readonly number[]): Json => (atoms.length === 1 ? atoms[0]! : ["set", atoms]);

  /** Row i before and after the change, and the change in the forms of "update" and "update2". */
  function row(i: number): { before: JsonObject; after: JsonObject; initial: JsonObject; old: JsonObject; modify: JsonObject } {
    const pad: Json = ["pad", "x".repeat(i % 97)];
    const utf8: Json[] = i % 100 === 0 ? [["utf8", "\u00e9\u4e2d\u{1f600}"]] : [];
    const tags = Array.from({ length: i % 6 }, (_, n) => n);
    const before = { name: `lsp-${String(i).padStart(5, "0")}`, n: i * i, ext: ["map", [["i", String(i)], pad, ...utf8]], tags: setOf(tags) };
    const after = { ...before, n: i * i + 1, ext: ["map", [["i", String(i)], ...utf8]], tags: setOf([...tags, 99]) };
    const { n, tags: some, ...rest } = before;
    return {
      before, after, initial: { ...rest, ...(n === 0 ? {} : { n }), ...(tags.length === 0 ? {} : { tags: some }) },
      old: { n, ext: before.ext, tags: some }, modify: { n: n + 1, ext: ["map", [pad]], tags: 99 },
    };
  }
  const tables = (form: (of: ReturnType<typeof row>) => JsonObject): JsonObject => ({
    Row: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`00000000-0000-4000-8000-${i.toString(16).padStart(12, "0")}`, form(row(i))])),
  });
  const forms: readonly { readonly form: 1 | 2; readonly method: string; readonly reply: () => JsonObject; readonly update: () => JsonObject }[] = [
    { form: 1, method: "update", reply: () => tables(({ before }) => ({ new: before })), update: () => tables(({ old, after }) => ({ old, new: after })) },
    { form: 2, method: "update2", reply: () => tables(({ initial }) => ({ initial })), update: () => tables(({ modify }) => ({ modify })) },
  ];
  const digest = (json: Json): string => createHash("sha256").update(canonicalText(json)).digest("hex");
  const expected = (what: string): Json => {
    const found = (recipe!["expect"] as JsonObject)[what] as JsonObject;
    return found["canonical_sha256_of_result"] ?? found["canonical_sha256_of_params_1"]!;
  };

  for (const { form, method, reply, update } of forms) test(`5,000 rows and a change of each by ${method}, in pieces of any size and cut anywhere`, { timeout: 240_000, ...(form === 1 && { tags: "long" }) }, () => {
    expect(digest(reply())).toBe(expected(form === 1 ? "monitor reply" : "monitor_cond reply"));
    expect(digest(update())).toBe(expected(`${method} after the change`));
    // one character as some servers write it, with an escape
    const first = Buffer.from(stringify({ id: 1, result: reply(), error: null }).replace("\u4e2d", "\\u4e2d"));
    const second = Buffer.from(stringify({ id: null, method, params: ["m", update()] }));
    const stream = Buffer.concat([first, second]);
    const wanted = new Map(Object.entries(tables(({ after }) => after)["Row"] as JsonObject));
    const read = (pieces: Iterable<Buffer>): void => {
      const scanner = new MessageScanner(1 << 26);
      const messages: JsonObject[] = [];
      for (const piece of pieces) messages.push(...scanner.push(piece));
      const rows = new RowStore();
      rows.configure(monitoredTables(schema!, COLUMNS));
      expect(done(rows.replaceAll(messages[0]!["result"], form)).length).toBe(5000);
      expect(done(rows.apply((messages[1]!["params"] as readonly Json[])[1], form)).length).toBe(5000);
      expect(messages.length).toBe(2);
      const held = rows.table("Row");
      expect(held.size).toBe(5000);
      for (const i of [0, 1, 100, 4999]) {
        const uuid = `00000000-0000-4000-8000-${i.toString(16).padStart(12, "0")}`;
        const { name, n, ext, tags } = wanted.get(uuid) as { name: string; n: number; ext: [string, [string, string][]]; tags: Json };
        expect(held.get(uuid)).toEqual({ _uuid: uuid, name, n, ext: Object.fromEntries(ext[1]), tags: isArray(tags) ? tags[1] : [tags] });
      }
    };
    for (const size of [1, 2, 3, 7, 1448, 4096, 65536]) {
      read((function* () { for (let i = 0; i < stream.length; i += size) yield stream.subarray(i, i + size); })());
    }
    const sequence = stream.indexOf(Buffer.from("\u{1f600}")), escape = stream.indexOf("\\u4e2d"), number = stream.indexOf(":2499");
    for (const cut of [sequence + 1, sequence + 2, sequence + 3, escape + 1, escape + 3, number + 3, first.length]) {
      expect(cut).toBeGreaterThan(10);
      read([stream.subarray(0, cut), stream.subarray(cut)]);
    }
  });
});
