// VMs: namespaces plugged into a hypervisor's integration bridge by one or more interfaces; and hosts on a physical network. What they
// can do is in guest.ts.

import { exec } from "./exec.ts";
import { Guest } from "./guest.ts";
import type { Hypervisor } from "./hypervisor.ts";
import { ipBatch, NetNs } from "./netns.ts";

export interface NicOptions {
  hypervisor: Hypervisor;
  /** The Quantum port's id (or the attachment id of a v1 port): Interface external_ids:iface-id. */
  portId: string;
  mac: string;
  mtu?: number;
  /** Inside the VM, default eth0, eth1, ... */
  device?: string;
  /** Default br-int. */
  bridge?: string;
  /** Give up waiting for the bridge after this long, default 20 000 ms. */
  plugTimeoutMs?: number;
}

export interface VmOptions extends NicOptions {
  name: string;
}

/** A VM's network interface. */
export class Nic {
  readonly portId: string;
  readonly mac: string;
  /** Inside the VM. */
  readonly device: string;
  /** In the hypervisor's namespace: tap and the beginning of the port id, as Nova names it. */
  readonly tap: string;
  readonly #vm: NetNs;
  readonly #options: NicOptions;
  #hypervisor: Hypervisor;

  constructor(vm: NetNs, device: string, tap: string, options: NicOptions) {
    this.#vm = vm;
    this.#options = options;
    this.#hypervisor = options.hypervisor;
    this.portId = options.portId;
    this.mac = options.mac;
    this.device = device;
    this.tap = tap;
  }

  get hypervisor(): Hypervisor {
    return this.#hypervisor;
  }

  async create(): Promise<void> {
    const { mac, mtu = 1500 } = this.#options;
    const host = this.#hypervisor;
    await ipBatch(
      [
        `link add ${this.tap} mtu ${mtu} type veth peer name ${this.device} address ${mac} mtu ${mtu} netns ${this.#vm.netns}`,
        `link set ${this.tap} addrgenmode none up`,
      ],
      host.netns,
    );
    await Promise.all([
      host.exec(["ethtool", "-K", this.tap, "tx", "off"]),
      this.#vm.exec(["ethtool", "-K", this.device, "tx", "off"]),
    ]);
    await this.#vm.configure(`link set ${this.device} up`);
  }

  async plug(): Promise<void> {
    const ids = { "iface-id": this.portId, "attached-mac": this.mac, "iface-status": "active", "vm-id": this.#vm.name };
    await this.#hypervisor.plug(this.tap, ids, this.#options.bridge, this.#options.plugTimeoutMs);
  }

  /** Removes the port from the bridge; the VM keeps its interface and addresses. */
  async unplug(): Promise<void> {
    await this.#hypervisor.unplug(this.tap);
  }

  /** Live migration: the VM's end, with its addresses, stays as it is while the other end changes hypervisors. */
  async moveTo(hypervisor: Hypervisor): Promise<void> {
    await this.unplug();
    await ipBatch([`link set ${this.tap} netns ${hypervisor.netns}`], this.#hypervisor.netns);
    await ipBatch([`link set ${this.tap} addrgenmode none up`], hypervisor.netns);
    this.#hypervisor = hypervisor;
    await this.plug();
  }
}

export class Vm extends Guest {
  /** Interfaces in the order they were added; the first is eth0 unless named otherwise. */
  readonly nics: Nic[] = [];

  async create(options: NicOptions): Promise<void> {
    await this.createNetns();
    await this.settle();
    await this.addNic(options);
  }

  /** Adds an interface and plugs it. */
  async addNic(options: NicOptions): Promise<Nic> {
    const device = options.device ?? `eth${this.nics.length}`;
    const nic = new Nic(this, device, tapName(this.owner.taps, options.portId), options);
    this.nics.push(nic);
    await nic.create();
    await nic.plug();
    return nic;
  }

  get nic(): Nic {
    return this.nics[0]!;
  }

  get hypervisor(): Hypervisor {
    return this.nic.hypervisor;
  }

  get portId(): string {
    return this.nic.portId;
  }

  get mac(): string {
    return this.nic.mac;
  }

  async plug(): Promise<void> {
    for (const nic of this.nics) await nic.plug();
  }

  async unplug(): Promise<void> {
    for (const nic of this.nics) await nic.unplug();
  }

  async moveTo(hypervisor: Hypervisor): Promise<void> {
    for (const nic of this.nics) await nic.moveTo(hypervisor);
  }

  /** Unplugs, ends what runs inside and removes the namespace. */
  async destroy(): Promise<void> {
    await this.unplug();
    for (const pid of await this.pids()) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // ended by itself
      }
    }
    await this.deleteNetns();
  }
}

/** A host on a physical network: a router, or "the internet". No Open vSwitch between it and the wire. */
export class Outside extends Guest {
  async create(bridge: string, netns: string, link: string, mac?: string): Promise<void> {
    await this.createNetns();
    await this.settle();
    await ipBatch(
      [
        `link add ${link} type veth peer name eth0${mac === undefined ? "" : ` address ${mac}`} netns ${this.netns}`,
        `link set ${link} master ${bridge} addrgenmode none up`,
      ],
      netns,
    );
    await Promise.all([
      this.exec(["ethtool", "-K", "eth0", "tx", "off"]),
      exec(["ip", "netns", "exec", netns, "ethtool", "-K", link, "tx", "off"]),
    ]);
    await this.configure("link set eth0 up");
  }
}

/** What Nova would name it, unless two port ids begin alike. */
function tapName(taken: Set<string>, portId: string): string {
  const base = `tap${portId.replace(/[^a-zA-Z0-9-]/g, "").slice(0, 11)}`;
  let name = base;
  for (let number = 1; taken.has(name); number++) name = `${base.slice(0, 14 - String(number).length)}.${number}`;
  taken.add(name);
  return name;
}
