// "What does it cost to ask for the flows of a past instant?" - GET /flows?at= of a small house after many random changes: time and CPU of each answer, and how long
// the longest turn is that others wait for.
import { cpuUsage } from "node:process";
import { vifTable } from "#app";
import { allPools } from "../../src/boot/registry.ts";
import { machineClock } from "../../src/lib/clock.ts";
import { SeededRandom } from "../../src/lib/random.ts";
import { History } from "../../src/model/past/history.ts";
import { FlowDump, lineOf } from "../../src/ops/flows/flow-dump.ts";
import { PastFlows } from "../../src/ops/flows/past.ts";
import { Planner } from "../../src/plan/planner.ts";
import { Claims } from "../../src/services/index.ts";
import { startRunning } from "../running.ts";
import { benchId, hostName, projectId, type Workload } from "../workload.ts";

export interface PastResult {
  readonly workload: Workload;
  readonly flows: number;
  readonly changes: number;
  readonly instants: number;
  readonly answers: readonly {
    readonly answer: string;
    readonly ms_p50: number;
    readonly ms_most: number;
    readonly cpu_ms_p50: number;
    readonly cpu_ms_most: number;
    /** CPU between two ticks of a timer, at the most: the longest turn took no more. */
    readonly turn_cpu_ms_most: number;
  }[];
}

const CHANGES = 10_000;
/** Calls at once: they share synced writes. */
const AT_ONCE = 25;

export async function benchPast(w: Workload, instants: number, appsFolder: string, changes = CHANGES): Promise<PastResult> {
  const running = await startRunning(w, appsFolder);
  const { apps, model, engine, slots } = running;
  const api = running.api();
  const random = new SeededRandom(1);
  const below = (n: number): number => Math.floor(random.next() * n);
  const call = async (method: "POST" | "PUT" | "DELETE", url: string, payload?: object): Promise<Record<string, { id: string }>> => {
    const answer = await api.inject(payload === undefined ? { method, url } : { method, url, payload });
    if (answer.statusCode >= 500) throw new Error(`${method} ${url}: ${answer.statusCode} ${answer.payload}`);
    return (answer.payload === "" ? {} : JSON.parse(answer.payload)) as Record<string, { id: string }>;
  };
  const first = model.generation;
  const ports: string[] = [];
  const rules: string[] = [];
  const nets: string[] = [];
  const some = (of: string[], take: boolean): string | undefined => (of.length === 0 ? undefined : take ? of.splice(below(of.length), 1)[0] : of[below(of.length)]);
  const step = async (): Promise<void> => {
    const t = below(w.tenants);
    const known = benchId(6, t, below(w.networks), below(w.ports));
    const what = below(10);
    if (what < 2 && ports.length < 100) {
      const { port } = await call("POST", "/v2.0/ports", { port: { network_id: benchId(4, t, below(w.networks)), project_id: projectId(t), security_groups: [benchId(1, t)] } });
      if (port === undefined) return;
      const host = below(w.hosts);
      slots[host] = (slots[host] ?? 0) + 1;
      const slot = slots[host];
      await model.transact({ requestId: "bench", call: "plug" }, (tx) => tx.put(vifTable, { id: `${hostName(host)}/tap${port.id}`, chassis: hostName(host), iface_id: port.id, name: `tap${port.id}`, ofport: slot, slot }));
      ports.push(port.id);
    } else if (what < 3) {
      const id = some(ports, true);
      if (id !== undefined) await call("DELETE", `/v2.0/ports/${id}`);
    } else if (what < 5) await call("PUT", `/v2.0/ports/${some(ports, false) ?? known}`, { port: { name: `n${below(1000)}` } });
    else if (what < 7) await call("PUT", `/v2.0/ports/${known}`, { port: { admin_state_up: below(4) > 0 } });
    else if (what < 8 && rules.length < 50) {
      const from = 1 + below(60_000);
      const { security_group_rule: rule } = await call("POST", "/v2.0/security-group-rules", { security_group_rule: { security_group_id: benchId(1, t), direction: "ingress", protocol: "tcp", port_range_min: from, port_range_max: from + below(20) } });
      if (rule !== undefined) rules.push(rule.id);
    } else if (what < 9) {
      const id = some(rules, true);
      if (id !== undefined) await call("DELETE", `/v2.0/security-group-rules/${id}`);
    } else if (nets.length < 10) {
      const { network } = await call("POST", "/v2.0/networks", { network: { project_id: projectId(t) } });
      if (network !== undefined) nets.push(network.id);
    } else {
      const id = some(nets, true);
      if (id !== undefined) await call("DELETE", `/v2.0/networks/${id}`);
    }
  };
  while (model.generation - first < changes) await Promise.all(Array.from({ length: AT_ONCE }, step));
  await running.settled();

  const { tables, layout, loop, store } = running;
  const history = new History(store, model, tables);
  const southbound = { switches: () => [], quarantined: () => [], questions: { compareInstalled: () => Promise.resolve([]) } };
  const dump = new FlowDump({ apps, tables, view: engine.view, engine, layout, model, southbound, clock: machineClock });
  const claims = new Claims({ pools: allPools(apps), model, compiled: () => engine.generation, view: engine.view, onChanges: (observer) => engine.onChanges(observer), log: running.log, clock: machineClock });
  const planner = new Planner({ apps, tables, layout, model, engine, loop, claims, lineOf });
  const past = (copied: number): PastFlows => new PastFlows({ history, planner, dump, engine, tables, limits: { copied } });
  const answers: PastResult["answers"][number][] = [];
  const round = (x: number): number => Math.round(x * 10) / 10;
  for (const [answer, of] of [["compiled on a copy", past(Infinity)], ["on the copy for plans", past(0)]] as const) {
    const cpus: number[] = [];
    const times: number[] = [];
    let turn = 0;
    let last = cpuUsage();
    const tick = (): void => {
      const now = cpuUsage();
      turn = Math.max(turn, now.user + now.system - last.user - last.system);
      last = now;
    };
    for (let i = 0; i <= instants; i++) {
      const at = first + 1 + below(model.generation - first);
      await new Promise((done) => setTimeout(done, 50));
      const began = cpuUsage();
      const start = performance.now();
      tick();
      if (i <= 1) turn = 0; // the first is for the just-in-time compiler, and makes the copy for plans
      const timer = setInterval(tick, 1);
      await of.dump({ generation: at }, { stats: false }, "json");
      const took = performance.now() - start;
      clearInterval(timer);
      tick();
      const used = cpuUsage(began);
      if (i > 0) {
        cpus.push((used.user + used.system) / 1000);
        times.push(took);
      }
    }
    for (const all of [cpus, times]) all.sort((a, b) => a - b);
    answers.push({ answer, ms_p50: round(times[times.length >> 1]!), ms_most: round(times.at(-1)!), cpu_ms_p50: round(cpus[cpus.length >> 1]!), cpu_ms_most: round(cpus.at(-1)!), turn_cpu_ms_most: round(turn / 1000) });
  }
  planner.stop();
  await claims.stop();
  const flows = engine.stats.flows;
  await running.stop();
  return { workload: w, flows, changes: model.generation - first, instants, answers };
}
