import { describe, expect, test } from "vitest";

import { OvsdbValueError } from "./errors.ts";
import { isArray, isObject, type Json, type JsonObject } from "./json.ts";
import { columnType, parseBaseType, parseColumn, parseColumnType, parseSchema, parseTable, type ColumnType } from "./schema.ts";
import { haveVectors, vectors } from "./testing.ts";
import { encodeOperation, insert } from "./transact.ts";
import {
  applyDiff, checkAtom, decodeAtom, decodeValue, defaultValue, encodeCondition, encodeMutation, encodeValue, equalValues,
  map, matches, namedUuid, set, uuid, type Condition, type ConditionFunction, type InputValue, type Mutator, type Value,
} from "./values.ts";

const U1 = "550e8400-e29b-41d4-a716-446655440000", U2 = "00000000-0000-0000-0000-00000000000a";
const type = (json: Json): ColumnType => parseColumnType(json);
const T = {
  string: type("string"), integer: type("integer"), real: type("real"), boolean: type("boolean"), uuid: type("uuid"),
  optional: type({ key: "integer", min: 0, max: 1 }),
  strings: type({ key: "string", min: 0, max: "unlimited" }),
  integers: type({ key: "integer", min: 0, max: "unlimited" }),
  uuids: type({ key: "uuid", min: 0, max: "unlimited" }),
  record: type({ key: "string", value: "string", min: 0, max: "unlimited" }),
  queues: type({ key: "integer", value: "uuid", min: 0, max: "unlimited" }),
};

describe("values", () => {
  const both: readonly [keyof typeof T, Json, Value][] = [
    ["string", "x", "x"], ["integer", -5, -5], ["real", 0.5, 0.5], ["boolean", false, false], ["uuid", ["uuid", U1], U1],
    ["integer", 9223372036854775807n, 9223372036854775807n],
    ["strings", ["set", []], []], ["strings", ["set", ["a", "b"]], ["a", "b"]], ["uuids", ["set", [["uuid", U1]]], [U1]],
    ["record", ["map", []], {}], ["record", ["map", [["k", "v"], ["constructor", ""]]], { k: "v", constructor: "" }],
    ["queues", ["map", [[0, ["uuid", U1]]]], new Map([[0, U1]])],
  ];
  test.each(both)("%s %o", (name, json, value) => {
    expect(decodeValue(T[name], json)).toEqual(value);
    expect(encodeValue(T[name], value)).toEqual(json);
  });

  const decoded: readonly [keyof typeof T, Json, Value][] = [
    ["optional", ["set", []], undefined], ["optional", 3, 3], ["optional", ["set", [3]], 3],
    ["strings", "alone", ["alone"]], ["integers", ["set", [10, 9, 1]], [1, 9, 10]], ["string", ["set", ["x"]], "x"],
  ];
  test.each(decoded)("decodes %s %o", (name, json, value) => expect(decodeValue(T[name], json)).toEqual(value));

  const encoded: readonly [keyof typeof T, InputValue, Json][] = [
    ["optional", undefined, ["set", []]], ["optional", null, ["set", []]], ["optional", 3, ["set", [3]]],
    ["strings", "alone", ["set", ["alone"]]], ["strings", new Set(["a"]), ["set", ["a"]]], ["strings", set(["a"]), ["set", ["a"]]],
    ["uuids", [namedUuid("row"), uuid(U1), U2], ["set", [["named-uuid", "row"], ["uuid", U1], ["uuid", U2]]]],
    ["uuid", namedUuid("row"), ["named-uuid", "row"]],
    ["record", new Map([["k", "v"]]), ["map", [["k", "v"]]]], ["record", map({ k: "v" }), ["map", [["k", "v"]]]],
    ["record", { uuid: "a key like another" }, ["map", [["uuid", "a key like another"]]]],
    ["queues", map(new Map([[1, namedUuid("q")]])), ["map", [[1, ["named-uuid", "q"]]]]],
  ];
  test.each(encoded)("encodes %s %o", (name, value, json) => expect(encodeValue(T[name], value)).toEqual(json));

  const refusedIn: readonly [keyof typeof T, Json][] = [
    ["string", 5], ["integer", 0.5], ["integer", "1"], ["boolean", "true"], ["uuid", U1], ["uuid", ["uuid", "x"]], ["string", ["set", []]],
    ["strings", ["set", ["a", "a"]]], ["strings", ["set"]], ["optional", ["set", [1, 2]]], ["record", ["set", []]], ["record", ["map", [["a"]]]],
    ["record", ["map", [["a", "b"], ["a", "c"]]]], ["record", {}], ["uuid", ["named-uuid", "x"]], ["string", null],
  ];
  test.each(refusedIn)("does not decode %s %o", (name, json) => expect(() => decodeValue(T[name], json)).toThrow(OvsdbValueError));

  const refusedOut: readonly [keyof typeof T, InputValue][] = [
    ["string", 5], ["string", undefined], ["string", "a\0b"], ["string", "\ud800"], ["integer", 1.5], ["integer", 2 ** 60], ["integer", 2n ** 63n],
    ["real", Infinity], ["real", NaN], ["uuid", "not one"], ["uuid", "row"], ["strings", [1]], ["strings", { a: "b" }], ["record", ["a"]], ["record", "a"],
    ["record", { a: 1 }], ["boolean", 1], ["string", ["a", "b"]],
  ];
  test.each(refusedOut)("does not encode %s %o", (name, value) => expect(() => encodeValue(T[name], value)).toThrow(OvsdbValueError));

  test("defaults are what an insert leaves out", () => {
    expect(Object.values(T).map(defaultValue)).toEqual(["", 0, 0, false, "00000000-0000-0000-0000-000000000000", undefined, [], [], [], {}, new Map()]);
  });

  const diffs: readonly [keyof typeof T, Value, Json, Value][] = [
    ["string", "a", "b", "b"], ["optional", 1, ["set", []], undefined], ["optional", undefined, 2, 2], ["optional", 1, 2, 2],
    ["integers", [1, 3], ["set", [2, 3]], [1, 2]], ["integers", [], 5, [5]], ["integers", [5], ["set", [5]], []],
    ["record", { a: "1", b: "2", c: "3" }, ["map", [["a", "1"], ["b", "x"], ["d", "4"]]], { b: "x", c: "3", d: "4" }],
    ["queues", new Map([[0, U1]]), ["map", [[0, ["uuid", U1]], [1, ["uuid", U2]]]], new Map([[1, U2]])],
  ];
  test.each(diffs)("%s %o changed by %o is %o", (name, old, diff, expected) => {
    const changed = applyDiff(T[name], old, diff);
    expect(changed).toEqual(expected);
    expect(equalValues(T[name], changed, expected)).toBe(true);
    expect(equalValues(T[name], changed, old)).toBe(false);
  });

  test("a map's prototype-like keys are keys", () => {
    const record = decodeValue(T.record, ["map", [["__proto__", "x"], ["toString", "y"]]]) as Record<string, string>;
    expect(Object.keys(record)).toEqual(["__proto__", "toString"]);
    expect("valueOf" in record).toBe(false);
    expect(encodeValue(T.record, record)).toEqual(["map", [["__proto__", "x"], ["toString", "y"]]]);
  });

  const table = parseTable("T", { columns: { i: { type: "integer" }, s: { type: { key: "string", min: 0, max: "unlimited" } }, m: { type: { key: "string", value: "string", min: 0, max: "unlimited" } } } });
  test("conditions and mutations", () => {
    expect(encodeCondition(table, ["_uuid", "==", U1])).toEqual(["_uuid", "==", ["uuid", U1]]);
    expect(encodeCondition(table, ["m", "includes", { a: "b" }])).toEqual(["m", "includes", ["map", [["a", "b"]]]]);
    expect(encodeMutation(table, ["m", "delete", ["a"]])).toEqual(["m", "delete", ["set", ["a"]]]);
    expect(encodeMutation(table, ["m", "delete", { a: "b" }])).toEqual(["m", "delete", ["map", [["a", "b"]]]]);
    expect(encodeMutation(table, ["m", "insert", { a: "b" }])).toEqual(["m", "insert", ["map", [["a", "b"]]]]);
    expect(encodeMutation(table, ["i", "+=", 2n ** 62n])).toEqual(["i", "+=", 2n ** 62n]);
    for (const mutation of [["s", "+=", 1], ["i", "insert", 1], ["x", "+=", 1], ["i", "^=", 1]] as [string, Mutator, InputValue][]) {
      expect(() => encodeMutation(table, mutation)).toThrow(OvsdbValueError);
    }
    for (const condition of [["s", "<", "a"], ["x", "==", 1], ["i", "~", 1]] as [string, ConditionFunction, InputValue][]) {
      expect(() => encodeCondition(table, condition)).toThrow(OvsdbValueError);
    }
  });

  test("an undefined column of a row is left out, null empties it", () => {
    const schema = parseSchema({ name: "D", version: "1.0.0", tables: { T: { columns: { i: { type: "integer" }, s: { type: { key: "string", min: 0 } } } } } });
    expect(encodeOperation(schema, insert("T", { i: undefined, s: null }, { uuidName: "r" }))).toEqual({ op: "insert", table: "T", row: { s: ["set", []] }, "uuid-name": "r" });
  });
});

// ---- vectors --------------------------------------------------------------------------------------------------------

const at = (json: Json | undefined, i: number): Json => (json as readonly Json[])[i]!;
const textOf = (json: Json): Json => (isObject(json) && typeof json["text"] === "string" ? json["text"] : json);

/** OVS's canonical form of a value, for comparing: its ["set", [x]] of one element is x. */
const canonical = (columnTypeOf: ColumnType, json: Json): Json => {
  const encoded = encodeValue(columnTypeOf, decodeValue(columnTypeOf, json));
  if (!isArray(encoded) || (encoded[0] !== "set" && encoded[0] !== "map")) return encoded;
  const elements = [...encoded[1] as readonly Json[]];
  if (encoded[0] === "set" && elements.length === 1) return elements[0]!;
  const order = (a: Json, b: Json): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
  return [encoded[0], elements.sort(order)];
};

/** What each kind of vector asks for, on arguments freed of their wrapping. */
const perform: Readonly<Record<string, (args: readonly Json[]) => Json[]>> = {
  "parse-atomic-type": (args) => args.map((arg) => parseBaseType(arg).type),
  "parse-base-type": (args) => args.map((arg) => (parseBaseType(arg), arg)),
  "parse-type": (args) => args.map((arg) => (parseColumnType(arg), arg)),
  "parse-column": ([name, json]) => (parseColumn(textOf(name!) as string, json!), [json!]),
  "parse-table": ([name, json]) => (parseTable(textOf(name!) as string, json!), [json!]),
  "parse-schema": ([json]) => (parseSchema(json), [json!]),
  "parse-data": ([base, ...data]) => data.map((datum) => canonical(columnTypeFrom(base!), datum)),
};

/** In vectors a type stands for itself or wrapped in an array of one. */
const columnTypeFrom = (json: Json): ColumnType => parseColumnType(isArray(json) ? json[0]! : json);
const unwrap = (args: readonly Json[]): readonly Json[] => args.map((arg) => (isArray(arg) && arg.length === 1 ? arg[0]! : arg));

describe.skipIf(!haveVectors)("vectors", () => {
  const all = vectors("ovs-tests.jsonl");
  const named = (kind: string, ops: readonly string[]): [string, JsonObject][] =>
    all.filter((vector) => vector["kind"] === kind && ops.includes(vector["op"] as string)).map((vector) => [vector["name"] as string, vector]);

  test.each(named("value", ["parse-atoms"]))("%s", (_, vector) => {
    const [base, ...atoms] = vector["args"] as readonly Json[];
    const baseType = parseBaseType(isArray(base) ? base[0] : base);
    for (const [i, atom] of atoms.entries()) {
      const json = at(atom, 0) === "uuid" ? atom : at(atom, 0), expected = at(vector["expect"], i);
      const parse = () => {
        const value = decodeAtom(baseType.type, json);
        checkAtom(baseType, value);
        return value;
      };
      if (isObject(expected)) expect(parse, JSON.stringify(atom)).toThrow((expected["text"] as string).includes("constraint violation") ? "constraint violation" : "syntax error");
      else expect(parse()).toEqual(isArray(expected) ? expected[1] : expected);
    }
  });

  test.each(named("value", Object.keys(perform)))("%s", (_, vector) => {
    const op = vector["op"] as string;
    const args = op === "parse-data" ? (vector["args"] as readonly Json[]).map((arg, i) => (i > 0 && isArray(arg) && arg.length === 1 ? arg[0]! : arg)) : unwrap(vector["args"] as readonly Json[]);
    const execute = () => perform[op]!(args);
    if (vector["error_contains"] !== undefined) {
      expect(execute).toThrow(OvsdbValueError);
      return;
    }
    const results = execute();
    if (op === "parse-data") {
      const wanted = (vector["expect"] as readonly Json[]).map((json) => canonical(columnTypeFrom(args[0]!), json));
      expect(results).toEqual(wanted);
    }
  });

  /** JSON back to what a user would write. */
  const plain = (json: Json): InputValue => {
    if (!isArray(json)) return json as InputValue;
    if (json[0] === "uuid") return json[1] as string;
    if (json[0] === "set") return (json[1] as readonly Json[]).map((element) => plain(element) as string);
    return new Map((json[1] as readonly (readonly [Json, Json])[]).map(([k, v]) => [plain(k) as string, plain(v) as string]));
  };
  const conditionOf = (json: Json): Condition => (isArray(json) ? [json[0] as string, json[1] as ConditionFunction, plain(json[2]!)] : json as boolean);

  test.each(named("condition-syntax", ["parse-conditions"]))("%s", (_, vector) => {
    const table = parseTable("T", vector["table"]!);
    for (const [i, item] of (vector["items"] as readonly Json[]).entries()) {
      const encode = () => (item as readonly Json[]).map((condition) => encodeCondition(table, conditionOf(condition)));
      if ((at(vector["results"], i) as JsonObject)["valid"] === true) expect(encode, JSON.stringify(item)).not.toThrow();
      else expect(encode, JSON.stringify(item)).toThrow(OvsdbValueError);
    }
  });

  test.each(named("condition", ["evaluate-conditions"]))("%s", (_, vector) => {
    const table = parseTable("T", vector["table"]!);
    const rows = (vector["rows"] as readonly JsonObject[]).map((row) =>
      Object.fromEntries(Object.entries(row).map(([column, json]) => [column, decodeValue(columnType(table, column), json)])));
    const found = (vector["conditions"] as readonly (readonly Json[])[]).map((conditions) =>
      rows.map((row) => (conditions.every((condition) => matches(table, row, conditionOf(condition))) ? "T" : "-")).join(""));
    expect(found).toEqual(vector["matches"]);
  });

  test.each(named("mutation-syntax", ["parse-mutations"]))("%s", (_, vector) => {
    const table = parseTable("T", vector["table"]!);
    for (const [i, item] of (vector["items"] as readonly Json[]).entries()) {
      const encode = () => (item as readonly (readonly [string, Mutator, Json])[]).map(([column, mutator, json]) => encodeMutation(table, [column, mutator, plain(json)]));
      if ((at(vector["results"], i) as JsonObject)["valid"] === true) expect(encode, JSON.stringify(item)).not.toThrow();
    }
  });
});
