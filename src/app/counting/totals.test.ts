// Counts that flows which come, go and begin again have together: they never fall, and nothing counts twice.
import { expect, test } from "vitest";
import type { FlowCount, FlowCounts } from "#app";
import { Totals } from "./totals.ts";

type Said = Omit<FlowCounts, "at">;
const flow = (chassis: string, key: string, packets: number): FlowCount => ({ chassis, key, packets, bytes: packets * 100 });
const said = (...flows: FlowCount[]): Said => ({ flows, silent: [] });
const T = (s: number): string => new Date(s * 1000).toISOString();

/** After each look: packets, seconds of the last hit, complete. Bytes are 100 for a packet throughout. */
function looks(totals: Totals, ...list: readonly (readonly [at: number, counts: Said])[]): (readonly [number, number | null, boolean])[] {
  return list.map(([at, counts]) => {
    totals.look({ ...counts, at: T(at) });
    const { packets, bytes, last_hit } = totals.now;
    expect(bytes).toBe(packets * 100);
    return [packets, last_hit === null ? null : Date.parse(last_hit) / 1000, totals.complete];
  });
}

test("the sum over hosts; it is hit when there are more than at the look before, and when before the first is not known", () => {
  expect(looks(new Totals(),
    [100, said(flow("hv1", "a", 5), flow("hv2", "a", 7))],
    [110, said(flow("hv1", "a", 5), flow("hv2", "a", 7))],
    [120, said(flow("hv1", "a", 6), flow("hv2", "a", 9))],
  )).toEqual([[12, null, true], [12, null, true], [15, 120, true]]);
});

test("what a flow has counted that goes stays, and one that comes back counts from 0", () => {
  expect(looks(new Totals(),
    [100, said(flow("hv1", "a", 5), flow("hv2", "a", 7))],
    [110, said(flow("hv1", "a", 5))],
    [120, said(flow("hv1", "a", 5), flow("hv2", "a", 2))],
  ).map(([n]) => n)).toEqual([12, 12, 14]);
});

test("a flow written again has the counts that it had, and one that begins from 0 is told by fewer", () => {
  expect(looks(new Totals(),
    [100, said(flow("hv1", "a", 50))],
    [160, said(flow("hv1", "a", 50))],
    [220, said(flow("hv1", "a", 53))],
    [280, said(flow("hv1", "a", 3))],
    // Gone and back since, with more than it had: what it had is lost, never more than it matched since the look before.
    [340, said(flow("hv1", "a", 80))],
  ).map(([n]) => n)).toEqual([50, 50, 53, 56, 133]);
});

test("of a host that is silent counts what it said last", () => {
  expect(looks(new Totals(),
    [100, said(flow("hv1", "a", 5), flow("hv2", "a", 7))],
    [110, { flows: [flow("hv1", "a", 6)], silent: ["hv2"] }],
    [120, said(flow("hv1", "a", 6), flow("hv2", "a", 8))],
  )).toEqual([[12, null, true], [13, 110, false], [14, 120, true]]);
});

test("after a restart what switches still count does not count twice, whichever of them says first", () => {
  const before = new Totals();
  looks(before, [100, said(flow("hv1", "a", 5), flow("hv2", "a", 7))], [110, said(flow("hv1", "a", 6))]);
  expect(looks(new Totals(before.now),
    [5, { flows: [flow("hv1", "a", 6)], silent: ["hv2"] }],
    [65, said(flow("hv1", "a", 8), flow("hv2", "b", 1))],
  )).toEqual([[13, 110, false], [16, 65, true]]);
});

test("what went while nobody looked does not make it fall, and is no debt", () => {
  const stored = { packets: 100, bytes: 10_000, gone_packets: 0, gone_bytes: 0, last_hit: null };
  expect(looks(new Totals(stored),
    [5, { flows: [], silent: ["hv1"] }],
    [6, said(flow("hv1", "a", 2))],
    [66, said(flow("hv1", "a", 5))],
  ).map(([n]) => n)).toEqual([100, 100, 103]);
});

test("what grew is what was counted since the look before: nothing that a host had counted before it was first heard of, unless it is known to be new", () => {
  const grown = (totals: Totals, ...list: readonly Said[]): (readonly [number, number])[] => list.map((counts) => {
    const { packets, bytes } = totals.look({ ...counts, at: T(1) });
    return [packets, bytes];
  });
  const silent = { flows: [], silent: ["hv1"] };
  // After a start, the first look before the switch is connected.
  expect(grown(new Totals({ packets: 100, bytes: 10_000, gone_packets: 0, gone_bytes: 0, last_hit: null }), silent, said(flow("hv1", "a", 5000)), said(flow("hv1", "a", 5001)))).toEqual([[0, 0], [0, 0], [1, 100]]);
  // One host of two says later.
  const half = { flows: [flow("hv1", "a", 7)], silent: ["hv2"] };
  expect(grown(new Totals(), half, { flows: [flow("hv1", "a", 9)], silent: ["hv2"] }, said(flow("hv1", "a", 9), flow("hv2", "a", 4000)), said(flow("hv1", "a", 9), flow("hv2", "a", 4001), flow("hv3", "a", 6)))).toEqual([[0, 0], [2, 200], [0, 0], [7, 700]]);
  expect(grown(new Totals(undefined, true), said(flow("hv1", "a", 5)), silent, said(flow("hv1", "a", 3)))).toEqual([[5, 500], [0, 0], [3, 300]]);
});

test("of what is not told because who asks has asked too much nothing is lost, and nothing falls", () => {
  expect(looks(new Totals(), [100, said(flow("hv1", "a", 5))], [110, { flows: [], silent: [], refused: true }], [120, said(flow("hv1", "a", 7))])).toEqual([[5, null, true], [5, null, false], [7, 120, true]]);
});

test("what lasts and was away goes on from what it had, and begins anew where it has less; a flow does neither", () => {
  const device = (packets: number): FlowCount => ({ ...flow("hv1", "d", packets), lasting: 0 });
  expect(looks(new Totals(), [100, said(device(50))], [110, said()], [120, said(device(53))], [130, said()], [140, said(device(4))]).map(([n]) => n)).toEqual([50, 50, 53, 53, 57]);
  expect(looks(new Totals(), [100, said(flow("hv1", "f", 50))], [110, said()], [120, said(flow("hv1", "f", 53))]).map(([n]) => n)).toEqual([50, 50, 103]);
});

test("what ends is counted as it was seen last, be it later than the look before", () => {
  const totals = new Totals();
  expect(looks(totals, [100, said(flow("hv1", "a", 5))], [110, { flows: [flow("hv2", "a", 1)], ended: [flow("hv1", "a", 9)], silent: [] }], [120, said(flow("hv2", "a", 1))]).map(([n]) => n)).toEqual([5, 10, 10]);
  expect(totals.now.gone_packets).toBe(9);
});

test("what a flow had in the end counts once, whether a look missed it before or not, and what came in its place counts beside", () => {
  const [a, ended] = [(n: number) => flow("hv1", "a", n), (...list: FlowCount[]): Said => ({ flows: [], ended: list, silent: [] })];
  const packets = (...list: Said[]): number[] => looks(new Totals(), ...list.map((one, i) => [100 + i, one] as const)).map(([n]) => n);
  // Told with the look that misses it; after such a look; and nothing more then.
  expect(packets(said(a(5)), ended(a(9)), said())).toEqual([5, 9, 9]);
  expect(packets(said(a(5)), said(), ended(a(9)), said(), said())).toEqual([5, 5, 9, 9, 9]);
  // It came and went between two looks, twice.
  expect(packets(said(), ended(a(7), a(3)), said())).toEqual([0, 10, 10]);
  // In its place there is another, with fewer or more.
  expect(packets(said(a(5)), { flows: [a(2)], ended: [a(9)], silent: [] }, said(a(4)), said())).toEqual([5, 11, 13, 13]);
  expect(packets(said(a(5)), { flows: [a(80)], ended: [a(9)], silent: [] }, ended(a(81)))).toEqual([5, 89, 90]);
  expect(packets(said(a(5)), said(), { flows: [a(20)], ended: [a(9)], silent: [] })).toEqual([5, 5, 29]);
  // Its switch says nothing else.
  expect(packets(said(a(5)), { flows: [], ended: [a(9)], silent: ["hv1"] }, said())).toEqual([5, 9, 9]);
});

test("what a flow had in the end that may be counted already does not count: none was looked at before, or more went than are remembered", () => {
  const stored = { packets: 50, bytes: 5000, gone_packets: 50, gone_bytes: 5000, last_hit: null };
  const end = (key: string, n: number): Said => ({ flows: [], ended: [flow("hv1", key, n)], silent: [] });
  expect(looks(new Totals(stored), [100, end("a", 40)], [110, end("b", 40)]).map(([n]) => n)).toEqual([50, 90]);
  const many = Array.from({ length: 300 }, (_, i) => flow("hv1", String(i), 1));
  const totals = new Totals();
  // The last that went is known, the first is not, and ten minutes later it can be no other than one that came since.
  expect(looks(totals, [100, said(...many)], [110, said()], [120, end("299", 4)], [130, end("0", 4)], [800, end("0", 4)]).map(([n]) => n)).toEqual([300, 300, 303, 303, 307]);
});

test("of one told twice, or with less than was seen, nothing falls", () => {
  const end = (n: number): Said => ({ flows: [], ended: [flow("hv1", "a", n)], silent: [] });
  expect(looks(new Totals(), [100, said(flow("hv1", "a", 5))], [110, said()], [120, end(3)]).map(([n]) => n)).toEqual([5, 5, 5]);
});

test("where another controller has seen more go, what has ended by now is among that, and what lasts goes on from what it had when it is back", () => {
  const device = (packets: number): FlowCount => ({ ...flow("hv1", "d", packets), lasting: 0 });
  const stored = { packets: 52, bytes: 5200, gone_packets: 52, gone_bytes: 5200, last_hit: null };
  const ended: Said = { flows: [], ended: [device(51)], silent: [] };
  expect(looks(new Totals(stored, false, ended.ended), [110, ended], [120, said(device(60))]).map(([n]) => n)).toEqual([52, 61]);
  const flows: Said = { flows: [], ended: [flow("hv1", "a", 51)], silent: [] };
  expect(looks(new Totals(stored, false, flows.ended), [110, flows], [120, said()]).map(([n]) => n)).toEqual([52, 52]);
  // It has not, where this one knows of as much.
  const own = new Totals();
  looks(own, [100, said(flow("hv1", "a", 50))]);
  expect([own.goneWith(), own.goneWith(flows.ended), own.goneWith([flow("hv2", "a", 51)])]).toEqual([0, 51, 0]);
});
