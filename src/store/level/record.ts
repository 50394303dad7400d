// Records of the level store as bytes: rows, entries of the log, the state. The layout is in level.ts.
import { crc32 } from "./crc.ts";
import { corrupt, STATE } from "./files.ts";
import type { KvEntry } from "../kv.ts";
import { countEntry, decodeEntry, undoEntry, type EntryCommit, type Generation, type LogCommit } from "../log.ts";

export const FORMAT = Buffer.from("\0format");
export const FORMAT_VERSION = 3;
export const FIRST = Buffer.from([1]);
/** After all rows, before all entries. */
export const AFTER = Buffer.from([2]);
export const NEXT = Buffer.from([3]);
/** After all. */
export const END = Buffer.from([4]);
const HEADER = 16;

export interface Record {
  readonly check: number;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly value: Buffer;
}

type Version = Pick<Record, "createRevision" | "modRevision"> & { readonly value: Uint8Array };

export interface Totals {
  /** Of the store: tells it from another one in its place. */
  readonly id: string;
  readonly records: number;
  /** Sum of the records' checksums, modulo 2^32. */
  readonly check: number;
  /** First generation of the log that is kept. */
  readonly oldest: Generation;
}

export const encodeKey = (key: string): Buffer => {
  const stored = Buffer.allocUnsafe(FIRST.length + Buffer.byteLength(key));
  stored[0] = FIRST[0]!;
  stored.write(key, FIRST.length);
  return stored;
};

export const modulo32 = (sum: number): number => ((sum % 0x1_0000_0000) + 0x1_0000_0000) % 0x1_0000_0000;

/** Bytes of key and record as the checksum is of them: one after the other, so that it is asked for once. The record is at `from`, its checksum yet to be written. */
function laid(stored: Buffer, { createRevision, modRevision, value }: Version): { readonly bytes: Buffer; readonly from: number; readonly check: number } {
  const start = Math.max(0, 4 - stored.length);
  const at = start + stored.length;
  const bytes = Buffer.allocUnsafe(at + HEADER - 4 + value.length);
  bytes.set(stored, start);
  bytes.writeUIntBE(createRevision, at, 6);
  bytes.writeUIntBE(modRevision, at + 6, 6);
  bytes.set(value, at + HEADER - 4);
  return { bytes, from: at - 4, check: crc32(start === 0 ? bytes : bytes.subarray(start)) };
}

export function encode(stored: Buffer, createRevision: number, modRevision: number, value: Uint8Array): Buffer {
  const { bytes, from, check } = laid(stored, { createRevision, modRevision, value });
  bytes.writeUInt32BE(check, from);
  return bytes.subarray(from);
}

export function decode(dir: string, stored: Buffer, bytes: Buffer, what = () => `the record of ${JSON.stringify(stored.toString("utf8", 1))}`): Record {
  const check = bytes.length < HEADER ? -1 : bytes.readUInt32BE(0);
  if (check !== crc32(bytes.subarray(4), crc32(stored))) throw corrupt(dir, `${what()} fails its checksum`);
  const createRevision = bytes.readUIntBE(4, 6);
  return { check, createRevision, modRevision: bytes.readUIntBE(10, 6), value: bytes.subarray(HEADER) };
}

export const toEntry = (key: string, { value, createRevision, modRevision }: Record): KvEntry => ({
  key,
  value,
  createRevision,
  modRevision,
});

/** As JSON; the id is a UUID. */
export const encodeState = (generation: Generation, totals: Totals): Buffer => encode(STATE, 0, generation, Buffer.from(`{"id":"${totals.id}","records":${totals.records},"check":${totals.check},"oldest":${totals.oldest}}`));

/** What `encode` would have at the head of the record. */
export const checkOf = (stored: Buffer, version: Version): number => laid(stored, version).check;

export function entryKey(first: Generation): Buffer {
  const key = Buffer.allocUnsafe(7);
  key[0] = AFTER[0]!;
  key.writeUIntBE(first, 1, 6);
  return key;
}

export const entryOf = (dir: string, key: Buffer, bytes: Buffer): EntryCommit[] => entryRead(dir, key, bytes, decodeEntry);

function entryRead<T>(dir: string, key: Buffer, bytes: Buffer, read: (first: Generation, entry: Buffer) => T): T {
  const first = key.readUIntBE(1, 6);
  const { value } = decode(dir, key, bytes, () => `the entry of generation ${first}`);
  try {
    return read(first, value);
  } catch (error) {
    throw corrupt(dir, `the entry of generation ${first} cannot be read: ${(error as Error).message}`, error);
  }
}

/** Of an entry, what keys were before its commits; `end` is the generation after its last one. @throws StoreError CORRUPT */
export function undoneBy(dir: string, key: Buffer, bytes: Buffer, { from, to, seen, part }: { readonly from: Generation; readonly to: Generation; readonly seen: Set<string>; readonly part: Map<string, Buffer | undefined> }): { readonly first: Generation; readonly end: Generation } {
  return entryRead(dir, key, bytes, (first, value) => {
    undoEntry(first, value, { from, to, seen, into: part });
    return { first, end: first + countEntry(value) };
  });
}

/** A row as it was written, with its checksum once it is known. */
export interface Head extends KvEntry {
  check: number;
}

interface Net {
  readonly before: LogCommit["changes"][number]["before"];
  readonly now: Head | undefined;
}

/** What several commits come to, for each key. */
export function netOf(commits: readonly LogCommit[]): ReadonlyMap<string, Net> {
  const net = new Map<string, Net>();
  for (const { generation, changes } of commits) {
    for (const { key, before, after } of changes) {
      const now = after === undefined ? undefined : { key, value: after, createRevision: before?.createRevision ?? generation, modRevision: generation, check: 0 };
      const earlier = net.get(key);
      net.set(key, { before: earlier === undefined ? before : earlier.before, now });
    }
  }
  return net;
}
