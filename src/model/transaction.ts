// One transaction: what a function sees and writes while it runs, on a layer over the newest rows.
import { defineTable, PoolExhaustedError, type AnyTable, type Row, type SettingDecls, type Settings, type SettingValues, type Table, type Tx } from "#app";
import type { Clock } from "../lib/clock.ts";
import type { Random } from "../lib/random.ts";
import type { Layer } from "./rows.ts";
import { timestamp } from "./timestamp.ts";

/** What one transaction has its time and its UUIDs from. */
export interface TxSource {
  readonly clock: Pick<Clock, "now">;
  readonly random: Random;
}

interface Allocation extends Row {
  readonly next: number;
}
export const allocationTable = defineTable<Allocation>()("allocation", {});

/** Rows of tables in the store: `t/<table>/<id>`. */
export const ROWS = "t/";
const rowKey = (table: string, id: string): string => `${ROWS}${table}/${id}`;

/** Rows that a transaction wrote, by their key. */
export type Touched = Map<string, { readonly table: AnyTable; readonly id: string }>;

/** Only stored rows are here: derived ones are the compiler's, facts nobody's to decide a change by. */
export const unlisted = (table: AnyTable): Error =>
  new Error(table.derived ? `table ${table.name} is derived: a transaction decides by what it derives from` : `something reads table ${table.name}, which no app lists in its tables`);

export class Transaction implements Tx {
  readonly now: string;
  private readonly layer: Layer;
  private readonly pending: { readonly touched: Touched };
  private readonly tables: ReadonlyMap<string, AnyTable>;
  private readonly random: Random;

  constructor(layer: Layer, pending: { readonly touched: Touched }, tables: ReadonlyMap<string, AnyTable>, { clock, random }: TxSource) {
    this.now = timestamp(clock.now());
    this.layer = layer;
    this.pending = pending;
    this.tables = tables;
    this.random = random;
  }

  get<R extends Row>(table: Table<R>, id: string): Readonly<R> | undefined {
    return this.layer.get(table, id);
  }
  by<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): readonly Readonly<R>[] {
    return this.layer.by(table, index, key);
  }
  count<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): number {
    return this.layer.count(table, index, key);
  }
  pairKeys<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string): readonly string[] {
    return this.layer.pairKeys(table, pair, a);
  }
  byPair<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string, b: string): readonly Readonly<R>[] {
    return this.layer.byPair(table, pair, a, b);
  }
  all<R extends Row>(table: Table<R>): Iterable<Readonly<R>> {
    return this.layer.all(table);
  }
  settings<S extends SettingDecls>(of: Settings<S>): SettingValues<S> {
    return this.layer.settings(of);
  }

  put<R extends Row>(table: Table<R>, row: NoInfer<R>): void {
    this.checkStored(table);
    this.pending.touched.set(rowKey(table.name, row.id), { table, id: row.id });
    this.layer.put(table, row);
  }

  /** Rows of a table nobody lists would be gone after a restart. */
  private checkStored(table: AnyTable): void {
    if (table.derived) throw new Error(`${table.name} is derived and cannot be written`);
    if (!this.tables.has(table.name)) throw new Error(`a transaction writes table ${table.name}, which no app lists in its tables`);
  }

  delete(table: AnyTable, id: string): void {
    this.checkStored(table);
    this.pending.touched.set(rowKey(table.name, id), { table, id });
    this.layer.remove(table, id);
  }

  uuid(): string {
    return this.random.uuid();
  }

  allocate(pool: string, { min, max, used }: { min: number; max: number; used: (n: number) => boolean }): number {
    const first = Math.min(Math.max(this.get(allocationTable, pool)?.next ?? min, min), max);
    let n = first;
    while (used(n)) {
      n = n === max ? min : n + 1;
      if (n === first) throw new PoolExhaustedError(`no free number is left in pool ${pool} (${min}..${max})`);
    }
    this.put(allocationTable, { id: pool, next: n === max ? min : n + 1 });
    return n;
  }

  forgetAllocation(pool: string): void {
    if (this.get(allocationTable, pool) !== undefined) this.delete(allocationTable, pool);
  }
}
