// A small cloud for tests on real switches: a lab, a controller in it, hypervisors that joined, networks and VMs by the API.
import { setTimeout as sleep } from "node:timers/promises";
import { startController, type Controller, type Response } from "../../lab/controller.ts";
import { until } from "../../lab/exec.ts";
import type { Vm } from "../../lab/vm.ts";
import type { Hypervisor, HypervisorOptions } from "../../lab/hypervisor.ts";
import { Lab, type LabOptions } from "../../lab/lab.ts";
import { collectionOf, metricOf, UNLIMITED } from "./process.ts";

/** What tests read of a resource; a wrong name fails the assertion that reads it. */
export type Resource = { readonly id: string } & Record<string, any>;

export interface CloudOptions extends LabOptions {
  readonly hypervisors?: number;
  readonly flags?: readonly string[];
  readonly main?: string;
  /** Environment of the controller. */
  readonly env?: Record<string, string>;
  /** Physical networks of every hypervisor. */
  readonly physnets?: readonly string[];
  readonly encapTypes?: readonly ("geneve" | "vxlan" | "gre")[];
  /** What is otherwise at one of them, by its number from 1. */
  readonly host?: (number: number) => Partial<HypervisorOptions>;
  /** Has hypervisors connect, where plain TCP is not what is wanted. */
  readonly connect?: (cloud: Cloud) => Promise<void>;
}

export interface Net {
  readonly network: Resource;
  readonly subnet: Resource;
}

export interface Instance {
  readonly vm: Vm;
  readonly port: Resource;
  /** First fixed address. */
  readonly ip: string;
}

export interface InstanceOptions {
  /** Attributes of its port. */
  readonly port?: Record<string, unknown>;
  /** False: no address is configured (the test will ask DHCP, or nobody). */
  readonly configure?: boolean;
  readonly project?: string;
}

export interface SwitchState {
  readonly id: string;
  readonly connected: boolean;
  readonly desired: number;
  readonly installed: number;
  readonly pending: number;
  readonly raw: any;
}

const asAdmin = (project: string): Record<string, string> => ({ "x-project-id": project, "x-roles": "admin" });

export class Cloud {
  readonly lab: Lab;
  readonly controller: Controller;
  readonly hypervisors: readonly Hypervisor[];
  private vms = 0;

  private constructor(lab: Lab, controller: Controller, hypervisors: readonly Hypervisor[]) {
    this.lab = lab;
    this.controller = controller;
    this.hypervisors = hypervisors;
  }

  static async create(options: CloudOptions = {}): Promise<Cloud> {
    const { hypervisors = 2, flags, main, env, encapTypes, physnets, host, connect, ...labOptions } = options;
    const lab = await Lab.create(labOptions);
    try {
      const [controller, ...hosts] = await Promise.all([
        startController(lab, { ...(flags && { flags }), ...(main !== undefined && { main }), env: { ...UNLIMITED, ...env } }),
        ...Array.from({ length: hypervisors }, (_, i) => lab.addHypervisor({ name: `hv${i + 1}`, ...(encapTypes && { encapTypes }), ...(physnets && { physnets }), ...host?.(i + 1) })),
      ]);
      const cloud = new Cloud(lab, controller, hosts);
      if (connect === undefined) for (const hv of hosts) await hv.setManager(lab.manager);
      else await connect(cloud);
      await cloud.synced();
      return cloud;
    } catch (error) {
      await lab.destroy();
      throw error;
    }
  }

  hv(number: number): Hypervisor {
    return this.hypervisors[number - 1]!;
  }

  /** One call as an administrator of the project. */
  call(method: string, url: string, body?: unknown, project = "p1"): Promise<Response<Record<string, never>>> {
    return this.controller.api(method, url, body, asAdmin(project));
  }

  async create(resource: string, values: Record<string, unknown>, project = "p1"): Promise<Resource> {
    const answer = await this.call("POST", `/v2.0/${collectionOf(resource)}`, { [resource]: values }, project);
    if (answer.status !== 201) throw new Error(`${resource} refused: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body[resource]! as Resource;
  }

  async update(resource: string, id: string, values: Record<string, unknown>, project = "p1"): Promise<Resource> {
    const answer = await this.call("PUT", `/v2.0/${collectionOf(resource)}/${id}`, { [resource]: values }, project);
    if (answer.status !== 200) throw new Error(`${resource} refused: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body[resource]! as Resource;
  }

  async remove(resource: string, id: string, project = "p1"): Promise<void> {
    const answer = await this.call("DELETE", `/v2.0/${collectionOf(resource)}/${id}`, undefined, project);
    if (answer.status !== 204) throw new Error(`${resource} not deleted: ${answer.status} ${JSON.stringify(answer.body)}`);
  }

  async show(resource: string, id: string): Promise<Resource> {
    return (await this.call("GET", `/v2.0/${collectionOf(resource)}/${id}`)).body[resource]! as Resource;
  }

  /** A network with one IPv4 subnet. */
  async network(cidr: string, subnet: Record<string, unknown> = {}, project = "p1"): Promise<Net> {
    const network = await this.create("network", { name: `net ${cidr}` }, project);
    return { network, subnet: await this.create("subnet", { network_id: network.id, ip_version: 4, cidr, ...subnet }, project) };
  }

  /** A router on these networks. */
  async router(nets: readonly Net[], project = "p1"): Promise<Resource> {
    const router = await this.create("router", { name: "router" }, project);
    for (const { subnet } of nets) {
      const answer = await this.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id }, project);
      if (answer.status !== 200) throw new Error(`interface refused: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
    return router;
  }

  /** A VM on a port of its own, with its address and gateway configured, once the port is ACTIVE. */
  async instance(hv: Hypervisor, net: Net, options: InstanceOptions = {}): Promise<Instance> {
    const { configure = true, project = "p1" } = options;
    const port = await this.create("port", { network_id: net.network.id, ...options.port }, project);
    const vm = await this.lab.addVm({ name: `vm${++this.vms}`, hypervisor: hv, portId: port.id, mac: port.mac_address as string, mtu: net.network.mtu as number });
    const ip = (port.fixed_ips as { ip_address: string }[])[0]?.ip_address ?? "";
    if (configure && ip !== "") {
      const length = (net.subnet.cidr as string).split("/")[1]!;
      await vm.setAddress(`${ip}/${length}`, (net.subnet.gateway_ip as string | null) ?? undefined);
    }
    await this.active(port.id);
    return { vm, port, ip };
  }

  async active(portId: string): Promise<void> {
    await until(`port ${portId} to become ACTIVE`, async () => (await this.show("port", portId)).status === "ACTIVE", { timeoutMs: 15_000 });
  }

  async switches(): Promise<SwitchState[]> {
    return switchStates((await this.controller.ops("GET", "/switches")).body);
  }

  /**
   * In sync, and nothing is left of what switches had cached of flows: Open vSwitch 3.1.0 may go on by a cached flow of before the change, for as long as
   * packets match it (`stale_flows` of GET /problems).
   */
  async renewed(): Promise<void> {
    await this.synced();
    await Promise.all(this.hypervisors.map((hv) => hv.appctl("revalidator/purge")));
  }

  /** Until every hypervisor is connected and has exactly what it should have, twice in a row. */
  async synced(count = this.hypervisors.length): Promise<void> {
    let last: SwitchState[] = [];
    for (let times = 0; times < 2; times++) {
      await until(`${count} switches in sync`, async () => {
        last = await this.switches();
        return last.filter((s) => s.connected && s.pending === 0 && s.desired === s.installed && s.desired > 0).length === count;
      }, { timeoutMs: 20_000 }).catch((error: unknown) => {
        throw new Error(`${(error as Error).message}: ${JSON.stringify(last.map((s) => s.raw as unknown))}\n${this.controller.lines.slice(-20).join("\n")}`);
      });
      await sleep(100);
    }
  }

  /** Until the controller has written nothing of itself for longer than a step of handing over takes, and switches have it all. */
  async quiet(): Promise<void> {
    let generation = -1;
    let since = 0;
    await until("the controller to change nothing more", async () => {
      const now = await this.metric("axion_generation");
      if (now !== generation) [generation, since] = [now, Date.now()];
      return Date.now() - since > 5000;
    }, { timeoutMs: 60_000, intervalMs: 250 });
    await this.synced();
  }

  /** Until hosts that watch each other for gateways, each at least so many others, all see each other alive. */
  async gatewaysUsable(least = 0): Promise<void> {
    await until("gateways in use", async () => {
      const seen = await Promise.all(this.hypervisors.map((hv) => hv.vsctl("--bare", "--columns=bfd_status", "find", "Interface", "bfd:enable=true")));
      return seen.map((text) => text.split("\n").filter((l) => l !== "")).every((lines) => lines.length >= least && lines.every((l) => l.includes("forwarding=true")));
    }, { timeoutMs: 20_000 });
  }

  /** What a machine that stalls does to switches, so far: packets that they did not read in time, and how often one took another for dead or alive again. */
  async stalls(): Promise<{ readonly unread: number; readonly flaps: number }> {
    const of = await Promise.all(this.hypervisors.map(async (hv) => {
      const sessions = await hv.vsctl("--bare", "--columns=bfd_status", "find", "Interface", "bfd:enable=true");
      return { unread: await hv.unread(), flaps: [...sessions.matchAll(/flap_count="?(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0) };
    }));
    return { unread: of.reduce((sum, { unread }) => sum + unread, 0), flaps: of.reduce((sum, { flaps }) => sum + flaps, 0) };
  }

  /**
   * Until every switch was audited, and every database compared, from beginning to end after this call: whatever a start or a change
   * brings about is there then. The controller must audit often (`--audit-interval 1`).
   */
  async checked(): Promise<void> {
    const before = new Map<string, number>();
    const audits = (hv: Hypervisor): Promise<number> => this.metric("axion_audits_total", { switch: hv.systemId });
    for (const hv of this.hypervisors) {
      before.set(hv.name, await audits(hv));
      // Of no consequence, and put right by a comparison that begins after it.
      await hv.vsctl("set", "Controller", "br-int", "max_backoff=2000");
    }
    for (const hv of this.hypervisors) {
      await until(`a comparison of ${hv.name}'s database`, async () => (await hv.vsctl("get", "Controller", "br-int", "max_backoff")).trim() === "1000", { timeoutMs: 10_000 });
      // The first may have begun before.
      await until(`audits of ${hv.name}`, async () => (await audits(hv)) >= before.get(hv.name)! + 2, { timeoutMs: 20_000 });
    }
  }

  /** What a dump of every switch shows to be missing, changed or foreign, as text; "" when all is as it should be. */
  async differences(): Promise<string> {
    const { body } = await this.controller.ops<string | undefined>("GET", "/flows?state=diff&format=text");
    return (body ?? "").split("\n").filter((line) => line !== "" && !line.startsWith("# switch")).join("\n");
  }

  async metric(name: string, labels: Record<string, string> = {}): Promise<number> {
    return metricOf((await this.controller.ops<string>("GET", "/metrics")).body, name, labels);
  }

  async destroy(): Promise<void> {
    await this.lab.destroy();
  }
}

interface SwitchesAnswer {
  readonly switches: readonly { readonly id: string; readonly state: string; readonly flows: { readonly desired: number; readonly installed: number; readonly pending: number } }[];
}

/** What tests ask of GET /switches. */
export function switchStates(body: unknown): SwitchState[] {
  return (body as SwitchesAnswer).switches.map((s) => ({
    id: s.id, connected: s.state === "connected", desired: s.flows.desired, installed: s.flows.installed, pending: s.flows.pending, raw: s,
  }));
}
