// Flows whose going has an effect: connections that they made have to be forgotten (App.effects). A flow that goes or is replaced is
// first replaced by one that drops, then its connections are flushed, then it goes. So whatever ends in between, the switch still shows
// what is left to do: nobody wants the flow that drops, and whoever takes it off flushes again.
import type { PacketOut } from "#app";
import { FLOW_KEY_OFFSET, FLOW_MOD_MATCH_OFFSET, type Message } from "node-openflow";
import type { Flow } from "../../compiler/desired.ts";
import type { SwitchPacketOut } from "./channel.ts";
import type { Entry } from "./delivery.ts";
import { FLOWS_A_TURN, type YieldTurn } from "./turns.ts";

/** A flow in a buffer: its padded ofp_match begins at `matchOff`. */
export interface FlowBytes {
  readonly table: number;
  readonly priority: number;
  readonly buf: Buffer;
  readonly matchOff: number;
}

export interface FlowEffects {
  /** Tables whose flows have connections to forget when they go, and packets to send when they have come. */
  readonly withdrawn: ReadonlySet<number>;
  readonly confirmed: ReadonlySet<number>;
  /** NXT_CT_FLUSH messages. */
  flushes(chassis: string, flow: FlowBytes): readonly Message[];
  packets(chassis: string, flow: FlowBytes): readonly (PacketOut | SwitchPacketOut)[];
  /** What a dump (OFPMP_FLOW replies) shows of a switch whose flows were made under an earlier layout of the tables; undefined: it has today's. In steps. */
  relayout?(parts: readonly Buffer[], desired: Iterable<Flow>): Iterator<void, Relayout | undefined>;
}

/** A switch has flows of an earlier layout: what table numbers and registers there mean is another, so all goes or is replaced at once. */
export interface Relayout {
  /** Flows with effects that are not desired as they are, written as today's layout would; `wanted` is what is desired in the place of one. */
  readonly withdrawn: readonly { readonly flow: Flow; readonly wanted: Flow | undefined }[];
}

export interface Changes {
  readonly foreign: readonly Buffer[];
  readonly entries: readonly Entry[];
}

export interface Withdrawal {
  /** What goes at once: all else, and what drops in place of what is withdrawn. */
  readonly first: Changes;
  readonly flushes: readonly Message[];
  readonly second: Changes;
}

/** Cookie of a flow that stands in for one that is going. */
export const GOING_HI = 0xa0ff_ffff;
export const GOING_LO = 0xffff_ffff;

/** Yields between steps. undefined: what `yieldTurn` asks became false. */
export async function planWithdrawal(effects: FlowEffects | undefined, chassis: string, changes: { readonly foreign: readonly Buffer[]; readonly entries: Iterable<Entry> }, yieldTurn: YieldTurn): Promise<Withdrawal | undefined> {
  let n = 0;
  const first = { foreign: [] as Buffer[], entries: [] as Entry[] };
  const second = { foreign: [] as Buffer[], entries: [] as Entry[] };
  const flushes: Message[] = [];
  const going = (flow: FlowBytes, key: string): void => {
    flushes.push(...effects!.flushes(chassis, flow));
    first.entries.push({ flow: standIn(flow, key), add: true, replaces: true });
  };
  for (const entry of changes.entries) {
    if (++n % FLOWS_A_TURN === 0 && !(await yieldTurn())) return undefined;
    const { flow } = entry;
    if (effects?.withdrawn.has(flow.table) !== true || (entry.add && !entry.replaces)) first.entries.push(entry);
    else {
      going({ table: flow.table, priority: flow.priority, buf: flow.slab, matchOff: flow.off + FLOW_MOD_MATCH_OFFSET }, flow.key);
      second.entries.push(entry);
    }
  }
  for (const message of changes.foreign) {
    if (++n % FLOWS_A_TURN === 0 && !(await yieldTurn())) return undefined;
    const table = message[24]!;
    if (effects?.withdrawn.has(table) !== true) first.foreign.push(message);
    else {
      going({ table, priority: message.readUInt16BE(30), buf: message, matchOff: FLOW_MOD_MATCH_OFFSET }, message.toString("latin1", FLOW_KEY_OFFSET));
      second.foreign.push(message);
    }
  }
  return { first, flushes, second };
}

/** What of these changes the network has something to say of: flows that the switch did not have, and keys of those that went. `refused` ones did not come. */
export function arrivals(effects: FlowEffects, { entries, foreign }: { readonly entries: Iterable<Entry>; readonly foreign: readonly Buffer[] }, refused: ReadonlyMap<string, unknown>): { readonly came: Flow[]; readonly went: string[] } {
  const came: Flow[] = [];
  const went: string[] = [];
  if (effects.confirmed.size === 0) return { came, went };
  for (const { flow, add, replaces } of entries) {
    if (!effects.confirmed.has(flow.table)) continue;
    if (!add || refused.has(flow.key)) went.push(flow.key);
    else if (!replaces) came.push(flow);
  }
  for (const message of foreign) if (effects.confirmed.has(message[24]!)) went.push(message.toString("latin1", FLOW_KEY_OFFSET));
  return { came, went };
}

/** What the network says of a flow that has arrived. */
export const announcement = (effects: FlowEffects, chassis: string, flow: Flow): readonly (PacketOut | SwitchPacketOut)[] =>
  effects.packets(chassis, { table: flow.table, priority: flow.priority, buf: flow.slab, matchOff: flow.off + FLOW_MOD_MATCH_OFFSET });

/** The flow with no instructions: it drops. */
function standIn({ table, priority, buf, matchOff }: FlowBytes, key: string): Flow {
  const matchLen = (buf.readUInt16BE(matchOff + 2) + 7) & ~7;
  const len = FLOW_MOD_MATCH_OFFSET + matchLen;
  const slab = Buffer.alloc(len);
  slab[0] = 4; // OpenFlow 1.3
  slab[1] = 14; // OFPT_FLOW_MOD
  slab.writeUInt16BE(len, 2);
  slab.writeUInt32BE(GOING_HI, 8);
  slab.writeUInt32BE(GOING_LO, 12);
  slab[24] = table;
  slab.writeUInt16BE(priority, 30);
  slab.fill(0xff, 32, 44); // buffer, port, group: none
  buf.copy(slab, FLOW_MOD_MATCH_OFFSET, matchOff, matchOff + matchLen);
  return { table, priority, cookieHi: GOING_HI, cookieLo: GOING_LO, slab, off: 0, len, matchLen, key };
}
