// LevelDB's journals and manifests, read without LevelDB: it drops what is damaged in them in silence, and may apply what comes after.
//
//   file     blocks of 32 KiB; a record does not begin in the last 6 bytes of one, those are zeros
//   piece    masked crc32c of type and contents (4) | length (2) | type (1): 1 whole, 2 first, 3 middle, 4 last | contents   [leveldb doc/log_format.md]
//   batch    a journal's record: sequence (8) | operations (4), each: 1 key value, or 0 key; both lengths are varints        [write_batch.cc]
//   edit     a manifest's record: fields, each with a varint tag                                                            [version_edit.cc]

import { crc32c, unmask } from "./crc.ts";
import { Reader } from "./table.ts";

const BLOCK = 32 * 1024;
const PIECE = 7;
const WHOLE = 1;
const FIRST = 2;
const LAST = 4;

export interface JournalRead {
  readonly records: readonly Buffer[];
  /** Where each begins. */
  readonly starts: readonly number[];
  /** Where the last whole record ends. */
  readonly end: number;
  /** What is wrong after that, undefined = nothing is there. */
  readonly damage: string | undefined;
  /** After the damage there are pieces that are whole: no write was cut there, something was lost in the middle. */
  readonly goesOn: boolean;
}

/** Whole records up to the first that is not. */
export function readJournal(file: Buffer): JournalRead {
  const records: Buffer[] = [];
  const starts: number[] = [];
  let parts: Buffer[] | undefined;
  let at = 0;
  let end = 0;
  for (;;) {
    const left = BLOCK - (at % BLOCK);
    if (left < PIECE) {
      const pad = file.subarray(at, at + left);
      if (pad.some((byte) => byte !== 0)) return stopped(`bytes that should be zero, at byte ${at}`);
      if (at + left > file.length) return parts === undefined ? whole() : stopped(`a record that is cut, at byte ${end}`);
      at += left;
      if (parts === undefined) end = at;
      continue;
    }
    if (at === file.length) return parts === undefined ? whole() : stopped(`a record that is cut, at byte ${end}`);
    const piece = pieceAt(file, at);
    if (typeof piece === "string") return stopped(`${piece}, at byte ${at}`);
    const { type, contents } = piece;
    if ((type === WHOLE || type === FIRST) !== (parts === undefined)) return stopped(`a piece of a record without the one before it, at byte ${at}`);
    if (parts === undefined) starts[records.length] = at;
    at += PIECE + contents.length;
    if (type === WHOLE) records.push(contents);
    else if (type === FIRST) parts = [contents];
    else {
      parts!.push(contents);
      if (type === LAST) {
        records.push(Buffer.concat(parts!));
        parts = undefined;
      }
    }
    if (parts === undefined) end = at;
  }
  function whole(): JournalRead {
    return { records, starts, end, damage: undefined, goesOn: false };
  }
  function stopped(damage: string): JournalRead {
    return { records, starts, end, damage, goesOn: goesOn(file, at) };
  }
}

function pieceAt(file: Buffer, at: number): { readonly type: number; readonly contents: Buffer } | string {
  if (at + PIECE > file.length) return "a record that is cut";
  const length = file.readUInt16LE(at + 4);
  const type = file[at + 6]!;
  const to = at + PIECE + length;
  if (type < WHOLE || type > LAST) return "no record";
  if (to > file.length) return "a record that is cut";
  if ((at % BLOCK) + PIECE + length > BLOCK) return "a record beyond its block";
  return unmask(file.readUInt32LE(at)) === crc32c(file.subarray(at + 6, to)) ? { type, contents: file.subarray(at + PIECE, to) } : "a record that fails its checksum";
}

/** Whether a whole piece is after the damage: right behind it by its length, or at the beginning of any later block. */
function goesOn(file: Buffer, at: number): boolean {
  if (at + PIECE <= file.length) {
    const next = at + PIECE + file.readUInt16LE(at + 4);
    if (Math.floor(next / BLOCK) === Math.floor(at / BLOCK) && typeof pieceAt(file, next) !== "string") return true;
  }
  for (let block = (Math.floor(at / BLOCK) + 1) * BLOCK; block < file.length; block += BLOCK) if (typeof pieceAt(file, block) !== "string") return true;
  return false;
}

export interface Batch {
  readonly sequence: number;
  readonly count: number;
  /** Value of the key asked for, if the batch puts it. */
  readonly value: Buffer | undefined;
}

/** @throws RangeError when it is no batch */
export function readBatch(record: Buffer, wanted: Buffer): Batch {
  const sequence = Number(record.readBigUInt64LE(0));
  const count = record.readUInt32LE(8);
  const reader = new Reader(record.subarray(12));
  let value: Buffer | undefined;
  for (let i = 0; i < count; i++) {
    const type = reader.byte();
    if (type > 1) throw new RangeError("an operation of no known type");
    const key = reader.bytes();
    const put = type === 1 ? reader.bytes() : undefined;
    if (key.equals(wanted)) value = put;
  }
  if (!reader.done) throw new RangeError("bytes behind its operations");
  return { sequence, count, value };
}

export interface Table {
  readonly number: number;
  readonly size: number;
  readonly smallest: Buffer;
  readonly largest: Buffer;
}

/** What a manifest comes to. */
export interface Version {
  readonly tables: ReadonlyMap<number, Table>;
  /** Journals from this number on are still needed. */
  readonly journal: number;
  readonly lastSequence: number;
}

/** @throws RangeError when one is no edit, or they do not fit */
export function readEdits(records: readonly Buffer[]): Version {
  const tables = new Map<number, Table>();
  let journal = 0;
  let lastSequence = 0;
  for (const record of records) {
    const reader = new Reader(record);
    while (!reader.done) {
      const tag = reader.varint();
      if (tag === 1) reader.bytes();
      else if (tag === 2) journal = reader.varint();
      else if (tag === 3 || tag === 9) reader.varint();
      else if (tag === 4) lastSequence = reader.varint();
      else if (tag === 5) {
        reader.varint();
        reader.bytes();
      } else if (tag === 6) {
        reader.varint();
        const number = reader.varint();
        if (!tables.delete(number)) throw new RangeError(`it takes away table ${number}, which is not there`);
      } else if (tag === 7) {
        reader.varint();
        const number = reader.varint();
        tables.set(number, { number, size: reader.varint(), smallest: reader.bytes(), largest: reader.bytes() });
      } else throw new RangeError(`it has a field ${tag}`);
    }
  }
  return { tables, journal, lastSequence };
}
