// Random tables: masks, priorities, conjunctions that share clauses and priorities with other flows, calls between tables. The real Open vSwitch
// with the same flows sends the same packets the same way.
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Action, Instruction, Match, MatchValue } from "node-openflow";
import { Bed } from "../../test/support/trace/agreement.ts";
import { TraceSwitch } from "./index.ts";

const nightly = process.env.AXION_NIGHTLY === "1";
const pick = <T>(...list: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...list);

const match = fc.record({
  in_port: pick(1, 2), eth_dst: pick<MatchValue>("02:00:00:00:00:01", "02:00:00:00:00:02", { value: "02:00:00:00:00:00", mask: "fe:00:00:00:00:00" }), reg0: pick<MatchValue>(0, 1, { value: 0, mask: 1 }), vlan_vid: pick<MatchValue>(0, 0x1005, { value: 0x1000, mask: 0x1000 }),
  ipv4_src: pick("10.0.0.1", "10.0.0.0/24", "10.0.0.0/8"), ipv4_dst: pick("10.0.0.1", "10.0.0.2", "10.0.0.0/31"), ip_frag: pick<MatchValue>(0, { value: 1, mask: 1 }), ip_dscp: pick(0, 5), tcp_dst: pick<MatchValue>(80, 81, { value: 80, mask: 0xfffe }),
}, { requiredKeys: [] }).map<Match>((m) => {
  const tcp = m.tcp_dst !== undefined ? { ip_proto: 6 } : {};
  return ["ipv4_src", "ipv4_dst", "ip_frag", "ip_dscp", "tcp_dst"].some((name) => m[name as keyof typeof m] !== undefined) ? { ...m, eth_type: 0x800, ...tcp } : m;
});
const action = fc.oneof(
  pick<Action>({ type: "output", port: 1 }, { type: "output", port: 2 }, { type: "output", port: 3 }, { type: "output", port: 0xfffffff8 }, { type: "set_field", field: "eth_dst", value: "02:00:00:00:00:02" }, { type: "push_vlan", ethertype: 0x8100 }),
  pick<Action>({ type: "load", dst: { field: "reg0", ofs: 0, bits: 1 }, value: 1 }, { type: "load", dst: { field: "reg0", ofs: 0, bits: 1 }, value: 0 }, { type: "move", src: { field: "eth_src", ofs: 0, bits: 16 }, dst: { field: "eth_dst", ofs: 0, bits: 16 } }, { type: "stack_push", field: { field: "reg0", ofs: 0, bits: 32 } }, { type: "stack_pop", field: { field: "reg0", ofs: 0, bits: 32 } }),
  fc.integer({ min: 0, max: 2 }).map((table): Action => ({ type: "resubmit", table })),
  fc.record({ type: fc.constant("clone" as const), actions: fc.array(pick<Action>({ type: "set_field", field: "eth_dst", value: "02:00:00:00:00:01" }, { type: "output", port: 3 }, { type: "resubmit", table: 2 }), { minLength: 1, maxLength: 3 }) }),
);
/** A switch refuses flows that push a third tag. */
const oneTag = (list: readonly Action[]): Action[] => list.filter((a, i) => a.type !== "push_vlan" || list.findIndex((b) => b.type === "push_vlan") === i);
const plain = fc.record({ apply: fc.array(action, { maxLength: 4 }).map(oneTag), write: fc.option(pick<Action>({ type: "output", port: 2 }, { type: "set_field", field: "eth_src", value: "02:00:00:00:00:07" }), { freq: 2, nil: undefined }), next: fc.boolean() });
const flow = fc.record({
  table: fc.integer({ min: 0, max: 2 }), match,
  does: fc.oneof(
    { weight: 3, arbitrary: plain.map((p) => ({ ...p, is: "plain" as const })) },
    { weight: 2, arbitrary: plain.chain((p) => pick(1, 2).map((id) => ({ ...p, is: "whole" as const, id }))) },
    { weight: 5, arbitrary: fc.record({ is: fc.constant("part" as const), priority: pick(20, 40), clauses: fc.uniqueArray(fc.record({ id: pick(1, 2), clause: pick(0, 1) }), { minLength: 1, maxLength: 3, selector: (c) => `${c.id} ${c.clause}` }) }) },
  ),
});
const packet = fc.record({
  in_port: pick(1, 2, 3), eth_src: pick("02:00:00:00:00:01", "02:00:00:00:00:09"), eth_dst: pick("02:00:00:00:00:01", "02:00:00:00:00:02", "06:00:00:00:00:02"), eth_type: fc.constant(0x800), ipv4_src: pick("10.0.0.1", "10.0.0.9", "10.9.0.1", "11.0.0.1"), ipv4_dst: pick("10.0.0.1", "10.0.0.2"),
  ip_proto: fc.constant(6), ip_dscp: pick(0, 5), ip_ttl: fc.constant(64), tcp_dst: pick(80, 81, 82), ip_frag: pick(0, 0, 0, 1), vlan_vid: pick(undefined, undefined, 0x1005, 0x1006),
}).map(({ vlan_vid, ...rest }) => ({ ...rest, ...(vlan_vid === undefined ? {} : { vlan_vid }) })) as fc.Arbitrary<Match>;

let bed: Bed;
beforeAll(async () => {
  bed = await Bed.start();
  await bed.setPorts([{ number: 1 }, { number: 2 }, { number: 3 }]);
});
afterAll(() => bed.stop());

test("the same way through random tables", { timeout: nightly ? 1_800_000 : 120_000 }, async () => {
  const kinds = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(flow, { minLength: 4, maxLength: 30, size: "max" }), fc.array(packet, { minLength: 10, maxLength: 20, size: "max" }), async (flows, sent) => {
      const sw = new TraceSwitch<number>({ ports: [{ number: 1 }, { number: 2 }, { number: 3 }] });
      flows.forEach(({ table, match: m, does }, i) => {
        if (does.is === "part") {
          const actions = does.clauses.map(({ id, clause }): Action => ({ type: "conjunction", id, clause, n_clauses: 2 }));
          sw.add({ table, priority: does.priority, match: m, instructions: [{ type: "apply_actions", actions }], ref: i });
          return;
        }
        const instructions: Instruction[] = [{ type: "apply_actions", actions: does.apply }, ...(does.write === undefined ? [] : [{ type: "write_actions" as const, actions: [does.write] }]), ...(does.next && table < 2 ? [{ type: "goto_table" as const, table_id: table + 1 }] : [])];
        // Flows that overlap at one priority go by nothing that anybody may rely on: parts of conjunctions alone share theirs.
        sw.add({ table, priority: 10 + 2 * i + (i % 2), match: does.is === "whole" ? { ...m, conj_id: does.id } : m, instructions, ref: i });
      });
      await bed.load(sw);
      for (const fields of sent) {
        expect(await bed.disagreement(sw, { fields })).toBeUndefined();
      }
      for (const f of flows) kinds.add(f.does.is);
    }),
    { numRuns: nightly ? 3000 : 60 },
  );
  expect(kinds.size).toBe(3);
});
