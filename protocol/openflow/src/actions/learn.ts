// The learn action: a flow that makes flows. NXAST_LEARN and NXAST_LEARN2, ovs-actions(7).

import { checked, checkedTarget, finish, nicira, readNxmHeader, subfield, writeNxmHeader, type SubField } from "./parts.ts";
import { badValue, malformed, refusal, truncated } from "../wire/errors.ts";
import { mustBeZero, writeU64, type U64 } from "../layout/layout.ts";
import { readHeader, type OxmHeader } from "../match/oxm.ts";
import { judging } from "../wire/strict.ts";
import { readBig, whole, writeU16, writeU32 } from "../match/value.ts";

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
  writeU16(buf, pos, whole(action.idle_timeout ?? 0, 0xffff, "idle_timeout"));
  writeU16(buf, pos + 2, whole(action.hard_timeout ?? 0, 0xffff, "hard_timeout"));
  writeU16(buf, pos + 4, whole(action.priority ?? 32768, 0xffff, "priority"));
  writeU64(buf, pos + 6, action.cookie ?? 0, "cookie");
  writeU16(buf, pos + 14, whole(action.flags ?? 0, 0xffff, "flags") | (action.result_dst === undefined ? 0 : 4));
  buf[pos + 16] = whole(action.table_id ?? 1, 0xff, "table_id");
  buf[pos + 17] = 0;
  writeU16(buf, pos + 18, whole(action.fin_idle_timeout ?? 0, 0xffff, "fin_idle_timeout"));
  writeU16(buf, pos + 20, whole(action.fin_hard_timeout ?? 0, 0xffff, "fin_hard_timeout"));
  pos += 22;
  if (two) {
    writeU32(buf, pos, whole(action.limit ?? 0, 0xffffffff, "limit"));
    const result = action.result_dst === undefined ? undefined : subfield({ result_dst: action.result_dst }, "result_dst");
    writeU32(buf, pos + 4, (result?.ofs ?? 0) << 16);
    pos += 8;
    if (result !== undefined) pos = writeNxmHeader(buf, pos, result);
  }
  for (const spec of action.specs) {
    const constant = typeof spec.src !== "object" || spec.src === null;
    for (const part of [spec.src, spec.dst]) if (typeof part === "object") subfield({ learn: part }, "learn");
    const bits = spec.dst?.bits ?? (typeof spec.src === "object" ? spec.src.bits : 16);
    const kind = LEARN_TYPES.indexOf(spec.type);
    writeU16(buf, pos, bits | (constant ? 1 << 13 : 0) | (kind << 11));
    pos += 2;
    if (typeof spec.src === "object") pos = learnField(buf, pos, spec.src);
    else {
      const bytes = 2 * Math.ceil(bits / 16);
      if (typeof spec.src !== "bigint" && !Number.isSafeInteger(spec.src)) throw badValue(`learn: ${String(spec.src)} is no src`);
      let value = BigInt(spec.src);
      if (value >> BigInt(bits) !== 0n) throw badValue(`learn: ${value} does not fit ${bits} bits of ${spec.dst?.field ?? "src"}`);
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

const SEND_FLOW_REM = 1;
const DELETE_LEARNED = 2;
const WRITE_RESULT = 4;
const IMMEDIATE = 1 << 13;

export function decodeLearn(buf: Buffer, off: number, end: number, two: boolean): LearnAction {
  let pos = off + 10;
  if (end - off < (two ? 40 : 32)) throw truncated(off, "learn", "OFPBAC_BAD_LEN");
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
    flags: two ? flags & ~WRITE_RESULT : flags,
  };
  if (judging.strict) {
    if (two) mustBeZero(buf, pos + 28, pos + 30, "NXBAC_MUST_BE_ZERO");
    mustBeZero(buf, pos + 17, pos + 18, "OFPBAC_BAD_ARGUMENT");
    if (head.table_id === 0xff) throw refusal("OFPBAC_BAD_ARGUMENT", pos + 16, "learn: table 255");
    if (flags & ~(SEND_FLOW_REM | DELETE_LEARNED | (two ? WRITE_RESULT : 0))) throw refusal("OFPBAC_BAD_ARGUMENT", pos + 14, `learn: flags 0x${flags.toString(16)}`);
  }
  pos += 22;
  let extra: { limit?: number; result_dst?: SubField } = {};
  if (two) {
    extra = { limit: buf.readUInt32BE(pos) };
    const ofs = buf.readUInt16BE(pos + 4);
    pos += 8;
    if (flags & WRITE_RESULT) {
      const found = readHeader(buf, pos, end);
      if (judging.strict && found.masked) throw refusal("OFPBMC_BAD_MASK", pos, "learn: a masked result");
      extra.result_dst = checkedTarget(pos, { field: found.field.name, ofs, bits: 1, ...lengthOf(found) });
      pos = found.end;
    } else if (judging.strict && ofs !== 0) throw refusal("OFPBAC_BAD_ARGUMENT", pos - 4, "learn: an offset without result");
  }
  const specs: LearnSpec[] = [];
  const references: [at: number, sub: SubField][] = [];
  const reference = (bits: number): SubField => {
    const found = readNxmHeader(buf, pos);
    pos += 6;
    const sub = { field: found.field.name, ofs: buf.readUInt16BE(pos - 2), bits, ...lengthOf(found) };
    references.push([pos - 6, sub]);
    return sub;
  };
  while (pos + 2 <= end) {
    const head = buf.readUInt16BE(pos);
    if (head === 0) break;
    const bits = head & 0x7ff;
    const type = LEARN_TYPES[(head >>> 11) & 3];
    const immediate = (head & IMMEDIATE) !== 0;
    // The two highest bits mean nothing to Open vSwitch, which reads the rest all the same.
    if (type === undefined || (type === "output" && immediate) || (head >>> 14 !== 0 && !judging.strict)) throw malformed(pos, `learn specification 0x${head.toString(16)}`, "OFPBAC_BAD_ARGUMENT");
    pos += 2;
    const bytes = immediate ? 2 * Math.ceil(bits / 16) : 6;
    if (pos + bytes + (type === "output" ? 0 : 6) > end) throw truncated(pos, "learn specification", "OFPBAC_BAD_LEN");
    let src: SubField | number | bigint;
    if (immediate) {
      if (bits === 0) throw refusal("OFPBAC_BAD_SET_LEN", pos - 2, "learn: a constant of no bits");
      src = bytes <= 4 ? buf.readUIntBE(pos, bytes) : readBig(buf, pos, bytes);
      pos += bytes;
    } else src = reference(bits);
    specs.push(type === "output" ? { type, src } : { type, src, dst: reference(bits) });
  }
  if (end - pos >= 8 && !judging.strict) throw malformed(pos, "learn: bytes left over", "OFPBAC_BAD_ARGUMENT");
  if (judging.strict) mustBeZero(buf, pos, end, "OFPBAC_BAD_ARGUMENT");
  // Whether fields have the bits that are named comes last.
  for (const [at, sub] of references) checked(at, sub);
  return { ...head, ...extra, specs };
}

function lengthOf(found: OxmHeader): { length?: number } {
  return found.field.bytes === 0 ? { length: found.length } : {};
}
