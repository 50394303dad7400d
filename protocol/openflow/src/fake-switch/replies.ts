// What the fake switch answers to multipart requests. Each kind gives a list of entries as bytes, and the entries are dealt out
// to as many messages as they need, all but the last with the MORE flag; a reply without entries is one empty message.

import { refusal } from "../wire/errors.ts";
import { fieldList, groups as reservedGroups, ports as reservedPorts } from "../match/fields.ts";
import type { FlowEntry, FlowFilter, FlowTables } from "./flows.ts";
import { MAX_BANDS, METER_FLAGS, type GroupTable } from "./groups.ts";
import { MAX_MESSAGE, OFP_VERSION } from "../messages/flow-mod.ts";
import { encodeMessage, REPLY_MORE, type Decoded, type MessageOf, type MultipartReply, type PortDesc } from "../messages/codec.ts";
import { writeU16, writeU32 } from "../match/value.ts";

type Request = Decoded<MessageOf<"multipart_request">>;

export interface Description {
  readonly mfr_desc: string;
  readonly hw_desc: string;
  readonly sw_desc: string;
  readonly serial_num: string;
  readonly dp_desc: string;
}

/** Counters of a port; those that are left out are zero. */
export interface PortCounters {
  readonly rx_packets?: bigint;
  readonly tx_packets?: bigint;
  readonly rx_bytes?: bigint;
  readonly tx_bytes?: bigint;
  readonly rx_dropped?: bigint;
  readonly tx_dropped?: bigint;
  readonly rx_errors?: bigint;
  readonly tx_errors?: bigint;
}

/** What replies are about. */
export interface Subject {
  readonly description: Description;
  readonly tables: FlowTables;
  readonly groups: GroupTable;
  readonly ports: ReadonlyMap<number, PortDesc>;
  readonly portCounters: ReadonlyMap<number, PortCounters>;
  /** Milliseconds, by the switch's clock. */
  readonly started: number;
  now(): number;
}

const HEADER = 16;
const METER_ALL = 0xffffffff;
const QUEUE_ALL = 0xffffffff;
const ALL_ONES = 0xffffffffffffffffn;

/** The messages of the reply. undefined: no such statistics. @throws OpenFlowError a refusal */
export function multipartReplies(request: Request, subject: Subject): Buffer[] | undefined {
  const { xid } = request;
  const whole = (reply: MultipartReply): Buffer[] => [encodeMessage(reply, xid)];
  const listed = <T>(items: readonly T[], reply: (item: T) => MultipartReply): Buffer[] =>
    dealt(encodeMessage(request, xid).readUInt16BE(8), xid, items.map((item) => encodeMessage(reply(item), xid).subarray(HEADER)));
  switch (request.kind) {
    case "desc":
      return whole({ type: "multipart_reply", kind: "desc", ...subject.description });
    case "flow": {
      const now = subject.now();
      return dealt(1, xid, subject.tables.select(request as FlowFilter).map((flow) => flowStats(flow, now)));
    }
    case "aggregate": {
      const flows = subject.tables.select(request);
      const sum = (of: "packet_count" | "byte_count"): bigint => flows.reduce((total, flow) => total + flow[of], 0n);
      return whole({ type: "multipart_reply", kind: "aggregate", packet_count: sum("packet_count"), byte_count: sum("byte_count"), flow_count: flows.length });
    }
    case "table":
      return listed(subject.tables.statistics(), (table) => ({ type: "multipart_reply", kind: "table", tables: [table] }));
    case "port_stats":
      return listed(portsOf(request.port_no, subject), (port) => ({ type: "multipart_reply", kind: "port_stats", ports: [portStats(port, subject)] }));
    case "port_desc":
      return listed([...subject.ports.values()], (port) => ({ type: "multipart_reply", kind: "port_desc", ports: [port] }));
    case "queue":
      if (request.port_no !== undefined && request.port_no !== reservedPorts.ANY && !subject.ports.has(request.port_no)) throw refusal("OFPQOFC_BAD_PORT", 16, `no port ${request.port_no}`);
      if (request.queue_id !== undefined && request.queue_id !== QUEUE_ALL) throw refusal("OFPQOFC_BAD_QUEUE", 20, "there are no queues");
      return whole({ type: "multipart_reply", kind: "queue", queues: [] });
    case "group": {
      const { group_id } = request;
      const found = subject.groups.allGroups().filter((group) => group_id === undefined || group_id === reservedGroups.ALL || group.group_id === group_id);
      return listed(found, (group) => ({
        type: "multipart_reply", kind: "group", groups: [{
          group_id: group.group_id, ref_count: subject.tables.using("groups", group.group_id).length, packet_count: 0n, byte_count: 0n,
          ...age(group.created, subject.now()), bucket_stats: group.buckets.map(() => ({ packet_count: 0n, byte_count: 0n })),
        }],
      }));
    }
    case "group_desc":
      return listed(subject.groups.allGroups(), ({ group_type, group_id, buckets }) => ({ type: "multipart_reply", kind: "group_desc", groups: [{ group_type, group_id, buckets }] }));
    case "group_features":
      // all, select, indirect, fast failover; weights, liveness, chaining.
      return whole({
        type: "multipart_reply", kind: "group_features", types: 15, capabilities: 7, max_groups: [0, 1, 2, 3].map(() => subject.groups.maxGroups),
        actions: [0, 1, 2, 3].map(() => ACTIONS.reduce((bits, code) => (bits | (1 << code)) >>> 0, 0)),
      });
    case "meter":
    case "meter_config": {
      const { meter_id } = request;
      if (meter_id !== undefined && meter_id !== METER_ALL && !subject.groups.hasMeter(meter_id)) throw refusal("OFPMMFC_UNKNOWN_METER", 16, `no meter ${meter_id}`);
      const found = subject.groups.allMeters().filter((meter) => meter_id === undefined || meter_id === METER_ALL || meter.meter_id === meter_id);
      if (request.kind === "meter_config") return listed(found, ({ flags, meter_id: id, bands }) => ({ type: "multipart_reply", kind: "meter_config", meters: [{ flags, meter_id: id, bands }] }));
      return listed(found, (meter) => ({
        type: "multipart_reply", kind: "meter", meters: [{
          meter_id: meter.meter_id, flow_count: subject.tables.using("meters", meter.meter_id).length, packet_in_count: 0n, byte_in_count: 0n,
          ...age(meter.created, subject.now()), band_stats: meter.bands.map(() => ({ packet_band_count: 0n, byte_band_count: 0n })),
        }],
      }));
    }
    case "meter_features":
      return whole({ type: "multipart_reply", kind: "meter_features", max_meter: subject.groups.maxMeters, band_types: 2, capabilities: METER_FLAGS, max_bands: MAX_BANDS, max_color: 0 });
    case "table_features":
      if (request.tables.length > 0) throw refusal("OFPTFFC_EPERM", 16, "tables cannot be changed");
      return dealt(12, xid, Array.from({ length: subject.tables.count }, (_, table) => tableFeatures(table, subject.tables)));
    default:
      return undefined;
  }
}

/** Entries as the bodies of replies of at most 64 KiB. */
function dealt(kind: number, xid: number, entries: readonly Buffer[]): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at < entries.length || messages.length === 0; ) {
    let end = at;
    let length = HEADER;
    while (end < entries.length && length + entries[end]!.length <= MAX_MESSAGE) length += entries[end++]!.length;
    const head = Buffer.alloc(HEADER);
    writeU32(head, 0, (OFP_VERSION << 24) | (19 << 16) | length);
    writeU32(head, 4, xid);
    writeU16(head, 8, kind);
    writeU16(head, 10, end < entries.length ? REPLY_MORE : 0);
    messages.push(Buffer.concat([head, ...entries.slice(at, end)]));
    at = end;
  }
  return messages;
}

function age(since: number, now: number): { duration_sec: number; duration_nsec: number } {
  const ms = Math.max(0, Math.floor(now - since));
  return { duration_sec: Math.floor(ms / 1000), duration_nsec: (ms % 1000) * 1_000_000 };
}

function flowStats(flow: FlowEntry, now: number): Buffer {
  const length = 48 + flow.matchBytes.length + flow.instructionBytes.length;
  const entry = Buffer.alloc(length);
  const { duration_sec, duration_nsec } = age(flow.created, now);
  writeU16(entry, 0, length);
  entry[2] = flow.table_id;
  writeU32(entry, 4, duration_sec);
  writeU32(entry, 8, duration_nsec);
  writeU16(entry, 12, flow.priority);
  writeU16(entry, 14, flow.idle_timeout);
  writeU16(entry, 16, flow.hard_timeout);
  writeU16(entry, 18, flow.flags);
  entry.writeBigUInt64BE(flow.cookie, 24);
  entry.writeBigUInt64BE(flow.packet_count, 32);
  entry.writeBigUInt64BE(flow.byte_count, 40);
  flow.matchBytes.copy(entry, 48);
  flow.instructionBytes.copy(entry, 48 + flow.matchBytes.length);
  return entry;
}

// --- ports ---

function portsOf(port: number | undefined, subject: Subject): PortDesc[] {
  if (port === undefined || port === reservedPorts.ANY) return [...subject.ports.values()];
  const found = subject.ports.get(port);
  return found === undefined ? [] : [found];
}

function portStats(port: PortDesc, subject: Subject) {
  const counted = subject.portCounters.get(port.port_no) ?? {};
  const { rx_packets = 0n, tx_packets = 0n, rx_bytes = 0n, tx_bytes = 0n, rx_dropped = 0n, tx_dropped = 0n, rx_errors = 0n, tx_errors = 0n } = counted;
  return {
    port_no: port.port_no, rx_packets, tx_packets, rx_bytes, tx_bytes, rx_dropped, tx_dropped, rx_errors, tx_errors,
    // What the switch does not count is all ones.
    rx_frame_err: ALL_ONES, rx_over_err: ALL_ONES, rx_crc_err: ALL_ONES, collisions: ALL_ONES, ...age(subject.started, subject.now()),
  };
}

// --- table features ---

const GOTO_TABLE = 1;
const INSTRUCTIONS = [GOTO_TABLE, 2, 3, 4, 5, 6];
/** Standard actions that need no extension. */
const ACTIONS = [0, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25];
const PROPERTIES = { INSTRUCTIONS: 0, NEXT_TABLES: 2, WRITE_ACTIONS: 4, APPLY_ACTIONS: 6, MATCH: 8, WILDCARDS: 10, WRITE_SETFIELD: 12, APPLY_SETFIELD: 14 } as const;

/** Instructions and actions as identifiers: type and length 4. */
function identifiers(types: readonly number[]): Buffer {
  return Buffer.concat(types.map((type) => Buffer.of(0, type, 0, 4)));
}

const standardFields = fieldList.filter((field) => field.oxmClass === 0x8000 && field.known);
function headers(masks: boolean, writable: boolean): Buffer {
  return Buffer.concat(
    standardFields.filter((field) => !writable || field.writable).map((field) => {
      const header = Buffer.alloc(4);
      const masked = masks && field.maskable;
      writeU32(header, 0, (field.header | (masked ? 0x100 : 0) | (masked ? field.bytes * 2 : field.bytes)) >>> 0);
      return header;
    }),
  );
}

/** One entry of the reply: every table can do the same, and go to all tables after it. */
function tableFeatures(table: number, tables: FlowTables): Buffer {
  const later = Array.from({ length: tables.count - table - 1 }, (_, i) => table + 1 + i);
  const properties: (readonly [number, Buffer])[] = [
    [PROPERTIES.INSTRUCTIONS, identifiers(later.length === 0 ? INSTRUCTIONS.filter((type) => type !== GOTO_TABLE) : INSTRUCTIONS)],
    [PROPERTIES.NEXT_TABLES, Buffer.from(later)],
    [PROPERTIES.WRITE_ACTIONS, identifiers(ACTIONS)], [PROPERTIES.APPLY_ACTIONS, identifiers(ACTIONS)],
    [PROPERTIES.MATCH, headers(true, false)], [PROPERTIES.WILDCARDS, headers(false, false)],
    [PROPERTIES.WRITE_SETFIELD, headers(false, true)], [PROPERTIES.APPLY_SETFIELD, headers(false, true)],
  ];
  const fixed = Buffer.alloc(64);
  fixed[2] = table;
  fixed.write(`table${table}`, 8, "latin1");
  fixed.fill(0xff, 40, 56);
  writeU32(fixed, 60, tables.maxFlows);
  const body = properties.map(([type, data]) => {
    const property = Buffer.alloc((4 + data.length + 7) & ~7);
    writeU16(property, 0, type);
    writeU16(property, 2, 4 + data.length);
    data.copy(property, 4);
    return property;
  });
  const entry = Buffer.concat([fixed, ...body]);
  writeU16(entry, 0, entry.length);
  return entry;
}
