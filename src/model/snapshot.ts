// Snapshots: what is committed at an instant, for a reader that takes its time. The rows themselves are immutable; a snapshot is a layer
// over the live rows that says of each row changed since how it was.
import type { AnyTable, ReadView, Row } from "#app";
import { Layer } from "./rows.ts";

/** Rows changed since that a snapshot remembers. */
const MAX_ROWS = 200_000;

export interface Snapshot {
  readonly view: ReadView;
  /** So many rows changed since that it is no longer kept: what is read from now on may be newer. */
  readonly stale: boolean;
  close(): void;
}

class Kept implements Snapshot {
  readonly layer: Layer;
  rows = 0;
  private readonly owner: Set<Kept>;

  constructor(base: Layer, owner: Set<Kept>) {
    this.layer = new Layer(base);
    this.owner = owner;
  }

  get view(): ReadView {
    return this.layer;
  }

  get stale(): boolean {
    return this.rows > MAX_ROWS;
  }

  remember(table: AnyTable, id: string, before: Row | undefined): void {
    if (this.stale) return;
    const data = this.layer.table(table);
    if (data.rows.has(id) || data.gone.has(id)) return;
    if (before === undefined) this.layer.remove(table, id);
    else this.layer.put(table, before);
    this.rows++;
    if (this.stale) this.layer.data.clear();
  }

  close(): void {
    this.owner.delete(this);
    this.layer.data.clear();
  }
}

export class Snapshots {
  private readonly open = new Set<Kept>();
  private readonly base: Layer;

  constructor(base: Layer) {
    this.base = base;
  }

  get size(): number {
    return this.open.size;
  }

  take(): Snapshot {
    const kept = new Kept(this.base, this.open);
    this.open.add(kept);
    return kept;
  }

  /** To be called before each row of the base changes. */
  changing(table: AnyTable, id: string, before: Row | undefined): void {
    for (const kept of this.open) kept.remember(table, id, before);
  }
}
