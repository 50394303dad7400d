import { afterEach, beforeEach, expect, test } from "vitest";
import { arrivalTable, attachmentTable, portTable } from "../l2/model.ts";
import { compare } from "../../test/support/from-scratch.ts";
import { Harness, textOf } from "../../test/support/harness.ts";

let h: Harness;
let networks: string[];
beforeEach(async () => {
  h = await Harness.make();
  networks = [];
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
  for (let i = 0; i < 3; i++) networks.push((await h.create("network", {})).id);
});
afterEach(() => h.close());

const port = async (network: number, values: Record<string, unknown> = {}): Promise<string> => (await h.create("port", { network_id: networks[network], ...values })).id;
const vlan = (id: string, tag: number): object => ({ port_id: id, segmentation_type: "vlan", segmentation_id: tag });
async function change(trunk: { readonly id: string }, what: "add" | "remove", sub_ports: object[]): Promise<void> {
  expect((await h.call("PUT", `/v2.0/trunks/${trunk.id}/${what}_subports`, { sub_ports })).status).toBe(200);
  await h.settled();
}
interface Shown {
  readonly text: string;
  readonly app: string;
  readonly rule: string;
}
const flows = (host: string, table?: string): Shown[] =>
  [...h.engine.flowsOf(host)].filter((f) => table === undefined || f.table === h.layout.table(table).id).map((f) => ({ text: `${f.table} ${textOf(f)}`, ...h.engine.provenance(f) }));
const texts = (host: string): string[] => flows(host).map(({ text }) => text).sort();
const tagged = (host: string, ofport: number): string[] => flows(host, "classify").map(({ text }) => text).filter((t) => t.includes(`in_port=${ofport},`) && !t.includes("vlan_tci=0x0000"));

test("a sub-port that comes and goes on a running machine changes its own flows alone; what has a tag of nobody is dropped, and whose it is is known", async () => {
  const [parent, a, b] = [await port(0), await port(1), await port(2)];
  await h.plug("hv2", await port(0), 6);
  const trunk = await h.create("trunk", { port_id: parent, sub_ports: [vlan(a, 100)] });
  await h.plug("hv1", parent, 5);
  await h.settled();
  const one = texts("hv1");
  expect(tagged("hv1", 5).sort()).toEqual([expect.stringMatching(/priority=110,in_port=5,dl_vlan=100 .*pop_vlan/), expect.stringMatching(/priority=80,in_port=5,vlan_tci=0x1000\/0x1000 actions=drop$/)]);
  expect(h.engine.wantedFlows("trunks", "unknown-tag", parent)).toHaveLength(1);
  await change(trunk, "add", [vlan(b, 200)]);
  const two = texts("hv1");
  expect(one.filter((t) => !two.includes(t)), "what was there stays").toEqual([]);
  const key = h.view.get(portTable, b)!.key;
  const own = flows("hv1").filter(({ text }) => !one.includes(text));
  expect(own.length).toBeGreaterThan(5);
  expect(own.filter(({ text }) => text.includes("in_port=5") && !text.includes("dl_vlan=200"))).toEqual([]);
  expect(own.some(({ text }) => text.includes(`0x${key.toString(16)}`))).toBe(true);
  await change(trunk, "remove", [{ port_id: b }]);
  await h.zonesFlushed();
  expect(texts("hv1")).toEqual(one);
  compare(h, ["hv1", "hv2"]);
  // The tag is free: another has it.
  const c = await port(2);
  await change(trunk, "add", [vlan(c, 200)]);
  expect(tagged("hv1", 5)).toHaveLength(3);
  expect(h.engine.conflicts).toEqual([]);
  expect(h.complaints).toEqual([]);
});

test("sub-ports go where their parent goes, and come back after a restart as they were", async () => {
  const [parent, a] = [await port(0), await port(1)];
  await h.create("trunk", { port_id: parent, sub_ports: [vlan(a, 100)] });
  await h.plug("hv1", parent, 5);
  await h.settled();
  expect(tagged("hv1", 5)).toHaveLength(2);
  await h.unplug("hv1", parent);
  await h.settled();
  expect(tagged("hv1", 5)).toEqual([]);
  await h.plug("hv2", parent, 7);
  await h.settled();
  expect([tagged("hv1", 5), tagged("hv2", 7).length]).toEqual([[], 2]);
  compare(h, ["hv1", "hv2"]);
  const before = texts("hv2");
  h = await h.restart();
  await h.settled();
  expect(texts("hv2")).toEqual(before);
  expect(h.takenBack).toEqual([]);
  // The parent closed, nothing of its interface passes.
  await h.call("PUT", `/v2.0/ports/${parent}`, { port: { admin_state_up: false } });
  await h.settled();
  expect(tagged("hv2", 7)).toEqual([]);
});

test("without the app its trunks wait for it; what they stood on and is gone takes them along", async () => {
  const [parent, a, b] = [await port(0), await port(1), await port(2)];
  const other = await port(0);
  const trunk = await h.create("trunk", { port_id: parent, sub_ports: [vlan(a, 100)] });
  const second = await h.create("trunk", { port_id: other, sub_ports: [vlan(b, 100)] });
  await h.plug("hv1", parent, 5);
  await h.plug("hv1", other, 6);
  h = await h.restart(["trunks"]);
  await h.settled();
  expect(tagged("hv1", 5)).toEqual([]);
  expect((await h.call("GET", "/v2.0/trunks")).status).toBe(404);
  for (const id of [other, a]) expect((await h.call("DELETE", `/v2.0/ports/${id}`)).status).toBe(204);
  h = await h.restart([]);
  await h.settled();
  expect((await h.call("GET", `/v2.0/trunks/${second.id}`)).status).toBe(404);
  expect((await h.call("GET", `/v2.0/trunks/${trunk.id}`)).body.trunk).toMatchObject({ sub_ports: [] });
  expect(tagged("hv1", 5)).toHaveLength(1);
  expect((await h.call("DELETE", `/v2.0/ports/${b}`)).status, "it is in no trunk any more").toBe(204);
});

test("a machine that moves by bindings has its sub-ports' flows at the other host before it is there, and nothing of its parent's zones is waited for", async () => {
  const parent = await port(0, { device_owner: "compute:nova", device_id: "server" });
  const a = await port(1);
  await h.create("trunk", { port_id: parent, sub_ports: [vlan(a, 100)] });
  await h.call("PUT", `/v2.0/ports/${parent}`, { port: { "binding:host_id": "hv1" } });
  await h.plug("hv1", parent, 5);
  await h.settled();
  const places = (): string[] => h.view.by(attachmentTable, "port", a).map((at) => `${at.role} ${at.chassis} ${at.ofport} ${at.vlan}`).sort();
  const toPort = (host: string): string[] => flows(host, "locate").map(({ text }) => text).filter((t) => t.includes(`reg2=0x${h.view.get(portTable, a)!.key.toString(16)} `) || t.includes(`reg2=0x${h.view.get(portTable, a)!.key.toString(16)},`));
  expect((await h.call("POST", `/v2.0/ports/${parent}/bindings`, { binding: { host: "hv2" } })).status).toBe(201);
  expect(places()).toEqual(["active hv1 5 100"]);
  await h.plug("hv2", parent, 7);
  await h.settled();
  expect(places()).toEqual(["active hv1 5 100", "standby hv2 7 100"]);
  // Nothing comes from it, and nothing goes to it.
  expect(tagged("hv2", 7)).toEqual([expect.stringMatching(/dl_vlan=100 .*actions=drop$/)]);
  expect(toPort("hv2")).toEqual([expect.stringMatching(/actions=drop$/)]);
  compare(h, ["hv1", "hv2"]);
  expect((await h.call("PUT", `/v2.0/ports/${parent}/bindings/hv2/activate`)).status).toBe(200);
  await h.settled();
  expect(places()).toEqual(["active hv2 7 100", "standby hv1 5 100"]);
  expect([h.view.get(arrivalTable, parent)?.chassis, h.view.get(arrivalTable, a)?.chassis]).toEqual(["hv2", "hv2"]);
  expect(tagged("hv2", 7).some((t) => /dl_vlan=100 .*pop_vlan/.test(t))).toBe(true);
  expect(tagged("hv1", 5).some((t) => t.includes("pop_vlan"))).toBe(false);
  compare(h, ["hv1", "hv2"]);
  await h.unplug("hv1", parent);
  await h.settled();
  expect(places()).toEqual(["active hv2 7 100"]);
  expect(h.complaints).toEqual([]);
});
