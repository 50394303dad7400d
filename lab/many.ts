// Many real switches, cheaply: pairs of ovsdb-server and ovs-vswitchd whose datapath is OVS's dummy, so that they need
// no namespace, no device and no root. Flow tables, bundles, groups, OVSDB and tunnel ports are real; packets are not
// (except by `ovs-appctl netdev-dummy/receive`). With --enable-dummy=override a bridge of any datapath_type is a dummy.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { alive, exec, until } from "./exec.ts";
import { Guard } from "./guard.ts";

export interface ManyOptions {
  /** Where each ovsdb-server connects, such as tcp:127.0.0.1:6640. Default: nowhere, until setManager. */
  manager?: string;
  /** The first switch's number, default 1; system-ids are PREFIX and the number. */
  first?: number;
  prefix?: string;
  encapType?: string;
  /** How many are started at a time, default 8. */
  parallel?: number;
  /** More external_ids of Open_vSwitch for switch `i` (from 0). */
  externalIds?: (i: number) => Record<string, string>;
  log?: (line: string) => void;
}

export interface SwitchPair {
  readonly systemId: string;
  /** 127.x.y.z, unique in the run. */
  readonly encapIp: string;
  readonly dir: string;
}

export class ManySwitches {
  readonly switches: SwitchPair[] = [];
  /** Milliseconds from the first start to the last pair's first answer. */
  startMs = 0;
  /** The prefix of its directory in /tmp. */
  readonly run: string;
  readonly #guard: Guard;

  constructor(guard: Guard) {
    this.run = guard.run;
    this.#guard = guard;
  }

  async start(n: number, options: ManyOptions): Promise<void> {
    const { first = 1, prefix = "sw", parallel = 8, log } = options;
    const began = performance.now();
    const root = this.#guard.dir;
    await exec(["ovsdb-tool", "create", `${root}/empty.db`, "/usr/share/openvswitch/vswitch.ovsschema"]);
    const empty = await readFile(`${root}/empty.db`);
    for (let i = 0; i < n; i++) {
      const number = first + i;
      const encapIp = `127.${1 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
      this.switches.push({ systemId: `${prefix}${number}`, encapIp, dir: `${root}/${number}` });
    }
    let next = 0;
    const worker = async () => {
      for (let i = next++; i < n; i = next++) {
        await this.#startPair(i, empty, options);
        if ((i + 1) % 50 === 0) log?.(`${i + 1} of ${n} switches`);
      }
    };
    await Promise.all(Array.from({ length: Math.min(parallel, n) }, worker));
    this.startMs = Math.round(performance.now() - began);
  }

  async #startPair(i: number, empty: Buffer, options: ManyOptions): Promise<void> {
    const { systemId, encapIp, dir } = this.switches[i]!;
    await mkdir(dir);
    await writeFile(`${dir}/conf.db`, empty);
    await this.startOvsdb(i);
    const ids: Record<string, string> = {
      "system-id": systemId,
      hostname: systemId,
      "axion-encap-ip": encapIp,
      "axion-encap-type": options.encapType ?? "geneve",
      "axion-datapath-type": "netdev",
      ...options.externalIds?.(i),
    };
    // --no-wait: nothing answers yet. One thread of each kind instead of one a core.
    await this.#vsctl(i, [
      "--no-wait", "init",
      "--", "set", "Open_vSwitch", ".", ...Object.entries(ids).map(([key, value]) => `external_ids:${key}="${value}"`),
      "other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1",
    ]);
    await this.startVswitchd(i);
    if (options.manager !== undefined) await this.setManager(i, options.manager);
  }

  async startOvsdb(i: number): Promise<void> {
    const { dir } = this.switches[i]!;
    await this.#tool(i, [
      "ovsdb-server", `${dir}/conf.db`, `--remote=punix:${dir}/db.sock`,
      "--remote=db:Open_vSwitch,Open_vSwitch,manager_options", `--unixctl=${dir}/ovsdb.ctl`,
      `--pidfile=${dir}/ovsdb.pid`, `--log-file=${dir}/ovsdb.log`, "-vconsole:off", "--detach",
    ]);
  }

  async startVswitchd(i: number): Promise<void> {
    const { dir } = this.switches[i]!;
    await this.#tool(i, [
      "ovs-vswitchd", `unix:${dir}/db.sock`, "--enable-dummy=override", "--disable-system", `--unixctl=${dir}/vsw.ctl`,
      `--pidfile=${dir}/vsw.pid`, `--log-file=${dir}/vsw.log`, "-vconsole:off", "--detach",
    ]);
  }

  /** kill -9 of both processes of a switch, waiting for their end; start them again with startOvsdb and startVswitchd. */
  async kill(i: number): Promise<void> {
    for (const pid of await this.pids(i)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        continue; // not there
      }
      await until(`end of process ${pid}`, async () => !(await alive(pid)), { intervalMs: 5 });
    }
  }

  async setManager(i: number, ...targets: string[]): Promise<void> {
    await this.#vsctl(i, ["--no-wait", "set-manager", ...targets]);
  }

  /** Output of ovs-vsctl of switch `i`, trimmed. */
  async vsctl(i: number, ...args: string[]): Promise<string> {
    return this.#vsctl(i, args);
  }

  async ofctl(i: number, ...args: string[]): Promise<string> {
    return (await this.#tool(i, ["ovs-ofctl", "-O", "OpenFlow13", ...args])).stdout;
  }

  async appctl(i: number, ...args: string[]): Promise<string> {
    return (await this.#tool(i, ["ovs-appctl", "-t", `${this.switches[i]!.dir}/vsw.ctl`, ...args])).stdout;
  }

  /** Plugs a port of the API into switch `i`, waiting for its br-int. Returns the interface's name. */
  async plug(i: number, portId: string, options: { mac?: string; device?: string } = {}): Promise<string> {
    const device = options.device ?? `tap${portId.slice(0, 11)}`;
    await this.#vsctl(i, [
      "--no-wait", "wait-until", "Bridge", "br-int", "name=br-int",
      "--", "add-port", "br-int", device,
      "--", "set", "Interface", device, "type=dummy", `external_ids:iface-id="${portId}"`,
      ...(options.mac === undefined ? [] : [`external_ids:attached-mac="${options.mac}"`]),
    ]);
    return device;
  }

  async unplug(i: number, device: string): Promise<void> {
    await this.#vsctl(i, ["--no-wait", "--if-exists", "del-port", device]);
  }

  /** ovsdb-server's and ovs-vswitchd's. */
  async pids(i: number): Promise<number[]> {
    const { dir } = this.switches[i]!;
    return (await Promise.all(["ovsdb", "vsw"].map((name) => readFile(`${dir}/${name}.pid`, "utf8").catch(() => ""))))
      .filter(Boolean)
      .map(Number);
  }

  /** Proportional memory of all pairs in MB: pages that several share are counted once. */
  async memoryMb(): Promise<number> {
    let kb = 0;
    for (let i = 0; i < this.switches.length; i++) {
      for (const pid of await this.pids(i)) {
        const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
        kb += Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
      }
    }
    return Math.round(kb / 1024);
  }

  destroy(): Promise<void> {
    return this.#guard.destroy();
  }

  async #vsctl(i: number, args: readonly string[]): Promise<string> {
    return (await this.#tool(i, ["ovs-vsctl", "--timeout=60", `--db=unix:${this.switches[i]!.dir}/db.sock`, ...args])).stdout.trim();
  }

  #tool(i: number, argv: readonly string[]) {
    const { dir } = this.switches[i]!;
    return exec(argv, { env: { OVS_RUNDIR: dir, OVS_LOGDIR: dir, OVS_DBDIR: dir, OVS_SYSCONFDIR: dir }, timeoutMs: 70_000 });
  }
}

/** Starts `n` switches; `destroy` (or the end of this process) removes them. */
export async function startManySwitches(n: number, options: ManyOptions = {}): Promise<ManySwitches> {
  const guard = await Guard.create({ name: `${n} switches` });
  const many = new ManySwitches(guard);
  try {
    await many.start(n, options);
  } catch (error) {
    await many.destroy();
    throw error;
  }
  return many;
}
