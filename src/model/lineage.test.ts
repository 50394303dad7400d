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

test("what is known to be lost in the middle is missed", async () => {
  const store = openMemory();
  const first = await Lineage.open(store, machineRandom);
  await write(store, 9);
  const second = await Lineage.open(store, machineRandom, 4);
  expect([second.has(first.mark(4)), second.has(first.mark(5)), second.has(second.mark(store.revision))]).toEqual([true, false, true]);
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
