// What the files of actions share: references to parts of a field, as values and as parts of a layout, and the frame of an action.

import { badValue, NX_VENDOR, OpenFlowError, refusal } from "../wire/errors.ts";
import { fieldByName, fields, type FieldName } from "../match/fields.ts";
import type { Part } from "../layout/layout.ts";
import { pad8 } from "../match/match.ts";
import { readHeader, writeHeader, type OxmHeader } from "../match/oxm.ts";
import { judging } from "../wire/strict.ts";
import { whole, writeU16, writeU32 } from "../match/value.ts";

/** Bits `ofs` to `ofs + bits - 1` of a field, 0 the lowest. */
export interface SubField {
  readonly field: FieldName;
  readonly ofs: number;
  readonly bits: number;
  /** Of tun_metadata only: the bytes that the field has by its header, which depend on the TLV map; without one 124. */
  readonly length?: number;
}

type Obj = Record<string, unknown>;
type Named<N extends string, T> = { [K in N]: T };
/** A reference whose pieces are read one by one. */
export interface Draft {
  field: FieldName;
  ofs: number;
  bits: number;
  length?: number;
}

const MAX_TUN_METADATA = 124;

/** All bits of a field. */
export function wholeField(name: FieldName): SubField {
  return { field: name, ofs: 0, bits: fields[name].bits };
}

/** The part of a field that an action names. @throws OpenFlowError OF_VALUE when there is no such part */
export function subfield(obj: Readonly<Record<string, unknown>>, name: string): SubField {
  const sub = obj[name] as SubField | undefined;
  const field = sub === undefined ? undefined : fieldByName.get(sub.field);
  if (sub === undefined || field === undefined) throw badValue(`${name} takes a part of a field`);
  if (!Number.isInteger(sub.ofs) || !Number.isInteger(sub.bits) || sub.ofs < 0 || sub.bits <= 0 || sub.ofs + sub.bits > MAX_TUN_METADATA * 8 || (field.bits > 0 && sub.ofs + sub.bits > field.bytes * 8)) {
    throw badValue(`${name}: ${sub.field} has no ${String(sub.bits)} bits from ${String(sub.ofs)} on`);
  }
  if (sub.length !== undefined) whole(sub.length, MAX_TUN_METADATA, `${name}: length of ${sub.field}`);
  return sub;
}

/** `ofs` and `bits` in one number, which takes up to 64 bits. */
export function rangeOf(sub: SubField, name: string): number {
  if (sub.bits > 64) throw badValue(`${name}: ${sub.bits} bits of ${sub.field}; at most 64 have a form`);
  return (sub.ofs << 6) | (sub.bits - 1);
}

/** NXM header of the field. */
export function writeNxmHeader(buf: Buffer, off: number, sub: SubField): number {
  const field = fieldByName.get(sub.field)!;
  const end = writeHeader(buf, off, field.nxmHeader, field.nxmExperimenter);
  buf[off + 3] = (field.bytes || (sub.length ?? MAX_TUN_METADATA)) + (end - off - 4);
  return end;
}

/** Pads the action and writes its length. */
export function finish(buf: Buffer, start: number, end: number): number {
  end = pad8(buf, start, end);
  if (end - start > 0xffff) throw badValue(`an action of ${end - start} bytes does not fit`);
  writeU16(buf, start + 2, end - start);
  return end;
}

/** Action header of a Nicira extension; returns the offset after the subtype. */
export function nicira(buf: Buffer, off: number, subtype: number): number {
  writeU16(buf, off, 0xffff);
  writeU32(buf, off + 4, NX_VENDOR);
  writeU16(buf, off + 8, subtype);
  return off + 10;
}

/** A part as it was read at `pos`. @throws OpenFlowError when the field has no such bits */
export function checked(pos: number, sub: SubField): SubField {
  const field = fields[sub.field];
  // By its layout a value has whole bytes; Open vSwitch goes by the bits that it uses.
  const width = judging.strict ? field.width : field.bytes * 8 || MAX_TUN_METADATA * 8;
  if (sub.bits === 0 || sub.ofs + sub.bits > width) throw refusal("OFPBAC_BAD_SET_LEN", pos, `${sub.field} has no bits ${sub.ofs}..${sub.ofs + sub.bits - 1}`);
  return sub;
}

/** The same for a part that is written to. */
export function checkedTarget(pos: number, sub: SubField): SubField {
  checked(pos, sub);
  if (judging.strict && !fields[sub.field].writable) throw refusal("OFPBAC_BAD_SET_ARGUMENT", pos, `${sub.field} cannot be written`);
  return sub;
}

/** @throws OpenFlowError OF_VALUE when not even a header fits the buffer */
export function room(buf: Buffer, off: number): void {
  // Writes past the end of a Buffer are dropped silently, so whatever an action takes at least has to be there.
  if (off + 8 > buf.length) throw badValue("the buffer is too small");
}

// --- parts of a layout ---

export function draft(obj: Obj, name: string): Draft {
  return (obj[name] ??= { field: "", ofs: 0, bits: 0 }) as Draft;
}

/** ofs << 6 | bits - 1 */
export function ofsBits<N extends string>(name: N): Part<Named<N, SubField>> {
  return {
    name, size: 2,
    encode(buf, off, obj) {
      const sub = subfield(obj, name);
      writeU16(buf, off, rangeOf(sub, name));
      return off + 2;
    },
    decode(buf, off, _end, obj) {
      const value = buf.readUInt16BE(off);
      const sub = draft(obj, name);
      sub.ofs = value >>> 6;
      sub.bits = (value & 63) + 1;
      return off + 2;
    },
  };
}

export function half<N extends string>(name: N, key: "ofs" | "bits", also?: string): Part<Named<N, SubField>> {
  return {
    name, size: 2,
    encode(buf, off, obj) {
      writeU16(buf, off, subfield(obj, name)[key]);
      return off + 2;
    },
    decode(buf, off, _end, obj) {
      draft(obj, name)[key] = buf.readUInt16BE(off);
      if (also !== undefined) draft(obj, also)[key] = buf.readUInt16BE(off);
      return off + 2;
    },
  };
}

/** The field of a subfield, as an NXM or OXM header of 4 or 8 bytes. */
export function header<N extends string>(name: N): Part<Named<N, SubField>> {
  return {
    name, size: -1,
    encode: (buf, off, obj) => writeNxmHeader(buf, off, subfield(obj, name)),
    decode(buf, off, end, obj) {
      const found = readHeader(buf, off, end);
      if (judging.strict && found.masked) throw refusal("OFPBMC_BAD_MASK", off, `${found.field.name} has a mask where only a field is named`);
      nameField(draft(obj, name), found);
      return found.end;
    },
  };
}

/** The header of a field that is named as a whole, so that its bits say how long it is. */
export function wholeHeader<N extends string>(name: N): Part<Named<N, SubField>> {
  return {
    ...header(name),
    encode(buf, off, obj) {
      const sub = subfield(obj, name);
      return writeNxmHeader(buf, off, sub.length === undefined ? { ...sub, length: (sub.bits + 7) >> 3 } : sub);
    },
  };
}

/** The same in older actions, which have room for 4 bytes only. */
export function nxmHeader<N extends string>(name: N): Part<Named<N, SubField>> {
  return {
    name, size: 4,
    encode(buf, off, obj) {
      const sub = subfield(obj, name);
      const end = writeNxmHeader(buf, off, sub);
      if (end !== off + 4) throw badValue(`${name}: ${sub.field} has no header of 4 bytes`);
      return end;
    },
    decode(buf, off, _end, obj) {
      nameField(draft(obj, name), readNxmHeader(buf, off));
      return off + 4;
    },
  };
}

/** A header of 4 bytes. @throws OpenFlowError OFPBAC_BAD_SET_TYPE */
export function readNxmHeader(buf: Buffer, off: number): OxmHeader {
  if (buf.readUInt16BE(off) === 0xffff) throw refusal("OFPBAC_BAD_SET_TYPE", off, "a field whose header has 8 bytes");
  try {
    return readHeader(buf, off, off + 4);
  } catch (error) {
    if (error instanceof OpenFlowError) throw refusal("OFPBAC_BAD_SET_TYPE", off, error.reason);
    throw error;
  }
}

function nameField(sub: Draft, found: OxmHeader): void {
  sub.field = found.field.name;
  if (found.field.bytes === 0) sub.length = found.length;
}
