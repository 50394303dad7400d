// Flows as text, as ovs-ofctl add-flow, mod-flows and del-flows take them and as they stand in files of flows:
// "table=1,priority=10,tcp,tp_dst=80,actions=output:1", "delete cookie=1/-1".
//
// What ovs-ofctl of Open vSwitch 3.1 takes for OpenFlow 1.3 is taken here, and becomes the same bytes, even where it is
// generous: a parenthesis that is never closed, dl_vlan=5000, conditions that mean nothing. Refused is what can only be a mistake:
// two different values for one thing, numbers that fit neither their field nor OpenFlow and would be cut off (learn priorities,
// ports of nat, group numbers), bytes that a setter of addresses has left over, and set_field of dl_vlan, which would set in_port.

import { flowModFlags, type FlowModCommand } from "../../messages/flow-mod.ts";
import { ALL_TABLES, groups, NO_BUFFER, ports } from "../../match/fields.ts";
import type { FlowModMessage } from "../../messages/codec.ts";
import { readInstructions } from "./actions.ts";
import { Conditions } from "./match.ts";
import { group, leadingCommand, pairs, part, port, quoted, table, textError, u16, u64, type Pair, type Word } from "./words.ts";

/** In the order in which their beginnings are tried. */
const KEYWORDS: readonly FlowModCommand[] = ["add", "delete", "delete_strict", "modify", "modify_strict"];

/** What may be said besides the match. */
type Part = "actions" | "timeouts" | "priority" | "flags" | "importance" | "out";
const PARTS: Readonly<Record<FlowModCommand, readonly Part[]>> = {
  add: ["actions", "timeouts", "priority", "flags", "importance"],
  modify: ["actions", "timeouts", "priority", "flags"],
  modify_strict: ["actions", "timeouts", "priority", "flags"],
  delete: ["out"],
  delete_strict: ["out", "priority"],
};
const FLAGS: ReadonlyMap<string, number> = new Map([
  ["send_flow_rem", flowModFlags.SEND_FLOW_REM], ["check_overlap", flowModFlags.CHECK_OVERLAP], ["reset_counts", flowModFlags.RESET_COUNTS],
  ["no_packet_counts", flowModFlags.NO_PKT_COUNTS], ["no_byte_counts", flowModFlags.NO_BYT_COUNTS],
]);
/** Printed by dump-flows, so that its output can be read again. */
const COUNTERS = new Set(["duration", "n_packets", "n_bytes", "idle_age", "hard_age"]);
const IGNORED = new Set(["no_readonly_table", "allow_hidden_fields"]);

interface Head {
  table_id: number;
  priority: number;
  cookie: bigint;
  cookie_mask: bigint;
  idle_timeout: number;
  hard_timeout: number;
  out_port: number;
  out_group: number;
  flags: number;
}

function startOfActions(word: Word): { before: Word; actions: Word } {
  const at = word.text.indexOf("action");
  if (at < 0) throw textError({ at: word.at + word.text.length }, "actions are missing");
  const equals = word.text.indexOf("=", at);
  if (equals < 0) throw textError({ at: word.at + at }, "= is missing after actions");
  return { before: part(word, 0, at), actions: part(word, equals + 1) };
}


function readHead(head: Head, pair: Pair, command: FlowModCommand): void {
  const { key, value } = pair;
  const has = (which: Part): boolean => PARTS[command].includes(which);
  const unknown = (): Error => textError(key, `there is no field or keyword ${quoted(key)}${key.text === "priority" ? ` with ${command}` : ""}`);
  if (value.text === "") throw textError(key, `${key.text.slice(0, 60)}: a value is missing, or there is no such field`);
  switch (key.text) {
    case "table":
      head.table_id = table(value, "table");
      return;
    case "out_port":
      if (!has("out")) throw unknown();
      head.out_port = port(value, "out_port");
      return;
    case "out_group":
      if (!has("out")) throw unknown();
      head.out_group = group(value, "out_group");
      return;
    case "priority":
      if (!has("priority")) throw unknown();
      head.priority = u16(value, "priority");
      return;
    case "idle_timeout":
    case "hard_timeout":
      if (!has("timeouts")) throw unknown();
      head[key.text] = u16(value, key.text);
      return;
    case "importance":
      // OpenFlow 1.3 has no place for it.
      if (!has("importance")) throw unknown();
      u16(value, "importance");
      return;
    case "cookie":
      readCookie(head, value, command);
      return;
    default:
      if (!COUNTERS.has(key.text)) throw unknown();
  }
}

/** With a mask the cookie selects flows, without one it is given to them. */
function readCookie(head: Head, value: Word, command: FlowModCommand): void {
  const slash = value.text.indexOf("/");
  if (slash >= 0) {
    if (command === "add") throw textError(value, "cookie: a flow that is added has a cookie without a mask");
    head.cookie = u64(part(value, 0, slash), "cookie");
    head.cookie_mask = u64(part(value, slash + 1), "cookie");
    head.cookie &= head.cookie_mask;
    return;
  }
  if (PARTS[command].includes("out")) throw textError(value, `cookie: to select flows by it takes a mask, as in cookie=${value.text.slice(0, 30)}/-1`);
  const cookie = u64(value, "cookie");
  // A modification cannot give a new cookie in OpenFlow 1.3; ovs-ofctl reads it and sends none.
  if (command === "add") head.cookie = cookie;
}

export interface FlowTextOptions {
  /** Without it the text may begin with a command (add, modify, modify_strict, delete, delete_strict); else it is an add. */
  readonly command?: FlowModCommand;
}

/**
 * A flow as a line for ovs-ofctl add-flow, mod-flows or del-flows, or of a file of flows.
 * @throws OpenFlowError OF_TEXT with the offset of the word at fault; with `errorName` when a switch would refuse the flow
 */
export function parseFlow(text: string, options: FlowTextOptions = {}): FlowModMessage {
  return readFlow({ text, at: 0 }, options);
}

/**
 * A file of flows: one a line, # begins a comment, empty lines are left out.
 * @throws OpenFlowError OF_TEXT with the offset in the whole text
 */
export function parseFlows(text: string, options: FlowTextOptions = {}): FlowModMessage[] {
  const found: FlowModMessage[] = [];
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf("\n", at);
    const end = newline < 0 ? text.length : newline;
    const line = text.slice(at, end);
    const comment = line.indexOf("#");
    const flow = comment < 0 ? line : line.slice(0, comment);
    if (/[^ \t\r]/.test(flow)) found.push(readFlow({ text: flow, at }, options));
    at = end + 1;
  }
  return found;
}

function readFlow(word: Word, options: FlowTextOptions): FlowModMessage {
  const { command, rest } = options.command === undefined ? leadingCommand(word, KEYWORDS) : { command: options.command, rest: word };
  const acts = PARTS[command].includes("actions");
  const { before, actions } = acts ? startOfActions(rest) : { before: rest, actions: undefined };
  const head: Head = {
    table_id: ALL_TABLES, priority: 0x8000, cookie: 0n, cookie_mask: 0n, idle_timeout: 0, hard_timeout: 0, out_port: ports.ANY, out_group: groups.ANY, flags: 0,
  };
  const conditions = new Conditions();
  for (const pair of pairs(before)) {
    const flag = FLAGS.get(pair.key.text);
    if (flag !== undefined && PARTS[command].includes("flags")) head.flags |= flag;
    else if (!IGNORED.has(pair.key.text) && !conditions.take(pair)) {
      conditions.once(pair);
      readHead(head, pair, command);
    }
  }
  const match = conditions.match();
  const instructions = actions === undefined ? undefined : readInstructions(actions)({ packet: conditions.packet(), table: head.table_id, lenient: false });
  return {
    type: "flow_mod", command, ...head,
    // Only deletion knows "all tables".
    table_id: head.table_id === ALL_TABLES && acts ? 0 : head.table_id,
    buffer_id: NO_BUFFER, match, instructions: instructions ?? [],
  };
}
