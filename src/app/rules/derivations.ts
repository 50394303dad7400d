// Sources and derivations: what the compiler runs on. Derivations are pure; what they read through their view is tracked.
import type { AnyTable, ReadView, Row, Table } from "../table.ts";

/** What a rule runs on: each row of a table, or each (a, b) of a pair index that has rows (its id is `a|b`). */
export type Source<E> =
  | { readonly kind: "rows"; readonly table: AnyTable; readonly entity?: E }
  | { readonly kind: "pairs"; readonly table: AnyTable; readonly pair: string; readonly entity?: E };

export const each = <R extends Row>(table: Table<R>): Source<R> => ({ kind: "rows", table });
export interface PairEntity {
  readonly id: string;
  readonly a: string;
  readonly b: string;
}
export const eachPair = <R extends Row, P extends string>(table: Table<R, string, P>, pair: P): Source<PairEntity> => ({ kind: "pairs", table, pair });

/** Pure: fills a derived table. Row ids must be unique among all that is derived into the table (prefix them with the entity's id). */
export interface Derivation<E = unknown, R extends Row = Row> {
  readonly name: string;
  readonly on: Source<E>;
  readonly into: Table<R>;
  /** Every table that it reads. What is derived there is derived before; circles are refused at the start. */
  readonly reads: readonly AnyTable[];
  derive(entity: E, view: ReadView): readonly R[] | R | undefined;
}
export const derivation = <E, R extends Row>(d: Derivation<E, R>): Derivation => d as unknown as Derivation;
