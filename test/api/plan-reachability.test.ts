// Which pairs of ports a planned call joins and parts, judged by all traces before and after it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Reach, Reachability } from "../../src/plan/reachability.ts";
import { Harness } from "../support/harness.ts";
import { matrix, wrong } from "../support/reach-matrix.ts";

type Method = "POST" | "PUT" | "DELETE";

describe("reachability of plans", { timeout: 120_000 }, () => {
  let h: Harness;
  const ports: string[] = [];
  const names = new Map<string, string>();
  let [left, right, leftSubnet, rightSubnet, outside, router, web, other] = ["", "", "", "", "", "", "", ""];
  beforeAll(async () => {
    h = await Harness.make();
    const mappings = { bridge_mappings: { phys0: "br-phys0" }, gateway: true };
    await h.addChassis("hv0", { key: 1, ...mappings });
    await h.addChassis("hv1", { key: 2, ...mappings });
    const own = { project_id: "p" };
    [left, right] = [(await h.create("network", { ...own, name: "left" })).id, (await h.create("network", { ...own, name: "right" })).id];
    leftSubnet = (await h.create("subnet", { ...own, network_id: left, ip_version: 4, cidr: "10.0.0.0/24" })).id;
    rightSubnet = (await h.create("subnet", { ...own, network_id: right, ip_version: 4, cidr: "10.1.0.0/24" })).id;
    await h.create("subnet", { ...own, network_id: left, ip_version: 6, cidr: "fd00:1::/64" });
    outside = (await h.create("network", { name: "outside", "router:external": true, "provider:network_type": "flat", "provider:physical_network": "phys0" })).id;
    await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24", enable_dhcp: false });
    [web, other] = [(await h.create("security_group", { ...own, name: "web" })).id, (await h.create("security_group", { ...own, name: "other" })).id];
    for (const [name, network] of [["a", left], ["b", left], ["c", right]] as const) {
      const { id } = await h.create("port", { ...own, network_id: network, name, security_groups: [name === "a" ? other : web] });
      ports.push(id);
      names.set(id, name);
      await h.plug(`hv${ports.length % 2}`, id, 10 + ports.length);
    }
    router = (await h.create("router", own)).id;
    await h.settled();
  });
  afterAll(async () => {
    await h.close();
  });

  let last: { readonly generation: number; readonly reached: ReadonlySet<string> } | undefined;
  const text = ({ from, to, ethertype, protocol, port, port_max, address }: Reach): string =>
    `${names.get(from) ?? from} > ${names.get(to) ?? to}${address === undefined ? "" : ` (${address})`} ${ethertype} ${protocol}${port === null ? "" : ` ${port}${port_max === undefined ? "" : `-${port_max}`}`}`;

  /** Plans, judges, and makes it. */
  async function call(method: Method, path: string, body?: unknown): Promise<{ gained: string[]; lost: string[]; body: unknown }> {
    await h.settled();
    if (last?.generation !== h.model.generation) last = { generation: h.model.generation, reached: await matrix(h) };
    const before = last.reached;
    const planned = await h.call(method, `${path}?plan=1`, body);
    expect([planned.status, planned.body], JSON.stringify(planned.body)).toMatchObject([200, { reachability: { truncated: false, unexamined: 0 } }]);
    const told = planned.body.reachability as Reachability;
    const made = await h.call(method, path, body, { "x-axion-plan": planned.body.token as string });
    expect(made.status, JSON.stringify(made.body)).toBeLessThan(300);
    await h.settled();
    last = { generation: h.model.generation, reached: await matrix(h) };
    expect(wrong(told, before, last.reached), `${method} ${path}`).toEqual([]);
    return { gained: told.gained.map(text).sort(), lost: told.lost.map(text).sort(), body: made.body };
  }

  test("rules of security groups, of a protocol, of ports, of everything", async () => {
    const rule = (more: object): object => ({ security_group_rule: { security_group_id: web, direction: "ingress", ethertype: "IPv4", ...more } });
    const http = await call("POST", "/v2.0/security-group-rules", rule({ protocol: "tcp", port_range_min: 80, port_range_max: 85 }));
    expect(http).toMatchObject({ gained: ["a > b IPv4 tcp 80-85"], lost: [] });
    const ping = await call("POST", "/v2.0/security-group-rules", rule({ protocol: "icmp" }));
    expect(ping).toMatchObject({ gained: ["a > b IPv4 icmp"], lost: [] });
    const all = await call("POST", "/v2.0/security-group-rules", rule({ protocol: "tcp" }));
    expect(all).toMatchObject({ gained: ["a > b IPv4 tcp 1-79", "a > b IPv4 tcp 86-65535"], lost: [] });
    const gone = await call("DELETE", `/v2.0/security-group-rules/${(all.body as { security_group_rule: { id: string } }).security_group_rule.id}`);
    expect(gone).toMatchObject({ gained: [], lost: ["a > b IPv4 tcp 1-79", "a > b IPv4 tcp 86-65535"] });
  });

  test("groups of a port", async () => {
    expect(await call("PUT", `/v2.0/ports/${ports[0]}`, { port: { security_groups: [web] } })).toMatchObject({ gained: ["b > a IPv4 icmp", "b > a IPv4 tcp 80-85"], lost: [] });
    expect(await call("PUT", `/v2.0/ports/${ports[0]}`, { port: { security_groups: [other] } })).toMatchObject({ gained: [], lost: ["b > a IPv4 icmp", "b > a IPv4 tcp 80-85"] });
  });

  test("interfaces of a router join two networks, and part them; a gateway leads out", async () => {
    await call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: leftSubnet });
    const joined = await call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: rightSubnet });
    expect(joined.gained).toEqual(expect.arrayContaining(["a > c IPv4 icmp", "b > c IPv4 tcp 80-85", "c > b IPv4 icmp"]));
    const out = await call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id: outside } } });
    expect(out.gained).toEqual(expect.arrayContaining(["a > external IPv4 icmp", "c > external IPv4 tcp"]));
    const cut = await call("PUT", `/v2.0/routers/${router}/remove_router_interface`, { subnet_id: rightSubnet });
    expect(cut.lost).toEqual(expect.arrayContaining(["a > c IPv4 icmp", "c > external IPv4 icmp"]));
    await call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: rightSubnet });
  });

  test("a floating IP is one more address by which a port is reached, also from outside, and only as its groups allow", async () => {
    const { gained } = await call("POST", "/v2.0/floatingips", { floatingip: { floating_network_id: outside, port_id: ports[2], floating_ip_address: "203.0.113.77" } });
    expect(gained).toEqual(expect.arrayContaining(["a > c (203.0.113.77) IPv4 icmp", "external > c (203.0.113.77) IPv4 icmp", "external > c (203.0.113.77) IPv4 tcp 80-85"]));
    expect(gained.filter((one) => one.startsWith("external > ") && !one.startsWith("external > c (203.0.113.77) "))).toEqual([]);
    const rule = { security_group_rule: { security_group_id: web, direction: "ingress", ethertype: "IPv4", protocol: "tcp", port_range_min: 22, port_range_max: 22, remote_ip_prefix: "198.51.100.0/24" } };
    const opened = await call("POST", "/v2.0/security-group-rules", rule);
    expect(opened.gained.filter((one) => one.includes("external"))).toEqual(["external > c (203.0.113.77) IPv4 tcp 22"]);
    expect((await call("DELETE", `/v2.0/security-group-rules/${(opened.body as { security_group_rule: { id: string } }).security_group_rule.id}`)).lost.filter((one) => one.includes("external"))).toEqual(["external > c (203.0.113.77) IPv4 tcp 22"]);
  });

  test("an allowed address pair is one, too", async () => {
    const { gained } = await call("PUT", `/v2.0/ports/${ports[1]}`, { port: { allowed_address_pairs: [{ ip_address: "10.0.0.200" }] } });
    expect(gained).toEqual(expect.arrayContaining(["a > b (10.0.0.200) IPv4 icmp"]));
  });

  test("a project is told of its own ports alone", async () => {
    const mine = await h.create("port", { project_id: "q", network_id: left, security_groups: [] }, { "x-project-id": "admin", "x-roles": "admin" });
    await h.plug("hv0", mine.id, 40);
    await h.settled();
    const body = { port: { admin_state_up: false } };
    const [whole, own] = [await h.call("PUT", `/v2.0/ports/${ports[1]}?plan=1`, body), await h.call("PUT", `/v2.0/ports/${ports[1]}?plan=1`, body, { "x-project-id": "p", "x-roles": "member" })];
    const ids = (answer: typeof whole): Set<string> => new Set((answer.body.reachability as Reachability).lost.flatMap(({ from, to }) => [from, to]));
    expect(own.body.switches).toBeUndefined();
    expect([...ids(own)].filter((id) => !names.has(id) && id !== "external")).toEqual([]);
    expect(ids(own).size).toBeGreaterThan(2);
    expect(ids(whole).size).toBeGreaterThanOrEqual(ids(own).size);
  });

  test("what is closed is lost: a port, a network, and a port that goes", async () => {
    const closed = await call("PUT", `/v2.0/ports/${ports[1]}`, { port: { admin_state_up: false } });
    expect(closed.lost).toEqual(expect.arrayContaining(["a > b IPv4 icmp", "b > external IPv4 icmp", "c > b IPv4 icmp"]));
    await call("PUT", `/v2.0/ports/${ports[1]}`, { port: { admin_state_up: true } });
    const network = await call("PUT", `/v2.0/networks/${right}`, { network: { admin_state_up: false } });
    expect(network.lost).toEqual(expect.arrayContaining(["a > c IPv4 icmp", "c > b IPv4 icmp"]));
    await call("PUT", `/v2.0/networks/${right}`, { network: { admin_state_up: true } });
    expect((await call("DELETE", `/v2.0/ports/${ports[1]}`)).lost).toEqual(expect.arrayContaining(["a > b IPv4 icmp"]));
  });
});
