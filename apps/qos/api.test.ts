// QoS policies and their rules through the API: who may, what conflicts, who uses them; and the flows and meters that follow.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Harness, type Answer } from "../../test/support/harness.ts";
import { limitMeter, qosUseTable } from "./model.ts";

let h: Harness;
const manager = { "x-project-id": "red", "x-roles": "manager" };
const member = { "x-project-id": "red", "x-roles": "member" };
const reader = { "x-project-id": "red", "x-roles": "reader" };
const other = { "x-project-id": "blue", "x-roles": "manager" };
const admin = { "x-project-id": "operators", "x-roles": "admin" };
type Values = Readonly<Record<string, unknown>>;
type Made = Values & { readonly id: string };

const call = (method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: Values, who: Readonly<Record<string, string>> = manager): Promise<Answer> => h.call(method, `/v2.0/${path}`, body, who);
async function made(path: string, key: string, body: Values, who = manager): Promise<Made> {
  const answer = await call("POST", path, { [key]: body }, who);
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  return answer.body[key];
}
const policy = (body: Values = {}, who = manager): Promise<Made> => made("qos/policies", "policy", body, who);
const rule = (of: string, type: string, body: Values, who = manager): Promise<Made> => made(`qos/policies/${of}/${type}_rules`, `${type}_rule`, body, who);
const refused = ({ status, body }: Answer): unknown[] => [status, body.NeutronError?.type];

beforeEach(async () => {
  h = await Harness.make();
});
afterEach(() => h.close());

test("a policy shows its rules of all types, and goes with them", async () => {
  const { id } = await policy({ name: "gold" });
  const limit = await rule(id, "bandwidth_limit", { max_kbps: 1000 });
  expect(limit).toEqual({ id: limit.id, max_kbps: 1000, max_burst_kbps: 0, direction: "egress" });
  const mark = await rule(id, "dscp_marking", { dscp_mark: "26" });
  const packets = await rule(id, "packet_rate_limit", { max_kpps: 5, direction: "ingress" });
  expect((await call("GET", `qos/policies/${id}`)).body.policy).toMatchObject({
    name: "gold", shared: false, is_default: false, revision_number: 4,
    rules: [
      { id: limit.id, qos_policy_id: id, type: "bandwidth_limit", max_kbps: 1000, max_burst_kbps: 0, direction: "egress" },
      { id: packets.id, qos_policy_id: id, type: "packet_rate_limit", max_kpps: 5, max_burst_kpps: 0, direction: "ingress" },
      { id: mark.id, qos_policy_id: id, type: "dscp_marking", dscp_mark: 26 },
    ],
  });
  expect((await call("PUT", `qos/policies/${id}/bandwidth_limit_rules/${limit.id}`, { bandwidth_limit_rule: { max_kbps: 2000, direction: "ingress" } })).body.bandwidth_limit_rule).toMatchObject({ max_kbps: 2000, direction: "ingress" });
  expect((await call("GET", `qos/policies/${id}/bandwidth_limit_rules`)).body).toEqual({ bandwidth_limit_rules: [{ id: limit.id, max_kbps: 2000, max_burst_kbps: 0, direction: "ingress" }] });
  expect((await call("DELETE", `qos/policies/${id}`)).status).toBe(204);
  expect((await call("GET", `qos/alias-dscp-marking-rules/${mark.id}`, undefined, admin)).status).toBe(404);
});

test("rules of a policy are shown in one order, whatever order they were made in and whenever the controller was started", async () => {
  for (let i = 0; i < 8; i++) {
    const { id } = await policy();
    for (const direction of ["ingress", "egress"]) await rule(id, "bandwidth_limit", { max_kbps: 1000, direction });
  }
  const before = (await call("GET", "qos/policies")).body.policies;
  for (const { rules } of before) expect(rules.map((r: Made) => r.id)).toEqual(rules.map((r: Made) => r.id).toSorted());
  h = await h.restart();
  expect((await call("GET", "qos/policies")).body.policies).toEqual(before);
});

test("a rule is had and changed by its own id too, by those who may by its policy's", async () => {
  const { id } = await policy();
  const limit = await rule(id, "bandwidth_limit", { max_kbps: 1000 });
  const path = `qos/alias-bandwidth-limit-rules/${limit.id}`;
  expect((await call("GET", path, undefined, reader)).body.alias_bandwidth_limit_rule).toEqual({ ...limit, project_id: "red", tenant_id: "red" });
  expect((await call("PUT", path, { alias_bandwidth_limit_rule: { max_kbps: 7 } })).body.alias_bandwidth_limit_rule).toMatchObject({ max_kbps: 7 });
  expect((await call("GET", `qos/policies/${id}`)).body.policy.rules).toMatchObject([{ max_kbps: 7 }]);
  expect((await call("PUT", path, { alias_bandwidth_limit_rule: { max_kbps: 8 } }, member)).status).toBe(403);
  for (const method of ["GET", "PUT", "DELETE"] as const) expect((await call(method, path, method === "PUT" ? { alias_bandwidth_limit_rule: { max_kbps: 8 } } : undefined, other)).status).toBe(404);
  expect((await call("DELETE", path)).status).toBe(204);
  expect((await call("GET", `qos/policies/${id}`)).body.policy.rules).toEqual([]);
});

test("policies are the manager's to make; others see what is shared with them, which may be taken back while nobody uses it", async () => {
  expect(refused(await call("POST", "qos/policies", { policy: {} }, member))).toEqual([403, "PolicyNotAuthorized"]);
  const { id } = await policy({ name: "gold" });
  const limit = await rule(id, "bandwidth_limit", { max_kbps: 1000 });
  expect((await call("GET", `qos/policies/${id}`, undefined, reader)).status).toBe(200);
  expect(refused(await call("GET", `qos/policies/${id}`, undefined, other))).toEqual([404, "QosPolicyNotFound"]);
  expect(refused(await call("GET", `qos/policies/${id}/bandwidth_limit_rules/${limit.id}`, undefined, other))).toEqual([404, "QosPolicyNotFound"]);
  expect((await call("GET", "qos/policies", undefined, other)).body.policies).toEqual([]);
  const port = async (who: Readonly<Record<string, string>>): Promise<Answer> => {
    const network = await made("networks", "network", {}, who as typeof other);
    return call("POST", "ports", { port: { network_id: network.id, qos_policy_id: id } }, who);
  };
  expect(refused(await port(other))).toEqual([404, "QosPolicyNotFound"]);
  expect((await call("PUT", `qos/policies/${id}`, { policy: { shared: true } })).body.policy).toMatchObject({ shared: true });
  expect((await call("GET", "rbac-policies?object_type=qos_policy", undefined, admin)).body.rbac_policies).toMatchObject([{ object_id: id, target_tenant: "*", action: "access_as_shared" }]);
  const used = await port(other);
  expect(used.body.port).toMatchObject({ qos_policy_id: id });
  expect((await call("GET", `qos/policies/${id}`, undefined, other)).body.policy).toMatchObject({ shared: true, rules: [{ max_kbps: 1000 }] });
  expect(refused(await call("PUT", `qos/policies/${id}`, { policy: { shared: true } }, other))).toEqual([403, "PolicyNotAuthorized"]);
  expect(refused(await call("PUT", `qos/policies/${id}`, { policy: { shared: false } }))).toEqual([409, "RbacPolicyInUse"]);
  expect(refused(await call("DELETE", `qos/policies/${id}`))).toEqual([409, "QosPolicyInUse"]);
  expect((await call("PUT", `ports/${used.body.port.id}`, { port: { qos_policy_id: null } }, other)).status).toBe(200);
  expect((await call("PUT", `qos/policies/${id}`, { policy: { shared: false } })).body.policy).toMatchObject({ shared: false });
  expect((await call("GET", "rbac-policies", undefined, admin)).body.rbac_policies).toEqual([]);
  const granted = await made("rbac-policies", "rbac_policy", { object_type: "qos_policy", object_id: id, action: "access_as_shared", target_tenant: "blue" });
  expect((await call("GET", `qos/policies/${id}`, undefined, other)).status).toBe(200);
  expect((await call("DELETE", `rbac-policies/${granted.id}`)).status).toBe(204);
  expect((await call("GET", `qos/policies/${id}`, undefined, other)).status).toBe(404);
});

test("what an administrator gave a port of another is not the owner's to take away", async () => {
  const { id } = await policy({}, admin);
  const network = await made("networks", "network", {});
  const port = await made("ports", "port", { network_id: network.id });
  expect((await call("PUT", `ports/${port.id}`, { port: { qos_policy_id: id } }, admin)).status).toBe(200);
  expect(refused(await call("PUT", `ports/${port.id}`, { port: { qos_policy_id: null } }, member))).toEqual([403, "PolicyRemoveAuthorizationError"]);
  expect((await call("PUT", `ports/${port.id}`, { port: { name: "x" } }, member)).body.port).toMatchObject({ qos_policy_id: id });
});

test("one rule of a type and direction; no minimum over a maximum; what no host keeps is for no port", async () => {
  const { id } = await policy();
  const first = await rule(id, "bandwidth_limit", { max_kbps: 1000 });
  const twice = await call("POST", `qos/policies/${id}/bandwidth_limit_rules`, { bandwidth_limit_rule: { max_kbps: 5 } });
  expect([...refused(twice), twice.body.NeutronError.message]).toEqual([409, "QoSRulesConflict", `Rule bandwidth_limit conflicts with rule ${first.id} which already exists in QoS Policy ${id}.`]);
  expect(refused(await call("POST", `qos/policies/${id}/minimum_bandwidth_rules`, { minimum_bandwidth_rule: { min_kbps: 2000 } }))).toEqual([409, "QoSRuleParameterConflict"]);
  const least = await rule(id, "minimum_bandwidth", { min_kbps: 500 });
  expect(refused(await call("PUT", `qos/policies/${id}/bandwidth_limit_rules/${first.id}`, { bandwidth_limit_rule: { max_kbps: 400 } }))).toEqual([409, "QoSRuleParameterConflict"]);
  const network = await made("networks", "network", {});
  const port = await made("ports", "port", { network_id: network.id });
  expect(refused(await call("PUT", `ports/${port.id}`, { port: { qos_policy_id: id } }))).toEqual([409, "QosRuleNotSupported"]);
  expect(refused(await call("PUT", `networks/${network.id}`, { network: { qos_policy_id: id } }))).toEqual([409, "QosRuleNotSupportedByNetwork"]);
  expect((await call("DELETE", `qos/policies/${id}/minimum_bandwidth_rules/${least.id}`)).status).toBe(204);
  expect((await call("PUT", `ports/${port.id}`, { port: { qos_policy_id: id } })).status).toBe(200);
  expect(refused(await call("POST", `qos/policies/${id}/minimum_bandwidth_rules`, { minimum_bandwidth_rule: { min_kbps: 5 } }))).toEqual([409, "QosRuleNotSupported"]);
  for (const [type, body] of [["bandwidth_limit", { max_kbps: -1 }], ["bandwidth_limit", {}], ["dscp_marking", { dscp_mark: 1 }], ["packet_rate_limit", { max_kpps: 1, direction: "any" }]] as const) {
    expect((await call("POST", `qos/policies/${id}/${type}_rules`, { [`${type}_rule`]: body })).status, type).toBe(400);
  }
});

test("new networks of a project have its default policy; a port shows its own and its network's", async () => {
  const gold = await policy({ is_default: true });
  expect(refused(await call("POST", "qos/policies", { policy: { is_default: true } }))).toEqual([409, "QoSPolicyDefaultAlreadyExists"]);
  const plain = await policy();
  expect(refused(await call("PUT", `qos/policies/${plain.id}`, { policy: { is_default: true } }))).toEqual([409, "QoSPolicyDefaultAlreadyExists"]);
  const network = await made("networks", "network", {});
  expect(network).toMatchObject({ qos_policy_id: gold.id });
  const port = await made("ports", "port", { network_id: network.id, qos_policy_id: plain.id });
  expect(port).toMatchObject({ qos_policy_id: plain.id, qos_network_policy_id: gold.id });
  expect((await call("PUT", `networks/${network.id}`, { network: { qos_policy_id: null } })).body.network).toMatchObject({ qos_policy_id: null });
  expect(await made("networks", "network", { qos_policy_id: plain.id })).toMatchObject({ qos_policy_id: plain.id });
  for (const [path, id] of [["ports", port.id], ["networks", network.id]] as const) expect((await call("DELETE", `${path}/${id}`)).status).toBe(204);
  expect([...h.view.all(qosUseTable)].map((u) => u.kind)).toEqual(["network"]);
});

test("types of rules: those that hosts keep, or all; what keeps them is for administrators", async () => {
  const types = async (query = ""): Promise<string[]> => ((await call("GET", `qos/rule-types${query}`, undefined, reader)).body.rule_types as { type: string }[]).map((t) => t.type).sort();
  expect(await types()).toEqual(["bandwidth_limit", "dscp_marking", "packet_rate_limit"]);
  expect(await types("?all_supported=true")).toEqual(await types());
  expect(await types("?all_rules=true")).toEqual(["bandwidth_limit", "dscp_marking", "minimum_bandwidth", "packet_rate_limit"]);
  expect((await call("GET", "qos/rule-types/dscp_marking", undefined, reader)).body).toEqual({ rule_type: { type: "dscp_marking" } });
  expect((await call("GET", "qos/rule-types/bandwidth_limit", undefined, admin)).body.rule_type).toMatchObject({
    drivers: [{ name: "openvswitch", supported_parameters: expect.arrayContaining([{ parameter_name: "max_kbps", parameter_type: "range", parameter_values: { start: 0, end: 2_147_483_647 } }, { parameter_name: "direction", parameter_type: "choices", parameter_values: ["egress", "ingress"] }]) as unknown }],
  });
  expect((await call("GET", "qos/rule-types", undefined, admin)).body.rule_types[0]).toEqual({ type: "bandwidth_limit" });
  expect((await call("GET", "qos/rule-types?fields=type&fields=drivers", undefined, admin)).body.rule_types[0]).toHaveProperty("drivers");
  expect((await call("GET", "qos/rule-types/nothing", undefined, reader)).status).toBe(404);
});

test("the meters and the mark of a port are where it is, while it has a policy; nobody else's packets pass a table more", async () => {
  await h.addChassis("hv1");
  await h.addChassis("hv2");
  const { id } = await policy();
  await rule(id, "bandwidth_limit", { max_kbps: 1000, max_burst_kbps: 300 });
  await rule(id, "bandwidth_limit", { max_kbps: 50_000, direction: "ingress" });
  await rule(id, "packet_rate_limit", { max_kpps: 2 });
  await rule(id, "dscp_marking", { dscp_mark: 46 });
  const network = await made("networks", "network", {});
  const [a, b] = [await made("ports", "port", { network_id: network.id }), await made("ports", "port", { network_id: network.id })];
  await h.plug("hv1", a.id, 10);
  await h.plug("hv1", b.id, 11);
  await h.settled();
  const own = (host: string): string[] => [...h.engine.flowsOf(host)].filter((f) => f.priority > 0).map((f) => h.layout.tableById(f.table)!.name).filter((name) => name.startsWith("qos_")).sort();
  const meters = (host: string): unknown[] => [...h.engine.itemsOf(host)].filter((i) => i.kind === "meter" && i.id >= 0x800a_0000 && i.id <= 0x800d_ffff).map((i) => [i.id, i.value]);
  expect([own("hv1"), meters("hv1")]).toEqual([[], []]);
  const count = h.engine.stats.flows;
  expect((await call("PUT", `ports/${a.id}`, { port: { qos_policy_id: id } })).status).toBe(200);
  await h.settled();
  expect(own("hv1")).toEqual(["qos_in", "qos_out", "qos_out", "qos_out", "qos_out_packets"]);
  expect(own("hv2")).toEqual([]);
  const slot = 1;
  expect(meters("hv1")).toEqual(expect.arrayContaining([
    [limitMeter("egress", "bandwidth", slot), { unit: "kbps", rate: 1000, burst: 300 }],
    [limitMeter("egress", "packets", slot), { unit: "pps", rate: 2000, burst: 200 }],
    [limitMeter("ingress", "bandwidth", slot), { unit: "kbps", rate: 50_000, burst: 40_000 }],
  ]));
  expect((await call("PUT", `ports/${a.id}`, { port: { qos_policy_id: null } })).status).toBe(200);
  await h.settled();
  expect([own("hv1"), meters("hv1"), h.engine.stats.flows]).toEqual([[], [], count]);
  expect((await call("PUT", `networks/${network.id}`, { network: { qos_policy_id: id } })).status).toBe(200);
  await h.settled();
  expect(own("hv1")).toHaveLength(10);
});

test("a port and a network that were deleted while the app was left out have no policy any more: it can be changed and deleted", async () => {
  const { id } = await policy({ name: "gold" });
  const network = await made("networks", "network", { qos_policy_id: id });
  const port = await made("ports", "port", { network_id: network.id, qos_policy_id: id });
  const kept = await made("networks", "network", { qos_policy_id: id });
  h = await h.restart(["qos", "qos-external"]);
  expect((await call("DELETE", `ports/${port.id}`)).status).toBe(204);
  expect((await call("DELETE", `networks/${network.id}`)).status).toBe(204);
  h = await h.restart([]);
  expect([...h.view.all(qosUseTable)].map((use) => use.id)).toEqual([kept.id]);
  // What hosts keep is asked of each that has it.
  await h.addChassis("hv1", { uplink_queues: [{ physical_network: "physnet", queue: 1, min_kbps: 1000 }] });
  expect(refused(await call("POST", `qos/policies/${id}/minimum_bandwidth_rules`, { minimum_bandwidth_rule: { min_kbps: 100 } }, admin))).toEqual([409, "QosRuleNotSupportedByNetwork"]);
  await call("PUT", `networks/${kept.id}`, { network: { qos_policy_id: null } });
  expect((await call("DELETE", `qos/policies/${id}`)).status).toBe(204);
});
