// What ports, routers and floating IPs have counted, over moves, plugging anew and controllers that end; what switches say is the test's.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { learned, observedId, observedTable, type PortCount } from "#app";
import { flowCountReply } from "../../test/support/flow-counts.ts";
import { Harness } from "../../test/support/harness.ts";
import { FlowCounter } from "../../src/services/index.ts";
import { floatingPlaceTable } from "../nat/model.ts";
import { resourceCountTable } from "./model.ts";
import { gauges, opsLists } from "./shown.ts";

let h: Harness;
let ports: Map<string, PortCount[]>;
/** Packets of each flow, by host and key. */
let counted: Map<string, number>;
let network: string;

const p = { "x-project-id": "p", "x-roles": "member" };
const at = (port: number, rx: number, tx: number, durationS = 100): PortCount => ({ port, rx_packets: rx, rx_bytes: rx * 100, tx_packets: tx, tx_bytes: tx * 100, durationS });

function answers(): void {
  h.portCounts = (chassis) => ports.get(chassis);
  h.countsOf = (chassis, cookie) => Promise.resolve([...h.engine.flowsOf(chassis)].filter((f) => ((BigInt(f.cookieHi) << 32n) | BigInt(f.cookieLo)) === cookie).map(({ key }) => flowCountReply(key, counted.get(`${chassis} ${key}`) ?? 0)));
}
async function shown(collection: string, id: string, headers = p): Promise<unknown> {
  const { body } = await h.call("GET", `/v2.0/${collection}/${id}?fields=axion:statistics`, undefined, headers);
  const { received, sent, routed, complete } = Object.values<any>(body)[0]["axion:statistics"];
  return [...[received, sent, routed].flatMap((c) => (c === undefined ? [] : [c.packets])), complete];
}
/** Packets for a flow that some rule of an app wants for an entity, in a table; of several the first. */
function pass(host: string, app: string, rule: string, entity: string, table: string, packets: number): void {
  const { id } = h.layout.table(table);
  const flow = h.engine.wantedFlows(app, rule, entity).find((f) => f.table === id && f.priority > 60)!;
  counted.set(`${host} ${flow.key}`, packets);
}
/** What its host says of a port's network device. */
const deviceId = (port: string): string => observedId("hv1", "Interface", `tap${port.slice(0, 11)}`);
function deviceOf(port: string, ifindex: number): void {
  h.facts.learn(learned(observedTable, "hv1", { id: deviceId(port), chassis: "hv1", table: "Interface", name: `tap${port.slice(0, 11)}`, columns: { ifindex } }));
}
const later = (seconds = 2): Promise<void> => h.clock.run(seconds * 1000);

beforeEach(async () => {
  h = await Harness.make();
  [ports, counted] = [new Map(), new Map()];
  answers();
  for (const [n, host] of ["hv1", "hv2"].entries()) await h.addChassis(host, { key: n + 1, gateway: host === "hv2" });
  network = (await h.create("network", {}, p)).id;
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("a port counts where it is, and its totals outlive a move, another plug, a silent switch and a controller; they go with it", async () => {
  const port = (await h.create("port", { network_id: network }, p)).id;
  await h.settled();
  expect(await shown("ports", port)).toEqual([0, 0, true]);
  await h.plug("hv1", port, 10);
  ports.set("hv1", [at(9, 1000, 1000), at(10, 7, 5)]).set("hv2", [at(20, 0, 0)]);
  await later();
  expect(await shown("ports", port)).toEqual([5, 7, true]);
  // Plugged again under the number it had, and more than before is counted already.
  ports.set("hv1", [at(10, 8, 1, 3)]);
  await later();
  expect(await shown("ports", port)).toEqual([6, 15, true]);
  ports.delete("hv1");
  await later();
  expect(await shown("ports", port)).toEqual([6, 15, false]);
  ports.set("hv1", [at(10, 10, 2, 20)]);
  await later();
  expect(await shown("ports", port)).toEqual([7, 17, true]);
  await h.unplug("hv1", port);
  await h.plug("hv2", port, 20);
  ports.set("hv2", [at(20, 3, 4)]);
  await later();
  expect(await shown("ports", port)).toEqual([11, 20, true]);
  await later(20);
  h = await h.restart();
  answers();
  await later();
  expect(await shown("ports", port)).toEqual([11, 20, true]);
  ports.set("hv2", [at(20, 4, 4)]);
  await later(12);
  // Nobody asked: the others have their turns.
  expect([...opsLists[0]!.rows(h.view, { id: port })]).toMatchObject([{ type: "port", id: port, project: "p", received: { packets: 11, bytes: 1100 }, sent: { packets: 21 }, complete: true }]);
  await later(12);
  expect(Array.from(gauges[0]!.read(h.view) as Iterable<object>)).toContainEqual({ labels: { project: "p", type: "port", counter: "sent" }, value: 1 });
  expect([...h.view.all(resourceCountTable)]).toHaveLength(2);
  expect((await h.call("DELETE", `/v2.0/ports/${port}`, undefined, p)).status).toBe(204);
  await later();
  expect([...h.view.all(resourceCountTable)]).toEqual([]);
});

test("a port of which its switch knows nothing for a while has what it had, and goes on from there", async () => {
  const port = (await h.create("port", { network_id: network }, p)).id;
  await h.plug("hv1", port, 10);
  const unknown: PortCount = { port: 10, rx_packets: null, rx_bytes: null, tx_packets: null, tx_bytes: null, durationS: 100 };
  ports.set("hv1", [unknown]);
  await later();
  expect(await shown("ports", port)).toEqual([null, null, false]);
  ports.set("hv1", [at(10, 7, 5)]);
  await later();
  expect(await shown("ports", port)).toEqual([5, 7, true]);
  ports.set("hv1", [unknown]);
  await later();
  expect(await shown("ports", port)).toEqual([5, 7, false]);
  ports.set("hv1", [at(10, 8, 6, 120)]);
  await later();
  expect(await shown("ports", port)).toEqual([6, 8, true]);
});

test("a port that leaves an interface which stays has all that it counted there, and nothing is counted twice when it comes back", async () => {
  const port = (await h.create("port", { network_id: network, device_owner: "compute:nova", "binding:host_id": "hv1" }, { ...p, "x-roles": "admin" })).id;
  const bindings = `/v2.0/ports/${port}/bindings`;
  await h.plug("hv1", port, 10);
  ports.set("hv1", [at(10, 7, 5)]).set("hv2", [at(20, 0, 0)]);
  await later();
  expect(await shown("ports", port)).toEqual([5, 7, true]);
  await h.call("POST", bindings, { binding: { host: "hv2" } });
  await h.plug("hv2", port, 20);
  await h.settled();
  // Since the last look, and nobody looks before it is activated.
  ports.set("hv1", [at(10, 70, 50, 101)]).set("hv2", [at(20, 1, 0)]);
  expect((await h.call("PUT", `${bindings}/hv2/activate`)).status).toBe(200);
  await h.settled();
  h.confirm("hv1");
  await later(1);
  expect([...h.view.all(resourceCountTable)].map((row) => row.gone_packets).sort()).toEqual([50, 70]);
  expect(await shown("ports", port)).toEqual([50, 71, true]);
  ports.set("hv2", [at(20, 3, 4, 109)]);
  await later();
  expect(await shown("ports", port)).toEqual([54, 73, true]);
  // Left before the next look, which is ten seconds later.
  ports.set("hv2", [at(20, 8, 6, 111)]);
  expect((await h.call("PUT", `${bindings}/hv1/activate`)).status).toBe(200);
  await h.settled();
  ports.set("hv1", [at(10, 73, 51, 112)]);
  await later();
  expect(await shown("ports", port)).toEqual([51 + 6, 73 + 8, true]);
});

test("a device that is plugged anew, or whose Open vSwitch starts again, goes on from what it had; one that has less is another", async () => {
  const port = (await h.create("port", { network_id: network }, p)).id;
  await h.plug("hv1", port, 10);
  ports.set("hv1", [at(10, 70, 50)]);
  await later();
  expect(await shown("ports", port)).toEqual([50, 70, true]);
  ports.set("hv1", [at(10, 72, 51, 1)]);
  await later();
  expect(await shown("ports", port)).toEqual([51, 72, true]);
  ports.set("hv1", []);
  await h.unplug("hv1", port);
  await later(24);
  expect(await shown("ports", port)).toEqual([51, 72, true]);
  await h.plug("hv1", port, 11);
  ports.set("hv1", [at(11, 73, 51, 1)]);
  await later();
  expect(await shown("ports", port)).toEqual([51, 73, true]);
  await h.unplug("hv1", port);
  await later(24);
  await h.plug("hv1", port, 12);
  ports.set("hv1", [at(12, 80, 2, 1)]);
  await later();
  expect(await shown("ports", port)).toEqual([51 + 2, 73 + 80, true]);
});

test("while a host's database says nothing of a device it is the same; another by the same name is another, even if it has more", async () => {
  const port = (await h.create("port", { network_id: network }, p)).id;
  await h.plug("hv1", port, 10);
  const says = (ifindex: number): void => deviceOf(port, ifindex);
  // The switch is asked before its database has said what the interface is.
  ports.set("hv1", [at(10, 7, 5)]);
  await later();
  expect(await shown("ports", port)).toEqual([5, 7, true]);
  says(4);
  await later();
  expect(await shown("ports", port)).toEqual([5, 7, true]);
  h.facts.forget(observedTable, deviceId(port));
  ports.set("hv1", [at(10, 8, 5, 110)]);
  await later();
  expect(await shown("ports", port)).toEqual([5, 8, true]);
  says(4);
  await later();
  expect(await shown("ports", port)).toEqual([5, 8, true]);
  says(9);
  ports.set("hv1", [at(10, 9, 6, 1)]);
  await later();
  expect(await shown("ports", port)).toEqual([5 + 6, 8 + 9, true]);
});

test("a device that is unplugged when a controller ends goes on from what it had when it is plugged again; another one does not", async () => {
  const port = (await h.create("port", { network_id: network }, p)).id;
  deviceOf(port, 4);
  await h.plug("hv1", port, 10);
  ports.set("hv1", [at(10, 70, 50)]);
  await later();
  expect(await shown("ports", port)).toEqual([50, 70, true]);
  const away: unknown[] = [];
  for (const [ifindex, rx, tx, all] of [[4, 73, 51, [51, 73, true]], [5, 80, 60, [51 + 60, 73 + 80, true]], [undefined, 90, 70, [51 + 60 + 70, 73 + 80 + 90, true]]] as const) {
    ports.set("hv1", []);
    await h.unplug("hv1", port);
    await later(24);
    away.push([...h.view.all(resourceCountTable)].map((row) => row.away?.map(({ packets, device }) => [packets, device])));
    h = await h.restart();
    answers();
    if (ifindex !== undefined) deviceOf(port, ifindex);
    await later(12);
    await h.plug("hv1", port, 11);
    ports.set("hv1", [at(11, rx, tx, 1)]);
    await later();
    expect(await shown("ports", port)).toEqual(all);
  }
  await later(24);
  expect(away).toEqual([[[[50, 4]], [[70, 4]]], [[[51, 4]], [[73, 4]]], [[[60, 5]], [[80, 5]]]]);
  expect([...h.view.all(resourceCountTable)].map((row) => row.away)).toEqual([undefined, undefined]);
});

test("of an interface that is gone it is known what it had a second before, however long ago anybody looked", async () => {
  const port = (await h.create("port", { network_id: network }, p)).id;
  await h.plug("hv1", port, 10);
  ports.set("hv1", [at(10, 7, 5)]);
  await later(12);
  ports.set("hv1", [at(10, 70, 50, 101)]);
  await later(1);
  ports.set("hv1", [at(9, 1000, 1000)]);
  await h.unplug("hv1", port);
  await h.settled();
  await later(2);
  expect([...opsLists[0]!.rows(h.view, { id: port })]).toMatchObject([{ received: { packets: 50 }, sent: { packets: 70 }, complete: true }]);
});

test("what another controller has stored of an interface that ended is not counted once more, nor when its device is there again", async () => {
  const port = (await h.create("port", { network_id: network }, p)).id;
  await h.plug("hv1", port, 10);
  ports.set("hv1", [at(10, 7, 5)]);
  await later(12);
  ports.set("hv1", [at(10, 70, 50, 101)]);
  await later(1);
  const since = "2026-01-01T00:00:00Z";
  for (const [counter, packets] of [["received", 50], ["sent", 70]] as const) {
    const all = { packets, bytes: packets * 100 };
    await h.model.transact({ requestId: "other", call: "other" }, (tx) => tx.put(resourceCountTable, { id: `port/${counter}/${port}`, ...all, gone_packets: all.packets, gone_bytes: all.bytes, last_hit: since, since }));
  }
  ports.set("hv1", []);
  await h.unplug("hv1", port);
  await h.settled();
  await later();
  expect(await shown("ports", port)).toEqual([50, 70, true]);
  await h.plug("hv1", port, 11);
  ports.set("hv1", [at(11, 73, 51, 1)]);
  await later();
  expect(await shown("ports", port)).toEqual([51, 73, true]);
});

test("a host that says of ports again and again that they are others does not make forgotten what those of another had", async () => {
  const [port, another] = [(await h.create("port", { network_id: network }, p)).id, (await h.create("port", { network_id: network }, p)).id];
  await h.plug("hv1", port, 10);
  await h.plug("hv2", another, 1);
  const many = (durationS: number): PortCount[] => Array.from({ length: 6000 }, (_, n) => at(n + 1, 1, 1, durationS));
  ports.set("hv1", [at(10, 7, 5)]).set("hv2", many(100));
  await later(12);
  ports.set("hv1", [at(10, 70, 50, 101)]);
  await later(1);
  ports.set("hv1", []);
  for (const durationS of [60, 50, 40]) {
    ports.set("hv2", many(durationS));
    await later(1);
  }
  await later(8);
  expect([...opsLists[0]!.rows(h.view, { id: port })]).toMatchObject([{ received: { packets: 50 }, sent: { packets: 70 } }]);
});

test("others do not see what a port counts", async () => {
  const port = (await h.create("port", { network_id: network }, p)).id;
  expect((await h.call("GET", `/v2.0/ports/${port}?fields=axion:statistics`, undefined, { "x-project-id": "q", "x-roles": "member" })).status).toBe(404);
  expect((await h.call("GET", `/v2.0/ports/${port}`, undefined, p)).body.port).not.toHaveProperty("axion:statistics");
});

test("a sub-port of a trunk is counted by its flows", async () => {
  const parent = (await h.create("port", { network_id: network }, p)).id;
  const sub = (await h.create("port", { network_id: network }, p)).id;
  await h.call("POST", "/v2.0/trunks", { trunk: { port_id: parent, sub_ports: [{ port_id: sub, segmentation_type: "vlan", segmentation_id: 7 }] } }, p);
  await h.plug("hv1", parent, 10);
  await h.settled();
  ports.set("hv1", [at(10, 90, 90)]);
  pass("hv1", "l2", "local-port", sub, "classify", 4);
  const push = h.engine.wantedFlows("l2", "local-port", sub).filter((f) => f.table === h.layout.table("push_tag").id);
  // What it would be sent of itself is dropped.
  for (const flow of push) counted.set(`hv1 ${flow.key}`, flow.priority === 100 ? 6 : 1000);
  await later();
  expect([await shown("ports", sub), await shown("ports", parent)]).toEqual([[6, 4, true], [90, 90, true]]);
});

test("a router counts what its routes take, wherever; a floating IP what comes for it and leaves in its name", async () => {
  const outside = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
  const subnet = (await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" }, p)).id;
  const router = (await h.create("router", { external_gateway_info: { network_id: outside } }, p)).id;
  await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet }, p);
  const port = (await h.create("port", { network_id: network }, p)).id;
  await h.plug("hv1", port, 10);
  const floating = (await h.create("floatingip", { floating_network_id: outside, port_id: port }, p)).id;
  await h.settled();
  pass("hv1", "l3", "routing", `${router}|10.0.0.0/24`, "l3_route", 5);
  pass("hv2", "l3", "routing", `${router}|0.0.0.0/0`, "l3_route", 3);
  const [where] = h.view.get(floatingPlaceTable, floating)!.hosts as [string];
  pass(where, "nat", "floating", floating, "nat_in", 2);
  pass(where, "nat", "leaving", floating, "nat_leaving", 8);
  await later();
  expect([await shown("routers", router), await shown("floatingips", floating)]).toEqual([[8, true], [2, 8, true]]);
  await h.call("PUT", `/v2.0/floatingips/${floating}`, { floatingip: { port_id: null } }, p);
  await h.call("PUT", `/v2.0/routers/${router}/remove_router_interface`, { subnet_id: subnet }, p);
  counted.clear();
  await later();
  expect([await shown("routers", router), await shown("floatingips", floating)]).toEqual([[8, true], [2, 8, true]]);
});

test("what nobody asks for is looked at on an account of its own: of a switch with much to count, metering and security group rules have their share", async () => {
  const [resources, rules] = [vi.spyOn(FlowCounter.prototype, "ofResource"), vi.spyOn(FlowCounter.prototype, "of")];
  const port = (await h.create("port", { network_id: network }, p)).id;
  await h.plug("hv1", port, 10);
  await h.settled();
  await h.call("GET", "/v2.0/security-group-rules?fields=axion:packets", undefined, p);
  await later(120);
  const payers = (calls: readonly (readonly unknown[])[]): Set<unknown> => new Set(calls.map((call) => call.at(-1)).filter((payer) => payer !== "p"));
  const [mine, others] = [payers(resources.mock.calls), payers(rules.mock.calls)];
  for (const spy of [resources, rules]) spy.mockRestore();
  expect([mine.size, others.size]).toEqual([1, 1]);
  expect([...mine]).not.toEqual([...others]);
});

test("metrics begin where a controller does: what switches counted before, while none ran, is in totals alone", async () => {
  const port = (await h.create("port", { network_id: network }, p)).id;
  await h.plug("hv1", port, 10);
  ports.set("hv1", [at(10, 5, 5)]);
  await later();
  expect(await shown("ports", port)).toEqual([5, 5, true]);
  h = await h.restart();
  ports.set("hv1", [at(10, 50, 50, 200)]);
  answers();
  await later(24);
  expect(await shown("ports", port)).toEqual([50, 50, true]);
  ports.set("hv1", [at(10, 51, 52, 300)]);
  await later(24);
  const values = Array.from(gauges[0]!.read(h.view) as Iterable<{ labels: Record<string, string>; value: number }>);
  expect(values.map(({ labels, value }) => [labels.counter, value]).sort()).toEqual([["received", 2], ["sent", 1]]);
});

test("metrics do not jump where a switch says nothing at the first look, nor after a controller that had stored nothing", async () => {
  const port = (await h.create("port", { network_id: network }, p)).id;
  await h.plug("hv1", port, 10);
  ports.set("hv1", [at(10, 5000, 5000)]);
  h.portCounts = () => undefined;
  await later(24);
  h = await h.restart();
  answers();
  h.portCounts = () => undefined;
  await later(24);
  answers();
  await later(12);
  ports.set("hv1", [at(10, 5001, 5002, 300)]);
  await later(24);
  const values = Array.from(gauges[0]!.read(h.view) as Iterable<{ labels: Record<string, string>; value: number }>);
  expect(values.map(({ labels, value }) => [labels.counter, value]).sort()).toEqual([["received", 2], ["sent", 1]]);
  expect(await shown("ports", port)).toEqual([5002, 5001, true]);
});

test("a new port's metrics have all that it counts, from its first frame on", async () => {
  const port = (await h.create("port", { network_id: network }, p)).id;
  await h.plug("hv1", port, 10);
  ports.set("hv1", [at(10, 5, 6)]);
  await later(24);
  const values = Array.from(gauges[0]!.read(h.view) as Iterable<{ labels: Record<string, string>; value: number }>);
  expect(values.map(({ labels, value }) => [labels.counter, value]).sort()).toEqual([["received", 6], ["sent", 5]]);
});
