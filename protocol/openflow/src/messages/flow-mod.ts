// The two hot structures, written and read by hand: flow-mods going out, flow statistics coming back.

import { encodeInstructions, type Instruction } from "./instructions.ts";
import { badValue, malformed, OpenFlowError, truncated } from "../wire/errors.ts";
import { ALL_TABLES, NO_BUFFER, ports } from "../match/fields.ts";
import { writeU64, type U64 } from "../layout/layout.ts";
import { encodeMatch, matchLength, type Match } from "../match/match.ts";
import { whole, writeU16, writeU32 } from "../match/value.ts";

export const OFP_VERSION = 4;
/** A message is at most this long: its length is 16 bits. */
export const MAX_MESSAGE = 0xffff;
const FLOW_MOD = 14;
const MULTIPART_REPLY = 19;

export const flowModCommands = { add: 0, modify: 1, modify_strict: 2, delete: 3, delete_strict: 4 } as const;
export type FlowModCommand = keyof typeof flowModCommands;

/** Flags of a flow-mod and of flow statistics. */
export const flowModFlags = { SEND_FLOW_REM: 1, CHECK_OVERLAP: 2, RESET_COUNTS: 4, NO_PKT_COUNTS: 8, NO_BYT_COUNTS: 16 } as const;

export interface FlowMod {
  readonly command: FlowModCommand;
  readonly table_id?: number;
  readonly priority?: number;
  readonly cookie?: U64;
  readonly cookie_mask?: U64;
  /** Seconds without a packet until removal, 0 = never. */
  readonly idle_timeout?: number;
  /** Seconds until removal, 0 = never. */
  readonly hard_timeout?: number;
  readonly buffer_id?: number;
  /** For deletes: only flows that output to this port (or group). */
  readonly out_port?: number;
  readonly out_group?: number;
  readonly flags?: number;
  readonly match: Match;
  readonly instructions?: readonly Instruction[];
}

/** Offset of the ofp_match within a flow-mod message. */
export const FLOW_MOD_MATCH_OFFSET = 48;

/**
 * Writes a whole flow-mod message at `off`; returns the offset after it.
 * @throws OpenFlowError OF_VALUE when a value has no wire form, the message exceeds 65,535 bytes or does not fit the buffer
 */
export function encodeFlowMod(buf: Buffer, off: number, fm: FlowMod, xid = 0): number {
  if (off + FLOW_MOD_MATCH_OFFSET + 8 > buf.length) throw badValue("the buffer is too small");
  const command = flowModCommands[fm.command];
  if (command === undefined) throw badValue(`no flow-mod command ${fm.command}`);
  buf[off] = OFP_VERSION;
  buf[off + 1] = FLOW_MOD;
  writeU32(buf, off + 4, xid);
  writeU64(buf, off + 8, fm.cookie ?? 0, "cookie");
  writeU64(buf, off + 16, fm.cookie_mask ?? 0, "cookie_mask");
  buf[off + 24] = whole(fm.table_id ?? (command >= 3 ? ALL_TABLES : 0), 0xff, "table_id");
  buf[off + 25] = command;
  writeU16(buf, off + 26, whole(fm.idle_timeout ?? 0, 0xffff, "idle_timeout"));
  writeU16(buf, off + 28, whole(fm.hard_timeout ?? 0, 0xffff, "hard_timeout"));
  writeU16(buf, off + 30, whole(fm.priority ?? 0x8000, 0xffff, "priority"));
  writeU32(buf, off + 32, whole(fm.buffer_id ?? NO_BUFFER, 0xffffffff, "buffer_id"));
  writeU32(buf, off + 36, whole(fm.out_port ?? ports.ANY, 0xffffffff, "out_port"));
  writeU32(buf, off + 40, whole(fm.out_group ?? ports.ANY, 0xffffffff, "out_group"));
  writeU32(buf, off + 44, whole(fm.flags ?? 0, 0xffff, "flags") << 16);
  let end = encodeMatch(buf, off + FLOW_MOD_MATCH_OFFSET, fm.match);
  if (fm.instructions !== undefined) end = encodeInstructions(buf, end, fm.instructions);
  return finishFlowMod(buf, off, end);
}

/** What all flow-mods of encodeFlowModHead share: command OFPFC_ADD, no time-outs, no buffer, any port and group. */
const HEAD = new Uint8Array(FLOW_MOD_MATCH_OFFSET);
HEAD.set([OFP_VERSION, FLOW_MOD]);
HEAD.fill(0xff, 32, 44);

/**
 * The fixed part of a flow-mod that adds a flow which never times out; its match begins at the returned offset. For those
 * who write the rest entry by entry (encodeOxm, encodeInstructionHead, ...) and end with finishFlowMod.
 */
export function encodeFlowModHead(buf: Buffer, off: number, tableId: number, priority: number, cookieHi: number, cookieLo: number): number {
  if (off + FLOW_MOD_MATCH_OFFSET + 8 > buf.length) throw badValue("the buffer is too small");
  buf.set(HEAD, off);
  writeU32(buf, off + 8, whole(cookieHi, 0xffffffff, "cookie"));
  writeU32(buf, off + 12, whole(cookieLo, 0xffffffff, "cookie"));
  buf[off + 24] = whole(tableId, 0xff, "table_id");
  writeU16(buf, off + 30, whole(priority, 0xffff, "priority"));
  return off + FLOW_MOD_MATCH_OFFSET;
}

/** Writes the length of the flow-mod that begins at `off`; returns `end`. @throws OpenFlowError OF_VALUE when it does not fit */
export function finishFlowMod(buf: Buffer, off: number, end: number): number {
  if (end - off > MAX_MESSAGE) throw new OpenFlowError("OF_VALUE", `a flow-mod of ${end - off} bytes; a message has at most ${MAX_MESSAGE}`);
  if (end > buf.length) throw badValue("the buffer is too small");
  writeU16(buf, off + 2, end - off);
  return end;
}

/** One entry of a flow statistics reply: numbers, and where its raw match and instructions are. Reused for the next entry. */
export interface FlowStatsView {
  readonly buf: Buffer;
  readonly table_id: number;
  readonly priority: number;
  readonly cookie_hi: number;
  readonly cookie_lo: number;
  readonly flags: number;
  readonly idle_timeout: number;
  readonly hard_timeout: number;
  readonly duration_sec: number;
  readonly duration_nsec: number;
  /** Exact up to 2^53. */
  readonly packet_count: number;
  readonly byte_count: number;
  /** The ofp_match with its padding: buf[match_off .. match_off + match_len). */
  readonly match_off: number;
  readonly match_len: number;
  readonly instructions_off: number;
  readonly instructions_len: number;
}

/** Calls `fn` for each flow of a multipart reply of kind "flow", copying nothing. The view is valid during the call. */
export function eachFlowStats(replyBuf: Buffer, fn: (entry: FlowStatsView) => void): void {
  if (replyBuf.length < 16) throw truncated(0, "flow statistics");
  if (replyBuf[0] !== OFP_VERSION || replyBuf[1] !== MULTIPART_REPLY || replyBuf.readUInt16BE(8) !== 1) throw malformed(0, "not a flow statistics reply");
  const end = replyBuf.readUInt16BE(2);
  if (end > replyBuf.length) throw truncated(2, "flow statistics");
  const view = {
    buf: replyBuf, table_id: 0, priority: 0, cookie_hi: 0, cookie_lo: 0, flags: 0, idle_timeout: 0, hard_timeout: 0, duration_sec: 0, duration_nsec: 0,
    packet_count: 0, byte_count: 0, match_off: 0, match_len: 0, instructions_off: 0, instructions_len: 0,
  };
  for (let off = 16; off < end; ) {
    if (off + 56 > end) throw truncated(off, "flow statistics entry");
    const length = replyBuf.readUInt16BE(off);
    if (length < 56) throw malformed(off, `flow statistics entry of ${length} bytes`);
    const stop = off + length;
    if (stop > end) throw truncated(off, "flow statistics entry");
    view.table_id = replyBuf[off + 2]!;
    view.duration_sec = replyBuf.readUInt32BE(off + 4);
    view.duration_nsec = replyBuf.readUInt32BE(off + 8);
    view.priority = replyBuf.readUInt16BE(off + 12);
    view.idle_timeout = replyBuf.readUInt16BE(off + 14);
    view.hard_timeout = replyBuf.readUInt16BE(off + 16);
    view.flags = replyBuf.readUInt16BE(off + 18);
    view.cookie_hi = replyBuf.readUInt32BE(off + 24);
    view.cookie_lo = replyBuf.readUInt32BE(off + 28);
    view.packet_count = replyBuf.readUInt32BE(off + 32) * 0x100000000 + replyBuf.readUInt32BE(off + 36);
    view.byte_count = replyBuf.readUInt32BE(off + 40) * 0x100000000 + replyBuf.readUInt32BE(off + 44);
    view.match_off = off + 48;
    view.match_len = (matchLength(replyBuf, off + 48, stop) + 7) & ~7;
    view.instructions_off = view.match_off + view.match_len;
    view.instructions_len = stop - view.instructions_off;
    fn(view);
    off = stop;
  }
}
