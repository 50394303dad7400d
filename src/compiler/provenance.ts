// Why a flow exists: its run says the rule and the entity, the run's recorded reads the API resources behind it. Of a flow that a batch
// takes away both may be gone: what they were before is kept until the batch is told, while somebody listens.
import { chassisTable, type AnyTable, type Row } from "#app";
import type { Layer } from "../model/rows.ts";
import type { Run } from "./runs.ts";
import type { DerivedRows, RowChange } from "./derived.ts";
import type { DepIndex, Reads } from "./track.ts";

export interface Provenance {
  readonly app: string;
  readonly rule: string;
  readonly about: string;
  readonly entity: string;
  /** It needs no entity: it is there always. */
  readonly static: boolean;
  /**
   * API rows behind its entity, then those that the run read; of a flow that is there for a host alone, the host: `switch`, which is no API
   * resource.
   */
  readonly resources: readonly { readonly type: string; readonly table: string; readonly id: string }[];
}

/** Type of the resource that a host is. */
export const SWITCH = "switch";

/** Rows, whose they are and what runs read, as of one instant. */
export interface Known {
  row(table: AnyTable, id: string): Row | undefined;
  rowsByPair(table: AnyTable, pair: string, a: string, b: string): readonly Row[];
  /** Of a derived row. */
  ownerOf(table: AnyTable, id: string): Run | undefined;
  readsOf(run: Run): Pick<Run, "own" | "reads">;
}

/** As it is now. */
export class Now implements Known {
  private readonly stored: Layer;
  private readonly derived: DerivedRows;

  constructor(stored: Layer, derived: DerivedRows) {
    this.stored = stored;
    this.derived = derived;
  }

  row(table: AnyTable, id: string): Row | undefined {
    return (table.derived ? this.derived.layer : this.stored).row(table, id);
  }

  rowsByPair(table: AnyTable, pair: string, a: string, b: string): readonly Row[] {
    return (table.derived ? this.derived.layer : this.stored).table(table).rowsByPair(pair, a, b);
  }

  ownerOf(table: AnyTable, id: string): Run | undefined {
    return this.derived.ownerOf(table, id);
  }

  readsOf(run: Run): Pick<Run, "own" | "reads"> {
    return run;
  }
}

interface Replaced {
  readonly row: Row | undefined;
  readonly owner: Run | undefined;
}

/** As it was before a batch: what the batch changed, over what is now. It is as large as the batch. */
export class Before implements Known {
  private readonly now: Known;
  private readonly rows = new Map<AnyTable, Map<string, Replaced>>();
  private readonly reads = new Map<Run, { readonly own: number; readonly reads: Reads<Run> }>();

  constructor(now: Known) {
    this.now = now;
  }

  /** A row changes; `owner`: the run that derives it until now. */
  changing({ table, id, before }: RowChange, owner?: Run): void {
    let rows = this.rows.get(table);
    if (rows === undefined) this.rows.set(table, (rows = new Map<string, Replaced>()));
    if (!rows.has(id)) rows.set(id, { row: before, owner });
  }

  /** A run is about to run again, or to go. */
  running(run: Run): void {
    if (!this.reads.has(run)) this.reads.set(run, { own: run.own, reads: run.reads });
  }

  row(table: AnyTable, id: string): Row | undefined {
    const changed = this.rows.get(table)?.get(id);
    return changed === undefined ? this.now.row(table, id) : changed.row;
  }

  rowsByPair(table: AnyTable, pair: string, a: string, b: string): readonly Row[] {
    const changed = this.rows.get(table);
    const out = this.now.rowsByPair(table, pair, a, b).filter(({ id }) => changed?.has(id) !== true);
    for (const { row } of changed?.values() ?? []) {
      if (row === undefined) continue;
      const keys = table.pairs[pair]!(row);
      if (keys?.[0] === a && keys[1] === b) out.push(row);
    }
    return out;
  }

  ownerOf(table: AnyTable, id: string): Run | undefined {
    const changed = this.rows.get(table)?.get(id);
    return changed === undefined ? this.now.ownerOf(table, id) : changed.owner;
  }

  readsOf(run: Run): Pick<Run, "own" | "reads"> {
    return this.reads.get(run) ?? run;
  }
}

export function provenanceOf(run: Run, known: Known): Provenance {
  const resources: { type: string; table: string; id: string }[] = [];
  let host: string | undefined;
  const add = (table: AnyTable, id: string): void => {
    if (table === chassisTable) host ??= id;
    const type = table.resource;
    if (type !== undefined && !resources.some((r) => r.type === type && r.id === id)) resources.push({ type, table: table.name, id });
  };
  /** What a row is of; else, of a derived row, what the run that derives it runs on. Derivations do not go in circles. */
  const behind = (table: AnyTable, id: string): void => {
    if (table.of !== undefined) {
      const row = known.row(table, id);
      if (row !== undefined) for (const other of table.of.ids(row)) add(table.of.table, other);
    } else if (!table.derived) add(table, id);
    else {
      const deriving = known.ownerOf(table, id);
      if (deriving === undefined) return;
      entityOf(deriving);
      if (resources.length === 0) readsOf(deriving, known, readStored);
    }
  };
  const entityOf = ({ unit: { source }, entity }: Run): void => {
    if (source?.kind === "rows") behind(source.table, entity.id);
  };
  const readStored = (table: AnyTable, id: string): void => {
    if ((!table.derived || table.of !== undefined) && known.row(table, id) !== undefined) behind(table, id);
  };
  entityOf(run);
  readsOf(run, known, readStored);
  if (resources.length === 0) readsOf(run, known, behind);
  if (resources.length === 0 && run.unit.source?.kind === "pairs") {
    const { table, pair } = run.unit.source;
    const bar = run.entity.id.indexOf("|");
    // In an order of their own: which came first differs by instant.
    const ids = known.rowsByPair(table, pair, run.entity.id.slice(0, bar), run.entity.id.slice(bar + 1)).map(({ id }) => id).sort();
    for (const id of ids) behind(table, id);
  }
  const { unit, entity } = run;
  if (resources.length === 0 && host !== undefined) resources.push({ type: SWITCH, table: chassisTable.name, id: host });
  return { app: unit.app, rule: unit.name, about: unit.about, entity: entity.id, static: unit.source === undefined, resources };
}

/** Rows that the run read, one by one. */
function readsOf(run: Run, known: Known, read: (table: AnyTable, id: string) => void): void {
  const { unit, entity } = run;
  const { own, reads } = known.readsOf(run);
  const row = ({ kind, table }: DepIndex<Run>, id: string): void => {
    if (kind === "row") read(table, id);
  };
  unit.ownReads.forEach((dep, i) => {
    if ((own & (1 << i)) !== 0) row(dep, entity.id);
  });
  for (let i = 0; i < reads.length; i += 2) row(reads[i] as DepIndex<Run>, reads[i + 1] as string);
}
