// Whole messages in the words of ovs-ofctl ofp-print: a table with one small function for each type. What belongs to ports,
// groups, tables and packets is in the files of these names.

import { errorName, OpenFlowError } from "../../wire/errors.ts";
import { ports } from "../../match/fields.ts";
import { decodeMessage, encodeMessage, type Decoded, type Message, type MessageOf, type MessageType, type MultipartKind, type MultipartReplyOf, type MultipartRequest } from "../../messages/codec.ts";
import { formatAsync, formatAsync2, formatCtFlush, formatIpfix, formatRoleReason, formatTlvMaps } from "./extension.ts";
import { formatFlowMod, formatFlowStats, formatNxFlowMod } from "./flow.ts";
import { formatFlowMonitor, formatFlowRemoved, formatFlowUpdate } from "./monitor.ts";
import {
  formatGroup, formatGroupFeatures, formatGroupId, formatGroupMod, formatGroupStats, formatMeter, formatMeterFeatures, formatMeterId, formatMeterMod, formatMeterStats,
} from "./group.ts";
import { fits, headerText, identify, messageName } from "./header.ts";
import { formatMatch } from "./match.ts";
import { formatNxtPacketIn, formatPacketIn, formatPacketIn2, formatPacketOut } from "./packet-in.ts";
import { formatPortDescs, formatPortMod, formatPortStats, formatPortStatus, formatQueueConfig, formatQueueRequest, formatQueueStats } from "./port.ts";
import { formatTableFeatures, formatTableStats } from "./table.ts";
import { bitNames, fixedText, formatPort, hash, hexDump, printable } from "./value.ts";

const HELLO = 0;
const EXPERIMENTER = 4;
const MULTIPART_REQUEST = 18;
const MULTIPART_REPLY = 19;

export interface PrintOptions {
  /** Show the transaction id as ovs-ofctl does: "OFPT_HELLO (OF1.3) (xid=0x1):". By default false. */
  readonly xid?: boolean;
}

/** How much is shown: messages inside of errors a little less. */
interface Context extends PrintOptions {
  readonly dumps: boolean;
  /** How many messages this one is inside of. */
  readonly depth: number;
}

/** A message may hold another, and that one more: so many are opened, the next is shown as bytes. */
const MAX_DEPTH = 64;

/** A message in the words of `ovs-ofctl ofp-print`, without the newline at its end. */
export function formatMessage(message: Decoded, options: PrintOptions = {}): string {
  return finish(header(message, options) + body(message, { ...options, dumps: true, depth: 0 })).replace(/\n$/, "");
}

/**
 * A message by its bytes, with what ofp-print says about bytes that cannot be one. Ends in a newline.
 * @throws never because of the bytes
 */
export function formatBytes(bytes: Uint8Array, options: PrintOptions = {}): string {
  return render(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), { ...options, dumps: true, depth: 0 });
}

function render(bytes: Buffer, context: Context): string {
  if (context.depth > MAX_DEPTH) return `(***inside of ${context.depth} messages***)\n${hexDump(bytes)}`;
  if (bytes.length === 0) return "OpenFlow message is empty\n";
  if (bytes.length < 8) return `OpenFlow packet too short (only ${bytes.length} bytes):\n${hexDump(bytes)}`;
  const length = bytes.readUInt16BE(2);
  const kind = identify(bytes);
  const head = typeof kind === "string" ? "" : headerText(kind.name, bytes[0]!, context.xid === true ? bytes.readUInt32BE(4) : undefined);
  if (length > bytes.length) return `${head}${head === "" ? "" : "\n"}(***truncated to ${bytes.length} bytes from ${length}***)\n${hexDump(bytes)}`;
  if (length < bytes.length) return `(***only uses ${length} bytes out of ${bytes.length}***)\n${hexDump(bytes)}`;
  const refused = (name: string, before: string): string => `${before}***decode error: ${name}***\n${hexDump(bytes)}`;
  if (typeof kind === "string") return refused(kind, "");
  if (!fits(kind, length)) return refused("OFPBRC_BAD_LEN", "");
  if (bytes[1] === HELLO) return finish(head + formatHello(bytes));
  try {
    const message = decodeForText(bytes, true);
    if (isUnknownError(message)) return refused("OFPBRC_BAD_LEN", `${head} `);
    return finish(head + body(message, context));
  } catch (error) {
    if (!(error instanceof OpenFlowError)) throw error;
    const before = readable(kind.name, bytes, context);
    return refused(error.errorName ?? "OFPBRC_BAD_LEN", before === "" ? `${head} ` : newline(head + before));
  }
}

/**
 * Decodes what is to be printed. The message inside of a bundle's is not judged here: it may be refused, and the bundle's message is
 * shown all the same.
 * @throws OpenFlowError
 */
export function decodeForText(bytes: Buffer, strict: boolean): Decoded {
  try {
    return decodeMessage(bytes, { strict, shown: true });
  } catch (error) {
    const inner = error instanceof OpenFlowError && identifiesAs(bytes, "ONFT_BUNDLE_ADD_MESSAGE") && error.errorName?.startsWith("OFPBFC") !== true;
    if (!inner) throw error;
    return decodeMessage(bytes, { strict: false });
  }
}

function identifiesAs(bytes: Buffer, name: string): boolean {
  const kind = bytes.length < 8 ? "OFPBRC_BAD_LEN" : identify(bytes);
  return typeof kind !== "string" && kind.name === name;
}

/** An error whose numbers have no name, which Open vSwitch does not take. */
export function isUnknownError(message: Message): boolean {
  return message.type === "error" && nameOf(message).includes(".");
}

/** Messages that are lists: where the first entry begins, and how long one is. */
interface Listed {
  readonly start: number;
  readonly size: (bytes: Buffer, at: number) => number;
}
const lengthAt = (start: number, offset: number): Listed => ({ start, size: (bytes, at) => (at + offset + 2 > bytes.length ? 0 : bytes.readUInt16BE(at + offset)) });
const fixed = (size: number): Listed => ({ start: 16, size: () => size });
const withMatch: Listed = { start: 24, size: (bytes, at) => (at + 20 > bytes.length ? 0 : 16 + ((bytes.readUInt16BE(at + 18) + 7) & ~7)) };
const LISTS: Readonly<Record<string, Listed>> = {
  "OFPST_FLOW reply": lengthAt(16, 0), "OFPST_GROUP reply": lengthAt(16, 0), "OFPST_GROUP_DESC reply": lengthAt(16, 0), "OFPST_METER reply": lengthAt(16, 4),
  "OFPST_METER_CONFIG reply": lengthAt(16, 0), "OFPST_TABLE_FEATURES request": lengthAt(16, 0), "OFPST_TABLE_FEATURES reply": lengthAt(16, 0),
  "OFPST_PORT reply": fixed(112), "OFPST_QUEUE reply": fixed(40), "OFPST_PORT_DESC reply": fixed(64), "ONFST_FLOW_MONITOR request": withMatch,
  "ONFST_FLOW_MONITOR reply": lengthAt(24, 0), "OFPT_QUEUE_GET_CONFIG_REPLY": lengthAt(16, 8),
};

/** The text of a refused message up to the entry that is at fault. */
function readable(name: string, bytes: Buffer, context: Context): string {
  const list = LISTS[name];
  if (list === undefined) return bytes[1] === MULTIPART_REQUEST || bytes[1] === MULTIPART_REPLY ? multipartFlags(bytes.readUInt16BE(10)) : "";
  const part = (from: number, to: number): Buffer => {
    const message = Buffer.concat([bytes.subarray(0, list.start), bytes.subarray(from, to)]);
    message.writeUInt16BE(message.length, 2);
    return message;
  };
  let end = list.start;
  while (end + 8 <= bytes.length) {
    const next = end + list.size(bytes, end);
    if (next <= end || next > bytes.length || !decodes(part(end, next))) break;
    end = next;
  }
  const text = body(decodeMessage(part(list.start, end)), context);
  return name === "OFPST_GROUP reply" ? `${text} ***parse error***` : text;
}

function decodes(bytes: Buffer): boolean {
  try {
    decodeMessage(bytes, { strict: true, shown: true });
    return true;
  } catch (error) {
    if (error instanceof OpenFlowError) return false;
    throw error;
  }
}

const newline = (text: string): string => (text.endsWith("\n") ? text : `${text}\n`);
const finish = (text: string): string => newline(text.endsWith(" ") ? text.slice(0, -1) : text);

// --- names ---

const TYPES: Readonly<Partial<Record<MessageType, number>>> = {
  hello: 0, error: 1, echo_request: 2, echo_reply: 3, features_request: 5, features_reply: 6, get_config_request: 7, get_config_reply: 8, set_config: 9, packet_in: 10,
  flow_removed: 11, port_status: 12, packet_out: 13, flow_mod: 14, group_mod: 15, port_mod: 16, table_mod: 17, barrier_request: 20, barrier_reply: 21,
  queue_get_config_request: 22, queue_get_config_reply: 23, role_request: 24, role_reply: 25, get_async_request: 26, get_async_reply: 27, set_async: 28, meter_mod: 29,
};

/** The header alone is encoded to learn the numbers of a message that is not in the table. */
function header(message: Decoded, options: PrintOptions): string {
  const type = TYPES[message.type];
  const xid = options.xid === true ? message.xid : undefined;
  if (type !== undefined) return headerText(messageName(type)!, message.version, xid);
  const bytes = encodeMessage(message, message.xid);
  const kind = identify(bytes);
  if (typeof kind !== "string") return headerText(kind.name, message.version, xid);
  return headerText(bytes[1] === EXPERIMENTER ? "OFPT_EXPERIMENTER" : `OFPST_EXPERIMENTER ${bytes[1] === MULTIPART_REPLY ? "reply" : "request"}`, message.version, xid);
}

const MORE = 1;

function multipartFlags(flags: number): string {
  if (flags === 0) return "";
  const others = flags & ~MORE;
  return ` flags=${flags & MORE ? "[more]" : ""}${others === 0 ? "" : `[***unknown flags 0x${others.toString(16).padStart(4, "0")}***]`}`;
}

// --- bodies ---

type Body<M> = (message: M, context: Context) => string;
type Bodies = { readonly [T in MessageType]?: Body<MessageOf<T>> };
type RequestBodies = { readonly [K in MultipartKind]?: Body<Extract<MultipartRequest, { kind: K }>> };
type ReplyBodies = { readonly [K in MultipartKind]?: Body<MultipartReplyOf<K>> };

function body(message: Message, context: Context): string {
  if (message.type === "multipart_request") {
    const format = REQUESTS[message.kind] as Body<Message> | undefined;
    return multipartFlags(message.flags ?? 0) + (format?.(message, context) ?? "");
  }
  if (message.type === "multipart_reply") {
    const format = REPLIES[message.kind] as Body<Message> | undefined;
    return multipartFlags(message.flags ?? 0) + (format?.(message, context) ?? "");
  }
  const format = BODIES[message.type] as Body<Message> | undefined;
  return format?.(message, context) ?? "";
}

const nameOf = (message: MessageOf<"error">): string =>
  message.experimenter === undefined ? errorName(message.error_type, message.code) : errorName(message.code, 0, message.experimenter);

const echo: Body<MessageOf<"echo_request"> | MessageOf<"echo_reply">> = ({ data = new Uint8Array(0) }, { dumps }) => ` ${data.length} bytes of payload\n${dumps ? hexDump(data) : ""}`;

const FRAGMENTS = ["normal", "drop", "reassemble", "nx-match"];
const config: Body<MessageOf<"set_config"> | MessageOf<"get_config_reply">> = (message) =>
  ` frags=${FRAGMENTS[(message.flags ?? 0) & 3]!} miss_send_len=${message.miss_send_len ?? 0xffff}\n`;

const CAPABILITIES = ["FLOW_STATS", "TABLE_STATS", "PORT_STATS", "GROUP_STATS", "", "IP_REASM", "QUEUE_STATS", "", "PORT_BLOCKED"];
const CAPABILITIES_KNOWN = 0x16f;

const ROLES: Readonly<Record<string, string>> = { master: "primary", slave: "secondary", other: "equal" };
const role = (name: string | number): string => ` role=${ROLES[name] ?? name}`;
const NO_GENERATION = 0xffffffffffffffffn;
const generation = (id: bigint | undefined): string => (id === undefined || id === NO_GENERATION ? "" : ` generation_id=${id}`);

const bundleFlags = (flags: number): string => ` flags=${bitNames(flags, ["atomic", "ordered"])}`;

const BODIES: Bodies = {
  hello: (message) => formatHello(encodeMessage(message, 0)),
  error: (message, context) => {
    const data = message.data ?? new Uint8Array(0);
    const helloFailed = message.error_type === 0;
    return ` ${nameOf(message)}\n${helloFailed ? printable(data) : render(Buffer.from(data.buffer, data.byteOffset, data.byteLength), { ...context, dumps: false, depth: context.depth + 1 })}`;
  },
  echo_request: echo,
  echo_reply: echo,
  features_reply: (message) => {
    const auxiliary = message.auxiliary_id === undefined || message.auxiliary_id === 0 ? "" : `, auxiliary_id:${message.auxiliary_id}`;
    return ` dpid:${message.datapath_id}\nn_tables:${message.n_tables}, n_buffers:${message.n_buffers}${auxiliary}\ncapabilities: ${
      bitNames(message.capabilities & CAPABILITIES_KNOWN, CAPABILITIES)}\n`;
  },
  get_config_reply: config,
  set_config: config,
  packet_in: formatPacketIn,
  nxt_packet_in: formatNxtPacketIn,
  nxt_packet_in2: formatPacketIn2,
  nxt_resume: formatPacketIn2,
  packet_out: formatPacketOut,
  flow_removed: (message) => formatFlowRemoved(message),
  nxt_flow_removed: (message) => formatFlowRemoved({ ...message, table_id: message.table_id === 0 ? 0xff : message.table_id - 1 }),
  port_status: formatPortStatus,
  flow_mod: (message) => ` ${formatFlowMod(message)}`,
  group_mod: formatGroupMod,
  port_mod: formatPortMod,
  table_mod: (message) => (message.table_id === 0xff ? " table_id: ALL_TABLES" : ` table_id=${message.table_id}`),
  queue_get_config_request: (message) => ` port=${formatPort(message.port)}`,
  queue_get_config_reply: formatQueueConfig,
  role_request: (message) => role(message.role) + (message.role === "nochange" ? "" : generation(message.generation_id)),
  role_reply: (message) => role(message.role) + generation(message.generation_id),
  nxt_role_request: (message) => role(message.role),
  nxt_role_reply: (message) => role(message.role),
  get_async_reply: formatAsync,
  set_async: formatAsync,
  nxt_set_async: formatAsync,
  nxt_set_async2: formatAsync2,
  role_status: (message) => role(message.role) + generation(message.generation_id) + formatRoleReason(message.reason),
  requestforward: (message) => {
    const inner = decodeMessage(message.request ?? new Uint8Array(0));
    if (inner.type === "group_mod") return ` reason=group_mod${formatGroupMod(inner)}`;
    return inner.type === "meter_mod" ? ` reason=meter_mod${formatMeterMod(inner)}` : "";
  },
  nxt_flow_mod: (message) => ` ${formatNxFlowMod(message)}`,
  flow_monitor_cancel: (message) => ` id=${message.id}`,
  nxt_flow_monitor_cancel: (message) => ` id=${message.id}`,
  ct_flush: formatCtFlush,
  meter_mod: formatMeterMod,
  bundle_control: (message) => `\n bundle_id=${hash(message.bundle_id)} type=${typeof message.ctrl_type === "number" ? "" : message.ctrl_type.toUpperCase()}${bundleFlags(message.flags)}`,
  bundle_add: (message, context) => {
    const data = message.message ?? new Uint8Array(0);
    const inner = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const length = inner.length < 8 ? inner.length : Math.min(inner.length, inner.readUInt16BE(2));
    return `\n bundle_id=${hash(message.bundle_id)}${bundleFlags(message.flags)}\n${render(inner.subarray(0, length), { ...context, depth: context.depth + 1 })}`;
  },
  flow_mod_table_id: (message) => (message.set === 0 ? " disable" : " enable"),
  set_packet_in_format: (message) => ` format=${message.format}`,
  set_controller_id: (message) => ` id=${message.controller_id}`,
  tlv_table_mod: (message) => `\n ${message.command === "delete" ? "DEL" : String(message.command).toUpperCase()}${message.command === "clear" ? "" : formatTlvMaps(message.maps)}`,
  tlv_table_reply: (message) => {
    const used = message.maps.reduce((sum, map) => sum + map.option_len, 0);
    return `\n max option space=${message.max_option_space} max fields=${message.max_fields}\n allocated option space=${used}\n\n${formatTlvMaps(message.maps)}`;
  },
  ct_flush_zone: (message) => ` zone_id=${message.zone_id}`,
  experimenter: (message) => ` experimenter=${hash(message.experimenter)} exp_type=${message.exp_type} data=${Buffer.from(message.data ?? []).toString("hex")}`,
};

const flowRequest: Body<Extract<MultipartRequest, { kind: "flow" }> | Extract<MultipartRequest, { kind: "aggregate" }>> = (message) => {
  const table = message.table_id === undefined || message.table_id === 0xff ? "" : ` table=${message.table_id}`;
  const port = message.out_port === undefined || message.out_port === ports.ANY ? "" : ` out_port=${formatPort(message.out_port)}`;
  return `${table}${port} ${formatMatch(message.match)}`;
};
const meterRequest: Body<Extract<MultipartRequest, { kind: "meter" }> | Extract<MultipartRequest, { kind: "meter_config" }>> = (message) =>
  ` ${formatMeterId(message.meter_id ?? 0xffffffff, "=")}`;

const REQUESTS: RequestBodies = {
  flow: flowRequest,
  aggregate: flowRequest,
  port_stats: (message) => ` port_no=${formatPort(message.port_no ?? ports.ANY)}`,
  queue: (message) => formatQueueRequest(message.port_no ?? ports.ANY, message.queue_id ?? 0xffffffff),
  group: (message) => ` group_id=${formatGroupId(message.group_id ?? 0xfffffffc)}`,
  group_desc: () => " group_id=ALL",
  meter: meterRequest,
  meter_config: meterRequest,
  table_features: (message) => formatTableFeatures(message.tables),
  port_desc: () => " port=ANY",
  flow_monitor: (message) => message.monitors.map(formatFlowMonitor).join(""),
  nxst_flow_monitor: (message) => message.monitors.map(formatFlowMonitor).join(""),
};

const REPLIES: ReplyBodies = {
  desc: (message) => `\nManufacturer: ${fixedText(message.mfr_desc)}\nHardware: ${fixedText(message.hw_desc)}\nSoftware: ${fixedText(message.sw_desc)}\nSerial Num: ${
    fixedText(message.serial_num)}\nDP Description: ${fixedText(message.dp_desc)}\n`,
  flow: (message) => message.flows.map((flow) => `\n ${formatFlowStats(flow)}`).join(""),
  aggregate: (message) => ` packet_count=${message.packet_count} byte_count=${message.byte_count} flow_count=${message.flow_count}`,
  table: (message) => formatTableStats(message.tables),
  port_stats: (message) => ` ${message.ports.length} ports\n${message.ports.map(formatPortStats).join("")}`,
  queue: (message) => ` ${message.queues.length} queues\n${message.queues.map(formatQueueStats).join("")}`,
  group: (message) => message.groups.map(formatGroupStats).join(""),
  group_desc: (message) => message.groups.map((group) => `\n ${formatGroup(group)}`).join(""),
  group_features: formatGroupFeatures,
  meter: (message) => message.meters.map((meter) => `\n${formatMeterStats(meter)}`).join(""),
  meter_config: (message) => message.meters.map((meter) => `\n${formatMeter(meter)}`).join(""),
  meter_features: formatMeterFeatures,
  table_features: (message) => formatTableFeatures(message.tables),
  port_desc: (message) => `\n${formatPortDescs(message.ports)}`,
  flow_monitor: (message) => message.updates.map(formatFlowUpdate).join(""),
  nxst_flow_monitor: (message) => message.updates.map(formatFlowUpdate).join(""),
  ipfix_bridge: (message) => `\n  bridge ipfix: ${formatIpfix(message, 16)}`,
  ipfix_flow: (message) => ` ${message.exporters.length} ids\n${message.exporters.map((one) => `  id ${String(one.collector_set_id).padStart(3)}: ${formatIpfix(one, 10)}`).join("")}`,
};

// --- hello ---

/** The versions that a hello offers, by its bytes: elements that make no sense are shown, not refused. The last bitmap counts. */
export function formatHello(bytes: Buffer): string {
  // Without a bitmap all versions up to the one of the header; version 0 does not exist.
  let versions = bytes[0]! < 32 ? 2 ** (bytes[0]! + 1) - 2 : -2;
  let known = true;
  for (let at = 8; at < bytes.length; ) {
    const length = at + 4 > bytes.length ? 0 : bytes.readUInt16BE(at + 2);
    const padded = (length + 7) & ~7;
    if (length < 4 || at + padded > bytes.length) {
      known = false;
      break;
    }
    const offered = bytes.readUInt16BE(at) === 1 && length >= 8 && length % 4 === 0 ? bytes.readUInt32BE(at + 4) & ~1 : 0;
    if (offered === 0) known = false;
    else versions = offered;
    at += padded;
  }
  const list = Array.from({ length: 32 }, (_, version) => version).filter((version) => version > 0 && ((versions >>> version) & 1) === 1);
  return `\n version bitmap: ${list.map((version) => `0x${version.toString(16).padStart(2, "0")}`).join(", ")}${known ? "" : `\n unknown data in hello:\n${hexDump(bytes)}`}`;
}
