// What rules want of a host's database, each wish told from the others, and what has to be written because of it: so that a wish which
// the database refuses (refused-wishes.ts) costs itself alone, and all else of the host goes on.
import type { Operation } from "ovsdb-client";
import { ovsColumns, type OvsPatch } from "#app";
import type { DesiredRow } from "../../compiler/desired.ts";
import { canonicalText } from "../../compiler/items.ts";
import type { Note } from "./host-rows.ts";

export interface WantedRows {
  readonly rows: readonly DesiredRow[];
  readonly patches: readonly OvsPatch[];
  /** Wishes that the database refused, and why: what there is of them stays as it is. */
  readonly refused?: ReadonlyMap<string, string>;
}

/** What tells a wish from others, and from what the same app wanted before. */
export const rowWish = ({ table, key, columns }: DesiredRow): string => `row ${table} ${key} ${canonicalText(columns)}`;
export const patchWish = ({ table, name, column, key, value }: OvsPatch): string => `patch ${table} ${name} ${column}${key === undefined ? "" : `:${key}`} ${canonicalText(value)}`;
/** Begins what tells that a column is put back as it was. */
export const RESTORE = "restore ";

/** Why columns of a wish for a row of some tables cannot be set: what is not read back cannot be kept in order. */
export function unread(table: string, columns: object, tables: readonly string[] = Object.keys(ovsColumns)): string | undefined {
  if (!tables.includes(table)) return `rows of ${table} cannot be made by the controller`;
  const column = Object.keys(columns).find((c) => !Object.hasOwn(ovsColumns[table as keyof typeof ovsColumns], c));
  return column === undefined ? undefined : `column ${column} cannot be set by the controller`;
}

/** Operations in the making, with the wish that is the reason of each, and what the operator is told. */
export class Draft {
  readonly operations: Operation[] = [];
  readonly notes: Note[] = [];
  /** Of operations that a rule's wish is the reason of: the wish. */
  readonly wishes = new Map<Operation, string>();

  /** `wish` undefined: nobody's, so that it has to succeed. */
  operate(wish: string | undefined, ...operations: readonly Operation[]): void {
    this.operations.push(...operations);
    if (wish !== undefined) for (const operation of operations) this.wishes.set(operation, wish);
  }

  note(about: string, problem: string): void {
    this.notes.push({ about, problem });
  }

  add({ operations, notes, wishes }: Draft): void {
    this.operations.push(...operations);
    this.notes.push(...notes);
    for (const [operation, wish] of wishes) this.wishes.set(operation, wish);
  }
}
