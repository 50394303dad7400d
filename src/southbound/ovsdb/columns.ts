// Columns of rows of a host's database: as they are wanted, as the replica gives them, and what has to be written to make the one of the
// other. A column that a wish does not name has its default, so that a row does not depend on what was wanted of it before. Pure.
import { map, set, type InputAtom, type InputValue, type Row, type Value } from "ovsdb-client";
import { ovsColumns, type ColumnKind, type OvsColumns, type OvsRef, type OvsValue } from "#app";

export type ColumnTable = keyof typeof ovsColumns;

/** How another row is referred to in a transaction: it is there, or is made by it; undefined: neither. */
export type Resolve = (ref: OvsRef) => InputAtom | undefined;

export const kindsOf = (table: ColumnTable): Readonly<Record<string, ColumnKind>> => ovsColumns[table];

/** Columns to write for the row to be as wanted; external_ids are the caller's, which has marks of its own there. */
export function differing(table: ColumnTable, row: Row, wanted: OvsColumns, resolve: Resolve): Record<string, InputValue> {
  const change: Record<string, InputValue> = {};
  for (const [column, kind] of Object.entries(kindsOf(table))) {
    if (column === "external_ids" || !(column in row)) continue;
    const value = wanted[column];
    if (textOf((row)[column]) === (value === undefined ? defaultText(kind) : wantedText(value, resolve))) continue;
    change[column] = value === undefined ? defaultInput(kind) : input(kind, value, resolve);
  }
  return change;
}

/** What an insert leaves to its default. RFC 7047 section 5.2.1 */
export function defaultInput(kind: ColumnKind): InputValue {
  if (kind === "string" || kind === "string!") return "";
  if (kind === "integer" || kind === "integer!") return 0;
  if (kind === "boolean") return false;
  return kind === "map" || kind === "refs" ? map({}) : set([]);
}
const defaultText = (kind: ColumnKind): string => (kind === "string" || kind === "integer" || kind === "boolean" ? textOf(defaultInput(kind) as Value) : "[]");

export const isRef = (value: unknown): value is OvsRef => typeof value === "object" && value !== null && "ref" in value && "key" in value;

/** Columns of a row that is made. */
export function inputs(table: ColumnTable, columns: OvsColumns, resolve: Resolve): Record<string, InputValue> {
  return Object.fromEntries(Object.entries(columns).flatMap(([column, value]) => (value === undefined ? [] : [[column, input(kindsOf(table)[column]!, value, resolve)]])));
}

export function input(kind: ColumnKind, value: OvsValue, resolve: Resolve): InputValue {
  if (isRef(value)) return resolve(value) ?? null;
  if (Array.isArray(value)) {
    // The server takes no set in which something is twice.
    const atoms = new Map((value as readonly (string | number | OvsRef)[]).map((v) => [isRef(v) ? `${v.ref} ${v.key}` : v, isRef(v) ? resolve(v) : v]));
    return set([...atoms.values()].filter((a) => a !== undefined));
  }
  if (typeof value !== "object") return value;
  const entries = Object.entries(value as Readonly<Record<string, string | OvsRef>>).flatMap(([k, v]): [InputAtom, InputAtom][] => {
    const atom = isRef(v) ? resolve(v) : v;
    return atom === undefined ? [] : [[kind === "refs" ? Number(k) : k, atom]];
  });
  return map(new Map(entries));
}

/** Text of a value as the replica gives it, and of one as it is wanted: equal texts = in order. */
export function textOf(value: Value): string {
  if (value === undefined) return "[]";
  if (Array.isArray(value)) return setText((value as readonly unknown[]).map(String));
  if (typeof value !== "object") return JSON.stringify([String(value)]);
  const entries = value instanceof Map ? [...(value as ReadonlyMap<unknown, unknown>)] : Object.entries(value);
  return mapText(entries.map(([k, v]) => [String(k), String(v)]));
}

export function wantedText(value: OvsValue, resolve: Resolve): string {
  const atom = (v: string | number | boolean | OvsRef): readonly string[] => {
    if (!isRef(v)) return [String(v)];
    const row = resolve(v);
    return row === undefined ? [] : [typeof row === "object" && "uuid" in row ? row.uuid : "(to be made)"];
  };
  if (Array.isArray(value)) return setText((value as readonly (string | number | OvsRef)[]).flatMap(atom));
  if (typeof value !== "object" || isRef(value)) return JSON.stringify(atom(value));
  return mapText(Object.entries(value as Readonly<Record<string, string | OvsRef>>).flatMap(([k, v]) => atom(v).map((text) => [k, text] as const)));
}

/** A set has no order, and nothing twice. */
const setText = (atoms: readonly string[]): string => JSON.stringify([...new Set(atoms)].sort());
/** An empty map and an empty set read the same. */
const mapText = (entries: readonly (readonly [string, string])[]): string =>
  entries.length === 0 ? "[]" : JSON.stringify([...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => `${k}=${v}`));

export const byUuid = (row: Row): [[string, "==", string]] => [["_uuid", "==", row._uuid]];
