// Interfaces with an iface-id that nothing in the API has, and switches that do not connect: what GET /problems says of them.
import { afterEach, describe, expect, test } from "vitest";
import { poolNumberTable, vifTable, type App, type PoolNumber, type Vif } from "#app";
import { SimulatedClock } from "../../lib/clock.ts";
import type { Problem } from "../../lib/problem.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { World, type WorldOptions } from "../testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function world(options: WorldOptions): Promise<World> {
  const w = await World.start(options);
  cleanup.push(() => w.stop());
  return w;
}

/** Numbers of pools stand for ports here: rows whose ids iface-ids may name. */
const app: App = { name: "numbers", about: "", vif: { known: (view, vif) => view.get(poolNumberTable, vif.iface_id) !== undefined } };

const vif = (chassis: string, n: number): Vif => ({ id: `${chassis}/tap${n}`, chassis, iface_id: `port-${n}`, name: `tap${n}`, ofport: n, slot: n });
const number = (id: string): PoolNumber => ({ id, pool: "p", part: "x", n: 1, releasing: false }) as unknown as PoolNumber;
const cause = { requestId: "test", call: "test" };

describe("interfaces that name no port", () => {
  const unknown = (w: World): Problem[] => w.southbound.problems().filter((p) => p.kind === "unknown_interface");

  test("are one problem a host, some seconds after they came, until a port is there or they are gone", async () => {
    const clock = new SimulatedClock(1_000_000);
    const w = await world({ apps: [app], clock });
    const at = (ms: number): string => new Date(ms).toISOString();
    await w.model.transact(cause, (tx) => {
      tx.put(poolNumberTable, number("port-1"));
      for (const n of [1, 2, 3]) tx.put(vifTable, vif("hv1", n));
      tx.put(vifTable, vif("hv2", 9));
    });
    const came = clock.now();
    expect(unknown(w), "the port may be about to be created").toEqual([]);
    clock.advance(5000);
    expect(unknown(w).map((p) => [p.severity, p.switches, p.since])).toEqual([["warning", ["hv1"], at(came)], ["warning", ["hv2"], at(came)]]);
    expect(unknown(w)[0]!.text).toBe("hv1: the API has no port for 2 interfaces: tap2 (iface-id port-2), tap3 (iface-id port-3)");
    expect(unknown(w)[0]!.cure.text).toMatch(/external_ids:iface-id.*ovs-vsctl.*hv1/);

    await w.model.transact(cause, (tx) => {
      tx.put(poolNumberTable, number("port-2"));
      tx.delete(vifTable, "hv2/tap9");
    });
    expect(unknown(w).map((p) => p.text)).toEqual(["hv1: the API has no port for 1 interface: tap3 (iface-id port-3)"]);

    await w.model.transact(cause, (tx) => tx.delete(poolNumberTable, "port-1"));
    const gone = clock.now();
    await w.model.transact(cause, (tx) => tx.delete(vifTable, "hv1/tap3"));
    expect(unknown(w), "a port that was deleted: its interface may be unplugged next").toEqual([]);
    clock.advance(5000);
    expect(unknown(w).map((p) => [p.since, p.text])).toEqual([[at(gone), "hv1: the API has no port for 1 interface: tap1 (iface-id port-1)"]]);
  });

  test("many of them, with long names: some are named, the others counted", async () => {
    const clock = new SimulatedClock(1_000_000);
    const w = await world({ apps: [app], clock });
    await w.model.transact(cause, (tx) => {
      for (let n = 100; n < 400; n++) tx.put(vifTable, { ...vif("hv1", n), iface_id: `${n}-${"x".repeat(500)}` });
    });
    clock.advance(5000);
    expect(unknown(w)).toHaveLength(1);
    expect(unknown(w)[0]!.text).toMatch(/^hv1: the API has no port for 300 interfaces: tap100 \(iface-id 100-x+\), .*tap104 .* and 295 more$/);
    expect(unknown(w)[0]!.text.length).toBeLessThan(700);
  });

  test("stored before the start count from the start; without an app that knows names there are none", async () => {
    const first = await world({ apps: [app] });
    await first.model.transact(cause, (tx) => tx.put(vifTable, vif("hv1", 1)));
    const clock = new SimulatedClock(1_000_000);
    const again = await world({ apps: [app], clock, store: first.store });
    const nobody = await world({ apps: [], clock, store: first.store });
    clock.advance(5000);
    expect(unknown(again).map((p) => p.since)).toEqual([new Date(1_000_000).toISOString()]);
    expect(unknown(nobody)).toEqual([]);
  });
});

describe("a switch that does not connect", () => {
  const disconnected = (w: World): Problem | undefined => w.southbound.problems().find((p) => p.kind === "switch_disconnected");
  async function host(): Promise<Ovs> {
    const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
    cleanup.push(() => ovs.stop());
    return ovs;
  }

  test("though its database did: what it was told, and where to look", async () => {
    const w = await world({ config: { advertise: "203.0.113.9" } });
    const ovs = await host();
    await ovs.vsctl("set-manager", `tcp:127.0.0.1:${w.ports.ovsdb}`);
    await eventually("the host", () => w.info() !== undefined && disconnected(w) !== undefined);
    const { text, since, cure } = disconnected(w)!;
    expect(text).toBe(`the database of hv1 is connected, its switch is not: it was told tcp:203.0.113.9:${w.ports.openflow} for OpenFlow, and has not come since the controller started`);
    // Its database is reached by the same network: what else there is comes behind that.
    expect(cure.text).toMatch(/^see on hv1 whether ovs-vswitchd runs and answers: ovs-appctl -t ovs-vswitchd version .*systemctl status ovs-vswitchd.*--advertise and --openflow.*firewall/);
    expect(since).toBe(w.info()!.since);
    expect(Date.parse(since)).toBeGreaterThan(Date.parse(w.southbound.problems().find((p) => p.kind === "plain_tcp")?.since ?? "2000-01-01"));
  });

  test("any more: it keeps its flows", async () => {
    const w = await world({});
    const ovs = await host();
    await w.adopt(ovs);
    await eventually("the switch", () => disconnected(w) === undefined);
    await ovs.stopVswitchd();
    await eventually("its end", () => disconnected(w) !== undefined);
    expect(disconnected(w)!.text).toMatch(/^the database of hv1 is connected, its switch is not: it was told tcp:127\.0\.0\.1:\d+ for OpenFlow; it keeps its flows, and gets no changes$/);
    await ovs.stopDb();
    await eventually("the end of both", () => disconnected(w)!.text === "the switch of hv1 is not connected: it keeps its flows, and gets no changes");
    const again = await world({ store: w.store });
    expect(disconnected(again)!.text).toBe("hv1 has not connected since the controller started: what it has of flows it keeps, and gets no changes");
  });
});

test("apps are asked once about each id in a commit, whatever asks what it concerns", async () => {
  const asked: string[] = [];
  const concerning: App = { ...app, vif: { ...app.vif, concerned: (_view, id) => (asked.push(id), id === "of-1" ? ["port-1"] : []) } };
  const clock = new SimulatedClock(1_000_000);
  const w = await world({ apps: [concerning], clock });
  await w.model.transact(cause, (tx) => tx.put(vifTable, vif("hv1", 1)));
  asked.length = 0;
  await w.model.transact(cause, (tx) => {
    tx.put(poolNumberTable, number("port-1"));
    tx.put(poolNumberTable, number("of-1"));
  });
  expect(asked.sort()).toEqual(["of-1", "port-1"]);
  clock.advance(5000);
  expect(w.southbound.problems().filter((p) => p.kind === "unknown_interface")).toEqual([]);
});
