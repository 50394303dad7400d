// What runs: a unit is a rule or derivation, an entity a row or a pair that units run on, a run one unit on one entity.
import type { AnyTable, Derivation, Row, Rule, Source } from "#app";
import { isList, listOf, type Few } from "../lib/few.ts";
import type { OwnedFlow } from "./flows/flows.ts";
import type { Output } from "./items.ts";
import { NO_READS, type Reader, type ReadingUnit, type Reads } from "./track.ts";

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
  readonly outputs: Few<Output>;
  readonly includes: Few<Inclusion>;
  readonly variants: Few<Variant>;
}
export const NO_EXTRAS: Extras = { outputs: undefined, includes: undefined, variants: undefined };

/** A chassis that has the scope `from` has the scope `to` as well. */
export interface Inclusion {
  readonly from: string;
  readonly to: string;
}

export interface Variant {
  readonly chassis: string;
  readonly variant: string;
}

export class Run implements Reader<Run> {
  readonly unit: Unit;
  readonly entity: Entity;
  own = 0;
  queued = false;
  reads: Reads<Run> = NO_READS;
  flows: Few<OwnedFlow<Run>> = undefined;
  extras: Extras = NO_EXTRAS;
  /** Rows of a derivation. */
  rows: Few<Row> = undefined;

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
  /** One for each unit, in their order. */
  private readonly runs: Run | readonly Run[];

  constructor(id: string, row: Row | undefined, units: readonly Unit[]) {
    this.id = id;
    this.row = row;
    if (units.length === 1) this.runs = new Run(units[0]!, this);
    else {
      // A closure for every entity there is would be felt.
      const runs = new Array<Run>(units.length);
      for (let i = 0; i < runs.length; i++) runs[i] = new Run(units[i]!, this);
      this.runs = runs;
    }
  }

  /** The run of the unit at this place among the units. */
  runAt(place: number): Run {
    const { runs } = this;
    return isList(runs) ? runs[place]! : runs;
  }

  eachRun(visit: (run: Run) => void): void {
    const { runs } = this;
    if (!isList(runs)) visit(runs);
    else for (let i = 0; i < runs.length; i++) visit(runs[i]!);
  }

  /** Whether one of its runs is still to run. */
  get queued(): boolean {
    return listOf(this.runs).some((run) => run.queued);
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
