import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api/api.ts";
import { groupTable, policyTable, portGroupsTable, remoteUseTable, ruleTable } from "./model.ts";

let api: Api;
beforeEach(async () => void (api = await Api.open()));

const admin = { project: "ops", roles: "admin" };
const p1 = { project: "p1" };
const p2 = { project: "p2" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

const group = (name = "web"): Promise<Shown> => api.make("security_group", { name });
const rules = "security-group-rules";
const defaultGroup = async (who = p1): Promise<Shown> => (await api.list("security-groups?name=default", who))[0]!;

describe("groups", () => {
  test("a new one lets everything out and has its rules embedded", async () => {
    const g = await group();
    expect(g).toMatchObject({ name: "web", stateful: true, shared: false, project_id: "p1", tags: [] });
    expect((await api.list("security-groups?shared=false", p1)).map((x) => x.id)).toContain(g.id);
    expect(await api.list("security-groups?shared=true", p1)).toEqual([]);
    expect(g.security_group_rules.map((r) => [r.direction, r.ethertype, r.protocol]).sort()).toEqual([["egress", "IPv4", null], ["egress", "IPv6", null]]);
    for (const rule of g.security_group_rules) expect(rule).toEqual(await api.show("security_group_rule", rule.id, p1));
    expect(await api.show("security_group", g.id, p1)).toEqual(g);
  });

  test("every project has a default one from its first look, network or port on", async () => {
    const [d] = await api.list("security-groups", p1);
    expect(d).toMatchObject({ name: "default", description: "Default security group" });
    expect(d!.security_group_rules.map((r) => [r.direction, r.ethertype, r.remote_group_id]).sort()).toEqual([
      ["egress", "IPv4", null], ["egress", "IPv6", null], ["ingress", "IPv4", d!.id], ["ingress", "IPv6", d!.id],
    ]);
    await api.make("network", {}, p2);
    expect([...api.model.view.all(groupTable)].map((g) => g.project_id).sort()).toEqual(["p1", "p2"]);
    expect(await api.list("security-groups", p1)).toHaveLength(1);
    expect(await api.list("security-groups", { project: "p3" })).toHaveLength(1);
    await api.make("security_group", { name: "x" }, { project: "p4" });
    expect(await api.list("security-groups", { project: "p4" })).toHaveLength(2);
  });

  test("the default one's name is its own", async () => {
    const d = await defaultGroup();
    const g = await group();
    await api.refused(409, "SecurityGroupDefaultAlreadyExists", "POST", "security-groups", { security_group: { name: "Default" } });
    await api.refused(409, "SecurityGroupDefaultAlreadyExists", "PUT", `security-groups/${g.id}`, { security_group: { name: "DEFAULT" } });
    await api.refused(409, "SecurityGroupCannotUpdateDefault", "PUT", `security-groups/${d.id}`, { security_group: { name: "mine" } });
    expect((await api.change("security_group", d.id, { description: "ours" })).description).toBe("ours");
    await api.refused(409, "SecurityGroupCannotRemoveDefault", "DELETE", `security-groups/${d.id}`);
    expect((await api.change("security_group", g.id, { name: "db" })).name).toBe("db");
    await api.delete("security_group", d.id, admin);
    expect((await defaultGroup()).id).not.toBe(d.id);
  });

  test("in use it stays", async () => {
    const g = await group();
    const port = await api.make("port", { network_id: (await api.make("network", {})).id, security_groups: [g.id] });
    await api.refused(409, "SecurityGroupInUse", "DELETE", `security-groups/${g.id}`);
    await api.delete("port", port.id);
    await api.delete("security_group", g.id);
    expect(api.model.view.by(ruleTable, "group", g.id)).toEqual([]);
    await api.refused(404, "SecurityGroupNotFound", "DELETE", `security-groups/${g.id}`);
  });

  test("one of the first edition, whose row has stateful as a column, is shown and changed like others", async () => {
    const g = await group();
    await api.tx((tx) => tx.put(groupTable, { ...tx.get(groupTable, g.id)!, stateful: true } as never));
    const listed = await api.list("security-groups", {});
    expect(listed.find((other) => other.id === g.id)?.["stateful"]).toBe(true);
    expect(await api.change("security_group", g.id, { description: "old" })).toMatchObject({ description: "old", stateful: true });
    expect(await api.change("security_group", g.id, { stateful: false })).toMatchObject({ stateful: false });
  });

  test("stateless ones; what a group is does not change while a port has it", async () => {
    const g = await api.make("security_group", { name: "x", stateful: "false" });
    expect(g).toMatchObject({ stateful: false });
    expect(g).not.toHaveProperty("stateless");
    expect((await api.list("security-groups?stateful=false", p1)).map((x) => x.id)).toEqual([g.id]);
    expect((await api.change("security_group", g.id, { stateful: true })).stateful).toBe(true);
    expect((await api.change("security_group", g.id, { stateful: false })).stateful).toBe(false);
    const port = await api.make("port", { network_id: (await api.make("network", {})).id, security_groups: [g.id] });
    await api.refused(409, "SecurityGroupInUse", "PUT", `security-groups/${g.id}`, { security_group: { stateful: true } });
    expect(await api.change("security_group", g.id, { stateful: false, name: "y" })).toMatchObject({ name: "y", stateful: false });
    const stateless = (): unknown[] => [...api.model.view.all(policyTable)].map((p) => p.stateless);
    expect(stateless()).toEqual([true]);
    // With one that is not, all of the port's groups count as stateful.
    await api.change("port", port.id, { security_groups: [g.id, (await group()).id] });
    expect(stateless()).toEqual([undefined]);
    await api.change("port", port.id, { security_groups: [] });
    expect((await api.change("security_group", g.id, { stateful: true })).stateful).toBe(true);
    await api.refused(400, "InvalidInput", "POST", "security-groups", { security_group: { stateful: "perhaps" } });
    expect((await api.list("extensions")).map((extension) => extension["alias"])).toContain("stateful-security-group");
  });

  test("what is our own is said to who asks for it", async () => {
    const g = await group();
    expect(Object.keys(g).filter((name) => name.startsWith("axion:"))).toEqual([]);
    const kept = async (query: string): Promise<unknown> => (await api.get(`security-groups/${g.id}?fields=${query}`, p1)).body.security_group;
    expect(await kept("name&fields=axion:keep_established")).toEqual({ name: "web", "axion:keep_established": false });
    expect(await api.change("security_group", g.id, { "axion:keep_established": true })).not.toHaveProperty("axion:keep_established");
    expect(await kept("axion:keep_established")).toEqual({ "axion:keep_established": true });
    expect((await api.list("security-groups?axion:keep_established=true", p1)).map((x) => x.id)).toEqual([g.id]);
    expect(await kept("axion:deny")).toEqual({ "axion:deny": "drop" });
    await api.change("security_group", g.id, { "axion:deny": "reject" });
    expect(await kept("axion:deny&fields=axion:keep_established")).toEqual({ "axion:deny": "reject", "axion:keep_established": true });
    await api.refused(400, "HTTPBadRequest", "PUT", `security-groups/${g.id}`, { security_group: { "axion:deny": "allow" } });
    await api.change("security_group", g.id, { stateful: false, name: "x" });
    expect(await kept("axion:keep_established&fields=stateful")).toEqual({ "axion:keep_established": true, stateful: false });
    await api.change("security_group", g.id, { "axion:keep_established": false });
    expect(await kept("axion:keep_established&fields=stateful")).toEqual({ "axion:keep_established": false, stateful: false });
  });

  test("with it go the rules of others that refer to it", async () => {
    const [a, b] = [await group("a"), await group("b")];
    const rule = await api.make("security_group_rule", { security_group_id: a.id, direction: "ingress", remote_group_id: b.id });
    const before = (await api.show("security_group", a.id)).revision_number;
    expect([...api.model.view.all(remoteUseTable)].filter((u) => u.group === a.id)).toHaveLength(1);
    await api.delete("security_group", b.id);
    expect(api.model.view.get(ruleTable, rule.id)).toBeUndefined();
    expect((await api.show("security_group", a.id)).revision_number).toBeGreaterThan(before);
    expect([...api.model.view.all(remoteUseTable)].filter((u) => u.group === a.id)).toEqual([]);
  });
});

describe("rules", () => {
  let g: Shown;
  beforeEach(async () => void (g = await group()));
  const rule = (more: Record<string, unknown>, who = p1): Promise<Shown> => api.make("security_group_rule", { security_group_id: g.id, direction: "ingress", ...more }, who);

  const accepted: [Record<string, unknown>, Record<string, unknown>][] = [
    [{}, { ethertype: "IPv4", protocol: null, port_range_min: null, port_range_max: null, remote_ip_prefix: null, remote_group_id: null, normalized_cidr: null, belongs_to_default_sg: false }],
    [{ protocol: "TCP", port_range_min: "80", port_range_max: 81 }, { protocol: "tcp", port_range_min: 80, port_range_max: 81 }],
    [{ protocol: 6, port_range_min: 80, port_range_max: 80 }, { protocol: "6" }],
    [{ protocol: "any" }, { protocol: null }],
    [{ protocol: "icmp", port_range_min: 8 }, { protocol: "icmp", port_range_min: 8, port_range_max: null }],
    [{ protocol: "icmp", port_range_min: 0, port_range_max: 0 }, { port_range_min: 0, port_range_max: 0 }],
    [{ protocol: "ipv6-icmp", ethertype: "ipv6", port_range_min: 128, port_range_max: 0 }, { ethertype: "IPv6", protocol: "ipv6-icmp" }],
    [{ protocol: "vrrp" }, { protocol: "vrrp" }],
    [{ protocol: "255" }, { protocol: "255" }],
    [{ protocol: "dccp" }, { protocol: "dccp", port_range_min: null, port_range_max: null }],
    [{ protocol: "udplite", ethertype: "IPv6" }, { protocol: "udplite" }],
    [{ remote_ip_prefix: "10.0.0.5/24" }, { remote_ip_prefix: "10.0.0.5/24", normalized_cidr: "10.0.0.0/24" }],
    [{ remote_ip_prefix: "10.0.0.5" }, { remote_ip_prefix: "10.0.0.5/32" }],
    [{ ethertype: "IPv6", remote_ip_prefix: "FD00::5" }, { remote_ip_prefix: "fd00::5/128" }],
    [{ remote_ip_prefix: "0.0.0.0/0" }, { remote_ip_prefix: "0.0.0.0/0" }],
  ];
  for (const [given, shown] of accepted) test(`accepted: ${JSON.stringify(given)}`, async () => expect(await rule(given)).toMatchObject(shown));

  const refused: [number, string, Record<string, unknown>][] = [
    [400, "HTTPBadRequest", { direction: "both" }],
    [400, "HTTPBadRequest", { direction: undefined }],
    [400, "SecurityGroupRuleInvalidEtherType", { ethertype: "IPX" }],
    [400, "SecurityGroupRuleInvalidProtocol", { protocol: "quic" }],
    [400, "SecurityGroupRuleInvalidProtocol", { protocol: "256" }],
    [400, "SecurityGroupRuleInvalidProtocol", { protocol: -1 }],
    [400, "SecurityGroupProtocolRequiredWithPorts", { port_range_min: 80, port_range_max: 80 }],
    [400, "SecurityGroupInvalidPortRange", { protocol: "tcp", port_range_min: 81, port_range_max: 80 }],
    [400, "SecurityGroupInvalidPortRange", { protocol: "tcp", port_range_min: 81 }],
    [400, "SecurityGroupInvalidPortRange", { protocol: "17", port_range_max: 81 }],
    [400, "SecurityGroupInvalidPortValue", { protocol: "tcp", port_range_min: 0, port_range_max: 80 }],
    [400, "SecurityGroupInvalidPortValue", { protocol: "tcp", port_range_min: 80, port_range_max: 65536 }],
    [400, "SecurityGroupInvalidPortValue", { protocol: "tcp", port_range_min: "http", port_range_max: 80 }],
    [400, "SecurityGroupInvalidIcmpValue", { protocol: "icmp", port_range_min: 256 }],
    [400, "SecurityGroupInvalidIcmpValue", { protocol: "1", port_range_min: 3, port_range_max: 300 }],
    [400, "SecurityGroupMissingIcmpType", { protocol: "icmp", port_range_max: 1 }],
    [400, "SecurityGroupInvalidProtocolForPort", { protocol: "gre", port_range_min: 1, port_range_max: 2 }],
    // They have ports that no switch can match.
    ...["dccp", "DCCP", "33", 33, "udplite", "136"].flatMap((protocol): [number, string, Record<string, unknown>][] => [
      [400, "SecurityGroupInvalidProtocolForPort", { protocol, port_range_min: 1, port_range_max: 2 }], [400, "SecurityGroupInvalidProtocolForPort", { protocol, ethertype: "IPv6", port_range_min: 5 }],
    ]),
    [400, "SecurityGroupEthertypeConflictWithProtocol", { protocol: "icmpv6" }],
    [400, "SecurityGroupEthertypeConflictWithProtocol", { protocol: "58" }],
    [400, "SecurityGroupRuleParameterConflict", { remote_ip_prefix: "fd00::/64" }],
    [400, "SecurityGroupRuleParameterConflict", { ethertype: "IPv6", remote_ip_prefix: "10.0.0.0/24" }],
    [400, "InvalidCIDR", { remote_ip_prefix: "10.0.0.0/33" }],
    [400, "SecurityGroupMultipleRemoteEntites", { remote_ip_prefix: "10.0.0.0/24", remote_group_id: UNKNOWN }],
    [404, "SecurityGroupNotFound", { remote_group_id: UNKNOWN }],
    [404, "SecurityGroupNotFound", { security_group_id: UNKNOWN }],
    [404, "SecurityGroupNotFound", { security_group_id: "no UUID" }],
    [404, "SecurityGroupNotFound", { remote_group_id: "no UUID" }],
    [400, "HTTPBadRequest", { remote_group_id: "x".repeat(37) }],
    [409, "SecurityGroupRuleExists", { direction: "egress" }],
    [409, "SecurityGroupRuleExists", { direction: "egress", description: "again" }],
  ];
  for (const [status, type, given] of refused) {
    test(`refused: ${type} ${JSON.stringify(given)}`, async () => {
      await api.refused(status, type, "POST", rules, { security_group_rule: { security_group_id: g.id, direction: "ingress", ...given } });
    });
  }

  test("a value of ICMP that is none is named as clients look for it", async () => {
    const of = (more: Record<string, unknown>): Record<string, unknown> => ({ security_group_rule: { security_group_id: g.id, direction: "ingress", protocol: "icmp", ...more } });
    expect(await api.refused(400, "SecurityGroupInvalidIcmpValue", "POST", rules, of({ port_range_min: 300 }))).toContain("Invalid value for ICMP type");
    expect(await api.refused(400, "SecurityGroupInvalidIcmpValue", "POST", rules, of({ port_range_min: 1, port_range_max: 256 }))).toContain("Invalid value for ICMP code");
  });

  test("the same said twice, however it is spelled", async () => {
    const first = await rule({ protocol: "ipv6-icmp", ethertype: "IPv6" });
    for (const protocol of ["icmpv6", "58"]) {
      const message = await api.refused(409, "SecurityGroupRuleExists", "POST", rules, { security_group_rule: { security_group_id: g.id, direction: "ingress", ethertype: "IPv6", protocol } });
      expect(message).toContain(first.id);
    }
    await rule({});
    await rule({ remote_ip_prefix: "0.0.0.0/0" });
  });

  test("in one request: one group, one project, nothing twice, all or nothing", async () => {
    const other = await group("other");
    const of = (more: Record<string, unknown>): Record<string, unknown> => ({ security_group_id: g.id, direction: "ingress", ...more });
    const bulk = (...items: Record<string, unknown>[]): Record<string, unknown> => ({ security_group_rules: items });
    await api.refused(400, "SecurityGroupNotSingleGroupRules", "POST", rules, bulk(of({}), of({ security_group_id: other.id })));
    await api.refused(400, "SecurityGroupRulesNotSingleProject", "POST", rules, bulk(of({}), of({ protocol: "tcp", project_id: "p2" })), admin);
    await api.refused(409, "DuplicateSecurityGroupRuleInPost", "POST", rules, bulk(of({ protocol: "tcp" }), of({ protocol: "6" })));
    await api.refused(409, "SecurityGroupRuleExists", "POST", rules, bulk(of({ protocol: "tcp" }), of({ direction: "egress" })));
    const answer = await api.call("POST", rules, bulk(of({ protocol: "tcp" }), of({ protocol: "udp" })), p1);
    expect(answer.status).toBe(201);
    expect((await api.show("security_group", g.id)).security_group_rules).toHaveLength(4);
  });

  test("a group has 1,000 at most; whoever wants more has to do without some", async () => {
    const g = await group();
    const rule = (port: number): Record<string, unknown> => ({ security_group_id: g.id, direction: "ingress", protocol: "tcp", port_range_min: port, port_range_max: port });
    // Two came with it.
    for (let from = 3; from <= 1000; from += 100) {
      const some = Array.from({ length: Math.min(100, 1001 - from) }, (_, i) => rule(from + i));
      expect((await api.call("POST", rules, { security_group_rules: some }, p1)).status).toBe(201);
    }
    expect(await api.refused(409, "OverQuota", "POST", rules, { security_group_rule: rule(2000) })).toContain("has 1000 rules, which is the most");
    await api.refused(409, "SecurityGroupRuleExists", "POST", rules, { security_group_rule: rule(3) });
    const [some] = await api.list(`${rules}?security_group_id=${g.id}&limit=1`, p1);
    await api.delete("security_group_rule", some!.id);
    await api.make("security_group_rule", rule(2000));
  });

  test("of others: not found; the administrator's are the group's", async () => {
    await api.refused(404, "SecurityGroupNotFound", "POST", rules, { security_group_rule: { security_group_id: g.id, direction: "ingress" } }, p2);
    const r = await rule({}, admin);
    expect(r.project_id).toBe("p1");
    await api.refused(404, "SecurityGroupRuleNotFound", "DELETE", `${rules}/${r.id}`, undefined, p2);
    expect((await api.list(rules, p2)).map((x) => x.project_id)).not.toContain("p1");
    const theirs = await api.make("security_group", { name: "theirs" }, p2);
    await api.refused(404, "SecurityGroupNotFound", "POST", rules, { security_group_rule: { security_group_id: g.id, direction: "ingress", remote_group_id: theirs.id } });
    await api.refused(404, "SecurityGroupRuleNotFound", "DELETE", `${rules}/${UNKNOWN}`);
    await api.refused(404, "SecurityGroupRuleNotFound", "PUT", `${rules}/${r.id}`, { security_group_rule: { description: "x" } }, p2);
    expect(await api.change("security_group_rule", r.id, { description: "x" })).toMatchObject({ description: "x", direction: "ingress" });
    await api.refused(400, "HTTPBadRequest", "PUT", `${rules}/${r.id}`, { security_group_rule: { protocol: "tcp" } });
  });

  test("a change of rules is one of the group; remote uses come and go", async () => {
    const uses = (): number => [...api.model.view.all(remoteUseTable)].filter((u) => u.group === g.id).length;
    const other = await group("other");
    const before = (await api.show("security_group", g.id)).revision_number;
    const a = await rule({ remote_group_id: other.id, protocol: "tcp" });
    const b = await rule({ remote_group_id: other.id, protocol: "udp" });
    const c = await rule({ remote_group_id: other.id, ethertype: "IPv6" });
    expect(uses()).toBe(2);
    expect((await api.show("security_group", g.id)).revision_number).toBeGreaterThan(before);
    await api.delete("security_group_rule", a.id);
    expect(uses()).toBe(2);
    await api.delete("security_group_rule", b.id);
    await api.delete("security_group_rule", c.id);
    expect(uses()).toBe(0);
    expect(new Set([...api.model.view.all(remoteUseTable)].map((u) => u.key)).size).toBe([...api.model.view.all(remoteUseTable)].length);
    expect(await api.list(`${rules}?security_group_id=${g.id}&direction=egress`, p1)).toHaveLength(2);
  });
});

describe("groups of ports", () => {
  let network_id: string;
  beforeEach(async () => void (network_id = (await api.make("network", {})).id));
  const port = (more: Record<string, unknown> = {}, who = p1): Promise<Shown> => api.make("port", { network_id, ...more }, who);
  const policies = (): string[][] => [...api.model.view.all(policyTable)].map((p) => [...p.groups]).sort();

  test("the default group when none are named, none for the network's own ports", async () => {
    const d = await defaultGroup();
    expect((await port()).security_groups).toEqual([d.id]);
    expect((await port({ security_groups: [] })).security_groups).toEqual([]);
    expect((await port({ security_groups: null })).security_groups).toEqual([]);
    expect((await port({ device_owner: "network:dhcp" })).security_groups).toEqual([]);
    expect((await port({ port_security_enabled: false })).security_groups).toEqual([]);
    // An administrator's port for another project gets that one's.
    const theirs = await port({ project_id: "p2" }, admin);
    expect(theirs.security_groups).toEqual([(await defaultGroup(p2)).id]);
  });

  test("policies: one per set, from its first port to its last", async () => {
    const [a, b] = [await group("a"), await group("b")];
    const set = [a.id, b.id].sort();
    const x = await port({ security_groups: [a.id, b.id] });
    const y = await port({ security_groups: [b.id, a.id] });
    expect(y.security_groups).toEqual([b.id, a.id]);
    expect(policies()).toEqual([set]);
    expect(api.model.view.get(portGroupsTable, x.id)!.policy).toBe(set.join("+"));
    const { key } = [...api.model.view.all(policyTable)][0]!;
    expect(key).toBeGreaterThanOrEqual(2);
    expect((await api.list(`ports?security_groups=${a.id}`, p1)).map((p) => p.id).sort()).toEqual([x.id, y.id].sort());
    await api.change("port", x.id, { security_groups: [a.id] });
    expect(policies()).toEqual([[a.id], set].sort());
    await api.change("port", y.id, { security_groups: [] });
    expect(policies()).toEqual([[a.id]]);
    expect(api.model.view.get(portGroupsTable, y.id)).toBeUndefined();
    await api.delete("port", x.id);
    expect(policies()).toEqual([]);
    await port({ security_groups: [a.id] });
    expect([...api.model.view.all(policyTable)][0]!.key).toBeGreaterThan(key);
  });

  test("what is refused", async () => {
    const g = await group();
    const theirs = await defaultGroup(p2);
    await api.refused(404, "SecurityGroupNotFound", "POST", "ports", { port: { network_id, security_groups: [UNKNOWN] } });
    await api.refused(404, "SecurityGroupNotFound", "POST", "ports", { port: { network_id, security_groups: [theirs.id] } });
    await api.refused(400, "HTTPBadRequest", "POST", "ports", { port: { network_id, security_groups: [g.id, g.id] } });
    await api.refused(400, "HTTPBadRequest", "POST", "ports", { port: { network_id, security_groups: ["web"] } });
    await api.refused(400, "PortSecurityAndIPRequiredForSecurityGroups", "POST", "ports", { port: { network_id, port_security_enabled: false, security_groups: [g.id] } });
    const p = await port();
    const at = `ports/${p.id}`;
    await api.refused(409, "PortSecurityPortHasSecurityGroup", "PUT", at, { port: { port_security_enabled: false } });
    await api.refused(400, "PortSecurityAndIPRequiredForSecurityGroups", "PUT", at, { port: { port_security_enabled: false, security_groups: [g.id] } });
    await api.refused(404, "SecurityGroupNotFound", "PUT", at, { port: { security_groups: [theirs.id] } });
    expect(await api.change("port", p.id, { port_security_enabled: false, security_groups: [] })).toMatchObject({ port_security_enabled: false, security_groups: [] });
    await api.refused(400, "PortSecurityAndIPRequiredForSecurityGroups", "PUT", at, { port: { security_groups: [g.id] } });
    expect((await api.change("port", p.id, { port_security_enabled: true, security_groups: [g.id] })).security_groups).toEqual([g.id]);
  });

  test("32 at most: each set of groups is flows for all of their rules", async () => {
    const n = await api.make("network", {});
    const many: string[] = [];
    for (let i = 0; i < 33; i++) many.push((await group(`g${i}`)).id);
    expect(await api.refused(400, "InvalidInput", "POST", "ports", { port: { network_id: n.id, security_groups: many } })).toContain("security_groups");
    const port = await api.make("port", { network_id: n.id, security_groups: many.slice(0, 32) });
    await api.refused(400, "InvalidInput", "PUT", `ports/${port.id}`, { port: { security_groups: many } });
    await api.change("port", port.id, { security_groups: many.slice(1) });
  });

  test("a group that an administrator gave may be repeated by its owner", async () => {
    const theirs = await defaultGroup(p2);
    const p = await port();
    await api.change("port", p.id, { security_groups: [theirs.id] }, admin);
    expect((await api.change("port", p.id, { name: "x", security_groups: [theirs.id] })).security_groups).toEqual([theirs.id]);
  });
});
