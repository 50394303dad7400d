// Claims of numbers -> numbers that are held. Claims are derived; when some come or go, the numbers of new ones are taken and those of
// gone ones given back, in one transaction. It looks at what changed alone, but for the start. It is idempotent, so that of several
// controllers any may do it: the one whose commit brought it about does so at once, others look a moment later whether it is done. A wish
// that cannot be met waits until the number is free, and is a problem until then.
import { ApiError, chassisTable, claimTable, giveBack, holderOf, numberId, poolNumberTable, release, spaceOf, take, type Claim, type Pool, type PoolNumber, type ReadView, type RowChange, type Tx } from "#app";
import type { Logger } from "pino";
import type { Cancel, Clock } from "../lib/clock.ts";
import type { Problem } from "../lib/problem.ts";
import type { Model } from "../model/model.ts";

/** Numbers taken or given back in one transaction. */
const STEP = 1000;
/** So long another controller has for what its commits brought about. */
const GRACE_MS = 500;
/** Wishes that are named one by one in /problems. */
const NAMED = 50;

export interface ClaimsOptions {
  readonly pools: ReadonlyMap<string, Pool>;
  readonly model: Pick<Model, "view" | "transact" | "lastChange" | "onCommit">;
  /** Generation that was compiled. */
  readonly compiled: () => number;
  /** Every table, as of that generation. */
  readonly view: ReadView;
  /** Tells what compiled commits changed. */
  readonly onChanges: (observer: (changes: readonly RowChange[]) => void) => () => void;
  readonly log: Pick<Logger, "error" | "warn">;
  readonly clock: Pick<Clock, "now" | "setTimeout">;
}

/** A wish that is not met. */
interface Unmet {
  readonly claim: Claim;
  /** What it waits for: `<pool>/<part>|<number>`, or the pool's space when there is none at all. */
  readonly waits: string;
  readonly text: string;
  readonly since: number;
}

export class Claims {
  /** Claims that it looked at since the start. */
  looked = 0;
  private readonly options: ClaimsOptions;
  private readonly unsubscribe: readonly (() => void)[];
  /** Ids of numbers whose claims changed, or that may be had now. */
  private pending = new Set<string>();
  /** Those whose number changed in a commit that is still to be compiled: their claims may be in it. */
  private early = new Set<string>();
  private readonly unmet = new Map<string, Unmet>();
  private working: Promise<void> | undefined;
  /** Something was committed here since it was last compiled. */
  private own = false;
  /** What another controller brought about is left to it for a while. */
  private left: { readonly cancel: Cancel; readonly over: Promise<void>; readonly end: () => void } | undefined;
  private stopped = false;

  /** The compiler must have compiled what is stored. */
  constructor(options: ClaimsOptions) {
    this.options = options;
    const { view, model, pools } = options;
    for (const { pool, part, holder } of view.all(claimTable)) this.note(pool, numberId(pool, part, holder));
    for (const { id, claimed, releasing, pool } of model.view.all(poolNumberTable)) if (claimed && !releasing && pools.has(pool)) this.pending.add(id);
    this.unsubscribe = [
      options.onChanges((changes) => this.changed(changes)),
      model.onCommit(({ foreign }) => {
        if (foreign !== true) this.own = true;
      }),
    ];
    this.check();
  }

  /** Whether numbers are on their way: the model is not yet what rules will run on. */
  get busy(): boolean {
    return this.working !== undefined || this.left !== undefined;
  }

  /** Until all that is claimed now is taken, if it can be. */
  async settled(): Promise<void> {
    while (this.busy) await (this.working ?? this.left?.over);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    for (const undo of this.unsubscribe) undo();
    this.leave(false);
    await this.working;
  }

  *problems(): Iterable<Problem> {
    const common = { kind: "number", severity: "error", resources: [] } as const;
    let named = 0;
    for (const { claim: { part, n }, text, since } of this.unmet.values()) {
      if (named++ === NAMED) break;
      // Many pools are of a host.
      const switches = this.options.view.get(chassisTable, part) === undefined ? [] : [part];
      const cure = n === undefined ? "take away some of what holds numbers of the pool, or make the pool larger" : "choose another number for one of the two";
      yield { ...common, switches, since: new Date(since).toISOString(), text, cure: { text: cure } };
    }
    if (this.unmet.size > NAMED) yield { ...common, switches: [], since: new Date(this.options.clock.now()).toISOString(), text: `${this.unmet.size - NAMED} more wishes for numbers are not met`, cure: { text: "see those that are named" } };
  }

  private note(pool: string, id: string): void {
    if (this.options.pools.has(pool)) this.pending.add(id);
  }

  private changed(changes: readonly RowChange[]): void {
    for (const { table, before, after } of changes) {
      if (table === claimTable) {
        const { pool, part, holder } = (after ?? before) as Claim;
        this.note(pool, numberId(pool, part, holder));
      } else if (table === poolNumberTable && before !== undefined && (before as PoolNumber).n !== (after as PoolNumber | undefined)?.n) this.freed(before as PoolNumber);
    }
    for (const id of this.early) this.pending.add(id);
    this.early = new Set();
    const { own } = this;
    this.own = false;
    for (const id of this.pending) if (!this.differs(id, this.options.view.by(claimTable, "number", id))) this.forget(id);
    if (own || this.pending.size === 0) this.check();
    else this.leave(true);
  }

  private forget(id: string): void {
    this.pending.delete(id);
    this.unmet.delete(id);
  }

  /** Begins to leave what is pending to another controller, or ends it. */
  private leave(begin: boolean): void {
    if (!begin) {
      const { left } = this;
      this.left = undefined;
      left?.cancel();
      left?.end();
    } else if (this.left === undefined && this.working === undefined && !this.stopped) {
      let end = (): void => undefined;
      const over = new Promise<void>((resolve) => (end = resolve));
      this.left = { over, end, cancel: this.options.clock.setTimeout(() => this.check(), GRACE_MS) };
    }
  }

  /** Whoever waits for the number may have it now; of those who wait for any one the first. */
  private freed(number: PoolNumber): void {
    for (const id of this.awaiting(number)) this.pending.add(id);
  }

  private *awaiting({ pool, part, n }: PoolNumber): Iterable<string> {
    const space = `${pool}/${part}`;
    let any = false;
    for (const [id, { waits }] of this.unmet) {
      if (waits === space ? any : waits !== `${space}|${n}`) continue;
      if (waits === space) any = true;
      yield id;
    }
  }

  /**
   * What would be written because of changes that are tried: in `view` the rows are in their places, and the claims are compiled. Numbers are taken in the
   * order of their ids. undefined: nothing.
   */
  foresee(changes: readonly RowChange[], view = this.options.view): ((tx: Tx) => void) | undefined {
    const ids = new Set<string>();
    for (const { table, before, after } of changes) {
      if (table === claimTable) {
        const { pool, part, holder } = (after ?? before) as Claim;
        if (this.options.pools.has(pool)) ids.add(numberId(pool, part, holder));
      } else if (table === poolNumberTable && before !== undefined && (before as PoolNumber).n !== (after as PoolNumber | undefined)?.n) for (const id of this.awaiting(before as PoolNumber)) ids.add(id);
    }
    const step = [...ids].sort().map((id) => [id, view.by(claimTable, "number", id)] as const).filter(([id, claims]) => this.differs(id, claims, view));
    step.sort(([, a], [, b]) => Number(a.length > 0) - Number(b.length > 0));
    return step.length === 0 ? undefined : (tx) => {
      for (const [id, claims] of step) this.settle(tx, id, claims);
    };
  }

  private check(): void {
    this.leave(false);
    if (this.stopped || this.working !== undefined || this.pending.size === 0) return;
    this.working = this.update().then((done) => {
      this.working = undefined;
      if (done) this.check();
    });
  }

  /** False: the store would not; what is pending waits for the next change. */
  private async update(): Promise<boolean> {
    const ids = [...this.pending];
    this.pending = new Set();
    const { model, log, view } = this.options;
    for (let at = 0; at < ids.length; at += STEP) {
      const step: (readonly [id: string, claims: readonly Claim[]])[] = [];
      for (const id of ids.slice(at, at + STEP)) {
        if (this.isEarly(id)) continue;
        const claims = view.by(claimTable, "number", id);
        this.looked += Math.max(1, claims.length);
        if (this.differs(id, claims)) step.push([id, claims]);
        else this.unmet.delete(id);
      }
      if (step.length === 0) continue;
      // What is given back may be what another wants.
      step.sort(([, a], [, b]) => Number(a.length > 0) - Number(b.length > 0));
      try {
        const { result } = await model.transact({ requestId: `claims-${this.looked}`, call: "numbers of pools" }, (tx) => step.map(([id]) => {
          // It may run again, on what another controller did.
          if (this.isEarly(id)) return undefined;
          return this.settle(tx, id, view.by(claimTable, "number", id));
        }));
        for (const [i, [id]] of step.entries()) this.judge(id, result[i]);
      } catch (error) {
        for (const id of ids.slice(at)) this.pending.add(id);
        log.error({ err: error }, "numbers that are claimed could not be taken; what waits for them is left out");
        return false;
      }
    }
    return true;
  }

  /** Whether its number changed in a commit that is still to be compiled; it is looked at then. */
  private isEarly(id: string): boolean {
    const early = (this.options.model.lastChange(poolNumberTable.name, id)?.generation ?? 0) > this.options.compiled();
    if (early) this.early.add(id);
    return early;
  }

  /** Whether there may be something to write. */
  private differs(id: string, claims: readonly Claim[], view: ReadView = this.options.model.view): boolean {
    const held = view.get(poolNumberTable, id);
    if (claims.length === 0) return held?.claimed === true && !held.releasing;
    const { n } = wish(claims);
    if (held === undefined || held.releasing) return true;
    return n === undefined ? held.wanted === true : held.n !== n || held.wanted !== true;
  }

  /** What stays unmet. */
  private settle(tx: Tx, id: string, claims: readonly Claim[]): Omit<Unmet, "since"> | undefined {
    const { pools } = this.options;
    const held = tx.get(poolNumberTable, id);
    const claim = claims.length === 0 ? undefined : wish(claims);
    if (claim === undefined) {
      if (held?.claimed === true && !held.releasing) giveBack(tx, pools.get(held.pool)!, held.part, held.holder);
      return undefined;
    }
    const { part, holder, n } = claim;
    const pool = pools.get(claim.pool)!;
    const prefer = claims.find((c) => c.n === undefined);
    // What it had because somebody wanted it is given back when nobody does: it is as if that had never been.
    if (n === undefined && held?.wanted === true && !held.releasing) {
      tx.delete(poolNumberTable, id);
      release(tx, pool, part, held.n);
    }
    try {
      take(tx, pool, part, holder, { ...(n === undefined ? prefer : { n }), claimed: true });
      return undefined;
    } catch (error) {
      const space = spaceOf(pool, part);
      const who = `${holder}${part === "" ? "" : ` on ${part}`}`;
      if (n === undefined) return { claim, waits: space, text: `${pool.name}: ${who} gets no number: ${(error as Error).message}` };
      // Better another one than none, if somebody can do with it.
      if (held === undefined && prefer !== undefined) take(tx, pool, part, holder, { ...prefer, claimed: true });
      const by = error instanceof ApiError ? holderOf(tx, pool, part, n) : undefined;
      return { claim, waits: `${space}|${n}`, text: by === undefined ? `${pool.name}: ${who} wants ${n}: ${(error as Error).message}` : `${pool.name} ${n}, which ${who} wants, is held by ${by === "" ? "another" : by}` };
    }
  }

  private judge(id: string, unmet: Omit<Unmet, "since"> | undefined): void {
    const before = this.unmet.get(id);
    if (unmet === undefined) this.unmet.delete(id);
    else {
      if (before?.text !== unmet.text) this.options.log.warn({ claim: unmet.claim.id }, unmet.text);
      this.unmet.set(id, { ...unmet, since: before?.since ?? this.options.clock.now() });
    }
  }
}

/** Of several the first by id that says which number; else any. */
function wish(claims: readonly Claim[]): Claim {
  let best: Claim | undefined;
  for (const claim of claims) if (claim.n !== undefined && (best === undefined || claim.id < best.id)) best = claim;
  return best ?? claims[0]!;
}
