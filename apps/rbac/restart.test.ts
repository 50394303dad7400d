// What becomes of policies while the app is not there, and at the first start with it.
import { afterEach, expect, test } from "vitest";
import { Harness, type Answer } from "../../test/support/harness.ts";
import { rbacPolicyTable } from "./model.ts";

let h: Harness;
afterEach(() => h.close());
const ADMIN = { "x-project-id": "ops", "x-roles": "admin" };
const of = (project: string): Record<string, string> => ({ "x-project-id": project, "x-roles": "member" });
const policies = (): string[] => [...h.model.view.all(rbacPolicyTable)].map((p) => `${p.object_id} ${p.action} ${p.target_tenant} ${p.project_id}`).sort();
const grant = (object_id: string, target_tenant: string, action = "access_as_shared", object_type = "network"): Promise<Answer> =>
  h.call("POST", "/v2.0/rbac-policies", { rbac_policy: { object_type, object_id, action, target_tenant } }, ADMIN);
const put = (id: string, network: object): Promise<Answer> => h.call("PUT", `/v2.0/networks/${id}`, { network }, ADMIN);

test("what was shared, or led outside, before there were policies has them from the first start on", async () => {
  h = await Harness.make([], undefined, { disabled: ["rbac"] });
  const shared = (await h.create("network", { project_id: "red", shared: true })).id;
  const outside = (await h.create("network", { "router:external": true })).id;
  await h.create("network", { project_id: "red" });
  expect((await h.call("GET", "/v2.0/rbac-policies", undefined, ADMIN)).status).toBe(404);
  expect((await h.call("GET", "/v2.0/extensions/rbac-security-groups", undefined, ADMIN)).status).toBe(404);
  h = await h.restart([]);
  const all = [`${shared} access_as_shared * red`, `${outside} access_as_external * `].sort();
  expect(policies()).toEqual(all);
  for (const alias of ["rbac-policies", "rbac-security-groups", "rbac-address-group"]) expect((await h.call("GET", `/v2.0/extensions/${alias}`, undefined, ADMIN)).status).toBe(200);
  const { generation } = h.model;
  h = await h.restart([]);
  expect([policies(), h.model.generation]).toEqual([all, generation]);
});

test("policies follow what was deleted or changed without them", async () => {
  h = await Harness.make();
  const [gone, unshared, inside, kept] = await Promise.all([{}, { shared: true }, { "router:external": true }, { project_id: "red" }].map(async (values) => (await h.create("network", values)).id));
  for (const id of [gone, inside, kept]) expect((await grant(id!, "blue")).status).toBe(201);
  expect((await grant(inside!, "blue", "access_as_external")).status).toBe(201);
  expect((await grant(kept!, "blue", "access_as_external")).status).toBe(201);
  h = await h.restart(["rbac"]);
  // Nobody but the owner has what policies gave.
  expect((await h.call("GET", `/v2.0/networks/${kept}`, undefined, of("blue"))).status).toBe(404);
  expect((await h.call("GET", `/v2.0/networks/${kept}`, undefined, of("red"))).body.network["router:external"]).toBe(true);
  expect((await h.call("DELETE", `/v2.0/networks/${gone}`, undefined, ADMIN)).status).toBe(204);
  for (const [id, values] of [[unshared, { shared: false }], [inside, { "router:external": false }]] as const) expect((await put(id!, values)).status).toBe(200);
  h = await h.restart([]);
  expect(policies().map((p) => p.split(" ").slice(0, 3).join(" "))).toEqual([`${inside} access_as_shared blue`, `${kept} access_as_external blue`, `${kept} access_as_shared blue`].sort());
  expect((await h.call("GET", `/v2.0/networks/${kept}`, undefined, of("blue"))).body.network).toMatchObject({ shared: true, "router:external": true });
});

test("a project's quota of policies is 10, whatever their objects", async () => {
  h = await Harness.make();
  const network = (await h.create("network", { project_id: "red" })).id;
  const make = (i: number): Promise<Answer> => h.call("POST", "/v2.0/rbac-policies", { rbac_policy: { object_type: "network", object_id: network, action: "access_as_shared", target_tenant: `t${i}` } }, of("red"));
  for (let i = 0; i < 10; i++) expect((await make(i)).status).toBe(201);
  const over = await make(10);
  expect([over.status, over.body.NeutronError.type]).toEqual([409, "OverQuota"]);
  expect((await h.call("GET", "/v2.0/quotas/red", undefined, of("red"))).body.quota).toMatchObject({ rbac_policy: 10, subnetpool: -1 });
});

test("a list costs what its caller may see, however much others have and share among themselves", async () => {
  h = await Harness.make();
  for (let i = 0; i < 4; i++) await h.call("POST", "/v2.0/networks", { networks: Array.from({ length: 100 }, () => ({ project_id: `p${i}` })) }, ADMIN);
  await h.call("PUT", "/v2.0/quotas/p0", { quota: { rbac_policy: -1 } }, ADMIN);
  const theirs = (await h.call("GET", "/v2.0/networks?project_id=p0&fields=id", undefined, ADMIN)).body.networks as { id: string }[];
  await h.call("POST", "/v2.0/rbac-policies", { rbac_policies: theirs.map(({ id }) => ({ object_type: "network", object_id: id, action: "access_as_shared", target_tenant: "p1" })) }, { "x-project-id": "p0", "x-roles": "member" });
  const mine = (await h.create("network", { project_id: "red" })).id;
  const shared = theirs[0]!.id;
  expect((await grant(shared, "red")).status).toBe(201);
  // Every row that a list looks at is got by its id or an index: none is walked past.
  const kind = h.api.registry.kinds.get("network")!;
  const caller = { requestId: "req", projectId: "red", userId: "", roles: new Set(["member", "reader"]), admin: false };
  const scope = kind.get.scope(caller) as ReadonlySet<string>;
  const reached = [...scope].flatMap((relation) => (relation === "project" ? [] : [...kind.resource.reach![relation]!(h.view, caller)]));
  expect(reached).toEqual([shared]);
  expect((await h.call("GET", "/v2.0/networks", undefined, of("red"))).body.networks.map((n: { id: string }) => n.id).sort()).toEqual([mine, shared].sort());
});
