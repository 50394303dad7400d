// A real Open vSwitch for one test: its own ovsdb-server and ovs-vswitchd in a private directory, without a kernel datapath
// and without root. Ended by the ids of the processes that were started here, and by nothing else.
import { spawn, execFile, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;
const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";

export class Ovs {
  readonly dir: string;
  private db: ChildProcess | undefined;
  private vswitchd: ChildProcess | undefined;

  private readonly dummy: string;

  private constructor(dir: string, tunnels: boolean) {
    this.dir = dir;
    this.dummy = tunnels ? "--enable-dummy" : "--enable-dummy=override";
  }

  /** The database alone. */
  static async database(tunnels = false): Promise<Ovs> {
    const ovs = new Ovs(await mkdtemp(path.join(tmpdir(), "axion-ovs-")), tunnels);
    await run("ovsdb-tool", ["create", `${ovs.dir}/conf.db`, SCHEMA], { env: ovs.env });
    await ovs.startDb();
    await ovs.vsctl("--no-wait", "init");
    return ovs;
  }

  /** `tunnels`: tunnel ports are such; otherwise every port is a dummy. `config`: other_config of the switch. */
  static async start(externalIds: Record<string, string> = {}, { tunnels = false, config = {} }: { readonly tunnels?: boolean; readonly config?: Readonly<Record<string, string>> } = {}): Promise<Ovs> {
    const ovs = await Ovs.database(tunnels);
    const entries = Object.entries({ external_ids: externalIds, other_config: config }).flatMap(([column, map]) => Object.entries(map).map(([k, v]) => `${column}:${k}=${JSON.stringify(v)}`));
    if (entries.length > 0) await ovs.vsctl("--no-wait", "set", "Open_vSwitch", ".", ...entries);
    await ovs.startVswitchd();
    return ovs;
  }

  private get env(): NodeJS.ProcessEnv {
    return { ...process.env, PATH, OVS_RUNDIR: this.dir, OVS_LOGDIR: this.dir, OVS_DBDIR: this.dir };
  }

  async startDb(): Promise<void> {
    const { dir } = this;
    this.db = spawn(
      "ovsdb-server",
      [
        `${dir}/conf.db`, `--remote=punix:${dir}/db.sock`, "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
        "--private-key=db:Open_vSwitch,SSL,private_key", "--certificate=db:Open_vSwitch,SSL,certificate", "--ca-cert=db:Open_vSwitch,SSL,ca_cert",
        `--unixctl=${dir}/db.ctl`, `--log-file=${dir}/db.log`, "-vconsole:off",
      ],
      { env: this.env, stdio: "ignore" },
    );
    await eventually("ovsdb-server's socket", () => existsSync(`${dir}/db.sock`) && existsSync(`${dir}/db.ctl`));
  }

  async startVswitchd(): Promise<void> {
    const { dir } = this;
    this.vswitchd = spawn(
      "ovs-vswitchd",
      [`unix:${dir}/db.sock`, `--unixctl=${dir}/vsw.ctl`, `--log-file=${dir}/vsw.log`, "-vconsole:off", this.dummy, "--disable-system", "--disable-system-route"],
      { env: this.env, stdio: "ignore" },
    );
    await eventually("ovs-vswitchd's control socket", () => existsSync(`${dir}/vsw.ctl`));
    await this.vsctl("set", "Open_vSwitch", ".", "external_ids:test-started=true"); // waits for vswitchd
  }

  async stopVswitchd(): Promise<void> {
    await end(this.vswitchd);
    this.vswitchd = undefined;
    await rm(`${this.dir}/vsw.ctl`, { force: true });
  }

  async stopDb(): Promise<void> {
    await end(this.db);
    this.db = undefined;
    await rm(`${this.dir}/db.sock`, { force: true });
    await rm(`${this.dir}/db.ctl`, { force: true });
  }

  async stop(): Promise<void> {
    await this.stopVswitchd();
    await this.stopDb();
    await rm(this.dir, { recursive: true, force: true });
  }

  async vsctl(...args: string[]): Promise<string> {
    return (await run("ovs-vsctl", ["--timeout=10", `--db=unix:${this.dir}/db.sock`, ...args], { env: this.env })).stdout.trim();
  }

  async ofctl(command: string, bridge: string, ...args: string[]): Promise<string> {
    return (await run("ovs-ofctl", ["-O", "OpenFlow13", command, `${this.dir}/${bridge}.mgmt`, ...args], { env: this.env, maxBuffer: 1 << 28 })).stdout.trim();
  }

  async appctl(...args: string[]): Promise<string> {
    return (await run("ovs-appctl", ["-t", `${this.dir}/vsw.ctl`, ...args], { env: this.env, maxBuffer: 1 << 28 })).stdout.trim();
  }

  /** Flows of a bridge as sorted text without counters. */
  async flows(bridge = "br-int"): Promise<string[]> {
    const out = await this.ofctl("dump-flows", bridge, "--no-stats", "--no-names");
    return out.split("\n").map((line) => line.trim()).filter((line) => line !== "" && !line.includes("OFPST_FLOW")).sort();
  }

  /** Commits in the database's log: every transaction that changed something. */
  async commits(): Promise<string[]> {
    const { stdout } = await run("ovsdb-tool", ["show-log", `${this.dir}/conf.db`], { env: this.env });
    return stdout.split("\n").filter((line) => line.startsWith("record "));
  }

  async iface(name: string, column: string): Promise<string> {
    return this.vsctl("get", "Interface", name, column);
  }
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 3000);
  await gone;
  clearTimeout(timer);
}

/** Waits until `check` is true; says what it waited for if it never is. */
export async function eventually(what: string, check: () => unknown, timeoutMs = 10_000): Promise<void> {
  const until = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      if (await check()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > until) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}
