// Instructions and flows in the words of ovs-ofctl dump-flows, and flow-mods in those of ofp-print.

import type { Instruction } from "../../messages/instructions.ts";
import { NO_BUFFER } from "../../match/fields.ts";
import type { FlowMod } from "../../messages/flow-mod.ts";
import type { U64 } from "../../layout/layout.ts";
import type { Match } from "../../match/match.ts";
import type { MessageOf } from "../../messages/codec.ts";
import { formatActions, formatMetadata } from "./actions.ts";
import { formatMatch } from "./match.ts";
import { dotted, duration, formatPort, hex, toU64 } from "./value.ts";

/** What stands after "actions=". */
export function formatInstructions(instructions: readonly Instruction[]): string {
  const only = instructions.length === 1 ? instructions[0]! : undefined; // as most flows have it
  if (only?.type === "apply_actions") return formatActions(only.actions);
  const out: string[] = [];
  const of = <T extends Instruction["type"]>(type: T): (Instruction & { type: T })[] => instructions.filter((i): i is Instruction & { type: T } => i.type === type);
  for (const i of of("meter")) out.push(`meter:${i.meter_id}`);
  for (const i of of("apply_actions")) if (i.actions.length > 0) out.push(formatActions(i.actions));
  if (of("clear_actions").length > 0) out.push("clear_actions");
  for (const i of of("write_actions")) out.push(`write_actions(${formatActions(i.actions)})`);
  for (const i of of("write_metadata")) out.push(formatMetadata(toU64(i.metadata), i.metadata_mask === undefined ? 0xffffffffffffffffn : toU64(i.metadata_mask)));
  for (const i of of("goto_table")) out.push(`goto_table:${i.table_id}`);
  for (const i of of("experimenter")) out.push(`experimenter(${hex(i.experimenter)},${dotted(i.data)})`);
  return out.length === 0 ? "drop" : out.join(",");
}

export interface PrintableFlow {
  readonly table_id: number;
  readonly priority?: number;
  readonly cookie?: U64;
  readonly match: Match;
  readonly instructions?: readonly Instruction[];
  readonly idle_timeout?: number;
  readonly hard_timeout?: number;
  readonly packet_count?: number | bigint;
  readonly byte_count?: number | bigint;
}

/** One line of dump-flows; counters and timeouts where they are given and not zero. */
export function formatFlow(flow: PrintableFlow): string {
  const head = [`cookie=0x${toU64(flow.cookie).toString(16)}`, `table=${flow.table_id}`];
  if (flow.packet_count !== undefined) head.push(`n_packets=${flow.packet_count}`);
  if (flow.byte_count !== undefined) head.push(`n_bytes=${flow.byte_count}`);
  if (flow.idle_timeout) head.push(`idle_timeout=${flow.idle_timeout}`);
  if (flow.hard_timeout) head.push(`hard_timeout=${flow.hard_timeout}`);
  const match = formatMatch(flow.match, flow.priority);
  return `${head.join(", ")}${match === "" ? "" : `, ${match}`} actions=${formatInstructions(flow.instructions ?? [])}`;
}

const FLAGS = ["send_flow_rem", "check_overlap", "reset_counts", "no_packet_counts", "no_byte_counts"];

/** Flags of a flow, each with a space after it. */
function flowFlags(flags: number | undefined): string {
  if (!flags) return "";
  return FLAGS.filter((_, bit) => flags & (1 << bit)).map((flag) => `${flag} `).join("");
}

export interface PrintableFlowStats extends PrintableFlow {
  readonly duration_sec: number;
  readonly duration_nsec?: number;
  readonly flags?: number;
}

const UNKNOWN = 0xffffffffffffffffn;

const counter = (count: number | bigint): string => (count === UNKNOWN ? "?" : String(count));

/** One flow as a flow statistics reply tells it, with its age and its counters. */
export function formatFlowStats(flow: PrintableFlowStats): string {
  let out = `cookie=0x${toU64(flow.cookie).toString(16)}, duration=${duration(flow.duration_sec, flow.duration_nsec ?? 0)}, table=${flow.table_id}, `;
  if (flow.packet_count !== undefined) out += `n_packets=${counter(flow.packet_count)}, `;
  if (flow.byte_count !== undefined) out += `n_bytes=${counter(flow.byte_count)}, `;
  if (flow.idle_timeout) out += `idle_timeout=${flow.idle_timeout}, `;
  if (flow.hard_timeout) out += `hard_timeout=${flow.hard_timeout}, `;
  out += flowFlags(flow.flags);
  const match = formatMatch(flow.match, flow.priority);
  return `${out}${match === "" ? "" : `${match} `}actions=${formatInstructions(flow.instructions ?? [])}`;
}

const COMMANDS: Readonly<Record<string, string>> = { add: "ADD", modify: "MOD", modify_strict: "MOD_STRICT", delete: "DEL", delete_strict: "DEL_STRICT" };

interface PrintableMod {
  readonly command: string;
  readonly table: number;
  readonly match: Match;
  readonly priority: number | undefined;
  /** What the flow gets, and with which mask flows are looked for. */
  readonly newCookie: bigint;
  readonly cookie: bigint;
  readonly cookieMask: bigint;
  readonly idle: number | undefined;
  readonly hard: number | undefined;
  readonly buffer: number | undefined;
  readonly port: number | undefined;
  readonly flags: number | undefined;
  readonly actions: string;
}

function formatMod(mod: PrintableMod): string {
  const match = formatMatch(mod.match, mod.priority);
  let out = `${mod.command}${mod.table === 0 ? "" : ` table:${mod.table}`} ${match === "" ? "" : `${match} `}`;
  if (mod.newCookie !== 0n && mod.newCookie !== UNKNOWN) out += `cookie:0x${mod.newCookie.toString(16)} `;
  if (mod.cookieMask !== 0n) out += `cookie:0x${mod.cookie.toString(16)}/0x${mod.cookieMask.toString(16)} `;
  if (mod.idle) out += `idle:${mod.idle} `;
  if (mod.hard) out += `hard:${mod.hard} `;
  if (mod.buffer !== undefined && mod.buffer !== NO_BUFFER) out += `buf:${hex(mod.buffer)} `;
  if (mod.port !== undefined && (mod.port & 0xffff) !== 0xffff) out += `out_port:${formatPort(mod.port)} `;
  return `${out}${flowFlags(mod.flags)}actions=${mod.actions}`;
}

/** A flow-mod without the name of the message. */
export function formatFlowMod(mod: FlowMod): string {
  const adds = mod.command === "add";
  return formatMod({
    command: COMMANDS[mod.command] ?? `cmd:${mod.command}`, table: mod.table_id ?? (mod.command.startsWith("delete") ? 0xff : 0), match: mod.match, priority: mod.priority,
    newCookie: adds ? toU64(mod.cookie) : 0n, cookie: toU64(mod.cookie), cookieMask: adds ? 0n : toU64(mod.cookie_mask), idle: mod.idle_timeout, hard: mod.hard_timeout,
    buffer: mod.buffer_id, port: mod.out_port, flags: mod.flags, actions: formatInstructions(mod.instructions ?? []),
  });
}

/** The same for the NXM form, whose command has the table in its upper half. */
export function formatNxFlowMod(mod: MessageOf<"nxt_flow_mod">): string {
  const command = mod.command & 0xff;
  return formatMod({
    command: Object.values(COMMANDS)[command] ?? `cmd:${command}`, table: mod.command >> 8, match: mod.match, priority: mod.priority, newCookie: mod.cookie, cookie: 0n,
    cookieMask: 0n, idle: mod.idle_timeout, hard: mod.hard_timeout, buffer: mod.buffer_id, port: mod.out_port, flags: mod.flags, actions: formatActions(mod.actions),
  });
}
