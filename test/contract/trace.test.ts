// Traces over what switches should have: ways over hosts and routers and back, and why packets go no further.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { askOf, chassisTable, learned } from "#app";
import { linkLocal } from "packet-codec";
import { outerHeaders } from "../../apps/overlay/model.ts";
import { tunnelId, tunnelTable, type TunnelSeen } from "../../apps/tunnel-watch/model.ts";
import { hookGuard } from "../../src/lib/hook-guard.ts";
import { allTables } from "../../src/boot/registry.ts";
import { explained } from "../../src/ops/trace/explain.ts";
import { requestOf } from "../../src/ops/trace/request.ts";
import { Tracer, type TraceAnswer, type TraceRequest } from "../../src/ops/trace/tracer.ts";
import { Harness, type Answer } from "../support/harness.ts";

let h: Harness;
let tracer: Tracer;
/** Which goes into the past on a copy, also where little changed since. */
let apart: Tracer;

type Body = Readonly<Record<string, unknown>>;
const trace = (body: Body): Promise<TraceAnswer> => tracer.trace(requestOf({ state: "desired", ...body }));

interface Net {
  readonly id: string;
  readonly subnet: string;
}
async function net(n: number, more: Body = {}): Promise<Net> {
  const { id } = await h.create("network", { name: `net${n}`, project_id: "p", ...more });
  const subnet = await h.create("subnet", { network_id: id, ip_version: 4, cidr: `10.0.${n}.0/24`, project_id: more.project_id ?? "p" });
  return { id, subnet: subnet.id };
}
let ofport = 1;
async function port({ id }: Net, host: string | undefined, more: Body = {}): Promise<any> {
  const made = await h.create("port", { network_id: id, project_id: "p", ...more });
  if (host !== undefined) await h.plug(host, made.id, ofport++);
  return made;
}
async function allowAll(): Promise<string> {
  const group = await h.create("security_group", { name: "all", project_id: "p" });
  await h.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype: "IPv4", project_id: "p" });
  return group.id;
}
const ip = (p: any): string => p.fixed_ips[0].ip_address;

beforeEach(async () => {
  h = await Harness.make();
  ofport = 1;
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
  const guard = hookGuard({ error: (fields: object): void => void h.complaints.push(fields) }, () => 0);
  const parts = { apps: h.apps, tables: allTables(h.apps), view: h.view, engine: h.engine, layout: h.layout, guard, ask: askOf(h.apps), clock: h.clock };
  tracer = new Tracer({ ...parts, past: h.past().flows });
  apart = new Tracer({ ...parts, past: h.past({ rows: -1 }).flows });
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("from port to port on one host, over a tunnel, and by a router, and back", async () => {
  const security_groups = [await allowAll()];
  const [one, two] = [await net(1), await net(2)];
  const router = await h.create("router", { project_id: "p", name: "edge" });
  for (const { subnet } of [one, two]) await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet });
  const a = await port(one, "hv1", { security_groups, name: "a" });
  const b = await port(one, "hv1", { security_groups });
  const c = await port(one, "hv2", { security_groups });
  const d = await port(two, "hv2", { security_groups });
  await h.settled();
  for (const [to, host] of [[b, "hv1"], [c, "hv2"], [d, "hv2"]] as const) {
    for (const how of [{ protocol: "tcp", port: 80 }, { protocol: "icmp" }, { protocol: "udp", port: 53, ct: "established" }]) {
      const answer = await trace({ from: a.id, to: to.id, ...how });
      expect(answer, JSON.stringify(answer.cause)).toMatchObject({ verdict: "delivered", cause: null, delivered: [{ switch: host, id: to.id }], answer: { verdict: "delivered", delivered: [{ switch: "hv1", id: a.id }] } });
      expect(answer.hops[0]).toMatchObject({ switch: "hv1", table: "classify", app: "l2", rule: "local-port" });
      expect(answer.hops.flatMap((hop) => hop.resources)).toContainEqual({ type: "port", id: a.id, name: "a" });
      expect(new Set(answer.hops.map((hop) => hop.switch))).toEqual(new Set(["hv1", host]));
    }
  }
  // An address is as good as a port.
  expect(await trace({ from: a.id, to: ip(d), protocol: "tcp", port: 80 })).toMatchObject({ verdict: "delivered", delivered: [{ id: d.id }], answer: { verdict: "delivered" } });
});

test("what a drop is because of, and what helps", async () => {
  const open = [await allowAll()];
  const shut = [(await h.create("security_group", { name: "shut", project_id: "p" })).id];
  const [one, two, three] = [await net(1), await net(2), await net(3)];
  const router = await h.create("router", { project_id: "p", name: "edge" });
  for (const { subnet } of [one, two]) await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet });
  const a = await port(one, "hv1", { security_groups: open });
  const b = await port(one, "hv2", { security_groups: shut });
  const nowhere = await port(one, undefined, { security_groups: open });
  const far = await port(two, "hv2", { security_groups: open });
  const apart = await port(three, "hv2", { security_groups: open });
  await h.settled();
  const why = async (body: Body): Promise<TraceAnswer["cause"]> => (await trace({ from: a.id, protocol: "icmp", ...body })).cause;

  const denied = await why({ to: b.id, protocol: "tcp", port: 443 });
  expect(denied).toMatchObject({ reason: "security_group", resources: [{ type: "port", id: b.id }, { type: "security_group", id: shut[0], name: "shut" }] });
  const { method, path, body } = denied!.cure.call!;
  expect(body).toEqual({ security_group_rule: { security_group_id: shut[0], direction: "ingress", ethertype: "IPv4", protocol: "tcp", port_range_min: 443, port_range_max: 443, remote_ip_prefix: `${ip(a)}/32` } });
  expect((await h.call(method as "POST", path, body as Body)).status).toBe(201);
  await h.settled();
  expect((await trace({ from: a.id, to: b.id, protocol: "tcp", port: 443 })).verdict).toBe("delivered");

  expect(await why({ to: nowhere.id })).toMatchObject({ reason: "not_plugged", resources: [{ id: nowhere.id }] });
  expect(await why({ to: "10.0.1.77" })).toMatchObject({ reason: "unknown_address" });
  expect(await why({ to: apart.id })).toMatchObject({ reason: "no_route", resources: [{ type: "router", id: router.id, name: "edge" }], cure: { call: { path: `/v2.0/routers/${router.id}/add_router_interface`, body: { subnet_id: three.subnet } } } });
  expect(await why({ to: "203.0.113.9" })).toMatchObject({ reason: "no_gateway", resources: [{ id: router.id }] });
  expect(await why({ from: apart.id, to: a.id })).toMatchObject({ reason: "no_gateway", resources: [{ type: "subnet", id: three.subnet }] });
  expect(await why({ to: far.id, source: "10.0.1.99" })).toMatchObject({ reason: "port_security", resources: [{ id: a.id }] });
  expect(await why({ to: far.id, source_mac: "02:00:00:00:00:99" })).toMatchObject({ reason: "port_security" });
  expect(await why({ to: far.id, size: 9000 })).toMatchObject({ reason: "mtu" });
  expect(await why({ to: far.id, ttl: 1 })).toMatchObject({ reason: "ttl", resources: [{ id: router.id }] });
  await h.call("PUT", `/v2.0/ports/${far.id}`, { port: { admin_state_up: false } });
  await h.settled();
  expect(await why({ to: far.id })).toMatchObject({ reason: "admin_state_down", resources: [{ type: "port", id: far.id }], cure: { call: { method: "PUT", path: `/v2.0/ports/${far.id}` } } });
  await h.call("PUT", `/v2.0/routers/${router.id}`, { router: { admin_state_up: false } });
  await h.settled();
  expect(await why({ to: ip(far) })).toMatchObject({ reason: "admin_state_down", resources: [{ type: "router", id: router.id }] });
  await h.call("PUT", `/v2.0/ports/${a.id}`, { port: { admin_state_up: false } });
  await h.settled();
  expect(await why({ to: b.id })).toMatchObject({ reason: "admin_state_down", resources: [{ type: "port", id: a.id }] });
});

test("a packet at a switch, in ovs-ofctl's syntax", async () => {
  const a = await port(await net(1), "hv1");
  await h.settled();
  const spoofed = await trace({ switch: "hv1", flow: `in_port=1,ip,dl_src=02:00:00:00:00:01,dl_dst=${a.mac_address},nw_src=10.0.1.1,nw_dst=10.0.1.2` });
  expect(spoofed).toMatchObject({ verdict: "dropped", answer: null });
  expect(spoofed.hops.map((hop) => hop.table)).toEqual(["classify", "port_security"]);
});

test("what cannot be asked is refused by the name of what is wrong", async () => {
  const a = await port(await net(1), "hv1");
  await h.settled();
  const bad = async (body: unknown): Promise<string> => {
    try {
      await tracer.trace(requestOf(body));
      return "none";
    } catch (error) {
      return `${(error as { status: number }).status} ${(error as { parameter: string }).parameter}`;
    }
  };
  expect(await Promise.all([
    {}, { from: "x" }, { from: "x", to: "y", protocol: "tcp" }, { from: "x", to: "y", protocol: "nonsense" }, { from: "x", to: "y", protocol: "tcp", port: 70_000 }, { from: "x", to: "y", port: 5 }, { from: "x", to: "y" },
    { switch: "hv1" }, { switch: "hv9", flow: "ip" }, { switch: "hv1", flow: "nonsense=1" }, { from: "x", to: "y", at: "yesterday" }, { from: "x", to: "y", at: -1 }, { from: "x", to: "y", at: null }, { from: "x", to: "y", at: 1, state: "installed" }, { from: "x", to: "y", at: 1e9 }, { from: "x", to: "y", source: "10.0.0.256" }, { from: "x", to: "y", reverse: "no" }, [], { from: "x", to: "y", state: "past" }, { switch: "hv1", flow: "ip", to: "x" }, { from: a.id, to: "nosuch" }, { from: a.id, to: "10.0.0.256" }, { from: "10.0.1.2", to: a.id },
  ].map(bad))).toEqual([
    "400 from", "400 to", "400 port", "400 protocol", "400 port", "400 port", "404 from", "400 flow", "404 switch", "400 flow", "400 at", "400 at", "400 at", "400 state", "404 at", "400 source", "400 reverse", "400 body", "400 state", "400 to", "404 to", "404 to", "404 from",
  ]);
});

test("a cure is made as it is said, and helps; where somebody has to choose it says so in words alone", async () => {
  const security_groups = [await allowAll()];
  const [one, two] = [await net(1), await net(2)];
  const router = await h.create("router", { project_id: "p" });
  await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: one.subnet });
  const a = await port(one, "hv1", { security_groups });
  const b = await port(two, "hv2", { security_groups });
  const grouped = await port(one, "hv2", { security_groups: [] });
  const bare = await port(one, "hv2", { security_groups, fixed_ips: [] });
  await h.settled();
  const cured = async (body: Body): Promise<string> => {
    const { reason, cure } = (await trace({ from: a.id, ...body })).cause!;
    expect(cure.call, JSON.stringify(cure)).toBeDefined();
    const { method, path, body: sent } = cure.call!;
    const done = await h.call(method as "PUT", path, sent);
    expect(done.status, JSON.stringify(done.body)).toBeLessThan(300);
    await h.settled();
    return reason;
  };
  const chosen = async (body: Body): Promise<string> => {
    const { reason, cure } = (await trace({ from: a.id, ...body })).cause!;
    expect([cure.call, cure.text]).toEqual([undefined, expect.stringContaining("yours to choose")]);
    return reason;
  };
  expect(await cured({ to: b.id })).toBe("no_route");
  expect((await trace({ from: a.id, to: b.id })).verdict).toBe("delivered");
  expect(await cured({ to: bare.id })).toBe("unknown_address");
  expect((await trace({ from: a.id, to: bare.id })).verdict).toBe("delivered");
  expect(await chosen({ to: grouped.id })).toBe("security_group");
  expect(await chosen({ to: "172.20.0.9" })).toBe("no_route");
  expect(await chosen({ to: "203.0.113.9" })).toBe("no_gateway");
  await h.addChassis("hv3", { bridge_mappings: { one: "br-ex" } });
  await h.settled();
  const { id: network_id } = await h.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "one" });
  await h.create("subnet", { network_id, cidr: "203.0.113.0/24", ip_version: 4 });
  await h.settled();
  expect(await cured({ to: "203.0.113.9" })).toBe("no_gateway");
});

test("a rule that was deleted let it pass at an instant before", async () => {
  const group = await h.create("security_group", { name: "web", project_id: "p" });
  const rule = await h.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype: "IPv4", protocol: "tcp", project_id: "p" });
  const one = await net(1);
  const a = await port(one, "hv1", { security_groups: [group.id], name: "a" });
  const b = await port(one, "hv2", { security_groups: [group.id], name: "b" });
  await h.settled();
  const before = h.model.generation;
  const question = { from: "a", to: "b", protocol: "tcp", port: 80 };
  const request = (more: Body): TraceRequest => ({ ...requestOf({ ...question, ...more }), names: true });
  const ask = (more: Body): Promise<TraceAnswer> => tracer.trace(request(more));
  h.clock.advance(10_000);
  expect((await h.call("DELETE", `/v2.0/security-group-rules/${rule.id}`)).status).toBe(204);
  await h.call("PUT", `/v2.0/ports/${b.id}`, { port: { name: "renamed" } });
  await h.settled();
  const generation = h.model.generation;
  const flows = [...h.engine.flowsOf("hv2")].length;
  const was = await ask({ at: before });
  expect(was).toMatchObject({ verdict: "delivered", generation: before, delivered: [{ switch: "hv2", id: b.id }], answer: { verdict: "delivered", delivered: [{ id: a.id }] } });
  expect(was.hops.flatMap((hop) => hop.resources)).toContainEqual({ type: "security_group_rule", id: rule.id });
  expect(await ask({ at: new Date(h.clock.now() - 5000).toISOString() })).toMatchObject({ verdict: "delivered", generation: before });
  expect(await ask({ at: String(generation), to: "renamed" })).toMatchObject({ verdict: "dropped", generation, cause: { reason: "security_group" } });
  for (const more of [{ at: before }, { at: String(generation), to: "renamed" }]) expect(await apart.trace(request(more))).toEqual(await ask(more));
  await expect(apart.trace(request({ at: before, from: "nobody" }))).rejects.toMatchObject({ parameter: "from", status: 404 });
  // Nothing is left of it.
  expect([h.model.generation, [...h.engine.flowsOf("hv2")].length]).toEqual([generation, flows]);
  expect(await trace({ ...question, from: a.id, to: b.id })).toMatchObject({ verdict: "dropped" });
  await expect(ask({ at: before, to: "renamed" })).rejects.toMatchObject({ parameter: "to", status: 404 });
  await expect(ask({ at: generation + 1 })).rejects.toMatchObject({ parameter: "at", status: 404 });
  await expect(ask({ at: before, from: "nobody" })).rejects.toMatchObject({ parameter: "from", status: 404 });
});

test("what probes say of tunnels is what a packet is lost to: down, in one direction or both, or too narrow", async () => {
  const security_groups = [await allowAll()];
  const one = await net(1);
  const [a, b] = [await port(one, "hv1", { security_groups }), await port(one, "hv2", { security_groups })];
  await h.settled();
  const type = h.view.get(chassisTable, "hv1")!.encap_types[0]!;
  const seen = (from: string, to: string, more: Partial<TunnelSeen>): void => {
    const id = tunnelId(from, to, type);
    h.facts.learn(learned(tunnelTable, from, { id, from, to, type, state: "up", since: "2026-01-01T00:00:00.000Z", latency_ms: 1, loss: 0, mtu: 1500, missing: undefined, ...more }));
  };
  seen("hv1", "hv2", {});
  seen("hv2", "hv1", { state: "down" });
  expect(await trace({ from: a.id, to: b.id })).toMatchObject({ verdict: "delivered", answer: { verdict: "dropped", cause: { reason: "tunnel_down", text: expect.stringMatching(/from hv2 to hv1 carries nothing, since 2026-01-01.*that from there does/), cure: { text: expect.stringContaining("firewalls") } } } });
  seen("hv1", "hv2", { state: "down" });
  expect(await trace({ from: a.id, to: b.id })).toMatchObject({ verdict: "dropped", cause: { reason: "tunnel_down", text: expect.not.stringContaining("that from there does") } });
  // 1400 bytes outside: what is around the packet, inside and outside of the frame, is less.
  seen("hv1", "hv2", { mtu: 1400, missing: 1500 });
  const inside = 1400 - outerHeaders(type, 4) - 14;
  expect(await trace({ from: a.id, to: b.id, size: inside, reverse: false })).toMatchObject({ verdict: "delivered" });
  expect(await trace({ from: a.id, to: b.id, size: inside + 1 })).toMatchObject({ verdict: "dropped", cause: { reason: "mtu", text: expect.stringContaining(`more than ${inside} bytes`) } });
  // Of the past it says nothing.
  expect(await trace({ from: a.id, to: b.id, size: inside + 1, at: h.model.generation, reverse: false })).toMatchObject({ verdict: "delivered" });
});

test("a machine sends by the ways that DHCP tells it: to other segments, and to what is on its link", async () => {
  const security_groups = [await allowAll()];
  const flat = (physnet: string): Body => ({ "provider:network_type": "flat", "provider:physical_network": physnet });
  for (const host of ["hv3", "hv4"]) await h.addChassis(host, { bridge_mappings: { [host === "hv3" ? "one" : "two"]: "br-ex" } });
  await h.settled();
  const { id } = await h.create("network", { project_id: "p", segments: [flat("one"), flat("two")] });
  const segments = (await h.call("GET", `/v2.0/segments?network_id=${id}&sort_key=physical_network&sort_dir=asc`)).body.segments as { id: string }[];
  const make = (cidr: string, n: 0 | 1, more: Body = {}): Promise<{ id: string }> => h.create("subnet", { network_id: id, cidr, ip_version: 4, segment_id: segments[n]!.id, project_id: "p", ...more });
  const [near, far] = [await make("10.1.0.0/24", 0, { host_routes: [{ destination: "0.0.0.0/0", nexthop: "10.1.0.200" }] }), await make("10.2.0.0/24", 1)];
  const router = await h.create("router", { project_id: "p" });
  for (const { id: subnet_id } of [near, far]) await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id });
  const alone = await net(3);
  const single = await port(alone, "hv1", { security_groups });
  await h.settled();
  // DNS, which DHCP says is on the link where no router is.
  expect(await trace({ from: single.id, to: "169.254.169.253", protocol: "udp", port: 53 })).toMatchObject({ verdict: "delivered", delivered: [{ switch: "hv1", port: "CONTROLLER" }] });
  expect(await trace({ from: single.id, to: "255.255.255.255", protocol: "udp", port: 67 })).toMatchObject({ verdict: "delivered", delivered: [{ switch: "hv1", port: "CONTROLLER" }] });
  // What is for the other segment goes by the route that follows from it, and anything else by the subnet's own.
  const a = await port({ id, subnet: near.id }, "hv3", { security_groups, fixed_ips: [{ subnet_id: near.id }] });
  const b = await port({ id, subnet: far.id }, "hv4", { security_groups, fixed_ips: [{ subnet_id: far.id }] });
  await h.settled();
  expect(await trace({ from: a.id, to: "192.0.2.1" })).toMatchObject({ verdict: "delivered", delivered: [{ switch: "hv3", port: expect.stringMatching(/^axion-phys-/) }], notes: [expect.stringMatching(/^hv3 sends it by .* to 10\.1\.0\.200, which is on the physical network: what that does/)] });
  const interfaces = (await h.call("GET", `/v2.0/ports?device_id=${router.id}&fixed_ips=ip_address%3D10.1.0.1`)).body.ports as { mac_address: string }[];
  expect((await trace({ from: a.id, to: b.id })).hops[0]!.packet).toContain(`dl_dst=${interfaces[0]!.mac_address}`);
});

test("by a router of the physical network, on to another segment and back, flat and by VLAN", async () => {
  const security_groups = [await allowAll()];
  for (const [host, physnet] of [["hv3", "one"], ["hv4", "two"]] as const) await h.addChassis(host, { bridge_mappings: { [physnet]: "br-ex" } });
  await h.settled();
  const segment = (physnet: string, vlan?: number): Body => ({ "provider:network_type": vlan === undefined ? "flat" : "vlan", "provider:physical_network": physnet, ...(vlan !== undefined && { "provider:segmentation_id": vlan }) });
  const { id } = await h.create("network", { project_id: "p", segments: [segment("one"), segment("two", 100)] });
  const segments = (await h.call("GET", `/v2.0/segments?network_id=${id}&sort_key=physical_network&sort_dir=asc`)).body.segments as { id: string }[];
  const subnets: { id: string }[] = [];
  for (const n of [0, 1]) subnets.push(await h.create("subnet", { network_id: id, cidr: `10.${n + 1}.0.0/24`, ip_version: 4, segment_id: segments[n]!.id, project_id: "p" }));
  const on = (n: 0 | 1): Promise<any> => port({ id, subnet: subnets[n]!.id }, n === 0 ? "hv3" : "hv4", { security_groups, fixed_ips: [{ subnet_id: subnets[n]!.id }] });
  const [a, b] = [await on(0), await on(1)];
  await h.settled();
  for (const [from, to, there, back] of [[a, b, "hv4", "hv3"], [b, a, "hv3", "hv4"]] as const) {
    const answer = await trace({ from: from.id, to: to.id, protocol: "tcp", port: 80 });
    expect(answer, JSON.stringify(answer.cause)).toMatchObject({ verdict: "delivered", delivered: [{ switch: there, id: to.id }], answer: { verdict: "delivered", delivered: [{ switch: back, id: from.id }] } });
    expect(answer.notes).toEqual([expect.stringContaining(`and is taken to send it on: it comes in again at ${there}`)]);
    expect(new Set(answer.hops.map((hop) => hop.switch))).toEqual(new Set([back, there]));
  }
  // What the receiver's groups say counts, and whether it is there at all.
  const shut = (await h.create("security_group", { name: "shut", project_id: "p" })).id;
  await h.call("PUT", `/v2.0/ports/${b.id}`, { port: { security_groups: [shut] } });
  await h.settled();
  expect(await trace({ from: a.id, to: b.id, protocol: "tcp", port: 80 })).toMatchObject({ verdict: "dropped", cause: { reason: "security_group" } });
  await h.unplug("hv4", b.id);
  await h.settled();
  expect(await trace({ from: a.id, to: b.id, protocol: "tcp", port: 80 })).toMatchObject({ verdict: "dropped", cause: { reason: "not_plugged", resources: [{ type: "port", id: b.id }] } });
});

test("to the link-local addresses of ports and of a router, from the sender's own", async () => {
  const group = await allowAll();
  await h.create("security_group_rule", { security_group_id: group, direction: "ingress", ethertype: "IPv6", project_id: "p" });
  const one = await net(1);
  const { id: subnet_id } = await h.create("subnet", { network_id: one.id, ip_version: 6, cidr: "fd00:1::/64", project_id: "p" });
  const router = await h.create("router", { project_id: "p" });
  await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id });
  const [a, b] = [await port(one, "hv1", { security_groups: [group] }), await port(one, "hv2", { security_groups: [group] })];
  await h.settled();
  const there = await trace({ from: a.id, to: linkLocal(b.mac_address), protocol: "tcp", port: 80 });
  expect(there, JSON.stringify(there.cause)).toMatchObject({ verdict: "delivered", delivered: [{ switch: "hv2", id: b.id }], answer: { verdict: "delivered", delivered: [{ id: a.id }] } });
  expect(there.hops[0]!.packet).toContain(`ipv6_src=${linkLocal(a.mac_address)}`);
  const [leg] = (await h.call("GET", `/v2.0/ports?device_id=${router.id}`)).body.ports as { mac_address: string }[];
  const toRouter = await trace({ from: a.id, to: linkLocal(leg!.mac_address) });
  expect(toRouter, JSON.stringify(toRouter.cause)).toMatchObject({ verdict: "delivered", delivered: [{ switch: "hv1", id: a.id }], notes: [expect.stringContaining("answered by the switch")] });
  expect(await trace({ from: a.id, to: "fe80::1" })).toMatchObject({ verdict: "dropped", cause: { reason: "unknown_address" } });
});

test("to a port whose address another has where the sender is: says which", async () => {
  const security_groups = [await allowAll()];
  const [one, other] = [await net(1), await h.create("network", { name: "other", project_id: "q" })];
  const subnet = await h.create("subnet", { network_id: other.id, ip_version: 4, cidr: "10.0.1.0/24", project_id: "q" });
  const [a, b] = [await port(one, "hv1", { security_groups }), await port(one, "hv2", { security_groups })];
  const same = await port({ id: other.id, subnet: subnet.id }, "hv2", { project_id: "q", name: "same", fixed_ips: [{ subnet_id: subnet.id, ip_address: ip(b) }] });
  await h.settled();
  expect(await trace({ from: a.id, to: same.id })).toMatchObject({
    verdict: "dropped", delivered: [{ switch: "hv2", id: b.id }],
    cause: { reason: "elsewhere", text: `${ip(b)} is reached at port ${b.id}, which has it where the sender is, and not at port ${same.id}`, resources: [{ type: "port", id: same.id, name: "same" }, { type: "port", id: b.id }] },
  });
  await h.unplug("hv2", same.id);
  await h.settled();
  expect(await trace({ from: a.id, to: same.id })).toMatchObject({ verdict: "dropped", cause: { reason: "elsewhere" } });
});

test("a route by a next hop that nobody has", async () => {
  const security_groups = [await allowAll()];
  const one = await net(1);
  const router = await h.create("router", { project_id: "p" });
  await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: one.subnet });
  const a = await port(one, "hv1", { security_groups });
  expect((await h.call("PUT", `/v2.0/routers/${router.id}`, { router: { routes: [{ destination: "192.168.5.0/24", nexthop: "10.0.1.250" }] } })).status).toBe(200);
  await h.settled();
  expect(await trace({ from: a.id, to: "192.168.5.7" })).toMatchObject({ verdict: "dropped", cause: { reason: "no_route", resources: [{ type: "router", id: router.id }], cure: { call: { path: `/v2.0/routers/${router.id}/remove_extraroutes` } } } });
});

describe("what a project is told", () => {
  const MEMBER = { "x-project-id": "p", "x-roles": "member" };
  const OTHER = { "x-project-id": "q", "x-roles": "member" };
  const ask = (query: string, headers: Record<string, string> = MEMBER): Promise<Answer> => h.call("GET", `/v2.0/axion/explain?${query}`, undefined, headers);

  test("of packets of its own ports, and nothing of others", async () => {
    h.explain = (asked) => explained(tracer, { state: "desired", ...asked });
    const shared = await net(1, { shared: true, project_id: "r" });
    const open = [await allowAll()];
    const shut = (await h.create("security_group", { name: "shut", project_id: "q" })).id;
    const a = await port(shared, "hv1", { security_groups: open, name: "a" });
    const b = await port(shared, "hv2", { security_groups: open, name: "b" });
    const closed = await port(shared, "hv2", { admin_state_up: false, name: "closed" });
    const foreign = await port(shared, "hv2", { project_id: "q", security_groups: [shut], name: "secret", device_id: "secret-device" });
    await h.settled();

    const own = await ask(`from=${a.id}&to=${b.id}&protocol=tcp&port=80`);
    expect(own).toMatchObject({ status: 200, body: { explanation: { verdict: "delivered", delivered: [{ id: b.id }], cause: null, answer: { verdict: "delivered", delivered: [{ id: a.id }] } } } });
    expect(JSON.stringify(own.body)).not.toMatch(/hv[12]|reg\d|0x/);
    expect((await ask(`from=${a.id}&to=${closed.id}`)).body.explanation.cause).toMatchObject({ reason: "admin_state_down", resources: [{ type: "port", id: closed.id }] });
    expect((await ask(`from=${a.id}&to=10.0.1.77`)).body.explanation.cause).toMatchObject({ reason: "beyond" });

    // Another's port is as one that is not there, whichever end it is.
    const nobody = "00000000-0000-4000-8000-00000000dead";
    for (const query of [`from=${foreign.id}&to=${a.id}`, `from=${a.id}&to=${foreign.id}`]) {
      const answer = await ask(query);
      expect(answer).toMatchObject({ status: 404, body: { NeutronError: { type: "PortNotFound" } } });
      const absent = await ask(query.replace(foreign.id, nobody));
      expect(JSON.stringify(absent.body).replace(nobody, foreign.id)).toBe(JSON.stringify(answer.body));
    }
    expect((await ask(`from=${a.id}&to=${b.id}`, OTHER)).status).toBe(404);
    // By its address, which anybody on the network may send to: whether it arrives, and no more.
    const denied = await ask(`from=${a.id}&to=${ip(foreign)}&protocol=tcp&port=80`);
    expect(denied.body.explanation).toMatchObject({ verdict: "dropped", delivered: [], cause: { reason: "beyond", resources: [] }, answer: null });
    for (const word of [foreign.id, shut, "secret", foreign.mac_address, "hv1", "hv2"]) expect(JSON.stringify(denied.body)).not.toContain(word);
    await h.create("security_group_rule", { security_group_id: shut, direction: "ingress", ethertype: "IPv4", project_id: "q" });
    await h.settled();
    const passed = await ask(`from=${a.id}&to=${ip(foreign)}&protocol=tcp&port=80`);
    expect(passed.body.explanation).toMatchObject({ verdict: "delivered", delivered: [] });
    for (const word of [foreign.id, shut, "secret", foreign.mac_address, "hv1", "hv2"]) expect(JSON.stringify(passed.body)).not.toContain(word);

    for (const [query, status] of [["", 400], [`from=${a.id}`, 400], [`from=${a.id}&to=${b.id}&to=x`, 400], [`from=${a.id}&to=${b.id}&flow=ip`, 400], [`from=${a.id}&to=${b.id}&protocol=tcp`, 400], [`from=${a.id}&to=${b.id}&port=0&protocol=tcp`, 400]] as const) expect([query, (await ask(query)).status]).toEqual([query, status]);
    expect((await h.call("POST", "/v2.0/axion/explain", {}, MEMBER)).status).toBe(405);
  });
});
