// Where frames and their copies go, by the desired flows of a host: trunks, tags of guests, broadcasts that come back, what policy drops.
import { VLAN_PRESENT } from "#app";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Harness } from "../../test/support/harness.ts";
import { Packet, trace, TraceSwitch } from "../../src/trace/index.ts";
import { addressTable, portTable } from "../l2/model.ts";

let h: Harness;
let network: string;
const BROADCAST = "ff:ff:ff:ff:ff:ff";

beforeEach(async () => {
  h = await Harness.make();
  await h.addChassis("hv1");
  network = (await h.create("network", { vlan_transparent: true })).id;
});
afterEach(async () => {
  expect(h.engine.conflicts).toEqual([]);
  expect(h.complaints).toEqual([]);
  await h.close();
});

const OPEN = { port_security_enabled: false, security_groups: [] };
const port = async (ofport?: number, values: Record<string, unknown> = OPEN, of = network): Promise<string> => {
  const { id } = await h.create("port", { network_id: of, ...values });
  if (ofport !== undefined) await h.plug("hv1", id, ofport);
  await h.settled();
  return id;
};
const macOf = (id: string): string => h.view.get(portTable, id)!.mac_address;
async function tap(to: string, source: string, direction: string, vlan_filter: string | null = null): Promise<string> {
  const { body } = await h.call("POST", "/v2.0/taas/tap_services", { tap_service: { port_id: to } });
  const answer = await h.call("POST", "/v2.0/taas/tap_flows", { tap_flow: { tap_service_id: body.tap_service.id, source_port: source, direction, vlan_filter } });
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  await h.settled();
  return answer.body.tap_flow.id as string;
}
/** `<port>`, or `<port>/<tag>`, of what leaves. */
function leaves(in_port: number, fields: Record<string, string | number>): string[] {
  const sw = TraceSwitch.ofDesired(h.engine.flowsOf("hv1"), h.engine.itemsOf("hv1"));
  return trace(sw, Packet.of({ in_port, ...fields })).outputs.map(({ port: to, packet }) => {
    const tag = Number(packet.get("vlan_vid"));
    return tag === 0 ? String(to) : `${to}/${tag & 0xfff}`;
  }).sort();
}

test("a broadcast is copied once as it is sent, and not as it comes back to its sender; others get theirs copied", async () => {
  const [a, b, ears] = [await port(1), await port(2), await port(9, OPEN, (await h.create("network", {})).id)];
  await port(3);
  const frame = { eth_src: macOf(a), eth_dst: BROADCAST, eth_type: 0x88b5 };
  expect(leaves(1, frame)).toEqual(["2", "3"]);
  await tap(ears, a, "BOTH");
  expect(leaves(1, frame)).toEqual(["2", "3", "9"]);
  expect(leaves(2, { ...frame, eth_src: macOf(b) })).toEqual(["1", "3", "9"]);
  await tap(ears, b, "IN");
  expect(leaves(1, frame), "one service each").toEqual(["2", "3", "9", "9"]);
});

test("tags: a filter copies those alone, with the tag; all, with none", async () => {
  const [a, b, ears, more] = [await port(1), await port(2), await port(8, OPEN, (await h.create("network", {})).id), await port(9, OPEN, (await h.create("network", {})).id)];
  const to = (tag?: number) => ({ eth_src: macOf(a), eth_dst: macOf(b), eth_type: 0x88b5, ...(tag !== undefined && { vlan_vid: VLAN_PRESENT | tag }) });
  await tap(ears, a, "OUT", "10,20-23");
  await tap(more, b, "IN");
  await tap(more, b, "IN", "5");
  expect(leaves(1, to())).toEqual(["2", "9"]);
  expect(leaves(1, to(10))).toEqual(["2/10", "8/10", "9/10"]);
  expect(leaves(1, to(23))).toEqual(["2/23", "8/23", "9/23"]);
  expect(leaves(1, to(24))).toEqual(["2/24", "9/24"]);
  expect(leaves(1, to(5)), "more than one service").toEqual(["2/5", "9/5", "9/5"]);
});

test("behind a trunk: copies of a sub-port have not its tag, and come to a sub-port with its own, also behind one interface", async () => {
  const inside = (await h.create("network", {})).id;
  const [parent, sub, ears, peer] = [await port(undefined, OPEN, (await h.create("network", {})).id), await port(undefined, OPEN, inside), await port(undefined, OPEN, (await h.create("network", {})).id), await port(4, OPEN, inside)];
  await h.create("trunk", { port_id: parent, sub_ports: [[sub, 100], [ears, 200]].map(([port_id, segmentation_id]) => ({ port_id, segmentation_type: "vlan", segmentation_id })) });
  await h.plug("hv1", parent, 1);
  await h.settled();
  await tap(ears, sub, "BOTH");
  const there = { eth_src: macOf(sub), eth_dst: macOf(peer), eth_type: 0x88b5, vlan_vid: VLAN_PRESENT | 100 };
  expect(leaves(1, there)).toEqual(["1/200", "4"]);
  expect(leaves(4, { eth_src: macOf(peer), eth_dst: macOf(sub), eth_type: 0x88b5 })).toEqual(["1/100", "1/200"]);
  expect(leaves(1, { ...there, eth_dst: BROADCAST }), "its own broadcast does not come back").toEqual(["1/200", "4"]);
});

test("what port security drops was sent, what a security group drops did not arrive; a tap of a tap repeats nothing", async () => {
  const secured = { security_groups: [] };
  const [a, b, ears, more] = [await port(1, secured), await port(2, secured), await port(8, secured, (await h.create("network", {})).id), await port(9, secured, (await h.create("network", {})).id)];
  await tap(ears, a, "OUT");
  await tap(more, b, "IN");
  await tap(more, ears, "BOTH");
  const frame = { eth_src: macOf(a), eth_dst: macOf(b), eth_type: 0x800, ipv4_src: "10.0.0.5", ipv4_dst: "10.0.0.6", ip_ttl: 64, ip_proto: 17, udp_src: 1, udp_dst: 2 };
  expect(leaves(1, { ...frame, eth_src: "fa:16:3e:ff:ff:ff" })).toEqual(["8"]);
  expect(leaves(1, frame)).toEqual(["8"]);
});

test("in a private VLAN what a port sends is copied before it is stopped, and nothing of others that stops before it gets to the port", async () => {
  const apart = (await h.create("network", { pvlan: true })).id;
  await h.create("subnet", { network_id: apart, ip_version: 4, cidr: "10.0.0.0/24" });
  const isolated = { pvlan_type: "isolated" };
  const [a, b, sent, got] = [await port(1, isolated, apart), await port(2, isolated, apart), await port(8, OPEN, (await h.create("network", {})).id), await port(9, OPEN, (await h.create("network", {})).id)];
  await tap(sent, a, "OUT");
  await tap(got, b, "IN");
  const ipOf = (id: string): string => h.view.by(addressTable, "port", id)[0]!.ip;
  const asks = { eth_src: macOf(a), eth_dst: BROADCAST, eth_type: 0x806, arp_op: 1, arp_sha: macOf(a), arp_spa: ipOf(a), arp_tpa: ipOf(b) };
  expect(leaves(1, asks)).toEqual(["8"]);
  expect(leaves(1, { eth_src: macOf(a), eth_dst: macOf(b), eth_type: 0x800, ipv4_src: ipOf(a), ipv4_dst: "10.0.0.99", ip_proto: 17, udp_src: 1, udp_dst: 2 })).toEqual(["8"]);
});

test("where the network is not transparent a frame with a tag is nobody's, and not copied", async () => {
  const plain = (await h.create("network", {})).id;
  const [a, b, ears] = [await port(1, OPEN, plain), await port(2, OPEN, plain), await port(9, OPEN, plain)];
  await tap(ears, a, "OUT");
  const frame = { eth_src: macOf(a), eth_dst: macOf(b), eth_type: 0x88b5 };
  expect(leaves(1, frame)).toEqual(["2", "9"]);
  expect(leaves(1, { ...frame, vlan_vid: VLAN_PRESENT | 10 })).toEqual([]);
});
