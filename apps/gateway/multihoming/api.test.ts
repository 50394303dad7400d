// Several gateways of a router, by the API.
import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Answer, type Shown } from "../../../test/support/api/api.ts";
import { portTable } from "../../l2/model.ts";
import { routerLinkTable } from "../../l3/model.ts";
import { defaultRouteEcmpTable, routerGatewayTable } from "../model.ts";
import { GATEWAYS_MAX } from "./gateways.ts";

interface Info {
  readonly network_id: string;
  readonly enable_snat: boolean;
  readonly external_fixed_ips: readonly { readonly subnet_id: string; readonly ip_address: string }[];
}
type Who = { readonly project: string; readonly roles?: string };

const admin = { project: "ops", roles: "admin" };
const p1 = { project: "p1" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

let api: Api;
let x: Shown;
let y: Shown;
let router: Shown;
beforeEach(async () => {
  api = await Api.open();
  x = await external("203.0.113.0/24");
  y = await external("198.51.100.0/24");
  router = await api.make("router", { name: "r" });
});

async function external(cidr: string): Promise<Shown> {
  const network = await api.make("network", { "router:external": true, project_id: "ops" }, admin);
  await api.make("subnet", { network_id: network.id, ip_version: 4, cidr, project_id: "ops" }, admin);
  return network;
}
const path = (verb: string): string => `routers/${router.id}/${verb}_external_gateways`;
const act = async (verb: "add" | "update" | "remove", external_gateways: unknown, who: Who = p1): Promise<Shown> => {
  const answer: Answer = await api.put(path(verb), { router: { external_gateways } }, who);
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 200 });
  const shown = answer.body.router as Shown;
  expect(shown).toEqual(await api.show("router", router.id));
  const [first] = infos(shown);
  expect(shown.external_gateway_info).toEqual(first ?? null);
  return shown;
};
const refused = (status: number, type: string, verb: string, external_gateways: unknown, who: Who = p1): Promise<unknown> => api.refused(status, type, "PUT", path(verb), { router: { external_gateways } }, who);
const infos = (shown: Shown): readonly Info[] => shown.external_gateways as readonly Info[];
const networks = (shown: Shown): string[] => infos(shown).map((g) => g.network_id);
const ipOf = (info: Info | undefined): string => info!.external_fixed_ips[0]!.ip_address;
const at = (...ips: string[]): object => ({ external_fixed_ips: ips.map((ip_address) => ({ ip_address })) });
const ports = (): readonly unknown[] => [...api.model.view.all(portTable)];

describe("added", () => {
  test("the first of a router without any is the one in external_gateway_info, all others come behind", async () => {
    expect(router).toMatchObject({ external_gateway_info: null, external_gateways: [] });
    const both = await act("add", [{ network_id: y.id }, { network_id: x.id }]);
    expect(networks(both)).toEqual([y.id, x.id]);
    expect(infos(both)[0]).toEqual({ network_id: y.id, enable_snat: true, external_fixed_ips: [{ subnet_id: expect.any(String) as string, ip_address: expect.stringMatching(/^198\.51\.100\./) as string }] });
    const three = await act("add", [{ network_id: y.id }]);
    expect(networks(three)).toEqual([y.id, x.id, y.id]);
    expect(new Set(infos(three).map(ipOf)).size).toBe(3);
    expect(three.revision_number).toBeGreaterThan(both.revision_number);
    expect(await api.list(`ports?device_id=${router.id}&device_owner=network:router_gateway`)).toHaveLength(3);
  });

  test("none, or nothing, changes nothing", async () => {
    const before = api.model.generation;
    await act("add", []);
    await act("add", null);
    expect(await api.put(path("add"), { router: {} }, p1)).toMatchObject({ status: 200, body: { router: { external_gateways: [] } } });
    expect([...api.model.view.all(routerGatewayTable)]).toEqual([]);
    expect(api.model.generation).toBeGreaterThanOrEqual(before);
  });

  test("each with translation of its own, and addresses of its own, as administrators say", async () => {
    const shown = await act("add", [{ network_id: x.id, enable_snat: false, ...at("203.0.113.20") }, { network_id: x.id, ...at("203.0.113.21", "203.0.113.22") }], admin);
    expect(infos(shown).map((g) => [g.enable_snat, g.external_fixed_ips.map((f) => f.ip_address)])).toEqual([[false, ["203.0.113.20"]], [true, ["203.0.113.21", "203.0.113.22"]]]);
  });

  test("what is refused, and then nothing is changed", async () => {
    await act("add", [{ network_id: x.id, ...at("203.0.113.20") }], admin);
    const inside = await api.make("network", {});
    const overlapping = await external("203.0.113.128/25");
    const before = api.model.generation;
    await refused(403, "PolicyNotAuthorized", "add", [{ network_id: x.id, enable_snat: true }]);
    await refused(403, "PolicyNotAuthorized", "add", [{ network_id: x.id, ...at("203.0.113.30") }]);
    await refused(404, "RouterNotFound", "add", [{ network_id: x.id }], { project: "p2" });
    await refused(400, "BadRequest", "add", [{ network_id: y.id }, { network_id: inside.id }]);
    await refused(404, "NetworkNotFound", "add", [{ network_id: UNKNOWN }]);
    await refused(409, "IpAddressAlreadyAllocated", "add", [{ network_id: x.id, ...at("203.0.113.20") }], admin);
    await refused(409, "IpAddressAlreadyAllocated", "add", [{ network_id: y.id, ...at("198.51.100.1") }], admin);
    // Another network with the same prefix; the same network is fine.
    await refused(400, "BadRequest", "add", [{ network_id: overlapping.id }]);
    await refused(400, "HTTPBadRequest", "add", [{}]);
    await refused(400, "HTTPBadRequest", "add", [{ network_id: x.id, qos: 1 }]);
    await refused(400, "HTTPBadRequest", "add", "yes");
    await api.refused(400, "HTTPBadRequest", "PUT", path("add"), {}, p1);
    await api.refused(400, "HTTPBadRequest", "PUT", `routers/${router.id}`, { router: { external_gateways: [] } }, p1);
    expect(api.model.generation).toBe(before);
    await act("add", Array.from({ length: GATEWAYS_MAX - 1 }, () => ({ network_id: x.id })));
    await refused(400, "UnableToAddExtraGateways", "add", [{ network_id: y.id }]);
  });
});

describe("taken away", () => {
  test("by network, of several on it by an address; without the first the next is", async () => {
    const [a, b, c] = infos(await act("add", [{ network_id: x.id }, { network_id: y.id }, { network_id: y.id }]));
    await refused(400, "UnableToMatchGateways", "remove", [{ network_id: y.id }]);
    await refused(400, "UnableToMatchGateways", "remove", [{ network_id: y.id, ...at("198.51.100.250") }]);
    // Whoever may take one away may say which; whether it translates is not looked at.
    expect(infos(await act("remove", [{ network_id: y.id, enable_snat: false, ...at(ipOf(c)) }]))).toEqual([a, b]);
    expect(infos(await act("remove", [{ network_id: x.id }]))).toEqual([b]);
    expect(infos(await act("remove", [{ network_id: y.id }]))).toEqual([]);
    await refused(400, "UnableToRemoveGateways", "remove", [{ network_id: y.id }]);
    expect([ports(), [...api.model.view.all(routerGatewayTable)], [...api.model.view.all(routerLinkTable)]]).toEqual([[], [], []]);
  });

  test("all with external_gateway_info, and with the router", async () => {
    await act("add", [{ network_id: x.id }, { network_id: y.id }]);
    expect(await api.change("router", router.id, { external_gateway_info: null })).toMatchObject({ external_gateway_info: null, external_gateways: [] });
    expect(ports()).toEqual([]);
    await act("add", [{ network_id: x.id }, { network_id: y.id }]);
    await api.change("router", router.id, { enable_default_route_ecmp: true }, admin);
    await api.delete("router", router.id);
    expect([ports(), [...api.model.view.all(defaultRouteEcmpTable)]]).toEqual([[], []]);
  });
});

describe("replaced", () => {
  test("those that are named stay, in their order others are made, the rest goes", async () => {
    const [a, b] = infos(await act("add", [{ network_id: x.id }, { network_id: y.id }]));
    expect(infos(await act("update", [{ network_id: y.id }, { network_id: x.id }]))).toEqual([b, a]);
    const [first, second, third] = infos(await act("update", [{ network_id: x.id }, { network_id: y.id }, { network_id: y.id }]));
    expect([first, second]).toEqual([a, b]);
    expect(third!.network_id).toBe(y.id);
    const z = await external("192.0.2.0/24");
    expect(networks(await act("update", [{ network_id: z.id }, { network_id: x.id }]))).toEqual([z.id, x.id]);
    expect(infos(await act("update", []))).toEqual([]);
    expect(ports()).toEqual([]);
  });

  test("addresses change where some of them stay", async () => {
    const [a] = infos(await act("add", [{ network_id: x.id, ...at("203.0.113.20") }, { network_id: y.id }], admin));
    const port = (await api.list(`ports?device_id=${router.id}&network_id=${x.id}`))[0]!;
    const changed = await act("update", [{ network_id: x.id, ...at("203.0.113.20", "203.0.113.21") }, { network_id: y.id }], admin);
    expect(infos(changed)[0]!.external_fixed_ips.map((f) => f.ip_address)).toEqual([ipOf(a), "203.0.113.21"]);
    expect((await api.list(`ports?device_id=${router.id}&network_id=${x.id}`)).map((p) => p.id)).toEqual([port.id]);
    await refused(403, "PolicyNotAuthorized", "update", [{ network_id: x.id, ...at("203.0.113.30") }]);
  });

  test("external_gateway_info is about the first alone", async () => {
    const [, b] = infos(await act("add", [{ network_id: x.id }, { network_id: y.id }]));
    const z = await external("192.0.2.0/24");
    const shown = await api.change("router", router.id, { external_gateway_info: { network_id: z.id } });
    expect(networks(shown)).toEqual([z.id, y.id]);
    expect(infos(shown)[1]).toEqual(b);
    expect(infos(await api.change("router", router.id, { external_gateway_info: { network_id: z.id, enable_snat: false } }, admin)).map((g) => g.enable_snat)).toEqual([false, true]);
  });
});

test("a gateway by which floating IPs are reached stays, unless another leads to their network", async () => {
  const network = await api.make("network", {});
  const subnet = await api.make("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" });
  await api.put(`routers/${router.id}/add_router_interface`, { subnet_id: subnet.id }, p1);
  const port = await api.make("port", { network_id: network.id });
  const [, , c] = infos(await act("add", [{ network_id: x.id }, { network_id: y.id }, { network_id: y.id }]));
  await api.make("floatingip", { floating_network_id: y.id, port_id: port.id });
  await act("remove", [{ network_id: y.id, ...at(ipOf(c)) }]);
  await refused(409, "RouterExternalGatewayInUseByFloatingIp", "remove", [{ network_id: y.id }]);
  await refused(409, "RouterExternalGatewayInUseByFloatingIp", "update", [{ network_id: x.id }]);
  await act("remove", [{ network_id: x.id }]);
});

test("whether default routes by all of them are used is for administrators to say", async () => {
  expect(router).toMatchObject({ enable_default_route_ecmp: false });
  await api.refused(403, "PolicyNotAuthorized", "PUT", `routers/${router.id}`, { router: { enable_default_route_ecmp: true } }, p1);
  expect(await api.change("router", router.id, { enable_default_route_ecmp: true }, admin)).toMatchObject({ enable_default_route_ecmp: true });
  expect(await api.change("router", router.id, { enable_default_route_ecmp: null }, admin)).toMatchObject({ enable_default_route_ecmp: false });
  expect(await api.make("router", { enable_default_route_ecmp: true, project_id: "p1" }, admin)).toMatchObject({ enable_default_route_ecmp: true });
});
