// Traces over what switches should have: ways over hosts and routers and back, and why packets go no further.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { hookGuard } from "../../src/lib/hook-guard.ts";
import { allTables } from "../../src/boot/registry.ts";
import { explained } from "../../src/ops/trace/explain.ts";
import { requestOf } from "../../src/ops/trace/request.ts";
import { Tracer, type TraceAnswer } from "../../src/ops/trace/tracer.ts";
import { Harness, type Answer } from "../support/harness.ts";

let h: Harness;
let tracer: Tracer;

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
  tracer = new Tracer({ apps: h.apps, tables: allTables(h.apps), view: h.view, engine: h.engine, layout: h.layout, guard });
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
  expect(await why({ to: apart.id })).toMatchObject({ reason: "no_route", resources: [{ type: "router", id: router.id, name: "edge" }] });
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
    { switch: "hv1" }, { switch: "hv9", flow: "ip" }, { switch: "hv1", flow: "nonsense=1" }, { from: "x", to: "y", at: 1 }, { from: "x", to: "y", source: "10.0.0.256" }, { from: "x", to: "y", reverse: "no" }, [], { from: "x", to: "y", state: "past" }, { switch: "hv1", flow: "ip", to: "x" },
  ].map(bad))).toEqual([
    "400 from", "400 to", "400 port", "400 protocol", "400 port", "400 port", "404 from", "400 flow", "404 switch", "400 flow", "400 at", "400 source", "400 reverse", "400 body", "400 state", "400 to",
  ]);
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
