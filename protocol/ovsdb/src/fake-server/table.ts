/**
 * The tables of one database as they stand: rows by UUID, how many strong references hold each row, unique indexes.
 * Nothing here decides what may change; that is a transaction's work (transaction.ts).
 */

import { datumKey, defaultDatum, datumFromJson, scalar, type Datum, type Symbols } from "./datum.ts";
import { isObject, type Json } from "../wire/json.ts";
import { syntaxError } from "./parse.ts";
import type { ServerSchema, ServerTableSchema } from "./schema.ts";
import type { BaseType, ColumnSchema, ColumnType } from "../schema/schema.ts";

/** A column and its place in a row. */
export interface Column extends ColumnSchema { readonly index: number }

/** A row is never changed in place; a change makes a new one. */
export interface Row {
  readonly uuid: string;
  /** By the columns' index; the first two are _uuid and _version. */
  readonly cells: readonly Datum[];
}

export const VERSION = 1;
const UUID_TYPE: ColumnType = { key: { type: "uuid" }, min: 1, max: 1 };
const IMPLICIT: readonly ColumnSchema[] = ["_uuid", "_version"].map((name) => ({ name, type: UUID_TYPE, ephemeral: true, mutable: false }));

/** A column that refers to rows of a table, by its keys or by its values. */
export interface Reference {
  readonly column: Column;
  readonly part: "keys" | "values";
  readonly target: string;
}

export class Table {
  readonly schema: ServerTableSchema;
  readonly columns: readonly Column[];
  readonly byName: ReadonlyMap<string, Column>;
  readonly strong: readonly Reference[];
  readonly weak: readonly Reference[];
  readonly indexes: readonly (readonly Column[])[];
  readonly rows = new Map<string, Row>();
  /** How many strong references other rows have to a row; a reference to oneself holds nothing. */
  readonly held = new Map<string, number>();
  /** For each index the row that has the values. */
  readonly entries: readonly Map<string, string>[];

  constructor(schema: ServerTableSchema) {
    this.schema = schema;
    this.columns = [...IMPLICIT, ...schema.columns.values()].map((column, index) => ({ ...column, index }));
    this.byName = new Map(this.columns.map((column) => [column.name, column]));
    this.strong = this.#references("strong");
    this.weak = this.#references("weak");
    this.indexes = schema.indexes.map((names) => names.map((name) => this.byName.get(name)!));
    this.entries = this.indexes.map(() => new Map<string, string>());
  }

  get name(): string { return this.schema.name; }

  /** A row of default values. */
  blank(): Datum[] {
    return this.columns.map((column) => defaultDatum(column.type));
  }

  /**
   * Reads a `<row>` over `cells` and gives the columns it names. _uuid and _version may be named; what becomes of them is
   * the caller's affair.
   * @throws OvsdbError
   */
  readRow(json: Json | undefined, cells: Datum[], symbols?: Symbols): readonly Column[] {
    if (!isObject(json)) throw syntaxError(json, "row must be JSON object");
    return Object.entries(json).map(([name, value]) => {
      const column = this.byName.get(name);
      if (column === undefined) throw syntaxError(json, `No column ${name} in table ${this.name}.`, "unknown column");
      cells[column.index] = datumFromJson(column.type, value, symbols);
      return column;
    });
  }

  /** The text of a row's values in some columns; equal for equal values. */
  static keyOf(row: { readonly cells: readonly Datum[] }, columns: readonly Column[]): string {
    return columns.map((column) => datumKey(row.cells[column.index]!)).join("\n");
  }

  #references(type: "strong" | "weak"): Reference[] {
    return this.columns.flatMap((column) => {
      const of = (base: BaseType | undefined, part: "keys" | "values"): Reference[] =>
        (base?.refTable !== undefined && (base.refType ?? "strong") === type ? [{ column, part, target: base.refTable }] : []);
      return [...of(column.type.key, "keys"), ...of(column.type.value, "values")];
    });
  }
}

/** The UUIDs a row refers to in one column, without its own: who has that, in whatever table, is not held by it. */
export function targets(row: Row, reference: Reference): string[] {
  return referred(row, reference).filter((uuid) => uuid !== row.uuid);
}

/** All UUIDs a row refers to in one column. */
export const referred = (row: Row, { column, part }: Reference): readonly string[] => (row.cells[column.index]![part] ?? []) as readonly string[];

/** A row with its identity filled in. */
export function rowOf(uuid: string, version: string, cells: readonly Datum[]): Row {
  return { uuid, cells: [scalar(uuid), scalar(version), ...cells.slice(2)] };
}

export const tablesOf = (schema: ServerSchema): Map<string, Table> =>
  new Map([...schema.tables.values()].map((table) => [table.name, new Table(table)]));
