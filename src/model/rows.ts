// Rows in memory: one TableData per table with its indexes, and Layers, which put uncommitted rows over committed ones
// without touching them. Reading walks the layers from the youngest down; there are never more than a few.
import type { AnyTable, IndexFn, PairFn, ReadView, Row, SettingDecls, Settings, SettingValues, Table } from "#app";
import { SettingsBook } from "../app/settings.ts";

const NONE: readonly never[] = [];

/** Ids behind an index key. Most keys have one, and a set for one string costs ten times the string. */
type Ids = string | Set<string>;
type Keys = Map<string, Ids>;

const idsIn = (ids: Ids | undefined): Iterable<string> => (ids === undefined ? NONE : typeof ids === "string" ? [ids] : ids);
const hasId = (ids: Ids | undefined, id: string): boolean => ids !== undefined && (typeof ids === "string" ? ids === id : ids.has(id));
const sizeOf = (ids: Ids | undefined): number => (ids === undefined ? 0 : typeof ids === "string" ? 1 : ids.size);

/** Index and pair functions of a table in one order, for every layer's rows of it. */
interface Ways {
  readonly indexes: readonly IndexFn<Row>[];
  readonly pairs: readonly PairFn<Row>[];
  /** Where each is, by its name. */
  readonly indexPlaces: ReadonlyMap<string, number>;
  readonly pairPlaces: ReadonlyMap<string, number>;
}
const waysOfTables = new WeakMap<AnyTable, Ways>();

function waysOf(table: AnyTable): Ways {
  let ways = waysOfTables.get(table);
  if (ways === undefined) {
    const places = (of: object): ReadonlyMap<string, number> => new Map(Object.keys(of).map((name, i) => [name, i]));
    ways = { indexes: Object.values(table.indexes), pairs: Object.values(table.pairs), indexPlaces: places(table.indexes), pairPlaces: places(table.pairs) };
    waysOfTables.set(table, ways);
  }
  return ways;
}

const NO_IDS: ReadonlySet<string> = new Set();

/** Keys of the row that is being put. */
const indexKeys: ReturnType<IndexFn<Row>>[] = [];
const pairKeys: ReturnType<PairFn<Row>>[] = [];

/**
 * Rows of one table and their indexes. In an overlay `gone` holds the ids deleted there. Of a young layer, which has a few rows for a moment, an index is
 * made when it is first read: most never are.
 */
export class TableData {
  readonly rows = new Map<string, Row>();
  private goneIds: Set<string> | undefined;
  private replacedIds: Set<string> | undefined;
  private readonly ways: Ways;
  /** By place in `ways`; undefined: not made yet. */
  private readonly indexes: (Keys | undefined)[];
  private readonly pairs: (Map<string, Keys> | undefined)[];
  readonly table: AnyTable;

  constructor(table: AnyTable, young = false) {
    this.table = table;
    this.ways = waysOf(table);
    this.indexes = this.ways.indexes.map(() => (young ? undefined : new Map<string, Ids>()));
    this.pairs = this.ways.pairs.map(() => (young ? undefined : new Map<string, Keys>()));
  }

  get gone(): ReadonlySet<string> {
    return this.goneIds ?? NO_IDS;
  }
  /** Of a younger layer: ids whose rows older ones have too, or had. So what is new costs nothing where rows are counted. */
  get replaced(): ReadonlySet<string> {
    return this.replacedIds ?? NO_IDS;
  }
  replaces(id: string): void {
    (this.replacedIds ??= new Set()).add(id);
  }

  /** `known`: the row was put into another layer, so that every function has a key for it. @throws what an index function throws; then nothing has changed */
  put(row: Row, known = false): void {
    const { ways, indexes, pairs } = this;
    const before = this.rows.get(row.id);
    // Every key is known before anything changes: a function that throws leaves no half of a row behind.
    for (let i = 0; i < indexes.length; i++) {
      if (known && indexes[i] === undefined) continue;
      const key = ways.indexes[i]!(row);
      if (typeof key !== "string" && key !== undefined && !Array.isArray(key)) throw new TypeError(`an index function of table ${this.table.name} gives ${typeof key}`);
      indexKeys[i] = key;
    }
    for (let i = 0; i < pairs.length; i++) {
      if (known && pairs[i] === undefined) continue;
      const pair = ways.pairs[i]!(row);
      if (pair !== undefined && !Array.isArray(pair)) throw new TypeError(`a pair function of table ${this.table.name} gives ${typeof pair}`);
      pairKeys[i] = pair;
    }
    if (before !== undefined) this.unindex(before);
    this.rows.set(row.id, row);
    this.goneIds?.delete(row.id);
    for (let i = 0; i < indexes.length; i++) {
      const keys = indexes[i];
      if (keys !== undefined) addAll(keys, indexKeys[i], row.id);
    }
    for (let i = 0; i < pairs.length; i++) {
      const as = pairs[i];
      if (as !== undefined) addPair(as, pairKeys[i], row.id);
    }
  }

  /** Takes the row out of this layer; `tombstone` hides it in the layers below as well. */
  remove(id: string, tombstone: boolean): void {
    const before = this.rows.get(id);
    if (before !== undefined) {
      this.unindex(before);
      this.rows.delete(id);
    }
    if (tombstone) (this.goneIds ??= new Set()).add(id);
  }

  private unindex(row: Row): void {
    const { ways, indexes, pairs } = this;
    for (let i = 0; i < indexes.length; i++) {
      const keys = indexes[i];
      const key = keys === undefined ? undefined : ways.indexes[i]!(row);
      if (keys === undefined || key === undefined) continue;
      if (typeof key === "string") removeFrom(keys, key, row.id);
      else for (const k of key) removeFrom(keys, k, row.id);
    }
    for (let i = 0; i < pairs.length; i++) {
      const as = pairs[i];
      const pair = as === undefined ? undefined : ways.pairs[i]!(row);
      if (as === undefined || pair === undefined) continue;
      const bs = as.get(pair[0]);
      if (bs === undefined) continue;
      removeFrom(bs, pair[1], row.id);
      if (bs.size === 0) as.delete(pair[0]);
    }
  }

  private keys(index: string): Keys {
    const place = this.ways.indexPlaces.get(index);
    if (place === undefined) throw new Error(`table ${this.table.name} has no index ${index}`);
    let keys = this.indexes[place];
    if (keys === undefined) {
      this.indexes[place] = keys = new Map<string, Ids>();
      const fn = this.ways.indexes[place]!;
      for (const row of this.rows.values()) addAll(keys, fn(row), row.id);
    }
    return keys;
  }

  private as(pair: string): Map<string, Keys> {
    const place = this.ways.pairPlaces.get(pair);
    if (place === undefined) throw new Error(`table ${this.table.name} has no pair index ${pair}`);
    let as = this.pairs[place];
    if (as === undefined) {
      this.pairs[place] = as = new Map<string, Keys>();
      const fn = this.ways.pairs[place]!;
      for (const row of this.rows.values()) addPair(as, fn(row), row.id);
    }
    return as;
  }

  /** The rows behind an index key. */
  rowsBy(index: string, key: string): readonly Row[] {
    return this.rowsOf(this.keys(index).get(key));
  }
  rowsByPair(pair: string, a: string, b: string): readonly Row[] {
    return this.rowsOf(this.as(pair).get(a)?.get(b));
  }
  private rowsOf(ids: Ids | undefined): readonly Row[] {
    if (ids === undefined) return [];
    if (typeof ids === "string") return [this.rows.get(ids)!];
    const out: Row[] = [];
    ids.forEach((id) => out.push(this.rows.get(id)!));
    return out;
  }

  ids(index: string, key: string): Iterable<string> {
    return idsIn(this.keys(index).get(key));
  }
  has(index: string, key: string, id: string): boolean {
    return hasId(this.keys(index).get(key), id);
  }
  size(index: string, key: string): number {
    return sizeOf(this.keys(index).get(key));
  }
  pairIds(pair: string, a: string, b: string): Iterable<string> {
    return idsIn(this.as(pair).get(a)?.get(b));
  }
  pairSize(pair: string, a: string, b: string): number {
    return sizeOf(this.as(pair).get(a)?.get(b));
  }
  /** The b of an a. */
  pairKeys(pair: string, a: string): Iterable<string> {
    return this.as(pair).get(a)?.keys() ?? NONE;
  }
  *allPairs(pair: string): Iterable<readonly [a: string, b: string]> {
    for (const [a, bs] of this.as(pair)) for (const b of bs.keys()) yield [a, b];
  }
}

function addAll(keys: Keys, key: ReturnType<IndexFn<Row>>, id: string): void {
  if (key === undefined) return;
  if (typeof key === "string") addTo(keys, key, id);
  else for (const k of key) addTo(keys, k, id);
}

function addPair(as: Map<string, Keys>, pair: ReturnType<PairFn<Row>>, id: string): void {
  if (pair === undefined) return;
  let bs = as.get(pair[0]);
  if (bs === undefined) as.set(pair[0], (bs = new Map<string, Ids>()));
  addTo(bs, pair[1], id);
}

function addTo(map: Keys, key: string, id: string): void {
  const ids = map.get(key);
  if (ids === undefined) map.set(key, id);
  else if (typeof ids !== "string") ids.add(id);
  else if (ids !== id) map.set(key, new Set([ids, id]));
}

function removeFrom(map: Keys, key: string, id: string): void {
  const ids = map.get(key);
  if (ids === id) map.delete(key);
  else if (typeof ids === "object") {
    ids.delete(id);
    if (ids.size === 0) map.delete(key);
  }
}

/** A set of tables, over a parent or at the bottom. */
export class Layer implements ReadView {
  readonly data = new Map<string, TableData>();
  parent: Layer | undefined;
  /** At the bottom: settings of apps. */
  book: SettingsBook | undefined;
  /** At the bottom: reading a table that was never there is a mistake, and this says which. */
  private readonly unlisted: ((table: AnyTable) => Error) | undefined;

  constructor(parent?: Layer, unlisted?: (table: AnyTable) => Error) {
    this.parent = parent;
    this.unlisted = unlisted;
  }

  /** Called where a read has come down to the bottom without finding the table. */
  private absent(table: AnyTable): TableData | undefined {
    if (this.unlisted !== undefined) throw this.unlisted(table);
    return undefined;
  }
  private atBottom(table: AnyTable): TableData | undefined {
    return this.parent === undefined ? this.absent(table) : undefined;
  }

  settings<S extends SettingDecls>(of: Settings<S>): SettingValues<S> {
    return this.parent === undefined ? (this.book ??= new SettingsBook()).get(of) : this.parent.settings(of);
  }

  table(table: AnyTable): TableData {
    let data = this.data.get(table.name);
    if (data === undefined) this.data.set(table.name, (data = new TableData(table, this.parent !== undefined)));
    return data;
  }

  get<R extends Row>(table: Table<R>, id: string): Readonly<R> | undefined {
    return this.row(table, id) as Readonly<R> | undefined;
  }

  /** `get` of any table, untyped. */
  row(table: AnyTable, id: string): Row | undefined {
    const data = this.data.get(table.name);
    if (data !== undefined) {
      const row = data.rows.get(id);
      if (row !== undefined) return row;
      if (data.gone.has(id)) return undefined;
    } else if (this.parent === undefined) this.absent(table);
    return this.parent?.row(table, id);
  }

  by<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): readonly Readonly<R>[] {
    if (this.parent === undefined) return ((this.data.get(table.name) ?? this.absent(table))?.rowsBy(index, key) ?? NONE) as unknown as readonly R[];
    return this.collect(table, (data) => data.ids(index, key));
  }

  /** As `by`, but so many at most. */
  first<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string, most: number): readonly Readonly<R>[] {
    const data = this.parent === undefined ? this.data.get(table.name) : undefined;
    if (data === undefined) return this.by(table, index, key).slice(0, most);
    const rows: R[] = [];
    for (const id of data.ids(index, key)) if (rows.push(data.rows.get(id) as R) >= most) break;
    return rows;
  }
  count<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): number {
    if (this.parent === undefined) return (this.data.get(table.name) ?? this.absent(table))?.size(index, key) ?? 0;
    let count = 0;
    for (const layer of this.chain()) {
      const data = layer.data.get(table.name) ?? layer.atBottom(table);
      const size = data?.size(index, key) ?? 0;
      if (size === 0) continue;
      count += size;
      // What younger layers say of a row counts there; they are small, so they are walked rather than this set.
      for (const id of this.spoken(table.name, layer)) if (data!.has(index, key, id)) count--;
    }
    return count;
  }

  byPair<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string, b: string): readonly Readonly<R>[] {
    if (this.parent === undefined) return ((this.data.get(table.name) ?? this.absent(table))?.rowsByPair(pair, a, b) ?? NONE) as unknown as readonly R[];
    return this.collect(table, (data) => data.pairIds(pair, a, b));
  }

  pairKeys<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string): readonly string[] {
    if (this.parent === undefined) return [...((this.data.get(table.name) ?? this.absent(table))?.pairKeys(pair, a) ?? NONE)];
    const found = new Set<string>();
    for (const layer of this.chain()) {
      const data = layer.data.get(table.name) ?? layer.atBottom(table);
      if (data === undefined) continue;
      for (const b of data.pairKeys(pair, a)) {
        if (!found.has(b) && [...data.pairIds(pair, a, b)].some((id) => !this.hidden(table.name, id, layer))) found.add(b);
      }
    }
    return [...found];
  }

  *all<R extends Row>(table: Table<R>): Iterable<Readonly<R>> {
    for (const layer of this.chain()) {
      for (const [id, row] of (layer.data.get(table.name) ?? layer.atBottom(table))?.rows ?? []) {
        if (layer === this || !this.hidden(table.name, id, layer)) yield row as unknown as R;
      }
    }
  }

  private collect<R extends Row>(table: Table<R>, ids: (data: TableData) => Iterable<string>): readonly R[] {
    const out: R[] = [];
    const own = this.data.get(table.name);
    if (own !== undefined) for (const id of ids(own)) out.push(own.rows.get(id) as unknown as R);
    // No generator here and in hidden(): these two run for every row that a transaction reads by an index.
    for (let layer = this.parent; layer !== undefined; layer = layer.parent) {
      const data = layer.data.get(table.name) ?? layer.atBottom(table);
      if (data === undefined) continue;
      for (const id of ids(data)) if (!this.hidden(table.name, id, layer)) out.push(data.rows.get(id) as unknown as R);
    }
    return out;
  }

  /** This layer and those below it. */
  private chain(): readonly Layer[] {
    const chain: Layer[] = [this];
    for (let layer = this.parent; layer !== undefined; layer = layer.parent) chain.push(layer);
    return chain;
  }

  /** Ids of rows of older layers that layers younger than `layer` have a word on, each once. */
  private spoken(table: string, layer: Layer): Iterable<string> {
    let out: Set<string> | undefined;
    for (const l of this.chain()) {
      if (l === layer) break;
      const data = l.data.get(table);
      if (data === undefined) continue;
      out ??= new Set<string>();
      for (const id of data.replaced) out.add(id);
      for (const id of data.gone) out.add(id);
    }
    return out ?? NONE;
  }

  /** Whether a younger layer than `layer` has its own word on the row. */
  private hidden(table: string, id: string, layer: Layer): boolean {
    if (this === layer) return false;
    const data = this.data.get(table);
    if (data !== undefined && (data.rows.has(id) || data.gone.has(id))) return true;
    return this.parent?.hidden(table, id, layer) ?? false;
  }

  /** `known`: another layer has taken it. `fresh`: and no older one has a row of its id. */
  put(table: AnyTable, row: Row, known = false, fresh = false): void {
    const data = this.table(table);
    // Of one that was deleted in this layer older ones may have a row, though nobody saw it when this one was put.
    if (this.parent !== undefined && !data.rows.has(row.id) && (data.gone.has(row.id) || (!fresh && this.parent.row(table, row.id) !== undefined))) data.replaces(row.id);
    data.put(row, known);
  }

  remove(table: AnyTable, id: string): void {
    this.table(table).remove(id, this.parent !== undefined);
  }

  /** Whether older layers have a row of this id, or had one, of one that was put here. */
  replaces(table: AnyTable, id: string): boolean {
    return this.data.get(table.name)?.replaced.has(id) === true;
  }

  /** Everything this layer says, moved into its parent. */
  mergeDown(): void {
    const into = this.parent!;
    for (const data of this.data.values()) {
      for (const id of data.gone) into.remove(data.table, id);
      for (const row of data.rows.values()) into.put(data.table, row, true, !data.replaced.has(row.id));
    }
    this.data.clear();
  }

  get empty(): boolean {
    for (const data of this.data.values()) if (data.rows.size > 0 || data.gone.size > 0) return false;
    return true;
  }
}
