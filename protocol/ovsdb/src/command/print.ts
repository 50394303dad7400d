/**
 * Tables and values as people read them, in the forms of ovsdb-client(1): a table with aligned columns and values as
 * ovs-vsctl writes them, or one JSON object with caption, headings and data. Rows come out in the order of what is in
 * them, UUIDs last, so that two dumps of the same contents are the same text.
 */

import { isArray, isObject, stringify, type Json } from "../wire/json.ts";
import type { AtomicType, ColumnType } from "../schema/schema.ts";
import { compareAtoms, encodeAtom, encodeValue, isUuid, type Atom, type Value } from "../schema/values.ts";

export interface PrintedColumn {
  readonly name: string;
  readonly type: ColumnType;
}

export interface PrintedTable {
  readonly name: string;
  readonly columns: readonly PrintedColumn[];
  readonly rows: readonly Readonly<Record<string, Value>>[];
}

/** JSON text with the members of every object in order of their names. */
export function sortedJson(value: Json): string {
  if (isArray(value)) return `[${value.map(sortedJson).join(",")}]`;
  if (!isObject(value)) return stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${sortedJson(value[name]!)}`).join(",")}}`;
}

type Pair = readonly [key: Atom, value: Atom | undefined];

/** The elements of a value in their order; those of a set have no second part. */
function pairsOf(type: ColumnType, value: Value): Pair[] {
  if (value === undefined) return [];
  if (type.value !== undefined) {
    const entries: Pair[] = value instanceof Map ? [...value as ReadonlyMap<Atom, Atom>] : Object.entries(value as Readonly<Record<string, Atom>>);
    return entries.sort(([a], [b]) => compareAtoms(a, b));
  }
  return (Array.isArray(value) ? value as Atom[] : [value as Atom]).map((atom): Pair => [atom, undefined]);
}

/** A value in the notation of RFC 7047 section 5.1 as ovsdb-server writes it: in order, a set of one without its "set". */
export function valueJson(type: ColumnType, value: Value): Json {
  if (type.value !== undefined) {
    const { key, value: of } = type;
    return ["map", pairsOf(type, value).map(([k, v]): Json => [encodeAtom(key.type, k), encodeAtom(of.type, v)])];
  }
  const json = encodeValue(type, value);
  return isArray(json) && json[0] === "set" && isArray(json[1]) && json[1].length === 1 ? json[1][0]! : json;
}

function atomText(type: AtomicType, atom: Atom): string {
  if (type === "string") {
    const text = atom as string;
    const bare = /^[A-Za-z_][A-Za-z0-9_.-]*$/.test(text) && text !== "true" && text !== "false" && !isUuid(text);
    return bare ? text : JSON.stringify(text);
  }
  return type === "real" ? String(Number((atom as number).toPrecision(15))) : String(atom);
}

/** A value as ovs-vsctl writes it: `[a, b]`, `{a=b}`, `"x y"`, a bare word or number; brackets where there may be several or is none. */
export function valueText(type: ColumnType, value: Value): string {
  const pairs = pairsOf(type, value);
  const { value: of } = type;
  if (of !== undefined) return `{${pairs.map(([k, v]) => `${atomText(type.key.type, k)}=${atomText(of.type, v!)}`).join(", ")}}`;
  const texts = pairs.map(([atom]) => atomText(type.key.type, atom));
  return type.max === 1 && texts.length === 1 ? texts[0]! : `[${texts.join(", ")}]`;
}

function compareValues(type: ColumnType, a: Value, b: Value): number {
  const left = pairsOf(type, a), right = pairsOf(type, b);
  if (left.length !== right.length) return left.length - right.length;
  for (const part of [0, 1] as const) {
    for (let i = 0; i < left.length; i++) {
      const x = left[i]![part], y = right[i]![part];
      const order = x === undefined || y === undefined ? 0 : compareAtoms(x, y);
      if (order !== 0) return order;
    }
  }
  return 0;
}

function ordered({ columns, rows }: PrintedTable): PrintedTable["rows"] {
  const isKey = ({ type }: PrintedColumn): boolean => type.key.type === "uuid";
  const by = [...columns.filter((column) => !isKey(column)), ...columns.filter(isKey)]; // UUIDs differ from run to run
  return [...rows].sort((a, b) => {
    for (const { name, type } of by) {
      const order = compareValues(type, a[name], b[name]);
      if (order !== 0) return order;
    }
    return 0;
  });
}

/** `{"caption":...,"data":[[...]],"headings":[...]}` on one line. */
export function tableJson(table: PrintedTable): string {
  return sortedJson({
    caption: `${table.name} table`,
    headings: table.columns.map(({ name }) => name),
    data: ordered(table).map((row) => table.columns.map(({ name, type }) => valueJson(type, row[name]))),
  });
}

/** Aligned columns (by characters, where ovsdb-client counts bytes) under a caption and headings; lines end in a line feed. */
export function tableText(table: PrintedTable): string {
  const width = (text: string): number => Array.from(text).length;
  const cells = [table.columns.map(({ name }) => name), ...ordered(table).map((row) => table.columns.map(({ name, type }) => valueText(type, row[name])))];
  const widths = table.columns.map((_, x) => cells.reduce((most, row) => Math.max(most, width(row[x]!)), 0));
  const [headings, ...rows] = cells;
  const lines = [headings!, widths.map((w) => "-".repeat(w)), ...rows].map((row) =>
    row.map((text, x) => (x === row.length - 1 ? text : text + " ".repeat(widths[x]! - width(text)))).join(" "));
  return `${[`${table.name} table`, ...lines].join("\n")}\n`;
}
