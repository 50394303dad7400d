// What a host has is what its own ports and gateways need, counted at the sizes that others have reported.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildEthernet, ethertypes } from "packet-codec";
import { gatewayNeighbourTable, gatewayPlanTable } from "../../apps/gateway/model.ts";
import { networkTable } from "../../apps/l2/model.ts";
import { Harness, textOf } from "../support/harness.ts";
import { nightly } from "../support/process.ts";

const MEMBERS = nightly ? 1000 : 300;

let h: Harness;
beforeEach(async () => {
  h = await Harness.make();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

const flows = (host: string): number => [...h.engine.flowsOf(host)].length;

describe("a remote group", () => {
  let network: string;
  let members: string;
  let users: string;
  const ofport = new Map<string, number>();
  const port = async (host: string, group: string): Promise<void> => {
    const { id } = await h.create("port", { network_id: network, security_groups: [group] });
    ofport.set(host, (ofport.get(host) ?? 0) + 1);
    await h.plug(host, id, ofport.get(host)!);
  };
  const ports = async (host: string, group: string, n: number): Promise<void> => {
    for (let i = 0; i < n; i++) await port(host, group);
    await h.settled();
  };

  test(`of ${MEMBERS} members, used by as many ports of a host: flows grow as members and ports, each alone`, async () => {
    for (const host of ["hv1", "hv2"]) await h.addChassis(host);
    ofport.clear();
    network = (await h.create("network", {})).id;
    await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/16" });
    [members, users] = [(await h.create("security_group", { name: "members" })).id, (await h.create("security_group", { name: "users" })).id];
    for (const protocol of ["tcp", "udp"]) await h.create("security_group_rule", { security_group_id: users, direction: "ingress", protocol, port_range_min: 80, port_range_max: 80, remote_group_id: members });
    await ports("hv1", users, 10);
    await ports("hv2", members, 10);
    const begin = flows("hv1");
    await ports("hv2", members, 10);
    const perMember = (flows("hv1") - begin) / 10;
    const middle = flows("hv1");
    await ports("hv1", users, 10);
    const perPort = (flows("hv1") - middle) / 10;
    await ports("hv2", members, MEMBERS - 20);
    await ports("hv1", users, MEMBERS - 20);
    // Broadcasts to very many ports of a host are in parts.
    const { id } = h.layout.table("flood_parts");
    const parts = [...h.engine.flowsOf("hv1")].filter((f) => f.table === id).length;
    expect(parts).toBeGreaterThanOrEqual(Math.floor(MEMBERS / 64));
    expect(parts).toBeLessThanOrEqual(Math.ceil(MEMBERS / 64) + 1);
    expect(flows("hv1") - parts).toBe(begin + (perMember + perPort) * (MEMBERS - 10));
    // Where it is used by nobody, members are neighbours alone.
    expect(perMember).toBeLessThan(10);
  }, 120_000);
});

const ROUTERS = nightly ? 871 : 300;

describe(`${ROUTERS} routers on one external network`, () => {
  const GATEWAYS = 30;

  test("a host has those that it carries, and one more is no matter of the others", async () => {
    const gateways = Array.from({ length: GATEWAYS }, (_, n) => `gw${n}`);
    for (const host of [...gateways, "hv1", "hv2"]) await h.addChassis(host, { gateway: host.startsWith("gw"), bridge_mappings: host.startsWith("gw") ? { ext: "br-ext" } : {} });
    const outside = (await h.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" })).id;
    await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.112.0/20" });
    await h.settled();
    const bare = new Map([...gateways, "hv1", "hv2"].map((host) => [host, flows(host)]));
    const tenant = async (host?: string): Promise<string> => {
      const network_id = (await h.create("network", {})).id;
      const subnet_id = (await h.create("subnet", { network_id, ip_version: 4, cidr: "10.0.0.0/24" })).id;
      const router = (await h.create("router", { external_gateway_info: { network_id: outside } })).id;
      await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id });
      const { id } = await h.create("port", { network_id });
      if (host !== undefined) await h.plug(host, id, 10);
      return router;
    };
    const first = await tenant("hv1");
    await h.settled();
    const [alone, empty] = [flows("hv1"), flows("hv2")];
    for (let n = 1; n < ROUTERS; n++) await tenant();
    await h.settled();
    expect([flows("hv1"), flows("hv2")], "hosts without a gateway").toEqual([alone, empty]);
    // Three hosts a router, spread: each carries what is its share, and has flows for no more.
    const carried = new Map(gateways.map((host) => [host, 0]));
    for (const plan of h.view.all(gatewayPlanTable)) for (const host of plan.hosts) carried.set(host, carried.get(host)! + 1);
    expect([...carried.values()].reduce((sum, n) => sum + n)).toBe(3 * ROUTERS);
    const each = gateways.map((host) => (flows(host) - bare.get(host)!) / carried.get(host)!);
    expect(Math.max(...each)).toBeLessThan(2 * Math.min(...each));
    const told = new Set<string>();
    h.engine.onDelta((delta) => {
      for (const [host, change] of delta.chassis) if (change.add.length + change.remove.length > 0) told.add(host);
    });
    const last = await tenant();
    await h.settled();
    const { hosts } = h.view.by(gatewayPlanTable, "router", last)[0]!;
    expect([...told].sort()).toEqual([...hosts].sort());
    expect(h.view.by(gatewayPlanTable, "router", first)[0]!.hosts).toHaveLength(3);

    // Until somebody sends to it: the first packet goes on at once, and all hosts of gateways know it from then on, until it goes.
    const gatewayOf = async (router: string): Promise<{ id: string; mac_address: string; fixed_ips: { ip_address: string }[] }> => ((await h.call("GET", `/v2.0/ports?device_id=${router}&device_owner=network:router_gateway`)).body as { ports: [never] }).ports[0];
    const [from, to] = [await gatewayOf(first), await gatewayOf(last)];
    const ip = to.fixed_ips[0]!.ip_address;
    const nexthop = `reg${4 * Number(h.layout.register("nexthop").field.slice(5)) + 3}`;
    const known = (): string[] => gateways.filter((host) => [...h.engine.flowsOf(host)].some((f) => f.table === h.layout.table("neighbour").id && textOf(f).includes(to.mac_address)));
    expect(known().sort()).toEqual([...hosts].sort());
    h.packets.handle({
      chassis: h.view.get(gatewayPlanTable, from.id)!.hosts[0]!, inPort: 1, tableId: h.layout.table("gateway_unresolved").id,
      match: { [h.layout.register("net").field]: h.view.get(networkTable, outside)!.key, [nexthop]: ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0) },
      data: buildEthernet({ dst: "00:00:00:00:00:00", src: from.mac_address, ethertype: ethertypes.ipv4 }, Buffer.alloc(40)),
    });
    await h.clock.run(300);
    await h.settled();
    expect(h.sent.flatMap(({ app, packet }) => (app === "gateway" && Buffer.from(packet.data).readUInt16BE(12) === ethertypes.ipv4 ? [Buffer.from(packet.data).toString("hex", 0, 6)] : []))).toEqual([to.mac_address.replaceAll(":", "")]);
    expect(known()).toEqual(gateways);
    await h.call("PUT", `/v2.0/routers/${last}`, { router: { external_gateway_info: null } });
    await h.clock.run(2000);
    await h.settled();
    expect(known()).toEqual([]);
    expect([...h.view.all(gatewayNeighbourTable)]).toEqual([]);
  }, 120_000);
});
