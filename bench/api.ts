// "How fast is the tenant API?" - the real controller as a process of its own, with its store on disk and every write synced,
// asked over HTTP by a tenant. Wall times depend on what else the machine does; CPU per request is what to compare.
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { spawnLogged, until, type Running } from "../lab/exec.ts";
import type { ApiRequest, ClientOptions, Job, JobResult } from "./api-client.ts";
import { askClient } from "./ask-client.ts";
import { freePorts } from "../lab/free-ports.ts";

export interface ApiOptions {
  /** Of the concurrent runs. */
  readonly connections: readonly number[];
  /** Each timed case, in rounds whose medians are told. */
  readonly seconds: number;
  /** That are stored when all is measured. */
  readonly ports: number;
  /** The controller of another build, measured beside this one in turns. */
  readonly against?: string;
}

export interface ApiCase {
  readonly what: string;
  readonly connections: number;
  readonly requests: number;
  readonly per_s: number;
  readonly p50_ms: number;
  readonly p95_ms: number;
  readonly p99_ms: number;
  /** Of the server's main thread, and of all its threads, per request. */
  readonly main_ms: number;
  readonly cpu_ms: number;
  /** The other build's CPU, and its p50, as parts of this one's. */
  readonly against_cpu?: number;
  readonly against_p50?: number;
}

export interface ApiResult {
  /** A write and fdatasync of 4 KiB in the same directory, p50: the least that an acknowledged write can take. */
  readonly sync_ms: number;
  /** That all ports took, by 10,000. */
  readonly mb_per_10000_ports: number;
  readonly rss_mb: number;
  readonly cases: readonly ApiCase[];
}

/** The write path is long: most of it is compiled only after some thousand requests. */
const WARM_UP_S = 3;
const ROUTER_INTERFACES = 100;
const BULK = 100;
const LISTED = 1000;
const READY_MS = 30_000;
/** Of timed runs, in turns with the other build's: medians are told. */
const ROUNDS = 5;
/** The caller is a member, known by a token: access rules apply. */
const TOKEN = "bench-bench-bench-bench";

class Server {
  private readonly running: Running;
  private readonly worker: Worker;
  readonly dir: string;

  private constructor(running: Running, worker: Worker, dir: string) {
    this.running = running;
    this.worker = worker;
    this.dir = dir;
  }

  static async start(main = fileURLToPath(new URL("../src/main.js", import.meta.url))): Promise<Server> {
    const dir = mkdtempSync(join(tmpdir(), "axion-bench-api-"));
    process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
    writeFileSync(join(dir, "tokens.yaml"), `- {token: ${TOKEN}, project_id: bench, user_id: bench, roles: [member]}\n`, { mode: 0o600 });
    const ports = await freePorts(4);
    const [api, ops, openflow, ovsdb] = ports.map((port) => `127.0.0.1:${port}`) as [string, string, string, string];
    // As scripts/start.sh starts it.
    const running = spawnLogged([process.execPath, ...process.execArgv.filter((flag) => !flag.startsWith("--max-old-space-size")), main, "--data-dir", join(dir, "data"), "--api", api, "--ops", ops, "--openflow", openflow, "--ovsdb", ovsdb, "--log-level", "warn", "--default-quota", "all:-1", "--auth", "tokens", "--tokens", join(dir, "tokens.yaml")], { cwd: dir, keepLines: 50 });
    await until("the controller", async () => {
      if (running.ended) throw new Error(`the controller ended:\n${running.lines.slice(-5).join("\n")}`);
      return (await fetch(`http://${api}/healthcheck`).catch(() => undefined))?.ok === true;
    }, { timeoutMs: READY_MS, intervalMs: 20 });
    const options: ClientOptions = { port: ports[0]!, headers: { "x-auth-token": TOKEN } };
    const worker = new Worker(new URL("./api-client.js", import.meta.url), { workerData: options });
    return new Server(running, worker, dir);
  }

  run(job: Job): Promise<JobResult> {
    return askClient(this.worker, job);
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
    const after = this.cpuMs();
    const sorted = ms.toSorted((a, b) => a - b);
    const at = (q: number): number => round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!);
    return { what, connections: job.connections, requests: ms.length, per_s: Math.round(ms.length / seconds), p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), main_ms: round((after.main - before.main) / ms.length), cpu_ms: round((after.all - before.all) / ms.length) };
  }

  /** Processor time; the first field of schedstat is nanoseconds on a processor. */
  private cpuMs(): { readonly main: number; readonly all: number } {
    const { pid } = this.running;
    const tasks = `/proc/${pid}/task`;
    const of = (task: string): number => Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]) / 1e6;
    return { main: of(String(pid)), all: readdirSync(tasks).reduce((sum, task) => sum + of(task), 0) };
  }

  /** Until it does nothing more for a while. */
  async settled(): Promise<void> {
    for (let before = -1, now = this.cpuMs().all; now - before > 20; now = this.cpuMs().all) {
      before = now;
      await wait(500);
    }
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
const median = (of: readonly number[]): number => of.toSorted((a, b) => a - b)[of.length >> 1]!;

/** Each figure's median over rounds of one case; requests are those of all. */
function medians(rounds: readonly ApiCase[]): ApiCase {
  const of = (field: "per_s" | "p50_ms" | "p95_ms" | "p99_ms" | "main_ms" | "cpu_ms"): number => median(rounds.map((r) => r[field]));
  const { what, connections } = rounds[0]!;
  const requests = rounds.reduce((sum, r) => sum + r.requests, 0);
  return { what, connections, requests, per_s: of("per_s"), p50_ms: of("p50_ms"), p95_ms: of("p95_ms"), p99_ms: of("p99_ms"), main_ms: of("main_ms"), cpu_ms: of("cpu_ms") };
}

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

/** Requests that are done once, for a server: made anew where a run takes them up. */
type Requests = (server: Server) => Promise<readonly ApiRequest[]>;

/** A network with a /16 that is not in anyone else's way. */
async function network(server: Server, k: number): Promise<string> {
  const [id] = await server.create("network", "networks", [{ name: `bench${k}` }]);
  await server.create("subnet", "subnets", [{ network_id: id, ip_version: 4, cidr: `10.${k}.0.0/16` }]);
  return id!;
}

/** What is asked of each server before all else: how it is filled, and with what. */
interface Filled {
  readonly server: Server;
  /** Of 1,000 ports, and of the others. */
  readonly listed: string;
  readonly rest: string;
  /** One of them. */
  readonly port: string;
  readonly mb: number;
}

async function fill(server: Server, ports: number): Promise<Filled> {
  // As it is when much has been asked: what is compiled and kept for the next is no matter of the ports.
  await server.run({ requests: [post("ports", { port: { network_id: await network(server, 5), name: "vm" } })], connections: 8, seconds: WARM_UP_S });
  await server.settled();
  const before = server.rssMb();
  const listed = await network(server, 1);
  const rest = await network(server, 6);
  const [port] = await server.create("port", "ports", [{ network_id: listed }]);
  for (const [id, count] of [[listed, LISTED - 1], [rest, ports - LISTED]] as const) {
    for (let left = count; left > 0; left -= LISTED) await server.run({ requests: [post("ports", { ports: Array.from({ length: Math.min(left, LISTED) }, (_, i) => ({ network_id: id, name: `vm${i}` })) })], connections: 1 });
  }
  await server.settled();
  return { server, listed, rest, port: port!, mb: ((server.rssMb() - before) / ports) * 10_000 };
}

export async function benchApi({ connections, seconds, ports, against }: ApiOptions): Promise<ApiResult> {
  const servers = [await Server.start(), ...(against === undefined ? [] : [await Server.start(against)])];
  try {
    const sync = await syncMs(servers[0]!.dir);
    const filled = await Promise.all(servers.map((server) => fill(server, ports)));
    const cases: ApiCase[] = [];
    const both = async (make: (filled: Filled) => Promise<() => Promise<ApiCase>>, rounds: number): Promise<void> => {
      const measures = [];
      for (const f of filled) measures.push(await make(f));
      const [ours, others]: [ApiCase[], ApiCase[]] = [[], []];
      for (let i = 0; i < rounds; i++) {
        ours.push(await measures[0]!());
        if (measures[1] !== undefined) others.push(await measures[1]());
      }
      const ratio = (field: "cpu_ms" | "p50_ms"): number => round(median(others.map((other, i) => other[field] / ours[i]![field])));
      cases.push({ ...medians(ours), ...(others.length > 0 && { against_cpu: ratio("cpu_ms"), against_p50: ratio("p50_ms") }) });
    };
    const timed = (what: string, request: (filled: Filled) => ApiRequest | Promise<ApiRequest>, at = 1): Promise<void> => both(async (f) => {
      const requests = [await request(f)];
      await f.server.run({ requests, connections: at, seconds: 1 });
      return () => f.server.measure(what, { requests, connections: at, seconds: seconds / ROUNDS });
    }, ROUNDS);
    const once = (what: string, warm: Requests, make: Requests): Promise<void> => both(async (f) => {
      await f.server.run({ requests: await warm(f.server), connections: 1 });
      const requests = await make(f.server);
      return () => f.server.measure(what, { requests, connections: 1 });
    }, 1);

    await timed("port show", ({ port }) => get(`ports/${port}`));
    await timed(`list of ${LISTED}`, ({ listed }) => get(`ports?network_id=${listed}`));
    await timed(`list of ${LISTED}, two fields`, ({ listed }) => get(`ports?network_id=${listed}&fields=id&fields=name`));
    for (const [what, query] of [["", ""], [", two fields", "&fields=id&fields=name"], [", a page of 1,000", "&limit=1000"], [", sorted by name", "&sort_key=name&sort_dir=asc"]] as const) {
      await timed(`list of ${ports}${what}`, ({ listed, rest }) => get(`ports?network_id=${listed}&network_id=${rest}${query}`));
    }

    const created = async ({ server }: Filled, k: number): Promise<ApiRequest> => post("ports", { port: { network_id: await network(server, k), name: "vm" } });
    for (const [i, at] of [1, ...connections].entries()) await timed("port create", (f) => created(f, 10 + i), at);
    await timed(`${BULK} ports at once`, async ({ server }) => {
      const id = await network(server, 4);
      return post("ports", { ports: Array.from({ length: BULK }, () => ({ network_id: id, name: "vm" })) });
    });
    await timed("port update", ({ port }) => ({ method: "PUT", path: `/v2.0/ports/${port}`, body: JSON.stringify({ port: { name: "renamed" } }) }));

    const routed = new Map<Server, { readonly adds: readonly ApiRequest[]; readonly removes: readonly ApiRequest[] }>();
    for (const { server } of filled) routed.set(server, await routerInterfaces(server));
    const [warm, rest] = [(list: readonly ApiRequest[]) => list.slice(0, ROUTER_INTERFACES), (list: readonly ApiRequest[]) => list.slice(ROUTER_INTERFACES)];
    for (const which of ["adds", "removes"] as const) {
      const of = (server: Server): readonly ApiRequest[] => routed.get(server)![which];
      await once(`router interface ${which === "adds" ? "add" : "remove"}`, (server) => Promise.resolve(warm(of(server))), (server) => Promise.resolve(rest(of(server))));
    }
    return { sync_ms: sync, mb_per_10000_ports: round(filled[0]!.mb), rss_mb: servers[0]!.rssMb(), cases };
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** One network and subnet each, ten to a router; twice as many as are measured, to warm up with. */
async function routerInterfaces(server: Server): Promise<{ readonly adds: readonly ApiRequest[]; readonly removes: readonly ApiRequest[] }> {
  const count = 2 * ROUTER_INTERFACES;
  const numbers = Array.from({ length: count }, (_, i) => i);
  const networks = await server.create("network", "networks", numbers.map((i) => ({ name: `routed${i}` })));
  const subnets = await server.create("subnet", "subnets", numbers.map((i) => ({ network_id: networks[i], ip_version: 4, cidr: `10.200.${i}.0/24` })));
  const routers = await server.create("router", "routers", numbers.slice(0, count / 10).map((i) => ({ name: `r${i}` })));
  const each = (action: string): ApiRequest[] => subnets.map((subnet, i) => ({ method: "PUT", path: `/v2.0/routers/${routers[Math.floor(i / 10)]!}/${action}`, body: JSON.stringify({ subnet_id: subnet }) }));
  return { adds: each("add_router_interface"), removes: each("remove_router_interface") };
}
