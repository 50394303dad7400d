// UDP (RFC 768). Its checksum may be left out in IPv4, where the field is then 0, and never in IPv6 (RFC 8200 8.1).

import { checksum, pseudoHeaderSum } from "../wire/checksum.ts";
import type { Endpoints } from "../wire/checksum.ts";
import { PacketValueError } from "../wire/errors.ts";
import { ipProtocols } from "../ip/ip.ts";
import { Reader } from "../wire/reader.ts";
import { checkTransport } from "./transport.ts";
import type { Carrier } from "./transport.ts";

export interface UdpHeader {
  src_port: number;
  dst_port: number;
  /** false leaves the checksum out, in IPv4 only. Default true. */
  checksumPresent?: boolean;
}

export interface Udp extends Required<UdpHeader> {
  length: number;
  /** true when it was left out in IPv4. */
  checksumOk: boolean | undefined;
  payload: Buffer;
}

export function readUdp(reader: Reader, carrier?: Carrier): Udp {
  const start = reader.pos;
  const src_port = reader.u16();
  const dst_port = reader.u16();
  const length = reader.u16();
  if (length < 8) reader.malformed("UDP length is below 8", 2);
  const checksumPresent = reader.u16() !== 0;
  const payload = reader.upTo(length - 8).bytes;
  const whole = reader.bytes.subarray(start, reader.pos);
  const isIpv4 = carrier !== undefined && !carrier.src.includes(":");
  let checksumOk: boolean | undefined;
  if (!checksumPresent && isIpv4) checksumOk = true;
  else if (whole.length === length) checksumOk = checkTransport(whole, ipProtocols.udp, carrier);
  return { src_port, dst_port, length, checksumPresent, checksumOk, payload };
}

/** Without `carrier` the checksum is not looked at. @throws PacketError */
export function parseUdp(buf: Uint8Array, carrier?: Carrier): Udp {
  return readUdp(new Reader(buf), carrier);
}

/** @throws RangeError, also when the checksum is to be left out between IPv6 addresses. */
export function buildUdp(header: UdpHeader, payload: Uint8Array, ends: Endpoints): Buffer {
  const datagram = Buffer.alloc(8 + payload.length);
  datagram.writeUInt16BE(header.src_port, 0);
  datagram.writeUInt16BE(header.dst_port, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  datagram.set(payload, 8);
  if (header.checksumPresent === false) {
    if (ends.src.includes(":")) throw new PacketValueError("a UDP checksum, which IPv6 requires", "none");
    return datagram;
  }
  const value = checksum(datagram, pseudoHeaderSum(ends, ipProtocols.udp, datagram.length));
  datagram.writeUInt16BE(value === 0 ? 0xffff : value, 6); // 0 would read as "not computed"
  return datagram;
}
