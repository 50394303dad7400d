// Which switches have what, as it can be read: in the order of events, and within its bounds.
import { expect, test } from "vitest";
import type { Delta } from "../compiler/desired.ts";
import { emptyDelta } from "../compiler/desired.ts";
import type { Commit } from "../model/model.ts";
import { ReceiptLog } from "./receipt-log.ts";

function make(limits?: { receipts: number; switches: number; projects: number }) {
  let now = 1000;
  let commit: (commit: Commit) => void = () => undefined;
  let delta: (delta: Delta) => void = () => undefined;
  let sent: (chassis: string, generation: number) => void = () => undefined;
  let confirmed: (chassis: string, generation: number) => void = () => undefined;
  const observed: unknown[] = [];
  const gone = new Set<string>();
  const off = (): void => undefined;
  const log = new ReceiptLog({
    onCommit: (listener) => ((commit = listener), off), desired: { onDelta: (listener) => ((delta = listener), off) }, onSent: (listener) => ((sent = listener), off), onConfirmed: (listener) => ((confirmed = listener), off),
    known: (id) => !gone.has(id), clock: { now: () => now }, seconds: { observe: (...args) => void observed.push(args) }, ...(limits && { limits }),
  });
  return {
    log, observed, gone,
    commit: (generation: number, call = "POST /v2.0/ports", project = "p") => commit({ generation, changes: [], cause: { requestId: "r", call, project } }),
    compiled: (generation: number, ...ids: string[]) => delta({ generation, chassis: new Map(ids.map((id) => [id, { ...emptyDelta(), remove: [{} as never] }])) }),
    sent: (id: string, generation: number) => sent(id, generation), confirmed: (id: string, generation: number) => confirmed(id, generation),
    pass: (ms: number) => void (now += ms),
  };
}

test("committed, compiled, sent, confirmed: each at its time, and once all have it, measured", () => {
  const w = make();
  w.commit(1);
  expect(w.log.one(1)).toEqual({ generation: 1, call: "POST /v2.0/ports", project: "p", committed_at: new Date(1000).toISOString(), complete: false, switches: {} });
  w.pass(5);
  w.compiled(1, "hv2", "hv1");
  w.sent("hv1", 1);
  w.pass(10);
  w.confirmed("hv1", 1);
  expect(w.log.one(1)).toMatchObject({ complete: false, switches: { hv1: { sent_at: new Date(1005).toISOString(), confirmed_at: new Date(1015).toISOString(), ms: 15 }, hv2: { sent_at: null, confirmed_at: null, ms: null } } });
  expect(w.observed).toEqual([]);
  w.pass(5);
  w.confirmed("hv2", 3); // compared as a whole
  expect(w.log.one(1)).toMatchObject({ complete: true, switches: { hv2: { sent_at: null, ms: 20 } } });
  expect(w.observed).toEqual([[0.02, { method: "POST", project: "p" }]]);
});

test("commits of one batch share its switches; what concerns none is complete when it is compiled; a host that is gone is waited for no more", () => {
  const w = make();
  for (const generation of [1, 2]) w.commit(generation);
  w.compiled(2, "hv1");
  w.confirmed("hv1", 1);
  expect(w.log.one(1)!.complete).toBe(false);
  w.confirmed("hv1", 2);
  w.commit(3);
  w.compiled(3);
  w.commit(4);
  w.compiled(4, "hv9");
  w.gone.add("hv9");
  expect(w.log.list(10).map(({ generation, complete }) => [generation, complete])).toEqual([[4, true], [3, true], [2, true], [1, true]]);
});

test("the oldest go, by number and by switches; projects beyond so many are counted together", () => {
  const w = make({ receipts: 3, switches: 4, projects: 1 });
  for (let generation = 1; generation <= 5; generation++) {
    w.commit(generation, "PUT /v2.0/ports/x", `p${generation}`);
    w.compiled(generation, "hv1", "hv2");
  }
  expect([w.log.range, w.log.one(3)]).toEqual([{ oldest: 4, newest: 5 }, undefined]);
  w.confirmed("hv1", 5);
  w.confirmed("hv2", 5);
  expect(w.observed.map((args) => (args as [number, object])[1])).toEqual([{ method: "PUT", project: "p4" }, { method: "PUT", project: "other" }]);
});
