// Whether messages make sense to Open vSwitch: how long their bodies may be, and what their values may be. lib/ofp-msgs.h and the
// decoders of Open vSwitch 3.1. The checks stand in the layouts of message-table.ts where Open vSwitch makes them.

import { decodeActions } from "../actions/codec.ts";
import { errorName, malformed, refusal, truncated, type ErrorName } from "../wire/errors.ts";
import { fields, ports } from "../match/fields.ts";
import { checkInstructions, type Instruction } from "./instructions.ts";
import { check, type Part } from "../layout/layout.ts";
import { checkProperty, meaning, type Judgement } from "../layout/properties.ts";
import { decodeMatch, matchLength, type Match } from "../match/match.ts";
import { isPort } from "../match/check.ts";
import { isMasked, parts, readHeader, type MatchValue } from "../match/oxm.ts";

// --- lengths ---

/** Bytes of the body at least, and in what steps it may be longer: 0 not at all. */
export type BodySize = readonly [least: number, step: number];

/** Bodies that do not always have the length of their layout; multiparts by kind and direction. */
export const bodySizes: Readonly<Record<string, BodySize>> = {
  hello: [0, 1], error: [4, 1], echo_request: [0, 1], echo_reply: [0, 1], packet_in: [16, 1], flow_removed: [40, 8], packet_out: [16, 1], flow_mod: [40, 8],
  group_mod: [8, 8], queue_get_config_reply: [8, 8], meter_mod: [8, 8],
  bundle_control: [8, 8], bundle_add: [8, 1], role_status: [16, 8], requestforward: [8, 8],
  nxt_flow_mod: [32, 8], nxt_flow_removed: [40, 8], nxt_packet_in: [24, 1], nxt_packet_in2: [0, 8], nxt_resume: [0, 8], nxt_set_async2: [0, 8],
  tlv_table_mod: [8, 8], tlv_table_reply: [16, 8], ct_flush: [8, 8],
  "flow request": [32, 8], "flow reply": [0, 1], "aggregate request": [32, 8], "table reply": [0, 24], "port_stats reply": [0, 112], "queue reply": [0, 40],
  "group reply": [0, 8], "group_desc request": [0, 0], "group_desc reply": [0, 8], "meter reply": [0, 8], "meter_config reply": [0, 8],
  "table_features request": [0, 8], "table_features reply": [64, 8], "port_desc request": [0, 0], "port_desc reply": [0, 64],
  "flow_monitor request": [0, 8], "flow_monitor reply": [0, 8], "ipfix_flow reply": [0, 88],
};

/** Extensions of earlier versions of OpenFlow, which Open vSwitch does not know in 1.3. */
export const outdated: ReadonlySet<string> = new Set(["nxt_flow_monitor_cancel", "nxt_flow_monitor_paused", "nxt_flow_monitor_resumed", "nxst_flow_monitor"]);

/** @throws OpenFlowError when `length` is none that the body can have */
export function checkBody(name: string, layout: readonly Part[], at: number, length: number): void {
  const [least, step] = bodySizes[name] ?? [layout.reduce((sum, part) => sum + Math.max(part.size, 0), 0), 0];
  if (length < least) throw truncated(at, `${name} of ${length} bytes`);
  if (step === 0 ? length !== least : (length - least) % step !== 0) throw malformed(at, `${name} of ${length} bytes`);
}

// --- values ---

type Obj = Record<string, unknown>;
/** Checks of values that stand `back` bytes before the check. */
function value(name: string, back: number, ok: (value: number, obj: Obj) => boolean, error: ErrorName): Part {
  return check((obj, _buf, off) => {
    const found = obj[name];
    if (typeof found === "number" && !ok(found, obj)) throw refusal(error, off - back, `${name} ${found}`);
  });
}

/** A port of 32 bits that is one. */
export function portCheck(name: string, back = 4, error: ErrorName = "OFPBAC_BAD_OUT_PORT"): Part {
  return value(name, back, isPort, error);
}

/** A value that has a name. */
export function namedCheck(name: string, back: number, error: ErrorName): Part {
  return value(name, back, () => false, error);
}

/** What a packet that is sent out came from: a port, the switch, the controller or nothing. */
export const packetOutSource = check((obj) => {
  const port = obj["in_port"] as number;
  if (port >= 0xff00 && port !== ports.LOCAL && port !== ports.ANY && port !== ports.CONTROLLER) throw refusal("OFPBRC_BAD_PORT", 12, `in_port 0x${port.toString(16)}`);
});

/** Queues can be asked for of one port, or of all. */
export const queuePort = value("port", 8, (port) => port < 0xff00 || port === ports.ANY, "OFPQOFC_BAD_PORT");

/** The port of a reply counts as soon as it has queues; those are in steps of 8 bytes. */
export const queueReply = check((obj, buf, off, end) => {
  if (off < end && !isPort(obj["port"] as number)) throw refusal("OFPBAC_BAD_OUT_PORT", off - 8, `port ${String(obj["port"])}`);
  for (let at = off; at + 16 <= end; ) {
    const length = buf.readUInt16BE(at + 8);
    if (length < 16 || length % 8 !== 0 || at + length > end) throw malformed(at + 8, `queue of ${length} bytes`);
    for (let property = at + 16; property < at + length; ) {
      const size = buf.readUInt16BE(property + 2);
      if (size < 8 || size % 8 !== 0 || property + size > at + length) throw malformed(property + 2, `queue property of ${size} bytes`);
      property += size;
    }
    at += length;
  }
});

const FRAGMENTS = 3;
export const configFlags = value("flags", 4, (flags) => (flags & ~FRAGMENTS) === 0, "OFPSCFC_BAD_FLAGS");

const ALL_FLOW_FLAGS = 0x1f;
/** Between match and instructions of flow statistics. */
export const flowFlags = check((obj, _buf, off) => {
  const flags = obj["flags"] as number;
  if (flags & ~ALL_FLOW_FLAGS) throw refusal("OFPFMFC_BAD_FLAGS", off, `flags 0x${flags.toString(16)}`);
});

const ENTRY = 48;
/** Before an entry of flow statistics: Open vSwitch takes match and instructions out of the message, and only then sees that the entry was shorter. */
export function flowEntry(buf: Buffer, off: number, end: number): void {
  if (off + ENTRY > end) throw truncated(off, "flow statistics");
  const length = buf.readUInt16BE(off);
  if (length < ENTRY) throw malformed(off, `flow statistics of ${length} bytes`);
  const size = matchLength(buf, off + ENTRY, end);
  const rest = length - ENTRY - ((size + 7) & ~7);
  if (rest >= 0 && rest % 8 === 0 && off + length <= end) return;
  decodeMatch(buf, off + ENTRY, end);
  throw malformed(off, `flow statistics of ${length} bytes`, "OFPBIC_BAD_LEN");
}

/** Between match and instructions of a flow-mod. Its offsets are those of the message. */
export const flowModHead = check((obj) => {
  if (obj["table_id"] === 0xff && obj["command"] !== "delete" && obj["command"] !== "delete_strict") throw refusal("OFPFMFC_BAD_TABLE_ID", 24, "table 255");
  if (!isPort(obj["out_port"] as number)) throw refusal("OFPBAC_BAD_OUT_PORT", 36, `out_port ${String(obj["out_port"])}`);
  checkConnection(obj["match"] as Match);
  if (typeof obj["command"] === "number") throw refusal("OFPFMFC_BAD_COMMAND", 25, `command ${obj["command"]}`);
});

/** Addresses of a connection have to be of the family that the match has. */
function checkConnection(match: Match): void {
  const set = (name: "ct_nw_src" | "ct_nw_dst" | "ct_ipv6_src" | "ct_ipv6_dst"): boolean => {
    const found: MatchValue | undefined = match[name];
    return found !== undefined && !(isMasked(found) && parts(fields[name], found).mask === 0n);
  };
  const type = Number(match.eth_type ?? 0);
  if (((set("ct_nw_src") || set("ct_nw_dst")) && type !== 0x0800) || ((set("ct_ipv6_src") || set("ct_ipv6_dst")) && type !== 0x86dd)) {
    throw refusal("OFPBAC_MATCH_INCONSISTENT", 48, "addresses of a connection of another family");
  }
}

export const flowModTail = check((obj, _buf, off) => {
  const flags = obj["flags"] as number;
  if (flags & ~ALL_FLOW_FLAGS) throw refusal("OFPFMFC_BAD_FLAGS", 44, `flags 0x${flags.toString(16)}`);
  checkInstructions((obj["instructions"] ?? []) as readonly Instruction[], off, obj["match"] as Match, obj["table_id"] as number);
});

interface Bucket {
  readonly weight: number;
  readonly watch_port: number;
  readonly watch_group: number;
}

/** After the buckets of a group-mod. */
export const groupMod = check((obj, _buf, off) => {
  const { group_type: type, command } = obj;
  const buckets = obj["buckets"] as readonly Bucket[];
  const refuse = (name: ErrorName, at: number, why: string): Error => refusal(name, at, why);
  if (command === "delete" && buckets.length > 0) throw refuse("OFPGMFC_INVALID_GROUP", 16, "a delete with buckets");
  if (typeof type === "number") throw refuse("OFPGMFC_BAD_TYPE", 10, `group type ${type}`);
  if (type === "indirect" && command !== "delete" && buckets.length !== 1) throw refuse("OFPGMFC_INVALID_GROUP", 16, `an indirect group of ${buckets.length} buckets`);
  // Numbers 3 and 5 are commands of OpenFlow 1.5, which Open vSwitch takes here too.
  if (command === REMOVE_BUCKET && buckets.length > 0) throw refuse("OFPGMFC_BAD_BUCKET", 16, "buckets to remove");
  if (typeof command === "number" && command !== INSERT_BUCKET && command !== REMOVE_BUCKET) throw refuse("OFPGMFC_BAD_COMMAND", 8, `command ${command}`);
  for (const { weight, watch_port: port, watch_group: group } of buckets) {
    const watched = port !== ports.ANY || group !== ports.ANY;
    if (weight !== 0 && type !== "select" && command !== INSERT_BUCKET) throw refuse("OFPGMFC_INVALID_GROUP", off, "weights");
    if (type === "ff" && !watched) throw refuse("OFPGMFC_INVALID_GROUP", off, "a bucket that watches nothing");
    if (type !== "ff" && type !== "select" && watched) throw refuse("OFPGMFC_WATCH_UNSUPPORTED", off, "a bucket that watches something");
  }
});
const INSERT_BUCKET = 3;
const REMOVE_BUCKET = 5;

export const meterCommand = check((obj) => {
  if (typeof obj["command"] === "number") throw refusal("OFPMMFC_BAD_COMMAND", 8, `command ${obj["command"]}`);
});
const KBPS_AND_PKTPS = 3;
export const meterFlags = check((obj) => {
  if (obj["command"] !== "delete" && ((obj["flags"] as number) & KBPS_AND_PKTPS) === KBPS_AND_PKTPS) throw refusal("OFPMMFC_BAD_FLAGS", 10, "kilobits and packets");
});

/** Before the content of a band: Open vSwitch knows two kinds, of one length. */
export const bandHead = check((obj, _buf, off, end) => {
  if (end - off !== 12) throw malformed(off - 2, `meter band of ${end - off + 4} bytes`);
  if (obj["type"] !== "drop" && obj["type"] !== "dscp_remark") throw refusal("OFPMMFC_BAD_BAND", off - 4, `meter band ${String(obj["type"])}`);
});

/** An error that has a name. */
export const knownError = check((obj, _buf, off) => {
  const { error_type: type, code, experimenter } = obj as { error_type: number; code: number; experimenter?: number };
  const name = experimenter === undefined ? errorName(type, code) : errorName(code, 0, experimenter);
  if (!/^[A-Z]/.test(name) || name.startsWith("OFPET") || UNKNOWN_ERRORS.has(name)) throw malformed(off, `an error ${type}.${code} that nobody knows`);
});
// Names of the specification that Open vSwitch has no number for, and of later versions.
const UNKNOWN_ERRORS: ReadonlySet<string> = new Set(["OFPBFC_BAD_VERSION"]);

const MAX_TLV = 124;
/** After TLV maps: each at most so long, for one of `fields` fields. */
export function tlvMaps(limit: (obj: Obj) => number): Part {
  return check((obj, _buf, off) => {
    const maps = obj["maps"] as readonly { option_len: number; index: number }[];
    const start = off - maps.length * 8;
    maps.forEach(({ option_len: length, index }, i) => {
      if (length % 4 !== 0 || length > MAX_TLV) throw refusal("NXTTMFC_BAD_OPT_LEN", start + i * 8 + 3, `an option of ${length} bytes`);
      if (index >= limit(obj)) throw refusal("NXTTMFC_BAD_FIELD_IDX", start + i * 8 + 4, `field ${index}`);
    });
  });
}

/** The inner state of a paused packet; `off` is where its properties begin. */
export function checkContinuation(buf: Buffer, off: number, end: number, judgement: Judgement): void {
  const LEAST = [20, 4, 8, 4, 5, 16, 8, 8, 8];
  const EXACT = new Set([0, 2, 5, 8]);
  while (off < end) {
    if (off + 4 > end) throw truncated(off, "continuation", "OFPBPC_BAD_LEN");
    const type = buf.readUInt16BE(off) - 0x8000;
    const length = buf.readUInt16BE(off + 2);
    const stop = off + ((length + 7) & ~7);
    if (length < 4 || stop > end) throw malformed(off + 2, `continuation property of ${length} bytes`, "OFPBPC_BAD_LEN");
    const least = LEAST[type];
    checkProperty(buf, off, least !== undefined, judgement);
    if (least !== undefined && (length < least || (EXACT.has(type) && length !== least))) throw malformed(off + 2, `continuation property of ${length} bytes`, "OFPBPC_BAD_LEN");
    if (type === 1 && length - 4 > 128) throw malformed(off + 2, `a stack element of ${length - 4} bytes`, "OFPBPC_BAD_LEN");
    if (type === 6 || type === 7) decodeActions(buf, off + 8, length - 8);
    off = stop;
  }
}

interface Feature {
  readonly type: string | number;
  readonly tables?: readonly { table_id: number }[];
  readonly fields?: readonly { header: number; experimenter?: number }[];
}
const REQUIRED = ["instructions", "next_tables", "write_actions", "apply_actions", "match", "wildcards", "write_setfield", "apply_setfield"];

/** Before the properties of a table's features. */
export const tableHead = check((obj, _buf, off, end) => {
  const start = off - 64;
  if ((end - start) % 8 !== 0) throw malformed(start, `table features of ${end - start} bytes`, "OFPBPC_BAD_LEN");
  if (obj["table_id"] === 0xff) throw refusal("OFPTFFC_BAD_TABLE", start + 2, "table 255");
});

/** After them. */
export const tableTail = check((obj, _buf, off) => {
  const seen = new Set<string | number>();
  for (const property of obj["properties"] as readonly Feature[]) {
    const { type } = property;
    if (seen.has(type) && type !== "experimenter" && type !== "experimenter_miss" && !(Number(type) >= 32)) throw refusal("OFPTFFC_BAD_FEATURES", off, `${type} twice`);
    seen.add(type);
    const { type: meant, tables, fields: oxms } = meaning(property);
    if (tables?.some(({ table_id: id }) => id === 0xff) === true) throw refusal("OFPBPC_BAD_VALUE", off, `${type}: table 255`);
    for (const { header, experimenter } of oxms ?? []) {
      if (meant !== "match" && (header & 0x100) !== 0 && isField(header, experimenter)) throw refusal("OFPBMC_BAD_MASK", off, `${type}: a masked field`);
    }
  }
  const missing = REQUIRED.filter((type) => !seen.has(type));
  if (missing.length > 0) throw refusal("OFPTFFC_BAD_FEATURES", off, `no ${missing.join(", ")}`);
});

const scratch = Buffer.alloc(8);

/** Whether Open vSwitch knows the field of a header. */
function isField(header: number, experimenter: number | undefined): boolean {
  scratch.writeUInt32BE(header, 0);
  scratch.writeUInt32BE(experimenter ?? 0, 4);
  try {
    readHeader(scratch, 0, 8);
    return true;
  } catch {
    return false;
  }
}
