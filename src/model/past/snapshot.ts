// Snapshots: what is committed at an instant, for a reader that takes its time. The rows themselves are immutable; a snapshot is a layer
// over the live rows that says of each row changed since how it was.
import type { AnyTable, ReadView, Row } from "#app";
import { Layer } from "../rows.ts";

/** Rows changed since that a snapshot remembers. */
const MAX_ROWS = 200_000;

export interface Snapshot {
  readonly view: ReadView;
  /** So many rows changed since that it is no longer kept: what is read from now on may be newer. */
  readonly stale: boolean;
  /** Makes it one of an earlier instant: `changes` are those since, the latest first. Before it is read. */
  readonly rewind: (changes: Iterable<{ readonly table: AnyTable; readonly id: string; readonly before: Row | undefined }>) => void;
  /** What makes the committed rows those of the snapshot, as changes of them. */
  readonly changes: () => readonly { readonly table: AnyTable; readonly id: string; readonly before: Row | undefined; readonly after: Row | undefined }[];
  readonly close: () => void;
}

class Kept implements Snapshot {
  readonly layer: Layer;
  rows = 0;
  private readonly owner: Set<Kept>;
  private readonly max: number;

  constructor(base: Layer, owner: Set<Kept>, max: number) {
    this.layer = new Layer(base);
    this.owner = owner;
    this.max = max;
  }

  get view(): ReadView {
    return this.layer;
  }

  get stale(): boolean {
    return this.rows > this.max;
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

  readonly rewind = (changes: Iterable<{ readonly table: AnyTable; readonly id: string; readonly before: Row | undefined }>): void => {
    for (const { table, id, before } of changes) {
      if (before === undefined) this.layer.remove(table, id);
      else this.layer.put(table, before);
      this.rows++;
    }
  };

  readonly changes: Snapshot["changes"] = () => {
    const base = this.layer.parent!;
    const out: { table: AnyTable; id: string; before: Row | undefined; after: Row | undefined }[] = [];
    for (const { table, rows, gone } of this.layer.data.values()) {
      for (const after of rows.values()) out.push({ table, id: after.id, before: base.row(table, after.id), after });
      for (const id of gone) {
        const before = base.row(table, id);
        if (before !== undefined) out.push({ table, id, before, after: undefined });
      }
    }
    return out;
  };

  readonly close = (): void => {
    this.owner.delete(this);
    this.layer.data.clear();
  };
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

  take(maxRows = MAX_ROWS): Snapshot {
    const kept = new Kept(this.base, this.open, maxRows);
    this.open.add(kept);
    return kept;
  }

  /** To be called before each row of the base changes. */
  changing(table: AnyTable, id: string, before: Row | undefined): void {
    for (const kept of this.open) kept.remember(table, id, before);
  }
}
