import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Harness } from "../../test/support/harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.make();
});
afterEach(() => h.close());

const as = (project: string, roles = "manager,member,reader") => ({ "x-project-id": project, "x-roles": roles });
const path = "/v2.0/security-groups-default-statefulness";
const choose = (values: object, headers: Record<string, string> = {}) => h.call("POST", path, { security_groups_default_statefulness: values }, headers);
const group = async (project: string, values: object = {}) => (await h.call("POST", "/v2.0/security-groups", { security_group: { name: "g", ...values } }, as(project))).body.security_group.stateful as boolean;

describe("the default statefulness of security groups", () => {
  test("is a project's own, else that of all, else stateful; who says otherwise has it so", async () => {
    expect(await group("p1")).toBe(true);
    const all = await choose({ stateful: false });
    expect(all).toMatchObject({ status: 201, body: { security_groups_default_statefulness: { project_id: null, stateful: false } } });
    expect([await group("p1"), await group("p1", { stateful: true })]).toEqual([false, true]);
    const mine = await choose({ project_id: "p1" }, as("p1"));
    expect(mine).toMatchObject({ status: 201, body: { security_groups_default_statefulness: { project_id: "p1", stateful: true } } });
    expect([await group("p1"), await group("p2")]).toEqual([true, false]);
    const id = mine.body.security_groups_default_statefulness.id as string;
    expect((await h.call("PUT", `${path}/${id}`, { security_groups_default_statefulness: { stateful: false } }, as("p1"))).status).toBe(200);
    expect(await group("p1")).toBe(false);
    expect((await h.call("DELETE", `${path}/${id}`, undefined, as("p1"))).status).toBe(204);
    const left = all.body.security_groups_default_statefulness.id as string;
    expect((await h.call("DELETE", `${path}/${left}`)).status).toBe(204);
    expect(await group("p1")).toBe(true);
    expect([...(await h.stored()).keys()].filter((key) => key.includes("statefulness"))).toEqual([]);
  });

  test("holds for the group that a project gets by itself", async () => {
    await choose({ project_id: "p3", stateful: false });
    expect((await h.call("GET", "/v2.0/security-groups", undefined, as("p3"))).body.security_groups).toMatchObject([{ name: "default", stateful: false }]);
  });

  test("is for managers of the project: nobody else's is seen or chosen, and each has one", async () => {
    expect((await choose({ project_id: "p1" }, as("p2"))).status, "a project that is not the caller's").toBe(400);
    expect((await choose({ project_id: "p1" }, as("p1", "member,reader"))).status).toBe(403);
    expect((await choose({ project_id: null }, as("p1"))).status, "of all").toBe(403);
    const made = await choose({ project_id: "p1" }, as("p1"));
    expect((await choose({ project_id: "p1" }, as("p1"))).body.NeutronError.type).toBe("SecurityGroupsDefaultStatefulnessExists");
    const id = made.body.security_groups_default_statefulness.id as string;
    expect((await h.call("GET", `${path}/${id}`, undefined, as("p2"))).status).toBe(404);
    expect((await h.call("DELETE", `${path}/${id}`, undefined, as("p2"))).status).toBe(404);
    expect((await h.call("GET", path, undefined, as("p2"))).body).toEqual({ security_groups_default_statefulness: [] });
    expect((await h.call("GET", path, undefined, as("p1", "reader"))).body.security_groups_default_statefulness).toHaveLength(1);
    expect((await h.call("PUT", `${path}/${id}`, { security_groups_default_statefulness: { stateful: "perhaps" } }, as("p1"))).status).toBe(400);
  });
});
