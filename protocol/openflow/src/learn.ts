// The learn action: a flow that makes flows. NXAST_LEARN and NXAST_LEARN2, ovs-actions(7).

import { checked, finish, nicira, subfield, writeNxmHeader, type SubField } from "./action-parts.ts";
import { badValue, malformed, truncated } from "./errors.ts";
import { writeU64, type U64 } from "./layout.ts";
import { readHeader } from "./match.ts";
import { readBig, writeU16, writeU32 } from "./value.ts";

/** What a learned flow matches ("match"), does ("load") or outputs to ("output"); `src` is a field of the packet or a constant. */
export interface LearnSpec {
  readonly type: "match" | "load" | "output";
  readonly src: SubField | number | bigint;
  /** Absent for "output". */
  readonly dst?: SubField;
}

export interface LearnAction {
  readonly type: "learn";
  readonly table_id?: number; readonly priority?: number; readonly cookie?: U64;
  readonly idle_timeout?: number; readonly hard_timeout?: number; readonly fin_idle_timeout?: number; readonly fin_hard_timeout?: number;
  /** 1 send_flow_rem, 2 delete_learned. */
  readonly flags?: number; readonly limit?: number;
  /** A bit set when the flow was learned. */
  readonly result_dst?: SubField;
  readonly specs: readonly LearnSpec[];
}

const LEARN_TYPES = ["match", "load", "output"] as const;

export function encodeLearn(buf: Buffer, off: number, action: LearnAction): number {
  const two = action.limit !== undefined || action.result_dst !== undefined;
  let pos = nicira(buf, off, two ? 45 : 16);
  writeU16(buf, pos, action.idle_timeout ?? 0);
  writeU16(buf, pos + 2, action.hard_timeout ?? 0);
  writeU16(buf, pos + 4, action.priority ?? 32768);
  writeU64(buf, pos + 6, action.cookie ?? 0, "cookie");
  writeU16(buf, pos + 14, (action.flags ?? 0) | (action.result_dst === undefined ? 0 : 4));
  buf[pos + 16] = action.table_id ?? 1;
  buf[pos + 17] = 0;
  writeU16(buf, pos + 18, action.fin_idle_timeout ?? 0);
  writeU16(buf, pos + 20, action.fin_hard_timeout ?? 0);
  pos += 22;
  if (two) {
    writeU32(buf, pos, action.limit ?? 0);
    writeU32(buf, pos + 4, (action.result_dst?.ofs ?? 0) << 16);
    pos += 8;
    if (action.result_dst !== undefined) pos = writeNxmHeader(buf, pos, action.result_dst);
  }
  for (const spec of action.specs) {
    const constant = typeof spec.src !== "object";
    const bits = spec.dst?.bits ?? (typeof spec.src === "object" ? spec.src.bits : 16);
    const kind = LEARN_TYPES.indexOf(spec.type);
    writeU16(buf, pos, bits | (constant ? 1 << 13 : 0) | (kind << 11));
    pos += 2;
    if (typeof spec.src === "object") pos = learnField(buf, pos, spec.src);
    else {
      const bytes = 2 * Math.ceil(bits / 16);
      let value = BigInt(spec.src);
      if (value >> BigInt(bits) !== 0n) throw badValue(`learn: ${value} does not fit ${bits} bits`);
      for (let i = bytes - 1; i >= 0; i--) {
        buf[pos + i] = Number(value & 0xffn);
        value >>= 8n;
      }
      pos += bytes;
    }
    if (spec.dst !== undefined) pos = learnField(buf, pos, spec.dst);
  }
  return finish(buf, off, pos);
}

function learnField(buf: Buffer, pos: number, sub: SubField): number {
  const end = writeNxmHeader(buf, pos, subfield({ learn: sub }, "learn"));
  if (end - pos !== 4) throw badValue(`learn cannot name ${sub.field}`);
  writeU16(buf, end, sub.ofs);
  return end + 2;
}

export function decodeLearn(buf: Buffer, off: number, end: number, two: boolean): LearnAction {
  let pos = off + 10;
  if (end - off < (two ? 40 : 32)) throw truncated(off, "learn");
  const flags = buf.readUInt16BE(pos + 14);
  const head = {
    type: "learn" as const,
    table_id: buf[pos + 16]!,
    priority: buf.readUInt16BE(pos + 4),
    cookie: buf.readBigUInt64BE(pos + 6),
    idle_timeout: buf.readUInt16BE(pos),
    hard_timeout: buf.readUInt16BE(pos + 2),
    fin_idle_timeout: buf.readUInt16BE(pos + 18),
    fin_hard_timeout: buf.readUInt16BE(pos + 20),
    flags: flags & ~4,
  };
  pos += 22;
  let extra: { limit?: number; result_dst?: SubField } = {};
  if (two) {
    extra = { limit: buf.readUInt32BE(pos) };
    const ofs = buf.readUInt16BE(pos + 4);
    pos += 8;
    if (flags & 4) {
      const found = readHeader(buf, pos, end);
      extra.result_dst = checked(pos, { field: found.field.name, ofs, bits: 1 });
      pos = found.end;
    }
  }
  const specs: LearnSpec[] = [];
  const reference = (bits: number): SubField => {
    if (pos + 6 > end) throw truncated(pos, "learn field");
    const { field, end: next } = readHeader(buf, pos, end);
    if (next !== pos + 4) throw malformed(pos, "learn field");
    pos += 6;
    return checked(pos - 6, { field: field.name, ofs: buf.readUInt16BE(pos - 2), bits });
  };
  while (pos + 2 <= end) {
    const head = buf.readUInt16BE(pos);
    if (head === 0) break;
    pos += 2;
    const bits = head & 0x7ff;
    const type = LEARN_TYPES[(head >>> 11) & 3];
    if (type === undefined || head >>> 14 !== 0 || bits === 0) throw malformed(pos - 2, `learn specification 0x${head.toString(16)}`);
    let src: SubField | number | bigint;
    if (head & (1 << 13)) {
      const bytes = 2 * Math.ceil(bits / 16);
      if (pos + bytes > end) throw truncated(pos, "learn constant");
      src = bytes <= 4 ? buf.readUIntBE(pos, bytes) : readBig(buf, pos, bytes);
      pos += bytes;
    } else src = reference(bits);
    specs.push(type === "output" ? { type, src } : { type, src, dst: reference(bits) });
  }
  if (end - pos >= 8) throw malformed(pos, "learn: bytes left over");
  return { ...head, ...extra, specs };
}
