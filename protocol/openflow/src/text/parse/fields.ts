// Fields by the names that people write, and their values: nw_src=10.0.0.0/8, tcp_flags=+syn-ack, NXM_NX_REG0[0..15].
// Values become integers of the field's width, each with a mask. What they mean for a match is in parse-match.ts.

import type { SubField } from "../../actions/parts.ts";
import { fieldList, fields, type Field, type FieldName, type Prerequisite } from "../../match/fields.ts";
import { flagNames } from "../../match/match.ts";
import { ipv4Text, ipv6Text, macText, readBig, writeIpv4, writeIpv6, writeMac, type FieldValue } from "../../match/value.ts";
import { OVS_NAMES, nxmName } from "../names.ts";
import { part, portNumber, quoted, scanInteger, textError, type Word } from "./words.ts";

type Form = "integer" | "mac" | "ipv4" | "ipv6" | "port" | "flags" | "frag" | "packet_type";

/** A field as Open vSwitch names it; a few of them are no fields of OpenFlow. */
export interface TextField {
  readonly name: string;
  /** Absent for dl_vlan and dl_vlan_pcp, which say in other words what vlan_vid and vlan_pcp say. */
  readonly wire: Field | undefined;
  readonly bytes: number;
  /** Bits that can be named in [0..n]. */
  readonly width: number;
  readonly form: Form;
  readonly maskable: boolean;
  readonly writable: boolean;
  readonly needs: Prerequisite | undefined;
}

/** A value and the bits of it that count. */
export interface Masked {
  readonly value: bigint;
  readonly mask: bigint;
}

const FORMS: Readonly<Partial<Record<FieldName, Form>>> = {
  in_port: "port", nxm_in_port: "port", actset_output: "port", ct_state: "flags", tcp_flags: "flags", tun_flags: "flags", ip_frag: "frag", packet_type: "packet_type",
};
const SECOND_NAMES: Readonly<Record<string, string>> = {
  tunnel_id: "tun_id", dl_src: "eth_src", dl_dst: "eth_dst", dl_type: "eth_type", nw_src: "ip_src", nw_dst: "ip_dst", ip_proto: "nw_proto", ip_ecn: "nw_ecn",
  nw_frag: "ip_frag", tp_src: "tcp_src", tp_dst: "tcp_dst", nsp: "nsh_spi", nsi: "nsh_si", nshc1: "nsh_c1", nshc2: "nsh_c2", nshc3: "nsh_c3", nshc4: "nsh_c4",
  // As Open vSwitch prints them, though it does not read them so.
  gtpu_flags: "tun_gtpu_flags", gtpu_msgtype: "tun_gtpu_msgtype",
};
const TUN_METADATA_BYTES = 124;

const byName = new Map<string, TextField>();
/** By the names of their numbers: NXM_OF_ETH_SRC, OXM_OF_ETH_SRC. */
const byNumber = new Map<string, TextField>();

function fill(): void {
  for (const wire of fieldList) {
    if (!wire.known || wire.name === "cookie") continue;
    const field: TextField = {
      name: OVS_NAMES[wire.name] ?? wire.name,
      wire, bytes: wire.bytes || TUN_METADATA_BYTES, width: wire.width,
      form: FORMS[wire.name] ?? (wire.kind === "uint" || wire.kind === "bytes" ? "integer" : wire.kind),
      maskable: wire.maskable, writable: wire.writable, needs: wire.needs,
    };
    byName.set(field.name, field);
    byNumber.set(nxmName(wire), field);
    if (wire.oxmClass === 0x8000) byNumber.set(`OXM_OF_${wire.name.toUpperCase()}`, field);
  }
  const vlan = { wire: undefined, form: "integer", maskable: false, writable: true, needs: "eth" } as const;
  byName.set("dl_vlan", { ...vlan, name: "dl_vlan", bytes: 2, width: 12 });
  byName.set("dl_vlan_pcp", { ...vlan, name: "dl_vlan_pcp", bytes: 1, width: 3 });
  for (const [second, first] of Object.entries(SECOND_NAMES)) byName.set(second, byName.get(first)!);
  // The specification's names, where they mean nothing else here.
  for (const { name, wire } of [...byName.values()]) if (wire !== undefined && !byName.has(wire.name)) byName.set(wire.name, byName.get(name)!);
  const tcpFlags = byName.get("tcp_flags")!;
  byNumber.set("ONFOXM_ET_TCP_FLAGS", tcpFlags).set("OXM_OF_TCP_FLAGS", tcpFlags);
  byNumber.set("NXOXM_ET_DP_HASH", byName.get("dp_hash")!);
  byNumber.set("OXM_OF_ACTSET_OUTPUT", byName.get("actset_output")!);
}
fill();

/** A field by its name in lower case: nw_src, ip_src, ipv4_src. */
export function fieldNamed(name: string): TextField | undefined {
  return byName.get(name);
}

/** The same, or by the name of its number: NXM_OF_IP_SRC, OXM_OF_IPV4_SRC. */
export function fieldOrNumberNamed(name: string): TextField | undefined {
  return byNumber.get(name.endsWith("_W") ? name.slice(0, -2) : name) ?? byName.get(name);
}

/** All ones in the bytes of the field. */
export function ones(field: { readonly bytes: number }): bigint {
  return (1n << BigInt(field.bytes * 8)) - 1n;
}

// --- values ---

const scratch = Buffer.alloc(16);

/** The value of a field, with its mask if it has one. @throws OpenFlowError OF_TEXT */
export function fieldValue(field: TextField, word: Word): Masked {
  if (word.text === "*") return { value: 0n, mask: 0n };
  const masked = FORM_READERS[field.form](field, word);
  if (!field.maskable && masked.mask !== 0n && masked.mask !== ones(field)) throw textError(word, `${field.name} takes no mask`);
  return masked;
}

/** A value without a mask. */
export function wholeValue(field: TextField, word: Word): bigint {
  const { value, mask } = fieldValue(field, word);
  if (mask !== ones(field)) throw textError(word, `${field.name}: no mask may stand here, as in ${quoted(word)}`);
  return value;
}

const FORM_READERS: Readonly<Record<Form, (field: TextField, word: Word) => Masked>> = {
  integer(field, word) {
    const slash = word.text.indexOf("/");
    if (slash < 0) return { value: fieldInteger(field, word), mask: ones(field) };
    return { value: fieldInteger(field, part(word, 0, slash)), mask: fieldInteger(field, part(word, slash + 1)) };
  },
  mac: address((text) => (writeMac(scratch, 0, text) ? readBig(scratch, 0, 6) : undefined), "an Ethernet address", 0),
  ipv4: address((text) => (writeIpv4(scratch, 0, text) ? readBig(scratch, 0, 4) : undefined), "an IPv4 address", 32),
  ipv6: address((text) => (writeIpv6(scratch, 0, text) ? readBig(scratch, 0, 16) : undefined), "an IPv6 address", 128),
  port(field, word) {
    const port = portNumber(word.text);
    if (port === undefined) throw textError(word, `${field.name}: no port ${quoted(word)}`);
    return { value: BigInt(field.bytes === 2 ? port & 0xffff : port), mask: ones(field) };
  },
  flags(field, word) {
    return flagList(field, word);
  },
  frag(field, word) {
    const found = FRAGMENTS[word.text.toLowerCase()];
    if (found === undefined) throw textError(word, `${field.name}: ${quoted(word)} is none of ${Object.keys(FRAGMENTS).join(", ")}`);
    return { value: found[0], mask: found[1] };
  },
  packet_type(field, word) {
    const found = /^\(([^,()]*),([^,()]*)\)$/.exec(word.text);
    if (found === null) throw textError(word, `${field.name} is written as (namespace,type), not ${quoted(word)}`);
    const half = { name: field.name, bytes: 2 };
    const space = fieldInteger(half, part(word, 1, 1 + found[1]!.length));
    return { value: (space << 16n) | fieldInteger(half, part(word, 2 + found[1]!.length, word.text.length - 1)), mask: ones(field) };
  },
};

/** Lowest bit: any fragment; next: not the first of its packet. Bits above are set in the mask of an exact match. */
const FRAGMENTS: Readonly<Record<string, readonly [value: bigint, mask: bigint]>> = {
  no: [0n, 0xffn], first: [1n, 0xffn], later: [3n, 0xffn], yes: [1n, 1n], not_later: [0n, 2n],
};

/** A number that fits the bytes of the field. */
export function fieldInteger(field: { readonly name: string; readonly bytes: number }, word: Word): bigint {
  const { value, end } = leadingInteger(field, word);
  if (end !== word.text.length) throw textError({ at: word.at + end }, `${field.name}: ${quoted(word)} is not a number`);
  return value;
}

/** The number at the beginning of the word, and the index behind it. */
export function leadingInteger(field: { readonly name: string; readonly bytes: number }, word: Word): { value: bigint; end: number } {
  // No digits after 0x are taken for zero, as in documents whose numbers were left out.
  if (/^0[xX](?![0-9a-fA-F])/.test(word.text)) return { value: 0n, end: 2 };
  const found = scanInteger(word.text, 0);
  if (found === undefined) throw textError(word, word.text === "" ? `${field.name}: a value is missing` : `${field.name}: ${quoted(word)} is not a number`);
  // -1 is all ones, but of 64 bits at most.
  const value = found.value < 0n ? found.value + (1n << 64n) : found.value;
  if (value < 0n || value >> BigInt(field.bytes * 8) !== 0n) throw textError(word, `${field.name}: ${quoted(word)} does not fit ${field.bytes} bytes`);
  return { value, end: found.end };
}

function address(read: (text: string) => bigint | undefined, what: string, bits: number): (field: TextField, word: Word) => Masked {
  return (field, word) => {
    const slash = word.text.indexOf("/");
    const value = read((slash < 0 ? word.text : word.text.slice(0, slash)).trim());
    if (value === undefined) throw textError(word, `${field.name}: ${quoted(word)} is not ${what}`);
    if (slash < 0) return { value, mask: ones(field) };
    const rest = part(word, slash + 1);
    if (bits > 0 && /^\d{1,3}$/.test(rest.text)) {
      const length = Number(rest.text);
      if (length > bits) throw textError(rest, `${field.name}: a prefix of ${length} bits, where there are ${bits}`);
      return { value, mask: ((1n << BigInt(length)) - 1n) << BigInt(bits - length) };
    }
    const mask = read(rest.text);
    if (mask === undefined) throw textError(rest, `${field.name}: ${quoted(rest)} is no mask`);
    return { value, mask };
  };
}

/** "+a-b" (masked), "a|b" and numbers (whole), "0x3/0x7". */
function flagList(field: TextField, word: Word): Masked {
  const names = flagNames[field.wire!.name]!;
  const allowed = field.name === "tcp_flags" ? 0xfffn : (1n << BigInt(names.length)) - 1n;
  const { text } = word;
  const within = (value: bigint): bigint => {
    if (value < 0n || (value & ~allowed) !== 0n) throw textError(word, `${field.name}: ${quoted(word)} has a flag that there is not`);
    return value;
  };
  const slash = text.indexOf("/");
  if (slash >= 0) return { value: within(fieldInteger(field, part(word, 0, slash))), mask: within(fieldInteger(field, part(word, slash + 1))) };
  const bit = (name: string, at: number): bigint => {
    const index = names.indexOf(name);
    const unnamed = field.name === "tcp_flags" ? /^\[([248]00)\]$/.exec(name) : null;
    if (index < 0 && unnamed === null) throw textError({ at: word.at + at }, `${field.name}: no flag "${name.slice(0, 40)}"`);
    return unnamed === null ? 1n << BigInt(index) : BigInt(`0x${unnamed[1]!}`);
  };
  let value = 0n;
  let at = 0;
  if (text.startsWith("+") || text.startsWith("-")) {
    let mask = 0n;
    for (const piece of text.split(/(?=[+-])/)) {
      const flag = bit(piece.slice(1), at);
      if ((mask & flag) !== 0n) throw textError({ at: word.at + at }, `${field.name}: ${piece.slice(1)} is given twice`);
      mask |= flag;
      if (piece[0] === "+") value |= flag;
      at += piece.length;
    }
    return { value, mask };
  }
  for (const piece of text === "" ? [] : text.split("|")) {
    const found = scanInteger(piece, 0);
    value |= found !== undefined && found.end === piece.length ? within(found.value) : bit(piece, at);
    at += piece.length + 1;
  }
  return { value, mask: ones(field) };
}

/** Whether Open vSwitch sets the field to this value: fields have fewer bits than their bytes. */
export function canBeSet(field: TextField, value: bigint): boolean {
  switch (field.name) {
    case "nw_tos":
      return (value & 3n) === 0n;
    case "arp_op":
      return value <= 0xffn;
    case "nsh_ttl":
      return value <= 63n;
    case "in_port_oxm":
      return value < 0xff00n || value >= 0xffffff00n;
    default:
      return field.wire === undefined || field.wire.bits === 0 || value >> BigInt(field.wire.bits) === 0n;
  }
}

/** Bits that a match has of a field; ovs-ofctl drops others without a word. */
const MATCHED_BITS: Readonly<Record<string, bigint>> = {
  dl_vlan_pcp: 7n, vlan_pcp: 7n, vlan_vid: 0x1fffn, mpls_label: 0xfffffn, mpls_tc: 7n, mpls_bos: 1n, nw_tos: 0xfcn, ip_dscp: 0x3fn, nw_ecn: 3n, arp_op: 0xffn, nsh_spi: 0xffffffn,
  ct_state: 0xffn, tun_flags: 1n,
};

/** What a match on this value of the field compares. @returns undefined when OpenFlow cannot say it */
export function matchedValue(field: TextField, value: bigint): bigint | undefined {
  if (field.name === "dl_vlan") return value === 0xffffn ? value : value & 0xfffn;
  const bits = MATCHED_BITS[field.name];
  if (bits !== undefined) return value & bits;
  return field.wire!.bits === 0 || value >> BigInt(field.wire!.bits) === 0n ? value : undefined;
}

/** An integer in the form in which decoders give the field's values. `bytes`: of tun_metadata. */
export function wireValue(field: Field, value: bigint, bytes = field.bytes): Exclude<FieldValue, Uint8Array> | Uint8Array {
  if (field.kind === "uint") return field.bytes <= 4 ? Number(value) : value;
  const digits = Buffer.from(value.toString(16).padStart(bytes * 2, "0"), "hex");
  switch (field.kind) {
    case "mac":
      return macText(digits, 0);
    case "ipv4":
      return ipv4Text(digits, 0);
    case "ipv6":
      return ipv6Text(digits, 0);
    case "bytes":
      return Uint8Array.from(digits);
  }
}

// --- parts of fields ---

export interface TextSubField {
  readonly field: TextField;
  readonly ofs: number;
  readonly bits: number;
}

/** A part of a field at the beginning of the word, NXM_NX_REG0[0..15], reg0[3], eth_src, and the index behind it. */
export function leadingSubField(word: Word): { sub: TextSubField; end: number } {
  const { text } = word;
  let end = 0;
  while (end < text.length && text[end] !== "[" && text[end] !== "-") end++;
  const field = fieldOrNumberNamed(text.slice(0, end));
  if (field === undefined) throw textError(word, `no field ${quoted(part(word, 0, end))}`);
  let from = 0;
  let to = field.width - 1;
  if (text[end] === "[") {
    const close = text.indexOf("]", end);
    const range = close < 0 ? null : /^\s*(?:(\d{1,6})(?:\s*\.\.\s*(\d{1,6}))?)?\s*$/.exec(text.slice(end + 1, close));
    if (range === null) throw textError({ at: word.at + end }, `${field.name}: [], [bit] or [first..last] is expected`);
    if (range[1] !== undefined) {
      from = Number(range[1]);
      to = range[2] === undefined ? from : Number(range[2]);
    }
    if (from > to || to >= field.width) throw textError({ at: word.at + end }, `${field.name} has no bits ${from}..${to}, only ${field.width} bits`);
    end = close + 1;
  }
  return { sub: { field, ofs: from, bits: to - from + 1 }, end };
}

/** The same, taking all of the word. */
export function subField(word: Word): TextSubField {
  const { sub, end } = leadingSubField(word);
  if (end !== word.text.length) throw textError({ at: word.at + end }, `${quoted(part(word, end))} after ${sub.field.name}`);
  return sub;
}

/** As actions have it. @throws OpenFlowError for dl_vlan and dl_vlan_pcp, which have no number */
export function wireSubField(word: Word, sub: TextSubField): SubField {
  if (sub.field.wire === undefined) throw textError(word, `${sub.field.name} has no number in OpenFlow 1.3`);
  const { wire } = sub.field;
  return { field: wire.name, ofs: sub.ofs, bits: sub.bits, ...(wire.bytes === 0 ? { length: TUN_METADATA_BYTES } : {}) };
}

/** Whether a header of four bytes can name the field; older actions have room for no more. */
export function hasShortNumber(field: TextField): boolean {
  return field.wire !== undefined && field.wire.nxmExperimenter === undefined;
}

/** A field by name or number for the few that need it as such. */
export function wireField(name: FieldName): TextField {
  return byName.get(OVS_NAMES[name] ?? name) ?? { ...byName.get("dl_vlan")!, wire: fields[name] };
}
