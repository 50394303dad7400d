/**
 * Values: between OVSDB's JSON notation (RFC 7047 section 5.1) and plain JS, guided by the column's type.
 *
 *     scalar (min 1, max 1)     string | number | bigint | boolean        integers beyond 2^53 are bigint
 *     optional (min 0, max 1)   the same or undefined
 *     set                       readonly array, sorted, so that equal sets are equal arrays
 *     map, string keys          Record (without a prototype: a key may be called "constructor")
 *     map, other keys           ReadonlyMap
 *     uuid                      its string
 *
 * Encoding takes these and is generous: a Set, a lone value for a set of one, undefined or null for an empty one, and
 * the helpers below. Ranges and enums are the server's to check; types are checked here.
 */

import { show } from "./brief.ts";
import { OvsdbValueError } from "../wire/errors.ts";
import { isArray, type Json } from "../wire/json.ts";
import { columnType, type AtomicType, type BaseType, type ColumnType, type TableSchema } from "./schema.ts";

export type Atom = string | number | bigint | boolean;

/** What a column decodes to. */
export type Value = Atom | undefined | readonly Atom[] | Readonly<Record<string, Atom>> | ReadonlyMap<Atom, Atom>;

export interface Uuid { readonly uuid: string }
export interface NamedUuid { readonly namedUuid: string }
/** A set spelled out, where an array will not do. */
export interface OvsdbSet { readonly set: readonly InputAtom[] }
/** A map spelled out; the only form whose keys may be named UUIDs. */
export interface OvsdbMap { readonly map: ReadonlyMap<InputAtom, InputAtom> }

export type InputAtom = Atom | Uuid | NamedUuid;
/** What a column may be given as. */
export type InputValue =
  | InputAtom | null | undefined | readonly InputAtom[] | ReadonlySet<InputAtom> | ReadonlyMap<InputAtom, InputAtom>
  | OvsdbSet | OvsdbMap | Readonly<Record<string, InputAtom>>;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export const isUuid = (text: string): boolean => UUID.test(text);

class UuidRef implements Uuid {
  readonly uuid: string;
  constructor(text: string) { this.uuid = text; }
}
class NamedUuidRef implements NamedUuid {
  readonly namedUuid: string;
  constructor(name: string) { this.namedUuid = name; }
}
class SetRef implements OvsdbSet {
  readonly set: readonly InputAtom[];
  constructor(set: readonly InputAtom[]) { this.set = set; }
}
class MapRef implements OvsdbMap {
  readonly map: ReadonlyMap<InputAtom, InputAtom>;
  constructor(map: ReadonlyMap<InputAtom, InputAtom>) { this.map = map; }
}

/** A row's UUID; a plain string does as well wherever the column's type says uuid. @throws OvsdbValueError */
export function uuid(text: string): Uuid {
  if (!isUuid(text)) throw new OvsdbValueError("syntax error", { details: `${JSON.stringify(text)} is no UUID` });
  return new UuidRef(text.toLowerCase());
}

/** The row that an insert of the same transaction names with `uuidName`. @throws OvsdbValueError */
export function namedUuid(name: string): NamedUuid {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new OvsdbValueError("syntax error", { details: `${JSON.stringify(name)} is no name for a UUID` });
  return new NamedUuidRef(name);
}

export function set(elements: Iterable<InputAtom>): OvsdbSet {
  return new SetRef([...elements]);
}

export function map(entries: ReadonlyMap<InputAtom, InputAtom> | Readonly<Record<string, InputAtom>>): OvsdbMap {
  return new MapRef(new Map<InputAtom, InputAtom>(entries instanceof Map ? entries : Object.entries(entries)));
}

// ---- types ----------------------------------------------------------------------------------------------------------

export const isMapType = (type: ColumnType): boolean => type.value !== undefined;
export const isScalarType = (type: ColumnType): boolean => type.value === undefined && type.min === 1 && type.max === 1;
export const isOptionalType = (type: ColumnType): boolean => type.value === undefined && type.min === 0 && type.max === 1;

const ZERO_UUID = "00000000-0000-0000-0000-000000000000";
const ZERO: Readonly<Record<AtomicType, Atom>> = { integer: 0, real: 0, boolean: false, string: "", uuid: ZERO_UUID };

/** The value of a column that an insert leaves out; servers leave such columns out of monitor replies. RFC 7047 5.2.1 */
export function defaultValue(type: ColumnType): Value {
  if (isOptionalType(type)) return undefined;
  if (type.value === undefined) {
    if (type.max === 1) return ZERO[type.key.type];
    return type.min === 0 ? [] : [ZERO[type.key.type]];
  }
  const value = ZERO[type.value.type];
  return mapFrom(type, type.min === 0 ? [] : [[ZERO[type.key.type], value]]);
}

/** Order of atoms of one type; any fixed order serves, this one agrees with the server's for ASCII. */
export function compareAtoms(a: Atom, b: Atom): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function sorted(atoms: Atom[]): Atom[] {
  for (let i = 1; i < atoms.length; i++) {
    if (compareAtoms(atoms[i - 1]!, atoms[i]!) > 0) return atoms.sort(compareAtoms);
  }
  return atoms;
}

function mapFrom(type: ColumnType, entries: Iterable<readonly [Atom, Atom]>): Readonly<Record<string, Atom>> | ReadonlyMap<Atom, Atom> {
  if (type.key.type !== "string") return new Map(entries);
  const record = Object.create(null) as Record<string, Atom>;
  for (const [key, value] of entries) record[key as string] = value;
  return record;
}

// ---- decoding -------------------------------------------------------------------------------------------------------

const fail = (details: string): never => { throw new OvsdbValueError("syntax error", { details }); };

/** Decodes an `<atom>`. @throws OvsdbValueError */
export function decodeAtom(type: AtomicType, json: Json | undefined): Atom {
  switch (type) {
    case "string":
      if (typeof json === "string") return SURROGATE.test(json) ? fail("a string holds half a surrogate pair") : json;
      break;
    case "integer":
      if (typeof json === "bigint" || Number.isInteger(json)) return typeof json === "bigint" ? json : (json as number) + 0;
      break;
    case "real":
      if (typeof json === "number" && Number.isFinite(json)) return json + 0; // -0 becomes 0
      if (typeof json === "bigint") return Number(json);
      break;
    case "boolean":
      if (typeof json === "boolean") return json;
      break;
    case "uuid":
      if (isArray(json) && json.length === 2 && json[0] === "uuid" && typeof json[1] === "string" && isUuid(json[1])) return json[1].toLowerCase();
      return fail(`expected ["uuid", <string>], got ${show(json)}`);
  }
  return fail(`expected ${type}, got ${show(json)}`);
}

/** Decodes a `<value>` of a column. @throws OvsdbValueError */
export function decodeValue(type: ColumnType, json: Json): Value {
  if (type.value !== undefined) {
    if (!isArray(json) || json[0] !== "map" || !isArray(json[1])) return fail(`expected ["map", <array>], got ${show(json)}`);
    const pairs = json[1];
    checkCount(type, pairs.length);
    const entries = new Map<Atom, Atom>();
    for (const pair of pairs) {
      if (!isArray(pair) || pair.length !== 2) return fail(`expected a pair, got ${show(pair)}`);
      entries.set(decodeAtom(type.key.type, pair[0]), decodeAtom(type.value.type, pair[1]));
    }
    if (entries.size !== pairs.length) throw new OvsdbValueError("ovsdb error", { details: "map contains duplicate key" });
    return mapFrom(type, entries);
  }
  if (!isArray(json) || json[0] !== "set") {
    const atom = decodeAtom(type.key.type, json);
    return type.max === 1 ? atom : [atom];
  }
  const elements = json[1];
  if (!isArray(elements)) return fail(`expected ["set", <array>], got ${show(json)}`);
  checkCount(type, elements.length);
  if (type.max === 1) return elements.length === 0 ? undefined : decodeAtom(type.key.type, elements[0]);
  const atoms = sorted(elements.map((element) => decodeAtom(type.key.type, element)));
  for (let i = 1; i < atoms.length; i++) {
    if (atoms[i - 1] === atoms[i]) throw new OvsdbValueError("ovsdb error", { details: "set contains duplicate" });
  }
  return atoms;
}

function checkCount(type: ColumnType, count: number): void {
  if (count < type.min || count > type.max) fail(`${count} elements where ${type.min} to ${type.max} are allowed`);
}

/** Checks an atom against its type's enum and bounds. @throws OvsdbValueError "constraint violation" */
export function checkAtom(base: BaseType, atom: Atom): void {
  const refuse = (why: string): never => { throw new OvsdbValueError("constraint violation", { details: `${show(atom)} ${why}` }); };
  if (base.enum !== undefined && !base.enum.includes(atom)) refuse("is not one of the allowed values");
  if (base.type === "boolean" || base.type === "uuid") return;
  const size = base.type === "string" ? Array.from(atom as string).length : atom as number | bigint;
  const min = base.minInteger ?? base.minReal ?? base.minLength, max = base.maxInteger ?? base.maxReal ?? base.maxLength;
  if (min !== undefined && size < min) refuse(`is below the minimum ${min}`);
  if (max !== undefined && size > max) refuse(`is above the maximum ${max}`);
}

// ---- encoding -------------------------------------------------------------------------------------------------------

const isPlainAtom = (value: unknown): value is Atom =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean" || typeof value === "bigint";

function encodeReference(value: unknown): Json | undefined {
  if (value instanceof UuidRef) return ["uuid", value.uuid];
  if (value instanceof NamedUuidRef) return ["named-uuid", value.namedUuid];
  return undefined;
}

const INT64_MIN = -(2n ** 63n), INT64_MAX = 2n ** 63n - 1n;

/** Half of a pair, which no UTF-8 has (RFC 3629, 3): whoever it is handed on to fails on it. */
const SURROGATE = /\p{Surrogate}/u;

/** Encodes an atom. @throws OvsdbValueError */
export function encodeAtom(type: AtomicType, value: InputAtom | null | undefined): Json {
  switch (type) {
    case "string":
      if (typeof value === "string") {
        // ovsdb-server hangs up on these; one bad string must not cost the connection
        if (value.includes("\0") || SURROGATE.test(value)) return fail("a string holds NUL or half a surrogate pair");
        return value;
      }
      break;
    case "integer":
      if (typeof value === "bigint" && value >= INT64_MIN && value <= INT64_MAX) return value;
      if (Number.isSafeInteger(value)) return value as number;
      break;
    case "real":
      if (typeof value === "number" && Number.isFinite(value)) return value;
      break;
    case "boolean":
      if (typeof value === "boolean") return value;
      break;
    case "uuid": {
      if (typeof value === "string" && isUuid(value)) return ["uuid", value.toLowerCase()];
      const reference = encodeReference(value);
      if (reference !== undefined) return reference;
      break;
    }
  }
  return fail(`expected ${type}, got ${show(value)}`);
}

/** The elements of a value given for a set, whatever form it has. */
function elementsOf(value: InputValue): readonly InputAtom[] {
  if (value === undefined || value === null) return [];
  if (value instanceof SetRef) return value.set;
  if (Array.isArray(value)) return value as readonly InputAtom[];
  if (value instanceof Set) return [...value as ReadonlySet<InputAtom>];
  if (isPlainAtom(value) || encodeReference(value) !== undefined) return [value as InputAtom];
  return fail(`expected a set or a value, got ${show(value)}`);
}

function entriesOf(value: InputValue): readonly (readonly [InputAtom, InputAtom])[] {
  if (value === undefined || value === null) return [];
  if (value instanceof MapRef) return [...value.map];
  if (value instanceof Map) return [...value as ReadonlyMap<InputAtom, InputAtom>];
  if (typeof value !== "object" || Array.isArray(value) || value instanceof Set || value instanceof SetRef || encodeReference(value) !== undefined) {
    return fail(`expected a map, got ${show(value)}`);
  }
  return Object.entries(value).filter((entry) => entry[1] !== undefined) as [string, InputAtom][];
}

const encodeSet = (type: AtomicType, value: InputValue): Json => ["set", elementsOf(value).map((element) => encodeAtom(type, element))];

/** Encodes a value for a column. @throws OvsdbValueError */
export function encodeValue(type: ColumnType, value: InputValue): Json {
  if (type.value !== undefined) {
    const valueType = type.value.type;
    return ["map", entriesOf(value).map(([k, v]): Json => [encodeAtom(type.key.type, k), encodeAtom(valueType, v)])];
  }
  if (isScalarType(type)) {
    const elements = elementsOf(value);
    if (elements.length !== 1) return fail(`expected one ${type.key.type}, got ${show(value)}`);
    return encodeAtom(type.key.type, elements[0]);
  }
  return encodeSet(type.key.type, value);
}

// ---- conditions and mutations ---------------------------------------------------------------------------------------

export type ConditionFunction = "<" | "<=" | "==" | "!=" | ">=" | ">" | "includes" | "excludes";
/** A column, how to compare, a plain JS value; a boolean stands for "always" or "never". */
export type Condition = boolean | readonly [column: string, fn: ConditionFunction, value: InputValue];
export type Mutator = "+=" | "-=" | "*=" | "/=" | "%=" | "insert" | "delete";
export type Mutation = readonly [column: string, mutator: Mutator, value: InputValue];

const FUNCTIONS: ReadonlySet<string> = new Set<ConditionFunction>(["<", "<=", "==", "!=", ">=", ">", "includes", "excludes"]);
const ARITHMETIC: ReadonlySet<string> = new Set<Mutator>(["+=", "-=", "*=", "/=", "%="]);

/** @throws OvsdbValueError */
export function encodeCondition(table: TableSchema, condition: Condition): Json {
  if (typeof condition === "boolean") return condition;
  const [column, fn, value] = condition;
  if (!FUNCTIONS.has(fn)) return fail(`${show(fn)} is no condition function`);
  const type = columnType(table, column);
  if (fn.startsWith("<") || fn.startsWith(">")) {
    if (type.value !== undefined || type.max !== 1 || (type.key.type !== "integer" && type.key.type !== "real")) return fail(`"${fn}" may not be applied to column ${column}`);
    return [column, fn, encodeAtom(type.key.type, value as InputAtom)];
  }
  return [column, fn, encodeValue(type, value)];
}

/** @throws OvsdbValueError */
export function encodeMutation(table: TableSchema, [column, mutator, value]: Mutation): Json {
  const type = columnType(table, column);
  if (ARITHMETIC.has(mutator)) {
    const numbers = type.key.type === "integer" || (type.key.type === "real" && mutator !== "%=");
    if (type.value !== undefined || !numbers) return fail(`"${mutator}" may not be applied to column ${column}`);
    return [column, mutator, encodeAtom(type.key.type, value as InputAtom)];
  }
  if (mutator !== "insert" && mutator !== "delete") return fail(`${show(mutator)} is no mutator`);
  if (isScalarType(type)) return fail(`"${mutator}" may not be applied to column ${column}, which holds one value`);
  if (type.value === undefined) return [column, mutator, encodeSet(type.key.type, value)];
  const byKeys = mutator === "delete" && (isPlainAtom(value) || Array.isArray(value) || value instanceof Set || value instanceof SetRef || encodeReference(value) !== undefined);
  return [column, mutator, byKeys ? encodeSet(type.key.type, value) : encodeValue(type, value)];
}

// ---- comparing and changing decoded values --------------------------------------------------------------------------

const mapEntries = (value: Value): [Atom, Atom][] =>
  value instanceof Map ? [...value as ReadonlyMap<Atom, Atom>] : Object.entries(value as Readonly<Record<string, Atom>>);

/** Whether two decoded values of one column are the same. */
export function equalValues(type: ColumnType, a: Value, b: Value): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  if (type.value !== undefined) {
    if (a instanceof Map && b instanceof Map) {
      if (a.size !== b.size) return false;
      for (const [key, value] of a as ReadonlyMap<Atom, Atom>) if (b.get(key) !== value) return false; // a value is never undefined
      return true;
    }
    const left = a as Readonly<Record<string, Atom>>, right = b as Readonly<Record<string, Atom>>;
    const keys = Object.keys(left);
    return keys.length === Object.keys(right).length && keys.every((key) => right[key] === left[key]);
  }
  if (type.max === 1) return false; // atoms, and not ===
  const left = a as readonly Atom[], right = b as readonly Atom[];
  return left.length === right.length && left.every((atom, i) => atom === right[i]);
}

/**
 * Applies a difference of update2/update3 to a decoded value: for at most one element the difference is the new value,
 * for sets the elements that come or go, for maps a pair that comes, goes (same value) or replaces (another value).
 */
export function applyDiff(type: ColumnType, old: Value, diff: Json): Value {
  if (type.max === 1) return decodeValue(type, diff);
  const change = decodeValue({ ...type, min: 0, max: Infinity }, diff);
  if (type.value !== undefined) {
    const entries = new Map(mapEntries(old));
    for (const [key, value] of mapEntries(change)) {
      if (entries.get(key) === value) entries.delete(key);
      else entries.set(key, value);
    }
    return mapFrom(type, entries);
  }
  const before = old as readonly Atom[];
  if (change instanceof Array && change.length * 16 < before.length) return withFew(before, change);
  const elements = new Set(before);
  for (const atom of change as readonly Atom[]) if (!elements.delete(atom)) elements.add(atom);
  return sorted([...elements]);
}

/** A sorted set without those of `change` that it has, and with those that it lacks; what is few is found by halves. */
function withFew(before: readonly Atom[], change: readonly Atom[]): Atom[] {
  const next = [...before];
  for (const atom of change) {
    let low = 0, high = next.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareAtoms(next[middle]!, atom) < 0) low = middle + 1;
      else high = middle;
    }
    next.splice(low, next[low] === atom ? 1 : 0, ...(next[low] === atom ? [] : [atom]));
  }
  return next;
}

/** Whether a decoded row matches one condition as a server would say. RFC 7047 section 5.1 and ovsdb-server(7) 5.1. */
export function matches(table: TableSchema, row: Readonly<Record<string, Value>>, condition: Condition): boolean {
  if (typeof condition === "boolean") return condition;
  const [column, fn, given] = condition;
  const type = columnType(table, column);
  const value = row[column];
  const encoded = encodeCondition(table, condition) as readonly [string, string, Json];
  if (fn.startsWith("<") || fn.startsWith(">")) {
    if (value === undefined) return false;
    const than = given as number;
    const have = value as number;
    return fn === "<" ? have < than : fn === "<=" ? have <= than : fn === ">" ? have > than : have >= than;
  }
  const loose: ColumnType = { ...type, min: 0, max: type.max === 1 ? 1 : Infinity };
  const wanted = decodeValue(loose, encoded[2]);
  if (fn === "==" || fn === "!=") return equalValues(type, value, wanted) === (fn === "==");
  if (type.value !== undefined) {
    const have = new Map(mapEntries(value));
    const held = ([k, v]: [Atom, Atom]): boolean => have.has(k) && have.get(k) === v;
    return fn === "includes" ? mapEntries(wanted).every(held) : !mapEntries(wanted).some(held);
  }
  const have = new Set(listOf(value)), want = listOf(wanted);
  return fn === "includes" ? want.every((atom) => have.has(atom)) : !want.some((atom) => have.has(atom));
}

const listOf = (value: Value): readonly Atom[] => (value === undefined ? [] : Array.isArray(value) ? value as readonly Atom[] : [value as Atom]);
