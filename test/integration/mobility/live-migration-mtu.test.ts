// Path MTU discovery while a server that moves has two bindings, before and after it is activated where it goes: frames that fill the network's MTU get through both ways,
// and whoever sends what does not fit is told, the server where it is. In tunnels and on a VLAN, across hosts, by a router and from outside.
// @module-tag long
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { discovered, forget } from "../../support/path-mtu.ts";

const [NARROW, OUTSIDE] = [1300, 1500];
const six = ({ fixed_ips }: Resource): string => (fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;

describe.skipIf(Lab.missing().length > 0)("while a server has two bindings", () => {
  let cloud: Cloud;
  let group: string;
  /** In tunnels, on a VLAN, and one that has less room. */
  let [tunnels, vlan, narrow]: Net[] = [];
  let [inTunnels, onVlan, behind]: Instance[] = [];
  let outside: Resource;
  /** A machine outside. */
  let x: Guest;
  const [X, X6] = ["203.0.113.1", "2001:db8:1::1"];

  async function network(n: number, values: Record<string, unknown>): Promise<Net> {
    const made = await cloud.create("network", values);
    const subnet = await cloud.create("subnet", { network_id: made.id, ip_version: 4, cidr: `10.0.${n}.0/24` });
    return { network: made, subnet };
  }
  const addressed = async (vm: Vm, port: Resource, n: number): Promise<void> => {
    await vm.setAddress(`${six(port)}/64`, `fd00:${n}::1`);
    await vm.listen(9);
  };
  const nets = (): readonly Net[] => [tunnels!, vlan!, narrow!];
  async function instance(net: Net, host: number, port: Record<string, unknown> = {}): Promise<Instance> {
    const made = await cloud.instance(cloud.hv(host), net, { port: { security_groups: [group], ...port } });
    await addressed(made.vm, made.port, nets().indexOf(net));
    return made;
  }

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "live-migration-mtu", hypervisors: 3, physnets: ["ext"], host: (n) => ({ gateway: n === 3 }) });
    tunnels = await network(0, {});
    vlan = await network(1, { "provider:network_type": "vlan", "provider:physical_network": "ext", "provider:segmentation_id": 77 });
    narrow = await network(2, { mtu: NARROW });
    const router = await cloud.router(nets());
    for (const [n, { network: { id } }] of nets().entries()) {
      const subnet = await cloud.create("subnet", { network_id: id, ip_version: 6, cidr: `fd00:${n}::/64`, gateway_ip: `fd00:${n}::1` });
      expect((await cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id })).status).toBe(200);
    }
    outside = await cloud.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" });
    await cloud.create("subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24", gateway_ip: X });
    await cloud.create("subnet", { network_id: outside.id, ip_version: 6, cidr: "2001:db8:1::/64", gateway_ip: X6 });
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.id } });
    const [port] = (await cloud.call("GET", `/v2.0/ports?device_id=${router.id}&device_owner=network:router_gateway`)).body.ports as unknown as [Resource];
    x = await cloud.lab.addOutside({ name: "machine", physnet: "ext" });
    await x.setAddress([`${X}/24`, `${X6}/64`]);
    await x.configure(`route add fd00::/16 via ${six(port)}`);
    await x.listen(9);
    group = (await cloud.create("security_group", { name: "open" })).id;
    for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: group, direction: "ingress", ethertype });
    [inTunnels, onVlan, behind] = [await instance(tunnels, 3), await instance(vlan, 3), await instance(narrow, 3)];
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  test.each([["in tunnels", 0], ["on a VLAN", 1]] as const)("%s what fits arrives, and what does not is told of", async (_, n) => {
    const [net, peer] = [nets()[n]!, [inTunnels!, onVlan!][n]!];
    const mtu = net.network.mtu as number;
    const near = await instance(net, 1);
    const { vm, port, ip } = await instance(net, 1, { device_owner: "compute:nova", "binding:host_id": "hv1" });
    const bindings = `/v2.0/ports/${port.id}/bindings`;
    expect((await cloud.call("POST", bindings, { binding: { host: "hv2", vnic_type: "normal", profile: {} } })).status).toBe(201);
    const twin = await cloud.lab.addVm({ name: `twin${n}`, hypervisor: cloud.hv(2), portId: port.id, mac: port.mac_address as string, mtu });
    await twin.setAddress(`${ip}/24`, `10.0.${n}.1`);
    await addressed(twin, port, n);
    const wired = async (): Promise<boolean> => (await cloud.hv(2).vsctl("--if-exists", "get", "Interface", twin.nic.tap, "external_ids:axion-installed")).includes("true");
    await until("the second interface to be wired", wired, { timeoutMs: 20_000 });
    await cloud.synced();

    const { id: floatingId, floating_ip_address } = await cloud.create("floatingip", { floating_network_id: outside.id, port_id: port.id });
    const floating = floating_ip_address as string;
    await until("the floating IP to be there", async () => (await cloud.show("floatingip", floatingId)).status === "ACTIVE", { timeoutMs: 10_000 });
    const own = [ip, six(port)];
    const addresses = (of: Instance): readonly string[] => [of.ip, six(of.port)];
    /** Of guests of its network, of one where there is less room, and of one outside. */
    const holds = async (server: Guest, where: string): Promise<void> => {
      const met = async (from: Guest, to: string, mtus: readonly number[]): Promise<void> => {
        await until(`${where}: an answer of ${to}`, () => from.reaches(to), { timeoutMs: 20_000 });
        await forget(from);
        expect(await discovered(from, to, 9), `${where}: to ${to}`).toEqual(mtus);
      };
      for (const other of [peer, near]) {
        for (const to of addresses(other)) await met(server, to, [mtu]);
        for (const to of own) await met(other.vm, to, [mtu]);
      }
      for (const to of addresses(behind!)) await met(server, to, [mtu, NARROW]);
      // It may be that the gateway is reached by a tunnel.
      for (const to of [X, X6]) await met(server, to, [...new Set([mtu, tunnels!.network.mtu as number])]);
      for (const from of [x, onVlan!.vm]) for (const to of [from === x ? floating : ip, six(port)]) await met(from, to, mtu < OUTSIDE ? [OUTSIDE, mtu] : [mtu]);
    };
    await holds(vm, "before it moves");
    expect((await cloud.call("PUT", `${bindings}/hv2/activate`)).status).toBe(200);
    await cloud.renewed();
    await holds(twin, "when it has moved");
    await vm.unplug();
    expect((await cloud.call("DELETE", `${bindings}/hv1`)).status).toBe(204);
    await cloud.synced();
    expect(await cloud.differences()).toBe("");
  }, 120_000);
});
