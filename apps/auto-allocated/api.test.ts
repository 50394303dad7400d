import { beforeEach, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api.ts";
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
const get = (project: string, who = p1): ReturnType<Api["get"]> => api.get(`auto-allocated-topology/${project}`, who);

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
