// A store knows what it told switches, also after it lost some of it.
import { expect, test } from "vitest";
import { machineRandom } from "../lib/random.ts";
import type { KvStore } from "../store/kv.ts";
import { openMemory } from "../store/memory.ts";
import { Lineage } from "./lineage.ts";

const write = async (store: KvStore, times: number): Promise<void> => {
  for (let n = 0; n < times; n++) await store.txn([], [{ put: "row", value: Buffer.from(String(n)) }]);
};

/** What is in a store at one moment, as a store of its own. */
async function copy(store: KvStore): Promise<KvStore> {
  const out = openMemory();
  const ops = [];
  for await (const { key, value } of store.range({ start: "a", end: "" })) ops.push({ put: key, value });
  await out.txn([], ops);
  await write(out, store.revision - out.revision);
  return out;
}

test("all that this and earlier starts told is known", async () => {
  const store = openMemory();
  const marks: string[] = [];
  for (let n = 0; n < 3; n++) {
    const lineage = await Lineage.open(store, machineRandom);
    await write(store, 5);
    marks.push(lineage.mark(store.revision));
    for (const mark of marks) expect(lineage.has(mark)).toBe(true);
  }
});

test("what was lost is missed, however far the store has counted on since", async () => {
  const store = openMemory();
  const first = await Lineage.open(store, machineRandom);
  await write(store, 5);
  const kept = first.mark(store.revision);
  const earlier = await copy(store);
  await write(store, 5);
  const lost = first.mark(store.revision);
  for (let n = 0; n < 3; n++) {
    const lineage = await Lineage.open(earlier, machineRandom);
    await write(earlier, 20);
    expect([lineage.has(kept), lineage.has(lost)]).toEqual([true, false]);
  }
});

test("of several controllers on one store each knows what the others told, whoever started when", async () => {
  const store = openMemory();
  const a = await Lineage.open(store, machineRandom);
  await write(store, 3);
  const early = a.mark(store.revision);
  // All at once: none of them may be forgotten.
  const more = await Promise.all(Array.from({ length: 4 }, () => Lineage.open(store, machineRandom)));
  const all = [a, ...more];
  const marks = [early, ...all.map((one) => one.mark(store.revision))];
  // The first goes on as well: what it tells after others have started is no less known, by whoever starts later.
  await write(store, 20);
  const before = await copy(store);
  await write(store, 20);
  for (const one of all) marks.push(one.mark(store.revision), one.mark(store.revision - 5));
  const last = await Lineage.open(store, machineRandom);
  marks.push(last.mark(store.revision));
  for (const one of [...all, last]) for (const mark of marks) expect(one.has(mark), mark).toBe(true);
  // And what was lost is missed: also of what a controller told that had started long before.
  const restored = await Lineage.open(before, machineRandom);
  await write(before, 100);
  for (const mark of marks) expect(restored.has(mark), mark).toBe(Number(mark.split(" ")[1]) <= restored.from);
});

test("another store's, and what is no mark, is not known", async () => {
  const other = await Lineage.open(openMemory(), machineRandom);
  const lineage = await Lineage.open(openMemory(), machineRandom);
  for (const mark of [other.mark(1), "", "x", "0123456789ab -1", "0123456789ab 1 2", lineage.mark(1).toUpperCase() + " "]) expect(lineage.has(mark), mark).toBe(false);
});

test("as many starts as there may be are kept", async () => {
  const store = openMemory();
  const first = (await Lineage.open(store, machineRandom)).mark(1);
  let last = await Lineage.open(store, machineRandom);
  const second = last.mark(2);
  for (let n = 0; n < 999; n++) last = await Lineage.open(store, machineRandom);
  expect([last.has(first), last.has(second)]).toEqual([false, true]);
  await store.txn([], [{ put: "starts", value: Buffer.from("[1, null, {") }]);
  expect((await Lineage.open(store, machineRandom)).has(second)).toBe(false);
});
