// Subnets of a routed network say how others are reached, and DHCP does; nothing of it is anybody's own.
import { afterEach, expect, test } from "vitest";
import { subnetRouteTable } from "../dhcp/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { Harness } from "../../test/support/harness.ts";

let h: Harness;
afterEach(async () => h.close());

test("each subnet has routes to those of its family on other segments, by its gateway, as long as they are there", async () => {
  h = await Harness.make();
  await h.addChassis("hv1", { bridge_mappings: { one: "br-ex", two: "br-ex" } });
  await h.settled();
  const flat = (physnet: string): Record<string, string> => ({ "provider:network_type": "flat", "provider:physical_network": physnet });
  const { id: network_id } = await h.create("network", { segments: [flat("one"), flat("two")] });
  const segments = (await h.call("GET", `/v2.0/segments?network_id=${network_id}&sort_key=physical_network&sort_dir=asc`)).body.segments as { id: string }[];
  const make = (cidr: string, n: 0 | 1, more: Record<string, unknown> = {}): Promise<{ id: string }> => h.create("subnet", { network_id, cidr, ip_version: cidr.includes(":") ? 6 : 4, segment_id: segments[n]!.id, ...more });
  const routes = async ({ id }: { id: string }): Promise<string[]> => ((await h.call("GET", `/v2.0/subnets/${id}`)).body.subnet.host_routes as { destination: string; nexthop: string }[]).map((r) => `${r.destination} ${r.nexthop}`);
  const told = async ({ id }: { id: string }): Promise<string[]> => {
    await h.settled();
    return h.view.by(subnetRouteTable, "subnet", id).filter((r) => r.id.startsWith("segment-routes/")).map((r) => `${r.destination} ${r.nexthop}`).sort();
  };
  const own = { destination: "192.0.2.0/24", nexthop: "10.1.0.9" };
  const a = await make("10.1.0.0/24", 0, { host_routes: [own] });
  const beside = await make("10.3.0.0/24", 0);
  expect([await routes(a), await told(a)]).toEqual([["192.0.2.0/24 10.1.0.9"], []]);
  const b = await make("10.2.0.0/24", 1, { gateway_ip: "10.2.0.254" });
  const six = await make("fd00:1::/64", 0);
  await make("fd00:2::/64", 1);
  expect([await routes(a), await told(a)]).toEqual([["192.0.2.0/24 10.1.0.9", "10.2.0.0/24 10.1.0.1"], ["10.2.0.0/24 10.1.0.1"]]);
  expect(await told(b)).toEqual(["10.1.0.0/24 10.2.0.254", "10.3.0.0/24 10.2.0.254"]);
  expect([await routes(six), await told(six)]).toEqual([["fd00:2::/64 fd00:1::"], []]);
  // Written back, or given otherwise.
  const put = async (host_routes: unknown): Promise<number> => (await h.call("PUT", `/v2.0/subnets/${a.id}`, { subnet: { host_routes } })).status;
  expect(await put([own, { destination: "10.2.0.0/24", nexthop: "10.1.0.1" }])).toBe(200);
  expect(h.view.get(subnetTable, a.id)?.host_routes).toEqual([own]);
  expect(await put([{ destination: "10.2.0.0/24", nexthop: "10.1.0.77" }])).toBe(200);
  expect([await routes(a), await told(a)]).toEqual([["10.2.0.0/24 10.1.0.77"], []]);
  expect(await put([])).toBe(200);
  expect(await routes(a)).toEqual(["10.2.0.0/24 10.1.0.1"]);
  expect((await h.call("PUT", `/v2.0/subnets/${a.id}`, { subnet: { gateway_ip: null } })).status).toBe(200);
  expect([await routes(a), await told(a), await told(beside)]).toEqual([[], [], ["10.2.0.0/24 10.3.0.1"]]);
  expect((await h.call("DELETE", `/v2.0/subnets/${b.id}`)).status).toBe(204);
  expect(await routes(beside)).toEqual([]);
});
