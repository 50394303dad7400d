import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api/api.ts";
import { portTable } from "../l2/model.ts";
import { routerLinkTable } from "../l3/model.ts";
import { routerGatewayTable } from "./model.ts";

let api: Api;
let outside: Shown;
let subnet: Shown;
let router: Shown;
beforeEach(async () => {
  api = await Api.open();
  outside = await api.make("network", { "router:external": true, project_id: "ops" }, admin);
  subnet = await api.make("subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24", project_id: "ops" }, admin);
  router = await api.make("router", { name: "r" });
});

const admin = { project: "ops", roles: "admin" };
const p1 = { project: "p1" };
const p2 = { project: "p2" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

interface Info {
  readonly network_id: string;
  readonly enable_snat: boolean;
  readonly external_fixed_ips: readonly { readonly subnet_id: string; readonly ip_address: string }[];
}
const info = (shown: Shown): Info => shown.external_gateway_info as Info;
const setGateway = (external_gateway_info: unknown, who: { readonly project?: string; readonly roles?: string } = p1): Promise<Shown> => api.change("router", router.id, { external_gateway_info }, who);
const portOf = async (): Promise<Shown> => (await api.list(`ports?device_id=${router.id}&device_owner=network:router_gateway`))[0]!;
const connect = async (cidr: string, more: Record<string, unknown> = {}): Promise<Shown> => {
  const network = await api.make("network", {});
  const inside = await api.make("subnet", { network_id: network.id, ip_version: 4, cidr, ...more });
  expect(await api.put(`routers/${router.id}/add_router_interface`, { subnet_id: inside.id }, p1)).toMatchObject({ status: 200 });
  return inside;
};

describe("external networks", () => {
  test("everybody sees one, and its subnets; administrators alone make it one", async () => {
    expect(outside).toMatchObject({ "router:external": true });
    expect(await api.list("networks?router:external=True", p2)).toMatchObject([{ id: outside.id }]);
    expect(await api.list("subnets?router:external=True", p2)).toMatchObject([{ id: subnet.id, "router:external": true }]);
    await api.refused(403, "PolicyNotAuthorized", "POST", "networks", { network: { "router:external": true } }, p1);
    const own = await api.make("network", {});
    expect(own).toMatchObject({ "router:external": false });
    await api.refused(403, "PolicyNotAuthorized", "PUT", `networks/${own.id}`, { network: { "router:external": true } }, p1);
    expect(await api.change("network", own.id, { "router:external": true }, admin)).toMatchObject({ "router:external": true });
    expect(await api.change("network", own.id, { "router:external": false }, admin)).toMatchObject({ "router:external": false });
    expect(await api.get(`networks/${own.id}`, p2)).toMatchObject({ status: 404 });
  });

  test("a member has no port of his own there, unless it is shared; no subnet either", async () => {
    const port = (body: object = {}): object => ({ port: { network_id: outside.id, ...body } });
    for (const body of [port(), port({ device_owner: "compute:nova" }), port({ mac_address: "fa:16:3e:00:00:09", fixed_ips: [{ ip_address: "203.0.113.50" }] })]) {
      const answer = await api.refused(403, "HTTPForbidden", "POST", "ports", body, p1);
      expect(JSON.stringify(answer)).toContain("Tenant p1 not allowed to create port on this network");
    }
    await api.refused(403, "HTTPForbidden", "POST", "ports", { ports: [{ network_id: outside.id }] }, p1);
    await api.refused(403, "PolicyNotAuthorized", "POST", "subnets", { subnet: { network_id: outside.id, ip_version: 4, cidr: "198.51.100.0/24" } }, p1);
    const hidden = await api.make("network", {}, p2);
    for (const id of [hidden.id, UNKNOWN]) {
      await api.refused(404, "NetworkNotFound", "POST", "ports", { port: { network_id: id } }, p1);
      await api.refused(404, "NetworkNotFound", "POST", "subnets", { subnet: { network_id: id, ip_version: 4, cidr: "198.51.100.0/24" } }, p1);
    }
    expect(await api.list("ports", p1)).toEqual([]);
    await api.make("port", { network_id: outside.id }, admin);
    await api.change("network", outside.id, { shared: true }, admin);
    await api.make("port", { network_id: outside.id }, p1);
  });

  test("one with a gateway stays external, and stays", async () => {
    await setGateway({ network_id: outside.id });
    await api.refused(409, "ExternalNetworkInUse", "PUT", `networks/${outside.id}`, { network: { "router:external": false } }, admin);
    await api.refused(409, "NetworkInUse", "DELETE", `networks/${outside.id}`, undefined, admin);
    await api.refused(409, "SubnetInUse", "DELETE", `subnets/${subnet.id}`, undefined, admin);
    await setGateway(null);
    await api.delete("subnet", subnet.id, admin);
    await api.delete("network", outside.id, admin);
  });
});

describe("gateways", () => {
  test("set, shown, and taken away again", async () => {
    expect(router).toMatchObject({ external_gateway_info: null });
    const set = await setGateway({ network_id: outside.id });
    expect(info(set)).toMatchObject({ network_id: outside.id, enable_snat: true, external_fixed_ips: [{ subnet_id: subnet.id, ip_address: expect.stringMatching(/^203\.0\.113\./) as string }] });
    expect(await portOf()).toMatchObject({ device_owner: "network:router_gateway", device_id: router.id, tenant_id: "", project_id: "", network_id: outside.id, fixed_ips: info(set).external_fixed_ips });
    for (const nothing of [null, {}]) {
      await setGateway({ network_id: outside.id });
      expect(await setGateway(nothing)).toMatchObject({ external_gateway_info: null });
      expect(await portOf()).toBeUndefined();
    }
    const view = api.model.view;
    expect([...view.all(routerGatewayTable), ...view.all(routerLinkTable)]).toEqual([]);
    const made = await api.make("router", { external_gateway_info: { network_id: outside.id } });
    expect(info(made).network_id).toBe(outside.id);
    await api.delete("router", made.id);
    expect([...view.all(portTable)]).toEqual([]);
  });

  test("the same network again keeps the address; another one does not", async () => {
    const first = info(await setGateway({ network_id: outside.id }));
    const port = await portOf();
    expect(info(await setGateway({ network_id: outside.id }))).toEqual(first);
    expect(info(await setGateway({ network_id: outside.id, enable_snat: false }, admin))).toEqual({ ...first, enable_snat: false });
    expect(info(await setGateway({ network_id: outside.id }))).toEqual({ ...first, enable_snat: false });
    const moved = info(await setGateway({ network_id: outside.id, external_fixed_ips: [{ ip_address: "203.0.113.77" }] }, admin));
    expect(moved.external_fixed_ips).toEqual([{ subnet_id: subnet.id, ip_address: "203.0.113.77" }]);
    expect((await portOf()).id).toBe(port.id);
    const other = await api.make("network", { "router:external": true }, admin);
    await api.make("subnet", { network_id: other.id, ip_version: 4, cidr: "198.51.100.0/24" }, admin);
    expect(info(await setGateway({ network_id: other.id }))).toMatchObject({ network_id: other.id, enable_snat: true });
    expect((await portOf()).id).not.toBe(port.id);
  });

  test("whether sources are translated is shown beside them, and is what lists are filtered and sorted by", async () => {
    const plain = await api.make("router", {});
    expect([plain["enable_snat"], router["enable_snat"]]).toEqual([true, true]);
    expect(await setGateway({ network_id: outside.id, enable_snat: false }, admin)).toMatchObject({ enable_snat: false });
    expect((await api.list("routers?enable_snat=False")).map((r) => r.id)).toEqual([router.id]);
    expect((await api.list("routers?enable_snat=true")).map((r) => r.id)).toEqual([plain.id]);
    expect((await api.list("routers?sort_key=enable_snat&sort_dir=asc")).map((r) => r.id)).toEqual([router.id, plain.id]);
    await api.refused(400, "HTTPBadRequest", "PUT", `routers/${router.id}`, { router: { enable_snat: true } }, admin);
    expect(await setGateway(null)).toMatchObject({ enable_snat: true });
  });

  test("an address of each family", async () => {
    const six = await api.make("subnet", { network_id: outside.id, ip_version: 6, cidr: "2001:db8:1::/64", project_id: "ops" }, admin);
    expect(info(await setGateway({ network_id: outside.id })).external_fixed_ips.map((f) => f.subnet_id).sort()).toEqual([subnet.id, six.id].sort());
  });

  test("what is refused, and then nothing is changed", async () => {
    const inside = await api.make("network", {});
    const empty = await api.make("network", { "router:external": true }, admin);
    const before = api.model.generation;
    const refused = (status: number, type: string, external_gateway_info: unknown, who: { readonly project: string; readonly roles?: string } = p1): Promise<unknown> =>
      api.refused(status, type, "PUT", `routers/${router.id}`, { router: { external_gateway_info } }, who);
    await refused(400, "BadRequest", { network_id: inside.id });
    await refused(404, "NetworkNotFound", { network_id: UNKNOWN });
    await refused(409, "IpAddressGenerationFailure", { network_id: empty.id });
    await refused(400, "HTTPBadRequest", { network_id: "nonsense" });
    await refused(400, "HTTPBadRequest", { network_id: outside.id, qos: 1 });
    await refused(400, "HTTPBadRequest", { enable_snat: true });
    await refused(400, "InvalidInput", { network_id: outside.id, enable_snat: "maybe" }, admin);
    await refused(400, "HTTPBadRequest", "yes");
    await refused(403, "PolicyNotAuthorized", { network_id: outside.id, enable_snat: false });
    await refused(403, "PolicyNotAuthorized", { network_id: outside.id, external_fixed_ips: [{ ip_address: "203.0.113.77" }] });
    await refused(400, "InvalidIpForNetwork", { network_id: outside.id, external_fixed_ips: [{ ip_address: "192.0.2.1" }] }, admin);
    // That is its next hop.
    await refused(409, "IpAddressAlreadyAllocated", { network_id: outside.id, external_fixed_ips: [{ ip_address: "203.0.113.1" }] }, admin);
    expect(api.model.generation).toBe(before);
  });

  test("no prefix twice: of an interface and outside, whichever is first", async () => {
    const inside = await connect("203.0.113.0/25");
    await api.refused(400, "BadRequest", "PUT", `routers/${router.id}`, { router: { external_gateway_info: { network_id: outside.id } } }, p1);
    await api.put(`routers/${router.id}/remove_router_interface`, { subnet_id: inside.id }, p1);
    await setGateway({ network_id: outside.id });
    await api.refused(400, "BadRequest", "PUT", `routers/${router.id}/add_router_interface`, { subnet_id: inside.id }, p1);
  });

  test("the next hop of a network outside becomes no address that a router has there", async () => {
    const small = await api.make("subnet", { network_id: outside.id, ip_version: 4, cidr: "198.51.100.0/24", allocation_pools: [{ start: "198.51.100.100", end: "198.51.100.110" }], project_id: "ops" }, admin);
    await setGateway({ network_id: outside.id, external_fixed_ips: [{ ip_address: "198.51.100.50" }] }, admin);
    await api.refused(409, "GatewayIpInUse", "PUT", `subnets/${small.id}`, { subnet: { gateway_ip: "198.51.100.50" } }, admin);
    expect(await api.change("subnet", small.id, { gateway_ip: "198.51.100.51" }, admin)).toMatchObject({ gateway_ip: "198.51.100.51" });
    // A router may well be the next hop of others there, by an interface.
    const upstream = await api.make("router", { project_id: "ops" }, admin);
    expect(await api.put(`routers/${upstream.id}/add_router_interface`, { subnet_id: small.id }, admin)).toMatchObject({ status: 200 });
  });

  test("next hops of routes may be outside", async () => {
    const routes = [{ destination: "192.0.2.0/24", nexthop: "203.0.113.9" }];
    await api.refused(400, "InvalidRoutes", "PUT", `routers/${router.id}`, { router: { routes } });
    const { external_fixed_ips: own } = info(await setGateway({ network_id: outside.id }));
    expect(await api.change("router", router.id, { routes })).toMatchObject({ routes });
    await api.refused(400, "InvalidRoutes", "PUT", `routers/${router.id}`, { router: { routes: [{ destination: "192.0.2.0/24", nexthop: own[0]!.ip_address }] } });
    const answer = await api.put(`routers/${router.id}/add_extraroutes`, { router: { routes: [{ destination: "198.51.100.0/24", nexthop: "203.0.113.9" }] } }, p1);
    expect(answer).toMatchObject({ status: 200, body: { router: { id: router.id, status: "ACTIVE", external_gateway_info: { network_id: outside.id } } } });
    expect((answer.body.router as { routes: unknown[] }).routes).toHaveLength(2);
  });

  test("its port is not to be had", async () => {
    await setGateway({ network_id: outside.id });
    const { id } = await portOf();
    const why = `directly via the port API: has device owner network:router_gateway, it is the gateway of router ${router.id}.`;
    expect(await api.refused(409, "ServicePortInUse", "DELETE", `ports/${id}`, undefined, admin)).toBe(`Port ${id} cannot be deleted ${why}`);
    expect(await api.refused(409, "ServicePortInUse", "PUT", `ports/${id}`, { port: { device_owner: "compute:x" } }, admin)).toBe(`Port ${id} cannot be changed (device_owner) ${why}`);
    await api.refused(409, "ServicePortInUse", "PUT", `ports/${id}`, { port: { device_id: "x" } }, admin);
    await api.refused(404, "PortNotFound", "DELETE", `ports/${id}`);
    await api.change("port", id, { name: "outside" }, admin);
  });

  test("a router with interfaces keeps its gateway when it is not to go; without them it goes with it", async () => {
    const inside = await connect("10.0.0.0/24");
    await setGateway({ network_id: outside.id });
    await api.refused(409, "RouterInUse", "DELETE", `routers/${router.id}`);
    expect(await portOf()).toBeDefined();
    await api.put(`routers/${router.id}/remove_router_interface`, { subnet_id: inside.id }, p1);
    await api.delete("router", router.id);
    expect(await portOf()).toBeUndefined();
  });
});
