import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api/api.ts";
import { portTable } from "../l2/model.ts";
import { routerInterfaceTable } from "./model.ts";

let api: Api;
let router: Shown;
beforeEach(async () => {
  api = await Api.open();
  router = await api.make("router", { name: "r" });
});

const admin = { project: "ops", roles: "admin" };
const p2 = { project: "p2" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

async function subnetOf(cidr: string, more: Record<string, unknown> = {}): Promise<Shown> {
  const network_id = (more.network_id as string | undefined) ?? (await api.make("network", {})).id;
  return api.make("subnet", { network_id, ip_version: cidr.includes(":") ? 6 : 4, cidr, ...more });
}
const at = (action: string): string => `routers/${router.id}/${action}`;

async function connect(body: Record<string, unknown>): Promise<Shown> {
  const answer = await api.put(at("add_router_interface"), body, { project: "p1" });
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 200 });
  return answer.body as unknown as Shown;
}
async function disconnect(body: Record<string, unknown>): Promise<Shown> {
  const answer = await api.put(at("remove_router_interface"), body, { project: "p1" });
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 200 });
  return answer.body as unknown as Shown;
}

describe("routers", () => {
  test("what a new router is", async () => {
    expect(router).toMatchObject({ name: "r", admin_state_up: true, status: "ACTIVE", routes: [], project_id: "p1", tenant_id: "p1" });
    expect(await api.change("router", router.id, { admin_state_up: false })).toMatchObject({ admin_state_up: false });
  });

  test("what is refused", async () => {
    await api.refused(400, "HTTPBadRequest", "POST", "routers", { router: { routes: [] } });
    await api.refused(404, "RouterNotFound", "PUT", `routers/${router.id}`, { router: { name: "x" } }, p2);
    await api.refused(404, "RouterNotFound", "DELETE", `routers/${UNKNOWN}`);
  });

  test("goes when nothing is connected", async () => {
    const s = await subnetOf("10.0.0.0/24");
    await connect({ subnet_id: s.id });
    await api.refused(409, "RouterInUse", "DELETE", `routers/${router.id}`);
    await disconnect({ subnet_id: s.id });
    await api.delete("router", router.id);
  });
});

describe("interfaces", () => {
  test("by subnet: a port with the gateway address", async () => {
    const s = await subnetOf("10.0.0.0/24");
    const info = await connect({ subnet_id: s.id });
    expect(info).toEqual({ id: router.id, tenant_id: "p1", project_id: "p1", port_id: info.port_id, network_id: s.network_id, subnet_id: s.id, subnet_ids: [s.id] });
    expect((await api.list(`ports?device_id=${router.id}`))[0]).toMatchObject({
      id: info.port_id, device_owner: "network:router_interface", fixed_ips: [{ subnet_id: s.id, ip_address: "10.0.0.1" }], project_id: "p1", port_security_enabled: false, security_groups: [], name: "",
    });
    expect((await api.show("router", router.id)).revision_number).toBeGreaterThan(router.revision_number);
    expect(await disconnect({ subnet_id: s.id })).toEqual(info);
    expect(api.model.view.get(portTable, info.port_id)).toBeUndefined();
    expect([...api.model.view.all(routerInterfaceTable)]).toEqual([]);
  });

  test("by port: with the addresses it has; several routers on one subnet", async () => {
    const s = await subnetOf("10.0.0.0/24");
    const port = await api.make("port", { network_id: s.network_id, fixed_ips: [{ ip_address: "10.0.0.7" }] });
    expect(await connect({ port_id: port.id })).toMatchObject({ port_id: port.id, subnet_id: s.id, subnet_ids: [s.id] });
    expect(await api.show("port", port.id)).toMatchObject({ device_id: router.id, device_owner: "network:router_interface" });
    router = await api.make("router", {});
    await connect({ subnet_id: s.id });
    expect([...api.model.view.all(routerInterfaceTable)]).toHaveLength(2);
  });

  test("IPv6 subnets of a network share an interface", async () => {
    const a = await subnetOf("fd00::/64", { ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
    const b = await subnetOf("fd01::/64", { network_id: a.network_id });
    const [one, two] = [await connect({ subnet_id: a.id }), await connect({ subnet_id: b.id })];
    expect(two).toMatchObject({ port_id: one.port_id, subnet_id: b.id, subnet_ids: [b.id] });
    expect((await api.show("port", one.port_id)).fixed_ips).toEqual([{ subnet_id: a.id, ip_address: "fd00::" }, { subnet_id: b.id, ip_address: "fd01::" }]);
    expect(await disconnect({ subnet_id: a.id })).toMatchObject({ port_id: one.port_id, subnet_ids: [a.id] });
    expect((await api.show("port", one.port_id)).fixed_ips).toEqual([{ subnet_id: b.id, ip_address: "fd01::" }]);
    await disconnect({ port_id: one.port_id, subnet_id: b.id });
    expect(api.model.view.get(portTable, one.port_id)).toBeUndefined();
  });

  test("what cannot be connected", async () => {
    const add = at("add_router_interface");
    const s = await subnetOf("10.0.0.0/24");
    await api.refused(400, "BadRequest", "PUT", add, {});
    await api.refused(400, "BadRequest", "PUT", add, { subnet_id: s.id, port_id: s.id });
    await api.refused(400, "HTTPBadRequest", "PUT", add, { subnet_id: "x" });
    await api.refused(404, "SubnetNotFound", "PUT", add, { subnet_id: UNKNOWN });
    await api.refused(404, "PortNotFound", "PUT", add, { port_id: UNKNOWN });
    await api.refused(400, "BadRequest", "PUT", add, { subnet_id: (await subnetOf("10.1.0.0/24", { gateway_ip: null })).id });
    await api.refused(400, "BadRequest", "PUT", add, { subnet_id: (await subnetOf("fd00::/64", { ipv6_address_mode: "slaac" })).id });
    const holder = await api.make("port", { network_id: s.network_id, fixed_ips: [{ ip_address: "10.0.0.1" }] });
    await api.refused(409, "IpAddressAlreadyAllocated", "PUT", add, { subnet_id: s.id });
    await api.delete("port", holder.id);
    await connect({ subnet_id: s.id });
    await api.refused(400, "BadRequest", "PUT", add, { subnet_id: s.id });
    await api.refused(400, "BadRequest", "PUT", add, { subnet_id: (await subnetOf("10.0.0.0/16")).id });
    const busy = await api.make("port", { network_id: s.network_id, device_id: "vm" });
    await api.refused(409, "PortInUse", "PUT", add, { port_id: busy.id });
    const bare = await api.make("port", { network_id: s.network_id, fixed_ips: [] });
    await api.refused(400, "BadRequest", "PUT", add, { port_id: bare.id });
    const t = await subnetOf("10.2.0.0/24");
    const two = await api.make("port", { network_id: t.network_id, fixed_ips: [{ subnet_id: t.id }, { subnet_id: t.id }] });
    await api.refused(400, "BadRequest", "PUT", add, { port_id: two.id });
    const [v6, w6] = [await subnetOf("fd02::/64", { network_id: t.network_id }), await subnetOf("fd03::/64", { network_id: t.network_id })];
    await connect({ subnet_id: v6.id });
    const second = await api.make("port", { network_id: t.network_id, fixed_ips: [{ subnet_id: w6.id }] });
    await api.refused(400, "BadRequest", "PUT", add, { port_id: second.id });
  });

  test("subnets and ports of others", async () => {
    const network = await api.make("network", {}, p2);
    const s = await api.make("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" }, p2);
    await api.refused(404, "SubnetNotFound", "PUT", at("add_router_interface"), { subnet_id: s.id });
    await api.refused(404, "RouterNotFound", "PUT", at("add_router_interface"), { subnet_id: s.id }, p2);
    await api.change("network", network.id, { shared: true }, admin);
    await api.refused(400, "BadRequest", "PUT", at("add_router_interface"), { subnet_id: s.id });
    // The owner of a network sees the ports of others there, but cannot make them his router's.
    const guest = await api.make("port", { network_id: network.id }, { project: "p3" });
    const own = await api.make("router", {}, p2);
    await api.refused(404, "PortNotFound", "PUT", `routers/${own.id}/add_router_interface`, { port_id: guest.id }, p2);
    await api.refused(409, "DeviceIDNotOwnedByTenant", "POST", "ports", { port: { network_id: network.id, device_id: router.id } }, p2);
    await api.refused(409, "DeviceIDNotOwnedByTenant", "PUT", `ports/${guest.id}`, { port: { device_id: router.id } }, { project: "p3" });
  });

  test("what cannot be disconnected", async () => {
    const remove = at("remove_router_interface");
    const [s, t] = [await subnetOf("10.0.0.0/24"), await subnetOf("10.1.0.0/24")];
    const { port_id } = await connect({ subnet_id: s.id });
    await api.refused(400, "BadRequest", "PUT", remove, {});
    await api.refused(404, "RouterInterfaceNotFound", "PUT", remove, { port_id: UNKNOWN });
    await api.refused(404, "SubnetNotFound", "PUT", remove, { subnet_id: UNKNOWN });
    await api.refused(404, "RouterInterfaceNotFoundForSubnet", "PUT", remove, { subnet_id: t.id });
    const hidden = await api.make("subnet", { network_id: (await api.make("network", {}, p2)).id, ip_version: 4, cidr: "10.2.0.0/24" }, p2);
    await api.refused(404, "SubnetNotFound", "PUT", remove, { subnet_id: hidden.id });
    await api.refused(400, "SubnetMismatchForPort", "PUT", remove, { port_id, subnet_id: t.id });
    const other = await api.make("router", {});
    await api.refused(404, "RouterInterfaceNotFound", "PUT", `routers/${other.id}/remove_router_interface`, { port_id });
    await disconnect({ port_id, subnet_id: s.id });
  });
});

describe("what a router stands on", () => {
  test("its ports, subnets and gateway addresses stay", async () => {
    const s = await subnetOf("10.0.0.0/24");
    const { port_id } = await connect({ subnet_id: s.id });
    await api.refused(409, "ServicePortInUse", "DELETE", `ports/${port_id}`);
    await api.refused(409, "ServicePortInUse", "DELETE", `ports/${port_id}`, undefined, admin);
    expect(await api.refused(409, "ServicePortInUse", "PUT", `ports/${port_id}`, { port: { device_id: "" } })).toMatch(/ cannot be changed \(device_id\) directly via the port API: .* it is an interface of router /);
    expect(await api.refused(409, "ServicePortInUse", "PUT", `ports/${port_id}`, { port: { device_owner: "" } })).toMatch(/ cannot be changed \(device_owner\) /);
    await api.refused(400, "IPAddressChangeNotAllowed", "PUT", `ports/${port_id}`, { port: { fixed_ips: [{ ip_address: "10.0.0.9" }] } });
    await api.change("port", port_id, { name: "gateway", fixed_ips: [{ ip_address: "10.0.0.1" }] });
    await api.refused(409, "SubnetInUse", "DELETE", `subnets/${s.id}`);
    await api.refused(409, "GatewayIpInUse", "PUT", `subnets/${s.id}`, { subnet: { gateway_ip: null } });
    await api.refused(409, "NetworkInUse", "DELETE", `networks/${s.network_id as string}`);
    await disconnect({ port_id });
    await api.change("subnet", s.id, { gateway_ip: null });
    // A port that only says it is a router's is nobody's.
    const claim = await api.make("port", { network_id: s.network_id, device_owner: "network:router_interface" });
    await api.delete("port", claim.id);
    await api.delete("network", s.network_id as string);
  });
});

describe("routes", () => {
  const route = (destination: string, nexthop: string): { destination: string; nexthop: string } => ({ destination, nexthop });
  let s: Shown;
  beforeEach(async () => {
    s = await subnetOf("10.0.0.0/24");
    await connect({ subnet_id: s.id });
  });

  test("set, cleared; interfaces with next hops stay", async () => {
    const routes = [route("10.9.0.0/16", "10.0.0.9"), route("0.0.0.0/0", "10.0.0.8")];
    expect((await api.change("router", router.id, { routes })).routes).toEqual(routes);
    await api.refused(409, "RouterInterfaceInUseByRoute", "PUT", at("remove_router_interface"), { subnet_id: s.id });
    expect((await api.change("router", router.id, { routes: null })).routes).toEqual([]);
    await disconnect({ subnet_id: s.id });
  });

  test("what is refused", async () => {
    const bad: [string, unknown][] = [
      ["InvalidRoutes", [route("10.9.0.0/16", "10.1.0.9")]],
      ["InvalidRoutes", [route("10.9.0.0/16", "10.0.0.1")]],
      ["InvalidRoutes", [route("10.9.0.0/16", "10.0.0.9"), route("10.9.0.0/16", "10.0.0.9")]],
      ["RoutesExhausted", Array.from({ length: 31 }, (_, i) => route(`10.9.${i}.0/24`, "10.0.0.9"))],
      ["HTTPBadRequest", [route("10.9.0.1/16", "10.0.0.9")]],
      ["HTTPBadRequest", [route("fd00::/64", "10.0.0.9")]],
      ["HTTPBadRequest", [{ destination: "10.9.0.0/16" }]],
      ["HTTPBadRequest", "x"],
    ];
    for (const [type, routes] of bad) await api.refused(400, type, "PUT", `routers/${router.id}`, { router: { routes } });
  });

  test("added and removed one by one", async () => {
    const [a, b] = [route("10.8.0.0/16", "10.0.0.8"), route("10.9.0.0/16", "10.0.0.9")];
    const send = async (action: string, routes: unknown): Promise<Shown> => {
      const answer = await api.put(at(action), { router: { routes } }, { project: "p1" });
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      return answer.body.router as Shown;
    };
    expect((await send("add_extraroutes", [a])).routes).toEqual([a]);
    const both = await send("add_extraroutes", [a, b, b]);
    expect(both).toEqual(await api.show("router", router.id));
    expect(both.routes).toEqual([a, b]);
    const generation = api.model.generation;
    await send("add_extraroutes", [b]);
    await send("remove_extraroutes", [route("10.7.0.0/16", "10.0.0.7")]);
    expect(api.model.generation).toBe(generation);
    expect((await send("remove_extraroutes", [a])).routes).toEqual([b]);
    await api.refused(400, "InvalidRoutes", "PUT", at("add_extraroutes"), { router: { routes: [route("10.9.0.0/16", "10.7.0.9")] } });
    await api.refused(400, "HTTPBadRequest", "PUT", at("add_extraroutes"), { routes: [a] });
  });
});
