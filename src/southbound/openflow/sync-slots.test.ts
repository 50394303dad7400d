// Few switches are compared at a time, in the order they came; failures make each wait longer, by chance differently long.
import { afterEach, describe, expect, test } from "vitest";
import { FakeSwitch } from "node-openflow/fake-switch";
import { SimulatedClock } from "../../lib/clock.ts";
import { machineRandom, type Random } from "../../lib/random.ts";
import { Backoff } from "../backoff.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { numbered, World } from "../testing/world.ts";
import { SyncSlots } from "./sync-slots.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

/** Chance is what the test says. */
const chance = (value: () => number): Random => ({ ...machineRandom, next: value });

describe("slots", () => {
  test("are given in order of asking, no more than there are, and free ones at once", async () => {
    const slots = new SyncSlots(2);
    const order: number[] = [];
    const tickets = Array.from({ length: 6 }, (_, i) => {
      const ticket = slots.take();
      void ticket.granted.then((granted) => order.push(granted ? i : -i));
      return ticket;
    });
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    await turn();
    expect([order, slots.active, slots.waiting]).toEqual([[0, 1], 2, 4]);
    tickets[3]!.end(); // leaves the queue
    tickets[1]!.end();
    tickets[1]!.end();
    await turn();
    expect([order, slots.active, slots.waiting]).toEqual([[0, 1, -3, 2], 2, 2]);
    for (const ticket of tickets) ticket.end();
    await turn();
    expect([slots.active, slots.waiting]).toEqual([0, 0]);
    expect(await slots.take().granted).toBe(true);
  });
});

test("a pause after a failure doubles from a second to half a minute, and begins anew when all was well", () => {
  const clock = new SimulatedClock();
  let drawn = 0;
  const backoff = new Backoff(clock, chance(() => drawn));
  const pauses = (value: number): number[] => {
    clock.advance(1e6);
    drawn = value;
    return Array.from({ length: 7 }, () => {
      const ms = backoff.next();
      clock.advance(ms + 100);
      return ms;
    });
  };
  expect(pauses(0)).toEqual([1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
  expect(pauses(0.5)).toEqual([1500, 3000, 6000, 12_000, 22_500, 22_500, 22_500]);
  for (const ms of pauses(0.999_999)) expect(ms).toBeLessThanOrEqual(30_000);
});

test("six switches come at once, two are compared at a time", async () => {
  const w = await World.start({ want: () => ({ flows: Array.from({ length: 3000 }, (_, n) => numbered(n)) }), config: { syncLimit: 2, auditIntervalMs: 100 } });
  cleanup.push(() => w.stop());
  const hosts: Ovs[] = [];
  for (let n = 1; n <= 6; n++) {
    const ovs = await Ovs.start({ "system-id": `hv${n}`, "axion-encap-ip": `192.0.2.${n}` });
    cleanup.push(() => ovs.stop());
    hosts.push(ovs);
  }
  let most = 0;
  let queued = 0;
  let watching = true;
  const watch = (): void => {
    most = Math.max(most, w.count("axion_syncs_active"));
    queued = Math.max(queued, w.count("axion_syncs_waiting"));
    if (watching) setImmediate(watch);
  };
  watch();
  cleanup.push(() => Promise.resolve(void (watching = false)));
  await Promise.all(hosts.map((ovs) => ovs.vsctl("set-manager", `tcp:127.0.0.1:${w.southbound.ovsdbPort}`)));
  for (let n = 1; n <= 6; n++) await w.connected(`hv${n}`, 30_000);
  await Promise.all(hosts.map(async (ovs) => expect(await ovs.flows()).toHaveLength(3000)));
  await Promise.all([1, 2, 3, 4, 5, 6].map(async (n) => expect(await w.southbound.audit(`hv${n}`)).toEqual({ missing: 0, changed: 0, foreign: 0 })));
  expect(most).toBe(2);
  expect(queued).toBeGreaterThan(0);
});

test("a switch whose bundles fail is dumped again after 1, 2, 4 ... seconds, whenever it reconnects, and others do not wait", async () => {
  const clock = new SimulatedClock();
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.1" });
  cleanup.push(() => ovs.stop());
  const w = await World.start({ clock, random: chance(() => 0), config: { syncLimit: 1 }, want: () => ({ flows: [] }) });
  cleanup.push(() => w.stop());
  await w.adopt(ovs);
  const { dpid } = w.info()!;
  await ovs.stopVswitchd();
  await eventually("no switch", () => w.info()?.state === "disconnected");
  // In its place one of ours, which breaks off at every bundle.
  const fake = new FakeSwitch({ dpid });
  cleanup.push(() => fake.close());
  let dumps = 0;
  fake.on("message", (message, channel) => {
    if (message.type === "multipart_request" && message.kind === "flow") dumps++;
    if (message.type === "bundle_control") channel.close();
  });
  await w.desired.become(() => ({ flows: [numbered(1)] }));
  fake.connectTo({ host: "127.0.0.1", port: w.ports.openflow });
  await eventually("the first failure", () => dumps === 1 && w.info()?.state === "disconnected");
  const pauses = (): unknown[] => w.lines("info", "compared after a pause").map((line) => line.fields.ms);
  for (const [n, pause] of [1000, 2000, 4000, 8000, 15_000, 15_000].entries()) {
    fake.connectTo({ host: "127.0.0.1", port: w.ports.openflow });
    await eventually("the pause", () => pauses().length === n + 1);
    expect(pauses().at(-1)).toBe(pause);
    clock.advance(pause - 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(dumps, "no dump before its time").toBe(n + 1);
    clock.advance(2);
    await eventually("the failure", () => dumps === n + 2 && w.info()?.state === "disconnected");
  }
  expect(w.count("axion_syncs_active")).toBe(0);
});

test("a database that refuses what is written to it is tried again after 1, 2, 4 ... seconds, whatever happens there, and it shows", async () => {
  const clock = new SimulatedClock();
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.1" });
  cleanup.push(() => ovs.stop());
  const w = await World.start({ clock, random: chance(() => 0), want: () => ({ flows: [numbered(1)] }) });
  cleanup.push(() => w.stop());
  await w.adopt(ovs);
  const failures = (): unknown[] => w.lines("error", "could not be brought in order").map((line) => line.fields.retry_ms);
  // A bridge cannot have the name of another bridge's port.
  await ovs.vsctl("add-br", "br-ex", "--", "add-port", "br-ex", "up0", "--", "set", "Interface", "up0", "type=internal");
  await ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:axion-bridge=up0");
  for (const [n, pause] of [1000, 2000, 4000].entries()) {
    await eventually("the failure", () => failures().length === n + 1);
    expect(failures().at(-1)).toBe(pause);
    await ovs.vsctl("set", "Open_vSwitch", ".", `external_ids:note=${n}`);
    clock.advance(pause - 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(failures()).toHaveLength(n + 1);
    expect(w.southbound.problems()).toMatchObject([{ kind: "host", severity: "error", switches: ["hv1"] }]);
    clock.advance(2);
  }
  await eventually("the failure", () => failures().length === 4);
  await ovs.vsctl("remove", "Open_vSwitch", ".", "external_ids", "axion-bridge");
  clock.advance(30_000);
  await eventually("order", () => w.southbound.problems().length === 0);
});
