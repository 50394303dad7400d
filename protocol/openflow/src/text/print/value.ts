// Single values in text, in the form that Open vSwitch gives them: numbers, addresses, flags, ports, parts of fields, times, dumps.

import type { SubField } from "../../actions/parts.ts";
import { fields, type Field } from "../../match/fields.ts";
import type { U64 } from "../../layout/layout.ts";
import { flagNames, toBig } from "../../match/match.ts";
import { ipv4Text, ipv6Text, macText, writeValue, type FieldValue } from "../../match/value.ts";
import { DECIMAL, nxmName, PORT_NAMES, WIDTHS } from "../names.ts";

/** C's %#x: zero has no prefix. */
export function hash(value: number | bigint): string {
  return value == 0 ? "0" : `0x${value.toString(16)}`;
}

/** 0x and at least `digits` digits. */
export function hex(value: number | bigint, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, "0")}`;
}

/** Bytes as one number, its leading zeroes dropped. */
export function hashBytes(bytes: Uint8Array): string {
  const digits = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex").replace(/^0+/, "");
  return digits === "" ? "0" : `0x${digits}`;
}

/** Bytes as 01.02.03. */
export function dotted(data: Uint8Array | undefined): string {
  return Array.from(data ?? [], (byte) => byte.toString(16).padStart(2, "0")).join(".");
}

export function toU64(value: U64 | undefined): bigint {
  if (value === undefined) return 0n;
  return typeof value === "object" ? (BigInt(value.hi >>> 0) << 32n) | BigInt(value.lo >>> 0) : BigInt(value);
}

/** A port number of 32 bits, or one of 16 bits as Nicira extensions have it. Reserved ones by name, or else as 16 bits. */
export function formatPort(port: number): string {
  if (port < 0xff00) return String(port);
  if (port >= 0x10000 && port < 0xffffff00) return String(port);
  return PORT_NAMES.get(port < 0x10000 ? port + 0xffff0000 : port) ?? String(port & 0xffff);
}

/** The names of set bits, lowest first, and what is left over as a number; "0" for none. */
export function bitNames(bits: number, names: readonly (string | undefined)[], separator = " "): string {
  const out: string[] = [];
  let rest = bits;
  names.forEach((name, bit) => {
    if (name === undefined || name === "" || (bits & (1 << bit)) === 0) return;
    out.push(name);
    rest &= ~(1 << bit);
  });
  if (rest !== 0) out.push(hex(rest >>> 0));
  return out.length === 0 ? "0" : out.join(separator);
}

/** Seconds with as many decimals as the nanoseconds need, three when they are whole milliseconds. */
export function duration(seconds: number, nanoseconds: number): string {
  if (nanoseconds === 0) return `${seconds}s`;
  if (nanoseconds % 1_000_000 === 0) return `${seconds}.${String(nanoseconds / 1_000_000).padStart(3, "0")}s`;
  return `${seconds}.${String(nanoseconds).padStart(9, "0").replace(/0+$/, "")}s`;
}

/** Lines of 16 bytes: offset, hex and characters; every line ends in a newline. */
export function hexDump(bytes: Uint8Array): string {
  let out = "";
  for (let at = 0; at < bytes.length; at += 16) {
    let digits = "";
    let text = "";
    for (let i = at; i < at + 16; i++) {
      const byte = bytes[i];
      digits += byte === undefined ? "   " : `${byte.toString(16).padStart(2, "0")}${i === at + 7 ? "-" : " "}`;
      text += byte === undefined ? " " : byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".";
    }
    out += `${at.toString(16).padStart(8, "0")}  ${digits}|${text}|\n`;
  }
  return out;
}

/** Bytes as characters; unprintable ones, quotes and backslashes as octal escapes. */
export function printable(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => (byte < 0x20 || byte > 0x7e || byte === 0x5c || byte === 0x22 ? `\\${byte.toString(8).padStart(3, "0")}` : String.fromCharCode(byte))).join("");
}

/** Text that came as bytes of a fixed field: what is UTF-8 in it is shown as such. */
export function fixedText(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : Buffer.from(text, "latin1").toString("utf8");
}

const scratch = Buffer.alloc(256);

/** The bytes of a value, valid until the next call. */
export function valueBytes(field: Field, value: FieldValue): Buffer {
  return scratch.subarray(0, writeValue(scratch, 0, field, value));
}

/** One value in the form that Open vSwitch gives this field in actions. */
export function formatValue(field: Field, value: FieldValue, mask?: FieldValue): string {
  if (mask !== undefined) {
    const bytes = valueBytes(field, mask);
    if (bytes.every((byte) => byte === 0)) return "ANY";
    // The mask of a field of no fixed length is full when it fills the longest.
    if (bytes.every((byte) => byte === 0xff) && bytes.length === (field.bytes || 124)) return formatValue(field, value);
  }
  switch (field.kind) {
    case "mac":
    case "ipv4":
    case "ipv6":
      return formatAddress(field, value, mask);
    case "bytes":
      return hashBytes(valueBytes(field, value)) + (mask === undefined ? "" : `/${hashBytes(valueBytes(field, mask))}`);
    case "uint":
      break;
  }
  const number = toBig(field, value);
  if (field.name === "in_port" || field.name === "actset_output" || field.name === "nxm_in_port") return formatPort(Number(number));
  if (field.name === "ip_frag") return formatFragment(Number(number), mask === undefined ? 3 : Number(toBig(field, mask)));
  if (field.name === "packet_type") return formatPacketType(Number(number), mask === undefined ? 0xffffffff : Number(toBig(field, mask)));
  const names = field.name === "tun_flags" ? TUNNEL_FLAGS : flagNames[field.name];
  // The mask with which Open vSwitch counts all flags as given; those of ct_state are more than can be.
  if (names !== undefined) return formatFlags(names, Number(number), mask === undefined ? ALL_FLAGS : Number(toBig(field, mask)), ALL_MASKS[field.name] ?? 0xffff);
  return (DECIMAL.has(field.name) ? String(number) : hash(number)) + (mask === undefined ? "" : `/${hash(toBig(field, mask))}`);
}
/** More than the one that may be matched can be written. */
const TUNNEL_FLAGS = ["oam", "df", "csum", "key"];
const ALL_FLAGS = 0xffffffff;
const ALL_MASKS: Readonly<Record<string, number>> = { tcp_flags: 0xfff, tun_flags: 1 };

/** A MAC, IPv4 or IPv6 address; a mask as the length of a prefix where it is one. */
export function formatAddress(field: Field, value: FieldValue, mask?: FieldValue): string {
  const show = (v: FieldValue): string => {
    const bytes = valueBytes(field, v);
    return field.kind === "mac" ? macText(bytes, 0) : field.kind === "ipv4" ? ipv4Text(bytes, 0) : ipv6Text(bytes, 0);
  };
  if (mask === undefined) return show(value);
  if (field.kind === "mac") return `${show(value)}/${show(mask)}`;
  const prefix = prefixLength(valueBytes(field, mask));
  if (prefix === field.bits) return show(value);
  return `${show(value)}/${prefix < 0 ? show(mask) : String(prefix)}`;
}

/** How many ones a mask begins with when only zeroes follow, else -1. */
function prefixLength(mask: Buffer): number {
  let ones = 0;
  let ended = false;
  for (const byte of mask) {
    for (let bit = 7; bit >= 0; bit--) {
      const one = (byte >> bit) & 1;
      if (one === 1 && ended) return -1;
      if (one === 1) ones++;
      else ended = true;
    }
  }
  return ones;
}

const FRAGMENTS = new Map([["0/3", "no"], ["1/3", "first"], ["3/3", "later"], ["0/1", "no"], ["1/1", "yes"], ["0/2", "not_later"], ["2/2", "later"]]);

function formatFragment(value: number, mask: number): string {
  return FRAGMENTS.get(`${value & mask & 3}/${mask & 3}`) ?? "<error>";
}

/** Namespace in the upper 16 bits, type in the lower. */
export function formatPacketType(value: number, mask: number): string {
  if (value === 0 && mask >>> 0 === 0xffffffff) return "eth";
  const half = (v: number, m: number): string => (m === 0 ? "*" : `${v > 9 ? hex(v) : String(v)}${m === 0xffff ? "" : `/${hex(m)}`}`);
  return `packet_type=(${half(value >>> 16, mask >>> 16)},${half(value & 0xffff, mask & 0xffff)})`;
}

/** Bits that TCP reserves, by their value. */
const SPARE_TCP_FLAGS = ["[200]", "[400]", "[800]"];

/** "syn|ack", or with a mask other than `all` "+syn-ack". */
export function formatFlags(names: readonly string[], value: number, mask: number, all: number): string {
  mask &= all;
  if (mask === all) return bitNames(value, all === 0xfff ? [...names, ...SPARE_TCP_FLAGS] : names, "|");
  if (mask === 0) return "0/0";
  let out = "";
  for (let bit = 0; bit < 32; bit++) {
    if ((mask & (1 << bit)) === 0) continue;
    out += ((value & (1 << bit)) === 0 ? "-" : "+") + (names[bit] ?? (all === 0xfff ? SPARE_TCP_FLAGS[bit - names.length] : undefined) ?? "[Unknown]");
  }
  return out;
}


/** NXM_NX_REG0[], NXM_NX_REG0[0..15], NXM_NX_REG0[3] */
export function formatSubField(sub: SubField): string {
  const field = fields[sub.field];
  const width = WIDTHS[sub.field] ?? (field.bits || 992);
  const range = sub.ofs === 0 && sub.bits === width ? "" : sub.bits === 1 ? String(sub.ofs) : `${sub.ofs}..${sub.ofs + sub.bits - 1}`;
  return `${nxmName(field)}[${range}]`;
}
