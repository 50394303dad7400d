// Routed networks: a port has addresses of the segment that its host is on, once that is known; what would break that is refused.
import { afterEach, expect, test } from "vitest";
import { deferredPortTable } from "../ipam/model.ts";
import { compare } from "../../test/support/from-scratch.ts";
import { Harness } from "../../test/support/harness.ts";

let h: Harness;
afterEach(async () => h.close());

type Values = Readonly<Record<string, unknown>>;
type Shown = { readonly id: string } & Values;
interface Port extends Shown { readonly fixed_ips: readonly { readonly ip_address: string; readonly subnet_id: string }[] }

let network: string;
let one: string;
let two: string;
const NOBODY = "00000000-0000-0000-0000-000000000000";
const flat = (physnet: string): Values => ({ "provider:network_type": "flat", "provider:physical_network": physnet });

/** hv1 is on the first segment of a network, hv2 on the second, hv3 on none. */
async function make(segments: readonly Values[] = [flat("one"), flat("two")]): Promise<void> {
  h = await Harness.make();
  await h.addChassis("hv1", { bridge_mappings: { one: "br-ex" } });
  await h.addChassis("hv2", { bridge_mappings: { two: "br-ex" } });
  await h.addChassis("hv3");
  await h.settled();
  network = (await h.create("network", segments.length > 1 ? { segments } : { ...segments[0] })).id;
  const rows = (await h.call("GET", `/v2.0/segments?network_id=${network}`)).body.segments as { id: string; physical_network: string | null }[];
  one = rows.find((s) => s.physical_network === "one")!.id;
  two = rows.find((s) => s.physical_network === "two")?.id ?? "";
}
const subnet = (cidr: string, segment_id: string | null, more: Values = {}): Promise<Shown> => h.create("subnet", { network_id: network, ip_version: cidr.includes(":") ? 6 : 4, cidr, segment_id, ...more });
async function routed(): Promise<void> {
  await make();
  await subnet("10.1.0.0/24", one);
  await subnet("10.2.0.0/24", two);
}
const port = async (more: Values = {}): Promise<Port> => (await h.create("port", { network_id: network, ...more })) as unknown as Port;
const show = async (id: string): Promise<Port> => (await h.call("GET", `/v2.0/ports/${id}`)).body.port as Port;
const has = ({ fixed_ips, ip_allocation }: Port): unknown[] => [ip_allocation, ...fixed_ips.map((f) => f.ip_address.replace(/\.\d+$/, ".*"))];
async function refused(method: "POST" | "PUT" | "DELETE", path: string, body?: Values): Promise<string> {
  await h.settled();
  const before = h.model.generation;
  const { status, body: answer } = await h.call(method, `/v2.0/${path}`, body, {});
  expect(h.model.generation, JSON.stringify(answer)).toBe(before);
  return `${status} ${answer.NeutronError?.type}`;
}
const update = async (id: string, changes: Values): Promise<Port> => {
  const { status, body } = await h.call("PUT", `/v2.0/ports/${id}`, { port: changes });
  expect(status, JSON.stringify(body)).toBe(200);
  return body.port as Port;
};

test("a port whose host is asked for has addresses of its segment; without one it waits until it is bound", async () => {
  await routed();
  await subnet("fd00:1::/64", one, { ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
  expect(has(await port({ "binding:host_id": "hv1" }))).toEqual(["immediate", "10.1.0.*", expect.stringContaining("fd00:1:")]);
  expect(has(await port({ "binding:host_id": "hv2" }))).toEqual(["immediate", "10.2.0.*"]);
  const waits = await port();
  expect(has(waits)).toEqual(["deferred"]);
  expect((await h.call("GET", "/v2.0/ports?ip_allocation=deferred")).body.ports.map((p: Shown) => p.id)).toEqual([waits.id]);
  const bound = await update(waits.id, { "binding:host_id": "hv2" });
  expect(has(bound)).toEqual(["immediate", "10.2.0.*"]);
  // It keeps what it has when it is bound nowhere, and goes where it may.
  expect(has(await update(waits.id, { "binding:host_id": "" }))).toEqual(has(bound));
  expect(await refused("PUT", `ports/${waits.id}`, { port: { "binding:host_id": "hv1" } })).toBe("409 HostNotCompatibleWithFixedIps");
  const moved = await update(waits.id, { "binding:host_id": "hv1", fixed_ips: [{ subnet_id: (await show((await port({ "binding:host_id": "hv1" })).id)).fixed_ips[0]!.subnet_id }] });
  expect(has(moved)).toEqual(["immediate", "10.1.0.*", expect.stringContaining("fd00:1:")]);
  expect([...h.view.all(deferredPortTable)]).toEqual([]);
  compare(h);
});

test("one that is plugged without a host having been named gets its addresses then, and where there are none when there are", async () => {
  await make();
  await subnet("10.1.0.0/24", one);
  const [a, b] = [await port(), await port()];
  await h.plug("hv1", a.id, 10);
  await h.plug("hv2", b.id, 10);
  await h.settled();
  expect(has(await show(a.id))).toEqual(["immediate", "10.1.0.*"]);
  expect((await show(a.id)).revision_number).toBeGreaterThan(a.revision_number as number);
  expect(has(await show(b.id))).toEqual(["deferred"]);
  const problems = (): string[] => h.apps.flatMap((app) => (app.name === "segments" ? (app.problems?.(h.view) ?? []) : [])).map((p) => p.kind);
  expect(problems()).toEqual(["no_address_at_segment"]);
  await subnet("10.2.0.0/24", two);
  await h.settled();
  expect(has(await show(b.id))).toEqual(["immediate", "10.2.0.*"]);
  expect(problems()).toEqual([]);
  // Moved by its plug alone, it has addresses that lead nobody there.
  await h.unplug("hv2", b.id);
  await h.plug("hv1", b.id, 11);
  await h.settled();
  expect(problems()).toEqual(["address_of_other_segment"]);
  expect((await h.call("DELETE", `/v2.0/ports/${(await port()).id}`)).status).toBe(204);
  expect([...h.view.all(deferredPortTable)]).toEqual([]);
});

test("one that waits at a host of no segment gets an address once the network is no routed one any more", async () => {
  await make();
  const only = await subnet("10.1.0.0/24", one);
  const waits = await port();
  await h.plug("hv3", waits.id, 10);
  await h.settled();
  expect(has(await show(waits.id))).toEqual(["deferred"]);
  expect((await h.call("DELETE", `/v2.0/subnets/${only.id}`)).status).toBe(204);
  await subnet("10.9.0.0/24", null);
  await h.settled();
  expect(has(await show(waits.id))).toEqual(["immediate", "10.9.0.*"]);
});

test("addresses that are asked for are of one segment, and of that of the host", async () => {
  await routed();
  const all = (await h.call("GET", `/v2.0/subnets?network_id=${network}`)).body.subnets as { id: string; cidr: string }[];
  const [s1, s2] = ["10.1.0.0/24", "10.2.0.0/24"].map((cidr) => ({ subnet_id: all.find((s) => s.cidr === cidr)!.id }));
  const ports = (body: Values): Promise<string> => refused("POST", "ports", { port: { network_id: network, ...body } });
  expect(has(await port({ fixed_ips: [s2] }))).toEqual(["immediate", "10.2.0.*"]);
  expect(has(await port({ fixed_ips: [{ ip_address: "10.1.0.77" }] }))).toEqual(["immediate", "10.1.0.*"]);
  expect(await ports({ fixed_ips: [s1, s2] })).toBe("400 FixedIpsSubnetsNotOnSameSegment");
  expect(await ports({ fixed_ips: [s1], "binding:host_id": "hv2" })).toBe("400 InvalidInput");
  expect(await ports({ "binding:host_id": "hv3" })).toBe("409 HostNotConnectedToAnySegment");
  expect(await ports({ "binding:host_id": "elsewhere" })).toBe("409 HostNotConnectedToAnySegment");
  expect(has(await port({ fixed_ips: [] }))).toEqual(["none"]);
  expect(has(await port({ fixed_ips: [], "binding:host_id": "hv3" }))).toEqual(["none"]);
  // Where neither gateways nor floating IPs could be, there are none.
  expect((await h.call("PUT", `/v2.0/networks/${network}`, { network: { "router:external": true } })).status).toBe(200);
  expect(await refused("POST", "routers", { router: { external_gateway_info: { network_id: network } } })).toBe("400 BadRequest");
  expect(await refused("POST", "floatingips", { floatingip: { floating_network_id: network } })).toBe("400 BadRequest");
});

test("of a network all subnets are on segments, or none is; a segment with subnets stays", async () => {
  await make();
  const subnets = (cidr: string, segment_id: string | null): Promise<string> => refused("POST", "subnets", { subnet: { network_id: network, ip_version: 4, cidr, segment_id } });
  expect(await subnets("10.1.0.0/24", NOBODY)).toBe("404 SegmentNotFound");
  expect(await subnets("10.1.0.0/24", "x")).toBe("400 HTTPBadRequest");
  const other = await h.create("network", {});
  const [foreign] = (await h.call("GET", `/v2.0/segments?network_id=${other.id}`)).body.segments as Shown[];
  expect(await subnets("10.1.0.0/24", foreign!.id)).toBe("400 NetworkIdsDontMatch");
  expect((await h.call("GET", `/v2.0/networks/${network}`)).body.network.l2_adjacency).toBe(false);
  const first = await subnet("10.1.0.0/24", one);
  expect(first.segment_id).toBe(one);
  expect((await h.call("GET", `/v2.0/subnets?segment_id=${one}`)).body.subnets.map((s: Shown) => s.id)).toEqual([first.id]);
  expect(await subnets("10.2.0.0/24", null)).toBe("400 SubnetsNotAllAssociatedWithSegments");
  expect(await refused("DELETE", `segments/${one}`)).toBe("409 SegmentInUse");
  expect(await refused("PUT", `subnets/${first.id}`, { subnet: { segment_id: two } })).toBe("400 SubnetSegmentAssociationChangeNotAllowed");
  expect(await refused("PUT", `subnets/${first.id}`, { subnet: { segment_id: null } })).toBe("400 SubnetSegmentAssociationChangeNotAllowed");
  expect((await h.call("DELETE", `/v2.0/subnets/${first.id}`)).status).toBe(204);
  const plain = await subnet("10.1.0.0/24", null);
  expect(await subnets("10.2.0.0/24", one)).toBe("400 SubnetsNotAllAssociatedWithSegments");
  expect(await refused("PUT", `subnets/${plain.id}`, { subnet: { segment_id: one } })).toBe("400 NoUpdateSubnetWhenMultipleSegmentsOnNetwork");
  expect((await h.call("DELETE", `/v2.0/segments/${two}`)).status).toBe(204);
  await subnet("10.3.0.0/24", null);
  expect(await refused("PUT", `subnets/${plain.id}`, { subnet: { segment_id: one } })).toBe("400 SubnetsNotAllAssociatedWithSegments");
});

test("a network that is there becomes a routed one: its subnet is put on its segment, and more of both come", async () => {
  await make([flat("one")]);
  const plain = await subnet("10.1.0.0/24", null);
  const before = await port();
  expect(has(before)).toEqual(["immediate", "10.1.0.*"]);
  expect((await h.call("PUT", `/v2.0/subnets/${plain.id}`, { subnet: { segment_id: one } })).body.subnet.segment_id).toBe(one);
  const { body } = await h.call("POST", "/v2.0/segments", { segment: { network_id: network, network_type: "flat", physical_network: "two" } });
  await subnet("10.2.0.0/24", body.segment.id as string);
  expect(has(await show(before.id))).toEqual(has(before));
  expect(has(await port({ "binding:host_id": "hv2" }))).toEqual(["immediate", "10.2.0.*"]);
  expect(has(await port())).toEqual(["deferred"]);
  // Of a member segments are nothing to see, nor to give.
  const member = { "x-project-id": "p", "x-roles": "member" };
  const own = await h.create("network", { project_id: "p" });
  const [segment] = (await h.call("GET", `/v2.0/segments?network_id=${own.id}`)).body.segments as Shown[];
  const post = (more: Values): Promise<{ status: number; body: Record<string, Values> }> => h.call("POST", "/v2.0/subnets", { subnet: { network_id: own.id, ip_version: 4, cidr: "10.9.0.0/24", ...more } }, member);
  expect((await post({ segment_id: segment!.id })).status).toBe(403);
  const made = await post({});
  expect([made.status, "segment_id" in made.body.subnet!]).toEqual([201, false]);
  h = await h.restart();
  expect(h.takenBack).toEqual([]);
  // Without the app there are no segments for it to be on, and ports have addresses of any subnet.
  h = await h.restart(["segments"]);
  expect(has(await port())).toEqual(["immediate", expect.any(String)]);
});
