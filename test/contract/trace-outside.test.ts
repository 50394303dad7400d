// Traces of what a machine outside sends: which address leads where, and why packets for it go no further.
import { afterAll, beforeAll, expect, test } from "vitest";
import { askOf } from "#app";
import { allTables } from "../../src/boot/registry.ts";
import { hookGuard } from "../../src/lib/hook-guard.ts";
import { requestOf } from "../../src/ops/trace/request.ts";
import { Tracer, type TraceAnswer } from "../../src/ops/trace/tracer.ts";
import { Harness } from "../support/harness.ts";

type Body = Readonly<Record<string, unknown>>;
type Made = { readonly id: string } & Record<string, any>;

let h: Harness;
let tracer: Tracer;
const trace = (body: Body): Promise<TraceAnswer> => tracer.trace({ ...requestOf({ state: "desired", from: "external", ...body }), names: true });
const own = { project_id: "p" };
let [left, outside, tunnelled, router] = ["", "", "", ""];
/** a has a floating IP, b ports of one, c another at no host; d is outside itself. */
let a: Made, b: Made, c: Made, d: Made;
let ofA: Made, ofC: Made, free: Made, forwarding: Made;
let gateway: Made;

const of = (port: Made, family: 4 | 6): string => (port.fixed_ips as { ip_address: string }[]).find(({ ip_address }) => ip_address.includes(":") === (family === 6))!.ip_address;
async function gatewayOf(id: string, info: Body): Promise<void> {
  const { status, body } = await h.call("PUT", `/v2.0/routers/${id}`, { router: { external_gateway_info: info } });
  expect(status, JSON.stringify(body)).toBe(200);
}

beforeAll(async () => {
  h = await Harness.make();
  const guard = hookGuard({ error: (fields: object): void => void h.complaints.push(fields) }, () => 0);
  tracer = new Tracer({ apps: h.apps, tables: allTables(h.apps), view: h.view, engine: h.engine, layout: h.layout, guard, ask: askOf(h.apps), clock: h.clock });
  for (const [id, key] of [["hv1", 1], ["hv2", 2]] as const) await h.addChassis(id, { key, bridge_mappings: { one: "br-one" }, gateway: true });
  left = (await h.create("network", own)).id;
  const subnets = [await h.create("subnet", { ...own, network_id: left, ip_version: 4, cidr: "10.0.0.0/24" }), await h.create("subnet", { ...own, network_id: left, ip_version: 6, cidr: "2001:db8:1::/64" })];
  outside = (await h.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "one" })).id;
  await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
  await h.create("subnet", { network_id: outside, ip_version: 6, cidr: "2001:db8:2::/64" });
  const group = await h.create("security_group", own);
  for (const ethertype of ["IPv4", "IPv6"]) await h.create("security_group_rule", { ...own, security_group_id: group.id, direction: "ingress", ethertype });
  const port = async (network_id: string, host?: string, ofport = 0): Promise<Made> => {
    const made = await h.create("port", { ...own, network_id, security_groups: [group.id] });
    if (host !== undefined) await h.plug(host, made.id, ofport);
    return made;
  };
  [a, b, c, d] = [await port(left, "hv1", 11), await port(left, "hv2", 12), await port(left), await port(outside, "hv2", 13)];
  router = (await h.create("router", own)).id;
  for (const { id } of subnets) await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: id });
  await gatewayOf(router, { network_id: outside });
  [ofA, ofC, free, forwarding] = [await h.create("floatingip", { floating_network_id: outside, port_id: a.id }), await h.create("floatingip", { floating_network_id: outside, port_id: c.id }), await h.create("floatingip", { floating_network_id: outside }), await h.create("floatingip", { floating_network_id: outside })];
  const forward = { protocol: "tcp", external_port: 2222, internal_port: 22, internal_port_id: b.id, internal_ip_address: of(b, 4) };
  expect((await h.call("POST", `/v2.0/floatingips/${forwarding.id}/port_forwardings`, { port_forwarding: forward })).status).toBe(201);
  tunnelled = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: tunnelled, ip_version: 4, cidr: "192.0.2.0/24" });
  await h.settled();
  gateway = (await h.call("GET", `/v2.0/ports?device_id=${router}&network_id=${outside}`)).body.ports[0] as Made;
});
afterAll(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("a source of one family is for an address of that family, whoever sends", async () => {
  expect(await trace({ to: d.id, source: "203.0.113.1" })).toMatchObject({ verdict: "delivered", delivered: [{ id: d.id }] });
  expect(await trace({ to: d.id, source: "2001:db8:ffff::5" })).toMatchObject({ verdict: "delivered", delivered: [{ id: d.id }] });
  expect(await trace({ to: a.id, source: "203.0.113.1" })).toMatchObject({ verdict: "dropped", cause: { reason: "unknown_address" } });
  expect(await trace({ from: a.id, to: b.id, source: "2001:db8::5" })).toMatchObject({ verdict: "dropped", cause: { reason: "port_security" } });
});

test("who asks from the link of a port is answered there, though no port has the address", async () => {
  expect(await trace({ to: d.id, source: "203.0.113.1", protocol: "tcp", port: 80 })).toMatchObject({ verdict: "delivered", answer: { verdict: "delivered", delivered: [{ switch: "hv2", port: expect.stringMatching(/^axion-phys-/) }] } });
});

test("a gateway's port, or a floating IP's, is as good as its address; so is an address of the inside that outside knows", async () => {
  const places = ({ verdict, delivered }: TraceAnswer): unknown => [verdict, delivered];
  expect(places(await trace({ to: gateway.id }))).toEqual(places(await trace({ to: of(gateway, 4) })));
  const { ports } = (await h.call("GET", `/v2.0/ports?device_id=${ofA.id}`)).body as { ports: Made[] };
  expect(await trace({ to: ports[0]!.id })).toMatchObject({ verdict: "delivered", delivered: [{ id: a.id }] });
  expect(await trace({ to: of(b, 6) })).toMatchObject({ verdict: "delivered", delivered: [{ id: b.id }] });
  expect(await trace({ to: of(b, 4) })).toMatchObject({ verdict: "dropped", cause: { reason: "unknown_address" } });
});

test("what a floating IP does not forward, and what a gateway's address is asked for", async () => {
  const tcp = { protocol: "tcp", port: 2222 };
  const to = forwarding.floating_ip_address as string;
  expect(await trace({ to, ...tcp })).toMatchObject({ verdict: "delivered", delivered: [{ id: b.id }] });
  for (const how of [{ ...tcp, port: 2223 }, { ...tcp, protocol: "udp" }, {}]) expect(await trace({ to, ...how })).toMatchObject({ verdict: "dropped", cause: { reason: "not_served", resources: [{ type: "floatingip", id: forwarding.id }] } });
  expect(await trace({ to: of(gateway, 4), ...tcp })).toMatchObject({ verdict: "dropped", cause: { reason: "not_served" } });
  expect(await trace({ to: free.floating_ip_address as string })).toMatchObject({ verdict: "dropped", cause: { reason: "unknown_address" } });
});

test("why a packet from outside goes no further is what it is for one of the inside: nothing is said of its source", async () => {
  const to = ofA.floating_ip_address as string;
  expect(await trace({ to, ttl: 1 })).toMatchObject({ verdict: "dropped", cause: { reason: "ttl" } });
  expect(await trace({ to: ofC.floating_ip_address as string })).toMatchObject({ verdict: "dropped", cause: { reason: "not_plugged", resources: [{ type: "port", id: c.id }] } });
  for (const [type, id, others] of [["port", a.id, []], ["router", router, [of(gateway, 4), of(b, 6)]], ["network", outside, [of(gateway, 4), d.id]]] as const) {
    const open = async (admin_state_up: boolean): Promise<void> => {
      expect((await h.call("PUT", `/v2.0/${type}s/${id}`, { [type]: { admin_state_up } })).status).toBe(200);
      await h.settled();
    };
    await open(false);
    for (const one of [to, ...others]) expect(await trace({ to: one }), `${type} ${one}`).toMatchObject({ verdict: "dropped", cause: { reason: "admin_state_down", resources: [{ type, id }] } });
    await open(true);
    expect((await trace({ to })).verdict).toBe("delivered");
  }
});

test("an external network of tunnels alone has no outside", async () => {
  const network_id = (await h.create("network", own)).id;
  const subnet = await h.create("subnet", { ...own, network_id, ip_version: 4, cidr: "10.9.0.0/24" });
  const other = await h.create("router", own);
  await h.call("PUT", `/v2.0/routers/${other.id}/add_router_interface`, { subnet_id: subnet.id });
  await gatewayOf(other.id, { network_id: tunnelled });
  await h.settled();
  const { external_gateway_info: info } = (await h.call("GET", `/v2.0/routers/${other.id}`)).body.router as { external_gateway_info: { external_fixed_ips: { ip_address: string }[] } };
  expect(await trace({ to: info.external_fixed_ips[0]!.ip_address })).toMatchObject({ verdict: "dropped", cause: { reason: "physical_network", resources: [{ type: "network", id: tunnelled }] } });
});
