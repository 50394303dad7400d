// "How fast is the flow dump, and what does it hold?" - GET /flows of the standard workload over HTTP, as often as it takes to be a million flows.
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { cpuUsage, memoryUsage } from "node:process";
import { pino } from "pino";
import { Engine } from "../src/compiler/engine.ts";
import { machineClock } from "../src/lib/clock.ts";
import { Model } from "../src/model/model.ts";
import { FlowDump } from "../src/ops/flows/flow-dump.ts";
import { createOps } from "../src/ops/server.ts";
import { openStore } from "../src/store/open.ts";
import { loadApps, loadRows } from "./compile.ts";
import { hostName, type Workload } from "./workload.ts";

export interface DumpResult {
  readonly workload: Workload;
  readonly flows: number;
  /** Flows a second of one core, and bytes of a flow, by what was asked for. */
  readonly json_flows_per_s: number;
  readonly json_raw_flows_per_s: number;
  readonly text_flows_per_s: number;
  readonly json_bytes_per_flow: number;
  readonly rss_growth_mb: number;
}

export async function benchDump(w: Workload, appsFolder: string): Promise<DumpResult> {
  const { apps, tables, layout } = await loadApps(appsFolder);
  const log = pino({ level: "error" }, pino.destination(2));
  const engine = new Engine({ apps, tables, layout, rows: loadRows(w), log });
  engine.compileAll(1);
  const model = await Model.open(await openStore("memory:", { dataDir: "", log }), tables);
  const ids = Array.from({ length: w.hosts }, (_, h) => ({ id: hostName(h) }));
  const southbound = { switches: () => ids, quarantined: () => [], compareInstalled: () => Promise.reject(new Error("no switch is there")) };
  const dump = new FlowDump({ apps, tables, view: engine.view, engine, layout, model, southbound, clock: machineClock });
  const server = createOps({
    log,
    providers: { ready: () => ({ ok: true }), switches: () => ids, switch: (id) => ids.find((one) => one.id === id), problems: () => [], removeSwitch: () => Promise.resolve(false), flows: (query) => dump.flows(query), onFlowEvent: (listener) => dump.onEvent(listener) },
  });
  await server.listen({ host: "127.0.0.1", port: 0 });
  const { port } = server.server.address() as AddressInfo;
  const read = async (query: string): Promise<number> => {
    const [response] = (await once(get(`http://127.0.0.1:${port}/flows${query}`), "response")) as [IncomingMessage];
    let bytes = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length;
    return bytes;
  };
  let flows = 0;
  for (const { id } of ids) flows += [...engine.flowsOf(id)].length;
  const times = Math.max(1, Math.ceil(1_000_000 / flows));
  await read("?raw=1");
  globalThis.gc?.();
  const before = memoryUsage.rss();
  let peak = before;
  const measured = async (query: string, rounds: number): Promise<{ readonly rate: number; readonly bytes: number }> => {
    const cpu = cpuUsage();
    let bytes = 0;
    for (let i = 0; i < rounds; i++) {
      bytes += await read(query);
      peak = Math.max(peak, memoryUsage.rss());
    }
    const used = cpuUsage(cpu);
    return { rate: Math.round((flows * rounds) / ((used.user + used.system) / 1e6)), bytes: Math.round(bytes / flows / rounds) };
  };
  const raw = await measured("?raw=1", times);
  const named = await measured("", Math.ceil(times / 4));
  const text = await measured("?format=text", Math.ceil(times / 4));
  await server.close();
  await model.close();
  return { workload: w, flows, json_flows_per_s: named.rate, json_raw_flows_per_s: raw.rate, text_flows_per_s: text.rate, json_bytes_per_flow: named.bytes, rss_growth_mb: Math.round((peak - before) / 2 ** 20) };
}
