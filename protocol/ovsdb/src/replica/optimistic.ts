/**
 * Optimistic transactions: a function reads rows of a replica and says what to change; what it read is remembered, and
 * the transaction carries a `wait` (RFC 7047 section 5.2.6) for each row, so that the server commits only if all of it
 * is still so. When it is not, the function runs again on newer rows. Several clients that count up one column this way
 * lose no step, without any lock.
 *
 *     get(table, uuid)       waits for the columns that were looked at; for an absent row, that it is absent
 *     rows(table, where)     also waits that the same rows match, so a row that another client adds counts as a conflict
 */

import { OvsdbValueError } from "../wire/errors.ts";
import type { Replica } from "./replica.ts";
import type { Row } from "../session/rows.ts";
import { columnType, tableSchema, type DatabaseSchema } from "../schema/schema.ts";
import type { AnyTables, ConditionOn, InsertOf, MutationOn, RowOf, TableName, Tables, UpdateOf } from "./tables.ts";
import { assert, comment, del, insert, mutate, update, wait, type InputRow, type Operation, type OperationResult } from "../session/transact.ts";
import { matches, namedUuid, type Condition, type InputValue, type Mutation, type NamedUuid } from "../schema/values.ts";

/** A row of the replica or its UUID. */
export type RowRef = string | { readonly _uuid: string };

const uuidOf = (row: RowRef): string => (typeof row === "string" ? row : row._uuid).toLowerCase();
const byUuid = (uuid: string): readonly Condition[] => [["_uuid", "==", uuid]];

/** A row as it was when first looked at, and the columns looked at; every later look is at the same. */
interface Seen {
  readonly row: Row | undefined;
  readonly columns: Set<string>;
}

interface Search {
  readonly table: string;
  readonly where: readonly Condition[];
  readonly uuids: readonly string[];
}

/** One attempt: what the function sees. Reads show the rows as they are when read, never what was written in the same attempt. */
export class Transaction<D extends Tables<D> = AnyTables> {
  readonly #replica: Replica;
  readonly #schema: DatabaseSchema;
  readonly #operations: Operation[] = [];
  /** Index in #operations by name. */
  readonly #inserted = new Map<string, number>();
  /** By table and UUID. */
  readonly #seen = new Map<string, Map<string, Seen>>();
  readonly #searches: Search[] = [];
  readonly #locks = new Set<string>();
  /** Which run of the function this is, from 1. */
  readonly attempt: number;

  constructor(replica: Replica, schema: DatabaseSchema, attempt: number) {
    this.#replica = replica;
    this.#schema = schema;
    this.attempt = attempt;
  }

  /** A row by UUID. Every column looked at is verified at the commit; no row is as good an answer, and verified as well. */
  get<T extends TableName<D>>(table: T, row: RowRef): RowOf<D, T> | undefined {
    const uuid = uuidOf(row);
    const seen = this.#look(table, uuid);
    return seen.row === undefined ? undefined : this.#watched(table, seen.row, seen.columns);
  }

  /** The rows that match all conditions, as get() gives them; none = all rows of the table. Which rows they are is verified too. */
  rows<T extends TableName<D>>(table: T, where: readonly ConditionOn<D[T]>[] = []): RowOf<D, T>[] {
    const schema = tableSchema(this.#schema, table);
    const conditions = where as readonly unknown[] as readonly Condition[];
    for (const condition of conditions) if (typeof condition !== "boolean") this.#followed(table, condition[0]);
    const found: Row[] = [];
    for (const row of this.#rows(table).values()) {
      if (conditions.every((condition) => matches(schema, row, condition))) found.push(row);
    }
    this.#searches.push({ table, where: conditions, uuids: found.map((row) => row._uuid) });
    return found.map((row) => {
      const seen = this.#look(table, row._uuid);
      return this.#watched(table, seen.row ?? row, seen.columns);
    });
  }

  /** Makes these columns of a row part of what is verified, as if they had been looked at. */
  verify<T extends TableName<D>>(table: T, row: RowRef, columns: readonly (keyof RowOf<D, T> & string)[]): void {
    const seen = this.#look(table, uuidOf(row));
    for (const column of columns) {
      this.#followed(table, column);
      if (column !== "_uuid") seen.columns.add(column);
    }
  }

  /** Adds a row; what it returns stands for its UUID in other rows of the transaction, and afterwards in Committed.uuid(). */
  insert<T extends TableName<D>>(table: T, row: InsertOf<D, T>): NamedUuid {
    const name = `row${this.#inserted.size}`;
    this.#inserted.set(name, this.#operations.length);
    this.#operations.push(insert(table, row as InputRow, { uuidName: name }));
    return namedUuid(name);
  }

  /** Sets columns of a row. */
  update<T extends TableName<D>>(table: T, row: RowRef, columns: UpdateOf<D, T>): void {
    this.#operations.push(update(table, byUuid(uuidOf(row)), columns as InputRow));
  }

  /** Changes columns of a row relative to what they are at the commit; needs no reading first. */
  mutate<T extends TableName<D>>(table: T, row: RowRef, mutations: readonly MutationOn<D[T]>[]): void {
    this.#operations.push(mutate(table, byUuid(uuidOf(row)), mutations as readonly unknown[] as readonly Mutation[]));
  }

  delete(table: TableName<D>, row: RowRef): void {
    this.#operations.push(del(table, byUuid(uuidOf(row))));
  }

  /** Any operations, after those before and before those to come. */
  add(...operations: readonly Operation[]): void {
    this.#operations.push(...operations);
  }

  /** Commits only while this client's session owns the lock; else "not owner". */
  assert(lock: string | { readonly id: string }): void {
    this.#locks.add(typeof lock === "string" ? lock : lock.id);
  }

  /** A line for the server's log. */
  comment(text: string): void {
    this.#operations.push(comment(text));
  }

  /** What to send: `first` is the index of the first operation of the caller's, all before it are checks. Empty when nothing is to be changed. */
  compose(): { operations: Operation[]; first: number } {
    if (this.#operations.length === 0) return { operations: [], first: 0 };
    const checks: Operation[] = [...this.#locks].map(assert);
    for (const { table, where, uuids } of this.#searches) {
      checks.push(wait(table, where, ["_uuid"], "==", uuids.map((uuid) => ({ _uuid: uuid })), 0));
    }
    for (const [table, rows] of this.#seen) {
      for (const [uuid, { row, columns }] of rows) {
        if (row === undefined) checks.push(wait(table, byUuid(uuid), ["_uuid"], "==", [], 0));
        else if (columns.size > 0) checks.push(wait(table, byUuid(uuid), [...columns], "==", [valuesOf(row, columns)], 0));
      }
    }
    return { operations: [...checks, ...this.#operations], first: checks.length };
  }

  /** The UUID of an inserted row, from the results of all operations sent. */
  resolve(name: string, results: readonly OperationResult[], first: number): string | undefined {
    const index = this.#inserted.get(name);
    return index === undefined ? undefined : results[first + index]?.uuid;
  }

  #rows(table: string): ReadonlyMap<string, Row> {
    tableSchema(this.#schema, table);
    if (!this.#replica.tables.includes(table)) throw new OvsdbValueError("unknown table", { details: `table ${table} is not followed, so it cannot be read` });
    return this.#replica.table(table);
  }

  #look(table: string, uuid: string): Seen {
    let rows = this.#seen.get(table);
    if (rows === undefined) this.#seen.set(table, rows = new Map<string, Seen>());
    let seen = rows.get(uuid);
    if (seen === undefined) rows.set(uuid, seen = { row: this.#rows(table).get(uuid), columns: new Set() });
    return seen;
  }

  /** A column that exists but is not followed would read as undefined and be verified as empty: refused. */
  #followed(table: string, column: string): void {
    if (column === "_uuid" || this.#replica.columns(table)?.includes(column) === true) return;
    columnType(tableSchema(this.#schema, table), column);
    throw new OvsdbValueError("unknown column", { details: `column ${column} of table ${table} is not followed, so it cannot be read` });
  }

  #watched<T extends TableName<D>>(table: T, row: Row, columns: Set<string>): RowOf<D, T> {
    const looked = (column: string | symbol): void => {
      if (typeof column !== "string" || column === "_uuid") return;
      if (column in row) columns.add(column);
      else if (this.#schema.tables.get(table)?.columns.has(column) === true) this.#followed(table, column);
    };
    return new Proxy(row, {
      get: (target, column) => {
        looked(column);
        return Reflect.get(target, column) as unknown;
      },
      has: (target, column) => {
        looked(column);
        return Reflect.has(target, column);
      },
      getOwnPropertyDescriptor: (target, column) => {
        looked(column);
        return Reflect.getOwnPropertyDescriptor(target, column);
      },
    });
  }
}

/** The values of some columns, for a wait; undefined would be "not mentioned", so an empty optional is written as null. */
function valuesOf(row: Row, columns: ReadonlySet<string>): InputRow {
  return Object.fromEntries([...columns].map((column) => [column, (row[column] ?? null) as InputValue]));
}

/** What a committed update gives. */
export interface Committed<T> {
  /** What the function returned in the attempt that was committed. */
  readonly value: T;
  /** How many times the function ran. */
  readonly attempts: number;
  /** False when the function changed nothing; nothing was sent then. */
  readonly sent: boolean;
  /** Of the operations of the function, in its order. */
  readonly results: readonly OperationResult[];
  /** The UUID of a row that the function inserted. @throws OvsdbValueError for any other name */
  readonly uuid: (inserted: NamedUuid) => string;
}
