// A hypervisor: a namespace with its own ovsdb-server and ovs-vswitchd on the userspace datapath.
//
//   mgmt ──── management bridge ── controller          (the kernel's: survives a dead vswitchd)
//   br-phy ─ phy ─ underlay bridge ─ other hypervisors (encap address on br-phy)
//   br-int                                             (the controller's to make; VMs are plugged into it)
//   br-NAME ─ p-NAME ─ physical network bridge         (one for each physical network asked for)

import { mkdir, readFile, rm } from "node:fs/promises";
import { alive, exec, type ExecResult, until } from "./exec.ts";
import { ipBatch, NetNs, type Owner } from "./netns.ts";

export interface HypervisorOptions {
  /** Name in the lab and, unless `systemId` differs, the system-id. */
  name: string;
  systemId?: string;
  /** In order of preference, default geneve. */
  encapTypes?: readonly ("geneve" | "vxlan" | "gre")[];
  /** Default: this host's underlay address, of the lab's underlay family. */
  encapIp?: string;
  /** Physical networks this host reaches, each by a bridge br-NAME, which axion-bridge-mappings then names. */
  physnets?: readonly string[];
  /** May host centralised gateways (axion-gateway=true). */
  gateway?: boolean;
  /** More external_ids of Open_vSwitch. */
  externalIds?: Record<string, string>;
  /** Tags of a frame that Open vSwitch looks for (other_config:vlan-limit); as it is installed: 1. */
  vlanLimit?: 2;
  /** Connect to this manager at once, as setManager would. */
  manager?: string;
}

/** What the lab decides for a hypervisor. */
export interface HypervisorPlace {
  index: number;
  underlay: "ipv4" | "ipv6";
  mgmtBridge: string;
  underlayBridge: string;
  netns: string;
  physnetBridge: (physnet: string) => Promise<string>;
}

export class Hypervisor extends NetNs {
  readonly systemId: string;
  readonly encapIp: string;
  /** Underlay addresses on br-phy, and management addresses. */
  readonly ip: string;
  readonly ip6: string;
  readonly mgmtIp: string;
  readonly mgmtIp6: string;
  /** Holds the database, sockets (db.sock, br-int.mgmt), pid files and logs of this host's Open vSwitch. */
  readonly dir: string;
  readonly #options: HypervisorOptions;
  readonly #place: HypervisorPlace;

  constructor(owner: Owner, options: HypervisorOptions, place: HypervisorPlace) {
    super(owner, options.name);
    this.#options = options;
    this.#place = place;
    this.systemId = options.systemId ?? options.name;
    this.dir = `${owner.dir}/${options.name}`;
    const host = place.index;
    this.ip = `172.31.0.${host}`;
    this.ip6 = `fd31::${host.toString(16)}`;
    this.mgmtIp = `172.30.0.${host}`;
    this.mgmtIp6 = `fd30::${host.toString(16)}`;
    this.encapIp = options.encapIp ?? (place.underlay === "ipv6" ? this.ip6 : this.ip);
    if (this.dir.length > 80) throw new RangeError(`too long for unix sockets: ${this.dir}`);
  }

  async create(): Promise<void> {
    const { mgmtBridge, underlayBridge, netns, index, physnetBridge } = this.#place;
    const mtu = this.owner.underlayMtu;
    await mkdir(this.dir);
    await this.createNetns();
    await ipBatch(
      [
        `link add mg${index} type veth peer name mgmt netns ${this.netns}`,
        `link set mg${index} master ${mgmtBridge} addrgenmode none up`,
        `link add hv${index} mtu ${mtu} type veth peer name phy mtu ${mtu} netns ${this.netns}`,
        `link set hv${index} master ${underlayBridge} addrgenmode none up`,
      ],
      netns,
    );
    const uplinks: [bridge: string, device: string][] = [["br-phy", "phy"]];
    for (const [number, physnet] of (this.#options.physnets ?? []).entries()) {
      const device = `p-${physnet}`.slice(0, 15);
      await ipBatch(
        [
          `link add x${index}-${number} type veth peer name ${device} netns ${this.netns}`,
          `link set x${index}-${number} master ${await physnetBridge(physnet)} addrgenmode none up`,
        ],
        netns,
      );
      uplinks.push([`br-${physnet}`, device]);
    }
    await this.configure(
      `addr add ${this.mgmtIp}/24 dev mgmt`,
      `addr add ${this.mgmtIp6}/64 dev mgmt nodad`,
      "link set mgmt up",
      ...uplinks.map(([, device]) => `link set ${device} addrgenmode none up`),
    );
    await Promise.all([
      ...uplinks.map(([, device]) => this.exec(["ethtool", "-K", device, "tx", "off"])),
      ...uplinks.map((_, number) => {
        const end = number === 0 ? `hv${index}` : `x${index}-${number - 1}`;
        return exec(["ip", "netns", "exec", netns, "ethtool", "-K", end, "tx", "off"]);
      }),
    ]);
    await this.#install();
  }

  /** As after a reboot from a new disk: Open vSwitch ends, its database is made anew with what create() writes, and both start. No interface is plugged. */
  async reinstall(): Promise<void> {
    await this.killVswitchd();
    await this.killOvsdb();
    await Promise.all(["conf.db", ".conf.db.~lock~"].map((file) => rm(`${this.dir}/${file}`, { force: true })));
    await this.#install();
  }

  /** A new database, what an operator writes into it, and Open vSwitch on it. */
  async #install(): Promise<void> {
    const uplinks: [bridge: string, device: string][] = [["br-phy", "phy"], ...(this.#options.physnets ?? []).map((physnet): [string, string] => [`br-${physnet}`, `p-${physnet}`.slice(0, 15)])];
    await exec(["ovsdb-tool", "create", `${this.dir}/conf.db`, "/usr/share/openvswitch/vswitch.ovsschema"]);
    await this.startOvsdb();
    await exec(["ovs-vsctl", `--db=unix:${this.dir}/db.sock`, "--no-wait", "init"]);
    const ids: Record<string, string> = {
      "system-id": this.systemId,
      hostname: this.name,
      "axion-encap-ip": this.encapIp,
      "axion-encap-type": (this.#options.encapTypes ?? ["geneve"]).join(","),
      "axion-datapath-type": "netdev",
      ...(this.#options.gateway === true && { "axion-gateway": "true" }),
      ...(uplinks.length > 1 && {
        "axion-bridge-mappings": uplinks.slice(1).map(([bridge]) => `${bridge.slice(3)}:${bridge}`).join(","),
      }),
      ...this.#options.externalIds,
    };
    await exec([
      "ovs-vsctl", `--db=unix:${this.dir}/db.sock`, "--no-wait",
      "set", "Open_vSwitch", ".", ...Object.entries(ids).map(([key, value]) => `external_ids:${key}="${value}"`),
      // one thread of each kind: a lab's host is a small part of a machine
      "other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1",
      ...(this.#options.vlanLimit === undefined ? [] : [`other_config:vlan-limit=${this.#options.vlanLimit}`]),
      ...uplinks.flatMap(([bridge, device]) => [
        "--", "add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=netdev",
        "--", "add-port", bridge, device,
      ]),
    ]);
    await this.startVswitchd();
    await this.#addressBridge();
    if (this.#options.manager !== undefined) await this.setManager(this.#options.manager);
  }

  /** Points ovsdb-server at controllers, such as `lab.manager`; it tries every second while one is away, not every eight. */
  async setManager(...targets: string[]): Promise<void> {
    await this.vsctl("set-manager", ...targets);
    for (const target of targets) await this.vsctl("set", "Manager", target, "max_backoff=1000");
  }

  async delManager(): Promise<void> {
    await this.vsctl("del-manager");
  }

  /** Output of ovs-vsctl, trimmed. Give "--no-wait" first while ovs-vswitchd is down. */
  async vsctl(...args: string[]): Promise<string> {
    return (await this.#tool(["ovs-vsctl", "--timeout=15", `--db=unix:${this.dir}/db.sock`, ...args])).stdout.trim();
  }

  /** Output of ovs-ofctl over OpenFlow 1.3; the bridge (br-int, br-phy) is found in this host's run directory. */
  async ofctl(...args: string[]): Promise<string> {
    return (await this.#tool(["ovs-ofctl", "-O", "OpenFlow13", ...args])).stdout;
  }

  /** Output of ovs-appctl to ovs-vswitchd, such as ("ofproto/trace", "br-int", flow). */
  async appctl(...args: string[]): Promise<string> {
    return (await this.#tool(["ovs-appctl", "-t", `${this.dir}/vsw.ctl`, ...args])).stdout;
  }

  /** Packets that the kernel has dropped because ovs-vswitchd, while it runs, did not read its sockets in time: this machine's doing, nobody else's. */
  async unread(): Promise<number> {
    const { stdout } = await this.exec(["ss", "-0", "-n", "-m"]);
    return [...stdout.matchAll(/skmem:\(.*,d(\d+)\)/g)].reduce((sum, [, dropped]) => sum + Number(dropped), 0);
  }

  async vswitchdPid(): Promise<number> {
    return Number(await readFile(`${this.dir}/vsw.pid`, "utf8"));
  }

  async ovsdbPid(): Promise<number> {
    return Number(await readFile(`${this.dir}/ovsdb.pid`, "utf8"));
  }

  /** kill -9. The flows, being in its memory, are gone; the database, the tap of br-phy and the VMs' ports stay. */
  async killVswitchd(): Promise<void> {
    await this.#kill(await this.vswitchdPid());
  }

  async startVswitchd(): Promise<void> {
    const { dir } = this;
    await this.#tool([
      "ovs-vswitchd", `unix:${dir}/db.sock`, `--unixctl=${dir}/vsw.ctl`, `--pidfile=${dir}/vsw.pid`,
      `--log-file=${dir}/vsw.log`, "-vconsole:off", "--detach",
    ]);
    await this.vsctl("show"); // answered once; then wait for the first configuration
    await this.#addressBridge();
  }

  async killOvsdb(): Promise<void> {
    await this.#kill(await this.ovsdbPid());
  }

  async startOvsdb(): Promise<void> {
    const { dir } = this;
    await this.#tool([
      "ovsdb-server", `${dir}/conf.db`, `--remote=punix:${dir}/db.sock`,
      "--remote=db:Open_vSwitch,Open_vSwitch,manager_options", `--unixctl=${dir}/ovsdb.ctl`,
      "--private-key=db:Open_vSwitch,SSL,private_key", "--certificate=db:Open_vSwitch,SSL,certificate", "--ca-cert=db:Open_vSwitch,SSL,ca_cert",
      `--pidfile=${dir}/ovsdb.pid`, `--log-file=${dir}/ovsdb.log`, "-vconsole:off", "--detach",
    ]);
  }

  /** Cuts or mends the link to the controllers; the underlay is not touched. */
  async setManagementLink(state: "up" | "down"): Promise<void> {
    await ipBatch([`link set mg${this.#place.index} ${state}`], this.#place.netns);
  }

  /** Cuts or mends the link to the other hypervisors. */
  async setUnderlayLink(state: "up" | "down"): Promise<void> {
    await ipBatch([`link set hv${this.#place.index} ${state}`], this.#place.netns);
  }

  /** Plugs an existing device as os-vif does; waits for the bridge, which may be yet to come. */
  async plug(device: string, externalIds: Record<string, string>, bridge = "br-int", timeoutMs = 20_000): Promise<void> {
    const seconds = Math.max(1, Math.ceil(timeoutMs / 1000));
    await this.#tool(
      [
        "ovs-vsctl", `--timeout=${seconds}`, `--db=unix:${this.dir}/db.sock`,
        "wait-until", "Bridge", bridge, `name=${bridge}`,
        "--", "--may-exist", "add-port", bridge, device,
        "--", "set", "Interface", device,
        ...Object.entries(externalIds).map(([key, value]) => `external_ids:${key}="${value}"`),
      ],
      timeoutMs + 2000,
    );
  }

  async unplug(device: string): Promise<void> {
    await this.vsctl("--if-exists", "del-port", device);
  }

  async #addressBridge(): Promise<void> {
    await until("br-phy", async () => (await this.exec(["ip", "link", "show", "br-phy"], { allowFailure: true })).exitCode === 0);
    await this.configure(
      `addr replace ${this.ip}/24 dev br-phy`,
      `addr replace ${this.ip6}/64 dev br-phy nodad`,
      `link set br-phy up mtu ${this.owner.underlayMtu}`,
    );
  }

  async #kill(pid: number): Promise<void> {
    process.kill(pid, "SIGKILL");
    await until(`end of process ${pid}`, async () => !(await alive(pid)), { intervalMs: 5 });
  }

  #tool(argv: readonly string[], timeoutMs?: number): Promise<ExecResult> {
    const { dir } = this;
    return this.exec(argv, {
      env: { OVS_RUNDIR: dir, OVS_LOGDIR: dir, OVS_DBDIR: dir, OVS_SYSCONFDIR: dir },
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
  }
}
