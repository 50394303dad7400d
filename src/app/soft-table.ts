// Soft tables: what packets taught this controller, or what it observes of hosts (observe.ts), kept in its memory alone and for a while.
// Packet handlers, services and presentation read them; rules and derivations, hence rows of hosts' databases, cannot, since a restart or
// another controller may change nothing there. What flows need is learned in the switch (a learned table) or stored by a service.
import type { IndexFn, ReadView, Row } from "./table.ts";

export interface SoftTable<R extends Row = Row, I extends string = string> {
  readonly name: string;
  readonly soft: true;
  /** Seconds that a fact lives after it was last heard. */
  readonly ttlS: number;
  /** Facts of one owner, and in all; one more takes the place of the owner's oldest, else of the oldest of whoever has most. */
  readonly limitPerOwner: number;
  readonly limit: number;
  /**
   * Whom a fact counts for where all together are too many: a project, however many owners it has. Each has a share, so that nobody pushes out
   * what others have learned. Default: its owner.
   */
  readonly group?: (row: R) => string;
  readonly indexes: Readonly<Record<I, IndexFn<R>>>;
}

/** Any soft table, whatever its rows. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as AnyTable
export type AnySoftTable = SoftTable<any, any>;

/**
 * `defineSoftTable<Neighbour>()("neighbour_seen", { ttlS: 300, limitPerOwner: 16, limit: 100_000, group: (n) => n.project_id })`; the
 * app lists it in its `softTables`. Names are unique across apps.
 */
export function defineSoftTable<R extends Row>() {
  return <I extends string = never>(
    name: string,
    { ttlS, limitPerOwner, limit, group, indexes }: Pick<SoftTable<R>, "ttlS" | "limitPerOwner" | "limit" | "group"> & { readonly indexes?: Readonly<Record<I, IndexFn<R>>> },
  ): SoftTable<R, I> => ({ name, soft: true, ttlS, limitPerOwner, limit, ...(group && { group }), indexes: indexes ?? ({} as Record<I, IndexFn<R>>) });
}

/** Something learned: `learned(table, port.id, row)`. The owner pays for it with its limit; a row of the same id is replaced. */
export interface Fact {
  readonly fact: AnySoftTable;
  readonly owner: string;
  readonly row: Row;
}
export const learned = <R extends Row>(fact: SoftTable<R>, owner: string, row: NoInfer<R>): Fact => ({ fact, owner, row });

/**
 * Every table there is, as it is now: stored rows as committed, derived rows as last compiled (a moment behind the commit), facts
 * that live. Reading a table that no app lists throws and names it.
 */
export interface LiveView extends ReadView {
  fact<R extends Row>(table: SoftTable<R>, id: string): Readonly<R> | undefined;
  factsBy<R extends Row, I extends string>(table: SoftTable<R, I>, index: I, key: string): readonly Readonly<R>[];
  /** All of an owner, or without one all there are; the one heard longest ago first. */
  facts<R extends Row>(table: SoftTable<R>, owner?: string): readonly Readonly<R>[];
}
