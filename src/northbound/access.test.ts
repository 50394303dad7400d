// Who may do and see what: roles, projects, relations, attribute rules; 403 against 404.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { garden, labels } from "./testing/declarations.ts";
import { Api, as } from "./testing/support.ts";

let api: Api;
let mine: any;
let shared: any;
let inShared: any;
beforeAll(async () => {
  api = await Api.make([garden, labels]);
  mine = await api.bed({ name: "mine" }, as("p1"));
  shared = await api.bed({ name: "shared", shared: true, project_id: "owner" });
  await api.bed({ name: "other" }, as("p3"));
  inShared = await api.plant({ bed_id: shared.id, name: "guest" }, as("p2"));
});
afterAll(() => api.close());

const names = async (path: string, headers: Record<string, string>): Promise<string[]> => (Object.values((await api.get(path, headers)).body)[0] as { name: string }[]).map((b) => b.name).sort();

describe("lists", () => {
  it.each([
    ["administrator without a project", {}, ["mine", "other", "shared"]],
    ["member", as("p1"), ["mine", "shared"]],
    ["reader", as("p1", "reader"), ["mine", "shared"]],
    ["project alone, member by default", { "x-project-id": "p1" }, ["mine", "shared"]],
    ["no role", as("p1", ""), ["shared"]],
    ["administrator of a project", as("p9", "Admin"), ["mine", "other", "shared"]],
  ])("%s", async (_, headers, seen) => expect(await names("/v2.0/garden-beds", headers)).toEqual(seen));

  it("show plants in own beds and own plants in others' beds", async () => {
    expect(await names("/v2.0/plants", as("owner"))).toEqual(["guest"]);
    expect(await names("/v2.0/plants", as("p2"))).toEqual(["guest"]);
    expect(await names("/v2.0/plants", as("p1"))).toEqual([]);
    expect(await names(`/v2.0/plants?id=${inShared.id}`, as("p1"))).toEqual([]);
    expect(await names(`/v2.0/plants?bed_id=${shared.id}`, as("p1"))).toEqual([]);
    expect(await names("/v2.0/plants?project_id=p2", as("p1"))).toEqual([]);
  });
});

describe("members", () => {
  it("unseen is 404, seen but not allowed is 403", async () => {
    const bed = `/v2.0/garden-beds/${mine.id}`;
    for (const method of ["GET", "PUT", "DELETE"]) {
      const answer = await api.call(method, bed, method === "PUT" ? { bed: { name: "x" } } : undefined, as("p2"));
      expect([answer.status, answer.body.NeutronError.type]).toEqual([404, "BedNotFound"]);
      expect(Object.keys(answer.body)).toEqual(["NeutronError"]);
    }
    const put = await api.put(`/v2.0/garden-beds/${shared.id}`, { bed: { name: "x" } }, as("p2"));
    expect([put.status, put.body.NeutronError]).toEqual([403, { type: "PolicyNotAuthorized", message: "rule:update_bed is disallowed by policy", detail: "" }]);
    expect((await api.delete(`/v2.0/garden-beds/${shared.id}`, as("p2"))).status).toBe(403);
    expect((await api.delete(bed, as("p1", "reader"))).status).toBe(403);
    expect((await api.put(`${bed}/water`, {}, as("p1", "reader"))).body.NeutronError.message).toBe("rule:water is disallowed by policy");
    expect((await api.put(`${bed}/water`, {}, as("p2"))).status).toBe(404);
    expect((await api.put(`${bed}/tags`, { tags: [] }, as("p1", "reader"))).status).toBe(403);
    expect((await api.put(`${bed}/tags`, { tags: [] }, as("p2"))).body.NeutronError.type).toBe("TagResourceNotFound");
    expect((await api.post("/v2.0/garden-beds", { bed: {} }, as("p1", "reader"))).body.NeutronError.message).toBe("rule:create_bed is disallowed by policy");
  });
  it("the bed's owner sees and deletes, but does not change, others' plants in it", async () => {
    const plant = await api.plant({ bed_id: shared.id, name: "guest 2" }, as("p2"));
    expect((await api.get(`/v2.0/plants/${plant.id}`, as("owner"))).status).toBe(200);
    expect((await api.put(`/v2.0/plants/${plant.id}`, { plant: { name: "x" } }, as("owner"))).status).toBe(403);
    expect((await api.delete(`/v2.0/plants/${plant.id}`, as("owner"))).status).toBe(204);
  });
});

describe("attributes", () => {
  it("are hidden from those who may not read them", async () => {
    expect((await api.get(`/v2.0/garden-beds/${shared.id}`, as("p2"))).body.bed).not.toHaveProperty("secret");
    expect((await api.get(`/v2.0/garden-beds/${shared.id}`)).body.bed.secret).toBe("s-shared");
    expect((await api.get(`/v2.0/garden-beds/${shared.id}?fields=secret`, as("p2"))).body.bed).toEqual({});
    expect((await api.get(`/v2.0/plants/${inShared.id}`, as("p2"))).body.plant).not.toHaveProperty("binding:host_id");
    expect((await api.get(`/v2.0/plants/${inShared.id}`, as("p9", "service"))).body.plant["binding:host_id"]).toBe("hv1");
  });
  it("that are hidden cannot be found by filtering", async () => {
    expect(await names("/v2.0/garden-beds?secret=s-shared", {})).toEqual(["shared"]);
    expect(await names("/v2.0/garden-beds?secret=s-shared", as("p2"))).toEqual([]);
  });
  it.each([
    [{ shared: true }, "(rule:create_bed and rule:create_bed:shared) is disallowed by policy"],
    [{ shared: false }, undefined],
    [{ shared: "no" }, undefined],
  ])("of a bed: %j", async (values, message) => {
    const { body } = await api.post("/v2.0/garden-beds", { bed: values }, as("p1"));
    expect(body.NeutronError?.message).toBe(message);
  });
  const refused = (...rules: string[]): string => `(rule:create_plant and ${rules.map((r) => `rule:create_plant:${r}`).join(" and ")}) is disallowed by policy`;
  it.each([
    [{}, undefined],
    [{ device_owner: "compute:nova" }, undefined],
    [{ device_owner: "network:dhcp" }, refused("device_owner")],
    [{ mac_address: "fa:16:3e:00:00:07" }, refused("mac_address")],
    [{ fixed_ips: [] }, undefined],
    [{ fixed_ips: [{ subnet_id: "d2719ab4c5d64e1f8a9b0c1d2e3f4a5b" }] }, undefined],
    [{ fixed_ips: [{ ip_address: "10.0.0.5" }] }, refused("fixed_ips:ip_address")],
  ])("of a plant in another's shared bed: %j", async (values, message) => {
    const { body } = await api.post("/v2.0/plants", { plant: { bed_id: shared.id, ...values } }, as("p2"));
    expect(body.NeutronError?.message).toBe(message);
    expect((await api.post("/v2.0/plants", { plant: { bed_id: shared.id, ...values } }, as("owner"))).status).toBe(201);
  });
  it("of an unseen bed: as if it were not there, whoever may create at all", async () => {
    expect((await api.post("/v2.0/plants", { plant: { bed_id: mine.id } }, as("p2"))).status).toBe(403);
    expect((await api.post("/v2.0/plants", { plant: { bed_id: mine.id } }, as("p2", "service"))).body.NeutronError.type).toBe("BedNotFound");
  });
  it("another project's id is for administrators", async () => {
    for (const key of ["project_id", "tenant_id"]) {
      const { status, body } = await api.post("/v2.0/garden-beds", { bed: { [key]: "p2" } }, as("p1", "manager"));
      expect([status, body.NeutronError.message]).toEqual([400, "Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin or advsvc privileges"]);
    }
  });
});
