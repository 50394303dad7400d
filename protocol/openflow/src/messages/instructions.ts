// Instructions: what a flow does, of which most are lists of actions. OpenFlow 1.3.5 section 7.2.4.

import type { Action } from "../actions/action.ts";
import { checkActions, verifyApplied } from "../actions/check.ts";
import { room } from "../actions/parts.ts";
import { decodeActionSet, encodeActions, readActions } from "../actions/codec.ts";
import { badValue, malformed, OpenFlowError, refusal, truncated } from "../wire/errors.ts";
import { ALL_TABLES } from "../match/fields.ts";
import { writeU64, type U64 } from "../layout/layout.ts";
import type { Match } from "../match/match.ts";
import { flowOf } from "../match/check.ts";
import { judged, judging, type DecodeOptions } from "../wire/strict.ts";
import { whole, writeU16, writeU32 } from "../match/value.ts";

export type Instruction =
  | { readonly type: "goto_table"; readonly table_id: number }
  | { readonly type: "write_metadata"; readonly metadata: U64; readonly metadata_mask?: U64 }
  | { readonly type: "write_actions"; readonly actions: readonly Action[] }
  | { readonly type: "apply_actions"; readonly actions: readonly Action[] }
  | { readonly type: "clear_actions" }
  | { readonly type: "meter"; readonly meter_id: number }
  | { readonly type: "experimenter"; readonly experimenter: number; readonly data?: Uint8Array };

// Open vSwitch writes instructions in the order in which they are executed (OpenFlow 1.3.5 section 5.9).
const INSTRUCTION_ORDER: Readonly<Record<Instruction["type"], number>> = { meter: 0, apply_actions: 1, clear_actions: 2, write_actions: 3, write_metadata: 4, goto_table: 5, experimenter: 6 };

/** Writes instructions in order of execution, whatever order they are given in; returns the offset after them. */
export function encodeInstructions(buf: Buffer, off: number, instructions: readonly Instruction[]): number {
  if (instructions.length === 1) return encodeInstruction(buf, off, instructions[0]!);
  for (let rank = 0; rank <= 6; rank++) {
    for (let i = 0; i < instructions.length; i++) {
      const instruction = instructions[i]!;
      const order = INSTRUCTION_ORDER[instruction.type];
      if (order === rank) off = encodeInstruction(buf, off, instruction);
      else if (order === undefined) throw badValue(`no instruction ${String((instruction as { type: unknown }).type)}`);
    }
  }
  return off;
}

const CODES = { goto_table: 1, apply_actions: 4, meter: 6 } as const;

/** The head of an instruction of `length` bytes, with its argument if it has one; returns the offset after these 8 bytes. */
export function encodeInstructionHead(buf: Buffer, off: number, type: keyof typeof CODES, length: number, argument: number): number {
  if (length > 0xffff) throw badValue(`an instruction of ${length} bytes does not fit a message`);
  writeU16(buf, off, CODES[type]);
  writeU16(buf, off + 2, length);
  writeU32(buf, off + 4, type === "goto_table" ? whole(argument, 0xff, type) << 24 : whole(argument, 0xffffffff, type));
  return off + 8;
}

function encodeInstruction(buf: Buffer, off: number, instruction: Instruction): number {
  room(buf, off);
  // Without actions they do nothing, and Open vSwitch does not write them back.
  if ((instruction.type === "apply_actions" || instruction.type === "write_actions") && instruction.actions.length === 0) return off;
  let code: number;
  let end = off + 8;
  switch (instruction.type) {
    case "goto_table":
      code = 1;
      writeU32(buf, off + 4, whole(instruction.table_id, 0xff, "table_id") << 24);
      break;
    case "write_metadata":
      code = 2;
      writeU32(buf, off + 4, 0);
      writeU64(buf, off + 8, instruction.metadata, "metadata");
      writeU64(buf, off + 16, instruction.metadata_mask ?? 0xffffffffffffffffn, "metadata_mask");
      end = off + 24;
      break;
    case "write_actions":
    case "apply_actions":
      code = instruction.type === "write_actions" ? 3 : 4;
      writeU32(buf, off + 4, 0);
      end = encodeActions(buf, off + 8, instruction.actions);
      break;
    case "clear_actions":
      code = 5;
      writeU32(buf, off + 4, 0);
      break;
    case "meter":
      code = 6;
      writeU32(buf, off + 4, whole(instruction.meter_id, 0xffffffff, "meter_id"));
      break;
    case "experimenter": {
      code = 0xffff;
      writeU32(buf, off + 4, whole(instruction.experimenter, 0xffffffff, "experimenter"));
      const data = instruction.data ?? new Uint8Array(0);
      buf.set(data, end);
      end += data.length;
      break;
    }
    default:
      throw badValue(`no instruction ${String((instruction as { type: unknown }).type)}`);
  }
  if (end - off > 0xffff) throw new OpenFlowError("OF_VALUE", `an instruction of ${end - off} bytes does not fit a message`);
  writeU16(buf, off, code);
  writeU16(buf, off + 2, end - off);
  return end;
}

/** Options of decodeInstructions. */
export interface InstructionOptions extends DecodeOptions {
  /** Strict: what the flow that has them matches, nothing by default. */
  readonly match?: Match;
  /** Strict: the flow's table, 0 by default; instructions go to higher ones only. */
  readonly tableId?: number;
}

/** Reads `length` bytes of instructions. @throws OpenFlowError */
export function decodeInstructions(buf: Buffer, off: number, length: number, options?: InstructionOptions): Instruction[] {
  if (options === undefined) return readInstructions(buf, off, length);
  return judged(options, () => {
    const instructions = readInstructions(buf, off, length);
    if (judging.strict) checkInstructions(instructions, off, options.match ?? {}, options.tableId ?? 0);
    return instructions;
  });
}

const APPLY = 4;
const EXPERIMENTER = 0xffff;

function readInstructions(buf: Buffer, off: number, length: number): Instruction[] {
  const end = off + length;
  if (end > buf.length) throw truncated(off, "instructions", "OFPBIC_BAD_LEN");
  if (judging.strict) mustBeInstructions(buf, off, end);
  const instructions: Instruction[] = [];
  while (off < end) {
    if (off + 8 > end) throw truncated(off, "instruction", "OFPBIC_BAD_LEN");
    const code = buf.readUInt16BE(off);
    const size = buf.readUInt16BE(off + 2);
    if (size < 8 || size % 8 !== 0) throw malformed(off + 2, `instruction length ${size}`, "OFPBIC_BAD_LEN");
    if (off + size > end) throw truncated(off + 2, "instruction", "OFPBIC_BAD_LEN");
    const expected = code === 2 ? 24 : code === 3 || code === APPLY || code === EXPERIMENTER ? size : 8;
    if (size !== expected) throw malformed(off + 2, `instruction length ${size}, expected ${expected}`, "OFPBIC_BAD_LEN");
    switch (code) {
      case 1:
        instructions.push({ type: "goto_table", table_id: buf[off + 4]! });
        break;
      case 2:
        instructions.push({ type: "write_metadata", metadata: buf.readBigUInt64BE(off + 8), metadata_mask: buf.readBigUInt64BE(off + 16) });
        break;
      case 3:
        instructions.push({ type: "write_actions", actions: decodeActionSet(buf, off + 8, size - 8) });
        break;
      case APPLY:
        instructions.push({ type: "apply_actions", actions: readActions(buf, off + 8, size - 8) });
        break;
      case 5:
        instructions.push({ type: "clear_actions" });
        break;
      case 6:
        instructions.push({ type: "meter", meter_id: buf.readUInt32BE(off + 4) });
        break;
      case EXPERIMENTER:
        instructions.push({ type: "experimenter", experimenter: buf.readUInt32BE(off + 4), data: buf.subarray(off + 8, off + size) });
        break;
      default:
        throw malformed(off, `unknown instruction ${code}`, "OFPBIC_UNKNOWN_INST");
    }
    off += size;
  }
  if (judging.strict) {
    const has = (type: Instruction["type"]): boolean => instructions.some((instruction) => instruction.type === type);
    const applied = instructions.find((instruction) => instruction.type === "apply_actions");
    if (applied !== undefined) verifyApplied(applied.actions, off, has("clear_actions") || has("write_actions") || has("write_metadata"));
  }
  return instructions;
}

/** Open vSwitch looks at the heads of all instructions before it looks into one. */
function mustBeInstructions(buf: Buffer, start: number, end: number): void {
  if ((end - start) % 8 !== 0) throw malformed(start, `${end - start} bytes of instructions`, "OFPBIC_BAD_LEN");
  const seen = new Set<number>();
  for (let off = start; off < end; ) {
    const code = buf.readUInt16BE(off);
    const size = buf.readUInt16BE(off + 2);
    if (size < 8 || size % 8 !== 0 || off + size > end) throw malformed(off + 2, `instruction length ${size}`, "OFPBIC_BAD_LEN");
    if (code === EXPERIMENTER) throw refusal("OFPBIC_BAD_EXPERIMENTER", off, "an instruction of an experimenter");
    if (code < 1 || code > 6) throw refusal("OFPBIC_UNKNOWN_INST", off, `unknown instruction ${code}`);
    if (code === 2 ? size !== 24 : code !== 3 && code !== APPLY && size !== 8) throw malformed(off + 2, `instruction length ${size}`, "OFPBIC_BAD_LEN");
    if (seen.has(code)) throw refusal("OFPBIC_DUP_INST", off, `instruction ${code} twice`);
    seen.add(code);
    off += size;
  }
  // It also looks into those that are executed first before the others.
  for (let off = start; seen.has(APPLY) && off < end; off += buf.readUInt16BE(off + 2)) {
    if (buf.readUInt16BE(off) === APPLY) readActions(buf, off + 8, buf.readUInt16BE(off + 2) - 8);
  }
}

const MAX_METER = 0xffff0000;

/** Checks instructions of a flow, which begin at `off`, against what it matches. @throws OpenFlowError */
export function checkInstructions(instructions: readonly Instruction[], off: number, match: Match, tableId: number): void {
  const flow = flowOf(match);
  for (const instruction of [...instructions].sort((a, b) => INSTRUCTION_ORDER[a.type] - INSTRUCTION_ORDER[b.type])) {
    switch (instruction.type) {
      case "meter":
        if (instruction.meter_id === 0 || instruction.meter_id > MAX_METER) throw refusal("OFPMMFC_INVALID_METER", off, `meter ${instruction.meter_id}`);
        break;
      case "apply_actions":
      case "write_actions":
        checkActions(instruction.actions, flow, instruction.type === "write_actions");
        break;
      case "goto_table":
        if (tableId !== ALL_TABLES && instruction.table_id <= tableId) throw refusal("OFPBIC_BAD_TABLE_ID", off, `goto_table ${instruction.table_id} in table ${tableId}`);
        break;
      default:
    }
  }
}
