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

/** Rows of one table and their indexes. In an overlay `gone` holds the ids deleted there. */
export class TableData {
  readonly rows = new Map<string, Row>();
  readonly gone = new Set<string>();
  /** Of a younger layer: ids whose rows older ones have too, or had. So what is new costs nothing where rows are counted. */
  readonly replaced = new Set<string>();
  private readonly indexes = new Map<string, Keys>();
  private readonly pairs = new Map<string, Map<string, Keys>>();
  /** The same, with their functions: walked for every row that is put. */
  private readonly indexList: { readonly fn: IndexFn<Row>; readonly keys: Keys }[] = [];
  private readonly pairList: { readonly fn: PairFn<Row>; readonly as: Map<string, Keys> }[] = [];
  /** Keys of the row that is being put. */
  private readonly indexKeys: ReturnType<IndexFn<Row>>[] = [];
  private readonly pairKeysOf: ReturnType<PairFn<Row>>[] = [];
  readonly table: AnyTable;

  constructor(table: AnyTable) {
    this.table = table;
    for (const [name, fn] of Object.entries(table.indexes)) {
      const keys: Keys = new Map();
      this.indexes.set(name, keys);
      this.indexList.push({ fn, keys });
    }
    for (const [name, fn] of Object.entries(table.pairs)) {
      const as = new Map<string, Keys>();
      this.pairs.set(name, as);
      this.pairList.push({ fn, as });
    }
  }

  /** @throws what an index function throws; then nothing has changed */
  put(row: Row): void {
    const before = this.rows.get(row.id);
    // Every key is known before anything changes: a function that throws leaves no half of a row behind.
    for (let i = 0; i < this.indexList.length; i++) {
      const key = this.indexList[i]!.fn(row);
      if (typeof key !== "string" && key !== undefined && !Array.isArray(key)) throw new TypeError(`an index function of table ${this.table.name} gives ${typeof key}`);
      this.indexKeys[i] = key;
    }
    for (let i = 0; i < this.pairList.length; i++) {
      const pair = this.pairList[i]!.fn(row);
      if (pair !== undefined && !Array.isArray(pair)) throw new TypeError(`a pair function of table ${this.table.name} gives ${typeof pair}`);
      this.pairKeysOf[i] = pair;
    }
    if (before !== undefined) this.unindex(before);
    this.rows.set(row.id, row);
    this.gone.delete(row.id);
    for (let i = 0; i < this.indexList.length; i++) {
      const key = this.indexKeys[i];
      const { keys } = this.indexList[i]!;
      if (key === undefined) continue;
      if (typeof key === "string") addTo(keys, key, row.id);
      else for (const k of key) addTo(keys, k, row.id);
    }
    for (let i = 0; i < this.pairList.length; i++) {
      const pair = this.pairKeysOf[i];
      const { as } = this.pairList[i]!;
      if (pair === undefined) continue;
      let bs = as.get(pair[0]);
      if (bs === undefined) as.set(pair[0], (bs = new Map<string, Ids>()));
      addTo(bs, pair[1], row.id);
    }
  }

  /** Takes the row out of this layer; `tombstone` hides it in the layers below as well. */
  remove(id: string, tombstone: boolean): void {
    const before = this.rows.get(id);
    if (before !== undefined) {
      this.unindex(before);
      this.rows.delete(id);
    }
    if (tombstone) this.gone.add(id);
  }

  private unindex(row: Row): void {
    for (const { fn, keys } of this.indexList) {
      const key = fn(row);
      if (key === undefined) continue;
      if (typeof key === "string") removeFrom(keys, key, row.id);
      else for (const k of key) removeFrom(keys, k, row.id);
    }
    for (const { fn, as } of this.pairList) {
      const pair = fn(row);
      if (pair === undefined) continue;
      const bs = as.get(pair[0]);
      if (bs === undefined) continue;
      removeFrom(bs, pair[1], row.id);
      if (bs.size === 0) as.delete(pair[0]);
    }
  }

  private keys(index: string): Keys {
    const keys = this.indexes.get(index);
    if (keys === undefined) throw new Error(`table ${this.table.name} has no index ${index}`);
    return keys;
  }

  private as(pair: string): Map<string, Keys> {
    const as = this.pairs.get(pair);
    if (as === undefined) throw new Error(`table ${this.table.name} has no pair index ${pair}`);
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
    if (data === undefined) this.data.set(table.name, (data = new TableData(table)));
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

  put(table: AnyTable, row: Row): void {
    const data = this.table(table);
    if (this.parent !== undefined && !data.rows.has(row.id) && this.parent.row(table, row.id) !== undefined) data.replaced.add(row.id);
    data.put(row);
  }

  remove(table: AnyTable, id: string): void {
    this.table(table).remove(id, this.parent !== undefined);
  }

  /** Everything this layer says, moved into its parent. */
  mergeDown(): void {
    const into = this.parent!;
    for (const data of this.data.values()) {
      for (const id of data.gone) into.remove(data.table, id);
      for (const row of data.rows.values()) into.put(data.table, row);
    }
    this.data.clear();
  }

  get empty(): boolean {
    for (const data of this.data.values()) if (data.rows.size > 0 || data.gone.size > 0) return false;
    return true;
  }
}
