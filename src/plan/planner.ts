// What a change would come to, without making it: its transaction runs on what is committed and is not written, its rows stand for a while where
// the committed ones do, the compiler says what follows and goes back. That is done on a copy (world.ts), one plan after the other, slice by slice;
// or, where somebody is to be told before his turn ends, on the real compiler, if little follows.
import type { ReadView, Row, Tx } from "#app";
import type { ChassisDelta, Delta, Flow } from "../compiler/desired.ts";
import { TrialTooLarge, type Engine, type Trial } from "../compiler/engine.ts";
import type { CompilerLoop } from "../compiler/loop.ts";
import { finish, gently, spread, type Pace, type Stepwise } from "../lib/turns/stepwise.ts";
import type { Change, Model, TxSource } from "../model/model.ts";
import type { View } from "../model/view.ts";
import type { Claims } from "../services/claims.ts";
import { ReachQuestion, type Reachability, type ReachParts } from "./reachability.ts";
import { backlog, World, type Backlog, type WorldParts } from "./world.ts";

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
  /** Runs of rules that followed. */
  readonly runs: number;
  /** undefined: nobody looked. */
  readonly reachability: Reachability | undefined;
}

/** Rows, what follows from them, and both with facts, while others see what is committed. */
export type PlanState = Pick<World, "engine" | "view" | "rows">;

export interface PlannerParts extends Omit<WorldParts, "model"> {
  readonly model: Pick<Model, "generation" | "rehearse" | "place" | "onCommit" | "layer">;
  readonly engine: Pick<Engine, "attempt" | "view">;
  readonly loop: Pick<CompilerLoop, "pending" | "catchUp" | "settled">;
  readonly claims: Pick<Claims, "busy" | "settled" | "foresee">;
  /** A flow as a line of a dump. */
  readonly lineOf: (flow: Flow) => string;
  /** undefined: which ports reach each other is not looked at. */
  readonly reach?: Omit<ReachParts, "apps">;
  readonly limits?: Partial<PlanLimits>;
  readonly pace?: Pace;
}

export interface PlanLimits {
  /** Rows that change. */
  readonly rows: number;
  /** Runs of rules that follow. */
  readonly runs: number;
  /** Flows that change, on all switches together. */
  readonly flows: number;
  /** Plans under way and waiting, of all and of one project. */
  readonly plans: number;
  readonly ofProject: number;
  /** ms that one waits for the copy to be there and to have what is committed. */
  readonly patience: number;
  /** ms after which the copy is given up when nobody plans. */
  readonly idle: number;
  readonly backlog: Backlog;
}
const LIMITS: PlanLimits = { rows: 2_000, runs: 50_000, flows: 20_000, plans: 16, ofProject: 4, patience: 20_000, idle: 600_000, backlog };

/** The change can be made, but not be planned: too much follows from it. */
export class PlanTooLarge extends Error {
  readonly code = "PLAN_TOO_LARGE";
  constructor(what: string) {
    super(`the change is too large for a plan: ${what}`);
    this.name = "PlanTooLarge";
  }
}

/** It cannot be planned now: others plan, or the copy is not as far as what is committed. */
export class PlansBusy extends Error {
  readonly code = "PLANS_BUSY";
  constructor(message: string) {
    super(message);
    this.name = "PlansBusy";
  }
}

/** What somebody sees who looks on while a change is tried. */
export interface Look<L> {
  /** Before anything is compiled: what would be written, with `after` as it would be then and `committed` as it is. */
  look(this: void, changes: readonly Change[], after: ReadView, committed: View): Stepwise<L>;
  /** Whether who asks is told of a port; undefined: of each. */
  readonly sees?: (port: string, view: View) => boolean;
  /** Nobody wants to know who reaches whom. */
  readonly flowsAlone?: boolean;
}

export class Planner {
  private readonly parts: PlannerParts;
  private readonly limits: PlanLimits;
  private readonly pace: Pace;
  /** The copy, or it is being made. */
  private world: Promise<World> | undefined;
  /** Ends with the last of those who use the copy, or wait for it. */
  private tail: Promise<unknown> = Promise.resolve();
  private waiting = 0;
  private readonly ofProject = new Map<string, number>();
  private idle: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(parts: PlannerParts) {
    this.parts = parts;
    this.limits = { ...LIMITS, ...parts.limits };
    this.pace = parts.pace ?? gently;
  }

  /** Whether changes that were made are still to be compiled, or numbers of theirs to be taken: what is planned now would be of a state that passes. */
  get busy(): boolean {
    return this.parts.loop.pending || this.parts.claims.busy;
  }

  async settled(): Promise<void> {
    await this.parts.loop.settled();
    await this.parts.claims.settled();
  }

  /** Whether there is a copy, or one is being made. */
  get copied(): boolean {
    return this.world !== undefined;
  }

  /**
   * Plans a transaction for a project, in slices, on a copy of what is committed. The same `source` gives the same plan on the same state.
   * @throws PlanTooLarge, PlansBusy, and whatever the transaction throws
   */
  async plan<T, L>(project: string, fn: (tx: Tx) => T, source: () => TxSource, onlooker: Look<L>): Promise<Plan<T, L>> {
    const { apps, reach } = this.parts;
    return this.alone(project, (world) => spread(this.planned(fn, source, onlooker, {
      rows: world.rows, view: world.view, place: (those, as) => world.place(those, as), attempting: (trial) => world.engine.attempting(trial),
      state: world, question: reach === undefined || onlooker.flowsAlone === true ? undefined : new ReachQuestion({ apps, ...reach }, onlooker.sees),
    }, this.limits.runs), this.pace, () => this.ended(world)));
  }

  /**
   * The same now, on the compiler that everybody has, if no more than so many runs follow. Within a transaction only while not `busy`: nothing is compiled
   * there. @throws PlanTooLarge, and whatever the transaction throws
   */
  planAtOnce<T, L>(fn: (tx: Tx) => T, source: () => TxSource, onlooker: Look<L>, runs: number): Plan<T, L> {
    const { model, engine, loop } = this.parts;
    loop.catchUp();
    return finish(this.planned(fn, source, onlooker, {
      rows: undefined, view: engine.view, place: (those, as) => model.place(those, as),
      *attempting<R>(trial: Trial<Stepwise<R>>): Stepwise<R> {
        return engine.attempt<R>({ ...trial, read: (delta, n) => finish(trial.read(delta, n)) });
      },
    }, Math.min(runs, this.limits.runs)));
  }

  private *planned<T, L>(fn: (tx: Tx) => T, source: () => TxSource, { look }: Look<L>, place: Place, runs: number): Stepwise<Plan<T, L>> {
    const { model, claims } = this.parts;
    const { state, question } = place;
    const { generation } = model;
    const { result, changes, view } = model.rehearse(fn, source(), place.rows);
    if (changes.length > this.limits.rows) throw new PlanTooLarge(`${changes.length} rows change; at most ${this.limits.rows} may`);
    const looked = yield* look(changes, view, place.view);
    const followed: Change[] = [];
    const { lines } = this;
    try {
      if (state !== undefined) yield* question?.before(state, changes) ?? [];
      const made = yield* place.attempting<Omit<Plan<T, L>, "reachability">>({
        changes, runs, place: (those, as) => place.place(those, as),
        follow: (changed) => {
          const write = claims.foresee(changed, place.view);
          const more = write === undefined ? [] : model.rehearse(write, source(), place.rows).changes;
          followed.push(...more);
          return more;
        },
        read: function* (this: void, delta, count) {
          const switches = yield* lines(delta);
          if (state !== undefined) yield* question?.after(state, delta) ?? [];
          return { result, generation, changes, followed: net(followed), switches, looked, runs: count };
        },
      });
      return { ...made, reachability: state === undefined || question === undefined ? undefined : yield* question.result(state) };
    } catch (error) {
      throw tooLarge(error);
    }
  }

  /**
   * What the desired state is while rows are in their places: on the copy, in slices. `changes` is asked for when the copy is what is committed, and nothing
   * may be committed before it answers. @throws PlanTooLarge, PlansBusy; what `read` throws
   */
  async apart<T>(changes: () => readonly Change[], read: (state: PlanState) => Stepwise<T>, runs = this.limits.runs): Promise<T> {
    return this.alone("", async (world) => {
      const trial = { changes: changes(), runs, place: (those: readonly Change[], as: "after" | "before") => world.place(those, as), follow: () => [], read: () => read(world) };
      try {
        return await spread(world.engine.attempting(trial), this.pace, () => this.ended(world));
      } catch (error) {
        throw tooLarge(error);
      }
    });
  }

  /** The same at once, on the compiler that everybody has. @throws PlanTooLarge; what `read` throws */
  during<T>(changes: readonly Change[], read: (delta: ReadonlyMap<string, ChassisDelta>) => T, runs = this.limits.runs): T {
    const { model, engine, loop } = this.parts;
    loop.catchUp();
    try {
      return engine.attempt({ changes, runs, place: (those, as) => model.place(those, as), follow: () => [], read: ({ chassis }) => read(chassis) });
    } catch (error) {
      throw tooLarge(error);
    }
  }

  /** Ends the copy; plans under way fail. */
  stop(): void {
    this.stopped = true;
    this.drop();
  }

  // --- the copy -----------------------------------------------------------------------------------------------------

  /** One after the other; `work` begins in the turn in which the copy is what is committed, and nothing of that is on its way. @throws PlansBusy */
  private async alone<T>(project: string, work: (world: World) => Promise<T>): Promise<T> {
    const { plans, ofProject, patience } = this.limits;
    const own = this.ofProject.get(project) ?? 0;
    if (own >= ofProject || this.waiting >= plans) throw new PlansBusy(own >= ofProject ? `${own} plans of the project are being made already` : `${this.waiting} plans are being made already`);
    this.waiting++;
    this.ofProject.set(project, own + 1);
    clearTimeout(this.idle);
    const before = this.tail;
    const mine = (async () => {
      await before.catch(() => undefined);
      const until = performance.now() + patience;
      const world = await this.opened(until);
      await this.level(world, until);
      return work(world);
    })();
    this.tail = mine;
    try {
      return await mine;
    } finally {
      this.waiting--;
      const left = this.ofProject.get(project)! - 1;
      if (left === 0) this.ofProject.delete(project);
      else this.ofProject.set(project, left);
      if (this.waiting === 0) this.idle = setTimeout(() => this.drop(), this.limits.idle).unref();
    }
  }

  private async opened(until: number): Promise<World> {
    const world = this.world ?? this.make();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, fail) => {
      timer = setTimeout(() => fail(new PlansBusy("the copy of all networks on which plans are tried is still being made")), Math.max(0, until - performance.now()));
    });
    try {
      return await Promise.race([world, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  private make(): Promise<World> {
    const made = World.make(this.parts, this.limits.backlog, this.pace, () => (this.stopped ? new PlansBusy("the controller ends") : undefined));
    this.world = made;
    made.then((world) => world.onBehind(() => void this.follow()), () => {
      if (this.world === made) this.world = undefined;
    });
    return made;
  }

  /** Nobody plans, and much is committed: the copy follows. */
  private following = false;
  private async follow(): Promise<void> {
    const { world } = this;
    if (this.waiting > 0 || this.following || world === undefined) return;
    this.following = true;
    const mine = world.then((its) => spread(its.catchUp(), this.pace, () => this.ended(its)));
    this.tail = mine;
    await mine.catch(() => undefined);
    this.following = false;
  }

  private async level(world: World, until: number): Promise<void> {
    for (;;) {
      await this.settled();
      await spread(world.catchUp(), this.pace, () => this.ended(world));
      if (!this.busy && world.generation === this.parts.model.generation) return;
      if (performance.now() > until) throw new PlansBusy("so much is changed by others that the copy on which plans are tried does not keep up");
    }
  }

  /** Why nothing can be done with it any more. */
  private ended(world: World): Error | undefined {
    if (this.stopped) return new PlansBusy("the controller ends");
    if (world.fault === undefined) return undefined;
    this.drop();
    return new PlansBusy(`so much is changed by others that the copy on which plans are tried does not keep up: ${world.fault.message}`);
  }

  private drop(): void {
    clearTimeout(this.idle);
    const { world } = this;
    this.world = undefined;
    void world?.then((its) => its.close(), () => undefined);
  }

  // --- what is told -------------------------------------------------------------------------------------------------

  private readonly lines = function* (this: Planner, { chassis }: Delta): Stepwise<Record<string, SwitchPlan>> {
    let flows = 0;
    for (const { add, remove } of chassis.values()) flows += add.length + remove.length;
    if (flows > this.limits.flows) throw new PlanTooLarge(`${flows} flows change; at most ${this.limits.flows} may`);
    const { lineOf } = this.parts;
    const out: Record<string, SwitchPlan> = {};
    const text = function* (those: Iterable<Flow>): Stepwise<string[]> {
      const made: string[] = [];
      for (const flow of [...those].sort(inOrder)) {
        made.push(lineOf(flow));
        if (made.length % 16 === 0) yield;
      }
      return made;
    };
    for (const [id, { add, changed, remove }] of [...chassis].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (add.length + remove.length === 0) continue;
      Object.defineProperty(out, id, { enumerable: true, value: { add: yield* text(add.filter((flow) => !changed.has(flow))), change: yield* text(changed), remove: yield* text(remove) } });
    }
    return out;
  }.bind(this);
}

/** Where a change is tried. */
interface Place {
  /** undefined: the rows of the model. */
  readonly rows: World["rows"] | undefined;
  readonly view: View;
  /** Where there is time to look who reaches whom. */
  readonly state?: Pick<World, "engine" | "view">;
  readonly question?: ReachQuestion | undefined;
  place(changes: readonly Change[], as: "after" | "before"): void;
  attempting<T>(trial: Trial<Stepwise<T>>): Stepwise<T>;
}

function tooLarge(error: unknown): unknown {
  return error instanceof TrialTooLarge ? new PlanTooLarge(error.message) : error;
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
