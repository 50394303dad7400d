// How networks travel: what may be chosen, what is refused by which error, which numbers are taken, how large packets are, where ports are.
import { afterEach, expect, test } from "vitest";
import { attachmentTable, segmentTable } from "../l2/model.ts";
import { vniOf } from "../overlay/model.ts";
import { Harness } from "../../test/support/harness.ts";

let h: Harness;
afterEach(async () => h.close());

async function make(settings: Record<string, unknown> = {}, overlay: Record<string, unknown> = {}): Promise<void> {
  h = await Harness.make([], undefined, { settings: new Map([["provider", settings], ["overlay", overlay]]) });
  await h.addChassis("hv1", { bridge_mappings: { physnet1: "br-ex" }, encap_types: ["geneve", "vxlan"] });
  await h.addChassis("hv2", { encap_types: ["geneve", "gre"] });
  await h.settled();
}
type Shown = { readonly id: string } & Record<string, unknown>;
const network = (type?: string, physnet?: string, id?: number, more: Record<string, unknown> = {}): Promise<Shown> =>
  h.create("network", { ...(type !== undefined && { "provider:network_type": type }), ...(physnet !== undefined && { "provider:physical_network": physnet }), ...(id !== undefined && { "provider:segmentation_id": id }), ...more });
const three = (n: Shown): unknown[] => [n["provider:network_type"], n["provider:physical_network"], n["provider:segmentation_id"]];
/** Status, type and message of a refusal that changed nothing. */
async function refused(body: Record<string, unknown>): Promise<string> {
  await h.settled();
  const before = h.model.generation;
  const { status, body: answer } = await h.call("POST", "/v2.0/networks", { network: body });
  expect(h.model.generation).toBe(before);
  return `${status} ${answer.NeutronError?.type}: ${answer.NeutronError?.message}`;
}
const wish = (type: string, physnet?: string, id?: unknown): Record<string, unknown> => ({ "provider:network_type": type, ...(physnet !== undefined && { "provider:physical_network": physnet }), ...(id !== undefined && { "provider:segmentation_id": id }) });

test("every kind, with its number, and the MTU that it leaves", async () => {
  await make({}, { "physical-network-mtus": new Map([["physnet1", 9000]]) });
  for (const [type, physnet, id, mtu] of [
    ["flat", "physnet1", null, 9000], ["vlan", "physnet1", 4094, 9000], ["vxlan", null, 0xff_ffff, 1450], ["geneve", null, 77, 1442], ["gre", null, 0xff_fffe, 1458], ["local", null, null, 1500],
  ] as const) {
    const made = await network(type, physnet ?? undefined, id ?? undefined);
    expect([...three(made), made.mtu]).toEqual([type, physnet, id, mtu]);
    await h.settled();
    expect(vniOf(h.view, made.id)).toBe(["vxlan", "geneve", "gre"].includes(type) ? id : undefined);
    expect(h.view.by(segmentTable, "network", made.id).map((s) => [s.type, s.segmentation_id])).toEqual(type === "local" ? [] : [[type, id]]);
  }
  // Without a choice it is as it was: a VNI, and room for whatever two hosts share.
  const plain = await network();
  expect([...three(plain), plain.mtu]).toEqual(["geneve", null, vniOf(h.view, plain.id), 1442]);
});

test("what is not as it has to be is refused by the API's names, and nothing is written", async () => {
  await make();
  const invalid = async (body: Record<string, unknown>): Promise<string> => (await refused(body)).replace(/^400 InvalidInput: Invalid input for operation: /, "");
  expect(await invalid(wish("stt"))).toMatch(/'stt' is not supported/);
  expect(await invalid(wish("token-ring"))).toBe("provider:network_type 'token-ring' not supported.");
  expect(await invalid({ "provider:segmentation_id": 5 })).toBe("provider:network_type required.");
  expect(await invalid(wish("local", "physnet1"))).toBe("physical_network prohibited for local provider network.");
  expect(await invalid(wish("flat"))).toBe("physical_network required for flat provider network.");
  expect(await invalid(wish("flat", "physnet1", 5))).toBe("segmentation_id prohibited for flat provider network.");
  expect(await invalid(wish("flat", "elsewhere"))).toBe("physical_network 'elsewhere' unknown for flat provider network.");
  expect(await invalid(wish("vlan", "elsewhere", 5))).toBe("physical_network 'elsewhere' unknown for VLAN provider network.");
  expect(await invalid(wish("vlan", undefined, 5))).toBe("segmentation_id requires physical_network for VLAN provider network.");
  for (const id of [0, 4095]) expect(await invalid(wish("vlan", "physnet1", id))).toBe("segmentation_id out of range (1 through 4094).");
  expect(await invalid(wish("vxlan", "physnet1", 5))).toBe("provider:physical_network specified for vxlan network.");
  for (const [type, id] of [["geneve", 0], ["vxlan", 2 ** 24], ["gre", 2 ** 24]] as const) expect(await invalid(wish(type, undefined, id))).toBe("segmentation_id out of range (1 through 16777215).");
  expect(await refused({ segments: [wish("vlan", "physnet1", 5)], ...wish("vlan", "physnet1", 6) })).toMatch(/^400 SegmentsSetInConjunctionWithProviders/);
  expect(await refused({ segments: [wish("vlan", "physnet1", 5), wish("vlan", "physnet1", 5)] })).toMatch(/^400 SegmentsContainDuplicateEntry/);
  expect(await invalid({ segments: [wish("vxlan"), wish("geneve")] })).toBe("a network has one tunnel segment at most.");
  expect(await invalid({ segments: [wish("vlan", "physnet1", 5), wish("vlan", "physnet1", 6)] })).toBe("a network has one segment on each physical network at most.");
});

test("numbers in use are refused, and free again when the network is gone", async () => {
  await make();
  const flat = await network("flat", "physnet1");
  const vlan = await network("vlan", "physnet1", 100);
  const vxlan = await network("vxlan", undefined, 5000);
  expect(await refused(wish("flat", "physnet1"))).toBe("409 FlatNetworkInUse: Unable to create the flat network. Physical network physnet1 is in use.");
  expect(await refused(wish("vlan", "physnet1", 100))).toBe("409 VlanIdInUse: Unable to create the network. The VLAN 100 on physical network physnet1 is in use.");
  expect(await refused(wish("geneve", undefined, 5000))).toBe("409 TunnelIdInUse: Unable to create the network. The tunnel ID 5000 is in use.");
  for (const { id } of [flat, vlan, vxlan]) expect((await h.call("DELETE", `/v2.0/networks/${id}`)).status).toBe(204);
  await h.settled();
  for (const body of [wish("flat", "physnet1"), wish("vlan", "physnet1", 100), wish("gre", undefined, 5000)]) await h.create("network", body);
});

test("a tenant's network becomes the first type that has a number; when none has any it is 503, and nothing is written", async () => {
  await make({ "tenant-network-types": ["vlan", "vxlan"], "vlan-ranges": new Map([["physnet1", [[100, 101]]], ["physnet2", []]]) }, { "vni-ranges": [[70, 71]] });
  const made = [];
  for (let i = 0; i < 4; i++) made.push(await network());
  expect(made.map(three)).toEqual([["vlan", "physnet1", 100], ["vlan", "physnet1", 101], ["vxlan", null, 70], ["vxlan", null, 71]]);
  expect(await refused({})).toMatch(/^503 NoNetworkAvailable/);
  expect(await refused(wish("vlan", "physnet1"))).toMatch(/^503 NoNetworkAvailable/);
  // A number that an administrator names need not be in the ranges.
  expect(three(await network("vlan", "physnet2", 7))).toEqual(["vlan", "physnet2", 7]);
  await h.settled();
  expect(Array.from(h.claims.problems(), (p) => p.text)).toEqual([]);
});

test("VNIs of networks without a type are of the ranges too", async () => {
  await make({}, { "vni-ranges": [[900, 900], [905, 905]] });
  expect([three(await network())[2], three(await network())[2]]).toEqual([900, 905]);
  expect(await refused({})).toMatch(/^503 NoNetworkAvailable/);
});

test("a VLAN can be changed, and nothing else", async () => {
  await make();
  const { id } = await network("vlan", "physnet1", 100);
  await network("vlan", "physnet1", 101);
  const put = async (changes: Record<string, unknown>): Promise<string> => {
    const { status, body } = await h.call("PUT", `/v2.0/networks/${id}`, { network: changes });
    return status === 200 ? String(three(body.network)) : `${status} ${body.NeutronError.type}`;
  };
  expect(await put({ "provider:segmentation_id": 200 })).toBe("vlan,physnet1,200");
  expect(await put({ "provider:segmentation_id": 101 })).toBe("409 VlanIdInUse");
  expect(await put({ "provider:physical_network": "physnet2" })).toBe("400 InvalidInput");
  expect(await put(wish("vlan", "physnet1", 200))).toBe("vlan,physnet1,200");
  await network("vlan", "physnet1", 100);
  await h.settled();
  expect(h.view.by(segmentTable, "network", id).map((s) => s.segmentation_id)).toEqual([200]);
});

test("said again as it is, whatever it is, nothing is changed; anything else is refused by name", async () => {
  await make();
  const put = async (id: string, changes: Record<string, unknown>): Promise<string> => {
    await h.settled();
    const { status, body } = await h.call("PUT", `/v2.0/networks/${id}`, { network: changes });
    return status === 200 ? "200" : `${status} ${body.NeutronError.type}: ${body.NeutronError.message}`;
  };
  const made = [
    await network("flat", "physnet1"), await network("vxlan", undefined, 7), await network("local"), await network(),
    await h.create("network", { segments: [wish("vlan", "physnet1", 100), wish("geneve", undefined, 8)] }) as Shown,
  ];
  const refusal = (...names: string[]): string => `400 InvalidInput: Invalid input for operation: Plugin does not support updating the following provider network attributes: ${names.join(", ")}.`;
  for (const { id } of made) {
    const before = ((await h.call("GET", `/v2.0/networks/${id}`)).body as { network: Shown }).network;
    const provider = Object.fromEntries(Object.entries(before).filter(([name]) => name.startsWith("provider:") || name === "segments"));
    expect(await put(id, provider)).toBe("200");
    for (const [name, value] of Object.entries(provider)) expect(await put(id, { [name]: value })).toBe("200");
    if (before.segments === undefined) expect(await put(id, { segments: [provider] })).toBe("200");
    expect(await put(id, { "provider:segmentation_id": 999 })).toBe(refusal("provider:segmentation_id"));
    expect(await put(id, { "provider:network_type": "gre", "provider:physical_network": "elsewhere" })).toBe(refusal("provider:network_type", "provider:physical_network"));
    expect(await put(id, { segments: [wish("vlan", "physnet1", 101)] })).toBe(refusal("segments"));
    expect(((await h.call("GET", `/v2.0/networks/${id}`)).body as { network: Shown }).network).toMatchObject({ ...provider, mtu: before.mtu });
  }
});

test("a network of several segments is found by each of them, not by parts of two, and by those alone who may see them", async () => {
  await make();
  const several = (await h.create("network", { project_id: "p", segments: [wish("vlan", "physnet1", 100), wish("geneve", undefined, 8)] })).id;
  const single = (await network("geneve", undefined, 100, { project_id: "p" })).id;
  const found = async (query: string, headers: Record<string, string> = {}): Promise<string[]> => ((await h.call("GET", `/v2.0/networks?${query}`, undefined, headers)).body as { networks: Shown[] }).networks.map((n) => n.id).toSorted();
  const both = [several, single].toSorted();
  expect(await found("provider:network_type=vlan")).toEqual([several]);
  expect(await found("provider:network_type=geneve")).toEqual(both);
  expect(await found("provider:physical_network=physnet1")).toEqual([several]);
  expect(await found("provider:segmentation_id=100")).toEqual(both);
  expect(await found("provider:segmentation_id=8")).toEqual([several]);
  expect(await found("provider:network_type=vlan&provider:segmentation_id=100")).toEqual([several]);
  expect(await found("provider:network_type=geneve&provider:segmentation_id=100")).toEqual([single]);
  expect(await found("provider:network_type=vlan&provider:segmentation_id=8")).toEqual([]);
  expect(await found("provider:segmentation_id=9")).toEqual([]);
  expect(await found("provider:segmentation_id=100", { "x-project-id": "p", "x-roles": "member" })).toEqual([]);
});

test("several segments are shown in place of the three; they are an administrator's to see", async () => {
  await make();
  const made = await h.create("network", { project_id: "p", segments: [wish("vlan", "physnet1", 100), wish("geneve")] });
  expect((made as Shown).segments).toEqual([
    { "provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 100 },
    { "provider:network_type": "geneve", "provider:physical_network": null, "provider:segmentation_id": expect.any(Number) },
  ]);
  expect(made).not.toHaveProperty("provider:network_type");
  expect((made as Shown).mtu).toBe(1442);
  const member = await h.call("GET", `/v2.0/networks/${made.id}`, undefined, { "x-project-id": "p", "x-roles": "member" });
  expect(Object.keys(member.body.network as object).filter((name) => name === "segments" || name.startsWith("provider:"))).toEqual([]);
  const found = await h.call("GET", "/v2.0/networks?provider:network_type=vlan");
  expect(found.status).toBe(200);
  expect((await h.call("POST", "/v2.0/networks", { network: wish("vlan", "physnet1", 5) }, { "x-project-id": "p", "x-roles": "member" })).status).toBe(403);
});

test("the MTU may be as large as the segment leaves it, and no larger", async () => {
  await make({}, { "physical-network-mtus": new Map([["physnet1", 9000]]) });
  expect((await network("vlan", "physnet1", 5, { mtu: 8000 })).mtu).toBe(8000);
  expect(await refused({ ...wish("vlan", "physnet1", 6), mtu: 9001 })).toMatch(/^400 InvalidInput.*maximum is 9000/);
  expect(await refused({ ...wish("vxlan"), mtu: 1451 })).toMatch(/^400 InvalidInput.*maximum is 1450/);
});

test("tags of guests may pass in tunnels, and inside those of VLANs, of 802.1Q or of 802.1ad; not where there is none", async () => {
  await make();
  expect(await network("vxlan", undefined, undefined, { vlan_transparent: true })).toMatchObject({ vlan_transparent: true, qinq: false, mtu: 1446 });
  expect(await network()).toMatchObject({ vlan_transparent: false, qinq: false });
  expect(await network("vlan", "physnet1", 7, { vlan_transparent: true })).toMatchObject({ vlan_transparent: true, qinq: false, mtu: 1496 });
  const qinq = await network("vlan", "physnet1", 9, { qinq: true });
  expect(qinq).toMatchObject({ vlan_transparent: false, qinq: true, mtu: 1496 });
  const segments = [wish("vlan", "physnet1", 10), wish("geneve")];
  expect(await h.create("network", { segments, qinq: true })).toMatchObject({ qinq: true, mtu: 1438 });
  expect(await refused({ ...wish("vlan", "physnet1", 11), qinq: true, mtu: 1497 })).toMatch(/^400 InvalidInput.*maximum is 1496/);
  for (const how of [wish("flat", "physnet1"), { segments: [wish("flat", "physnet1"), wish("geneve")] }]) {
    expect(await refused({ ...how, vlan_transparent: true })).toMatch(/^400 VlanTransparencyDriverError/);
    expect(await refused({ ...how, qinq: true })).toMatch(/^400 VlanQinqDriverError/);
  }
  expect(await refused({ ...wish("vxlan"), qinq: true })).toMatch(/^400 VlanQinqDriverError/);
  expect(await refused({ ...wish("vlan", "physnet1", 11), qinq: true, vlan_transparent: true })).toMatch(/^400 InvalidInput/);
  expect((await h.call("PUT", `/v2.0/networks/${qinq.id}`, { network: { qinq: false } })).status).toBe(400);
  const found = await h.call("GET", "/v2.0/networks?qinq=true&fields=id");
  expect((found.body.networks as { id: string }[]).map((n) => n.id)).toContain(qinq.id);
  expect(found.body.networks).toHaveLength(2);
});

test("where tags of guests go inside a VLAN's own, a host whose switch reads one tag alone binds no port, and says why", async () => {
  await make();
  for (const [id, how] of [[5, { qinq: true }], [6, { vlan_transparent: true }]] as const) {
    const vlan = await network("vlan", "physnet1", id, how);
    const port = await h.create("port", { network_id: vlan.id });
    await h.plug("hv1", port.id, 10);
    await h.settled();
    expect(await h.call("GET", `/v2.0/ports/${port.id}`)).toMatchObject({ body: { port: {
      status: "DOWN", "binding:vif_type": "binding_failed", "binding:vif_details": { "axion:binding_failure": "host hv1: its Open vSwitch reads one VLAN tag of a frame (other_config:vlan-limit)" },
    } } });
    await h.addChassis("hv1", { key: 1, bridge_mappings: { physnet1: "br-ex" }, vlan_limit: 2 });
    await h.settled();
    h.confirm("hv1");
    expect(await h.call("GET", `/v2.0/ports/${port.id}`)).toMatchObject({ body: { port: { "binding:vif_type": "ovs" } } });
    await h.addChassis("hv1", { key: 1, bridge_mappings: { physnet1: "br-ex" } });
  }
});

test("a port is bound where its network is, and elsewhere says why not, until it is there", async () => {
  await make();
  const vlan = await network("vlan", "physnet1", 100);
  const [here, there, asked] = [await h.create("port", { network_id: vlan.id }), await h.create("port", { network_id: vlan.id }), await h.create("port", { network_id: vlan.id, "binding:host_id": "hv2" })];
  await h.plug("hv1", here.id, 10);
  await h.plug("hv2", there.id, 10);
  await h.settled();
  const shown = async (id: string): Promise<unknown[]> => {
    const { port } = (await h.call("GET", `/v2.0/ports/${id}`)).body;
    return [port.status, port["binding:host_id"], port["binding:vif_type"], port["binding:vif_details"]["axion:binding_failure"]];
  };
  const why = "host hv2: no bridge is mapped to physical network physnet1";
  expect(await shown(here.id)).toEqual(["BUILD", "hv1", "ovs", undefined]);
  expect(await shown(there.id)).toEqual(["DOWN", "hv2", "binding_failed", why]);
  expect(await shown(asked.id)).toEqual(["DOWN", "hv2", "binding_failed", why]);
  expect(Array.from(h.view.all(attachmentTable), (a) => a.id)).toEqual([here.id]);
  const problems = (): unknown[] => h.apps.find((a) => a.name === "provider")!.problems!(h.view).map((p) => [p.kind, p.resources?.[0]?.id, p.switches, p.text]);
  expect(problems()).toEqual([there.id, asked.id].sort().map((id) => ["binding_failed", id, ["hv2"], `port ${id} is not bound: ${why}`]));

  await h.addChassis("hv2", { key: 2, bridge_mappings: { physnet1: "br-phys" } });
  await h.settled();
  await new Promise((done) => setTimeout(done, 20));
  await h.settled();
  expect(await shown(there.id)).toEqual(["BUILD", "hv2", "ovs", undefined]);
  expect(problems()).toEqual([]);
  await h.addChassis("hv2", { key: 2 });
  await h.settled();
  await new Promise((done) => setTimeout(done, 20));
  expect(await shown(there.id)).toEqual(["DOWN", "hv2", "binding_failed", why]);
});

test("a named encapsulation is binding: a host without it has no port of the network", async () => {
  await make();
  const vxlan = await network("vxlan");
  const port = await h.create("port", { network_id: vxlan.id });
  await h.plug("hv2", port.id, 10);
  await h.settled();
  expect((await h.call("GET", `/v2.0/ports/${port.id}`)).body.port["binding:vif_details"]).toEqual({ "axion:binding_failure": "host hv2: it has no vxlan tunnels" });
});
