// What apps observe of a host, on a real Open vSwitch: seen, followed, at a bounded rate, and forgotten with interface and session.
import { afterEach, expect, test } from "vitest";
import { hostSessionsTable, observed, observedTable, type App, type Fact } from "#app";
import { SimulatedClock } from "../../lib/clock.ts";
import { Facts } from "../../model/facts.ts";
import { View } from "../../model/view.ts";
import { checkApps } from "../../boot/registry.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { World, type WorldOptions } from "../testing/world.ts";

const cleanup: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).reverse()) await undo();
});

class Counted extends Facts {
  readonly learned: string[] = [];

  override learn(fact: Fact): void {
    if (fact.fact === observedTable) this.learned.push(fact.row.id);
    super.learn(fact);
  }
}

const app: App = { name: "watcher", about: "", observe: { Interface: ["link_state", "statistics", "mtu"], Bridge: ["datapath_version"] } };
const other: App = { name: "other", about: "", observe: { Interface: ["admin_state"] } };

async function setUp(options: WorldOptions = {}): Promise<{ ovs: Ovs; w: World; facts: Counted; view: View }> {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
  cleanup.push(() => ovs.stop());
  const facts = new Counted([observedTable, hostSessionsTable], new SimulatedClock());
  const w = await World.start({ apps: [app, other], facts, ...options });
  cleanup.push(() => w.stop());
  await w.adopt(ovs);
  return { ovs, w, facts, view: new View(w.model.view, undefined, facts) };
}

test("columns that some app declares are seen of every row, follow it, and go with it; nothing else of the model changes", async () => {
  const { ovs, w, view, facts } = await setUp();
  await ovs.vsctl("add-port", "br-int", "p0");
  await ovs.appctl("netdev-dummy/set-admin-state", "p0", "up");
  const p0 = () => observed(view, "hv1", "Interface", "p0");
  await eventually("the link", () => p0()?.link_state === "up" && p0()?.admin_state === "up");
  expect(Object.keys(p0()!).sort()).toEqual(["admin_state", "link_state", "mtu", "statistics"]);
  expect(p0()!.mtu).toBe(1500);
  expect(observed(view, "hv1", "Bridge", "br-int")?.datapath_version).not.toBeUndefined();
  expect(observed(view, "hv1", "Port", "p0"), "nobody observes this table").toBeUndefined();
  const { generation } = w.model;
  const written = (await ovs.commits()).filter((line) => line.includes("axion: ")).length;
  await ovs.appctl("netdev-dummy/receive", "p0", "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x1234)");
  await eventually("the counter", () => p0()?.statistics?.rx_packets === 1);
  await ovs.appctl("netdev-dummy/set-admin-state", "p0", "down");
  await eventually("the link is down", () => p0()?.admin_state === "down");
  expect([w.model.generation, (await ovs.commits()).filter((line) => line.includes("axion: ")).length]).toEqual([generation, written]);
  await ovs.vsctl("del-port", "p0", "--", "add-port", "br-int", "p1");
  await eventually("the other", () => p0() === undefined && observed(view, "hv1", "Interface", "p1") !== undefined);
  await ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:system-id=hv2");
  await eventually("the other name", () => observed(view, "hv2", "Interface", "p1") !== undefined && facts.facts(observedTable, "hv1").length === 0);
  await ovs.vsctl("del-manager");
  await eventually("nothing of a host that is gone", () => facts.facts(observedTable).length === 0);
}, 30_000);

test("however often a row changes, it is a fact about once a second", async () => {
  const { ovs, view, facts } = await setUp();
  await ovs.vsctl("add-port", "br-int", "p0");
  await eventually("the port", () => observed(view, "hv1", "Interface", "p0") !== undefined);
  const from = facts.learned.length;
  const began = performance.now();
  let flips = 0;
  for (; performance.now() - began < 2500; flips++) {
    await ovs.appctl("netdev-dummy/set-admin-state", "p0", flips % 2 === 0 ? "up" : "down");
    await new Promise((resolve) => setTimeout(resolve, 120)); // the switch looks every 100 ms
  }
  await ovs.appctl("netdev-dummy/set-admin-state", "p0", "up");
  await eventually("the last", () => observed(view, "hv1", "Interface", "p0")?.admin_state === "up");
  const learned = facts.learned.slice(from).filter((id) => id === "hv1/Interface/p0").length;
  expect(flips).toBeGreaterThan(8);
  expect(learned).toBeGreaterThan(1);
  expect(learned).toBeLessThanOrEqual(Math.ceil((performance.now() - began) / 1000) + 1);
}, 30_000);

test("with no app that observes nothing is followed, and a wrong declaration ends the start", async () => {
  const { ovs, facts } = await setUp({ apps: [{ name: "blind", about: "" }] });
  await ovs.vsctl("add-port", "br-int", "p0");
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(facts.learned).toEqual([]);
  expect(() => checkApps([{ name: "a", about: "", observe: { Interface: ["options"] } as never }])).toThrow("app a observes Interface:options, which cannot be observed");
  expect(() => checkApps([{ name: "a", about: "", observe: { Queue: ["dscp"] } as never }])).toThrow("app a observes Queue:dscp");
});
