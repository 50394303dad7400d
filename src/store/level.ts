// The embedded store: LevelDB through `level`, one synced batch per group. Order and watches are commit.ts; here is the
// layout on disk, and the doubt with which a directory is opened.
//
//   00 "format"        "axion-store 2"
//   00 "state"         record: modRevision = the generation, value = { id, records, check, oldest } as JSON
//   01 <key>           record: a row as it is now
//   02 <generation>    record: an entry of the log (log.ts) whose first commit has that generation (6 bytes)
//   record             crc32 of key and rest (4 bytes) | createRevision (6) | modRevision (6) | value
//
// LevelDB alone drops a damaged part of its journal in silence, and with it acknowledged writes. So each batch also
// writes how many rows there are and the sum of their checksums, and opening reads everything once and compares.
// Before that, files.ts looks at the files that LevelDB would trust blindly, and witness.ts knows what was acknowledged.
//
// A store of format 1 is one without a log: it is taken over when all of it was read.

import { randomUUID } from "node:crypto";
import { open as openFile, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { Level } from "level";
import { CommitStore, type CommitOptions, type Storage } from "./commit.ts";
import { crc32 } from "./crc.ts";
import { compacted, StoreError } from "./errors.ts";
import { corrupt, inspect, judge, locked, STATE } from "./files.ts";
import type { KvEntry, KvStore, RangeOptions } from "./kv.ts";
import { checkOrder, countEntry, decodeEntry, encodeEntry, KEEP, Tail, timeOfEntry, type Conflict, type Generation, type Keep, type LogCommit } from "./log.ts";
import { lockHolder } from "./lock.ts";
import { Witness } from "./witness.ts";

/** `level` in Node has a method more than where it runs in browsers. */
type Db = Level<Buffer, Buffer> & { compactRange(start: Buffer, end: Buffer): Promise<void> };
type Snapshot = ReturnType<Db["snapshot"]>;

const FORMAT = Buffer.from("\0format");
const FORMAT_VERSION = 2;
const FIRST = Buffer.from([1]);
/** After all rows, before all entries. */
const AFTER = Buffer.from([2]);
const END = Buffer.from([3]);
const HEADER = 16;
/** Entries, or this many bytes, fetched at once by a range. */
const PAGE = 512;
const PAGE_BYTES = 1 << 20;
/** Entries of the log fetched at once. */
const READ_PAGE = 128;
/** Keys looked up at once without leaving the thread. */
const READ_NOW = 1000;
/** Keys written lately, and bytes of their values, that are at hand: a write compares and replaces what was written just before more than anything else. */
const LATELY = 4096;
const LATELY_BYTES = 8 << 20;

interface Record {
  readonly check: number;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly value: Buffer;
}

interface Totals {
  /** Of the store: tells it from another one in its place. */
  readonly id: string;
  readonly records: number;
  /** Sum of the records' checksums, modulo 2^32. */
  readonly check: number;
  /** First generation of the log that is kept. */
  readonly oldest: Generation;
}

/** A view that reads use; it is let go when a newer one is there and its last range has ended. */
interface View {
  readonly snapshot: Snapshot;
  readers: number;
  stale: boolean;
}

export interface LevelOptions extends CommitOptions {
  readonly acceptLoss?: Generation | undefined;
}

/** Opens or makes a store in `dir`. @throws StoreError LOSS, LOCKED, CORRUPT, UNSUPPORTED (a newer format), IO. */
export async function openLevel(dir: string, options: LevelOptions = {}): Promise<KvStore> {
  const began = performance.now();
  const storage = await LevelStorage.open(dir, options);
  const fields = { dir, revision: storage.generation, oldest: storage.oldest, records: storage.records, ms: Math.round(performance.now() - began) };
  options.log?.info(fields, "store open");
  return new CommitStore(storage, options);
}

export class LevelStorage implements Storage {
  readonly #dir: string;
  readonly #db: Db;
  readonly #tail: Tail;
  readonly #witness: Witness;
  #generation: Generation;
  #totals: Totals;
  #view: View;
  /** Keys written lately, undefined: deleted. When they are LATELY they become those from before, in place of the ones there. */
  #lately = new Map<string, KvEntry | undefined>();
  #latelyBytes = 0;
  #before = new Map<string, KvEntry | undefined>();

  private constructor(dir: string, db: Db, { generation, totals, tail, witness }: Loaded) {
    this.#dir = dir;
    this.#db = db;
    this.#tail = tail;
    this.#witness = witness;
    this.#generation = generation;
    this.#totals = totals;
    this.#view = { snapshot: db.snapshot(), readers: 0, stale: false };
  }

  static async open(dir: string, { keep = KEEP, acceptLoss, log }: LevelOptions = {}): Promise<LevelStorage> {
    await prepare(dir);
    const inspection = await inspect(dir);
    const accepted = await judge(dir, inspection, acceptLoss);
    if (accepted !== undefined) log?.error({ dir, ...accepted }, "a loss of acknowledged changes is accepted");
    const db = new Level<Buffer, Buffer>(dir, {
      keyEncoding: "buffer",
      valueEncoding: "buffer",
      compression: false, // level-table.ts reads the blocks
      writeBufferSize: 16 << 20,
      cacheSize: 32 << 20,
    }) as Db;
    try {
      await db.open();
      return new LevelStorage(dir, db, await load(dir, db, keep, inspection.state?.generation ?? 0));
    } catch (error) {
      await db.close().catch(() => undefined); // the reason it did not open says more
      throw await explain(dir, error);
    }
  }

  get generation(): Generation {
    return this.#generation;
  }

  get oldest(): Generation {
    return this.#totals.oldest;
  }

  get records(): number {
    return this.#totals.records;
  }

  async heads(keys: readonly string[]): Promise<readonly (KvEntry | undefined)[]> {
    const heads = new Map<string, KvEntry | undefined>();
    const unknown: string[] = [];
    for (const key of keys) {
      const known = this.#lately.has(key) ? this.#lately : this.#before.has(key) ? this.#before : undefined;
      if (known === undefined) unknown.push(key);
      else heads.set(key, known.get(key));
    }
    if (unknown.length > 0) {
      const stored = unknown.map(encodeKey);
      const found = await this.#guard(this.#read(stored));
      for (let i = 0; i < found.length; i++) {
        const bytes = found[i];
        if (bytes !== undefined) heads.set(unknown[i]!, toEntry(unknown[i]!, decode(this.#dir, stored[i]!, bytes)));
      }
    }
    return keys.map((key) => heads.get(key));
  }

  // Most keys are new, which LevelDB's filters tell without the disk, or were written lately: looking them up takes a
  // fraction of the way to another thread and back, which every write would wait for.
  async #read(stored: readonly Buffer[]): Promise<readonly (Buffer | undefined)[]> {
    return stored.length <= READ_NOW ? stored.map((key) => this.#db.getSync(key)) : this.#db.getMany([...stored]);
  }

  async append(after: Generation, commits: readonly LogCommit[]): Promise<Generation | Conflict> {
    if (after !== this.#generation) return { conflict: this.#generation };
    checkOrder(after, commits);
    if (commits.length === 0) return after;
    let { records, check, oldest } = this.#totals;
    // Not an array of operations: each would be cloned with all its options, which took as long as all else that a write does.
    const batch = this.#db.batch();
    const written = netOf(commits);
    for (const [key, { before, now }] of written) {
      const stored = encodeKey(key);
      if (before !== undefined) {
        records--;
        check -= checkOf(stored, before);
      }
      if (now === undefined) batch.del(stored);
      else {
        const value = encode(stored, now.createRevision, now.modRevision, now.value);
        records++;
        check += value.readUInt32BE(0);
        batch.put(stored, value);
      }
    }
    const generation = after + commits.length;
    const entry = encode(entryKey(after + 1), after + 1, generation, encodeEntry(commits));
    batch.put(entryKey(after + 1), entry);
    this.#tail.add(after + 1, generation + 1, commits.at(-1)!.at, entry.length);
    // One part a write: what a write costs has a limit, and no write adds more than a part.
    const due = this.#tail.due(Date.now());
    if (due !== undefined) oldest = this.#letGo(batch, due);
    const totals: Totals = { id: this.#totals.id, records, check: modulo32(check), oldest };
    batch.put(STATE, encodeState(generation, totals));
    await this.#guard(batch.write({ sync: true }));
    if (due !== undefined) this.#tail.drop();
    this.#totals = totals;
    this.#generation = generation;
    this.#witness.say({ generation, check: totals.check, id: totals.id });
    this.#remember(written);
    return generation;
  }

  #letGo(batch: ReturnType<Db["batch"]>, { first, next }: { readonly first: Generation; readonly next: Generation }): Generation {
    // Which of them begin an entry is not known; to delete what is not there costs a few bytes.
    for (let at = first; at < next; at++) batch.del(entryKey(at));
    return next;
  }

  #remember(written: ReadonlyMap<string, { readonly now: KvEntry | undefined }>): void {
    let bytes = 0;
    for (const { now } of written.values()) bytes += now?.value.length ?? 0;
    if (this.#lately.size + written.size > LATELY || this.#latelyBytes + bytes > LATELY_BYTES) {
      this.#before = this.#lately;
      this.#lately = new Map();
      this.#latelyBytes = 0;
    }
    this.#latelyBytes += bytes;
    for (const [key, { now }] of written) this.#lately.set(key, now);
  }

  async *read(from: Generation): AsyncGenerator<LogCommit> {
    if (from < this.oldest) throw compacted(from, this.oldest);
    const end = this.#generation;
    let next = from;
    // An entry has the generation of its first commit for its key: the one that has `from` may begin before it.
    const [at] = await this.#guard(this.#db.keys({ gte: AFTER, lte: entryKey(from), reverse: true, limit: 1 }).all());
    const iterator = this.#db.iterator({ gte: at ?? AFTER, lt: END, highWaterMarkBytes: PAGE_BYTES });
    try {
      for (;;) {
        const page = await this.#guard(iterator.nextv(READ_PAGE));
        for (const [key, bytes] of page) {
          for (const commit of entryOf(this.#dir, key, bytes)) {
            if (commit.generation < next) continue;
            if (commit.generation > end) return;
            // It was let go of while it was read.
            if (commit.generation !== next++) throw compacted(next - 1, this.oldest);
            yield commit;
          }
        }
        if (page.length === 0) return;
      }
    } finally {
      await iterator.close();
    }
  }

  async checkpoint(): Promise<void> {
    for (let due = this.#tail.due(Date.now()); due !== undefined; due = this.#tail.due(Date.now())) {
      const batch = this.#db.batch();
      const totals: Totals = { ...this.#totals, oldest: this.#letGo(batch, due) };
      batch.put(STATE, encodeState(this.#generation, totals));
      await this.#guard(batch.write({ sync: true }));
      this.#tail.drop();
      this.#totals = totals;
    }
    await this.#guard(this.#db.compactRange(Buffer.from([0]), END));
  }

  reveal(): void {
    const old = this.#view;
    this.#view = { snapshot: this.#db.snapshot(), readers: 0, stale: false };
    old.stale = true;
    release(old);
  }

  async get(key: string): Promise<KvEntry | undefined> {
    const stored = encodeKey(key);
    const { snapshot } = this.#view;
    const bytes = await this.#guard<Buffer | undefined>(this.#db.get(stored, { snapshot })); // its type forgets absence
    return bytes === undefined ? undefined : toEntry(key, decode(this.#dir, stored, bytes));
  }

  async *range({ start, end, limit, reverse = false }: RangeOptions): AsyncGenerator<KvEntry> {
    const view = this.#view;
    const iterator = this.#db.iterator({
      gte: encodeKey(start),
      lt: end === "" ? AFTER : encodeKey(end),
      reverse,
      limit: limit === undefined || limit === Infinity ? -1 : limit,
      snapshot: view.snapshot,
      highWaterMarkBytes: PAGE_BYTES,
    });
    view.readers++;
    try {
      for (;;) {
        const page = await this.#guard(iterator.nextv(PAGE));
        if (page.length === 0) return;
        for (const [stored, bytes] of page) {
          yield toEntry(stored.toString("utf8", FIRST.length), decode(this.#dir, stored, bytes));
        }
      }
    } finally {
      await iterator.close();
      view.readers--;
      release(view);
    }
  }

  async close(): Promise<void> {
    await this.#guard(this.#db.close());
    this.#witness.close();
  }

  async #guard<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw await explain(this.#dir, error);
    }
  }
}

function release(view: View): void {
  // Closing the database closes it too: a range that nobody ends cannot hold up close().
  if (view.stale && view.readers === 0) void view.snapshot.close();
}

const encodeKey = (key: string): Buffer => {
  const stored = Buffer.allocUnsafe(FIRST.length + Buffer.byteLength(key));
  stored[0] = FIRST[0]!;
  stored.write(key, FIRST.length);
  return stored;
};

const modulo32 = (sum: number): number => ((sum % 0x1_0000_0000) + 0x1_0000_0000) % 0x1_0000_0000;

function encode(stored: Buffer, createRevision: number, modRevision: number, value: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER + value.length);
  bytes.writeUIntBE(createRevision, 4, 6);
  bytes.writeUIntBE(modRevision, 10, 6);
  bytes.set(value, HEADER);
  bytes.writeUInt32BE(crc32(bytes.subarray(4), crc32(stored)), 0);
  return bytes;
}

function decode(dir: string, stored: Buffer, bytes: Buffer, what = () => `the record of ${JSON.stringify(stored.toString("utf8", 1))}`): Record {
  const check = bytes.length < HEADER ? -1 : bytes.readUInt32BE(0);
  if (check !== crc32(bytes.subarray(4), crc32(stored))) throw corrupt(dir, `${what()} fails its checksum`);
  const createRevision = bytes.readUIntBE(4, 6);
  return { check, createRevision, modRevision: bytes.readUIntBE(10, 6), value: bytes.subarray(HEADER) };
}

const toEntry = (key: string, { value, createRevision, modRevision }: Record): KvEntry => ({
  key,
  value,
  createRevision,
  modRevision,
});

const encodeState = (generation: Generation, totals: Totals): Buffer => encode(STATE, 0, generation, Buffer.from(JSON.stringify(totals)));

/** What `encode` would have at the head of the record. */
function checkOf(stored: Buffer, { createRevision, modRevision, value }: Pick<Record, "createRevision" | "modRevision" | "value">): number {
  const revisions = Buffer.allocUnsafe(12);
  revisions.writeUIntBE(createRevision, 0, 6);
  revisions.writeUIntBE(modRevision, 6, 6);
  return crc32(value, crc32(revisions, crc32(stored)));
}

function entryKey(first: Generation): Buffer {
  const key = Buffer.allocUnsafe(7);
  key[0] = AFTER[0]!;
  key.writeUIntBE(first, 1, 6);
  return key;
}

function entryOf(dir: string, key: Buffer, bytes: Buffer): LogCommit[] {
  const first = key.readUIntBE(1, 6);
  const { value } = decode(dir, key, bytes, () => `the entry of generation ${first}`);
  try {
    return decodeEntry(first, value);
  } catch (error) {
    throw corrupt(dir, `the entry of generation ${first} cannot be read: ${(error as Error).message}`, error);
  }
}

/** What several commits come to, for each key. */
function netOf(commits: readonly LogCommit[]): ReadonlyMap<string, { readonly before: LogCommit["changes"][number]["before"]; readonly now: KvEntry | undefined }> {
  const net = new Map<string, { readonly before: LogCommit["changes"][number]["before"]; readonly now: KvEntry | undefined }>();
  for (const { generation, changes } of commits) {
    for (const { key, before, after } of changes) {
      const now = after === undefined ? undefined : { key, value: after, createRevision: before?.createRevision ?? generation, modRevision: generation };
      const earlier = net.get(key);
      net.set(key, { before: earlier === undefined ? before : earlier.before, now });
    }
  }
  return net;
}

/** Makes the directory. */
async function prepare(dir: string): Promise<void> {
  try {
    const made = await mkdir(dir, { recursive: true });
    if (made !== undefined) for (let at = dir; at.length >= made.length; at = dirname(at)) await syncDirectory(dirname(at));
  } catch (cause) {
    throw new StoreError("IO", `cannot use ${dir}: ${(cause as Error).message}`, { dir }, cause);
  }
}

async function syncDirectory(dir: string): Promise<void> {
  const handle = await openFile(dir, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

interface Loaded {
  readonly generation: Generation;
  readonly totals: Totals;
  readonly tail: Tail;
  readonly witness: Witness;
}

/** `expected`: the generation that its files have. */
async function load(dir: string, db: Db, keep: Keep, expected: Generation): Promise<Loaded> {
  const format = (await db.get(FORMAT)) as Buffer | undefined;
  if (format === undefined) {
    if ((await db.keys({ limit: 1 }).all()).length > 0) throw corrupt(dir, "it is a LevelDB database of something else");
    return begin(dir, db, 0, { records: 0, check: 0 }, keep);
  }
  const version = /^axion-store (\d+)$/.exec(format.toString("latin1"))?.[1];
  if (version === undefined) throw corrupt(dir, "it is a LevelDB database of something else");
  if (Number(version) > FORMAT_VERSION) {
    const text = `${dir} has store format ${version}, this version reads ${FORMAT_VERSION}`;
    throw new StoreError("UNSUPPORTED", text, { dir, limit: FORMAT_VERSION, actual: Number(version) });
  }
  const bytes = (await db.get(STATE)) as Buffer | undefined;
  if (bytes === undefined) throw corrupt(dir, "its state record is missing");
  const state = decode(dir, STATE, bytes);
  const said = JSON.parse(state.value.toString()) as Totals;
  const found = await count(dir, db, state.modRevision);
  if (found.records !== said.records || found.check !== said.check) {
    throw corrupt(dir, `it has ${found.records} records of ${said.records}, or some are older than their last write`);
  }
  const generation = state.modRevision;
  if (generation !== expected) throw corrupt(dir, `its files have generation ${expected}, LevelDB finds ${generation}`);
  if (Number(version) === 1) return begin(dir, db, generation, found, keep);
  const tail = await readTail(dir, db, said.oldest, generation, keep);
  return { generation, totals: said, tail, witness: await Witness.begin(dir, { generation, check: said.check, id: said.id }) };
}

/** A new store, or one whose rows have no log yet. */
async function begin(dir: string, db: Db, generation: Generation, { records, check }: Pick<Totals, "records" | "check">, keep: Keep): Promise<Loaded> {
  const totals: Totals = { id: randomUUID(), records, check, oldest: generation + 1 };
  // First: a store of this format without a witness has lost it.
  const witness = await Witness.begin(dir, { generation, check, id: totals.id });
  const batch = [
    { type: "put" as const, key: FORMAT, value: Buffer.from(`axion-store ${FORMAT_VERSION}`) },
    { type: "put" as const, key: STATE, value: encodeState(generation, totals) },
  ];
  await db.batch(batch, { sync: true });
  return { generation, totals, tail: new Tail(keep), witness };
}

/** Reads the log: no generation may be missing in it. */
async function readTail(dir: string, db: Db, oldest: Generation, generation: Generation, keep: Keep): Promise<Tail> {
  const tail = new Tail(keep);
  let next = oldest;
  const iterator = db.iterator({ gte: entryKey(oldest), lt: END, highWaterMarkBytes: PAGE_BYTES });
  try {
    for (;;) {
      const page = await iterator.nextv(READ_PAGE);
      if (page.length === 0) break;
      for (const [key, bytes] of page) {
        const first = key.readUIntBE(1, 6);
        if (first !== next) throw corrupt(dir, `its log lacks generation ${next}`);
        const { value } = decode(dir, key, bytes, () => `the entry of generation ${first}`);
        next += countEntry(value);
        tail.add(first, next, timeOfEntry(value), bytes.length);
      }
    }
  } finally {
    await iterator.close();
  }
  if (next !== generation + 1) throw corrupt(dir, `its log ends with generation ${next - 1}, its rows are of ${generation}`);
  return tail;
}

async function count(dir: string, db: Db, revision: number): Promise<Pick<Totals, "records" | "check">> {
  let records = 0;
  let check = 0;
  const iterator = db.iterator({ gte: FIRST, lt: AFTER, highWaterMarkBytes: PAGE_BYTES });
  try {
    for (;;) {
      const page = await iterator.nextv(PAGE);
      if (page.length === 0) return { records, check };
      for (const [stored, bytes] of page) {
        const record = decode(dir, stored, bytes);
        if (record.modRevision > revision) throw corrupt(dir, "a record is newer than the store's revision");
        records++;
        check = modulo32(check + record.check);
      }
      // A lookup goes through filters and indexes that reading in order does not; damage there hides records from it.
      const reached = await db.hasMany(page.map(([stored]) => stored));
      if (reached.includes(false)) throw corrupt(dir, "a lookup misses a record that is there");
    }
  } finally {
    await iterator.close();
  }
}

/** LevelDB's error as ours; the reason for a failed open is in its `cause`. */
async function explain(dir: string, error: unknown): Promise<StoreError> {
  if (error instanceof StoreError) return error;
  const { code, cause } = error as { code?: string; cause?: unknown };
  if (code === "LEVEL_DATABASE_NOT_OPEN" && cause !== undefined) return explain(dir, cause);
  const { message } = error as Error;
  switch (code) {
    case "LEVEL_LOCKED":
      return locked(dir, await lockHolder(dir), error);
    case "LEVEL_CORRUPTION":
      return corrupt(dir, message, error);
    case "LEVEL_DATABASE_NOT_OPEN":
    case "LEVEL_ITERATOR_NOT_OPEN":
    case "LEVEL_SNAPSHOT_NOT_OPEN":
      return new StoreError("CLOSED", "the store is closed", { dir }, error);
    default:
      // LevelDB's words for: made with another comparator; a file it lists is absent; a file of no bytes.
      if (/^Invalid argument|: No such file or directory$|: Invalid argument$/.test(message)) return corrupt(dir, message, error);
      return new StoreError("IO", `${dir}: ${message}`, { dir }, error);
  }
}
