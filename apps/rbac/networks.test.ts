// Networks that policies let others use, or leave the cloud by.
import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Answer, type Shown, type Who } from "../../test/support/api/api.ts";
import { rbacPolicyTable } from "./model.ts";

const admin = { project: "ops", roles: "admin" };
const p1 = { project: "p1" };
const p2 = { project: "p2" };
const p3 = { project: "p3" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

let api: Api;
let network: Shown;
beforeEach(async () => {
  api = await Api.open();
  network = await api.make("network", { name: "n" }, p1);
});

const made = async (path: string, name: string, values: Record<string, unknown>, who: Who): Promise<Shown> => {
  const answer = await api.call("POST", path, { [name]: values }, who);
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 201 });
  return answer.body[name] as Shown;
};
const errorType = (answer: Answer): unknown => (answer.body.NeutronError as { readonly type: string }).type;
const values = (to: string, action = "access_as_shared"): Record<string, unknown> => ({ object_type: "network", object_id: network.id, action, target_tenant: to });
const post = (to: string, who: Who, action?: string): Promise<Answer> => api.call("POST", "rbac-policies", { rbac_policy: values(to, action) }, who);
const grant = (to: string, who: Who = p1, action?: string): Promise<Shown> => made("rbac-policies", "rbac_policy", values(to, action), who);
const revoke = (policy: Shown, who: Who = p1): Promise<Answer> => api.call("DELETE", `rbac-policies/${policy.id}`, undefined, who);
const idsOf = async (path: string, who: Who): Promise<string[]> => (await api.list(path, who)).map((s) => s.id).sort();
const subnet = (cidr = "10.0.0.0/24", who: Who = p1): Promise<Shown> => made("subnets", "subnet", { network_id: network.id, ip_version: 4, cidr }, who);
const policies = async (): Promise<string[]> => (await api.list(`rbac-policies?object_id=${network.id}`, admin)).map((p) => `${String(p.action)} ${String(p.target_tenant)}`).sort();
const see = async (path: string, who: Who): Promise<number> => (await api.get(path, who)).status;

describe("a network that is shared with a project", () => {
  test("is there for it with its subnets, alone and in lists; for others it is not", async () => {
    const its = await subnet();
    const paths = [`networks/${network.id}`, `subnets/${its.id}`];
    for (const path of paths) expect(await see(path, p2)).toBe(404);
    const policy = await grant("p2");
    for (const path of paths) expect([await see(path, p2), await see(path, p3)]).toEqual([200, 404]);
    for (const filter of ["", "?shared=true", "?project_id=p1", `?id=${network.id}`, "?name=n"]) expect([await idsOf(`networks${filter}`, p2), await idsOf(`networks${filter}`, p3)], filter).toEqual([[network.id], []]);
    for (const filter of ["", "?shared=true", `?network_id=${network.id}`, "?cidr=10.0.0.0/24"]) expect([await idsOf(`subnets${filter}`, p2), await idsOf(`subnets${filter}`, p3)], filter).toEqual([[its.id], []]);
    expect([(await api.show("network", network.id, p2)).shared, (await api.show("network", network.id, p1)).shared, (await api.show("network", network.id, admin)).shared]).toEqual([true, false, false]);
    for (const query of ["?shared=true", "?shared=true&name=n"]) expect(await idsOf(`networks${query}`, p1)).toEqual([]);
    expect(await idsOf("networks?shared=false", p2)).toEqual([]);
    expect((await revoke(policy)).status).toBe(204);
    for (const path of paths) expect(await see(path, p2)).toBe(404);
    expect([await idsOf("networks", p2), await idsOf("subnets", p2)]).toEqual([[], []]);
  });

  test("is used by it as a network of all is: ports of its own, by subnet alone; it changes nothing else", async () => {
    const its = await subnet();
    const body = { network_id: network.id };
    expect((await api.call("POST", "ports", { port: body }, p2)).status).toBe(404);
    await grant("p2");
    const theirs = await api.make("port", { ...body, fixed_ips: [{ subnet_id: its.id }] }, p2);
    const own = await api.make("port", body, p1);
    expect([await idsOf("ports", p2), await idsOf("ports", p1)]).toEqual([[theirs.id], [theirs.id, own.id].sort()]);
    expect(await see(`ports/${own.id}`, p2)).toBe(404);
    for (const [name, value] of Object.entries({ fixed_ips: [{ ip_address: "10.0.0.9" }], mac_address: "fa:16:3e:00:00:09", port_security_enabled: false, device_owner: "network:dhcp", allowed_address_pairs: [] })) {
      await api.refused(403, "PolicyNotAuthorized", "POST", "ports", { port: { ...body, [name]: value } }, p2);
    }
    await api.refused(404, "NetworkNotFound", "POST", "ports", { port: body }, p3);
    await api.refused(403, "PolicyNotAuthorized", "PUT", `networks/${network.id}`, { network: { name: "x" } }, p2);
    await api.refused(403, "PolicyNotAuthorized", "DELETE", `networks/${network.id}`, undefined, p2);
    await api.refused(403, "PolicyNotAuthorized", "PUT", `subnets/${its.id}`, { subnet: { name: "x" } }, p2);
    await api.refused(403, "PolicyNotAuthorized", "POST", "subnets", { subnet: { network_id: network.id, ip_version: 4, cidr: "10.9.0.0/24" } }, p2);
    for (const method of ["PUT", "DELETE"] as const) expect((await api.call(method, `networks/${network.id}/tags/x`, undefined, p2)).status).toBe(403);
    expect((await api.call("PUT", `networks/${network.id}/tags/x`, undefined, p3)).status).toBe(404);
    expect((await api.get(`networks/${network.id}/tags`, p2)).status).toBe(200);
    expect((await api.get(`networks/${network.id}/tags`, p3)).status).toBe(404);
  });

  test("keeps its policy while the target has ports there, unless another lets it", async () => {
    const policy = await grant("p2");
    const port = await api.make("port", { network_id: network.id }, p2);
    for (const answer of [await revoke(policy), await api.put(`rbac-policies/${policy.id}`, { rbac_policy: { target_tenant: "p3" } }, p1)]) expect([answer.status, errorType(answer)]).toEqual([409, "RbacPolicyInUse"]);
    await api.change("network", network.id, { shared: true }, admin);
    expect((await revoke(policy)).status).toBe(204);
    await api.refused(409, "InvalidSharedSetting", "PUT", `networks/${network.id}`, { network: { shared: false } }, admin);
    const again = await grant("p2");
    expect((await api.change("network", network.id, { shared: false }, admin)).shared).toBe(false);
    expect(await policies()).toEqual(["access_as_shared p2"]);
    await api.delete("port", port.id, p2);
    expect((await revoke(again)).status).toBe(204);
  });

  test("the same with all at once: what is refused is refused as a whole", async () => {
    const policy = await grant("p2");
    const two = await api.call("POST", "ports", { ports: [{ network_id: network.id }, { network_id: UNKNOWN }] }, p2);
    expect(two.status).toBe(404);
    expect(await idsOf("ports", admin)).toEqual([]);
    const both = await api.call("POST", "rbac-policies", { rbac_policies: [values("p3"), values("*")] }, p1);
    expect(both.status).toBe(403);
    expect(await policies()).toEqual(["access_as_shared p2"]);
    expect((await revoke(policy)).status).toBe(204);
  });
});

describe("shared with all", () => {
  test("is one thing by attribute and by policy", async () => {
    await api.change("network", network.id, { shared: true }, admin);
    const [policy] = await api.list(`rbac-policies?object_id=${network.id}`, p1);
    expect(policy).toMatchObject({ object_type: "network", action: "access_as_shared", target_tenant: "*", project_id: "p1" });
    await api.refused(409, "DuplicateRbacPolicy", "POST", "rbac-policies", { rbac_policy: values("*") }, admin);
    expect((await api.show("network", network.id, p3)).shared).toBe(true);
    expect((await revoke(policy!, admin)).status).toBe(204);
    expect((await api.show("network", network.id, p1)).shared).toBe(false);
    expect(await see(`networks/${network.id}`, p3)).toBe(404);
    const before = network.revision_number;
    await grant("*", admin);
    const now = await api.show("network", network.id, p1);
    expect(now.shared).toBe(true);
    expect(now.revision_number).toBeGreaterThan(before);
    expect((await api.change("network", network.id, { shared: false }, admin)).shared).toBe(false);
    expect(await policies()).toEqual([]);
    const other = await api.make("network", { shared: true, project_id: "p1" }, admin);
    expect((await api.list(`rbac-policies?object_id=${other.id}`, p1)).map((p) => p.target_tenant)).toEqual(["*"]);
    await api.delete("network", other.id, admin);
    expect(await api.list("rbac-policies", admin)).toEqual([]);
  });

  test("is not for members to say, and refused while others use it", async () => {
    for (const to of ["target_tenant", "target_project"]) expect((await api.call("POST", "rbac-policies", { rbac_policy: { object_type: "network", object_id: network.id, action: "access_as_shared", [to]: "*" } }, p1)).status).toBe(403);
    const everybody = await grant("*", admin);
    const port = await api.make("port", { network_id: network.id }, p3);
    for (const answer of [await revoke(everybody, admin), await api.put(`rbac-policies/${everybody.id}`, { rbac_policy: { target_tenant: "p2" } }, admin)]) expect([answer.status, errorType(answer)]).toEqual([409, "RbacPolicyInUse"]);
    expect((await api.show("network", network.id, p3)).shared).toBe(true);
    expect((await api.put(`rbac-policies/${everybody.id}`, { rbac_policy: { target_tenant: "p3" } }, admin)).status).toBe(200);
    expect((await api.show("network", network.id, p2)) as unknown).toBeUndefined();
    expect((await api.show("port", port.id, p3)).id).toBe(port.id);
  });
});

describe("policies", () => {
  test("of others' networks are not made, and tell nothing: what is not seen is not there", async () => {
    const [foreign, unknown] = [await post("p3", p2), await api.call("POST", "rbac-policies", { rbac_policy: { ...values("p3"), object_id: UNKNOWN } }, p2)];
    expect([foreign.status, errorType(foreign)]).toEqual([404, errorType(unknown)]);
    expect(JSON.stringify(foreign.body).replace(network.id, "")).toBe(JSON.stringify(unknown.body).replace(UNKNOWN, ""));
    await grant("p2");
    expect((await post("p3", p2)).status).toBe(400);
    for (const query of [`?object_id=${network.id}`, "?object_type=network", "?target_tenant=p2", "?action=access_as_shared", "?project_id=p1"]) expect(await idsOf(`rbac-policies${query}`, p2)).toEqual([]);
    const theirs = await api.call("POST", "rbac-policies", { rbac_policy: { ...values("p3"), project_id: "p1" } }, p2);
    expect(theirs.status).toBe(400);
  });

  test.each([
    ["action", "access_as_owner", "InvalidActionForType"],
    ["object_type", "networks", "InvalidInput"],
  ])("%s: %s is refused by name", async (name, value, type) => {
    expect(await api.refused(400, type, "POST", "rbac-policies", { rbac_policy: { ...values("p2"), [name]: value } }, p1)).toContain(value);
  });

  test("are as many as the project's quota lets", async () => {
    const shared = await Promise.all(Array.from({ length: 3 }, (_, i) => grant(`t${i}`)));
    expect(shared).toHaveLength(3);
    expect(api.model.view.count(rbacPolicyTable, "project", "p1")).toBe(3);
  });
});

describe("a network that leads outside for a project", () => {
  beforeEach(async () => {
    network = await api.make("network", { name: "outside" }, admin);
    await made("subnets", "subnet", { network_id: network.id, ip_version: 4, cidr: "203.0.113.0/24" }, admin);
  });
  const external = (to: string): Promise<Shown> => grant(to, admin, "access_as_external");
  const router = (who: Who): Promise<Answer> => api.call("POST", "routers", { router: { external_gateway_info: { network_id: network.id } } }, who);
  const floating = (who: Who): Promise<Answer> => api.call("POST", "floatingips", { floatingip: { floating_network_id: network.id } }, who);

  test("has gateways and floating IPs of that project's routers; for others it is not there", async () => {
    for (const who of [p2, p3]) expect([(await router(who)).status, (await floating(who)).status]).toEqual([404, 404]);
    const policy = await external("p2");
    expect((await api.show("network", network.id, p2))["router:external"]).toBe(true);
    expect((await api.show("network", network.id, admin))["router:external"]).toBe(true);
    expect([await idsOf("networks?router:external=true", p2), await idsOf("networks?router:external=true", p3)]).toEqual([[network.id], []]);
    expect([(await api.list("subnets", p2)).length, (await api.list("subnets", p3)).length]).toEqual([1, 0]);
    expect([(await api.list("floatingip_pools", p2)).length, (await api.list("floatingip_pools", p3)).length, (await api.list("floatingip_pools", admin)).length]).toEqual([1, 0, 1]);
    expect([(await router(p3)).status, (await floating(p3)).status]).toEqual([404, 404]);
    const [made, ip] = [await router(p2), await floating(p2)];
    expect([made.status, ip.status]).toEqual([201, 201]);
    // Not a network to have ports on.
    await api.refused(403, "HTTPForbidden", "POST", "ports", { port: { network_id: network.id } }, p2);
    for (const answer of [await revoke(policy, admin), await api.put(`rbac-policies/${policy.id}`, { rbac_policy: { target_tenant: "p3" } }, admin)]) expect([answer.status, errorType(answer)]).toEqual([409, "RbacPolicyInUse"]);
    await api.delete("router", (made.body.router as Shown).id, p2);
    expect(errorType(await revoke(policy, admin))).toBe("RbacPolicyInUse");
    await api.delete("floatingip", (ip.body.floatingip as Shown).id, p2);
    expect((await revoke(policy, admin)).status).toBe(204);
    expect((await api.show("network", network.id, admin))["router:external"]).toBe(false);
    expect(await see(`networks/${network.id}`, p2)).toBe(404);
  });

  test("that is shared with another is no way out for it", async () => {
    await external("p2");
    await grant("p3", admin);
    expect([await see(`networks/${network.id}`, p3), (await router(p3)).status, (await floating(p3)).status]).toEqual([200, 400, 400]);
  });

  test("for all is one thing by attribute and by policy", async () => {
    await api.change("network", network.id, { "router:external": true }, admin);
    expect(await policies()).toEqual(["access_as_external *"]);
    const [everybody] = await api.list(`rbac-policies?object_id=${network.id}`, admin);
    const own = await external("p2");
    expect((await router(p3)).status).toBe(201);
    expect(errorType(await revoke(everybody!, admin))).toBe("RbacPolicyInUse");
    await api.delete("router", (await api.list("routers", p3))[0]!.id, p3);
    expect((await revoke(everybody!, admin)).status).toBe(204);
    expect([await see(`networks/${network.id}`, p2), await see(`networks/${network.id}`, p3)]).toEqual([200, 404]);
    // Said again of one that leads outside for some: it is so already.
    await api.change("network", network.id, { "router:external": true }, admin);
    expect(await see(`networks/${network.id}`, p3)).toBe(404);
    expect((await revoke(own, admin)).status).toBe(204);
    await external("*");
    expect(await see(`networks/${network.id}`, p3)).toBe(200);
    await external("p2");
    await api.change("network", network.id, { "router:external": false }, admin);
    expect(await policies()).toEqual([]);
    expect([await see(`networks/${network.id}`, p2), await see(`networks/${network.id}`, p3)]).toEqual([404, 404]);
  });

  test("is everybody's while it is the default of all", async () => {
    await api.change("network", network.id, { "router:external": true, is_default: true }, admin);
    const [everybody] = await api.list(`rbac-policies?object_id=${network.id}`, admin);
    await external("p2");
    for (const answer of [await revoke(everybody!, admin), await api.put(`rbac-policies/${everybody!.id}`, { rbac_policy: { target_tenant: "p3" } }, admin)]) expect(errorType(answer)).toBe("RbacPolicyInUse");
    await api.change("network", network.id, { is_default: false }, admin);
    expect((await revoke(everybody!, admin)).status).toBe(204);
    // One that leads outside for some may be the default of these.
    await api.change("network", network.id, { is_default: true }, admin);
    await made("subnetpools", "subnetpool", { name: "pool", prefixes: ["172.16.0.0/16"], default_prefixlen: 24, is_default: true, shared: true }, admin);
    expect([(await api.get("auto-allocated-topology/p2", p2)).status, (await api.get("auto-allocated-topology/p3", p3)).status]).toEqual([200, 409]);
  });

  test("stays so while the owner's own router leaves by it and no policy is left", async () => {
    const policy = await external("p2");
    const its = (await router(admin)).body.router as Shown;
    expect((await revoke(policy, admin)).status).toBe(409);
    await api.delete("router", its.id, admin);
    expect((await revoke(policy, admin)).status).toBe(204);
  });

  test("is not an owner's to say", async () => {
    network = await api.make("network", {}, p1);
    expect((await post("p2", p1, "access_as_external")).status).toBe(403);
    const policy = await made("rbac-policies", "rbac_policy", { ...values("p2", "access_as_external"), project_id: "p1" }, admin);
    expect((await api.put(`rbac-policies/${policy.id}`, { rbac_policy: { target_tenant: "p3" } }, p1)).status).toBe(403);
  });
});
