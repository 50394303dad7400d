import { beforeEach, expect, test } from "vitest";
import { Api, type Shown, type Who } from "../../test/support/api/api.ts";
import { autoAllocatedTopologyTable, defaultNetworkTable } from "./model.ts";

const admin = { project: "ops", roles: "admin" };
const p1 = { project: "p1" };
let api: Api;
beforeEach(async () => void (api = await Api.open()));

const outside = async (): Promise<Shown> => {
  const network = await api.make("network", { name: "public", "router:external": true, is_default: true }, admin);
  await api.make("subnet", { network_id: network.id, ip_version: 4, cidr: "203.0.113.0/24" }, admin);
  return network;
};
const pools = async (): Promise<void> => {
  await api.make("subnetpool", { name: "four", prefixes: ["10.0.0.0/16"], default_prefixlen: 26, is_default: true, shared: true }, admin);
  await api.make("subnetpool", { name: "six", prefixes: ["fd00::/48"], default_prefixlen: 64, is_default: true, shared: true }, admin);
};
const get = (project: string, who: Who = p1): ReturnType<Api["get"]> => api.get(`auto-allocated-topology/${project}`, who);

test("the first question makes it, the next shows it, and all of it goes", async () => {
  const public_ = await outside();
  await pools();
  const before = api.model.generation;
  expect(await get("None?fields=dry-run")).toEqual({ status: 200, body: { auto_allocated_topology: { id: "dry-run=pass", tenant_id: "p1", project_id: "p1" } } });
  expect(api.model.generation).toBe(before);
  const { status, body } = await get("p1");
  const { id } = body.auto_allocated_topology as Shown;
  expect([status, body]).toEqual([200, { auto_allocated_topology: { id, tenant_id: "p1", project_id: "p1" } }]);
  expect(await get("None")).toEqual({ status, body });
  expect((await api.get("auto-allocated-topology", p1)).body).toEqual({ auto_allocated_topologies: [body.auto_allocated_topology] });
  const [router] = await api.list("routers", p1);
  expect(router).toMatchObject({ project_id: "p1", external_gateway_info: { network_id: public_.id } });
  expect((await api.list(`subnets?network_id=${id}`, p1)).map((s) => s["cidr"]).sort()).toEqual(["10.0.0.0/26", "fd00::/64"]);
  expect(await api.list(`ports?network_id=${id}&device_id=${router!.id}`, p1)).toHaveLength(2);
  const port = await api.make("port", { network_id: id });
  expect(port.fixed_ips).toHaveLength(2);
  await api.refused(409, "NetworkInUse", "DELETE", "auto-allocated-topology/p1");
  await api.delete("port", port.id);
  expect((await api.call("DELETE", "auto-allocated-topology/p1", undefined, p1)).status).toBe(204);
  expect([await api.list("routers", p1), (await api.list("networks", p1)).map((n) => n.id)]).toEqual([[], [public_.id]]);
  expect([...api.model.view.all(autoAllocatedTopologyTable)]).toEqual([]);
  expect((await api.call("DELETE", "auto-allocated-topology/p1", undefined, p1)).status).toBe(204);
});

test("a project has one router of this kind, whatever it takes away of it", async () => {
  const public_ = await outside();
  await pools();
  const { id } = (await get("p1")).body.auto_allocated_topology as Shown;
  const [router] = await api.list("routers", p1);
  const off = async (network: string): Promise<void> => {
    for (const port of await api.list(`ports?network_id=${network}&device_id=${router!.id}`, p1)) expect((await api.put(`routers/${router!.id}/remove_router_interface`, { port_id: port.id }, p1)).status).toBe(200);
    await api.delete("network", network);
  };
  await off(id);
  const again = ((await get("p1")).body.auto_allocated_topology as Shown).id;
  expect(again).not.toBe(id);
  expect((await api.list("routers", p1)).map((r) => r.id)).toEqual([router!.id]);
  expect(await api.list(`ports?network_id=${again}&device_id=${router!.id}`, p1)).toHaveLength(2);
  expect(await api.list(`ports?network_id=${public_.id}`, admin)).toHaveLength(1);
  await off(again);
  // Without a gateway it gets one again, and goes with the topology.
  await api.change("router", router!.id, { external_gateway_info: null });
  await get("p1");
  expect(await api.list("routers", p1)).toMatchObject([{ id: router!.id, external_gateway_info: { network_id: public_.id } }]);
  expect((await api.call("DELETE", "auto-allocated-topology/None", undefined, p1)).status).toBe(204);
  expect([await api.list("routers", p1), await api.list(`ports?network_id=${public_.id}`, admin)]).toEqual([[], []]);
  expect([...api.model.view.all(autoAllocatedTopologyTable)]).toEqual([]);
});

test("without its router it is its network, and gone with that", async () => {
  await outside();
  await pools();
  const { id } = (await get("p1")).body.auto_allocated_topology as Shown;
  const [router] = await api.list("routers", p1);
  for (const port of await api.list(`ports?device_id=${router!.id}&network_id=${id}`, p1)) await api.put(`routers/${router!.id}/remove_router_interface`, { port_id: port.id }, p1);
  await api.delete("router", router!.id);
  const before = api.model.generation;
  expect((await get("p1")).body.auto_allocated_topology).toMatchObject({ id });
  expect(api.model.generation).toBe(before);
  await api.delete("network", id);
  expect([...api.model.view.all(autoAllocatedTopologyTable)]).toEqual([]);
});

test("a question for what is there writes nothing; many at once make one", async () => {
  await outside();
  await pools();
  const ids = await Promise.all(Array.from({ length: 5 }, async () => ((await get("p1")).body.auto_allocated_topology as Shown).id));
  expect(new Set(ids).size).toBe(1);
  const before = api.model.generation;
  await get("p1");
  expect(api.model.generation).toBe(before);
});

test("without its ground nothing is made", async () => {
  const no = async (): Promise<unknown> => {
    const before = api.model.generation;
    for (const query of ["", "?fields=dry-run"]) expect(await get(`p1${query}`)).toMatchObject({ status: 409, body: { NeutronError: { type: "AutoAllocationFailure" } } });
    expect(api.model.generation).toBe(before);
    return ((await get("p1")).body.NeutronError as { message: string }).message;
  };
  expect(await no()).toContain("router:external");
  await outside();
  expect(await no()).toContain("subnetpools");
});

test("a project's is its own, and an administrator's to make", async () => {
  await outside();
  await pools();
  expect((await get("p1", { project: "p2" })).status).toBe(403);
  await api.refused(403, "PolicyNotAuthorized", "DELETE", "auto-allocated-topology/p1", undefined, { project: "p2" });
  expect((await get("p1", admin)).body).toMatchObject({ auto_allocated_topology: { project_id: "p1" } });
  expect(await api.list("routers", p1)).toHaveLength(1);
});

test("what is not for the project is not its ground, whoever asks, and a dry run says so", async () => {
  const network = await outside();
  await pools();
  const [open] = await api.list(`rbac-policies?object_id=${network.id}`, admin);
  await api.change("network", network.id, { is_default: false }, admin);
  const external = { object_type: "network", object_id: network.id, action: "access_as_external", target_tenant: "p2" };
  expect((await api.call("POST", "rbac-policies", { rbac_policy: external }, admin)).status).toBe(201);
  expect((await api.call("DELETE", `rbac-policies/${open!.id}`, undefined, admin)).status).toBe(204);
  await api.change("network", network.id, { is_default: true }, admin);
  const answers = (project: string, who: Who): Promise<readonly number[]> => Promise.all([get(`${project}?fields=dry-run`, who), get(project, who)]).then((all) => all.map((a) => a.status));
  for (const who of [p1, admin]) expect(await answers("p1", who)).toEqual([409, 409]);
  expect(await api.list("routers", admin)).toEqual([]);
  expect(await answers("p2", admin)).toEqual([200, 200]);
  expect(await api.list("routers", { project: "p2" })).toHaveLength(1);
});

test("pools that the project may not use are not its ground, also in a dry run", async () => {
  await outside();
  await api.make("subnetpool", { name: "four", prefixes: ["10.0.0.0/16"], default_prefixlen: 26, is_default: true }, admin);
  for (const who of [p1, admin]) for (const query of ["?fields=dry-run", ""]) expect(await get(`p1${query}`, who)).toMatchObject({ status: 409, body: { NeutronError: { type: "AutoAllocationFailure" } } });
  expect((await get("ops?fields=dry-run", admin)).status).toBe(200);
});

test("one external network is the default", async () => {
  const first = await outside();
  await api.refused(409, "DefaultExternalNetworkExists", "POST", "networks", { network: { "router:external": true, is_default: true } }, admin);
  await api.refused(400, "InvalidInput", "POST", "networks", { network: { is_default: true } }, admin);
  await api.refused(403, "PolicyNotAuthorized", "POST", "networks", { network: { is_default: true } });
  expect((await api.list("networks?is_default=true")).map((n) => n.id)).toEqual([first.id]);
  expect(await api.make("network", {})).not.toHaveProperty("is_default");
  await api.change("network", first.id, { "router:external": false }, admin);
  expect([...api.model.view.all(defaultNetworkTable)]).toEqual([]);
});
