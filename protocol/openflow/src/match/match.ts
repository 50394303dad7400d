// ofp_match: a list of OXM entries. Written in one canonical form, the one in which Open vSwitch writes a flow back:
// fields in its order, bits outside a mask zero, a full mask left out, an all-zero mask leaves the field out, xreg and
// xxreg as the registers they consist of. So the bytes of a match are its identity.
//
// A match that was read in another form remembers that form (numbers and order of its entries, never values), and is written back
// in it; a copy of it, or one whose fields were changed, is written canonically.

import { badValue, malformed, refusal, truncated } from "../wire/errors.ts";
import { fieldByName, fieldOfHeader, fields, type Field, type FieldName } from "./fields.ts";
import { mustMatch } from "./check.ts";
import { encodeLiteral, encodeNxmEntry, encodeOxm, hasLength, isMasked, parts, readOxm, type MatchValue, type OxmEntry } from "./oxm.ts";
import { judged, judging, type DecodeOptions } from "../wire/strict.ts";
import { port16, writeU16 } from "./value.ts";

export type Match = { readonly [K in FieldName]?: MatchValue };

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
  const form = (match as Formed)[OXM_FORM];
  if (form !== undefined && fits(form, match)) return encodeForm(buf, off, match, form);
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

// --- NXM: the form before OXM, without a header, with numbers and fields of its own ---

/** Writes a match in NXM form without padding; returns the offset after it. In it ports have 16 bits and there is one field for the VLAN tag. */
export function encodeNxms(buf: Buffer, off: number, match: Match): number {
  const form = (match as Formed)[NXM_FORM];
  if (form !== undefined && fits(form, match)) return encodeForm(buf, off, match, form);
  const plain = Object.keys(match).some((name) => (fieldByName.get(name)?.order ?? 0) >= FIRST_ALIAS) ? spelledOut(match, true) : match;
  const entries: [order: number, field: Field, value: MatchValue][] = [];
  let tci: { value: bigint; mask: bigint } | undefined;
  for (const [name, value] of Object.entries(plain) as [FieldName, MatchValue | undefined][]) {
    if (value === undefined) continue;
    const field = fields[name];
    if (field === undefined) throw badValue(`no field ${name}`);
    if (name === "vlan_vid" || name === "vlan_pcp" || name === "vlan_tci") {
      const part = within(field, value);
      const shift = name === "vlan_pcp" ? 13n : 0n;
      tci = { value: (tci?.value ?? 0n) | (part.value << shift), mask: (tci?.mask ?? 0n) | (part.mask << shift) };
    } else if (name === "in_port") entries.push([field.order, fields.nxm_in_port, port16(Number(within(field, value).value), "in_port")]);
    else if (name === "ip_dscp") entries.push([field.order, fields.ip_tos, Number(within(field, value).value << 2n)]);
    else entries.push([field.order, field, value]);
  }
  if (tci !== undefined) entries.push([fields.vlan_vid.order, fields.vlan_tci, tci]);
  entries.sort((a, b) => a[0] - b[0]);
  for (const [, field, value] of entries) off = encodeNxmEntry(buf, off, field, value);
  return off;
}

/** Writes a match in NXM form, padded to 8 bytes; returns the offset after it. */
export function encodeNxm(buf: Buffer, off: number, match: Match): number {
  return pad8(buf, off, encodeNxms(buf, off, match));
}

/** Reads `length` bytes of NXM entries, with or without the zeroes that pad them to 8. @throws OpenFlowError */
export function decodeNxm(buf: Buffer, off: number, length: number, options?: DecodeOptions): Match {
  const end = off + length;
  if (end > buf.length) throw truncated(off, "match", "OFPBMC_BAD_LEN");
  let stop = off;
  // A header is never four zeroes: a port has a length.
  while (stop + 4 <= end && buf.readUInt32BE(stop) !== 0) stop += 4 + buf[stop + 3]!;
  const padded = length % 8 === 0 && stop <= end && end - stop < 8 && buf.subarray(stop, end).every((byte) => byte === 0);
  return judged(options, () => decodeNxms(buf, off, padded ? stop - off : length));
}

/** Reads `length` bytes of NXM entries, and no others. @throws OpenFlowError */
export function decodeNxms(buf: Buffer, off: number, length: number): Match {
  if (off + length > buf.length) throw truncated(off, "match", "OFPBMC_BAD_LEN");
  const match = readEntries(buf, off, off + length, true);
  return remember(match, NXM_FORM, buf, off, off + length);
}

// --- aliases in a match ---

/** Value and mask of a field. @throws OpenFlowError OF_VALUE when the value has bits that the field has not */
function within(field: Field, value: MatchValue): { value: bigint; mask: bigint } {
  const both = parts(field, value);
  if (both.value < 0n || both.mask < 0n || (field.bits > 0 && both.value >> BigInt(field.bits) !== 0n)) throw badValue(`${field.name}: ${both.value} has more than ${field.bits} bits`);
  return both;
}

/** The same match in fields that have a place in it. */
function spelledOut(match: Match, nxm = false): Match {
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
      const whole = within(field, value);
      for (let i = 0; i < words; i++) {
        const shift = BigInt((words - 1 - i) * 32);
        put(`reg${Number(family[2]) * words + i}`, (whole.value >> shift) & 0xffffffffn, (whole.mask >> shift) & 0xffffffffn);
      }
    } else if (name === "nxm_in_port") {
      const { value: port } = within(field, value);
      out["in_port"] = port >= 0xff00n ? port + 0xffff0000n : port;
    } else if (name === "vlan_tci" && !nxm) {
      const { value: tci, mask } = within(field, value);
      put("vlan_vid", tci & mask & 0x1fffn, mask & 0x1fffn);
      // Without a tag there is no priority to match on.
      if (mask >> 13n !== 0n && (tci & mask & 0x1fffn) !== 0n) out["vlan_pcp"] = Number((tci & mask) >> 13n);
    } else if (name === "ip_tos") {
      const { value: tos } = within(field, value);
      if (tos & 3n) throw badValue("ip_tos: the lower two bits are ip_ecn");
      out["ip_dscp"] = Number(tos >> 2n);
    } else if (field.order >= FIRST_ALIAS && !nxm) throw badValue(`${name} is not part of a match`);
    else if (out[name] !== undefined) {
      const whole = within(field, value);
      put(name, whole.value, whole.mask);
    } else out[name] = value;
  }
  return out;
}

// --- forms: how the entries of a match came ---

interface Unknown {
  readonly raw: Uint8Array;
}
interface Entry {
  readonly raw?: undefined;
  /** Name in the match. */
  readonly name: FieldName;
  /** Field on the wire, where it is another. */
  readonly field: Field;
  readonly header: number;
  readonly experimenter: number | undefined;
  readonly masked: boolean;
}
const OXM_FORM = Symbol("OXM form");
const NXM_FORM = Symbol("NXM form");
interface Formed {
  readonly [OXM_FORM]?: readonly (Entry | Unknown)[];
  readonly [NXM_FORM]?: readonly (Entry | Unknown)[];
}

/** Notes the form of entries that were read without error. Not enumerable: a copy of the match is another match. */
function remember(match: Match, key: typeof OXM_FORM | typeof NXM_FORM, buf: Buffer, off: number, end: number): Match {
  const form: (Entry | Unknown)[] = [];
  while (off < end) {
    const header = buf.readUInt32BE(off);
    const experimenter = header >>> 16 === 0xffff ? buf.readUInt32BE(off + 4) : undefined;
    const found = fieldOfHeader(header, experimenter);
    const field = found !== undefined && hasLength(found, header, (header & 0xff) - (experimenter === undefined ? 0 : 4)) ? found : undefined;
    if (field === undefined) form.push({ raw: Uint8Array.from(buf.subarray(off, off + 4 + (header & 0xff))) });
    else form.push({ name: nameInMatch(field, match), field, header: (header & ~0x1ff) >>> 0, experimenter, masked: (header & 0x100) !== 0 });
    off += 4 + (header & 0xff);
  }
  return Object.defineProperty(match, key, { value: form });
}

function nameInMatch(field: Field, match: Match): FieldName {
  if (field.name === "nxm_in_port") return "in_port";
  return field.name === "ip_tos" && match.ip_tos === undefined ? "ip_dscp" : field.name;
}

function fits(form: readonly (Entry | Unknown)[], match: Match): boolean {
  let count = 0;
  for (const name in match) if (match[name as FieldName] !== undefined) count++;
  for (const entry of form) if (entry.raw !== undefined) count++;
  return count === form.length && form.every((entry) => {
    if (entry.raw !== undefined) return true;
    const value = match[entry.name];
    return value !== undefined && isMasked(value) === entry.masked;
  });
}

function encodeForm(buf: Buffer, off: number, match: Match, form: readonly (Entry | Unknown)[]): number {
  for (const entry of form) {
    if (entry.raw !== undefined) {
      buf.set(entry.raw, off);
      off += entry.raw.length;
      continue;
    }
    const { name, field, header, experimenter } = entry;
    let value = match[name]!;
    if (field.name !== name) {
      const number = Number(within(fields[name], value).value);
      value = name === "in_port" ? port16(number, name) : number << 2;
    }
    off = encodeLiteral(buf, off, field, value, header, experimenter);
  }
  return off;
}

// --- decoding ---

/** Reads an ofp_match. `end` bounds what may be read. Throws OpenFlowError on anything odd, unknown fields included. */
export function decodeMatch(buf: Buffer, off: number, end: number = buf.length, options?: DecodeOptions): Match {
  if (options !== undefined) return judged(options, () => decodeMatch(buf, off, end));
  return decodeOxms(buf, off + 4, off + matchLength(buf, off, end));
}

/** Length of the ofp_match at `off` without its padding; checks that it fits, padding included. */
export function matchLength(buf: Buffer, off: number, end: number): number {
  if (off + 4 > end) throw truncated(off, "match", "OFPBMC_BAD_LEN");
  const type = buf.readUInt16BE(off);
  const length = buf.readUInt16BE(off + 2);
  if (judging.loose && length < 4) throw malformed(off + 2, `match length ${length}`, "OFPBMC_BAD_LEN");
  // Type 0 is the match of OpenFlow 1.1, of 88 bytes, which Open vSwitch still knows where it reads a flow.
  if (type !== 1) throw refusal(type === 0 && !judging.loose ? "OFPBMC_BAD_LEN" : "OFPBMC_BAD_TYPE", off, "match is not OXM");
  if (length < 4) throw malformed(off + 2, `match length ${length}`, "OFPBMC_BAD_LEN");
  if (off + ((length + 7) & ~7) > end) throw truncated(off + 2, "match", "OFPBMC_BAD_LEN");
  return length;
}

let irregular = false;

/** Entries of a match in OXM form, without header. */
export function decodeOxms(buf: Buffer, off: number, end: number): Match {
  irregular = false;
  const match = readEntries(buf, off, end);
  return irregular ? remember(match, OXM_FORM, buf, off, end) : match;
}

/** Reads entries and notes in `irregular` whether encodeOxms would write them otherwise. */
function readEntries(buf: Buffer, off: number, end: number, nxm = false): Match {
  const match: Record<string, MatchValue> = {};
  let last = -1;
  for (let pos = off; pos < end; ) {
    const entry = judging.loose && !isKnownAt(buf, pos, end) ? undefined : readOxm(buf, pos, end);
    if (entry === undefined) {
      // What a packet had besides is the switch's affair; its bytes stay with the match.
      irregular = true;
      pos += 4 + buf[pos + 3]!;
      continue;
    }
    const { field } = entry;
    if (judging.strict) mustMatch(buf, pos, entry, match);
    if (field.name === "cookie" && !nxm) throw refusal("OFPBMC_BAD_FIELD", pos, "a cookie is not part of a match");
    if (!entry.canonical || field.order <= last || field.order >= FIRST_ALIAS) irregular = true;
    last = field.order;
    let name: string = field.name;
    let value: MatchValue = entry.mask === undefined ? entry.value : { value: entry.value, mask: entry.mask };
    if (field.order >= FIRST_ALIAS) [name, value] = renamed(field, value, entry);
    if (match[name] !== undefined) throw refusal("OFPBMC_DUP_FIELD", pos, `field ${name} twice`);
    match[name] = value;
    pos = entry.end;
  }
  return match;
}

/** Whether the entry is of a field that this package has; one that is cut off counts as such, so that reading it fails. */
function isKnownAt(buf: Buffer, pos: number, end: number): boolean {
  if (pos + 4 > end || pos + 4 + buf[pos + 3]! > end) return true;
  const header = buf.readUInt32BE(pos);
  const long = header >>> 16 === 0xffff;
  if (long && (header & 0xff) < 4) return true;
  const field = fieldOfHeader(header, long ? buf.readUInt32BE(pos + 4) : undefined);
  return field !== undefined && hasLength(field, header, (header & 0xff) - (long ? 4 : 0));
}

/** Fields of NXM that are others in a match; vlan_tci and the wide registers stay. */
function renamed(field: Field, value: MatchValue, entry: OxmEntry): [string, MatchValue] {
  if (entry.mask !== undefined) return [field.name, value];
  const number = Number(entry.value);
  if (field.name === "nxm_in_port") return ["in_port", number >= 0xff00 ? number + 0xffff0000 : number];
  if (field.name === "ip_tos" && (number & 3) === 0) return ["ip_dscp", number >> 2];
  return [field.name, value];
}

export { encodeOxm, flagNames, parts, readHeader, readOxm, toBig, writeHeader, type MatchValue, type OxmEntry, type OxmHeader } from "./oxm.ts";
