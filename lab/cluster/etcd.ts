// An etcd of several members in namespaces of their own: killed, stopped with SIGSTOP, its disk filled, and started again on what it had.
import { mkdir, open, rm } from "node:fs/promises";
import { EtcdClient } from "etcd-v3-client";
import { until, type Running } from "../exec.ts";
import type { Lab, LabNode } from "../lab.ts";

export interface LabEtcdOptions {
  /** The first member's data is on a disk of its own, of so many MiB; etcd takes 64 or 128 of them at once for its journal. */
  readonly diskMiB?: number;
}

interface Member {
  readonly node: LabNode;
  readonly dir: string;
  readonly argv: readonly string[];
  /** Has the disk of its own mounted, which nobody else sees. */
  disk: Running | undefined;
  running: Running | undefined;
  client: EtcdClient | undefined;
}

const MIB = 1024 * 1024;

export class LabEtcd {
  private readonly lab: Lab;
  private readonly members: readonly Member[];

  private constructor(lab: Lab, members: readonly Member[]) {
    this.lab = lab;
    this.members = members;
  }

  /** One member in each of the nodes; they are ready to serve when it resolves. */
  static async start(lab: Lab, nodes: readonly LabNode[], { diskMiB }: LabEtcdOptions = {}): Promise<LabEtcd> {
    const peers = nodes.map(({ ip }, i) => `m${i}=http://${ip}:2380`).join(",");
    const members = nodes.map((node, i): Member => {
      const [client, peer] = [`http://${node.ip}:2379`, `http://${node.ip}:2380`];
      const dir = `${lab.dir}/etcd-${i}`;
      const argv = [
        "etcd", "--name", `m${i}`, "--data-dir", `${dir}/data`, "--listen-client-urls", `${client},http://127.0.0.1:2379`, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", peers,
      ];
      return { node, dir, argv, disk: undefined, running: undefined, client: undefined };
    });
    const etcd = new LabEtcd(lab, members);
    await Promise.all(members.map(({ dir }) => mkdir(dir)));
    const [first] = members;
    if (diskMiB !== undefined && first !== undefined) {
      // Mounted in a namespace of mounts that ends with the lab.
      first.disk = first.node.spawn(["sh", "-c", `mount -t tmpfs -o size=${diskMiB}m tmpfs "$0" && echo mounted && exec sleep infinity`, first.dir]);
      await first.disk.waitFor(/^mounted$/);
    }
    members.forEach((_, i) => etcd.begin(i));
    await Promise.all(members.map(({ running }) => running!.waitFor(/ready to serve client requests|serving insecure client requests/, 30_000)));
    return etcd;
  }

  /** What controllers take as --store. */
  get store(): string {
    return `etcd://${this.members.map(({ node }) => `${node.ip}:2379`).join(",")}`;
  }

  /** Starts a member on what it had; who uses it waits for it. */
  begin(i: number): void {
    const member = this.members[i]!;
    if (member.running?.ended === false) return;
    const argv = member.disk === undefined ? member.argv : ["nsenter", "-t", String(member.disk.pid), "-m", "--", ...member.argv];
    member.running = member.node.spawn(argv, { logFile: `${this.lab.dir}/etcd-${i}.log`, keepLines: 1000 });
  }

  /** kill -9. */
  async kill(i: number): Promise<void> {
    await this.members[i]!.running?.stop("SIGKILL");
  }

  /** It is there, and answers nothing. */
  freeze(i: number): void {
    this.members[i]!.running?.child.kill("SIGSTOP");
  }
  thaw(i: number): void {
    this.members[i]!.running?.child.kill("SIGCONT");
  }

  /** Cuts or mends a member's link to everybody. */
  setLink(i: number, state: "up" | "down"): Promise<void> {
    return this.members[i]!.node.setLink(state);
  }

  /** Takes what is left of the first member's disk. How many bytes that was. */
  async fillDisk(): Promise<number> {
    const file = await open(this.filler, "w");
    const block = Buffer.alloc(MIB);
    let filled = 0;
    try {
      for (let size = block.length; size >= 512; size >>= 1) {
        for (;;) {
          const { bytesWritten } = await file.write(block, 0, size).catch((error: unknown) => {
            if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
            return { bytesWritten: 0 };
          });
          if (bytesWritten === 0) break;
          filled += bytesWritten;
        }
      }
    } finally {
      await file.close();
    }
    return filled;
  }

  /** Gives it back, and starts the member if that has ended meanwhile. */
  async emptyDisk(): Promise<void> {
    await rm(this.filler, { force: true });
    this.begin(0);
  }

  private get filler(): string {
    const [{ disk, dir }] = this.members as [Member];
    if (disk === undefined) throw new Error("its disk is everybody's");
    return `/proc/${disk.pid}/root${dir}/filler`;
  }

  /** Which member leads; undefined: none does, or it is not known. */
  async leader(): Promise<number | undefined> {
    const leads = await Promise.all(this.members.map(async (_, i) => {
      try {
        const { leader: id, header } = await (await this.clientOf(i)).status({ timeoutMs: 1000 });
        return id !== 0n && id === header!.member_id;
      } catch {
        return false; // it is away
      }
    }));
    const found = leads.indexOf(true);
    return found < 0 ? undefined : found;
  }

  /** Until there is one. */
  async untilLed(): Promise<number> {
    let leads: number | undefined;
    await until("a leader of etcd", async () => (leads = await this.leader()) !== undefined, { timeoutMs: 60_000 });
    return leads!;
  }

  /** All that is older than now goes. */
  async compact(): Promise<void> {
    const client = await this.clientOf(await this.untilLed());
    const { header } = await client.status();
    await client.compact(header!.revision);
  }

  /** Ends what this process has of it; the lab ends the rest. */
  close(): void {
    for (const { client } of this.members) client?.close();
  }

  private async clientOf(i: number): Promise<EtcdClient> {
    const member = this.members[i]!;
    if (member.client === undefined) {
      const { host, port } = await this.lab.publish(2379, 0, member.node);
      member.client ??= new EtcdClient({ endpoints: [`${host}:${port}`] });
    }
    return member.client;
  }
}
