import { describe, expect, test } from "vitest";

import { OvsdbValueError } from "../wire/errors.ts";
import type { Json } from "../wire/json.ts";
import { parseColumnType, parseSchema, parseTable, type ColumnType } from "./schema.ts";
import { encodeOperation, insert } from "../session/transact.ts";
import {
  applyDiff, decodeValue, defaultValue, encodeCondition, encodeMutation, encodeValue, equalValues,
  map, namedUuid, set, uuid, type ConditionFunction, type InputValue, type Mutator, type Value,
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
    ["string", "x\ud800y"], ["record", ["map", [["a", "\udc00"]]]], ["record", ["map", [["\ud83d", "b"]]]], ["strings", ["set", ["a", "\udead"]]],
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
