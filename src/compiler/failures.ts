// Runs that failed, as of now: what these would have put out is left out, and all else goes on. One is kept until it runs well again or its entity is gone.
import { OpenFlowError } from "node-openflow";
import { cut } from "../lib/text.ts";
import { runName, type Run } from "./runs.ts";

/** Of one rule or derivation. */
export interface Failure {
  readonly app: string;
  readonly unit: string;
  /** Whether it derives rows, from which others make flows. */
  readonly derives: boolean;
  /** Entities for which it fails. */
  readonly count: number;
  /** Of the first by name of those that are told of. */
  readonly reason: string;
  /** Something there has no form in a message, as a group that is too large for one: what resources say brings that about. Else it is a fault of the app. */
  readonly noForm: boolean;
  /** The first by name. */
  readonly runs: readonly Run[];
}

const NAMED = 20;
const REASON = 300;
/** Of one unit so many are told of; of the others the names alone are kept, as one mistake may be in each of a great many runs. */
const TOLD = 100;

interface Told {
  readonly run: Run;
  readonly reason: string;
  readonly noForm: boolean;
}

interface Failing {
  readonly told: Map<string, Told>;
  readonly more: Set<string>;
}

export class Failures {
  private readonly units = new Map<Run["unit"], Failing>();

  began(run: Run, error: unknown): void {
    let failing = this.units.get(run.unit);
    if (failing === undefined) this.units.set(run.unit, (failing = { told: new Map(), more: new Set() }));
    const name = runName(run);
    if (!failing.told.has(name) && failing.told.size === TOLD) failing.more.add(name);
    else {
      failing.more.delete(name);
      failing.told.set(name, { run, reason: cut(error instanceof Error ? error.message : String(error), REASON), noForm: error instanceof OpenFlowError });
    }
  }

  ended(run: Run): void {
    const failing = this.units.get(run.unit);
    if (failing === undefined) return;
    const name = runName(run);
    if (!failing.told.delete(name)) failing.more.delete(name);
    if (failing.told.size + failing.more.size === 0) this.units.delete(run.unit);
  }

  get list(): readonly Failure[] {
    return Array.from(this.units, ([unit, { told, more }]) => {
      const sorted = [...told].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
      return {
        app: unit.app, unit: unit.name, derives: unit.derivation !== undefined, count: told.size + more.size, noForm: sorted[0]?.noForm ?? false,
        reason: sorted[0]?.reason ?? "the controller's log says why", runs: sorted.slice(0, NAMED).map(({ run }) => run),
      };
    });
  }
}
