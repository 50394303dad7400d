// "How long does everything take from nothing?" - compile the standard workload from scratch.
import { cpuUsage, memoryUsage } from "node:process";
import { pino } from "pino";
import { discoverApps } from "../src/boot/discover.ts";
import { allTables } from "../src/boot/registry.ts";
import { Engine } from "../src/compiler/engine.ts";
import { Layer } from "../src/model/rows.ts";
import { Layout } from "../src/pipeline/layout.ts";
import { directTx, hostName, putHosts, putTenant, type Workload } from "./workload.ts";

export interface CompileResult {
  readonly workload: Workload;
  readonly flows_distinct: number;
  readonly flows_all_hosts: number;
  readonly flows_per_host: number;
  readonly rule_runs: number;
  readonly wall_s: number;
  readonly cpu_s: number;
  readonly flows_per_cpu_s: number;
  readonly rss_peak_mb: number;
  readonly rss_rows_mb: number;
}

export async function loadApps(appsFolder: string): Promise<{ apps: Awaited<ReturnType<typeof discoverApps>>; tables: ReturnType<typeof allTables>; layout: Layout }> {
  const apps = await discoverApps(appsFolder);
  return { apps, tables: allTables(apps), layout: new Layout(apps) };
}

/** Rows in a bare layer, as the model holds them. */
export function loadRows(w: Workload): Layer {
  const rows = new Layer();
  const tx = directTx((table, row) => rows.put(table, row));
  putHosts(tx, w.hosts);
  const slots: number[] = [];
  for (let t = 0; t < w.tenants; t++) putTenant(tx, w, t, slots);
  return rows;
}

export async function benchCompile(w: Workload, appsFolder: string): Promise<CompileResult> {
  const { apps, tables, layout } = await loadApps(appsFolder);
  const rows = loadRows(w);
  globalThis.gc?.();
  const rssRows = memoryUsage.rss();
  const engine = new Engine({ apps, tables, layout, rows, log: pino({ level: "error" }, pino.destination(2)) });
  const cpu = cpuUsage();
  const began = performance.now();
  engine.compileAll(1);
  const wall = (performance.now() - began) / 1000;
  const used = cpuUsage(cpu);
  const peak = process.resourceUsage().maxRSS / 1024;
  let all = 0;
  for (let h = 0; h < w.hosts; h++) all += [...engine.flowsOf(hostName(h))].length;
  const cpuS = (used.user + used.system) / 1e6;
  return {
    workload: w, flows_distinct: engine.stats.flows, flows_all_hosts: all, flows_per_host: Math.round(all / w.hosts), rule_runs: engine.stats.runs, wall_s: round(wall), cpu_s: round(cpuS),
    flows_per_cpu_s: Math.round(engine.stats.flows / cpuS), rss_peak_mb: Math.round(peak), rss_rows_mb: Math.round(rssRows / 2 ** 20),
  };
}

const round = (x: number): number => Math.round(x * 1000) / 1000;
