// Plans that may still be applied: what each would come to, and what its chance and its time were drawn from. Kept in memory, so many of all and
// of each project, and not for long; the oldest go first.
import { createHash, randomBytes } from "node:crypto";
import { conflict, type ApiError, type Caller, type Clock } from "../../app/contract.ts";
import { KeyedRandom } from "../../lib/random.ts";
import type { TxSource } from "../../model/model.ts";

export interface TokenLimits {
  readonly all: number;
  readonly ofProject: number;
  readonly ageMs: number;
}
export const tokenLimits: TokenLimits = { all: 4096, ofProject: 64, ageMs: 600_000 };

/** What a plan's transaction draws from: twice the same. */
export interface Seed {
  readonly key: Buffer;
  /** ms since 1970. */
  readonly now: number;
}

export interface HeldPlan extends Seed {
  readonly project: string;
  /** Of all that the plan comes to. */
  readonly effect: string;
  /** Runs of rules that follow. */
  readonly runs: number;
}

export const newSeed = (clock: Clock): Seed => ({ key: randomBytes(32), now: clock.now() });

/** From its beginning. */
export const sourceOf = ({ key, now }: Seed): TxSource => ({ random: new KeyedRandom(key), clock: { now: () => now } });

/** One text for all that is added, in its order. */
export class Effect {
  private readonly hash = createHash("sha256");

  add(part: unknown): void {
    this.hash.update(`${JSON.stringify(part, (_, value: unknown) => (typeof value === "bigint" ? `${value}n` : value))}\n`);
  }

  get text(): string {
    return this.hash.digest("base64");
  }
}

const unknownPlan = (): ApiError => conflict("PlanNotFound", `There is no such plan of this project: it was applied, or is older than ${tokenLimits.ageMs / 60_000} minutes, or was another controller's. Nothing was changed.`);

export class PlanTokens {
  private readonly clock: Clock;
  private readonly limits: TokenLimits;
  /** In the order in which they were made. */
  private readonly plans = new Map<string, HeldPlan>();
  private readonly ofProject = new Map<string, Set<string>>();

  constructor(clock: Clock, limits: TokenLimits = tokenLimits) {
    this.clock = clock;
    this.limits = limits;
  }

  get size(): number {
    return this.plans.size;
  }

  /** The plan's token: 192 bits that nobody can guess. */
  keep(plan: HeldPlan): string {
    this.dropOld();
    const token = randomBytes(24).toString("base64url");
    let mine = this.ofProject.get(plan.project);
    if (mine === undefined) this.ofProject.set(plan.project, (mine = new Set<string>()));
    mine.add(token);
    this.plans.set(token, plan);
    for (const oldest of mine.size > this.limits.ofProject ? mine : []) {
      this.drop(oldest);
      break;
    }
    for (const oldest of this.plans.size > this.limits.all ? this.plans.keys() : []) {
      this.drop(oldest);
      break;
    }
    return token;
  }

  /** @throws ApiError 409: there is none, or it is another project's, which is told as the same */
  get(token: string, { projectId, admin }: Caller): HeldPlan {
    this.dropOld();
    const plan = this.plans.get(token);
    if (plan === undefined || (plan.project !== projectId && !admin)) throw unknownPlan();
    return plan;
  }

  drop(token: string): void {
    const plan = this.plans.get(token);
    if (plan === undefined) return;
    this.plans.delete(token);
    const mine = this.ofProject.get(plan.project);
    mine?.delete(token);
    if (mine?.size === 0) this.ofProject.delete(plan.project);
  }

  private dropOld(): void {
    const first = this.clock.now() - this.limits.ageMs;
    for (const [token, { now }] of this.plans) {
      if (now > first) return;
      this.drop(token);
    }
  }
}
