// A real switch whose flows were made under another layout of the tables: all of them go or are replaced at once, with no effects but
// those of what is said to be withdrawn; and what was learned goes too.
import { afterEach, expect, test } from "vitest";
import { FLOW_MOD_MATCH_OFFSET, type FlowMod } from "node-openflow";
import type { Flow } from "../../compiler/desired.ts";
import { Ovs } from "../testing/ovs.ts";
import { flow, numbered, World } from "../testing/world.ts";
import type { FlowBytes, FlowEffects, Relayout } from "./withdrawal.ts";

const EFFECTS = 5;
const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

function* stepping(relayout: Relayout | undefined): Generator<void, Relayout | undefined> {
  yield;
  return relayout;
}

/** Effects of table 5; `flushed` are the registers of the flows that were asked about. */
function effects(relayout: Relayout | undefined): { readonly effects: FlowEffects; readonly flushed: number[] } {
  const flushed: number[] = [];
  return {
    flushed,
    effects: {
      withdrawn: new Set([EFFECTS]), confirmed: new Set(), packets: () => [], relayout: () => stepping(relayout),
      flushes(_chassis, { buf, matchOff }: FlowBytes) {
        flushed.push(buf.readUInt32BE(matchOff + 8));
        return [];
      },
    },
  };
}

/** A switch that holds flows 1 (in table 5), 2 (in table 6) and a learned one; then a controller that wants others finds it. */
async function found(wanted: readonly Flow[], relayout: Relayout | undefined): Promise<{ flows: string[]; flushed: number[]; bundles: number }> {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
  cleanup.push(() => ovs.stop());
  const first = await World.start({ want: () => ({ flows: [numbered(1, 1, EFFECTS), numbered(2, 1, 6)] }) });
  await first.adopt(ovs);
  await ovs.ofctl("add-flow", "br-int", "table=200,idle_timeout=600,reg0=7,actions=drop");
  await first.stop();
  const { effects: its, flushed } = effects(relayout);
  const second = await World.start({ want: () => ({ flows: wanted }), store: first.store, ports: first.ports, effects: its });
  cleanup.push(() => second.stop());
  await second.connected();
  return { flows: (await ovs.flows()).map((f) => f.replace(/cookie=\S+ /, "").replace(/idle_timeout=600, /, "")).sort(), flushed, bundles: second.count("axion_bundles_total") };
}
const drop = (n: number): Flow => {
  const mod: Omit<FlowMod, "command"> = { table_id: EFFECTS, priority: 100, match: { reg0: n }, instructions: [] };
  const made = flow(mod);
  expect(made.len).toBe(FLOW_MOD_MATCH_OFFSET + made.matchLen);
  return made;
};
const texts = (...list: readonly [table: number, n: number, to: number][]): string[] => list.map(([table, n, to]) => `table=${table}, priority=100,reg0=0x${n.toString(16)} actions=output:${to}`).sort();
const LEARNED = "table=200, reg0=0x7 actions=drop";

test("under today's layout a flow with effects that goes or is replaced is withdrawn first, and what was learned stays", async () => {
  const { flows, flushed, bundles } = await found([numbered(1, 2, EFFECTS), numbered(2, 1, 6)], undefined);
  expect(flows).toEqual([...texts([EFFECTS, 1, 2], [6, 2, 1]), LEARNED].sort());
  expect([flushed, bundles]).toEqual([[1], 2]);
});

test("under another nothing is withdrawn that is not said to be: one bundle, whatever numbers coincide; what was learned goes", async () => {
  // What is in table 5 on the switch is not what has effects now: one of them is replaced by key, one came from table 6.
  const { flows, flushed, bundles } = await found([numbered(1, 2, EFFECTS), numbered(2, 1, EFFECTS)], { withdrawn: [] });
  expect(flows).toEqual(texts([EFFECTS, 1, 2], [EFFECTS, 2, 1]));
  expect([flushed, bundles]).toEqual([[], 1]);
});

test("what is withdrawn is flushed, in two bundles, and is gone or replaced then", async () => {
  const wanted = [numbered(2, 1, EFFECTS), numbered(1, 2, 6)];
  const { flows, flushed, bundles } = await found(wanted, { withdrawn: [{ flow: drop(9), wanted: undefined }, { flow: drop(2), wanted: wanted[0] }] });
  expect(flows).toEqual(texts([EFFECTS, 2, 1], [6, 1, 2]));
  expect([flushed.sort(), bundles]).toEqual([[2, 9], 2]);
});
