/**
 * Conditions and mutations (RFC 7047 section 5.1) on stored rows: parsed against a table once, with the refusals of
 * ovsdb-server 3.1, then evaluated on as many rows as there are.
 */

import { OvsdbError } from "../wire/errors.ts";
import { isArray, type Json } from "../wire/json.ts";
import {
  checkAtomConstraints, compareAtoms, datumFromJson, equalData, excludesAll, includesAll, isOrdered, isSetType, sortedDatum, subtract, toInteger,
  typeToText, union, type Datum, type Symbols,
} from "./datum.ts";
import { syntaxError } from "./parse.ts";
import type { Column, Table } from "./table.ts";
import type { ColumnType } from "../schema/schema.ts";
import { isMapType, isScalarType, type Atom } from "../schema/values.ts";

/** A column, how to compare, what with; or always, or never. */
export type Clause = boolean | {
  readonly column: Column;
  readonly test: (value: Datum) => boolean;
  /** The one row that can match. */
  readonly uuid?: string;
};
export type Condition = readonly Clause[];

const byOrder = (holds: (order: number) => boolean) => (value: Datum, than: Datum): boolean =>
  value.keys.length > 0 && holds(compareAtoms(value.keys[0]!, than.keys[0]!));

interface ConditionFunction {
  /** Only for a column of one number or none. */
  readonly ordered?: true;
  /** What may be compared with, where the column's own type is too narrow. */
  readonly argument?: (type: ColumnType) => ColumnType;
  readonly test: (value: Datum, than: Datum) => boolean;
}

const one = (type: ColumnType): ColumnType => ({ ...type, min: 1 });

const FUNCTIONS: Readonly<Record<string, ConditionFunction>> = {
  "<": { ordered: true, argument: one, test: byOrder((order) => order < 0) },
  "<=": { ordered: true, argument: one, test: byOrder((order) => order <= 0) },
  ">": { ordered: true, argument: one, test: byOrder((order) => order > 0) },
  ">=": { ordered: true, argument: one, test: byOrder((order) => order >= 0) },
  "==": { test: equalData },
  "!=": { test: (value, than) => !equalData(value, than) },
  includes: { argument: (type) => (isScalarType(type) ? type : { ...type, min: 0 }), test: includesAll },
  excludes: { argument: (type) => (isScalarType(type) ? type : { ...type, min: 0, max: Infinity }), test: excludesAll },
};

const isTriple = (json: Json): json is readonly [string, string, Json] =>
  isArray(json) && json.length === 3 && typeof json[0] === "string" && typeof json[1] === "string";

const misfit = (json: Json, name: string, column: Column): OvsdbError =>
  syntaxError(json, `Type mismatch: "${name}" operator may not be applied to column ${column.name} of type ${typeToText(column.type)}.`);

function columnNamed(table: Table, name: string, json: Json): Column {
  const column = table.byName.get(name);
  if (column === undefined) throw syntaxError(json, `No column ${name} in table ${table.name}.`, "unknown column");
  return column;
}

function clauseFromJson(table: Table, json: Json, symbols: Symbols | undefined): Clause {
  if (typeof json === "boolean") return json;
  if (!isTriple(json)) throw syntaxError(json, "Parse error in condition.");
  const [name, functionName, argument] = json;
  const column = columnNamed(table, name, json);
  const fn = Object.hasOwn(FUNCTIONS, functionName) ? FUNCTIONS[functionName]! : undefined;
  if (fn === undefined) throw syntaxError(undefined, `No function named ${functionName}.`, "unknown function");
  if (fn.ordered === true && !isOrdered(column.type)) throw misfit(json, functionName, column);
  const than = datumFromJson(fn.argument?.(column.type) ?? column.type, argument, symbols);
  const test = (value: Datum): boolean => fn.test(value, than);
  return column.index === 0 && functionName === "==" ? { column, test, uuid: than.keys[0] as string } : { column, test };
}

/** The UUID of the only row that can match, where a clause names one. */
export function onlyRow(condition: Condition): string | undefined {
  for (const clause of condition) if (typeof clause !== "boolean" && clause.uuid !== undefined) return clause.uuid;
  return undefined;
}

/** @throws OvsdbError */
export function conditionFromJson(table: Table, json: readonly Json[], symbols?: Symbols): Condition {
  return json.map((clause) => clauseFromJson(table, clause, symbols));
}

const holds = (clause: Clause, cells: readonly Datum[]): boolean =>
  typeof clause === "boolean" ? clause : clause.test(cells[clause.column.index]!);

/** What "where" of an operation asks: all clauses hold. */
export const matchesAll = (condition: Condition, cells: readonly Datum[]): boolean => condition.every((clause) => holds(clause, cells));

/** What "where" of a monitor asks: one clause holds, or there is none. */
export const matchesAny = (condition: Condition, cells: readonly Datum[]): boolean =>
  condition.length === 0 || condition.some((clause) => holds(clause, cells));

// ---- mutations ------------------------------------------------------------------------------------------------------

export interface Mutation {
  readonly column: Column;
  /** @throws OvsdbError */
  readonly apply: (value: Datum) => Datum;
}

const INT64_MIN = -(2n ** 63n), INT64_MAX = 2n ** 63n - 1n;

type Fault = "division" | "range";
type Result<T> = T | Fault;

const inRange = (value: bigint): Result<bigint> => (value < INT64_MIN || value > INT64_MAX ? "range" : value);

/**
 * The product as ovsdb-server 3.1 finds it, whose test for overflow is not exact: some products that fit are refused
 * (1 * INT64_MAX) and, of two negative numbers, some that do not fit wrap around. A test double has to err alike.
 */
function product(x: bigint, y: bigint): Result<bigint> {
  const refused = x > 0n
    ? (y > 0n ? x >= INT64_MAX / y : y < INT64_MIN / x)
    : (y > 0n ? x < INT64_MIN / y : x !== 0n && y !== 0n && y < INT64_MAX / y);
  return refused ? "range" : BigInt.asIntN(64, x * y);
}

const quotient = (divide: (x: bigint, y: bigint) => bigint) => (x: bigint, y: bigint): Result<bigint> =>
  y === 0n ? "division" : x === INT64_MIN && y === -1n ? "range" : divide(x, y);

interface Arithmetic {
  readonly integer: (x: bigint, y: bigint) => Result<bigint>;
  /** Absent where reals have no such operation. */
  readonly real?: (x: number, y: number) => Result<number>;
}

const ARITHMETIC: Readonly<Record<string, Arithmetic>> = {
  "+=": { integer: (x, y) => inRange(x + y), real: (x, y) => x + y },
  "-=": { integer: (x, y) => inRange(x - y), real: (x, y) => x - y },
  "*=": { integer: product, real: (x, y) => x * y },
  "/=": { integer: quotient((x, y) => x / y), real: (x, y) => (y === 0 ? "division" : x / y) },
  "%=": { integer: quotient((x, y) => x % y) },
};

function arithmetic(name: string, { integer, real }: Arithmetic, type: ColumnType, argument: Atom): Mutation["apply"] {
  const compute = (atom: Atom): Atom => {
    const result = type.key.type === "integer" ? integer(BigInt(atom), BigInt(argument)) : real!(atom as number, argument as number);
    if (result === "division") throw new OvsdbError("domain error", { details: "Division by zero." });
    if (result === "range" || result === Infinity || result === -Infinity) throw new OvsdbError("range error", { details: `Result of "${name}" operation is out of range.` });
    return typeof result === "bigint" ? toInteger(result) : result;
  };
  return (value) => {
    const keys = value.keys.map(compute);
    for (const key of keys) checkAtomConstraints(type.key, key);
    try {
      return sortedDatum(keys);
    } catch {
      throw new OvsdbError("constraint violation", { details: `Result of "${name}" operation contains duplicates.` });
    }
  };
}

function checkCount(type: ColumnType, value: Datum): Datum {
  const count = value.keys.length;
  if (count >= type.min && count <= type.max) return value;
  throw new OvsdbError("constraint violation", { details: `Attempted to store ${count} elements in ${typeToText(type)}.` });
}

function mutationFromJson(table: Table, json: Json, symbols: Symbols | undefined): Mutation {
  if (!isTriple(json)) throw syntaxError(json, "Parse error in mutation.");
  const [name, mutator, argument] = json;
  const column = columnNamed(table, name, json);
  if (!column.mutable) throw syntaxError(json, `Cannot mutate immutable column ${name} in table ${table.name}.`, "constraint violation");
  const { type } = column, { key, value } = type;
  if (mutator === "insert" || mutator === "delete") {
    if (isScalarType(type)) throw misfit(json, mutator, column);
    if (mutator === "insert") {
      const added = datumFromJson({ ...type, min: 0 }, argument, symbols);
      return { column, apply: (old) => checkCount(type, union(old, added)) };
    }
    const removed = value === undefined ? datumFromJson({ key, min: 0, max: Infinity }, argument, symbols) : pairsOrKeys(type, argument, symbols);
    return { column, apply: (old) => checkCount(type, subtract(old, removed)) };
  }
  const operation = Object.hasOwn(ARITHMETIC, mutator) ? ARITHMETIC[mutator]! : undefined;
  if (operation === undefined) throw syntaxError(undefined, `No mutator named ${mutator}.`, "unknown mutator");
  const applies = (isScalarType(type) || isSetType(type)) && !isMapType(type)
    && (key.type === "integer" || (key.type === "real" && operation.real !== undefined));
  if (!applies) throw misfit(json, mutator, column);
  const operand = datumFromJson({ key: { type: key.type }, min: 1, max: 1 }, argument, symbols).keys[0]!;
  return { column, apply: arithmetic(mutator, operation, type, operand) };
}

/** What goes from a map: pairs, or whatever has one of some keys. */
function pairsOrKeys(type: ColumnType, json: Json, symbols: Symbols | undefined): Datum {
  try {
    return datumFromJson({ ...type, min: 0, max: Infinity }, json, symbols);
  } catch {
    return datumFromJson({ key: type.key, min: 0, max: Infinity }, json, symbols);
  }
}

/** @throws OvsdbError */
export function mutationsFromJson(table: Table, json: readonly Json[], symbols?: Symbols): readonly Mutation[] {
  return json.map((mutation) => mutationFromJson(table, mutation, symbols));
}
