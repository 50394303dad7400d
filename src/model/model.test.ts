// The model on a real store: in memory with a write that can be held up or broken, and on disk where it is opened again.
//
// Over 400 lines: one test of each promise of the model, on one store whose writes can be held up.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { defineTable, type Row, type Tx } from "#app";
import { CommitStore } from "../store/commit.ts";
import type { Conflict, LogCommit } from "../store/log.ts";
import type { KvStore } from "../store/kv.ts";
import { MemoryStorage } from "../store/memory.ts";
import { openStore } from "../store/open.ts";
import { Model, TooBusy, TransactionTooLarge, type Cause, type Change, type Commit } from "./model.ts";

interface Item extends Row {
  readonly kind: string;
  readonly n: number;
  readonly text?: string;
}

const items = defineTable<Item>()("item", { resource: "item", indexes: { kind: (i) => i.kind } });
const derived = defineTable<Item>()("derived-item", { derived: true });
const unlisted = defineTable<Item>()("unlisted", {});
const tables = [items, derived];

/** Memory whose writes can be held up, and can fail. */
class Gate extends MemoryStorage {
  writes = 0;
  private held: Promise<void> | undefined;
  private release: (() => void) | undefined;
  broken: Error | undefined;

  hold(): void {
    this.held = new Promise((resolve) => (this.release = resolve));
  }
  go(): void {
    this.release?.();
    this.held = undefined;
  }
  override async append(after: number, commits: readonly LogCommit[]): Promise<number | Conflict> {
    this.writes++;
    await this.held;
    if (this.broken !== undefined) throw this.broken;
    return super.append(after, commits);
  }
}

const undo: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

async function open(gate = new Gate()): Promise<{ model: Model; store: KvStore; gate: Gate }> {
  const store = new CommitStore(gate);
  const model = await Model.open(store, tables);
  undo.push(() => model.close());
  return { model, store, gate };
}

const cause = (call: string): { requestId: string; call: string } => ({ requestId: `req-${call}`, call });
const put = (model: Model, id: string, n = 0, kind = "k"): Promise<{ generation: number }> => model.transact(cause(`put ${id}`), (tx) => tx.put(items, { id, kind, n }));
const rowsOf = (model: Model): Item[] => [...model.view.all(items)].sort((a, b) => (a.id < b.id ? -1 : 1));
const turns = async (n = 3): Promise<void> => {
  for (let i = 0; i < n; i++) await new Promise((done) => setImmediate(done));
};

/** What a listener that keeps its own copy knows; complains when a commit does not fit what it has. */
class Follower {
  readonly rows = new Map<string, Row>();
  readonly generations: number[] = [];
  constructor(model: Model) {
    for (const row of model.view.all(items)) this.rows.set(row.id, row);
    model.onCommit((commit) => this.note(commit));
  }
  private note({ generation, changes }: Commit): void {
    expect(generation).toBeGreaterThan(this.generations.at(-1) ?? 0);
    this.generations.push(generation);
    for (const change of changes) if (change.table === items) this.apply(change);
  }
  private apply({ id, before, after }: Change): void {
    expect(this.rows.get(id)).toEqual(before);
    if (after === undefined) this.rows.delete(id);
    else this.rows.set(id, after);
  }
}

describe("a transaction", () => {
  test("that throws changes nothing, and rejects with what it threw", async () => {
    const { model, store } = await open();
    await put(model, "a", 1);
    const before = { generation: model.generation, revision: store.revision, rows: rowsOf(model) };
    const error = new Error("no");
    await expect(
      model.transact(cause("bad"), (tx) => {
        tx.put(items, { id: "a", kind: "k", n: 2 });
        tx.put(items, { id: "b", kind: "k", n: 2 });
        tx.delete(items, "a");
        tx.allocate("pool", { min: 1, max: 9, used: () => false });
        throw error;
      }),
    ).rejects.toBe(error);
    expect({ generation: model.generation, revision: store.revision, rows: rowsOf(model) }).toEqual(before);
    expect(model.lastChange("item", "a")).toEqual({ cause: cause("put a"), generation: 1 });
    const { result } = await model.transact(cause("next"), (tx) => tx.allocate("pool", { min: 1, max: 9, used: () => false }));
    expect(result).toBe(1);
  });

  test("that is asked for while another runs waits for that one's end: both are there", async () => {
    const { model, store } = await open();
    let inner: Promise<unknown> | undefined;
    await model.transact(cause("outer"), (tx) => {
      inner = model.transact(cause("inner"), (own) => {
        // What is before it is not of a transaction that may still be refused.
        expect(own.get(items, "a")).toMatchObject({ n: 1 });
        own.put(items, { id: "b", kind: "k", n: 2 });
      });
      tx.put(items, { id: "a", kind: "k", n: 1 });
    });
    await inner;
    expect(rowsOf(model)).toEqual(rowsOf(await Model.open(store, tables)));
    expect([...model.view.all(items)].map(({ id, n }) => [id, n]).sort()).toEqual([["a", 1], ["b", 2]]);
  });

  test("that throws does not take along the others of its group", async () => {
    const { model, store } = await open();
    const all = await Promise.allSettled([put(model, "a"), model.transact(cause("bad"), () => { throw new Error("no"); }), put(model, "b")]);
    expect(all.map((r) => r.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(rowsOf(model).map((r) => r.id)).toEqual(["a", "b"]);
    expect(store.stats().batches).toBe(1);
  });

  test("reads what it wrote and what those before it wrote, also while these are on their way to the disk", async () => {
    const { model, gate } = await open();
    gate.hold();
    const first = put(model, "a", 1);
    await turns();
    const second = model.transact(cause("add"), (tx) => {
      const n = tx.get(items, "a")!.n + 1;
      tx.put(items, { id: "a", kind: "other", n });
      expect(tx.by(items, "kind", "k")).toEqual([]);
      expect(tx.count(items, "kind", "other")).toBe(1);
      return n;
    });
    gate.go();
    expect((await second).result).toBe(2);
    expect((await first).generation).toBe(1);
    expect((await second).generation).toBe(2);
    expect(model.view.get(items, "a")).toEqual({ id: "a", kind: "other", n: 2 });
  });

  test("that only reads answers after those before it and writes nothing", async () => {
    const { model, store } = await open();
    const write = put(model, "a", 7);
    const read = model.transact(cause("read"), (tx) => tx.get(items, "a")?.n);
    expect(await read).toEqual({ result: 7, generation: 1 });
    await write;
    expect(await model.transact(cause("read"), (tx) => tx.get(items, "a")?.n)).toEqual({ result: 7, generation: 1 });
    expect(store.revision).toBe(1);
  });

  test("may not write what would not be there after a restart: derived tables, tables that nobody lists", async () => {
    const { model } = await open();
    const row = { id: "a", kind: "k", n: 0 };
    await expect(model.transact(cause("x"), (tx) => tx.put(derived, row))).rejects.toThrow("derived-item is derived and cannot be written");
    await expect(model.transact(cause("x"), (tx) => tx.delete(derived, "a"))).rejects.toThrow("derived-item is derived and cannot be written");
    await expect(model.transact(cause("x"), (tx) => tx.put(unlisted, row))).rejects.toThrow("unlisted, which no app lists");
    expect(model.generation).toBe(0);
  });

  test("leaves who asked and when with every row it wrote, and forgets it with the row", async () => {
    const { model } = await open();
    const by = { requestId: "r", call: "POST /v2.0/items", user: "u", project: "p" };
    const { generation } = await model.transact(by, (tx) => tx.put(items, { id: "a", kind: "k", n: 1 }));
    expect(model.lastChange("item", "a")).toEqual({ cause: by, generation });
    await model.transact(cause("delete"), (tx) => tx.delete(items, "a"));
    expect([model.lastChange("item", "a"), model.removal("item", "a")?.generation]).toEqual([undefined, model.generation]);
    expect(rowsOf(model)).toEqual([]);
  });

  test("leaves a row its cause when the controller itself writes to it, and after a restart", async () => {
    const { model, store } = await open();
    const by = cause("POST /v2.0/items");
    const own = (call: string): Cause => ({ ...cause(call), own: true });
    const put = (id: string, n: number, who: Cause): Promise<{ generation: number }> => model.transact(who, (tx) => tx.put(items, { id, kind: "k", n }));
    const { generation } = await put("a", 1, by);
    await put("a", 2, own("status"));
    // A write and what the controller writes to it go to the store as one.
    const [busy] = [put("c", 1, own("found")), put("b", 1, by), put("b", 2, own("status"))];
    await busy;
    const found = await put("c", 2, own("found again"));
    const expected = (of: Model): void => {
      expect(of.view.get(items, "a")).toMatchObject({ n: 2 });
      expect(of.lastChange("item", "a")).toEqual({ cause: by, generation });
      expect(of.lastChange("item", "b")?.cause).toEqual(by);
      expect(of.lastChange("item", "c")).toEqual({ cause: own("found again"), generation: found.generation });
    };
    expected(model);
    expected(await Model.open(store, tables));
    const later = await put("a", 3, cause("PUT /v2.0/items/a"));
    expect(model.lastChange("item", "a")).toEqual({ cause: cause("PUT /v2.0/items/a"), generation: later.generation });
  });
});

describe("durability", () => {
  test("until the write is on disk nobody sees the row: not the view, not the listeners, not the caller", async () => {
    const { model, gate } = await open();
    const seen: Commit[] = [];
    model.onCommit((commit) => {
      expect(model.view.get(items, "a")?.n).toBe(1); // visible by the time it is told
      expect(model.generation).toBe(commit.generation);
      seen.push(commit);
    });
    gate.hold();
    let answered = false;
    const done = put(model, "a", 1).then(() => (answered = true));
    await turns(10);
    expect(gate.writes).toBe(1);
    expect({ answered, seen: seen.length, row: model.view.get(items, "a"), generation: model.generation }).toEqual({ answered: false, seen: 0, row: undefined, generation: 0 });
    gate.go();
    await done;
    expect(seen).toEqual([{ generation: 1, cause: { requestId: "req-put a", call: "put a" }, changes: [{ table: items, id: "a", before: undefined, after: { id: "a", kind: "k", n: 1 } }] }]);
  });

  test("group commit: what is asked for during a write shares the next one", async () => {
    const { model, store, gate } = await open();
    gate.hold();
    const first = put(model, "first");
    await turns();
    const rest = Array.from({ length: 400 }, (_, i) => put(model, `r${i}`, i));
    await turns();
    gate.go();
    expect((await first).generation).toBe(1);
    expect((await Promise.all(rest)).map(({ generation }) => generation)).toEqual(Array.from({ length: 400 }, (_, i) => i + 2));
    expect(store.stats().txns).toBe(2);
    expect(rowsOf(model)).toHaveLength(401);
  });

  test("each call of a group is a commit of its own: its generation, its changes, its cause; the log says the same as was told", async () => {
    const { model, store, gate } = await open();
    const told: Commit[] = [];
    model.onCommit((commit) => told.push(commit));
    gate.hold();
    const first = put(model, "a", 1);
    await turns();
    const rest = [put(model, "a", 2), put(model, "b", 1), model.transact(cause("nothing"), (tx) => tx.get(items, "a")), model.transact(cause("delete a"), (tx) => tx.delete(items, "a")), put(model, "a", 3)];
    await turns();
    gate.go();
    expect((await Promise.all([first, ...rest])).map((r) => r.generation)).toEqual([1, 2, 3, 3, 4, 5]);
    expect(gate.writes).toBe(2);
    const item = (id: string, n: number): Item => ({ id, kind: "k", n });
    const expected = [
      [1, "put a", "a", undefined, item("a", 1)],
      [2, "put a", "a", item("a", 1), item("a", 2)],
      [3, "put b", "b", undefined, item("b", 1)],
      [4, "delete a", "a", item("a", 2), undefined],
      [5, "put a", "a", undefined, item("a", 3)],
    ];
    expect(told.map(({ generation, changes: [c] }) => [generation, c!.id, c!.before, c!.after])).toEqual(expected.map(([generation, , ...change]) => [generation, ...change]));
    const logged: unknown[] = [];
    const row = (value: Buffer | undefined): unknown => (value === undefined ? undefined : (JSON.parse(value.toString()) as { row: unknown }).row);
    for await (const { generation, note, changes } of store.history(1)) {
      const { key, before, after } = changes[0]!;
      logged.push([generation, (JSON.parse(note) as { call: string }).call, key.slice("t/item/".length), row(before?.value), row(after)]);
    }
    expect(logged).toEqual(expected);
    expect(model.lastChange("item", "b")).toEqual({ cause: cause("put b"), generation: 3 });
  });

  test("a queue longer than a group goes in order, a few writes for thousands of transactions", async () => {
    const { model, store } = await open();
    const order: number[] = [];
    await Promise.all(Array.from({ length: 3000 }, (_, i) => put(model, "same", i).then(() => order.push(i))));
    expect(order).toEqual(Array.from({ length: 3000 }, (_, i) => i));
    expect(model.view.get(items, "same")!.n).toBe(2999);
    expect(store.stats().txns).toBeLessThan(10);
  });

  test("when the disk refuses, those under way and all later ones reject, and what was durable can still be read", async () => {
    const { model, gate } = await open();
    await put(model, "a", 1);
    gate.hold();
    gate.broken = new Error("no space left on device");
    const results = Promise.allSettled([put(model, "b"), ...(await turns().then(() => [put(model, "c"), put(model, "d")]))]);
    await turns();
    gate.go();
    for (const r of await results) expect(r).toMatchObject({ status: "rejected", reason: { code: "IO" } });
    expect(model.storeFailure).toMatchObject({ code: "IO" });
    await expect(put(model, "e")).rejects.toMatchObject({ code: "IO" });
    expect(rowsOf(model)).toEqual([{ id: "a", kind: "k", n: 1 }]);
    expect(model.generation).toBe(1);
  });

  test("close waits for all that was accepted", async () => {
    const { model, store, gate } = await open();
    gate.hold();
    const writes = Promise.all(Array.from({ length: 1200 }, (_, i) => put(model, `r${i}`)));
    const closed = model.close();
    await turns();
    gate.go();
    await writes;
    await closed;
    await expect(store.get("x")).rejects.toMatchObject({ code: "CLOSED" });
    await expect(put(model, "late")).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("a listener that throws is a loud bug of its own: the caller, other listeners and the model go on", async () => {
    const { model } = await open();
    const handlers = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    const loud: unknown[] = [];
    process.on("uncaughtException", (error) => loud.push(error));
    try {
      model.onCommit(() => { throw new Error("a bug"); });
      const follower = new Follower(model);
      await put(model, "a");
      await put(model, "b");
      await turns();
      expect(follower.generations).toEqual([1, 2]);
      expect(loud).toMatchObject([{ message: "a bug" }, { message: "a bug" }]);
      expect(model.storeFailure).toBeUndefined();
    } finally {
      process.removeAllListeners("uncaughtException");
      for (const handler of handlers) process.on("uncaughtException", handler);
    }
  });
});

describe("what the store does not take", () => {
  const many = (count: number, prefix: string) => (tx: Tx): void => {
    for (let i = 0; i < count; i++) tx.put(items, { id: `${prefix}${i}`, kind: prefix, n: i });
  };

  test("a transaction of too many rows is refused alone", async () => {
    const { model } = await open();
    const results = await Promise.allSettled([put(model, "a"), model.transact(cause("huge"), many(10_000, "h")), put(model, "b")]);
    expect(results.map((r) => r.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect((results[1] as PromiseRejectedResult).reason).toBeInstanceOf(TransactionTooLarge);
    expect(rowsOf(model).map((r) => r.id)).toEqual(["a", "b"]);
  });

  test("transactions that are too many rows only together go one write after the other", async () => {
    const { model, store } = await open();
    await Promise.all(["a", "b", "c", "d", "e"].map((p) => model.transact(cause(p), many(4_000, p))));
    expect(rowsOf(model)).toHaveLength(20_000);
    expect(store.stats().txns).toBe(3);
    expect(model.storeFailure).toBeUndefined();
  });

  test("so is one with a row too large, or with an id or a value that has no stored form; its neighbours are not", async () => {
    const { model } = await open();
    const bad: ((tx: Tx) => void)[] = [
      (tx) => tx.put(items, { id: "large", kind: "k", n: 0, text: "x".repeat(5 << 20) }),
      (tx) => tx.put(items, { id: "i".repeat(5000), kind: "k", n: 0 }),
      (tx) => tx.put(items, { id: "\ud800", kind: "k", n: 0 }),
      (tx) => tx.put(items, { id: "big", kind: "k", n: 1n as unknown as number }),
    ];
    for (const [i, fn] of bad.entries()) {
      const results = await Promise.allSettled([put(model, `before${i}`), model.transact(cause("bad"), fn), put(model, `after${i}`)]);
      expect(results.map((r) => r.status), `case ${i}`).toEqual(["fulfilled", "rejected", "fulfilled"]);
      if (i < 2) expect((results[1] as PromiseRejectedResult).reason).toBeInstanceOf(TransactionTooLarge);
    }
    expect(model.storeFailure).toBeUndefined();
    expect(rowsOf(model)).toHaveLength(8);
    await expect(model.transact(cause("alone"), bad[0]!)).rejects.toBeInstanceOf(TransactionTooLarge);
    await put(model, "last");
  });
});

describe("allocation", () => {
  const take = (model: Model, used: ReadonlySet<number>, max = 5): Promise<number> =>
    model.transact(cause("take"), (tx) => tx.allocate("pool", { min: 1, max, used: (n) => used.has(n) })).then((r) => r.result);

  test("hands numbers out in turn, so that one is not reused soon", async () => {
    const { model } = await open();
    const used = new Set<number>();
    const taken: number[] = [];
    for (let i = 0; i < 7; i++) taken.push(await take(model, used));
    expect(taken).toEqual([1, 2, 3, 4, 5, 1, 2]);
  });

  test("skips used ones, wraps around, and says when none is left", async () => {
    const { model } = await open();
    expect(await take(model, new Set([1, 2]))).toBe(3);
    expect(await take(model, new Set([4, 5, 1]))).toBe(2);
    await expect(take(model, new Set([1, 2, 3, 4, 5]))).rejects.toThrow("no free number is left in pool pool (1..5)");
    expect(await take(model, new Set([1, 2, 4, 5]))).toBe(3);
    expect(await take(model, new Set(), 2), "the pool is smaller now").toBeLessThanOrEqual(2);
  });

  test("never gives one number to two of a group", async () => {
    const { model } = await open();
    const numbers = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        model.transact(cause("take"), (tx) => {
          const n = tx.allocate("key", { min: 1, max: 300, used: (k) => tx.count(items, "kind", String(k)) > 0 });
          tx.put(items, { id: `i${i}`, kind: String(n), n });
          return n;
        }),
      ),
    );
    expect(new Set(numbers.map((r) => r.result)).size).toBe(200);
  });
});

describe("two controllers on one store", () => {
  async function two(): Promise<{ models: [Model, Model]; followers: [Follower, Follower]; gate: Gate }> {
    const gate = new Gate();
    const store = new CommitStore(gate);
    const models: [Model, Model] = [await Model.open(store, tables), await Model.open(store, tables)];
    undo.push(() => models[0].close(), () => models[1].close());
    return { models, followers: [new Follower(models[0]), new Follower(models[1])], gate };
  }

  const increment = (model: Model): Promise<{ result: number; generation: number }> =>
    model.transact(cause("increment"), (tx) => {
      const n = (tx.get(items, "counter")?.n ?? 0) + 1;
      tx.put(items, { id: "counter", kind: "k", n });
      return n;
    });

  test("the one that comes second runs again on what the first wrote", async () => {
    const { models } = await two();
    let runs = 0;
    const [first, second] = await Promise.all([
      increment(models[0]),
      models[1].transact(cause("second"), (tx) => {
        runs++;
        const n = (tx.get(items, "counter")?.n ?? 0) + 1;
        tx.put(items, { id: "counter", kind: "k", n });
        return n;
      }),
    ]);
    expect([first.result, second.result, runs]).toEqual([1, 2, 2]);
    expect(models.map((m) => m.view.get(items, "counter")!.n)).toEqual([2, 2]);
  });

  test("one that is refused when it runs again rejects, and leaves nothing", async () => {
    const { models } = await two();
    const create = (model: Model): Promise<unknown> =>
      model.transact(cause("create"), (tx) => {
        if (tx.get(items, "x") !== undefined) throw new Error("x is there already");
        tx.put(items, { id: "x", kind: "k", n: 1 });
      });
    const results = await Promise.allSettled([create(models[0]), create(models[1])]);
    expect(results.map((r) => r.status)).toEqual(["fulfilled", "rejected"]);
    expect(models.map((m) => m.generation)).toEqual([1, 1]);
  });

  test("a transaction staged in the very turn in which the other's commit arrives runs again as well", async () => {
    // Whatever the microtask in which it comes: before, between and after the store's own steps.
    for (let delay = 0; delay < 40; delay++) {
      const { models } = await two();
      const first = increment(models[0]);
      for (let i = 0; i < delay; i++) await Promise.resolve();
      const second = increment(models[1]);
      expect([(await first).result, (await second).result].sort(), `after ${delay} microtasks`).toEqual([1, 2]);
    }
  });

  test("random traffic: nothing is lost, both converge, each listener hears every commit once and in order", async () => {
    const act = fc.record({ who: fc.nat(1), what: fc.constantFrom("increment", "put", "delete", "throw"), n: fc.nat(4), wait: fc.nat(12) });
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 5, maxLength: 60 }), async (acts) => {
        const { models, followers } = await two();
        const done: Promise<unknown>[] = [];
        let increments = 0;
        for (const { who, what, n, wait } of acts) {
          const model = models[who]!;
          if (what === "increment") {
            increments++;
            done.push(increment(model));
          } else if (what === "put") done.push(put(model, `i${n}`, n));
          else if (what === "delete") done.push(model.transact(cause("delete"), (tx) => tx.delete(items, `i${n}`)));
          else done.push(model.transact(cause("throw"), (tx) => { tx.put(items, { id: "never", kind: "k", n: 0 }); throw new Error("no"); }).catch(() => undefined));
          for (let i = 0; i < wait; i++) await Promise.resolve();
        }
        await Promise.all(done);
        await turns();
        expect(models[0].view.get(items, "counter")?.n ?? 0).toBe(increments);
        expect(rowsOf(models[1])).toEqual(rowsOf(models[0]));
        expect(models[1].generation).toBe(models[0].generation);
        expect(followers[1].generations).toEqual(followers[0].generations);
        for (const [i, f] of followers.entries()) expect([...f.rows.values()].sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual(rowsOf(models[i]!));
        for (const row of rowsOf(models[0])) expect(models[1].lastChange("item", row.id)).toEqual(models[0].lastChange("item", row.id));
        for (const m of models) await m.close();
      }),
      { numRuns: 60 },
    );
  });

  test("one that closes while its loss is being run again still finishes it", async () => {
    const { models } = await two();
    const both = Promise.all([increment(models[0]), increment(models[1])]);
    const store = models[1].close();
    expect((await both).map((r) => r.result)).toEqual([1, 2]);
    await store;
  });
});

describe("opening again", () => {
  test("gives the same rows, the same generation and the same last changes; numbers go on", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "axion-model-"));
    undo.push(() => rmSync(dataDir, { recursive: true, force: true }));
    const first = await Model.open(await openStore("level:", { dataDir }), tables);
    for (let i = 0; i < 20; i++) await put(first, `host/if${i}`, i);
    await first.transact(cause("change"), (tx) => {
      tx.delete(items, "host/if3");
      tx.put(items, { id: "host/if4", kind: "z", n: tx.allocate("pool", { min: 7, max: 9, used: () => false }) });
    });
    const before = { rows: rowsOf(first), generation: first.generation, last: rowsOf(first).map((r) => first.lastChange("item", r.id)) };
    await first.close();

    const second = await Model.open(await openStore("level:", { dataDir }), tables);
    expect({ rows: rowsOf(second), generation: second.generation, last: rowsOf(second).map((r) => second.lastChange("item", r.id)) }).toEqual(before);
    expect(second.view.by(items, "kind", "z").map((r) => r.id)).toEqual(["host/if4"]);
    expect((await second.transact(cause("take"), (tx) => tx.allocate("pool", { min: 7, max: 9, used: () => false }))).result).toBe(8);
    await second.close();
  });

  test("keeps the rows of an app that is away, and shows them when it is back", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "axion-model-"));
    undo.push(() => rmSync(dataDir, { recursive: true, force: true }));
    const first = await Model.open(await openStore("level:", { dataDir }), tables);
    await put(first, "a", 1);
    await first.close();
    const without = await Model.open(await openStore("level:", { dataDir }), []);
    await expect(put(without, "b")).rejects.toThrow("no app lists");
    await without.close();
    const again = await Model.open(await openStore("level:", { dataDir }), tables);
    expect(rowsOf(again)).toEqual([{ id: "a", kind: "k", n: 1 }]);
    await again.close();
  });

  test("names the record that is no row", async () => {
    const store = await openStore("memory:", { dataDir: "" });
    await store.txn([], [{ put: "t/item/a", value: Buffer.from("{") }]);
    await expect(Model.open(store, tables)).rejects.toThrow("the store's record t/item/a is not JSON");
    await store.close();
  });
});

describe("what waits to be written", () => {
  const limits = { transactions: 100, bytes: 100_000 };
  /** A model whose write is held up, with a full group behind it: whatever comes next waits. */
  async function busy(): Promise<{ model: Model; gate: Gate; store: CommitStore; before: Promise<unknown>[] }> {
    const gate = new Gate();
    const store = new CommitStore(gate);
    const model = await Model.open(store, tables, { limits });
    undo.push(() => model.close());
    gate.hold();
    undo.push(() => gate.go());
    const before: Promise<unknown>[] = [put(model, "first")];
    await new Promise((done) => setImmediate(done));
    for (let i = 0; i < 512; i++) before.push(put(model, `staged-${i}`));
    return { model, gate, store, before };
  }
  const weighing = (model: Model, id: string, bytes: number, ran?: () => void): Promise<{ generation: number }> =>
    model.transact(cause(`put ${id}`), (tx) => {
      ran?.();
      tx.put(items, { id, kind: "k", n: 1 });
    }, bytes);

  test("has a limit in number: beyond it a transaction is refused before it runs, and succeeds later", async () => {
    const { model, gate, before } = await busy();
    const waiting = Array.from({ length: limits.transactions }, (_, i) => weighing(model, `w-${i}`, 0));
    let ran = 0;
    const refused = await weighing(model, "late", 0, () => ran++).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(TooBusy);
    expect(refused).toMatchObject({ code: "TOO_BUSY", retryAfterS: 1 });
    expect(ran).toBe(0);
    // Hosts, whose transactions are as many as they are, are not refused for what requests do.
    const host = put(model, "host");
    gate.go();
    await Promise.all([...before, ...waiting, host]);
    expect(model.view.get(items, "late")).toBeUndefined();
    await weighing(model, "late", 0, () => ran++);
    expect(ran).toBe(1);
    expect([...model.view.all(items)]).toHaveLength(1 + 512 + limits.transactions + 2);
  });

  test("has a limit in bytes; one that weighs more than all may waits for its turn alone", async () => {
    const { model, gate, before } = await busy();
    const big = weighing(model, "big", limits.bytes * 2);
    await expect(weighing(model, "small", 1)).rejects.toBeInstanceOf(TooBusy);
    gate.go();
    await Promise.all([...before, big]);
    await weighing(model, "small", 1);
    expect(model.view.get(items, "big")).toBeDefined();
  });

  test("is counted right however often it is run again", async () => {
    const { model, gate, store, before } = await busy();
    const waiting = Array.from({ length: limits.transactions }, (_, i) => weighing(model, `w-${i}`, 10));
    // Another controller comes first: what is staged goes back to those that wait, which are let in already.
    const other = store.txn([], [{ put: "other", value: Buffer.from("other") }]);
    gate.go();
    await Promise.all([other, ...before, ...waiting]);
    gate.hold();
    const again = [put(model, "again")];
    await new Promise((done) => setImmediate(done));
    for (let i = 0; i < 512; i++) again.push(put(model, `again-${i}`));
    const more = Array.from({ length: limits.transactions }, (_, i) => weighing(model, `more-${i}`, 10));
    await expect(weighing(model, "one too many", 0)).rejects.toBeInstanceOf(TooBusy);
    gate.go();
    await Promise.all([...again, ...more]);
  });
});
