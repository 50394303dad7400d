// Instructions and flows in the words of ovs-ofctl dump-flows.

import type { Instruction } from "../instructions.ts";
import type { U64 } from "../layout.ts";
import type { Match } from "../match.ts";
import { formatActions } from "./print-actions.ts";
import { formatMatch } from "./print-match.ts";
import { dotted, hash, hex, toU64 } from "./print-value.ts";

/** What stands after "actions=". */
export function formatInstructions(instructions: readonly Instruction[]): string {
  const out: string[] = [];
  const of = <T extends Instruction["type"]>(type: T): (Instruction & { type: T })[] => instructions.filter((i): i is Instruction & { type: T } => i.type === type);
  for (const i of of("meter")) out.push(`meter:${i.meter_id}`);
  for (const i of of("apply_actions")) if (i.actions.length > 0) out.push(formatActions(i.actions));
  if (of("clear_actions").length > 0) out.push("clear_actions");
  for (const i of of("write_actions")) out.push(`write_actions(${formatActions(i.actions)})`);
  for (const i of of("write_metadata")) {
    const mask = i.metadata_mask === undefined ? 0xffffffffffffffffn : toU64(i.metadata_mask);
    out.push(`write_metadata:${hash(toU64(i.metadata))}${mask === 0xffffffffffffffffn ? "" : `/${hash(mask)}`}`);
  }
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
