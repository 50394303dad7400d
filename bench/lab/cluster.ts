// "What do several controllers on one store come to?" - real controllers as processes on three real members of etcd, on one machine, written to
// over HTTP: with one, two and three of them, the same number of connections in all. Without switches.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { EtcdClient } from "etcd-v3-client";
import { EtcdServer } from "etcd-v3-client/testing";
import { spawnLogged, until, type Running } from "../../lab/exec.ts";
import { freePorts } from "../../lab/free-ports.ts";
import type { ApiRequest, ClientOptions, Job, JobResult } from "../api-client.ts";
import { askClient } from "../ask-client.ts";

export interface ClusterOptions {
  /** In all. */
  readonly connections: number;
  readonly seconds: number;
}

export interface ClusterCase {
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
}

const WARM_UP_S = 2;
const READY_MS = 60_000;
const main = fileURLToPath(new URL("../../src/main.js", import.meta.url));

class Member {
  private readonly running: Running;
  private readonly worker: Worker;
  private readonly url: string;
  private readonly ops: string;

  private constructor(running: Running, worker: Worker, url: string, ops: string) {
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
    return new Member(running, new Worker(new URL("../api-client.js", import.meta.url), { workerData: options }), `http://${api}`, `http://${ops}`);
  }

  run(job: Job): Promise<JobResult> {
    return askClient(this.worker, job);
  }

  async create(name: string, body: object): Promise<string> {
    const answer = await fetch(`${this.url}/v2.0/${name}s`, { method: "POST", headers: { "content-type": "application/json", "x-project-id": "bench", "x-roles": "member" }, body: JSON.stringify({ [name]: body }) });
    if (answer.status !== 201) throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
    return ((await answer.json()) as Record<string, { id: string }>)[name]!.id;
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
  try {
    const client = new EtcdClient({ endpoints: etcd.endpoints });
    await etcd.untilReady(() => client.range({ key: "ready" }));
    client.close();
    const cases: ClusterCase[] = [];
    for (const controllers of [1, 2, 3]) {
      const store = `etcd://${etcd.endpoints.join(",")}/with-${controllers}`;
      members.push(...(await Promise.all(Array.from({ length: controllers }, (_, i) => Member.start(dir, `c${controllers}-${i}`, store)))));
      const network_id = await members[0]!.create("network", { name: "wide" });
      await members[0]!.create("subnet", { network_id, ip_version: 4, cidr: "10.0.0.0/8" });
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
        controllers, writes: ms.length, per_s: Math.round(ms.length / Math.max(...results.map((result) => result.seconds))),
        least_share: round((Math.min(...results.map((result) => result.ms.length)) * controllers) / ms.length), p50_ms: at(0.5), p99_ms: at(0.99),
        lost_per_write: round(lost / ms.length), writes_per_append: round(ms.length / Math.max(1, after[1] - before[1] - lost)),
      });
      for (const member of members.splice(0)) await member.stop();
    }
    return { connections, cases };
  } finally {
    await Promise.all(members.map((member) => member.stop()));
    await etcd.stop();
  }
}
