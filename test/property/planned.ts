// A plan against the truth: what it says of flows is the difference of the dumps before and after the call, line by line; what it says of the answer
// is the answer; and planning leaves nothing behind.
import { expect } from "vitest";
import type { Table } from "#app";
import { allTables } from "../../src/boot/registry.ts";
import { lineOf } from "../../src/ops/flows/flow-dump.ts";
import type { Reachability } from "../../src/plan/reachability.ts";
import { bytesOf, type Answer, type Harness } from "../support/harness.ts";
import { matrix, wrong } from "../support/reach-matrix.ts";

const HOSTS = ["hv0", "hv1", "hv2", "hv3"];

interface SwitchPlan {
  readonly add: readonly string[];
  readonly change: readonly string[];
  readonly remove: readonly string[];
}
type Dump = ReadonlyMap<string, ReadonlyMap<string, { readonly bytes: string; readonly line: string }>>;

const dump = (h: Harness): Dump => new Map(HOSTS.map((id) => [id, new Map([...h.engine.flowsOf(id)].map((f) => [f.key, { bytes: bytesOf(f), line: lineOf(f) }]))]));

function difference(before: Dump, after: Dump): Record<string, SwitchPlan> {
  const out: Record<string, SwitchPlan> = {};
  for (const id of HOSTS) {
    const [was, is] = [before.get(id)!, after.get(id)!];
    const add = [...is].filter(([key]) => !was.has(key)).map(([, f]) => f.line);
    const change = [...is].filter(([key, f]) => was.has(key) && was.get(key)!.bytes !== f.bytes).map(([, f]) => f.line);
    const remove = [...was].filter(([key]) => !is.has(key)).map(([, f]) => f.line);
    if (add.length + change.length + remove.length > 0) out[id] = { add: add.sort(), change: change.sort(), remove: remove.sort() };
  }
  return out;
}

const sorted = (switches: Readonly<Record<string, SwitchPlan>>): Record<string, SwitchPlan> =>
  Object.fromEntries(Object.entries(switches).map(([id, { add, change, remove }]) => [id, { add: [...add].sort(), change: [...change].sort(), remove: [...remove].sort() }]));

/** A refusal may name what it was about to make, which has another id in the plan and never was. */
function madeUp(h: Harness, body: unknown): unknown {
  const tables = allTables(h.apps).filter((table) => !table.derived);
  const isThere = (id: string): boolean => tables.some((table) => h.model.view.get(table as Table, id) !== undefined);
  return JSON.parse(JSON.stringify(body).replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (id) => (isThere(id) ? id : "made up")));
}

/** What POST with `?plan=1` answers. */
interface Plan {
  readonly token: string;
  readonly switches: Readonly<Record<string, SwitchPlan>>;
  readonly reachability: Reachability;
  readonly answer: Pick<Answer, "status" | "body">;
}

export interface PlannedOptions {
  /** Calls whose pairs of ports are judged by all there are. */
  readonly judged: number;
  /** Every so manieth write is planned; the others are made at once. */
  readonly every?: number;
}

/** Writes are planned first, then applied by their plan. */
export class Planned {
  calls = 0;
  /** Of these: what changed flows. */
  effective = 0;
  /** Those by which ports gained or lost each other. */
  joining = 0;
  /** Of those that change flows: whose pairs were judged. */
  private judged = 0;
  private asked = 0;
  private last: { readonly generation: number; readonly reached: ReadonlySet<string> } | undefined;
  private readonly options: PlannedOptions;

  constructor(options: PlannedOptions) {
    this.options = options;
  }

  /** From now on, of what is asked of this controller. */
  of(h: Harness): void {
    const call = h.call.bind(h);
    h.call = (...of: Parameters<Harness["call"]>) => this.made(h, call, ...of);
    this.last = undefined;
  }

  private async reached(h: Harness): Promise<ReadonlySet<string>> {
    const { generation } = h.model;
    if (this.last?.generation !== generation) this.last = { generation, reached: await matrix(h) };
    return this.last.reached;
  }

  private async made(h: Harness, call: Harness["call"], method: Parameters<Harness["call"]>[0], url: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    if (method === "GET" || this.asked++ % (this.options.every ?? 1) !== 0) return call(method, url, body, headers);
    await h.settled();
    const before = dump(h);
    const generation = h.model.generation;
    const plan = await call(method, `${url}${url.includes("?") ? "&" : "?"}plan=1`, body, headers);
    expect(h.model.generation, "a plan commits nothing").toBe(generation);
    expect(difference(before, dump(h)), "a plan leaves the flows as they were").toEqual({});
    if (plan.status !== 200) {
      const answer = await call(method, url, body, headers);
      expect([plan.status, madeUp(h, plan.body)]).toEqual([answer.status, madeUp(h, answer.body)]);
      return answer;
    }
    const { token, switches, reachability: told, answer: foretold } = plan.body as Plan;
    const judged = this.judged < this.options.judged && Object.keys(switches).length > 0;
    const reached = judged ? await this.reached(h) : undefined;
    const answer = await call(method, url, body, { ...headers, "x-axion-plan": token });
    expect(answer.body ?? null, `${method} ${url}`).toEqual(foretold.body);
    expect(answer.status).toBe(foretold.status);
    await h.settled();
    const difference_ = difference(before, dump(h));
    expect(sorted(switches), `${method} ${url} ${JSON.stringify(body)}`).toEqual(difference_);
    expect(told).toMatchObject({ truncated: false, unexamined: 0 });
    if (reached !== undefined) {
      expect(wrong(told, reached, await this.reached(h)), `${method} ${url} ${JSON.stringify(body)}`).toEqual([]);
      this.judged++;
    }
    this.calls++;
    if (told.gained.length + told.lost.length > 0) this.joining++;
    if (Object.keys(difference_).length > 0) this.effective++;
    return answer;
  }
}
