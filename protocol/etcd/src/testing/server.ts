// Real etcd on free ports of loopback, one member or several, for tests: started, killed, stopped with SIGSTOP, started again on its data.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const haveEtcd = (process.env["PATH"] ?? "").split(":").some((folder) => folder !== "" && existsSync(join(folder, "etcd")));

export interface EtcdOptions {
  readonly members?: number;
  /** More arguments for each member. */
  readonly args?: readonly string[];
  /** Clients come by TLS: PEM files. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string };
}

interface Member {
  readonly name: string;
  readonly address: string;
  readonly args: readonly string[];
  child: ChildProcess | undefined;
  output: string;
}

const READY_MS = 60_000;

export class EtcdServer {
  private readonly members: readonly Member[];
  private readonly dir: string;

  private constructor(dir: string, members: readonly Member[]) {
    this.dir = dir;
    this.members = members;
  }

  static async start({ members: count = 1, args = [], tls }: EtcdOptions = {}): Promise<EtcdServer> {
    // In memory where there is such a folder: a slow disk makes leaders change.
    const dir = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "axion-etcd-"));
    const ports = await freePorts(2 * count);
    const names = Array.from({ length: count }, (_, i) => `m${i}`);
    const peer = (i: number): string => `http://127.0.0.1:${ports[2 * i + 1]!}`;
    const cluster = names.map((name, i) => `${name}=${peer(i)}`).join(",");
    const scheme = tls === undefined ? "http" : "https";
    const members = names.map((name, i): Member => {
      const client = `${scheme}://127.0.0.1:${ports[2 * i]!}`;
      return {
        name,
        address: `127.0.0.1:${ports[2 * i]!}`,
        args: [
          "--name", name, "--data-dir", join(dir, name), "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer(i), "--initial-advertise-peer-urls", peer(i),
          "--initial-cluster", cluster, "--initial-cluster-state", "new", "--heartbeat-interval", "100", "--election-timeout", "1000", "--logger", "zap", "--log-level", "error",
          ...(tls === undefined ? [] : ["--cert-file", tls.cert, "--key-file", tls.key, "--trusted-ca-file", tls.ca, "--client-cert-auth"]), ...args,
        ],
        child: undefined,
        output: "",
      };
    });
    const server = new EtcdServer(dir, members);
    try {
      for (let i = 0; i < count; i++) server.begin(i);
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  /** HOST:PORT of each member. */
  get endpoints(): readonly string[] {
    return this.members.map(({ address }) => address);
  }

  /** Starts a member, on what it had; who uses it waits for it. */
  begin(i: number): void {
    const member = this.members[i]!;
    if (member.child !== undefined) throw new Error(`member ${member.name} runs already`);
    const child = spawn("etcd", member.args, { stdio: ["ignore", "ignore", "pipe"] });
    member.child = child;
    child.stderr.setEncoding("utf8").on("data", (text: string) => (member.output = (member.output + text).slice(-10_000)));
    child.once("exit", () => {
      if (member.child === child) member.child = undefined;
    });
  }

  /** kill -9. */
  async kill(i: number): Promise<void> {
    const { child } = this.members[i]!;
    if (child === undefined) return;
    const gone = new Promise((done) => child.once("exit", done));
    child.kill("SIGKILL");
    await gone;
  }

  /** It is there, and answers nothing. */
  async freeze(i: number): Promise<void> {
    const { child } = this.members[i]!;
    if (child?.pid === undefined) return;
    child.kill("SIGSTOP");
    // On a busy machine it goes on for a moment.
    while (!/\) T /.test(await readFile(`/proc/${child.pid}/stat`, "utf8"))) await new Promise((done) => setTimeout(done, 5));
  }
  thaw(i: number): void {
    this.members[i]!.child?.kill("SIGCONT");
  }

  /** What members wrote last, for whoever looks for a fault. */
  get output(): string {
    return this.members.map(({ name, output }) => `${name}: ${output}`).join("\n");
  }

  /** Until `ready` resolves, which asks the server something. */
  async untilReady(ready: () => Promise<unknown>): Promise<void> {
    for (const end = Date.now() + READY_MS; ; await new Promise((done) => setTimeout(done, 50))) {
      try {
        await ready();
        return;
      } catch (error) {
        if (Date.now() > end) throw new Error(`etcd is not ready: ${this.output}`, { cause: error });
      }
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((_, i) => this.kill(i)));
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Free when asked for, all at once so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
      const server = createServer().once("error", reject).listen(0, "127.0.0.1", () => resolve(server));
    })),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}
