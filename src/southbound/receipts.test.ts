// When a change is on all hosts whose databases it concerns, of which some are another controller's: as that one has told. With real ones: test/integration/cluster/rows.test.ts.
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { emptyDelta, type Delta } from "../compiler/desired.ts";
import { Receipts } from "./receipts.ts";

function make() {
  let delta: (delta: Delta) => void = () => undefined;
  let heard: (chassis: string) => void = () => undefined;
  const off = (): void => undefined;
  const desired = { generation: 0, onDelta: (listener: typeof delta) => ((delta = listener), off) };
  /** Of hosts of another controller, what it told. */
  const told = new Map<string, number>();
  const gone = new Set<string>();
  const writing = new Map<string, (written: boolean) => void>();
  let committed = 0;
  const receipts = new Receipts({
    desired, committed: () => committed, confirmed: () => Infinity, onConfirmed: (listener) => ((heard = listener), off), chassis: () => ["hv1"], known: (id) => !gone.has(id),
    rowsWritten: (id) => new Promise((done) => writing.set(id, done)), rowsTold: (id) => told.get(id), numbers: { busy: false, settled: () => Promise.resolve() },
  });
  const compiled = async (generation: number, ...ids: string[]): Promise<void> => {
    committed = Math.max(committed, generation);
    desired.generation = generation;
    delta({ generation, chassis: new Map(ids.map((id) => [id, { ...emptyDelta(), rowsChanged: true }])) });
    await turn();
  };
  return {
    told, gone, compiled, commit: (generation: number) => void (committed = generation),
    tell: async (id: string, generation: number): Promise<void> => {
      told.set(id, generation);
      heard(id);
      await turn();
    },
    hear: async (id: string): Promise<void> => {
      heard(id);
      await turn();
    },
    written: async (id: string, done = true): Promise<void> => {
      const settle = writing.get(id);
      writing.delete(id);
      settle!(done);
      await turn();
    },
    writes: () => [...writing.keys()],
    wait: (generation: number) => {
      const waited = { done: false, receipt: undefined as unknown as ReturnType<Receipts["wait"]> };
      waited.receipt = receipts.wait(generation, () => (waited.done = true));
      return waited;
    },
  };
}

test("rows of another controller's host are there when that one says so of their generation or a later one, and all that it had in by then", async () => {
  const w = make();
  await w.tell("hv1", 4);
  const one = w.wait(5);
  await w.compiled(5, "hv1");
  await w.hear("hv1");
  expect([one.done, one.receipt.pending(), w.writes()]).toEqual([false, ["hv1"], []]);
  w.commit(7);
  await w.tell("hv1", 7);
  expect([one.done, one.receipt.pending()], "what the host reported is not compiled here").toEqual([false, []]);
  await w.compiled(7);
  expect(one.done).toBe(true);
  // It may have been quicker.
  await w.tell("hv1", 8);
  const two = w.wait(8);
  await w.compiled(8, "hv1");
  expect(two.done).toBe(true);
  // Asked for afterwards.
  await w.compiled(9, "hv1");
  const late = w.wait(9);
  await turn();
  expect([late.done, late.receipt.pending()]).toEqual([false, ["hv1"]]);
  await w.tell("hv1", 9);
  expect(late.done).toBe(true);
});

test("whoever becomes the master of the host is the one that is waited for, and a host that is gone is not", async () => {
  const w = make();
  const one = w.wait(5);
  await w.compiled(5, "hv1", "hv2");
  expect(w.writes()).toEqual(["hv1", "hv2"]);
  // Another one has it before it is written: what this one finds says nothing.
  w.told.set("hv1", 0);
  await w.written("hv1");
  await w.written("hv2");
  expect([one.done, one.receipt.pending()]).toEqual([false, ["hv1"]]);
  await w.tell("hv1", 4);
  expect(one.done).toBe(false);
  // And back.
  w.told.delete("hv1");
  await w.hear("hv1");
  expect(w.writes()).toEqual(["hv1"]);
  await w.written("hv1", false);
  expect(one.done).toBe(false);
  await w.hear("hv1");
  await w.written("hv1");
  expect(one.done).toBe(true);
  const two = w.wait(6);
  w.told.set("hv1", 5);
  await w.compiled(6, "hv1");
  w.gone.add("hv1");
  await w.compiled(7);
  expect(two.done).toBe(true);
});
