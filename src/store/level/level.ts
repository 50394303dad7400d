// The embedded store: LevelDB through `level`, one synced batch per group. Order and watches are commit.ts; here is the
// layout on disk, and the doubt with which a directory is opened.
//
//   00 "format"        "axion-store 3"
//   00 "state"         record: modRevision = the generation, value = { id, records, check, oldest } as JSON
//   01 <key>           record: a row as it is now
//   02 <generation>    record: an entry of the log (log.ts) whose first commit has that generation (6 bytes)
//   03 <generation> <key>   the entry (6 bytes) that has, as before, what the key became in that generation; none: the row is still that
//   record             crc32 of key and rest (4 bytes) | createRevision (6) | modRevision (6) | value
//
// LevelDB alone drops a damaged part of its journal in silence, and with it acknowledged writes. So each batch also
// writes how many rows there are and the sum of their checksums, and opening reads everything once and compares.
// Before that, files.ts looks at the files that LevelDB would trust blindly, and witness.ts knows what was acknowledged.
//
// A store of format 1 is one without a log: it is taken over when all of it was read. One of format 2 has entries with what rows became.

import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { Level } from "level";
import { syncPath } from "../sync.ts";
import { CommitStore, type CommitOptions, type Storage } from "../commit.ts";
import { compacted, StoreError } from "../errors.ts";
import { complete, nextFrom, nextKey, nextValue } from "./became.ts";
import { corrupt, inspect, judge, locked, STATE } from "./files.ts";
import type { KvEntry, KvStore, RangeOptions } from "../kv.ts";
import { fill, load, PAGE, PAGE_BYTES, READ_PAGE, type Db, type Loaded } from "./load.ts";
import { AFTER, checkOf, decode, encode, encodeKey, encodeState, END, entryKey, entryOf, FIRST, modulo32, netOf, NEXT, toEntry, undoneBy, type Head, type Totals } from "./record.ts";
import { checkOrder, encodeEntry, KEEP, type Conflict, type EntryCommit, type Generation, type LogCommit, type ReadOptions, type Tail, type Undone } from "../log.ts";
import { lockHolder } from "./lock.ts";
import type { Witness } from "./witness.ts";

type Snapshot = ReturnType<Db["snapshot"]>;

/** Entries of the log that a reader gets at first, in case that is all it wants; then ever more, up to READ_PAGE. */
const FIRST_READ = 4;
/** Keys looked up at once without leaving the thread. */
const READ_NOW = 1000;
/** Keys written lately, and bytes of their values, that are at hand: a write compares and replaces what was written just before more than anything else. */
const LATELY = 4096;
const LATELY_BYTES = 8 << 20;

/** A view that reads use; it is let go when a newer one is there and its last range has ended. */
interface View {
  readonly snapshot: Snapshot;
  readers: number;
  stale: boolean;
}

export interface LevelOptions extends CommitOptions {
  readonly acceptLoss?: Generation | undefined;
  /** false: one of an older format, or an empty one, is refused instead of made one of this. */
  readonly takeOver?: boolean;
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
  writtenBytes = 0;
  #view: View;
  /** Keys written lately, undefined: deleted. When they are LATELY they become those from before, in place of the ones there. */
  #lately = new Map<string, Head | undefined>();
  #latelyBytes = 0;
  #before = new Map<string, Head | undefined>();
  #clearing: Promise<unknown> = Promise.resolve();

  private constructor(dir: string, db: Db, { generation, totals, tail, witness }: Loaded) {
    this.#dir = dir;
    this.#db = db;
    this.#tail = tail;
    this.#witness = witness;
    this.#generation = generation;
    this.#totals = totals;
    this.#view = { snapshot: db.snapshot(), readers: 0, stale: false };
  }

  static async open(dir: string, { keep = KEEP, acceptLoss, takeOver = true, log }: LevelOptions = {}): Promise<LevelStorage> {
    await prepare(dir);
    const inspection = await inspect(dir);
    const accepted = await judge(dir, inspection, acceptLoss);
    if (accepted !== undefined) log?.error({ dir, ...accepted }, "a loss of acknowledged changes is accepted");
    const db = database(dir);
    try {
      await db.open();
      return new LevelStorage(dir, db, await load(dir, db, keep, inspection.state?.generation ?? 0, takeOver));
    } catch (error) {
      await db.close().catch(() => undefined); // the reason it did not open says more
      throw await explain(dir, error);
    }
  }

  /** Makes a store of these rows where there is none. @throws StoreError IO, LOCKED */
  static async make(dir: string, generation: Generation, rows: AsyncIterable<KvEntry>): Promise<void> {
    await prepare(dir);
    const db = database(dir);
    try {
      await db.open();
      await fill(dir, db, generation, rows);
    } catch (error) {
      throw error instanceof Error && "code" in error ? await explain(dir, error) : error;
    } finally {
      await db.close().catch(() => undefined); // what failed says more
    }
  }

  get generation(): Generation {
    return this.#generation;
  }

  get oldest(): Generation {
    return this.#totals.oldest;
  }

  get logBytes(): number {
    return this.#tail.bytes;
  }

  get records(): number {
    return this.#totals.records;
  }

  async heads(keys: readonly string[]): Promise<readonly (KvEntry | undefined)[]> {
    const heads = new Array<KvEntry | undefined>(keys.length);
    const unknown: number[] = [];
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!;
      const lately = (heads[i] = this.#lately.get(key));
      if (lately !== undefined || this.#lately.has(key)) continue;
      const before = (heads[i] = this.#before.get(key));
      if (before === undefined && !this.#before.has(key)) unknown.push(i);
    }
    if (unknown.length === 0) return heads;
    const stored = unknown.map((i) => encodeKey(keys[i]!));
    const found = await this.#guard(this.#read(stored));
    for (const [at, bytes] of found.entries()) {
      const i = unknown[at]!;
      if (bytes !== undefined) heads[i] = toEntry(keys[i]!, decode(this.#dir, stored[at]!, bytes));
    }
    return heads;
  }

  // Keys that are not there LevelDB's filters tell without the disk, others were written lately: looking them up takes a
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
        const head = this.#lately.get(key) ?? this.#before.get(key);
        check -= head?.modRevision === before.modRevision ? head.check : checkOf(stored, before);
        // Of an older one nobody can ask what followed.
        if (before.modRevision >= oldest) batch.put(nextKey(before.modRevision, key), nextValue(after + 1));
      }
      if (now === undefined) batch.del(stored);
      else {
        const value = encode(stored, now.createRevision, now.modRevision, now.value);
        records++;
        now.check = value.readUInt32BE(0);
        check += now.check;
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
    this.#totals = totals;
    this.#generation = generation;
    if (due !== undefined) this.#dropped(due.next);
    this.writtenBytes += entry.length;
    this.#witness.say({ generation, check: totals.check, id: totals.id });
    this.#remember(written);
    return generation;
  }

  /** Notes of what followed are taken away later: of what is let go of nobody asks, and opening takes away what is left of them. */
  #dropped(oldest: Generation): void {
    this.#tail.drop();
    this.#clearing = this.#clearing.then(() => this.#db.clear({ gte: NEXT, lt: nextFrom(oldest) })).catch(() => undefined);
  }

  #letGo(batch: ReturnType<Db["batch"]>, { first, next }: { readonly first: Generation; readonly next: Generation }): Generation {
    // Which of them begin an entry is not known; to delete what is not there costs a few bytes.
    for (let at = first; at < next; at++) batch.del(entryKey(at));
    return next;
  }

  #remember(written: ReadonlyMap<string, { readonly now: Head | undefined }>): void {
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

  async *read(from: Generation, { undo = false }: ReadOptions = {}): AsyncGenerator<LogCommit> {
    const end = this.#generation;
    let next = from;
    for await (const { page, snapshot } of this.#entries(from, FIRST_READ)) {
      const commits: EntryCommit[] = [];
      for (const [key, bytes] of page) for (const commit of entryOf(this.#dir, key, bytes)) if (commit.generation >= next && commit.generation <= end) commits.push(commit);
      if (!undo) await this.#guard(complete(this.#dir, this.#db, snapshot, commits));
      for (const { changes, ...commit } of commits) {
        // It was let go of while it was read.
        if (commit.generation !== next++) throw compacted(next - 1, this.oldest);
        yield { ...commit, changes: changes.map(({ key, before, after }) => ({ key, before, after })) };
      }
      if (next > end) return;
    }
  }

  async *undo(from: Generation, to: Generation): AsyncGenerator<Undone> {
    const seen = new Set<string>();
    let next = from;
    for await (const { page } of this.#entries(from, READ_PAGE)) {
      const part = new Map<string, Buffer | undefined>();
      for (const [key, bytes] of page) {
        if (next > to) break;
        const { first, end } = undoneBy(this.#dir, key, bytes, { from, to, seen, part });
        if (first > next) throw compacted(next, this.oldest);
        next = end;
      }
      yield part;
      if (next > to) return;
    }
  }

  /** Entries of the log in pages, the one first that has the commit: of one instant. @throws StoreError COMPACTED, IO */
  async *#entries(from: Generation, size: number): AsyncGenerator<{ readonly page: readonly (readonly [Buffer, Buffer])[]; readonly snapshot: Snapshot }> {
    if (from < this.oldest) throw compacted(from, this.oldest);
    const snapshot = this.#db.snapshot();
    try {
      // An entry has the generation of its first commit for its key: the one that has `from` may begin before it.
      const [at] = await this.#guard(this.#db.keys({ gte: AFTER, lte: entryKey(from), reverse: true, limit: 1, snapshot }).all());
      const iterator = this.#db.iterator({ gte: at ?? AFTER, lt: NEXT, highWaterMarkBytes: PAGE_BYTES, snapshot });
      try {
        for (let most = size; ; most = Math.min(2 * most, READ_PAGE)) {
          const page = await this.#guard(iterator.nextv(most));
          if (page.length === 0) return;
          yield { page, snapshot };
        }
      } finally {
        await iterator.close();
      }
    } finally {
      await snapshot.close();
    }
  }

  async checkpoint(): Promise<void> {
    for (let due = this.#tail.due(Date.now()); due !== undefined; due = this.#tail.due(Date.now())) {
      const batch = this.#db.batch();
      const totals: Totals = { ...this.#totals, oldest: this.#letGo(batch, due) };
      batch.put(STATE, encodeState(this.#generation, totals));
      await this.#guard(batch.write({ sync: true }));
      this.#totals = totals;
      this.#dropped(due.next);
    }
    await this.#clearing;
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
    await this.#clearing;
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

const database = (dir: string): Db =>
  new Level<Buffer, Buffer>(dir, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
    compression: false, // table.ts reads the blocks
    // The log is written beside the rows: as many calls as before between two tables, which are what writing costs most.
    writeBufferSize: 32 << 20,
    cacheSize: 32 << 20,
  }) as Db;

function release(view: View): void {
  // Closing the database closes it too: a range that nobody ends cannot hold up close().
  if (view.stale && view.readers === 0) void view.snapshot.close();
}

/** Makes the directory. */
async function prepare(dir: string): Promise<void> {
  try {
    const made = await mkdir(dir, { recursive: true });
    if (made !== undefined) for (let at = dir; at.length >= made.length; at = dirname(at)) await syncPath(dirname(at));
  } catch (cause) {
    throw new StoreError("IO", `cannot use ${dir}: ${(cause as Error).message}`, { dir }, cause);
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
