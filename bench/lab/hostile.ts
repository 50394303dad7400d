// Hostile peers, one kind after the other, beside an honest host: what they cost it until a port that is plugged is active, what they cost in
// memory, and how soon /healthz answers meanwhile.
import { readFile, writeFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { repositoryRoot } from "../../lab/controller.ts";
import { spawnLogged, until, type Running } from "../../lab/exec.ts";
import { freePorts } from "../../lab/free-ports.ts";
import { Guard } from "../../lab/guard.ts";
import { allHostilePeers } from "../../lab/hostile/peers.ts";
import { startManySwitches, type ManySwitches } from "../../lab/many.ts";
import type { AttackData } from "./hostile-attack.ts";

interface Row {
  readonly kind: string;
  /** From before the interface is made until its port is ACTIVE; the median. */
  readonly plug_ms: number;
  readonly healthz_ms: number;
  /** The longest that the event loop was held, beyond the 10 ms after which it is looked at. */
  readonly loop_ms: number;
  /** Resident memory at most, beyond that of just before it. */
  readonly more_mb: number;
  /** And beyond that of before all. */
  readonly in_all_mb: number;
  readonly connections: number;
}

export interface HostileResult {
  readonly plug_alone_ms: number;
  readonly healthz_alone_ms: number;
  readonly loop_alone_ms: number;
  readonly rss_before_mb: number;
  /** Half a minute after the last. */
  readonly rss_after_mb: number;
  readonly kinds: readonly Row[];
}

const SETTLE_MS = 500;

export interface HostileOptions {
  readonly repeats: number;
  readonly log: (line: string) => void;
  /** Kinds whose "port: name" has it; default: all. */
  readonly kinds?: RegExp;
  /** dist/src/main.js of another build. Default: this one's. */
  readonly main?: string;
}

export async function benchHostile({ repeats, log, kinds: wanted, main }: HostileOptions): Promise<HostileResult> {
  const guard = await Guard.create({ name: "hostile" });
  const [api, ops, openflow, ovsdb] = (await freePorts(4)) as [number, number, number, number];
  const address = (port: number): string => `127.0.0.1:${port}`;
  let honest: ManySwitches | undefined;
  let running: Running | undefined;
  try {
    running = spawnLogged([
      process.execPath, main ?? path.join(repositoryRoot(), "dist/src/main.js"), "--data-dir", `${guard.dir}/data`, "--api", address(api), "--ops", address(ops),
      "--openflow", address(openflow), "--ovsdb", address(ovsdb), "--log-level", "warn", "--default-quota", "all:-1",
    ], { cwd: guard.dir, keepLines: 200 });
    const { pid } = running;
    await writeFile(`${guard.dir}/controller.pid`, String(pid)); // by which the guard ends it if this process cannot
    await until("the controller", async () => (await call(ops, "GET", "/readyz").catch(() => undefined))?.status === 200, { timeoutMs: 120_000, intervalMs: 50 });
    honest = await startManySwitches(1, { manager: `tcp:${address(ovsdb)}` });
    interface Info { readonly id: string; readonly state: string; readonly dpid: string }
    const hv1 = async (): Promise<Info | undefined> => (JSON.parse((await call(ops, "GET", "/switches")).text) as { switches: Info[] }).switches.find(({ id }) => id === "sw1");
    await until("the honest host", async () => (await hv1())?.state === "connected", { timeoutMs: 20_000 });
    const { dpid } = (await hv1())!;
    const network = (await create<{ network: { id: string } }>(api, "networks", { network: { name: "net" } })).network.id;
    await create(api, "subnets", { subnet: { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" } });
    const { port } = await create<{ port: { id: string } }>(api, "ports", { port: { network_id: network } });

    const status = async (): Promise<string> => (JSON.parse((await call(api, "GET", `/v2.0/ports/${port.id}`)).text) as { port: { status: string } }).port.status;
    const plug = async (): Promise<number> => {
      const began = performance.now();
      const device = await honest!.plug(0, port.id);
      await until("the port", async () => (await status()) === "ACTIVE", { timeoutMs: 60_000, intervalMs: 2 });
      const ms = performance.now() - began;
      await honest!.unplug(0, device);
      await until("the end of the port", async () => (await status()) === "DOWN", { timeoutMs: 30_000, intervalMs: 10 });
      return ms;
    };
    /** Plugs several times while `attack` goes on, and asks for health all the time. */
    const measured = async (): Promise<{ plugMs: number; healthzMs: number; loopMs: number; peakMb: number }> => {
      let healthzMs = 0, peakMb = 0, over = false;
      await loopDelay(ops); // what was before does not count: each answer begins anew
      const watching = (async () => {
        while (!over) {
          const began = performance.now();
          await call(ops, "GET", "/healthz");
          healthzMs = Math.max(healthzMs, performance.now() - began);
          peakMb = Math.max(peakMb, await rss(pid));
          await sleep(20);
        }
      })();
      const times: number[] = [];
      await sleep(SETTLE_MS);
      for (let n = 0; n < repeats; n++) times.push(await plug());
      over = true;
      await watching;
      return { plugMs: times.sort((a, b) => a - b)[times.length >> 1]!, healthzMs, loopMs: await loopDelay(ops), peakMb };
    };

    for (let n = 0; n < 5; n++) await plug();
    const alone = await measured();
    const before = await rss(pid);
    log(JSON.stringify({ alone: { plug_ms: Math.round(alone.plugMs), healthz_ms: Math.round(alone.healthzMs), loop_ms: Math.round(alone.loopMs), rss_mb: before } }));
    const kinds: Row[] = [];
    for (const [n, peer] of allHostilePeers.entries()) {
      if (wanted?.test(`${peer.port}: ${peer.name}`) === false) continue;
      const own = await rss(pid);
      const workerData: AttackData = { index: n, victim: { openflow, ovsdb, dpid, systemId: "sw1" }, address: `127.0.1.${100 + n}` };
      const attack = new Worker(new URL("./hostile-attack.js", import.meta.url), { workerData });
      await once(attack, "message"); // it has begun
      const { plugMs, healthzMs, loopMs, peakMb } = await measured();
      attack.postMessage("stop");
      const [connections] = (await once(attack, "message")) as [number];
      const row: Row = { kind: `${peer.port}: ${peer.name}`, plug_ms: Math.round(plugMs), healthz_ms: Math.round(healthzMs), loop_ms: Math.round(loopMs), more_mb: Math.max(0, Math.round(peakMb - own)), in_all_mb: Math.max(0, Math.round(peakMb - before)), connections };
      log(JSON.stringify(row));
      kinds.push(row);
    }
    await sleep(30_000);
    return { plug_alone_ms: Math.round(alone.plugMs), healthz_alone_ms: Math.round(alone.healthzMs), loop_alone_ms: Math.round(alone.loopMs), rss_before_mb: before, rss_after_mb: await rss(pid), kinds };
  } finally {
    await honest?.destroy();
    await running?.stop("SIGKILL");
    await guard.destroy();
  }
}

const rss = async (pid: number): Promise<number> => Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024);

/** Milliseconds that the event loop was held at most since this was asked last. */
async function loopDelay(ops: number): Promise<number> {
  const { text } = await call(ops, "GET", "/metrics");
  return Math.max(0, Number(/^nodejs_eventloop_lag_max_seconds (\S+)/m.exec(text)?.[1] ?? NaN) * 1000 - 10);
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
function call(port: number, method: string, url: string, body?: object): Promise<{ status: number; text: string }> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers = { "x-project-id": "bench", "x-roles": "admin", ...(payload !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(payload) }) };
    const outgoing = http.request({ host: "127.0.0.1", port, method, path: url, agent, headers }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", reject);
      incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }));
    });
    outgoing.on("error", reject).end(payload);
  });
}

async function create<T>(port: number, collection: string, body: object): Promise<T> {
  const answer = await call(port, "POST", `/v2.0/${collection}`, body);
  if (answer.status !== 201) throw new Error(`${collection}: ${answer.status} ${answer.text}`);
  return JSON.parse(answer.text) as T;
}
