// ICMP for both families: the common header, echo, and the errors a router sends back. Neighbour discovery, which
// rides in ICMPv6, is in neighbour.ts.

import { checksum, pseudoHeaderSum } from "./checksum.ts";
import type { Endpoints } from "./checksum.ts";
import { PacketValueError } from "./errors.ts";
import { ipProtocols } from "./ip.ts";
import { Reader } from "./reader.ts";
import { checkTransport } from "./transport.ts";
import type { Carrier } from "./transport.ts";

export const icmpv4Types = { echoReply: 0, destinationUnreachable: 3, echoRequest: 8, timeExceeded: 11 } as const;

export const icmpv6Types = {
  destinationUnreachable: 1, packetTooBig: 2, timeExceeded: 3, echoRequest: 128, echoReply: 129,
  routerSolicitation: 133, routerAdvertisement: 134, neighbourSolicitation: 135, neighbourAdvertisement: 136,
} as const;

export interface Icmpv4Header {
  type: number;
  code: number;
  /** The 4 bytes behind the checksum: `echoRest` in echo, the MTU in "fragmentation needed", else 0. Default 0. */
  rest?: number;
}

export interface Icmpv4 extends Required<Icmpv4Header> {
  checksumOk: boolean | undefined;
  /** Echo only: the two halves of `rest`. */
  id?: number;
  seq?: number;
  /** Echo: the data. Errors: the beginning of the IP packet they complain about, ready for `parseIpv4`. */
  payload: Buffer;
}

/** `rest` of an echo message. */
export function echoRest(id: number, seq: number): number {
  return id * 0x10000 + seq;
}

export function readIcmpv4(reader: Reader, complete: boolean): Icmpv4 {
  const checksumOk = complete ? checksum(reader.bytes.subarray(reader.pos)) === 0 : undefined;
  const type = reader.u8();
  const code = reader.u8();
  reader.skip(2);
  const rest = reader.u32();
  const message: Icmpv4 = { type, code, rest, checksumOk, payload: reader.rest() };
  if (type === icmpv4Types.echoRequest || type === icmpv4Types.echoReply) {
    message.id = rest >>> 16;
    message.seq = rest & 0xffff;
  }
  return message;
}

/** Takes `buf` for a whole message. @throws PacketError */
export function parseIcmpv4(buf: Uint8Array): Icmpv4 {
  return readIcmpv4(new Reader(buf), true);
}

/** @throws RangeError */
export function buildIcmpv4(header: Icmpv4Header, payload: Uint8Array): Buffer {
  const message = Buffer.alloc(8 + payload.length);
  message.writeUInt8(header.type, 0);
  message.writeUInt8(header.code, 1);
  message.writeUInt32BE(header.rest ?? 0, 4);
  message.set(payload, 8);
  message.writeUInt16BE(checksum(message), 2);
  return message;
}

/**
 * An error about `original`, an IPv4 packet from its header on. Quotes as much of it as fits a 576 byte datagram.
 * RFC 1812 4.3.2.3
 */
export function buildIcmpv4Error(header: Icmpv4Header, original: Uint8Array): Buffer {
  return buildIcmpv4(header, original.subarray(0, 576 - 20 - 8));
}

export interface Icmpv6Header {
  type: number;
  code: number;
}

export interface Icmpv6 extends Icmpv6Header {
  checksumOk: boolean | undefined;
  /** Echo only: the first two fields of `payload`. */
  id?: number;
  seq?: number;
  /** Everything behind the checksum; `parseNeighbour*` take it, and `buildIcmpv6` takes it back. */
  payload: Buffer;
}

export function readIcmpv6(reader: Reader, carrier?: Carrier): Icmpv6 {
  const checksumOk = checkTransport(reader.bytes.subarray(reader.pos), ipProtocols.icmpv6, carrier);
  const type = reader.u8();
  const code = reader.u8();
  reader.skip(2);
  const body = reader.upTo(reader.left);
  const message: Icmpv6 = { type, code, checksumOk, payload: body.bytes };
  if (type === icmpv6Types.echoRequest || type === icmpv6Types.echoReply) {
    message.id = body.u16();
    message.seq = body.u16();
  }
  return message;
}

/** Without `carrier` the checksum is not looked at. @throws PacketError */
export function parseIcmpv6(buf: Uint8Array, carrier?: Carrier): Icmpv6 {
  return readIcmpv6(new Reader(buf), carrier);
}

/** `body` is everything behind the checksum, so at least 4 bytes in every defined message. @throws RangeError */
export function buildIcmpv6(header: Icmpv6Header, body: Uint8Array, ends: Endpoints): Buffer {
  if (!ends.src.includes(":")) throw new PacketValueError("an IPv6 address", ends.src);
  const message = Buffer.alloc(4 + body.length);
  message.writeUInt8(header.type, 0);
  message.writeUInt8(header.code, 1);
  message.set(body, 4);
  message.writeUInt16BE(checksum(message, pseudoHeaderSum(ends, ipProtocols.icmpv6, message.length)), 2);
  return message;
}

/** Body of an echo message for `buildIcmpv6`. */
export function buildEchoBody(id: number, seq: number, data: Uint8Array): Buffer {
  const body = Buffer.alloc(4 + data.length);
  body.writeUInt16BE(id, 0);
  body.writeUInt16BE(seq, 2);
  body.set(data, 4);
  return body;
}

/**
 * An error about `original`, an IPv6 packet from its header on. `rest` is the MTU of "packet too big", else 0. Quotes
 * as much as fits the minimum MTU of 1280. RFC 4443 2.4
 */
export function buildIcmpv6Error(header: Icmpv4Header, original: Uint8Array, ends: Endpoints): Buffer {
  const quoted = original.subarray(0, 1280 - 40 - 8);
  const body = Buffer.alloc(4 + quoted.length);
  body.writeUInt32BE(header.rest ?? 0, 0);
  body.set(quoted, 4);
  return buildIcmpv6(header, body, ends);
}
