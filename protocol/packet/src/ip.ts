// IPv4 and IPv6 headers. Options and extension headers are walked over, not kept. A payload shorter than its header
// claims is not an error: packet-ins are cut to max_len and ICMP errors quote only a beginning; `complete` tells.

import { ipv4ToNumber, ipv6ToBytes } from "./address.ts";
import { checksum } from "./checksum.ts";
import { Reader } from "./reader.ts";

export const ipProtocols = { icmpv4: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

export interface Ipv4Header {
  src: string;
  dst: string;
  protocol: number;
  /** Default 64. */
  ttl?: number;
  /** Default 0. */
  id?: number;
  /** Default false. */
  dontFragment?: boolean;
  /** DSCP and ECN, default 0. */
  tos?: number;
}

export interface Ipv4 extends Required<Ipv4Header> {
  moreFragments: boolean;
  /** In bytes. */
  fragmentOffset: number;
  total_length: number;
  checksumOk: boolean;
  /** Every byte that `total_length` promises is here and this is no fragment. */
  complete: boolean;
  /** Without Ethernet padding. */
  payload: Buffer;
}

/** A payload and where it starts, for whoever reads the next header. */
export interface Layer<T> {
  header: T;
  payload: Reader;
}

export function readIpv4(reader: Reader): Layer<Ipv4> {
  const available = reader.left;
  const start = reader.pos;
  const versionAndLength = reader.u8();
  if (versionAndLength >>> 4 !== 4) reader.malformed("IP version is not 4", 1);
  const headerLength = (versionAndLength & 0xf) * 4;
  if (headerLength < 20) reader.malformed("IPv4 header length is below 20", 1);
  const tos = reader.u8();
  const total_length = reader.u16();
  if (total_length < headerLength) reader.malformed("IPv4 total length is below the header length", 2);
  const id = reader.u16();
  const fragment = reader.u16();
  const ttl = reader.u8();
  const protocol = reader.u8();
  reader.skip(2);
  const src = reader.ipv4();
  const dst = reader.ipv4();
  reader.skip(headerLength - 20);
  const checksumOk = checksum(reader.bytes.subarray(start, reader.pos)) === 0;
  const payload = reader.upTo(total_length - headerLength);
  const moreFragments = (fragment & 0x2000) !== 0;
  const fragmentOffset = (fragment & 0x1fff) * 8;
  const header = {
    src, dst, protocol, ttl, id, tos, total_length, moreFragments, fragmentOffset, checksumOk,
    dontFragment: (fragment & 0x4000) !== 0,
    complete: available >= total_length && !moreFragments && fragmentOffset === 0,
    payload: payload.bytes,
  };
  return { header, payload };
}

/** From the first byte of the header. @throws PacketError */
export function parseIpv4(buf: Uint8Array): Ipv4 {
  return readIpv4(new Reader(buf)).header;
}

/** @throws RangeError, also when the packet exceeds 65535 bytes. */
export function buildIpv4(header: Ipv4Header, payload: Uint8Array): Buffer {
  const packet = Buffer.alloc(20 + payload.length);
  packet.writeUInt8(0x45, 0);
  packet.writeUInt8(header.tos ?? 0, 1);
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt16BE(header.id ?? 0, 4);
  packet.writeUInt16BE(header.dontFragment === true ? 0x4000 : 0, 6);
  packet.writeUInt8(header.ttl ?? 64, 8);
  packet.writeUInt8(header.protocol, 9);
  packet.writeUInt32BE(ipv4ToNumber(header.src), 12);
  packet.writeUInt32BE(ipv4ToNumber(header.dst), 16);
  packet.writeUInt16BE(checksum(packet.subarray(0, 20)), 10);
  packet.set(payload, 20);
  return packet;
}

export interface Ipv6Header {
  src: string;
  dst: string;
  next_header: number;
  /** Default 64; neighbour discovery is only believed with 255. */
  hop_limit?: number;
  /** Default 0. */
  traffic_class?: number;
  /** Default 0. */
  flow_label?: number;
}

export interface Ipv6 extends Required<Ipv6Header> {
  /** The upper layer's, behind all extension headers; 59 when there is none. */
  next_header: number;
  /** The extension headers walked over, outermost first. */
  extensions: number[];
  moreFragments: boolean;
  /** In bytes. */
  fragmentOffset: number;
  /** Of everything behind the fixed header, as on the wire. */
  payload_length: number;
  /** Every byte that `payload_length` promises is here, this is no fragment and `dst` is the final destination. */
  complete: boolean;
  /** Behind the extension headers. */
  payload: Buffer;
}

const hopByHop = 0;
const routing = 43;
const fragmentHeader = 44;
const authentication = 51;
/** RFC 7045 list, without ESP, behind which nothing can be read. */
const extensionHeaders = new Set([hopByHop, routing, fragmentHeader, authentication, 60, 135, 139, 140]);

export function readIpv6(reader: Reader): Layer<Ipv6> {
  const word = reader.u32();
  if (word >>> 28 !== 6) reader.malformed("IP version is not 6", 4);
  const payload_length = reader.u16();
  let next_header = reader.u8();
  const hop_limit = reader.u8();
  const src = reader.ipv6();
  const dst = reader.ipv6();
  let complete = reader.left >= payload_length;
  const body = reader.upTo(payload_length);

  const extensions: number[] = [];
  let moreFragments = false;
  let fragmentOffset = 0;
  // Each turn consumes at least 8 bytes. Behind a later fragment's header comes the middle of something: stop there.
  while (extensionHeaders.has(next_header) && fragmentOffset === 0) {
    const kind = next_header;
    extensions.push(kind);
    next_header = body.u8();
    const length = body.u8();
    if (kind === fragmentHeader) {
      const field = body.u16();
      body.skip(4);
      fragmentOffset = field & 0xfff8;
      moreFragments = (field & 1) !== 0;
    } else if (kind === routing) {
      body.skip(1);
      if (body.u8() > 0) complete = false; // segments left: the pseudo-header has another destination
      body.skip(4 + length * 8);
    } else {
      body.skip(kind === authentication ? length * 4 + 6 : length * 8 + 6);
    }
  }
  if (moreFragments || fragmentOffset > 0) complete = false;
  const payload = body.upTo(body.left);
  const header = {
    src, dst, next_header, hop_limit, traffic_class: (word >>> 20) & 0xff, flow_label: word & 0xfffff,
    extensions, moreFragments, fragmentOffset, payload_length, complete, payload: payload.bytes,
  };
  return { header, payload };
}

/** From the first byte of the header. @throws PacketError */
export function parseIpv6(buf: Uint8Array): Ipv6 {
  return readIpv6(new Reader(buf)).header;
}

/** @throws RangeError */
export function buildIpv6(header: Ipv6Header, payload: Uint8Array): Buffer {
  const { traffic_class = 0, flow_label = 0 } = header;
  if (traffic_class > 0xff || flow_label > 0xfffff) throw new RangeError("traffic class or flow label out of range");
  const packet = Buffer.alloc(40 + payload.length);
  packet.writeUInt32BE(0x60000000 + traffic_class * 0x100000 + flow_label, 0);
  packet.writeUInt16BE(payload.length, 4);
  packet.writeUInt8(header.next_header, 6);
  packet.writeUInt8(header.hop_limit ?? 64, 7);
  ipv6ToBytes(header.src).copy(packet, 8);
  ipv6ToBytes(header.dst).copy(packet, 24);
  packet.set(payload, 40);
  return packet;
}
