// Plans: any write, by any face, run through to its answer on a view of its own, and what it would come to; `X-Axion-Plan` makes the same call
// real if that is still so. The call itself knows nothing of it: it goes through the same faces and operations, whose transactions end here.
import { ApiError, badRequest, conflict, invalidInput, type Caller, type Clock, type Face, type FaceAnswer, type FaceRequest, type ReadView, type Table, type Tx } from "../../app/contract.ts";
import { finish, spread, type Stepwise } from "../../lib/turns/stepwise.ts";
import type { Cause, Change, Model, TxSource } from "../../model/model.ts";
import type { View } from "../../model/view.ts";
import type { EngineModel } from "../operations.ts";
import type { PlannedObject } from "./objects.ts";
import { Effect, newSeed, PlanTokens, sourceOf, type HeldPlan, type Seed, type TokenLimits } from "./tokens.ts";

/** What `reachability` of a plan is, as JSON; see src/plan/reachability.ts. */
export interface PlannedReachability {
  readonly gained: readonly object[];
  readonly lost: readonly object[];
  readonly truncated: boolean;
  readonly unexamined: number;
}

/** What a transaction would come to. */
export interface Foreseen<T, L> {
  readonly result: T;
  readonly generation: number;
  /** Rows that it would write, and that the controller would write because of them. */
  readonly changes: readonly Change[];
  readonly followed: readonly Change[];
  /** Lines of dumps by switch. */
  readonly switches: Readonly<Record<string, { readonly add: readonly string[]; readonly change: readonly string[]; readonly remove: readonly string[] }>>;
  /** undefined: nobody looked. */
  readonly reachability: PlannedReachability | undefined;
  readonly looked: L;
  /** Runs of rules that followed. */
  readonly runs: number;
}

/** Who looks on while it is foreseen. */
export interface Onlooker<L> {
  look(this: void, changes: readonly Change[], after: ReadView, committed: View): Stepwise<L>;
  /** Whether who asks is told of a port; undefined: of each. */
  readonly sees?: (port: string, view: View) => boolean;
  /** Nobody wants to know who reaches whom. */
  readonly flowsAlone?: boolean;
}

/** Who knows what a transaction would come to; see src/plan. */
export interface Foresight {
  readonly busy: boolean;
  settled(): Promise<void>;
  /**
   * In slices, on what is committed when it gets to it. `source` gives the same from its beginning each time.
   * @throws what the transaction throws, and Errors with the codes PLAN_TOO_LARGE and PLANS_BUSY
   */
  plan<T, L>(project: string, fn: (tx: Tx) => T, source: () => TxSource, onlooker: Onlooker<L>): Promise<Foreseen<T, L>>;
  /** In this turn, if so many runs of rules are enough. */
  planAtOnce<T, L>(fn: (tx: Tx) => T, source: () => TxSource, onlooker: Onlooker<L>, runs: number): Foreseen<T, L>;
}

export interface PlansOptions {
  readonly foresight: Foresight;
  readonly model: Model;
  readonly clock: Clock;
  /** What a caller sees of changed rows. */
  readonly objects: (changes: readonly Change[], after: ReadView, committed: View, caller: Caller) => Stepwise<readonly PlannedObject[]>;
  /** Whether a caller is shown a port. */
  readonly seesPort: (id: string, view: View, caller: Caller) => boolean;
  /** The same faces over `model` below, by the face that a request came to. */
  readonly faces: (model: EngineModel) => (face: Face) => (request: FaceRequest) => FaceAnswer | Promise<FaceAnswer>;
  readonly limits?: TokenLimits;
}

/** How a write is meant that is not simply made. */
export type Meant = { readonly plan: true } | { readonly plan: false; readonly token: string; readonly held: HeldPlan };

/** A call under way. */
type Open = Seed & { readonly caller: Caller; readonly applied: HeldPlan | undefined; made: Made | undefined };
interface Made extends Omit<Foreseen<unknown, readonly PlannedObject[]>, "result"> {
  readonly effect: string;
}

/** Turns in which numbers are waited for. */
const ROUNDS = 32;
/** Runs of rules that are repeated in the turn in which a plan is applied; where more follow it is found out before, and again if anything was committed meanwhile. */
const AT_ONCE = 200;
/** So often: each costs a plan. */
const ATTEMPTS = 8;
const WRITES: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/** As JSON: as it is, or as text. */
function bodyText({ body, contentType }: FaceAnswer): string {
  if (typeof body === "string") return contentType?.startsWith("application/json") === true ? body : JSON.stringify(body);
  return body instanceof Uint8Array ? JSON.stringify(Buffer.from(body).toString()) : "null";
}

const tooBusy = (): ApiError => new ApiError(503, "ServiceUnavailable", "What others change is still being worked out, again and again; nothing was planned or changed. Try again.", 1);
const outdated = (): ApiError => conflict("PlanOutdated", "The call would come to something else now than was planned; nothing was changed. Plan it again.");

export class Plans {
  readonly tokens: PlanTokens;
  private readonly options: PlansOptions;
  /** By request id. */
  private readonly open = new Map<string, Open>();
  private readonly act: (face: Face) => (request: FaceRequest) => FaceAnswer | Promise<FaceAnswer>;

  constructor(options: PlansOptions) {
    this.options = options;
    this.tokens = new PlanTokens(options.clock, options.limits);
    const { model } = options;
    this.act = options.faces({
      snapshot: (maxRows) => model.snapshot(maxRows),
      transact: (cause, fn, bytes) => this.transact(cause, fn, bytes),
    });
  }

  /** What a request says of plans, taken out of its query; undefined: nothing. @throws ApiError */
  take({ method, query, header, caller }: Pick<FaceRequest, "method" | "query" | "header" | "caller">): Meant | undefined {
    const token = header("x-axion-plan");
    if (!WRITES.has(method)) {
      if (token !== undefined) throw badRequest(`X-Axion-Plan is on a ${method}, which changes nothing that could be planned`);
      return undefined;
    }
    const given = query.getAll("plan");
    if (given.length > 0) {
      if (given.length > 1) throw invalidInput("plan is given twice");
      if (given[0] !== "1") throw invalidInput(`plan: '${given[0]!.slice(0, 64)}' is not 1`);
      if (token !== undefined) throw badRequest("plan=1 and X-Axion-Plan are given both: a call is planned or applied");
      if (query.has("wait")) throw badRequest("plan=1 and wait are given both: nothing is changed that switches could confirm");
      query.delete("plan");
      return { plan: true };
    }
    return token === undefined ? undefined : { plan: false, token, held: this.tokens.get(token, caller) };
  }

  async handle(face: Face, request: FaceRequest, meant: Meant): Promise<FaceAnswer> {
    if (meant.plan) return { status: 200, contentType: "application/json", body: await this.plan(face, request, request.caller.admin) };
    try {
      const { answer } = await this.run(face, request, meant.held, meant.held);
      this.tokens.drop(meant.token);
      return answer;
    } catch (error) {
      // Whatever it would come to, it is not what was planned: to ask again with it costs everybody a write alone.
      if (error instanceof ApiError && error.type === "PlanOutdated") this.tokens.drop(meant.token);
      throw error;
    }
  }

  /** The plan of a call as JSON, as its caller may see it; `switches`: with flows. @throws ApiError as the call would, or because it cannot be planned */
  async plan(face: Face, request: FaceRequest, switches: boolean): Promise<string> {
    const seed = newSeed(this.options.clock);
    const { answer, made } = await this.run(face, request, seed, undefined);
    if (made === undefined) throw badRequest(`${request.method} ${face.prefix}${request.path} changes nothing that could be planned`);
    const token = this.tokens.keep({ ...seed, project: request.caller.projectId, effect: made.effect, runs: made.runs });
    return spread(planText(token, answer, made, switches));
  }

  private async run(face: Face, request: FaceRequest, seed: Seed, applied: HeldPlan | undefined): Promise<{ readonly answer: FaceAnswer; readonly made: Made | undefined }> {
    const open: Open = { key: seed.key, now: seed.now, caller: request.caller, applied, made: undefined };
    this.open.set(request.caller.requestId, open);
    try {
      const answer = await this.act(face)(request);
      return { answer, made: open.made };
    } finally {
      this.open.delete(request.caller.requestId);
    }
  }

  private async transact<T>(cause: Cause, fn: (tx: Tx) => T, bytes: number | undefined): Promise<{ result: T; generation: number }> {
    const open = this.open.get(cause.requestId);
    if (open === undefined) throw new Error(`${cause.call} is no call that is planned`);
    if (open.made !== undefined) throw badRequest(`${cause.call} is several changes one after the other: it cannot be planned`);
    return open.applied === undefined ? this.foresee(open, fn) : this.apply(open, open.applied, cause, fn, bytes);
  }

  private async foresee<T>(open: Open, fn: (tx: Tx) => T): Promise<{ result: T; generation: number }> {
    const result = await this.make(open, fn);
    return { result, generation: open.made!.generation };
  }

  /** Runs again when another controller wrote first, or while numbers are taken. */
  private async apply<T>(open: Open, held: HeldPlan, cause: Cause, fn: (tx: Tx) => T, bytes: number | undefined): Promise<{ result: T; generation: number }> {
    const { foresight, model } = this.options;
    const atOnce = held.runs <= AT_ONCE;
    for (let round = 0; ; round++) {
      const foreseen = atOnce ? undefined : { result: await this.make(open, fn) };
      if (!atOnce && open.made!.effect !== held.effect) throw outdated();
      const done = await model.transact(cause, (tx) => {
        if (foresight.busy || (!atOnce && open.made!.generation !== model.generation)) {
          if (round === (atOnce ? ROUNDS : ATTEMPTS)) throw tooBusy();
          return undefined;
        }
        const { result } = foreseen ?? { result: this.makeAtOnce(open, fn) };
        const made = open.made!;
        if (made.effect !== held.effect) throw outdated();
        for (const { table, id, after } of [...made.changes, ...made.followed]) {
          if (after === undefined) tx.delete(table, id);
          else tx.put(table as Table, after);
        }
        return { result };
      }, bytes, true);
      if (done.result !== undefined) return { result: done.result.result, generation: done.generation };
      await foresight.settled();
    }
  }

  private async make<T>(open: Open, fn: (tx: Tx) => T): Promise<T> {
    try {
      const foreseen = await this.options.foresight.plan(open.caller.projectId, fn, () => sourceOf(open), this.onlooker(open));
      return await spread(this.made(open, foreseen));
    } catch (error) {
      throw told(error);
    }
  }

  private makeAtOnce<T>(open: Open, fn: (tx: Tx) => T): T {
    try {
      return finish(this.made(open, this.options.foresight.planAtOnce(fn, () => sourceOf(open), this.onlooker(open), 2 * AT_ONCE)));
    } catch (error) {
      // It was planned, and did not take so much then.
      throw codeOf(error) === "PLAN_TOO_LARGE" ? outdated() : told(error);
    }
  }

  private onlooker({ caller, applied }: Open): Onlooker<readonly PlannedObject[]> {
    const { objects, seesPort } = this.options;
    return { look: (changes, after, committed) => objects(changes, after, committed, caller), flowsAlone: applied !== undefined, ...(!caller.admin && { sees: (port: string, view: View) => seesPort(port, view, caller) }) };
  }

  private *made<T>(open: Open, { result, ...foreseen }: Foreseen<T, readonly PlannedObject[]>): Stepwise<T> {
    const { changes, followed, switches } = foreseen;
    const effect = new Effect();
    effect.add(result);
    // Rows come in no particular order to who changes them.
    for (const those of [changes, followed]) {
      for (const { table, id, before, after } of those.toSorted((a, b) => compare(a.table.name, b.table.name) || compare(a.id, b.id))) {
        effect.add([table.name, id, before ?? null, after ?? null]);
        yield;
      }
      effect.add(null);
    }
    for (const [id, flows] of Object.entries(switches)) {
      for (const how of ["add", "change", "remove"] as const) {
        effect.add([id, how]);
        for (let i = 0; i < flows[how].length; i += LINES) {
          effect.add(flows[how].slice(i, i + LINES));
          yield;
        }
      }
    }
    open.made = { ...foreseen, effect: effect.text };
    return result;
  }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Lines of flows that are handled at a time. */
const LINES = 64;

const codeOf = (error: unknown): unknown => (error instanceof Error ? (error as { readonly code?: unknown }).code : undefined);

/** As the API says it. */
function told(error: unknown): unknown {
  const code = codeOf(error);
  if (code === "PLAN_TOO_LARGE") return new ApiError(413, "PlanTooLarge", `${(error as Error).message}. Nothing was changed; the call can be made without a plan.`);
  if (code === "PLANS_BUSY") return new ApiError(503, "ServiceUnavailable", `Nothing was planned or changed: ${(error as Error).message}. Try again.`, 1);
  return error;
}

function* planText(token: string, answer: FaceAnswer, made: Made, withSwitches: boolean): Stepwise<string> {
  const objects: string[] = [];
  for (const { op, type, id, before, after } of made.looked) objects.push(`{"op":"${op}","type":${JSON.stringify(type)},"id":${JSON.stringify(id)},"before":${before ?? "null"},"after":${after ?? "null"}}`);
  let text = `{"token":"${token}","generation":${made.generation},"answer":{"status":${answer.status},"body":${bodyText(answer)}},"objects":[${objects.join(",")}]`;
  yield;
  if (withSwitches) {
    const switches: string[] = [];
    for (const [id, flows] of Object.entries(made.switches)) {
      const lists: string[] = [];
      for (const how of ["add", "change", "remove"] as const) {
        const parts: string[] = [];
        for (let i = 0; i < flows[how].length; i += LINES) {
          parts.push(JSON.stringify(flows[how].slice(i, i + LINES)).slice(1, -1));
          yield;
        }
        lists.push(`"${how}":[${parts.join(",")}]`);
      }
      switches.push(`${JSON.stringify(id)}:{${lists.join(",")}}`);
    }
    text += `,"switches":{${switches.join(",")}}`;
  }
  return `${text}${made.reachability === undefined ? "" : `,"reachability":${JSON.stringify(made.reachability)}`}}`;
}
