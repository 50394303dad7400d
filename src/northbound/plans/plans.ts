// Plans: any write, by any face, run through to its answer on a view of its own, and what it would come to; `X-Axion-Plan` makes the same call
// real if that is still so. The call itself knows nothing of it: it goes through the same faces and operations, whose transactions end here.
import { ApiError, badRequest, conflict, invalidInput, type Caller, type Clock, type Face, type FaceAnswer, type FaceRequest, type ReadView, type Table, type Tx } from "../../app/contract.ts";
import type { Cause, Change, Model, TxSource } from "../../model/model.ts";
import type { EngineModel } from "../operations.ts";
import type { PlannedObject } from "./objects.ts";
import { effectOf, newSeed, PlanTokens, sourceOf, type HeldPlan, type Seed, type TokenLimits } from "./tokens.ts";

/** A pair of ports of which one can reach the other: by `protocol` and, where that has ports, at `port`. */
export interface Reach {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: number | null;
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
  /** `complete`: false when only some of the pairs were looked at. undefined: nobody looked. */
  readonly reachability?: { readonly gained: readonly Reach[]; readonly lost: readonly Reach[]; readonly complete: boolean };
  readonly looked: L;
}

/** Who knows what a transaction would come to; see src/plan. */
export interface Foresight {
  readonly busy: boolean;
  settled(): Promise<void>;
  /** In one turn. `source` gives the same from its beginning each time. @throws what the transaction throws, and an Error with the code PLAN_TOO_LARGE */
  plan<T, L>(fn: (tx: Tx) => T, source: () => TxSource, look: (changes: readonly Change[], view: ReadView) => L): Foreseen<T, L>;
}

export interface PlansOptions {
  readonly foresight: Foresight;
  readonly model: Model;
  readonly clock: Clock;
  /** What a caller sees of changed rows. */
  readonly objects: (changes: readonly Change[], after: ReadView, caller: Caller) => readonly PlannedObject[];
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
    const token = this.tokens.keep({ ...seed, project: request.caller.projectId, effect: made.effect });
    const objects = made.looked.map(({ op, type, id, before, after }) => `{"op":"${op}","type":${JSON.stringify(type)},"id":${JSON.stringify(id)},"before":${before ?? "null"},"after":${after ?? "null"}}`);
    return `{"token":"${token}","generation":${made.generation},"answer":{"status":${answer.status},"body":${bodyText(answer)}},"objects":[${objects.join(",")}]${switches ? `,"switches":${JSON.stringify(made.switches)}` : ""}}`;
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
    const { foresight } = this.options;
    for (let round = 0; foresight.busy; round++) {
      if (round === ROUNDS) throw tooBusy();
      await foresight.settled();
    }
    const result = this.make(open, fn);
    return { result, generation: open.made!.generation };
  }

  /** Runs again when another controller wrote first, or while numbers are taken. */
  private async apply<T>(open: Open, held: HeldPlan, cause: Cause, fn: (tx: Tx) => T, bytes: number | undefined): Promise<{ result: T; generation: number }> {
    const { foresight, model } = this.options;
    for (let round = 0; ; round++) {
      const done = await model.transact(cause, (tx) => {
        if (foresight.busy) {
          if (round === ROUNDS) throw tooBusy();
          return undefined;
        }
        const result = this.make(open, fn);
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

  private make<T>(open: Open, fn: (tx: Tx) => T): T {
    const { foresight, objects } = this.options;
    try {
      const { result, ...foreseen } = foresight.plan(fn, () => sourceOf(open), (changes, view) => objects(changes, view, open.caller));
      const { changes, followed, switches, reachability } = foreseen;
      const rows = (those: readonly Change[]): unknown => those.map(({ table, id, before, after }) => [table.name, id, before ?? null, after ?? null]);
      open.made = { ...foreseen, effect: effectOf(result, rows(changes), rows(followed), switches, reachability) };
      return result;
    } catch (error) {
      if (error instanceof Error && (error as { readonly code?: unknown }).code === "PLAN_TOO_LARGE") throw new ApiError(413, "PlanTooLarge", `${error.message}. Nothing was changed; the call can be made without a plan.`);
      throw error;
    }
  }
}
