// Runs that failed, as of now: what these would have put out is left out, and all else goes on. One is kept until it runs well again or its entity is gone.
import { OpenFlowError } from "node-openflow";
import { runName, type Run } from "./runs.ts";

/** Of one rule or derivation. */
export interface Failure {
  readonly app: string;
  readonly unit: string;
  /** Whether it derives rows, from which others make flows. */
  readonly derives: boolean;
  /** Entities for which it fails. */
  readonly count: number;
  /** Of the first by name. */
  readonly reason: string;
  /** Something there has no form in a message, as a group that is too large for one: what resources say brings that about. Else it is a fault of the app. */
  readonly noForm: boolean;
  /** The first by name. */
  readonly runs: readonly Run[];
}

const NAMED = 20;
const REASON = 300;

export class Failures {
  private readonly current = new Map<string, { readonly run: Run; readonly error: unknown }>();

  began(run: Run, error: unknown): void {
    this.current.set(runName(run), { run, error });
  }

  ended(run: Run): void {
    if (this.current.size > 0) this.current.delete(runName(run));
  }

  get list(): readonly Failure[] {
    const units = new Map<string, { readonly name: string; readonly run: Run; readonly error: unknown }[]>();
    for (const [name, { run, error }] of this.current) {
      const unit = `${run.unit.app}/${run.unit.name}`;
      const those = units.get(unit);
      if (those === undefined) units.set(unit, [{ name, run, error }]);
      else those.push({ name, run, error });
    }
    return Array.from(units.values(), (those) => {
      const sorted = those.sort((a, b) => (a.name < b.name ? -1 : 1));
      const { run: { unit }, error } = sorted[0]!;
      return {
        app: unit.app, unit: unit.name, derives: unit.derivation !== undefined, count: sorted.length, noForm: error instanceof OpenFlowError,
        reason: (error instanceof Error ? error.message : String(error)).slice(0, REASON), runs: sorted.slice(0, NAMED).map(({ run }) => run),
      };
    });
  }
}
