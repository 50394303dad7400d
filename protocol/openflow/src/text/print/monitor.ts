// What a switch tells of its flows without being asked each time: removals, and the updates of flow monitors.

import type { FlowMonitor, FlowUpdate, NxFlowUpdate } from "../../messages/flow-monitor.ts";
import { ports } from "../../match/fields.ts";
import type { Match } from "../../match/match.ts";
import { formatActions } from "./actions.ts";
import { formatInstructions } from "./flow.ts";
import { formatMatch } from "./match.ts";
import { bitNames, duration, formatPort, hash, hex, toU64 } from "./value.ts";

const NAMED: Readonly<Record<string, string>> = { idle_timeout: "idle", hard_timeout: "hard" };
const NUMBERED = ["idle", "hard", "delete", "group_delete", "meter_delete", "eviction"];

/** Why a flow went, by its name in this package or its number. */
export function removalReason(reason: number | string): string {
  return typeof reason === "number" ? NUMBERED[reason] ?? String(reason) : NAMED[reason] ?? reason;
}

interface FlowRemoved {
  readonly match: Match;
  readonly priority: number;
  readonly reason: number | string;
  readonly table_id: number;
  readonly cookie: bigint;
  readonly duration_sec: number;
  readonly duration_nsec: number;
  readonly idle_timeout: number;
  readonly hard_timeout?: number;
  readonly packet_count: bigint;
  readonly byte_count: bigint;
}

export function formatFlowRemoved(flow: FlowRemoved): string {
  const out = [` ${formatMatch(flow.match, flow.priority)}`, `reason=${removalReason(flow.reason)}`];
  if (flow.table_id !== 0xff) out.push(`table_id=${flow.table_id}`);
  if (flow.cookie !== 0n) out.push(`cookie:0x${flow.cookie.toString(16)}`);
  out.push(`duration${duration(flow.duration_sec, flow.duration_nsec)}`, `idle${flow.idle_timeout}`);
  if (flow.hard_timeout) out.push(`hard${flow.hard_timeout}`);
  out.push(`pkts${flow.packet_count}`, `bytes${flow.byte_count}`);
  return `${out.join(" ")}\n`;
}

const FLAGS = ["initial", "add", "delete", "modify", "actions", "own"];

export function formatFlowMonitor(monitor: FlowMonitor): string {
  const port = monitor.out_port === undefined || monitor.out_port === ports.ANY ? "" : ` out_port=${formatPort(monitor.out_port)}`;
  const table = monitor.table_id === undefined || monitor.table_id === 0xff ? "" : ` table=${monitor.table_id}`;
  const match = formatMatch(monitor.match);
  return `\n id=${monitor.id} flags=${bitNames(monitor.flags, FLAGS, ",")}${port}${table}${match === "" ? "" : ` ${match}`}`;
}

export function formatFlowUpdate(update: FlowUpdate | NxFlowUpdate): string {
  if (update.event === "abbrev") return `\n event=ABBREV xid=${hex(update.xid)}`;
  let out = `\n event=${update.event.toUpperCase()}${update.event === "deleted" ? ` reason=${removalReason(update.reason)}` : ""} table=${update.table_id}`;
  if (update.idle_timeout !== 0) out += ` idle_timeout=${update.idle_timeout}`;
  if (update.hard_timeout !== 0) out += ` hard_timeout=${update.hard_timeout}`;
  const match = formatMatch(update.match);
  const actions = "actions" in update ? update.actions.length === 0 ? "" : formatActions(update.actions) : formatInstructions(update.instructions);
  out += ` cookie=${hash(toU64(update.cookie))} ${match}`;
  if (actions === "" || actions === "drop") return out;
  return `${out}${match === "" ? "" : " "}actions=${actions}`;
}
