// Zones: of hosts, of networks by where they are, of routers by where their gateways shall be. And who provides what.
import { afterEach, beforeEach, expect, test } from "vitest";
import { hostSessionsTable, learned } from "#app";
import { Harness, type Answer } from "../../test/support/harness.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.make();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

const member = { "x-project-id": "red", "x-roles": "member" };
const get = async (path: string): Promise<Record<string, any>> => (await h.call("GET", `/v2.0/${path}`, undefined, member)).body;
const zones = async (query = ""): Promise<readonly string[]> => (await get(`availability_zones${query}`)).availability_zones.map((z: { name: string; resource: string; state: string }) => `${z.resource} ${z.name} ${z.state}`);
const connect = (id: string): void => h.facts.learn(learned(hostSessionsTable, id, { id, openflow: true, ovsdb: true, startedAt: "2026-01-01T00:00:00Z", lostAt: undefined }));
const post = (collection: string, resource: string, values: object): Promise<Answer> => h.call("POST", `/v2.0/${collection}`, { [resource]: values }, member);

test("there are the zones that hosts name, and nova for those that name none; one with a host that is connected is available", async () => {
  expect(await zones()).toEqual([]);
  await h.addChassis("hv1", { zone: "east" });
  await h.addChassis("hv2");
  await h.settled();
  connect("hv2");
  expect(await zones()).toEqual(["network east unavailable", "network nova available", "router east unavailable", "router nova available"]);
  expect(await zones("?resource=router&state=available")).toEqual(["router nova available"]);
  expect(await zones("?name=east&resource=network")).toEqual(["network east unavailable"]);
});

test("a network is in the zones where it has ports, whatever it was asked for in", async () => {
  await h.addChassis("hv1", { zone: "east" });
  await h.addChassis("hv2", { zone: "west" });
  const network = (await post("networks", "network", { availability_zone_hints: ["east"] })).body.network;
  expect(network).toMatchObject({ availability_zone_hints: ["east"], availability_zones: [] });
  await h.plug("hv2", (await post("ports", "port", { network_id: network.id })).body.port.id, 10);
  await h.settled();
  expect((await get(`networks/${network.id}`)).network).toMatchObject({ availability_zone_hints: ["east"], availability_zones: ["west"] });
  expect((await post("networks", "network", {})).body.network).toMatchObject({ availability_zone_hints: [], availability_zones: [] });
});

test("bad hints are refused, and nothing is made", async () => {
  await h.addChassis("hv1", { zone: "east" });
  for (const [collection, resource] of [["networks", "network"], ["routers", "router"]] as const) {
    for (const [hints, status, type] of [[["east", "mars"], 404, "AvailabilityZoneNotFound"], [["nova"], 404, "AvailabilityZoneNotFound"], ["east", 400, "HTTPBadRequest"], [["east", "east"], 400, "HTTPBadRequest"], [[""], 400, "HTTPBadRequest"], [[7], 400, "HTTPBadRequest"]] as const) {
      const answer = await post(collection, resource, { availability_zone_hints: hints });
      expect([answer.status, answer.body.NeutronError.type], JSON.stringify(hints)).toEqual([status, type]);
    }
    expect((await get(collection))[collection]).toEqual([]);
    const made = (await post(collection, resource, { availability_zone_hints: ["east"] })).body[resource];
    expect((await h.call("PUT", `/v2.0/${collection}/${made.id}`, { [resource]: { availability_zone_hints: [] } }, member)).status).toBe(400);
    expect((await h.call("DELETE", `/v2.0/${collection}/${made.id}`, undefined, member)).status).toBe(204);
  }
  expect([...(await h.stored()).keys()].filter((key) => key.includes("zone_hints"))).toEqual([]);
});

test("the gateways of a router are on hosts of its zones first, and elsewhere where these have none", async () => {
  for (let n = 1; n <= 8; n++) await h.addChassis(`hv${n}`, { gateway: true, bridge_mappings: { physnet1: "br-ex" }, zone: n <= 2 ? "east" : "west" });
  const outside = await h.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "physnet1" });
  await h.create("subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24" });
  let router: { readonly id: string } | undefined;
  const hosts = async (zone: string): Promise<readonly string[]> => {
    router = await h.create("router", { availability_zone_hints: [zone], external_gateway_info: { network_id: outside.id } });
    await h.settled();
    return ((await h.call("GET", `/v2.0/routers/${router.id}?fields=axion:gateway_hosts`)).body.router["axion:gateway_hosts"] as { hosts: { host: string }[] }[])[0]!.hosts.map((host) => host.host);
  };
  for (let i = 0; i < 5; i++) {
    const east = await hosts("east");
    expect([...east.slice(0, 2)].sort()).toEqual(["hv1", "hv2"]);
    expect(east).toHaveLength(3);
    for (const host of await hosts("west")) expect(["hv1", "hv2"]).not.toContain(host);
  }
  await hosts("east");
  expect((await h.call("GET", `/v2.0/routers/${router!.id}`)).body.router).toMatchObject({ availability_zone_hints: ["east"], availability_zones: ["east", "west"] });
});

test("routers that translate have a provider, as long as they do", async () => {
  expect((await get("service-providers")).service_providers).toEqual([{ service_type: "L3_ROUTER_NAT", name: "axion", default: true }]);
  expect((await get("service-providers?service_type=LOADBALANCERV2")).service_providers).toEqual([]);
  h = await h.restart(["nat"]);
  expect((await h.call("GET", "/v2.0/service-providers", undefined, member)).status).toBe(404);
});
