/**
 * Values as the fake server stores them. A column's value of any type is a datum: sorted keys, and for maps the values that
 * go with them; a scalar is a datum of one key. So conditions, mutations and differences are written once for all types.
 * Data are never changed in place: rows share them freely.
 *
 * schema/values.ts has the same values in the form a user of the client wants; the server needs another one since it must keep
 * what the client may forget (element counts, the exact refusal).
 */

import { OvsdbError } from "../wire/errors.ts";
import { isArray, stringify, type Json } from "../wire/json.ts";
import { formatReal, isId, jsonType, syntaxError, type JsonType } from "./parse.ts";
import type { AtomicType, BaseType, ColumnType } from "../schema/schema.ts";
import { isMapType, isOptionalType, isScalarType, isUuid, type Atom } from "../schema/values.ts";

export interface Datum {
  readonly keys: readonly Atom[];
  /** As many as keys; maps only. */
  readonly values?: readonly Atom[];
}

export const ZERO_UUID = "00000000-0000-0000-0000-000000000000";
const ZERO: Readonly<Record<AtomicType, Atom>> = { integer: 0, real: 0, boolean: false, string: "", uuid: ZERO_UUID };

export const isSetType = (type: ColumnType): boolean => !isMapType(type) && !isScalarType(type);
const isComposite = (type: ColumnType): boolean => type.max > 1;

// ---- atoms ----------------------------------------------------------------------------------------------------------

/** UTF-8 order: code units put surrogates (code points from U+10000 on) before U+E000 to U+FFFF. */
function compareStrings(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i), y = b.charCodeAt(i);
    if (x === y) continue;
    const high = (c: number): number => (c >= 0xd800 && c < 0xe000 ? c + 0x2000 : c >= 0xe000 ? c - 0x800 : c);
    return high(x) - high(y);
  }
  return a.length - b.length;
}

/** Order of two atoms of one type. */
export function compareAtoms(a: Atom, b: Atom): number {
  if (typeof a === "string" && typeof b === "string") return a === b ? 0 : compareStrings(a, b);
  return a < b ? -1 : a > b ? 1 : 0;
}

/** An integer as a number while a number holds it exactly. */
export const toInteger = (value: bigint | number): Atom => {
  if (typeof value === "bigint") return BigInt.asIntN(53, value) === value ? Number(value) : value;
  return Number.isSafeInteger(value) ? value + 0 : BigInt(value);
};

/** An atom as it is sent. The server writes 15 digits of a real, though it keeps, compares and computes with all of them. */
export const atomToJson = (type: AtomicType, atom: Atom): Json =>
  (type === "uuid" ? ["uuid", atom] : type === "real" ? Number((atom as number).toPrecision(15)) : atom);

/** Where named UUIDs of a transaction become UUIDs. */
export interface Symbols {
  resolve(name: string): string;
}

/** Takes `["name", <type>]` apart. */
function unwrap(json: Json, name: string, type: JsonType): Json {
  if (!isArray(json) || json.length !== 2 || json[0] !== name || jsonType(json[1]!) !== type) throw syntaxError(json, `expected ["${name}", <${type}>]`);
  return json[1]!;
}

function uuidFromJson(json: Json, symbols: Symbols | undefined): string {
  if (symbols !== undefined && isArray(json) && json.length === 2 && json[0] === "named-uuid" && typeof json[1] === "string") {
    if (!isId(json[1])) throw syntaxError(json, "named-uuid string is not a valid <id>");
    return symbols.resolve(json[1]);
  }
  const text = unwrap(json, "uuid", "string") as string;
  if (!isUuid(text)) throw syntaxError(json, `"${text}" is not a valid UUID`);
  return text.toLowerCase();
}

function atomFromJson(base: BaseType, json: Json, symbols: Symbols | undefined): Atom {
  const type = jsonType(json);
  switch (base.type) {
    case "integer":
      if (type === "integer") return toInteger(json as number | bigint);
      break;
    case "real":
      if (type === "integer" || type === "real") return Number(json) + 0;
      break;
    case "boolean":
      if (type === "true" || type === "false") return json as boolean;
      break;
    case "string":
      if (type === "string") return json as string;
      break;
    case "uuid":
      return uuidFromJson(json, symbols);
  }
  throw syntaxError(json, `expected ${base.type}`);
}

const needsQuotes = (text: string): boolean =>
  !/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(text) || text === "true" || text === "false" || isUuid(text);

/** An atom as it stands in error texts. */
export function atomToText(type: AtomicType, atom: Atom): string {
  if (type === "real") return formatReal(atom as number);
  if (type === "string" && needsQuotes(atom as string)) return stringify(atom);
  return String(atom);
}

/** @throws OvsdbError "constraint violation" */
export function checkAtomConstraints(base: BaseType, atom: Atom): void {
  const refuse = (why: string): never => { throw new OvsdbError("constraint violation", { details: why }); };
  if (base.enum !== undefined && !base.enum.includes(atom)) {
    const allowed = [...base.enum].sort(compareAtoms).map((value) => atomToText(base.type, value));
    refuse(`${atomToText(base.type, atom)} is not one of the allowed values ([${allowed.join(", ")}])`);
  }
  switch (base.type) {
    case "integer":
    case "real": {
      const min = base.type === "integer" ? base.minInteger : base.minReal, max = base.type === "integer" ? base.maxInteger : base.maxReal;
      if ((min === undefined || compareAtoms(atom, min) >= 0) && (max === undefined || compareAtoms(atom, max) <= 0)) return;
      const text = (value: Atom): string => atomToText(base.type, value);
      if (min !== undefined && max !== undefined) refuse(`${text(atom)} is not in the valid range ${text(min)} to ${text(max)} (inclusive)`);
      if (min !== undefined) refuse(`${text(atom)} is less than minimum allowed value ${text(min)}`);
      refuse(`${text(atom)} is greater than maximum allowed value ${text(max!)}`);
      return;
    }
    case "string": {
      if (base.minLength === undefined && base.maxLength === undefined) return;
      const length = Array.from(atom as string).length;
      if (length < (base.minLength ?? 0)) refuse(`"${atom as string}" length ${length} is less than minimum allowed length ${base.minLength!}`);
      if (length > (base.maxLength ?? Infinity)) refuse(`"${atom as string}" length ${length} is greater than maximum allowed length ${base.maxLength!}`);
      return;
    }
    case "boolean":
    case "uuid": // references are checked when the transaction commits
      return;
  }
}

// ---- whole values ---------------------------------------------------------------------------------------------------

export function defaultDatum(type: ColumnType): Datum {
  const keys = type.min === 0 ? [] : [ZERO[type.key.type]];
  return type.value === undefined ? { keys } : { keys, values: keys.map(() => ZERO[type.value!.type]) };
}

export const isDefault = (type: ColumnType, datum: Datum): boolean => equalData(datum, defaultDatum(type));

export const scalar = (atom: Atom): Datum => ({ keys: [atom] });

/** Sorts keys (and values with them). @throws OvsdbError when a key is there twice */
export function sortedDatum(keys: Atom[], values?: Atom[]): Datum {
  let inOrder = true;
  for (let i = 1; i < keys.length && inOrder; i++) inOrder = compareAtoms(keys[i - 1]!, keys[i]!) < 0;
  if (inOrder) return values === undefined ? { keys } : { keys, values };
  const order = keys.map((_, i) => i).sort((i, j) => compareAtoms(keys[i]!, keys[j]!));
  const datum = { keys: order.map((i) => keys[i]!), ...(values === undefined ? {} : { values: order.map((i) => values[i]!) }) };
  for (let i = 1; i < keys.length; i++) {
    if (compareAtoms(datum.keys[i - 1]!, datum.keys[i]!) === 0) {
      throw new OvsdbError("ovsdb error", { details: values === undefined ? "set contains duplicate" : "map contains duplicate key" });
    }
  }
  return datum;
}

/** Reads a `<value>`; constraints of the type are checked. @throws OvsdbError */
export function datumFromJson(type: ColumnType, json: Json, symbols?: Symbols): Datum {
  const read = (base: BaseType, from: Json): Atom => {
    const atom = atomFromJson(base, from, symbols);
    checkAtomConstraints(base, atom);
    return atom;
  };
  const isMap = type.value !== undefined;
  if (!isMap && !(isArray(json) && json[0] === "set")) return { keys: [read(type.key, json)] };

  const elements = unwrap(json, isMap ? "map" : "set", "array") as readonly Json[];
  const count = elements.length;
  if (count < type.min || count > type.max) {
    const kind = isMap ? "map" : "set";
    throw syntaxError(json, type.min === 1 && type.max === 1
      ? `${kind} must have exactly one member but ${count} are present`
      : `${kind} must have ${type.min} to ${type.max === Infinity ? 2 ** 32 - 1 : type.max} members but ${count} are present`);
  }
  if (!isMap) return sortedDatum(elements.map((element) => read(type.key, element)));
  const keys: Atom[] = [], values: Atom[] = [];
  for (const pair of elements) {
    if (!isArray(pair) || pair.length !== 2) throw syntaxError(pair, "expected 2-element array");
    keys.push(read(type.key, pair[0]!));
    values.push(read(type.value, pair[1]!));
  }
  return sortedDatum(keys, values);
}

export function datumToJson(type: ColumnType, datum: Datum): Json {
  const { keys, values } = datum;
  if (type.value !== undefined) {
    const valueType = type.value.type;
    return ["map", keys.map((key, i): Json => [atomToJson(type.key.type, key), atomToJson(valueType, values![i]!)])];
  }
  return keys.length === 1 ? atomToJson(type.key.type, keys[0]!) : ["set", keys.map((key) => atomToJson(type.key.type, key))];
}

/** A value as it stands in error texts. */
export function datumToText(type: ColumnType, datum: Datum): string {
  const [open, close] = type.value === undefined ? ["[", "]"] : ["{", "}"];
  const atoms = datum.keys.map((key, i) => {
    const text = atomToText(type.key.type, key);
    return type.value === undefined ? text : `${text}=${atomToText(type.value.type, datum.values![i]!)}`;
  }).join(", ");
  return type.max > 1 || datum.keys.length === 0 ? `${open}${atoms}${close}` : atoms;
}

/** A type in words, as error texts have it: "set of up to 3 integers". */
export function typeToText(type: ColumnType): string {
  if (isScalarType(type)) return type.key.type;
  const count = type.max === Infinity ? (type.min > 0 ? ` of ${type.min} or more` : " of")
    : type.min > 0 ? ` of ${type.min} to ${type.max}` : ` of up to ${type.max}`;
  return type.value === undefined ? `set${count} ${type.key.type}s` : `map${count} (${type.key.type}, ${type.value.type}) pairs`;
}

export function equalData(a: Datum, b: Datum): boolean {
  if (a === b) return true;
  if (a.keys.length !== b.keys.length) return false;
  for (let i = 0; i < a.keys.length; i++) {
    if (a.keys[i] !== b.keys[i] || a.values?.[i] !== b.values?.[i]) return false;
  }
  return true;
}

/** Where `key` is in sorted keys, or -1. */
function find(keys: readonly Atom[], key: Atom): number {
  let low = 0, high = keys.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const order = compareAtoms(keys[middle]!, key);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

/** Whether `datum` has the i-th element of `of`: the key, and the same value where `of` has values. */
const has = (datum: Datum, of: Datum, i: number): boolean => {
  const at = find(datum.keys, of.keys[i]!);
  return at >= 0 && (of.values === undefined || datum.values?.[at] === of.values[i]);
};

export const includesAll = (datum: Datum, of: Datum): boolean => of.keys.every((_, i) => has(datum, of, i));
export const excludesAll = (datum: Datum, of: Datum): boolean => !of.keys.some((_, i) => has(datum, of, i));

/** `a` with the elements of `b` whose keys `a` has not. */
export function union(a: Datum, b: Datum): Datum {
  const fresh = b.keys.map((_, i) => i).filter((i) => find(a.keys, b.keys[i]!) < 0);
  if (fresh.length === 0) return a;
  const keys = [...a.keys, ...fresh.map((i) => b.keys[i]!)];
  return a.values === undefined ? sortedDatum(keys) : sortedDatum(keys, [...a.values, ...fresh.map((i) => b.values![i]!)]);
}

/** `datum` with the elements for which `keep` holds. */
export function filterDatum(datum: Datum, keep: (key: Atom, value: Atom | undefined) => boolean): Datum {
  const kept = datum.keys.map((_, i) => i).filter((i) => keep(datum.keys[i]!, datum.values?.[i]));
  if (kept.length === datum.keys.length) return datum;
  const keys = kept.map((i) => datum.keys[i]!);
  return datum.values === undefined ? { keys } : { keys, values: kept.map((i) => datum.values![i]!) };
}

/** `a` without the elements of `b`; where `b` has no values, keys alone decide. */
export function subtract(a: Datum, b: Datum): Datum {
  return filterDatum(a, (key, value) => {
    const at = find(b.keys, key);
    return at < 0 || (b.values !== undefined && b.values[at] !== value);
  });
}

/**
 * The difference of update2 and update3: for at most one element the new value, for sets the elements that come or go,
 * for maps the pairs that come, go or have another value (the new one).
 */
export function difference(type: ColumnType, old: Datum, now: Datum): Datum {
  if (!isComposite(type)) return now;
  const gone = filterDatum(old, (key) => find(now.keys, key) < 0);
  const come = filterDatum(now, (key, value) => {
    const at = find(old.keys, key);
    return at < 0 || old.values?.[at] !== value;
  });
  const keys = [...gone.keys, ...come.keys];
  return old.values === undefined ? sortedDatum(keys) : sortedDatum(keys, [...gone.values!, ...come.values!]);
}

/** A text that equal data share and others do not, for indexes and sets of rows. */
export const datumKey = (datum: Datum): string =>
  [...datum.keys, "=", ...(datum.values ?? [])].map((atom) => (typeof atom === "string" ? JSON.stringify(atom) : String(atom))).join(" ");

/** Whether the column may be compared by order: one number or none. */
export const isOrdered = (type: ColumnType): boolean =>
  (isScalarType(type) || isOptionalType(type)) && (type.key.type === "integer" || type.key.type === "real");
