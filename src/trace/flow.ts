// Flows as the interpreter takes them, from bytes of the compiler, from a dump, or from text.
import {
  decodeInstructions, decodeMatch, encodeOxms, fieldList, FLOW_MOD_MATCH_OFFSET, type Action, type Field, type Instruction, type Match,
} from "node-openflow";
import { bigOf, bigOfU64 } from "./packet/packet.ts";
import { metadataNumber, placeOf } from "./packet/places.ts";

/** What a flow does, in the order in which Open vSwitch does it: actions, and instructions that are no lists of them. */
export type Op =
  | Action
  | { readonly type: "meter"; readonly meter_id: number }
  | { readonly type: "clear_actions" }
  | { readonly type: "write_actions"; readonly actions: readonly Action[] }
  | { readonly type: "goto_table"; readonly table_id: number };

export interface FlowInput<R> {
  readonly table: number;
  readonly priority: number;
  readonly match: Match;
  readonly instructions: readonly Instruction[];
  readonly cookie?: bigint;
  /** Whatever lets the caller name the flow. */
  readonly ref: R;
}

/** That some bits of a word of the packet have a value. */
export interface Condition {
  readonly word: number;
  readonly mask: number;
  readonly value: number;
}

/** The same of tunnel metadata, which is no word. */
export interface MetadataCondition {
  readonly number: number;
  readonly mask: bigint;
  readonly value: bigint;
}

const RANK: Readonly<Record<Instruction["type"], number>> = { meter: 0, apply_actions: 1, clear_actions: 2, write_actions: 3, write_metadata: 4, goto_table: 5, experimenter: 6 };

export class TraceFlow<R = unknown> {
  readonly table: number;
  readonly priority: number;
  readonly match: Match;
  readonly instructions: readonly Instruction[];
  readonly cookie: bigint;
  readonly ref: R;
  /** By word, ascending. */
  readonly conditions: readonly Condition[];
  readonly metadata: readonly MetadataCondition[];
  private list: readonly Op[] | undefined;

  constructor({ table, priority, match, instructions, cookie = 0n, ref }: FlowInput<R>) {
    this.table = table;
    this.priority = priority;
    this.match = match;
    this.instructions = instructions;
    this.cookie = cookie;
    this.ref = ref;
    [this.conditions, this.metadata] = conditionsOf(match);
  }

  get ops(): readonly Op[] {
    return (this.list ??= opsOf(this.instructions));
  }

  /** Its conjunction actions, if it is part of a conjunctive match: it matches only with others. */
  get conjunctions(): readonly (Action & { readonly type: "conjunction" })[] | undefined {
    const { ops } = this;
    if (ops[0]?.type !== "conjunction") return undefined;
    return ops.filter((op): op is Action & { readonly type: "conjunction" } => op.type === "conjunction");
  }
}

function opsOf(instructions: readonly Instruction[]): Op[] {
  const ops: Op[] = [];
  for (const i of [...instructions].sort((a, b) => RANK[a.type] - RANK[b.type])) {
    if (i.type === "apply_actions") ops.push(...i.actions);
    else if (i.type === "write_metadata") ops.push({ type: "write_metadata", metadata: bigOfU64(i.metadata), metadata_mask: i.metadata_mask === undefined ? 0xffff_ffff_ffff_ffffn : bigOfU64(i.metadata_mask) });
    else if (i.type === "experimenter") ops.push({ type: "experimenter", experimenter: i.experimenter });
    else ops.push(i);
  }
  return ops;
}

/** A flow-mod of the compiler, or of anything else that lies in a buffer so. @throws OpenFlowError */
export function flowOfBytes<R>(flow: { readonly slab: Buffer; readonly off: number; readonly len: number; readonly matchLen: number }, ref: R): TraceFlow<R> {
  const { slab, off, len, matchLen } = flow;
  const match = off + FLOW_MOD_MATCH_OFFSET;
  const actions = match + matchLen;
  return new TraceFlow({
    table: slab[off + 24]!, priority: slab.readUInt16BE(off + 30), cookie: slab.readBigUInt64BE(off + 8),
    match: decodeMatch(slab, match, actions), instructions: decodeInstructions(slab, actions, off + len - actions), ref,
  });
}

const byHeader = new Map<number, Field>();
const byExperimenter = new Map<string, Field>();
for (const field of fieldList) {
  if (field.experimenter === undefined) byHeader.set(field.header, field);
  else byExperimenter.set(`${field.header} ${field.experimenter}`, field);
}

const scratch = Buffer.alloc(65_536);

/** @throws OpenFlowError when the match has no wire form */
export function conditionsOf(match: Match): readonly [readonly Condition[], readonly MetadataCondition[]] {
  const masks = new Map<number, { mask: number; value: number }>();
  const metadata: MetadataCondition[] = [];
  // A copy is written canonically: registers instead of wide ones, one number for each field.
  const end = encodeOxms(scratch, 0, { ...match });
  for (let pos = 0; pos < end; ) {
    const header = scratch.readUInt32BE(pos);
    const stop = pos + 4 + (header & 0xff);
    let start = pos + 4;
    let field: Field | undefined;
    if (header >>> 16 === 0xffff) {
      field = byExperimenter.get(`${(header & 0xffff_fe00) >>> 0} ${scratch.readUInt32BE(start)}`);
      start += 4;
    } else field = byHeader.get((header & 0xffff_fe00) >>> 0);
    if (field === undefined) throw new Error(`a match on 0x${header.toString(16)}, which no switch has`);
    const masked = (header & 0x100) !== 0;
    const half = masked ? (stop - start) >> 1 : stop - start;
    const value = bigOf(scratch, start, half);
    const mask = masked ? bigOf(scratch, start + half, half) : field.bytes === 0 ? -1n : (1n << BigInt(field.bits)) - 1n;
    pos = stop;
    const place = placeOf(field.name);
    if (place === undefined) {
      metadata.push({ number: metadataNumber(field.name), mask, value });
      continue;
    }
    // A whole value of fewer bits than its place has is one of all these bits: ICMP types, protocols.
    const wide = place.bits < 32 && mask === (1n << BigInt(field.bits)) - 1n && FULL.has(field.name) ? 0xffff_ffffn : mask;
    for (let i = place.words - 1, m = wide << BigInt(place.shift), v = value << BigInt(place.shift); i >= 0; i--, m >>= 32n, v >>= 32n) {
      const m32 = Number(m & 0xffff_ffffn);
      if (m32 === 0) continue;
      const word = masks.get(place.word + i) ?? { mask: 0, value: 0 };
      masks.set(place.word + i, { mask: (word.mask | m32) >>> 0, value: (word.value | Number(v & 0xffff_ffffn)) >>> 0 });
    }
  }
  const conditions = [...masks].sort(([a], [b]) => a - b).map(([word, { mask, value }]) => ({ word, mask, value }));
  return [conditions, metadata];
}

/** Fields that have their place alone or whose whole value is the place's. lib/match.c of Open vSwitch. */
const FULL: ReadonlySet<string> = new Set(["icmpv4_type", "icmpv4_code", "icmpv6_type", "icmpv6_code", "nd_options_type", "tcp_flags", "arp_op"]);
