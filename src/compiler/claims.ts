// Claims of numbers -> numbers that are held. Claims are derived; whenever they changed, the numbers of new ones are taken and those of
// gone ones given back, in one transaction. It is idempotent, so that of several controllers any may do it.
import { claimTable, giveBack, numberId, poolNumberTable, take, type Claim, type Pool } from "#app";
import type { Logger } from "pino";
import type { Model } from "../model/model.ts";
import type { Engine } from "./engine.ts";

/** Numbers taken or given back in one transaction. */
const STEP = 1000;

export class Claims {
  private readonly pools: ReadonlyMap<string, Pool>;
  private readonly model: Model;
  private readonly engine: Engine;
  private readonly log: Pick<Logger, "error">;
  private readonly unsubscribe: () => void;
  private seen = -1;
  private working: Promise<void> | undefined;
  private stopped = false;

  constructor(pools: ReadonlyMap<string, Pool>, model: Model, engine: Engine, log: Pick<Logger, "error">) {
    this.pools = pools;
    this.model = model;
    this.engine = engine;
    this.log = log;
    this.unsubscribe = engine.onDelta(() => this.check());
    this.check();
  }

  /** Whether numbers are on their way: the model is not yet what rules will run on. */
  get busy(): boolean {
    return this.working !== undefined;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.unsubscribe();
    await this.working;
  }

  private check(): void {
    if (this.stopped || this.working !== undefined || this.engine.derivedChanges(claimTable) === this.seen) return;
    this.working = this.update().finally(() => {
      this.working = undefined;
      this.check();
    });
  }

  private async update(): Promise<void> {
    this.seen = this.engine.derivedChanges(claimTable);
    const wanted = new Map<string, Claim>();
    for (const claim of this.engine.view.all(claimTable)) if (this.pools.has(claim.pool)) wanted.set(numberId(claim.pool, claim.part, claim.holder), claim);
    const missing = [...wanted].filter(([id]) => (this.model.view.get(poolNumberTable, id)?.releasing ?? true)).map(([, c]) => c);
    const gone = [...this.model.view.all(poolNumberTable)].filter((p) => p.claimed && !p.releasing && !wanted.has(p.id) && this.pools.has(p.pool));
    for (let at = 0; at < Math.max(missing.length, gone.length); at += STEP) {
      try {
        await this.model.transact({ requestId: `claims-${this.seen}`, call: "numbers of pools" }, (tx) => {
          for (const { pool, part, holder } of gone.slice(at, at + STEP)) giveBack(tx, this.pools.get(pool)!, part, holder);
          for (const { pool, part, holder } of missing.slice(at, at + STEP)) take(tx, this.pools.get(pool)!, part, holder, true);
        });
      } catch (error) {
        this.log.error({ err: error }, "numbers that are claimed could not be taken; what waits for them is left out");
        return;
      }
    }
  }
}
