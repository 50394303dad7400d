import { arpOps, parsePacket } from "packet-codec";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Gateways, HOSTS, other } from "./gateways.fixture.ts";

let g: Gateways;
beforeEach(async () => {
  g = await Gateways.make();
});
afterEach(() => g.end());

describe("announcements", () => {
  test("three times from the host that has the gateway; again from the next when it is seen dead, and from the first when it is back", async () => {
    await g.allReady();
    const { mac_address, fixed_ips: [fixed] } = await g.port();
    const ip = fixed!.ip_address;
    const [first] = g.plan().hosts;
    const own = (list: ReturnType<Gateways["arps"]>): typeof list => list.filter((a) => a.spa === a.tpa);
    await g.pass(4);
    expect(own(g.arps(arpOps.request))).toEqual([0, 1, 2].map(() => ({ chassis: first, spa: ip, tpa: ip, src: mac_address })));
    await g.pass(3);
    expect(own(g.arps(arpOps.request))).toEqual([]);
    g.see(other(first!), first!, false);
    await g.pass(0.4);
    expect(own(g.arps(arpOps.request))).toEqual([{ chassis: other(first!), spa: ip, tpa: ip, src: mac_address }]);
    await g.pass(5);
    g.arps(arpOps.request);
    g.see(other(first!), first!, true);
    await g.pass(0.4);
    expect(own(g.arps(arpOps.request))).toMatchObject([{ chassis: first }]);
  });

  test("another address is announced as well", async () => {
    await g.allReady();
    await g.pass(5);
    g.arps(arpOps.request);
    await g.h.call("PUT", `/v2.0/routers/${g.router}`, { router: { external_gateway_info: { network_id: g.outside, external_fixed_ips: [{ ip_address: "203.0.113.77" }] } } });
    await g.h.settled();
    await g.pass(0.5);
    expect(g.arps(arpOps.request).filter((a) => a.spa === a.tpa)).toMatchObject([{ spa: "203.0.113.77" }]);
  });
});

test("one floating IP more is announced alone; when another host has the gateway all are, each once in one look", async () => {
  const inside = (await g.h.create("network", {})).id;
  const subnet = (await g.h.create("subnet", { network_id: inside, ip_version: 4, cidr: "10.8.0.0/24" })).id;
  await g.h.call("PUT", `/v2.0/routers/${g.router}/add_router_interface`, { subnet_id: subnet });
  await g.allReady();
  const more = async (): Promise<string> => {
    const port = (await g.h.create("port", { network_id: inside })).id;
    // It is nowhere, so the gateway has its floating IP.
    const floating = (await g.h.create("floatingip", { floating_network_id: g.outside, port_id: port })) as unknown as { floating_ip_address: string };
    await g.h.settled();
    return floating.floating_ip_address;
  };
  const announced = (): string[] => g.arps(arpOps.request).flatMap((a) => (a.spa === a.tpa ? [a.spa] : []));
  const ips = [(await g.port()).fixed_ips[0]!.ip_address, await more(), await more()];
  await g.pass(5);
  expect(announced().toSorted()).toEqual([...ips, ...ips, ...ips].toSorted());
  const third = await more();
  await g.pass(1.5);
  expect(announced()).toEqual([third, third]);
  // Another one between is no reason to begin anew.
  const fourth = await more();
  await g.pass(5);
  expect(announced().toSorted()).toEqual([third, fourth, fourth, fourth].toSorted());
  const [first] = g.plan().hosts;
  g.see(other(first!), first!, false);
  await g.pass(0.4);
  expect(announced().toSorted()).toEqual([...ips, third, fourth].toSorted());
});

describe("one host hands over to the other", () => {
  /** What the bridges of a physical network are told: hosts, in order. */
  const taught = (): string[] =>
    g.h.sent.splice(0).flatMap(({ app, packet }) => {
      const { eth } = parsePacket(packet.data);
      return app === "gateway" && eth.ethertype === 0x88b5 ? [packet.chassis] : [];
    });
  beforeEach(async () => {
    for (const [n, host] of HOSTS.entries()) await g.h.addChassis(host, { key: n + 1, gateway: true, bridge_mappings: { ext: "br-ext" } });
    g.outside = (await g.h.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" })).id;
    await g.h.create("subnet", { network_id: g.outside, ip_version: 4, cidr: "203.0.113.0/24" });
    await g.h.call("PUT", `/v2.0/routers/${g.router}`, { router: { external_gateway_info: { network_id: g.outside, enable_snat: false } } });
    await g.h.settled();
    await g.allReady();
    await g.pass(5);
    taught();
  });

  test("the bridge of the one that users are told to use knows first that the gateway is there; nobody else does", async () => {
    const [first, second] = g.plan().hosts;
    const drained = async (drain: boolean): Promise<unknown> => g.h.addChassis(first!, { key: HOSTS.indexOf(first!) + 1, gateway: true, drain, bridge_mappings: { ext: "br-ext" } });
    await drained(true);
    while (g.ready(first!)?.users === true) await g.pass(0.1);
    expect([g.ready(first!), taught()]).toEqual([{ users: false, fellows: true }, []]);
    while (g.ready(first!)?.fellows === true) await g.pass(0.1);
    await g.pass(0.3);
    expect(new Set(taught())).toEqual(new Set([second]));
    while (g.ready(first!) !== undefined) await g.pass(0.1);
    await drained(false);
    await g.pass(12);
    expect(g.ready(first!)).toEqual({ users: true, fellows: true });
    expect(new Set(taught())).toEqual(new Set([first]));
  });

  test("of the last host of two nobody is told", async () => {
    const second = g.plan().hosts[1]!;
    await g.h.addChassis(second, { key: HOSTS.indexOf(second) + 1, gateway: true, drain: true, bridge_mappings: { ext: "br-ext" } });
    await g.pass(12);
    expect([g.ready(second), taught()]).toEqual([undefined, []]);
  });

  test("it is announced when all users have heard, and what was seen a moment ago leads to nobody else", async () => {
    const [first, second] = g.plan().hosts;
    const announced = (): string[] => g.arps(arpOps.request).filter((a) => a.spa === a.tpa).map((a) => a.chassis);
    const asked = async (drain: boolean): Promise<unknown> => g.h.addChassis(first!, { key: HOSTS.indexOf(first!) + 1, gateway: true, drain, bridge_mappings: { ext: "br-ext" } });
    await asked(true);
    while (g.ready(first!)?.fellows === true) await g.pass(0.1);
    g.see(second!, first!, false, "up");
    g.h.sent.splice(0);
    await g.pass(0.3);
    expect(announced()).toEqual([]);
    await g.pass(4);
    expect(announced()).toEqual([second, second, second]);
    await asked(false);
    while (g.ready(first!)?.fellows !== true) await g.pass(0.1);
    await g.pass(0.2);
    expect(announced()).toEqual([]);
    // What the second says of the first is old by the time that both are told.
    await g.pass(15);
    expect(g.ready(first!)).toEqual({ users: true, fellows: true });
    expect(announced()).toEqual([first, first, first]);
  });
});
