// ofp_match: a list of OXM entries. Written in one canonical form, the one in which Open vSwitch writes a flow back:
// fields in its order, bits outside a mask zero, a full mask left out, an all-zero mask leaves the field out, xreg and
// xxreg as the registers they consist of. So the bytes of a match are its identity.

import { badValue, malformed, truncated } from "./errors.ts";
import { fieldByName, fieldOfHeader, fields, type Field, type FieldName } from "./fields.ts";
import { readBig, readValue, writeU16, writeU32, writeValue, type FieldValue } from "./value.ts";

/** Text may carry a mask: "10.0.0.0/8", "10.0.0.0/255.0.0.0", "0x1/0xff", "+trk+est-new" (ct_state, tcp_flags, tun_flags). */
export type MatchValue = FieldValue | { readonly value: FieldValue; readonly mask: FieldValue };

export type Match = { readonly [K in FieldName]?: MatchValue };

/** Names of flag bits, lowest first; "" has none. */
export const flagNames: Readonly<Partial<Record<FieldName, readonly string[]>>> = {
  ct_state: ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"],
  tcp_flags: ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"],
  tun_flags: ["oam"],
};

// Scratch of the match being written. Encoding never yields, so one of each is enough.
const pendingFields: Field[] = [];
const pendingValues: MatchValue[] = [];

/** Writes an ofp_match with its padding; returns the offset after it. Allocates nothing for numbers and plain addresses. */
export function encodeMatch(buf: Buffer, off: number, match: Match): number {
  const end = encodeOxms(buf, off + 4, match);
  writeU16(buf, off, 1);
  writeU16(buf, off + 2, end - off);
  return pad8(buf, off, end);
}

/** Zeroes up to the next multiple of 8 from `start`. */
export function pad8(buf: Buffer, start: number, end: number): number {
  const padded = start + ((end - start + 7) & ~7);
  while (end < padded) buf[end++] = 0;
  return padded;
}

/** The OXM entries alone: no header, no padding. */
export function encodeOxms(buf: Buffer, off: number, match: Match): number {
  let count = 0;
  for (const name in match) {
    const value = match[name as FieldName];
    if (value === undefined) continue;
    const field = fieldByName.get(name);
    if (field === undefined) throw badValue(`no field ${name}`);
    if (field.order >= FIRST_ALIAS) return encodeOxms(buf, off, spelledOut(match));
    let at = count++;
    while (at > 0 && pendingFields[at - 1]!.order > field.order) {
      pendingFields[at] = pendingFields[at - 1]!;
      pendingValues[at] = pendingValues[at - 1]!;
      at--;
    }
    pendingFields[at] = field;
    pendingValues[at] = value;
  }
  let pos = off;
  for (let i = 0; i < count; i++) pos = encodeOxm(buf, pos, pendingFields[i]!, pendingValues[i]!);
  return pos;
}
const FIRST_ALIAS = fields.xreg0.order;

/** One entry in canonical form; nothing when its mask is all zero. */
export function encodeOxm(buf: Buffer, off: number, field: Field, value: MatchValue): number {
  let pos = writeHeader(buf, off, field.header, field.experimenter);
  let length: number;
  if (typeof value === "string") {
    if (value.includes("/") || (field.kind === "uint" && (value.charCodeAt(0) === 43 || value.charCodeAt(0) === 45))) {
      return encodeOxm(buf, off, field, maskedText(field, value));
    }
    length = writeValue(buf, pos, field, value);
  } else if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
    length = writeValue(buf, pos, field, value.value);
    const maskLength = writeValue(buf, pos + length, field, value.mask);
    if (maskLength !== length) throw badValue(`${field.name}: value and mask differ in length`);
    const unused = field.bytes * 8 - field.bits;
    let any = 0;
    let missing = 0;
    for (let i = 0; i < length; i++) {
      const mask = buf[pos + length + i]!;
      any |= mask;
      missing |= ~mask & (unused >= 8 * i + 8 ? 0 : unused > 8 * i ? 0xff >> (unused - 8 * i) : 0xff);
      buf[pos + i] = buf[pos + i]! & mask;
    }
    if (any === 0) return off;
    if (missing !== 0) {
      if (!field.maskable) throw badValue(`${field.name} cannot be masked`);
      buf[off + 2] = buf[off + 2]! | 1;
      length *= 2;
    }
  } else {
    length = writeValue(buf, pos, field, value);
  }
  if (field.bits !== field.bytes * 8 && tooWide(buf, pos, field)) throw badValue(`${field.name}: more than ${field.bits} bits`);
  buf[off + 3] = length + (pos - off - 4);
  pos += length;
  return pos;
}

/** Whether the value has bits that the field has not. */
function tooWide(buf: Buffer, pos: number, field: Field): boolean {
  if (field.bits === 0) return false;
  const unused = field.bytes * 8 - field.bits;
  for (let i = 0; i * 8 < unused; i++) if (buf[pos + i]! >> Math.max(0, 8 - (unused - 8 * i))) return true;
  return false;
}

/** An OXM header with its experimenter, length still to be filled in. Returns the offset after it. */
export function writeHeader(buf: Buffer, off: number, header: number, experimenter: number | undefined): number {
  writeU32(buf, off, header);
  if (experimenter === undefined) return off + 4;
  writeU32(buf, off + 4, experimenter);
  return off + 8;
}

function maskedText(field: Field, text: string): MatchValue {
  const slash = text.indexOf("/");
  if (slash < 0) return flags(field, text);
  const value = text.slice(0, slash);
  const mask = text.slice(slash + 1);
  const bits = field.kind === "ipv4" ? 32 : field.kind === "ipv6" ? 128 : 0;
  if (bits > 0 && /^\d{1,3}$/.test(mask)) {
    const prefix = Number(mask);
    if (prefix > bits) throw badValue(`${field.name}: prefix length ${prefix} exceeds ${bits}`);
    if (bits === 32) return { value, mask: prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0 };
    return { value, mask: prefix === 0 ? 0n : ((1n << BigInt(prefix)) - 1n) << BigInt(bits - prefix) };
  }
  return { value, mask };
}

const knownFlags = new Map<string, MatchValue>();

function flags(field: Field, text: string): MatchValue {
  const key = `${field.name}${text}`;
  let value = knownFlags.get(key);
  if (value === undefined) {
    value = parseFlags(field, text);
    if (knownFlags.size < 1000) knownFlags.set(key, value);
  }
  return value;
}

function parseFlags(field: Field, text: string): MatchValue {
  const names = flagNames[field.name];
  if (names === undefined || !/^([+-][a-z]+)+$/.test(text)) throw badValue(`${field.name}: not a value: ${text}`);
  let value = 0;
  let mask = 0;
  for (const [, sign, name] of text.matchAll(/([+-])([a-z]+)/g)) {
    const bit = names.indexOf(name!);
    if (bit < 0) throw badValue(`${field.name}: no flag ${name!}`);
    mask |= 1 << bit;
    if (sign === "+") value |= 1 << bit;
  }
  return { value, mask };
}

// --- xreg, xxreg, nxm_in_port and cookie in a match ---

const scratch = Buffer.alloc(256);

/** The same match in fields that have a place in it. */
function spelledOut(match: Match): Match {
  const out: Record<string, MatchValue> = {};
  const put = (name: string, value: bigint, mask: bigint): void => {
    const old = out[name];
    if (old !== undefined) {
      const was = parts(fields[name as FieldName], old);
      if ((was.value ^ value) & was.mask & mask) throw badValue(`${name} is matched twice, differently`);
      value |= was.value;
      mask |= was.mask;
    }
    out[name] = { value, mask };
  };
  for (const [name, value] of Object.entries(match) as [FieldName, MatchValue | undefined][]) {
    if (value === undefined) continue;
    const field = fields[name];
    if (field === undefined) throw badValue(`no field ${name}`);
    const family = /^(x+)reg(\d+)$/.exec(name);
    if (family !== null) {
      const words = family[1]!.length * 2;
      const whole = parts(field, value);
      for (let i = 0; i < words; i++) {
        const shift = BigInt((words - 1 - i) * 32);
        put(`reg${Number(family[2]) * words + i}`, (whole.value >> shift) & 0xffffffffn, (whole.mask >> shift) & 0xffffffffn);
      }
    } else if (name === "nxm_in_port") {
      const { value: port } = parts(field, value);
      out["in_port"] = port >= 0xff00n ? port + 0xffff0000n : port;
    } else if (field.order >= FIRST_ALIAS) throw badValue(`${name} is not part of a match`);
    else if (out[name] !== undefined) {
      const whole = parts(field, value);
      put(name, whole.value, whole.mask);
    } else out[name] = value;
  }
  return out;
}

/** Value and mask as integers. */
export function parts(field: Field, value: MatchValue): { value: bigint; mask: bigint } {
  if (typeof value === "string" && (value.includes("/") || flagNames[field.name] !== undefined && /^[+-]/.test(value))) return parts(field, maskedText(field, value));
  if (typeof value === "object" && !(value instanceof Uint8Array)) {
    return { value: toBig(field, value.value), mask: toBig(field, value.mask) };
  }
  const whole = toBig(field, value);
  return { value: whole, mask: (1n << BigInt(field.bits || 992)) - 1n };
}

/** A field's value as one integer. */
export function toBig(field: Field, value: FieldValue): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  const length = writeValue(scratch, 0, field, value);
  return readBig(scratch, 0, length);
}

// --- decoding ---

/** Reads an ofp_match. `end` bounds what may be read. Throws OpenFlowError on anything odd, unknown fields included. */
export function decodeMatch(buf: Buffer, off: number, end: number = buf.length): Match {
  return decodeOxms(buf, off + 4, off + matchLength(buf, off, end));
}

/** Length of the ofp_match at `off` without its padding; checks that it fits, padding included. */
export function matchLength(buf: Buffer, off: number, end: number): number {
  if (off + 4 > end) throw truncated(off, "match");
  if (buf.readUInt16BE(off) !== 1) throw malformed(off, "match is not OXM");
  const length = buf.readUInt16BE(off + 2);
  if (length < 4) throw malformed(off + 2, `match length ${length}`);
  if (off + ((length + 7) & ~7) > end) throw truncated(off + 2, "match");
  return length;
}

export function decodeOxms(buf: Buffer, off: number, end: number): Match {
  const match: Record<string, MatchValue> = {};
  for (let pos = off; pos < end; ) {
    const entry = readOxm(buf, pos, end);
    if (match[entry.field.name] !== undefined) throw malformed(pos, `field ${entry.field.name} twice`);
    match[entry.field.name] = entry.value;
    pos = entry.end;
  }
  return match;
}

export interface OxmHeader {
  readonly field: Field;
  readonly masked: boolean;
  /** Bytes of value and mask. */
  readonly length: number;
  /** Offset after the header. */
  readonly end: number;
}

export function readHeader(buf: Buffer, pos: number, end: number): OxmHeader {
  if (pos + 4 > end) throw truncated(pos, "OXM header");
  const header = buf.readUInt32BE(pos);
  let experimenter: number | undefined;
  let length = header & 0xff;
  let next = pos + 4;
  if (header >>> 16 === 0xffff) {
    if (pos + 8 > end) throw truncated(pos, "OXM experimenter header");
    if (length < 4) throw malformed(pos + 3, `OXM length ${length}`);
    experimenter = buf.readUInt32BE(pos + 4);
    length -= 4;
    next = pos + 8;
  }
  const field = fieldOfHeader(header, experimenter);
  if (field === undefined) throw malformed(pos, `unknown OXM field 0x${header.toString(16)}`);
  return { field, masked: (header & 0x100) !== 0, length, end: next };
}

export function readOxm(buf: Buffer, pos: number, end: number): { field: Field; value: FieldValue | { value: FieldValue; mask: FieldValue }; end: number } {
  const { field, masked, length, end: start } = readHeader(buf, pos, end);
  if (masked && length % 2 !== 0) throw malformed(pos + 3, `OXM length ${length}`);
  const half = masked ? length / 2 : length;
  if (field.bytes === 0 ? half === 0 || half > 124 : half !== field.bytes) throw malformed(pos + 3, `OXM length ${length} of ${field.name}`);
  if (start + length > end) throw truncated(pos + 3, `OXM ${field.name}`);
  const value = readValue(buf, start, field, half);
  return { field, value: masked ? { value, mask: readValue(buf, start + half, field, half) } : value, end: start + length };
}
