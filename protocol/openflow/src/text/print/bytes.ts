// Bytes straight to text: messages, actions, instructions and the two notations of matches, as the commands ofp-print, parse-actions,
// parse-instructions, parse-oxm and parse-nxm of ovs-ofctl show them.

import { decodeActions } from "../../actions/codec.ts";
import { refusal } from "../../wire/errors.ts";
import { fieldOfHeader, fields, type Field, type FieldName } from "../../match/fields.ts";
import { decodeInstructions } from "../../messages/instructions.ts";
import { decodeMatch, decodeNxm, encodeNxms, encodeOxms, parts, toBig, type Match, type MatchValue } from "../../match/match.ts";
import type { DecodeOptions } from "../../wire/strict.ts";
import { nxmName, oxmName } from "../names.ts";
import { formatActions } from "./actions.ts";
import { formatInstructions } from "./flow.ts";
import { decodeForText, formatBytes, formatMessage, isUnknownError, type PrintOptions } from "./message.ts";

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
      return printEntries(decodeMatch(buf, 0, buf.length, strict), false).join(", ") || "<any>";
    case "nxm":
      return printNxm(buf, strict);
  }
}

function formatWhole(buf: Buffer, strict: DecodeOptions, options: PrintOptions): string {
  const hello = buf.length >= 8 && buf[1] === HELLO && buf.readUInt16BE(2) === buf.length;
  // A hello is never refused for what it says.
  if (hello) return formatBytes(buf, options).replace(/\n$/, "");
  const message = decodeForText(buf, strict.strict === true);
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
  return [...printEntries(decodeNxm(others, 0, others.length, strict), true), ...cookies].join(", ") || "<any>";
}

const scratch = Buffer.alloc(0x10000);

/** Tunnel fields that Open vSwitch 3.1 writes back with their value as mask, and one whose bits it does not count. */
const OWN_MASK: ReadonlySet<FieldName> = new Set<FieldName>(["tun_erspan_ver", "tun_erspan_dir", "tun_erspan_hwid", "tun_gtpu_flags", "tun_gtpu_msgtype"]);
const BY_HAND: ReadonlySet<string> = new Set<FieldName>([...OWN_MASK, "tun_erspan_idx"]);
/** Fields that stand where another would. */
const PLACES: Readonly<Partial<Record<FieldName, Field>>> = { ip_tos: fields.ip_dscp, nxm_in_port: fields.in_port };
/** In NXM all of a VLAN tag is one field. */
const TAG: ReadonlySet<string> = new Set<FieldName>(["vlan_vid", "vlan_pcp", "vlan_tci"]);

/** The entries as a switch would write them, in its order. */
function printEntries(match: Match, nxm: boolean): string[] {
  const out: [order: number, text: string][] = [];
  const add = (field: Field, order: number, value: string, mask: string): void => {
    const name = nxm ? nxmName(field) : oxmName(field);
    out.push([order, mask === "" || /^f+$/.test(mask) ? `${name}(${value})` : `${name}_W(${value}/${mask})`]);
  };
  // What is left is written by the codec. A copy has the values alone, not the form in which they came.
  const plain: Record<string, MatchValue> = {};
  let tci = 0;
  let tciMask = 0;
  for (const [name, given] of Object.entries(match) as [FieldName, MatchValue | undefined][]) {
    if (given === undefined) continue;
    const field = fields[name];
    if (nxm && TAG.has(name)) {
      const { value, mask } = parts(field, given);
      const shift = name === "vlan_pcp" ? 13 : 0;
      tci |= (Number(value & mask) << shift) | (shift === 0 ? 0 : 0x1000);
      tciMask |= (Number(mask) << shift) | (shift === 0 ? 0 : 0x1000);
    } else if (BY_HAND.has(name)) {
      const masked = typeof given === "object" && !(given instanceof Uint8Array);
      const value = toBig(field, masked ? given.value : given);
      const digits = (number: bigint): string => number.toString(16).padStart(field.bytes * 2, "0");
      if (OWN_MASK.has(name)) {
        if (value !== 0n) add(field, field.order, digits(value), digits(value));
      } else add(field, field.order, digits(value), masked ? digits(toBig(field, given.mask)) : "");
    } else plain[name] = given;
  }
  if (tciMask !== 0) add(fields.vlan_tci, fields.vlan_vid.order, hex16(tci & tciMask), hex16(tciMask));
  const end = nxm ? encodeNxms(scratch, 0, plain) : encodeOxms(scratch, 0, plain);
  for (let at = 0; at < end; ) {
    const header = scratch.readUInt32BE(at);
    const long = header >>> 16 === 0xffff;
    const next = at + 4 + (header & 0xff);
    const field = fieldOfHeader(header, long ? scratch.readUInt32BE(at + 4) : undefined)!;
    const digits = scratch.toString("hex", at + (long ? 8 : 4), next);
    const half = (header & 0x100) === 0 ? digits.length : digits.length / 2;
    add(field, (PLACES[field.name] ?? field).order, digits.slice(0, half), digits.slice(half));
    at = next;
  }
  return out.sort((a, b) => a[0] - b[0]).map(([, text]) => text);
}

const hex16 = (number: number): string => number.toString(16).padStart(4, "0");

/** Where the entries end and their padding begins: no entry has a header of zeroes. */
export function entriesEnd(buf: Buffer): number {
  let at = 0;
  while (at + 4 <= buf.length && buf.readUInt32BE(at) !== 0) at += 4 + buf[at + 3]!;
  // Less than a header is padding if it is zero, and otherwise for the decoder to refuse.
  return at > buf.length || buf.subarray(at).some((byte) => byte !== 0) ? buf.length : at;
}
