// What a project makes through the API, with no more rights than any member of it has: two networks, a router on both
// that leads outside, rules of its security groups, ports; and the VMs that are plugged for these ports.

import type { Controller } from "../controller.ts";
import type { Vm } from "../vm.ts";
import type { Hypervisor } from "../hypervisor.ts";
import type { Lab } from "../lab.ts";
import { DMZ, type Network, type OperatorNetworks } from "./outside.ts";
import { Surprise } from "./report.ts";

export interface Subnet {
  readonly id: string;
  readonly cidr: string;
  readonly gateway_ip: string;
}

export interface Port {
  readonly id: string;
  readonly name: string;
  readonly mac_address: string;
  readonly status: string;
  readonly device_owner: string;
  readonly fixed_ips: readonly { readonly ip_address: string; readonly subnet_id: string }[];
}

interface Group {
  readonly id: string;
  readonly name: string;
}

export interface Guest {
  readonly name: string;
  readonly tenant: string;
  readonly vm: Vm;
  readonly network: Network;
  readonly port: Port;
  readonly ip: string;
  /** Its SLAAC address, where the network has such a subnet. */
  readonly ip6: string | undefined;
  /** Of its subnet. */
  readonly gateway: string | undefined;
  readonly hypervisor: Hypervisor;
}

export interface TenantPlan {
  readonly name: string;
  /** An address of front's third VM that the other tenant has not got. */
  readonly ownAddress?: string;
  /** SLAAC subnet of its first network. */
  readonly slaac?: string;
  /** Its VM on the second network is in a group of its own, "web", that lets nothing in but pings. */
  readonly web?: boolean;
  /** Where its VM on the second network runs, 0 to 2. */
  readonly backHost: number;
  /** Where its VM on the network that is a VLAN runs. */
  readonly dmzHost?: number;
}

/** The front network's VMs, by host, and the back network's one. */
export const FRONT = "10.0.0.0/24";
export const BACK = "10.0.1.0/24";

export class Tenant {
  readonly name: string;
  readonly plan: TenantPlan;
  readonly guests: Guest[] = [];
  front!: Network;
  back!: Network;
  frontSubnet!: Subnet;
  backSubnet!: Subnet;
  slaacSubnet: Subnet | undefined;
  dmzSubnet: Subnet | undefined;
  routerId = "";
  /** The router's address outside, and the host that has it. */
  gateway = "";
  gatewayHost = "";
  /** Its floating IP, once it has one. */
  floatingIp = "";
  /** MACs of the router's interfaces. */
  readonly routerMacs: string[] = [];
  groups: Record<"default" | "web", string> = { default: "", web: "" };
  readonly #controller: Controller;
  readonly #ports: { port: Port; network: Network; host: number; gateway: string | undefined }[] = [];

  constructor(controller: Controller, plan: TenantPlan) {
    this.#controller = controller;
    this.plan = plan;
    this.name = plan.name;
  }

  /** A call in this project's name. @throws Surprise when the answer has another status than `status` */
  async call<T>(method: string, path: string, body: unknown, status: number): Promise<T> {
    const answer = await this.raw(method, path, body);
    if (answer.status !== status) {
      throw new Surprise(`${method} ${path} as ${this.name}: ${status}`, `${answer.status} ${JSON.stringify(answer.body)} to ${JSON.stringify(body)}`);
    }
    return answer.body as T;
  }

  raw(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
    return this.#controller.api(method, path, body, { "x-project-id": this.name, "x-user-id": `${this.name}-user`, "x-roles": "member,reader" });
  }

  /** POST of one resource; the resource. */
  async create<T>(resource: string, body: Record<string, unknown>): Promise<T> {
    const made = await this.call<Record<string, T>>("POST", `/v2.0/${resource.replaceAll("_", "-")}s`, { [resource]: body }, 201);
    return made[resource]!;
  }

  get macs(): string[] {
    return [...this.guests.map((guest) => guest.port.mac_address), ...this.routerMacs];
  }

  /** Networks, router, groups, ports. With `like`, VMs get the same addresses as that tenant's. */
  async build({ internet, dmz }: OperatorNetworks, like?: Tenant): Promise<void> {
    const { name, plan } = this;
    [this.front, this.back] = await Promise.all([
      this.create<Network>("network", { name: `${name}-front` }),
      this.create<Network>("network", { name: `${name}-back` }),
    ]);
    [this.frontSubnet, this.backSubnet] = await Promise.all([
      this.create<Subnet>("subnet", { network_id: this.front.id, ip_version: 4, cidr: FRONT }),
      this.create<Subnet>("subnet", { network_id: this.back.id, ip_version: 4, cidr: BACK }),
    ]);
    if (plan.slaac !== undefined) {
      const gateway_ip = plan.slaac.replace(/\/.*/, "1");
      this.slaacSubnet = await this.create<Subnet>("subnet", {
        network_id: this.front.id, ip_version: 6, cidr: plan.slaac, gateway_ip, ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac",
      });
    }
    this.routerId = (await this.create<{ id: string }>("router", { name: `${name}-router` })).id;
    for (const subnet of [this.frontSubnet, this.backSubnet, this.slaacSubnet]) {
      if (subnet === undefined) continue;
      const { port_id } = await this.call<{ port_id: string }>("PUT", `/v2.0/routers/${this.routerId}/add_router_interface`, { subnet_id: subnet.id }, 200);
      const { port } = await this.call<{ port: Port }>("GET", `/v2.0/ports/${port_id}`, undefined, 200);
      this.routerMacs.push(port.mac_address);
    }
    const info = { external_gateway_info: { network_id: internet.id } };
    const { router } = await this.call<{ router: { external_gateway_info: { external_fixed_ips: { ip_address: string }[] } } }>("PUT", `/v2.0/routers/${this.routerId}`, { router: info }, 200);
    this.gateway = router.external_gateway_info.external_fixed_ips[0]!.ip_address;
    await this.#buildGroups();
    for (let host = 0; host < 3; host++) {
      const ip_address = (host === 2 ? plan.ownAddress : undefined) ?? like?.addressOf(host);
      await this.#addPort(`${name}${host + 1}`, this.front, host, this.frontSubnet.gateway_ip, {
        ...(ip_address !== undefined && { fixed_ips: [{ subnet_id: this.frontSubnet.id, ip_address }] }),
      });
    }
    const back = like?.addressOf(3);
    await this.#addPort(`${name}4`, this.back, plan.backHost, this.backSubnet.gateway_ip, {
      ...(plan.web === true && { security_groups: [this.groups.web] }),
      ...(back !== undefined && { fixed_ips: [{ subnet_id: this.backSubnet.id, ip_address: back }] }),
    });
    if (plan.dmzHost === undefined) return;
    this.dmzSubnet = await this.create<Subnet>("subnet", { network_id: dmz.id, ip_version: 4, cidr: DMZ, gateway_ip: null, allocation_pools: [{ start: "10.20.0.10", end: "10.20.0.99" }] });
    await this.#addPort(`${name}5`, dmz, plan.dmzHost, undefined, {});
  }

  /** IPv4 address of the port of this number: 0 to 2 are front's, 3 is back's. */
  addressOf(number: number): string | undefined {
    const port = this.#ports[number]?.port;
    return port === undefined ? undefined : addressIn(port, 4);
  }

  /** Rules beside those every project starts with: ssh from anywhere and, with a web group, pings between the two. */
  async #buildGroups(): Promise<void> {
    const { security_groups: groups } = await this.call<{ security_groups: Group[] }>("GET", "/v2.0/security-groups?name=default", undefined, 200);
    const own = groups[0];
    if (own === undefined || groups.length !== 1) throw new Surprise(`one default security group of ${this.name}`, JSON.stringify(groups));
    this.groups.default = own.id;
    await this.addRule(own.id, { protocol: "tcp", port_range_min: 22, port_range_max: 22, remote_ip_prefix: "0.0.0.0/0", description: "ssh" });
    if (this.plan.web !== true) return;
    this.groups.web = (await this.create<Group>("security_group", { name: "web", description: "what is opened here is open" })).id;
    await this.addRule(this.groups.web, { protocol: "icmp" });
    await this.addRule(own.id, { protocol: "icmp", remote_group_id: this.groups.web });
  }

  /** An ingress rule of a group; its id. */
  async addRule(group: string, rule: Record<string, unknown>): Promise<string> {
    const body = { security_group_id: group, direction: "ingress", ethertype: "IPv4", ...rule };
    return (await this.create<{ id: string }>("security_group_rule", body)).id;
  }

  async #addPort(name: string, network: Network, host: number, gateway: string | undefined, more: Record<string, unknown>): Promise<void> {
    const port = await this.create<Port>("port", { name, network_id: network.id, device_id: `${name}-vm`, device_owner: "compute:demo", ...more });
    this.#ports.push({ port, network, host, gateway });
  }

  /** Starts a VM for each port. Interfaces begin with an MTU of 1500: what is right they learn from DHCP. */
  async plug(lab: Lab, hypervisors: readonly Hypervisor[]): Promise<void> {
    const guests = await Promise.all(
      this.#ports.map(async ({ port, network, host, gateway }): Promise<Guest> => {
        const hypervisor = hypervisors[host]!;
        const ip = addressIn(port, 4);
        if (ip === undefined) throw new Surprise(`an IPv4 address of port ${port.name}`, JSON.stringify(port.fixed_ips));
        const vm = await lab.addVm({ name: port.name, hypervisor, portId: port.id, mac: port.mac_address });
        return { name: port.name, tenant: this.name, vm, network, port, ip, ip6: addressIn(port, 6), gateway, hypervisor };
      }),
    );
    this.guests.push(...guests);
  }

  /** Its VMs' ports as the API shows them now. */
  async ports(): Promise<Port[]> {
    const { ports } = await this.call<{ ports: Port[] }>("GET", "/v2.0/ports?device_owner=compute:demo", undefined, 200);
    return ports;
  }
}

function addressIn(port: Port, family: 4 | 6): string | undefined {
  return port.fixed_ips.find(({ ip_address }) => ip_address.includes(":") === (family === 6))?.ip_address;
}
