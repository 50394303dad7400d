// The embedded store: LevelDB through `level`, one synced batch per group. Order and watches are commit.ts; here is the
// layout on disk, and the doubt with which a directory is opened.
//
//   00 "format"   "axion-store 1"
//   00 "state"    record: modRevision = the store's revision, value = { records, check } as JSON
//   01 <key>      record
//   record        crc32 of key and rest (4 bytes) | createRevision (6) | modRevision (6) | value
//
// LevelDB alone drops a damaged part of its journal in silence, and with it acknowledged writes. So each batch also
// writes how many records there are and the sum of their checksums, and opening reads everything once and compares.
// Before that, level-table.ts looks at the files that LevelDB would trust blindly.

import { open as openFile, mkdir, readFile, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Level } from "level";
import { CommitStore, type CommitOptions, type Group, type Head, type Storage } from "./commit.ts";
import { crc32 } from "./crc.ts";
import { StoreError } from "./errors.ts";
import type { KvEntry, KvStore, RangeOptions } from "./kv.ts";
import { tableDamage } from "./level-table.ts";
import { lockHolder } from "./lock.ts";

type Db = Level<Buffer, Buffer>;
type Snapshot = ReturnType<Db["snapshot"]>;

const FORMAT = Buffer.from("\0format");
const STATE = Buffer.from("\0state");
const FORMAT_VERSION = 1;
const FIRST = Buffer.from([1]);
const AFTER = Buffer.from([2]);
const HEADER = 16;
/** Entries, or this many bytes, fetched at once by a range. */
const PAGE = 512;
const PAGE_BYTES = 1 << 20;
/** Keys looked up at once without leaving the thread. */
const READ_NOW = 1000;
/** Keys written lately whose heads are at hand: a write compares and replaces what was written just before more than anything else. */
const LATELY = 4096;

/** What a write needs to know of the record that it replaces. */
interface Known extends Head {
  readonly check: number;
}

interface Record extends Known {
  readonly value: Buffer;
}

interface Totals {
  readonly records: number;
  /** Sum of the records' checksums, modulo 2^32. */
  readonly check: number;
}

/** A view that reads use; it is let go when a newer one is there and its last range has ended. */
interface View {
  readonly snapshot: Snapshot;
  readers: number;
  stale: boolean;
}

/** Opens or makes a store in `dir`. @throws StoreError LOCKED, CORRUPT, UNSUPPORTED (a newer format), IO. */
export async function openLevel(dir: string, options: CommitOptions = {}): Promise<KvStore> {
  const began = performance.now();
  const storage = await LevelStorage.open(dir);
  const fields = { dir, revision: storage.revision, records: storage.records, ms: Math.round(performance.now() - began) };
  options.log?.info(fields, "store open");
  return new CommitStore(storage, options);
}

export class LevelStorage implements Storage {
  readonly #dir: string;
  readonly #db: Db;
  readonly revision: number;
  #totals: Totals;
  #view: View;
  /** Checksums of what the coming write replaces. */
  readonly #replaced = new Map<string, number>();
  /** Heads of the keys written lately, undefined: deleted. When they are LATELY they become those from before, in place of the ones there. */
  #lately = new Map<string, Known | undefined>();
  #before = new Map<string, Known | undefined>();

  private constructor(dir: string, db: Db, revision: number, totals: Totals) {
    this.#dir = dir;
    this.#db = db;
    this.revision = revision;
    this.#totals = totals;
    this.#view = { snapshot: db.snapshot(), readers: 0, stale: false };
  }

  static async open(dir: string): Promise<LevelStorage> {
    await prepare(dir);
    const db: Db = new Level<Buffer, Buffer>(dir, {
      keyEncoding: "buffer",
      valueEncoding: "buffer",
      compression: false, // level-table.ts reads the blocks
      writeBufferSize: 16 << 20,
      cacheSize: 32 << 20,
    });
    try {
      await db.open();
      const { revision, totals } = await load(dir, db);
      return new LevelStorage(dir, db, revision, totals);
    } catch (error) {
      await db.close().catch(() => undefined); // the reason it did not open says more
      throw await explain(dir, error);
    }
  }

  get records(): number {
    return this.#totals.records;
  }

  async heads(keys: readonly string[]): Promise<readonly (Head | undefined)[]> {
    this.#replaced.clear();
    const heads = new Map<string, Known | undefined>();
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
        if (bytes === undefined) continue;
        const { check, createRevision, modRevision } = decode(this.#dir, stored[i]!, bytes);
        heads.set(unknown[i]!, { check, createRevision, modRevision });
      }
    }
    return keys.map((key) => {
      const head = heads.get(key);
      if (head !== undefined) this.#replaced.set(key, head.check);
      return head;
    });
  }

  // Most keys are new, which LevelDB's filters tell without the disk, or were written lately: looking them up takes a
  // fraction of the way to another thread and back, which every write would wait for.
  async #read(stored: readonly Buffer[]): Promise<readonly (Buffer | undefined)[]> {
    return stored.length <= READ_NOW ? stored.map((key) => this.#db.getSync(key)) : this.#db.getMany([...stored]);
  }

  async write(group: Group): Promise<void> {
    let { records, check } = this.#totals;
    // Not an array of operations: each would be cloned with all its options, which took as long as all else that a write does.
    const batch = this.#db.batch();
    const written = new Map<string, Known | undefined>();
    for (const [key, entry] of group.writes) {
      const stored = encodeKey(key);
      const replaced = this.#replaced.get(key);
      if (replaced !== undefined) {
        records--;
        check -= replaced;
      }
      if (entry === undefined) {
        batch.del(stored);
        written.set(key, undefined);
      } else {
        const { createRevision, modRevision } = entry;
        const value = encode(stored, createRevision, modRevision, entry.value);
        const sum = value.readUInt32BE(0);
        records++;
        check += sum;
        batch.put(stored, value);
        written.set(key, { check: sum, createRevision, modRevision });
      }
    }
    const totals: Totals = { records, check: modulo32(check) };
    batch.put(STATE, encodeState(group.revision, totals));
    await this.#guard(batch.write({ sync: true }));
    this.#totals = totals;
    if (this.#lately.size + written.size > LATELY) {
      this.#before = this.#lately;
      this.#lately = written;
    } else for (const [key, known] of written) this.#lately.set(key, known);
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

  close(): Promise<void> {
    return this.#guard(this.#db.close());
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

function decode(dir: string, stored: Buffer, bytes: Buffer): Record {
  const check = bytes.length < HEADER ? -1 : bytes.readUInt32BE(0);
  if (check !== crc32(bytes.subarray(4), crc32(stored))) {
    throw corrupt(dir, `the record of ${JSON.stringify(stored.toString("utf8", 1))} fails its checksum`);
  }
  const createRevision = bytes.readUIntBE(4, 6);
  return { check, createRevision, modRevision: bytes.readUIntBE(10, 6), value: bytes.subarray(HEADER) };
}

const toEntry = (key: string, { value, createRevision, modRevision }: Record): KvEntry => ({
  key,
  value,
  createRevision,
  modRevision,
});

const encodeState = (revision: number, totals: Totals): Buffer =>
  encode(STATE, 0, revision, Buffer.from(JSON.stringify(totals)));

/** Makes the directory, or looks at what is there before LevelDB does: it takes over, and clears, what it misreads. */
async function prepare(dir: string): Promise<void> {
  let names: string[];
  try {
    const made = await mkdir(dir, { recursive: true });
    if (made !== undefined) for (let at = dir; at.length >= made.length; at = dirname(at)) await syncDirectory(dirname(at));
    names = await readdir(dir);
  } catch (cause) {
    throw new StoreError("IO", `cannot use ${dir}: ${(cause as Error).message}`, { dir }, cause);
  }
  const current = names.includes("CURRENT") ? await readFile(join(dir, "CURRENT"), "latin1").catch(() => "") : undefined;
  if (current === undefined) {
    // Empty, or the leftovers of a first start that was killed; anything else was never ours or has lost its root.
    const other = names.find((name) => !/^(LOCK|LOG|LOG\.old|MANIFEST-000001|000001\.dbtmp)$/.test(name));
    if (other !== undefined) throw corrupt(dir, `it holds ${JSON.stringify(other)} but no CURRENT file`);
  } else if (current !== "MANIFEST-000001\n" && !names.some((name) => name.endsWith(".log"))) {
    throw corrupt(dir, "its journal (*.log) is missing; it is data, not a log of events");
  }
  for (const name of names.filter((one) => one.endsWith(".ldb"))) {
    const file = await readFile(join(dir, name)).catch(() => undefined); // one that goes away belongs to a live process
    const damage = file === undefined ? undefined : tableDamage(file);
    if (damage !== undefined) throw corrupt(dir, `${name} has ${damage}`);
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

async function load(dir: string, db: Db): Promise<{ revision: number; totals: Totals }> {
  const format = (await db.get(FORMAT)) as Buffer | undefined;
  if (format === undefined) {
    if ((await db.keys({ limit: 1 }).all()).length > 0) throw corrupt(dir, "it is a LevelDB database of something else");
    const totals: Totals = { records: 0, check: 0 };
    const made = Buffer.from(`axion-store ${FORMAT_VERSION}`);
    const batch = [
      { type: "put" as const, key: FORMAT, value: made },
      { type: "put" as const, key: STATE, value: encodeState(0, totals) },
    ];
    await db.batch(batch, { sync: true });
    return { revision: 0, totals };
  }
  const version = /^axion-store (\d+)$/.exec(format.toString("latin1"))?.[1];
  if (version === undefined) throw corrupt(dir, "it is a LevelDB database of something else");
  if (Number(version) !== FORMAT_VERSION) {
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
  return { revision: state.modRevision, totals: said };
}

async function count(dir: string, db: Db, revision: number): Promise<Totals> {
  let records = 0;
  let check = 0;
  const iterator = db.iterator({ gte: FIRST, highWaterMarkBytes: PAGE_BYTES });
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

const corrupt = (dir: string, why: string, cause?: unknown): StoreError =>
  new StoreError("CORRUPT", `${dir} is not a sound store: ${why}`, { dir }, cause);

/** LevelDB's error as ours; the reason for a failed open is in its `cause`. */
async function explain(dir: string, error: unknown): Promise<StoreError> {
  if (error instanceof StoreError) return error;
  const { code, cause } = error as { code?: string; cause?: unknown };
  if (code === "LEVEL_DATABASE_NOT_OPEN" && cause !== undefined) return explain(dir, cause);
  const { message } = error as Error;
  switch (code) {
    case "LEVEL_LOCKED": {
      const pid = await lockHolder(dir);
      const who = pid === undefined ? "another process" : pid === process.pid ? "this process" : `process ${pid}`;
      const text = `${dir} is in use by ${who}: one controller per data directory`;
      return new StoreError("LOCKED", text, pid === undefined ? { dir } : { dir, pid }, error);
    }
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
