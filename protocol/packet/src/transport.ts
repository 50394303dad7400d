// UDP (both ways) and the TCP header (reading only). `checksumOk` is reported and never enforced: a guest's NIC may
// leave the checksum to hardware, and a packet cut short cannot be judged (undefined).

import { checksum, pseudoHeaderSum } from "./checksum.ts";
import type { Endpoints } from "./checksum.ts";
import { ipProtocols } from "./ip.ts";
import { Reader } from "./reader.ts";

/** What the IP header contributes: addresses, and whether all bytes of this one packet are here. */
export interface Carrier extends Endpoints {
  complete: boolean;
}

/** true or false, or undefined when the bytes at hand cannot tell. */
export function checkTransport(bytes: Buffer, protocol: number, carrier: Carrier | undefined): boolean | undefined {
  if (carrier?.complete !== true) return undefined;
  return checksum(bytes, pseudoHeaderSum(carrier, protocol, bytes.length)) === 0;
}

export interface UdpHeader {
  src_port: number;
  dst_port: number;
}

export interface Udp extends UdpHeader {
  length: number;
  checksumOk: boolean | undefined;
  payload: Buffer;
}

export function readUdp(reader: Reader, carrier?: Carrier): Udp {
  const start = reader.pos;
  const src_port = reader.u16();
  const dst_port = reader.u16();
  const length = reader.u16();
  if (length < 8) reader.malformed("UDP length is below 8", 2);
  const field = reader.u16();
  const payload = reader.upTo(length - 8).bytes;
  const whole = reader.bytes.subarray(start, reader.pos);
  const present = whole.length === length;
  const isIpv4 = carrier !== undefined && !carrier.src.includes(":");
  // 0 means "not computed", which only IPv4 allows.
  const checksumOk = field === 0 && isIpv4 ? true : present ? checkTransport(whole, ipProtocols.udp, carrier) : undefined;
  return { src_port, dst_port, length, checksumOk, payload };
}

/** Without `carrier` the checksum is not looked at. @throws PacketError */
export function parseUdp(buf: Uint8Array, carrier?: Carrier): Udp {
  return readUdp(new Reader(buf), carrier);
}

/** @throws RangeError */
export function buildUdp(header: UdpHeader, payload: Uint8Array, ends: Endpoints): Buffer {
  const datagram = Buffer.alloc(8 + payload.length);
  datagram.writeUInt16BE(header.src_port, 0);
  datagram.writeUInt16BE(header.dst_port, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  datagram.set(payload, 8);
  const value = checksum(datagram, pseudoHeaderSum(ends, ipProtocols.udp, datagram.length));
  datagram.writeUInt16BE(value === 0 ? 0xffff : value, 6); // 0 would read as "not computed"
  return datagram;
}

export const tcpFlags = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;

export interface Tcp {
  src_port: number;
  dst_port: number;
  seq: number;
  ack: number;
  /** Bits of `tcpFlags`. */
  flags: number;
  window: number;
  urgent: number;
  options: Buffer;
  checksumOk: boolean | undefined;
  payload: Buffer;
}

export function readTcp(reader: Reader, carrier?: Carrier): Tcp {
  const segment = reader.bytes.subarray(reader.pos);
  const src_port = reader.u16();
  const dst_port = reader.u16();
  const seq = reader.u32();
  const ack = reader.u32();
  const offsetAndFlags = reader.u16();
  const headerLength = (offsetAndFlags >>> 12) * 4;
  if (headerLength < 20) reader.malformed("TCP data offset is below 20 bytes", 2);
  const window = reader.u16();
  reader.skip(2);
  const urgent = reader.u16();
  const options = reader.view(headerLength - 20);
  const checksumOk = checkTransport(segment, ipProtocols.tcp, carrier);
  return {
    src_port, dst_port, seq, ack, flags: offsetAndFlags & 0xff, window, urgent, options, checksumOk, payload: reader.rest(),
  };
}

/** Without `carrier` the checksum is not looked at. @throws PacketError */
export function parseTcp(buf: Uint8Array, carrier?: Carrier): Tcp {
  return readTcp(new Reader(buf), carrier);
}
