// Field values between their text or number form and bytes in network order.

import { badValue } from "../wire/errors.ts";
import type { Field } from "./fields.ts";

/** A whole value of a field. Strings: "fa:16:3e:00:00:01", "10.0.0.1", "fd00::1", "0x1f", "31"; for tun_metadata hex digits. */
export type FieldValue = number | bigint | string | Uint8Array;

const LOW32 = 0xffffffffn;

/** Writes `value` in `bytes` bytes at `off`. Returns `bytes`, or for variable-length fields the length written. */
export function writeValue(buf: Buffer, off: number, field: Field, value: FieldValue): number {
  const bytes = field.bytes;
  if (typeof value === "number") {
    if (bytes <= 4) {
      if (!(value >= 0 && value < WIDTH[bytes]! && Number.isInteger(value))) throw outOfRange(field, value);
      writeUint(buf, off, bytes, value);
      return bytes;
    }
    if (!Number.isSafeInteger(value) || value < 0) throw outOfRange(field, value);
    if (bytes === 8) {
      writeU32(buf, off, Math.floor(value / 0x100000000));
      writeU32(buf, off + 4, value >>> 0);
      return 8;
    }
    return writeBig(buf, off, field, BigInt(value));
  }
  if (typeof value === "string") return writeText(buf, off, field, value);
  if (typeof value === "bigint") return writeBig(buf, off, field, value);
  if (!(value instanceof Uint8Array)) throw badValue(`${field.name}: not a value: ${String(value)}`);
  if (bytes !== 0 && value.length !== bytes) throw badValue(`${field.name} takes ${bytes} bytes, got ${value.length}`);
  if (value.length > 124) throw badValue(`${field.name} takes at most 124 bytes, got ${value.length}`);
  buf.set(value, off);
  return value.length;
}

/** A number as it is written in bits up to `limit`, at most 32. @throws OpenFlowError OF_VALUE naming it */
export function whole(value: number, limit: number, name: string): number {
  if (typeof value !== "number" || value >>> 0 !== value || value > limit) throw badValue(`${name}: ${String(value)} is not a whole number up to ${limit}`);
  return value;
}

/** A port in the 16 bits that extensions have for it: reserved ones by their last digits. @throws OpenFlowError OF_VALUE naming it */
export function port16(port: number, name: string): number {
  return whole(port, 0xffffffff, name) >= 0xffffff00 ? port & 0xffff : whole(port, 0xffff, name);
}

const WIDTH = [0, 0x100, 0x10000, 0x1000000, 0x100000000];

export function writeUint(buf: Buffer, off: number, bytes: number, value: number): void {
  switch (bytes) {
    case 1:
      buf[off] = value;
      return;
    case 2:
      buf[off] = value >>> 8;
      buf[off + 1] = value;
      return;
    case 3:
      buf[off] = value >>> 16;
      buf[off + 1] = value >>> 8;
      buf[off + 2] = value;
      return;
    default:
      writeU32(buf, off, value);
  }
}

export function writeU16(buf: Buffer, off: number, value: number): void {
  buf[off] = value >>> 8;
  buf[off + 1] = value;
}

/** Writes 32 bits in network order. */
export function writeU32(buf: Buffer, off: number, value: number): void {
  buf[off] = value >>> 24;
  buf[off + 1] = value >>> 16;
  buf[off + 2] = value >>> 8;
  buf[off + 3] = value;
}

function writeBig(buf: Buffer, off: number, field: Field, value: bigint): number {
  const bytes = field.bytes;
  if (bytes === 0) throw badValue(`${field.name} takes bytes or hex digits`);
  if (value < 0n || value >> BigInt(bytes * 8) !== 0n) throw outOfRange(field, value);
  if (bytes === 8) {
    writeU32(buf, off, Number(value >> 32n));
    writeU32(buf, off + 4, Number(value & LOW32));
    return 8;
  }
  let rest = value;
  for (let i = bytes - 1; i >= 0; i--) {
    buf[off + i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

function outOfRange(field: Field, value: number | bigint): Error {
  return badValue(`${field.name}: ${value} does not fit ${field.bytes} bytes`);
}

function writeText(buf: Buffer, off: number, field: Field, text: string): number {
  switch (field.kind) {
    case "mac":
      if (!text.includes(":")) break;
      if (!writeMac(buf, off, text)) throw badValue(`${field.name}: not a MAC address: ${text}`);
      return 6;
    case "ipv4":
      if (!text.includes(".")) break;
      if (!writeIpv4(buf, off, text)) throw badValue(`${field.name}: not an IPv4 address: ${text}`);
      return 4;
    case "ipv6":
      if (!text.includes(":")) break;
      if (!writeIpv6(buf, off, text)) throw badValue(`${field.name}: not an IPv6 address: ${text}`);
      return 16;
    case "bytes": {
      const digits = text.replace(/^0x/i, "");
      if (digits.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(digits) || digits.length > 248) throw badValue(`${field.name}: not hex bytes: ${text}`);
      buf.write(digits, off, "hex");
      return digits.length / 2;
    }
    case "uint":
      break;
  }
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) throw badValue(`${field.name}: not a value: ${text}`);
  return field.bytes <= 4 ? writeValue(buf, off, field, Number(text)) : writeBig(buf, off, field, BigInt(text));
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

/** Writes the six bytes of a MAC address; false when the text is none, with some of them written. */
export function writeMac(buf: Buffer, off: number, text: string): boolean {
  if (text.length === 17) {
    for (let i = 0, p = 0; i < 6; i++, p += 3) {
      const high = hexDigit(text.charCodeAt(p));
      const low = hexDigit(text.charCodeAt(p + 1));
      if (high < 0 || low < 0 || (i < 5 && text.charCodeAt(p + 2) !== 58)) return false;
      buf[off + i] = (high << 4) | low;
    }
    return true;
  }
  const parts = text.split(":");
  if (parts.length !== 6 || !parts.every((part) => /^[0-9a-f]{1,2}$/i.test(part))) return false;
  for (let i = 0; i < 6; i++) buf[off + i] = parseInt(parts[i]!, 16);
  return true;
}

/** Writes the four bytes of a dotted quad, of `text` from `from` to `to`; false when that is none, with some of them written. */
export function writeIpv4(buf: Buffer, off: number, text: string, from = 0, to = text.length): boolean {
  let octet = 0;
  let digits = 0;
  let index = 0;
  for (let i = from; i < to; i++) {
    const code = text.charCodeAt(i);
    if (code === 46) {
      if (digits === 0 || index === 3) return false;
      buf[off + index++] = octet;
      octet = 0;
      digits = 0;
    } else {
      if (code < 48 || code > 57 || digits === 3) return false;
      octet = octet * 10 + code - 48;
      if (octet > 255) return false;
      digits++;
    }
  }
  if (index !== 3 || digits === 0) return false;
  buf[off + 3] = octet;
  return true;
}

/** Writes the sixteen bytes of an IPv6 address (RFC 4291 section 2.2); false when the text is none, with some of them written. */
export function writeIpv6(buf: Buffer, off: number, text: string): boolean {
  let groups = 0; // of 16 bits, written so far
  let gap = -1; // group index of "::"
  let i = 0;
  if (text.startsWith("::")) {
    gap = 0;
    i = 2;
  } else if (text.startsWith(":")) return false;
  while (i < text.length) {
    const end = text.indexOf(":", i);
    const stop = end < 0 ? text.length : end;
    if (end < 0 && text.indexOf(".", i) >= 0) {
      if (groups > 6 || !writeIpv4(buf, off + groups * 2, text, i)) return false;
      groups += 2;
      i = text.length;
      break;
    }
    if (groups === 8 || stop === i || stop - i > 4) return false;
    let value = 0;
    for (; i < stop; i++) {
      const digit = hexDigit(text.charCodeAt(i));
      if (digit < 0) return false;
      value = (value << 4) | digit;
    }
    writeU16(buf, off + groups * 2, value);
    groups++;
    if (end < 0) break;
    i++;
    if (text.charCodeAt(i) === 58) {
      if (gap >= 0) return false;
      gap = groups;
      i++;
    } else if (i === text.length) return false;
  }
  if (gap < 0) return groups === 8;
  if (groups > 7) return false;
  const tail = (groups - gap) * 2;
  buf.copyWithin(off + 16 - tail, off + gap * 2, off + gap * 2 + tail);
  buf.fill(0, off + gap * 2, off + 16 - tail);
  return true;
}

/** A value as decoders return it: number up to 32 bits, bigint above; addresses as text; `bytes` as a copy. */
export function readValue(buf: Buffer, off: number, field: Field, length: number): number | bigint | string | Uint8Array {
  switch (field.kind) {
    case "mac":
      return macText(buf, off);
    case "ipv4":
      return ipv4Text(buf, off);
    case "ipv6":
      return ipv6Text(buf, off);
    case "bytes":
      return Uint8Array.from(buf.subarray(off, off + length));
    case "uint":
      return length <= 4 ? buf.readUIntBE(off, length) : readBig(buf, off, length);
  }
}

export function readBig(buf: Buffer, off: number, length: number): bigint {
  if (length === 8) return buf.readBigUInt64BE(off);
  let value = 0n;
  for (let i = 0; i < length; i++) value = (value << 8n) | BigInt(buf[off + i]!);
  return value;
}

export function macText(buf: Buffer, off: number): string {
  const digits = buf.toString("hex", off, off + 6);
  return `${digits.slice(0, 2)}:${digits.slice(2, 4)}:${digits.slice(4, 6)}:${digits.slice(6, 8)}:${digits.slice(8, 10)}:${digits.slice(10)}`;
}

export function ipv4Text(buf: Buffer, off: number): string {
  return `${buf[off]!}.${buf[off + 1]!}.${buf[off + 2]!}.${buf[off + 3]!}`;
}

/** RFC 5952, with the dotted tail that inet_ntop writes for ::ffff:0:0/96 and ::/96. */
export function ipv6Text(buf: Buffer, off: number): string {
  const words: number[] = [];
  for (let i = 0; i < 8; i++) words.push(buf.readUInt16BE(off + i * 2));
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && words[j] === 0) j++;
    if (j - i > bestLength) {
      best = i;
      bestLength = j - i;
    }
    if (j > i) i = j;
  }
  if (best === 0 && (bestLength === 6 || (bestLength === 5 && words[5] === 0xffff))) {
    return `::${bestLength === 5 ? "ffff:" : ""}${ipv4Text(buf, off + 12)}`;
  }
  const hex = (from: number, to: number): string => words.slice(from, to).map((word) => word.toString(16)).join(":");
  return best < 0 ? hex(0, 8) : `${hex(0, best)}::${hex(best + bestLength, 8)}`;
}
