// Tables: what the model holds. A table is declared once, by the app that owns its rows, in that app's model.ts.
// Rows are immutable plain data (JSON); a change is a new row. Stored tables live in the store; derived tables are
// computed by the compiler from other tables and never stored.

import type { SettingDecls, Settings, SettingValues } from "./settings.ts";

export interface Row {
  readonly id: string;
}

/**
 * Columns of stored rows of resources that rules and derivations do not see: what people call things, and when they changed. A change of these alone makes
 * nothing run; what a rule read of them would be out of date. In tests one that reads them fails.
 */
export const UNSEEN_COLUMNS = ["name", "description", "tags", "created_at", "updated_at", "revision_number"] as const;

/** Index keys of a row; undefined or [] leaves the row out of the index. */
export type IndexFn<R> = (row: R) => string | readonly string[] | undefined;

/** Two-level index: (a, b) -> rows. Answers "which b are there for this a" without reading the rows. */
export type PairFn<R> = (row: R) => readonly [a: string, b: string] | undefined;

/** What people call rows of a resource that are not called as most are. */
export interface Naming<R> {
  /** The resource in words; by default its name: "security group". */
  readonly resource?: string;
  /** What a row is called; by default its `name`. */
  of?(this: void, row: R): string | undefined;
}

/** Rows of another table, for a row. */
export interface Behind<R> {
  readonly table: AnyTable;
  ids(row: R): readonly string[];
}

export interface Table<R extends Row = Row, I extends string = string, P extends string = string> {
  readonly name: string;
  /** API resource whose rows these are, for provenance; undefined for internal tables. */
  readonly resource: string | undefined;
  readonly naming: Naming<R>;
  readonly derived: boolean;
  /** Derived rows may come from any app that requires the owner. */
  readonly open: boolean;
  /** Stored rows that a row of this is there for: what is made from it is caused by them. */
  readonly of: Behind<R> | undefined;
  readonly indexes: Readonly<Record<I, IndexFn<R>>>;
  readonly pairs: Readonly<Record<P, PairFn<R>>>;
  /** See TableOptions.upgrade. */
  readonly upgrade: ((row: Readonly<Record<string, unknown>>) => R) | undefined;
  /** Never set: carries the row type. */
  readonly rowType?: R;
}

export interface TableOptions<R extends Row, I extends string, P extends string> {
  readonly resource?: string;
  /** Of a resource's rows, for operators: as an address is the name of a floating IP. */
  readonly naming?: Naming<R>;
  readonly derived?: boolean;
  readonly open?: boolean;
  /** Another table's rows that rows of this are there for: those of the same ids, or which ones; see Table.of. */
  readonly of?: AnyTable | Behind<R>;
  /** From a row as the edition before stored it; one that is as it should be is given back itself (===). */
  readonly upgrade?: (row: Readonly<Record<string, unknown>>) => R;
  readonly indexes?: Readonly<Record<I, IndexFn<R>>>;
  readonly pairs?: Readonly<Record<P, PairFn<R>>>;
}

/** `defineTable<Port>()("port", { indexes: { network: (p) => p.network_id } })`. Names are unique across apps. */
export function defineTable<R extends Row>() {
  return <I extends string = never, P extends string = never>(name: string, options: TableOptions<R, I, P> = {}): Table<R, I, P> => ({
    name,
    resource: options.resource,
    naming: options.naming ?? {},
    derived: options.derived ?? false,
    open: options.open ?? false,
    of: options.of === undefined || "table" in options.of ? options.of : { table: options.of, ids: (row) => [row.id] },
    upgrade: options.upgrade,
    indexes: options.indexes ?? ({} as Record<I, IndexFn<R>>),
    pairs: options.pairs ?? ({} as Record<P, PairFn<R>>),
  });
}

/** Any table, whatever its rows: for registries and the engine. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a table's row type is both consumed and produced; only `any` admits all
export type AnyTable = Table<any, any, any>;

/**
 * Reading the model. Inside a rule or derivation every read is tracked; elsewhere it is a plain look-up.
 * Rows come in no particular order: output must not depend on it, so sort where it shows.
 */
export interface ReadView {
  get<R extends Row>(table: Table<R>, id: string): Readonly<R> | undefined;
  by<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): readonly Readonly<R>[];
  /** How many rows `by` would give, without reading them. */
  count<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): number;
  pairKeys<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string): readonly string[];
  byPair<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string, b: string): readonly Readonly<R>[];
  /** Every row. A rule that calls it reruns on any change of the table: keep it for small tables. */
  all<R extends Row>(table: Table<R>): Iterable<Readonly<R>>;
  /** Settings of an app, the same from start to stop. Not in rules: a derivation makes a row of what flows depend on. */
  settings<S extends SettingDecls>(of: Settings<S>): SettingValues<S>;
}

/**
 * One atomic change of the model. The function that gets it is synchronous and may be run again when another
 * controller committed first: it must have no effect but through the transaction.
 */
export interface Tx extends ReadView {
  put<R extends Row>(table: Table<R>, row: NoInfer<R>): void;
  delete(table: AnyTable, id: string): void;
  /** UTC, seconds: 2026-01-31T12:00:00Z. */
  readonly now: string;
  uuid(): string;
  /**
   * The next free number of a pool, kept in the store; numbers are handed out in turn, so that one is not reused soon.
   * @throws PoolExhaustedError when all of min..max are used.
   */
  allocate(pool: string, options: { readonly min: number; readonly max: number; readonly used: (n: number) => boolean }): number;
  /** Forgets where a pool's numbers were given out last: what they were of is gone. */
  forgetAllocation(pool: string): void;
}
