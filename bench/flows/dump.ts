// "How fast is the flow dump, what does it hold, and what does it cost others?" - GET /flows of the standard workload over HTTP in one answer, beside what it
// is without templates (records, each turned into JSON by itself), read and probed by processes of their own.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { AddressInfo, Socket } from "node:net";
import { cpuUsage, memoryUsage } from "node:process";
import { pino } from "pino";
import { Engine } from "../../src/compiler/engine.ts";
import { machineClock } from "../../src/lib/clock.ts";
import { Model } from "../../src/model/model.ts";
import { FlowDump } from "../../src/ops/flows/flow-dump.ts";
import { createOps, type OpsProviders, type OpsServer } from "../../src/ops/server.ts";
import { openStore } from "../../src/store/open.ts";
import { loadApps } from "../compile.ts";
import { hostName, putWorkload, type Workload } from "../workload.ts";
import type { ProbeResult, ReadResult } from "./client.ts";

export interface DumpResult {
  readonly workload: Workload;
  readonly flows: number;
  readonly bytes_per_flow: number;
  /** Each in turns with the others, medians: flows a second as a client sees it, and of a CPU second of the controller. */
  readonly answers: readonly { readonly answer: string; readonly flows_per_s: number; readonly flows_per_cpu_s: number; readonly of_base: number }[];
  /** Of JSON, with names: heap and buffers after collecting garbage, before and at the most during it; bytes that wait for the client at the most. */
  readonly held_before_mb: number;
  readonly held_during_mb: number;
  readonly waiting_kb: number;
  /** Another caller's GET /healthz, ms. */
  readonly latency: readonly { readonly meanwhile: string; readonly p50_ms: number; readonly p99_ms: number; readonly asked: number }[];
}

const CLIENT = fileURLToPath(new URL("./client.js", import.meta.url));
const BASE = "records (base)";
const ROUNDS = 3;
/** Flows between two looks at the memory. */
const LOOK = 100_000;

/** Hosts are listed until they have so many flows. */
export async function benchDump(w: Workload, atLeast: number, appsFolder: string): Promise<DumpResult> {
  const { apps, tables, layout } = await loadApps(appsFolder);
  const log = pino({ level: "error" }, pino.destination(2));
  const model = await Model.open(await openStore("memory:", { dataDir: "", log }), tables);
  await putWorkload(model, w, "POST /v2.0/ports");
  const engine = new Engine({ apps, tables, layout, rows: model.layer, log });
  engine.compileAll(model.generation);
  const ids: { id: string }[] = [];
  let flows = 0;
  let ofBase = 0;
  for (let h = 0; h < w.hosts && flows < atLeast; h++) {
    ids.push({ id: hostName(h) });
    flows += [...engine.flowsOf(hostName(h))].length;
    if (h === 0) ofBase = flows;
  }
  if (flows < atLeast) throw new Error(`the workload has ${flows} flows, not ${atLeast}: give it more --tenants or --hosts`);
  const southbound = { switches: () => ids, quarantined: () => [], questions: { compareInstalled: () => Promise.reject(new Error("no switch is there")) } };
  const dump = new FlowDump({ apps, tables, view: engine.view, engine, layout, model, southbound, clock: machineClock });
  const all: OpsProviders = {
    ready: () => ({ ok: true }), switches: () => ids, switch: (id) => ids.find((one) => one.id === id), problems: () => [], removeSwitch: () => Promise.resolve(false),
    flows: (query) => dump.flows(query), onFlowEvent: (listener) => dump.onEvent(listener),
  };
  const listen = async (providers: OpsProviders): Promise<{ readonly server: OpsServer; readonly port: number }> => {
    const server = createOps({ log, providers });
    await server.listen({ host: "127.0.0.1", port: 0 });
    return { server, port: (server.server.address() as AddressInfo).port };
  };
  const base = await listen(all);
  const now = await listen({ ...all, flowBytes: (query, format) => dump.bytes(query, format) });
  const sockets = new Set<Socket>();
  now.server.server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });

  const kinds = [
    { answer: BASE, port: base.port, path: `/flows?switch=${hostName(0)}`, of: ofBase },
    { answer: "json", port: now.port, path: "/flows", of: flows },
    { answer: "json, raw", port: now.port, path: "/flows?raw=1", of: flows },
    { answer: "text", port: now.port, path: "/flows?format=text", of: flows },
  ];
  const rates = new Map<string, { readonly wall: number; readonly cpu: number }[]>(kinds.map(({ answer }) => [answer, []]));
  let bytes = 0;
  // The first round is for the just-in-time compiler.
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { answer, port, path, of } of kinds) {
      globalThis.gc?.();
      const cpu = cpuUsage();
      const result = await read(port, path);
      const used = cpuUsage(cpu);
      if (answer === "json") bytes = result.bytes;
      if (round > 0) rates.get(answer)!.push({ wall: of / (result.ms / 1000), cpu: of / ((used.user + used.system) / 1e6) });
    }
  }

  const idle = await probed(now.port, () => new Promise((done) => setTimeout(done, 3_000)));
  const busy = await probed(now.port, () => read(now.port, "/flows"));
  globalThis.gc?.();
  const heldBefore = held();
  const memory = { most: heldBefore, waiting: 0 };
  const looked = await listen({
    ...all,
    flowBytes: async function* (query, format) {
      let since = 0;
      for await (const part of dump.bytes(query, format)) {
        yield part;
        since += part.length;
        for (const socket of sockets) memory.waiting = Math.max(memory.waiting, socket.writableLength);
        if (since < (bytes / flows) * LOOK) continue;
        since = 0;
        globalThis.gc?.();
        memory.most = Math.max(memory.most, held());
      }
    },
  });
  looked.server.server.on("connection", (socket: Socket) => sockets.add(socket));
  await read(looked.port, "/flows");
  for (const { server } of [base, now, looked]) await server.close();
  await model.close();
  const cpuOf = (answer: string): number => median(rates.get(answer)!.map(({ cpu }) => cpu));
  return {
    workload: w, flows, bytes_per_flow: Math.round(bytes / flows),
    answers: kinds.map(({ answer }) => ({
      answer, flows_per_s: Math.round(median(rates.get(answer)!.map(({ wall }) => wall))), flows_per_cpu_s: Math.round(cpuOf(answer)),
      of_base: Math.round((cpuOf(answer) / cpuOf(BASE)) * 10) / 10,
    })),
    held_before_mb: mb(heldBefore), held_during_mb: mb(memory.most), waiting_kb: Math.round(memory.waiting / 1024),
    latency: [{ meanwhile: "nothing", ...of(idle) }, { meanwhile: "the dump", ...of(busy) }],
  };
}

const held = (): number => {
  const { heapUsed, external } = memoryUsage();
  return heapUsed + external;
};
const mb = (bytes: number): number => Math.round((bytes / 2 ** 20) * 10) / 10;
const median = (of: readonly number[]): number => [...of].sort((a, b) => a - b)[of.length >> 1]!;

function of({ ms }: ProbeResult): { readonly p50_ms: number; readonly p99_ms: number; readonly asked: number } {
  const sorted = [...ms].sort((a, b) => a - b);
  const at = (q: number): number => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]! * 100) / 100;
  return { p50_ms: at(0.5), p99_ms: at(0.99), asked: ms.length };
}

async function read(port: number, path: string): Promise<ReadResult> {
  const child = fork(CLIENT, ["read", String(port), path]);
  const [result] = (await once(child, "message")) as [ReadResult];
  return result;
}

async function probed(port: number, work: () => Promise<unknown>): Promise<ProbeResult> {
  const child = fork(CLIENT, ["probe", String(port)]);
  await once(child, "message");
  await work();
  child.send("stop");
  const [result] = (await once(child, "message")) as [ProbeResult];
  return result;
}
