// The controller action: NXAST_CONTROLLER, and with its newer abilities NXAST_CONTROLLER2, which has them as properties.

import { finish, nicira } from "./parts.ts";
import { malformed, refusal, truncated } from "../wire/errors.ts";
import { mustBeZero } from "../layout/layout.ts";
import { checkProperty } from "../layout/properties.ts";
import { pad8 } from "../match/match.ts";
import { judging } from "../wire/strict.ts";
import { whole, writeU16, writeU32 } from "../match/value.ts";

export interface ControllerAction {
  readonly type: "controller";
  readonly max_len?: number;
  readonly controller_id?: number;
  readonly reason?: number;
  readonly userdata?: Uint8Array;
  readonly pause?: boolean;
  readonly meter_id?: number;
  /** NXAST_CONTROLLER2 although the older form could say it; as such only decoded. */
  readonly form?: 2;
}

const NO_METER = 0xffffffff;

export function encodeController(buf: Buffer, off: number, action: ControllerAction): number {
  const reason = whole(action.reason ?? 1, 0xff, "reason");
  const maxLen = whole(action.max_len ?? 0xffff, 0xffff, "max_len");
  const controllerId = whole(action.controller_id ?? 0, 0xffff, "controller_id");
  if (action.userdata === undefined && action.pause !== true && action.meter_id === undefined && action.form === undefined) {
    const pos = nicira(buf, off, 20);
    writeU16(buf, pos, maxLen);
    writeU16(buf, pos + 2, controllerId);
    buf[pos + 4] = reason;
    buf[pos + 5] = 0;
    writeU16(buf, off + 2, 16);
    return off + 16;
  }
  let pos = nicira(buf, off, 37);
  writeU16(buf, pos, 0);
  writeU32(buf, pos + 2, 0);
  pos += 6;
  const property = (type: number, length: number, write: (at: number) => void): void => {
    writeU16(buf, pos, type);
    writeU16(buf, pos + 2, 4 + length);
    writeU32(buf, pos + 4, 0);
    write(pos + 4);
    pos = pad8(buf, pos, pos + 4 + length);
  };
  if (maxLen !== 0xffff) property(0, 4, (at) => writeU16(buf, at, maxLen));
  if (controllerId !== 0) property(1, 4, (at) => writeU16(buf, at, controllerId));
  if (reason !== 1) property(2, 1, (at) => (buf[at] = reason));
  const userdata = action.userdata;
  if (userdata !== undefined && userdata.length > 0) property(3, userdata.length, (at) => buf.set(userdata, at));
  if (action.pause === true) property(4, 0, () => undefined);
  if (action.meter_id !== undefined && action.meter_id !== NO_METER) property(5, 4, (at) => writeU32(buf, at, whole(action.meter_id!, 0xffffffff, "meter_id")));
  return finish(buf, off, pos);
}

export function decodeController(buf: Buffer, off: number): ControllerAction {
  return { type: "controller", max_len: buf.readUInt16BE(off + 10), controller_id: buf.readUInt16BE(off + 12), reason: buf[off + 14]! };
}

/** Bytes of each property with its head of four; userdata takes any, pause none. */
const SIZES = [6, 6, 5, 4, 4, 8];
const JUDGEMENT = { badType: "OFPBPC_BAD_TYPE" } as const;
const USERDATA = 3;
const PAUSE = 4;

export function decodeController2(buf: Buffer, off: number, end: number): ControllerAction {
  if (judging.strict) mustBeZero(buf, off + 10, off + 16);
  const action: { -readonly [K in keyof ControllerAction]: ControllerAction[K] } = { type: "controller" };
  for (let pos = off + 16; pos < end; ) {
    if (pos + 4 > end) throw truncated(pos, "controller property", "OFPBPC_BAD_LEN");
    const type = buf.readUInt16BE(pos);
    const length = buf.readUInt16BE(pos + 2);
    if (length < 4 || pos + ((length + 7) & ~7) > end) throw malformed(pos + 2, `controller property of ${length} bytes`, "OFPBPC_BAD_LEN");
    const size = SIZES[type];
    checkProperty(buf, pos, size !== undefined, JUDGEMENT);
    if (size === undefined) throw refusal(JUDGEMENT.badType, pos, `controller property ${type}`);
    // More than it takes is let pass: 16 bits come in four bytes, and some count the padding.
    if (length < size) throw malformed(pos + 2, `controller property of ${length} bytes`, "OFPBPC_BAD_LEN");
    if (type === 0) action.max_len = buf.readUInt16BE(pos + 4);
    else if (type === 1) action.controller_id = buf.readUInt16BE(pos + 4);
    else if (type === 2) action.reason = buf[pos + 4]!;
    else if (type === USERDATA) action.userdata = buf.subarray(pos + 4, pos + length);
    else if (type === PAUSE) action.pause = true;
    else action.meter_id = buf.readUInt32BE(pos + 4);
    pos += (length + 7) & ~7;
  }
  if (action.userdata === undefined && action.pause === undefined && action.meter_id === undefined) action.form = 2;
  return action;
}
