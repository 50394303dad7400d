// What apps observe of a host, on a real Open vSwitch: seen, followed, at a bounded rate, and forgotten with interface and session.
import { afterEach, expect, test } from "vitest";
import { hostSessionsTable, observed, observedTable, type App, type Fact } from "#app";
import { SimulatedClock } from "../../lib/clock.ts";
import { Facts } from "../../model/facts.ts";
import { View } from "../../model/view.ts";
import { checkApps } from "../../boot/registry.ts";
import { observedColumns } from "./observer.ts";
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

test("of a map an app may declare keys: others are not kept, unless another app wants all of it", () => {
  const one: App = { name: "one", about: "", observe: { Interface: ["status:driver_name", "status:tunnel_egress_iface", "mtu"] } };
  const all: App = { name: "all", about: "", observe: { Interface: ["status"] } };
  expect([...observedColumns([one]).get("Interface")!]).toEqual([["mtu", undefined], ["status", new Set(["driver_name", "tunnel_egress_iface"])]]);
  expect([...observedColumns([one, all]).get("Interface")!]).toEqual([["mtu", undefined], ["status", undefined]]);
  expect(() => checkApps([{ ...one, observe: { Interface: ["rain:key" as "status:key"] } }])).toThrow("observes Interface:rain");
});

test("keys of a map are seen where a row has them", async () => {
  const keys: App = { name: "keys", about: "", observe: { Interface: ["status:tunnel_egress_iface"] } };
  // Where tunnels are tunnels the bridge has no datapath here: the database is all that is followed.
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11", "axion-datapath-type": "dummy" }, { tunnels: true });
  cleanup.push(() => ovs.stop());
  const facts = new Counted([observedTable, hostSessionsTable], new SimulatedClock());
  const w = await World.start({ apps: [keys], facts });
  cleanup.push(() => w.stop());
  await ovs.vsctl("--no-wait", "set-manager", `tcp:127.0.0.1:${w.ports.ovsdb}`);
  const view = new View(w.model.view, undefined, facts);
  await ovs.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=dummy");
  await ovs.appctl("netdev-dummy/ip4addr", "br0", "198.51.100.1/24");
  await ovs.appctl("ovs/route/add", "198.51.100.0/24", "br0");
  for (const [name, ip] of [["near", "198.51.100.7"], ["far", "203.0.113.7"]] as const) await ovs.vsctl("add-port", "br0", name, "--", "set", "Interface", name, "type=gre", `options:remote_ip=${ip}`, "options:key=5");
  await eventually("the way there", () => observed(view, "hv1", "Interface", "near")?.status?.tunnel_egress_iface === "br0");
  expect(observed(view, "hv1", "Interface", "near")!.status).toEqual({ tunnel_egress_iface: "br0" });
  expect(await ovs.vsctl("get", "Interface", "near", "status")).toContain("carrier");
  await eventually("the other", () => observed(view, "hv1", "Interface", "far") !== undefined);
  expect(observed(view, "hv1", "Interface", "far")!.status).toEqual({});
});

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
