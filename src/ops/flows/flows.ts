// Flow records as the ops API shows them: which of them a query asks for, and their two forms, JSON and the syntax of
// `ovs-ofctl dump-flows`. Both are written piece by piece: a dump may be larger than any string.

export interface FlowResource {
  readonly type: string;
  readonly id: string;
  /** As the resource has them; a `switch` has neither. */
  readonly name?: string;
  readonly project?: string;
  /** API call that last changed it (of a removed flow: that took it away, if it did), and the generation of that change. */
  readonly call?: string;
  readonly generation?: number;
}

export type FlowState = "installed" | "desired" | "missing" | "foreign" | "quarantined" | "learned";

export interface FlowRecord {
  readonly switch: string;
  readonly table_id: number;
  readonly table: string;
  readonly priority: number;
  /** ovs-ofctl syntax; "" matches everything. */
  readonly match: string;
  /** ovs-ofctl syntax; "" and "drop" drop. */
  readonly actions: string;
  /** Hexadecimal, with or without 0x. */
  readonly cookie: string;
  readonly app: string;
  readonly rule: string;
  readonly about: string;
  readonly resources: readonly FlowResource[];
  /** No resource is behind it: it is there always. */
  readonly static?: true;
  readonly state: FlowState;
  /** The same with names of tables, registers and ports; to be read, not parsed. Not where `raw` was asked for. */
  readonly match_named?: string;
  readonly actions_named?: string;
  readonly packet_count?: number;
  readonly byte_count?: number;
  /** Of flows that a switch has beside what is desired, seconds; of others there is none. */
  readonly idle_timeout?: number;
  readonly hard_timeout?: number;
  /** Since the switch has it, seconds. */
  readonly duration_s?: number;
  /** Over the seconds that `rate` asked for. */
  readonly packets_per_s?: number;
  readonly bytes_per_s?: number;
}

export interface FlowEvent {
  readonly event: "added" | "changed" | "removed";
  readonly generation: number;
  readonly flow: FlowRecord;
}

export const flowStates = ["desired", "installed", "diff"] as const;

export interface FlowQuery {
  readonly switch?: string;
  /** Name or number. */
  readonly table?: string;
  /** Id of any API resource. */
  readonly resource?: string;
  readonly app?: string;
  /** ovs-ofctl syntax: fields that the flow's match must have. */
  readonly match?: string;
  readonly state?: (typeof flowStates)[number];
  /** As it was desired then: an RFC 3339 instant or a generation. */
  readonly at?: string;
  /** Whether packet and byte counts are asked for. */
  readonly stats: boolean;
  /** Numbers alone: no names beside them. */
  readonly raw?: boolean;
  /** Counts are taken twice, so many seconds apart; 1 to 60, of one switch. */
  readonly rate?: number;
}

/** Other names that ovs-ofctl has for what a dump calls so. */
const ALIASES: Readonly<Record<string, string>> = {
  eth_src: "dl_src", eth_dst: "dl_dst", eth_type: "dl_type", ip_src: "nw_src", ip_dst: "nw_dst", ip_proto: "nw_proto",
  tcp_src: "tp_src", tcp_dst: "tp_dst", udp_src: "tp_src", udp_dst: "tp_dst", sctp_src: "tp_src", sctp_dst: "tp_dst",
};

/** The name that a dump has for a field. */
export const canonicalField = (name: string): string => ALIASES[name] ?? name;

/** `a=1,b=2(3,4),c` at the commas outside of parentheses, in small letters. */
export function fieldsOf(match: string): string[] {
  const out: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i <= match.length; i++) {
    const c = match[i];
    if (c === "(") depth++;
    else if (c === ")") depth--;
    else if (c === undefined || (c === "," && depth === 0)) {
      const field = match.slice(start, i).trim();
      if (field !== "") out.push(field.toLowerCase());
      start = i + 1;
    }
  }
  return out;
}

const canonical = (match: string): string[] => fieldsOf(match).map((field) => field.replace(/^\w+/, canonicalField));

/** Whether a match has what is wanted of it, field by field as text. */
export function matchFilter(wanted: string): (match: string) => boolean {
  const fields = canonical(wanted);
  return (match) => {
    const has = new Set(canonical(match));
    return fields.every((field) => has.has(field));
  };
}

/** Predicate for a query. */
export function flowFilter(query: FlowQuery): (flow: FlowRecord) => boolean {
  const hasMatch = query.match === undefined ? undefined : matchFilter(query.match);
  return (flow) => {
    if (query.switch !== undefined && flow.switch !== query.switch) return false;
    if (query.table !== undefined && flow.table !== query.table && String(flow.table_id) !== query.table) return false;
    if (query.app !== undefined && flow.app !== query.app) return false;
    if (query.resource !== undefined && !flow.resources.some((r) => r.id === query.resource)) return false;
    if (query.state === "desired" && (flow.state === "foreign" || flow.state === "learned")) return false;
    if (query.state === "installed" && flow.state !== "installed" && flow.state !== "foreign" && flow.state !== "learned") return false;
    if (query.state === "diff" && flow.state === "installed") return false;
    return hasMatch?.(flow.match) ?? true;
  };
}

/** One line, so that nothing in a name can end the comment. */
export const oneLine = (text: string): string => text.replace(/\s+/g, " ");

/** A comment line with the provenance and the flow's own line. */
export function flowText(flow: FlowRecord): string {
  const resources = flow.resources.map((r) => ` ${r.type}:${r.id}${r.call === undefined ? "" : ` (${r.call}${r.generation === undefined ? "" : ` @${r.generation}`})`}`).join("");
  const state = flow.state === "installed" ? "" : ` [${flow.state}]`;
  const comment = oneLine(flow.app === "" ? `# ${flow.state}: ${flow.about}` : `# ${flow.app}/${flow.rule}${flow.static === true ? " [static]" : ""}${state}${resources}`);
  return `${comment}\n ${flowLine(flow)}\n`;
}

/** As ovs-ofctl prints it. */
export function flowLine(flow: Pick<FlowRecord, "table_id" | "priority" | "match" | "actions" | "cookie" | "packet_count" | "byte_count" | "duration_s" | "idle_timeout" | "hard_timeout">): string {
  const age = flow.duration_s === undefined ? "" : `duration=${flow.duration_s}s, `;
  const counts = flow.packet_count === undefined ? "" : `n_packets=${flow.packet_count}, n_bytes=${flow.byte_count ?? 0}, `;
  const timeouts = [flow.idle_timeout === undefined ? "" : `idle_timeout=${flow.idle_timeout}, `, flow.hard_timeout === undefined ? "" : `hard_timeout=${flow.hard_timeout}, `].join("");
  const match = flow.match === "" ? "" : `,${flow.match}`;
  const cookie = flow.cookie.startsWith("0x") ? flow.cookie : `0x${flow.cookie}`;
  return `cookie=${cookie}, ${age}table=${flow.table_id}, ${counts}${timeouts}priority=${flow.priority}${match} actions=${flow.actions === "" ? "drop" : flow.actions}`;
}

type Flows = AsyncIterable<FlowRecord> | Iterable<FlowRecord>;
const CHUNK = 64 * 1024;

async function* chunked(parts: AsyncIterable<string>): AsyncGenerator<string> {
  let buffer = "";
  for await (const part of parts) {
    buffer += part;
    if (buffer.length >= CHUNK) {
      yield buffer;
      buffer = "";
    }
  }
  if (buffer !== "") yield buffer;
}

async function* textParts(flows: Flows): AsyncGenerator<string> {
  let last: string | undefined;
  for await (const flow of flows) {
    if (flow.switch !== last) yield oneLine(`# switch ${flow.switch}`) + "\n";
    last = flow.switch;
    yield flowText(flow);
  }
}

async function* jsonParts(flows: Flows): AsyncGenerator<string> {
  yield '{"flows":[';
  let first = true;
  for await (const flow of flows) {
    yield (first ? "" : ",") + JSON.stringify(flow);
    first = false;
  }
  yield "]}";
}

export const flowDump = (flows: Flows, format: "json" | "text"): AsyncGenerator<string> => chunked(format === "text" ? textParts(flows) : jsonParts(flows));

export async function* filtered(flows: Flows, keep: (flow: FlowRecord) => boolean): AsyncGenerator<FlowRecord> {
  for await (const flow of flows) if (keep(flow)) yield flow;
}
