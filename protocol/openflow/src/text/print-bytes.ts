// Bytes straight to text: messages, actions, instructions and the two notations of matches, as the commands ofp-print, parse-actions,
// parse-instructions, parse-oxm and parse-nxm of ovs-ofctl show them.

import { decodeActions } from "../actions.ts";
import { refusal } from "../errors.ts";
import { fieldOfHeader, fields, type FieldName } from "../fields.ts";
import { decodeInstructions } from "../instructions.ts";
import { decodeMatch, decodeNxm, encodeNxms, encodeOxms, type Match } from "../match.ts";
import { decodeMessage } from "../messages.ts";
import type { DecodeOptions } from "../strict.ts";
import { nxmName, oxmName } from "./names.ts";
import { formatActions } from "./print-actions.ts";
import { formatInstructions } from "./print-flow.ts";
import { formatBytes, formatMessage, isUnknownError, type PrintOptions } from "./print-message.ts";

/** What bytes may be: a message, lists of actions or instructions, an ofp_match with its padding, or NXM entries padded to 8. */
export type PrintedAs = "message" | "actions" | "instructions" | "oxm" | "nxm";

export interface PrintBytesOptions extends PrintOptions {
  /** Refuse what Open vSwitch 3.1 refuses. By default true. */
  readonly strict?: boolean;
}

/**
 * The text for `bytes`, without a newline at its end: of a message what formatMessage gives, of actions and instructions what stands
 * after "actions=", of a match its entries as "NXM_OF_ETH_TYPE(0800), NXM_NX_REG0_W(00000001/0000000f)" or "<any>".
 * @throws OpenFlowError when they do not decode
 */
export function printBytes(as: PrintedAs, bytes: Uint8Array, options: PrintBytesOptions = {}): string {
  const buf = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const strict = { strict: options.strict ?? true };
  switch (as) {
    case "message":
      return formatWhole(buf, strict, options);
    case "actions":
      return formatActions(decodeActions(buf, 0, buf.length, strict));
    case "instructions":
      return formatInstructions(decodeInstructions(buf, 0, buf.length, strict));
    case "oxm":
      return printEntries(decodeMatch(buf, 0, buf.length, strict), encodeOxms).join(", ") || "<any>";
    case "nxm":
      return printNxm(buf, strict);
  }
}

function formatWhole(buf: Buffer, strict: DecodeOptions, options: PrintOptions): string {
  const hello = buf.length >= 8 && buf[1] === HELLO && buf.readUInt16BE(2) === buf.length;
  // A hello is never refused for what it says.
  if (hello) return formatBytes(buf, options).replace(/\n$/, "");
  const message = decodeMessage(buf, strict);
  if (strict.strict === true && isUnknownError(message)) throw refusal("OFPBRC_BAD_LEN", 8, "an error without a name");
  return formatMessage(message, options);
}
const HELLO = 0;

// --- matches entry by entry ---

const COOKIE = fields.cookie.header >>> 9;

/** In NXM a flow's cookie may stand among the entries; it is shown after them. */
function printNxm(buf: Buffer, strict: DecodeOptions): string {
  const entries: Buffer[] = [];
  const cookies: string[] = [];
  const end = entriesEnd(buf);
  for (let at = 0; at < end; ) {
    const next = at + 4 > end ? end : Math.min(end, at + 4 + buf[at + 3]!);
    const entry = buf.subarray(at, next);
    at = next;
    if (entry.length < 4 || entry.readUInt32BE(0) >>> 9 !== COOKIE || (entry.length !== 12 && entry.length !== 20)) {
      entries.push(entry);
      continue;
    }
    if (cookies.length > 0) throw refusal("OFPBMC_DUP_FIELD", at, "a second cookie");
    const full = entry.length === 12 || entry.readBigUInt64BE(12) === 0xffffffffffffffffn;
    if (!full && entry.readBigUInt64BE(12) === 0n) continue;
    cookies.push(`NXM_NX_COOKIE${full ? "" : "_W"}(${entry.toString("hex", 4, 12)}${full ? "" : `/${entry.toString("hex", 12)}`})`);
  }
  const others = Buffer.concat(entries);
  return [...printEntries(decodeNxm(others, 0, others.length, strict), encodeNxms), ...cookies].join(", ") || "<any>";
}

const scratch = Buffer.alloc(0x10000);

/** Fields that Open vSwitch 3.1 writes back with their value as mask. */
const OWN_MASK: ReadonlySet<FieldName> = new Set<FieldName>(["tun_erspan_ver", "tun_erspan_dir", "tun_erspan_hwid", "tun_gtpu_flags", "tun_gtpu_msgtype"]);

/** The entries as a switch would write them, in its order. */
function printEntries(match: Match, encode: (buf: Buffer, off: number, match: Match) => number): string[] {
  // A copy has the values alone, not the form in which they came.
  const end = encode(scratch, 0, Object.fromEntries(Object.entries(match)));
  const out: string[] = [];
  for (let at = 0; at < end; ) {
    const header = scratch.readUInt32BE(at);
    const long = header >>> 16 === 0xffff;
    const start = at + (long ? 8 : 4);
    const next = at + 4 + (header & 0xff);
    const field = fieldOfHeader(header, long ? scratch.readUInt32BE(at + 4) : undefined)!;
    const digits = scratch.toString("hex", start, next);
    const half = (header & 0x100) === 0 ? digits.length : digits.length / 2;
    const value = digits.slice(0, half);
    const mask = OWN_MASK.has(field.name) ? value : digits.slice(half);
    const name = header >>> 9 === field.header >>> 9 ? oxmName(field) : nxmName(field);
    at = next;
    if (OWN_MASK.has(field.name) && value === "00") continue;
    out.push(mask === "" || mask === "ff" ? `${name}(${value})` : `${name}_W(${value}/${mask})`);
  }
  return out;
}

/** Where the entries end and their padding begins: no entry has a header of zeroes. */
export function entriesEnd(buf: Buffer): number {
  let at = 0;
  while (at + 4 <= buf.length && buf.readUInt32BE(at) !== 0) at += 4 + buf[at + 3]!;
  // Less than a header is padding if it is zero, and otherwise for the decoder to refuse.
  return at > buf.length || buf.subarray(at).some((byte) => byte !== 0) ? buf.length : at;
}
