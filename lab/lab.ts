// The lab: real Open vSwitch hosts, VMs and controllers on one machine, all in network namespaces of its own, so that
// nothing is left in the root namespace and runs stand side by side.
//
//   namespace ax<pid><letter>-net            bridge brm (management, 172.30.0.0/24): controllers, hypervisors' mgmt
//                                            bridge bru (underlay,   172.31.0.0/24): hypervisors' br-phy, tunnels
//                                            bridge x-NAME           (one for each physical network)
//   namespaces ...-hv1, ...-vm1, ...-c2      hypervisors, VMs, more controllers
//   directory  /tmp/ax<pid><letter>-XXXXXX   databases, sockets, logs
//
// However the process ends, guard.ts removes all of it.

import { accessSync, constants } from "node:fs";
import { writeFile } from "node:fs/promises";
import net from "node:net";
import { Running } from "./exec.ts";
import { Guard, sweep } from "./guard.ts";
import { Outside, Vm, type VmOptions } from "./vm.ts";
import { Hypervisor, type HypervisorOptions } from "./hypervisor.ts";
import { DHCLIENT_CONF, DHCLIENT_SH, INSIDE_CJS, UDHCPC_SH } from "./inside.ts";
import { ipBatch, NetNs, type Owner } from "./netns.ts";

export interface LabOptions {
  /** What the log calls it. */
  name?: string;
  log?: (line: string) => void;
  /** Which family tunnels and the management network use, default ipv4. Both are always configured. */
  underlay?: "ipv4" | "ipv6";
  /** MTU of the underlay, default 1500: a tunnelled packet has to fit. */
  underlayMtu?: number;
  /** Destroy on SIGINT, SIGTERM and SIGHUP and then end as the signal would, default true. */
  signals?: boolean;
}

/** A namespace on the management network in which a controller (or etcd, or anything) can run. */
export class LabNode extends NetNs {
  readonly ip: string;
  readonly ip6: string;
  readonly #relays = new Map<number, Promise<string>>();
  readonly #link: { readonly device: string; readonly netns: string } | undefined;
  #relay: Running | undefined;

  /** `link`: the other end of its link, and where that is. */
  constructor(owner: Owner, name: string, ip: string, ip6: string, link?: { readonly device: string; readonly netns: string }) {
    super(owner, name);
    this.ip = ip;
    this.ip6 = ip6;
    this.#link = link;
  }

  /** Cuts or mends its link to the management network, if it is a namespace of its own (`addNode`). */
  async setLink(state: "up" | "down"): Promise<void> {
    if (this.#link === undefined) throw new Error(`${this.name} has no link that could be cut`);
    await ipBatch([`link set ${this.#link.device} ${state}`], this.#link.netns);
  }

  /** A unix socket that leads to 127.0.0.1:port of this namespace: what http.request({ socketPath }) wants. */
  forward(port: number): Promise<string> {
    let relay = this.#relays.get(port);
    if (relay === undefined) {
      const path = `${this.owner.dir}/${this.name}.${port}`;
      this.#relay ??= this.spawn([process.execPath, `${this.owner.dir}/inside.cjs`, "relay"]);
      this.#relay.child.stdin?.write(`${port} ${path}\n`);
      relay = this.#relay.waitFor((line) => line === JSON.stringify({ listening: path })).then(() => path);
      this.#relays.set(port, relay);
    }
    return relay;
  }
}

export class Lab implements Owner {
  /** Short and unique, also the prefix of every namespace: ax, the process id, a letter. */
  readonly run: string;
  readonly dir: string;
  readonly underlay: "ipv4" | "ipv6";
  readonly underlayMtu: number;
  /** Where the controller runs by default. */
  readonly node: LabNode;
  readonly hypervisors: Hypervisor[] = [];
  readonly vms: Vm[] = [];
  readonly taps = new Set<string>();
  readonly log: (line: string) => void;
  readonly #net: NetNs;
  readonly #running = new Set<Running>();
  readonly #physnets = new Map<string, Promise<string>>();
  readonly #servers = new Set<net.Server>();
  readonly #guard: Guard;
  #nodes = 0;
  #outsides = 0;
  #places = 0;

  private constructor(guard: Guard, options: LabOptions) {
    this.#guard = guard;
    this.run = guard.run;
    this.dir = guard.dir;
    guard.beforeReap = () => this.#letGo();
    this.log = options.log ?? (() => undefined);
    this.underlay = options.underlay ?? "ipv4";
    this.underlayMtu = options.underlayMtu ?? 1500;
    this.node = new LabNode(this, "net", "172.30.0.254", "fd30::fe");
    this.#net = this.node;
  }

  /** Commands (and rights) the lab needs and this machine lacks; empty when it can run. */
  static missing(): string[] {
    const path = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin"];
    const found = (command: string) =>
      path.some((dir) => {
        try {
          accessSync(`${dir}/${command}`, constants.X_OK);
          return true;
        } catch {
          return false;
        }
      });
    const commands = ["ip", "ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "ethtool", "ping", "sysctl"];
    return [...(process.getuid?.() === 0 ? [] : ["root"]), ...commands.filter((command) => !found(command))];
  }

  /** Makes the management network and the underlay. What dead runs left is swept first. */
  static async create(options: LabOptions = {}): Promise<Lab> {
    const missing = Lab.missing();
    if (missing.length > 0) throw new Error(`the lab needs what is missing here: ${missing.join(", ")} (scripts/install-deps.sh lab)`);
    const guard = await Guard.create({ name: options.name ?? "lab", signals: options.signals ?? true });
    const lab = new Lab(guard, options);
    try {
      await lab.#create();
    } catch (error) {
      await lab.destroy();
      throw error;
    }
    return lab;
  }

  async #create(): Promise<void> {
    await Promise.all([
      writeFile(`${this.dir}/inside.cjs`, INSIDE_CJS),
      writeFile(`${this.dir}/udhcpc.sh`, UDHCPC_SH, { mode: 0o755 }),
      writeFile(`${this.dir}/dhclient.sh`, DHCLIENT_SH, { mode: 0o755 }),
      writeFile(`${this.dir}/dhclient.conf`, DHCLIENT_CONF),
    ]);
    await this.#net.createNetns();
    await this.#net.configure(
      ...["brm", "bru"].map((bridge) => `link add ${bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`),
      `link set bru mtu ${this.underlayMtu}`,
      "link set brm up",
      "link set bru up",
      "addr add 172.30.0.254/24 dev brm",
      "addr add fd30::fe/64 dev brm nodad",
      "addr add 172.31.0.254/24 dev bru",
      "addr add fd31::fe/64 dev bru nodad",
    );
  }

  /** For `ip netns exec`: the namespace in which the controller runs by default. */
  get controllerNs(): string {
    return this.node.netns;
  }

  /** The namespace of the underlay itself, which has an address there (172.31.0.254, fd31::fe) and is no hypervisor. */
  get underlayNode(): NetNs {
    return this.#net;
  }

  /** The manager target by which hypervisors reach the controller in `controllerNs`. */
  get manager(): string {
    return this.managerOf(this.node);
  }

  managerOf(node: LabNode, port = 6640): string {
    return this.underlay === "ipv6" ? `tcp:[${node.ip6}]:${port}` : `tcp:${node.ip}:${port}`;
  }

  async addHypervisor(options: HypervisorOptions): Promise<Hypervisor> {
    const index = ++this.#places;
    if (index > 200) throw new RangeError("a lab has room for 200 hypervisors");
    const hypervisor = new Hypervisor(this, options, {
      index,
      underlay: this.underlay,
      mgmtBridge: "brm",
      underlayBridge: "bru",
      netns: this.#net.netns,
      physnetBridge: (physnet) => this.#physnet(physnet),
    });
    await hypervisor.create();
    this.hypervisors.push(hypervisor);
    this.log(`hypervisor ${options.name}: encapsulation address ${hypervisor.encapIp}`);
    return hypervisor;
  }

  /** Makes a VM and plugs it; resolves once its port is on the bridge, for which it waits. */
  async addVm(options: VmOptions): Promise<Vm> {
    const vm = new Vm(this, options.name);
    this.vms.push(vm);
    await vm.create(options);
    this.log(`vm ${options.name} on ${options.hypervisor.name}: port ${options.portId}`);
    return vm;
  }

  /** A host straight on a physical network. */
  async addOutside(options: { name: string; physnet: string; mac?: string }): Promise<Outside> {
    const outside = new Outside(this, options.name);
    await outside.create(await this.#physnet(options.physnet), this.#net.netns, `out${++this.#outsides}`, options.mac);
    return outside;
  }

  /** Another namespace on the management network, for one more controller or a store. */
  async addNode(name: string): Promise<LabNode> {
    const host = 253 - this.#nodes++;
    const node = new LabNode(this, name, `172.30.0.${host}`, `fd30::${host.toString(16)}`, { device: `nd${host}`, netns: this.#net.netns });
    await node.createNetns();
    await ipBatch(
      [`link add nd${host} type veth peer name mgmt netns ${node.netns}`, `link set nd${host} master brm addrgenmode none up`],
      this.#net.netns,
    );
    await node.configure(`addr add ${node.ip}/24 dev mgmt`, `addr add ${node.ip6}/64 dev mgmt nodad`, "link set mgmt up");
    return node;
  }

  /** A unix socket that leads to 127.0.0.1:port in the controller's namespace. */
  forward(port: number): Promise<string> {
    return this.node.forward(port);
  }

  /**
   * Opens the port of the controller's namespace on this machine's loopback, on `preferred` when it is free and
   * otherwise on one the system chooses. Lives as long as this process and the lab.
   */
  async publish(port: number, preferred = port, node: LabNode = this.node): Promise<{ host: string; port: number; url: string }> {
    const path = await node.forward(port);
    const server = net.createServer({ allowHalfOpen: true }, (here) => {
      const there = net.connect({ path, allowHalfOpen: true });
      here.on("error", () => there.destroy()).pipe(there);
      there.on("error", () => here.destroy()).pipe(here);
      here.on("close", () => there.destroy());
      there.on("close", () => here.destroySoon());
    });
    const listen = (candidate: number) =>
      new Promise<boolean>((resolve, reject) => {
        server.once("error", (error: NodeJS.ErrnoException) => {
          if (error.code === "EADDRINUSE" || error.code === "EACCES") resolve(false);
          else reject(error);
        });
        server.listen({ host: "127.0.0.1", port: candidate }, () => {
          server.removeAllListeners("error");
          resolve(true);
        });
      });
    if (!(await listen(preferred))) await listen(0);
    this.#servers.add(server);
    const address = server.address() as net.AddressInfo;
    return { host: "127.0.0.1", port: address.port, url: `http://127.0.0.1:${address.port}` };
  }

  track(running: Running): Running {
    this.#running.add(running);
    void running.exited.then(() => this.#running.delete(running));
    return running;
  }

  /** Ends every process, removes every namespace, link and file of this lab. Idempotent. */
  async destroy(): Promise<void> {
    await this.#guard.destroy();
    await Promise.all([...this.#running].map((running) => running.exited));
  }

  /** Removes what runs left whose process is no longer alive. Returns their names. */
  static sweep(): Promise<string[]> {
    return sweep();
  }

  #letGo(): void {
    for (const server of this.#servers) server.close();
    for (const running of this.#running) running.child.kill("SIGKILL");
  }

  #physnet(name: string): Promise<string> {
    let bridge = this.#physnets.get(name);
    if (bridge === undefined) {
      const device = `x-${name}`.slice(0, 15);
      bridge = this.#net
        .configure(`link add ${device} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`, `link set ${device} addrgenmode none up`)
        .then(() => device);
      this.#physnets.set(name, bridge);
    }
    return bridge;
  }

}

/** Runs `body` in a lab and destroys the lab whatever happens. */
export async function withLab<T>(options: LabOptions, body: (lab: Lab) => Promise<T>): Promise<T> {
  const lab = await Lab.create(options);
  try {
    return await body(lab);
  } finally {
    await lab.destroy();
  }
}

