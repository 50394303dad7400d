import { beforeEach, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api/api.ts";

let api: Api;
beforeEach(async () => void (api = await Api.open()));

const admin = { project: "ops", roles: "admin" };
const reader = { project: "p1", roles: "reader" };
const path = "default-security-group-rules";
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

const make = (values: Record<string, unknown>): Promise<Shown> => api.make("default_security_group_rule", { direction: "ingress", used_in_default_sg: false, used_in_non_default_sg: true, ...values }, admin);
const said = (rules: readonly Shown[]): unknown[] => rules.map((r) => [r["direction"], r["ethertype"], r["protocol"], r["remote_group_id"]].join(" ")).sort();
const defaultGroup = async (project: string): Promise<Shown> => (await api.list("security-groups?name=default", { project }))[0]!;

test("those that are shipped, for whoever reads", async () => {
  const rules = await api.list(path, reader);
  expect(rules.map((r) => [r["direction"], r["ethertype"], r["remote_group_id"], r["used_in_default_sg"], r["used_in_non_default_sg"]].join(" ")).sort()).toEqual([
    "egress IPv4  true true", "egress IPv6  true true", "ingress IPv4 PARENT true false", "ingress IPv6 PARENT true false",
  ]);
  expect(Object.keys(rules[0]!).sort()).toEqual([
    "description", "direction", "ethertype", "id", "port_range_max", "port_range_min", "protocol", "remote_address_group_id", "remote_group_id", "remote_ip_prefix", "used_in_default_sg", "used_in_non_default_sg",
  ]);
  expect(await api.show("default_security_group_rule", rules[0]!.id, reader)).toEqual(rules[0]);
  expect(await api.list(`${path}?used_in_non_default_sg=false`, reader)).toHaveLength(2);
  expect((await api.list("extensions")).map((e) => e["alias"])).toContain("security-groups-default-rules");
});

test("new groups get them, groups that are there keep what they have", async () => {
  const before = await api.make("security_group", { name: "before" });
  const addresses = await api.make("address_group", { addresses: ["192.0.2.0/24"] }, admin);
  await make({ protocol: "tcp", port_range_min: 22, port_range_max: 22, remote_ip_prefix: "10.0.0.5/8", description: "ssh" });
  await make({ protocol: "udp", remote_group_id: "PARENT" });
  await make({ protocol: "icmp", remote_address_group_id: addresses.id, used_in_default_sg: true, used_in_non_default_sg: false });
  const after = await api.make("security_group", { name: "after" });
  expect(said(after.security_group_rules)).toEqual(["egress IPv4  ", "egress IPv6  ", "ingress IPv4 tcp ", `ingress IPv4 udp ${after.id}`]);
  expect(after.security_group_rules.find((r) => r["protocol"] === "tcp")).toMatchObject({ description: "ssh", port_range_min: 22, remote_ip_prefix: "10.0.0.5/8", project_id: "p1" });
  expect((await api.show("security_group", before.id)).security_group_rules).toHaveLength(2);
  const d = await defaultGroup("fresh");
  expect(said(d.security_group_rules)).toEqual(["egress IPv4  ", "egress IPv6  ", `ingress IPv4  ${d.id}`, "ingress IPv4 icmp ", `ingress IPv6  ${d.id}`]);
  expect(d.security_group_rules.find((r) => r["protocol"] === "icmp")).toMatchObject({ remote_address_group_id: addresses.id });
  await api.refused(409, "AddressGroupInUse", "DELETE", `address-groups/${addresses.id}`, undefined, admin);
});

test("those that are deleted do not come back, the shipped ones neither", async () => {
  for (const { id } of await api.list(path, admin)) await api.delete("default_security_group_rule", id, admin);
  expect(await api.list(path, admin)).toEqual([]);
  expect((await api.make("security_group", { name: "bare" })).security_group_rules).toEqual([]);
  expect((await defaultGroup("fresh")).security_group_rules).toEqual([]);
  await api.refused(404, "DefaultSecurityGroupRuleNotFound", "DELETE", `${path}/${UNKNOWN}`, undefined, admin);
});

test("who names a group that goes, goes with it", async () => {
  const g = await api.make("security_group", { name: "bastions" }, admin);
  const r = await make({ remote_group_id: g.id });
  expect(r).toMatchObject({ remote_group_id: g.id });
  await api.delete("security_group", g.id, admin);
  expect((await api.list(path, admin)).map((x) => x.id)).not.toContain(r.id);
});

test("what is refused", async () => {
  const of = (more: Record<string, unknown>): Record<string, unknown> => ({ default_security_group_rule: { direction: "ingress", used_in_default_sg: true, used_in_non_default_sg: true, ...more } });
  await api.list(path, admin);
  const refused: [number, string, Record<string, unknown>][] = [
    [409, "DefaultSecurityGroupRuleExists", { direction: "egress", used_in_default_sg: false }],
    [409, "DefaultSecurityGroupRuleExists", { remote_group_id: "PARENT", description: "again" }],
    [404, "SecurityGroupNotFound", { remote_group_id: UNKNOWN }],
    [404, "AddressGroupNotFound", { remote_address_group_id: UNKNOWN }],
    [400, "HTTPBadRequest", { remote_group_id: "CHILD" }],
    [400, "HTTPBadRequest", { used_in_default_sg: undefined }],
    [400, "HTTPBadRequest", { security_group_id: UNKNOWN }],
    [400, "SecurityGroupMultipleRemoteEntites", { remote_group_id: "PARENT", remote_ip_prefix: "10.0.0.0/8" }],
    [400, "SecurityGroupRuleInvalidProtocol", { protocol: "quic" }],
    [400, "SecurityGroupInvalidPortRange", { protocol: "tcp", port_range_min: 2, port_range_max: 1 }],
    [400, "SecurityGroupRuleParameterConflict", { remote_ip_prefix: "fd00::/64" }],
    [400, "SecurityGroupEthertypeConflictWithProtocol", { protocol: "icmpv6" }],
  ];
  for (const [status, type, given] of refused) await api.refused(status, type, "POST", path, of(given), admin);
  const [{ id }] = (await api.list(path, admin)) as [Shown];
  expect((await api.call("POST", path, of({ protocol: "tcp" }), { project: "p1" })).status).toBe(403);
  expect((await api.call("DELETE", `${path}/${id}`, undefined, { project: "p1" })).status).toBe(403);
  expect((await api.call("PUT", `${path}/${id}`, { default_security_group_rule: { description: "x" } }, admin)).status).toBe(405);
});
