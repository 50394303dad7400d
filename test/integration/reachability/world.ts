// A topology on real switches: what its data say is made by the API, plugged and started.
import { expect } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Cloud, type Resource } from "../../support/cloud.ts";
import { GuestAgent } from "./guest-agent.ts";
import type { FloatingData, Host, InstanceData, MachineData, NetworkData, RouterData, Topology } from "./topology.ts";

/** Where guests answer, beside ports that are forwarded to. */
export const ECHO_PORT = 7;
const HOSTS = 5;
const GATEWAYS = [4, 5];

export interface Member {
  readonly name: string;
  readonly guest: Guest;
  readonly agent: GuestAgent;
  readonly addresses: readonly string[];
  readonly mac: string;
  /** Undefined: a machine. */
  readonly host: Host | undefined;
  /** Its device at the host. */
  readonly tap?: string;
}

interface Made {
  readonly network: Resource;
  readonly subnets: readonly Resource[];
}

const six = (address: string): boolean => address.includes(":");
const lengthOf = (cidr: string): string => cidr.split("/")[1]!;
const addressesOf = (port: Resource): string[] => (port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address);

export class World {
  readonly cloud: Cloud;
  readonly topology: Topology;
  readonly members = new Map<string, Member>();
  /** Addresses of routers: outside by their name, inside by ROUTER.NETWORK; and of floating IPs. */
  readonly addresses = new Map<string, readonly string[]>();
  readonly #networks = new Map<string, Made>();
  readonly #ports = new Map<string, Resource>();
  #switch: Promise<Hypervisor> | undefined;

  private constructor(cloud: Cloud, topology: Topology) {
    this.cloud = cloud;
    this.topology = topology;
  }

  static async create(topology: Topology): Promise<World> {
    const all = [...new Set(Object.values(topology.networks).flatMap((n) => n.physnet ?? []))];
    const cloud = await Cloud.create({
      name: `reach ${topology.name}`, hypervisors: HOSTS, encapTypes: ["geneve", "vxlan", "gre"], flags: ["--audit-interval", "1"], ...(topology.underlay && { underlay: topology.underlay }),
      host: (n) => ({ gateway: GATEWAYS.includes(n), physnets: topology.physnets?.[n as Host] ?? all }),
    });
    try {
      const world = new World(cloud, topology);
      await world.#make();
      return world;
    } catch (error) {
      await cloud.destroy();
      throw error;
    }
  }

  /** The address of a guest, router or floating IP, of a family. @throws Error when it has none */
  address(name: string, v6: boolean): string {
    const found = (this.members.get(name)?.addresses ?? this.addresses.get(name) ?? []).find((ip) => six(ip) === v6);
    if (found === undefined) throw new Error(`${this.topology.name}: ${name} has no address of IPv${v6 ? 6 : 4}`);
    return found;
  }

  async destroy(): Promise<void> {
    await this.cloud.destroy();
  }

  async #make(): Promise<void> {
    const { networks, routers = {}, instances, machines = {}, floating = {} } = this.topology;
    const group = await this.cloud.create("security_group", { name: "open" });
    for (const ethertype of ["IPv4", "IPv6"]) await this.cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype });
    for (const [name, data] of Object.entries(networks)) await this.#network(name, data);
    for (const [name, data] of Object.entries(routers)) await this.#router(name, data);
    await Promise.all(Object.entries(instances).map(([name, data]) => this.#instance(name, data, group.id)));
    await Promise.all(Object.entries(machines).map(([name, data]) => this.#machine(name, data)));
    for (const [name, data] of Object.entries(floating)) await this.#floating(name, data);
    for (const port of this.#ports.values()) await this.cloud.active(port.id);
    await this.cloud.synced();
    await this.cloud.gatewaysUsable();
  }

  async #network(name: string, data: NetworkData): Promise<void> {
    const { kind, physnet, number, cidr, cidr6, gateway, gateway6, mode6, external, mtu, pool } = data;
    const network = await this.cloud.create("network", {
      name, "provider:network_type": kind,
      ...(physnet !== undefined && { "provider:physical_network": physnet }),
      ...(number !== undefined && { "provider:segmentation_id": number }),
      ...(external === true && { "router:external": true }),
      ...(mtu !== undefined && { mtu }),
    });
    const subnets = [await this.cloud.create("subnet", {
      network_id: network.id, ip_version: 4, cidr,
      ...(gateway !== undefined && { gateway_ip: gateway }), ...(pool && { allocation_pools: [{ start: pool[0], end: pool[1] }] }),
    })];
    if (cidr6 !== undefined) subnets.push(await this.cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: cidr6, ...(gateway6 !== undefined && { gateway_ip: gateway6 }), ...(mode6 && { ipv6_ra_mode: mode6, ipv6_address_mode: mode6 }) }));
    this.#networks.set(name, { network, subnets });
  }

  async #router(name: string, { nets, outside, snat = true }: RouterData): Promise<void> {
    const router = await this.cloud.create("router", { name });
    for (const net of nets) {
      const { subnets } = this.#networks.get(net)!;
      for (const { id } of subnets) {
        const { status, body } = await this.cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: id });
        expect(status, JSON.stringify(body)).toBe(200);
      }
      this.addresses.set(`${name}.${net}`, subnets.map((s) => s.gateway_ip as string));
    }
    if (outside === undefined) return;
    const { external_gateway_info: info } = await this.cloud.update("router", router.id, { external_gateway_info: { network_id: this.#networks.get(outside)!.network.id, enable_snat: snat } });
    this.addresses.set(name, (info as { external_fixed_ips: { ip_address: string }[] }).external_fixed_ips.map((f) => f.ip_address));
  }

  async #instance(name: string, { net, host, group = "open", dhcp }: InstanceData, open: string): Promise<void> {
    const { network, subnets } = this.#networks.get(net)!;
    const port = await this.cloud.create("port", { network_id: network.id, name, ...(group === "open" && { security_groups: [open] }) });
    this.#ports.set(name, port);
    const mac = port.mac_address as string;
    const vm = await this.cloud.lab.addVm({ name, hypervisor: this.cloud.hv(host), portId: port.id, mac, mtu: network.mtu as number });
    for (const ip of dhcp === true ? [] : addressesOf(port)) {
      const subnet = subnets.find((s) => (s.ip_version === 6) === six(ip))!;
      await vm.setAddress(`${ip}/${lengthOf(subnet.cidr as string)}`, (subnet.gateway_ip as string | null) ?? undefined);
    }
    await this.#joins({ name, guest: vm, addresses: addressesOf(port), mac, host, tap: vm.nic.tap });
  }

  async #machine(name: string, { net, ip, ip6, forwards, routes = {} }: MachineData): Promise<void> {
    const { kind, physnet, cidr, cidr6 } = this.topology.networks[net]!;
    const { network } = this.#networks.get(net)!;
    const mac = `02:00:00:00:00:${(Object.keys(this.topology.machines!).indexOf(name) + 1).toString(16).padStart(2, "0")}`;
    let guest: Guest;
    if (kind === "flat") guest = await this.cloud.lab.addOutside({ name, physnet: physnet!, mac });
    else {
      // A switch of nobody's, on all physical networks: its ports have the VLANs.
      this.#switch ??= this.cloud.lab.addHypervisor({ name: "sw", physnets: [...new Set(Object.values(this.topology.networks).flatMap((n) => n.physnet ?? []))] });
      const sw = await this.#switch;
      const vm = await this.cloud.lab.addVm({ name, hypervisor: sw, bridge: `br-${physnet!}`, portId: name, mac });
      await sw.vsctl("set", "Port", vm.nic.tap, `tag=${network["provider:segmentation_id"] as number}`);
      guest = vm;
    }
    if (forwards === true) await guest.sysctl("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    const addresses = [ip, ...(ip6 === undefined ? [] : [ip6])];
    await guest.setAddress(addresses.map((a) => `${a}/${lengthOf(six(a) ? cidr6! : cidr)}`));
    await guest.configure(...Object.entries(routes).map(([prefix, router]) => `route add ${prefix} via ${this.address(router, six(prefix))}`));
    await this.#joins({ name, guest, addresses, mac, host: undefined });
  }

  async #joins(member: Omit<Member, "agent">): Promise<void> {
    const forwarded = Object.values(this.topology.floating ?? {}).flatMap((f) => f.forward ?? []).filter((f) => f.to === member.name).map((f) => f.port);
    this.members.set(member.name, { ...member, agent: await GuestAgent.start(member.guest, member.name, [...new Set([ECHO_PORT, ...forwarded])]) });
  }

  async #floating(name: string, { net, to, forward = [] }: FloatingData): Promise<void> {
    const made = await this.cloud.create("floatingip", { floating_network_id: this.#networks.get(net)!.network.id, ...(to !== undefined && { port_id: this.#ports.get(to)!.id }) });
    this.addresses.set(name, [made.floating_ip_address as string]);
    for (const { protocol, from, to: inside, port } of forward) {
      const { status, body } = await this.cloud.call("POST", `/v2.0/floatingips/${made.id}/port_forwardings`, {
        port_forwarding: { protocol, external_port: from, internal_port: port, internal_port_id: this.#ports.get(inside)!.id, internal_ip_address: this.address(inside, false) },
      });
      expect(status, JSON.stringify(body)).toBe(201);
    }
    await until(`floating IP ${name} in place`, async () => (await this.cloud.show("floatingip", made.id)).status === "ACTIVE", { timeoutMs: 15_000 });
  }
}
