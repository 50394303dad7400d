// Every message as data: its number and the layout of its body. encodeMessage and decodeMessage walk this table; the
// Message type is derived from it. A number with names ("add", "delete") also takes and gives numbers that have none.

import { decodeActions, encodeActions, type Action } from "./actions.ts";
import { decodeInstructions, encodeInstructions, type Instruction } from "./instructions.ts";
import { badValue, ERROR_TYPE_EXPERIMENTER, malformed, NX_VENDOR, ONF_VENDOR, OpenFlowError, truncated } from "./errors.ts";
import { ALL_TABLES, NO_BUFFER, ports } from "./fields.ts";
import { flowModCommands, MAX_MESSAGE, OFP_VERSION } from "./flow-mod.ts";
import {
  decodeParts, encodeParts, hex64, list, mac, match, named, pad, rest, struct, text, u16, u32, u32s, u64, u8,
  type Part, type Shape,
} from "./layout.ts";
import { decodeOxms, encodeOxms, pad8, type Match } from "./match.ts";
import { judged, type DecodeOptions } from "./strict.ts";
import { writeU16, writeU32 } from "./value.ts";
import type { FlowMod } from "./flow-mod.ts";

type Obj = Record<string, unknown>;

// --- parts with actions in them ---

const actions: Part<{ actions: readonly Action[] }> = {
  name: "actions", size: -1,
  encode: (buf, off, obj) => encodeActions(buf, off, obj["actions"] as readonly Action[]),
  decode(buf, off, end, obj) {
    obj["actions"] = decodeActions(buf, off, end - off);
    return end;
  },
};

/** Actions with their length before them, as packet-out has it. */
const countedActions: Part<{ actions: readonly Action[] }> = {
  name: "actions", size: 8,
  encode(buf, off, obj) {
    const end = encodeActions(buf, off + 8, obj["actions"] as readonly Action[]);
    if (end - off - 8 > MAX_MESSAGE) throw badValue("the actions do not fit a message");
    buf.fill(0, off, off + 8);
    writeU16(buf, off, end - off - 8);
    return end;
  },
  decode(buf, off, end, obj) {
    const length = buf.readUInt16BE(off);
    if (off + 8 + length > end) throw truncated(off, "actions");
    obj["actions"] = decodeActions(buf, off + 8, length);
    return off + 8 + length;
  },
};

const instructions: Part<{ instructions?: readonly Instruction[] }> = {
  name: "instructions", size: -1,
  encode: (buf, off, obj) => (obj["instructions"] === undefined ? off : encodeInstructions(buf, off, obj["instructions"] as readonly Instruction[])),
  decode(buf, off, end, obj) {
    obj["instructions"] = decodeInstructions(buf, off, end - off);
    return end;
  },
};

/** Type-specific tail of a meter band: prec_level of dscp_remark, experimenter of an experimenter band. */
const bandTail: Part<{ prec_level?: number; experimenter?: number }> = {
  name: "prec_level", size: 4,
  encode(buf, off, obj) {
    writeU32(buf, off, (obj["experimenter"] as number | undefined) ?? ((obj["prec_level"] as number | undefined) ?? 0) << 24);
    return off + 4;
  },
  decode(buf, off, end, obj) {
    if (obj["type"] === "experimenter") obj["experimenter"] = buf.readUInt32BE(off);
    else if (obj["type"] === "dscp_remark") obj["prec_level"] = buf[off]!;
    else if (obj["type"] !== "drop") throw malformed(off, "unknown meter band");
    if (obj["type"] !== "experimenter" && end !== off + 4) throw malformed(off, "meter band length");
    return off + 4;
  },
};

// --- shared structures ---

const bucket = [pad(2), u16("weight", 0), u32("watch_port", ports.ANY), u32("watch_group", ports.ANY), pad(4), actions] as const;
const buckets = list("buckets", bucket, 0);
const groupType = named(1, "group_type", { all: 0, select: 1, indirect: 2, ff: 3 });
const bands = list("bands", [named(2, "type", { drop: 1, dscp_remark: 2, experimenter: 0xffff }), pad(2), u32("rate"), u32("burst_size", 0), bandTail, rest("data")] as const, 2);
const port = [
  u32("port_no"), pad(4), mac("hw_addr"), pad(2), text("name", 16), u32("config"), u32("state"), u32("curr"), u32("advertised"),
  u32("supported"), u32("peer"), u32("curr_speed"), u32("max_speed"),
] as const;
const role = [named(4, "role", { nochange: 0, equal: 1, master: 2, slave: 3 }), pad(4), u64("generation_id", 0n)] as const;
/** Bit masks of reasons; first for master and equal, second for slave. */
const async = [u32s("packet_in_mask", 2), u32s("port_status_mask", 2), u32s("flow_removed_mask", 2)] as const;
const config = [u16("flags", 0), u16("miss_send_len", 0xffff)] as const;
const packetInReason = { no_match: 0, action: 1, invalid_ttl: 2 } as const;
const flowRemovedReason = { idle_timeout: 0, hard_timeout: 1, delete: 2, group_delete: 3 } as const;
const flowFilter = [u8("table_id", ALL_TABLES), pad(3), u32("out_port", ports.ANY), u32("out_group", ports.ANY), pad(4), u64("cookie", 0n), u64("cookie_mask", 0n), match] as const;
const flowModCommand = named(1, "command", flowModCommands);
const tlvMaps = list("maps", [u16("option_class"), u8("option_type"), u8("option_len"), u16("index"), pad(2)] as const);

// --- NXT_PACKET_IN2: properties, each optional ---

export interface PacketIn2 {
  packet?: Uint8Array;
  /** Length of the packet, when longer than `packet`. */
  full_len?: number;
  buffer_id?: number;
  table_id?: number;
  cookie?: bigint;
  reason?: number;
  metadata?: Match;
  userdata?: Uint8Array;
  continuation?: Uint8Array;
}

type Property = readonly [name: keyof PacketIn2, form: "bytes" | 1 | 4 | 8 | "oxm"];
const PACKET_IN2: readonly Property[] = [
  ["packet", "bytes"], ["full_len", 4], ["buffer_id", 4], ["table_id", 1], ["cookie", 8], ["reason", 1], ["metadata", "oxm"], ["userdata", "bytes"],
  ["continuation", "bytes"],
];

/** As Open vSwitch writes them. */
const PACKET_IN2_ORDER = [0, 1, 2, 3, 4, 5, 6, 8, 7];

const packetIn2: Part<PacketIn2> = {
  name: "packet", size: -1,
  encode(buf, off, obj) {
    for (const type of PACKET_IN2_ORDER) {
      const [name, form] = PACKET_IN2[type]!;
      const value = obj[name];
      if (value === undefined) continue;
      const start = off;
      off += 4;
      if (form === "bytes") off = rest(name).encode(buf, off, obj);
      else if (form === "oxm") off = encodeOxms(buf, off, value as Match);
      else if (form === 8) off = u64(name).encode(buf, pad(4).encode(buf, off, obj), obj);
      else off = (form === 1 ? u8 : u32)(name).encode(buf, off, obj);
      writeU16(buf, start, type);
      writeU16(buf, start + 2, off - start);
      // The continuation consists of properties that are padded already.
      off = pad8(buf, start, off);
    }
    return off;
  },
  decode(buf, off, end, obj) {
    while (off < end) {
      if (off + 4 > end) throw truncated(off, "packet-in property");
      const type = buf.readUInt16BE(off);
      const length = buf.readUInt16BE(off + 2);
      const stop = off + length;
      if (length < 4) throw malformed(off + 2, `packet-in property length ${length}`);
      if (off + ((length + 7) & ~7) > end) throw truncated(off + 2, "packet-in property");
      const property = PACKET_IN2[type];
      if (property === undefined) throw malformed(off, `packet-in property ${type}`);
      const [name, form] = property;
      if (typeof form === "number" && (length < (form === 8 ? 16 : 4 + form) || length > (form === 8 ? 16 : 8))) throw malformed(off + 2, `packet-in property length ${length}`);
      if (form === "bytes") obj[name] = buf.subarray(off + 4, stop);
      else if (form === "oxm") obj[name] = decodeOxms(buf, off + 4, stop);
      else if (form === 8) obj[name] = buf.readBigUInt64BE(off + 8);
      else obj[name] = buf.readUIntBE(off + 4, form);
      off += (length + 7) & ~7;
    }
    return end;
  },
};

/** NXT_PACKET_IN, the format before NXT_PACKET_IN2: a match in NXM form whose length stands before it. */
const nxtPacketIn: Part<{ buffer_id: number; total_len: number; reason: number; table_id: number; cookie: bigint; metadata: Match; data?: Uint8Array }> = {
  name: "metadata", size: 24,
  encode(buf, off, obj) {
    encodeParts(NXT_PACKET_IN, buf, off, obj);
    const end = encodeOxms(buf, off + 24, obj["metadata"] as Match);
    writeU16(buf, off + 16, end - off - 24);
    const data = pad8(buf, off + 24, end) + 2;
    writeU16(buf, data - 2, 0);
    return rest("data").encode(buf, data, obj);
  },
  decode(buf, off, end, obj) {
    decodeParts(NXT_PACKET_IN, buf, off, end, obj, "packet-in");
    const length = buf.readUInt16BE(off + 16);
    const data = off + 24 + ((length + 7) & ~7) + 2;
    if (data > end) throw truncated(off + 16, "packet-in match");
    obj["metadata"] = decodeOxms(buf, off + 24, off + 24 + length);
    obj["data"] = buf.subarray(data, end);
    return end;
  },
};
const NXT_PACKET_IN = [u32("buffer_id"), u16("total_len"), u8("reason"), u8("table_id"), u64("cookie"), pad(8)] as const;

const errorExperimenter: Part<{ experimenter?: number }> = {
  name: "experimenter", size: -1,
  encode: (buf, off, obj) => (obj["error_type"] === ERROR_TYPE_EXPERIMENTER ? u32("experimenter").encode(buf, off, obj) : off),
  decode(buf, off, end, obj) {
    if (obj["error_type"] !== ERROR_TYPE_EXPERIMENTER) return off;
    if (off + 4 > end) throw truncated(off, "experimenter error");
    return u32("experimenter").decode(buf, off, end, obj);
  },
};

// --- the tables ---

interface Def<L extends readonly Part[]> {
  readonly code: number;
  readonly layout: L;
}
const msg = <const L extends readonly Part[]>(code: number, ...layout: L): Def<L> => ({ code, layout });

const messages = {
  hello: msg(0, list("elements", [u16("type"), pad(2), rest("data")] as const, 2, 8)),
  /** For error_type 0xffff, `code` is the experimenter's type. */
  error: msg(1, u16("error_type"), u16("code"), errorExperimenter, rest("data")),
  echo_request: msg(2, rest("data")),
  echo_reply: msg(3, rest("data")),
  features_request: msg(5),
  features_reply: msg(6, hex64("datapath_id"), u32("n_buffers"), u8("n_tables"), u8("auxiliary_id", 0), pad(2), u32("capabilities"), u32("reserved", 0)),
  get_config_request: msg(7),
  get_config_reply: msg(8, ...config),
  set_config: msg(9, ...config),
  packet_in: msg(10, u32("buffer_id"), u16("total_len"), named(1, "reason", packetInReason), u8("table_id"), u64("cookie"), match, pad(2), rest("data")),
  flow_removed: msg(
    11, u64("cookie"), u16("priority"), named(1, "reason", flowRemovedReason), u8("table_id"), u32("duration_sec"), u32("duration_nsec"),
    u16("idle_timeout"), u16("hard_timeout"), u64("packet_count"), u64("byte_count"), match,
  ),
  port_status: msg(12, named(1, "reason", { add: 0, delete: 1, modify: 2 }), pad(7), struct("desc", port)),
  packet_out: msg(13, u32("buffer_id", NO_BUFFER), u32("in_port", ports.CONTROLLER), countedActions, rest("data")),
  flow_mod: msg(
    14, u64("cookie", 0n), u64("cookie_mask", 0n), u8("table_id", 0), flowModCommand, u16("idle_timeout", 0), u16("hard_timeout", 0),
    u16("priority", 0x8000), u32("buffer_id", NO_BUFFER), u32("out_port", ports.ANY), u32("out_group", ports.ANY), u16("flags", 0), pad(2), match, instructions,
  ),
  group_mod: msg(15, named(2, "command", { add: 0, modify: 1, delete: 2, add_or_modify: 0x8000 }), groupType, pad(1), u32("group_id"), buckets),
  port_mod: msg(16, u32("port_no"), pad(4), mac("hw_addr"), pad(2), u32("config"), u32("mask"), u32("advertise", 0), pad(4)),
  table_mod: msg(17, u8("table_id"), pad(3), u32("config")),
  barrier_request: msg(20),
  barrier_reply: msg(21),
  queue_get_config_request: msg(22, u32("port"), pad(4)),
  queue_get_config_reply: msg(
    23, u32("port"), pad(4),
    list("queues", [u32("queue_id"), u32("port"), pad(2), pad(6), list("properties", [u16("type"), pad(2), pad(4), rest("data")] as const, 2)] as const, 8),
  ),
  role_request: msg(24, ...role),
  role_reply: msg(25, ...role),
  get_async_request: msg(26),
  get_async_reply: msg(27, ...async),
  set_async: msg(28, ...async),
  meter_mod: msg(29, named(2, "command", { add: 0, modify: 1, delete: 2 }), u16("flags"), u32("meter_id"), bands),
} as const satisfies Record<string, Def<readonly Part[]>>;

interface ExpDef<L extends readonly Part[]> extends Def<L> {
  readonly vendor: number;
}
const exp = <const L extends readonly Part[]>(vendor: number, code: number, ...layout: L): ExpDef<L> => ({ vendor, code, layout });
const bundleType = {
  open_request: 0, open_reply: 1, close_request: 2, close_reply: 3, commit_request: 4, commit_reply: 5, discard_request: 6, discard_reply: 7,
} as const;

const experimenters = {
  bundle_control: exp(ONF_VENDOR, 2300, u32("bundle_id"), named(2, "ctrl_type", bundleType), u16("flags"), rest("properties")),
  /** `message` is a whole OpenFlow message with the same xid. */
  bundle_add: exp(ONF_VENDOR, 2301, u32("bundle_id"), pad(2), u16("flags"), rest("message")),
  nxt_role_request: exp(NX_VENDOR, 10, named(4, "role", { other: 0, master: 1, slave: 2 })),
  nxt_role_reply: exp(NX_VENDOR, 11, named(4, "role", { other: 0, master: 1, slave: 2 })),
  flow_mod_table_id: exp(NX_VENDOR, 15, u8("set"), pad(7)),
  set_packet_in_format: exp(NX_VENDOR, 16, named(4, "format", { standard: 0, nxt_packet_in: 1, nxt_packet_in2: 2 })),
  nxt_packet_in: exp(NX_VENDOR, 17, nxtPacketIn),
  nxt_set_async: exp(NX_VENDOR, 19, ...async),
  set_controller_id: exp(NX_VENDOR, 20, pad(6), u16("controller_id")),
  tlv_table_mod: exp(NX_VENDOR, 24, named(2, "command", { add: 0, delete: 1, clear: 2 }), pad(6), tlvMaps),
  tlv_table_request: exp(NX_VENDOR, 25),
  tlv_table_reply: exp(NX_VENDOR, 26, u32("max_option_space"), u16("max_fields"), pad(10), tlvMaps),
  /** Continues a packet that a controller action paused. */
  nxt_resume: exp(NX_VENDOR, 28, packetIn2),
  ct_flush_zone: exp(NX_VENDOR, 29, pad(6), u16("zone_id")),
  nxt_packet_in2: exp(NX_VENDOR, 30, packetIn2),
} as const satisfies Record<string, ExpDef<readonly Part[]>>;

interface MultipartDef<Q extends readonly Part[], R extends readonly Part[]> {
  readonly code: number;
  readonly request: Q;
  readonly reply: R;
  /** Name of the list that the parts of a split reply share. */
  readonly joins?: string;
}
const mp = <const Q extends readonly Part[], const R extends readonly Part[]>(code: number, request: Q, reply: R, joins?: string): MultipartDef<Q, R> =>
  ({ code, request, reply, ...(joins === undefined ? {} : { joins }) });
const duration = [u32("duration_sec"), u32("duration_nsec")] as const;
const tables = list("tables", [
  pad(2), u8("table_id"), pad(5), text("name", 32), u64("metadata_match"), u64("metadata_write"), u32("config"), u32("max_entries"),
  list("properties", [u16("type"), pad(2), rest("data")] as const, 2, 8),
] as const, 0);
const experimenterBody = [u32("experimenter"), u32("exp_type"), rest("data")] as const;

const multiparts = {
  desc: mp(0, [], [text("mfr_desc", 256), text("hw_desc", 256), text("sw_desc", 256), text("serial_num", 32), text("dp_desc", 256)]),
  flow: mp(1, flowFilter, [list("flows", [
    pad(2), u8("table_id"), pad(1), ...duration, u16("priority"), u16("idle_timeout"), u16("hard_timeout"), u16("flags"), pad(4), u64("cookie"),
    u64("packet_count"), u64("byte_count"), match, instructions,
  ] as const, 0)], "flows"),
  aggregate: mp(2, flowFilter, [u64("packet_count"), u64("byte_count"), u32("flow_count"), pad(4)]),
  table: mp(3, [], [list("tables", [u8("table_id"), pad(3), u32("active_count"), u64("lookup_count"), u64("matched_count")] as const)], "tables"),
  port_stats: mp(4, [u32("port_no", ports.ANY), pad(4)], [list("ports", [
    u32("port_no"), pad(4), u64("rx_packets"), u64("tx_packets"), u64("rx_bytes"), u64("tx_bytes"), u64("rx_dropped"), u64("tx_dropped"),
    u64("rx_errors"), u64("tx_errors"), u64("rx_frame_err"), u64("rx_over_err"), u64("rx_crc_err"), u64("collisions"), ...duration,
  ] as const)], "ports"),
  queue: mp(5, [u32("port_no", ports.ANY), u32("queue_id", 0xffffffff)], [list("queues", [
    u32("port_no"), u32("queue_id"), u64("tx_bytes"), u64("tx_packets"), u64("tx_errors"), ...duration,
  ] as const)], "queues"),
  group: mp(6, [u32("group_id", 0xfffffffc), pad(4)], [list("groups", [
    pad(2), pad(2), u32("group_id"), u32("ref_count"), pad(4), u64("packet_count"), u64("byte_count"), ...duration,
    list("bucket_stats", [u64("packet_count"), u64("byte_count")] as const),
  ] as const, 0)], "groups"),
  group_desc: mp(7, [rest("body")], [list("groups", [pad(2), groupType, pad(1), u32("group_id"), buckets] as const, 0)], "groups"),
  group_features: mp(8, [], [u32("types"), u32("capabilities"), u32s("max_groups", 4), u32s("actions", 4)]),
  meter: mp(9, [u32("meter_id", 0xffffffff), pad(4)], [list("meters", [
    u32("meter_id"), pad(2), pad(6), u32("flow_count"), u64("packet_in_count"), u64("byte_in_count"), ...duration,
    list("band_stats", [u64("packet_band_count"), u64("byte_band_count")] as const),
  ] as const, 4)], "meters"),
  meter_config: mp(10, [u32("meter_id", 0xffffffff), pad(4)], [list("meters", [pad(2), u16("flags"), u32("meter_id"), bands] as const, 0)], "meters"),
  meter_features: mp(11, [], [u32("max_meter"), u32("band_types"), u32("capabilities"), u8("max_bands"), u8("max_color"), pad(2)]),
  table_features: mp(12, [tables], [tables], "tables"),
  port_desc: mp(13, [rest("body")], [list("ports", port)], "ports"),
  experimenter: mp(0xffff, experimenterBody, experimenterBody, "data"),
} as const satisfies Record<string, MultipartDef<readonly Part[], readonly Part[]>>;

// --- the types ---

type Simplify<T> = { [K in keyof T]: T[K] };
export type MultipartKind = keyof typeof multiparts;
type Plain = { [K in keyof typeof messages]: Simplify<{ type: K } & Shape<(typeof messages)[K]["layout"]>> };
type Extended = { [K in keyof typeof experimenters]: Simplify<{ type: K } & Shape<(typeof experimenters)[K]["layout"]>> };
type Requests = { [K in MultipartKind]: Simplify<{ type: "multipart_request"; kind: K; flags?: number } & Shape<(typeof multiparts)[K]["request"]>> };
type Replies = { [K in MultipartKind]: Simplify<{ type: "multipart_reply"; kind: K; flags?: number } & Shape<(typeof multiparts)[K]["reply"]>> };

export type FlowModMessage = { type: "flow_mod" } & FlowMod;
export type MultipartRequest = Requests[MultipartKind];
export type MultipartReply = Replies[MultipartKind];
/** A message of an experimenter that this package does not know. */
export interface ExperimenterMessage {
  type: "experimenter";
  experimenter: number;
  exp_type: number;
  data?: Uint8Array;
}

export type Message =
  | Exclude<Plain[keyof Plain], { type: "flow_mod" }>
  | FlowModMessage
  | Extended[keyof Extended]
  | ExperimenterMessage
  | MultipartRequest
  | MultipartReply;
export type MessageType = Message["type"];
export type MessageOf<T extends MessageType> = Extract<Message, { type: T }>;
export type MultipartReplyOf<K extends MultipartKind> = Replies[K];
export type Decoded<M extends Message = Message> = M & { readonly xid: number; readonly version: number };
/** ofp_port. */
export type PortDesc = MessageOf<"port_status">["desc"];

// --- encoding ---

const HEADER = 8;
const EXPERIMENTER = 4;
const MULTIPART_REQUEST = 18;
const MULTIPART_REPLY = 19;
const byType: ReadonlyMap<string, Def<readonly Part[]>> = new Map(Object.entries(messages));
const byCode: (readonly [string, Def<readonly Part[]>] | undefined)[] = [];
for (const entry of byType) byCode[entry[1].code] = entry;
const extendedByType: ReadonlyMap<string, ExpDef<readonly Part[]>> = new Map(Object.entries(experimenters));
const extendedByCode = new Map([...extendedByType].map((entry) => [`${entry[1].vendor}/${entry[1].code}`, entry]));
const multipartByCode = new Map(Object.entries(multiparts).map((entry) => [entry[1].code, entry as readonly [MultipartKind, MultipartDef<readonly Part[], readonly Part[]>]]));

const scratch = Buffer.alloc(4 * 65536);

/** The whole message in a buffer of its own. @throws OpenFlowError OF_VALUE */
export function encodeMessage(message: Message, xid: number): Buffer {
  const obj = message as unknown as Obj;
  let end = HEADER;
  let code: number;
  if (message.type === "multipart_request" || message.type === "multipart_reply") {
    const def = multiparts[message.kind] as MultipartDef<readonly Part[], readonly Part[]> | undefined;
    if (def === undefined) throw badValue(`no multipart kind ${message.kind as string}`);
    code = message.type === "multipart_request" ? MULTIPART_REQUEST : MULTIPART_REPLY;
    writeU16(scratch, 8, def.code);
    writeU16(scratch, 10, message.flags ?? 0);
    writeU32(scratch, 12, 0);
    end = encodeParts(message.type === "multipart_request" ? def.request : def.reply, scratch, 16, obj);
  } else if (message.type === "experimenter") {
    code = EXPERIMENTER;
    end = encodeParts(experimenterBody, scratch, HEADER, obj);
  } else {
    const extended = extendedByType.get(message.type);
    if (extended !== undefined) {
      code = EXPERIMENTER;
      writeU32(scratch, 8, extended.vendor);
      writeU32(scratch, 12, extended.code);
      end = encodeParts(extended.layout, scratch, 16, obj);
    } else {
      const def = byType.get(message.type);
      if (def === undefined) throw badValue(`no message ${(message as { type: string }).type}`);
      code = def.code;
      end = encodeParts(def.layout, scratch, HEADER, obj);
      if (code === 14 && (obj["table_id"] === undefined) && String(obj["command"]).startsWith("delete")) scratch[24] = ALL_TABLES;
    }
  }
  if (end > MAX_MESSAGE) throw new OpenFlowError("OF_VALUE", `a ${message.type} of ${end} bytes; a message has at most ${MAX_MESSAGE}`);
  scratch[0] = OFP_VERSION;
  scratch[1] = code;
  writeU16(scratch, 2, end);
  writeU32(scratch, 4, xid);
  return Buffer.from(scratch.subarray(0, end));
}

// --- decoding ---

/**
 * Reads one message, which must fill `bytes`. Data and userdata in the result are views of `bytes`.
 * @throws OpenFlowError, whatever the bytes
 */
export function decodeMessage(bytes: Uint8Array, options?: DecodeOptions): Decoded {
  if (options !== undefined) return judged(options, () => decodeMessage(bytes));
  const buf = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buf.length < HEADER) throw truncated(buf.length, "header");
  const version = buf[0]!;
  const code = buf[1]!;
  const end = buf.readUInt16BE(2);
  if (end < HEADER) throw malformed(2, `message length ${end}`);
  if (end > buf.length) throw truncated(2, "message");
  if (end < buf.length) throw malformed(2, `${buf.length - end} bytes after the message`);
  // A hello may come from any version, and an error about it with it; the rest of their layout is the same everywhere.
  if (version !== OFP_VERSION && code > 3) throw new OpenFlowError("OF_VERSION", `version ${version}`, { offset: 0 });
  const obj: Obj = { type: "", version, xid: buf.readUInt32BE(4) };
  let at: number;
  if (code === MULTIPART_REQUEST || code === MULTIPART_REPLY) {
    if (end < 16) throw truncated(8, "multipart");
    const entry = multipartByCode.get(buf.readUInt16BE(8));
    if (entry === undefined) throw malformed(8, `multipart type ${buf.readUInt16BE(8)}`);
    obj["type"] = code === MULTIPART_REQUEST ? "multipart_request" : "multipart_reply";
    obj["kind"] = entry[0];
    obj["flags"] = buf.readUInt16BE(10);
    const layout = code === MULTIPART_REQUEST ? entry[1].request : entry[1].reply;
    at = decodeParts(layout, buf, 16, end, obj, entry[0]);
  } else if (code === EXPERIMENTER) {
    if (end < 16) throw truncated(8, "experimenter message");
    const entry = extendedByCode.get(`${buf.readUInt32BE(8)}/${buf.readUInt32BE(12)}`);
    obj["type"] = entry === undefined ? "experimenter" : entry[0];
    at = entry === undefined ? decodeParts(experimenterBody, buf, 8, end, obj, "experimenter") : decodeParts(entry[1].layout, buf, 16, end, obj, entry[0]);
  } else {
    const entry = byCode[code];
    if (entry === undefined) throw malformed(1, `message type ${code}`);
    obj["type"] = entry[0];
    at = decodeParts(entry[1].layout, buf, HEADER, end, obj, entry[0]);
  }
  if (at !== end) throw malformed(at, `${end - at} bytes left over`);
  return obj as unknown as Decoded;
}

/** OFPMPF_REPLY_MORE */
export const REPLY_MORE = 1;

/** Appends a later part of a split reply to the first. */
export function joinReplies(first: Decoded<MultipartReply>, next: Decoded<MultipartReply>): void {
  const name = (multiparts[first.kind] as MultipartDef<readonly Part[], readonly Part[]>).joins;
  if (name === undefined) return;
  const into = first as unknown as Obj;
  const from = (next as unknown as Obj)[name];
  if (Array.isArray(into[name])) for (const item of from as unknown[]) (into[name] as unknown[]).push(item);
  else into[name] = Buffer.concat([into[name] as Uint8Array, from as Uint8Array]);
}
