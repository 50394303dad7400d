// Sources that packets have when a router forwards them: what comes in by one of its networks and claims to be of another is dropped, and what a router
// that is a guest on somebody's network sends there has a source of the network it came from. Both families, on one host and from another.
// @module-tag long
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isIpv6 } from "#app";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { frames, sendRaw, udp } from "../../support/api/raw.ts";

let cloud: Cloud;
beforeAll(async () => {
  cloud = await Cloud.create({ name: "router-sources.test" });
});
afterAll(async () => cloud?.destroy());

interface Link extends Net {
  readonly six: Resource;
}
/** A network with a subnet of each family, `10.<n>.0.0/24` and `fd<n>::/64`. */
async function link(n: number, project = "p1", shared = false): Promise<Link> {
  const network = await cloud.create("network", { shared }, project);
  const subnet = await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: `10.${n}.0.0/24` }, project);
  const six = await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: `fd${n}::/64`, gateway_ip: `fd${n}::1` }, project);
  return { network, subnet, six };
}
const addressOf = (port: Resource, six: boolean): string => (port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address).find((ip) => isIpv6(ip) === six)!;

/** Takes everything that comes, and may send anything. */
const unsecured = { port_security_enabled: false, security_groups: [] };
const on = (hv: number, net: Link, project = "p1", port: Record<string, unknown> = unsecured): Promise<Instance> => cloud.instance(cloud.hv(hv), net, { project, port, configure: false });

/** MACs of a router's interface on a network, one for each family: there may be one port for both. */
async function gateways(router: string, net: Link): Promise<{ readonly four: string; readonly six: string }> {
  const { ports } = (await cloud.call("GET", `/v2.0/ports?network_id=${net.network.id}&device_id=${router}`)).body as unknown as { ports: Resource[] };
  const mac = (six: boolean): string => ports.find((p) => addressOf(p, six) !== undefined)!.mac_address as string;
  return { four: mac(false), six: mac(true) };
}

async function connect(router: string, net: Link, project = "p1"): Promise<void> {
  for (const { id } of [net.subnet, net.six]) expect((await cloud.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: id }, project)).status).toBe(200);
}

/** Which of these sources arrive at who listens, sent by the router from one network into the other. */
async function arriving(from: Instance, by: { readonly four: string; readonly six: string }, to: Instance, sources: readonly string[]): Promise<string[]> {
  const capture = await to.vm.tcpdump("-Q in udp dst port 4444");
  const list = sources.flatMap((src) => {
    const ends = { srcMac: from.port.mac_address as string, dstMac: isIpv6(src) ? by.six : by.four, src, dst: addressOf(to.port, isIpv6(src)) };
    return frames(ends, udp(ends, 4000, 4444));
  });
  await sendRaw(from.vm, list);
  await sendRaw(from.vm, list);
  await sleep(500);
  await capture.stop();
  return sources.filter((src) => capture.lines.some((line) => line.includes(` ${src}.4000 >`)));
}

describe("a member's router on a shared network", () => {
  let shared: Link;
  let own: Link;
  let router: string;
  /** Of the member, in his network. */
  let sender: Instance;
  /** Of others, on the shared network: on the sender's host and elsewhere. */
  let others: readonly Instance[];
  const asMember = (method: string, url: string, body?: unknown): Promise<{ readonly status: number; readonly body: any }> =>
    cloud.controller.api(method, url, body, { "x-project-id": "guest", "x-roles": "member" });

  beforeAll(async () => {
    shared = await link(20, "p1", true);
    // Another subnet on the same wire, which the router has no address in.
    await cloud.create("subnet", { network_id: shared.network.id, ip_version: 4, cidr: "10.29.0.0/24" });
    await cloud.create("subnet", { network_id: shared.network.id, ip_version: 6, cidr: "fd29::/64" });
    own = await link(21, "guest");
    // The member's network may have the same prefixes: no router has an address in them there.
    await cloud.create("subnet", { network_id: own.network.id, ip_version: 4, cidr: "10.20.0.0/24" }, "guest");
    await cloud.create("subnet", { network_id: own.network.id, ip_version: 6, cidr: "fd20::/64" }, "guest");
    router = (await asMember("POST", "/v2.0/routers", { router: {} })).body.router.id as string;
    for (const { id } of [own.subnet, own.six]) expect((await asMember("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: id })).status).toBe(200);
    const made = await asMember("POST", "/v2.0/ports", { port: { network_id: shared.network.id, fixed_ips: [shared.subnet, shared.six].map((s) => ({ subnet_id: s.id })) } });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    expect((await asMember("PUT", `/v2.0/routers/${router}/add_router_interface`, { port_id: made.body.port.id as string })).status).toBe(200);
    const mine = [own.subnet, own.six].map((s) => ({ subnet_id: s.id }));
    sender = await on(1, own, "guest", { ...unsecured, fixed_ips: mine });
    const fixed_ips = [shared.subnet, shared.six].map((s) => ({ subnet_id: s.id }));
    others = [await on(1, shared, "p1", { ...unsecured, fixed_ips }), await on(2, shared, "p1", { ...unsecured, fixed_ips })];
    await cloud.synced();
  }, 60_000);

  test("sends into it what comes from its own network, and nothing in the name of anybody else", async () => {
    const by = await gateways(router, own);
    const mine = ["10.21.0.99", "fd21::99"];
    for (const to of others) {
      await until("what has a source of the member's", async () => (await arriving(sender, by, to, mine)).length === 2, { timeoutMs: 10_000 });
      // Of the link, of a subnet there where the router has no address, of the whole world.
      const foreign = ["10.20.0.77", "fd20::77", "10.29.0.7", "fd29::7", "203.0.113.5", "2001:db8::5"];
      expect(await arriving(sender, by, to, [...foreign, ...mine])).toEqual(mine);
    }
    // A pair is the word of the network's owner in that network, and no more: here the member gave it to himself.
    const pair = await on(2, own, "guest", { fixed_ips: [own.subnet, own.six].map((s) => ({ subnet_id: s.id })), allowed_address_pairs: ["10.20.0.78", "fd20::78", "10.21.0.78", "fd21::78", "198.51.100.7"].map((ip_address) => ({ ip_address })) });
    await cloud.synced();
    expect(await arriving(pair, by, others[1]!, ["10.20.0.78", "fd20::78", "198.51.100.7", "10.21.0.78", "fd21::78"])).toEqual(["10.21.0.78", "fd21::78"]);
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("sends into it nothing in the name of a subnet there whose prefix the member has connected himself", async () => {
    const same: { readonly id: string }[] = [];
    for (const [ip_version, cidr] of [[4, "10.29.0.0/24"], [6, "fd29::/64"]] as const) same.push(await cloud.create("subnet", { network_id: own.network.id, ip_version, cidr }, "guest"));
    const connect = async (method: "add" | "remove"): Promise<void> => {
      for (const { id } of same) expect((await asMember("PUT", `/v2.0/routers/${router}/${method}_router_interface`, { subnet_id: id })).status).toBe(200);
      await cloud.synced();
    };
    const by = await gateways(router, own);
    const mine = ["10.21.0.99", "fd21::99"];
    await connect("add");
    for (const to of others) expect(await arriving(sender, by, to, ["10.29.0.7", "fd29::7", ...mine])).toEqual(mine);
    expect(await cloud.differences()).toBe("");
    await connect("remove");
    for (const { id } of same) expect((await asMember("DELETE", `/v2.0/subnets/${id}`)).status).toBe(204);
  }, 60_000);

  test("takes from it what is of there or of beyond, and nothing in the name of the member's own", async () => {
    const by = await gateways(router, shared);
    for (const from of others) {
      const right = ["10.20.0.77", "fd20::77", "10.29.0.7", "203.0.113.5", "2001:db8::5"];
      await until("what has a source of its own", async () => (await arriving(from, by, sender, right.slice(0, 2))).length === 2, { timeoutMs: 10_000 });
      expect(await arriving(from, by, sender, ["10.21.0.77", "fd21::77", ...right])).toEqual(right);
    }
  }, 60_000);

  test("has no say over a router that an administrator connected for the member", async () => {
    const its = await cloud.create("router", {}, "guest");
    await connect(its.id, await link(22, "guest"), "guest");
    const net = await link(23, "guest");
    await connect(its.id, net, "guest");
    const port = await cloud.create("port", { network_id: shared.network.id, fixed_ips: [shared.subnet, shared.six].map((s) => ({ subnet_id: s.id })) }, "guest");
    expect((await cloud.call("PUT", `/v2.0/routers/${its.id}/add_router_interface`, { port_id: port.id }, "guest")).status).toBe(200);
    const from = await on(1, net, "guest");
    const by = await gateways(its.id, net);
    await cloud.synced();
    const beyond = ["203.0.113.5", "2001:db8::5"];
    await until("what comes from beyond", async () => (await arriving(from, by, others[1]!, beyond)).length === 2, { timeoutMs: 10_000 });
    expect(await arriving(from, by, others[1]!, ["10.20.0.77", "fd20::77", "10.22.0.5", "fd22::5", ...beyond])).toEqual(beyond);
  }, 60_000);
});

describe("a router between networks of its owner", () => {
  let left: Link;
  let right: Link;
  let router: string;
  let receivers: readonly Instance[];

  beforeAll(async () => {
    [left, right] = [await link(30), await link(31)];
    router = (await cloud.create("router", {})).id;
    for (const net of [left, right]) await connect(router, net);
    receivers = [await on(1, right), await on(2, right)];
  }, 60_000);

  test("drops what comes from one and claims to be of the other, whoever sends it; what is of neither passes", async () => {
    const from = await on(1, left);
    const by = await gateways(router, left);
    await cloud.synced();
    const fine = ["10.30.0.77", "fd30::77", "203.0.113.5", "2001:db8::5"];
    for (const to of receivers) {
      await until("what is of the link", async () => (await arriving(from, by, to, fine.slice(0, 2))).length === 2, { timeoutMs: 10_000 });
      expect(await arriving(from, by, to, ["10.31.0.77", "fd31::77", addressOf(receivers[0]!.port, false), "10.31.0.1", ...fine])).toEqual(fine);
    }
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("takes from a port whose pair names an address of the other network, or a prefix, what it says", async () => {
    const pairs = ["10.31.0.200", "10.31.0.208/28", "fd31::c8", "0.0.0.0/1"];
    const from = await on(1, left, "p1", { allowed_address_pairs: pairs.map((ip_address) => ({ ip_address })) });
    const beside = await on(1, left);
    const by = await gateways(router, left);
    await cloud.synced();
    const named = ["10.31.0.200", "10.31.0.209", "fd31::c8", "10.31.0.5"];
    await until("what the pairs say", async () => (await arriving(from, by, receivers[1]!, named)).length === named.length, { timeoutMs: 10_000 });
    expect(await arriving(beside, by, receivers[1]!, named), "another port has no pair").toEqual([]);
    await cloud.update("port", from.port.id, { allowed_address_pairs: [] });
    await cloud.synced();
    expect(await arriving(from, by, receivers[1]!, named)).toEqual([]);
  }, 60_000);

  test("takes what is behind a next hop, and what another router brings", async () => {
    const hop = await on(1, left);
    const far = await link(32);
    const second = (await cloud.create("router", {})).id;
    await connect(second, far);
    const at = await cloud.create("port", { network_id: left.network.id, fixed_ips: [left.subnet, left.six].map((s) => ({ subnet_id: s.id })) });
    expect((await cloud.call("PUT", `/v2.0/routers/${second}/add_router_interface`, { port_id: at.id })).status).toBe(200);
    await cloud.update("router", second, { routes: [["10.31.0.0/24", "10.30.0.1"], ["fd31::/64", "fd30::1"]].map(([destination, nexthop]) => ({ destination, nexthop })) });
    await cloud.update("router", router, { routes: [["198.51.100.0/24", addressOf(hop.port, false)], ["2001:db8:7::/64", addressOf(hop.port, true)]].map(([destination, nexthop]) => ({ destination, nexthop })) });
    const beyond = await on(2, far);
    await cloud.synced();
    const [by, byFar] = [await gateways(router, left), await gateways(second, far)];
    await until("what is behind the hop", async () => (await arriving(hop, by, receivers[1]!, ["198.51.100.9", "2001:db8:7::9"])).length === 2, { timeoutMs: 10_000 });
    await until("what the other router brings", async () => (await arriving(beyond, byFar, receivers[1]!, ["10.32.0.9", "fd32::9"])).length === 2, { timeoutMs: 10_000 });
    // The first judges it once more: a source of its own network does not come from there.
    expect(await arriving(beyond, byFar, receivers[1]!, ["10.31.0.66", "fd31::66"])).toEqual([]);
    expect(await cloud.differences()).toBe("");
  }, 60_000);
});
