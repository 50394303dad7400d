// Ranges of segmentation ids: who gets numbers of which, what is shown of them, and what is refused.
import { afterEach, expect, test } from "vitest";
import { Harness } from "../../test/support/harness.ts";

let h: Harness;
afterEach(async () => h.close());

type Values = Readonly<Record<string, unknown>>;
type Shown = { readonly id: string } & Values;
const RANGES = "/v2.0/network_segment_ranges";

async function make(provider: Values = {}, overlay: Values = {}, disabled: readonly string[] = []): Promise<void> {
  h = await Harness.make([], undefined, { settings: new Map([["provider", provider], ["overlay", overlay]]), disabled });
  await h.addChassis("hv1", { bridge_mappings: { physnet1: "br-ex" } });
}
const VLANS = { "tenant-network-types": ["vlan"], "vlan-ranges": new Map([["physnet1", [[100, 109]]]]) };

async function create(values: Values): Promise<Shown> {
  const { status, body } = await h.call("POST", RANGES, { network_segment_range: values });
  expect(status, JSON.stringify(body)).toBe(201);
  return body.network_segment_range as Shown;
}
async function refused(method: "GET" | "POST" | "PUT" | "DELETE", path: string, values?: Values): Promise<string> {
  await h.settled();
  const before = h.model.generation;
  const { status, body } = await h.call(method, path, values === undefined ? undefined : { network_segment_range: values });
  expect(h.model.generation).toBe(before);
  return `${status} ${body.NeutronError?.type}: ${body.NeutronError?.message}`;
}
const list = async (query = ""): Promise<Shown[]> => (await h.call("GET", `${RANGES}${query}`)).body.network_segment_ranges as Shown[];
const show = async (id: string): Promise<Shown> => (await h.call("GET", `${RANGES}/${id}`)).body.network_segment_range as Shown;
const member = (project: string): Record<string, string> => ({ "x-project-id": project, "x-roles": "member" });
/** A network of a project, as an administrator sees it. */
async function network(project: string, values: Values = {}): Promise<[id: string, type: unknown, physnet: unknown, n: unknown]> {
  const { status, body } = await h.call("POST", "/v2.0/networks", { network: { project_id: project, ...values } });
  if (status !== 201) throw new Error(`${status} ${body.NeutronError.type}`);
  const n = body.network as Shown;
  return [n.id, n["provider:network_type"], n["provider:physical_network"], n["provider:segmentation_id"]];
}
const vlan = (minimum: number, maximum: number, more: Values = {}): Values => ({ network_type: "vlan", physical_network: "physnet1", minimum, maximum, ...more });

test("what is configured is shown with ids that stay, and can not be changed", async () => {
  await make(VLANS, { "vni-ranges": [[70, 79]] });
  const before = h.model.generation;
  // Nobody else's list makes them.
  expect((await h.call("GET", RANGES, undefined, member("p"))).body.network_segment_ranges).toEqual([]);
  expect(h.model.generation).toBe(before);
  const rows = await list();
  expect(rows.map((r) => [r.network_type, r.physical_network, r.minimum, r.maximum, r.default, r.shared, r.project_id]).sort()).toEqual([
    ["geneve", null, 70, 79, true, true, ""], ["gre", null, 70, 79, true, true, ""], ["vlan", "physnet1", 100, 109, true, true, ""], ["vxlan", null, 70, 79, true, true, ""],
  ]);
  const generation = h.model.generation;
  expect((await list()).map((r) => r.id)).toEqual(rows.map((r) => r.id));
  expect(h.model.generation).toBe(generation);
  const { id } = rows.find((r) => r.network_type === "vlan")!;
  expect(await refused("PUT", `${RANGES}/${id}`, { maximum: 110 })).toMatch(/^400 NetworkSegmentRangeDefaultReadOnly: .*default segment range/);
  expect(await refused("DELETE", `${RANGES}/${id}`)).toMatch(/^400 NetworkSegmentRangeDefaultReadOnly/);
  expect((await h.call("PUT", `${RANGES}/${id}/tags/mine`)).status).toBe(201);
  expect((await list("?tags=mine")).map((r) => r.id)).toEqual([id]);
  expect((await list("?network_type=vlan&physical_network=physnet1")).map((r) => r.id)).toEqual([id]);
});

test("a project's networks get numbers of its own range first, and nobody else does", async () => {
  await make(VLANS);
  const own = await create(vlan(102, 103, { shared: false, project_id: "a", name: "a's" }));
  expect([own.shared, own.project_id, own.default, own.used, own.available]).toEqual([false, "a", false, {}, [102, 103]]);
  const numbers = async (project: string, count: number): Promise<unknown[]> => Promise.all(Array.from({ length: count }, async () => (await network(project))[3]));
  expect(await numbers("b", 3)).toEqual([100, 101, 104]);
  expect(await numbers("a", 3)).toEqual([102, 103, 105]);
  expect(await show(own.id)).toMatchObject({ used: { 102: "a", 103: "a" }, available: [] });
  await numbers("b", 4);
  await expect(network("b")).rejects.toThrow("503 NoNetworkAvailable");
  // A number that an administrator names is anybody's, as ever.
  await create(vlan(200, 201));
  expect((await network("c"))[3]).toBe(200);
  expect((await network("c", { "provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 300 }))[3]).toBe(300);
  expect((await network("c", { "provider:network_type": "vlan", "provider:physical_network": "physnet1" }))[3]).toBe(201);
});

test("VNIs are drawn from ranges too: of the type, or of any where nobody chose one", async () => {
  await make({}, { "vni-ranges": [[70, 71]] });
  await create({ network_type: "vxlan", minimum: 5000, maximum: 5001, shared: false, project_id: "a" });
  expect((await network("b"))[3]).toBe(70);
  expect([(await network("a"))[3], (await network("a"))[3], (await network("a"))[3]]).toEqual([5000, 5001, 71]);
  await expect(network("b")).rejects.toThrow("503 NoNetworkAvailable");
  await create({ network_type: "gre", minimum: 6000, maximum: 6009 });
  expect((await network("b"))[3]).toBe(6000);
  await expect(network("a", { "provider:network_type": "vxlan" })).rejects.toThrow("503 NoNetworkAvailable");
  expect((await network("a", { "provider:network_type": "gre" }))[3]).toBe(6001);
});

test("a range that networks have numbers of stays, and may grow; one that nobody uses goes", async () => {
  await make(VLANS);
  const { id } = await create(vlan(200, 209, { shared: false, project_id: "a" }));
  const made = [await network("a"), await network("a")];
  expect(made.map((n) => n[3])).toEqual([200, 201]);
  expect(await refused("DELETE", `${RANGES}/${id}`)).toMatch(/^409 NetworkSegmentRangeReferencedByProject/);
  expect(await refused("PUT", `${RANGES}/${id}`, { minimum: 201 })).toMatch(/^409 NetworkSegmentRangeReferencedByProject/);
  const { body, status } = await h.call("PUT", `${RANGES}/${id}`, { network_segment_range: { minimum: 199, maximum: 202, name: "n", description: "d" } });
  expect([status, body.network_segment_range]).toMatchObject([200, { name: "n", description: "d", minimum: 199, maximum: 202, available: [199, 202], revision_number: 2 }]);
  for (const [network] of made) expect((await h.call("DELETE", `/v2.0/networks/${network}`)).status).toBe(204);
  await h.settled();
  // Another project's number, that an administrator gave it, is no matter of it.
  await network("b", { "provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 200 });
  expect((await show(id)).used).toEqual({ 200: "b" });
  expect((await h.call("DELETE", `${RANGES}/${id}`)).status).toBe(204);
  expect(await refused("GET", `${RANGES}/${id}`)).toMatch(/^404 NetworkSegmentRangeNotFound/);
});

test("what is not as it has to be is refused, by name, and nothing is written", async () => {
  await make(VLANS);
  await list();
  const range = await create(vlan(200, 209));
  const post = (values: Values): Promise<string> => refused("POST", RANGES, values);
  expect(await post({ minimum: 1, maximum: 2 })).toMatch(/^400 InvalidInput: .*network_type required/);
  expect(await post({ network_type: "flat", minimum: 1, maximum: 2 })).toMatch(/^400 .*network_type/);
  expect(await post({ network_type: "vlan", minimum: 1, maximum: 2 })).toMatch(/physical_network required for vlan/);
  expect(await post(vlan(1, 2, { physical_network: "elsewhere" }))).toMatch(/physical_network 'elsewhere' unknown/);
  expect(await post({ network_type: "vxlan", physical_network: "physnet1", minimum: 1, maximum: 2 })).toMatch(/physical_network prohibited for vxlan/);
  expect(await post(vlan(4000, 4095))).toMatch(/maximum 4095 is out of range for vlan/);
  expect(await post({ network_type: "gre", minimum: 1, maximum: 2 ** 24 })).toMatch(/maximum 16777216 is out of range for gre/);
  expect(await post(vlan(20, 10))).toMatch(/minimum 20 is larger than maximum 10/);
  expect(await post(vlan(0, 10))).toMatch(/^400 .*minimum/);
  expect(await post(vlan(1, 10, { shared: false, project_id: "" }))).toMatch(/project_id required/);
  expect(await post(vlan(1, 10, { used: {} }))).toMatch(/^400 .*used/);
  expect(await post(vlan(209, 220))).toBe(`409 NetworkSegmentRangeOverlaps: Network segment range overlaps with range(s) with id ${range.id}.`);
  await create({ network_type: "vxlan", minimum: 1000, maximum: 1999 });
  expect(await post({ network_type: "geneve", minimum: 1999, maximum: 2000 })).toMatch(/^409 NetworkSegmentRangeOverlaps/);
  const other = await create(vlan(210, 219));
  expect(await refused("PUT", `${RANGES}/${other.id}`, { minimum: 205 })).toMatch(/^409 NetworkSegmentRangeOverlaps/);
  expect(await refused("PUT", `${RANGES}/${other.id}`, { network_type: "vxlan" })).toMatch(/^400 .*network_type/);
  for (const [method, path, body] of [["GET", `${RANGES}/${other.id}`, undefined], ["DELETE", `${RANGES}/${other.id}`, undefined], ["PUT", `${RANGES}/${other.id}`, { name: "x" }]] as const) {
    expect((await h.call(method, path, body === undefined ? undefined : { network_segment_range: body }, member("p"))).status).toBe(404);
  }
  expect((await h.call("POST", RANGES, { network_segment_range: vlan(1, 10) }, member("p"))).status).toBe(403);
});

test("ranges survive a restart, and follow what is configured; without the app that alone holds", async () => {
  await make(VLANS);
  const { id } = await create(vlan(200, 201, { shared: false, project_id: "a" }));
  const configured = await list("?network_type=vlan");
  h = await h.restart();
  expect((await show(id)).available).toEqual([200, 201]);
  expect((await list("?network_type=vlan")).map((r) => r.id).sort()).toEqual(configured.map((r) => r.id).sort());
  expect((await network("a"))[3]).toBe(200);
  h = await h.restart(["network-segment-ranges"], new Map([["provider", { ...VLANS, "vlan-ranges": new Map([["physnet1", [[300, 301]]]]) }]]));
  expect((await network("a"))[3]).toBe(300);
  expect((await h.call("GET", RANGES)).status).toBe(404);
  h = await h.restart([]);
  expect((await list("?network_type=vlan")).map((r) => [r.default, r.minimum]).sort()).toEqual([[false, 200], [true, 300]]);
});

test("of a large range the first numbers are shown", async () => {
  await make();
  const rows = await list("?network_type=geneve");
  expect(rows.map((r) => [r.minimum, r.maximum, (r.available as number[]).length])).toEqual([[1, 2 ** 24 - 1, 4096]]);
});
