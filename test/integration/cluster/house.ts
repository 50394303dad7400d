// Three controllers over three etcd, Open vSwitch hosts and VMs that ping each other: what tests of a cluster do something to. Every
// controller and every member of etcd has a namespace and a link of its own.
import { readdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { LabEtcd } from "../../../lab/cluster/etcd.ts";
import { unsettled } from "../../../lab/cluster/masters.ts";
import { Pings, type PingPair } from "../../../lab/cluster/pings.ts";
import { Controller } from "../../../lab/controller.ts";
import { until } from "../../../lab/exec.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Lab, type LabNode } from "../../../lab/lab.ts";
import type { Vm } from "../../../lab/vm.ts";
import { expect } from "vitest";
import { UNLIMITED } from "../../support/process.ts";

export const ADMIN = { "x-project-id": "p1", "x-roles": "admin" };

/** Linux' limit where nobody set another: net.ipv4.neigh.default.gc_thresh3. */
const NEIGHBOURS = 1024;

export interface Guest {
  readonly vm: Vm;
  readonly ip: string;
  readonly port: string;
}

export interface HouseOptions {
  readonly name: string;
  readonly hosts: number;
  readonly vmsPerHost: number;
  /** The program of a controller. Default: of this checkout. */
  readonly main?: (name: string) => string;
  /** Of the first member of etcd. */
  readonly diskMiB?: number;
}

/** Debian's libfaketime, if it is there: a controller's clock is set by a file. */
export const fakeTime: string | undefined = (() => {
  try {
    const [found] = readdirSync("/usr/lib", { withFileTypes: true }).filter((e) => e.isDirectory()).flatMap(({ name }) => {
      try {
        return readdirSync(`/usr/lib/${name}/faketime`).filter((file) => file.startsWith("libfaketimeMT.so")).map((file) => `/usr/lib/${name}/faketime/${file}`);
      } catch {
        return [];
      }
    });
    return found;
  } catch {
    return undefined;
  }
})();

export class House {
  readonly lab: Lab;
  readonly etcd: LabEtcd;
  readonly controllers: readonly Controller[];
  readonly nodes: readonly LabNode[];
  readonly hosts: readonly Hypervisor[];
  readonly guests: readonly Guest[];
  readonly network: string;
  readonly group: string;

  private constructor(lab: Lab, etcd: LabEtcd, controllers: readonly Controller[], nodes: readonly LabNode[], hosts: readonly Hypervisor[], guests: readonly Guest[], network: string, group: string) {
    this.lab = lab;
    this.etcd = etcd;
    this.controllers = controllers;
    this.nodes = nodes;
    this.hosts = hosts;
    this.guests = guests;
    this.network = network;
    this.group = group;
  }

  static async build(options: HouseOptions): Promise<House> {
    const lab = await Lab.create({ name: options.name });
    try {
      return await House.buildIn(lab, options);
    } catch (error) {
      await lab.destroy();
      throw error;
    }
  }

  private static async buildIn(lab: Lab, { hosts: count, vmsPerHost, diskMiB, main }: HouseOptions): Promise<House> {
    const stores = [await lab.addNode("e0"), await lab.addNode("e1"), await lab.addNode("e2")];
    const nodes = [await lab.addNode("c0"), await lab.addNode("c1"), await lab.addNode("c2")];
    const etcd = await LabEtcd.start(lab, stores, diskMiB === undefined ? {} : { diskMiB });
    const controllers = await Promise.all(nodes.map(async (node, i) => {
      const name = `c${i}`;
      await setClock(lab, name, 0);
      const env = fakeTime === undefined ? {} : { LD_PRELOAD: fakeTime, FAKETIME_TIMESTAMP_FILE: clockOf(lab, name), FAKETIME_NO_CACHE: "1", FAKETIME_DONT_FAKE_MONOTONIC: "1" };
      return new Controller(lab, { name, node, ...(main && { main: main(name) }), env: { ...UNLIMITED, ...env }, readyTimeoutMs: 120_000, flags: ["--store", etcd.store, "--name", name, "--advertise", node.ip, "--audit-interval", "1"] });
    }));
    const [hosts] = await Promise.all([
      Promise.all(Array.from({ length: count }, (_, n) => lab.addHypervisor({ name: `hv${n + 1}` }))),
      Promise.all(controllers.map((controller) => controller.start())),
    ]);
    const [at] = controllers as [Controller];
    await Promise.all(hosts.map((host) => host.setManager(at.manager)));
    const make = async <T>(collection: string, resource: string, values: object): Promise<T> => {
      const { status, body } = await at.api<Record<string, T>>("POST", `/v2.0/${collection}`, { [resource]: values }, ADMIN);
      if (status !== 201) throw new Error(`${resource}: ${status} ${JSON.stringify(body)}`);
      return body[resource]!;
    };
    const network = await make<{ id: string; mtu: number }>("networks", "network", { name: "house" });
    await make("subnets", "subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/16" });
    const group = await make<{ id: string }>("security-groups", "security_group", { name: "house" });
    await make("security-group-rules", "security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype: "IPv4", protocol: "icmp" });
    const guests: Guest[] = [];
    // A few at a time: each is a dozen programs that run for a moment.
    const left = hosts.flatMap((hypervisor, h) => Array.from({ length: vmsPerHost }, (_, i) => ({ hypervisor, name: `vm${h + 1}-${i + 1}` })));
    await Promise.all([1, 2, 3, 4].map(async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) {
        const port = await make<{ id: string; mac_address: string; fixed_ips: { ip_address: string }[] }>("ports", "port", { network_id: network.id, security_groups: [group.id] });
        const vm = await lab.addVm({ ...next, portId: port.id, mac: port.mac_address, mtu: network.mtu });
        const ip = port.fixed_ips[0]!.ip_address;
        await vm.setAddress(`${ip}/16`);
        guests.push({ vm, ip, port: port.id });
      }
    }));
    const house = new House(lab, etcd, controllers, nodes, hosts, guests, network.id, group.id);
    await house.settled();
    return house;
  }

  async destroy(): Promise<void> {
    this.etcd.close();
    await this.lab.destroy();
  }

  /** So many ordered pairs of VMs, each on another host than the one before where that goes. */
  pairs(count: number, intervalMs: number, skip = 0): PingPair[] {
    const { guests } = this;
    const all: PingPair[] = [];
    for (let step = 1; step < guests.length; step++) {
      for (const [i, { vm }] of guests.entries()) all.push({ from: vm, to: guests[(i + step) % guests.length]!.ip, intervalMs });
    }
    if (all.length < skip + count) throw new RangeError(`${guests.length} VMs are ${all.length} pairs`);
    return all.slice(skip, skip + count);
  }

  async ping(pairs: readonly PingPair[]): Promise<Pings> {
    if (pairs.length > NEIGHBOURS / 4) await this.acquaint();
    return Pings.start(this.lab, pairs);
  }

  /** Every VM knows the MACs of all, for good: what a kernel learns of neighbours is bounded for all namespaces together, and what is beyond is not sent. */
  private async acquaint(): Promise<void> {
    const { guests } = this;
    for (const { vm } of guests) await vm.configure(...guests.filter((other) => other.vm !== vm).map((other) => `neigh replace ${other.ip} lladdr ${other.vm.mac} dev eth0 nud permanent`));
  }

  /** Until each host has one of `live` as its master, and all that it should have. */
  async settled(live: readonly Controller[] = this.controllers): Promise<void> {
    let left: readonly string[] = [];
    const systemIds = this.hosts.map(({ systemId }) => systemId);
    await until("masters", async () => (left = await unsettled(systemIds, live)).length === 0, { timeoutMs: 90_000, intervalMs: 50 }).catch(() => {
      throw new Error(`not settled: ${left.join(", ")}\n${live.map(({ name, lines }) => `${name}: ${lines.slice(-15).join("\n")}`).join("\n")}`);
    });
  }

  /** Flows as the switches themselves have them, in order, without counts. */
  dumps(): Promise<string[]> {
    return Promise.all(this.hosts.map(async (host) => (await host.ofctl("--no-stats", "dump-flows", "br-int")).split("\n").sort().join("\n")));
  }

  /** Ends the pings. What was lost fails, with what had happened before, and with what the switches' datapaths have dropped and why. */
  async lostNone(pings: Pings, happened: readonly { readonly at: number; readonly what: string }[]): Promise<string> {
    const { sent, lost, longestMs } = await pings.stop();
    const told = lost.slice(0, 20).map(({ pair, atMs }) => {
      const { from, to } = pings.pairs[pair]!;
      return `${from.name} to ${to} at ${(atMs / 1000).toFixed(1)} s, after ${happened.filter(({ at }) => at - pings.beganAt <= atMs).at(-1)?.what ?? "nothing"}`;
    });
    if (told.length > 0) told.push(...(await Promise.all(this.hosts.map(async (host) => `${host.name}: ${(await host.appctl("coverage/show")).match(/^(?:drop|datapath_drop|dpif_flow_.*error|upcall_\w*)\w* .*$/gm)?.join("; ")}`))));
    expect(told, `${lost.length} of ${sent} pings lost`).toEqual([]);
    expect(sent).toBeGreaterThan(pings.pairs.length);
    return `${sent} pings, none lost, the longest took ${longestMs} ms`;
  }

  /** By how much a controller's clock is off, in seconds; 0: not at all. */
  setClock(i: number, seconds: number): Promise<void> {
    return setClock(this.lab, this.controllers[i]!.name, seconds);
  }
}

const clockOf = (lab: Lab, name: string): string => `${lab.dir}/${name}.clock`;
const setClock = (lab: Lab, name: string, seconds: number): Promise<void> => writeFile(clockOf(lab, name), `${seconds < 0 ? "" : "+"}${seconds}`);

