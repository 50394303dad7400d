// DNS messages (RFC 1035, EDNS of RFC 6891) without a transport: the payload of UDP 53, or of TCP behind its length. Names
// are compressed both ways. A message that would be longer than allowed loses whole records and says so (TC).

import { compressedDomain, nameLabels } from "../wire/domain-name.ts";
import { dnsTypeName, dnsTypeNumber, readRecord, writeRecord } from "./records.ts";
import type { DnsRecord, DnsTypeName, RecordWriter } from "./records.ts";
import { PacketValueError } from "../wire/errors.ts";
import { u16 } from "../wire/form.ts";
import { Reader } from "../wire/reader.ts";

export const dnsPort = 53;

export const dnsOpcodes = { query: 0, status: 2, notify: 4, update: 5 } as const;

/** The lower 4 bits; EDNS has the upper ones in its OPT record. */
export const dnsRcodes = {
  noError: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4, refused: 5, badVersion: 16,
} as const;

export const dnsClasses = { internet: 1, chaos: 3, none: 254, any: 255 } as const;

export interface DnsQuestion {
  name: string;
  type: DnsTypeName | number;
  class: number;
}

export interface DnsMessage {
  id: number;
  /** true in a response. */
  qr: boolean;
  opcode: number;
  /** Authoritative answer. */
  aa: boolean;
  /** Truncated. */
  tc: boolean;
  /** Recursion desired. */
  rd: boolean;
  /** Recursion available. */
  ra: boolean;
  /** Authentic data, RFC 4035. */
  ad: boolean;
  /** Checking disabled. */
  cd: boolean;
  rcode: number;
  questions: DnsQuestion[];
  answers: DnsRecord[];
  authorities: DnsRecord[];
  additionals: DnsRecord[];
}

const flagBits = { qr: 0x8000, aa: 0x0400, tc: 0x0200, rd: 0x0100, ra: 0x0080, ad: 0x0020, cd: 0x0010 } as const;
type Flag = keyof typeof flagBits;

/** What is behind the last record is left alone. @throws PacketError */
export function parseDns(buf: Uint8Array): DnsMessage {
  const reader = new Reader(buf);
  const id = reader.u16();
  const word = reader.u16();
  const counts = [reader.u16(), reader.u16(), reader.u16(), reader.u16()] as const;
  // Data of a record ends where the record says, but its names may point to anywhere in front.
  const sub = (end: number): Reader => {
    const inside = new Reader(reader.bytes.subarray(0, end));
    inside.skip(reader.pos);
    return inside;
  };
  const questions: DnsQuestion[] = [];
  while (questions.length < counts[0]) {
    questions.push({ name: compressedDomain.read(reader), type: dnsTypeName(reader.u16()), class: reader.u16() });
  }
  const records = (count: number): DnsRecord[] => {
    const list: DnsRecord[] = [];
    while (list.length < count) list.push(readRecord(reader, sub));
    return list;
  };
  return {
    id, opcode: (word >>> 11) & 0xf, rcode: word & 0xf,
    ...(Object.fromEntries(Object.entries(flagBits).map(([name, mask]) => [name, (word & mask) !== 0])) as Record<Flag, boolean>),
    questions, answers: records(counts[1]), authorities: records(counts[2]), additionals: records(counts[3]),
  };
}

/** Pointers have 14 bits. */
const pointerMax = 0x3fff;
const headerSize = 12;

class Writer implements RecordWriter {
  private parts: Uint8Array[] = [];
  size = headerSize;
  /** Where each name, and each of its tails, lies already. Names compare by their bytes: what differs in case is kept. */
  private readonly places = new Map<string, number>();
  private added: string[] = [];

  bytes(bytes: Uint8Array): void {
    this.parts.push(bytes);
    this.size += bytes.length;
  }

  name(name: string): void {
    const labels = nameLabels(name);
    for (let at = 0; at < labels.length; at++) {
      const tail = labels.slice(at).map((label) => label.toString("hex")).join(".");
      const place = this.places.get(tail);
      if (place !== undefined) {
        this.bytes(u16.write(0xc000 | place));
        return;
      }
      if (this.size <= pointerMax) {
        this.places.set(tail, this.size);
        this.added.push(tail);
      }
      this.bytes(Buffer.concat([Buffer.of(labels[at]!.length), labels[at]!]));
    }
    this.bytes(Buffer.of(0));
  }

  length(): () => void {
    const field = Buffer.alloc(2);
    this.bytes(field);
    const start = this.size;
    return () => {
      field.set(u16.write(this.size - start));
    };
  }

  /** Writes all of it, or, when that is longer than `sizeMax`, nothing. */
  attempt(sizeMax: number, write: () => void): boolean {
    const [count, size] = [this.parts.length, this.size];
    this.added = [];
    write();
    if (this.size <= sizeMax) return true;
    this.parts.length = count;
    this.size = size;
    for (const tail of this.added) this.places.delete(tail);
    return false;
  }

  finish(header: Buffer): Buffer {
    return Buffer.concat([header, ...this.parts]);
  }
}

/** Absent flags are false, absent lists empty. */
export type DnsInput = Partial<DnsMessage> & Pick<DnsMessage, "id">;

/**
 * `sizeMax` is what the other side takes: 512 over UDP without EDNS, its `udp_size` with, 65535 (the default) over TCP.
 * Answers and authorities that do not fit are left out from the first on, and TC says so; additional records are left out
 * silently (RFC 2181 9), but an OPT record always has its place. @throws RangeError, also when the questions do not fit
 */
export function buildDns(message: DnsInput, sizeMax = 65535): Buffer {
  const { questions = [], answers = [], authorities = [], additionals = [] } = message;
  const writer = new Writer();
  const fits = writer.attempt(sizeMax, () => {
    for (const { name, type, class: klass } of questions) {
      writer.name(name);
      writer.bytes(Buffer.concat([u16.write(dnsTypeNumber(type)), u16.write(klass)]));
    }
  });
  // An OPT record has no names and so the same size wherever it stands.
  const opt = additionals.find((record) => record.type === "OPT");
  const optSize = opt === undefined ? 0 : recordSize(opt);
  if (!fits || writer.size + optSize > sizeMax) throw new PacketValueError("a message that fits its size", `${sizeMax} bytes`);

  let left = sizeMax - optSize;
  let truncated = false;
  const write = (record: DnsRecord): boolean => writer.attempt(left, () => writeRecord(writer, record));
  const essential = [answers, authorities].map((records) => {
    let count = 0;
    for (const record of records) {
      truncated ||= !write(record);
      if (truncated) break;
      count++;
    }
    return count;
  });
  let additionalCount = 0;
  for (const record of additionals) {
    if (record === opt) left += optSize;
    else if (truncated) continue;
    if (write(record)) additionalCount++;
  }
  const header = Buffer.alloc(headerSize);
  header.writeUInt16BE(message.id, 0);
  header.writeUInt16BE(headerWord(message, truncated), 2);
  [questions.length, ...essential, additionalCount].forEach((count, at) => header.writeUInt16BE(count, 4 + at * 2));
  return writer.finish(header);
}

function recordSize(record: DnsRecord): number {
  const writer = new Writer();
  writeRecord(writer, record);
  return writer.size - headerSize;
}

function headerWord(message: DnsInput, truncated: boolean): number {
  const { opcode = 0, rcode = 0 } = message;
  if (!(opcode >= 0 && opcode <= 15)) throw new PacketValueError("a DNS opcode of 0..15", String(opcode));
  if (!(rcode >= 0 && rcode <= 15)) throw new PacketValueError("a DNS response code of 0..15", String(rcode));
  let word = (opcode << 11) | rcode;
  for (const [name, mask] of Object.entries(flagBits)) if (message[name as Flag] === true || (name === "tc" && truncated)) word |= mask;
  return word;
}
