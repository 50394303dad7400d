import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Shown, type Who } from "../../test/support/api/api.ts";
import { pooledSubnetTable, poolUseTable } from "./pools.ts";
import { spaceTable } from "./space.ts";

const admin = { project: "ops", roles: "admin" };
const p2 = { project: "p2" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

let api: Api;
let net: string;
beforeEach(async () => {
  api = await Api.open();
  net = (await api.make("network", {})).id;
});

const pool = (more: Record<string, unknown> = {}, who?: Who): Promise<Shown> => api.make("subnetpool", { name: "pool", prefixes: ["10.0.0.0/16"], default_prefixlen: 24, ...more }, who);
const network = async (): Promise<string> => (await api.make("network", {})).id;
const subnet = (of: Record<string, unknown>, who?: Who): Promise<Shown> => api.make("subnet", { network_id: net, ip_version: 4, ...of }, who);
const fromNew = async (of: Record<string, unknown>): Promise<Shown> => subnet({ network_id: await network(), ...of });
const cidr = async (of: Record<string, unknown>): Promise<unknown> => (await fromNew(of))["cidr"];
const no = (status: number, type: string, of: Record<string, unknown>, who?: Who): Promise<string> => api.refused(status, type, "POST", "subnets", { subnet: { network_id: net, ip_version: 4, ...of } }, who);

describe("subnet pools", () => {
  test("show what was made of the input", async () => {
    expect(await api.make("subnetpool", { name: "four", prefixes: ["10.0.1.0/24", "10.0.0.0/24", "10.0.0.0/25"] })).toMatchObject({
      name: "four", project_id: "p1", ip_version: 4, prefixes: ["10.0.0.0/23"], min_prefixlen: 8, default_prefixlen: 8, max_prefixlen: 32, default_quota: null, shared: false, is_default: false, revision_number: 1, tags: [],
    });
    expect(await api.make("subnetpool", { name: "six", prefixes: ["FD00::1/48"], default_prefixlen: "64", default_quota: 4 })).toMatchObject({
      ip_version: 6, prefixes: ["fd00::/48"], min_prefixlen: 64, default_prefixlen: 64, max_prefixlen: 128, default_quota: 4,
    });
    expect(await api.list("subnetpools?ip_version=6&default_prefixlen=64", { project: "p1" })).toHaveLength(1);
  });

  const bad: [string, string, Record<string, unknown>][] = [
    ["no name", "HTTPBadRequest", { name: undefined }],
    ["an empty name", "HTTPBadRequest", { name: "" }],
    ["no prefixes", "HTTPBadRequest", { prefixes: undefined }],
    ["an empty list", "EmptySubnetPoolPrefixList", { prefixes: [] }],
    ["both families", "PrefixVersionMismatch", { prefixes: ["10.0.0.0/8", "fd00::/48"] }],
    ["no prefix", "HTTPBadRequest", { prefixes: ["10.0.0.0/33"] }],
    ["prefixes twice", "HTTPBadRequest", { prefixes: ["10.0.0.0/24", "10.0.0.0/24"] }],
    ["every address", "HTTPBadRequest", { prefixes: ["0.0.0.0/1", "0.0.0.0/0"] }],
    ["every address in two halves", "HTTPBadRequest", { prefixes: ["::/1", "8000::/1"] }],
    ["no length", "HTTPBadRequest", { prefixes: ["10.0.0.0"] }],
    ["more than enough", "HTTPBadRequest", { prefixes: [...Array(257).keys()].map((n) => `10.${n >> 7}.${(n & 127) * 2}.0/24`) }],
    ["a negative quota", "HTTPBadRequest", { default_quota: -1 }],
    ["min > max", "IllegalSubnetPoolPrefixBounds", { min_prefixlen: 26, max_prefixlen: 25 }],
    ["default < min", "IllegalSubnetPoolPrefixBounds", { default_prefixlen: 23, min_prefixlen: 24 }],
    ["default > max", "IllegalSubnetPoolPrefixBounds", { default_prefixlen: 27, max_prefixlen: 26 }],
    ["longer than addresses", "IllegalSubnetPoolPrefixBounds", { max_prefixlen: 33 }],
    ["a version", "HTTPBadRequest", { ip_version: 4 }],
  ];
  test.each(bad)("are refused: %s", async (_name, type, more) => {
    await api.refused(400, type, "POST", "subnetpools", { subnetpool: { name: "pool", prefixes: ["10.0.0.0/16"], ...more } });
  });

  test("are of their project; shared ones everybody's, and an administrator's to share", async () => {
    const mine = await pool();
    expect(await api.list("subnetpools", p2)).toEqual([]);
    expect((await api.get(`subnetpools/${mine.id}`, p2)).status).toBe(404);
    await api.refused(404, "SubnetPoolNotFound", "PUT", `subnetpools/${mine.id}`, { subnetpool: { name: "x" } }, p2);
    await api.refused(404, "SubnetPoolNotFound", "PUT", `subnetpools/${mine.id}/add_prefixes`, { prefixes: ["10.1.0.0/16"] }, p2);
    for (const of of [{ shared: true }, { is_default: true }]) await api.refused(403, "PolicyNotAuthorized", "POST", "subnetpools", { subnetpool: { name: "x", prefixes: ["10.0.0.0/8"], ...of } });
    await api.refused(403, "PolicyNotAuthorized", "PUT", `subnetpools/${mine.id}`, { subnetpool: { is_default: true } });
    const shared = await pool({ shared: true }, admin);
    expect((await api.list("subnetpools", p2)).map((p) => p.id)).toEqual([shared.id]);
    await api.refused(403, "PolicyNotAuthorized", "DELETE", `subnetpools/${shared.id}`, undefined, p2);
    await api.refused(400, "HTTPBadRequest", "PUT", `subnetpools/${shared.id}`, { subnetpool: { shared: false } }, admin);
  });

  test("change by what was said of them, and never below their subnets", async () => {
    const p = await pool({ prefixes: ["10.0.0.0/24", "10.0.4.0/24"], default_prefixlen: 26 });
    const s = await subnet({ subnetpool_id: p.id });
    const at = `subnetpools/${p.id}`;
    expect(await api.change("subnetpool", p.id, { name: "y", description: "z", default_quota: 1000, max_prefixlen: 28 })).toMatchObject({ name: "y", description: "z", default_quota: 1000, max_prefixlen: 28, default_prefixlen: 26 });
    await api.refused(400, "IllegalSubnetPoolPrefixBounds", "PUT", at, { subnetpool: { max_prefixlen: 25 } });
    await api.refused(400, "IllegalSubnetPoolPrefixUpdate", "PUT", at, { subnetpool: { prefixes: ["10.0.0.0/24"] } });
    await api.refused(400, "PrefixVersionMismatch", "PUT", `${at}/add_prefixes`, { prefixes: ["fd00::/64"] });
    expect(await api.change("subnetpool", p.id, { prefixes: ["10.0.0.0/23", "10.0.4.0/24"] })).toMatchObject({ prefixes: ["10.0.0.0/23", "10.0.4.0/24"] });
    expect((await api.put(`${at}/add_prefixes`, { prefixes: ["10.0.2.0/24", "10.0.3.0/24"] }, { project: "p1" })).body).toEqual({ prefixes: ["10.0.0.0/22", "10.0.4.0/24"] });
    expect(await cidr({ subnetpool_id: p.id })).toBe("10.0.0.64/26");
    await api.refused(400, "IllegalSubnetPoolPrefixUpdate", "PUT", `${at}/remove_prefixes`, { prefixes: ["10.0.0.64/27"] });
    await api.refused(400, "HTTPBadRequest", "PUT", `${at}/remove_prefixes`, {});
    expect((await api.put(`${at}/remove_prefixes`, { prefixes: ["10.0.0.128/25", "10.0.2.0/23", "10.0.4.0/24", "192.0.2.0/24"] }, { project: "p1" })).body).toEqual({ prefixes: ["10.0.0.0/25", "10.0.1.0/24"] });
    expect(await cidr({ subnetpool_id: p.id })).toBe("10.0.1.0/26");
    await api.delete("subnet", s.id);
    expect(await cidr({ subnetpool_id: p.id })).toBe("10.0.0.0/26");
  });

  test("scattered prefixes are not worked out beyond what a pool may have", async () => {
    const p = await pool({ prefixes: ["::/1"], default_prefixlen: 64 });
    const prefixes = [...Array(256).keys()].map((n) => `${(n * 0x80).toString(16)}:${n}:${n}:1::1/128`);
    await api.refused(400, "HTTPBadRequest", "PUT", `subnetpools/${p.id}/remove_prefixes`, { prefixes });
    await api.refused(400, "IllegalSubnetPoolPrefixUpdate", "PUT", `subnetpools/${p.id}`, { subnetpool: { prefixes } });
    await api.refused(400, "HTTPBadRequest", "PUT", `subnetpools/${p.id}/add_prefixes`, { prefixes: ["8000::/1"] });
    expect(await api.show("subnetpool", p.id)).toMatchObject({ prefixes: ["::/1"] });
  });

  test("of one that is in use nothing is deleted; of one that was, nothing stays", async () => {
    const p = await pool();
    const s = await subnet({ subnetpool_id: p.id });
    await api.refused(400, "SubnetPoolDeleteError", "DELETE", `subnetpools/${p.id}`);
    await api.delete("network", net);
    expect((await api.get(`subnets/${s.id}`)).status).toBe(404);
    await api.delete("subnetpool", p.id);
    for (const table of [pooledSubnetTable, poolUseTable, spaceTable]) expect([...api.model.view.all(table as typeof spaceTable)]).toEqual([]);
  });
});

describe("subnets of a pool", () => {
  test("have the lowest free prefix, by default of the default length", async () => {
    const p = await pool();
    expect(await subnet({ subnetpool_id: p.id })).toMatchObject({ cidr: "10.0.0.0/24", subnetpool_id: p.id, gateway_ip: "10.0.0.1", allocation_pools: [{ start: "10.0.0.2", end: "10.0.0.254" }] });
    const second = await fromNew({ subnetpool_id: p.id, prefixlen: 26 });
    expect(second["cidr"]).toBe("10.0.1.0/26");
    expect(second).not.toHaveProperty("prefixlen");
    expect(second).not.toHaveProperty("use_default_subnetpool");
    expect(await cidr({ subnetpool_id: p.id })).toBe("10.0.2.0/24");
    expect(await cidr({ subnetpool_id: p.id, prefixlen: 26 })).toBe("10.0.1.64/26");
    await api.delete("subnet", second.id);
    expect(await cidr({ subnetpool_id: p.id, prefixlen: 27 })).toBe("10.0.1.0/27");
    expect((await api.list(`subnets?subnetpool_id=${p.id}`)).length).toBe(4);
  });

  test("may name a prefix that is free", async () => {
    const p = await pool({ max_prefixlen: 28 });
    expect(await subnet({ subnetpool_id: p.id, cidr: "10.0.7.0/24" })).toMatchObject({ cidr: "10.0.7.0/24", subnetpool_id: p.id });
    for (const taken of ["10.0.7.0/24", "10.0.7.64/26", "10.0.0.0/20", "10.1.0.0/24"]) await no(409, "SubnetAllocationError", { network_id: await network(), subnetpool_id: p.id, cidr: taken });
    await no(400, "MaxPrefixSubnetAllocationError", { subnetpool_id: p.id, cidr: "10.0.9.0/29" });
    await no(400, "MaxPrefixSubnetAllocationError", { subnetpool_id: p.id, prefixlen: 29 });
    await no(400, "MinPrefixSubnetAllocationError", { subnetpool_id: p.id, prefixlen: 7 });
    await no(409, "SubnetAllocationError", { subnetpool_id: p.id, prefixlen: 15 });
    await no(400, "BadRequest", { subnetpool_id: p.id, cidr: "10.0.9.0/24", prefixlen: 24 });
    await no(400, "BadRequest", { subnetpool_id: p.id, allocation_pools: [{ start: "10.0.0.9", end: "10.0.0.10" }] });
    await no(400, "BadRequest", { subnetpool_id: p.id, ip_version: 6 });
  });

  test("need a pool that is there for them", async () => {
    const p = await pool();
    const theirs = (await api.make("network", {}, p2)).id;
    await no(404, "SubnetPoolNotFound", { subnetpool_id: UNKNOWN });
    await no(404, "SubnetPoolNotFound", { subnetpool_id: p.id, network_id: theirs }, p2);
    await no(400, "HTTPBadRequest", { subnetpool_id: "x" });
    await no(400, "BadRequest", {});
    await no(400, "BadRequest", { subnetpool_id: null });
    await no(400, "BadRequest", { prefixlen: 24 });
    expect(await no(400, "BadRequest", { subnetpool_id: "prefix_delegation", ip_version: 6 })).toContain("prefix_delegation");
    expect(await subnet({ cidr: "10.0.0.0/24" })).toMatchObject({ subnetpool_id: null });
  });

  test("of one network and family are all of one pool", async () => {
    const [p, other, six] = [await pool(), await pool({ prefixes: ["10.1.0.0/16"] }), await pool({ prefixes: ["fd00::/48"], default_prefixlen: 64 })];
    await subnet({ subnetpool_id: p.id });
    await no(400, "NetworkSubnetPoolAffinityError", { subnetpool_id: other.id });
    await no(400, "NetworkSubnetPoolAffinityError", { cidr: "192.168.0.0/24" });
    await subnet({ subnetpool_id: p.id });
    expect(await subnet({ subnetpool_id: six.id, ip_version: 6, ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" })).toMatchObject({ cidr: "fd00::/64", subnetpool_id: six.id });
    const without = await network();
    await subnet({ network_id: without, cidr: "192.168.0.0/24" });
    await no(400, "NetworkSubnetPoolAffinityError", { network_id: without, subnetpool_id: p.id });
  });

  test("of a bulk request are all there or none", async () => {
    const p = await pool({ prefixes: ["10.0.0.0/23"] });
    const of = (count: number): unknown => ({ subnets: [...Array(count)].map(() => ({ network_id: net, ip_version: 4, subnetpool_id: p.id })) });
    await api.refused(409, "SubnetAllocationError", "POST", "subnets", of(3));
    expect(((await api.call("POST", "subnets", of(2), { project: "p1" })).body.subnets as Shown[]).map((s) => s["cidr"])).toEqual(["10.0.0.0/24", "10.0.1.0/24"]);
  });

  test("are bounded by what a project may have", async () => {
    const p = await pool({ shared: true, default_quota: 300 }, admin);
    const s = await subnet({ subnetpool_id: p.id });
    await no(409, "SubnetPoolQuotaExceeded", { subnetpool_id: p.id, prefixlen: 26 });
    await subnet({ subnetpool_id: p.id, prefixlen: 27 });
    await subnet({ subnetpool_id: p.id, network_id: (await api.make("network", {}, p2)).id }, p2);
    await api.delete("subnet", s.id);
    await subnet({ subnetpool_id: p.id });
    const six = await pool({ prefixes: ["fd00::/48"], default_prefixlen: 64, default_quota: 1, shared: true }, admin);
    await subnet({ subnetpool_id: six.id, ip_version: 6 });
    await no(409, "SubnetPoolQuotaExceeded", { subnetpool_id: six.id, ip_version: 6, prefixlen: 128, enable_dhcp: false });
  });
});

describe("the default pool", () => {
  test("is one of each family, and of those who may use it", async () => {
    await no(400, "BadRequest", { use_default_subnetpool: true });
    const four = await pool({ is_default: true, shared: true }, admin);
    const six = await pool({ prefixes: ["fd00::/48"], is_default: true, shared: true, default_prefixlen: 64 }, admin);
    await api.refused(400, "InvalidInput", "POST", "subnetpools", { subnetpool: { name: "x", prefixes: ["10.9.0.0/16"], is_default: true } }, admin);
    const other = await pool({ prefixes: ["10.9.0.0/16"], shared: true }, admin);
    await api.refused(400, "InvalidInput", "PUT", `subnetpools/${other.id}`, { subnetpool: { is_default: true } }, admin);
    const hidden = await network();
    expect(await subnet({ use_default_subnetpool: true })).toMatchObject({ cidr: "10.0.0.0/24", subnetpool_id: four.id });
    expect(await subnet({ use_default_subnetpool: true, ip_version: 6 })).toMatchObject({ cidr: "fd00::/64", subnetpool_id: six.id });
    await no(400, "BadRequest", { use_default_subnetpool: true, subnetpool_id: four.id });
    await api.change("subnetpool", four.id, { is_default: false }, admin);
    await api.change("subnetpool", other.id, { is_default: true }, admin);
    expect(await cidr({ use_default_subnetpool: true, cidr: "10.9.7.0/24" })).toBe("10.9.7.0/24");
    await api.change("subnetpool", other.id, { is_default: false }, admin);
    await pool({ prefixes: ["10.8.0.0/16"], is_default: true }, admin);
    expect(await no(400, "BadRequest", { use_default_subnetpool: true, network_id: hidden })).toContain("No default subnetpool found for IPv4");
  });
});

describe("subnets that are there", () => {
  const onto = (p: Shown, network_id: string, who: Who = { project: "p1" }): ReturnType<Api["put"]> => api.put(`subnetpools/${p.id}/onboard_network_subnets`, { network_id }, who);

  test("become a pool's, with their prefixes", async () => {
    const p = await pool({ prefixes: ["10.0.0.0/24"] });
    const [a, six] = [await subnet({ cidr: "10.0.1.0/24" }), await subnet({ cidr: "fd00::/64", ip_version: 6 })];
    expect(await onto(p, net)).toEqual({ status: 200, body: { subnets: [{ id: a.id, cidr: "10.0.1.0/24" }] } });
    expect(await api.show("subnetpool", p.id)).toMatchObject({ prefixes: ["10.0.0.0/23"] });
    expect(await api.show("subnet", a.id)).toMatchObject({ subnetpool_id: p.id, revision_number: 2 });
    expect(await api.show("subnet", six.id)).toMatchObject({ subnetpool_id: null });
    expect((await onto(p, net)).body).toEqual({ subnets: [] });
    await no(409, "SubnetAllocationError", { network_id: await network(), subnetpool_id: p.id, cidr: "10.0.1.0/25" });
  });

  test("not what is taken, what is another pool's, or what is not theirs to give", async () => {
    const [p, other] = [await pool(), await pool({ prefixes: ["10.1.0.0/16"] })];
    await subnet({ subnetpool_id: p.id });
    const at = `subnetpools/${p.id}/onboard_network_subnets`;
    await api.refused(400, "NetworkSubnetPoolAffinityError", "PUT", `subnetpools/${other.id}/onboard_network_subnets`, { network_id: net });
    const clash = await network();
    await subnet({ network_id: clash, cidr: "10.0.0.128/25" });
    await api.refused(400, "IllegalSubnetPoolUpdate", "PUT", at, { network_id: clash });
    await api.refused(404, "NetworkNotFound", "PUT", at, { network_id: UNKNOWN });
    await api.refused(404, "NetworkNotFound", "PUT", at, { network_id: (await api.make("network", {}, p2)).id });
    await api.refused(403, "PolicyNotAuthorized", "PUT", at, { network_id: (await api.make("network", { shared: true }, { project: "p2", roles: "admin" })).id });
    await api.refused(400, "HTTPBadRequest", "PUT", at, {});
  });
});
