/** Vectors of the suite of Open vSwitch: types, values, conditions and mutations, read and written. */

import { describe, expect, test } from "vitest";

import { columnType, parseBaseType, parseColumn, parseColumnType, parseSchema, parseTable, type AtomicType, type ColumnType } from "./schema.ts";
import { haveVectors, vectors } from "../testing/support.ts";
import {
  checkAtom, compareAtoms, decodeAtom, decodeValue, defaultValue, encodeCondition, encodeMutation, encodeValue, matches,
  type Condition, type ConditionFunction, type InputValue, type Mutator,
} from "./values.ts";
import { OvsdbValueError } from "../wire/errors.ts";
import { isArray, isObject, type Json, type JsonObject } from "../wire/json.ts";

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

/** The cases of each kind that were looked at. */
const looked = { atoms: 0, forms: 0, data: 0, defaults: 0, sorted: 0, conditions: 0, matches: 0, mutations: 0 };

describe.skipIf(!haveVectors)("values, conditions and mutations of the suite of Open vSwitch", () => {
  const all = vectors("ovs-tests.jsonl");
  const named = (kind: string, ops: readonly string[]): [string, JsonObject][] =>
    all.filter((vector) => vector["kind"] === kind && ops.includes(vector["op"] as string)).map((vector) => [vector["name"] as string, vector]);

  test.each(named("value", ["parse-atoms"]))("%s", (_, vector) => {
    const [base, ...atoms] = vector["args"] as readonly Json[];
    const baseType = parseBaseType(isArray(base) ? base[0] : base);
    looked.atoms += atoms.length;
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
    looked.forms++;
    const args = op === "parse-data" ? (vector["args"] as readonly Json[]).map((arg, i) => (i > 0 && isArray(arg) && arg.length === 1 ? arg[0]! : arg)) : unwrap(vector["args"] as readonly Json[]);
    const execute = () => perform[op]!(args);
    if (vector["error_contains"] !== undefined) {
      expect(execute).toThrow(OvsdbValueError);
      return;
    }
    const results = execute();
    if (op === "parse-data") {
      looked.data += results.length;
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
      looked.conditions++;
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
    looked.matches += found.join("").length;
    expect(found).toEqual(vector["matches"]);
  });

  test.each(named("mutation-syntax", ["parse-mutations"]))("%s", (_, vector) => {
    const table = parseTable("T", vector["table"]!);
    for (const [i, item] of (vector["items"] as readonly Json[]).entries()) {
      looked.mutations++;
      const encode = () => (item as readonly (readonly [string, Mutator, Json])[]).map(([column, mutator, json]) => encodeMutation(table, [column, mutator, plain(json)]));
      if ((at(vector["results"], i) as JsonObject)["valid"] === true) expect(encode, JSON.stringify(item)).not.toThrow();
      else expect(encode, JSON.stringify(item)).toThrow(OvsdbValueError);
    }
  });

  const ATOMS: readonly AtomicType[] = ["integer", "real", "boolean", "string", "uuid"];

  test.each(named("value", ["default-atoms", "default-data"]))("%s", (_, vector) => {
    // what an insert leaves out is what the zero of its type says: {"text": "key T, value T, n_min N: OK"}
    for (const { text } of vector["expect"] as readonly { readonly text: string }[]) {
      const atomOnly = /^(\w+): OK$/.exec(text);
      const [, key = atomOnly![1]!, value = "void", min = "1"] = /^key (\w+), value (\w+), n_min (\d): OK$/.exec(text) ?? [];
      const columnTypeOf = parseColumnType({ key, min: Number(min), max: atomOnly === null ? "unlimited" : 1, ...(value === "void" ? {} : { value }) });
      const zero: Record<string, Json> = { integer: 0, real: 0, boolean: false, string: "", uuid: ["uuid", "00000000-0000-0000-0000-000000000000"] };
      const json: Json = value === "void" ? (atomOnly === null ? ["set", min === "0" ? [] : [zero[key]!]] : zero[key]!) : ["map", min === "0" ? [] : [[zero[key]!, zero[value]!]]];
      expect(encodeValue(columnTypeOf, defaultValue(columnTypeOf)), text).toEqual(json);
      expect(ATOMS).toContain(key);
      looked.defaults++;
    }
  });

  test.each(named("value", ["sort-atoms"]))("%s", (_, vector) => {
    const [[base], atoms] = vector["args"] as readonly [readonly [AtomicType], readonly Json[]];
    const sorted = (json: readonly Json[]) => json.map((atom) => decodeAtom(base, atom));
    expect(sorted(atoms).sort(compareAtoms)).toEqual(sorted(at(vector["expect"], 0) as readonly Json[]));
    looked.sorted += atoms.length;
  });

  test("none was left out", () => {
    expect(all.filter((vector) => vector["kind"] === "value").length).toBe(87);
    expect(looked).toEqual({ atoms: 57, forms: 67, data: 22, defaults: 65, sorted: 42, conditions: 24, matches: 947, mutations: 28 });
  });
});
