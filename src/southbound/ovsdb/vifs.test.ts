// Interfaces that somebody plugs: rows, slots, what the apps are told, and the mark once the switch has confirmed the flows.
import { afterEach, expect, test } from "vitest";
import { pino } from "pino";
import { poolNumberTable, take, vifTable, zonePool, type App, type PoolNumber } from "#app";
import { allTables } from "../../boot/registry.ts";
import { allocationTable } from "../../model/transaction.ts";
import { Model } from "../../model/model.ts";
import { writeVifs } from "./vifs.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { numbered, World, type Wanted, type WorldOptions } from "../testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function host(id = "hv1"): Promise<Ovs> {
  const ovs = await Ovs.start({ "system-id": id, "axion-encap-ip": "192.0.2.11" });
  cleanup.push(() => ovs.stop());
  return ovs;
}

async function world(options: WorldOptions = {}): Promise<World> {
  const w = await World.start(options);
  cleanup.push(() => w.stop());
  return w;
}

/** A flow for each interface of the chassis. */
const want: NonNullable<WorldOptions["want"]> = (chassis, view): Wanted => ({
  flows: view.by(vifTable, "chassis", chassis.id).map((vif) => numbered(vif.slot, vif.ofport)),
});

function recordingApp(): { app: App; told: string[] } {
  const told: string[] = [];
  const note = (what: string) => (_tx: unknown, vif: { id: string; iface_id: string; ofport: number }) => void told.push(`${what} ${vif.id} ${vif.iface_id} ${vif.ofport}`);
  return { told, app: { name: "recorder", about: "", vif: { plugged: note("plugged"), installed: note("installed"), unplugged: note("unplugged") } } };
}

const plug = (ovs: Ovs, name: string, ifaceId: string, ofport?: number): Promise<string> =>
  ovs.vsctl("add-port", "br-int", name, "--", "set", "Interface", name, `external_ids:iface-id=${ifaceId}`, ...(ofport === undefined ? [] : [`ofport_request=${ofport}`]));
const installed = async (ovs: Ovs, name: string): Promise<boolean> => (await ovs.iface(name, "external_ids")).includes('axion-installed="true"');

test("plugged, installed when the switch confirmed the flows, unplugged", async () => {
  const ovs = await host();
  const { app, told } = recordingApp();
  const w = await world({ want, apps: [app] });
  await w.adopt(ovs);
  await plug(ovs, "tap1", "port-1", 5);
  await eventually("the mark", () => installed(ovs, "tap1"));
  expect(w.vif("hv1", "tap1")).toEqual({ id: "hv1/tap1", chassis: "hv1", iface_id: "port-1", name: "tap1", ofport: 5, slot: 1 });
  expect(await ovs.flows()).toHaveLength(1);
  expect(w.model.lastChange("vif", "hv1/tap1")?.cause.call).toBe("tap1 plugged on hv1");
  expect(told).toEqual(["plugged hv1/tap1 port-1 5", "installed hv1/tap1 port-1 5"]);
  await ovs.vsctl("del-port", "tap1");
  await eventually("no flow", async () => (await ovs.flows()).length === 0);
  expect(told.at(-1)).toBe("unplugged hv1/tap1 port-1 5");
  expect(w.vif("hv1", "tap1")).toBeUndefined();
});

test("a restarted controller writes nothing, and a switch without a session keeps everything", async () => {
  const ovs = await host();
  const first = await World.start({ want });
  await first.adopt(ovs);
  for (const n of [1, 2, 3]) await plug(ovs, `tap${n}`, `port-${n}`);
  await eventually("the marks", async () => (await Promise.all([1, 2, 3].map((n) => installed(ovs, `tap${n}`)))).every(Boolean));
  await first.stop();
  const { generation } = first.model;
  const commits = (await ovs.commits()).filter((line) => line.includes("axion: ")).length;
  const { app, told } = recordingApp();
  const second = await world({ want, apps: [app], store: first.store, ports: first.ports });
  await second.connected();
  const repairs = await second.compared(ovs);
  expect(second.model.generation).toBe(generation);
  expect(second.count("axion_flow_mods_sent_total")).toBe(0);
  expect((await ovs.commits()).filter((line) => line.includes("axion: "))).toHaveLength(commits + repairs);
  expect(told).toEqual([]);
});

test("what was unplugged while the controller was away is removed when the host is back", async () => {
  const ovs = await host();
  const first = await World.start({ want });
  await first.adopt(ovs);
  await plug(ovs, "tap1", "port-1");
  await plug(ovs, "tap2", "port-2");
  await eventually("the marks", async () => (await installed(ovs, "tap1")) && (await installed(ovs, "tap2")));
  await first.stop();
  await ovs.vsctl("del-port", "tap1");
  await plug(ovs, "tap3", "port-3");
  const { app, told } = recordingApp();
  const second = await world({ want, apps: [app], store: first.store, ports: first.ports });
  await eventually("the mark of the new one", () => installed(ovs, "tap3"));
  expect(told.map((line) => line.split(" ").slice(0, 2).join(" "))).toEqual(["unplugged hv1/tap1", "plugged hv1/tap3", "installed hv1/tap3"]);
  expect(second.vif("hv1", "tap2")?.slot).toBe(2);
  expect(await ovs.flows()).toHaveLength(2);
});

test("another iface-id is another port: a new slot, the old one rests", async () => {
  const ovs = await host();
  const { app, told } = recordingApp();
  const w = await world({ want, apps: [app] });
  await w.adopt(ovs);
  await plug(ovs, "tap1", "port-1", 5);
  await eventually("the mark", () => installed(ovs, "tap1"));
  await ovs.vsctl("set", "Interface", "tap1", "external_ids:iface-id=port-2");
  await eventually("installed again", () => told.includes("installed hv1/tap1 port-2 5"));
  expect(told.slice(2)).toEqual(["unplugged hv1/tap1 port-1 5", "plugged hv1/tap1 port-2 5", "installed hv1/tap1 port-2 5"]);
  expect(w.vif("hv1", "tap1")?.slot).toBe(2);
  await eventually("the mark", () => installed(ovs, "tap1"));
});

test("another port number is the same port: confirmed anew, with its slot", async () => {
  const ovs = await host();
  const { app, told } = recordingApp();
  const w = await world({ want, apps: [app] });
  await w.adopt(ovs);
  await plug(ovs, "tap1", "port-1", 5);
  await eventually("the mark", () => installed(ovs, "tap1"));
  await ovs.vsctl("set", "Interface", "tap1", "ofport_request=9");
  await eventually("the flow", async () => (await ovs.flows()).some((line) => line.includes("output:9")));
  await eventually("installed again", () => told.includes("installed hv1/tap1 port-1 9"));
  expect(w.vif("hv1", "tap1")).toMatchObject({ ofport: 9, slot: 1 });
  await eventually("the mark", () => installed(ovs, "tap1"));
});

test("two interfaces with one iface-id: the first stays, the second is named in the log", async () => {
  const ovs = await host();
  const w = await world({ want });
  await w.adopt(ovs);
  await plug(ovs, "tapb", "port-1");
  await eventually("the mark", () => installed(ovs, "tapb"));
  await plug(ovs, "tapa", "port-1");
  await eventually("the line", () => w.lines("warn", "tapa").length === 1);
  expect(w.vif("hv1", "tapa")).toBeUndefined();
  expect(w.vif("hv1", "tapb")?.slot).toBe(1);
  await ovs.vsctl("del-port", "tapb");
  await eventually("the other one", () => w.vif("hv1", "tapa") !== undefined);
});

test("many interfaces in one transaction are one commit", async () => {
  const ovs = await host();
  const w = await world({ want });
  await w.adopt(ovs);
  const { generation } = w.model;
  const names = Array.from({ length: 50 }, (_, i) => `tap${i}`);
  await ovs.vsctl(...names.flatMap((name) => ["--", "add-port", "br-int", name, "--", "set", "Interface", name, `external_ids:iface-id=${name}`]).slice(1));
  await eventually("all marks", async () => (await ovs.vsctl("--bare", "--columns=name", "find", "Interface", "external_ids:axion-installed=true")).split("\n").filter(Boolean).length === 50);
  expect(w.model.generation).toBe(generation + 1);
  expect(w.count("axion_bundles_total")).toBe(1);
});

test("an app whose hook fails does not keep the interface from its flows", async () => {
  const ovs = await host();
  const w = await world({
    want,
    apps: [{ name: "broken", about: "", vif: { plugged: () => { throw new Error("oh no"); } } }],
  });
  await w.adopt(ovs);
  await plug(ovs, "tap1", "port-1");
  await eventually("the mark", () => installed(ovs, "tap1"));
  expect(w.lines("error", "vif.plugged")).toHaveLength(1);
});

test("a host that does not come back is removed with its interfaces, and is a new one should it do so after all", async () => {
  const ovs = await host();
  const { app, told } = recordingApp();
  const w = await world({ want, apps: [app] });
  await w.adopt(ovs);
  await plug(ovs, "tap1", "port-1", 5);
  await eventually("the mark", () => installed(ovs, "tap1"));
  expect(await w.southbound.remove("hv1")).toBe(false);
  const allocated = (): string[] => Array.from(w.model.view.all(allocationTable), ({ id }) => id).filter((id) => id.endsWith("/hv1"));
  expect(allocated()).not.toEqual([]);
  await ovs.vsctl("del-manager");
  await ovs.vsctl("del-controller", "br-int");
  await eventually("no session", () => w.info()?.state === "disconnected" && w.info()?.database === "disconnected");
  expect(await w.southbound.remove("hv1")).toBe(true);
  expect(allocated()).toEqual([]);
  expect(w.info()).toBeUndefined();
  expect(w.vif("hv1", "tap1")).toBeUndefined();
  expect(told.at(-1)).toBe("unplugged hv1/tap1 port-1 5");
  await w.adopt(ovs);
  await eventually("its interface", () => told.at(-1) === "installed hv1/tap1 port-1 5");
});

test("the slot of an interface that went is given up in the store, flushed when its flows are gone, and free then", async () => {
  const ovs = await host();
  const w = await world({ want });
  await w.adopt(ovs);
  await plug(ovs, "tap1", "port-1");
  await eventually("the mark", () => installed(ovs, "tap1"));
  const { slot } = w.vif("hv1", "tap1")!;
  const seen: string[] = [];
  w.model.onCommit(({ changes }) => {
    for (const { table, after } of changes) {
      if (table === vifTable) seen.push(after === undefined ? "interface gone" : "interface");
      if (table === poolNumberTable) seen.push(after === undefined ? "zone free" : `zone ${(after as PoolNumber).n} going: ${(after as PoolNumber).releasing}`);
    }
  });
  await ovs.vsctl("del-port", "tap1");
  await eventually("it to be free", () => seen.includes("zone free"));
  expect(seen).toEqual(["interface gone", `zone ${slot} going: true`, "zone free"]);
  expect(await ovs.flows()).toEqual([]);
});

test("a controller that ends before the flush: nobody gets the slot, for a port or for a router, until another has flushed it", async () => {
  const ovs = await host();
  const first = await World.start({ want });
  await first.adopt(ovs);
  await plug(ovs, "tap1", "port-1");
  await eventually("the mark", () => installed(ovs, "tap1"));
  const { slot } = first.vif("hv1", "tap1")!;
  // What is written when it is seen to be gone; the crash comes before the switch is told.
  await first.stop();
  const tables = allTables([]);
  const cause = { requestId: "t", call: "t" };
  const open = (): Promise<Model> => Model.open(first.store, tables);
  const writer = await open();
  await writer.transact(cause, (tx) => writeVifs(tx, [], "hv1", [], pino({ level: "silent" }), (_hook, _fields, fn) => fn()));
  const reader = await open();
  await expect(reader.transact(cause, (tx) => take(tx, zonePool, "hv1", "router/r", { n: slot }))).rejects.toThrow(`zone ${slot} is in use.`);
  await reader.transact(cause, (tx) => {
    for (let i = 0; i < 200; i++) expect(take(tx, zonePool, "hv1", `router/${i}`)).not.toBe(slot);
  });
  await ovs.vsctl("del-port", "tap1");
  const second = await world({ want, store: first.store, ports: first.ports });
  await second.connected();
  await eventually("it to be free", () => !second.model.view.all(poolNumberTable)[Symbol.iterator]().next().done && [...second.model.view.all(poolNumberTable)].every((n) => !n.releasing));
  await second.model.transact(cause, (tx) => take(tx, zonePool, "hv1", "router/r", { n: slot }));
});
