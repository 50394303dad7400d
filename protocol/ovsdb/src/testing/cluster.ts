/** A real cluster of ovsdb-servers for the tests: members in a directory of their own, stopped and killed one by one. */

import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { until, VSWITCH_SCHEMA } from "./support.ts";

const run = promisify(execFile);

export class ClusterMember {
  readonly directory: string;
  readonly name: string;
  #process: ChildProcess | undefined;

  constructor(directory: string, name: string) {
    this.directory = directory;
    this.name = name;
  }

  at(file: string): string { return join(this.directory, `${this.name}.${file}`); }

  /** The remote that clients use. */
  get remote(): string { return `unix:${this.at("sock")}`; }

  get running(): boolean { return this.#process !== undefined; }

  async start(): Promise<void> {
    this.#process = spawn("ovsdb-server", [
      this.at("db"), `--remote=punix:${this.at("sock")}`, `--unixctl=${this.at("ctl")}`, `--pidfile=${this.at("pid")}`, `--log-file=${this.at("log")}`, "-vconsole:off",
    ], { stdio: "ignore" });
    await until(() => existsSync(this.at("sock")) && existsSync(this.at("ctl")), 10_000);
  }

  async appctl(...args: string[]): Promise<string> {
    const { stdout } = await run("ovs-appctl", ["-t", this.at("ctl"), ...args]);
    return stdout.trim();
  }

  /** Without a chance to hand over. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
    for (const file of ["sock", "ctl", "pid"]) rmSync(this.at(file), { force: true });
  }
}

export class Cluster {
  readonly directory = mkdtempSync(join(tmpdir(), "ovsdb-cluster-"));
  readonly members: readonly ClusterMember[];

  private constructor(size: number) {
    this.members = Array.from({ length: size }, (_, i) => new ClusterMember(this.directory, `m${i}`));
  }

  static async start(size = 3, schema = VSWITCH_SCHEMA, database = "Open_vSwitch"): Promise<Cluster> {
    const cluster = new Cluster(size);
    const raft = (member: ClusterMember): string => `unix:${member.at("raft")}`;
    const [first, ...others] = cluster.members;
    await run("ovsdb-tool", ["create-cluster", first!.at("db"), schema, raft(first!)]);
    await first!.start();
    await run("ovsdb-client", ["wait", first!.remote, database, "connected"], { timeout: 20_000 });
    for (const member of others) {
      await run("ovsdb-tool", ["join-cluster", member.at("db"), database, raft(member), raft(first!)]);
      await member.start();
      await run("ovsdb-client", ["wait", member.remote, database, "connected"], { timeout: 20_000 });
    }
    return cluster;
  }

  /** All members' remotes, as a client is given them. */
  get remotes(): string { return this.members.map((member) => member.remote).join(","); }

  member(remote: string | undefined): ClusterMember {
    const found = this.members.find((one) => one.remote === remote);
    if (found === undefined) throw new Error(`no member is ${remote ?? "none"}`);
    return found;
  }

  async vsctl(...args: string[]): Promise<string> {
    const { stdout } = await run("ovs-vsctl", [`--db=${this.remotes}`, "--no-wait", "--retry", "--timeout=20", ...args]);
    return stdout.trim();
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}
