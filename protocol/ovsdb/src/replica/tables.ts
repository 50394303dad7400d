/**
 * Types of a database's tables: what a generated module (generate.ts) declares and what the client makes of it, so that
 * a wrong table, column or value does not compile. Types only, and the definition object that carries them; a client
 * without a generated module uses AnyTables, where everything is decided when the server's schema is known.
 */

import { OvsdbValueError } from "../wire/errors.ts";
import type { Row } from "../session/rows.ts";
import {
  del, insert, mutate, select, update, wait,
  type InputRow, type Operation,
} from "../session/transact.ts";
import type { ConditionFunction, InputValue, Mutation, Mutator, Uuid, Value, Condition } from "../schema/values.ts";

/** An OVSDB integer as it is read: bigint beyond 2^53. */
export type Integer = number | bigint;

/** The forms of one table's rows. */
export interface TableTypes {
  /** As read. */
  readonly row: object;
  /** As an insert takes it. */
  readonly insert: object;
  /** As an update takes it: without columns that cannot change. */
  readonly update: object;
}

/** A database whose tables are not known to the compiler. */
export type AnyTables = Record<string, { readonly row: Row; readonly insert: InputRow; readonly update: InputRow }>;

/** Tables by name; generated ones are interfaces, so this is no index signature. */
export type Tables<D> = { readonly [T in keyof D]: TableTypes };

/** A database as a generated module exports it. */
export interface DatabaseDefinition<D extends Tables<D>> {
  readonly name: string;
  /** Of the schema that the types were made from. */
  readonly version: string;
  readonly tables: { readonly [T in keyof D]: readonly (keyof D[T]["row"] & string)[] };
}

/** The columns of each table to follow. */
export type ColumnChoice<D extends Tables<D>> = { readonly [T in keyof D]?: readonly (keyof D[T]["row"] & string)[] };

export type TableName<D> = keyof D & string;
export type RowOf<D extends Tables<D>, T extends keyof D> = D[T]["row"];
export type InsertOf<D extends Tables<D>, T extends keyof D> = D[T]["insert"];
export type UpdateOf<D extends Tables<D>, T extends keyof D> = D[T]["update"];

type WriteForm<W, C> = C extends keyof W ? Exclude<W[C], undefined> : InputValue;

/** A condition on a column of a table; the value is what the column is written with. */
export type ConditionOn<T extends TableTypes> = boolean | {
  [C in keyof T["row"] & string]: readonly [column: C, fn: ConditionFunction, value: C extends "_uuid" | "_version" ? string | Uuid : WriteForm<T["insert"], C>];
}[keyof T["row"] & string];

type Keys<W> = W extends ReadonlyMap<infer K, unknown> ? K | readonly K[] : never;

/** A mutation of a column of a table; `delete` of a map takes keys as well. */
export type MutationOn<T extends TableTypes> = {
  [C in keyof T["update"] & string]: readonly [column: C, mutator: Mutator, value: WriteForm<T["update"], C> | Keys<WriteForm<T["update"], C>>];
}[keyof T["update"] & string];

/** The operations of a database, as the functions of transact.ts but for its tables only. */
export interface Operations<D extends Tables<D>> {
  insert<T extends TableName<D>>(table: T, row: InsertOf<D, T>, options?: { uuidName?: string; uuid?: string }): Operation;
  select<T extends TableName<D>>(table: T, where: readonly ConditionOn<D[T]>[], columns?: readonly (keyof RowOf<D, T> & string)[]): Operation;
  update<T extends TableName<D>>(table: T, where: readonly ConditionOn<D[T]>[], row: UpdateOf<D, T>): Operation;
  mutate<T extends TableName<D>>(table: T, where: readonly ConditionOn<D[T]>[], mutations: readonly MutationOn<D[T]>[]): Operation;
  del<T extends TableName<D>>(table: T, where: readonly ConditionOn<D[T]>[]): Operation;
  wait<T extends TableName<D>>(
    table: T, where: readonly ConditionOn<D[T]>[], columns: readonly (keyof RowOf<D, T> & string)[], until: "==" | "!=", rows: readonly InsertOf<D, T>[], timeoutMs?: number,
  ): Operation;
}

/** Operations that the compiler checks against a generated definition. */
export function operations<D extends Tables<D>>(database: DatabaseDefinition<D>): Operations<D> {
  const known = (table: string): string => {
    if (Object.hasOwn(database.tables, table)) return table;
    throw new OvsdbValueError("unknown table", { details: `the definition of ${database.name} has no table ${table}` });
  };
  const where = (conditions: readonly unknown[]): readonly Condition[] => conditions as readonly Condition[];
  return {
    insert: (table, row, options) => insert(known(table), row as InputRow, options),
    select: (table, conditions, columns) => select(known(table), where(conditions), columns),
    update: (table, conditions, row) => update(known(table), where(conditions), row as InputRow),
    mutate: (table, conditions, mutations) => mutate(known(table), where(conditions), mutations as readonly unknown[] as readonly Mutation[]),
    del: (table, conditions) => del(known(table), where(conditions)),
    wait: (table, conditions, columns, until, rows, timeoutMs) => wait(known(table), where(conditions), columns, until, rows as readonly InputRow[], timeoutMs),
  };
}

/** The rows of one table as a client holds them: live, and not to be changed. */
export class Table<R extends object> {
  readonly name: string;
  /** By UUID. */
  readonly rows: ReadonlyMap<string, R>;

  constructor(name: string, rows: ReadonlyMap<string, R>) {
    this.name = name;
    this.rows = rows;
  }

  get size(): number { return this.rows.size; }

  get(uuid: string): R | undefined {
    return this.rows.get(uuid.toLowerCase());
  }

  /** The first row whose columns have these values; for columns of one value or none. Looks at every row. */
  find(columns: Partial<R>): R | undefined {
    const wanted = Object.entries(columns) as [keyof R, Value][];
    for (const row of this.rows.values()) if (wanted.every(([column, value]) => row[column] === value)) return row;
    return undefined;
  }

  [Symbol.iterator](): IterableIterator<R> {
    return this.rows.values();
  }
}
