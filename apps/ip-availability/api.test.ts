import { beforeEach, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api/api.ts";

let api: Api;
let [red, blue]: Shown[] = [];
beforeEach(async () => {
  api = await Api.open();
  [red, blue] = [await api.make("network", { name: "red" }), await api.make("network", { name: "blue" }, { project: "p2" })];
});

const subnet = (network: Shown, cidr: string, who = { project: "p1" }): Promise<Shown> => api.make("subnet", { network_id: network.id, ip_version: cidr.includes(":") ? 6 : 4, cidr, name: `of ${network["name"] as string}` }, who);
const list = (query: string): Promise<readonly Shown[]> => api.list(`network-ip-availabilities${query}`);
/** By network, how many addresses of how many are taken. */
const counts = async (query: string): Promise<Record<string, unknown[]>> => Object.fromEntries((await list(query)).map((a) => [a["network_name"], [a["used_ips"], a["total_ips"]]]));

test("pools are the total, ports' addresses what is taken", async () => {
  const s = await subnet(red!, "10.0.0.0/24");
  await api.make("port", { network_id: red!.id });
  await api.make("port", { network_id: red!.id, fixed_ips: [{ ip_address: "10.0.0.1" }] }, { project: "p1", roles: "admin" });
  const shown = { network_id: red!.id, network_name: "red", project_id: "p1", tenant_id: "p1", total_ips: 253, used_ips: 2, subnet_ip_availability: [{ subnet_id: s.id, subnet_name: "of red", ip_version: 4, cidr: "10.0.0.0/24", total_ips: 253, used_ips: 2 }] };
  expect((await api.get(`network-ip-availabilities/${red!.id}`)).body).toEqual({ network_ip_availability: shown });
  expect(await list(`?network_id=${red!.id}`)).toEqual([shown]);
  expect(await counts("")).toEqual({ red: [2, 253], blue: [0, 0] });
  const [port] = await api.list("ports");
  await api.delete("port", port!.id, { project: "p1", roles: "admin" });
  expect(await counts("")).toMatchObject({ red: [1, 253] });
});

test("IPv6 is counted to the last address", async () => {
  await subnet(red!, "fd00::/64");
  await subnet(red!, "fd01::/64");
  const { body } = await api.server.inject({ method: "GET", url: `/v2.0/network-ip-availabilities/${red!.id}` });
  expect(body).toContain('"total_ips":36893488147419103230,');
  expect(body).toContain('"total_ips":18446744073709551615,');
  const listed = await api.server.inject({ method: "GET", url: "/v2.0/network-ip-availabilities?fields=total_ips&network_name=red" });
  expect(listed.body).toBe('{"network_ip_availabilities":[{"total_ips":36893488147419103230}]}');
});

test("filters by network, name, project and family", async () => {
  await subnet(red!, "10.0.0.0/24");
  await subnet(red!, "fd00::/120");
  await subnet(blue!, "10.0.0.0/25", { project: "p2" });
  expect(await counts("")).toEqual({ red: [0, 253 + 255], blue: [0, 125] });
  expect(await counts("?network_name=blue")).toEqual({ blue: [0, 125] });
  for (const key of ["project_id", "tenant_id"]) expect(await counts(`?${key}=p1`)).toEqual({ red: [0, 508] });
  expect(await counts("?ip_version=6")).toEqual({ red: [0, 255] });
  expect(await counts("?ip_version=4")).toEqual({ red: [0, 253], blue: [0, 125] });
  expect(await counts("?ip_version=4&ip_version=6")).toEqual({ red: [0, 508], blue: [0, 125] });
  expect(await counts(`?network_id=${blue!.id}&ip_version=6`)).toEqual({});
  expect(await counts("?project_id=p3")).toEqual({});
  expect((await api.get("network-ip-availabilities?total_ips=5")).status).toBe(400);
});

test("is for administrators and services, and only to be read", async () => {
  const member = { project: "p1", roles: "member" };
  expect((await api.get(`network-ip-availabilities/${red!.id}`, member)).status).toBe(404);
  expect(await api.list("network-ip-availabilities", member)).toEqual([]);
  expect(await api.list("network-ip-availabilities", { project: "nova", roles: "service" })).toHaveLength(2);
  expect((await api.get("network-ip-availabilities/6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d")).body).toMatchObject({ NeutronError: { type: "NetworkNotFound" } });
  await api.refused(405, "HTTPMethodNotAllowed", "DELETE", `network-ip-availabilities/${red!.id}`);
});
