// The access rules of policies, and those of networks with what policies give, in a file of the operator's.
import { afterEach, beforeEach, expect, test } from "vitest";
import { shownPolicy } from "../../src/northbound/policy/index.ts";
import { Harness, type Answer } from "../../test/support/harness.ts";

let h: Harness;
let network: string;
beforeEach(async () => {
  h = await Harness.make();
  network = (await h.create("network", { project_id: "red" })).id;
});
afterEach(() => h.close());
const of = (project: string): Record<string, string> => ({ "x-project-id": project, "x-roles": "member" });
const grant = (target_tenant: string, action: string): Promise<Answer> => h.call("POST", "/v2.0/rbac-policies", { rbac_policy: { object_type: "network", object_id: network, action, target_tenant } }, of("red"));

test("are shown, and an operator's take effect at the next request, until they go again", async () => {
  const { policy } = h.api.registry;
  const shown = shownPolicy(policy).text;
  for (const name of ["create_rbac_policy:action", "update_rbac_policy:target_tenant", "get_network", "create_floatingip_port_forwarding", "create_network:tags"]) expect(shown).toContain(name);
  expect((await grant("blue", "access_as_external")).status).toBe(403);
  expect((await grant("blue", "access_as_shared")).status).toBe(201);
  policy.override({ "create_rbac_policy:action": "", get_network: "rule:admin_only or project_id:%(project_id)s" });
  expect((await grant("green", "access_as_external")).status).toBe(201);
  expect((await h.call("GET", `/v2.0/networks/${network}`, undefined, of("blue"))).status).toBe(404);
  expect((await h.call("GET", "/v2.0/networks", undefined, of("blue"))).body.networks).toEqual([]);
  policy.override({});
  expect((await grant("pink", "access_as_external")).status).toBe(403);
  expect((await h.call("GET", `/v2.0/networks/${network}`, undefined, of("blue"))).status).toBe(200);
});
