// The store's one interface: an ordered key-value store with revisions, atomic conditional writes and a watch. It is
// etcd v3's model (revision, mod_revision, txn with compares, watch); the backends are memory.ts, level/ and etcd/, and commit.ts is
// what they share. On etcd several stores may write: a txn is decided on what its store has heard of, and once more if that was not all. Tables, rows and indexes are not known at this level.
//
// Buffers handed out (values, events) are shared: read them, do not write to them.

import { StoreError } from "./errors.ts";
import type { LogCommit, ReadOptions, Undone } from "./log.ts";

export interface KvEntry {
  readonly key: string;
  readonly value: Buffer;
  /** Revision that made the key; a delete forgets it. */
  readonly createRevision: number;
  /** Revision that last wrote the key. */
  readonly modRevision: number;
}

/** Holds when the key was last written by exactly this revision; 0 = the key must be absent. */
export interface Compare {
  readonly key: string;
  readonly modRevision: number;
}

/** `fresh`, in a draft alone: the writer knows that the key is not there, so it is not looked up. Where it is, the store would miscount its rows. */
export type KvOp = { readonly put: string; readonly value: Buffer; readonly fresh?: boolean } | { readonly delete: string };

export interface KvEvent {
  readonly key: string;
  /** Absent = deleted. */
  readonly value?: Buffer;
  readonly modRevision: number;
}

/** `failed` is the key of the first compare that did not hold; `revision` is the store's at that point of the order. */
export type TxnResult =
  | { readonly ok: true; readonly revision: number }
  | { readonly ok: false; readonly failed: string; readonly revision: number };

/** What one call writes. */
export interface Draft {
  readonly ops: readonly KvOp[];
  /** What the history says of it, besides what changed. */
  readonly note?: string;
  /** When, in ms since 1970; default: now. */
  readonly at?: number;
}

/** `revisions`: of each draft; of one that changes nothing, the one before it. `revision`: the newest, when it was another than `after`. */
export type AppendResult = { readonly ok: true; readonly revisions: readonly number[] } | { readonly ok: false; readonly revision: number };

/**
 * `writer`, `note`: who appended it and what it says of it, "" if that was not said. Where what was between is not known any more, one revision
 * has all that came of it, each event with the revision that last wrote its key.
 */
export type OnEvents = (revision: number, events: readonly KvEvent[], writer: string, note: string) => void;

export interface KvWatcher {
  close(): void;
}

export interface RangeOptions {
  /** First key. */
  readonly start: string;
  /** Exclusive; "" = to the last key. */
  readonly end: string;
  readonly limit?: number;
  readonly reverse?: boolean;
}

export interface WatchOptions {
  readonly prefix: string;
  /** First revision wanted; without it, the ones after the current. May lie in the future. */
  readonly fromRevision?: number;
}

export interface StoreStats {
  /** Txns answered, refused compares included. */
  readonly txns: number;
  /** Groups written to disk, one sync each. */
  readonly batches: number;
  /** Most txns that shared one sync. */
  readonly largestGroup: number;
  readonly waiting: number;
  readonly watchers: number;
  readonly historyRevisions: number;
  readonly historyBytes: number;
  /** Bytes of the log that is kept, and of all entries written since the start. */
  readonly logBytes: number;
  readonly writtenBytes: number;
}

export interface KvStore {
  /** Last durable revision; grows by one with each txn that changes something. 0 = never written. */
  readonly revision: number;
  /** The key at `revision`. */
  get(key: string): Promise<KvEntry | undefined>;
  /**
   * Ordered by the UTF-8 bytes of the key. One state throughout: the one of `revision` when iteration begins. So
   * `const from = store.revision + 1`, the loop, then `watch({ fromRevision: from })` misses and repeats nothing.
   */
  range(options: RangeOptions): AsyncIterable<KvEntry>;
  /**
   * Atomic; on disk once resolved. Txns take effect in the order of the calls. One that changes nothing (no ops, or only
   * deletes of absent keys) keeps the revision. @throws StoreError TOO_LARGE, IO, CLOSED, UNAVAILABLE (not now; it may come about
   * nevertheless, and is then told like another's); TypeError for a bad key or a
   * key written twice.
   */
  txn(compares: readonly Compare[], ops: readonly KvOp[]): Promise<TxnResult>;
  /**
   * Several calls at once, each with a revision of its own, one after the other, if `after` is still the newest revision; all of them or none,
   * on disk once resolved. Buffers and lists that are given are the store's from then on. @throws as `txn`
   */
  append(after: number, drafts: readonly Draft[], writer?: string): Promise<AppendResult>;
  /** Where others write as well: they are asked to wait for the next write, for a moment. For who came second again and again. */
  goFirst(): Promise<void>;
  /** The oldest revision that `history` has; `revision + 1` when it has none. */
  readonly oldest: number;
  /** Kept commits from a revision on, up to the newest. @throws StoreError COMPACTED */
  history(from: number, options?: ReadOptions): AsyncIterable<LogCommit>;
  /** What keys were before the commits from one revision to another, and to the newest at most: each key once, in parts. @throws StoreError COMPACTED */
  undo(from: number, to: number): AsyncIterable<Undone>;
  /** Lets go of what need not be kept any more. */
  checkpoint(): Promise<void>;
  /**
   * Whole revisions (the events under the prefix), in order, only after they are on disk and before their txn resolves;
   * never from within this call. After `onError` (COMPACTED, IO) nothing more comes. Closing the store ends it silently.
   */
  watch(options: WatchOptions, onEvents: OnEvents, onError: (error: StoreError) => void): KvWatcher;
  stats(): StoreStats;
  /** Why it cannot be written to at present, or any more. */
  readonly trouble: string | undefined;
  /** Finishes the txns already accepted, then releases the directory. */
  close(): Promise<void>;
}

export interface StoreLog {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

const KiB = 1024;
const MiB = 1024 * KiB;

/** Bytes, except the counts in `txnOps`, `groupOps` and `historyRevisions`. */
export const LIMITS = {
  key: 4 * KiB,
  value: 4 * MiB,
  /** Characters of a draft's note. */
  note: 64 * KiB,
  /** Ops, and compares, in one txn or draft. */
  txnOps: 10_000,
  /** Keys and values of one txn together. */
  txn: 64 * MiB,
  /** A group takes waiting txns until it reaches one of these; it always takes one. */
  groupOps: 20_000,
  group: 16 * MiB,
  /** Kept for watches that start in the past: whichever is reached first. */
  historyRevisions: 10_000,
  history: 64 * MiB,
} as const;

const LONE_SURROGATE = /\p{Surrogate}/u;

/** Bytes of a key that may be stored. @throws TypeError when empty or not text, StoreError TOO_LARGE. */
export function checkKey(key: string): number {
  if (isAscii(key) && key.length <= LIMITS.key && key !== "") return key.length;
  // A lone surrogate would become U+FFFD on disk: two keys, one record.
  if (key === "" || LONE_SURROGATE.test(key)) throw new TypeError(`not a key: ${JSON.stringify(key)}`);
  const size = Buffer.byteLength(key);
  if (size > LIMITS.key) {
    const fields = { key: key.slice(0, 64), limit: LIMITS.key, actual: size };
    throw new StoreError("TOO_LARGE", `a key of ${size} bytes, the limit is ${LIMITS.key}`, fields);
  }
  return size;
}

/** Nearly all keys are. */
function isAscii(key: string): boolean {
  for (let i = 0; i < key.length; i++) if (key.charCodeAt(i) > 0x7f) return false;
  return true;
}

// UTF-16 puts surrogates (U+10000 and up) below U+E000..U+FFFF, UTF-8 puts them above.
const rank = (unit: number): number => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit);

/** Order of the UTF-8 bytes of two strings, without encoding them. */
export function compareKeys(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** The `end` of the range of all keys that begin with the prefix; "" (no end) where there is none. */
export function prefixEnd(prefix: string): string {
  const points = Array.from(prefix);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    const point = last.codePointAt(0)!;
    if (point === 0x10ffff) continue;
    return points.join("") + String.fromCodePoint(point === 0xd7ff ? 0xe000 : point + 1);
  }
  return "";
}
