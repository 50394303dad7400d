// Addresses as text, number and bytes. Text is the form the rest of the controller speaks: lower-case MACs with colons,
// dotted IPv4, RFC 5952 IPv6. Text parsers throw PacketValueError.

import { PacketValueError } from "./errors.ts";

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const macText = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
const octetText = /^(0|[1-9][0-9]{0,2})$/;
const groupText = /^[0-9a-f]{1,4}$/i;

/** @throws PacketValueError unless strictly dotted quad without leading zeros. */
export function ipv4ToNumber(text: string): number {
  const parts = text.split(".");
  let value = 0;
  for (const part of parts) {
    const octet = octetText.test(part) ? Number(part) : 256;
    if (octet > 255) throw new PacketValueError("an IPv4 address", text);
    value = value * 256 + octet;
  }
  if (parts.length !== 4) throw new PacketValueError("an IPv4 address", text);
  return value;
}

/** @throws PacketValueError outside 0..2^32-1. */
export function numberToIpv4(value: number): string {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw new PacketValueError("a 32 bit number", String(value));
  return `${value >>> 24}.${(value >>> 16) & 0xff}.${(value >>> 8) & 0xff}.${value & 0xff}`;
}

/** Groups of one side of "::"; a trailing dotted quad counts as two. */
function ipv6Groups(side: string, text: string): number[] {
  if (side === "") return [];
  const parts = side.split(":");
  return parts.flatMap((part, index) => {
    if (index === parts.length - 1 && part.includes(".")) {
      const quad = ipv4ToNumber(part);
      return [quad >>> 16, quad & 0xffff];
    }
    if (!groupText.test(part)) throw new PacketValueError("an IPv6 address", text);
    return [Number.parseInt(part, 16)];
  });
}

/** The 16 bytes of an IPv6 address. @throws PacketValueError; zone ids ("%eth0") are refused. */
export function ipv6ToBytes(text: string): Buffer {
  const sides = text.split("::");
  const head = ipv6Groups(sides[0] ?? "", text);
  const tail = ipv6Groups(sides[1] ?? "", text);
  const missing = 8 - head.length - tail.length;
  const dottedInside = sides.length > 1 && (sides[0] ?? "").includes(".");
  if (sides.length > 2 || dottedInside || (sides.length === 2 ? missing < 1 : missing !== 0)) {
    throw new PacketValueError("an IPv6 address", text);
  }
  const bytes = Buffer.alloc(16);
  head.forEach((group, index) => bytes.writeUInt16BE(group, index * 2));
  tail.forEach((group, index) => bytes.writeUInt16BE(group, 16 - (tail.length - index) * 2));
  return bytes;
}

/** RFC 5952 text of the 16 bytes at `start`; the caller has checked that they are there. */
export function formatIpv6Bytes(bytes: Buffer, start = 0): string {
  const groups: number[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(bytes.readUInt16BE(start + at));
  if (groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0)) {
    return `::ffff:${numberToIpv4(bytes.readUInt32BE(start + 12))}`; // section 5: the one mixed form everybody prints
  }
  // The longest run of zeros, the first of equals, and never a single group (sections 4.2.2 and 4.2.3).
  let runStart = -1;
  let runLength = 1;
  for (let from = 0; from < 8; from++) {
    let to = from;
    while (to < 8 && groups[to] === 0) to++;
    if (to - from > runLength) {
      runStart = from;
      runLength = to - from;
    }
    from = Math.max(from, to);
  }
  const text = (part: number[]): string => part.map((group) => group.toString(16)).join(":");
  if (runStart < 0) return text(groups);
  return `${text(groups.slice(0, runStart))}::${text(groups.slice(runStart + runLength))}`;
}

/** @throws PacketValueError */
export function ipv6ToBigInt(text: string): bigint {
  return BigInt(`0x${ipv6ToBytes(text).toString("hex")}`);
}

/** RFC 5952 text. @throws PacketValueError outside 0..2^128-1. */
export function bigIntToIpv6(value: bigint): string {
  if (value < 0n || value >= 1n << 128n) throw new PacketValueError("a 128 bit number", value.toString());
  return formatIpv6Bytes(Buffer.from(value.toString(16).padStart(32, "0"), "hex"));
}

/** The 6 bytes of "fa:16:3e:00:00:01"; upper case is accepted. @throws PacketValueError */
export function macToBytes(text: string): Buffer {
  if (!macText.test(text)) throw new PacketValueError("a MAC address", text);
  return Buffer.from(text.replaceAll(":", ""), "hex");
}

/** Lower-case text of the 6 bytes at `start`; the caller has checked that they are there. */
export function formatMacBytes(bytes: Buffer, start = 0): string {
  return formatHexBytes(bytes.subarray(start, start + 6));
}

/** "01:ab:..", as long as the bytes are. */
export function formatHexBytes(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += text === "" ? hexPairs[byte]! : `:${hexPairs[byte]!}`;
  return text;
}

/** @throws PacketValueError */
export function macToBigInt(text: string): bigint {
  return BigInt(`0x${macToBytes(text).toString("hex")}`);
}

/** @throws PacketValueError outside 0..2^48-1. */
export function bigIntToMac(value: bigint): string {
  if (value < 0n || value >= 1n << 48n) throw new PacketValueError("a 48 bit number", value.toString());
  return formatMacBytes(Buffer.from(value.toString(16).padStart(12, "0"), "hex"));
}

/** The SLAAC address of `mac` in `prefix` ("2001:db8::" or "2001:db8::/64"), modified EUI-64. RFC 4291 appendix A */
export function eui64(prefix: string, mac: string): string {
  const [network = "", length] = prefix.split("/", 2);
  if (length !== undefined && length !== "64") throw new PacketValueError("a /64 prefix", prefix);
  const bytes = ipv6ToBytes(network);
  const hardware = macToBytes(mac);
  hardware.copy(bytes, 8, 0, 3);
  bytes.writeUInt16BE(0xfffe, 11);
  hardware.copy(bytes, 13, 3, 6);
  bytes.writeUInt8(bytes.readUInt8(8) ^ 0x02, 8); // the universal/local bit is inverted in an interface id
  return formatIpv6Bytes(bytes);
}

/** fe80::/64 with the EUI-64 of `mac`. */
export function linkLocal(mac: string): string {
  return eui64("fe80::", mac);
}

/** ff02::1:ffXX:XXXX, where neighbour solicitations for `address` go. RFC 4291 2.7.1 */
export function solicitedNode(address: string): string {
  const bytes = ipv6ToBytes("ff02::1:ff00:0");
  ipv6ToBytes(address).copy(bytes, 13, 13);
  return formatIpv6Bytes(bytes);
}

/** The Ethernet group of an IPv6 multicast address, 33:33 and its last four bytes. RFC 2464 7 */
export function ipv6MulticastMac(group: string): string {
  return `33:33:${formatHexBytes(ipv6ToBytes(group).subarray(12))}`;
}
