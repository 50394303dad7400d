// Routers that speak BFD with their next hops: which sessions there are, what is known of them and where routes lead, with a clock that passes when the test says
// so, and next hops that are what the test makes of them.
import { arpOps, bfdPorts, bfdStates, buildArp, buildBfd, buildEthernet, buildIpv4, buildIpv6, buildUdp, ethertypes, ipProtocols, parseBfd, parsePacket, type BfdControl } from "packet-codec";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Harness, textOf } from "../../test/support/harness.ts";
import { gatewayNeighbourTable, gatewayReadyTable } from "../gateway/model.ts";
import { addressId, networkTable, portTable } from "../l2/model.ts";
import { lostNextHopTable } from "../l3/model.ts";
import { Machine } from "./machine.ts";
import { bfdPeerTable, bfdSessionTable, type BfdSession } from "./model.ts";
import { problems } from "./problems.ts";

const X = "203.0.113.1";
const Y = "198.51.100.1";
const Z = "2001:db8:f::1";
let h: Harness;
let networks: string[];
let router: string;
/** Next hops that speak, by address; each has one session at most here. */
let peers: Map<string, Machine>;
let heard: { readonly to: string; readonly control: BfdControl; readonly data: Uint8Array; readonly packet: Record<string, unknown> }[];

async function external(cidr: string): Promise<string> {
  const network = (await h.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": `ext${networks.length}` })).id;
  await h.create("subnet", { network_id: network, ip_version: cidr.includes(":") ? 6 : 4, cidr });
  networks.push(network);
  return network;
}
const sessions = (): BfdSession[] => [...h.view.all(bfdSessionTable)].sort((a, b) => (a.nexthop < b.nexthop ? -1 : 1));
const sessionWith = (nexthop: string): BfdSession => sessions().find((s) => s.nexthop === nexthop)!;
const lost = (): string[] => [...h.view.all(lostNextHopTable)].map((row) => row.ip).sort();
const flows = (table: string, host = "gw1"): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf);
};
/** The next hops of the default routes, for each of several ways. */
const byDefault = (): string[] => flows("l3_fits").filter((f) => f.startsWith("priority=100,")).flatMap((f) => [X, Y].filter((ip) => f.includes(`set_field:${hex(ip)}->`))).sort();
const hex = (ip: string): string => `0x${Buffer.from(ip.split(".").map(Number)).toString("hex")}`;
const set = async (values: object, url = `/v2.0/routers/${router}`): Promise<void> => {
  const answer = await h.call("PUT", url, { router: values });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  await h.settled();
};

/** From a next hop, as the switch sends it up. */
function say(session: BfdSession, payload: Uint8Array, { src = session.nexthop, dst = session.address, ttl = 255 } = {}): void {
  const udp = buildUdp({ src_port: 49_152, dst_port: bfdPorts.control }, payload, { src, dst });
  const six = src.includes(":");
  const ip = six ? buildIpv6({ src, dst, next_header: ipProtocols.udp, hop_limit: ttl }, udp) : buildIpv4({ src, dst, protocol: ipProtocols.udp, ttl }, udp);
  h.packets.handle({
    chassis: "gw1", inPort: 1, tableId: h.layout.table("bfd_in").id, match: { [h.layout.register("net").field]: h.view.get(networkTable, session.network_id)!.key },
    data: buildEthernet({ dst: h.view.get(portTable, session.gateway_id)!.mac_address, src: "02:00:00:00:00:fe", ethertype: six ? ethertypes.ipv6 : ethertypes.ipv4 }, ip),
  });
}
/** Next hops answer who asks for their MAC. */
function resolve(question: Uint8Array): void {
  const { arp } = parsePacket(question);
  const n = [X, Y].indexOf(arp?.tpa ?? "");
  if (arp?.op !== arpOps.request || n < 0) return;
  h.packets.handle({
    chassis: "gw1", inPort: 1, tableId: h.layout.table("gateway_in").id, match: { [h.layout.register("net").field]: h.view.get(networkTable, networks[n]!)!.key },
    data: buildEthernet({ dst: arp.sha, src: "02:00:00:00:00:fe", ethertype: ethertypes.arp }, buildArp({ op: arpOps.reply, sha: "02:00:00:00:00:fe", spa: arp.tpa, tha: arp.sha, tpa: arp.spa })),
  });
}
/** Time passes; next hops that speak do so every second, and at once where something has changed. */
async function pass(seconds: number): Promise<void> {
  for (let t = 0; t < seconds * 10; t++) {
    await h.clock.run(100);
    await h.settled();
    h.confirm("gw1");
    const turn = Math.round(h.clock.monotonic() / 100) % 10 === 0;
    for (const { app, packet } of h.sent.splice(0)) {
      if (app === "gateway") resolve(packet.data);
      if (app !== "bfd") continue;
      const { ipv4, ipv6, udp } = parsePacket(packet.data);
      const to = (ipv4 ?? ipv6)!.dst;
      const control = parseBfd(udp!.payload);
      heard.push({ to, control, data: packet.data, packet: packet as unknown as Record<string, unknown> });
      const peer = peers.get(to);
      const answer = peer?.heard(control, h.clock.monotonic());
      const session = sessionWith(to);
      if (peer !== undefined && session !== undefined && answer !== undefined && "changed" in answer && answer.changed) say(session, buildBfd(fast(peer.says())));
    }
    for (const [ip, peer] of peers) {
      peer.silent(h.clock.monotonic());
      const session = sessionWith(ip);
      if (turn && session !== undefined) say(session, buildBfd(fast(peer.says())));
    }
  }
}
/** Three seconds of silence are too much of one that speaks so. */
const fast = (control: BfdControl): BfdControl => ({ ...control, detect_mult: 3 });
const speaks = (ip: string): void => void peers.set(ip, new Machine(peers.size + 1000));

beforeEach(async () => {
  peers = new Map();
  heard = [];
  networks = [];
  h = await Harness.make();
  await h.addChassis("gw1", { key: 1, gateway: true, bridge_mappings: { ext0: "br-0", ext1: "br-1", ext2: "br-2" } });
  for (const cidr of ["203.0.113.0/24", "198.51.100.0/24"]) await external(cidr);
  router = (await h.create("router", { enable_default_route_bfd: true })).id;
  const inside = (await h.create("network", {})).id;
  const subnet = (await h.create("subnet", { network_id: inside, ip_version: 4, cidr: "10.0.0.0/24" })).id;
  expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet })).status).toBe(200);
  await set({ external_gateways: networks.map((network_id) => ({ network_id })) }, `/v2.0/routers/${router}/add_external_gateways`);
  await h.model.transact({ requestId: "test", call: "test" }, (tx) => {
    tx.put(gatewayReadyTable, { id: "gw1", users: true, fellows: true });
    for (const [n, ip] of [X, Y].entries()) tx.put(gatewayNeighbourTable, { id: addressId(networks[n]!, ip), network_id: networks[n]!, ip, mac: "02:00:00:00:00:fe", hop: true });
  });
  await pass(1);
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  expect(h.dropped).toEqual([]);
  await h.close();
});

describe("the switch of a router", () => {
  const show = async (): Promise<unknown> => (await h.call("GET", `/v2.0/routers/${router}`)).body.router.enable_default_route_bfd;

  test("is for administrators; without it there are no sessions, and of what there was nothing is left", async () => {
    expect(await show()).toBe(true);
    const member = { "x-project-id": "acme", "x-roles": "member" };
    const own = await h.call("POST", "/v2.0/routers", { router: { name: "mine" } }, member);
    expect(own.body.router.enable_default_route_bfd).toBe(false);
    expect((await h.call("POST", "/v2.0/routers", { router: { enable_default_route_bfd: true } }, member)).status).toBe(403);
    expect((await h.call("PUT", `/v2.0/routers/${own.body.router.id}`, { router: { enable_default_route_bfd: true } }, member)).status).toBe(403);
    const refused = await h.call("PUT", `/v2.0/routers/${router}`, { router: { enable_default_route_bfd: "perhaps" } });
    expect(refused.status).toBe(400);
    speaks(X);
    await pass(4);
    expect([...h.view.all(bfdPeerTable)]).toHaveLength(1);
    heard = [];
    await set({ enable_default_route_bfd: null });
    expect(await show()).toBe(false);
    expect(sessions()).toEqual([]);
    await pass(3);
    // The next hop is told that it is not because of the path.
    expect(new Map(heard.map(({ to, control }) => [to, control.state]))).toEqual(new Map([[X, bfdStates.adminDown], [Y, bfdStates.adminDown]]));
    expect(heard).toHaveLength(2);
    expect([...h.view.all(bfdPeerTable)]).toEqual([]);
    expect(flows("bfd_in")).toEqual([]);
    await set({ enable_default_route_bfd: true });
    expect(sessions()).toHaveLength(2);
    expect((await h.call("DELETE", `/v2.0/routers/${(await h.create("router", { enable_default_route_bfd: true })).id}`)).status).toBe(204);
  });
});

describe("sessions", () => {
  test("are those of default routes and of other routes with next hops on external networks, each with the gateway's own address, not those inside", async () => {
    expect(sessions().map((s) => s.nexthop)).toEqual([Y, X]);
    await set({ routes: [{ destination: "192.0.2.0/24", nexthop: "203.0.113.200" }, { destination: "192.0.3.0/24", nexthop: "10.0.0.77" }] });
    expect(sessions().map((s) => s.nexthop)).toEqual([Y, X, "203.0.113.200"]);
    const [, first, further] = sessions();
    expect(further).toMatchObject({ gateway_id: first!.gateway_id, address: first!.address, network_id: networks[0] });
    await set({ routes: [] });
    const six = await h.create("subnet", { network_id: networks[0]!, ip_version: 6, cidr: "2001:db8:f::/64", gateway_ip: Z });
    await set({ external_gateways: [{ network_id: networks[0], external_fixed_ips: [{ subnet_id: six.id }] }] }, `/v2.0/routers/${router}/update_external_gateways`);
    expect(sessions().map((s) => s.nexthop)).toContain(Z);
  });

  test("are so many of a router, those of its default routes before all others", async () => {
    await set({ routes: Array.from({ length: 30 }, (_, n) => ({ destination: `192.0.2.${n}/32`, nexthop: `203.0.113.${100 + n}` })) });
    expect(sessions()).toHaveLength(32);
    expect(sessions().map((s) => s.nexthop)).toEqual(expect.arrayContaining([X, Y]));
  });

  test("have flows at the hosts of the gateway that take nothing but what comes from the next hop and the link, at a rate of their own", () => {
    const { address } = sessionWith(X);
    expect(flows("gateway_in").filter((f) => f.includes("udp_dst=3784") || f.includes("tp_dst=3784")).length).toBe(2);
    const taken = flows("bfd_in");
    expect(taken).toHaveLength(2);
    const flow = taken.find((f) => f.includes(X))!;
    for (const part of [`nw_src=${X}`, `nw_dst=${address}`, "nw_ttl=255", "meter"]) expect(flow.replaceAll("ipv4_", "nw_").replace("ip_ttl", "nw_ttl")).toContain(part);
    expect(new Set(taken.map((f) => /meter:?(\d+)/.exec(f)?.[1])).size).toBe(2);
  });
});

describe("a next hop", () => {
  test("that never spoke BFD is not held to be lost", async () => {
    await pass(30);
    expect(lost()).toEqual([]);
    expect(byDefault()).toEqual([X]);
    // Nobody hears more of us than one packet a second.
    expect(heard.filter(({ to }) => to === X).length).toBeLessThanOrEqual(42);
    const { data, packet } = heard[0]!;
    const { ipv4, udp } = parsePacket(data);
    expect(ipv4).toMatchObject({ ttl: 255 });
    expect(udp).toMatchObject({ dst_port: 3784, checksumOk: true });
    expect(udp!.src_port).toBeGreaterThanOrEqual(49_152);
    expect(packet).toMatchObject({ chassis: "gw1", stage: "forward" });
  });

  test("that was up and is silent is lost within seconds: routes by another gateway are used, until it is up again", async () => {
    speaks(X);
    await pass(5);
    expect(lost()).toEqual([]);
    expect([...h.view.all(bfdPeerTable)]).toMatchObject([{ up: true }]);
    const peer = peers.get(X)!;
    peers.delete(X);
    await pass(2);
    expect(lost()).toEqual([]);
    expect(byDefault()).toEqual([X]);
    await pass(2);
    expect(lost()).toEqual([X]);
    expect(byDefault()).toEqual([Y]);
    expect(problems(h.view)).toMatchObject([{ kind: "session_down", severity: "warning" }]);
    expect(problems(h.view)[0]!.text).toContain(X);
    peers.set(X, peer);
    await pass(8);
    expect(lost()).toEqual([]);
    expect(byDefault()).toEqual([X]);
    expect(problems(h.view)).toEqual([]);
  });

  test("that says that it is administratively down is lost", async () => {
    speaks(X);
    await pass(5);
    const peer = peers.get(X)!;
    peers.delete(X);
    say(sessionWith(X), buildBfd(peer.says({ over: true })));
    await pass(0.5);
    expect(lost()).toEqual([X]);
  });

  test("is lost among equal ones: the others are used, the last one in any case; of another router's it is not", async () => {
    const other = (await h.create("router", { external_gateway_info: { network_id: networks[0] } })).id;
    await set({ enable_default_route_ecmp: true });
    speaks(X);
    speaks(Y);
    await pass(5);
    expect(byDefault()).toEqual([Y, X]);
    peers.delete(X);
    await pass(4);
    expect(byDefault()).toEqual([Y, Y]);
    peers.delete(Y);
    await pass(4);
    expect(lost()).toEqual([Y, X]);
    expect(byDefault()).toEqual([Y, X]);
    const others = flows("l3_route").filter((f) => f.includes(`set_field:${hex(X)}->`));
    expect(others).toHaveLength(1);
    expect((await h.call("DELETE", `/v2.0/routers/${other}`)).status).toBe(204);
  });

  test("of a more specific route is lost: what was for it goes by a less specific one", async () => {
    const hop = "203.0.113.200";
    await h.model.transact({ requestId: "test", call: "test" }, (tx) => tx.put(gatewayNeighbourTable, { id: addressId(networks[0]!, hop), network_id: networks[0]!, ip: hop, mac: "02:00:00:00:00:fd", hop: true }));
    await set({ routes: [{ destination: "192.0.2.0/24", nexthop: hop }] });
    const there = (): number => flows("l3_route").filter((f) => f.includes("192.0.2.0")).length;
    speaks(hop);
    await pass(5);
    expect(there()).toBe(1);
    const peer = peers.get(hop)!;
    peers.delete(hop);
    await pass(4);
    expect(there()).toBe(0);
    peers.set(hop, peer);
    await pass(8);
    expect(there()).toBe(1);
  });

  test("that comes and goes is used again later each time, and writes little", async () => {
    speaks(X);
    await pass(5);
    const { generation } = h.model;
    const peer = peers.get(X)!;
    for (let n = 0; n < 20; n++) {
      say(sessionWith(X), buildBfd(fast({ ...peer.says(), state: bfdStates.down, your_discriminator: 0 })));
      await pass(1.5);
    }
    expect(h.model.generation - generation).toBeLessThan(8);
    await pass(40);
    expect(lost()).toEqual([]);
  });

  test("hears an answer to its poll at once, and no more for a flood of them", async () => {
    speaks(X);
    await pass(5);
    heard = [];
    const peer = peers.get(X)!;
    for (let n = 0; n < 200; n++) say(sessionWith(X), buildBfd({ ...peer.says(), poll: true }));
    await pass(0.1);
    expect(heard.filter(({ to, control }) => to === X && control.final)).toHaveLength(1);
    expect(h.sent.length).toBeLessThan(10);
  });
});

describe("what is not to be taken", () => {
  test("of a session that is up, in whatever name and form: it stays up", async () => {
    speaks(X);
    await pass(5);
    const session = sessionWith(X);
    const good = peers.get(X)!.says();
    const down: BfdControl = { ...good, state: bfdStates.down, your_discriminator: 0 };
    const bytes = buildBfd(down);
    for (const payload of [
      Buffer.alloc(0), Buffer.alloc(24), bytes.subarray(0, 23), Buffer.from(bytes).fill(0x40, 0, 1), Buffer.from(bytes).fill(0xff, 3, 4), Buffer.from(bytes).fill(8, 3, 4),
      buildBfd({ ...down, detect_mult: 0 }), buildBfd({ ...down, multipoint: true }), buildBfd({ ...down, my_discriminator: 0 }), buildBfd({ ...down, your_discriminator: 1 }), buildBfd({ ...good, your_discriminator: 0 }),
      buildBfd({ ...down, authentication: { type: "password", value: { key_id: 1, password: Buffer.from("guess") } } }),
    ]) say(session, payload);
    say(session, bytes, { ttl: 254 });
    say(session, bytes, { src: Y });
    say(session, bytes, { src: "203.0.113.7" });
    say(session, bytes, { dst: "203.0.113.250" });
    await pass(1);
    expect([...h.view.all(bfdPeerTable)]).toMatchObject([{ up: true }]);
    expect(lost()).toEqual([]);
  });
});

describe("a controller", () => {
  test("that starts goes on with what is up, and finds out who fell silent meanwhile", async () => {
    speaks(X);
    speaks(Y);
    await pass(5);
    heard = [];
    h = await h.restart();
    peers.delete(Y);
    await pass(2);
    expect(lost()).toEqual([]);
    // The next hop never noticed.
    expect(heard.filter(({ to }) => to === X).every(({ control }) => control.state === bfdStates.up)).toBe(true);
    expect(peers.get(X)!.isUp).toBe(true);
    await pass(3);
    expect(lost()).toEqual([Y]);
    h = await h.restart();
    await pass(2);
    expect(lost()).toEqual([Y]);
  });

  test("holds nothing against next hops while no host can speak", async () => {
    speaks(X);
    await pass(5);
    h.away.add("gw1");
    const peer = peers.get(X)!;
    peers.delete(X);
    await pass(20);
    expect(lost()).toEqual([]);
    h.away.delete("gw1");
    peers.set(X, peer);
    await pass(10);
    expect(lost()).toEqual([]);
    peers.delete(X);
    await pass(5);
    expect(lost()).toEqual([X]);
  });

  test("has no timer for nobody", async () => {
    await set({ enable_default_route_bfd: false });
    await pass(1);
    const before = h.timers;
    await set({ enable_default_route_bfd: true });
    expect(h.timers).toBe(before + 1);
    await set({ enable_default_route_bfd: false });
    await pass(1);
    expect(h.timers).toBe(before);
  });
});
