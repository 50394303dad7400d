// Lists of actions to bytes and back. Most are rows of actions-table.ts; the few whose shape depends
// on their content have a file each, and what is smaller than that is written out here.

import type { Action } from "./action.ts";
import { allowedIn, checkValue, locate, verifyActions } from "./check.ts";
import { checked, checkedTarget, finish, nicira, room, subfield, type Draft, type SubField } from "./parts.ts";
import { decodeController, decodeController2, encodeController } from "./controller.ts";
import { decodeCt, decodeNat, encodeCt, encodeNat } from "./ct.ts";
import { decodeEncap, encodeEncap } from "./encap.ts";
import { decodeLoad, decodeLoad2, decodeSetField, encodeLoad, encodeLoad2, encodeSetField } from "./set.ts";
import { niciraActions, standardActions, tableActions, type TableRow } from "./table.ts";
import { badValue, malformed, NX_VENDOR, ONF_VENDOR, refusal, truncated } from "../wire/errors.ts";
import { fields, ports } from "../match/fields.ts";
import { decodeParts, encodeParts, mustBeZero } from "../layout/layout.ts";
import { decodeLearn, encodeLearn } from "./learn.ts";
import { readHeader, writeHeader } from "../match/oxm.ts";
import { judged, judging, type DecodeOptions } from "../wire/strict.ts";
import { port16, whole, writeU16, writeU32 } from "../match/value.ts";

type Obj = Record<string, unknown>;

// --- encoding ---

/** Writes a list of actions; returns the offset after it. */
export function encodeActions(buf: Buffer, off: number, actions: readonly Action[]): number {
  for (let i = 0; i < actions.length; i++) off = encodeAction(buf, off, actions[i]!);
  return off;
}

function encodeAction(buf: Buffer, off: number, action: Action): number {
  room(buf, off);
  switch (action.type) {
    case "output":
      if (typeof action.port !== "number" || action.port >>> 0 !== action.port) throw badValue(`output: no port ${String(action.port)}`);
      writeU32(buf, off, 16);
      writeU32(buf, off + 4, action.port);
      writeU16(buf, off + 8, whole(action.max_len ?? (action.port === ports.CONTROLLER ? 0xffff : 0), 0xffff, "max_len"));
      writeU16(buf, off + 10, 0);
      writeU32(buf, off + 12, 0);
      return off + 16;
    case "set_field":
      return encodeSetField(buf, off, action.field, action.value, action.mask);
    case "load":
      return encodeLoad(buf, off, subfield({ dst: action.dst }, "dst"), action.value);
    case "reg_load2":
      return encodeLoad2(buf, off, fields[action.field], action.value, action.mask);
    case "move":
      return action.onf === true ? encodeCopyField(buf, off, action.src, action.dst) : encodeRow(buf, off, action);
    case "resubmit": {
      const pos = nicira(buf, off, action.table === undefined && action.ct !== true ? 1 : action.ct === true ? 44 : 14);
      writeU16(buf, pos, port16(action.in_port ?? 0xfff8, "in_port"));
      writeU32(buf, pos + 2, whole(action.table ?? (action.ct === true ? 255 : 0), 0xff, "table") << 24);
      writeU16(buf, off + 2, 16);
      return off + 16;
    }
    case "ct":
      return encodeCt(buf, off, action, encodeActions);
    case "nat":
      return encodeNat(buf, off, action.nat);
    case "controller":
      return encodeController(buf, off, action);
    case "encap":
      return encodeEncap(buf, off, action);
    case "dec_ttl":
      writeU32(buf, off, (24 << 16) | 8);
      writeU32(buf, off + 4, 0);
      return off + 8;
    case "learn":
      return encodeLearn(buf, off, action);
    case "clone": {
      const pos = nicira(buf, off, 42);
      buf.fill(0, pos, pos + 6);
      return finish(buf, off, encodeActions(buf, pos + 6, action.actions));
    }
    case "experimenter": {
      writeU16(buf, off, 0xffff);
      writeU32(buf, off + 4, whole(action.experimenter, 0xffffffff, "experimenter"));
      const data = action.data ?? new Uint8Array(0);
      buf.set(data, off + 8);
      return finish(buf, off, off + 8 + data.length);
    }
    default:
      return encodeRow(buf, off, action);
  }
}

function encodeRow(buf: Buffer, off: number, action: Action): number {
  const def = tableActions.get(action.type);
  if (def === undefined) throw badValue(`no action ${(action as { type: string }).type}`);
  let pos = off + 4;
  if (def.vendor === 0) writeU16(buf, off, def.code);
  else pos = nicira(buf, off, def.code);
  let end = encodeParts(def.layout, buf, pos, action as unknown as Obj);
  if (def.size !== undefined) while (end < off + def.size) buf[end++] = 0;
  return finish(buf, off, end);
}

const COPY_FIELD = 3200;

function encodeCopyField(buf: Buffer, off: number, src: SubField, dst: SubField): number {
  writeU16(buf, off, 0xffff);
  writeU32(buf, off + 4, ONF_VENDOR);
  writeU32(buf, off + 8, COPY_FIELD << 16);
  writeU16(buf, off + 12, subfield({ dst }, "dst").bits);
  writeU16(buf, off + 14, subfield({ src }, "src").ofs);
  writeU16(buf, off + 16, dst.ofs);
  writeU16(buf, off + 18, 0);
  let end = off + 20;
  for (const { field: name, length } of [src, dst]) {
    const field = fields[name];
    const start = end;
    end = writeHeader(buf, start, field.header, field.experimenter);
    buf[start + 3] = (field.bytes || (length ?? 124)) + (end - start - 4);
  }
  return finish(buf, off, end);
}

// --- decoding ---

const MAX_DEPTH = 32;
let depth = 0;

/** Reads `length` bytes of actions. @throws OpenFlowError */
export function decodeActions(buf: Buffer, off: number, length: number, options?: DecodeOptions): Action[] {
  if (options !== undefined) return judged(options, () => decodeActions(buf, off, length));
  if (judging.strict && length % 8 !== 0) throw malformed(off, `${length} bytes of actions`);
  const actions = readActions(buf, off, length);
  if (judging.strict) verifyActions(actions, off);
  return actions;
}

/** The actions that ct executes, of which there are few. */
function decodeExec(buf: Buffer, off: number, length: number): Action[] {
  const actions = readActions(buf, off, length);
  if (judging.strict) verifyActions(actions, off, "ct");
  return actions;
}

/** Actions of an action set. */
export function decodeActionSet(buf: Buffer, off: number, length: number): Action[] {
  const actions = readActions(buf, off, length);
  if (judging.strict) allowedIn(actions);
  return actions;
}

/** Each action by itself; whether they may stand together is for the caller. */
export function readActions(buf: Buffer, off: number, length: number): Action[] {
  const end = off + length;
  if (end > buf.length) throw truncated(off, "actions");
  if (depth === MAX_DEPTH) throw malformed(off, "actions nested too deeply", "OFPBAC_TOO_MANY");
  depth++;
  try {
    const actions: Action[] = [];
    while (off < end) {
      if (off + 8 > end) throw truncated(off, "action", "OFPBAC_BAD_LEN");
      if (judging.strict) mustBeKnown(buf, off, end);
      const size = buf.readUInt16BE(off + 2);
      if (size < 8 || size % 8 !== 0) throw malformed(off + 2, `action length ${size}`, "OFPBAC_BAD_LEN");
      if (off + size > end) throw truncated(off + 2, "action", "OFPBAC_BAD_LEN");
      const action = decodeAction(buf, off, off + size);
      if (judging.strict) {
        locate(action, off);
        checkValue(action, off);
      }
      actions.push(action);
      off += size;
    }
    return actions;
  } finally {
    depth--;
  }
}

function decodeAction(buf: Buffer, off: number, end: number): Action {
  const code = buf.readUInt16BE(off);
  if (code !== 0xffff) {
    if (code === 0) {
      exactly(off, end, 16);
      return { type: "output", port: buf.readUInt32BE(off + 4), max_len: buf.readUInt16BE(off + 8) };
    }
    if (code === 24) {
      exactly(off, end, 8);
      return { type: "dec_ttl" };
    }
    if (code === 25) return decodeSetField(buf, off, end);
    return decodeRow(standardActions[code], buf, off, off + 4, end);
  }
  const vendor = buf.readUInt32BE(off + 4);
  if (vendor !== NX_VENDOR) {
    if (vendor === ONF_VENDOR && end - off >= 16 && buf.readUInt16BE(off + 8) === COPY_FIELD) return decodeCopyField(buf, off, end);
    return { type: "experimenter", experimenter: vendor, data: buf.subarray(off + 8, end) };
  }
  if (end - off < 16) throw truncated(off, "Nicira action", "OFPBAC_BAD_LEN");
  const subtype = buf.readUInt16BE(off + 8);
  const pos = off + 10;
  switch (subtype) {
    case 1:
    case 14:
    case 44: {
      exactly(off, end, 16);
      if (judging.strict && subtype !== 1) mustBeZero(buf, pos + 3, end, "OFPBAC_BAD_ARGUMENT");
      const port = buf.readUInt16BE(pos);
      return {
        type: "resubmit",
        ...(subtype === 1 ? {} : { table: buf[pos + 2]! }),
        ...(port === 0xfff8 && subtype !== 1 ? {} : { in_port: port }),
        ...(subtype === 44 ? { ct: true } : {}),
      };
    }
    case 7:
      return decodeLoad(buf, off, end);
    case 16:
    case 45:
      return decodeLearn(buf, off, end, subtype === 45);
    case 20:
      exactly(off, end, 16);
      return decodeController(buf, off);
    case 33:
      return decodeLoad2(buf, off, end);
    case 35:
      return decodeCt<Action>(buf, off, end, decodeExec);
    case 36:
      return { type: "nat", nat: decodeNat(buf, off, end) };
    case 37:
      return decodeController2(buf, off, end);
    case 42:
      return { type: "clone", actions: decodeActions(buf, off + 16, end - off - 16) };
    case 46:
      return decodeEncap(buf, off, end);
    default:
      return decodeRow(niciraActions[subtype], buf, off, pos, end);
  }
}

// Numbers of actions that the tables do not have: output, dec_ttl, set_field; and those of Nicira that are written out above.
const STANDARD = new Set([0, 24, 25]);
const NICIRA = new Set([1, 7, 14, 16, 20, 33, 35, 36, 37, 42, 44, 45, 46]);
/** Open vSwitch has not: copy_ttl_out, copy_ttl_in, push_pbb, pop_pbb. */
const NOT_STANDARD = new Set([11, 12, 26, 27]);

/** An action that Open vSwitch does not know it refuses before it looks at its length. */
function mustBeKnown(buf: Buffer, off: number, end: number): void {
  const code = buf.readUInt16BE(off);
  if (code !== 0xffff) {
    if ((standardActions[code] === undefined && !STANDARD.has(code)) || NOT_STANDARD.has(code)) throw refusal("OFPBAC_BAD_TYPE", off, `unknown action ${code}`);
    return;
  }
  const vendor = buf.readUInt32BE(off + 4);
  if (vendor !== NX_VENDOR && vendor !== ONF_VENDOR) throw refusal("OFPBAC_BAD_VENDOR", off + 4, `an action of experimenter 0x${vendor.toString(16)}`);
  if (end - off < 16) throw truncated(off, "experimenter action", "OFPBAC_BAD_LEN");
  const subtype = buf.readUInt16BE(off + 8);
  const known = vendor === ONF_VENDOR ? subtype === COPY_FIELD : niciraActions[subtype] !== undefined || NICIRA.has(subtype);
  if (!known) throw refusal("OFPBAC_BAD_VENDOR_TYPE", off + 8, `unknown action ${subtype} of experimenter 0x${vendor.toString(16)}`);
}

function exactly(off: number, end: number, size: number): void {
  if (end - off !== size) throw malformed(off + 2, `action length ${end - off}, expected ${size}`, "OFPBAC_BAD_LEN");
}

function decodeRow(row: TableRow | undefined, buf: Buffer, off: number, pos: number, end: number): Action {
  if (row === undefined) throw malformed(off, "unknown action", buf.readUInt16BE(off) === 0xffff ? "OFPBAC_BAD_VENDOR_TYPE" : "OFPBAC_BAD_TYPE");
  const [name, def] = row;
  if (def.size !== undefined) exactly(off, end, def.size);
  const obj: Obj = { type: name };
  const at = decodeParts(def.layout, buf, pos, Math.max(end, pos), obj, name, "OFPBAC_BAD_LEN");
  if (def.open !== true && def.size === undefined) exactly(off, end, (at - off + 7) & ~7);
  if (judging.strict && def.zeroTail === true) mustBeZero(buf, at, end);
  if (name === "check_pkt_larger") (obj["dst"] as Draft).bits = 1;
  if (name === "delete_field") {
    const whole = obj["field"] as Draft;
    whole.bits = (whole.length ?? fields[whole.field].bytes) * 8 || 1;
  }
  if (obj["src"] !== undefined) checked(off, obj["src"] as SubField);
  if (obj["dst"] !== undefined) checkedTarget(off, obj["dst"] as SubField);
  if (obj["field"] !== undefined) (name === "stack_pop" ? checkedTarget : checked)(off, obj["field"] as SubField);
  return obj as unknown as Action;
}

/** ONF copy_field does the same as move. */
function decodeCopyField(buf: Buffer, off: number, end: number): Action {
  if (end - off < 24) throw truncated(off, "copy_field", "OFPBAC_BAD_LEN");
  const bits = buf.readUInt16BE(off + 12);
  const src = readHeader(buf, off + 20, end);
  const dst = readHeader(buf, src.end, end);
  if (judging.strict) mustBeZero(buf, dst.end, end);
  const part = (found: typeof src, at: number): SubField => ({
    field: found.field.name, ofs: buf.readUInt16BE(at), bits, ...(found.field.bytes === 0 ? { length: found.length } : {}),
  });
  return { type: "move", src: checked(off + 14, part(src, off + 14)), dst: checkedTarget(off + 16, part(dst, off + 16)), onf: true };
}

export type { Action } from "./action.ts";
export type { Nat } from "./ct.ts";
export { encodeLoad, encodeSetField } from "./set.ts";
