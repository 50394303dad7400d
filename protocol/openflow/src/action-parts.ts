// What the files of actions share: references to parts of a field, and the frame of an action.

import { badValue, malformed, NX_VENDOR } from "./errors.ts";
import { fields, type FieldName } from "./fields.ts";
import { pad8, writeHeader } from "./match.ts";
import { writeU16, writeU32 } from "./value.ts";

/** Bits `ofs` to `ofs + bits - 1` of a field, 0 the lowest. */
export interface SubField {
  readonly field: FieldName;
  readonly ofs: number;
  readonly bits: number;
}

/** All bits of a field. */
export function wholeField(name: FieldName): SubField {
  return { field: name, ofs: 0, bits: fields[name].bits };
}

/** The part of a field that an action names. @throws OpenFlowError OF_VALUE when there is no such part */
export function subfield(obj: Readonly<Record<string, unknown>>, name: string): SubField {
  const sub = obj[name] as SubField | undefined;
  const field = sub === undefined ? undefined : fields[sub.field];
  if (sub === undefined || field === undefined) throw badValue(`${name} takes a part of a field`);
  if (!(sub.ofs >= 0 && sub.bits > 0) || (field.bits > 0 && sub.ofs + sub.bits > field.bytes * 8)) {
    throw badValue(`${sub.field} has no bits ${sub.ofs}..${sub.ofs + sub.bits - 1}`);
  }
  return sub;
}

/** NXM header of the field. */
export function writeNxmHeader(buf: Buffer, off: number, sub: SubField): number {
  const field = fields[sub.field];
  const end = writeHeader(buf, off, field.nxmHeader, field.nxmExperimenter);
  buf[off + 3] = (field.bytes || (sub.ofs + sub.bits + 7) >> 3) + (end - off - 4);
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
  if (sub.bits === 0 || (field.bytes > 0 && sub.ofs + sub.bits > field.bytes * 8)) throw malformed(pos, `${sub.field} has no bits ${sub.ofs}..${sub.ofs + sub.bits - 1}`);
  return sub;
}

/** @throws OpenFlowError OF_VALUE when not even a header fits the buffer */
export function room(buf: Buffer, off: number): void {
  // Writes past the end of a Buffer are dropped silently, so whatever an action takes at least has to be there.
  if (off + 8 > buf.length) throw badValue("the buffer is too small");
}
