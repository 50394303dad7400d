// Many tenants on few hosts, each with the same addresses and MACs, a router and a gateway that translates: two VMs each, on different hosts, all of a host in
// one process (farm.py).
import { readFile } from "node:fs/promises";
import { expect } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Outside } from "../../../lab/vm.ts";
import { Cloud, type Resource } from "../../support/cloud.ts";
import { GuestAgent } from "./guest-agent.ts";

const OUTSIDE = "203.0.0.1";
const VMS = [{ ip: "10.0.0.5", mac: "02:00:00:00:00:05" }, { ip: "10.0.0.6", mac: "02:00:00:00:00:06" }] as const;
const HYPERVISORS = 3;
const PARALLEL = 8;

interface TenantVm {
  readonly name: string;
  readonly number: number;
  readonly host: number;
  readonly device: string;
  readonly portId: string;
  readonly ip: string;
  readonly mac: string;
  /** The address outside of its router. */
  readonly gateway: string;
}

interface Told {
  readonly got: Readonly<Record<string, string>>;
  readonly heard: readonly string[];
}

export interface Round {
  /** What was not answered, or not as it should have been. */
  readonly wrong: readonly string[];
  /** What came to who it was not for. */
  readonly crossed: readonly string[];
  readonly answers: number;
  readonly wanted: number;
  readonly ms: number;
}

export class Tenants {
  readonly cloud: Cloud;
  readonly vms: readonly TenantVm[];
  readonly #farms: readonly GuestAgent[];
  readonly #outside: { readonly machine: Outside; readonly agent: GuestAgent };
  #rounds = 0;

  private constructor(cloud: Cloud, vms: readonly TenantVm[], farms: readonly GuestAgent[], outside: { machine: Outside; agent: GuestAgent }) {
    this.cloud = cloud;
    this.vms = vms;
    this.#farms = farms;
    this.#outside = outside;
  }

  static async create(count: number, log: (line: string) => void): Promise<Tenants> {
    let began = performance.now();
    const lap = (what: string): void => {
      log(`${what}: ${Math.round(performance.now() - began)} ms`);
      began = performance.now();
    };
    const cloud = await Cloud.create({
      name: `${count} tenants`, hypervisors: HYPERVISORS + 2, flags: ["--audit-interval", "5"], host: (n) => (n > HYPERVISORS ? { gateway: true, physnets: ["ext"] } : {}),
    });
    try {
      const machine = await cloud.lab.addOutside({ name: "x", physnet: "ext" });
      await machine.setAddress(`${OUTSIDE}/16`);
      const outside = { machine, agent: await GuestAgent.start(machine, "x", [7]) };
      const network = await cloud.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" });
      await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: "203.0.0.0/16", gateway_ip: OUTSIDE });
      lap("hosts");
      const vms: TenantVm[] = [];
      const numbers = Array.from({ length: count }, (_, n) => n).values();
      await Promise.all(Array.from({ length: PARALLEL }, async () => {
        for (const n of numbers) vms.push(...(await tenant(cloud, n, network.id)));
      }));
      vms.sort((a, b) => a.number - b.number);
      lap("networks, routers and ports");
      const farms = await Promise.all(cloud.hypervisors.slice(0, HYPERVISORS).map((hv) => GuestAgent.startFarm(hv)));
      await Promise.all(farms.map((farm, at) => plug(cloud, farm, at + 1, vms.filter((vm) => vm.host === at + 1))));
      await until("all ports to be ACTIVE", async () => {
        const { ports } = (await cloud.call("GET", "/v2.0/ports?status=ACTIVE&fields=name")).body as unknown as { ports: Resource[] };
        return ports.filter((p) => /^t\d+[ab]$/.test(p.name as string)).length === vms.length;
      }, { timeoutMs: 120_000, intervalMs: 250 });
      await cloud.synced();
      await cloud.gatewaysUsable(1);
      lap("plugged, all switches in sync, gateways in use");
      return new Tenants(cloud, vms, farms, outside);
    } catch (error) {
      await cloud.destroy();
      throw error;
    }
  }

  /** All VMs at once: to the outside, to their peers, and to all of their networks. */
  async round(waitS = 20): Promise<Round> {
    const number = ++this.#rounds;
    await this.#outside.agent.ask("heard");
    const began = performance.now();
    await Promise.all(this.#farms.map((farm) => farm.ask("talk", { outside: OUTSIDE, number, wait: waitS })));
    const ms = Math.round(performance.now() - began);
    const told = new Map<string, Told>();
    // What is on its way to others may come yet.
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (const farm of this.#farms) for (const [name, t] of Object.entries((await farm.ask<{ vms: Record<string, Told> }>("tell")).vms)) told.set(name, t);
    const wrong: string[] = [];
    const crossed: string[] = [];
    let [answers, asked] = [0, 0];
    for (const vm of this.vms) {
      const { got, heard } = told.get(vm.name)!;
      const token = (way: number): string => `${(vm.number).toString(16).padStart(4, "0")}${way.toString(16)}${number.toString(16).padStart(3, "0")}`;
      const peer = this.vms[vm.number ^ 1]!;
      const wanted = {
        "out udp": `x ${vm.gateway} axion-probe-${token(0)}`, "out ping": `axion-probe-${token(1)}`, "out tcp": `x ${vm.gateway} axion-probe-${token(2)}`,
        "across udp": `${peer.name} ${vm.ip} axion-probe-${token(4)}`, "across ping": `axion-probe-${token(5)}`, "across all": `${peer.name} ${vm.ip} axion-probe-${token(8)}`,
      };
      for (const [what, text] of Object.entries(wanted)) {
        asked++;
        if (got[what] === text) answers++;
        else wrong.push(`${vm.name}, ${what}: ${text} is wanted, not ${got[what] ?? "nothing"}`);
      }
      for (const t of heard) if (parseInt(t.slice(0, 4), 16) >> 1 !== vm.number >> 1) crossed.push(`${t.slice(0, 4)}'s ${t.slice(4)} came to ${vm.name}`);
    }
    // What goes to a peer, or to all of a network, has no business outside.
    for (const t of (await this.#outside.agent.ask("heard")).tokens ?? []) if (parseInt(t[4]!, 16) >= 4) crossed.push(`${t} came to the outside`);
    return { wrong, crossed, answers, wanted: asked, ms };
  }

  /** Memory in MB and flows, as text. */
  async figures(): Promise<string> {
    const rss = async (pid: number): Promise<number> => Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024);
    const flows = (await this.cloud.switches()).map((s) => s.installed);
    const switches = await Promise.all(this.cloud.hypervisors.map(async (hv) => rss(await hv.vswitchdPid())));
    const farms = await Promise.all(this.#farms.map((farm) => rss(farm.pid)));
    return `flows ${flows.join(" ")}; resident MB: controller ${await rss(this.cloud.controller.pid)}, ovs-vswitchd ${switches.join(" ")}, VMs of a host ${farms.join(" ")}`;
  }

  async destroy(): Promise<void> {
    await this.cloud.destroy();
  }
}

async function tenant(cloud: Cloud, n: number, external: string): Promise<TenantVm[]> {
  const project = `p${n}`;
  const inside = await cloud.network("10.0.0.0/24", {}, project);
  const router = await cloud.router([inside], project);
  const { external_gateway_info: info } = await cloud.update("router", router.id, { external_gateway_info: { network_id: external } }, project);
  const [{ ip_address: gateway }] = (info as { external_fixed_ips: [{ ip_address: string }] }).external_fixed_ips;
  const out: TenantVm[] = [];
  for (const [at, { ip, mac }] of VMS.entries()) {
    const name = `t${n}${"ab"[at]!}`;
    const { id } = await cloud.create("port", { network_id: inside.network.id, name, mac_address: mac, fixed_ips: [{ ip_address: ip }] }, project);
    out.push({ name, number: n * 2 + at, host: ((n + at) % HYPERVISORS) + 1, device: `tap-${name}`, portId: id, ip, mac, gateway });
  }
  return out;
}

async function plug(cloud: Cloud, farm: GuestAgent, host: number, vms: readonly TenantVm[]): Promise<void> {
  const added = await farm.ask("add", { vms: vms.map(({ name, number, device, mac, ip }) => ({ name, number, device, mac, ip, gateway: "10.0.0.1", peer: VMS[(number & 1) ^ 1]!.ip })) });
  expect(added.error).toBeUndefined();
  for (let i = 0; i < vms.length; i += 40) {
    const some = vms.slice(i, i + 40).flatMap(({ device, portId, mac }) => ["--", "add-port", "br-int", device, "--", "set", "Interface", device, `external_ids:iface-id="${portId}"`, `external_ids:attached-mac="${mac}"`]);
    await cloud.hv(host).vsctl("--no-wait", ...some.slice(1));
  }
}
