import { describe, expect, test } from "vitest";

import { FakeOvsdbServer } from "./server.ts";
import { atomToJson, checkAtomConstraints, compareAtoms, datumFromJson, datumToJson, defaultDatum, isDefault, type Datum } from "./datum.ts";
import { OvsdbError } from "../wire/errors.ts";
import { isArray, isObject, parseExact, stringify, type Json, type JsonObject } from "../wire/json.ts";
import {
  atomicTypeFromJson, baseTypeFromJson, baseTypeToJson, columnFromJson, columnToJson, columnTypeFromJson, columnTypeToJson, schemaFromJson, schemaToJson,
  tableFromJson, tableToJson,
} from "./schema.ts";
import type { AtomicType, ColumnType } from "../schema/schema.ts";
import { unify } from "../testing/compare.ts";
import { haveVectors, vectors } from "../testing/support.ts";

const all = vectors("ovs-tests.jsonl");
const ofKind = (kind: string): [string, JsonObject][] => all.filter((vector) => vector["kind"] === kind).map((vector) => [vector["name"] as string, vector]);
const list = (json: Json | undefined): readonly Json[] => json as readonly Json[];

/** The text of an error as OVS's own programs print it. */
const errorText = ({ code, details, syntax }: OvsdbError): string =>
  `${syntax === undefined ? "" : `syntax "${syntax}": `}${code}${details === undefined ? "" : `: ${details}`}`;

/** What `work` gives, or the text of what it throws. */
function outcome(work: () => Json): Json {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
    return { text: errorText(error) };
  }
}

/** Arguments that are no JSON stand in {text}; those that are no object stand in an array of one. */
const unwrapped = (json: Json): Json => (isArray(json) && json.length === 1 ? json[0]! : isObject(json) && typeof json["text"] === "string" ? json["text"] : json);
const atomType = (json: Json) => ({ key: baseTypeFromJson(unwrapped(json)), min: 1, max: 1 }) as const;

const readAtom = (type: ColumnType, json: Json): Json => {
  const [atom] = datumFromJson(type, json).keys;
  checkAtomConstraints(type.key, atom!);
  return atomToJson(type.key.type, atom!);
};

/** "key integer, value void, n_min 0: OK" when the default of that type is what the standard says. */
function checkDefault(line: string): Json {
  const [, key, value, min] = /^key (\w+), value (\w+), n_min (\d)/.exec(line)!;
  const zero: Readonly<Record<string, Json>> = { integer: 0, real: 0, boolean: false, string: "", uuid: ["uuid", "00000000-0000-0000-0000-000000000000"] };
  const type: ColumnType = { key: { type: key as AtomicType }, ...(value === "void" ? {} : { value: { type: value as AtomicType } }), min: min === "0" ? 0 : 1, max: Infinity };
  const datum = defaultDatum(type);
  const wanted = min === "0" ? [value === "void" ? "set" : "map", []] : value === "void" ? zero[key!] : ["map", [[zero[key!], zero[value!]]]];
  expect(datumToJson(type, datum)).toEqual(wanted);
  return { text: `${line.split(":")[0]!}: ${isDefault(type, datum) ? "OK" : "wrong"}` };
}

const PERFORM: Readonly<Record<string, (args: readonly Json[], expected: readonly Json[]) => readonly Json[]>> = {
  "parse-atomic-type": (args) => args.map((arg) => outcome(() => atomicTypeFromJson(unwrapped(arg)))),
  "parse-base-type": (args) => args.map((arg) => outcome(() => baseTypeToJson(baseTypeFromJson(unwrapped(arg))))),
  "parse-type": (args) => args.map((arg) => outcome(() => columnTypeToJson(columnTypeFromJson(unwrapped(arg))))),
  "parse-column": ([name, json]) => [outcome(() => columnToJson(columnFromJson(unwrapped(name!) as string, json!)))],
  "parse-table": ([name, json, rootsImplied]) => [outcome(() => tableToJson(tableFromJson(unwrapped(name!) as string, json!), rootsImplied === true))],
  "parse-schema": ([json]) => [outcome(() => schemaToJson(schemaFromJson(json!)))],
  "parse-atoms": ([base, ...atoms]) => atoms.map((atom) => outcome(() => readAtom(atomType(base!), unwrapped(atom)))),
  "parse-data": ([base, ...data]) => data.map((json) => outcome(() => {
    const type = columnTypeFromJson(unwrapped(base!));
    return datumToJson(type, datumFromJson(type, unwrapped(json)));
  })),
  "sort-atoms": ([base, atoms]) => {
    const type = atomType(base!);
    const data: Datum[] = list(atoms).map((atom) => datumFromJson(type, atom));
    return [data.map(({ keys }) => keys[0]!).sort(compareAtoms).map((atom) => atomToJson(type.key.type, atom))];
  },
  "default-atoms": (_, expected) => expected.map((line) => {
    const type = ((line as JsonObject)["text"] as string).split(":")[0] as AtomicType;
    return { text: `${type}: ${isDefault({ key: { type }, min: 1, max: 1 }, defaultDatum({ key: { type }, min: 1, max: 1 })) ? "OK" : "wrong"}` };
  }),
  "default-data": (_, expected) => expected.map((line) => checkDefault((line as JsonObject)["text"] as string)),
};

/** A server with one table T, every row of it referenced by nobody. */
const withTable = (table: Json): FakeOvsdbServer => new FakeOvsdbServer({ databases: [{ schema: { name: "D", version: "1.0.0", tables: { T: table } } }] });

describe.skipIf(!haveVectors)("vectors of other implementations", () => {
  test("all kinds are looked at", () => {
    const seen = new Map<string, number>();
    for (const { kind } of all) seen.set(kind as string, (seen.get(kind as string) ?? 0) + 1);
    expect([...seen.keys()].sort()).toEqual(["condition", "condition-syntax", "mutation", "mutation-syntax", "transactions", "value"]);
    expect(all.length).toBeGreaterThanOrEqual(130);
  });

  test.each(ofKind("value"))("%s", (_, vector) => {
    const expected = vector["expect"] === undefined ? undefined : list(vector["expect"]);
    const results = PERFORM[vector["op"] as string]!(list(vector["args"]), expected ?? []);
    if (expected !== undefined) expect(results).toEqual(expected);
    else expect((results as JsonObject[]).map((result) => result["text"] as string).join("\n")).toContain(vector["error_contains"]);
  });

  test.each(ofKind("condition-syntax"))("%s", async (_, vector) => {
    const server = withTable(vector["table"]!);
    for (const [i, where] of list(vector["items"]).entries()) {
      const [result] = await server.transactJson("D", [{ op: "select", table: "T", where }]);
      expect(Object.hasOwn(result as JsonObject, "rows"), stringify(where)).toBe((list(vector["results"])[i] as JsonObject)["valid"]);
    }
  });

  test.each(ofKind("mutation-syntax"))("%s", async (_, vector) => {
    const server = withTable(vector["table"]!);
    for (const [i, mutations] of list(vector["items"]).entries()) {
      const [result] = await server.transactJson("D", [{ op: "mutate", table: "T", where: [], mutations }]);
      expect(Object.hasOwn(result as JsonObject, "count"), stringify(mutations)).toBe((list(vector["results"])[i] as JsonObject)["valid"]);
    }
  });

  test.each(ofKind("condition"))("%s", async (_, vector) => {
    const server = withTable(vector["table"]!);
    const uuids: unknown[] = [];
    for (const row of list(vector["rows"])) {
      const [result] = await server.transactJson("D", [{ op: "insert", table: "T", row }]);
      uuids.push(((result as JsonObject)["uuid"] as readonly Json[])[1]);
    }
    for (const [i, where] of list(vector["conditions"]).entries()) {
      const [result] = await server.transactJson("D", [{ op: "select", table: "T", where, columns: ["_uuid"] }]);
      const found = new Set(list((result as JsonObject)["rows"]).map((row) => ((row as JsonObject)["_uuid"] as readonly Json[])[1]));
      expect(uuids.map((uuid) => (found.has(uuid as string) ? "T" : "-")).join(""), stringify(where)).toBe(list(vector["matches"])[i]);
    }
  });

  test.each(ofKind("mutation"))("%s", async (_, vector) => {
    const server = withTable(vector["table"]!);
    for (const [i, mutations] of list(vector["mutations"]).entries()) {
      for (const [j, row] of list(vector["rows"]).entries()) {
        const expected = list(list(vector["results"])[i])[j] as JsonObject;
        const results = await server.transactJson("D", [
          { op: "delete", table: "T", where: [] }, { op: "insert", table: "T", row }, { op: "mutate", table: "T", where: [], mutations },
          { op: "select", table: "T", where: [], columns: Object.keys(row as JsonObject) },
        ]);
        const actual = results.find((result) => result !== null && Object.hasOwn(result as JsonObject, "error")) ?? { row: list((results[3] as JsonObject)["rows"])[0]! };
        expect(unify(expected, actual), `${stringify(mutations)} on ${stringify(row)}: ${stringify(actual)} for ${stringify(expected)}`).toBeDefined();
      }
    }
  });

  test.each(ofKind("transactions"))("%s", async (_, vector) => {
    const server = new FakeOvsdbServer({ databases: [{ schema: vector["schema"]! }] });
    const actual: Json[] = [];
    let known: ReadonlyMap<string, string> = new Map();
    for (const [i, transaction] of list(vector["transactions"]).entries()) {
      const [db, ...operations] = list(transaction);
      // a later transaction may name a row that an earlier one made
      const named = parseExact(stringify(operations).replace(/<\d+>/g, (token) => known.get(token) ?? token)) as readonly Json[];
      actual.push(await server.transactJson(db as string, named));
      const pairs = unify(list(vector["results"]).slice(0, i + 1), actual);
      expect(pairs, `${stringify(transaction)}: ${stringify(actual[i]!)} for ${stringify(list(vector["results"])[i]!)}`).toBeDefined();
      known = pairs!;
    }
  });
});
