import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Shown, type Who } from "../../test/support/api/api.ts";
import { subnetPoolTable, type SubnetPool } from "../subnet-pools/model.ts";
import { mend } from "./api.ts";
import { PREFIXES_MAX, scopedPoolTable } from "./model.ts";

const admin = { project: "ops", roles: "admin" };
const p1 = { project: "p1" };
const p2 = { project: "p2" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

let api: Api;
beforeEach(async () => void (api = await Api.open()));

const scope = (more: Record<string, unknown> = {}, who?: Who): Promise<Shown> => api.make("address_scope", { name: "scope", ip_version: 4, ...more }, who);
const pool = (more: Record<string, unknown> = {}, who?: Who): Promise<Shown> => api.make("subnetpool", { name: "pool", prefixes: ["10.0.0.0/16"], default_prefixlen: 24, ...more }, who);
const no = (status: number, type: string, more: Record<string, unknown>, who?: Who): Promise<string> => api.refused(status, type, "POST", "subnetpools", { subnetpool: { name: "pool", prefixes: ["10.0.0.0/16"], ...more } }, who);
const share = async (type: string, id: string, to: string, who: Who = p1): Promise<Shown> => {
  const { status, body } = await api.call("POST", "rbac-policies", { rbac_policy: { object_type: type, object_id: id, action: "access_as_shared", target_tenant: to } }, who);
  expect(status, JSON.stringify(body)).toBe(201);
  return body.rbac_policy as Shown;
};

describe("address scopes", () => {
  test("show what they were made of, and change their name", async () => {
    const s = await scope();
    expect(s).toEqual({ id: s.id, name: "scope", ip_version: 4, shared: false, project_id: "p1", tenant_id: "p1" });
    expect(await scope({ ip_version: "6", name: undefined })).toMatchObject({ ip_version: 6, name: "" });
    expect(await api.change("address_scope", s.id, { name: "other" })).toMatchObject({ name: "other" });
    expect(await api.list("address-scopes?ip_version=6", p1)).toHaveLength(1);
    expect(await api.list("address-scopes?sort_key=name&sort_dir=desc", p1)).toHaveLength(2);
    await api.delete("address_scope", s.id);
    expect((await api.get(`address-scopes/${s.id}`)).status).toBe(404);
  });

  test.each([
    ["no family", {}],
    ["another family", { ip_version: 5 }],
    ["null", { ip_version: null }],
    ["a long name", { ip_version: 4, name: "x".repeat(256) }],
    ["what it has not", { ip_version: 4, description: "x" }],
  ])("are refused: %s", async (_, values) => {
    await api.refused(400, "HTTPBadRequest", "POST", "address-scopes", { address_scope: values });
  });

  test("have one family for good, and are an administrator's to share, and not back", async () => {
    const s = await scope();
    const at = `address-scopes/${s.id}`;
    await api.refused(400, "HTTPBadRequest", "PUT", at, { address_scope: { ip_version: 6 } });
    await api.refused(403, "PolicyNotAuthorized", "POST", "address-scopes", { address_scope: { ip_version: 4, shared: true } });
    await api.refused(403, "PolicyNotAuthorized", "PUT", at, { address_scope: { shared: true } });
    await api.refused(404, "AddressScopeNotFound", "PUT", at, { address_scope: { name: "x" } }, p2);
    expect(await api.change("address_scope", s.id, { shared: false }, admin)).toMatchObject({ shared: false });
    expect(await api.change("address_scope", s.id, { shared: true }, admin)).toMatchObject({ shared: true });
    expect((await api.get(at, p2)).body).toMatchObject({ address_scope: { shared: true } });
    expect((await api.list("address-scopes?shared=true", p2)).map((a) => a.id)).toEqual([s.id]);
    await api.refused(400, "AddressScopeUpdateError", "PUT", at, { address_scope: { shared: false } }, admin);
    await api.refused(403, "PolicyNotAuthorized", "PUT", at, { address_scope: { name: "x" } }, p2);
    await api.refused(403, "PolicyNotAuthorized", "DELETE", at, undefined, p2);
  });

  test("stay while pools are of them", async () => {
    const s = await scope();
    const p = await pool({ address_scope_id: s.id });
    expect(p).toMatchObject({ address_scope_id: s.id });
    await api.refused(409, "AddressScopeInUse", "DELETE", `address-scopes/${s.id}`);
    expect(await api.list(`subnetpools?address_scope_id=${s.id}`, p1)).toHaveLength(1);
    await api.delete("subnetpool", p.id);
    await api.delete("address_scope", s.id);
    expect([...api.model.view.all(scopedPoolTable)]).toEqual([]);
  });
});

describe("subnet pools of a scope", () => {
  test("are of its family and owner, or of one with whom it is shared", async () => {
    const [s, six] = [await scope(), await scope({ ip_version: 6 })];
    await no(404, "AddressScopeNotFound", { address_scope_id: UNKNOWN });
    await no(400, "HTTPBadRequest", { address_scope_id: "x" });
    await no(404, "AddressScopeNotFound", { address_scope_id: s.id }, p2);
    await no(400, "IllegalSubnetPoolAssociationToAddressScope", { address_scope_id: s.id, project_id: "p2" }, admin);
    await no(400, "IllegalSubnetPoolIpVersionAssociationToAddressScope", { address_scope_id: six.id });
    await share("address_scope", s.id, "p2");
    const p = await pool({ address_scope_id: s.id }, p2);
    const plain = await pool({ prefixes: ["10.9.0.0/16"] }, p2);
    expect(await api.change("subnetpool", plain.id, { address_scope_id: s.id }, p2)).toMatchObject({ address_scope_id: s.id });
    await api.refused(400, "IllegalSubnetPoolUpdate", "PUT", `subnetpools/${p.id}`, { subnetpool: { address_scope_id: null } }, p2);
    await api.refused(400, "IllegalSubnetPoolUpdate", "PUT", `subnetpools/${p.id}/add_prefixes`, { prefixes: ["10.1.0.0/16"] }, p2);
    const [policy] = await api.list("rbac-policies", p1);
    await api.refused(409, "RbacPolicyInUse", "DELETE", `rbac-policies/${policy!.id}`, undefined, p1);
  });

  test("have nothing of each other's, however they change", async () => {
    const [s, other] = [await scope(), await scope()];
    const p = await pool({ prefixes: ["10.0.0.0/16", "192.0.2.0/27"], address_scope_id: s.id });
    for (const prefix of ["10.0.0.0/16", "10.0.0.0/8", "10.0.0.0/15", "10.0.7.0/24", "10.0.255.255/32", "192.0.2.0/24", "192.0.2.0/26", "192.0.2.16/28", "192.0.0.0/13"]) await no(409, "AddressScopePrefixConflict", { prefixes: [prefix], min_prefixlen: 8, max_prefixlen: 32, address_scope_id: s.id });
    const next = await pool({ prefixes: ["10.1.0.0/16", "192.0.2.32/27"], address_scope_id: s.id });
    await pool({ address_scope_id: other.id });
    const plain = await pool();
    await api.refused(409, "AddressScopePrefixConflict", "PUT", `subnetpools/${plain.id}`, { subnetpool: { address_scope_id: s.id } });
    await api.refused(409, "AddressScopePrefixConflict", "PUT", `subnetpools/${next.id}/add_prefixes`, { prefixes: ["10.0.5.0/24"] });
    await api.refused(409, "AddressScopePrefixConflict", "PUT", `subnetpools/${next.id}`, { subnetpool: { prefixes: ["10.0.0.0/15", "192.0.2.32/27"] } });
    const network = await api.make("network", {});
    await api.make("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.5.0/24" });
    await api.refused(409, "AddressScopePrefixConflict", "PUT", `subnetpools/${next.id}/onboard_network_subnets`, { network_id: network.id });
    await api.put(`subnetpools/${p.id}/remove_prefixes`, { prefixes: ["10.0.0.0/17"] }, p1);
    expect((await api.put(`subnetpools/${next.id}/onboard_network_subnets`, { network_id: network.id }, p1)).status).toBe(200);
    await api.refused(409, "AddressScopePrefixConflict", "PUT", `subnetpools/${p.id}/add_prefixes`, { prefixes: ["10.0.4.0/22"] });
    await api.change("subnetpool", p.id, { address_scope_id: null });
    expect((await api.put(`subnetpools/${next.id}/add_prefixes`, { prefixes: ["10.0.0.0/16"] }, p1)).status).toBe(200);
  });

  test("cost no more the more there are", async () => {
    const s = await scope({ ip_version: 6 });
    for (const at of [0x2000, 0x2001, 0x2002]) {
      const prefixes = [...Array(PREFIXES_MAX).keys()].map((n) => `${at.toString(16)}:${(2 * n).toString(16)}::/47`);
      await pool({ prefixes: prefixes.map((p) => p.replace("/47", "/48")), default_prefixlen: 64, address_scope_id: s.id });
      await no(409, "AddressScopePrefixConflict", { prefixes: prefixes.slice(0, 2), address_scope_id: s.id });
    }
    expect(await api.list(`subnetpools?address_scope_id=${s.id}`, p1)).toHaveLength(3);
    const tooMany = [...Array(PREFIXES_MAX + 1).keys()].map((n) => `2003:${(2 * n).toString(16)}::/48`);
    await no(400, "IllegalSubnetPoolAssociationToAddressScope", { prefixes: tooMany, address_scope_id: s.id });
  });

  test("are stored without it: an edition stored with a pool what a change had named, and could show none then", async () => {
    const [s, other] = [await scope(), await scope()];
    const p = await pool({ address_scope_id: s.id });
    await api.change("subnetpool", p.id, { address_scope_id: other.id });
    const row = api.model.view.get(subnetPoolTable, p.id)!;
    expect(row).not.toHaveProperty("address_scope_id");
    await api.model.transact({ requestId: "req-1", call: "an earlier edition" }, (tx) => tx.put(subnetPoolTable, { ...row, address_scope_id: s.id } as SubnetPool));
    expect([...mend(api.model.view)].map(({ id }) => id)).toEqual([p.id]);
    for (const { run } of mend(api.model.view)) await api.model.transact({ requestId: "req-2", call: "start" }, run);
    expect(api.model.view.get(subnetPoolTable, p.id)).toEqual(row);
    expect([...mend(api.model.view)]).toEqual([]);
    expect(await api.list("subnetpools", p1)).toMatchObject([{ address_scope_id: other.id }]);
  });

  test("are not shared with those who do not have the scope", async () => {
    const s = await scope({}, admin);
    await api.refused(400, "RbacPolicyInitError", "POST", "subnetpools", { subnetpool: { name: "x", prefixes: ["10.9.0.0/16"], shared: true, address_scope_id: s.id } }, admin);
    const p = await pool({ address_scope_id: s.id }, admin);
    const body = { rbac_policy: { object_type: "subnetpool", object_id: p.id, action: "access_as_shared", target_tenant: "p2" } };
    await api.refused(400, "RbacPolicyInitError", "POST", "rbac-policies", body, admin);
    await share("address_scope", s.id, "p2", admin);
    const policy = await share("subnetpool", p.id, "p2", admin);
    await api.refused(400, "RbacPolicyInitError", "PUT", `rbac-policies/${policy.id}`, { rbac_policy: { target_tenant: "p3" } }, admin);
    const network = await api.make("network", {}, p2);
    const subnet = await api.make("subnet", { network_id: network.id, ip_version: 4, subnetpool_id: p.id }, p2);
    expect(await api.show("network", network.id, p2)).toMatchObject({ ipv4_address_scope: s.id, ipv6_address_scope: null });
    await api.refused(409, "RbacPolicyInUse", "DELETE", `rbac-policies/${policy.id}`, undefined, admin);
    await api.delete("subnet", subnet.id, p2);
    expect(await api.show("network", network.id, p2)).toMatchObject({ ipv4_address_scope: null });
  });
});

describe("subnet pools that are shared", () => {
  test("come into a scope that all have with whom they are shared, and these keep it", async () => {
    const [s, p] = [await scope(), await pool()];
    const into = { subnetpool: { address_scope_id: s.id } };
    const illegal = (target: string): Promise<void> => api.refused(400, "IllegalSubnetPoolAssociationToAddressScope", "PUT", `subnetpools/${p.id}`, into).then((message) => expect(message).toContain(target));
    await share("subnetpool", p.id, "p2");
    await illegal("project p2");
    const theirs = await share("address_scope", s.id, "p2");
    expect(await api.change("subnetpool", p.id, into.subnetpool)).toMatchObject({ address_scope_id: s.id });
    // Though none of its subnets is theirs yet.
    expect(await api.refused(409, "RbacPolicyInUse", "DELETE", `rbac-policies/${theirs.id}`)).toContain("project p2");
    await api.refused(409, "RbacPolicyInUse", "PUT", `rbac-policies/${theirs.id}`, { rbac_policy: { target_tenant: "p3" } });
    await api.change("subnetpool", p.id, { address_scope_id: null });
    expect((await api.call("DELETE", `rbac-policies/${theirs.id}`, undefined, p1)).status).toBe(204);
  });

  test("with everybody come into a scope that is everybody's", async () => {
    const [s, p] = [await scope(), await pool()];
    const policy = await share("subnetpool", p.id, "*", admin);
    await share("address_scope", s.id, "p2");
    const into = { address_scope_id: s.id };
    expect(await api.refused(400, "IllegalSubnetPoolAssociationToAddressScope", "PUT", `subnetpools/${p.id}`, { subnetpool: into })).toContain("every project");
    const everybodys = await share("address_scope", s.id, "*", admin);
    await api.change("subnetpool", p.id, into);
    await api.refused(409, "RbacPolicyInUse", "DELETE", `rbac-policies/${everybodys.id}`, undefined, admin);
    expect((await api.call("DELETE", `rbac-policies/${policy.id}`, undefined, admin)).status).toBe(204);
    expect((await api.call("DELETE", `rbac-policies/${everybodys.id}`, undefined, admin)).status).toBe(204);
  });

  test("come into no scope that somebody with subnets of theirs does not have", async () => {
    const [s, p] = [await scope(), await pool()];
    const network = await api.make("network", { project_id: "p3" }, admin);
    await api.make("subnet", { project_id: "p3", network_id: network.id, ip_version: 4, subnetpool_id: p.id }, admin);
    const into = { address_scope_id: s.id };
    expect(await api.refused(400, "IllegalSubnetPoolAssociationToAddressScope", "PUT", `subnetpools/${p.id}`, { subnetpool: into })).toContain("project p3");
    const policy = await share("address_scope", s.id, "p3");
    await api.change("subnetpool", p.id, into);
    await api.refused(409, "RbacPolicyInUse", "DELETE", `rbac-policies/${policy.id}`);
  });

  test("are used by their target alone, and by everybody when they are shared so", async () => {
    const p = await pool();
    const theirs = await api.make("network", {}, p2);
    const subnet = { subnet: { network_id: theirs.id, ip_version: 4, subnetpool_id: p.id } };
    await api.refused(404, "SubnetPoolNotFound", "POST", "subnets", subnet, p2);
    const policy = await share("subnetpool", p.id, "p2");
    expect((await api.get(`subnetpools/${p.id}`, p2)).body).toMatchObject({ subnetpool: { shared: true } });
    expect(await api.show("subnetpool", p.id, p1)).toMatchObject({ shared: false });
    await api.make("subnet", subnet.subnet, p2);
    await api.refused(409, "RbacPolicyInUse", "DELETE", `rbac-policies/${policy.id}`, undefined, p1);
    expect((await api.get(`subnetpools/${p.id}`, { project: "p3" })).status).toBe(404);
    const everybodys = await pool({ prefixes: ["10.7.0.0/16"], shared: true }, admin);
    expect(await api.list(`rbac-policies?object_id=${everybodys.id}`, admin)).toMatchObject([{ target_tenant: "*", project_id: "ops" }]);
    expect((await api.list("subnetpools?shared=true", { project: "p3" })).map((s) => s.id)).toEqual([everybodys.id]);
  });
});

test("networks show the scopes of their subnets", async () => {
  const [s, six] = [await scope(), await scope({ ip_version: 6 })];
  const [four, fd] = [await pool({ address_scope_id: s.id }), await pool({ prefixes: ["fd00::/48"], default_prefixlen: 64 })];
  const network = await api.make("network", {});
  expect(await api.show("network", network.id)).toMatchObject({ ipv4_address_scope: null, ipv6_address_scope: null });
  await api.make("subnet", { network_id: network.id, ip_version: 4, subnetpool_id: four.id });
  await api.make("subnet", { network_id: network.id, ip_version: 6, subnetpool_id: fd.id });
  expect(await api.show("network", network.id)).toMatchObject({ ipv4_address_scope: s.id, ipv6_address_scope: null });
  await api.change("subnetpool", fd.id, { address_scope_id: six.id });
  expect((await api.list("networks", p1))[0]).toMatchObject({ ipv4_address_scope: s.id, ipv6_address_scope: six.id });
  await api.refused(400, "HTTPBadRequest", "PUT", `networks/${network.id}`, { network: { ipv4_address_scope: s.id } });
});
