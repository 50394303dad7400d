// Messages to bytes and back. encodeMessage and decodeMessage walk the tables of message-table.ts, from which the type Message is
// derived.

import { badValue, ERROR_TYPE_EXPERIMENTER, malformed, NX_VENDOR, ONF_VENDOR, OpenFlowError, refusal, truncated, type ErrorName } from "../wire/errors.ts";
import { ALL_TABLES } from "../match/fields.ts";
import { MAX_MESSAGE, OFP_VERSION, type FlowMod } from "./flow-mod.ts";
import { decodeParts, encodeParts, type Part, type Shape } from "../layout/layout.ts";
import { checkBody, outdated } from "./check.ts";
import { experimenterBody, experimenters, messages, multiparts, type Def, type ExpDef, type MultipartDef } from "./table.ts";
import { judged, judging, type DecodeOptions } from "../wire/strict.ts";
import { whole, writeU16, writeU32 } from "../match/value.ts";

type Obj = Record<string, unknown>;

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
type AnyMultipart = MultipartDef<readonly Part[], readonly Part[]>;
type MultipartEntry = readonly [MultipartKind, AnyMultipart];
const multipartByCode = new Map<number | string, MultipartEntry>();
for (const [kind, def] of Object.entries(multiparts) as [MultipartKind, AnyMultipart][]) {
  multipartByCode.set(def.vendor === undefined ? def.code : `${def.vendor}/${def.code}`, [kind, def]);
}
const OPAQUE = 0xffff;

const scratch = Buffer.alloc(4 * 65536);
/** Padding of a multipart message, where it was not zero. */
const PAD = Symbol("padding");

/** The whole message in a buffer of its own. @throws OpenFlowError OF_VALUE */
export function encodeMessage(message: Message, xid: number): Buffer {
  const obj = message as unknown as Obj;
  let end = HEADER;
  let code: number;
  if (message.type === "multipart_request" || message.type === "multipart_reply") {
    const def = multiparts[message.kind] as AnyMultipart | undefined;
    if (def === undefined) throw badValue(`no multipart kind ${message.kind as string}`);
    code = message.type === "multipart_request" ? MULTIPART_REQUEST : MULTIPART_REPLY;
    writeU16(scratch, 10, whole(message.flags ?? 0, 0xffff, "flags"));
    writeU32(scratch, 12, (obj as { [PAD]?: number })[PAD] ?? 0);
    end = 16;
    if (def.vendor === undefined) writeU16(scratch, 8, def.code);
    else {
      writeU16(scratch, 8, OPAQUE);
      writeU32(scratch, 16, def.vendor);
      writeU32(scratch, 20, def.code);
      end = 24;
    }
    end = encodeParts(message.type === "multipart_request" ? def.request : def.reply, scratch, end, obj);
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
  writeU32(scratch, 4, whole(xid, 0xffffffff, "xid"));
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
  if (version !== OFP_VERSION && code > 3) throw refusal("OFPBRC_BAD_VERSION", 0, `version ${version}`, "OF_VERSION");
  if (judging.strict) {
    if (version === 0) throw refusal("OFPBRC_BAD_TYPE", 0, "version 0");
    mustBeMessage(buf, 0, end);
  }
  const obj: Obj = { type: "", version, xid: buf.readUInt32BE(4) };
  let at: number;
  if (code === MULTIPART_REQUEST || code === MULTIPART_REPLY) {
    if (end < 16) throw truncated(8, "multipart");
    const entry = multipartOf(buf, end);
    obj["type"] = code === MULTIPART_REQUEST ? "multipart_request" : "multipart_reply";
    obj["kind"] = entry[0];
    obj["flags"] = buf.readUInt16BE(10);
    const layout = code === MULTIPART_REQUEST ? entry[1].request : entry[1].reply;
    at = decodeParts(layout, buf, entry[1].vendor === undefined ? 16 : 24, end, obj, entry[0]);
    if (buf.readUInt32BE(12) !== 0) Object.defineProperty(obj, PAD, { value: buf.readUInt32BE(12) });
  } else if (code === EXPERIMENTER) {
    if (end < 16) throw truncated(8, "experimenter message");
    const entry = extendedByCode.get(`${buf.readUInt32BE(8)}/${buf.readUInt32BE(12)}`);
    obj["type"] = entry === undefined ? "experimenter" : entry[0];
    at = entry === undefined ? decodeParts(experimenterBody, buf, 8, end, obj, "experimenter") : decodeParts(entry[1].layout, buf, 16, end, obj, entry[0]);
  } else {
    const entry = byCode[code];
    if (entry === undefined) throw refusal("OFPBRC_BAD_TYPE", 1, `message type ${code}`);
    obj["type"] = entry[0];
    at = decodeParts(entry[1].layout, buf, HEADER, end, obj, entry[0]);
  }
  if (at !== end) throw malformed(at, `${end - at} bytes left over`);
  if (judging.strict && (obj["type"] === "bundle_add" || obj["type"] === "requestforward")) checkInner(buf, obj["type"], version);
  if (judging.strict && obj["type"] === "bundle_add") mustDecode(buf.subarray(0, 24 + buf.readUInt16BE(26)), 24);
  if (judging.strict && judging.inner && obj["type"] === "error" && obj["error_type"] !== HELLO_FAILED) {
    mustDecode(buf, obj["error_type"] === ERROR_TYPE_EXPERIMENTER ? 16 : 12);
  }
  return obj as unknown as Decoded;
}

/** Whether Open vSwitch knows the message between `off` and `end` by its head, and whether its body can be that long; returns its name. */
function mustBeMessage(buf: Buffer, off: number, end: number): string {
  const code = buf[off + 1]!;
  if (code !== MULTIPART_REQUEST && code !== MULTIPART_REPLY && code !== EXPERIMENTER) {
    const entry = byCode[code];
    if (entry === undefined) throw refusal("OFPBRC_BAD_TYPE", off + 1, `message type ${code}`);
    checkBody(entry[0], entry[1].layout, off + 2, end - off - HEADER);
    return entry[0];
  }
  if (end - off < 16) throw truncated(off + 2, "message");
  let at = off + 8;
  if (code !== EXPERIMENTER) {
    const type = buf.readUInt16BE(at);
    if (type !== OPAQUE) {
      const entry = multipartByCode.get(type);
      if (entry === undefined) throw refusal("OFPBRC_BAD_STAT", at, `multipart type ${type}`);
      return checkMultipart(entry, code, off, end - off - 16);
    }
    at += 8;
    if (end - off < 24) throw truncated(off + 2, "message");
  }
  const vendor = buf.readUInt32BE(at);
  const subtype = buf.readUInt32BE(at + 4);
  if (vendor !== NX_VENDOR && vendor !== ONF_VENDOR) throw refusal("OFPBRC_BAD_VENDOR", at, `experimenter 0x${vendor.toString(16)}`);
  const key = `${vendor}/${subtype}`;
  const entry = code === EXPERIMENTER ? extendedByCode.get(key) : multipartByCode.get(key);
  if (entry === undefined || outdated.has(entry[0])) throw refusal("OFPBRC_BAD_SUBTYPE", at + 4, `subtype ${subtype} of experimenter 0x${vendor.toString(16)}`);
  if (code !== EXPERIMENTER) return checkMultipart(entry as MultipartEntry, code, off, end - off - 24);
  checkBody(entry[0], (entry[1] as ExpDef<readonly Part[]>).layout, off + 2, end - off - 16);
  return entry[0];
}

function checkMultipart([kind, def]: MultipartEntry, code: number, off: number, length: number): string {
  checkBody(`${kind} ${code === MULTIPART_REQUEST ? "request" : "reply"}`, code === MULTIPART_REQUEST ? def.request : def.reply, off + 2, length);
  return kind;
}

const HELLO_FAILED = 0;
const MAX_DEPTH = 16;
let depth = 0;

/** Judges the message that is all of `buf` from `off` on; pieces of one are let pass, as are those of other versions. */
function mustDecode(buf: Buffer, off: number): void {
  if (buf.length - off < HEADER || buf.readUInt16BE(off + 2) !== buf.length - off || depth === MAX_DEPTH) return;
  const version = buf[off]!;
  if (version !== OFP_VERSION) {
    if (version < 1 || (version > 6 && buf[off + 1]! > 3)) throw refusal("OFPBRC_BAD_TYPE", off, `message of version ${version}`);
    return;
  }
  depth++;
  try {
    decodeMessage(buf.subarray(off));
  } catch (error) {
    if (error instanceof OpenFlowError && error.errorName !== undefined) throw refusal(error.errorName as ErrorName, off + (error.offset ?? 0), error.reason, error.code);
    throw error;
  } finally {
    depth--;
  }
}

const IN_BUNDLES = new Set(["port_mod", "flow_mod", "group_mod", "packet_out"]);

/** The message inside a bundle_add (its head alone) or a requestforward, at 24 or 16. */
function checkInner(buf: Buffer, outer: "bundle_add" | "requestforward", version: number): void {
  const off = outer === "bundle_add" ? 24 : 16;
  if (buf.length - off < HEADER) throw truncated(off, "inner message", "OFPBFC_MSG_BAD_LEN");
  const length = buf.readUInt16BE(off + 2);
  const sameVersion = buf[off] === version;
  if (outer === "bundle_add" && !sameVersion) throw refusal("OFPBFC_BAD_VERSION", off, `a message of version ${buf[off]!}`);
  if (length < HEADER || length > buf.length - off) throw malformed(off + 2, `a message of ${length} bytes`, "OFPBFC_MSG_BAD_LEN");
  if (!sameVersion) throw refusal("OFPBRC_BAD_VERSION", off, `a message of version ${buf[off]!}`);
  if (outer === "bundle_add") {
    if (buf.readUInt32BE(off + 4) !== buf.readUInt32BE(4)) throw refusal("OFPBFC_MSG_BAD_XID", off + 4, "another xid than the bundle's message");
    let name: string;
    try {
      name = mustBeMessage(buf, off, off + length);
    } catch (error) {
      if (error instanceof OpenFlowError) throw refusal("OFPBFC_MSG_UNSUP", off, error.reason);
      throw error;
    }
    if (!IN_BUNDLES.has(name)) throw refusal("OFPBFC_MSG_UNSUP", off, `${name} in a bundle`);
    return;
  }
  const name = mustBeMessage(buf, off, off + length);
  if (name !== "group_mod" && name !== "meter_mod") throw refusal("OFPBFC_MSG_UNSUP", off, name);
  mustDecode(buf.subarray(0, off + length), off);
}

function multipartOf(buf: Buffer, end: number): MultipartEntry {
  const code = buf.readUInt16BE(8);
  if (code === OPAQUE && end >= 24) {
    const entry = multipartByCode.get(`${buf.readUInt32BE(16)}/${buf.readUInt32BE(20)}`);
    if (entry !== undefined) return entry;
  }
  const entry = multipartByCode.get(code);
  if (entry === undefined) throw refusal("OFPBRC_BAD_STAT", 8, `multipart type ${code}`);
  return entry;
}

/** OFPMPF_REPLY_MORE */
export const REPLY_MORE = 1;

/** Appends a later part of a split reply to the first. */
export function joinReplies(first: Decoded<MultipartReply>, next: Decoded<MultipartReply>): void {
  const name = (multiparts[first.kind] as AnyMultipart).joins;
  if (name === undefined) return;
  const into = first as unknown as Obj;
  const from = (next as unknown as Obj)[name];
  if (Array.isArray(into[name])) for (const item of from as unknown[]) (into[name] as unknown[]).push(item);
  else into[name] = Buffer.concat([into[name] as Uint8Array, from as Uint8Array]);
}
