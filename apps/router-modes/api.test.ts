import { afterEach, beforeEach, expect, test } from "vitest";
import { Harness } from "../../test/support/harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.make();
});
afterEach(() => h.close());

test("what is asked of a router is kept and shown to administrators, changes while it is down, and changes no flow", async () => {
  await h.addChassis("hv1");
  const { id } = await h.create("router", { name: "r" });
  const put = (router: object, headers = {}) => h.call("PUT", `/v2.0/routers/${id}`, { router }, headers);
  expect((await h.call("GET", `/v2.0/routers/${id}`)).body.router).toMatchObject({ distributed: true, ha: true });
  const refused = await put({ distributed: false });
  expect([refused.status, refused.body.NeutronError.type]).toEqual([400, "BadRequest"]);
  await put({ admin_state_up: false });
  await h.settled();
  const flows = [...h.engine.flowsOf("hv1")].length;
  expect((await put({ distributed: false, ha: false })).body.router).toMatchObject({ distributed: false, ha: false });
  await h.settled();
  expect([...h.engine.flowsOf("hv1")]).toHaveLength(flows);
  expect((await put({ admin_state_up: true, distributed: true, ha: null })).body.router).toMatchObject({ distributed: true, ha: false, admin_state_up: true });
  expect((await put({ distributed: true })).status, "as it is").toBe(200);
  expect((await h.call("DELETE", `/v2.0/routers/${id}`)).status).toBe(204);
  expect([...(await h.stored()).keys()].filter((key) => key.includes("router_mode"))).toEqual([]);
});

test("is for administrators: a member neither sees nor says it", async () => {
  const member = { "x-project-id": "p1", "x-roles": "member,reader" };
  const made = await h.call("POST", "/v2.0/routers", { router: { name: "r" } }, member);
  expect(made.status).toBe(201);
  expect(made.body.router).not.toHaveProperty("distributed");
  expect((await h.call("POST", "/v2.0/routers", { router: { name: "r", ha: true } }, member)).status).toBe(403);
  expect((await h.create("router", { distributed: false })) as object).toMatchObject({ distributed: false, ha: true });
});
