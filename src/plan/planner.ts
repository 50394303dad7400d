// What a change would come to, without making it: its transaction runs on what is committed and is not written, its rows stand for a moment
// where the committed ones do, the compiler says what follows and goes back. All of it is one turn, so nobody else sees anything, and what
// it costs is what the change itself would cost the compiler, twice.
import type { ReadView, Row, Tx } from "#app";
import { TrialTooLarge, type Engine } from "../compiler/engine.ts";
import type { ChassisDelta, Flow } from "../compiler/desired.ts";
import type { CompilerLoop } from "../compiler/loop.ts";
import type { Change, Model, TxSource } from "../model/model.ts";
import type { Claims } from "../services/claims.ts";

/** What becomes of a switch's flows, as lines of a dump, in order of table and priority; `change` has them as they would be. */
export interface SwitchPlan {
  readonly add: readonly string[];
  readonly change: readonly string[];
  readonly remove: readonly string[];
}

export interface Plan<T, L> {
  readonly result: T;
  /** What is committed. */
  readonly generation: number;
  /** Rows that the transaction would write. */
  readonly changes: readonly Change[];
  /** Rows that the controller would write because of them: numbers that rules need. */
  readonly followed: readonly Change[];
  /** Those of which something changes, by name. */
  readonly switches: Readonly<Record<string, SwitchPlan>>;
  readonly looked: L;
}

export interface PlannerParts {
  readonly model: Pick<Model, "generation" | "rehearse" | "place">;
  readonly engine: Pick<Engine, "attempt">;
  readonly loop: Pick<CompilerLoop, "pending" | "catchUp" | "settled">;
  readonly claims: Pick<Claims, "busy" | "settled" | "foresee">;
  /** A flow as a line of a dump. */
  readonly lineOf: (flow: Flow) => string;
  readonly limits?: Partial<PlanLimits>;
}

export interface PlanLimits {
  /** Rows that change. */
  readonly rows: number;
  /** Runs of rules that follow. */
  readonly runs: number;
  /** Flows that change, on all switches together. */
  readonly flows: number;
}
const LIMITS: PlanLimits = { rows: 2_000, runs: 50_000, flows: 20_000 };

/** The change can be made, but not be planned: too much follows from it. */
export class PlanTooLarge extends Error {
  readonly code = "PLAN_TOO_LARGE";
  constructor(what: string) {
    super(`the change is too large for a plan: ${what}`);
    this.name = "PlanTooLarge";
  }
}

export class Planner {
  private readonly parts: PlannerParts;
  private readonly limits: PlanLimits;

  constructor(parts: PlannerParts) {
    this.parts = parts;
    this.limits = { ...LIMITS, ...parts.limits };
  }

  /** Whether changes that were made are still to be compiled, or numbers of theirs to be taken: what is planned now would be of a state that passes. */
  get busy(): boolean {
    return this.parts.loop.pending || this.parts.claims.busy;
  }

  async settled(): Promise<void> {
    await this.parts.loop.settled();
    await this.parts.claims.settled();
  }

  /**
   * Plans a transaction. `look` sees what it would write, with `view` as it would be then, before anything is compiled. The same `source` gives the same
   * plan on the same state. Within a transaction only while not `busy`: nothing is compiled there. @throws PlanTooLarge, and whatever the transaction throws
   */
  plan<T, L>(fn: (tx: Tx) => T, source: () => TxSource, look: (changes: readonly Change[], view: ReadView) => L): Plan<T, L> {
    const { model, engine, loop, claims, lineOf } = this.parts;
    loop.catchUp();
    const { result, changes, view } = model.rehearse(fn, source());
    if (changes.length > this.limits.rows) throw new PlanTooLarge(`${changes.length} rows change; at most ${this.limits.rows} may`);
    const looked = look(changes, view);
    const followed: Change[] = [];
    const switches = this.bounded(() => engine.attempt({
      changes, runs: this.limits.runs, place: (those, as) => model.place(those, as),
      follow: (changed) => {
        const write = claims.foresee(changed);
        const more = write === undefined ? [] : model.rehearse(write, source()).changes;
        followed.push(...more);
        return more;
      },
      read: ({ chassis }) => this.lines(chassis, lineOf),
    }));
    return { result, generation: model.generation, changes, followed: net(followed), switches, looked };
  }

  /** What the desired state is while rows are in their places. @throws PlanTooLarge */
  during<T>(changes: readonly Change[], read: (delta: ReadonlyMap<string, ChassisDelta>) => T, runs = this.limits.runs): T {
    const { model, engine, loop } = this.parts;
    loop.catchUp();
    return this.bounded(() => engine.attempt({ changes, runs, place: (those, as) => model.place(those, as), follow: () => [], read: ({ chassis }) => read(chassis) }));
  }

  private bounded<T>(attempt: () => T): T {
    try {
      return attempt();
    } catch (error) {
      if (error instanceof TrialTooLarge) throw new PlanTooLarge(error.message);
      throw error;
    }
  }

  private lines(chassis: ReadonlyMap<string, ChassisDelta>, lineOf: (flow: Flow) => string): Record<string, SwitchPlan> {
    let flows = 0;
    for (const { add, remove } of chassis.values()) flows += add.length + remove.length;
    if (flows > this.limits.flows) throw new PlanTooLarge(`${flows} flows change; at most ${this.limits.flows} may`);
    const out: Record<string, SwitchPlan> = {};
    for (const [id, { add, changed, remove }] of [...chassis].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (add.length + remove.length === 0) continue;
      const text = (those: Iterable<Flow>): string[] => [...those].sort(inOrder).map(lineOf);
      Object.defineProperty(out, id, { enumerable: true, value: { add: text(add.filter((flow) => !changed.has(flow))), change: text(changed), remove: text(remove) } });
    }
    return out;
  }
}

const inOrder = (a: Flow, b: Flow): number => a.table - b.table || b.priority - a.priority || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);

/** Each row once: as it was first, as it is at last. */
function net(changes: readonly Change[]): Change[] {
  const rows = new Map<string, { readonly change: Change; readonly before: Row | undefined }>();
  for (const change of changes) {
    const key = `${change.table.name}/${change.id}`;
    rows.set(key, { change, before: rows.has(key) ? rows.get(key)!.before : change.before });
  }
  return Array.from(rows.values(), ({ change, before }) => ({ ...change, before })).filter(({ before, after }) => before !== undefined || after !== undefined);
}
