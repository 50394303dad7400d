// Why a flow exists: its run says the rule and the entity, the run's recorded reads the API resources behind it.
import type { AnyTable } from "#app";
import type { Layer } from "../model/rows.ts";
import type { Run } from "./runs.ts";
import type { DerivedRows } from "./derived.ts";
import type { DepIndex } from "./track.ts";

export interface Provenance {
  readonly app: string;
  readonly rule: string;
  readonly about: string;
  readonly entity: string;
  /** API rows behind its entity, then those that the run read. */
  readonly resources: readonly { readonly type: string; readonly table: string; readonly id: string }[];
}

export function provenanceOf(run: Run, stored: Layer, derived: DerivedRows): Provenance {
  const resources: { type: string; table: string; id: string }[] = [];
  const add = (table: AnyTable, id: string): void => {
    const type = table.resource;
    if (type !== undefined && !resources.some((r) => r.type === type && r.id === id)) resources.push({ type, table: table.name, id });
  };
  /** What a row is of; else, of a derived row, what the run that derives it runs on. Derivations do not go in circles. */
  const behind = (table: AnyTable, id: string): void => {
    if (table.of !== undefined) {
      const row = (table.derived ? derived.layer : stored).row(table, id);
      if (row !== undefined) for (const other of table.of.ids(row)) add(table.of.table, other);
    } else if (!table.derived) add(table, id);
    else {
      const deriving = derived.ownerOf(table, id);
      if (deriving === undefined) return;
      entityOf(deriving);
      if (resources.length === 0) readsOf(deriving, readStored);
    }
  };
  const entityOf = ({ unit: { source }, entity }: Run): void => {
    if (source?.kind === "rows") behind(source.table, entity.id);
  };
  const readStored = (table: AnyTable, id: string): void => {
    if ((!table.derived || table.of !== undefined) && (table.derived ? derived.layer : stored).row(table, id) !== undefined) behind(table, id);
  };
  entityOf(run);
  readsOf(run, readStored);
  if (resources.length === 0) readsOf(run, behind);
  if (resources.length === 0 && run.unit.source?.kind === "pairs") {
    const { table, pair } = run.unit.source;
    const bar = run.entity.id.indexOf("|");
    const rows = (table.derived ? derived.layer : stored).table(table).rowsByPair(pair, run.entity.id.slice(0, bar), run.entity.id.slice(bar + 1));
    for (const { id } of rows) behind(table, id);
  }
  const { unit, entity } = run;
  return { app: unit.app, rule: unit.name, about: unit.about, entity: entity.id, resources };
}

/** Rows that the run read, one by one. */
function readsOf({ unit, own, entity, reads }: Run, read: (table: AnyTable, id: string) => void): void {
  const row = ({ kind, table }: DepIndex<Run>, id: string): void => {
    if (kind === "row") read(table, id);
  };
  unit.ownReads.forEach((dep, i) => {
    if ((own & (1 << i)) !== 0) row(dep, entity.id);
  });
  for (let i = 0; i < reads.length; i += 2) row(reads[i] as DepIndex<Run>, reads[i + 1] as string);
}
