// The log of commits, and how an entry of it is written down. An entry is what one sync writes: several commits with consecutive
// generations, one for each call. State changes in the order of the log alone, and its kept tail is the history.
//
//   entry    format (1) | commits (4), each:  at, ms (6) | writer, note (4 + bytes each) | changes (4), each:
//            flags (1): 1 = before, 2 = after | key (4 + bytes) | before: createRevision (6), modRevision (6), 4 + bytes
//
// The generation of an entry's first commit is its key; numbers are big endian. What a key became is not in it: it is what the next change of
// the key has as before, or the row as it is now. So each version of a row is kept once. Entries of format 1 have it, too (after: 4 + bytes): those
// of a log without rows beside it, and of older stores.

/** A number of the log: grows by one with each commit. 0 = before the first. */
export type Generation = number;

/** A record as it was. */
export interface Was {
  readonly value: Buffer;
  readonly createRevision: Generation;
  readonly modRevision: Generation;
}

/** One key that a commit wrote; without `before` it was made, without `after` deleted. */
export interface LogChange {
  readonly key: string;
  readonly before?: Was | undefined;
  readonly after?: Buffer | undefined;
}

/** What one call wrote. */
export interface LogCommit {
  readonly generation: Generation;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Who appended it; "": not said. */
  readonly writer: string;
  /** What the writer says of it, for whoever reads the history. */
  readonly note: string;
  readonly changes: readonly LogChange[];
}

export interface ReadOptions {
  /** Only what rows were before is asked for, which costs less: `after` may be left out. */
  readonly undo?: boolean;
}

/** What keys were before some commits; undefined: there was none. */
export type Undone = ReadonlyMap<string, Buffer | undefined>;

/** Somebody was there first: the newest generation. Nothing was written. */
export interface Conflict {
  readonly conflict: Generation;
}

/**
 * What a backend is. `level` and memory keep the rows beside the log and write both at once; on a shared log the rows would be local to each reader.
 */
export interface CommitLog {
  /** Of the last commit. */
  readonly generation: Generation;
  /** First that can be read; `generation + 1` when none is kept. */
  readonly oldest: Generation;
  /**
   * Durable when resolved: all of them or none. `after` is the generation that they were decided on, and their own follow it without a gap; if
   * it is no longer the newest they conflict.
   */
  append(after: Generation, commits: readonly LogCommit[]): Promise<Generation | Conflict>;
  /** Kept commits from that generation on, as far as they go when it begins. @throws StoreError COMPACTED */
  read(from: Generation, options?: ReadOptions): AsyncIterable<LogCommit>;
  /** What keys were before the commits from one generation to another, which there are: each once, in parts. Where it is less than to read these. @throws StoreError COMPACTED */
  undo?(from: Generation, to: Generation): AsyncIterable<Undone>;
  /** Lets go of what need not be kept any more, so that opening costs what is kept. */
  checkpoint(): Promise<void>;
}

/** How much of the past is kept: what is over either goes. */
export interface Keep {
  readonly ms: number;
  /** Bytes of entries. */
  readonly bytes: number;
}

export const KEEP: Keep = { ms: 30 * 86_400_000, bytes: 1024 * 1024 * 1024 };

/** The commits must follow `after` one by one. @throws TypeError */
export function checkOrder(after: Generation, commits: readonly LogCommit[]): void {
  for (const [i, { generation }] of commits.entries()) if (generation !== after + 1 + i) throw new TypeError(`generation ${generation} does not follow ${after + i}`);
}

const FORMAT = 2;
const BEFORE = 1;
const AFTER = 2;

/** A change as an entry has it. `left`: there is an `after`, but not in the entry. */
export interface EntryChange {
  readonly key: string;
  readonly before: Was | undefined;
  after: Buffer | undefined;
  readonly left: boolean;
}

/** A commit of an entry; it is one of the log when nothing is left out of it any more. */
export interface EntryCommit extends LogCommit {
  readonly changes: readonly EntryChange[];
}

/** `whole`: with what keys became, in format 1. */
export function encodeEntry(commits: readonly LogCommit[], whole = false): Buffer {
  let size = 5;
  for (const { writer, note, changes } of commits) {
    size += 18 + Buffer.byteLength(writer) + Buffer.byteLength(note);
    for (const { key, before, after } of changes) size += 5 + Buffer.byteLength(key) + (before === undefined ? 0 : 16 + before.value.length) + (whole && after !== undefined ? 4 + after.length : 0);
  }
  const out = Buffer.allocUnsafe(size);
  out[0] = whole ? 1 : FORMAT;
  out.writeUInt32BE(commits.length, 1);
  let at = 5;
  const text = (value: string): void => {
    const length = out.write(value, at + 4);
    out.writeUInt32BE(length, at);
    at += 4 + length;
  };
  const bytes = (value: Buffer): void => {
    out.writeUInt32BE(value.length, at);
    out.set(value, at + 4);
    at += 4 + value.length;
  };
  for (const commit of commits) {
    out.writeUIntBE(commit.at, at, 6);
    at += 6;
    text(commit.writer);
    text(commit.note);
    out.writeUInt32BE(commit.changes.length, at);
    at += 4;
    for (const { key, before, after } of commit.changes) {
      out[at++] = (before === undefined ? 0 : BEFORE) | (after === undefined ? 0 : AFTER);
      text(key);
      if (before !== undefined) {
        out.writeUIntBE(before.createRevision, at, 6);
        out.writeUIntBE(before.modRevision, at + 6, 6);
        at += 12;
        bytes(before.value);
      }
      if (whole && after !== undefined) bytes(after);
    }
  }
  return out;
}

/** `first`: generation of the first commit. @throws RangeError when it is no entry */
export function decodeEntry(first: Generation, entry: Buffer): EntryCommit[] {
  let at = 5;
  const bytes = (): Buffer => {
    const end = at + 4 + entry.readUInt32BE(at);
    if (end > entry.length) throw new RangeError("an entry ends in the middle");
    const value = entry.subarray(at + 4, end);
    at = end;
    return value;
  };
  const commits: EntryCommit[] = [];
  const count = countEntry(entry);
  const whole = entry[0] === 1;
  for (let i = 0; i < count; i++) {
    const time = entry.readUIntBE(at, 6);
    at += 6;
    const writer = bytes().toString();
    const note = bytes().toString();
    const size = entry.readUInt32BE(at);
    at += 4;
    const changes: EntryChange[] = [];
    for (let c = 0; c < size; c++) {
      const flags = entry.readUInt8(at++);
      const key = bytes().toString();
      let before: Was | undefined;
      if ((flags & BEFORE) !== 0) {
        const createRevision = entry.readUIntBE(at, 6);
        const modRevision = entry.readUIntBE(at + 6, 6);
        at += 12;
        before = { value: bytes(), createRevision, modRevision };
      }
      const became = (flags & AFTER) !== 0;
      changes.push({ key, before, after: became && whole ? bytes() : undefined, left: became && !whole });
    }
    commits.push({ generation: first + i, at: time, writer, note, changes });
  }
  if (at !== entry.length) throw new RangeError("an entry has bytes behind its end");
  return commits;
}

/**
 * What keys were before commits of an entry, from one generation to another: nothing of those that are in `seen`, to which the others are added.
 * @throws RangeError when it is no entry
 */
export function undoEntry(first: Generation, entry: Buffer, { from, to, seen, into }: { readonly from: Generation; readonly to: Generation; readonly seen: Set<string>; readonly into: Map<string, Buffer | undefined> }): void {
  const count = countEntry(entry);
  const whole = entry[0] === 1;
  /** Where the bytes end whose length is there. */
  const endOf = (at: number): number => {
    const end = at + 4 + entry.readUInt32BE(at);
    if (end > entry.length) throw new RangeError("an entry ends in the middle");
    return end;
  };
  let at = 5;
  for (let generation = first; generation < first + count; generation++) {
    const asked = generation >= from && generation <= to;
    at = endOf(endOf(at + 6));
    const size = entry.readUInt32BE(at);
    at += 4;
    for (let c = 0; c < size; c++) {
      const flags = entry.readUInt8(at);
      const keyAt = at + 5;
      const keyEnd = endOf(at + 1);
      const value = (flags & BEFORE) === 0 ? 0 : keyEnd + 16;
      at = value === 0 ? keyEnd : endOf(value - 4);
      if (asked) {
        const key = entry.toString("utf8", keyAt, keyEnd);
        if (!seen.has(key)) {
          seen.add(key);
          into.set(key, value === 0 ? undefined : entry.subarray(value, at));
        }
      }
      if (whole && (flags & AFTER) !== 0) at = endOf(at);
    }
  }
  if (at !== entry.length) throw new RangeError("an entry has bytes behind its end");
}

/** The same where commits are at hand. */
export async function* undoOf(commits: AsyncIterable<LogCommit>, to: Generation): AsyncGenerator<Undone> {
  const seen = new Set<string>();
  let part = new Map<string, Buffer | undefined>();
  let n = 0;
  for await (const { generation, changes } of commits) {
    if (generation > to) break;
    for (const { key, before } of changes) {
      if (seen.has(key)) continue;
      seen.add(key);
      part.set(key, before?.value);
    }
    if (++n % UNDONE !== 0) continue;
    yield part;
    part = new Map<string, Buffer | undefined>();
  }
  yield part;
}
/** Commits of a part. */
const UNDONE = 64;

/** How many commits an entry has. @throws RangeError when it is no entry of this format or the one before */
export function countEntry(entry: Buffer): number {
  if (entry.readUInt8(0) !== FORMAT && entry[0] !== 1) throw new RangeError(`an entry of format ${entry[0]}`);
  return entry.readUInt32BE(1);
}

/** When an entry's first commit was made. */
export const timeOfEntry = (entry: Buffer): number => entry.readUIntBE(5, 6);

/** A part of the tail. `next`: generation after its last commit; `at`: when that was. */
export interface TailPart {
  readonly first: Generation;
  readonly next: Generation;
  readonly at: number;
  readonly bytes: number;
}

/** Which parts of the tail are how large and how old, so that letting go of the oldest asks for no reading. */
export class Tail {
  private readonly keep: Keep;
  private readonly parts: { first: Generation; next: Generation; at: number; bytes: number }[] = [];
  private head = 0;
  /** The next entry begins a part. */
  private ended = false;
  bytes = 0;

  constructor(keep: Keep) {
    this.keep = keep;
  }

  /** An entry at the end. `next`: generation after its last commit; `at`: when that was. */
  add(first: Generation, next: Generation, at: number, bytes: number): void {
    const last = this.parts.at(-1);
    this.bytes += bytes;
    if (last !== undefined && !this.ended && this.parts.length > this.head && last.next - last.first < PART && last.bytes < PART_BYTES) {
      last.next = next;
      last.at = at;
      last.bytes += bytes;
    } else this.parts.push({ first, next, at, bytes });
    this.ended = false;
  }

  /** Parts end here. */
  cut(): void {
    this.ended = true;
  }

  /** Takes the place of an empty one. */
  restore(parts: readonly TailPart[]): void {
    for (const part of parts) {
      this.parts.push({ ...part });
      this.bytes += part.bytes;
    }
    this.ended = true;
  }

  /** Parts that end with this generation or before it. */
  upTo(generation: Generation): TailPart[] {
    return this.parts.slice(this.head).filter(({ next }) => next <= generation + 1).map((part) => ({ ...part }));
  }

  /** Bytes of parts that go beyond a generation. */
  bytesAfter(generation: Generation): number {
    let bytes = 0;
    for (let i = this.parts.length - 1; i >= this.head && this.parts[i]!.next > generation + 1; i--) bytes += this.parts[i]!.bytes;
    return bytes;
  }

  /** First generation of the part that has this one; undefined: none has. */
  startOf(generation: Generation): Generation | undefined {
    return this.parts.slice(this.head).find(({ first, next }) => first <= generation && generation < next)?.first;
  }

  /** What was before this generation is gone. */
  forget(oldest: Generation): void {
    while (this.head < this.parts.length && this.parts[this.head]!.next <= oldest) this.drop();
    const first = this.parts[this.head];
    if (first !== undefined && first.first < oldest) first.first = oldest;
  }

  /** The oldest part if it need not be kept; the newest always is. */
  due(now: number): { readonly first: Generation; readonly next: Generation } | undefined {
    if (this.parts.length - this.head < 2) return undefined;
    const part = this.parts[this.head]!;
    return this.bytes > this.keep.bytes || part.at < now - this.keep.ms ? part : undefined;
  }

  /** What `due` gave is gone. */
  drop(): void {
    this.bytes -= this.parts[this.head++]!.bytes;
    if (this.head <= 1024 || this.head * 2 <= this.parts.length) return;
    this.parts.splice(0, this.head);
    this.head = 0;
  }
}

/** Commits, or bytes, that are let go of together. */
const PART = 256;
const PART_BYTES = 1 << 20;
