import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Answer, type Shown, type Who } from "../../test/support/api/api.ts";

const admin = { project: "ops", roles: "admin" };
const p1 = { project: "p1" };
const p2 = { project: "p2" };
const p3 = { project: "p3" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";
const types = [["security_group", "security-groups", true], ["address_group", "address-groups", false]] as const;

let api: Api;
beforeEach(async () => void (api = await Api.open()));

const errorType = (answer: Answer): unknown => (answer.body.NeutronError as { readonly type: string }).type;
const post = (values: Record<string, unknown>, who: Who = p1): Promise<Answer> => api.call("POST", "rbac-policies", { rbac_policy: values }, who);
const made = async (path: string, name: string, values: Record<string, unknown>, who: Who): Promise<Shown> => {
  const answer = await api.call("POST", path, { [name]: values }, who);
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 201 });
  return answer.body[name] as Shown;
};
const share = (type: string, id: string, to: string, who: Who = p1): Promise<Shown> => made("rbac-policies", "rbac_policy", { object_type: type, object_id: id, action: "access_as_shared", target_tenant: to }, who);
const idsOf = async (path: string, who: Who): Promise<string[]> => (await api.list(path, who)).map((s) => s.id);

describe.each(types)("a %s that is shared", (type, path, shown) => {
  let object: Shown;
  beforeEach(async () => void (object = await made(path, type, { name: "mine" }, p1)));

  test("is seen by its target alone, and not to be changed by it", async () => {
    expect((await api.get(`${path}/${object.id}`, p2)).status).toBe(404);
    const policy = await share(type, object.id, "p2");
    expect(policy).toMatchObject({ object_type: type, object_id: object.id, target_tenant: "p2", action: "access_as_shared", project_id: "p1", tenant_id: "p1" });
    expect(policy).not.toHaveProperty("target_project");
    expect((await api.get(`${path}/${object.id}`, p2)).body[type]).toMatchObject({ id: object.id, ...(shown && { shared: true }) });
    expect((await api.get(`${path}/${object.id}`, p1)).body[type]).toMatchObject({ id: object.id, ...(shown && { shared: false }) });
    expect(await idsOf(path, p2)).toContain(object.id);
    if (shown) expect(await idsOf(`${path}?shared=true`, p2)).toEqual([object.id]);
    expect((await api.get(`${path}/${object.id}`, p3)).status).toBe(404);
    expect(await idsOf(path, p3)).not.toContain(object.id);
    expect((await api.put(`${path}/${object.id}`, { [type]: { name: "x" } }, p2)).status).toBe(403);
    expect((await api.call("DELETE", `${path}/${object.id}`, undefined, p2)).status).toBe(403);
    expect((await api.call("DELETE", `rbac-policies/${policy.id}`, undefined, p1)).status).toBe(204);
    expect((await api.get(`${path}/${object.id}`, p2)).status).toBe(404);
  });

  test("with everybody is the administrator's to say, in either name of the target, at once or later", async () => {
    const base = { object_type: type, object_id: object.id, action: "access_as_shared" };
    for (const name of ["target_tenant", "target_project"]) expect((await post({ ...base, [name]: "*" })).status).toBe(403);
    const policy = await share(type, object.id, "p2");
    for (const name of ["target_tenant", "target_project"]) expect((await api.put(`rbac-policies/${policy.id}`, { rbac_policy: { [name]: "*" } }, p1)).status).toBe(403);
    expect((await api.put(`rbac-policies/${policy.id}`, { rbac_policy: { target_project: "*" } }, admin)).body.rbac_policy).toMatchObject({ target_tenant: "*" });
    expect(await idsOf(path, p3)).toContain(object.id);
  });

  test("is not shared on by its target; one of others that is not seen is not there", async () => {
    const base = { object_type: type, action: "access_as_shared", target_tenant: "p3" };
    const [foreign, unknown] = [await post({ ...base, object_id: object.id }, p2), await post({ ...base, object_id: UNKNOWN }, p2)];
    expect([foreign.status, unknown.status]).toEqual([404, 404]);
    expect(errorType(foreign)).toBe(errorType(unknown));
    await share(type, object.id, "p2");
    expect(await post({ ...base, object_id: object.id }, p2)).toMatchObject({ status: 400 });
    expect((await api.get(`${path}/${object.id}`, p3)).status).toBe(404);
  });

  test("takes its policies along", async () => {
    const policy = await share(type, object.id, "p2");
    expect((await api.call("DELETE", `${path}/${object.id}`, undefined, p1)).status).toBe(204);
    expect((await api.get(`rbac-policies/${policy.id}`, p1)).status).toBe(404);
  });
});

describe("policies", () => {
  let object: Shown;
  beforeEach(async () => void (object = await made("security-groups", "security_group", { name: "mine" }, p1)));
  const base = (): Record<string, unknown> => ({ object_type: "security_group", object_id: object.id, action: "access_as_shared", target_tenant: "p2" });

  test.each([
    ["object_type", "port", 400, "InvalidInput"],
    ["action", "access_as_external", 400, "InvalidActionForType"],
    ["target_tenant", "", 400, undefined],
    ["target_tenant", undefined, 400, undefined],
    ["object_id", "x", 400, undefined],
  ])("%s: %j is refused", async (name, value, status, type) => {
    const answer = await post({ ...base(), [name]: value });
    expect(answer.status).toBe(status);
    if (type !== undefined) expect(errorType(answer)).toBe(type);
    expect(JSON.stringify(answer.body)).toContain(name === "action" ? "access_as_external" : name);
    expect(await api.list("rbac-policies", admin)).toEqual([]);
  });

  test("are there once, also within a bulk, of which nothing is kept", async () => {
    await share("security_group", object.id, "p3");
    const answer = await api.call("POST", "rbac-policies", { rbac_policies: [base(), base()] }, p1);
    expect(answer.status).toBe(409);
    expect(errorType(answer)).toBe("DuplicateRbacPolicy");
    const foreign = await api.call("POST", "rbac-policies", { rbac_policies: [base(), { ...base(), object_id: UNKNOWN }] }, p1);
    expect(foreign.status).toBe(404);
    expect(await api.list("rbac-policies", admin)).toHaveLength(1);
    const other = await share("security_group", object.id, "p2");
    expect(errorType(await api.put(`rbac-policies/${other.id}`, { rbac_policy: { target_tenant: "p3" } }, p1))).toBe("DuplicateRbacPolicy");
  });

  test("are seen by their project alone, also through filters", async () => {
    const policy = await share("security_group", object.id, "p2");
    for (const query of ["", `?object_id=${object.id}`, "?target_tenant=p2", "?target_project=p2", "?object_type=security_group", "?action=access_as_shared", "?project_id=p1"]) {
      expect(await idsOf(`rbac-policies${query}`, p2)).toEqual([]);
      expect(await idsOf(`rbac-policies${query}`, p1)).toEqual([policy.id]);
    }
    expect(await idsOf("rbac-policies?target_project=p3", p1)).toEqual([]);
    for (const answer of [await api.get(`rbac-policies/${policy.id}`, p2), await api.put(`rbac-policies/${policy.id}`, { rbac_policy: { target_tenant: "p3" } }, p2), await api.call("DELETE", `rbac-policies/${policy.id}`, undefined, p2)]) expect(answer.status).toBe(404);
    expect((await post({ ...base(), project_id: "p1" }, p2)).status).toBe(400);
    expect((await post(base(), { project: "p1", roles: "reader" })).status).toBe(403);
  });

  test("stay while a port of the target has the group, unless another policy lets it", async () => {
    const network = await made("networks", "network", { name: "n" }, p2);
    const denied = await api.call("POST", "ports", { port: { network_id: network.id, security_groups: [object.id] } }, p2);
    expect(denied.status).toBe(404);
    const policy = await share("security_group", object.id, "p2");
    const port = await made("ports", "port", { network_id: network.id, security_groups: [object.id] }, p2);
    const [gone, moved] = [await api.call("DELETE", `rbac-policies/${policy.id}`, undefined, p1), await api.put(`rbac-policies/${policy.id}`, { rbac_policy: { target_tenant: "p3" } }, p1)];
    for (const answer of [gone, moved]) {
      expect(answer.status).toBe(409);
      expect(errorType(answer)).toBe("RbacPolicyInUse");
    }
    const everybody = await share("security_group", object.id, "*", admin);
    expect((await api.call("DELETE", `rbac-policies/${policy.id}`, undefined, p1)).status).toBe(204);
    expect(await api.refused(409, "RbacPolicyInUse", "DELETE", `rbac-policies/${everybody.id}`, undefined, admin)).toContain("project p2 uses it");
    expect((await api.call("DELETE", `ports/${port.id}`, undefined, p2)).status).toBe(204);
    expect((await api.call("DELETE", `rbac-policies/${everybody.id}`, undefined, admin)).status).toBe(204);
  });

  test("stay while a rule of the target names the address group", async () => {
    const addresses = await made("address-groups", "address_group", { addresses: ["10.0.0.0/8"] }, p1);
    const own = await made("security-groups", "security_group", { name: "own" }, p2);
    const values = { security_group_id: own.id, direction: "ingress", ethertype: "IPv4", remote_address_group_id: addresses.id };
    expect((await api.call("POST", "security-group-rules", { security_group_rule: values }, p2)).status).toBe(404);
    const policy = await share("address_group", addresses.id, "p2");
    const rule = await made("security-group-rules", "security_group_rule", values, p2);
    expect(errorType(await api.call("DELETE", `rbac-policies/${policy.id}`, undefined, p1))).toBe("RbacPolicyInUse");
    expect((await api.put(`address-groups/${addresses.id}/add_addresses`, { addresses: ["192.0.2.0/24"] }, p2)).status).toBe(403);
    expect((await api.call("DELETE", `security-group-rules/${rule.id}`, undefined, p2)).status).toBe(204);
    expect((await api.call("DELETE", `rbac-policies/${policy.id}`, undefined, p1)).status).toBe(204);
  });

  test("do not let the target add rules or tags to the group", async () => {
    await share("security_group", object.id, "p2");
    const rule = await api.call("POST", "security-group-rules", { security_group_rule: { security_group_id: object.id, direction: "ingress" } }, p2);
    expect(rule.status).toBeGreaterThanOrEqual(403);
    expect((await api.put(`security-groups/${object.id}/tags/x`, undefined, p2)).status).toBe(403);
    expect((await api.get(`security-groups/${object.id}`, p1)).body.security_group).toMatchObject({ tags: [] });
  });
});
