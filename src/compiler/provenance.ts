// Why a flow exists: its run says the rule and the entity, the run's recorded reads the API resources behind it.
import type { AnyTable } from "#app";
import type { Layer } from "../model/rows.ts";
import type { Run } from "./runs.ts";
import type { DepIndex } from "./track.ts";

export interface Provenance {
  readonly app: string;
  readonly rule: string;
  readonly about: string;
  readonly entity: string;
  /** API rows the run read, its entity first. */
  readonly resources: readonly { readonly type: string; readonly table: string; readonly id: string }[];
}

export function provenanceOf(run: Run, stored: Layer): Provenance {
  const resources: { type: string; table: string; id: string }[] = [];
  const add = (table: AnyTable, id: string): void => {
    const type = table.resource;
    if (type !== undefined && !resources.some((r) => r.type === type && r.id === id)) resources.push({ type, table: table.name, id });
  };
  const { unit, entity, reads } = run;
  if (unit.source?.kind === "rows") add(unit.source.table.of ?? unit.source.table, entity.id);
  const read = (dep: DepIndex<Run>, key: string): void => {
    const table = dep.table.of ?? dep.table;
    if (dep.kind === "row" && !table.derived && stored.row(table, key) !== undefined) add(table, key);
  };
  unit.ownReads.forEach((dep, i) => {
    if ((run.own & (1 << i)) !== 0) read(dep, entity.id);
  });
  for (let i = 0; i < reads.length; i += 2) read(reads[i] as DepIndex<Run>, reads[i + 1] as string);
  return { app: unit.app, rule: unit.name, about: unit.about, entity: entity.id, resources };
}
