// "What do several controllers on one store come to?" - real controllers as processes on three real members of etcd, on one machine, written to
// over HTTP: with one, two and three of them, the same number of connections in all; and how long one change takes until its flows are confirmed by
// a real switch, asked for at the switch's master and at another controller. First of all one controller on a store of its own.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { EtcdClient } from "etcd-v3-client";
import { EtcdServer } from "etcd-v3-client/testing";
import { spawnLogged, until, type Running } from "../../lab/exec.ts";
import { freePorts } from "../../lab/free-ports.ts";
import { startManySwitches } from "../../lab/many.ts";
import type { ApiRequest, ClientOptions, Job, JobResult } from "../api-client.ts";
import { askClient } from "../ask-client.ts";

export interface ClusterOptions {
  /** In all. */
  readonly connections: number;
  readonly seconds: number;
}

export interface ClusterCase {
  readonly store: "level" | "etcd";
  readonly controllers: number;
  readonly writes: number;
  readonly per_s: number;
  /** Of all writes, what the controller answered that answered fewest, times the number of controllers: 1 is a fair share. */
  readonly least_share: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  /** Writes to etcd that came second and were decided anew, of each write that was made. */
  readonly lost_per_write: number;
  /** Writes of the API in one write to etcd. */
  readonly writes_per_append: number;
  /** From a change of a port to the confirmation of its flows by the switch, with nothing else to do: asked for at the switch's master, ms. */
  readonly flow_p50_ms: number;
  readonly flow_p95_ms: number;
  /** The same at a controller that is not the master; null: there is none. */
  readonly elsewhere_p50_ms: number | null;
  readonly elsewhere_p95_ms: number | null;
}

const WARM_UP_S = 2;
/** Changes of which each is waited for. */
const CHANGES = 60;
const ADMIN = { "content-type": "application/json", "x-project-id": "bench", "x-roles": "admin" };
const READY_MS = 60_000;
const main = fileURLToPath(new URL("../../src/main.js", import.meta.url));

class Member {
  private readonly running: Running;
  private readonly worker: Worker;
  private readonly url: string;
  private readonly ops: string;
  readonly name: string;
  /** What hosts connect to. */
  readonly manager: string;

  private constructor(name: string, manager: string, running: Running, worker: Worker, url: string, ops: string) {
    this.name = name;
    this.manager = manager;
    this.running = running;
    this.worker = worker;
    this.url = url;
    this.ops = ops;
  }

  static async start(dir: string, name: string, store: string): Promise<Member> {
    const ports = await freePorts(4);
    const [api, ops, openflow, ovsdb] = ports.map((port) => `127.0.0.1:${port}`) as [string, string, string, string];
    const running = spawnLogged([process.execPath, main, "--store", store, "--name", name, "--data-dir", join(dir, name), "--api", api, "--ops", ops, "--openflow", openflow, "--ovsdb", ovsdb, "--log-level", "warn", "--default-quota", "all:-1"], { cwd: dir, keepLines: 50 });
    await until(`controller ${name}`, async () => {
      if (running.ended) throw new Error(`the controller ended:\n${running.lines.slice(-5).join("\n")}`);
      return (await fetch(`http://${ops}/readyz`).catch(() => undefined))?.ok === true;
    }, { timeoutMs: READY_MS, intervalMs: 20 });
    const options: ClientOptions = { port: ports[0]!, headers: { "x-project-id": "bench", "x-roles": "member" } };
    return new Member(name, `tcp:${ovsdb}`, running, new Worker(new URL("../api-client.js", import.meta.url), { workerData: options }), `http://${api}`, `http://${ops}`);
  }

  run(job: Job): Promise<JobResult> {
    return askClient(this.worker, job);
  }

  async create(name: string, body: object): Promise<string> {
    const answer = await fetch(`${this.url}/v2.0/${name}s`, { method: "POST", headers: { "content-type": "application/json", "x-project-id": "bench", "x-roles": "member" }, body: JSON.stringify({ [name]: body }) });
    if (answer.status !== 201) throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
    return ((await answer.json()) as Record<string, { id: string }>)[name]!.id;
  }

  /** Who is the master of a host, which is connected and in order; undefined: it is not. */
  async masterOf(host: string): Promise<string | undefined> {
    const { switches } = (await (await fetch(`${this.ops}/switches`)).json()) as { switches: { id: string; state: string; role: string; flows: { desired: number; installed: number } }[] };
    const found = switches.find(({ id }) => id === host);
    return found !== undefined && found.state === "connected" && found.role !== "slave" && found.flows.desired > 0 && found.flows.desired === found.flows.installed ? this.name : undefined;
  }

  async active(port: string): Promise<boolean> {
    return ((await (await fetch(`${this.url}/v2.0/ports/${port}`, { headers: ADMIN })).json()) as { port: { status: string } }).port.status === "ACTIVE";
  }

  /** ms that each of so many changes of a port took until the switch had confirmed it. */
  async changes(port: string): Promise<number[]> {
    const out: number[] = [];
    for (let n = 0; n < CHANGES; n++) {
      const began = performance.now();
      const body = JSON.stringify({ port: { allowed_address_pairs: [{ ip_address: `192.0.2.${n + 1}` }] } });
      const answer = await fetch(`${this.url}/v2.0/ports/${port}?wait=dataplane&timeout=30`, { method: "PUT", headers: ADMIN, body });
      await answer.arrayBuffer();
      if (answer.status !== 200) throw new Error(`a change of a port: ${answer.status}`);
      out.push(performance.now() - began);
    }
    return out.sort((a, b) => a - b);
  }

  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.ops}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? NaN);
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
    await this.running.stop("SIGKILL");
  }
}

export async function benchCluster({ connections, seconds }: ClusterOptions): Promise<{ readonly connections: number; readonly cases: readonly ClusterCase[] }> {
  const dir = mkdtempSync(join(tmpdir(), "axion-bench-cluster-"));
  process.once("exit", () => rmSync(dir, { recursive: true, force: true }));
  const etcd = await EtcdServer.start({ members: 3 });
  const members: Member[] = [];
  const many = await startManySwitches(1, {});
  try {
    const client = new EtcdClient({ endpoints: etcd.endpoints });
    await etcd.untilReady(() => client.range({ key: "ready" }));
    client.close();
    const cases: ClusterCase[] = [];
    for (const [kind, controllers] of [["level", 1], ["etcd", 1], ["etcd", 2], ["etcd", 3]] as const) {
      const store = kind === "level" ? "level:" : `etcd://${etcd.endpoints.join(",")}/with-${controllers}`;
      members.push(...(await Promise.all(Array.from({ length: controllers }, (_, i) => Member.start(dir, `${kind}${controllers}-${i}`, store)))));
      const network_id = await members[0]!.create("network", { name: "wide" });
      await members[0]!.create("subnet", { network_id, ip_version: 4, cidr: "10.0.0.0/8" });
      const flow = await portToFlow(members, many, network_id);
      const requests: ApiRequest[] = [{ method: "POST", path: "/v2.0/ports", body: JSON.stringify({ port: { network_id, name: "vm" } }) }];
      const all = async (s: number): Promise<JobResult[]> => Promise.all(members.map((member, i) => member.run({ requests, connections: Math.floor((connections + i) / controllers), seconds: s })));
      const counted = async (name: string): Promise<number> => (await Promise.all(members.map((member) => member.metric(name)))).reduce((sum, n) => sum + n, 0);
      await all(WARM_UP_S);
      const before = [await counted("axion_store_lost_races"), await counted("axion_store_sync_seconds_count")] as const;
      const results = await all(seconds);
      const after = [await counted("axion_store_lost_races"), await counted("axion_store_sync_seconds_count")] as const;
      const ms = results.flatMap((result) => result.ms).sort((a, b) => a - b);
      const at = (q: number): number => Math.round(ms[Math.min(ms.length - 1, Math.floor(ms.length * q))]! * 10) / 10;
      const lost = after[0] - before[0];
      const round = (n: number): number => Math.round(n * 100) / 100;
      cases.push({
        store: kind, controllers, writes: ms.length, per_s: Math.round(ms.length / Math.max(...results.map((result) => result.seconds))),
        least_share: round((Math.min(...results.map((result) => result.ms.length)) * controllers) / ms.length), p50_ms: at(0.5), p99_ms: at(0.99),
        lost_per_write: round(lost / ms.length), writes_per_append: round(ms.length / Math.max(1, after[1] - before[1] - lost)), ...flow,
      });
      for (const member of members.splice(0)) await member.stop();
    }
    return { connections, cases };
  } finally {
    await Promise.all(members.map((member) => member.stop()));
    await many.destroy();
    await etcd.stop();
  }
}

type FlowTimes = Pick<ClusterCase, "flow_p50_ms" | "flow_p95_ms" | "elsewhere_p50_ms" | "elsewhere_p95_ms">;

/** A port on the switch, changed again and again. The switch goes to these controllers, and keeps nothing of those before. */
async function portToFlow(members: readonly Member[], many: Awaited<ReturnType<typeof startManySwitches>>, network_id: string): Promise<FlowTimes> {
  const { systemId } = many.switches[0]!;
  await many.vsctl(0, "--if-exists", "del-br", "br-int");
  await many.setManager(0, members[0]!.manager);
  const port = await members[0]!.create("port", { network_id, name: "watched" });
  await many.plug(0, port);
  await until("the port", () => members[0]!.active(port), { timeoutMs: READY_MS });
  const masters = (): Promise<(string | undefined)[]> => Promise.all(members.map((member) => member.masterOf(systemId)));
  const name = await until("a master", async () => (await masters()).find((found) => found !== undefined), { timeoutMs: READY_MS });
  const own = await members.find((member) => member.name === name)!.changes(port);
  const other = await members.find((member) => member.name !== name)?.changes(port);
  const at = (ms: readonly number[], q: number): number => Math.round(ms[Math.floor(ms.length * q)]! * 10) / 10;
  return { flow_p50_ms: at(own, 0.5), flow_p95_ms: at(own, 0.95), elsewhere_p50_ms: other === undefined ? null : at(other, 0.5), elsewhere_p95_ms: other === undefined ? null : at(other, 0.95) };
}
