// What is to be made, call by call: each is planned before it is made, and made only if it comes to what was planned. A call may name what an
// earlier one makes, by that one's key; it can be planned when that is there.
import { OpsError, post } from "../api.svelte.ts";
import { call, type Call } from "./project.ts";

export interface Planned {
  readonly token: string;
  readonly generation: number;
  readonly objects: readonly { readonly op: string; readonly type: string; readonly id: string; readonly before: unknown; readonly after: unknown }[];
  readonly switches: Readonly<Record<string, { readonly add: readonly string[]; readonly change: readonly string[]; readonly remove: readonly string[] }>>;
  /** Where the controller says it. */
  readonly reachability?: { readonly gained: readonly Reach[]; readonly lost: readonly Reach[]; readonly truncated?: boolean };
}
export interface Reach {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: number | null;
}

export interface Step extends Call {
  /** By which later calls name what it makes, until it has an id. */
  readonly key: string;
  readonly kind: string;
  readonly text: string;
  readonly plan?: Planned;
  readonly error?: OpsError;
  readonly done?: { readonly id: string | undefined; readonly generation: number | undefined };
}

/** A step without what was said of it. */
function without(step: Step, ...names: readonly ("plan" | "error")[]): Step {
  const out: { -readonly [K in keyof Step]: Step[K] } = { ...step };
  for (const name of names) delete out[name];
  return out;
}
const asError = (error: unknown): OpsError => (error instanceof OpsError ? error : new OpsError(0, String(error)));
/** How often a plan does what: to objects by their type, to flows by their switch. Ids and numbers differ each time. */
function counted({ objects, switches }: Planned): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { op, type } of objects) counts.set(`${op} ${type}`, (counts.get(`${op} ${type}`) ?? 0) + 1);
  for (const [id, { add, change, remove }] of Object.entries(switches)) for (const [what, { length }] of Object.entries({ add, change, remove })) counts.set(`${id} ${what}`, length);
  return counts;
}
/** Whether it comes to no more than what was shown. Less it may be: what a project gets with its first thing, an earlier call has made. */
function isWithin(now: Planned, shown: Planned): boolean {
  const most = counted(shown);
  return [...counted(now)].every(([what, count]) => count <= (most.get(what) ?? 0));
}

export class Draft {
  steps = $state.raw<readonly Step[]>([]);
  working = $state(false);
  /** Why it stopped. */
  stopped = $state("");
  private readonly project: string;
  private made = 0;

  constructor(project: string) {
    this.project = project;
  }

  /** The key of what it makes. */
  add(step: Omit<Step, "key">): string {
    const key = `new:${++this.made}`;
    this.steps = [...this.unplanned(), { ...step, key }];
    this.stopped = "";
    return key;
  }
  /** With those that name it. */
  remove(key: string): void {
    const gone = new Set([key]);
    for (const step of this.steps) if ([...gone].some((one) => names(step, one))) gone.add(step.key);
    this.steps = this.unplanned().filter((step) => !gone.has(step.key) || step.done !== undefined);
  }
  clear(): void {
    this.steps = [];
    this.stopped = "";
  }

  /** Plans every call that names nothing that is still to be made. Nothing is changed. */
  async plan(): Promise<void> {
    await this.work(async () => {
      this.steps = this.unplanned();
      for (const step of this.steps) {
        if (step.done !== undefined || this.waitsFor(step) !== undefined) continue;
        try {
          this.put(step.key, { plan: await this.planOf(step) });
        } catch (error) {
          this.put(step.key, { error: asError(error) });
          this.stopped = `"${step.text}" would be refused: ${asError(error).message}`;
        }
      }
    });
  }

  /** In order, until one is refused, or would come to something else than was shown. */
  async apply(): Promise<void> {
    await this.work(async () => {
      for (const { key } of this.steps) {
        const step = this.steps.find((one) => one.key === key)!;
        if (step.done !== undefined) continue;
        try {
          await this.make(step);
        } catch (error) {
          const told = asError(error);
          this.put(key, { error: told });
          const made = this.steps.filter(({ done }) => done !== undefined).length;
          this.stopped = `Stopped at "${step.text}": ${told.message} ${made} of ${this.steps.length} are made, the others are not.`;
          return;
        }
      }
    });
  }

  private async make(step: Step): Promise<void> {
    let { plan } = step;
    // What was made before it took numbers that its plan counted on: it is planned again, and may come to no more than was shown.
    const before = this.steps.some(({ done }) => done !== undefined);
    if (plan === undefined || before) {
      const now = await this.planOf(step);
      this.put(step.key, { plan: now });
      if (plan !== undefined && !isWithin(now, plan)) throw new OpsError(409, "it would come to more now than was shown; it was planned anew.");
      plan = now;
    }
    const { body, generation } = await call(this.resolved(step), this.project, plan.token);
    const [one] = Object.values((body ?? {}) as Record<string, { readonly id?: string }>);
    this.put(step.key, { done: { id: typeof one === "object" ? one?.id : undefined, generation } });
  }

  private planOf(step: Step): Promise<Planned> {
    return post<Planned>("/plan", { ...this.resolved(step), ...(this.project !== "" && { project: this.project }) });
  }
  /** Text of the call that has to be made first. */
  waitsFor(step: Step): string | undefined {
    return this.steps.find((other) => other.done === undefined && other.key !== step.key && names(step, other.key))?.text;
  }
  private resolved({ method, path, body }: Step): Call {
    const ids = new Map(this.steps.flatMap(({ key, done }) => (done?.id === undefined ? [] : [[key, done.id]])));
    const into = (value: unknown): unknown => {
      if (typeof value === "string") return ids.get(value) ?? value;
      if (Array.isArray(value)) return value.map(into);
      return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value).map(([name, part]) => [name, into(part)])) : value;
    };
    return { method, path: path.split("/").map((part) => ids.get(part) ?? part).join("/"), body: into(body) };
  }

  private unplanned(): readonly Step[] {
    return this.steps.map((step) => (step.done === undefined ? without(step, "plan", "error") : without(step, "error")));
  }
  private put(key: string, more: Partial<Step>): void {
    this.steps = this.steps.map((step) => {
      if (step.key !== key) return step;
      return { ...without(step, "error"), ...more };
    });
  }
  private async work(what: () => Promise<void>): Promise<void> {
    this.working = true;
    this.stopped = "";
    try {
      await what();
    } finally {
      this.working = false;
    }
  }
}

/** Whether a call names what another makes. */
export function names({ path, body }: Call, key: string): boolean {
  const within = (value: unknown): boolean => value === key || (typeof value === "object" && value !== null && Object.values(value).some(within));
  return path.split("/").includes(key) || within(body);
}
