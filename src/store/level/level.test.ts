// What is particular to the disk: nothing before durability, failing writes, reopening, damaged and foreign directories.
//
// Over 400 lines: one table of damages and what each start says, beside the promises of the disk.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { cp, mkdir, readFile, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { Level } from "level";
import { expect, test } from "vitest";
import { CommitStore, type Storage } from "../commit.ts";
import { StoreError } from "../errors.ts";
import type { KvStore } from "../kv.ts";
import { LevelStorage } from "./level.ts";
import type { Conflict, LogCommit } from "../log.ts";
import { openStore } from "../open.ts";
import { Witness } from "./witness.ts";
import { list, put, withDir, withStore } from "../testing/backends.ts";

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
  get logBytes(): number {
    return this.inner.logBytes;
  }
  get writtenBytes(): number {
    return this.inner.writtenBytes;
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
const DAMAGE: Record<string, readonly [code: string, (dir: string) => Promise<unknown>]> = {
  "a byte in the middle of the journal": ["LOSS", async (dir) => flip(await fileOf(dir, /\.log$/), half)],
  "a byte early in the journal": ["LOSS", async (dir) => flip(await fileOf(dir, /\.log$/), () => 40)],
  "a byte at the end of the journal": ["LOSS", async (dir) => flip(await fileOf(dir, /\.log$/), (size) => size - 3)],
  "the journal cut": ["LOSS", async (dir) => cut(await fileOf(dir, /\.log$/), 5)],
  "the journal emptied": ["LOSS", async (dir) => writeFile(await fileOf(dir, /\.log$/), "")],
  "the journal gone": ["LOSS", async (dir) => rm(await fileOf(dir, /\.log$/))],
  "the witness gone": ["LOSS", async (dir) => rm(`${dir}.witness`)],
  "the witness emptied": ["LOSS", async (dir) => writeFile(`${dir}.witness`, "")],
  "all of the store gone": ["LOSS", async (dir) => rm(dir, { recursive: true })],
  "a byte in a table": ["CORRUPT", async (dir) => flip(await fileOf(dir, /\.ldb$/), half)],
  "a byte at the start of a table": ["CORRUPT", async (dir) => flip(await fileOf(dir, /\.ldb$/), () => 20)],
  "a byte at the end of a table": ["CORRUPT", async (dir) => flip(await fileOf(dir, /\.ldb$/), (size) => size - 3)],
  "a table gone": ["CORRUPT", async (dir) => rm(await fileOf(dir, /\.ldb$/))],
  "a table emptied": ["CORRUPT", async (dir) => writeFile(await fileOf(dir, /\.ldb$/), "")],
  "CURRENT gone": ["CORRUPT", async (dir) => rm(join(dir, "CURRENT"))],
  "CURRENT emptied": ["CORRUPT", async (dir) => writeFile(join(dir, "CURRENT"), "")],
  "the manifest gone": ["CORRUPT", async (dir) => rm(await fileOf(dir, /^MANIFEST/))],
  "a byte in the manifest": ["CORRUPT", async (dir) => flip(await fileOf(dir, /^MANIFEST/), half)],
  "a foreign file instead": ["CORRUPT", async (dir) => {
    await rm(dir, { recursive: true });
    await mkdir(dir);
    await writeFile(join(dir, "holiday.jpg"), "not a store");
  }],
  "a LevelDB database of something else": ["CORRUPT", async (dir) => {
    await rm(dir, { recursive: true });
    await rm(`${dir}.witness`);
    const db = new Level(dir);
    await db.put("a", "b");
    await db.close();
  }],
};

async function cut(path: string, bytes: number): Promise<void> {
  const { size } = await stat(path);
  await truncate(path, size - bytes);
}

test.each(Object.entries(DAMAGE))("%s: the start refuses, names the generation, and changes nothing", (name, [code, damage]) =>
  withDir(async (dataDir) => {
    const dir = await makeStore(dataDir);
    await damage(dir);
    const error: unknown = await openStore("level:", { dataDir }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(StoreError);
    expect(error).toMatchObject({ code, fields: { dir } });
    const { message, fields } = error as StoreError;
    if (code === "CORRUPT") {
      expect(message).toMatch(/^\S+ is not a sound store: [^\n]+$/);
      if (!name.includes("something else")) expect(message).toContain("up to generation 150");
    } else expect(message).toMatch(/--accept-loss \d+ starts without them$/);
    // Still refused the second time: the first attempt did not tidy the evidence away.
    await expect(openStore("level:", { dataDir })).rejects.toMatchObject({ code });
    if (code !== "LOSS") return;
    // A number that was guessed does not do; the one that was told does, and what is then there is the state of that generation.
    await expect(openStore("level:", { dataDir, acceptLoss: fields.found! + 1 })).rejects.toMatchObject({ code });
    const store = await openStore("level:", { dataDir, acceptLoss: fields.found! });
    await expectWrites(store, fields.found!);
    await store.txn([], [put("after", "1")]);
    await store.close();
    const again = await openStore("level:", { dataDir });
    expect(again.revision).toBe(fields.found! + 1);
    await again.close();
  }),
);

/** That the store has what makeStore's first `count` writes leave, found by range and by get. */
async function expectWrites(store: KvStore, count: number): Promise<void> {
  expect(store.revision).toBe(count);
  const entries = await list(store);
  const keys = Array.from({ length: count }, (_, i) => `k${Math.floor(i / 50)}-${i % 50}`).sort();
  expect(entries.map((entry) => entry.key)).toEqual(count === 0 ? [] : ["counter", ...keys]);
  if (count > 0) expect(entries[0]).toMatchObject({ modRevision: count, value: Buffer.from(`${(count - 1) % 50}`) });
  for (const entry of entries) expect(await store.get(entry.key)).toEqual(entry);
  // The log says what each became: the value of the counter counts.
  const counted: string[] = [];
  for await (const { changes } of store.history(1)) counted.push(changes.find(({ key }) => key === "counter")!.after!.toString());
  expect(counted).toEqual(Array.from({ length: count }, (_, i) => `${i % 50}`));
}

const RANDOM_DAMAGES = process.env["AXION_NIGHTLY"] === "1" ? 1000 : 25;
const HOW = ["overwritten", "zeroed", "cut out", "cut off", "swapped", "doubled", "removed"] as const;

/** Damages a piece; false: it is as it was. */
async function damagePiece(path: string, how: (typeof HOW)[number], where: number, length: number, byte: number): Promise<boolean> {
  if (how === "removed") {
    await rm(path);
    return true;
  }
  const file = await readFile(path);
  const from = Math.floor(where * file.length);
  const to = Math.min(file.length, from + length);
  const [head, piece, rest] = [file.subarray(0, from), file.subarray(from, to), file.subarray(to)];
  const other = rest.subarray(0, piece.length);
  const now = Buffer.concat({
    overwritten: [head, piece.map((one, i) => one ^ ((byte + i) % 255 || 1)), rest],
    zeroed: [head, Buffer.alloc(piece.length), rest],
    "cut out": [head, rest],
    "cut off": [head],
    swapped: [head, other, piece, rest.subarray(piece.length)],
    doubled: [head, piece, piece, rest],
  }[how]);
  await writeFile(path, now);
  return !now.equals(file);
}

test(`${RANDOM_DAMAGES} random damages of any file: everything is there, or the start refuses and names the generation`, { timeout: 30_000 + RANDOM_DAMAGES * 500 }, () =>
  withDir(async (root) => {
    const dir = await makeStore(join(root, "sound"));
    const names = [...(await readdir(dir)).filter((name) => /^(CURRENT|MANIFEST.*|.*\.log|.*\.ldb)$/.test(name)), "../store.witness"];
    let found = 0;
    let run = 0;
    const check = async (name: string, how: (typeof HOW)[number], where: number, length: number, byte: number): Promise<void> => {
      const dataDir = join(root, `${run++}`);
      await cp(join(root, "sound"), dataDir, { recursive: true });
      const damaged = await damagePiece(join(dataDir, "store", name), how, where, length, byte);
      try {
        const store = await openStore("level:", { dataDir });
        await expectWrites(store, 150);
        await store.close();
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        expect(["CORRUPT", "LOSS"]).toContain(error.code);
        if (name !== "../store.witness") expect(error.fields.acknowledged).toBe(150);
        expect(error.message).toMatch(/generations? \d+/);
        expect(damaged).toBe(true);
        found++;
      }
      await rm(dataDir, { recursive: true });
    };
    // Often near the end: there a table has its filter, indexes and footer, few bytes on which everything hangs.
    const whole = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    const where = fc.oneof(whole, fc.double({ min: 0.98, max: 1, maxExcluded: true, noNaN: true }));
    const length = fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 64 }), fc.integer({ min: 65, max: 40_000 }));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), fc.constantFrom(...HOW), where, length, fc.nat(255), check),
      { numRuns: RANDOM_DAMAGES, endOnFailure: true },
    );
    expect(found).toBeGreaterThan(RANDOM_DAMAGES / 2);
  }));

test("a torn end of the journal that was not acknowledged is no loss", () =>
  withDir(async (dataDir) => {
    const dir = await makeStore(dataDir);
    const store = await openStore("level:", { dataDir });
    await store.txn([], [put("one", "x".repeat(100))]);
    const seen = await readFile(`${dir}.witness`);
    await store.txn([], [put("two", "x".repeat(100))]);
    await store.close();
    await writeFile(`${dir}.witness`, seen); // killed in between
    await cut(await fileOf(dir, /\.log$/), 5);
    const again = await openStore("level:", { dataDir });
    expect([again.revision, await again.get("two")]).toEqual([151, undefined]);
    await again.close();
  }));

test("the witness of another store does not do, nor does an older copy of the store with the witness of now", () =>
  withDir(async (root) => {
    const dir = await makeStore(join(root, "a"));
    await makeStore(join(root, "b"));
    await cp(join(root, "b", "store.witness"), `${dir}.witness`);
    await expect(openStore("level:", { dataDir: join(root, "a") })).rejects.toMatchObject({ code: "LOSS", message: expect.stringContaining("of another store") as string });
    const store = await openStore("level:", { dataDir: join(root, "b") });
    await store.close();
    await cp(join(root, "b", "store"), join(root, "old"), { recursive: true });
    const newer = await openStore("level:", { dataDir: join(root, "b") });
    await newer.txn([], [put("new")]);
    await newer.close();
    await rm(join(root, "b", "store"), { recursive: true });
    await cp(join(root, "old"), join(root, "b", "store"), { recursive: true });
    await expect(openStore("level:", { dataDir: join(root, "b") })).rejects.toMatchObject({ code: "LOSS", fields: { found: 150, acknowledged: 151 } });
  }));

test("a store of format 1 is taken over with all it has, also when that was cut off in between", () =>
  withDir(async (dataDir) => {
    const dir = join(dataDir, "store");
    await mkdir(dir);
    await cp(join(fileURLToPath(new URL("format-1", import.meta.url))), dir, { recursive: true });
    for (const cutOff of [true, false]) {
      const copy = join(dataDir, String(cutOff));
      await cp(dir, join(copy, "store"), { recursive: true });
      if (cutOff) (await Witness.begin(join(copy, "store"), { generation: 20, check: 0, id: randomUUID() })).close();
      for (let round = 0; round < 2; round++) {
        const store = await openStore("level:", { dataDir: copy });
        expect([store.revision, store.oldest]).toEqual([20 + round, 21]);
        expect((await list(store, { start: "k", end: "l" })).map(({ key, value, createRevision, modRevision }) => [key, value.toString(), createRevision, modRevision]))
          .toEqual([["k0", "18", 1, 19], ["k1", "19", 2, 20]]);
        await store.txn([], [put("more", `${round}`)]);
        await store.close();
      }
    }
  }));

test("a newer format is UNSUPPORTED, and so is what this version does not have", () =>
  withDir(async (dataDir) => {
    const dir = await makeStore(dataDir);
    const db = new Level(dir, { compression: false });
    await db.put("\0format", "axion-store 4");
    await db.close();
    await expect(openStore("level:", { dataDir })).rejects.toMatchObject({ code: "UNSUPPORTED", fields: { actual: 4 } });
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
    await cp(`${dir}.witness`, join(copy, "store.witness"));
    await (await openStore("level:", { dataDir: copy })).close();
    await writeFile(join(dataDir, "file"), "");
    await expect(openStore("level:", { dataDir: join(dataDir, "file") })).rejects.toMatchObject({ code: "IO" });
  }));
