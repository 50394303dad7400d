// One match field as bytes: an OXM or NXM entry. Lists of them, and the canonical order of a match, are in match.ts.

import { badValue, malformed, refusal, truncated } from "../wire/errors.ts";
import { fieldOfHeader, fields, type Field, type FieldName } from "./fields.ts";
import { judging } from "../wire/strict.ts";
import { readBig, readValue, writeU32, writeValue, type FieldValue } from "./value.ts";

/** Text may carry a mask: "10.0.0.0/8", "10.0.0.0/255.0.0.0", "0x1/0xff", "+trk+est-new" (ct_state, tcp_flags, tun_flags). */
export type MatchValue = FieldValue | { readonly value: FieldValue; readonly mask: FieldValue };

/** Names of flag bits, lowest first; "" has none. */
export const flagNames: Readonly<Partial<Record<FieldName, readonly string[]>>> = {
  ct_state: ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"],
  tcp_flags: ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"],
  tun_flags: ["oam"],
};

export function isMasked(value: MatchValue): value is { readonly value: FieldValue; readonly mask: FieldValue } {
  return typeof value === "object" && value !== null && !(value instanceof Uint8Array);
}

// --- encoding ---

/** Of these Open vSwitch keeps only the bits of a mask that the field has. */
const TRIMMED: ReadonlySet<FieldName> = new Set<FieldName>(["ip_frag", "vlan_vid", "ipv6_flabel"]);

const CT_STATE = fields.ct_state;

/** One entry in canonical form; nothing when its mask is all zero. */
export function encodeOxm(buf: Buffer, off: number, field: Field, value: MatchValue): number {
  return encodeEntry(buf, off, field, value, field.header, field.experimenter);
}

/** The same with the NXM number, where the field has one. */
export function encodeNxmEntry(buf: Buffer, off: number, field: Field, value: MatchValue): number {
  return encodeEntry(buf, off, field, value, field.nxmHeader, field.nxmExperimenter);
}

function encodeEntry(buf: Buffer, off: number, field: Field, value: MatchValue, header: number, experimenter: number | undefined): number {
  let pos = writeHeader(buf, off, header, experimenter);
  let length: number;
  if (typeof value === "string") {
    if (value.includes("/") || (field.kind === "uint" && (value.charCodeAt(0) === 43 || value.charCodeAt(0) === 45))) {
      return encodeEntry(buf, off, field, maskedText(field, value), header, experimenter);
    }
    length = writeValue(buf, pos, field, value);
  } else if (isMasked(value)) {
    length = writeValue(buf, pos, field, value.value);
    const maskLength = writeValue(buf, pos + length, field, value.mask);
    if (maskLength !== length) throw badValue(`${field.name}: value and mask differ in length`);
    const unused = field.bytes * 8 - field.bits;
    if (unused > 0 && tooWide(buf, pos, field)) throw badValue(`${field.name}: more than ${field.bits} bits`);
    let any = 0;
    // A field of variable length keeps its mask: how long the whole is only the TLV map tells.
    let missing = field.bytes === 0 ? 1 : 0;
    for (let i = 0; i < length; i++) {
      const all = unused >= 8 * i + 8 ? 0 : unused > 8 * i ? 0xff >> (unused - 8 * i) : 0xff;
      if (all !== 0xff && TRIMMED.has(field.name)) buf[pos + length + i] = buf[pos + length + i]! & all;
      const mask = buf[pos + length + i]!;
      any |= mask;
      missing |= ~mask & all;
      buf[pos + i] = buf[pos + i]! & mask;
    }
    if (any === 0 && field.bytes > 0) return off;
    if (missing !== 0) {
      if (!field.maskable) throw badValue(`${field.name} cannot be masked`);
      buf[off + 2] = buf[off + 2]! | 1;
      length *= 2;
    }
  } else {
    length = writeValue(buf, pos, field, value);
    if (field === CT_STATE) {
      // Of its 32 bits Open vSwitch has the lowest 8.
      writeU32(buf, pos + 4, 0xff);
      buf.fill(0, pos, pos + 3);
      buf[off + 2] = buf[off + 2]! | 1;
      length = 8;
    }
  }
  if (field.bits !== field.bytes * 8 && tooWide(buf, pos, field)) throw badValue(`${field.name}: more than ${field.bits} bits`);
  buf[off + 3] = length + (pos - off - 4);
  pos += length;
  return pos;
}

/** An entry as it came: nothing is cut off or left out. */
export function encodeLiteral(buf: Buffer, off: number, field: Field, value: MatchValue, header: number, experimenter: number | undefined): number {
  const start = writeHeader(buf, off, header, experimenter);
  let pos = start;
  if (isMasked(value)) {
    buf[off + 2] = buf[off + 2]! | 1;
    pos += writeValue(buf, pos, field, value.value);
    pos += writeValue(buf, pos, field, value.mask);
  } else pos += writeValue(buf, pos, field, value);
  buf[off + 3] = pos - off - 4;
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

const scratch = Buffer.alloc(256);

/** Value and mask as integers. */
export function parts(field: Field, value: MatchValue): { value: bigint; mask: bigint } {
  if (typeof value === "string" && (value.includes("/") || flagNames[field.name] !== undefined && /^[+-]/.test(value))) return parts(field, maskedText(field, value));
  if (isMasked(value)) return { value: toBig(field, value.value), mask: toBig(field, value.mask) };
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

export interface OxmHeader {
  readonly field: Field;
  readonly masked: boolean;
  /** Bytes of value and mask. */
  readonly length: number;
  /** Offset after the header. */
  readonly end: number;
}

export function readHeader(buf: Buffer, pos: number, end: number): OxmHeader {
  if (pos + 4 > end) throw truncated(pos, "OXM header", "OFPBMC_BAD_LEN");
  const header = buf.readUInt32BE(pos);
  let experimenter: number | undefined;
  let length = header & 0xff;
  let next = pos + 4;
  if (header >>> 16 === 0xffff) {
    if (pos + 8 > end) throw truncated(pos, "OXM experimenter header", "OFPBMC_BAD_LEN");
    if (length < 4) throw malformed(pos + 3, `OXM length ${length}`, "OFPBMC_BAD_LEN");
    experimenter = buf.readUInt32BE(pos + 4);
    length -= 4;
    next = pos + 8;
  }
  const field = fieldOfHeader(header, experimenter);
  if (field === undefined || (judging.strict && !isKnown(field, header, length))) throw refusal("OFPBMC_BAD_FIELD", pos, `unknown OXM field 0x${header.toString(16)}`);
  return { field, masked: (header & 0x100) !== 0, length, end: next };
}

/** Open vSwitch knows a field by its number and its length. */
function isKnown(field: Field, header: number, length: number): boolean {
  return field.known && hasLength(field, header, length);
}

/** Whether a value of the field, with its mask if the header says so, has that length. */
export function hasLength(field: Field, header: number, length: number): boolean {
  return field.bytes === 0 || ((header & 0x100) === 0 ? length : length >> 1) === field.bytes;
}

export interface OxmEntry {
  readonly field: Field;
  readonly value: FieldValue;
  readonly mask: FieldValue | undefined;
  readonly end: number;
  /** Bytes of the value, and of the mask. */
  readonly half: number;
  /** Whether it is what encodeOxm would write. */
  readonly canonical: boolean;
}

/** Reads one entry. @throws OpenFlowError OFPBMC_* */
export function readOxm(buf: Buffer, pos: number, end: number): OxmEntry {
  if (pos + 4 > end) throw truncated(pos, "OXM header", "OFPBMC_BAD_LEN");
  // The payload has to be there even if nobody knows the field.
  const stop = pos + 4 + buf[pos + 3]!;
  if (stop > end) throw truncated(pos + 3, "OXM entry", "OFPBMC_BAD_LEN");
  if (judging.strict) mustBeCovered(buf, pos, stop);
  const header = buf.readUInt32BE(pos);
  const masked = (header & 0x100) !== 0;
  let field: Field | undefined;
  let start = pos + 4;
  // The usual header by itself, without an object for it.
  if (header >>> 16 !== 0xffff && !judging.strict) field = fieldOfHeader(header, undefined);
  if (field === undefined) ({ field, end: start } = readHeader(buf, pos, end));
  const length = stop - start;
  const own = (header ^ field.header) >>> 9 === 0;
  if (masked && length % 2 !== 0) throw malformed(pos + 3, `OXM length ${length}`, "OFPBMC_BAD_LEN");
  const half = masked ? length >> 1 : length;
  if (field.bytes === 0 ? half > 124 : half !== field.bytes) throw malformed(pos + 3, `OXM length ${length} of ${field.name}`, "OFPBMC_BAD_LEN");
  const value = readValue(buf, start, field, half);
  if (!masked) return { field, value, mask: undefined, end: stop, half, canonical: own && field !== CT_STATE && (field.bits === field.bytes * 8 || !tooWide(buf, start, field)) };
  return { field, value, mask: readValue(buf, start + half, field, half), end: stop, half, canonical: own && isCanonicalMask(buf, start, field, half) };
}

/** That a value is within its mask Open vSwitch asks of fields that it does not know, too. */
function mustBeCovered(buf: Buffer, pos: number, stop: number): void {
  if ((buf[pos + 2]! & 1) === 0) return;
  const start = pos + (buf.readUInt16BE(pos) === 0xffff ? 8 : 4);
  const half = (stop - start) >> 1;
  for (let i = 0; i < half; i++) if (buf[start + i]! & ~buf[start + half + i]!) throw refusal("OFPBMC_BAD_WILDCARDS", start + i, "bits outside the mask");
}

/** Whether a mask leaves something out, something in, and covers the value. */
function isCanonicalMask(buf: Buffer, start: number, field: Field, half: number): boolean {
  if (!field.maskable) return false;
  const unused = field.bytes * 8 - field.bits;
  let any = 0;
  let missing = field.bytes === 0 ? 1 : 0;
  for (let i = 0; i < half; i++) {
    const mask = buf[start + half + i]!;
    if (buf[start + i]! & ~mask) return false;
    any |= mask;
    missing |= ~mask & (unused >= 8 * i + 8 ? 0 : unused > 8 * i ? 0xff >> (unused - 8 * i) : 0xff);
  }
  return (any !== 0 || field.bytes === 0) && missing !== 0 && (unused <= 0 || !tooWide(buf, start, field));
}
