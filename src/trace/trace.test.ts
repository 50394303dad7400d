// What a trace tells a caller, and what the real Open vSwitch cannot be asked: choices, learning, models of conntrack, limits.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeFlowMod, FLOW_MOD_MATCH_OFFSET, formatInstructions, formatMatch, parseFlow, parseGroup, type Match } from "node-openflow";
import { frameOf } from "../../test/support/frame.ts";
import { applyLearned, ctNext, ctState, everyTrace, hopsOf, ownTuple, Packet, packetOfFrame, packetOfText, trace, TraceFlow, TraceSwitch, type SwitchOptions, type TraceGroup, withTuples } from "./index.ts";
import { Classifier } from "./classifier.ts";

function switchOf(flows: readonly string[], groups: readonly string[] = [], options: SwitchOptions = {}): TraceSwitch<string> {
  const sw = new TraceSwitch<string>(options);
  for (const text of flows) {
    const { table_id = 0, priority = 0x8000, match, instructions, cookie = 0n } = parseFlow(text);
    sw.add({ table: table_id, priority, match, instructions: instructions ?? [], cookie: cookie as bigint, ref: text });
  }
  for (const text of groups) {
    const { group_id, group_type, buckets } = parseGroup(text);
    sw.setGroup({ id: group_id, type: group_type as TraceGroup["type"], buckets });
  }
  return sw;
}

const tcp = "in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_src=1000,tp_dst=80";
const outputs = (t: { readonly outputs: readonly { readonly port: number }[] }): number[] => t.outputs.map((o) => o.port);

describe("what a trace tells", () => {
  test("hops with the packet before each, actions, outputs with the flow that made them, drops with theirs", () => {
    const sw = switchOf(["table=0,tcp,actions=set_field:10.9.9.9->ip_dst,resubmit(,1),resubmit(,2),output:1", "table=1,ip,nw_dst=10.9.9.9,actions=output:2", "table=2,udp,actions=output:3"]);
    const given = packetOfText(tcp);
    const t = trace(sw, given);
    const [pass] = t.passes;
    expect([...hopsOf(pass!.steps)].map((h) => [h.table, h.flow?.ref, formatMatch({ ipv4_dst: h.packet.fields().ipv4_dst!, eth_type: 0x800 })])).toEqual([
      [0, "table=0,tcp,actions=set_field:10.9.9.9->ip_dst,resubmit(,1),resubmit(,2),output:1", "ip,nw_dst=10.0.0.2"], [1, "table=1,ip,nw_dst=10.9.9.9,actions=output:2", "ip,nw_dst=10.9.9.9"], [2, undefined, "ip,nw_dst=10.9.9.9"],
    ]);
    expect(t.outputs.map((o) => [o.port, o.table, o.flow?.ref, o.packet.fields().ipv4_dst])).toEqual([[2, 1, "table=1,ip,nw_dst=10.9.9.9,actions=output:2", "10.9.9.9"]]);
    expect(t.drops.map((d) => [d.table, d.flow?.table, d.reason])).toEqual([[2, undefined, "no flow matches"], [0, 0, "skipping output to input port"]]);
    expect(given.fields().ipv4_dst).toBe("10.0.0.2");
    const top = pass!.steps[0]!;
    expect(top.kind === "table" && top.steps.map((s) => s.kind === "action" && [s.action.type, s.notes, s.steps.length])).toEqual([["set_field", [], 0], ["resubmit", [], 1], ["resubmit", [], 1], ["output", ["skipping output to input port"], 0]]);
  });

  test("meters, punts with what goes along, what was assumed of connections", () => {
    const sw = switchOf(["table=0,ip,actions=meter:7,controller(max_len=20,id=3,userdata=0102),ct(table=1,zone=9,commit,exec(set_field:5->ct_mark),nat(src=10.5.5.5:77))", "table=1,ct_state=+est,actions=output:2"]);
    const t = trace(sw, packetOfText(tcp), { conntrack: (use) => ({ state: ctState.trk | (use.zone === 9 ? ctState.est : ctState.new), change: (p) => p.set("ipv4_src", 0x0a050505n) }) });
    expect(t.meters).toEqual([7]);
    expect(t.punts.map(({ reason, controllerId, maxLen, userdata }) => [reason, controllerId, maxLen, Buffer.from(userdata!).toString("hex")])).toEqual([["action", 3, 20, "0102"]]);
    expect(t.conntrack.map(({ zone, commit, mark, nat, nextTable }) => ({ zone, commit, mark, nat, nextTable }))).toEqual([{ zone: 9, commit: true, mark: 5, nat: { kind: "src", addr_min: "10.5.5.5", port_min: 77 }, nextTable: 1 }]);
    expect(t.assumptions.map((a) => a.state)).toEqual([ctState.trk | ctState.est]);
    expect(outputs(t)).toEqual([2]);
    expect(t.outputs[0]!.packet.fields().ipv4_src).toBe("10.5.5.5");
    expect(t.passes.map((p) => p.from?.pass)).toEqual([undefined, 0]);
  });

  test("resubmit with the connection's tuple, which a model gave the packet", () => {
    const sw = switchOf(["table=0,tcp,actions=ct(table=1,zone=1)", "table=1,ct_state=+est-inv+trk,tcp,actions=set_field:81->tcp_dst,resubmit(,2,ct),resubmit(,2)", "table=2,tcp,tp_dst=80,actions=output:2", "table=2,tcp,tp_dst=81,actions=output:3"]);
    const t = trace(sw, packetOfText(tcp), { conntrack: () => ({ state: ctState.trk | ctState.est, change: ownTuple }) });
    expect(outputs(t)).toEqual([2, 3]);
  });

  test.each([
    ["TCP", "tcp,in_port=1,nw_src=10.0.0.1,nw_dst=10.0.0.2,tcp_src=80,tcp_dst=4000", "userspace", [6, 4000, 80]],
    ["SCTP where conntrack keeps no ports", "sctp,in_port=1,nw_src=10.0.0.1,nw_dst=10.0.0.2,sctp_src=80,sctp_dst=4000", "userspace", [132, 0, 0]],
    ["SCTP in a kernel", "sctp,in_port=1,nw_src=10.0.0.1,nw_dst=10.0.0.2,sctp_src=80,sctp_dst=4000", "kernel", [132, 4000, 80]],
    ["a ping's answer", "icmp,in_port=1,nw_src=10.0.0.1,nw_dst=10.0.0.2,icmp_type=0,icmp_code=0", "userspace", [1, 8, 0]],
  ] as const)("an answer's connection, as conntrack of a datapath has it: %s", (_, text, datapath, expected) => {
    const sw = switchOf(["table=0,ip,actions=ct(table=1,zone=1)", "table=1,ip,actions=output:2"]);
    const states = [ctState.trk | ctState.est | ctState.rpl];
    const { packet } = trace(sw, packetOfText(text), { conntrack: withTuples(ctNext(states), datapath) }).outputs[0]!;
    const { ct_nw_src, ct_nw_dst, ct_nw_proto, ct_tp_src = 0, ct_tp_dst = 0 } = packet.fields();
    expect([ct_nw_src, ct_nw_dst, [ct_nw_proto, ct_tp_src, ct_tp_dst]]).toEqual(["10.0.0.2", "10.0.0.1", expected]);
    expect(trace(sw, packetOfText(text), { conntrack: withTuples(ctNext([ctState.trk | ctState.inv]), datapath) }).outputs[0]!.packet.fields().ct_nw_proto).toBeUndefined();
  });

  test("limits by their names, and nothing is sent", () => {
    const deep = trace(switchOf(["table=0,actions=output:2,resubmit(,0)"]), packetOfText(tcp));
    expect([deep.error, outputs(deep)]).toEqual([{ name: "RECURSION_TOO_DEEP", text: "over max translation depth 64" }, []]);
    const many = trace(switchOf(["table=0,actions=resubmit(,1),resubmit(,1)", ...Array.from({ length: 12 }, (_, i) => `table=${i + 1},actions=resubmit(,${i + 2}),resubmit(,${i + 2})`)]), packetOfText(tcp));
    expect(many.error?.name).toBe("TOO_MANY_RESUBMITS");
    const again = trace(switchOf(["table=0,ip,actions=output:2,ct(table=0,zone=1)"]), packetOfText(tcp));
    expect([again.error?.name, again.outputs.length]).toEqual(["TOO_MANY_RECIRCULATIONS", 256]);
    const unknown = new TraceSwitch<number>();
    unknown.add({ table: 0, priority: 1, match: {}, instructions: [{ type: "apply_actions", actions: [{ type: "output", port: 2 }, { type: "decap", new_pkt_type: 0 }] }], ref: 1 });
    expect([trace(unknown, packetOfText(tcp)).error, trace(unknown, packetOfText(tcp)).outputs]).toEqual([{ name: "UNSUPPORTED_ACTION", text: "action decap is not interpreted" }, []]);
  });

  test("bad packets are refused by what is wrong with them", () => {
    expect(() => packetOfText("in_port=1,tcp,nw_src=10.0.0.1/24")).toThrow("ipv4_src: a packet has whole values");
    expect(() => packetOfText("in_port=1,nosuch=1")).toThrow(/nosuch/);
    expect(() => Packet.of({ ipv4_src: "10.0.0" })).toThrow(/ipv4_src/);
    expect(() => new TraceSwitch().add({ table: 255, priority: 1, match: {}, instructions: [], ref: 0 })).toThrow("no table 255");
  });

  test("fragments as the switch is set: no ports, dropped, or as they are", () => {
    const flows = ["table=0,priority=9,tcp,tp_dst=80,actions=output:2", "table=0,priority=8,ip,actions=output:3"];
    const first = Packet.of({ in_port: 1, eth_type: 0x800, ip_proto: 6, tcp_dst: 80, ip_frag: 1 });
    expect((["normal", "drop", "nx-match"] as const).map((fragments) => outputs(trace(switchOf(flows, [], { fragments }), first)))).toEqual([[3], [], [2]]);
  });

  test("tunnel metadata", () => {
    const sw = new TraceSwitch<string>({ ports: [{ number: 1 }, { number: 2, tunnel: { remote: "flow", key: "flow" } }] });
    sw.add({ table: 0, priority: 2, match: { tun_metadata0: "0x01020304" }, instructions: [{ type: "apply_actions", actions: [{ type: "move", src: { field: "tun_metadata0", ofs: 0, bits: 16 }, dst: { field: "reg0", ofs: 0, bits: 16 } }, { type: "set_field", field: "tun_ipv4_dst", value: "192.0.2.1" }, { type: "output", port: 2 }, { type: "output", port: 1 }] }], ref: "a" });
    const t = trace(sw, Packet.of({ in_port: 9, tun_metadata0: "0x01020304" }));
    expect(t.outputs.map((o) => [o.packet.get("reg0"), o.packet.get("tun_metadata0"), o.packet.fields().tun_ipv4_dst])).toEqual([[0x304n, 0x01020304n, "192.0.2.1"], [0x304n, 0n, undefined]]);
    expect(trace(sw, Packet.of({ in_port: 9, tun_metadata0: "0x01020305" })).outputs).toEqual([]);
  });

  test("a frame's length decides where it is known, what is behind labels comes back where they were pushed", () => {
    const sw = switchOf(["table=0,actions=check_pkt_larger(60)->NXM_NX_REG0[0],resubmit(,1)", "table=1,reg0=1,actions=output:3", "table=1,reg0=0,actions=output:2"]);
    const match: Match = { eth_type: 0x800, ip_proto: 17, udp_dst: 5 };
    expect([0, 50].map((n) => outputs(trace(sw, packetOfFrame(frameOf(match, Buffer.alloc(n)), { metadata: { in_port: 1 } }))))).toEqual([[2], [3]]);
    expect(outputs(trace(sw, packetOfText(tcp)))).toEqual([3, 2]);
    const mpls = switchOf(["table=0,tcp,actions=push_mpls:0x8847,resubmit(,1)", "table=1,mpls,actions=pop_mpls:0x0800,resubmit(,2)", "table=2,tcp,tp_dst=80,actions=output:2"]);
    const t = trace(mpls, packetOfText(tcp));
    expect([t.passes.length, outputs(t)]).toEqual([2, [2]]);
  });
});

describe("choices", () => {
  const groups = ["group_id=1,type=select,bucket=weight:1,output:2,bucket=weight:0,output:3,bucket=weight:5,resubmit(,2)"];
  const flows = ["table=0,tcp,actions=group:1", "table=2,actions=multipath(symmetric_l4,0,hrw,3,0,NXM_NX_REG0[0..7]),output:NXM_NX_REG0[0..7]"];

  test("the first by default, another when asked, all of them for a proof", () => {
    const sw = switchOf(flows, groups);
    expect(outputs(trace(sw, packetOfText(tcp)))).toEqual([2]);
    const other = trace(sw, packetOfText("in_port=9,tcp"), { choose: ({ kind, options }) => options.length - (kind === "select" ? 1 : 2) });
    expect([outputs(other), other.choices]).toEqual([[1], [{ kind: "select", of: 1, options: [0, 2], taken: 1 }, { kind: "multipath", of: 2, options: [0, 1, 2], taken: 1 }]]);
    const all = everyTrace(sw, packetOfText("in_port=9,tcp"));
    expect([all.complete, all.traces.map(outputs)]).toEqual([true, [[2], [0], [1], [2]]]);
    expect(everyTrace(sw, packetOfText("in_port=9,tcp"), { most: 2 }).complete).toBe(false);
  });

  test("a bucket whose port is dead is not among them", () => {
    const sw = switchOf(["table=0,actions=group:1"], ["group_id=1,type=ff,bucket=watch_port:2,output:2,bucket=watch_port:3,output:3"], { live: (port) => port === 3 });
    expect(outputs(trace(sw, packetOfText(tcp)))).toEqual([3]);
  });

  test("of two conjunctions that hold, either", () => {
    const sw = switchOf(["table=0,priority=5,tcp,actions=conjunction(1,1/2),conjunction(2,1/2)", "table=0,priority=5,ip,nw_src=10.0.0.1,actions=conjunction(1,2/2),conjunction(2,2/2)", "table=0,conj_id=1,actions=output:2", "table=0,conj_id=2,actions=output:3"]);
    expect(everyTrace(sw, packetOfText(tcp)).traces.map(outputs)).toEqual([[2], [3]]);
  });
});

describe("learning", () => {
  const LEARN = "learn(table=9,hard_timeout=30,priority=7,limit=2,cookie=0x5,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],eth_type=0x800,load:NXM_OF_IP_SRC[]->NXM_NX_REG0[],load:0x3->NXM_NX_REG1[0..7],output:NXM_OF_IN_PORT[])";

  test("is recorded, and counts for packets after it once applied", () => {
    const sw = switchOf([`table=0,ip,actions=${LEARN},resubmit(,9)`]);
    const hello = packetOfText(`${tcp},dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02`);
    const t = trace(sw, hello);
    expect(t.learned.map((l) => [l.table, l.priority, l.cookie, l.hardTimeoutS, l.limit, formatMatch(l.match), formatInstructions(l.instructions)])).toEqual([
      [9, 7, 5n, 30, 2, "ip,dl_dst=02:00:00:00:00:01", "load:0xa000001->NXM_NX_REG0[],load:0x3->NXM_NX_REG1[0..7],output:1"],
    ]);
    const back = packetOfText("in_port=2,ip,nw_ttl=64,dl_dst=02:00:00:00:00:01");
    expect(trace(sw, back).outputs).toEqual([]);
    expect(applyLearned(sw, t.learned[0]!, "learned")).toBe(true);
    const answer = trace(sw, back);
    expect([outputs(answer), answer.outputs[0]!.flow?.ref, answer.outputs[0]!.packet.get("reg0")]).toEqual([[1], "learned", 0x0a000001n]);
  });

  test("stops at its limit, where what is known is renewed", () => {
    const sw = switchOf([`table=0,ip,actions=${LEARN}`]);
    const from = (n: number): boolean => applyLearned(sw, trace(sw, packetOfText(`${tcp},dl_src=02:00:00:00:00:0${n}`)).learned[0]!, `from ${n}`);
    expect([from(1), from(2), from(3), from(1)]).toEqual([true, true, false, true]);
    expect([...sw.table(9)!]).toHaveLength(2);
  });
});

describe("flows", () => {
  test("from the compiler's bytes, each its own reference; of one place the last counts, and it can be taken away", () => {
    const bytes = (port: number): { slab: Buffer; off: number; len: number; matchLen: number } => {
      const slab = Buffer.alloc(300);
      const end = encodeFlowMod(slab, 8, { command: "add", table_id: 3, priority: 9, cookie: 5n, match: { eth_type: 0x800, ipv4_dst: "10.0.0.0/24" }, instructions: [{ type: "apply_actions", actions: [{ type: "output", port }] }] });
      return { slab, off: 8, len: end - 8, matchLen: (slab.readUInt16BE(8 + FLOW_MOD_MATCH_OFFSET + 2) + 7) & ~7 };
    };
    const [old, young] = [bytes(1), bytes(2)];
    const sw = TraceSwitch.ofDesired([old, young], [{ kind: "group", id: 4, value: { type: "all", buckets: [] } }, { kind: "meter", id: 4, value: {} }]);
    const flows = [...sw.flows()];
    expect(flows.map((f) => [f.ref === young, f.table, f.priority, f.cookie, formatMatch(f.match)])).toEqual([[true, 3, 9, 5n, "ip,nw_dst=10.0.0.0/24"]]);
    expect([...sw.groups.keys()]).toEqual([4]);
    expect([sw.remove(flows[0]!), sw.remove(flows[0]!), [...sw.flows()].length]).toEqual([true, false, 0]);
  });

  test("the index finds what a look at every flow finds, whatever came and went", () => {
    const value = fc.nat(3);
    const match = fc.record({ in_port: fc.integer({ min: 1, max: 3 }), reg0: fc.oneof(value, fc.record({ value: fc.constant(0), mask: fc.constantFrom(1, 2) })), metadata: value.map(BigInt), eth_dst: fc.constantFrom<Match["eth_dst"]>("02:00:00:00:00:01", { value: "02:00:00:00:00:00", mask: "ff:00:00:00:00:00" }) }, { requiredKeys: [] }) as fc.Arbitrary<Match>;
    const flow = fc.record({ match, priority: fc.integer({ min: 1, max: 60 }), remove: fc.nat(4).map((n) => n === 0) });
    const packet = fc.record({ in_port: fc.integer({ min: 1, max: 3 }), reg0: value, metadata: value.map(BigInt), eth_dst: fc.constantFrom("02:00:00:00:00:01", "02:00:00:00:00:02", "04:00:00:00:00:01") }) as fc.Arbitrary<Match>;
    fc.assert(fc.property(fc.array(flow, { minLength: 1, maxLength: 60, size: "max" }), fc.array(packet, { minLength: 1, maxLength: 20, size: "max" }), (list, sent) => {
      const table = new Classifier<number>();
      const kept = new Map<string, TraceFlow<number>>();
      for (const [ref, { match: m, priority, remove }] of list.entries()) {
        const made = new TraceFlow({ table: 0, priority, match: m, instructions: [], ref });
        const key = `${priority} ${JSON.stringify(made.conditions)}`;
        const old = kept.get(key);
        if (remove && old !== undefined) {
          expect(table.remove(old)).toBe(true);
          kept.delete(key);
        } else {
          expect(table.add(made)).toBe(old);
          kept.set(key, made);
        }
      }
      expect(table.size).toBe(kept.size);
      for (const fields of sent) {
        const p = Packet.of(fields);
        const matching = [...kept.values()].filter((f) => f.conditions.every((c) => (p.words[c.word]! & c.mask) >>> 0 === c.value));
        const best = Math.max(-1, ...matching.map((f) => f.priority));
        const found = table.lookup(p);
        if (best < 0) expect(found).toBeUndefined();
        else expect(matching.filter((f) => f.priority === best)).toContain(found);
      }
    }), { numRuns: 300 });
  });
});
