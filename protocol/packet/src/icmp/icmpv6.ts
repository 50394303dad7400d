// ICMPv6 (RFC 4443): the common header, echo, and errors. What neighbour discovery and multicast listeners say inside it
// is in neighbour.ts and mld.ts; icmpv6-body.ts puts them together.

import { checksum, pseudoHeaderSum } from "../wire/checksum.ts";
import type { Endpoints } from "../wire/checksum.ts";
import { PacketValueError } from "../wire/errors.ts";
import type { Icmpv4Header } from "./icmpv4.ts";
import { ipProtocols } from "../ip/ip.ts";
import { Reader } from "../wire/reader.ts";
import { checkTransport } from "../transport/transport.ts";
import type { Carrier } from "../transport/transport.ts";

export const icmpv6Types = {
  destinationUnreachable: 1, packetTooBig: 2, timeExceeded: 3, parameterProblem: 4, echoRequest: 128, echoReply: 129,
  mldQuery: 130, mldReport: 131, mldDone: 132,
  routerSolicitation: 133, routerAdvertisement: 134, neighbourSolicitation: 135, neighbourAdvertisement: 136, redirect: 137,
  nodeInformationQuery: 139, nodeInformationResponse: 140, inverseSolicitation: 141, inverseAdvertisement: 142, mldv2Report: 143,
  multicastRouterAdvertisement: 151, multicastRouterSolicitation: 152, multicastRouterTermination: 153,
  extendedEchoRequest: 160, extendedEchoReply: 161,
} as const;

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
