// What the app does by itself: who may use which host, what is announced and asked, and what becomes of answers.
// Over 400 lines: services that act on the same gateways one upon the other, seen by the same hosts, clock and packets.
import { buildArp, buildEthernet, arpOps, ethertypes, parsePacket } from "packet-codec";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { learned, observedId, observedTable } from "#app";
import { Harness } from "../../test/support/harness.ts";
import { addressId, networkTable, portTable } from "../l2/model.ts";
import { gatewayNeighbourTable, gatewayPlanTable, gatewayReadyTable, peerPortName, routerGatewayTable, type GatewayNeighbour, type GatewayPlan } from "./model.ts";
import { keepAnswered, NEIGHBOURS_MAX } from "./neighbours.ts";

const HOSTS = ["gw1", "gw2"];
const UPSTREAM = "02:00:00:00:00:fe";
let h: Harness;
let outside: string;
let router: string;
/** Hosts whose switches take what they are told. */
let synced: Set<string>;

const plan = (): GatewayPlan => h.view.by(gatewayPlanTable, "router", router)[0]!;
const other = (host: string): string => HOSTS.find((x) => x !== host)!;
const port = async (): Promise<{ id: string; mac_address: string; fixed_ips: { ip_address: string }[] }> =>
  ((await h.call("GET", `/v2.0/ports?device_id=${router}&device_owner=network:router_gateway`)).body as { ports: [never] }).ports[0];
/** Lets time pass, a look at a time: what comes of one is there before the next. */
async function pass(seconds: number): Promise<void> {
  for (let t = 0; t < seconds * 10; t++) {
    await h.clock.run(100);
    await h.settled();
    // A switch that is there has what it is told soon after.
    for (const host of synced) h.confirm(host);
  }
}
/** As a switch tells of its tunnel to another. */
function see(at: string, peer: string, forwarding: boolean | undefined, state?: "up"): void {
  const name = peerPortName(HOSTS.indexOf(peer) + 1);
  h.facts.learn(learned(observedTable, at, { id: observedId(at, "Interface", name), chassis: at, table: "Interface", name, columns: forwarding === undefined ? {} : { bfd_status: { forwarding: String(forwarding), ...(state !== undefined && { state }) } } }));
}
const ready = (host: string): { users: boolean; fellows: boolean } | undefined => {
  const row = h.view.get(gatewayReadyTable, host);
  return row === undefined ? undefined : { users: row.users, fellows: row.fellows };
};
const arps = (op: number): { chassis: string; spa: string; tpa: string; src: string }[] =>
  h.sent.splice(0).flatMap(({ app, packet }) => {
    const { arp, eth } = app === "gateway" ? parsePacket(packet.data) : { arp: undefined, eth: undefined };
    return arp?.op === op ? [{ chassis: packet.chassis, spa: arp.spa, tpa: arp.tpa, src: eth!.src }] : [];
  });

beforeEach(async () => {
  synced = new Set();
  h = await Harness.make();
  for (const [n, host] of HOSTS.entries()) await h.addChassis(host, { key: n + 1, gateway: true });
  await h.addChassis("hv1", { key: 3 });
  outside = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
  router = (await h.create("router", { external_gateway_info: { network_id: outside, enable_snat: false } })).id;
  await h.settled();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

async function allReady(): Promise<void> {
  for (const host of HOSTS) synced.add(host);
  for (const host of HOSTS) see(host, other(host), true);
  await pass(3);
  expect(HOSTS.map(ready)).toEqual(HOSTS.map(() => ({ users: true, fellows: true })));
}

describe("who may use a host", () => {
  test("one whose flows are confirmed: its users first, its fellows when they have heard", async () => {
    await pass(3);
    expect(HOSTS.map(ready)).toEqual([undefined, undefined]);
    synced.add("gw1");
    await pass(0.5);
    expect(ready("gw1")).toEqual({ users: true, fellows: false });
    await pass(2);
    expect(ready("gw1")).toEqual({ users: true, fellows: true });
    expect(ready("gw2")).toBeUndefined();
  });

  /** Lets time pass, and notes each state of a host that differs from the one before; what its peers see of it follows at once if they answer. */
  async function states(host: string, seconds: number, answers = true): Promise<string[]> {
    const found: string[] = [];
    for (let t = 0; t < seconds * 10; t++) {
      await pass(0.1);
      const row = h.view.get(gatewayReadyTable, host);
      const text = row === undefined ? "none" : Object.entries(row).flatMap(([name, value]) => (value === true ? [name] : [])).join(" ");
      if (text !== found.at(-1)) found.push(text);
      if (answers) see(other(host), host, row?.fellows === true, "up");
    }
    return found;
  }

  test("one that is drained is left in steps: fellows take part, users leave it, fellows stand for it; and is had again likewise", async () => {
    await allReady();
    await h.addChassis("gw1", { key: 1, gateway: true, drain: true });
    expect(await states("gw1", 6)).toEqual(["users fellows", "users fellows shared", "fellows shared", "shared", "none"]);
    expect(plan().hosts).toContain("gw1");
    await h.addChassis("gw1", { key: 1, gateway: true });
    await h.settled();
    expect(await states("gw1", 6)).toEqual(["none", "shared", "fellows shared", "users fellows shared", "users fellows"]);
  });

  test("a step waits for the switches of the one before, and not for ever", async () => {
    await allReady();
    await h.addChassis("gw1", { key: 1, gateway: true, drain: true });
    expect(await states("gw1", 2.8)).toEqual(["users fellows", "users fellows shared", "fellows shared", "shared"]);
    see("gw2", "gw1", true);
    expect(await states("gw1", 2, false)).toEqual(["shared"]);
    expect(await states("gw1", 3, false)).toEqual(["shared", "none"]);
  });

  test("one that is drained gets no new gateway while there is another, and has it when it is back", async () => {
    await allReady();
    const more = async (): Promise<string> => {
      const { id } = await h.create("router", { external_gateway_info: { network_id: outside, enable_snat: false } });
      await h.settled();
      return id;
    };
    const hostsOf = (id: string): readonly string[] => h.view.by(gatewayPlanTable, "router", id)[0]!.hosts.toSorted();
    await h.addChassis("gw1", { key: 1, gateway: true, drain: true });
    const second = await more();
    expect(hostsOf(second)).toEqual(["gw2"]);
    expect(hostsOf(router)).toEqual(HOSTS);
    await pass(3);
    await h.addChassis("gw2", { key: 2, gateway: true, drain: true });
    const third = await more();
    // One that is not used is better than none.
    expect(hostsOf(third)).toEqual(HOSTS);
    expect(hostsOf(second)).toEqual(["gw2"]);
    await h.addChassis("gw1", { key: 1, gateway: true });
    await pass(3);
    expect([hostsOf(second), hostsOf(third)]).toEqual([HOSTS, ["gw1"]]);
    // What it has had since then it hands over like the others.
    await h.addChassis("gw1", { key: 1, gateway: true, drain: true });
    await pass(0.3);
    expect([hostsOf(router), hostsOf(second)]).toEqual([HOSTS, HOSTS]);
    await h.addChassis("gw1", { key: 1, gateway: true });
    await h.addChassis("gw2", { key: 2, gateway: true });
    await pass(3);
    expect(hostsOf(third)).toEqual(HOSTS);
    expect(h.view.by(routerGatewayTable, "network", outside).some((g) => g.avoids !== undefined)).toBe(false);
  });

  test("one that is lost is not ready at once, and is again when its flows are confirmed", async () => {
    await allReady();
    h.away.add("gw2");
    synced.delete("gw2");
    await pass(0.5);
    expect(ready("gw2")).toBeUndefined();
    await pass(2);
    expect(ready("gw2")).toBeUndefined();
    h.away.delete("gw2");
    await pass(1);
    expect(ready("gw2")).toBeUndefined();
    synced.add("gw2");
    await pass(15);
    expect(ready("gw2")).toEqual({ users: true, fellows: true });
  });

  test("a controller that starts believes what was stored, unless a fellow sees that it is not so", async () => {
    await allReady();
    h = await h.restart();
    synced.clear();
    for (const host of HOSTS) h.away.add(host);
    await pass(2);
    expect(HOSTS.map(ready)).toEqual(HOSTS.map(() => ({ users: true, fellows: true })));
    see("gw1", "gw2", false);
    await pass(0.5);
    expect(ready("gw2")).toBeUndefined();
    expect(ready("gw1")).toEqual({ users: true, fellows: true });
  });

  test("one that is no gateway any more leaves nothing", async () => {
    await allReady();
    await h.call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: null } });
    await h.settled();
    await pass(1);
    expect([...h.view.all(gatewayReadyTable)]).toEqual([]);
    expect(h.timers, "nothing is looked at any more").toBe(0);
  });
});

test("an administrator sees which hosts a gateway has, and which one has it; others do not", async () => {
  const shown = async (id = router, headers: Record<string, string> = {}): Promise<unknown> =>
    ((await h.call("GET", `/v2.0/routers/${id}?fields=axion:gateway_hosts`, undefined, headers)).body as { router: Record<string, unknown> }).router["axion:gateway_hosts"];
  const [first, second] = plan().hosts as [string, string];
  const hosts = (...of: readonly [ready: boolean, alive: boolean | null][]): object[] => of.map(([ready, alive], i) => ({ host: [first, second][i], ready, alive }));
  expect(await shown()).toEqual([{ network_id: outside, port_id: plan().id, active: null, hosts: hosts([false, null], [false, null]) }]);
  await allReady();
  expect(await shown()).toMatchObject([{ active: first, hosts: hosts([true, true], [true, true]) }]);
  see(second, first, false);
  expect(await shown()).toMatchObject([{ active: second, hosts: hosts([true, false], [true, true]) }]);
  const member = { "x-project-id": "p1", "x-roles": "member" };
  expect(await shown((await h.create("router", {}, member)).id, member)).toBeUndefined();
  expect(JSON.stringify((await h.call("GET", `/v2.0/routers/${router}`)).body)).not.toContain("gateway_hosts");
});

describe("announcements", () => {
  test("three times from the host that has the gateway; again from the next when it is seen dead, and from the first when it is back", async () => {
    await allReady();
    const { mac_address, fixed_ips: [fixed] } = await port();
    const ip = fixed!.ip_address;
    const [first] = plan().hosts;
    const own = (list: ReturnType<typeof arps>): typeof list => list.filter((a) => a.spa === a.tpa);
    await pass(4);
    expect(own(arps(arpOps.request))).toEqual([0, 1, 2].map(() => ({ chassis: first, spa: ip, tpa: ip, src: mac_address })));
    await pass(3);
    expect(own(arps(arpOps.request))).toEqual([]);
    see(other(first!), first!, false);
    await pass(0.4);
    expect(own(arps(arpOps.request))).toEqual([{ chassis: other(first!), spa: ip, tpa: ip, src: mac_address }]);
    await pass(5);
    arps(arpOps.request);
    see(other(first!), first!, true);
    await pass(0.4);
    expect(own(arps(arpOps.request))).toMatchObject([{ chassis: first }]);
  });

  test("another address is announced as well", async () => {
    await allReady();
    await pass(5);
    arps(arpOps.request);
    await h.call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id: outside, external_fixed_ips: [{ ip_address: "203.0.113.77" }] } } });
    await h.settled();
    await pass(0.5);
    expect(arps(arpOps.request).filter((a) => a.spa === a.tpa)).toMatchObject([{ spa: "203.0.113.77" }]);
  });
});

test("one floating IP more is announced alone; when another host has the gateway all are, each once in one look", async () => {
  const inside = (await h.create("network", {})).id;
  const subnet = (await h.create("subnet", { network_id: inside, ip_version: 4, cidr: "10.8.0.0/24" })).id;
  await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet });
  await allReady();
  const more = async (): Promise<string> => {
    const port = (await h.create("port", { network_id: inside })).id;
    // It is nowhere, so the gateway has its floating IP.
    const floating = (await h.create("floatingip", { floating_network_id: outside, port_id: port })) as unknown as { floating_ip_address: string };
    await h.settled();
    return floating.floating_ip_address;
  };
  const announced = (): string[] => arps(arpOps.request).flatMap((a) => (a.spa === a.tpa ? [a.spa] : []));
  const ips = [(await port()).fixed_ips[0]!.ip_address, await more(), await more()];
  await pass(5);
  expect(announced().toSorted()).toEqual([...ips, ...ips, ...ips].toSorted());
  const third = await more();
  await pass(1.5);
  expect(announced()).toEqual([third, third]);
  // Another one between is no reason to begin anew.
  const fourth = await more();
  await pass(5);
  expect(announced().toSorted()).toEqual([third, fourth, fourth, fourth].toSorted());
  const [first] = plan().hosts;
  see(other(first!), first!, false);
  await pass(0.4);
  expect(announced().toSorted()).toEqual([...ips, third, fourth].toSorted());
});

describe("one host hands over to the other", () => {
  /** What the bridges of a physical network are told: hosts, in order. */
  const taught = (): string[] =>
    h.sent.splice(0).flatMap(({ app, packet }) => {
      const { eth } = parsePacket(packet.data);
      return app === "gateway" && eth.ethertype === 0x88b5 ? [packet.chassis] : [];
    });
  beforeEach(async () => {
    for (const [n, host] of HOSTS.entries()) await h.addChassis(host, { key: n + 1, gateway: true, bridge_mappings: { ext: "br-ext" } });
    outside = (await h.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" })).id;
    await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
    await h.call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id: outside, enable_snat: false } } });
    await h.settled();
    await allReady();
    await pass(5);
    taught();
  });

  test("the bridge of the one that users are told to use knows first that the gateway is there; nobody else does", async () => {
    const [first, second] = plan().hosts;
    const drained = async (drain: boolean): Promise<unknown> => h.addChassis(first!, { key: HOSTS.indexOf(first!) + 1, gateway: true, drain, bridge_mappings: { ext: "br-ext" } });
    await drained(true);
    while (ready(first!)?.users === true) await pass(0.1);
    expect([ready(first!), taught()]).toEqual([{ users: false, fellows: true }, []]);
    while (ready(first!)?.fellows === true) await pass(0.1);
    await pass(0.3);
    expect(new Set(taught())).toEqual(new Set([second]));
    while (ready(first!) !== undefined) await pass(0.1);
    await drained(false);
    await pass(12);
    expect(ready(first!)).toEqual({ users: true, fellows: true });
    expect(new Set(taught())).toEqual(new Set([first]));
  });

  test("of the last host of two nobody is told", async () => {
    const second = plan().hosts[1]!;
    await h.addChassis(second, { key: HOSTS.indexOf(second) + 1, gateway: true, drain: true, bridge_mappings: { ext: "br-ext" } });
    await pass(12);
    expect([ready(second), taught()]).toEqual([undefined, []]);
  });

  test("it is announced when all users have heard, and what was seen a moment ago leads to nobody else", async () => {
    const [first, second] = plan().hosts;
    const announced = (): string[] => arps(arpOps.request).filter((a) => a.spa === a.tpa).map((a) => a.chassis);
    const asked = async (drain: boolean): Promise<unknown> => h.addChassis(first!, { key: HOSTS.indexOf(first!) + 1, gateway: true, drain, bridge_mappings: { ext: "br-ext" } });
    await asked(true);
    while (ready(first!)?.fellows === true) await pass(0.1);
    see(second!, first!, false, "up");
    h.sent.splice(0);
    await pass(0.3);
    expect(announced()).toEqual([]);
    await pass(4);
    expect(announced()).toEqual([second, second, second]);
    await asked(false);
    while (ready(first!)?.fellows !== true) await pass(0.1);
    await pass(0.2);
    expect(announced()).toEqual([]);
    // What the second says of the first is old by the time that both are told.
    await pass(15);
    expect(ready(first!)).toEqual({ users: true, fellows: true });
    expect(announced()).toEqual([first, first, first]);
  });
});

describe("neighbours outside", () => {
  const answer = async (ip: string, mac: string): Promise<void> => {
    const { mac_address, fixed_ips: [gateway] } = await port();
    const net = h.view.get(networkTable, outside)!.key;
    h.packets.handle({
      chassis: plan().hosts[0]!, inPort: 1, tableId: h.layout.table("gateway_in").id, match: { [h.layout.register("net").field]: net },
      data: buildEthernet({ dst: mac_address, src: mac, ethertype: ethertypes.arp }, buildArp({ op: arpOps.reply, sha: mac, spa: ip, tha: mac_address, tpa: gateway!.ip_address })),
    });
    await pass(0.3);
  };

  test("the next hop is asked for by the host that has the gateway, and is known to all of its hosts when it answered", async () => {
    await allReady();
    const [first] = plan().hosts;
    await pass(1.5);
    expect(arps(arpOps.request).filter((a) => a.tpa === "203.0.113.1")[0]).toMatchObject({ chassis: first });
    await answer("203.0.113.1", UPSTREAM);
    expect([...h.view.all(gatewayNeighbourTable)]).toMatchObject([{ network_id: outside, ip: "203.0.113.1", mac: UPSTREAM }]);
    // It is asked again and again, and may have another MAC.
    await pass(11);
    expect(arps(arpOps.request).filter((a) => a.tpa === "203.0.113.1").length).toBeGreaterThan(0);
    await answer("203.0.113.1", "02:00:00:00:00:fd");
    expect([...h.view.all(gatewayNeighbourTable)]).toMatchObject([{ mac: "02:00:00:00:00:fd" }]);
  });

  test("who was not asked is not believed, nor one that the model lists", async () => {
    await allReady();
    await pass(1.5);
    await answer("203.0.113.9", UPSTREAM);
    const { fixed_ips: [own] } = await port();
    await answer(own!.ip_address, UPSTREAM);
    expect([...h.view.all(gatewayNeighbourTable)]).toEqual([]);
  });

  test("nor whoever says that a gateway or a floating IP is the next hop: what leaves would come in again", async () => {
    await allReady();
    await pass(1.5);
    const { id } = await h.create("floatingip", { floating_network_id: outside });
    const holder = ((await h.call("GET", `/v2.0/ports?device_id=${id}`)).body as { ports: { mac_address: string }[] }).ports[0]!;
    for (const { mac_address } of [await port(), holder]) await answer("203.0.113.1", mac_address);
    expect([...h.view.all(gatewayNeighbourTable)]).toEqual([]);
    await answer("203.0.113.1", UPSTREAM);
    expect([...h.view.all(gatewayNeighbourTable)]).toMatchObject([{ mac: UPSTREAM }]);
  });

  test("however many one project asks for, another has its share", async () => {
    const wide = (await h.create("network", { "router:external": true })).id;
    await h.create("subnet", { network_id: wide, ip_version: 4, cidr: "198.18.0.0/16" });
    const gateways: Record<string, string> = {};
    for (const project_id of ["greedy", "modest"]) {
      const { id } = await h.create("router", { project_id, external_gateway_info: { network_id: wide } });
      gateways[project_id] = ((await h.call("GET", `/v2.0/ports?device_id=${id}&device_owner=network:router_gateway`)).body as { ports: { id: string }[] }).ports[0]!.id;
    }
    await allReady();
    const net = h.view.get(networkTable, wide)!.key;
    const nexthop = `reg${4 * Number(h.layout.register("nexthop").field.slice(5)) + 3}`;
    const sends = (project: string, ip: string): void => {
      const { mac_address: src } = h.view.get(portTable, gateways[project]!)!;
      h.packets.handle({
        chassis: h.view.get(gatewayPlanTable, gateways[project]!)!.hosts[0]!, inPort: 1, tableId: h.layout.table("gateway_unresolved").id,
        match: { [h.layout.register("net").field]: net, [nexthop]: ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0) },
        data: buildEthernet({ dst: "00:00:00:00:00:00", src, ethertype: ethertypes.ipv4 }, Buffer.alloc(40)),
      });
    };
    // One at a time: those that wait for their turn at the app have a limit of their own.
    for (let n = 0; n < 700; n++) {
      sends("greedy", `198.18.${10 + (n >> 8)}.${n & 255}`);
      for (let turn = 0; turn < 2; turn++) await new Promise((done) => setImmediate(done));
    }
    expect(new Set(arps(arpOps.request).map((a) => a.tpa)).size).toBeGreaterThan(500);
    sends("modest", "198.18.200.1");
    await pass(0.1);
    expect(arps(arpOps.request).filter((a) => a.tpa === "198.18.200.1")).toHaveLength(1);
  });

  test("a next hop has its room though others have all of theirs, and of these who has most gives", async () => {
    await allReady();
    await pass(1.5);
    const row = (ip: string, project_id: string): GatewayNeighbour => ({ id: addressId(outside, ip), network_id: outside, ip, mac: UPSTREAM, project_id });
    await h.model.transact({ requestId: "req-1", call: "test" }, (tx) => {
      for (let n = 0; n < NEIGHBOURS_MAX; n++) tx.put(gatewayNeighbourTable, row(`198.18.${n >> 8}.${n & 255}`, n < 3 ? "modest" : "greedy"));
    });
    await answer("203.0.113.1", UPSTREAM);
    expect(h.view.get(gatewayNeighbourTable, addressId(outside, "203.0.113.1"))).toMatchObject({ mac: UPSTREAM, hop: true });
    const of = (project: string): number => [...h.view.all(gatewayNeighbourTable)].filter((n) => n.project_id === project).length;
    await h.model.transact({ requestId: "req-2", call: "test" }, (tx) => {
      for (const [ip, project] of [["198.19.0.1", "modest"], ["198.19.0.2", "greedy"], ["198.19.0.3", "third"]] as const) keepAnswered(tx, row(ip, project));
    });
    expect([of("modest"), of("greedy"), of("third")]).toEqual([4, NEIGHBOURS_MAX - 5, 1]);
  });

  test("a next hop that falls silent stays; it goes with the last gateway of its network", async () => {
    await allReady();
    await pass(1.5);
    await answer("203.0.113.1", UPSTREAM);
    await pass(30);
    expect([...h.view.all(gatewayNeighbourTable)]).toHaveLength(1);
    await h.call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: null } });
    await h.settled();
    await pass(2);
    expect([...h.view.all(gatewayNeighbourTable)]).toEqual([]);
  });
});
