// Rows in memory: one TableData per table with its indexes, and Layers, which put uncommitted rows over committed ones
// without touching them. Reading walks the layers from the youngest down; there are never more than a few.
import type { AnyTable, ReadView, Row, Table } from "#app";

const NONE: readonly never[] = [];

/** Rows of one table and their indexes. In an overlay `gone` holds the ids deleted there. */
export class TableData {
  readonly rows = new Map<string, Row>();
  readonly gone = new Set<string>();
  private readonly indexes = new Map<string, Map<string, Set<string>>>();
  private readonly pairs = new Map<string, Map<string, Map<string, Set<string>>>>();
  readonly table: AnyTable;

  constructor(table: AnyTable) {
    this.table = table;
    for (const name of Object.keys(table.indexes)) this.indexes.set(name, new Map());
    for (const name of Object.keys(table.pairs)) this.pairs.set(name, new Map());
  }

  put(row: Row): void {
    const before = this.rows.get(row.id);
    if (before !== undefined) this.unindex(before);
    this.rows.set(row.id, row);
    this.gone.delete(row.id);
    for (const [name, keys] of this.indexes) {
      const key = this.table.indexes[name]!(row);
      if (key === undefined) continue;
      if (typeof key === "string") addTo(keys, key, row.id);
      else for (const k of key) addTo(keys, k, row.id);
    }
    for (const [name, as] of this.pairs) {
      const pair = this.table.pairs[name]!(row);
      if (pair === undefined) continue;
      let bs = as.get(pair[0]);
      if (bs === undefined) as.set(pair[0], (bs = new Map<string, Set<string>>()));
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
    for (const [name, keys] of this.indexes) {
      const key = this.table.indexes[name]!(row);
      if (key === undefined) continue;
      if (typeof key === "string") removeFrom(keys, key, row.id);
      else for (const k of key) removeFrom(keys, k, row.id);
    }
    for (const [name, as] of this.pairs) {
      const pair = this.table.pairs[name]!(row);
      if (pair === undefined) continue;
      const bs = as.get(pair[0]);
      if (bs === undefined) continue;
      removeFrom(bs, pair[1], row.id);
      if (bs.size === 0) as.delete(pair[0]);
    }
  }

  ids(index: string, key: string): ReadonlySet<string> | undefined {
    const keys = this.indexes.get(index);
    if (keys === undefined) throw new Error(`table ${this.table.name} has no index ${index}`);
    return keys.get(key);
  }

  pairMap(pair: string): ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string>>> {
    const as = this.pairs.get(pair);
    if (as === undefined) throw new Error(`table ${this.table.name} has no pair index ${pair}`);
    return as;
  }
}

function addTo(map: Map<string, Set<string>>, key: string, id: string): void {
  const set = map.get(key);
  if (set === undefined) map.set(key, new Set([id]));
  else set.add(id);
}

function removeFrom(map: Map<string, Set<string>>, key: string, id: string): void {
  const set = map.get(key);
  if (set === undefined) return;
  set.delete(id);
  if (set.size === 0) map.delete(key);
}

/** A set of tables, over a parent or at the bottom. */
export class Layer implements ReadView {
  readonly data = new Map<string, TableData>();
  parent: Layer | undefined;

  constructor(parent?: Layer) {
    this.parent = parent;
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
    }
    return this.parent?.row(table, id);
  }

  by<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): readonly Readonly<R>[] {
    return this.collect(table, (data) => data.ids(index, key));
  }

  count<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): number {
    if (this.parent === undefined) return this.data.get(table.name)?.ids(index, key)?.size ?? 0;
    let count = 0;
    for (const layer of this.chain()) {
      const ids = layer.data.get(table.name)?.ids(index, key);
      if (ids === undefined) continue;
      count += ids.size;
      // What younger layers say of a row counts there; they are small, so they are walked rather than this set.
      for (const id of this.spoken(table.name, layer)) if (ids.has(id)) count--;
    }
    return count;
  }

  byPair<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string, b: string): readonly Readonly<R>[] {
    return this.collect(table, (data) => data.pairMap(pair).get(a)?.get(b));
  }

  pairKeys<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string): readonly string[] {
    if (this.parent === undefined) {
      const bs = this.data.get(table.name)?.pairMap(pair).get(a);
      return bs === undefined ? NONE : [...bs.keys()];
    }
    const found = new Set<string>();
    for (const layer of this.chain()) {
      for (const [b, ids] of layer.data.get(table.name)?.pairMap(pair).get(a) ?? []) {
        if (!found.has(b) && [...ids].some((id) => !this.hidden(table.name, id, layer))) found.add(b);
      }
    }
    return [...found];
  }

  *all<R extends Row>(table: Table<R>): Iterable<Readonly<R>> {
    for (const layer of this.chain()) {
      for (const [id, row] of layer.data.get(table.name)?.rows ?? []) {
        if (layer === this || !this.hidden(table.name, id, layer)) yield row as unknown as R;
      }
    }
  }

  private collect<R extends Row>(table: Table<R>, ids: (data: TableData) => ReadonlySet<string> | undefined): readonly R[] {
    const out: R[] = [];
    const own = this.data.get(table.name);
    if (own !== undefined) for (const id of ids(own) ?? NONE) out.push(own.rows.get(id) as unknown as R);
    if (this.parent === undefined) return out;
    for (const layer of this.parent.chain()) {
      const data = layer.data.get(table.name);
      if (data === undefined) continue;
      for (const id of ids(data) ?? NONE) if (!this.hidden(table.name, id, layer)) out.push(data.rows.get(id) as unknown as R);
    }
    return out;
  }

  /** This layer and those below it. */
  private *chain(): Iterable<Layer> {
    yield this;
    if (this.parent !== undefined) yield* this.parent.chain();
  }

  /** Ids that layers younger than `layer` have a word on, each once. */
  private spoken(table: string, layer: Layer): Set<string> {
    const out = new Set<string>();
    for (const l of this.chain()) {
      if (l === layer) break;
      const data = l.data.get(table);
      if (data === undefined) continue;
      for (const id of data.rows.keys()) out.add(id);
      for (const id of data.gone) out.add(id);
    }
    return out;
  }

  /** Whether a younger layer than `layer` has its own word on the row. */
  private hidden(table: string, id: string, layer: Layer): boolean {
    for (const l of this.chain()) {
      if (l === layer) return false;
      const data = l.data.get(table);
      if (data !== undefined && (data.rows.has(id) || data.gone.has(id))) return true;
    }
    return false;
  }

  put(table: AnyTable, row: Row): void {
    this.table(table).put(row);
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
