// Quotas: what is counted, for whom, and what is refused.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Harness, type Answer } from "../../test/support/harness.ts";

let h: Harness;
const member = (project: string): Record<string, string> => ({ "x-project-id": project, "x-roles": "member" });
const admin = { "x-project-id": "operators", "x-roles": "admin" };
const limit = (project: string, quota: Record<string, unknown>): Promise<Answer> => h.call("PUT", `/v2.0/quotas/${project}`, { quota }, admin);
const post = (collection: string, resource: string, values: object, project = "red"): Promise<Answer> => h.call("POST", `/v2.0/${collection}`, { [resource]: values }, member(project));
const used = async (project: string): Promise<Record<string, { limit: number; used: number; reserved: number }>> =>
  (await h.call("GET", `/v2.0/quotas/${project}/details.json`, undefined, member(project))).body.quota;
const over = (resource: string): object => ({ NeutronError: { type: "OverQuota", message: `Quota exceeded for resources: ['${resource}'].`, detail: "" } });

const DEFAULTS = { network: 100, subnet: 100, port: 500, router: 10, floatingip: 50, security_group: 10, security_group_rule: 100 };

describe("of all apps", () => {
  beforeEach(async () => {
    h = await Harness.make();
  });
  afterEach(() => h.close());

  test("a project has the defaults until something is set for it", async () => {
    expect((await h.call("GET", "/v2.0/quotas/red", undefined, member("red"))).body.quota).toMatchObject(DEFAULTS);
    expect((await limit("red", { network: 3, port: "-1" })).body.quota).toMatchObject({ ...DEFAULTS, network: 3, port: -1 });
    expect((await h.call("GET", "/v2.0/quotas/red", undefined, member("red"))).body.quota).toMatchObject({ ...DEFAULTS, network: 3, port: -1 });
    expect((await h.call("GET", "/v2.0/quotas/red/default", undefined, member("red"))).body.quota).toMatchObject(DEFAULTS);
    expect((await h.call("DELETE", "/v2.0/quotas/red", undefined, admin)).status).toBe(204);
    expect((await h.call("GET", "/v2.0/quotas/red", undefined, member("red"))).body.quota).toMatchObject(DEFAULTS);
    const again = await h.call("DELETE", "/v2.0/quotas/red", undefined, admin);
    expect([again.status, again.body.NeutronError.type]).toEqual([404, "TenantQuotaNotFound"]);
  });

  test("a member's form has numbers alone; lists say whose they are, and have what was set", async () => {
    await limit("red", { network: 3 });
    const { quota } = (await h.call("GET", "/v2.0/quotas/red", undefined, admin)).body;
    expect(Object.values(quota as object).every((n) => typeof n === "number")).toBe(true);
    expect((await h.call("GET", "/v2.0/quotas", undefined, admin)).body.quotas).toEqual([{ tenant_id: "red", project_id: "red", ...quota }]);
    expect((await h.call("GET", "/v2.0/quotas?fields=network", undefined, admin)).body.quotas).toEqual([{ network: 3 }]);
    expect((await h.call("GET", "/v2.0/quotas/tenant", undefined, member("red"))).body).toEqual({ tenant: { tenant_id: "red" } });
    expect((await h.call("GET", "/v2.0/quotas/project", undefined, member("red"))).body).toEqual({ project: { project_id: "red" } });
  });

  test("other projects' quotas are not there; one's own are not for oneself to change", async () => {
    await limit("red", { network: 3 });
    for (const path of ["red", "red/default", "red/details"]) expect((await h.call("GET", `/v2.0/quotas/${path}`, undefined, member("blue"))).status).toBe(404);
    expect((await h.call("GET", "/v2.0/quotas", undefined, member("blue"))).body.quotas).toEqual([]);
    expect((await h.call("PUT", "/v2.0/quotas/red", { quota: { network: 9 } }, member("blue"))).status).toBe(404);
    expect((await h.call("PUT", "/v2.0/quotas/red", { quota: { network: 9 } }, member("red"))).status).toBe(403);
    expect((await h.call("DELETE", "/v2.0/quotas/red", undefined, member("red"))).status).toBe(403);
    expect((await h.call("GET", "/v2.0/quotas/red", undefined, admin)).body.quota.network).toBe(3);
  });

  test("bad limits are refused by name, and change nothing", async () => {
    for (const [quota, why] of [[{ bogus: 1 }, "bogus"], [{ network: -2 }, "network"], [{ port: 2 ** 31 }, "port"], [{ router: "many" }, "many"], [{ project_id: "blue" }, "project_id"]] as const) {
      const answer = await limit("red", { subnet: 5, ...quota });
      expect(answer.status, why).toBe(400);
      expect(answer.body.NeutronError.message).toContain(why);
    }
    expect((await h.call("GET", "/v2.0/quotas", undefined, admin)).body.quotas).toEqual([]);
    expect((await h.call("POST", "/v2.0/quotas", { quota: {} }, admin)).status).toBe(405);
    expect((await limit("r".repeat(256), { network: 1 })).status).toBe(404);
  });

  test("what exceeds the limit is refused, another project's is not; what is removed makes room", async () => {
    await limit("red", { network: 2 });
    const first = (await post("networks", "network", {})).body.network;
    expect((await post("networks", "network", {})).status).toBe(201);
    const refused = await post("networks", "network", {});
    expect([refused.status, refused.body]).toEqual([409, over("network")]);
    expect((await post("networks", "network", {}, "blue")).status).toBe(201);
    expect((await used("red")).network).toEqual({ limit: 2, used: 2, reserved: 0 });
    await h.call("DELETE", `/v2.0/networks/${first.id}`, undefined, member("red"));
    expect((await post("networks", "network", {})).status).toBe(201);
  });

  test("several at once are counted as a whole: all are created, or none", async () => {
    await limit("red", { network: 3 });
    const many = (n: number): Promise<Answer> => h.call("POST", "/v2.0/networks", { networks: Array.from({ length: n }, () => ({})) }, member("red"));
    expect(await many(4)).toMatchObject({ status: 409, body: over("network") });
    expect((await used("red")).network!.used).toBe(0);
    expect((await many(3)).status).toBe(201);
  });

  test("requests of one moment do not slip past", async () => {
    await limit("red", { network: 5 });
    const answers = await Promise.all(Array.from({ length: 20 }, () => post("networks", "network", {})));
    expect(answers.filter((a) => a.status === 201)).toHaveLength(5);
    expect((await used("red")).network!.used).toBe(5);
  });

  test("whose it is counts, not who makes it; what belongs to nobody is counted for nobody", async () => {
    await limit("red", { network: 1 });
    const make = (values: object, headers: Record<string, string>): Promise<Answer> => h.call("POST", "/v2.0/networks", { network: values }, headers);
    expect((await make({ project_id: "red" }, admin)).status).toBe(201);
    expect(await make({ tenant_id: "red" }, admin)).toMatchObject({ status: 409, body: over("network") });
    for (let i = 0; i < 2; i++) expect((await make({}, {})).status).toBe(201);
  });

  test("what a request makes on the way counts as well: interfaces of routers, the group of every project", async () => {
    await limit("red", { security_group: 0 });
    expect(await post("networks", "network", {})).toMatchObject({ status: 409, body: over("security_group") });
    expect(await h.call("GET", "/v2.0/security-groups", undefined, member("red"))).toMatchObject({ status: 409, body: over("security_group") });
    await limit("red", { security_group: 1, security_group_rule: 3 });
    expect(await post("networks", "network", {})).toMatchObject({ status: 409, body: over("security_group_rule") });
    await limit("red", { security_group_rule: 4, port: 1 });
    const network = (await post("networks", "network", {})).body.network;
    const subnet = async (cidr: string): Promise<string> => (await post("subnets", "subnet", { network_id: network.id, ip_version: 4, cidr })).body.subnet.id;
    const router = (await post("routers", "router", {})).body.router;
    const attach = (subnet_id: string, headers = member("red")): Promise<Answer> => h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id }, headers);
    expect((await attach(await subnet("10.0.0.0/24"))).status).toBe(200);
    const second = await subnet("10.0.1.0/24");
    for (const headers of [member("red"), admin]) expect(await attach(second, headers)).toMatchObject({ status: 409, body: over("port") });
    expect(await used("red")).toMatchObject({ port: { used: 1 }, security_group: { used: 1 }, security_group_rule: { used: 4 }, router: { used: 1 }, subnet: { used: 2 } });
    expect(await post("ports", "port", { network_id: network.id })).toMatchObject({ status: 409, body: over("port") });
    // What is there already is nobody's request.
    await limit("red", { security_group: 0, security_group_rule: 0, force: true });
    expect((await h.call("GET", "/v2.0/security-groups", undefined, member("red"))).body.security_groups).toHaveLength(1);
    expect((await post("networks", "network", {})).status).toBe(201);
  });

  test("an automatic topology is the project's own to afford; gateways are nobody's", async () => {
    const make = async (collection: string, resource: string, values: object): Promise<string> => (await h.call("POST", `/v2.0/${collection}`, { [resource]: values }, admin)).body[resource].id;
    const outside = await make("networks", "network", { "router:external": true, is_default: true });
    await make("subnets", "subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
    await make("subnetpools", "subnetpool", { name: "four", prefixes: ["10.0.0.0/16"], default_prefixlen: 26, is_default: true, shared: true });
    const ask = (): Promise<Answer> => h.call("GET", "/v2.0/auto-allocated-topology/None", undefined, member("red"));
    for (const resource of ["network", "router", "subnet", "port"]) {
      await limit("red", { network: 1, router: 1, subnet: 1, port: 1, [resource]: 0 });
      expect(await ask()).toMatchObject({ status: 409, body: over(resource) });
      expect(await used("red")).toMatchObject({ network: { used: 0 }, router: { used: 0 }, subnet: { used: 0 }, port: { used: 0 }, security_group: { used: 0 } });
    }
    await limit("red", { port: 1 });
    expect((await ask()).status).toBe(200);
    expect(await used("red")).toMatchObject({ network: { used: 1 }, router: { used: 1 }, subnet: { used: 1 }, port: { used: 1 } });
  });

  test("rules that come with a group are asked for with it", async () => {
    await post("networks", "network", {});
    await limit("red", { security_group_rule: 5 });
    expect(await post("security-groups", "security_group", { name: "web" })).toMatchObject({ status: 409, body: over("security_group_rule") });
    await limit("red", { security_group_rule: 6 });
    const group = (await post("security-groups", "security_group", { name: "web" })).body.security_group;
    expect(await post("security-group-rules", "security_group_rule", { security_group_id: group.id, direction: "ingress" })).toMatchObject({ status: 409, body: over("security_group_rule") });
    // An administrator's rule in it is the group's project's.
    const answer = await h.call("POST", "/v2.0/security-group-rules", { security_group_rule: { security_group_id: group.id, direction: "ingress" } }, {});
    expect(answer).toMatchObject({ status: 409, body: over("security_group_rule") });
  });

  test("a limit below what there is takes force", async () => {
    for (let i = 0; i < 3; i++) await post("networks", "network", {});
    const refused = await limit("red", { network: 2, check_limit: false });
    expect(refused.status).toBe(400);
    expect(refused.body.NeutronError.message).toContain("network");
    expect((await h.call("GET", "/v2.0/quotas/red", undefined, admin)).body.quota.network).toBe(100);
    expect((await limit("red", { network: 2, force: true })).body.quota.network).toBe(2);
    expect((await post("networks", "network", {})).status).toBe(409);
  });

  test("routes are limited in each router: as the project's quota says, or the operator's, else thirty", async () => {
    const network = (await post("networks", "network", {})).body.network;
    await post("subnets", "subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" });
    const make = async (): Promise<string> => (await post("routers", "router", {})).body.router.id;
    const routers = [await make(), await make()] as const;
    const port = async (): Promise<string> => (await post("ports", "port", { network_id: network.id })).body.port.id;
    for (const id of routers) expect((await h.call("PUT", `/v2.0/routers/${id}/add_router_interface`, { port_id: await port() }, member("red"))).status).toBe(200);
    const routes = (n: number, from = 0): object[] => Array.from({ length: n }, (_, i) => ({ destination: `10.${9 + ((from + i) >> 8)}.${(from + i) & 255}.0/24`, nexthop: "10.0.0.9" }));
    const set = (id: string, n: number): Promise<Answer> => h.call("PUT", `/v2.0/routers/${id}`, { router: { routes: routes(n) } }, member("red"));
    const [one, two] = routers;
    expect((await set(one, 30)).status).toBe(200);
    expect(await set(one, 31)).toMatchObject({ status: 400, body: { NeutronError: { type: "RoutesExhausted" } } });
    expect((await used("red")).router_route).toEqual({ limit: 30, used: 30, reserved: 0 });
    // Not of both together.
    expect((await set(two, 20)).status).toBe(200);
    expect((await used("red")).router_route!.used).toBe(30);
    expect(await limit("red", { router_route: 29 })).toMatchObject({ status: 400 });
    expect((await limit("red", { router_route: 40 })).body.quota.router_route).toBe(40);
    expect((await set(one, 40)).status).toBe(200);
    expect(await set(one, 41)).toMatchObject({ status: 409, body: over("router_route") });
    const more = { router: { routes: routes(1, 40) } };
    expect(await h.call("PUT", `/v2.0/routers/${one}/add_extraroutes`, more, member("red"))).toMatchObject({ status: 409, body: over("router_route") });
    // Whose it is counts; and what is there may go one by one.
    expect(await h.call("PUT", `/v2.0/routers/${one}`, { router: { routes: routes(41) } }, admin)).toMatchObject({ status: 409, body: over("router_route") });
    expect((await limit("red", { router_route: 3, force: true })).status).toBe(200);
    expect((await set(one, 39)).status).toBe(200);
    expect((await h.call("PUT", `/v2.0/routers/${one}`, { router: { name: "x" } }, member("red"))).status).toBe(200);
    expect(await set(two, 21)).toMatchObject({ status: 409 });
    expect((await limit("red", { router_route: -1 })).status).toBe(200);
    expect((await set(one, 1024)).status).toBe(200);
    expect(await set(one, 1025)).toMatchObject({ status: 400, body: { NeutronError: { type: "RoutesExhausted" } } });
  });

  test("Quantum v1 is bound as well", async () => {
    await limit("red", { network: 1 });
    const create = (): Promise<Answer> => h.call("POST", "/v1.1/tenants/red/networks.json", { network: { name: "n" } }, member("red"));
    expect((await create()).status).toBeLessThan(300);
    expect(await create()).toMatchObject({ status: 409, body: { QuantumError: { type: "OverQuota" } } });
  });
});

test("defaults are an operator's; limits outlive a restart", async () => {
  h = await Harness.make([], undefined, { settings: new Map([["quotas", { "default-quota": new Map([["network", 1], ["all", -1]]) }]]) });
  expect((await h.call("GET", "/v2.0/quotas/red", undefined, member("red"))).body.quota).toMatchObject({ network: 1, port: -1, router: -1, router_route: -1 });
  await post("networks", "network", {});
  expect((await post("networks", "network", {})).status).toBe(409);
  await limit("red", { network: 2 });
  h = await h.restart();
  expect((await used("red")).network).toEqual({ limit: 2, used: 1, reserved: 0 });
  h = await h.restart(["quotas"]);
  for (let i = 0; i < 3; i++) expect((await post("networks", "network", {})).status).toBe(201);
  await h.close();
});
