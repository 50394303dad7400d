// Many real switches at once: how long until a cold controller has adopted all of them and each has exactly its flows, what
// that takes of memory and processor, and what a restart of the controller costs then.
import { readFile, writeFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { repositoryRoot } from "../../lab/controller.ts";
import { spawnLogged, until, type Running } from "../../lab/exec.ts";
import { Guard } from "../../lab/guard.ts";
import { startManySwitches } from "../../lab/many.ts";
import { freePorts } from "../../lab/free-ports.ts";

export interface SwitchesResult {
  readonly switches: number;
  readonly networks: number;
  readonly ports: number;
  /** Desired, over all switches. */
  readonly flows: number;
  /** As the switches count them themselves. */
  readonly flows_on_switches: number;
  /** Missing, changed or foreign flows that a dump of every switch shows. */
  readonly differences: number;
  readonly flow_mods: number;
  /** From the moment all were told of the controller: all connected, adopted, in sync, every port ACTIVE. */
  readonly sync_ms: number;
  readonly active_ms: number;
  readonly cpu_ms: number;
  readonly rss_idle_mb: number;
  readonly rss_mb: number;
  readonly rss_peak_mb: number;
  /** The controller killed and started again: from its start until all are in sync. */
  readonly restart_ms: number;
  readonly restart_flow_mods: number;
  readonly restart_cpu_ms: number;
  /** Of all Open vSwitch processes. */
  readonly ovs_memory_mb: number;
}

interface SwitchInfo {
  readonly id: string;
  readonly state: string;
  readonly flows: { readonly desired: number; readonly installed: number; readonly pending: number; readonly quarantined: number };
}

const PORTS_PER_SWITCH = 2;
const SWITCHES_PER_NETWORK = 10;

/** The compiled controller on loopback. */
class Process {
  private running: Running | undefined;
  readonly dir: string;
  readonly ports: readonly number[];
  private readonly agent = new http.Agent({ keepAlive: true, maxSockets: 8 });

  constructor(dir: string, ports: readonly number[]) {
    this.dir = dir;
    this.ports = ports;
  }

  async start(): Promise<void> {
    const [api, ops, openflow, ovsdb] = this.ports.map((port) => `127.0.0.1:${port}`) as [string, string, string, string];
    const main = path.join(repositoryRoot(), "dist/src/main.js");
    this.running = spawnLogged([process.execPath, main, "--data-dir", `${this.dir}/data`, "--api", api, "--ops", ops, "--openflow", openflow, "--ovsdb", ovsdb, "--log-level", "warn", "--default-quota", "all:-1"], {
      cwd: this.dir, keepLines: 200,
    });
    await writeFile(`${this.dir}/controller.pid`, String(this.running.pid)); // by which the guard ends it if this process cannot
    await until("the controller", async () => {
      if (this.running!.ended) throw new Error(`the controller ended:\n${this.running!.lines.slice(-5).join("\n")}`);
      return (await this.call(1, "GET", "/readyz").catch(() => undefined))?.status === 200;
    }, { timeoutMs: 30_000, intervalMs: 10 });
  }

  async kill(): Promise<void> {
    await this.running?.stop("SIGKILL");
  }

  get lines(): readonly string[] {
    return this.running?.lines ?? [];
  }

  /** `listener`: 0 the API, 1 operations. */
  call(listener: 0 | 1, method: string, url: string, body?: unknown): Promise<{ status: number; text: string }> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const headers = { "x-project-id": "bench", "x-roles": "admin", ...(payload !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(payload) }) };
      const outgoing = http.request({ host: "127.0.0.1", port: this.ports[listener]!, method, path: url, agent: this.agent, headers }, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", reject);
        incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }));
      });
      outgoing.on("error", reject).end(payload);
    });
  }

  async create<T>(collection: string, body: object): Promise<T> {
    const answer = await this.call(0, "POST", `/v2.0/${collection}`, body);
    if (answer.status !== 201) throw new Error(`${collection}: ${answer.status} ${answer.text}`);
    return JSON.parse(answer.text) as T;
  }

  async switches(): Promise<SwitchInfo[]> {
    return (JSON.parse((await this.call(1, "GET", "/switches")).text) as { switches: SwitchInfo[] }).switches;
  }

  async flowMods(): Promise<number> {
    let sum = 0;
    for (const line of (await this.call(1, "GET", "/metrics")).text.split("\n")) if (/^axion_flow_mods_sent_total[{ ]/.test(line)) sum += Number(line.slice(line.lastIndexOf(" ")));
    return sum;
  }

  /** Resident now and at most, in MB, and processor time in ms. */
  async usage(): Promise<{ rss: number; peak: number; cpuMs: number }> {
    const pid = this.running!.pid;
    const [status, stat] = await Promise.all([readFile(`/proc/${pid}/status`, "utf8"), readFile(`/proc/${pid}/stat`, "utf8")]);
    const mb = (name: string): number => Math.round(Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0) / 1024);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { rss: mb("VmRSS"), peak: mb("VmHWM"), cpuMs: (Number(fields[11]) + Number(fields[12])) * 10 };
  }

  async inSync(count: number, timeoutMs: number): Promise<SwitchInfo[]> {
    let last: SwitchInfo[] = [];
    await until(`${count} switches in sync`, async () => {
      last = await this.switches();
      return last.length === count && last.every((s) => s.state === "connected" && s.flows.pending === 0 && s.flows.quarantined === 0 && s.flows.desired > 0 && s.flows.desired === s.flows.installed);
    }, { timeoutMs, intervalMs: 20 }).catch((error: unknown) => {
      const late = last.filter((s) => s.state !== "connected" || s.flows.desired !== s.flows.installed);
      throw new Error(`${(error as Error).message}: ${last.length} known, late: ${JSON.stringify(late.slice(0, 3))}\n${this.lines.slice(-5).join("\n")}`, { cause: error });
    });
    return last;
  }

  close(): void {
    this.agent.destroy();
  }
}

/** `n` switches with two ports each, networks over ten switches each. */
export async function benchSwitches(n: number, log: (line: string) => void = () => undefined): Promise<SwitchesResult> {
  const guard = await Guard.create({ name: "bench" });
  const controller = new Process(guard.dir, await freePorts(4));
  const many = await startManySwitches(n, { log }).catch(async (error: unknown) => {
    await guard.destroy();
    throw error;
  });
  try {
    await controller.start();
    const idle = await controller.usage();
    const networks = Math.ceil(n / SWITCHES_PER_NETWORK);
    const ports: string[] = [];
    for (let k = 0; k < networks; k++) {
      const { network } = await controller.create<{ network: { id: string } }>("networks", { network: { name: `net${k}` } });
      await controller.create("subnets", { subnet: { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" } });
      const here = Math.min(SWITCHES_PER_NETWORK, n - k * SWITCHES_PER_NETWORK) * PORTS_PER_SWITCH;
      const made = await controller.create<{ ports: { id: string }[] }>("ports", { ports: Array.from({ length: here }, () => ({ network_id: network.id })) });
      ports.push(...made.ports.map((p) => p.id));
    }
    await inParallel(n, async (i) => {
      await many.vsctl(i, "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "fail_mode=secure");
      for (let p = 0; p < PORTS_PER_SWITCH; p++) await many.plug(i, ports[i * PORTS_PER_SWITCH + p]!);
    });
    log(`${n} switches with ${ports.length} ports are plugged`);

    const before = await controller.usage();
    const began = performance.now();
    await inParallel(n, (i) => many.setManager(i, `tcp:127.0.0.1:${controller.ports[3]}`));
    await controller.inSync(n, 120_000);
    const syncMs = performance.now() - began;
    await until("every port ACTIVE", async () => (JSON.parse((await controller.call(0, "GET", "/v2.0/ports?status=ACTIVE&fields=id")).text) as { ports: unknown[] }).ports.length === ports.length, { timeoutMs: 60_000 });
    const activeMs = performance.now() - began;
    const flows = (await controller.inSync(n, 60_000)).reduce((sum, s) => sum + s.flows.installed, 0);
    const after = await controller.usage();
    let onSwitches = 0;
    await inParallel(n, async (i) => {
      const text = await many.ofctl(i, "dump-aggregate", "br-int");
      onSwitches += Number(/flow_count=(\d+)/.exec(text)?.[1] ?? 0);
    });
    const differences = (JSON.parse((await controller.call(1, "GET", "/flows?state=diff")).text) as { flows: unknown[] }).flows.length;
    const flowMods = await controller.flowMods();

    await controller.kill();
    await sleep(100);
    const again = performance.now();
    await controller.start();
    await controller.inSync(n, 120_000);
    const restartMs = performance.now() - again;
    const restarted = await controller.usage();
    const round = Math.round;
    return {
      switches: n, networks, ports: ports.length, flows, flows_on_switches: onSwitches, differences, flow_mods: flowMods, sync_ms: round(syncMs), active_ms: round(activeMs), cpu_ms: after.cpuMs - before.cpuMs,
      rss_idle_mb: idle.rss, rss_mb: after.rss, rss_peak_mb: after.peak, restart_ms: round(restartMs), restart_flow_mods: await controller.flowMods(),
      restart_cpu_ms: restarted.cpuMs, ovs_memory_mb: await many.memoryMb(),
    };
  } finally {
    await controller.kill();
    controller.close();
    await many.destroy();
    await guard.destroy();
  }
}

async function inParallel(n: number, work: (i: number) => Promise<void>, workers = 16): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < n; i = next++) await work(i);
  };
  await Promise.all(Array.from({ length: Math.min(n, workers) }, worker));
}
