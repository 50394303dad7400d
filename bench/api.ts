// "How fast is the tenant API?" - the real controller as a process of its own, with its store on disk and every write synced,
// asked over HTTP by a tenant. Wall times depend on what else the machine does; CPU per request is what to compare.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { spawnLogged, until, type Running } from "../lab/exec.ts";
import type { ApiRequest, ClientMessage, ClientOptions, Job, JobResult } from "./api-client.ts";
import { freePorts } from "../lab/free-ports.ts";

export interface ApiOptions {
  /** Of the concurrent run. */
  readonly connections: number;
  /** Each timed run. */
  readonly seconds: number;
}

export interface ApiCase {
  readonly what: string;
  readonly connections: number;
  readonly requests: number;
  readonly per_s: number;
  readonly p50_ms: number;
  readonly p95_ms: number;
  readonly p99_ms: number;
  /** Of the server, all its threads, per request. */
  readonly cpu_ms: number;
}

export interface ApiResult {
  /** A write and fdatasync of 4 KiB in the same directory, p50: the least that an acknowledged write can take. */
  readonly sync_ms: number;
  readonly rss_mb: number;
  readonly cases: readonly ApiCase[];
}

/** The write path is long: most of it is compiled only after some thousand requests. */
const WARM_UP_S = 3;
const ROUTER_INTERFACES = 100;
const BULK = 100;
const LISTED = 1000;
const READY_MS = 30_000;

class Server {
  private readonly running: Running;
  private readonly worker: Worker;
  private readonly dir: string;

  private constructor(running: Running, worker: Worker, dir: string) {
    this.running = running;
    this.worker = worker;
    this.dir = dir;
  }

  static async start(dir: string): Promise<Server> {
    const ports = await freePorts(4);
    const [api, ops, openflow, ovsdb] = ports.map((port) => `127.0.0.1:${port}`) as [string, string, string, string];
    // As scripts/start.sh starts it.
    const main = fileURLToPath(new URL("../src/main.js", import.meta.url));
    const running = spawnLogged([process.execPath, ...process.execArgv.filter((flag) => !flag.startsWith("--max-old-space-size")), main, "--data-dir", join(dir, "data"), "--api", api, "--ops", ops, "--openflow", openflow, "--ovsdb", ovsdb, "--log-level", "warn", "--default-quota", "all:-1"], { cwd: dir, keepLines: 50 });
    await until("the controller", async () => {
      if (running.ended) throw new Error(`the controller ended:\n${running.lines.slice(-5).join("\n")}`);
      return (await fetch(`http://${api}/healthcheck`).catch(() => undefined))?.ok === true;
    }, { timeoutMs: READY_MS, intervalMs: 20 });
    const options: ClientOptions = { port: ports[0]!, headers: { "x-project-id": "bench", "x-roles": "member" } };
    const worker = new Worker(new URL("./api-client.js", import.meta.url), { workerData: options });
    return new Server(running, worker, dir);
  }

  run(job: Job): Promise<JobResult> {
    return new Promise((resolve, reject) => {
      this.worker.once("error", reject);
      this.worker.once("message", (message: ClientMessage) => {
        this.worker.off("error", reject);
        if ("ok" in message) resolve(message.ok);
        else reject(new Error(message.failed));
      });
      this.worker.postMessage(job);
    });
  }

  /** Creates one after the other; gives their ids. */
  async create(name: string, path: string, bodies: readonly object[]): Promise<string[]> {
    const requests = bodies.map((body) => post(path, { [name]: body }));
    const { kept } = await this.run({ requests, connections: 1, keep: requests.length });
    return kept.map((text) => (JSON.parse(text) as Record<string, { id: string }>)[name]!.id);
  }

  async measure(what: string, job: Job): Promise<ApiCase> {
    const before = this.cpuMs();
    const { ms, seconds } = await this.run(job);
    const cpu = this.cpuMs() - before;
    const sorted = ms.toSorted((a, b) => a - b);
    const at = (q: number): number => round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!);
    return { what, connections: job.connections, requests: ms.length, per_s: Math.round(ms.length / seconds), p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), cpu_ms: round(cpu / ms.length) };
  }

  /** Processor time of all threads; the first field of schedstat is nanoseconds on a processor. */
  private cpuMs(): number {
    const tasks = `/proc/${this.running.pid}/task`;
    return readdirSync(tasks).reduce((sum, task) => sum + Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]) / 1e6, 0);
  }

  rssMb(): number {
    return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.running.pid}/status`, "utf8"))![1]) / 1024);
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
    await this.running.stop("SIGTERM");
    rmSync(this.dir, { recursive: true, force: true });
  }
}

const round = (x: number): number => Math.round(x * 1000) / 1000;
const post = (path: string, body: object): ApiRequest => ({ method: "POST", path: `/v2.0/${path}`, body: JSON.stringify(body) });
const get = (path: string): ApiRequest => ({ method: "GET", path: `/v2.0/${path}` });

async function syncMs(dir: string): Promise<number> {
  const file = await open(join(dir, "sync"), "w");
  const page = Buffer.alloc(4096, 1);
  const ms: number[] = [];
  for (let i = 0; i < 100; i++) {
    const began = performance.now();
    await file.write(page);
    await file.datasync();
    ms.push(performance.now() - began);
  }
  await file.close();
  return round(ms.sort((a, b) => a - b)[50]!);
}

/** A network with a /16 that is not in anyone else's way. */
async function network(server: Server, k: number): Promise<string> {
  const [id] = await server.create("network", "networks", [{ name: `bench${k}` }]);
  await server.create("subnet", "subnets", [{ network_id: id, ip_version: 4, cidr: `10.${k}.0.0/16` }]);
  return id!;
}

export async function benchApi({ connections, seconds }: ApiOptions): Promise<ApiResult> {
  const dir = mkdtempSync(join(tmpdir(), "axion-bench-api-"));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
  const server = await Server.start(dir);
  try {
    const sync = await syncMs(dir);
    const cases: ApiCase[] = [];
    const timed = async (what: string, request: ApiRequest, at: number): Promise<void> => {
      await server.run({ requests: [request], connections: at, seconds: 1 });
      cases.push(await server.measure(what, { requests: [request], connections: at, seconds }));
    };
    const listed = await network(server, 1);
    const [first] = await server.create("port", "ports", [{ network_id: listed }]);
    await server.run({ requests: [post("ports", { ports: Array.from({ length: LISTED - 1 }, () => ({ network_id: listed })) })], connections: 1 });

    await server.run({ requests: [post("ports", { port: { network_id: await network(server, 5), name: "vm" } })], connections, seconds: WARM_UP_S });
    await timed("port create", post("ports", { port: { network_id: await network(server, 2), name: "vm" } }), 1);
    await timed("port create", post("ports", { port: { network_id: await network(server, 3), name: "vm" } }), connections);
    const filled = await network(server, 4);
    await timed(`${BULK} ports at once`, post("ports", { ports: Array.from({ length: BULK }, () => ({ network_id: filled, name: "vm" })) }), 1);

    const adds = await routerInterfaces(server);
    await server.run({ requests: adds.slice(0, ROUTER_INTERFACES), connections: 1 });
    cases.push(await server.measure("router interface add", { requests: adds.slice(ROUTER_INTERFACES), connections: 1 }));

    await timed(`list of ${LISTED} ports`, get(`ports?network_id=${listed}`), 1);
    await timed("port show", get(`ports/${first!}`), 1);
    return { sync_ms: sync, rss_mb: server.rssMb(), cases };
  } finally {
    await server.stop();
  }
}

/** One network and subnet each, ten to a router; twice as many as are measured, to warm up with. */
async function routerInterfaces(server: Server): Promise<ApiRequest[]> {
  const count = 2 * ROUTER_INTERFACES;
  const numbers = Array.from({ length: count }, (_, i) => i);
  const networks = await server.create("network", "networks", numbers.map((i) => ({ name: `routed${i}` })));
  const subnets = await server.create("subnet", "subnets", numbers.map((i) => ({ network_id: networks[i], ip_version: 4, cidr: `10.200.${i}.0/24` })));
  const routers = await server.create("router", "routers", numbers.slice(0, count / 10).map((i) => ({ name: `r${i}` })));
  return subnets.map((subnet, i) => ({ method: "PUT", path: `/v2.0/routers/${routers[Math.floor(i / 10)]!}/add_router_interface`, body: JSON.stringify({ subnet_id: subnet }) }));
}
