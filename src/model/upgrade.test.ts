// Rows of an older edition, converted once.
import { expect, test } from "vitest";
import { defineTable, type Row } from "#app";
import { openMemory } from "../store/memory.ts";
import type { KvStore } from "../store/kv.ts";
import { upgradeStore } from "./upgrade.ts";

interface Thing extends Row {
  readonly size: number;
}
const things = defineTable<Thing>()("thing", {
  upgrade: (row) => (typeof row.size === "number" ? (row as unknown as Thing) : { id: row.id as string, size: Number(row.size) }),
});
const put = (store: KvStore, key: string, value: unknown) => store.txn([], [{ put: key, value: Buffer.from(JSON.stringify(value)) }]);
const at = async (store: KvStore, key: string): Promise<unknown> => JSON.parse((await store.get(key))!.value.toString());

test("what is old is converted with its cause, in more than one write; the rest is not touched; then never again", async () => {
  const store = openMemory({});
  const cause = { requestId: "req-1", call: "POST /v2.0/things" };
  for (let i = 0; i < 2500; i++) await put(store, `t/thing/${i}`, { row: { id: `${i}`, size: `${i}` }, cause });
  await put(store, "t/thing/new", { row: { id: "new", size: 1 } });
  await put(store, "t/things/x", { row: { id: "x", size: "1" } });
  await put(store, "t/unknown/x", { row: { id: "x", size: "1" } });
  const before = (await store.get("t/thing/new"))!.modRevision;
  expect(await upgradeStore(store, [things])).toBe(2500);
  expect(await at(store, "t/thing/2499")).toEqual({ row: { id: "2499", size: 2499 }, cause });
  for (const other of ["things", "unknown"]) expect(await at(store, `t/${other}/x`)).toEqual({ row: { id: "x", size: "1" } });
  expect((await store.get("t/thing/new"))!.modRevision).toBe(before);
  const { revision } = store;
  expect(await upgradeStore(store, [things])).toBe(0);
  expect(store.revision).toBe(revision);
});

test("a newer format is refused in words that name both; so is one that is no number; a row that is no JSON is named", async () => {
  for (const [format, message] of [["3", "the store has data format 3, this version knows up to 2"], ["two", 'the store says "two" for its format, which is no number']] as const) {
    const store = openMemory({});
    await store.txn([], [{ put: "format", value: Buffer.from(format) }]);
    await expect(upgradeStore(store, [things])).rejects.toThrow(message);
  }
  const store = openMemory({});
  await store.txn([], [{ put: "t/thing/a", value: Buffer.from("{") }]);
  await expect(upgradeStore(store, [things])).rejects.toThrow("the store's record t/thing/a is not JSON");
});

test("rows of an app that is not there are converted when it is, also later; then never again", async () => {
  const store = openMemory({});
  const words = defineTable<Thing>()("word", { upgrade: things.upgrade! });
  for (const table of ["thing", "word", "words", "thing2"]) for (const i of [1, 2]) await put(store, `t/${table}/${i}`, { row: { id: `${i}`, size: `${i}` } });
  expect(await upgradeStore(store, [things])).toBe(2);
  expect(await at(store, "t/word/1")).toEqual({ row: { id: "1", size: "1" } });
  expect(await upgradeStore(store, [])).toBe(0);
  expect(await upgradeStore(store, [things, words])).toBe(2);
  expect(await at(store, "t/word/2")).toEqual({ row: { id: "2", size: 2 } });
  await put(store, "t/word/3", { row: { id: "3", size: "3" } }); // of no older edition: nobody looks
  const { revision } = store;
  expect(await upgradeStore(store, [things, words])).toBe(0);
  expect(store.revision).toBe(revision);
  expect(await at(store, "format-left")).toEqual(["thing2", "words"]);
});

test("several controllers that convert at once, while one of them writes: each row is converted once, and nothing that was written is lost", async () => {
  const store = openMemory({});
  for (let i = 0; i < 2500; i++) await put(store, `t/thing/${i}`, { row: { id: `${i}`, size: `${i}` } });
  const upgrades = [0, 1, 2].map(() => upgradeStore(store, [things]));
  for (let i = 0; i < 2500; i += 50) await put(store, `t/thing/${i}`, { row: { id: `${i}`, size: i + 5000 } });
  const counts = await Promise.all(upgrades);
  for (let i = 0; i < 2500; i++) expect(await at(store, `t/thing/${i}`)).toEqual({ row: { id: `${i}`, size: i % 50 === 0 ? i + 5000 : i } });
  expect(counts.reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(2500);
  expect(await upgradeStore(store, [things])).toBe(0);
});
