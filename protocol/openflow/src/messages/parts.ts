// Pieces of messages that hold actions or matches, or whose shape depends on what came before; the tables of message-table.ts put
// them together.

import { decodeActions, encodeActions, type Action } from "../actions/codec.ts";
import { badValue, ERROR_TYPE_EXPERIMENTER, malformed, truncated } from "../wire/errors.ts";
import { MAX_MESSAGE } from "./flow-mod.ts";
import { decodeInstructions, encodeInstructions, type Instruction } from "./instructions.ts";
import { decodeParts, encodeParts, length16, list, pad, rest, u16, u32, u64, u8, type Part } from "../layout/layout.ts";
import { decodeNxms, decodeOxms, encodeNxms, encodeOxms, pad8, type Match } from "../match/match.ts";
import { checkContinuation } from "./check.ts";
import { checkProperty, type Judgement } from "../layout/properties.ts";
import { judging, loosely } from "../wire/strict.ts";
import { whole, writeU16, writeU32 } from "../match/value.ts";

// --- parts with actions in them ---

export const actions: Part<{ actions: readonly Action[] }> = {
  name: "actions", size: -1,
  encode: (buf, off, obj) => encodeActions(buf, off, obj["actions"] as readonly Action[]),
  decode(buf, off, end, obj) {
    obj["actions"] = decodeActions(buf, off, end - off);
    return end;
  },
};

/** Actions with their length before them, as packet-out has it. */
export const countedActions: Part<{ actions: readonly Action[] }> = {
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

export const instructions: Part<{ instructions?: readonly Instruction[] }> = {
  name: "instructions", size: -1,
  encode: (buf, off, obj) => (obj["instructions"] === undefined ? off : encodeInstructions(buf, off, obj["instructions"] as readonly Instruction[])),
  decode(buf, off, end, obj) {
    obj["instructions"] = decodeInstructions(buf, off, end - off);
    return end;
  },
};

/** Type-specific tail of a meter band: prec_level of dscp_remark, experimenter of an experimenter band. */
export const bandTail: Part<{ prec_level?: number; experimenter?: number }> = {
  name: "prec_level", size: 4,
  encode(buf, off, obj) {
    const experimenter = obj["experimenter"] as number | undefined;
    if (experimenter !== undefined) writeU32(buf, off, whole(experimenter, 0xffffffff, "experimenter"));
    else writeU32(buf, off, whole((obj["prec_level"] as number | undefined) ?? 0, 0xff, "prec_level") << 24);
    return off + 4;
  },
  decode(buf, off, end, obj) {
    if (obj["type"] === "experimenter") obj["experimenter"] = buf.readUInt32BE(off);
    else if (obj["type"] === "dscp_remark") obj["prec_level"] = buf[off]!;
    else if (obj["type"] !== "drop") throw malformed(off, "unknown meter band", "OFPMMFC_BAD_BAND");
    if (obj["type"] !== "experimenter" && end !== off + 4) throw malformed(off, "meter band length");
    return off + 4;
  },
};

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
  /** Properties that this package does not know. */
  others?: readonly { readonly type: number; readonly data: Uint8Array }[];
}

type Property = readonly [name: Exclude<keyof PacketIn2, "others">, form: "bytes" | 1 | 4 | 8 | "oxm"];
const PACKET_IN2: readonly Property[] = [
  ["packet", "bytes"], ["full_len", 4], ["buffer_id", 4], ["table_id", 1], ["cookie", 8], ["reason", 1], ["metadata", "oxm"], ["userdata", "bytes"],
  ["continuation", "bytes"],
];

/** As Open vSwitch writes them. */
const PACKET_IN2_ORDER = [0, 1, 2, 3, 4, 5, 6, 8, 7];

/** `judgement`: what a strict decoder does with types that nobody knows, inside the continuation as well. */
const packetProperties = (judgement: Judgement): Part<PacketIn2> => ({
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
    for (const { type, data } of (obj["others"] ?? []) as NonNullable<PacketIn2["others"]>) {
      writeU16(buf, off, whole(type, 0xffff, "others: type"));
      writeU16(buf, off + 2, 4 + data.length);
      buf.set(data, off + 4);
      off = pad8(buf, off, off + 4 + data.length);
    }
    return off;
  },
  decode(buf, off, end, obj) {
    const others: { type: number; data: Uint8Array }[] = [];
    while (off < end) {
      if (off + 4 > end) throw truncated(off, "packet-in property", "OFPBPC_BAD_LEN");
      const type = buf.readUInt16BE(off);
      const length = buf.readUInt16BE(off + 2);
      const stop = off + length;
      if (length < 4) throw malformed(off + 2, `packet-in property length ${length}`, "OFPBPC_BAD_LEN");
      if (off + ((length + 7) & ~7) > end) throw truncated(off + 2, "packet-in property", "OFPBPC_BAD_LEN");
      const property = PACKET_IN2[type];
      if (judging.strict) checkProperty(buf, off, property !== undefined, judgement);
      if (property === undefined) {
        others.push({ type, data: buf.subarray(off + 4, stop) });
        off += (length + 7) & ~7;
        continue;
      }
      const [name, form] = property;
      const least = form === 8 ? 16 : typeof form === "number" ? 4 + form : 4;
      if (length < least || ((form === 8 || form === 4) && length !== least)) throw malformed(off + 2, `packet-in property length ${length}`, "OFPBPC_BAD_LEN");
      if (form === "bytes") obj[name] = buf.subarray(off + 4, stop);
      else if (form === "oxm") obj[name] = loosely(() => decodeOxms(buf, off + 4, stop));
      else if (form === 8) obj[name] = buf.readBigUInt64BE(off + 8);
      else obj[name] = buf.readUIntBE(off + 4, form);
      if (judging.strict && name === "continuation") {
        if (length < 8) throw malformed(off + 2, "a continuation without content", "OFPBPC_BAD_LEN");
        checkContinuation(buf, off + 8, stop, judgement);
      }
      off += (length + 7) & ~7;
    }
    if (others.length > 0) obj["others"] = others;
    if (judging.strict) {
      const size = (obj["packet"] as Uint8Array | undefined)?.length ?? 0;
      const whole = obj["full_len"] as number | undefined;
      if (size === 0 || (whole !== undefined && whole !== 0 && whole < size)) throw malformed(end, "no packet, or more of it than there was");
    }
    return end;
  },
});

/** A switch tells of packets what it may, its controller knows what it knows. */
export const packetIn2 = packetProperties({});
/** A switch goes on with a packet only when it knows all that was said of it. */
export const resumed = packetProperties({ badType: "OFPBPC_BAD_TYPE", passedWhenShown: true });

/** NXT_PACKET_IN, the format before NXT_PACKET_IN2: a match in NXM form whose length stands before it. */
export const nxtPacketIn: Part<{ buffer_id: number; total_len: number; reason: number; table_id: number; cookie: bigint; metadata: Match; data?: Uint8Array }> = {
  name: "metadata", size: 24,
  encode(buf, off, obj) {
    encodeParts(NXT_PACKET_IN, buf, off, obj);
    const end = encodeNxms(buf, off + 24, obj["metadata"] as Match);
    writeU16(buf, off + 16, end - off - 24);
    const data = pad8(buf, off + 24, end) + 2;
    writeU16(buf, data - 2, 0);
    return rest("data").encode(buf, data, obj);
  },
  decode(buf, off, end, obj) {
    decodeParts(NXT_PACKET_IN, buf, off, end, obj, "packet-in");
    const length = buf.readUInt16BE(off + 16);
    const data = off + 24 + ((length + 7) & ~7) + 2;
    if (data - 2 > end) throw truncated(off + 16, "packet-in match", "OFPBMC_BAD_LEN");
    if (data > end) throw truncated(off + 16, "packet-in");
    obj["metadata"] = loosely(() => decodeNxms(buf, off + 24, length));
    obj["data"] = buf.subarray(data, end);
    return end;
  },
};
const NXT_PACKET_IN = [u32("buffer_id"), u16("total_len"), u8("reason"), u8("table_id"), u64("cookie"), pad(8)] as const;

/** Elements of a hello. Nobody refuses one for its elements: where they make no sense, the rest is `trailing`. */
export const helloElements: Part<{ elements: readonly { readonly type: number; readonly data?: Uint8Array }[]; trailing?: Uint8Array }> = {
  name: "elements", size: -1,
  encode: (buf, off, obj) => rest("trailing").encode(buf, elements.encode(buf, off, obj), obj),
  decode(buf, off, end, obj) {
    let stop = off;
    while (stop + 4 <= end) {
      const length = buf.readUInt16BE(stop + 2);
      const next = stop + ((length + 7) & ~7);
      if (length < 4 || next > end) break;
      stop = next;
    }
    elements.decode(buf, off, stop, obj);
    if (stop < end) obj["trailing"] = buf.subarray(stop, end);
    return end;
  },
};
const elements = list("elements", [u16("type"), length16, rest("data")] as const, 2, 8);

export const errorExperimenter: Part<{ experimenter?: number }> = {
  name: "experimenter", size: -1,
  encode: (buf, off, obj) => (obj["error_type"] === ERROR_TYPE_EXPERIMENTER ? u32("experimenter").encode(buf, off, obj) : off),
  decode(buf, off, end, obj) {
    if (obj["error_type"] !== ERROR_TYPE_EXPERIMENTER) return off;
    if (off + 4 > end) throw truncated(off, "experimenter error");
    return u32("experimenter").decode(buf, off, end, obj);
  },
};

/** NXT_FLOW_MOD: what a flow-mod was before OXM; its port has 16 bits, actions take the place of instructions. */
export const nxFlowMod: Part<{
  cookie: bigint; command: number; idle_timeout: number; hard_timeout: number; priority: number; buffer_id: number; out_port: number; flags: number;
  match: Match; actions: readonly Action[];
}> = {
  name: "match", size: 32,
  encode(buf, off, obj) {
    encodeParts(NXT_FLOW_MOD, buf, off, obj);
    const end = encodeNxms(buf, off + 32, obj["match"] as Match);
    writeU16(buf, off + 24, end - off - 32);
    return encodeActions(buf, pad8(buf, off, end), obj["actions"] as readonly Action[]);
  },
  decode(buf, off, end, obj) {
    decodeParts(NXT_FLOW_MOD, buf, off, end, obj, "flow-mod");
    const length = buf.readUInt16BE(off + 24);
    const start = off + 32 + ((length + 7) & ~7);
    if (start > end) throw truncated(off + 24, "flow-mod match", "OFPBMC_BAD_LEN");
    obj["match"] = decodeNxms(buf, off + 32, length);
    obj["actions"] = decodeActions(buf, start, end - start);
    return end;
  },
};
const NXT_FLOW_MOD = [
  u64("cookie"), u16("command"), u16("idle_timeout"), u16("hard_timeout"), u16("priority"), u32("buffer_id"), u16("out_port"), u16("flags"), length16, pad(6),
] as const;

/** NXT_FLOW_REMOVED; `table_id` is one more than the table's, 0 when unknown. */
export const nxFlowRemoved: Part<{
  cookie: bigint; priority: number; reason: number; table_id: number; duration_sec: number; duration_nsec: number; idle_timeout: number;
  packet_count: bigint; byte_count: bigint; match: Match;
}> = {
  name: "match", size: 40,
  encode(buf, off, obj) {
    encodeParts(NXT_FLOW_REMOVED, buf, off, obj);
    const end = encodeNxms(buf, off + 40, obj["match"] as Match);
    writeU16(buf, off + 22, end - off - 40);
    return pad8(buf, off, end);
  },
  decode(buf, off, end, obj) {
    decodeParts(NXT_FLOW_REMOVED, buf, off, end, obj, "flow-removed");
    const length = buf.readUInt16BE(off + 22);
    if (off + 40 + ((length + 7) & ~7) > end) throw truncated(off + 22, "flow-removed match", "OFPBMC_BAD_LEN");
    obj["match"] = decodeNxms(buf, off + 40, length);
    return off + 40 + ((length + 7) & ~7);
  },
};
const NXT_FLOW_REMOVED = [
  u64("cookie"), u16("priority"), u8("reason"), u8("table_id"), u32("duration_sec"), u32("duration_nsec"), u16("idle_timeout"), length16,
  u64("packet_count"), u64("byte_count"),
] as const;
