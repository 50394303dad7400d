// What is read of the past is what was: kept copies of a random life beside what the log says.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { defineTable, type Row } from "#app";
import type { KvStore } from "../../store/kv.ts";
import { openStore } from "../../store/open.ts";
import { History, NotKept } from "./history.ts";
import { Model } from "../model.ts";

interface Item extends Row {
  readonly n: number;
  readonly project_id: string;
}
const items = defineTable<Item>()("item", { resource: "thing" });
const notes = defineTable<Row & { readonly n: number }>()("item-note", {});

const dir = mkdtempSync(join(tmpdir(), "axion-history-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function open(name: string, keep?: { ms: number; bytes: number }): Promise<{ model: Model; history: History }> {
  const store = await openStore("level:", { dataDir: join(dir, name), ...(keep === undefined ? {} : { keep }) });
  const model = await Model.open(store, [items, notes]);
  return { model, history: new History(store, model, [items, notes]) };
}
const by = (call: string, project?: string) => ({ requestId: `req-${call}`, call, ...(project === undefined ? {} : { project, user: "u" }) });

/** Numbers from 0 to 1, the same each time. */
function randoms(seed: number): () => number {
  return () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };
}

test("who did what, when: by generation, resource, project, time; what was before and after", async () => {
  const { model, history } = await open("who");
  await model.transact(by("POST /things", "p1"), (tx) => {
    tx.put(items, { id: "a", n: 1, project_id: "p1" });
    tx.put(notes, { id: "a", n: 1 });
  });
  await model.transact(by("POST /things", "admin"), (tx) => tx.put(items, { id: "b", n: 1, project_id: "p2" }));
  await model.transact(by("interface plugged on hv1"), (tx) => tx.put(items, { id: "a", n: 2, project_id: "p1" }));
  await model.transact(by("DELETE /things/a", "p1"), (tx) => tx.delete(items, "a"));
  const generations = async (query: Partial<Parameters<History["list"]>[0]>): Promise<number[]> => (await history.list({ limit: 100, ...query })).commits.map((commit) => commit.generation);
  expect(await generations({})).toEqual([4, 3, 2, 1]);
  expect(await generations({ limit: 2 })).toEqual([4, 3]);
  expect(await generations({ resource: "a" })).toEqual([4, 3, 1]);
  expect(await generations({ resource: "nothing" })).toEqual([]);
  expect(await generations({ project: "p2" })).toEqual([2]);
  expect(await generations({ project: "p1" })).toEqual([4, 3, 1]);
  expect(await generations({ since: { generation: 1 }, until: { generation: 3 } })).toEqual([3, 2]);
  expect(await generations({ since: { ms: Date.now() - 60_000 } })).toEqual([4, 3, 2, 1]);
  expect(await generations({ until: { ms: Date.now() - 60_000 } })).toEqual([]);
  const third = await history.one(3);
  expect(third).toEqual({
    generation: 3, at: expect.stringMatching(/^\d{4}-.*Z$/) as string, call: "interface plugged on hv1", request_id: "req-interface plugged on hv1", user: null, project: null,
    changes: [{ type: "thing", id: "a", before: { id: "a", n: 1, project_id: "p1" }, after: { id: "a", n: 2, project_id: "p1" } }],
  });
  expect((await history.one(1)).changes.map(({ type }) => type)).toEqual(["thing", "item-note"]);
  await expect(history.one(5)).rejects.toThrow("generation 5 is still to come, the newest is 4");
  await expect(history.one(0)).rejects.toBeInstanceOf(NotKept);
  expect(await history.diff(1, 3, 10)).toEqual([
    { type: "thing", id: "b", before: null, after: { id: "b", n: 1, project_id: "p2" } },
    { type: "thing", id: "a", before: { id: "a", n: 1, project_id: "p1" }, after: { id: "a", n: 2, project_id: "p1" } },
  ]);
  expect(await history.diff(4, 0, 10)).toEqual([
    { type: "item-note", id: "a", before: { id: "a", n: 1 }, after: null },
    { type: "thing", id: "b", before: { id: "b", n: 1, project_id: "p2" }, after: null },
  ]);
  await expect(history.diff(0, 4, 1)).rejects.toThrow("more than 1 rows changed");
  await model.close();
});

const CHANGES = 10_000;
test(`any instant of ${CHANGES} random changes is read back as it was, also after a restart`, { timeout: 120_000 }, async () => {
  const random = randoms(7);
  let { model, history } = await open("random");
  const copies = new Map<number, ReadonlyMap<string, Row>>();
  for (let done = 0; done < CHANGES; ) {
    const group: Promise<unknown>[] = [];
    for (let i = 0; i < 50 && done < CHANGES; i++, done++) {
      const id = `i${Math.floor(random() * 2000)}`;
      const gone = random() < 0.3;
      group.push(model.transact(by("change"), (tx) => (gone && tx.get(items, id) !== undefined ? tx.delete(items, id) : tx.put(items, { id, n: done, project_id: "p".repeat(300) }))));
    }
    await Promise.all(group);
    if (random() < 0.1) copies.set(model.generation, new Map(Array.from(model.view.all(items), (row) => [row.id, row])));
  }
  copies.set(model.generation, new Map(Array.from(model.view.all(items), (row) => [row.id, row])));
  expect(model.generation).toBe(CHANGES);
  const check = async (): Promise<number> => {
    let slowest = 0;
    for (const [generation, rows] of copies) {
      const began = performance.now();
      const state = await history.stateAt(generation);
      slowest = Math.max(slowest, performance.now() - began);
      expect(new Map(Array.from(state.view.all(items), (row) => [row.id, row]))).toEqual(rows);
      state.close();
    }
    return slowest;
  };
  const first = await check();
  // What is committed while it is read, and after, is not of the past.
  const state = history.stateAt(CHANGES);
  await model.transact(by("later"), (tx) => tx.put(items, { id: "later", n: 0, project_id: "" }));
  expect((await state).view.get(items, "later")).toBeUndefined();
  (await state).close();
  await model.close();
  ({ model, history } = await open("random"));
  const second = await check();
  if (process.env["AXION_NIGHTLY"] === "1") console.log(`slowest of ${copies.size} instants: ${first.toFixed(0)} ms, after a restart ${second.toFixed(0)} ms`);
  await model.close();
});

test("what is no longer kept is refused with the oldest that is", async () => {
  const { model, history } = await open("short", { ms: 1e12, bytes: 20_000 });
  for (let i = 0; i < 6; i++) await Promise.all(Array.from({ length: 200 }, (_, n) => model.transact(by("change"), (tx) => tx.put(items, { id: "a", n, project_id: "p" }))));
  const { oldest, newest } = history.range;
  expect(newest).toBe(1200);
  expect(oldest).toBeGreaterThan(400);
  await expect(history.one(oldest - 1)).rejects.toThrow(`generation ${oldest - 1} is not kept, the oldest is ${oldest}`);
  await expect(history.stateAt(oldest - 2)).rejects.toBeInstanceOf(NotKept);
  const state = await history.stateAt(oldest - 1);
  expect(state.view.get(items, "a")?.n).toBe((oldest - 2) % 200);
  state.close();
  expect((await history.list({ limit: 5000 })).commits.length).toBe(newest - oldest + 1);
  await model.close();
});

test("a list ends at rows and bytes, with one commit at least, and tells where it goes on", async () => {
  const { model, history } = await open("much");
  for (let n = 0; n < 6; n++) {
    await model.transact(by("change", n % 2 === 0 ? "even" : "odd"), (tx) => {
      for (let i = 0; i < 10; i++) tx.put(items, { id: `${n}-${i}`, n, project_id: "p".repeat(1000) });
    });
  }
  const listed = async (query: Partial<Parameters<History["list"]>[0]>): Promise<unknown> => {
    const { commits, next } = await history.list({ limit: 100, ...query });
    return [commits.map(({ generation }) => generation), next];
  };
  expect(await listed({})).toEqual([[6, 5, 4, 3, 2, 1], undefined]);
  expect(await listed({ limit: 2 })).toEqual([[6, 5], 4]);
  expect(await listed({ limit: 6 })).toEqual([[6, 5, 4, 3, 2, 1], undefined]);
  expect(await listed({ rows: 25 })).toEqual([[6, 5], 4]);
  expect(await listed({ rows: 25, until: { generation: 4 } })).toEqual([[4, 3], 2]);
  expect(await listed({ rows: 25, project: "odd" })).toEqual([[6, 4], 3]);
  expect(await listed({ rows: 1 })).toEqual([[6], 5]);
  expect(await listed({ bytes: 35_000 })).toEqual([[6, 5, 4], 3]);
  expect(await listed({ bytes: 1, until: { generation: 1 } })).toEqual([[1], undefined]);
  await expect(history.diff(0, 6, 100, undefined, 35_000)).rejects.toThrow("rows that changed in between have more than 35000 bytes");
  expect(await history.diff(3, 6, 100, undefined, 35_000)).toHaveLength(30);
  await model.close();
});

test("the log lets go of its oldest part while it is read: a list has what is left, other questions are told", async () => {
  const store = await openStore("level:", { dataDir: join(dir, "busy"), keep: { ms: 1e12, bytes: 400_000 } });
  const model = await Model.open(store, [items]);
  const change = async (): Promise<void> => {
    await Promise.all(Array.from({ length: 300 }, (_, n) => model.transact(by("change"), (tx) => tx.put(items, { id: "a", n, project_id: "p" }))));
  };
  while (store.oldest === 1) await change();
  let reads = 0;
  const busy = {
    get oldest() { return store.oldest; },
    get revision() { return store.revision; },
    async *history(from: number) {
      if (reads++ < 2) await change();
      yield* store.history(from);
    },
    async *undo(from: number, to: number) {
      if (reads++ < 2) await change();
      yield* store.undo(from, to);
    },
  } as unknown as KvStore;
  const history = new History(busy, model, [items]);
  const { oldest, newest } = history.range;
  const { commits } = await history.list({ limit: 5000 });
  expect(commits[0]?.generation).toBe(newest);
  expect(commits.every(({ generation }, i) => generation === newest - i)).toBe(true);
  expect(store.oldest).toBeGreaterThan(oldest);
  reads = 0;
  expect(await history.generationAt({ ms: 0 })).toBe(store.oldest - 1);
  for (const ask of [() => history.one(store.oldest), () => history.diff(store.oldest - 1, newest, 10), () => history.stateAt(store.oldest - 1)]) {
    reads = 0;
    await expect(ask()).rejects.toBeInstanceOf(NotKept);
  }
  await model.close();
});
