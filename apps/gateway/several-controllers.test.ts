// What a controller does by itself for hosts of which it is the master, where another one is that of the rest; `mine`: whose hosts are this one's.
import { arpOps, buildArp, buildEthernet, buildIpv4, buildUdp, ethertypes, ipProtocols, parsePacket } from "packet-codec";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Share } from "../../src/services/share.ts";
import { addressId, networkTable, portTable } from "../l2/model.ts";
import { routerTable, undelivered } from "../l3/model.ts";
import { Gateways, HOSTS, other, UPSTREAM } from "./gateways.fixture.ts";
import { gatewayNeighbourTable, gatewayPlanTable, gatewayReadyTable } from "./model.ts";

const ALL = [...HOSTS, "hv1"];
let g: Gateways;
let mine: Set<string>;
beforeEach(async () => {
  mine = new Set(ALL);
  g = await Gateways.make({ share: new Share("a", () => ["a"], undefined, (chassis) => mine.has(chassis)) });
});
afterEach(() => g.end());

const commit = (write: Parameters<typeof g.h.model.transact>[1]): Promise<unknown> => g.h.model.transact({ requestId: "req-other", call: "another controller" }, write);
/** What was sent since, of gateways: `<chassis> <what>`. */
function sent(): string[] {
  return g.h.sent.splice(0).flatMap(({ app, packet }) => {
    if (app !== "gateway" && app !== "l3") return [];
    const { eth, arp, ipv4, icmpv4 } = parsePacket(packet.data);
    if (arp !== undefined) return [`${packet.chassis} ${arp.spa === arp.tpa ? "announces" : "asks for"} ${arp.tpa}`];
    return [`${packet.chassis} ${eth.ethertype === 0x88b5 ? "teaches" : icmpv4 !== undefined ? "refuses" : `sends to ${ipv4!.dst} at ${eth.dst}`}`];
  });
}
/** `name`: a register with an address. */
function match(registers: Readonly<Record<string, number>>, nexthop: string): Record<string, number> {
  const out: Record<string, number> = {};
  for (const [name, value] of Object.entries(registers)) {
    const { field, ofs } = g.h.layout.register(name);
    out[field] = (out[field] ?? 0) + value * 2 ** (ofs % 32);
  }
  out[`reg${4 * Number(g.h.layout.register("nexthop").field.slice(5)) + 3}`] = nexthop.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  return out;
}
/** At a switch of which another controller is the master. */
function hear(packet: Parameters<typeof g.h.packets.hear>[0]): void {
  if (g.h.packets.heard.has(packet.tableId)) g.h.packets.hear(packet);
}
const frame = (src: string, from: string, dst: string): Buffer =>
  buildEthernet({ dst: "00:00:00:00:00:00", src, ethertype: ethertypes.ipv4 }, buildIpv4({ src: from, dst, protocol: ipProtocols.udp, ttl: 63 }, buildUdp({ src_port: 1, dst_port: 2 }, Buffer.alloc(8), { src: from, dst })));
async function answer(chassis: string, network: string, to: string, ip: string): Promise<void> {
  g.h.packets.handle({
    chassis, inPort: 1, tableId: g.h.layout.table("gateway_in").id, match: { [g.h.layout.register("net").field]: g.h.view.get(networkTable, network)!.key },
    data: buildEthernet({ dst: to, src: UPSTREAM, ethertype: ethertypes.arp }, buildArp({ op: arpOps.reply, sha: UPSTREAM, spa: ip, tha: to, tpa: "203.0.113.2" })),
  });
  await g.pass(0.3);
}

describe("who outside has an address that a host sends to which has no gateway", () => {
  const MACHINE = "203.0.113.77";
  /** As a switch does for a floating IP that it routes by itself; every controller hears of it. */
  const unresolved = async (): Promise<void> => {
    const { mac_address: src } = await g.port();
    const packet = { chassis: "hv1", inPort: 1, tableId: g.h.layout.table("gateway_unresolved").id, match: match({ net: g.h.view.get(networkTable, g.outside)!.key }, MACHINE), data: frame(src, "203.0.113.50", MACHINE) };
    if (mine.has("hv1")) g.h.packets.handle(packet);
    else hear(packet);
    await g.pass(0.1);
  };
  const about = (): string[] => sent().filter((what) => what.includes(MACHINE));
  beforeEach(async () => {
    await g.allReady();
    await g.pass(5);
    sent();
  });

  test("the master of the host that has the gateway asks, and stores who answers; what waits is another's", async () => {
    const active = g.plan().hosts[0]!;
    mine = new Set([active]);
    await unresolved();
    expect(about()).toEqual([`${active} asks for ${MACHINE}`]);
    await answer(active, g.outside, (await g.port()).mac_address, MACHINE);
    expect(g.h.view.get(gatewayNeighbourTable, addressId(g.outside, MACHINE))).toMatchObject({ mac: UPSTREAM });
    expect(about()).toEqual([]);
  });

  test("the host's own keeps the packet, asks nobody, and sends it when the store says who has the address", async () => {
    mine = new Set(["hv1"]);
    await unresolved();
    await g.pass(1.5);
    expect(about()).toEqual([]);
    await commit((tx) => tx.put(gatewayNeighbourTable, { id: addressId(g.outside, MACHINE), network_id: g.outside, ip: MACHINE, mac: UPSTREAM }));
    await g.pass(0.1);
    expect(about()).toEqual([`hv1 sends to ${MACHINE} at ${UPSTREAM}`]);
    await unresolved();
    expect(about(), "known").toEqual([`hv1 sends to ${MACHINE} at ${UPSTREAM}`]);
  });

  test("one that nobody answers for is forgotten, and what others store is left alone", async () => {
    mine = new Set(["hv1"]);
    await unresolved();
    const before = g.h.model.generation;
    await g.pass(6);
    await commit((tx) => tx.put(gatewayNeighbourTable, { id: addressId(g.outside, MACHINE), network_id: g.outside, ip: MACHINE, mac: UPSTREAM }));
    await g.pass(12);
    expect([about(), g.h.model.generation]).toEqual([[], before + 1]);
  });

  test("one that is the master of neither does nothing", async () => {
    mine = new Set([g.plan().hosts[1]!]);
    await unresolved();
    await g.pass(6);
    expect(about()).toEqual([]);
  });
});

test("a machine on a router's physical network, of which the model knows nothing, is asked for by the master of a host there", async () => {
  const MACHINE = "10.9.0.77";
  for (const [n, host] of HOSTS.entries()) await g.h.addChassis(host, { key: n + 1, gateway: true, bridge_mappings: { ext: "br-ext" } });
  const network = (await g.h.create("network", { "provider:network_type": "flat", "provider:physical_network": "ext" })).id;
  const subnet = (await g.h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.9.0.0/24" })).id;
  const inside = (await g.h.create("network", {})).id;
  const near = (await g.h.create("subnet", { network_id: inside, ip_version: 4, cidr: "10.8.0.0/24" })).id;
  for (const subnet_id of [subnet, near]) await g.h.call("PUT", `/v2.0/routers/${g.router}/add_router_interface`, { subnet_id });
  const { id } = await g.h.create("port", { network_id: inside });
  await g.h.plug("hv1", id, 1);
  await g.h.settled();
  await g.allReady();
  await g.pass(5);
  const port = g.h.view.get(portTable, id)!;
  const { fixed_ips } = (await g.h.call("GET", `/v2.0/ports/${id}`)).body.port as { fixed_ips: { ip_address: string }[] };
  const plan = [...g.h.view.all(gatewayPlanTable)].find((p) => p.kind === "interface" && p.network_id === network)!;
  const active = plan.hosts[0]!;
  mine = new Set([active]);
  sent();
  const data = frame(g.h.view.get(portTable, plan.id)!.mac_address, fixed_ips[0]!.ip_address, MACHINE);
  const registers = { in_port_key: port.key, net: g.h.view.get(networkTable, network)!.key, router: g.h.view.get(routerTable, g.router)!.key, undelivered: undelivered.unresolved };
  hear({ chassis: "hv1", inPort: 1, tableId: g.h.layout.table("l3_undelivered").id, match: match(registers, MACHINE), data });
  await g.pass(0.3);
  expect(sent().filter((what) => what.includes(MACHINE))).toEqual([`${active} asks for ${MACHINE}`]);
  await answer(active, network, g.h.view.get(portTable, plan.id)!.mac_address, MACHINE);
  expect(g.h.view.get(gatewayNeighbourTable, addressId(network, MACHINE))).toMatchObject({ mac: UPSTREAM });
});

test("a host of another controller hands over to one of this one's: bridges there are told before users are, and it is announced when these have heard", async () => {
  for (const [n, host] of HOSTS.entries()) await g.h.addChassis(host, { key: n + 1, gateway: true, bridge_mappings: { ext: "br-ext" } });
  g.outside = (await g.h.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" })).id;
  await g.h.create("subnet", { network_id: g.outside, ip_version: 4, cidr: "203.0.113.0/24" });
  await g.h.call("PUT", `/v2.0/routers/${g.router}`, { router: { external_gateway_info: { network_id: g.outside, enable_snat: false } } });
  await g.h.settled();
  await g.allReady();
  await g.pass(5);
  const [first] = g.plan().hosts as [string];
  const second = other(first);
  mine = new Set([second]);
  await g.pass(1);
  sent();
  const told = (): ReadonlySet<string> => new Set(sent().filter((what) => !what.includes("asks for")));
  const step = (row: { users: boolean; fellows: boolean }): Promise<unknown> => commit((tx) => tx.put(gatewayReadyTable, { id: first, ...row, shared: true, gateway: true }));
  await step({ users: true, fellows: true });
  await g.pass(1);
  await step({ users: false, fellows: true });
  await g.pass(1);
  expect(told()).toEqual(new Set());
  await step({ users: false, fellows: false });
  g.see(second, first, false, "up");
  await g.pass(0.3);
  expect(told()).toEqual(new Set([`${second} teaches`]));
  await g.pass(4);
  expect(told()).toEqual(new Set([`${second} announces ${(await g.port()).fixed_ips[0]!.ip_address}`]));
  // And back to a host that is another's.
  await step({ users: true, fellows: true });
  g.see(second, first, true);
  await g.pass(3);
  expect(told()).toEqual(new Set());
});
