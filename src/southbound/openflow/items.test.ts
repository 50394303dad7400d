// Meters and groups, and what a switch learns by itself, with real switches: in order with the flows that use them, read back, repaired.
import { afterEach, expect, test } from "vitest";
import type { Flow, Item, LoweredGroup } from "../../compiler/desired.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { flow, group, meter, World, type Wanted, type WorldOptions } from "../testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function host(): Promise<Ovs> {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
  cleanup.push(() => ovs.stop());
  return ovs;
}

async function world(options: WorldOptions): Promise<World> {
  const w = await World.start(options);
  cleanup.push(() => w.stop());
  return w;
}

const flows = (...list: Flow[]): (() => Wanted) => () => ({ flows: list });

test("meters come before the flows that use them and go after; foreign ones go", async () => {
  const metered = (n: number): Flow =>
    flow({ priority: 5, match: { reg0: n }, instructions: [{ type: "meter", meter_id: n }, { type: "apply_actions", actions: [{ type: "output", port: 1 }] }] });
  const pps = (id: number, rate = 100): Item => meter(id, { unit: "pps", rate, burst: 50 });
  const ovs = await host();
  const w = await world({ want: () => ({ flows: [metered(1), metered(2)], items: [pps(1), pps(2)] }) });
  await w.adopt(ovs);
  const dump = async (): Promise<string[]> => (await ovs.ofctl("dump-meters", "br-int")).split("\n").filter((line) => line.startsWith("meter=")).sort();
  expect(await dump()).toEqual(["meter=1 pktps burst bands=", "meter=2 pktps burst bands="]);
  expect(await ovs.flows()).toHaveLength(2);
  await w.confirmed(await w.desired.become(() => ({ flows: [metered(1), metered(3)], items: [pps(1, 200), pps(3)] })));
  expect(await dump()).toEqual(["meter=1 pktps burst bands=", "meter=3 pktps burst bands="]);
  expect(await ovs.ofctl("dump-meters", "br-int")).toContain("rate=200");
  await ovs.ofctl("add-meter", "br-int", "meter=9,pktps,bands=type=drop,rate=1");
  await ovs.ofctl("del-meter", "br-int", "meter=3");
  await w.southbound.audit("hv1");
  expect(await dump()).toEqual(["meter=1 pktps burst bands=", "meter=3 pktps burst bands="]);
  expect(await ovs.flows()).toHaveLength(2);
  expect(w.southbound.quarantined("hv1")).toEqual([]);
});

test("a meter that copies for the controller pass is bound to its flow again, when somebody took it away", async () => {
  const copied = flow({ priority: 5, match: { reg0: 1 }, instructions: [{ type: "apply_actions", actions: [{ type: "controller", max_len: 128, meter_id: 7 }, { type: "output", port: 1 }] }] });
  const ovs = await host();
  const w = await world({ want: () => ({ flows: [copied], items: [meter(7, { unit: "pps", rate: 100, burst: 50 }), meter(8, { unit: "pps", rate: 10, burst: 5 })] }) });
  await w.adopt(ovs);
  expect(await w.southbound.audit("hv1"), "read back, it is as wanted").toEqual({ missing: 0, changed: 0, foreign: 0 });
  await ovs.ofctl("del-meter", "br-int", "meter=8");
  expect(await w.southbound.audit("hv1"), "of another meter").toEqual({ missing: 0, changed: 0, foreign: 0 });
  await ovs.ofctl("del-meter", "br-int", "meter=7");
  expect(await ovs.flows(), "it does not go with its meter").toHaveLength(1);
  expect(await w.southbound.audit("hv1")).toEqual({ missing: 0, changed: 1, foreign: 0 });
  expect(await w.southbound.audit("hv1")).toEqual({ missing: 0, changed: 0, foreign: 0 });
});

test("groups come and go in the bundle of the flows that use them; changed, foreign and missing ones are repaired", async () => {
  const through = (n: number): Flow => flow({ priority: 5, match: { reg0: n }, instructions: [{ type: "apply_actions", actions: [{ type: "group", group_id: n }] }] });
  const to = (...outs: number[]): LoweredGroup => ({ type: "select", buckets: outs.map((port, i) => ({ weight: i + 1, actions: [{ type: "load", dst: { field: "reg5", ofs: 0, bits: 16 }, value: port }, { type: "output", port }] })) });
  const failover: LoweredGroup = { type: "ff", buckets: [{ watch_port: 1, actions: [{ type: "output", port: 1 }] }, { watch_port: 2, actions: [{ type: "resubmit", table: 3 }] }] };
  const ovs = await host();
  const w = await world({ want: () => ({ flows: [through(1), through(2)], items: [group(1, to(1, 2)), group(2, failover)] }) });
  await w.adopt(ovs);
  const dump = async (): Promise<string[]> => (await ovs.ofctl("dump-groups", "br-int")).split("\n").map((line) => line.trim()).filter((line) => line.startsWith("group_id=")).sort();
  const before = await dump();
  expect(before).toHaveLength(2);
  expect(before[1]).toContain("type=ff");
  expect(await w.southbound.audit("hv1"), "read back, they are as wanted").toEqual({ missing: 0, changed: 0, foreign: 0 });
  const mods = w.count("axion_flow_mods_sent_total");
  await w.southbound.audit("hv1");
  expect(w.count("axion_flow_mods_sent_total")).toBe(mods);
  await w.confirmed(await w.desired.become(() => ({ flows: [through(2), through(3)], items: [group(2, to(7)), group(3, to(1))] })));
  expect((await dump()).map((line) => /group_id=(\d+),type=(\w+)/.exec(line)!.slice(1).join(" "))).toEqual(["2 select", "3 select"]);
  expect(await ovs.flows()).toHaveLength(2);
  const after = await dump();
  await ovs.ofctl("add-group", "br-int", "group_id=9,type=all,bucket=output:1");
  await ovs.ofctl("mod-group", "br-int", "group_id=2,type=all,bucket=output:9");
  await ovs.ofctl("del-groups", "br-int", "group_id=3");
  await w.southbound.audit("hv1");
  expect(await dump()).toEqual(after);
  expect(await ovs.flows()).toHaveLength(2);
  // A restart finds them as they are.
  const sent = w.count("axion_flow_mods_sent_total");
  expect(sent).toBeGreaterThan(0);
  await w.stop();
  const again = await world({ want: () => ({ flows: [through(2), through(3)], items: [group(2, to(7)), group(3, to(1))] }), store: w.store, ports: w.ports });
  await again.connected();
  expect(again.count("axion_flow_mods_sent_total")).toBe(0);
});

test("what the switch learned stays, what somebody put beside it goes", async () => {
  const learning = flow({
    priority: 5, match: { eth_type: 0x0806 },
    instructions: [{ type: "apply_actions", actions: [{ type: "learn", table_id: 200, priority: 9, idle_timeout: 60, flags: 2, cookie: 5n, limit: 3, specs: [{ type: "match", src: { field: "eth_src", ofs: 0, bits: 48 }, dst: { field: "eth_src", ofs: 0, bits: 48 } }] }] }],
  });
  const ovs = await host();
  const w = await world({ want: flows(learning) });
  await w.adopt(ovs);
  await ovs.vsctl("add-port", "br-int", "tap1");
  const arp = (n: number): string => `in_port(1),eth(src=02:00:00:00:00:0${n},dst=ff:ff:ff:ff:ff:ff),eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2,op=1,sha=02:00:00:00:00:0${n},tha=00:00:00:00:00:00)`;
  for (let n = 1; n <= 5; n++) await ovs.appctl("netdev-dummy/receive", "tap1", arp(n));
  const learned = async (): Promise<number> => (await ovs.flows()).filter((line) => line.includes(" table=200")).length;
  await eventually("what it learned, up to the limit", async () => (await learned()) === 3);
  await ovs.ofctl("add-flow", "br-int", "table=200,priority=1,reg0=7,actions=drop");
  expect(await w.southbound.audit("hv1")).toEqual({ missing: 0, changed: 0, foreign: 1 });
  expect(await learned()).toBe(3);
  await w.confirmed(await w.desired.become(() => ({})));
  await eventually("it goes with the flow that learned it", async () => (await learned()) === 0);
});

