// What members may do to others, and to the controller, by address scopes.
import { beforeEach, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api/api.ts";
import { PREFIXES_MAX, scopedPoolTable } from "./model.ts";

const p1 = { project: "p1" };
const p2 = { project: "p2" };
let api: Api;
beforeEach(async () => {
  api = await Api.open();
});
const made = async (path: string, name: string, values: Record<string, unknown>): Promise<Shown> => {
  const answer = await api.call("POST", path, { [name]: values }, p1);
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 201 });
  return answer.body[name] as Shown;
};

test("a pool that is shared gets no scope that those do not see whom it is shared with, in whatever order", async () => {
  const scope = await made("address-scopes", "address_scope", { name: "s", ip_version: 4 });
  const pool = await made("subnetpools", "subnetpool", { name: "p", prefixes: ["10.0.0.0/16"] });
  await made("rbac-policies", "rbac_policy", { object_type: "subnetpool", object_id: pool.id, target_tenant: "p2", action: "access_as_shared" });
  const answer = await api.put(`subnetpools/${pool.id}`, { subnetpool: { address_scope_id: scope.id } }, p1);
  expect((await api.get(`address-scopes/${scope.id}`, p2)).status).toBe(404);
  expect(answer.status).toBe(400);
});

test("a pool of a scope costs few index keys", () => {
  const prefixes = Array.from({ length: PREFIXES_MAX }, (_, i) => `2001:db8:${(i * 31).toString(16)}:${i.toString(16)}::${i.toString(16)}/128`);
  const row = { id: "p", address_scope_id: "s", prefixes };
  const keys = Object.values(scopedPoolTable.indexes).reduce((n, index) => n + [index(row) ?? []].flat().length, 0);
  expect(keys).toBeLessThan(PREFIXES_MAX * 20);
});
