// The log keeps each version of a row once, and says what rows became all the same; also that of a store which kept it twice.
import { cp, stat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Level } from "level";
import { expect, test } from "vitest";
import type { KvStore } from "../kv.ts";
import type { LogCommit } from "../log.ts";
import { openStore } from "../open.ts";
import { list, put, withDir, withStore } from "../testing/backends.ts";

async function logOf(store: KvStore, from: number): Promise<LogCommit[]> {
  const commits: LogCommit[] = [];
  for await (const commit of store.history(from)) commits.push(commit);
  return commits;
}

/** Each commit as text: `generation key:before>after`. */
const told = (commits: readonly LogCommit[]): string[] =>
  commits.map(({ generation, changes }) => `${generation} ${changes.map(({ key, before, after }) => `${key}:${before === undefined ? "" : `${before.value.toString()}@${before.modRevision}`}>${after?.toString() ?? ""}`).join(" ")}`);

test("what rows became is told, whether the change after it is near, far, of the same entry, or none is", () =>
  withStore("level:", async (store) => {
    const keys = Array.from({ length: 90 }, (_, i) => `k${i}`);
    const now = new Map<string, { value: string; at: number }>();
    const expected: string[] = [];
    let random = 7;
    const chance = (n: number): number => (random = (random * 48271) % 0x7fffffff) % n;
    const step = (): { ops: ReturnType<typeof put>[] } => {
      const key = keys[chance(keys.length)]!;
      const was = now.get(key);
      const generation = expected.length + 1;
      const goes = was !== undefined && chance(5) === 0;
      expected.push(`${generation} ${key}:${was === undefined ? "" : `${was.value}@${was.at}`}>${goes ? "" : String(generation)}`);
      if (goes) now.delete(key);
      else now.set(key, { value: String(generation), at: generation });
      return { ops: [goes ? ({ delete: key } as unknown as ReturnType<typeof put>) : put(key, String(generation))] };
    };
    while (expected.length < 1200) {
      const after = expected.length;
      await store.append(after, Array.from({ length: 1 + chance(6) }, step));
    }
    expect(told(await logOf(store, 1))).toEqual(expected);
    for (const from of [2, 600, expected.length]) expect(told(await logOf(store, from))).toEqual(expected.slice(from - 1));
    // Read while more is written: as of its beginning.
    const reading = store.history(1)[Symbol.asyncIterator]();
    const first = await reading.next();
    const count = expected.length;
    for (const key of keys) await store.txn([], [put(key, "later")]);
    const rest: LogCommit[] = [first.value as LogCommit];
    for (let next = await reading.next(); next.done !== true && next.value.generation <= count; next = await reading.next()) rest.push(next.value);
    expect(told(rest)).toEqual(expected);
  }), 120_000);

test("a version is on disk once, and what is let go of leaves nothing behind", () =>
  withDir(async (dataDir) => {
    const value = "v".repeat(2000);
    const store = await openStore("level:", { dataDir });
    for (let i = 0; i < 40; i++) await store.append(store.revision, Array.from({ length: 10 }, (_, k) => ({ ops: [put(`k${k}`, `${value}${i}`)] })));
    const files = await readdir(join(dataDir, "store"));
    const sizes = await Promise.all(files.map(async (name) => (await stat(join(dataDir, "store", name))).size));
    // Each of 400 versions is written as a row and, but the last of each key, once more when it is replaced.
    const bytes = sizes.reduce((a, b) => a + b, 0);
    expect(bytes).toBeGreaterThan(790 * 2000);
    expect(bytes).toBeLessThan(900 * 2000);
    await store.close();
    // Nothing is kept but the newest part; then versions whose changes are gone have no note of what followed.
    const again = await openStore("level:", { dataDir, keep: { ms: 0, bytes: 0 } });
    for (let i = 0; i < 60; i++) await again.append(again.revision, Array.from({ length: 10 }, (_, k) => ({ ops: [put(`k${k}`, `${value}${i}`)] })));
    await again.checkpoint();
    const { oldest } = again;
    expect(oldest).toBeGreaterThan(400);
    expect(told(await logOf(again, oldest))).toHaveLength(again.revision - oldest + 1);
    await again.close();
    const db = new Level<Buffer, Buffer>(join(dataDir, "store"), { keyEncoding: "buffer", valueEncoding: "buffer", compression: false });
    const notes = await db.keys({ gte: Buffer.from([3]), lt: Buffer.from([4]) }).all();
    for (const note of notes) expect(note.readUIntBE(1, 6)).toBeGreaterThanOrEqual(oldest);
    await db.close();
  }));

test("a store of format 2, whose log has every version twice, is taken over with its history", () =>
  withDir(async (dataDir) => {
    await cp(fileURLToPath(new URL("format-2", import.meta.url)), dataDir, { recursive: true });
    const before = [
      ...Array.from({ length: 12 }, (_, i) => `${i + 1} k${i % 4}:${i < 4 ? "" : `${i - 4}@${i - 3}`}>${i}`),
      "13 k2:10@11> k0:8@9>12", "14 k0:12@13>13 k2:>13",
    ];
    const after: string[] = [];
    for (let round = 0; round < 2; round++) {
      const store = await openStore("level:", { dataDir });
      expect([store.revision, store.oldest]).toEqual([14 + round, 1]);
      expect(told(await logOf(store, 1))).toEqual([...before, ...after]);
      await store.txn([], [put("k1", `more ${round}`)]);
      after.push(round === 0 ? "15 k1:9@10>more 0" : "16 k1:more 0@15>more 1");
      expect(told(await logOf(store, 1))).toEqual([...before, ...after]);
      await store.close();
    }
    const store = await openStore("level:", { dataDir });
    expect((await list(store)).map(({ key, value, createRevision, modRevision }) => [key, value.toString(), createRevision, modRevision]))
      .toEqual([["k0", "13", 1, 14], ["k1", "more 1", 2, 16], ["k2", "13", 14, 14], ["k3", "11", 4, 12]]);
    await store.close();
  }));
