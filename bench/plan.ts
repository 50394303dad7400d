// "What do plans cost, and what do they cost others?" - a port's state is planned, and made, on a compiled workload; and another caller's writes, one after the
// other, without plans and while somebody plans without pause.
import { askOf } from "#app";
import { portTable } from "../apps/l2/model.ts";
import { allPools } from "../src/boot/registry.ts";
import { machineClock } from "../src/lib/clock.ts";
import { hookGuard } from "../src/lib/hook-guard.ts";
import { lineOf } from "../src/ops/flows/flow-dump.ts";
import { Reacher } from "../src/ops/trace/reach.ts";
import { Planner } from "../src/plan/planner.ts";
import { Claims } from "../src/services/index.ts";
import { startRunning } from "./running.ts";
import type { Workload } from "./workload.ts";

export interface PlanResult {
  readonly workload: Workload;
  readonly repeats: number;
  readonly kinds: readonly { readonly kind: string; readonly p50_ms: number; readonly p95_ms: number; readonly p99_ms: number }[];
}

export async function benchPlan(w: Workload, repeats: number, appsFolder: string): Promise<PlanResult> {
  const running = await startRunning(w, appsFolder);
  const { apps, tables, layout, model, engine, loop, log } = running;
  const claims = new Claims({ pools: allPools(apps), model, compiled: () => engine.generation, view: engine.view, onChanges: (observer) => engine.onChanges(observer), log, clock: machineClock });
  const guard = hookGuard(log);
  const planner = new Planner({ apps, tables, layout, model, engine, loop, claims, lineOf, reach: { guard, follower: (state) => new Reacher({ apps, tables, layout, guard, ask: askOf(apps), clock: machineClock, engine: state.engine, view: state.view }) } });
  const api = running.api({ of: planner, clock: machineClock });
  const put = async (url: string, body: object): Promise<void> => {
    const answer = await api.inject({ method: "PUT", url, payload: body });
    if (answer.statusCode !== 200) throw new Error(`PUT ${url}: ${answer.statusCode} ${answer.payload}`);
  };
  const ports = Array.from(model.view.all(portTable), ({ id }) => id);
  const port = (i: number): string => ports[(i * 7919) % ports.length]!;

  const times = new Map<string, number[]>();
  const timed = async (kind: string, work: () => Promise<void>): Promise<void> => {
    const began = performance.now();
    await work();
    const list = times.get(kind) ?? [];
    list.push(performance.now() - began);
    times.set(kind, list);
  };
  for (let i = 0; i < repeats; i++) {
    const body = { port: { admin_state_up: i % 2 === 1 } };
    await timed("plan", () => put(`/v2.0/ports/${port(i)}?plan=1`, body));
    await timed("the change, until compiled", async () => {
      await put(`/v2.0/ports/${port(i)}`, body);
      await running.settled();
    });
  }
  const rename = (i: number): Promise<void> => put(`/v2.0/ports/${port(i)}`, { port: { name: `n${i}` } });
  let planning = false;
  for (let i = 0; i < repeats; i++) await timed("another's write, alone", () => rename(i));
  planning = true;
  const planner_ = (async () => {
    for (let i = 0; planning; i++) await put(`/v2.0/ports/${port(i + 3)}?plan=1`, { port: { admin_state_up: i % 2 === 1 } });
  })();
  for (let i = 0; i < repeats; i++) await timed("another's write, while plans are made without pause", () => rename(i + 1));
  planning = false;
  await planner_;
  planner.stop();
  await claims.stop();
  await running.stop();
  const kinds = [...times].map(([kind, list]) => {
    const sorted = list.sort((a, b) => a - b);
    const at = (q: number): number => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]! * 100) / 100;
    return { kind, p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99) };
  });
  return { workload: w, repeats, kinds };
}
