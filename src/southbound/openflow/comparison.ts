// Desired against installed: reads the raw parts of a flow dump and finds what is missing, changed or foreign on a switch.
// The same code serves a first connection, a reconnect and an audit. It works on bytes; only flows whose bytes are not found
// as they are get decoded, because a switch may spell a match or an action in its own way.
import { canonicalMatch, eachFlowStats, FLOW_MOD_MATCH_OFFSET, flowKey, flowModCommands, OFP_VERSION, type FlowStatsView } from "node-openflow";
import type { Flow } from "../../compiler/desired.ts";
import { metersNamed } from "../../compiler/flows/flow-meters.ts";
import type { Clock } from "../../lib/clock.ts";
import { FLOWS_A_STEP, turns } from "./turns.ts";

const NONE = 0xffff_ffff;
const FLOW_MOD = 14;
const DELETE_STRICT = flowModCommands.delete_strict;
/** Flows that are decoded in one step, but for those of one part: each costs more than one that is found by its bytes. */
const DECODED_A_STEP = 64;

/** Whether two instruction lists that differ in bytes mean the same. */
export type SameInstructions = (a: Buffer, b: Buffer) => boolean;

/** `flow` undefined: nobody wants it; then `same` says that the switch learned it where it may. */
export type Seen = (entry: FlowStatsView, flow: Flow | undefined, same: boolean) => void;

export interface Difference {
  readonly missing: Flow[];
  readonly changed: Flow[];
  /** OFPFC_DELETE_STRICT messages. */
  readonly foreign: Buffer[];
}

export class Comparison {
  /** Desired flows that the dump has not shown yet. */
  private readonly open = new Map<string, Flow>();
  /**
   * Parts in which there are flows that were not found by their bytes, and where the match of each begins: a switch may show any number of them, and an
   * object for each would outlive what collects young ones.
   */
  private readonly unknown: { readonly reply: Buffer; readonly matches: number[] }[] = [];
  private readonly foreign: Buffer[] = [];
  private settled = false;
  private readonly changed: Flow[] = [];
  private readonly sameInstructions: SameInstructions;
  private readonly seen: Seen | undefined;
  private readonly learnedTables: ReadonlySet<number>;
  /** Meters that should be there and are not. */
  private readonly lostMeters: ReadonlySet<number>;
  /** Packets that flows without an instruction have counted, whoever's they are: by table. */
  readonly drops = new Map<number, number>();
  /** Flows in the dump so far. */
  dumped = 0;
  /** Flows that should be there. */
  desired = 0;

  /** `seen` is called for every flow in the dump: which desired flow it is, if any, and whether it is as desired. */
  constructor(desired: Iterable<Flow>, sameInstructions: SameInstructions, learnedTables: ReadonlySet<number>, seen?: Seen, lostMeters: ReadonlySet<number> = new Set()) {
    this.lostMeters = lostMeters;
    this.seen = seen;
    this.learnedTables = learnedTables;
    this.sameInstructions = sameInstructions;
    this.want(desired);
  }

  /** More desired flows; all of them come before the first part. */
  want(desired: Iterable<Flow>): void {
    for (const flow of desired) this.open.set(flow.key, flow);
    this.desired = this.open.size;
  }

  /** One OFPMP_FLOW reply. @throws OpenFlowError when it is malformed */
  part(reply: Buffer): void {
    const matches: number[] = [];
    eachFlowStats(reply, (entry) => {
      this.dumped++;
      if (entry.instructions_len === 0 && entry.packet_count > 0) this.drops.set(entry.table_id, (this.drops.get(entry.table_id) ?? 0) + entry.packet_count);
      const key = flowKey(entry.table_id, entry.priority, reply, entry.match_off, entry.match_len);
      const flow = this.open.get(key);
      if (flow === undefined) {
        // What the switch learned ages; what does not was put there by somebody else.
        const learned = this.learnedTables.has(entry.table_id) && (entry.idle_timeout > 0 || entry.hard_timeout > 0);
        if (learned) this.seen?.(entry, undefined, true);
        else matches.push(entry.match_off);
        return;
      }
      this.open.delete(key);
      this.compare(flow, entry);
    });
    if (matches.length > 0) this.unknown.push({ reply, matches });
  }

  /** After the last part, step by step: what was found in another spelling than ours, and what is nobody's. */
  *settle(): Iterable<void> {
    if (this.settled) return;
    this.settled = true;
    if (this.unknown.length === 0) return;
    const bySpelling = new Map<string, Flow>();
    let n = 0;
    for (const flow of this.open.values()) {
      const key = flowMeaning(flow);
      if (key !== undefined) bySpelling.set(key, flow);
      if (++n % DECODED_A_STEP === 0) yield;
    }
    for (const { reply, matches } of this.unknown.splice(0)) {
      this.settlePart(reply, matches, bySpelling);
      yield;
    }
  }

  private settlePart(reply: Buffer, matches: readonly number[], bySpelling: ReadonlyMap<string, Flow>): void {
    let next = 0;
    eachFlowStats(reply, (entry) => {
      if (entry.match_off !== matches[next]) return;
      next++;
      const { buf, table_id, priority, match_off, match_len } = entry;
      const spelling = bySpelling.size === 0 ? undefined : canonicalKey(buf, match_off, match_len, flowKey(table_id, priority, buf, match_off, match_len));
      const flow = spelling === undefined ? undefined : bySpelling.get(spelling);
      if (flow === undefined) {
        this.seen?.(entry, undefined, false);
        this.foreign.push(deleteDumped(entry));
        return;
      }
      this.open.delete(flow.key);
      this.compare(flow, entry);
    });
  }

  /** `skip`: flows that changed since the comparison began, or that shall not be sent. */
  finish(skip?: (key: string) => boolean): Difference {
    const steps = this.settle()[Symbol.iterator]();
    while (steps.next().done !== true);
    const keep = ({ key }: { readonly key: string }): boolean => skip?.(key) !== true;
    const foreign = skip === undefined ? this.foreign : this.foreign.filter((message) => !skip(keyOf(message)));
    return { missing: [...this.open.values()].filter(keep), changed: this.changed.filter(keep), foreign };
  }

  private compare(flow: Flow, entry: FlowStatsView): void {
    const { slab } = flow;
    const { buf, instructions_off: theirs, instructions_len: length } = entry;
    const ours = flow.off + FLOW_MOD_MATCH_OFFSET + flow.matchLen;
    const end = flow.off + flow.len;
    const same =
      entry.cookie_hi === flow.cookieHi &&
      entry.cookie_lo === flow.cookieLo &&
      entry.idle_timeout === slab.readUInt16BE(flow.off + 26) &&
      entry.hard_timeout === slab.readUInt16BE(flow.off + 28) &&
      (slab.compare(buf, theirs, theirs + length, ours, end) === 0 ||
        this.sameInstructions(slab.subarray(ours, end), buf.subarray(theirs, theirs + length))) &&
      !this.namesLostMeter(slab.subarray(ours, end));
    if (!same) this.changed.push(flow);
    this.seen?.(entry, flow, same);
  }

  /** A copy for the controller stays bound to the meter that there was, which another may have the place of by now: only sent again it finds the new one. */
  private namesLostMeter(instructions: Buffer): boolean {
    return this.lostMeters.size > 0 && metersNamed(instructions).some((id) => this.lostMeters.has(id));
  }
}

/**
 * Compares a whole dump with the flows that are desired now, yielding to the event loop between steps. `current` is asked
 * after each; undefined: it became false.
 */
export async function compareDump(desired: Iterable<Flow>, parts: readonly Buffer[], sameInstructions: SameInstructions, learnedTables: ReadonlySet<number>, current: () => boolean, clock: Clock, lostMeters?: ReadonlySet<number>, seen?: Seen): Promise<Comparison | undefined> {
  const comparison = new Comparison([], sameInstructions, learnedTables, seen, lostMeters);
  const wanted = Array.from(desired); // all of one moment
  const yieldTurn = turns(clock, current);
  for (let at = 0; at < wanted.length; at += FLOWS_A_STEP) {
    comparison.want(wanted.slice(at, at + FLOWS_A_STEP));
    if (!(await yieldTurn())) return undefined;
  }
  for (const part of parts) {
    comparison.part(part);
    if (!(await yieldTurn())) return undefined;
  }
  const steps = comparison.settle()[Symbol.iterator]();
  while (steps.next().done !== true) if (!(await yieldTurn())) return undefined;
  return comparison;
}

/** Equal for flows whose matches mean the same. undefined: of a kind that is not known here. */
export const flowMeaning = (flow: Flow): string | undefined => canonicalKey(flow.slab, flow.off + FLOW_MOD_MATCH_OFFSET, flow.matchLen, flow.key);

/** Table and priority, as they are in a flow key, and the match in the one spelling. */
function canonicalKey(buf: Buffer, matchOff: number, matchLen: number, key: string): string | undefined {
  const match = canonicalMatch(buf, matchOff, matchLen);
  return match === undefined ? undefined : key.slice(0, key.length - matchLen) + match;
}

/** The message that removes exactly this flow. */
export function deleteFlow(flow: Flow): Buffer {
  const out = Buffer.allocUnsafe(FLOW_MOD_MATCH_OFFSET + flow.matchLen);
  flow.slab.copy(out, 0, flow.off, flow.off + out.length);
  return asDelete(out);
}

/** The table that a message of these is about. */
export const tableOf = (message: Buffer): number => message[24]!;

/** Of the flow that such a message removes, as Flow.key. */
const keyOf = (message: Buffer): string => flowKey(message[24]!, message.readUInt16BE(30), message, FLOW_MOD_MATCH_OFFSET, message.length - FLOW_MOD_MATCH_OFFSET);

function deleteDumped({ buf, table_id, priority, match_off, match_len }: FlowStatsView): Buffer {
  // From Node's pool: a buffer with memory of its own is three times as large, and a switch may show 50,000 flows of nobody's.
  const out = Buffer.allocUnsafe(FLOW_MOD_MATCH_OFFSET + match_len).fill(0, 0, FLOW_MOD_MATCH_OFFSET);
  out.writeUInt8(OFP_VERSION, 0);
  out.writeUInt8(FLOW_MOD, 1);
  out.writeUInt8(table_id, 24);
  out.writeUInt16BE(priority, 30);
  buf.copy(out, FLOW_MOD_MATCH_OFFSET, match_off, match_off + match_len);
  return asDelete(out);
}

function asDelete(out: Buffer): Buffer {
  out.writeUInt16BE(out.length, 2);
  out.fill(0, 8, 24); // cookie and its mask: any
  out.writeUInt8(DELETE_STRICT, 25);
  out.writeUInt32BE(0, 26);
  out.writeUInt32BE(NONE, 32); // buffer
  out.writeUInt32BE(NONE, 36); // out_port: any
  out.writeUInt32BE(NONE, 40); // out_group: any
  out.writeUInt32BE(0, 44); // flags
  return out;
}
