// Who read what: readers are noted with each row, index key or table that they read, and found again by a change of it. So a change costs
// those who read what it changed.
import type { AnyTable, LiveView, Row, SettingDecls, Settings, SettingValues, SoftTable, Table } from "../../app/contract.ts";

/** Reads of one reader, by table; what is beyond it is noted as a read of the whole table. */
const MOST = 1000;

/** What one reader reads. `passing`: also what changes without a word. */
export interface Noted {
  readonly keys: Set<string>;
  passing: boolean;
}
export const noted = (): Noted => ({ keys: new Set(), passing: false });

const keysOf = (keys: string | readonly string[] | undefined): readonly string[] => (keys === undefined ? [] : typeof keys === "string" ? [keys] : keys);

/** Readers by what they read. */
export class Readers<T> {
  private readonly readers = new Map<string, T | Set<T>>();
  /** How often each table is read in any way: a change of another costs nothing. */
  private readonly tables = new Map<string, number>();
  private readonly isSet = (of: T | Set<T>): of is Set<T> => of instanceof Set;

  get size(): number {
    return this.readers.size;
  }

  /** In the place of what the reader read before. */
  set(reader: T, before: Iterable<string>, now: Iterable<string>): void {
    for (const key of before) this.drop(key, reader);
    for (const key of now) {
      const there = this.readers.get(key);
      if (there === undefined) this.readers.set(key, reader);
      else if (this.isSet(there)) there.add(reader);
      else if (there !== reader) this.readers.set(key, new Set([there, reader]));
      else continue;
      const table = key.slice(0, key.indexOf("|"));
      this.tables.set(table, (this.tables.get(table) ?? 0) + 1);
    }
  }

  private drop(key: string, reader: T): void {
    const there = this.readers.get(key);
    if (there === undefined) return;
    if (this.isSet(there)) {
      if (!there.delete(reader)) return;
      if (there.size === 0) this.readers.delete(key);
    } else if (there === reader) this.readers.delete(key);
    else return;
    const table = key.slice(0, key.indexOf("|"));
    const left = this.tables.get(table)! - 1;
    if (left === 0) this.tables.delete(table);
    else this.tables.set(table, left);
  }

  /** Those who read what changed, each as often as it read of it. */
  *of(change: { readonly table: AnyTable; readonly id: string; readonly before: Row | undefined; readonly after: Row | undefined }): Iterable<T> {
    const { name, indexes, pairs } = change.table as Table;
    if (!this.tables.has(name)) return;
    yield* this.at(`${name}|r|${change.id}`);
    yield* this.at(`${name}|a`);
    for (const row of [change.before, change.after]) {
      if (row === undefined) continue;
      for (const [index, fn] of Object.entries(indexes)) for (const key of keysOf(fn(row))) yield* this.at(`${name}|i|${index}|${key}`);
      for (const [pair, fn] of Object.entries(pairs)) {
        const of = fn(row);
        if (of === undefined) continue;
        yield* this.at(`${name}|k|${pair}|${of[0]}`);
        yield* this.at(`${name}|p|${pair}|${of[0]}|${of[1]}`);
      }
    }
  }

  private at(key: string): Iterable<T> {
    const there = this.readers.get(key);
    return there === undefined ? [] : this.isSet(there) ? [...there] : [there];
  }
}

/** A view that notes what is read through it. */
export class NotingView implements LiveView {
  private readonly of: LiveView;
  private readonly into: Noted;
  /** A table that is somebody else's to follow. */
  private readonly but: AnyTable | undefined;

  constructor(of: LiveView, into: Noted, but?: AnyTable) {
    this.of = of;
    this.into = into;
    this.but = but;
  }

  private note(table: AnyTable, what: string): void {
    if (table === this.but) return;
    this.into.keys.add(this.into.keys.size < MOST ? `${table.name}|${what}` : `${table.name}|a`);
  }

  get<R extends Row>(table: Table<R>, id: string): Readonly<R> | undefined {
    this.note(table, `r|${id}`);
    return this.of.get(table, id);
  }
  by<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): readonly Readonly<R>[] {
    this.note(table, `i|${index}|${key}`);
    return this.of.by(table, index, key);
  }
  count<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): number {
    this.note(table, `i|${index}|${key}`);
    return this.of.count(table, index, key);
  }
  pairKeys<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string): readonly string[] {
    this.note(table, `k|${pair}|${a}`);
    return this.of.pairKeys(table, pair, a);
  }
  byPair<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string, b: string): readonly Readonly<R>[] {
    this.note(table, `p|${pair}|${a}|${b}`);
    return this.of.byPair(table, pair, a, b);
  }
  all<R extends Row>(table: Table<R>): Iterable<Readonly<R>> {
    this.note(table, "a");
    return this.of.all(table);
  }
  settings<S extends SettingDecls>(of: Settings<S>): SettingValues<S> {
    return this.of.settings(of);
  }
  fact<R extends Row>(table: SoftTable<R>, id: string): Readonly<R> | undefined {
    this.into.passing = true;
    return this.of.fact(table, id);
  }
  factsBy<R extends Row, I extends string>(table: SoftTable<R, I>, index: I, key: string): readonly Readonly<R>[] {
    this.into.passing = true;
    return this.of.factsBy(table, index, key);
  }
  facts<R extends Row>(table: SoftTable<R>, owner?: string): readonly Readonly<R>[] {
    this.into.passing = true;
    return this.of.facts(table, owner);
  }
}
