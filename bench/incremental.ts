// "What does one change cost?" - changes through the API on a compiled workload: the time from the call to the difference
// that the switches are sent (the synced write to disk included), how many rules ran, how many flows changed, how many chassis and bytes were involved.
import { cpuUsage } from "node:process";
import { vifTable } from "#app";
import type { Delta } from "../src/compiler/desired.ts";
import { startRunning } from "./running.ts";
import { benchId, hostName, type Workload } from "./workload.ts";

export interface KindResult {
  readonly kind: string;
  readonly p50_ms: number;
  readonly p95_ms: number;
  readonly p99_ms: number;
  readonly cpu_ms: number;
  readonly rule_runs: number;
  readonly flows_changed: number;
  readonly chassis: number;
  readonly flow_mods: number;
  readonly bytes: number;
}

export interface IncrementalResult {
  readonly workload: Workload;
  readonly repeats: number;
  readonly kinds: KindResult[];
}

interface Sample {
  ms: number;
  cpuMs: number;
  runs: number;
  changed: number;
  chassis: number;
  mods: number;
  bytes: number;
}

export async function benchIncremental(w: Workload, repeats: number, appsFolder: string): Promise<IncrementalResult> {
  const running = await startRunning(w, appsFolder);
  const { model, engine, slots } = running;
  const api = running.api();
  const call = async (method: "POST" | "PUT" | "DELETE", url: string, body?: object): Promise<Record<string, never>> => {
    const answer = await api.inject(body === undefined ? { method, url } : { method, url, payload: body });
    if (answer.statusCode >= 300) throw new Error(`${method} ${url}: ${answer.statusCode} ${answer.payload}`);
    return (answer.payload === "" ? {} : JSON.parse(answer.payload)) as Record<string, never>;
  };

  const measure = async (change: () => Promise<unknown>): Promise<Sample> => {
    const sample: Sample = { ms: 0, cpuMs: 0, runs: engine.stats.runs, changed: engine.stats.flowsChanged, chassis: 0, mods: 0, bytes: 0 };
    const touched = new Set<string>();
    const count = (delta: Delta): void => {
      for (const [id, d] of delta.chassis) {
        touched.add(id);
        sample.mods += d.add.length + d.remove.length;
        for (const f of [...d.add, ...d.remove]) sample.bytes += f.len;
      }
    };
    const stop = engine.onDelta(count);
    const cpu = cpuUsage();
    const began = performance.now();
    await change();
    await running.settled();
    sample.ms = performance.now() - began;
    const used = cpuUsage(cpu);
    stop();
    sample.cpuMs = (used.user + used.system) / 1000;
    sample.runs = engine.stats.runs - sample.runs;
    sample.changed = engine.stats.flowsChanged - sample.changed;
    sample.chassis = touched.size;
    return sample;
  };

  const samples = new Map<string, Sample[]>();
  const note = async <T>(kind: string, change: () => Promise<T>): Promise<T> => {
    let result!: T;
    const sample = await measure(async () => {
      result = await change();
    });
    const list = samples.get(kind) ?? [];
    list.push(sample);
    samples.set(kind, list);
    return result;
  };

  for (let i = 0; i < repeats; i++) {
    const t = (i * 7919) % w.tenants;
    const network = benchId(4, t, 0);
    const project = benchId(9, t);
    const host = i % w.hosts;
    const port = await note("port create", async () => (await call("POST", "/v2.0/ports", { port: { network_id: network, project_id: project, security_groups: [benchId(1, t)] } })) as unknown as { port: { id: string } });
    const id = port.port.id;
    slots[host] = (slots[host] ?? 0) + 1;
    const vif = { id: `${hostName(host)}/tap${id}`, chassis: hostName(host), iface_id: id, name: `tap${id}`, ofport: slots[host], slot: slots[host] };
    await note("port plug", () => model.transact({ requestId: "bench", call: "plug" }, (tx) => tx.put(vifTable, vif)));
    await note("port update name", () => call("PUT", `/v2.0/ports/${id}`, { port: { name: "renamed" } }));
    const rule = await note("security group rule create", async () =>
      (await call("POST", "/v2.0/security-group-rules", { security_group_rule: { security_group_id: benchId(1, t), direction: "ingress", protocol: "tcp", port_range_min: 80, port_range_max: 80 } })) as unknown as { security_group_rule: { id: string } });
    await note("security group rule delete", () => call("DELETE", `/v2.0/security-group-rules/${rule.security_group_rule.id}`));
    const net = await note("network create", async () => (await call("POST", "/v2.0/networks", { network: { name: "n", project_id: project } })) as unknown as { network: { id: string } });
    const subnet = await note("subnet create", async () =>
      (await call("POST", "/v2.0/subnets", { subnet: { network_id: net.network.id, ip_version: 4, cidr: "10.200.0.0/24", project_id: project } })) as unknown as { subnet: { id: string } });
    await note("router interface add", () => call("PUT", `/v2.0/routers/${benchId(3, t)}/add_router_interface`, { subnet_id: subnet.subnet.id }));
    await note("router interface remove", () => call("PUT", `/v2.0/routers/${benchId(3, t)}/remove_router_interface`, { subnet_id: subnet.subnet.id }));
    await note("network delete", () => call("DELETE", `/v2.0/networks/${net.network.id}`));
    await note("port unplug", () => model.transact({ requestId: "bench", call: "unplug" }, (tx) => tx.delete(vifTable, vif.id)));
    await note("port delete", () => call("DELETE", `/v2.0/ports/${id}`));
  }
  await running.stop();
  const kinds = [...samples].map(([kind, list]) => summarise(kind, list));
  return { workload: w, repeats, kinds };
}

function summarise(kind: string, list: readonly Sample[]): KindResult {
  const pick = (f: (s: Sample) => number, q: number): number => {
    const sorted = list.map(f).sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!;
  };
  const round = (x: number): number => Math.round(x * 100) / 100;
  const ms = (q: number): number => round(pick((s) => s.ms, q));
  const median = (f: (s: Sample) => number): number => round(pick(f, 0.5));
  return {
    kind, p50_ms: ms(0.5), p95_ms: ms(0.95), p99_ms: ms(0.99), cpu_ms: median((s) => s.cpuMs), rule_runs: median((s) => s.runs), flows_changed: median((s) => s.changed),
    chassis: median((s) => s.chassis), flow_mods: median((s) => s.mods), bytes: median((s) => s.bytes),
  };
}
