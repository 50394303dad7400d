// What runs: a unit is a rule or derivation, an entity a row or a pair that units run on, a run one unit on one entity.
import type { AnyTable, Derivation, Row, Rule, Source } from "#app";
import type { OwnedFlow } from "./flows.ts";
import type { Output } from "./items.ts";
import { NO_READS, type Reader, type ReadingUnit, type Reads } from "./track.ts";

export const NONE: readonly never[] = [];

/** A rule or a derivation, or an app's static flows. */
export interface Unit extends ReadingUnit<Run> {
  readonly app: string;
  readonly name: string;
  readonly about: string;
  readonly source: Source<unknown> | undefined;
  readonly stratum: number;
  readonly rule: Rule | undefined;
  readonly derivation: Derivation | undefined;
  readonly cookieHi: number;
}

/** What a run wants beside flows: outputs, edges between scopes, variants of chassis. Most want nothing. */
export interface Extras {
  readonly outputs: readonly Output[];
  readonly includes: readonly (readonly [string, string])[];
  readonly variants: readonly (readonly [string, string])[];
}
export const NO_EXTRAS: Extras = { outputs: NONE, includes: NONE, variants: NONE };

export class Run implements Reader<Run> {
  readonly unit: Unit;
  readonly entity: Entity;
  own = 0;
  queued = false;
  reads: Reads<Run> = NO_READS;
  flows: readonly OwnedFlow<Run>[] = NONE;
  extras: Extras = NO_EXTRAS;
  /** Rows of a derivation. */
  rows: readonly Row[] = NONE;

  constructor(unit: Unit, entity: Entity) {
    this.unit = unit;
    this.entity = entity;
  }
}

/** What runs run on: a row of a table or a pair of keys. All units on the same source share them. */
export class Entity {
  readonly id: string;
  /** The row as it is now; undefined: gone. Pairs are asked for when they run. */
  row: Row | undefined;
  readonly runs: readonly Run[];

  constructor(id: string, row: Row | undefined, units: readonly Unit[]) {
    this.id = id;
    this.row = row;
    // A closure for every entity there is would be felt.
    const runs = new Array<Run>(units.length);
    for (let i = 0; i < runs.length; i++) runs[i] = new Run(units[i]!, this);
    this.runs = runs;
  }
}

/** A source of entities, with the rules and derivations that run on each. */
export interface Feed {
  readonly table: AnyTable;
  /** Undefined: rows. */
  readonly pair: string | undefined;
  readonly units: Unit[];
  readonly entities: Map<string, Entity>;
}

export const runName = (run: Run): string => `${run.unit.app}/${run.unit.name} on ${run.entity.id}`;
