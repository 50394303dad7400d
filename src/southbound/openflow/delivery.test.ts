// Changes of which a switch refuses some: what it accepts comes as a whole, and nothing goes before what takes its place is there.
import { afterEach, expect, test } from "vitest";
import { FakeSwitch } from "node-openflow/fake-switch";
import type { Flow } from "../../compiler/desired.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { flow, numbered, World, type Wanted, type WorldOptions } from "../testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);
const flows = (...list: Flow[]): (() => Wanted) => () => ({ flows: list });
/** A port without its protocol: refused when it is added. */
const bad = (n: number): Flow => flow({ priority: 5, match: { reg0: n, tcp_dst: 80 }, instructions: [] });
/** Through a group that is not there. */
const groupless = (n: number): Flow => flow({ table_id: 0, priority: 100, match: { reg0: n }, instructions: [{ type: "apply_actions", actions: [{ type: "group", group_id: 77 }] }] });
/** Larger than a message in a bundle may be. */
const huge = (n: number): Flow =>
  flow({ priority: 6, match: { reg0: n }, instructions: [{ type: "apply_actions", actions: Array.from({ length: 4091 }, () => ({ type: "output", port: 1 }) as const) }] });
const committed = (w: World): number => w.count("axion_bundles_total", 'result="committed"');
const refused = (w: World): number => w.count("axion_bundles_total", 'result="refused"');

async function adopted(options: WorldOptions): Promise<{ ovs: Ovs; w: World }> {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
  cleanup.push(() => ovs.stop());
  const w = await World.start(options);
  cleanup.push(() => w.stop());
  await w.adopt(ovs);
  return { ovs, w };
}

test.each([1, 9, 300])("%i flows refused, of every kind: the rest is one bundle, also with what goes", async (n) => {
  const { ovs, w } = await adopted({ want: flows(...range(500).map((i) => numbered(i))) });
  const before = { committed: committed(w) };
  const kinds = [bad, groupless, (i: number) => huge(i % 3)];
  const some = [...new Map(range(n).map((i) => kinds[i % kinds.length]!(i)).map((f) => [f.key, f])).values()];
  await w.confirmed(await w.desired.become(flows(...some, ...range(500, 500).map((i) => numbered(i)))));
  expect(committed(w) - before.committed).toBe(1);
  // What only a commit refuses costs a small bundle each, and nothing else costs one.
  expect(w.count("axion_flow_mods_sent_total")).toBeLessThan(500 + 1100 * 8 + 512 * some.filter((f) => f.table === 0 && f.priority === 100).length);
  expect(w.southbound.quarantined("hv1")).toHaveLength(some.length);
  const now = await ovs.flows();
  expect(now).toHaveLength(500); // older forms of what goes through a group are gone too
  expect(now.every((line) => /reg0=0x(1f[4-9a-f]|[23])/.test(line))).toBe(true);
  expect(await w.southbound.audit("hv1")).toEqual({ missing: 0, changed: 0, foreign: 0 });
});

test("a full table, by hundreds: what changes in it and what goes is in the one bundle", async () => {
  const { ovs, w } = await adopted({ want: flows(...range(50).map((n) => numbered(n))) });
  await ovs.vsctl("--id=@t", "create", "Flow_Table", "flow_limit=60", "overflow_policy=refuse", "--", "set", "Bridge", "br-int", "flow_tables:0=@t");
  const before = { committed: committed(w), refused: refused(w) };
  await w.confirmed(await w.desired.become(flows(...range(500, 1000).map((n) => numbered(n)), ...range(40).map((n) => numbered(n, 2)), numbered(7, 1, 3))));
  expect([committed(w) - before.committed, refused(w) - before.refused]).toEqual([1, 1]);
  const now = await ovs.flows();
  expect(now).toHaveLength(61);
  expect(now.filter((line) => line.includes("output:2"))).toHaveLength(40);
  expect(w.southbound.quarantined("hv1").map((q) => q.error)).toEqual(Array<string>(480).fill("OFPFMFC_TABLE_FULL"));
});

test("a switch that takes few messages at a time gets what is new first, later tables before, and removals last", async () => {
  const { ovs, w } = await adopted({ want: () => ({ flows: [] }) });
  const { dpid } = w.info()!;
  await ovs.stopVswitchd();
  await eventually("no switch", () => w.info()?.state === "disconnected");
  const old = range(1500).map((n) => numbered(n, 1, n % 3));
  const fake = new FakeSwitch({ dpid, maxBundleMessages: 600 });
  cleanup.push(() => fake.close());
  fake.connectTo({ host: "127.0.0.1", port: w.ports.openflow });
  await w.connected();
  await w.confirmed(await w.desired.become(flows(...old)));
  expect(fake.dump()).toHaveLength(1500);

  const fresh = range(1500, 5000).map((n) => numbered(n, 1, n % 3));
  const seen: { old: number; fresh: number[] }[] = [];
  fake.on("message", (message) => {
    if (message.type !== "bundle_control") return;
    const fresh = fake.dump().filter((line) => /reg0=0x1[3-9][0-9a-f]{2}/.test(line)).map((line) => Number(/table=(\d)/.exec(line)?.[1] ?? 0));
    seen.push({ old: fake.dump().length - fresh.length, fresh: [0, 1, 2].map((table) => fresh.filter((t) => t === table).length) });
  });
  await w.confirmed(await w.desired.become(flows(bad(1), bad(2), ...fresh)));
  expect(fake.dump()).toHaveLength(1500);
  expect(w.southbound.quarantined("hv1")).toHaveLength(2);
  expect(seen.length).toBeGreaterThan(6);
  for (const { old: left, fresh: [first = 0, second = 0, third = 0] } of seen) {
    if (left < 1500) expect([first, second, third]).toEqual([500, 500, 500]);
    if (second > 0) expect(third).toBe(500);
    if (first > 0) expect(second).toBe(500);
  }
});
