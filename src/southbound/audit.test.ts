// Audits come by the clock that the layer was given, at moments that chance spreads.
import { afterEach, expect, test } from "vitest";
import { SimulatedClock } from "../lib/clock.ts";
import { machineRandom } from "../lib/random.ts";
import { eventually, Ovs } from "./testing/ovs.ts";
import { numbered, World } from "./testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

test.each([
  ["at the earliest", 0, 48],
  ["in the middle", 0.5, 60],
])("a switch is audited once a minute: %s", async (_, drawn, dueS) => {
  const clock = new SimulatedClock();
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.1" });
  cleanup.push(() => ovs.stop());
  const w = await World.start({ clock, random: { ...machineRandom, next: () => drawn }, want: () => ({ flows: [numbered(1)] }), config: { auditIntervalMs: 60_000 } });
  cleanup.push(() => w.stop());
  await w.adopt(ovs);
  await eventually("the flow", async () => (await ovs.flows()).length === 1);
  await ovs.ofctl("add-flow", "br-int", "table=7,priority=1,actions=drop");
  // The schedule looks once a second; its first look only notes when the switch is due.
  for (let second = 1; second <= dueS; second++) {
    clock.advance(1000);
    expect(w.count("axion_syncs_active"), `after ${second} s`).toBe(0);
  }
  clock.advance(1000);
  expect(w.count("axion_syncs_active"), "it is asked for its flows").toBe(1);
  await eventually("the repair", async () => (await ovs.flows()).length === 1);
  expect(w.count("axion_repaired_flows_total", 'kind="foreign"')).toBe(1);
  await eventually("its end", () => w.count("axion_audits_total") === 1);
});
