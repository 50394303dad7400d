// Policies of floating IPs and gateways by the API, and the flows and meters that come of them.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Harness, textOf } from "../../test/support/harness.ts";
import { qosUseTable } from "../qos/model.ts";

let h: Harness;
let outside: string;
let router: string;
let port: string;

const p = { "x-project-id": "p", "x-roles": "manager" };
const q = { "x-project-id": "q", "x-roles": "manager" };
const HOSTS = ["hv1", "gw1", "gw2"];
const flows = (host: string, table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf).sort();
};
const all = (): string[][] => HOSTS.map((host) => [...[...h.engine.flowsOf(host)].map(textOf).sort(), ...[...h.engine.itemsOf(host)].filter((i) => i.kind === "meter").map((i) => JSON.stringify(i)).sort()]);
const meters = (host: string): string[] => [...h.engine.itemsOf(host)].flatMap((i) => (i.kind === "meter" && i.id >= 0x8020_0000 && i.id <= 0x802f_ffff ? [`${i.value.unit} ${i.value.rate}`] : [])).sort();

async function policy(limits: readonly Record<string, unknown>[], headers = p): Promise<string> {
  const { id } = (await h.call("POST", "/v2.0/qos/policies", { policy: { name: "x" } }, headers)).body.policy as { id: string };
  for (const limit of limits) {
    const type = "max_kpps" in limit ? "packet_rate_limit" : "bandwidth_limit";
    expect((await h.call("POST", `/v2.0/qos/policies/${id}/${type}_rules`, { [`${type}_rule`]: limit }, headers)).status).toBe(201);
  }
  return id;
}
async function ok(method: "DELETE" | "GET" | "POST" | "PUT", url: string, body?: unknown, headers = p): Promise<any> {
  const answer = await h.call(method, url, body, headers);
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
  await h.settled();
  return answer.body;
}
async function refused(method: "DELETE" | "GET" | "POST" | "PUT", url: string, body?: unknown, headers = p): Promise<[number, string]> {
  const { generation } = h.model;
  const answer = await h.call(method, url, body, headers);
  expect(h.model.generation).toBe(generation);
  return [answer.status, answer.body.NeutronError.type];
}
const gateway = (info: Record<string, unknown>): Promise<any> => ok("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id: outside, ...info } } });
const floating = async (values: Record<string, unknown> = {}): Promise<{ id: string; floating_ip_address: string }> => (await ok("POST", "/v2.0/floatingips", { floatingip: { floating_network_id: outside, ...values } })).floatingip;

beforeEach(async () => {
  h = await Harness.make();
  for (const [n, host] of HOSTS.entries()) await h.addChassis(host, { key: n + 1, gateway: host.startsWith("gw") });
  outside = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
  const inside = (await h.create("network", {}, p)).id;
  const subnet = (await h.create("subnet", { network_id: inside, ip_version: 4, cidr: "10.0.0.0/24" }, p)).id;
  router = (await h.create("router", { external_gateway_info: { network_id: outside } }, p)).id;
  await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet }, p);
  port = (await h.create("port", { network_id: inside, fixed_ips: [{ ip_address: "10.0.0.5" }] }, p)).id;
  await h.plug("hv1", port, 10);
  await h.settled();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("a floating IP's policy counts where its port is, both ways, and nothing is left when it is taken away", async () => {
  const { id, floating_ip_address: ip } = await floating({ port_id: port });
  const before = all();
  const limits = await policy([{ max_kbps: 5000 }, { max_kbps: 3000, direction: "ingress" }, { max_kpps: 2, direction: "ingress" }]);
  const shown = await ok("PUT", `/v2.0/floatingips/${id}`, { floatingip: { qos_policy_id: limits } });
  // It leads where it did.
  expect(shown.floatingip).toMatchObject({ qos_policy_id: limits, qos_network_policy_id: null, port_id: port });
  expect(meters("hv1")).toEqual(["kbps 3000", "kbps 5000", "pps 2000"]);
  expect(flows("hv1", "qos_leaves")).toEqual([expect.stringMatching(/^priority=100,.*nw_src=10\.0\.0\.5 actions=meter:\d+$/)]);
  expect(flows("hv1", "qos_enters")).toEqual([expect.stringMatching(new RegExp(`^priority=100,.*nw_dst=${ip.replaceAll(".", "\\.")} actions=meter:\\d+,goto_table:\\d+$`))]);
  expect(flows("hv1", "qos_enters_packets")).toHaveLength(1);
  expect(flows("gw1", "qos_leaves")).toEqual([]);
  await ok("PUT", `/v2.0/floatingips/${id}`, { floatingip: { qos_policy_id: null } });
  expect(all()).toEqual(before);
  await ok("PUT", `/v2.0/floatingips/${id}`, { floatingip: { qos_policy_id: limits } });
  await ok("DELETE", `/v2.0/floatingips/${id}`);
  expect([...h.view.all(qosUseTable)]).toEqual([]);
});

test("a gateway's counts at its hosts for all but floating IPs, which pass no meter there", async () => {
  const before = all();
  const limits = await policy([{ max_kbps: 5000 }]);
  expect((await gateway({ qos_policy_id: limits })).router).toMatchObject({ external_gateway_info: { network_id: outside, enable_snat: true, qos_policy_id: limits }, external_gateways: [{ qos_policy_id: limits }] });
  for (const host of ["gw1", "gw2"]) {
    expect(flows(host, "qos_leaves")).toEqual([expect.stringMatching(/^priority=50,.* actions=meter:\d+$/)]);
    expect(flows(host, "qos_enters")).toEqual([expect.stringMatching(/^priority=50,.*dl_dst=.* actions=drop$/)]);
    expect(meters(host)).toEqual(["kbps 5000"]);
  }
  expect(flows("hv1", "qos_leaves")).toEqual([]);
  // Two of its ports are forwarded to a machine: by the gateway, and yet none of its own.
  const { id } = await floating();
  await ok("POST", `/v2.0/floatingips/${id}/port_forwardings`, { port_forwarding: { protocol: "tcp", internal_port_id: port, internal_ip_address: "10.0.0.5", internal_port: 22, external_port: 2222 } });
  expect(flows("gw1", "qos_leaves")).toEqual([expect.stringMatching(/priority=100,.*tcp.*nw_src=10\.0\.0\.5,tp_src=22 actions=drop/), expect.stringMatching(/^priority=50/)]);
  expect(flows("gw1", "qos_enters")).toHaveLength(2);
  const own = await policy([{ max_kbps: 7000, direction: "ingress" }]);
  await ok("PUT", `/v2.0/floatingips/${id}`, { floatingip: { qos_policy_id: own } });
  expect(meters("gw2")).toEqual(["kbps 5000", "kbps 7000"]);
  // What is not said stays; what is said of nothing goes.
  expect((await gateway({})).router.external_gateway_info.qos_policy_id).toBe(limits);
  expect((await gateway({ qos_policy_id: null })).router.external_gateway_info.qos_policy_id).toBeNull();
  expect(meters("gw1")).toEqual(["kbps 7000"]);
  for (const { id: forwarding } of (await ok("GET", `/v2.0/floatingips/${id}/port_forwardings`)).port_forwardings) await ok("DELETE", `/v2.0/floatingips/${id}/port_forwardings/${forwarding}`);
  await ok("DELETE", `/v2.0/floatingips/${id}`);
  expect(all()).toEqual(before);
  await gateway({ qos_policy_id: limits });
  await ok("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: null } });
  expect([...h.view.all(qosUseTable)]).toEqual([]);
});

test("the network's policy counts where there is none of its own", async () => {
  const limits = await policy([{ max_kbps: 5000 }], { "x-project-id": "ops", "x-roles": "admin" });
  const { id } = await floating({ port_id: port });
  await ok("PUT", `/v2.0/networks/${outside}`, { network: { qos_policy_id: limits } }, { "x-project-id": "ops", "x-roles": "admin" });
  expect((await ok("GET", `/v2.0/floatingips/${id}`)).floatingip).toMatchObject({ qos_policy_id: null, qos_network_policy_id: limits });
  expect([meters("hv1"), meters("gw1")]).toEqual([["kbps 5000"], ["kbps 5000"]]);
  const own = await policy([{ max_kbps: 9000 }]);
  await ok("PUT", `/v2.0/floatingips/${id}`, { floatingip: { qos_policy_id: own } });
  expect(meters("hv1")).toEqual(["kbps 9000"]);
});

test("of several gateways each has its own, by the actions that add and change them", async () => {
  const [one, two] = [await policy([{ max_kbps: 5000 }]), await policy([{ max_kbps: 6000 }])];
  await gateway({ qos_policy_id: one });
  const admin = { "x-project-id": "p", "x-roles": "admin" };
  const { router: shown } = await ok("PUT", `/v2.0/routers/${router}/add_external_gateways`, { router: { external_gateways: [{ network_id: outside, qos_policy_id: two }] } }, admin);
  expect(shown.external_gateways.map((g: { qos_policy_id: string }) => g.qos_policy_id)).toEqual([one, two]);
  // Each by the MAC with which it sends, which every host of a gateway knows.
  expect(new Set(["gw1", "gw2"].flatMap((host) => flows(host, "qos_leaves").map((f) => /dl_src=(\S+?)[, ]/.exec(f)![1]))).size).toBe(2);
});

test("policies that others have, that nobody has and that are in use are refused by name", async () => {
  const unknown = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";
  const others = await policy([], q);
  const { id } = await floating();
  for (const qos_policy_id of [unknown, others]) {
    expect(await refused("PUT", `/v2.0/floatingips/${id}`, { floatingip: { qos_policy_id } })).toEqual([404, "QosPolicyNotFound"]);
    expect(await refused("POST", "/v2.0/floatingips", { floatingip: { floating_network_id: outside, qos_policy_id } })).toEqual([404, "QosPolicyNotFound"]);
    expect(await refused("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id: outside, qos_policy_id } } })).toEqual([404, "QosPolicyNotFound"]);
  }
  for (const qos_policy_id of ["x", 7, {}]) {
    expect((await refused("PUT", `/v2.0/floatingips/${id}`, { floatingip: { qos_policy_id } }))[0]).toBe(400);
    expect((await refused("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id: outside, qos_policy_id } } }))[0]).toBe(400);
  }
  const own = await policy([]);
  await ok("PUT", `/v2.0/floatingips/${id}`, { floatingip: { qos_policy_id: own } });
  expect(await refused("DELETE", `/v2.0/qos/policies/${own}`)).toEqual([409, "QosPolicyInUse"]);
  await ok("PUT", `/v2.0/floatingips/${id}`, { floatingip: { qos_policy_id: null } });
  await gateway({ qos_policy_id: own });
  const answer = await h.call("DELETE", `/v2.0/qos/policies/${own}`, undefined, p);
  expect([answer.status, answer.body.NeutronError.message]).toEqual([409, `QoS Policy ${own} is used by router ${router}.`]);
  await h.call("POST", `/v2.0/qos/policies/${others}/minimum_bandwidth_rules`, { minimum_bandwidth_rule: { min_kbps: 10 } }, q);
  // An administrator's router and policy: no host keeps a minimum.
  expect(await refused("PUT", `/v2.0/floatingips/${id}`, { floatingip: { qos_policy_id: others } }, { "x-project-id": "ops", "x-roles": "admin" })).toEqual([409, "QosRuleNotSupported"]);
});
