// Unasked router advertisements through the real engine: what the service sends while time passes.
import { afterEach, describe, expect, it, vi } from "vitest";
import { parsePacket, parseRouterAdvertisement } from "packet-codec";
import { vifTable, type StageOut } from "#app";
import { Share } from "../../src/services/index.ts";
import { Harness, type HarnessOptions } from "../../test/support/harness.ts";
import { leavesBy } from "../../test/support/sent.ts";
import { portTable } from "../l2/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { Before, SaidBefore } from "./ra.ts";

/** MaxRtrAdvInterval where nothing is said. */
const RA_PERIOD_S = 200;

const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) await h.close();
});

async function cloud(options: HarnessOptions = {}): Promise<{ h: Harness; network: string; port: string; join: () => Promise<string> }> {
  const h = await Harness.make([], undefined, options);
  open.push(h);
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
  const network = (await h.create("network", {})).id;
  const subnet = (await h.create("subnet", { network_id: network, ip_version: 6, cidr: "fd00:1::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" })).id;
  const port = (await h.create("port", { network_id: network })).id;
  await h.plug("hv1", port, 5);
  await h.settled();
  const join = async (): Promise<string> => {
    const router = (await h.create("router", {})).id;
    expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet })).status).toBe(200);
    await h.settled();
    return router;
  };
  return { h, network, port, join };
}

/** Lets so many seconds pass; when, and where to, advertisements went meanwhile. */
interface Heard {
  readonly atS: number;
  readonly to: string;
  readonly from: string;
  readonly lifetimeS: number;
  readonly prefixes: string[];
  /** Those that are over, and whether they are still on the link. */
  readonly over: string[];
}
function heard(h: Harness, seconds: number): Heard[] {
  const out: Heard[] = [];
  const began = h.clock.monotonic();
  for (let s = 0; s < seconds; s++) {
    h.clock.advance(1000);
    for (const { app, packet } of h.sent.splice(0)) {
      if (app !== "dhcp") continue;
      const { chassis, registers, data } = packet as StageOut;
      const { eth, ipv6, icmpv6 } = parsePacket(data);
      expect([eth.dst, ipv6!.dst, ipv6!.hop_limit, registers.from_network]).toEqual(["33:33:00:00:00:01", "ff02::1", 255, 1]);
      const ra = parseRouterAdvertisement(icmpv6!.payload);
      const over = ra.prefixes.filter((p) => p.preferred_lifetime_s === 0).map((p) => `${p.prefix}${p.valid_lifetime_s > 0 ? " on the link" : ""}`).sort();
      for (const ofport of leavesBy(h, app, packet as StageOut)) out.push({ atS: (h.clock.monotonic() - began) / 1000, to: `${chassis}:${ofport}`, from: eth.src, lifetimeS: ra.router_lifetime_s, prefixes: ra.prefixes.filter((p) => p.preferred_lifetime_s > 0).map((p) => p.prefix).sort(), over });
    }
  }
  expect(h.complaints).toEqual([]);
  return out;
}

/** A cloud whose router has said that it is on a second prefix too. */
async function withSecondPrefix() {
  const { h, network, join } = await cloud();
  const router = await join();
  const second = (await h.create("subnet", { network_id: network, ip_version: 6, cidr: "fd00:2::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" })).id;
  await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: second });
  await h.settled();
  heard(h, 60);
  return { h, network, router, second };
}

describe("a port that never asks", () => {
  it("hears of a new router three times soon, then at least every 200 s, at no fixed beat", async () => {
    const { h, join } = await cloud();
    expect(heard(h, 600)).toEqual([]);
    await join();
    const soon = heard(h, 35);
    expect(soon.map((r) => [r.to, r.prefixes])).toEqual(Array.from({ length: 3 }, () => ["hv1:5", ["fd00:1::"]]));
    expect(soon[0]!.atS).toBeLessThanOrEqual(3);
    const [a, b, c] = soon.map((r) => r.atS) as [number, number, number];
    for (const gap of [b - a, c - b]) expect(gap >= 2 && gap <= 17, `${gap} s`).toBe(true);
    const later = heard(h, 7200).map((r) => r.atS);
    const gaps = later.slice(1).map((at, i) => at - later[i]!);
    expect(later[0]).toBeLessThanOrEqual(RA_PERIOD_S);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(RA_PERIOD_S + 1);
    expect(Math.min(...gaps)).toBeGreaterThan(60);
    expect(new Set(gaps.map(Math.round)).size).toBeGreaterThan(10);
  });

  it("hears it as well when the controller starts with what was stored", async () => {
    const { h, join } = await cloud();
    await join();
    await h.services.stop();
    expect(h.clock.pending).toBe(0);
    h.sent.splice(0);
    h.services.start();
    expect(heard(h, 17)).toMatchObject([{ to: "hv1:5" }]);
  });

  it("wherever it is, and wherever it goes", async () => {
    const { h, network, port, join } = await cloud();
    const other = (await h.create("port", { network_id: network })).id;
    await h.plug("hv2", other, 7);
    await join();
    expect(new Set(heard(h, 40).map((r) => r.to))).toEqual(new Set(["hv1:5", "hv2:7"]));
    await h.unplug("hv1", port);
    await h.plug("hv2", port, 8);
    await h.settled();
    expect(new Set(heard(h, 400).map((r) => r.to))).toEqual(new Set(["hv2:7", "hv2:8"]));
  });

  it("hears soon of another prefix, and that a router is down", async () => {
    const { h, network, join } = await cloud();
    const router = await join();
    heard(h, 60);
    const second = (await h.create("subnet", { network_id: network, ip_version: 6, cidr: "fd00:2::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" })).id;
    await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: second });
    await h.settled();
    expect(heard(h, 4).flatMap((r) => r.prefixes)).toContain("fd00:2::");
    expect((await h.call("PUT", `/v2.0/routers/${router}`, { router: { admin_state_up: false } })).status).toBe(200);
    await h.settled();
    const last = heard(h, 1000);
    expect(last).toHaveLength(3);
    expect(last[0]!.atS).toBeLessThanOrEqual(4);
    for (const words of last) expect(words).toMatchObject({ lifetimeS: 0, prefixes: [], over: ["fd00:1:: on the link", "fd00:2:: on the link"] });
    expect(h.timers).toBe(0);
    await h.call("PUT", `/v2.0/routers/${router}`, { router: { admin_state_up: true } });
    await h.settled();
    expect(heard(h, 10)[0]).toMatchObject({ lifetimeS: 1800, prefixes: ["fd00:1::", "fd00:2::"], over: [] });
  });

  it("hears that a prefix is over, of the router that stays; and no more of it than three times", async () => {
    const { h, router, second } = await withSecondPrefix();
    expect((await h.call("PUT", `/v2.0/routers/${router}/remove_router_interface`, { subnet_id: second })).status).toBe(200);
    await h.settled();
    expect(heard(h, 1)[0]).toMatchObject({ lifetimeS: 1800, prefixes: ["fd00:1::"], over: ["fd00:2:: on the link"] });
    expect((await h.call("DELETE", `/v2.0/subnets/${second}`)).status).toBe(204);
    await h.settled();
    const soon = heard(h, 40);
    expect(soon.map((r) => r.over)).toEqual([["fd00:2::"], ["fd00:2::"]]);
    expect(heard(h, 400).flatMap((r) => r.over)).toEqual([]);
  });

  it("hears of the last interface's end, and at once of the router that takes its place, whose prefixes go on", async () => {
    const { h, join } = await cloud();
    const first = await join();
    const subnet = (await h.call("GET", "/v2.0/subnets")).body.subnets[0].id as string;
    const old = heard(h, 60)[0]!.from;
    await h.call("PUT", `/v2.0/routers/${first}/remove_router_interface`, { subnet_id: subnet });
    await join();
    const [a, b] = heard(h, 1).sort((x, y) => x.lifetimeS - y.lifetimeS);
    expect(a).toMatchObject({ from: old, lifetimeS: 0, prefixes: [], over: [] });
    expect(b).toMatchObject({ lifetimeS: 1800, prefixes: ["fd00:1::"], over: [] });
    expect(b!.from).not.toBe(old);
    expect(heard(h, 400).filter((r) => r.from === old)).toHaveLength(2);
  });

  it("that comes later hears of the routers that are there, and the others do not hear more of it", async () => {
    const { h, network, join } = await cloud();
    await join();
    heard(h, 60);
    const late = (await h.create("port", { network_id: network })).id;
    await h.plug("hv2", late, 9);
    await h.settled();
    const soon = heard(h, 40);
    expect(soon.filter((r) => r.to === "hv2:9").length).toBeGreaterThanOrEqual(3);
    expect(soon.find((r) => r.to === "hv2:9")!.atS).toBeLessThanOrEqual(2);
    expect(soon.filter((r) => r.to === "hv1:5").length).toBeLessThanOrEqual(1);
    const gone = (await h.create("port", { network_id: network })).id;
    await h.plug("hv2", gone, 10);
    await h.unplug("hv2", gone);
    await h.settled();
    expect(heard(h, 40).filter((r) => r.to === "hv2:10")).toEqual([]);
  });
});

it("the interval is a setting, and a router's lifetime follows it", async () => {
  for (const [interval, lifetimeS] of [[4, 1800], [1800, 5400]] as const) {
    const { h, join } = await cloud({ settings: new Map([["dhcp", { "ra-interval": interval }]]) });
    await join();
    const at = heard(h, 4 * 1800);
    for (const words of at) expect(words.lifetimeS).toBe(lifetimeS);
    expect(at.length).toBeGreaterThan((4 * 1800) / interval);
    expect(Math.max(...at.slice(3).map((r, i) => r.atS - at[i + 2]!.atS))).toBeLessThanOrEqual(interval + 1);
  }
});

it("many changes at once are one advertisement, and no two come within 3 s", async () => {
  const { h, network, join } = await cloud();
  await join();
  const at: number[] = [];
  for (let i = 0; i < 20; i++) {
    await h.call("PUT", `/v2.0/networks/${network}`, { network: { mtu: 1300 + i } });
    await h.settled();
    at.push(...heard(h, 1).map((r) => r.atS + i));
  }
  expect(at.length).toBeGreaterThan(2);
  expect(at.length).toBeLessThanOrEqual(8);
});

it("of several controllers the one that masters the chassis sends", async () => {
  const share = (self: string): Share => new Share(self, () => ["a", "b"]);
  const to: string[][] = [];
  for (const self of ["a", "b"]) {
    const { h, network, join } = await cloud({ share: share(self) });
    for (let i = 0; i < 4; i++) {
      await h.addChassis(`more${i}`);
      await h.plug(`more${i}`, (await h.create("port", { network_id: network })).id, 9);
    }
    await join();
    to.push([...new Set(heard(h, 40).map((r) => r.to))]);
  }
  expect(to.flat().sort()).toEqual(["hv1:5", "more0:9", "more1:9", "more2:9", "more3:9"]);
});

it("is one packet for each host that has ports of the network, and reaches these alone", async () => {
  const { h, network, join } = await cloud();
  const other = (await h.create("network", {})).id;
  await h.create("subnet", { network_id: other, ip_version: 6, cidr: "fd00:9::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
  await h.addChassis("hv3");
  const closed = (await h.create("security_group", {})).id;
  const mine: string[] = ["hv1:5"];
  for (const [n, host] of ["hv1", "hv2"].entries()) for (let i = n === 0 ? 1 : 0; i < 20; i++) {
    const values = i % 5 === 0 ? { port_security_enabled: false, security_groups: [] } : { security_groups: [closed] };
    await h.plug(host, (await h.create("port", { network_id: network, ...values })).id, 100 + i);
    mine.push(`${host}:${100 + i}`);
  }
  for (const host of ["hv1", "hv3"]) await h.plug(host, (await h.create("port", { network_id: other })).id, 50);
  await h.settled();
  await h.clock.run(60_000); // of what came all are told
  h.sent.splice(0);
  await join();
  for (let spoken = 0; spoken < 5; ) {
    h.clock.advance(1000);
    const outs = h.sent.splice(0).filter(({ app }) => app === "dhcp").map(({ packet }) => packet as StageOut);
    if (outs.length === 0) continue;
    spoken++;
    expect(outs.map((o) => o.chassis).sort()).toEqual(["hv1", "hv2"]);
    expect(outs.flatMap((o) => leavesBy(h, "dhcp", o).map((port) => `${o.chassis}:${port}`)).sort()).toEqual(mine.sort());
  }
  expect(h.complaints).toEqual([]);
});

it("a port that comes hears its routers though another project brings more at once than are told", { tags: "long", timeout: 300_000 }, async () => {
  const { h, network, port, join } = await cloud();
  await join();
  heard(h, 60);
  const like = h.view.get(portTable, port)!;
  const HOSTILE = 10_100;
  const PART = 2500;
  for (let from = 0; from < HOSTILE; from += PART) {
    await h.model.transact({ requestId: "test", call: "test" }, (tx) => {
      for (let n = from; n < Math.min(HOSTILE, from + PART); n++) {
        const id = `hostile-${n}`;
        tx.put(portTable, { ...like, id, key: 10_000 + n, project_id: "hostile", port_security_enabled: false, mac_address: `02:00:00:00:${(n >> 8).toString(16).padStart(2, "0")}:${(n & 255).toString(16).padStart(2, "0")}` });
        tx.put(vifTable, { id: `hv1/${id}`, chassis: "hv1", iface_id: id, name: id, ofport: 1000 + n, slot: 1000 + n });
      }
    });
    await h.settled();
  }
  const mine = (await h.create("port", { network_id: network, project_id: "victim" })).id;
  await h.plug("hv2", mine, 9);
  await h.settled();
  h.sent.splice(0);
  h.clock.advance(2000);
  const told = h.sent.map(({ packet }) => packet as StageOut).filter((out) => out.chassis === "hv2").flatMap((out) => leavesBy(h, "dhcp", out));
  expect(told).toEqual([9]);
  expect(h.sent.length).toBeGreaterThan(9000);
});

describe("an interface that keeps changing what it says", () => {
  it("has said each prefix once, however often it changed; what is over is told all the same", async () => {
    const { h, network, router, second } = await withSecondPrefix();
    await h.call("PUT", `/v2.0/routers/${router}/remove_router_interface`, { subnet_id: second });
    const first = h.view.by(subnetTable, "network", network).find((s) => s.id !== second)!;
    for (let n = 0; n < 10_000; n++) {
      await h.model.transact({ requestId: "test", call: "test" }, (tx) => tx.put(subnetTable, { ...first, dns_nameservers: [`fd00:1::${(n % 2) + 1}`] }));
    }
    await h.settled();
    const told = vi.spyOn(Before.prototype, "list");
    expect(heard(h, 4)[0]).toMatchObject({ prefixes: ["fd00:1::"], over: ["fd00:2:: on the link"] });
    expect(Math.max(...told.mock.results.map(({ value }) => (value as readonly unknown[]).length))).toBe(1);
    told.mockRestore();
  }, 60_000);

  it("tells that routes, name servers and domains are over, and of no more than an advertisement has room for", async () => {
    const { h, network, join } = await cloud();
    const router = await join();
    const subnet = h.view.by(subnetTable, "network", network)[0]!;
    const become = async (changes: object): Promise<void> => {
      expect((await h.call("PUT", `/v2.0/subnets/${subnet.id}`, { subnet: changes })).status).toBe(200);
      await h.settled();
    };
    const last = () => {
      h.clock.advance(4000);
      return parseRouterAdvertisement(parsePacket((h.sent.splice(0).filter(({ app }) => app === "dhcp").at(-1)!.packet as StageOut).data).icmpv6!.payload);
    };
    const route = (n: number) => ({ destination: `2001:db8:${n}::/48`, nexthop: subnet.gateway_ip });
    await become({ dns_nameservers: ["fd00:1::53"] });
    for (let n = 0; n < 60; n++) h.clock.advance(1000);
    await become({ host_routes: [route(1), route(2), { destination: "2001:db8:9::/48", nexthop: "fd00:1::99" }] });
    expect(last().routes).toEqual([1, 2].map((n) => ({ prefix: `2001:db8:${n}::`, length: 48, preference: "medium", lifetime_s: 1800 })));
    await become({ dns_nameservers: ["fd00:1::54"], host_routes: [route(2)] });
    const ra = last();
    expect(ra.routes!.map((r) => [r.prefix, r.lifetime_s])).toEqual([["2001:db8:2::", 1800], ["2001:db8:1::", 0]]);
    expect(ra.rdnss.map((r) => [r.servers, r.lifetime_s])).toEqual([[["fd00:1::54"], 1800], [["fd00:1::53"], 0]]);
    await h.call("PUT", `/v2.0/networks/${network}`, { network: { dns_domain: "blue.example." } });
    await h.settled();
    expect(last().dnssl.map((d) => [d.domains, d.lifetime_s])).toEqual([[["blue.example"], 1800], [["axion.internal"], 0]]);
    // By a route of its own the router knows the way to another's next hop.
    expect((await h.call("PUT", `/v2.0/routers/${router}`, { router: { routes: [{ destination: "2001:db8:9::/48", nexthop: "fd00:1::99" }] } })).status).toBe(200);
    await become({ host_routes: [{ destination: "2001:db8:9::/48", nexthop: "fd00:1::99" }] });
    expect(last().routes!.map((r) => [r.prefix, r.lifetime_s]).slice(0, 1)).toEqual([["2001:db8:9::", 1800]]);
    for (let turn = 0; turn < 4; turn++) await become({ host_routes: Array.from({ length: 20 }, (_, n) => route(turn * 20 + n + 100)) });
    h.clock.advance(4000);
    for (const { packet } of h.sent.splice(0)) expect((packet as StageOut).data.length).toBeLessThanOrEqual(1294);
  }, 60_000);

  it("keeps the last of many prefixes", () => {
    const { prefixes: before } = new SaidBefore();
    const words = (n: number) => [{ prefix: `fd00:${n.toString(16)}::`, length: 64, on_link: true, autonomous: true, valid_lifetime_s: 1, preferred_lifetime_s: 1 }];
    for (let n = 0; n < 10_000; n++) before.changed(words(n), words(n + 1));
    expect(before.list().map((p) => p.prefix)).toEqual(Array.from({ length: 32 }, (_, i) => words(9999 - i)[0]!.prefix));
    before.changed(words(10_000), words(9999));
    expect(before.list().map((p) => p.prefix).slice(0, 2), "what it says again is not over").toEqual([words(10_000)[0]!.prefix, words(9998)[0]!.prefix]);
  });
});
