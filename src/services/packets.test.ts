// What a handler reads of a packet's registers, through a real switch: a packet goes into a stage with registers set, a flow there
// punts it, and the handler finds in it what was set.
import { afterAll, beforeAll, expect, test } from "vitest";
import { counted, defineCounter, definePipeline, type PacketIn, type StageOut } from "#app";
import { ports } from "node-openflow";
import { pino } from "pino";
import { SimulatedClock } from "../lib/clock.ts";
import { hookGuard } from "../lib/hook-guard.ts";
import { Facts } from "../model/facts.ts";
import { Layer } from "../model/rows.ts";
import { View } from "../model/view.ts";
import { Layout } from "../pipeline/layout.ts";
import { lowerPacket } from "../pipeline/packet-out.ts";
import { eventually, Ovs } from "../southbound/testing/ovs.ts";
import { flow, World } from "../southbound/testing/world.ts";
import { Packets } from "./packets.ts";

const pipeline = definePipeline({
  registers: { wide: { bits: 128, about: "" }, small: { bits: 8, about: "" }, word: { bits: 32, about: "" }, last: { bits: 16, about: "" } },
  tables: { seen: { stage: "forward", miss: "drop", about: "", match: [] } },
});
const heard: PacketIn[] = [];
const seen = defineCounter({ name: "axion_seen_total", about: "", label: "how", values: ["once"] });
const app = { name: "a", about: "", pipeline, counters: [seen], packetIn: { seen: (packet: PacketIn) => (heard.push(packet), [counted(seen, "once")]) } };
const layout = new Layout([app]);
const facts = new Facts([], new SimulatedClock());
const complaints: object[] = [];
const counts: unknown[] = [];
const guard = hookGuard({ error: (fields: object): void => void complaints.push(fields) });
const packets = new Packets({ apps: [app], layout, view: new View(new Layer(), undefined, facts), facts, guard, log: pino({ level: "silent" }), count: (...count) => void counts.push(count) });
let ovs: Ovs;
let world: World;

beforeAll(async () => {
  const punt = flow({ table_id: layout.table("seen").id, priority: 5, match: {}, instructions: [{ type: "apply_actions", actions: [{ type: "output", port: ports.CONTROLLER, max_len: 0xffff }] }] });
  ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
  world = await World.start({ want: () => ({ flows: [punt] }), onPacketIn: (packet) => (packets.handle(packet), []) });
  await world.adopt(ovs);
  await eventually("the flow", async () => (await ovs.flows()).length === 1);
}, 30_000);
afterAll(async () => {
  await world?.stop();
  await ovs?.stop();
});

async function sent(registers: StageOut["registers"]): Promise<PacketIn> {
  heard.length = 0;
  world.southbound.sendPackets([lowerPacket(layout, "a", { chassis: "hv1", stage: "forward", registers, data: Buffer.alloc(60, 0x88) })]);
  await eventually("the packet", () => heard.length === 1);
  return heard[0]!;
}

const HIGH = 2n ** 127n + 5n;
test.each<[string, StageOut["registers"][string], StageOut["registers"][string]]>([
  ["wide", HIGH, HIGH],
  ["wide", 1n, 1n],
  ["wide", 1n << 64n, 1n << 64n],
  ["wide", (1n << 128n) - 1n, (1n << 128n) - 1n],
  ["nexthop", "10.1.2.3", "10.1.2.3"],
  ["nexthop", "255.255.255.255", "255.255.255.255"],
  ["nexthop", "fd00::1", "fd00::1"],
  ["nexthop", "fe80::a9fe:a9fe", "fe80::a9fe:a9fe"],
  ["nexthop", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"],
  ["nexthop", "0:1::", "0:1::"],
  ["small", 255, 255],
  ["word", 0xffff_ffff, 0xffff_ffff],
  ["last", 0x8001, 0x8001],
  ["net", 7, 7],
])("register %s, loaded with %s", async (name, given, expected) => {
  const packet = await sent({ [name]: given, small: 3, from_tunnel: 1, ...(name === "small" && { small: given }) });
  expect(packet.register(name)).toBe(expected);
  expect(packet.register("from_tunnel")).toBe(1);
  expect(packet.register("secured")).toBe(0);
});

test("what was never loaded is 0, or no address; what nobody declares is named", async () => {
  const packet = await sent({});
  expect([packet.register("wide", pipeline), packet.register("nexthop"), packet.register("word", pipeline)]).toEqual([0n, "", 0]);
  expect(() => packet.register("nothing")).toThrow("no app declares a register nothing");
  expect(complaints).toEqual([]);
});

test("types follow the declarations", async () => {
  const packet = await sent({ nexthop: "10.0.0.1", wide: 5n, net: 1 });
  const [address, wide, net]: [string, bigint, number] = [packet.register("nexthop"), packet.register("wide", pipeline), packet.register("net")];
  expect([address, wide, net]).toEqual(["10.0.0.1", 5n, 1]);
  // @ts-expect-error -- an address is no number
  const wrong: number = packet.register("nexthop");
  expect(typeof wrong).toBe("string");
  // @ts-expect-error -- not a register of this pipeline
  expect(() => packet.register("worde", pipeline)).toThrow();
});

test("what a handler counts is counted where the packet is answered, not where it is only heard", async () => {
  counts.length = 0;
  await sent({});
  expect(counts).toEqual([["a", seen, "once"]]);
  const raw = { chassis: "hv1", inPort: 1, tableId: layout.table("seen").id, data: Buffer.alloc(60), match: {} };
  packets.hear(raw);
  expect([heard.length, counts.length]).toEqual([2, 1]);
});
