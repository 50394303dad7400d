// Segments: every network has them from the start; one that is added carries what is sent at once, one that is taken away leaves nothing.
import { afterEach, expect, test } from "vitest";
import { segmentTable } from "../l2/model.ts";
import { vniOf } from "../overlay/model.ts";
import { compare } from "../../test/support/from-scratch.ts";
import { Harness } from "../../test/support/harness.ts";

let h: Harness;
afterEach(async () => h.close());

type Values = Readonly<Record<string, unknown>>;
type Shown = { readonly id: string } & Values;
const SEGMENTS = "/v2.0/segments";

async function make(provider: Values = {}): Promise<void> {
  h = await Harness.make([], undefined, { settings: new Map([["provider", provider], ["overlay", { "physical-network-mtus": new Map([["physnet1", 9000]]) }]]) });
  await h.addChassis("hv1", { bridge_mappings: { physnet1: "br-ex" } });
  await h.addChassis("hv2", { bridge_mappings: { physnet1: "br-ex", physnet2: "br-two" } });
  await h.addChassis("hv3");
  await h.settled();
}
const list = async (query = ""): Promise<Shown[]> => (await h.call("GET", `${SEGMENTS}${query}`)).body.segments as Shown[];
const show = async (id: string): Promise<Shown> => (await h.call("GET", `${SEGMENTS}/${id}`)).body.segment as Shown;
const network = async (id: string): Promise<Shown> => (await h.call("GET", `/v2.0/networks/${id}`)).body.network as Shown;
const what = (s: Shown): unknown[] => [s.network_type, s.physical_network, s.segmentation_id];
const vlan = (n?: number, physnet = "physnet1"): Values => ({ network_type: "vlan", physical_network: physnet, ...(n !== undefined && { segmentation_id: n }) });
const provided = (values: Values): Values => Object.fromEntries(Object.entries(values).map(([key, value]) => [`provider:${key}`, value]));
async function add(network_id: string, values: Values): Promise<Shown> {
  const { status, body } = await h.call("POST", SEGMENTS, { segment: { network_id, ...values } });
  expect(status, JSON.stringify(body)).toBe(201);
  await h.settled();
  return body.segment as Shown;
}
async function refused(method: "POST" | "PUT" | "DELETE", path: string, values?: Values, headers: Record<string, string> = {}): Promise<string> {
  await h.settled();
  const before = h.model.generation;
  const { status, body } = await h.call(method, path, values === undefined ? undefined : { segment: values }, headers);
  expect(h.model.generation).toBe(before);
  return `${status} ${body.NeutronError?.type}: ${body.NeutronError?.message}`;
}
async function plug(host: string, network_id: string, ofport: number): Promise<string> {
  const { id } = await h.create("port", { network_id });
  await h.plug(host, id, ofport);
  await h.settled();
  return id;
}
const problems = (): string[] => Array.from(h.claims.problems(), (p) => p.text);

test("every network has its segments from the start, found by what they are, and an administrator's alone", async () => {
  await make();
  const plain = await h.create("network", { name: "plain", project_id: "p" });
  const several = await h.create("network", { segments: [provided(vlan(100)), provided({ network_type: "geneve", segmentation_id: 7 })] });
  const local = await h.create("network", provided({ network_type: "local" }));
  expect((await list(`?network_id=${plain.id}`)).map(what)).toEqual([["geneve", null, vniOf(h.view, plain.id)]]);
  expect((await list(`?network_id=${several.id}&sort_key=network_type&sort_dir=asc`)).map(what)).toEqual([["geneve", null, 7], ["vlan", "physnet1", 100]]);
  expect((await list(`?network_id=${local.id}`)).map(what)).toEqual([["local", null, null]]);
  expect((await list("?network_type=vlan")).map((s) => s.network_id)).toEqual([several.id]);
  expect((await list("?physical_network=physnet1")).map((s) => s.network_id)).toEqual([several.id]);
  const [one] = await list(`?network_id=${plain.id}`);
  expect(one).toMatchObject({ name: "", description: "", tags: [], revision_number: 1 });
  expect(one).not.toHaveProperty("project_id");
  const member = { "x-project-id": "p", "x-roles": "member" };
  expect((await h.call("GET", SEGMENTS, undefined, member)).body.segments).toEqual([]);
  expect((await h.call("GET", `${SEGMENTS}/${one!.id}`, undefined, member)).status).toBe(404);
  expect(await refused("POST", SEGMENTS, { network_id: plain.id, ...vlan(5) }, member)).toMatch(/^403/);
  expect(await refused("DELETE", `${SEGMENTS}/${one!.id}`, undefined, member)).toMatch(/^404/);
  const { status, body } = await h.call("PUT", `${SEGMENTS}/${one!.id}`, { segment: { name: "n", description: "d" } });
  expect([status, body.segment]).toMatchObject([200, { id: one!.id, name: "n", description: "d", revision_number: 2 }]);
  expect(await refused("PUT", `${SEGMENTS}/${one!.id}`, { segmentation_id: 9 })).toMatch(/^400 .*segmentation_id/);
  for (const { id } of [plain, several, local]) expect((await h.call("DELETE", `/v2.0/networks/${id}`)).status).toBe(204);
  expect(await list()).toEqual([]);
});

test("one that is added to a network is used at once, as if the network had been made with it; taken away, it leaves nothing", async () => {
  await make();
  const { id } = await h.create("network", provided(vlan(100)));
  for (const [i, host] of ["hv1", "hv2"].entries()) await plug(host, id, 10 + i);
  const [first] = await list(`?network_id=${id}`);
  const before = ["hv1", "hv2", "hv3"].map((host) => [...h.engine.flowsOf(host)].map((f) => f.key).sort());
  const mtu = (await network(id)).mtu;
  const added = await add(id, { network_type: "geneve", name: "tunnels" });
  expect([added.name, added.network_id]).toEqual(["tunnels", id]);
  expect(added.segmentation_id).toBe(vniOf(h.view, id));
  expect((await network(id)).segments).toEqual([provided(Object.fromEntries(["network_type", "physical_network", "segmentation_id"].map((k, i) => [k, what(first!)[i]]))), provided({ network_type: "geneve", physical_network: null, segmentation_id: added.segmentation_id })]);
  expect((await network(id)).mtu).toBe(1442);
  expect((await show(first!.id)).segmentation_id).toBe(100);
  // A host that is on no physical network is on it now.
  const far = await plug("hv3", id, 12);
  expect((await h.call("GET", `/v2.0/ports/${far}`)).body.port["binding:vif_type"]).toBe("ovs");
  compare(h);
  expect(await refused("DELETE", `${SEGMENTS}/${added.id}`)).toBe(`409 SegmentInUse: Segment '${added.id}' cannot be deleted: port ${far} is at a host that has no other segment of the network.`);
  await h.unplug("hv3", far);
  expect((await h.call("DELETE", `/v2.0/ports/${far}`)).status).toBe(204);
  expect((await h.call("DELETE", `${SEGMENTS}/${added.id}`)).status).toBe(204);
  await h.settled();
  compare(h);
  expect(["hv1", "hv2", "hv3"].map((host) => [...h.engine.flowsOf(host)].map((f) => f.key).sort())).toEqual(before);
  expect([(await network(id)).mtu, vniOf(h.view, id), problems()]).toEqual([mtu, undefined, []]);
  expect(await refused("DELETE", `${SEGMENTS}/${first!.id}`)).toBe(`409 SegmentInUse: Segment '${first!.id}' cannot be deleted: it is the only segment of its network.`);
  expect((await list(`?network_id=${id}`)).map((s) => s.id)).toEqual([first!.id]);
});

test("to a network whose type nobody chose one is added beside what it was shown to be, with the number and the id that it had", async () => {
  await make();
  const { id } = await h.create("network", {});
  for (const [i, host] of ["hv1", "hv2", "hv3"].entries()) await plug(host, id, 10 + i);
  const [own] = await list(`?network_id=${id}`);
  const added = await add(id, vlan(100));
  expect((await list(`?network_id=${id}`)).map((s) => [s.id, ...what(s)]).sort()).toEqual([[own!.id, ...what(own!)], [added.id, "vlan", "physnet1", 100]].sort());
  expect([vniOf(h.view, id), problems()]).toEqual([own!.segmentation_id, []]);
  expect(h.view.by(segmentTable, "network", id).map((s) => s.type).sort()).toEqual(["geneve", "vlan"]);
  compare(h);
  // Either may go; hv3 has tunnels alone.
  expect(await refused("DELETE", `${SEGMENTS}/${own!.id}`)).toMatch(/^409 SegmentInUse.*at a host that has no other/);
  expect((await h.call("DELETE", `${SEGMENTS}/${added.id}`)).status).toBe(204);
  await h.settled();
  compare(h);
  expect((await network(id))["provider:network_type"]).toBe("geneve");
  // The VLAN is free.
  await h.create("network", provided(vlan(100)));
  // A host of the network without tunnels of that kind keeps it from being said.
  await h.addChassis("hv4", { encap_types: ["vxlan"] });
  const shared = (await h.create("network", {})).id;
  const there = await plug("hv4", shared, 10);
  expect(await refused("POST", SEGMENTS, { network_id: shared, ...vlan(101) })).toBe(`409 SegmentInUse: The network has no segment of a chosen type, and port ${there} is at a host without geneve tunnels.`);
});

test("a network says whether its ports hear each other: with tunnels among its segments they do", async () => {
  await make();
  const { id } = await h.create("network", provided(vlan(100)));
  const adjacent = async (): Promise<unknown> => (await network(id)).l2_adjacency;
  expect(await adjacent()).toBe(true);
  await add(id, vlan(200, "physnet2"));
  expect(await adjacent()).toBe(false);
  const tunnels = await add(id, { network_type: "vxlan" });
  expect(await adjacent()).toBe(true);
  expect((await h.call("DELETE", `${SEGMENTS}/${tunnels.id}`)).status).toBe(204);
  expect(await adjacent()).toBe(false);
  expect((await network((await h.create("network", {})).id)).l2_adjacency).toBe(true);
});

test("what a network cannot have is refused, by name, and nothing is written", async () => {
  await make({ "vlan-ranges": new Map([["physnet1", [[300, 300]]], ["physnet2", []]]) });
  const { id: network_id } = await h.create("network", { ...provided(vlan(100)), mtu: 9000 });
  await h.create("network", provided(vlan(200, "physnet2")));
  const post = (values: Values): Promise<string> => refused("POST", SEGMENTS, { network_id, ...values });
  expect(await refused("POST", SEGMENTS, { network_id: "00000000-0000-0000-0000-000000000000", ...vlan(5) })).toMatch(/^404 NetworkNotFound/);
  expect(await refused("POST", SEGMENTS, { network_id })).toMatch(/^400 .*network_type/);
  expect(await post({ network_type: "token-ring" })).toMatch(/^400 InvalidInput.*'token-ring' not supported/);
  expect(await post({ network_type: "vlan" })).toMatch(/^400 InvalidInput.*physical_network required/);
  expect(await post(vlan(101))).toMatch(/^400 InvalidInput.*one segment on each physical network/);
  expect(await post(vlan(200, "physnet2"))).toMatch(/^409 VlanIdInUse/);
  expect(await post(vlan(undefined, "physnet2"))).toMatch(/^503 NoNetworkAvailable/);
  expect(await post(vlan(5, "elsewhere"))).toMatch(/^400 InvalidInput.*unknown/);
  expect(await post({ network_type: "local" })).toMatch(/^400 InvalidInput.*local segment stands alone/);
  expect(await post({ network_type: "geneve", segmentation_id: 2 ** 24 })).toMatch(/^400 InvalidInput.*out of range/);
  expect(await post({ network_type: "geneve" })).toMatch(/^400 InvalidInput.*MTU of 9000 is too big for the segment, maximum is 1442/);
  const transparent = (await h.create("network", { ...provided({ network_type: "geneve" }), vlan_transparent: true })).id;
  expect(await refused("POST", SEGMENTS, { network_id: transparent, network_type: "flat", physical_network: "physnet1" })).toMatch(/^400 VlanTransparencyDriverError/);
  expect(await refused("POST", SEGMENTS, { network_id: transparent, network_type: "vxlan" })).toMatch(/^400 InvalidInput.*one tunnel segment/);
  expect((await add(transparent, vlan())).segmentation_id).toBe(300);
  expect(await refused("PUT", `${SEGMENTS}/${"0".repeat(8)}-0000-0000-0000-000000000000`, { name: "x" })).toMatch(/^404 SegmentNotFound/);
});

test("ids stay: over a restart, and while the app is not there; what was made meanwhile has segments after it", async () => {
  await make();
  const { id } = await h.create("network", provided(vlan(100)));
  const added = await add(id, { network_type: "geneve" });
  const before = await list();
  h = await h.restart();
  expect(h.takenBack).toEqual([]);
  expect(await list()).toEqual(before);
  h = await h.restart(["segments"]);
  expect((await h.call("GET", SEGMENTS)).status).toBe(404);
  const made = (await h.create("network", {})).id;
  h = await h.restart([]);
  expect((await list(`?network_id=${id}`)).map((s) => s.id).sort()).toEqual(before.map((s) => s.id).sort());
  expect((await list(`?network_id=${made}`)).map((s) => s.network_type)).toEqual(["geneve"]);
  h = await h.restart(["segments"]);
  expect((await h.call("DELETE", `/v2.0/networks/${id}`)).status).toBe(204);
  h = await h.restart([]);
  expect((await h.call("GET", `${SEGMENTS}/${added.id}`)).status).toBe(404);
  expect(await list()).toHaveLength(1);
});
