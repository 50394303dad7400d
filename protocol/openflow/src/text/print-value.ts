// One value in text, in the form that Open vSwitch gives it: numbers, addresses, flags, ports, parts of fields.

import type { SubField } from "../action-parts.ts";
import { fields, type Field } from "../fields.ts";
import type { U64 } from "../layout.ts";
import { flagNames, toBig } from "../match.ts";
import { ipv4Text, ipv6Text, macText, writeValue, type FieldValue } from "../value.ts";
import { DECIMAL, nxmName, PORT_NAMES, WIDTHS } from "./names.ts";

/** C's %#x: zero has no prefix. */
export function hash(value: number | bigint): string {
  return value == 0 ? "0" : `0x${value.toString(16)}`;  
}

/** 0x and at least `digits` digits. */
export function hex(value: number | bigint, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, "0")}`;
}

export function formatPort(port: number): string {
  return PORT_NAMES.get(port < 0x10000 && port >= 0xff00 ? port + 0xffff0000 : port) ?? String(port);
}

const scratch = Buffer.alloc(256);

/** One value in the form that Open vSwitch gives this field in actions. */
export function formatValue(field: Field, value: FieldValue, mask?: FieldValue): string {
  const bytes = (v: FieldValue): Buffer => scratch.subarray(0, writeValue(scratch, 0, field, v));
  switch (field.kind) {
    case "mac":
      return macText(bytes(value), 0) + (mask === undefined ? "" : `/${macText(bytes(mask), 0)}`);
    case "ipv4":
    case "ipv6": {
      const show = (v: FieldValue): string => (field.kind === "ipv4" ? ipv4Text(bytes(v), 0) : ipv6Text(bytes(v), 0));
      if (mask === undefined) return show(value);
      const bits = toBig(field, mask);
      const ones = field.bits - trailingZeros(bits, field.bits);
      const prefix = bits === ((1n << BigInt(ones)) - 1n) << BigInt(field.bits - ones);
      return `${show(value)}/${prefix ? String(ones) : show(mask)}`;
    }
    case "bytes":
      return hash(BigInt(`0x${bytes(value).toString("hex") || "0"}`)) + (mask === undefined ? "" : `/${hash(BigInt(`0x${bytes(mask).toString("hex") || "0"}`))}`);
    case "uint":
      break;
  }
  const number = toBig(field, value);
  if (field.name === "in_port" || field.name === "actset_output" || field.name === "nxm_in_port") return formatPort(Number(number));
  const names = flagNames[field.name];
  if (names !== undefined) {
    const bits = mask === undefined ? undefined : Number(toBig(field, mask));
    return formatFlags(names, Number(number), field.name === "tun_flags" ? (bits ?? 1) : bits, field.name === "tun_flags");
  }
  return (DECIMAL.has(field.name) ? String(number) : hex(number)) + (mask === undefined ? "" : `/${hex(toBig(field, mask))}`);
}

function trailingZeros(value: bigint, limit: number): number {
  let count = 0;
  while (count < limit && ((value >> BigInt(count)) & 1n) === 0n) count++;
  return count;
}

function formatFlags(names: readonly string[], value: number, mask: number | undefined, signed = false): string {
  const all = 2 ** names.length - 1;
  if (mask === undefined || (!signed && (mask & all) === all)) {
    const set = names.filter((_, bit) => value & (1 << bit));
    return set.length === 0 ? "0" : set.join("|");
  }
  return names.map((name, bit) => (mask & (1 << bit) ? (value & (1 << bit) ? "+" : "-") + name : "")).join("");
}

/** NXM_NX_REG0[], NXM_NX_REG0[0..15], NXM_NX_REG0[3] */
export function formatSubField(sub: SubField): string {
  const field = fields[sub.field];
  const width = WIDTHS[sub.field] ?? field.bits;
  const range = sub.ofs === 0 && (sub.bits === width || width === 0) ? "" : sub.bits === 1 ? String(sub.ofs) : `${sub.ofs}..${sub.ofs + sub.bits - 1}`;
  return `${nxmName(field)}[${range}]`;
}

/** Bytes as 01.02.03. */
export function dotted(data: Uint8Array | undefined): string {
  return Array.from(data ?? [], (byte) => byte.toString(16).padStart(2, "0")).join(".");
}

export function toU64(value: U64 | undefined): bigint {
  if (value === undefined) return 0n;
  return typeof value === "object" ? (BigInt(value.hi >>> 0) << 32n) | BigInt(value.lo >>> 0) : BigInt(value);
}
