// Tracked reads: which run read what. A run is one (rule, entity) or (derivation, entity); a read is a row by id, the rows
// behind an index key, the second keys of a pair, or a whole table. When a read's answer may have changed, its runs are dirty.
//
// Most reads of most runs ask for their own entity's id: the port's row, the port's addresses, the port's groups. These
// are one bit in the run; who has the bit is found through the entity, and no key, list or set is kept for them.
import type { AnyTable, IndexFn, PairFn, ReadView, Row, SettingDecls, Settings, SettingValues, Table } from "#app";
import { isList } from "../lib/few.ts";
import type { Layer } from "../model/rows.ts";

/** Runs that depend on one key. Most keys have a few, so a list serves until it is long; one alone needs not even that. */
const LIST_LIMIT = 8;
/** Bits in Reader.own; what a unit reads beyond that of its own entity is tracked like any other read. */
const OWN_LIMIT = 30;

/** What reads: a run. */
export interface Reader<R> {
  readonly entity: { readonly id: string };
  readonly unit: ReadingUnit<R>;
  /** Bit i: it read `unit.ownReads[i]` with the id of its entity as key. */
  own: number;
  /** The other reads. */
  reads: Reads<R>;
}

/** What all runs of a rule or derivation share. */
export interface ReadingUnit<R> {
  readonly ownReads: DepIndex<R>[];
  runOn(entity: string): R | undefined;
  eachRun(visit: (run: R) => void): void;
  /** Tables that it may read; undefined: all. */
  readonly mayRead: ReadonlySet<string> | undefined;
}

/** Reads recorded for a run: alternating DepIndex and key. */
export type Reads<R> = readonly (DepIndex<R> | string)[];
export const NO_READS: readonly never[] = [];

export class DepIndex<R> {
  readonly table: AnyTable;
  readonly kind: "row" | "index" | "pair" | "pairKeys" | "all";
  readonly name: string;
  private readonly dependents = new Map<string, R | readonly R[] | Set<R>>();
  /** Units whose runs may have a bit for this index. */
  private readonly owners: { readonly unit: ReadingUnit<R>; readonly bit: number }[] = [];

  constructor(table: AnyTable, kind: DepIndex<R>["kind"], name: string) {
    this.table = table;
    this.kind = kind;
    this.name = name;
  }

  /** Whether nobody ever read here. */
  get unread(): boolean {
    return this.dependents.size === 0 && this.owners.length === 0;
  }

  /** The bit that stands for this index in runs of the unit; 0: there is no room for another. */
  ownBit(unit: ReadingUnit<R>): number {
    const { ownReads } = unit;
    for (let i = 0; i < ownReads.length; i++) if (ownReads[i] === this) return 1 << i;
    if (ownReads.length === OWN_LIMIT) return 0;
    const bit = 1 << ownReads.length;
    ownReads.push(this);
    this.owners.push({ unit, bit });
    return bit;
  }

  add(key: string, run: R): void {
    const now = this.dependents.get(key);
    if (now === undefined) this.dependents.set(key, run);
    else if (now instanceof Set) now.add(run);
    else if (isList(now)) {
      if (now.includes(run)) return;
      // A copy is exactly as long as it must be; a list that grows by push keeps room for sixteen more.
      this.dependents.set(key, now.length < LIST_LIMIT ? [...now, run] : new Set(now).add(run));
    } else if (now !== run) this.dependents.set(key, [now, run]);
  }

  remove(key: string, run: R): void {
    const now = this.dependents.get(key);
    if (now === undefined) return;
    if (now instanceof Set) {
      now.delete(run);
      if (now.size === 0) this.dependents.delete(key);
    } else if (!isList(now)) {
      if (now === run) this.dependents.delete(key);
    } else {
      const rest = now.filter((r) => r !== run);
      if (rest.length === 0) this.dependents.delete(key);
      else this.dependents.set(key, rest.length === 1 ? rest[0]! : rest);
    }
  }

  /** Everybody who ever read here and may still depend on it. */
  every(visit: (run: R) => void): void {
    for (const { unit, bit } of this.owners) unit.eachRun((run) => ((run as R & Reader<R>).own & bit) !== 0 && visit(run));
    for (const now of this.dependents.values()) {
      if (now instanceof Set || isList(now)) for (const run of now) visit(run);
      else visit(now);
    }
  }

  each(key: string, visit: (run: R) => void): void {
    for (const { unit, bit } of this.owners) {
      const run = unit.runOn(key) as (R & Reader<R>) | undefined;
      if (run !== undefined && (run.own & bit) !== 0) visit(run);
    }
    const now = this.dependents.get(key);
    if (now === undefined) return;
    if (now instanceof Set || isList(now)) for (const run of now) visit(run);
    else visit(now);
  }
}

/** The dependency indexes of one table, and the layer its rows are in. */
export class TableDeps<R> {
  readonly layer: Layer;
  readonly row: DepIndex<R>;
  readonly all: DepIndex<R>;
  readonly indexes = new Map<string, DepIndex<R>>();
  readonly pairs = new Map<string, DepIndex<R>>();
  readonly pairKeys = new Map<string, DepIndex<R>>();
  /** The same as `indexes` and `pairs`, with their functions: walked for every change. */
  readonly indexList: { readonly index: DepIndex<R>; readonly fn: IndexFn<Row> }[] = [];
  readonly pairList: { readonly name: string; readonly index: DepIndex<R>; readonly keys: DepIndex<R>; readonly fn: PairFn<Row> }[] = [];
  /** The row last read: the runs of an entity come one after the other and ask for the same. */
  lastId: string | undefined;
  lastRow: Row | undefined;

  constructor(table: AnyTable, layer: Layer) {
    this.layer = layer;
    this.row = new DepIndex(table, "row", "");
    this.all = new DepIndex(table, "all", "");
    for (const [name, fn] of Object.entries(table.indexes)) {
      const index = new DepIndex<R>(table, "index", name);
      this.indexes.set(name, index);
      this.indexList.push({ index, fn });
    }
    for (const [name, fn] of Object.entries(table.pairs)) {
      const index = new DepIndex<R>(table, "pair", name);
      const keys = new DepIndex<R>(table, "pairKeys", name);
      this.pairs.set(name, index);
      this.pairKeys.set(name, keys);
      this.pairList.push({ name, index, keys, fn });
    }
  }
}

const NO_SETTINGS: Pick<ReadView, "settings"> = {
  settings: () => {
    throw new Error("there are no settings here");
  },
};

/** A view that records. `begin` before a run, `end` after; outside of a run nothing is recorded. */
export class TrackedView<R extends Reader<R>> implements ReadView {
  private readonly deps: ReadonlyMap<string, TableDeps<R>>;
  private readonly constants: Pick<ReadView, "settings">;
  private run: R | undefined;
  private mayRead: ReadonlySet<string> | undefined;
  private id = "";
  private own = 0;
  /** The first `noted` are this run's: a list that is emptied gives up its room, and takes new for the next run. */
  private readonly others: (DepIndex<R> | string)[] = [];
  private noted = 0;

  /** For tests. Undefined: rows are shown as they are. */
  private readonly seenOf: (<T extends Row>(table: AnyTable, row: T) => T) | undefined;

  constructor(deps: ReadonlyMap<string, TableDeps<R>>, constants: Pick<ReadView, "settings"> = NO_SETTINGS, seenOf?: <T extends Row>(table: AnyTable, row: T) => T) {
    this.deps = deps;
    this.constants = constants;
    this.seenOf = seenOf;
  }

  /** The same in every run, so no read of it is kept. */
  settings<S extends SettingDecls>(of: Settings<S>): SettingValues<S> {
    if (this.run !== undefined && this.mayRead === undefined) throw new Error(`a rule reads settings (${Object.keys(of.declared).join(", ")}): a derivation makes a row of what flows depend on`);
    return this.constants.settings(of);
  }

  begin(run: R): void {
    this.run = run;
    this.mayRead = run.unit.mayRead;
    this.id = run.entity.id;
    this.own = 0;
    this.noted = 0;
  }

  /** The run's reads from now on are those since `begin`. */
  end(): void {
    const run = this.run!;
    const { others, noted } = this;
    this.run = undefined;
    this.mayRead = undefined;
    run.own = this.own;
    const before = run.reads;
    if (before.length === noted && startsWith(others, before)) return;
    for (let i = 0; i < before.length; i += 2) (before[i] as DepIndex<R>).remove(before[i + 1] as string, run);
    for (let i = 0; i < noted; i += 2) (others[i] as DepIndex<R>).add(others[i + 1] as string, run);
    run.reads = noted === 0 ? NO_READS : others.slice(0, noted);
  }

  /** The run under way ended before its time: it keeps the reads it had. */
  abandon(): void {
    this.run = undefined;
    this.mayRead = undefined;
  }

  /** The run is no more. */
  forget(run: R): void {
    const { reads } = run;
    for (let i = 0; i < reads.length; i += 2) (reads[i] as DepIndex<R>).remove(reads[i + 1] as string, run);
    run.reads = NO_READS;
    run.own = 0;
  }

  private of(table: AnyTable): TableDeps<R> {
    const deps = this.deps.get(table.name);
    if (deps === undefined) throw new Error("soft" in table ? `soft table ${table.name} is read: what packets taught decides no flow` : `table ${table.name} is read, which no app lists in its tables`);
    if (this.mayRead !== undefined && !this.mayRead.has(table.name)) throw new Error(`it reads table ${table.name}, which it does not declare in reads`);
    return deps;
  }

  private note(dep: DepIndex<R>, key: string): void {
    if (this.run === undefined) return;
    if (key === this.id) {
      const bit = dep.ownBit(this.run.unit);
      this.own |= bit;
      if (bit !== 0) return;
    }
    this.others[this.noted++] = dep;
    this.others[this.noted++] = key;
  }

  get<T extends Row>(table: Table<T>, id: string): Readonly<T> | undefined {
    const deps = this.of(table);
    this.note(deps.row, id);
    if (this.run === undefined) return deps.layer.get(table, id);
    if (deps.lastId !== id) {
      deps.lastRow = deps.layer.row(table, id);
      deps.lastId = id;
    }
    const row = deps.lastRow as unknown as T | undefined;
    return this.seenOf === undefined || row === undefined ? row : this.seenOf(table, row);
  }

  /** Rows that a run gets. */
  private seen<T extends Row>(table: Table<T>, rows: readonly Readonly<T>[]): readonly Readonly<T>[] {
    const { seenOf, run } = this;
    return seenOf === undefined || run === undefined ? rows : rows.map((row) => seenOf(table, row));
  }

  by<T extends Row, I extends string>(table: Table<T, I>, index: I, key: string): readonly Readonly<T>[] {
    const deps = this.of(table);
    this.note(deps.indexes.get(index)!, key);
    return this.seen(table, deps.layer.by(table, index, key));
  }

  count<T extends Row, I extends string>(table: Table<T, I>, index: I, key: string): number {
    const deps = this.of(table);
    this.note(deps.indexes.get(index)!, key);
    return deps.layer.count(table, index, key);
  }

  pairKeys<T extends Row, P extends string>(table: Table<T, string, P>, pair: P, a: string): readonly string[] {
    const deps = this.of(table);
    this.note(deps.pairKeys.get(pair)!, a);
    return deps.layer.pairKeys(table, pair, a);
  }

  byPair<T extends Row, P extends string>(table: Table<T, string, P>, pair: P, a: string, b: string): readonly Readonly<T>[] {
    const deps = this.of(table);
    this.note(deps.pairs.get(pair)!, `${a}|${b}`);
    return this.seen(table, deps.layer.byPair(table, pair, a, b));
  }

  all<T extends Row>(table: Table<T>): Iterable<Readonly<T>> {
    const deps = this.of(table);
    this.note(deps.all, "");
    return this.seenOf === undefined ? deps.layer.all(table) : this.seen(table, [...deps.layer.all(table)]);
  }
}

function startsWith<R>(list: Reads<R>, start: Reads<R>): boolean {
  for (let i = 0; i < start.length; i++) if (list[i] !== start[i]) return false;
  return true;
}
