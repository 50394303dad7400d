import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api/api.ts";
import { Harness } from "../../test/support/harness.ts";
import { remoteUseTable } from "../security-groups/model.ts";

const admin = { project: "ops", roles: "admin" };
const p2 = { project: "p2" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

describe("the API", () => {
  let api: Api;
  beforeEach(async () => void (api = await Api.open()));
  const make = (more: Record<string, unknown> = {}): Promise<Shown> => api.make("address_group", { name: "offices", addresses: ["10.0.0.0/8", "192.0.2.1/32", "2001:DB8::/32"], ...more });

  test("prefixes of both families, as networks", async () => {
    const g = await make();
    expect(g).toMatchObject({ name: "offices", project_id: "p1", addresses: ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"], revision_number: 1 });
    expect(g).not.toHaveProperty("shared");
    expect(await make({ addresses: undefined })).toMatchObject({ addresses: [] });
    expect(await make({ addresses: null })).toMatchObject({ addresses: [] });
    expect(await api.change("address_group", g.id, { name: "x", description: "y" })).toMatchObject({ name: "x", description: "y", addresses: g["addresses"] });
    expect(await make({ addresses: ["192.168.0.10/24", "fd00::1/64"] })).toMatchObject({ addresses: ["192.168.0.0/24", "fd00::/64"] });
    for (const addresses of [["10.0.0.0/8", "10.0.0.0/8"], ["10.0.0.0/8", "10.0.0.1/8"], ["10.0.0.1"], ["10.0.0.1/33"], ["a"], [1], "10.0.0.0/8"]) {
      await api.refused(400, "HTTPBadRequest", "POST", "address-groups", { address_group: { addresses } });
    }
    await api.refused(400, "HTTPBadRequest", "PUT", `address-groups/${g.id}`, { address_group: { addresses: [] } });
  });

  test("of so many addresses at most, and a change of many is no work of minutes", async () => {
    const addresses = Array.from({ length: 4096 }, (_, n) => `10.${n >> 8}.${n & 255}.0/24`);
    const g = await make({ addresses });
    await api.refused(400, "AddressGroupTooLarge", "PUT", `address-groups/${g.id}/add_addresses`, { addresses: ["192.0.2.0/24"] });
    await api.refused(400, "AddressGroupTooLarge", "POST", "address-groups", { address_group: { addresses: [...addresses, "192.0.2.0/24"] } });
    await api.refused(400, "AddressesAlreadyExist", "PUT", `address-groups/${g.id}/add_addresses`, { addresses });
    expect((await api.put(`address-groups/${g.id}/remove_addresses`, { addresses: addresses.slice(1) }, { project: "p1" })).status).toBe(200);
    expect((await api.show("address_group", g.id)).addresses).toEqual(["10.0.0.0/24"]);
  });

  test("addresses come and go one by one", async () => {
    const g = await make();
    const at = (action: string): string => `address-groups/${g.id}/${action}`;
    const added = await api.put(at("add_addresses"), { addresses: ["198.51.100.0/24"] }, { project: "p1" });
    expect(added.status).toBe(200);
    expect(added.body.address_group).toEqual(await api.show("address_group", g.id));
    expect(added.body.address_group).toMatchObject({ addresses: [...(g["addresses"] as string[]), "198.51.100.0/24"], revision_number: 2 });
    expect(await api.refused(400, "AddressesAlreadyExist", "PUT", at("add_addresses"), { addresses: ["198.51.100.0/24", "203.0.113.0/24"] })).toContain("198.51.100.0/24");
    expect(await api.refused(404, "AddressesNotFound", "PUT", at("remove_addresses"), { addresses: ["203.0.113.0/24"] })).toContain("203.0.113.0/24");
    // By whatever of it they are named.
    expect(await api.refused(400, "AddressesAlreadyExist", "PUT", at("add_addresses"), { addresses: ["198.51.100.7/24"] })).toContain("198.51.100.0/24");
    expect(await api.refused(404, "AddressesNotFound", "PUT", at("remove_addresses"), { addresses: ["203.0.113.1"] })).toContain("203.0.113.1/32");
    await api.refused(400, "HTTPBadRequest", "PUT", at("remove_addresses"), { addresses: ["203.0.113"] });
    await api.refused(400, "HTTPBadRequest", "PUT", at("add_addresses"), {});
    await api.refused(404, "AddressGroupNotFound", "PUT", at("add_addresses"), { addresses: ["203.0.113.0/24"] }, p2);
    await api.refused(404, "AddressGroupNotFound", "PUT", `address-groups/${UNKNOWN}/add_addresses`, { addresses: ["203.0.113.0/24"] });
    expect((await api.put(at("remove_addresses"), { addresses: ["10.0.0.0/8", "198.51.100.0/24"] }, { project: "p1" })).body.address_group).toMatchObject({ addresses: ["192.0.2.1/32", "2001:db8::/32"] });
  });

  test("rules have one as their other side, and keep it", async () => {
    const [g, other] = [await make(), await make({ name: "other" })];
    const sg = await api.make("security_group", { name: "web" });
    const of = (more: Record<string, unknown>): Record<string, unknown> => ({ security_group_rule: { security_group_id: sg.id, direction: "ingress", protocol: "tcp", ...more } });
    const rule = (await api.call("POST", "security-group-rules", of({ remote_address_group_id: g.id }), { project: "p1" })).body.security_group_rule as Shown;
    expect(rule).toMatchObject({ remote_address_group_id: g.id, remote_group_id: null, remote_ip_prefix: null });
    expect(rule).not.toHaveProperty("remote_set");
    expect(await api.list(`security-group-rules?remote_address_group_id=${g.id}`)).toEqual([rule]);
    expect((await api.show("security_group", sg.id)).security_group_rules).toContainEqual(rule);
    // It says something else of another group, or of none.
    for (const more of [{ remote_address_group_id: other.id }, { remote_address_group_id: null }, { remote_group_id: sg.id }]) expect((await api.call("POST", "security-group-rules", of(more), { project: "p1" })).status).toBe(201);
    expect(await api.refused(409, "SecurityGroupRuleExists", "POST", "security-group-rules", of({ remote_address_group_id: g.id }))).toContain(rule.id);
    await api.refused(400, "SecurityGroupMultipleRemoteEntites", "POST", "security-group-rules", of({ remote_address_group_id: g.id, remote_ip_prefix: "10.0.0.0/8" }));
    await api.refused(400, "SecurityGroupMultipleRemoteEntites", "POST", "security-group-rules", of({ remote_address_group_id: g.id, remote_group_id: sg.id }));
    await api.refused(404, "AddressGroupNotFound", "POST", "security-group-rules", of({ remote_address_group_id: UNKNOWN }));
    await api.refused(404, "AddressGroupNotFound", "POST", "security-group-rules", of({ protocol: "udp", remote_address_group_id: (await api.make("address_group", {}, p2)).id }));
    await api.refused(409, "AddressGroupInUse", "DELETE", `address-groups/${g.id}`);
    await api.delete("security_group_rule", rule.id);
    await api.delete("address_group", g.id);
    expect([...api.model.view.all(remoteUseTable)].map((u) => u.remote)).not.toContain(g.id);
  });

  test("others neither see nor change it; an administrator does", async () => {
    const g = await make();
    expect(await api.list("address-groups", p2)).toEqual([]);
    await api.refused(404, "AddressGroupNotFound", "DELETE", `address-groups/${g.id}`, undefined, p2);
    expect(await api.list("address-groups", admin)).toHaveLength(1);
    expect((await api.list("extensions")).map((e) => e["alias"])).toEqual(expect.arrayContaining(["address-group", "security-groups-remote-address-group"]));
  });
});

/** Of the policy's two tables on a switch. */
const flowsOf = (h: Harness): number => {
  const tables = ["sg_in", "sg_in_connection"].map((name) => h.layout.table(name).id);
  return [...h.engine.flowsOf("hv1")].filter((f) => tables.includes(f.table)).length;
};

test("flows are as many as addresses and rules; an address costs its own", async () => {
  const h = await Harness.make();
  await h.addChassis("hv1");
  const network_id = (await h.create("network", { project_id: "p" })).id;
  const sg = await h.create("security_group", { project_id: "p" });
  await h.plug("hv1", (await h.create("port", { project_id: "p", network_id, security_groups: [sg.id] })).id, 1);
  await h.settled();
  const none = flowsOf(h);
  const address_group = await h.create("address_group", { project_id: "p", addresses: Array.from({ length: 100 }, (_, i) => `203.0.113.${i}/32`) });
  for (let port = 1; port <= 50; port++) {
    await h.create("security_group_rule", { project_id: "p", security_group_id: sg.id, direction: "ingress", protocol: "tcp", port_range_min: port, port_range_max: port, remote_address_group_id: address_group.id });
  }
  await h.settled();
  const many = flowsOf(h);
  // Each address, each rule, and what joins them, for packets and for connections.
  expect(many - none).toBe(2 * (100 + 50 + 1));
  let told = 0;
  h.engine.onDelta((delta) => {
    for (const d of delta.chassis.values()) told += d.add.length + d.remove.length;
  });
  await h.call("PUT", `/v2.0/address-groups/${address_group.id}/add_addresses`, { addresses: ["203.0.113.200/32"] });
  await h.settled();
  expect([flowsOf(h) - many, told]).toEqual([2, 2]);
  await h.call("PUT", `/v2.0/address-groups/${address_group.id}/remove_addresses`, { addresses: ["203.0.113.7/32"] });
  await h.settled();
  expect([flowsOf(h) - many, told]).toEqual([0, 4]);
  await h.close();
});
