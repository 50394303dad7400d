// Tracked reads: which run read what. A run is one (rule, entity) or (derivation, entity); a read is a row by id, the rows
// behind an index key, the second keys of a pair, or a whole table. When a read's answer may have changed, its runs are dirty.
import type { AnyTable, ReadView, Row, Table } from "#app";
import type { Layer } from "../model/rows.ts";

/** Runs that depend on one key. Most keys have a few, so a list serves until it is long. */
const LIST_LIMIT = 24;

export class DepIndex<R> {
  readonly table: AnyTable;
  readonly kind: "row" | "index" | "pair" | "pairKeys" | "all";
  readonly name: string;
  private readonly dependents = new Map<string, R[] | Set<R>>();

  constructor(table: AnyTable, kind: DepIndex<R>["kind"], name: string) {
    this.table = table;
    this.kind = kind;
    this.name = name;
  }

  add(key: string, run: R): void {
    const now = this.dependents.get(key);
    if (now === undefined) this.dependents.set(key, [run]);
    else if (now instanceof Set) now.add(run);
    else if (!now.includes(run)) {
      if (now.length < LIST_LIMIT) now.push(run);
      else this.dependents.set(key, new Set(now).add(run));
    }
  }

  remove(key: string, run: R): void {
    const now = this.dependents.get(key);
    if (now === undefined) return;
    if (now instanceof Set) {
      now.delete(run);
      if (now.size === 0) this.dependents.delete(key);
      return;
    }
    const i = now.indexOf(run);
    if (i < 0) return;
    if (now.length === 1) this.dependents.delete(key);
    else {
      now[i] = now[now.length - 1]!;
      now.pop();
    }
  }

  each(key: string, visit: (run: R) => void): void {
    const now = this.dependents.get(key);
    if (now !== undefined) for (const run of now) visit(run);
  }
}

/** The dependency indexes of one table. */
export class TableDeps<R> {
  readonly row: DepIndex<R>;
  readonly all: DepIndex<R>;
  readonly indexes = new Map<string, DepIndex<R>>();
  readonly pairs = new Map<string, DepIndex<R>>();
  readonly pairKeys = new Map<string, DepIndex<R>>();

  constructor(table: AnyTable) {
    this.row = new DepIndex(table, "row", "");
    this.all = new DepIndex(table, "all", "");
    for (const name of Object.keys(table.indexes)) this.indexes.set(name, new DepIndex(table, "index", name));
    for (const name of Object.keys(table.pairs)) {
      this.pairs.set(name, new DepIndex(table, "pair", name));
      this.pairKeys.set(name, new DepIndex(table, "pairKeys", name));
    }
  }
}

/** Reads recorded for a run: alternating DepIndex and key. */
export type Reads<R> = (DepIndex<R> | string)[];

/** A view that records. `begin` before a run, `end` after; outside of a run nothing is recorded. */
export class TrackedView<R> implements ReadView {
  private readonly stored: Layer;
  private readonly derived: Layer;
  private readonly deps: Map<string, TableDeps<R>>;
  private reads: Reads<R> | undefined;

  constructor(stored: Layer, derived: Layer, deps: Map<string, TableDeps<R>>) {
    this.stored = stored;
    this.derived = derived;
    this.deps = deps;
  }

  begin(reads: Reads<R>): void {
    this.reads = reads;
  }

  end(): void {
    this.reads = undefined;
  }

  private layer(table: AnyTable): Layer {
    return table.derived ? this.derived : this.stored;
  }

  private of(table: AnyTable): TableDeps<R> {
    const deps = this.deps.get(table.name);
    if (deps === undefined) throw new Error(`a rule reads table ${table.name}, which no app lists in its tables`);
    return deps;
  }

  get<T extends Row>(table: Table<T>, id: string): Readonly<T> | undefined {
    this.reads?.push(this.of(table).row, id);
    return this.layer(table).get(table, id);
  }

  by<T extends Row, I extends string>(table: Table<T, I>, index: I, key: string): readonly Readonly<T>[] {
    this.reads?.push(this.of(table).indexes.get(index)!, key);
    return this.layer(table).by(table, index, key);
  }

  count<T extends Row, I extends string>(table: Table<T, I>, index: I, key: string): number {
    this.reads?.push(this.of(table).indexes.get(index)!, key);
    return this.layer(table).count(table, index, key);
  }

  pairKeys<T extends Row, P extends string>(table: Table<T, string, P>, pair: P, a: string): readonly string[] {
    this.reads?.push(this.of(table).pairKeys.get(pair)!, a);
    return this.layer(table).pairKeys(table, pair, a);
  }

  byPair<T extends Row, P extends string>(table: Table<T, string, P>, pair: P, a: string, b: string): readonly Readonly<T>[] {
    this.reads?.push(this.of(table).pairs.get(pair)!, `${a}|${b}`);
    return this.layer(table).byPair(table, pair, a, b);
  }

  all<T extends Row>(table: Table<T>): Iterable<Readonly<T>> {
    this.reads?.push(this.of(table).all, "");
    return this.layer(table).all(table);
  }
}
