// A plan against the truth: what it says of flows is the difference of the dumps before and after the call, line by line; what it says of the answer
// is the answer; and planning leaves nothing behind.
// @module-tag long
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lineOf } from "../../src/ops/flows/flow-dump.ts";
import type { Reachability } from "../../src/plan/reachability.ts";
import { compare } from "../support/from-scratch.ts";
import { bytesOf, Harness, type Answer } from "../support/harness.ts";
import { matrix, wrong } from "../support/reach-matrix.ts";
import { History, step } from "./history.ts";

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

const nightly = process.env.AXION_NIGHTLY === "1";
/** Of each history: calls whose pairs of ports are judged by all there are. */
const JUDGED = nightly ? Infinity : 6;

/** Each write is planned first, then applied by its plan. */
class Planned {
  calls = 0;
  /** Of these: what changed flows. */
  effective = 0;
  /** Those by which ports gained or lost each other. */
  joining = 0;
  /** Of those that change flows: whose pairs were judged. */
  private judged = 0;
  private last: { readonly generation: number; readonly reached: ReadonlySet<string> } | undefined;
  readonly h: Harness;
  private readonly call: Harness["call"];

  constructor(h: Harness) {
    this.h = h;
    this.call = h.call.bind(h);
    h.call = (...of: Parameters<Harness["call"]>) => this.made(...of);
  }

  private async reached(): Promise<ReadonlySet<string>> {
    const { generation } = this.h.model;
    if (this.last?.generation !== generation) this.last = { generation, reached: await matrix(this.h) };
    return this.last.reached;
  }

  private async made(method: Parameters<Harness["call"]>[0], url: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const { h, call } = this;
    if (method === "GET") return call(method, url, body, headers);
    await h.settled();
    const before = dump(h);
    const generation = h.model.generation;
    const plan = await call(method, `${url}${url.includes("?") ? "&" : "?"}plan=1`, body, headers);
    expect(h.model.generation, "a plan commits nothing").toBe(generation);
    expect(difference(before, dump(h)), "a plan leaves the flows as they were").toEqual({});
    if (plan.status !== 200) {
      const answer = await call(method, url, body, headers);
      expect([plan.status, plan.body]).toEqual([answer.status, answer.body]);
      return answer;
    }
    const told = plan.body.reachability as Reachability;
    const judged = this.judged < JUDGED && Object.keys(plan.body.switches as object).length > 0;
    const reached = judged ? await this.reached() : undefined;
    const answer = await call(method, url, body, { ...headers, "x-axion-plan": plan.body.token as string });
    expect(answer.body ?? null, `${method} ${url}`).toEqual(plan.body.answer.body);
    expect(answer.status).toBe(plan.body.answer.status);
    await h.settled();
    const difference_ = difference(before, dump(h));
    expect(sorted(plan.body.switches as Record<string, SwitchPlan>), `${method} ${url} ${JSON.stringify(body)}`).toEqual(difference_);
    expect(told).toMatchObject({ truncated: false, unexamined: 0 });
    if (reached !== undefined) {
      expect(wrong(told, reached, await this.reached()), `${method} ${url} ${JSON.stringify(body)}`).toEqual([]);
      this.judged++;
    }
    this.calls++;
    if (told.gained.length + told.lost.length > 0) this.joining++;
    if (Object.keys(difference_).length > 0) this.effective++;
    return answer;
  }
}

async function begin(h: Harness): Promise<History> {
  const history = new History(h);
  for (const n of [0, 1, 2]) await history.run({ do: "chassis", n });
  for (const n of [0, 1]) {
    await history.run({ do: "network", n });
    await history.run({ do: "subnet", n, m: 0 });
    for (const m of [1, 1, 1]) await history.run({ do: "port", n, m });
    await history.run({ do: "group", n });
    await history.run({ do: "rule", n, m: n });
  }
  await history.run({ do: "router", n: 0 });
  for (const m of [0, 1]) await history.run({ do: "interface", n: 0, m });
  for (const n of [0, 1, 2, 3, 4]) await history.run({ do: "plug", n, m: n });
  await history.run({ do: "network", n: 2 });
  await history.run({ do: "subnet", n: 2, m: 0 });
  await history.run({ do: "external", n: 2, m: 1 });
  await history.run({ do: "gateway", n: 0, m: 2 });
  return history;
}

describe("plans against the truth", () => {
  test("what is planned of random calls is what they come to", { timeout: 1_800_000 }, async () => {
    let [calls, effective, joining] = [0, 0, 0];
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 40, maxLength: 60 }), async (steps) => {
        const h = await Harness.make();
        try {
          const planned = new Planned(h);
          const history = await begin(h);
          for (const s of steps) await history.run(s);
          await h.settled();
          compare(h);
          calls += planned.calls;
          effective += planned.effective;
          joining += planned.joining;
          if (nightly) console.info(`${calls} calls were planned and applied, of which ${effective} changed flows, and ${joining} who reaches whom`);
        } finally {
          await h.close();
        }
      }),
      { numRuns: nightly ? 30 : 2 },
    );
    expect(calls).toBeGreaterThan(nightly ? 1000 : 50);
    expect(effective / calls, "many of the calls change flows").toBeGreaterThan(0.1);
    expect(joining, "and who reaches whom").toBeGreaterThan(0);
  });
});
