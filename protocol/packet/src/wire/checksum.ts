// The Internet checksum (RFC 1071) and the pseudo-headers that UDP, TCP and ICMPv6 feed into it.

import { ipv4ToNumber, ipv6ToBytes } from "./address.ts";

/** The IP addresses a transport checksum covers, both of one family. */
export interface Endpoints {
  src: string;
  dst: string;
}

/** Sum of big-endian 16 bit words, not folded: exact for any packet, 2^53 is far away. An odd last byte is padded. */
function sum(bytes: Uint8Array): number {
  let total = 0;
  const even = bytes.length & ~1;
  for (let at = 0; at < even; at += 2) total += (bytes[at]! << 8) | bytes[at + 1]!;
  return even === bytes.length ? total : total + (bytes[even]! << 8);
}

/**
 * What goes into a checksum field: the complement of the folded one's complement sum of `bytes` and of `initial`.
 * Over bytes whose checksum field is already right the result is 0.
 */
export function checksum(bytes: Uint8Array, initial = 0): number {
  let total = sum(bytes) + initial;
  while (total > 0xffff) total = (total % 0x10000) + Math.floor(total / 0x10000);
  return ~total & 0xffff;
}

/** The `initial` of a transport checksum. The family is told by the text of `src`. RFC 768, RFC 8200 8.1 */
export function pseudoHeaderSum(ends: Endpoints, protocol: number, length: number): number {
  if (ends.src.includes(":")) {
    return sum(ipv6ToBytes(ends.src)) + sum(ipv6ToBytes(ends.dst)) + (length >>> 16) + (length & 0xffff) + protocol;
  }
  const [src, dst] = [ipv4ToNumber(ends.src), ipv4ToNumber(ends.dst)];
  return (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + protocol + length;
}
