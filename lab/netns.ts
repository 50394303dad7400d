// A network namespace of the lab: the base of hypervisors, VMs, controller nodes and hosts on a physical network.

import { mkdir, rm, writeFile } from "node:fs/promises";
import { exec, type ExecOptions, type ExecResult, Running, type SpawnOptions } from "./exec.ts";

/** What a namespace needs of the lab that owns it. */
export interface Owner {
  readonly run: string;
  readonly dir: string;
  readonly underlayMtu: number;
  /** Names of VMs' taps: unique in the lab, so that a VM may move to any hypervisor. */
  readonly taps: Set<string>;
  /** Registers a long-running program, which the lab ends when it is destroyed. */
  track(running: Running): Running;
}

/** Runs `ip -batch`, one argument list a line, in the root namespace or in `netns`. */
export async function ipBatch(commands: readonly string[], netns?: string): Promise<void> {
  await exec(["ip", ...(netns === undefined ? [] : ["-n", netns]), "-batch", "-"], { input: commands.join("\n") + "\n" });
}

/**
 * `ip netns exec` binds files of /etc/netns/NAME over those of /etc. Without it a DHCP client that somebody starts in a VM, with the script that its
 * package brings, would write this machine's own /etc/resolv.conf, and the machine would find no names any more. The reaper takes it away.
 */
async function ownResolver(netns: string): Promise<void> {
  const dir = `/etc/netns/${netns}`;
  const make = () => mkdir(dir, { recursive: true });
  await make().catch(make); // another lab may have taken away the empty /etc/netns between its two steps
  await writeFile(`${dir}/resolv.conf`, "# Of a namespace of Axion's lab: what a DHCP client in it is told comes here.\n");
}

export class NetNs {
  /** The name inside the lab, such as hv1. */
  readonly name: string;
  /** The namespace's name in the system, for `ip netns exec`. */
  readonly netns: string;
  protected readonly owner: Owner;

  constructor(owner: Owner, name: string) {
    if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,30}$/.test(name)) throw new RangeError(`not a usable name in a lab: ${name}`);
    this.owner = owner;
    this.name = name;
    this.netns = `${owner.run}-${name}`;
  }

  /** Makes the namespace, with loopback up and a resolver file of its own. */
  async createNetns(): Promise<void> {
    await ownResolver(this.netns);
    await exec(["ip", "netns", "add", this.netns]);
    await ipBatch(["link set lo up"], this.netns);
  }

  /** Takes away the namespace, with its links and its resolver file; what runs in it has ended. */
  protected async deleteNetns(): Promise<void> {
    await exec(["ip", "netns", "del", this.netns]);
    await rm(`/etc/netns/${this.netns}`, { recursive: true, force: true });
  }

  /** Runs a command in this namespace. @throws CommandError */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult> {
    return exec(this.inside(argv), options);
  }

  /** Starts a long-running program in this namespace; the lab ends it at the latest. */
  spawn(argv: readonly string[], options?: SpawnOptions): Running {
    return this.owner.track(new Running(this.inside(argv), options));
  }

  /** `ip` arguments, one command a string, in this namespace. */
  configure(...commands: string[]): Promise<void> {
    return ipBatch(commands, this.netns);
  }

  /** Kernel settings of this namespace, such as "net.ipv4.ip_forward=1". */
  async sysctl(...settings: string[]): Promise<void> {
    await this.exec(["sysctl", "-qw", ...settings]);
  }

  /** The process ids that run in this namespace. */
  async pids(): Promise<number[]> {
    const { stdout } = await exec(["ip", "netns", "pids", this.netns], { allowFailure: true });
    return stdout.split("\n").filter(Boolean).map(Number);
  }

  protected inside(argv: readonly string[]): string[] {
    return ["ip", "netns", "exec", this.netns, ...argv];
  }
}
