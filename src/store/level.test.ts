// What is particular to the disk: nothing before durability, failing writes, reopening, damaged and foreign directories.

import { spawn } from "node:child_process";
import { cp, mkdir, open, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { Level } from "level";
import { expect, test } from "vitest";
import { CommitStore, type Storage } from "./commit.ts";
import { StoreError } from "./errors.ts";
import type { KvStore } from "./kv.ts";
import { LevelStorage } from "./level.ts";
import type { Conflict, LogCommit } from "./log.ts";
import { openStore } from "./open.ts";
import { list, put, withDir, withStore } from "./testing/backends.ts";

/** A real storage whose writes wait until let through, or fail. */
class Gate implements Storage {
  readonly inner: LevelStorage;
  readonly groups: (readonly LogCommit[])[] = [];
  /** Runs when a group is on disk and not yet revealed. */
  onWritten: () => Promise<void> = () => Promise.resolve();
  #waiting: ((error?: Error) => void)[] = [];

  constructor(inner: LevelStorage) {
    this.inner = inner;
  }

  get generation(): number {
    return this.inner.generation;
  }
  get oldest(): number {
    return this.inner.oldest;
  }

  async append(after: number, group: readonly LogCommit[]): Promise<number | Conflict> {
    this.groups.push(group);
    const error = await new Promise<Error | undefined>((resolve) => this.#waiting.push(resolve));
    if (error !== undefined) throw error;
    const answer = await this.inner.append(after, group);
    await this.onWritten();
    return answer;
  }

  /** Lets the one write that waits go on. */
  async pass(error?: Error): Promise<void> {
    while (this.#waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    this.#waiting.shift()!(error);
  }

  heads = (keys: readonly string[]): ReturnType<Storage["heads"]> => this.inner.heads(keys);
  reveal = (): void => this.inner.reveal();
  read = (from: number): ReturnType<Storage["read"]> => this.inner.read(from);
  checkpoint = (): Promise<void> => this.inner.checkpoint();
  get = (key: string): ReturnType<Storage["get"]> => this.inner.get(key);
  range = (options: Parameters<Storage["range"]>[0]): ReturnType<Storage["range"]> => this.inner.range(options);
  close = (): Promise<void> => this.inner.close();
}

async function withGate(body: (store: KvStore, gate: Gate, dir: string) => Promise<void>): Promise<void> {
  await withDir(async (root) => {
    const dir = join(root, "store");
    const gate = new Gate(await LevelStorage.open(dir));
    const store = new CommitStore(gate);
    try {
      await body(store, gate, dir);
    } finally {
      await store.close();
    }
  });
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

test("no result, event, revision or read before the batch is on disk; all that waits shares the next batch", () =>
  withGate(async (store, gate) => {
    const seen: string[] = [];
    store.watch({ prefix: "" }, (revision) => seen.push(`event ${revision}`), () => undefined);
    const txn = (key: string): Promise<void> =>
      store.txn([], [put(key)]).then((result) => void seen.push(`done ${result.revision}`));
    const first = txn("a");
    await pause();
    const rest = [txn("b"), txn("c"), store.txn([{ key: "a", modRevision: 0 }], []).then((r) => void seen.push(`ok ${r.ok}`))];
    await pause();
    expect(seen).toEqual([]);
    expect(store.revision).toBe(0);
    expect(await store.get("a")).toBeUndefined();
    expect(await list(store)).toEqual([]);
    expect(gate.groups.length).toBe(1);
    await gate.pass();
    await first;
    expect(seen).toEqual(["event 1", "done 1"]);
    expect(store.revision).toBe(1);
    await pause();
    expect(seen.length).toBe(2); // the refusal too waits for what it was judged by
    await gate.pass();
    await Promise.all(rest);
    expect(seen.slice(2)).toEqual(["event 2", "event 3", "done 2", "done 3", "ok false"]);
    expect(store.stats()).toMatchObject({ txns: 4, batches: 2, largestGroup: 3 });
  }));

test("reads are of `revision`, also while a newer one is already on disk", () =>
  withGate(async (store, gate) => {
    let checked = 0;
    gate.onWritten = async () => {
      const { revision } = store;
      expect((await store.get("a"))?.modRevision ?? 0).toBe(revision);
      for (const entry of await list(store)) expect(entry.modRevision).toBe(revision);
      checked++;
    };
    for (let revision = 1; revision <= 3; revision++) {
      const done = store.txn([], [put("a", `${revision}`)]);
      await gate.pass();
      await done;
      expect((await store.get("a"))?.modRevision).toBe(revision);
    }
    expect(checked).toBe(3);
  }));

test("a failed write stops writing for good: all that wait are refused with IO, reads go on, reopening is sound", () =>
  withGate(async (store, gate, dir) => {
    const first = store.txn([], [put("a", "1")]);
    await gate.pass();
    await first;
    const codes: string[] = [];
    store.watch({ prefix: "" }, () => codes.push("event"), (error) => codes.push(error.code));
    const lost = [store.txn([], [put("a", "2")]), store.txn([], [put("b", "2")])];
    await pause();
    lost.push(store.txn([], [put("c", "2")]));
    await gate.pass(new Error("ENOSPC: no space left on device"));
    for (const result of await Promise.allSettled(lost)) expect(result).toMatchObject({ status: "rejected", reason: { code: "IO" } });
    expect(codes).toEqual(["IO"]);
    await expect(store.txn([], [put("d")])).rejects.toMatchObject({ code: "IO" });
    await expect(store.txn([], [])).rejects.toMatchObject({ code: "IO" });
    expect(store.revision).toBe(1);
    expect((await store.get("a"))?.value.toString()).toBe("1");
    await store.close();
    await expect(store.txn([], [])).rejects.toMatchObject({ code: "CLOSED" });
    const again = await LevelStorage.open(dir);
    expect(again.generation).toBe(1);
    await again.close();
  }));

test("a compare is with the newest revision of a key, whether it was written lately, long ago, or deleted in between; the totals stay right", () =>
  withDir(async (root) => {
    const dir = join(root, "store");
    const store = new CommitStore(await LevelStorage.open(dir));
    const keys = Array.from({ length: 6000 }, (_, i) => `k${i}`);
    const known = new Map<string, number>();
    const write = async (some: readonly string[], drop: boolean): Promise<void> => {
      const compares = some.map((key) => ({ key, modRevision: known.get(key) ?? 0 }));
      const stale = await store.txn([...compares.slice(1), { key: some[0]!, modRevision: (known.get(some[0]!) ?? 0) + 1 }], [put(some[0]!, "never")]);
      expect(stale).toMatchObject({ ok: false, failed: some[0] });
      const done = await store.txn(compares, some.map((key) => (drop ? { delete: key } : put(key, `${known.get(key) ?? "new"}`))));
      expect(done.ok).toBe(true);
      for (const key of some) {
        if (drop) known.delete(key);
        else known.set(key, done.revision);
      }
    };
    // More keys than heads are kept of, in slices, over and over in another order; every third slice is deleted.
    for (let round = 0; round < 4; round++) for (let at = 0; at < keys.length; at += 500) await write(keys.slice(at, at + 500), (at / 500 + round) % 3 === 2);
    await write(keys.slice(0, 7), false);
    await store.close();
    const again = await LevelStorage.open(dir); // counts and sums everything
    expect(again.records).toBe(known.size);
    await again.close();
  }));

test("reopening keeps keys, values, revisions; the history starts anew", () =>
  withDir(async (dataDir) => {
    let before: unknown;
    for (let round = 0; round < 4; round++) {
      const store = await openStore("level:", { dataDir });
      expect(store.revision).toBe(round * 3);
      if (round > 0) expect(await list(store)).toEqual(before);
      const codes: string[] = [];
      store.watch({ prefix: "", fromRevision: store.revision }, () => codes.push("event"), (error) => codes.push(error.code));
      await store.txn([], [put("a", `${round}`), put(`k${round}`, "x".repeat(100_000))]);
      await store.txn([], [put("b", "1"), put("e", "")]);
      await store.txn([], [{ delete: "b" }]);
      expect(codes).toEqual(["COMPACTED"]);
      before = await list(store);
      await store.close();
    }
  }));

test("one store per directory: LOCKED names the directory and the process", () =>
  withStore("level:", async (store, dataDir) => {
    await expect(openStore("level:", { dataDir })).rejects.toMatchObject({ code: "LOCKED" });
    // The lock is the process's: only another one shows up in the system's list of locks.
    const script = `const { Level } = require("level");
      new Level(process.argv[1]).open().then(() => { console.log("open"); setInterval(() => {}, 1000); })`;
    await store.close();
    const child = spawn(process.execPath, ["-e", script, join(dataDir, "store")], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await new Promise((resolve) => child.stdout.once("data", resolve));
      const error: unknown = await openStore("level:", { dataDir }).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(StoreError);
      expect(error).toMatchObject({ code: "LOCKED", fields: { dir: join(dataDir, "store") } });
      const who = process.platform === "linux" ? `process ${child.pid!}` : "process";
      expect((error as StoreError).message).toContain(`${join(dataDir, "store")} is in use by`);
      expect((error as StoreError).message).toContain(who);
    } finally {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await gone;
    }
    await (await openStore("level:", { dataDir })).close();
  }));

/** A store with a table file (the first two runs) and a journal (the last). */
async function makeStore(dataDir: string): Promise<string> {
  for (let run = 0; run < 3; run++) {
    const store = await openStore("level:", { dataDir });
    for (let i = 0; i < 50; i++) await store.txn([], [put(`k${run}-${i}`, `${i}`.repeat(400)), put("counter", `${i}`)]);
    await store.close();
  }
  return join(dataDir, "store");
}

async function fileOf(dir: string, ending: RegExp): Promise<string> {
  const names = (await readdir(dir)).filter((name) => ending.test(name));
  const sizes = await Promise.all(names.map(async (name) => ({ name, size: (await stat(join(dir, name))).size })));
  return join(dir, sizes.sort((a, b) => b.size - a.size)[0]!.name);
}

async function flip(path: string, at: (size: number) => number): Promise<void> {
  const bytes = await readFile(path);
  const index = at(bytes.length);
  bytes[index] = bytes[index]! ^ 0x55;
  await writeFile(path, bytes);
}

const half = (size: number): number => size >> 1;
const DAMAGE: Record<string, (dir: string) => Promise<unknown>> = {
  "a byte in the middle of the journal": async (dir) => flip(await fileOf(dir, /\.log$/), half),
  "a byte early in the journal": async (dir) => flip(await fileOf(dir, /\.log$/), () => 40),
  "a byte in a table": async (dir) => flip(await fileOf(dir, /\.ldb$/), half),
  "a byte at the start of a table": async (dir) => flip(await fileOf(dir, /\.ldb$/), () => 20),
  "a byte at the end of a table": async (dir) => flip(await fileOf(dir, /\.ldb$/), (size) => size - 3),
  "a table gone": async (dir) => rm(await fileOf(dir, /\.ldb$/)),
  "a table emptied": async (dir) => writeFile(await fileOf(dir, /\.ldb$/), ""),
  "the journal gone": async (dir) => rm(await fileOf(dir, /\.log$/)),
  "CURRENT gone": async (dir) => rm(join(dir, "CURRENT")),
  "CURRENT emptied": async (dir) => writeFile(join(dir, "CURRENT"), ""),
  "the manifest gone": async (dir) => rm(await fileOf(dir, /^MANIFEST/)),
  "a byte in the manifest": async (dir) => flip(await fileOf(dir, /^MANIFEST/), half),
  "a foreign file instead": async (dir) => {
    await rm(dir, { recursive: true });
    await mkdir(dir);
    await writeFile(join(dir, "holiday.jpg"), "not a store");
  },
  "a LevelDB database of something else": async (dir) => {
    await rm(dir, { recursive: true });
    const db = new Level(dir);
    await db.put("a", "b");
    await db.close();
  },
};

test.each(Object.keys(DAMAGE))("CORRUPT: %s", (name) =>
  withDir(async (dataDir) => {
    const dir = await makeStore(dataDir);
    await DAMAGE[name]!(dir);
    const error: unknown = await openStore("level:", { dataDir }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(StoreError);
    expect(error).toMatchObject({ code: "CORRUPT", fields: { dir } });
    expect((error as StoreError).message).toMatch(/^\S+ is not a sound store: [^\n]+$/);
    // Still refused the second time: the first attempt did not tidy the evidence away.
    await expect(openStore("level:", { dataDir })).rejects.toMatchObject({ code: "CORRUPT" });
  }),
);

test("any one damaged byte is found, or is in the last thing written", { timeout: 120_000 }, () =>
  withDir(async (root) => {
    const dir = await makeStore(join(root, "sound"));
    const names = (await readdir(dir)).filter((name) => /^(CURRENT|MANIFEST.*|.*\.log|.*\.ldb)$/.test(name));
    let found = 0;
    const check = async (name: string, where: number, run: number): Promise<void> => {
      const dataDir = join(root, `${run}`);
      await cp(dir, join(dataDir, "store"), { recursive: true });
      await flip(join(dataDir, "store", name), (size) => Math.floor(where * size));
      try {
        const store = await openStore("level:", { dataDir });
        // makeStore's txns in order: the damage may have cost the last ones, which no journal can tell from a torn end.
        expect(store.revision).toBeGreaterThan(140);
        const entries = await list(store);
        const writes = Array.from({ length: store.revision }, (_, i) => `k${Math.floor(i / 50)}-${i % 50}`).sort();
        expect(entries.map((entry) => entry.key)).toEqual(["counter", ...writes]);
        expect(entries[0]!.modRevision).toBe(store.revision);
        for (const entry of entries) expect(await store.get(entry.key)).toEqual(entry);
        await store.close();
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        expect(error.code).toBe("CORRUPT");
        found++;
      }
      await rm(dataDir, { recursive: true });
    };
    let run = 0;
    // Often near the end: there a table has its filter, indexes and footer, few bytes on which everything hangs.
    const whole = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    const where = fc.oneof(whole, fc.double({ min: 0.98, max: 1, maxExcluded: true, noNaN: true }));
    const numRuns = process.env["AXION_NIGHTLY"] === "1" ? 1000 : 100;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), where, (name, at) => check(name, at, run++)),
      { numRuns, endOnFailure: true },
    );
    expect(found).toBeGreaterThan(numRuns / 2);
  }));

test("a torn end of the journal loses only what was never acknowledged", () =>
  withDir(async (dataDir) => {
    const dir = await makeStore(dataDir);
    const journal = await fileOf(dir, /\.log$/);
    const { size } = await stat(journal);
    const handle = await open(journal, "r+");
    await handle.truncate(size - 5);
    await handle.close();
    const store = await openStore("level:", { dataDir });
    expect(store.revision).toBe(149);
    expect((await store.get("counter"))?.value.toString()).toBe("48");
    await store.close();
  }));

test("a newer format is UNSUPPORTED, and so is what this version does not have", () =>
  withDir(async (dataDir) => {
    const dir = await makeStore(dataDir);
    const db = new Level(dir);
    await db.put("\0format", "axion-store 3");
    await db.close();
    await expect(openStore("level:", { dataDir })).rejects.toMatchObject({ code: "UNSUPPORTED", fields: { actual: 3 } });
    await expect(openStore("etcd://localhost:2379", { dataDir })).rejects.toMatchObject({
      code: "UNSUPPORTED",
      message: expect.stringContaining("not in this version") as string,
    });
    await expect(openStore("sqlite:", { dataDir })).rejects.toMatchObject({ code: "UNSUPPORTED" });
  }));

test("a first start that was killed is started again; a file in the way is IO", () =>
  withDir(async (dataDir) => {
    const dir = join(dataDir, "store");
    await mkdir(dir);
    for (const name of ["LOCK", "LOG", "MANIFEST-000001", "000001.dbtmp"]) await writeFile(join(dir, name), "");
    await (await openStore("level:", { dataDir })).close();
    const copy = join(dataDir, "copy");
    await cp(dir, join(copy, "store"), { recursive: true });
    await (await openStore("level:", { dataDir: copy })).close();
    await writeFile(join(dataDir, "file"), "");
    await expect(openStore("level:", { dataDir: join(dataDir, "file") })).rejects.toMatchObject({ code: "IO" });
  }));
