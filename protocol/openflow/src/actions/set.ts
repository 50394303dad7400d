// Actions that write fields: set_field, and the two loads of Open vSwitch. Where one has several wire forms, the one that Open
// vSwitch writes back is taken.

import { checkedTarget, finish, nicira, readNxmHeader, writeNxmHeader, type SubField } from "./parts.ts";
import { badValue, malformed, OpenFlowError, refusal } from "../wire/errors.ts";
import { fieldByName, fieldOfHeader, fields, type Field, type FieldName } from "../match/fields.ts";
import { mustBeZero, writeU64 } from "../layout/layout.ts";
import { isValidValue, mustBeInMask } from "../match/check.ts";
import { encodeOxm, readOxm, toBig, writeHeader, type OxmEntry } from "../match/oxm.ts";
import { judging } from "../wire/strict.ts";
import { writeU16, writeValue, type FieldValue } from "../match/value.ts";

export type SetAction =
  | { readonly type: "set_field"; readonly field: FieldName; readonly value: FieldValue; readonly mask?: FieldValue }
  | { readonly type: "load"; readonly dst: SubField; readonly value: number | bigint }
  /** load and masked set_field of experimenter fields and tun_metadata; as such only decoded. */
  | { readonly type: "reg_load2"; readonly field: FieldName; readonly value: FieldValue; readonly mask?: FieldValue };

/** Writes one set_field action; returns the offset after it. */
export function encodeSetField(buf: Buffer, off: number, name: FieldName, value: FieldValue, mask: FieldValue | undefined): number {
  const field = fields[name];
  if (field === undefined) throw badValue(`no field ${name}`);
  if (mask !== undefined) {
    const bits = toBig(field, mask);
    if (field.bits > 0 && bits >> BigInt(field.bits) !== 0n) throw badValue(`${name}: the mask ${String(mask)} has more than ${field.bits} bits`);
    if (bits !== (1n << BigInt(field.bits)) - 1n) {
      const whole = toBig(field, value);
      if (field.bits > 0 && whole >> BigInt(field.bits) !== 0n) throw badValue(`${name}: ${String(value)} has more than ${field.bits} bits`);
      if (needsLoad2(field)) return encodeLoad2(buf, off, field, value, mask);
      // OpenFlow 1.3 has no masked set_field: one load for each run of ones.
      for (let ofs = 0; ofs < field.bits; ) {
        let run = 0;
        while (run < 64 && ofs + run < field.bits && (bits >> BigInt(ofs + run)) & 1n) run++;
        if (run > 0) off = encodeLoad(buf, off, { field: name, ofs, bits: run }, (whole >> BigInt(ofs)) & ((1n << BigInt(run)) - 1n));
        ofs += run || 1;
      }
      return off;
    }
  }
  writeU16(buf, off, 25);
  return finish(buf, off, encodeOxm(buf, off + 4, field, value));
}

/** Experimenter fields have no header of four bytes, tun_metadata no fixed width: NXAST_REG_LOAD cannot name them. */
function needsLoad2(field: Field): boolean {
  return field.nxmExperimenter !== undefined || field.bytes === 0;
}

const POWERS = Array.from({ length: 65 }, (_, bits) => 2 ** bits);

/** Writes one load action; returns the offset after it. */
export function encodeLoad(buf: Buffer, off: number, dst: SubField, value: number | bigint): number {
  const field = fieldByName.get(dst.field);
  if (field === undefined) throw badValue(`load: no field ${dst.field as string}`);
  const { ofs, bits: width } = dst;
  if (!Number.isInteger(ofs) || !Number.isInteger(width) || ofs < 0 || width <= 0 || (field.bytes > 0 && ofs + width > field.bytes * 8)) throw badValue(`load: ${dst.field} has no ${String(width)} bits from ${String(ofs)} on`);
  if (typeof value === "number" ? !Number.isSafeInteger(value) || value < 0 : typeof value !== "bigint" || value < 0n) throw badValue(`load: ${String(value)} is no value of ${dst.field}`);
  if (needsLoad2(field)) {
    const ones = ((1n << BigInt(dst.bits)) - 1n) << BigInt(dst.ofs);
    const shifted = BigInt(value) << BigInt(dst.ofs);
    // tun_metadata has the length that is asked for, or the whole words that it takes.
    const length = field.bytes !== 0 ? field.bytes : dst.length ?? 4 * Math.ceil((dst.ofs + dst.bits) / 32);
    if (dst.ofs + dst.bits > 8 * length || shifted > ones || shifted < 0n) throw badValue(`load: ${value} does not fit ${dst.bits} bits of ${field.name}`);
    const wire = (bits: bigint): FieldValue => (field.bytes !== 0 ? bits : Buffer.from(bits.toString(16).padStart(2 * length, "0"), "hex"));
    return encodeLoad2(buf, off, field, wire(shifted), dst.bits === length * 8 ? undefined : wire(ones));
  }
  if (dst.bits > 64) throw badValue(`load takes at most 64 bits, got ${dst.bits} of ${dst.field}`);
  if (typeof value === "number" || dst.bits < 53 ? Number(value) >= POWERS[dst.bits]! : value >> BigInt(dst.bits) !== 0n) throw badValue(`load: ${value} does not fit ${dst.bits} bits of ${dst.field}`);
  const pos = nicira(buf, off, 7);
  writeU16(buf, pos, (dst.ofs << 6) | (dst.bits - 1));
  writeNxmHeader(buf, pos + 2, dst);
  writeU64(buf, pos + 6, value, "load");
  writeU16(buf, off + 2, 24);
  return off + 24;
}

export function encodeLoad2(buf: Buffer, off: number, field: Field, value: FieldValue, mask: FieldValue | undefined): number {
  const start = nicira(buf, off, 33);
  let pos = writeHeader(buf, start, field.nxmHeader, field.nxmExperimenter);
  const head = pos - start - 4;
  const length = writeValue(buf, pos, field, value);
  pos += length;
  if (mask !== undefined) {
    pos += writeValue(buf, pos, field, mask);
    buf[start + 2] = buf[start + 2]! | 1;
  }
  buf[start + 3] = head + (mask === undefined ? length : length * 2);
  return finish(buf, off, pos);
}

// --- decoding ---

/** The OXM entry of an action that ends at `end`, with the errors that an action gives. */
function entry(buf: Buffer, pos: number, end: number): OxmEntry {
  if (judging.strict) mustHaveLength(buf, pos, end);
  try {
    const oxm = readOxm(buf, pos, end);
    if (judging.strict && oxm.mask !== undefined) mustBeInMask(buf, oxm);
    return oxm;
  } catch (error) {
    // In an action an unknown field is a type that cannot be set.
    if (error instanceof OpenFlowError && error.errorName === "OFPBMC_BAD_FIELD") throw refusal("OFPBAC_BAD_SET_TYPE", pos, error.reason);
    throw error;
  }
}

/** A field of another length than its own is refused before it is looked for. */
function mustHaveLength(buf: Buffer, pos: number, end: number): void {
  if (pos + 4 > end) return;
  const header = buf.readUInt32BE(pos);
  const long = header >>> 16 === 0xffff;
  if (long && pos + 8 > end) return;
  const field = fieldOfHeader(header, long ? buf.readUInt32BE(pos + 4) : undefined);
  const length = (header & 0xff) - (long ? 4 : 0);
  if (field === undefined || !field.known) throw refusal("OFPBAC_BAD_SET_TYPE", pos, `unknown OXM field 0x${header.toString(16)}`);
  if (field.bytes === 0 || (header & 0xff) === 0) return;
  if (((header & 0x100) === 0 ? length : length >> 1) !== field.bytes) throw refusal("OFPBAC_BAD_SET_LEN", pos + 3, `${field.name} of ${length} bytes`);
}

export function decodeSetField(buf: Buffer, off: number, end: number): SetAction {
  const oxm = entry(buf, off + 4, end);
  if (end - oxm.end >= 8) throw malformed(oxm.end, "set_field length", "OFPBAC_BAD_SET_ARGUMENT");
  if (oxm.mask !== undefined) throw refusal("OFPBAC_BAD_SET_MASK", off + 6, "masked set_field");
  const { field, value } = oxm;
  if (judging.strict) {
    mustBeZero(buf, oxm.end, end, "OFPBAC_BAD_SET_ARGUMENT");
    if (field.name === "in_port" || !field.writable) throw refusal("OFPBAC_BAD_SET_ARGUMENT", off + 4, `${field.name} cannot be set`);
    if (!isValidValue(field, value)) throw refusal("OFPBAC_BAD_SET_ARGUMENT", off + 4, `${field.name} cannot be ${String(value)}`);
    if (field.name === "vlan_vid" && (Number(value) & 0x1000) === 0) throw refusal("OFPBAC_BAD_SET_ARGUMENT", off + 4, "vlan_vid without OFPVID_PRESENT");
  }
  return { type: "set_field", field: field.name, value };
}

export function decodeLoad(buf: Buffer, off: number, end: number): SetAction {
  if (end - off !== 24) throw malformed(off + 2, `load of ${end - off} bytes`, "OFPBAC_BAD_LEN");
  const pos = off + 10;
  const range = buf.readUInt16BE(pos);
  const { field, length } = readNxmHeader(buf, pos + 2);
  const sub: SubField = { field: field.name, ofs: range >>> 6, bits: (range & 63) + 1 };
  const dst = checkedTarget(pos, field.bytes === 0 ? { ...sub, length } : sub);
  const value = buf.readUInt32BE(pos + 6) === 0 ? buf.readUInt32BE(pos + 10) : buf.readBigUInt64BE(pos + 6);
  if (judging.strict && BigInt(value) >> BigInt(dst.bits) !== 0n) throw refusal("OFPBAC_BAD_ARGUMENT", pos + 6, `load: ${value} has more than ${dst.bits} bits`);
  return { type: "load", dst, value };
}

export function decodeLoad2(buf: Buffer, off: number, end: number): SetAction {
  const { field, value, mask, end: stop } = entry(buf, off + 10, end);
  if (end - stop >= 8) throw malformed(stop, "reg_load2 length", "OFPBAC_BAD_SET_ARGUMENT");
  if (judging.strict) {
    mustBeZero(buf, stop, end, "OFPBAC_BAD_SET_ARGUMENT");
    if (!field.writable) throw refusal("OFPBAC_BAD_SET_ARGUMENT", off + 10, `${field.name} cannot be written`);
  }
  return { type: "reg_load2", field: field.name, value, ...(mask === undefined ? {} : { mask }) };
}
