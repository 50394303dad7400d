// What every backend promises, and a comparison with a model too simple to be wrong.
//
// Over 400 lines: one suite of all that a backend promises, the log among it.

import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { StoreError } from "./errors.ts";
import { LIMITS, compareKeys, prefixEnd } from "./kv.ts";
import type { Compare, KvEntry, KvEvent, KvOp, KvStore, RangeOptions, TxnResult } from "./kv.ts";
import type { LogCommit } from "./log.ts";
import { BACKENDS, list, put, stopEtcd, withStore } from "./testing/backends.ts";

afterAll(stopEtcd);

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** "revision key=value key-" for each event, and the code of an error. */
function record(store: KvStore, prefix: string, fromRevision?: number): { lines: string[]; close: () => void } {
  const lines: string[] = [];
  const text = (e: KvEvent): string => (e.value === undefined ? `${e.key}-` : `${e.key}=${e.value.toString()}`);
  const watcher = store.watch(
    fromRevision === undefined ? { prefix } : { prefix, fromRevision },
    (revision, events) => lines.push(`${revision} ${events.map(text).join(" ")}`),
    (error) => lines.push(error.code),
  );
  return { lines, close: () => watcher.close() };
}

async function logOf(store: KvStore, from: number): Promise<LogCommit[]> {
  const commits: LogCommit[] = [];
  for await (const commit of store.history(from)) commits.push(commit);
  return commits;
}

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "resolved",
    (error: unknown) => (error instanceof StoreError ? error.code : (error as Error).name),
  );

describe.each(BACKENDS)("$url", ({ url }) => {
  test("put, get, overwrite, delete, create again", () =>
    withStore(url, async (store) => {
      expect(store.revision).toBe(0);
      expect(await store.get("a")).toBeUndefined();
      expect(await store.txn([], [put("a", "1"), put("b", "")])).toEqual({ ok: true, revision: 1 });
      expect(await store.txn([], [put("a", "2")])).toEqual({ ok: true, revision: 2 });
      expect(await store.get("a")).toEqual({ key: "a", value: Buffer.from("2"), createRevision: 1, modRevision: 2 });
      expect(await store.get("b")).toEqual({ key: "b", value: Buffer.alloc(0), createRevision: 1, modRevision: 1 });
      expect(await store.txn([], [{ delete: "a" }])).toEqual({ ok: true, revision: 3 });
      expect(await store.get("a")).toBeUndefined();
      await store.txn([], [put("a", "3")]);
      expect(await store.get("a")).toEqual({ key: "a", value: Buffer.from("3"), createRevision: 4, modRevision: 4 });
      expect(store.revision).toBe(4);
    }));

  test("compares: all or nothing, the first that fails is named, 0 means absent", () =>
    withStore(url, async (store) => {
      await store.txn([], [put("a", "1"), put("b", "1")]);
      const both: Compare[] = [
        { key: "a", modRevision: 1 },
        { key: "c", modRevision: 0 },
      ];
      expect(await store.txn(both, [put("c")])).toEqual({ ok: true, revision: 2 });
      expect(await store.txn(both, [put("a", "lost")])).toEqual({ ok: false, failed: "c", revision: 2 });
      expect((await store.get("a"))?.value.toString()).toBe("1");
    }));

  test("a txn that changes nothing keeps the revision", () =>
    withStore(url, async (store) => {
      await store.txn([], [put("a")]);
      const seen = record(store, "");
      expect(await store.txn([{ key: "a", modRevision: 1 }], [])).toEqual({ ok: true, revision: 1 });
      expect(await store.txn([{ key: "a", modRevision: 7 }], [])).toEqual({ ok: false, failed: "a", revision: 1 });
      expect(await store.txn([], [{ delete: "nothing" }])).toEqual({ ok: true, revision: 1 });
      expect(store.stats().batches).toBe(1);
      expect(await store.txn([], [{ delete: "nothing" }, put("b")])).toEqual({ ok: true, revision: 2 });
      expect(seen.lines).toEqual(["2 b="]);
    }));

  test("txns take effect in the order of the calls, each sees those before it", () =>
    withStore(url, async (store) => {
      const absent = [{ key: "a", modRevision: 0 }];
      const results = await Promise.all([
        store.txn(absent, [put("a", "first")]),
        store.txn(absent, [put("a", "second")]),
        store.txn([{ key: "a", modRevision: 1 }], [{ delete: "a" }]),
        store.txn(absent, [put("a", "third")]),
      ]);
      expect(results).toEqual([
        { ok: true, revision: 1 },
        { ok: false, failed: "a", revision: 1 },
        { ok: true, revision: 2 },
        { ok: true, revision: 3 },
      ]);
      expect(await store.get("a")).toMatchObject({ createRevision: 3, modRevision: 3 });
    }));

  test("ranges: bounds, limit, reverse, byte order", () =>
    withStore(url, async (store) => {
      const keys = ["a", "a/1", "a/10", "a/2", "b", "é", "\uffff", "😀", "\u{10ffff}"];
      await store.txn([], [...keys].reverse().map((key) => put(key)));
      const check = async (options: RangeOptions, expected: string[]): Promise<void> =>
        expect((await list(store, options)).map((entry) => entry.key)).toEqual(expected);
      await check({ start: "", end: "" }, keys);
      await check({ start: "", end: "", reverse: true }, [...keys].reverse());
      await check({ start: "a/", end: prefixEnd("a/") }, ["a/1", "a/10", "a/2"]);
      await check({ start: "a", end: "b" }, ["a", "a/1", "a/10", "a/2"]);
      await check({ start: "a", end: "b", limit: 2 }, ["a", "a/1"]);
      await check({ start: "a", end: "b", limit: 2, reverse: true }, ["a/2", "a/10"]);
      await check({ start: "a", end: "b", limit: 0 }, []);
      await check({ start: "b", end: "a" }, []);
      await check({ start: "\uffff", end: "\u{10ffff}" }, ["\uffff", "😀"]);
      await check({ start: "c", end: "d" }, []);
    }));

  test("a range is one state, and a watch from the next revision continues it exactly", () =>
    withStore(url, async (store) => {
      const all = Array.from({ length: 3000 }, (_, i) => put(`k${String(i).padStart(4, "0")}`, "old"));
      await store.txn([], all);
      const from = store.revision + 1;
      let seen = 0;
      for await (const entry of store.range({ start: "", end: "" })) {
        if (seen++ === 0) await store.txn([], [put("k2999", "new"), put("z", "new"), { delete: "k1500" }]);
        expect(entry.value.toString()).toBe("old");
      }
      expect(seen).toBe(3000);
      const { lines } = record(store, "", from);
      await turn();
      expect(lines).toEqual(["2 k2999=new z=new k1500-"]);
    }));

  test("a range left early, and one left open, hold up nothing", () =>
    withStore(url, async (store) => {
      await store.txn([], [put("a"), put("b")]);
      for await (const entry of store.range({ start: "", end: "" })) {
        expect(entry.key).toBe("a");
        break;
      }
      const open = store.range({ start: "", end: "" })[Symbol.asyncIterator]();
      await open.next();
      await store.txn([], [put("c")]);
      await store.close();
      expect(await codeOf(Promise.resolve(open.next()))).toBe("CLOSED");
    }));

  test("1,000 parallel conditional increments lose none", () =>
    withStore(url, async (store) => {
      const increment = async (): Promise<void> => {
        for (;;) {
          const entry = await store.get("n");
          const next = String(Number(entry?.value.toString() ?? "0") + 1);
          const result = await store.txn([{ key: "n", modRevision: entry?.modRevision ?? 0 }], [put("n", next)]);
          if (result.ok) return;
        }
      };
      // 20 lanes: with 1,000 at once all but one of each group retry, half a million txns that prove nothing more.
      const lane = async (): Promise<void> => {
        for (let i = 0; i < 50; i++) await increment();
      };
      await Promise.all(Array.from({ length: 20 }, lane));
      expect((await store.get("n"))?.value.toString()).toBe("1000");
      expect(store.revision).toBe(1000);
      // And all at once, from one read: exactly one wins.
      const rivals = await Promise.all(
        Array.from({ length: 1000 }, () => store.txn([{ key: "n", modRevision: 1000 }], [put("n", "1001")])),
      );
      expect(rivals.filter((result) => result.ok)).toEqual([{ ok: true, revision: 1001 }]);
    }));

  test("parallel txns share batches", () =>
    withStore(url, async (store) => {
      const results = await Promise.all(Array.from({ length: 2000 }, (_, i) => store.txn([], [put(`k${i}`)])));
      expect(results.map((result) => result.revision)).toEqual(Array.from({ length: 2000 }, (_, i) => i + 1));
      expect(store.stats()).toMatchObject({ txns: 2000, batches: 1, largestGroup: 2000, waiting: 0 });
    }));

  test("watch: whole revisions in order, by prefix, from the past, from now, from the future", () =>
    withStore(url, async (store) => {
      await store.txn([], [put("p/a", "1"), put("q/a", "1")]);
      await store.txn([], [put("q/b", "1")]);
      const past = record(store, "p/", 1);
      const now = record(store, "p/");
      const future = record(store, "", 5);
      const closed = record(store, "");
      expect(past.lines).toEqual([]); // never from within the call
      await Promise.all([
        store.txn([], [put("p/a", "2"), put("p/b", "2")]),
        store.txn([], [{ delete: "p/a" }, put("q/a", "2")]),
        store.txn([], [put("p/c", "3")]),
      ]);
      closed.close();
      await store.txn([], [put("q/c", "3"), { delete: "p/b" }]);
      await turn();
      expect(past.lines).toEqual(["1 p/a=1", "3 p/a=2 p/b=2", "4 p/a-", "5 p/c=3", "6 p/b-"]);
      expect(now.lines).toEqual(["3 p/a=2 p/b=2", "4 p/a-", "5 p/c=3", "6 p/b-"]);
      expect(future.lines).toEqual(["5 p/c=3", "6 q/c=3 p/b-"]);
      expect(closed.lines).toEqual(["3 p/a=2 p/b=2", "4 p/a- q/a=2", "5 p/c=3"]);
    }));

  test("events come before their txn resolves; a watcher may write and close from its callback", () =>
    withStore(url, async (store) => {
      const order: string[] = [];
      const watcher = store.watch(
        { prefix: "" },
        (revision) => {
          order.push(`event ${revision}`);
          expect(store.revision).toBeGreaterThanOrEqual(revision);
          if (revision === 1) void store.txn([], [put("b")]).then((result) => order.push(`done ${result.revision}`));
          if (revision === 2) watcher.close();
        },
        () => undefined,
      );
      await store.txn([], [put("a")]).then((result) => order.push(`done ${result.revision}`));
      await store.txn([], [put("c")]).then((result) => order.push(`done ${result.revision}`));
      // "b" was queued first and shares a group with "c".
      expect(order).toEqual(["event 1", "done 1", "event 2", "done 2", "done 3"]);
    }));

  test.each([
    { history: { revisions: 10 }, oldest: 41 },
    { history: { bytes: 100 }, oldest: 47 }, // 22 bytes each: four fit
  ])("a watch from before the kept history is COMPACTED: $history", ({ history, oldest }) =>
    withStore(
      url,
      async (store) => {
        for (let i = 10; i < 60; i++) await store.txn([], [put(`k${i}`, "x".repeat(19))]);
        const late = record(store, "", oldest - 1);
        const kept = record(store, "", oldest);
        expect(late.lines).toEqual([]);
        await turn();
        expect(late.lines).toEqual(["COMPACTED"]);
        expect(kept.lines.length).toBe(50 - oldest + 1);
        await store.txn([], [put("more")]);
        expect(late.lines).toEqual(["COMPACTED"]);
        expect(kept.lines.at(-1)).toBe("51 more=");
      },
      { history },
    ),
  );

  test("the history stays right over many times its length", () =>
    withStore(
      url,
      async (store) => {
        const live = record(store, "");
        for (let i = 0; i < 40; i++) await Promise.all(Array.from({ length: 100 }, () => store.txn([], [put("k", `${i}`)])));
        const replay = record(store, "", 3901);
        await turn();
        expect(live.lines.length).toBe(4000);
        expect(replay.lines).toEqual(live.lines.slice(3900));
      },
      { history: { revisions: 100 } },
    ));

  test("what the caller does with its buffers and lists afterwards changes nothing", () =>
    withStore(url, async (store) => {
      const value = Buffer.from("mine");
      const ops: KvOp[] = [{ put: "a", value }];
      const done = store.txn([], ops);
      value.fill(0);
      ops.push(put("b"));
      await done;
      expect((await list(store)).map((entry) => `${entry.key}=${entry.value.toString()}`)).toEqual(["a=mine"]);
    }));

  test("limits", () =>
    withStore(url, async (store) => {
      const key = "k".repeat(LIMITS.key);
      const value = Buffer.alloc(LIMITS.value, 7);
      expect((await store.txn([], [{ put: key, value }])).ok).toBe(true);
      expect((await store.get(key))?.value.equals(value)).toBe(true);
      const most = Array.from({ length: LIMITS.txnOps }, (_, i) => put(`m${i}`));
      expect((await store.txn([], most)).ok).toBe(true);
      const refused: [string, Compare[], KvOp[]][] = [
        ["TOO_LARGE", [], [put(`${key}k`)]],
        ["TOO_LARGE", [], [put("é".repeat(LIMITS.key / 2 + 1))]],
        ["TOO_LARGE", [{ key: `${key}k`, modRevision: 0 }], []],
        ["TOO_LARGE", [], [{ put: "v", value: Buffer.alloc(LIMITS.value + 1) }]],
        ["TOO_LARGE", [], [...most, put("one more")]],
        ["TOO_LARGE", [], Array.from({ length: 17 }, (_, i) => ({ put: `v${i}`, value }))],
        ["TypeError", [], [put("")]],
        ["TypeError", [], [put("\ud800")]],
        ["TypeError", [], [put("a"), { delete: "a" }]],
        ["TypeError", [{ key: "a", modRevision: -1 }], []],
      ];
      for (const [code, compares, ops] of refused) expect(await codeOf(store.txn(compares, ops))).toBe(code);
      expect(store.revision).toBe(2);
    }));

  test("close finishes what was accepted and refuses the rest", () =>
    withStore(url, async (store) => {
      const seen = record(store, "");
      const accepted = store.txn([], [put("a")]);
      const closing = store.close();
      const refused = store.txn([], [put("b")]);
      expect(await codeOf(refused)).toBe("CLOSED");
      expect(await accepted).toEqual({ ok: true, revision: 1 });
      await closing;
      await store.close();
      expect(seen.lines).toEqual(["1 a="]);
      expect(await codeOf(store.get("a"))).toBe("CLOSED");
      expect(await codeOf(list(store))).toBe("CLOSED");
      expect(() => record(store, "")).toThrow(StoreError);
    }));

  test("append: one revision for each draft, if `after` is the newest; else nothing", () =>
    withStore(url, async (store) => {
      await store.txn([], [put("a", "1")]);
      const writers: string[] = [];
      store.watch({ prefix: "" }, (revision, _, writer) => writers.push(`${revision} ${writer}`), () => undefined);
      const [won, lost] = await Promise.all([
        store.append(1, [{ ops: [put("a", "2"), put("b", "1")], note: "one", at: 5 }, { ops: [{ delete: "nothing" }] }, { ops: [{ delete: "b" }, put("a", "3")], note: "two", at: 6 }], "me"),
        store.append(1, [{ ops: [put("a", "lost")] }], "other"),
      ]);
      expect([won, lost]).toEqual([{ ok: true, revisions: [2, 2, 3] }, { ok: false, revision: 3 }]);
      expect(writers).toEqual(["2 me", "3 me"]);
      expect(await store.append(3, [{ ops: [] }])).toEqual({ ok: true, revisions: [3] });
      expect(await list(store)).toEqual([{ key: "a", value: Buffer.from("3"), createRevision: 1, modRevision: 3 }]);
      const was = (value: string, createRevision: number, modRevision: number) => ({ value: Buffer.from(value), createRevision, modRevision });
      expect(await logOf(store, 2)).toEqual([
        { generation: 2, at: 5, writer: "me", note: "one", changes: [{ key: "a", before: was("1", 1, 1), after: Buffer.from("2") }, { key: "b", after: Buffer.from("1") }] },
        { generation: 3, at: 6, writer: "me", note: "two", changes: [{ key: "b", before: was("1", 2, 2) }, { key: "a", before: was("2", 1, 2), after: Buffer.from("3") }] },
      ]);
      expect((await logOf(store, 1)).map((commit) => commit.generation)).toEqual([1, 2, 3]);
      expect(await logOf(store, 4)).toEqual([]);
    }));

  test("undo: what each key was before the first of some commits that changed it, whatever they share an entry with", () =>
    withStore(url, async (store) => {
      await store.append(0, [{ ops: [put("a", "1"), put("b", "1")] }, { ops: [put("a", "2")] }, { ops: [{ delete: "b" }, put("c", "1")] }]);
      await store.append(3, [{ ops: [put("a", "3"), put("b", "2")] }, { ops: [{ delete: "c" }] }]);
      for (let n = 0; n < 3000; n += 100) await store.append(5 + n, Array.from({ length: 100 }, (_, i) => ({ ops: [put("d", String(n + i))] })));
      const undone = async (from: number, to: number): Promise<string[]> => {
        const out: string[] = [];
        for await (const part of store.undo(from, to)) for (const [key, before] of part) out.push(`${key} ${before?.toString() ?? "-"}`);
        return out.sort();
      };
      expect(await undone(1, Infinity)).toEqual(["a -", "b -", "c -", "d -"]);
      expect(await undone(2, 3)).toEqual(["a 1", "b 1", "c -"]);
      expect(await undone(3, 5)).toEqual(["a 2", "b 1", "c -"]);
      expect(await undone(5, 5)).toEqual(["c 1"]);
      expect(await undone(5, 4)).toEqual([]);
      expect(await undone(2000, 2100)).toEqual(["d 1993"]);
      expect(await undone(store.revision, Infinity)).toEqual(["d 2998"]);
      expect(await undone(store.revision + 1, Infinity)).toEqual([]);
    }));

  test("append: what the writer knows to be new is not looked up, and is as if it had been", () =>
    withStore(url, async (store) => {
      const fresh = (key: string, value: string) => ({ ...put(key, value), fresh: true });
      await store.append(0, [{ ops: [fresh("a", "1"), fresh("b", "1")] }, { ops: [put("a", "2"), { delete: "b" }] }, { ops: [fresh("b", "2"), fresh("c", "1")] }]);
      await store.append(3, [{ ops: [{ delete: "a" }] }, { ops: [fresh("a", "3"), put("b", "3")] }]);
      const changes = (await logOf(store, 1)).map((commit) => commit.changes.map(({ key, before, after }) => `${key} ${before?.value.toString() ?? "-"} ${String(before?.modRevision)} ${after?.toString() ?? "-"}`));
      expect(changes).toEqual([
        ["a - undefined 1", "b - undefined 1"], ["a 1 1 2", "b 1 1 -"], ["b - undefined 2", "c - undefined 1"], ["a 2 2 -"], ["a - undefined 3", "b 2 3 3"],
      ]);
      expect((await list(store)).map(({ key, createRevision, modRevision }) => [key, createRevision, modRevision])).toEqual([["a", 5, 5], ["b", 3, 5], ["c", 3, 3]]);
    }));

  test("of the log as much is kept as is to be kept, the newest always; what is gone is COMPACTED", () =>
    withStore(
      url,
      async (store) => {
        for (let round = 0; round < 30; round++) await store.append(store.revision, Array.from({ length: 100 }, (_, i) => ({ ops: [put(`k${i}`, "x".repeat(200))] })));
        expect(store.oldest).toBeGreaterThan(1500);
        expect(store.oldest).toBeLessThan(2800);
        // Trimming may still go on beside: until nothing goes while it is read.
        let oldest: number;
        let kept: Awaited<ReturnType<typeof logOf>>;
        do {
          ({ oldest } = store);
          kept = await logOf(store, oldest).catch((error: unknown) => {
            if ((error as StoreError).code !== "COMPACTED") throw error;
            return [];
          });
        } while (store.oldest !== oldest);
        expect(kept.map((commit) => commit.generation)).toEqual(Array.from({ length: 3000 - oldest + 1 }, (_, i) => oldest + i));
        expect(await codeOf(logOf(store, store.oldest - 1))).toBe("COMPACTED");
        await store.checkpoint();
        expect(await logOf(store, store.oldest)).toEqual(kept.slice(-(3000 - store.oldest + 1)));
        expect(await list(store)).toHaveLength(100);
      },
      { keep: { ms: 1e12, bytes: 300_000 } },
    ));

  test("what is older than it may be goes with the next write", () =>
    withStore(
      url,
      async (store) => {
        for (let i = 0; i < 600; i++) await store.append(i, [{ ops: [put("a", `${i}`)], at: Date.now() - 60_000 }]);
        await store.txn([], [put("a")]);
        await store.checkpoint();
        expect(store.oldest).toBeGreaterThan(500);
      },
      { keep: { ms: 1000, bytes: 1e9 } },
    ));

  test("any history of txns gives what a simple model gives", () =>
    fc.assert(
      fc.asyncProperty(history, (steps) => withStore(url, (store) => compareWithModel(store, steps))),
      { numRuns: url === "memory:" ? 300 : url === "level:" ? 40 : 20 },
    ));
});

const KEYS = ["a", "a/", "a/b", "b", "\ue000", "😀"];
const key = fc.constantFrom(...KEYS);

interface Step {
  /** Waits for all txns so far before this one. */
  readonly settle: boolean;
  /** `guess`: which revision to expect of the key, as a distance from the truth; mostly right. */
  readonly compares: readonly { readonly key: string; readonly off: number }[];
  readonly ops: readonly KvOp[];
}

const history: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    settle: fc.boolean(),
    compares: fc.array(fc.record({ key, off: fc.constantFrom(0, 0, 0, 0, 1) }), { maxLength: 2 }),
    ops: fc.uniqueArray(
      fc.oneof(
        fc.record({ put: key, value: fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes)) }),
        fc.record({ delete: key }),
      ),
      { maxLength: 3, selector: (op) => ("put" in op ? op.put : op.delete) },
    ),
  }),
  { maxLength: 30 },
);

async function compareWithModel(store: KvStore, steps: readonly Step[]): Promise<void> {
  const model = new Map<string, KvEntry>();
  const events: string[] = [];
  let revision = 0;
  const fromModel = ({ compares, ops }: { compares: readonly Compare[]; ops: readonly KvOp[] }): TxnResult => {
    for (const c of compares) {
      if ((model.get(c.key)?.modRevision ?? 0) !== c.modRevision) return { ok: false, failed: c.key, revision };
    }
    const changing = ops.filter((op) => "put" in op || model.has(op.delete));
    if (changing.length === 0) return { ok: true, revision };
    revision++;
    const texts: string[] = [];
    for (const op of changing) {
      if ("put" in op) {
        const createRevision = model.get(op.put)?.createRevision ?? revision;
        model.set(op.put, { key: op.put, value: op.value, createRevision, modRevision: revision });
        texts.push(`${op.put}=${op.value.toString()}`);
      } else {
        model.delete(op.delete);
        texts.push(`${op.delete}-`);
      }
    }
    events.push(`${revision} ${texts.join(" ")}`);
    return { ok: true, revision };
  };

  const live = record(store, "");
  const expected: TxnResult[] = [];
  const actual: Promise<TxnResult>[] = [];
  for (const { settle, compares: guesses, ops } of steps) {
    if (settle) await Promise.all(actual);
    const compares = guesses.map(({ key, off }) => ({ key, modRevision: (model.get(key)?.modRevision ?? 0) + off }));
    expected.push(fromModel({ compares, ops }));
    actual.push(store.txn(compares, ops));
  }
  expect(await Promise.all(actual)).toEqual(expected);
  // The log alone, from nothing, gives the rows with their revisions; and each change is of what was there.
  const replayed = new Map<string, KvEntry>();
  for (const { generation, changes } of await logOf(store, 1)) {
    for (const { key, before, after } of changes) {
      const known = replayed.get(key);
      expect(before === undefined ? undefined : { key, value: before.value, createRevision: before.createRevision, modRevision: before.modRevision }).toEqual(known);
      if (after === undefined) replayed.delete(key);
      else replayed.set(key, { key, value: after, createRevision: known?.createRevision ?? generation, modRevision: generation });
    }
  }
  expect(new Map(await list(store).then((entries) => entries.map((entry) => [entry.key, entry])))).toEqual(replayed);
  expect(store.revision).toBe(revision);
  const sorted = [...model.values()].sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
  expect(await list(store)).toEqual(sorted);
  for (const key of KEYS) expect(await store.get(key)).toEqual(model.get(key));
  const replay = record(store, "", 1);
  await turn();
  expect(live.lines).toEqual(events);
  expect(replay.lines).toEqual(events);
}

test("compareKeys is the order of the UTF-8 bytes", () => {
  const text = fc.string({ unit: "binary" });
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
});

test("prefixEnd separates the keys with a prefix from those after them", () => {
  const text = fc.string({ unit: "binary", maxLength: 3 });
  const check = (prefix: string, key: string): void => {
    const end = prefixEnd(prefix);
    const inside = compareKeys(key, prefix) >= 0 && (end === "" || compareKeys(key, end) < 0);
    expect(inside).toBe(key.startsWith(prefix));
  };
  fc.assert(
    fc.property(text, text, (prefix, key) => {
      check(prefix, key);
      check(prefix, prefix + key);
    }),
  );
  for (const prefix of ["\ud7ff", "\u{10ffff}", "a\u{10ffff}", "\uffff", ""]) check(prefix, `${prefix}x`);
  expect(prefixEnd("a\u{10ffff}")).toBe("b");
  expect(prefixEnd("\ud7ff")).toBe("\ue000");
});
