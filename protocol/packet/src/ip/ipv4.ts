// The IPv4 header (RFC 791). Options stay bytes in the header, so that it is built again as it was; `parseIpv4Options` says
// what they mean. A payload shorter than the header claims is not an error: packet-ins are cut to max_len and ICMP errors
// quote only a beginning; `complete` tells.

import { ipv4ToNumber } from "../wire/address.ts";
import { checksum } from "../wire/checksum.ts";
import { PacketValueError } from "../wire/errors.ts";
import { bytes, ipv4, lengthWithHead, list, optionList, struct, tlv, u16, u8 } from "../wire/form.ts";
import type { ValueOf } from "../wire/form.ts";
import type { Layer } from "./ip.ts";
import { Reader } from "../wire/reader.ts";

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
  /** Default false. */
  moreFragments?: boolean;
  /** In bytes, a multiple of 8; default 0. */
  fragmentOffset?: number;
  /** DSCP and ECN, default 0. */
  tos?: number;
  /** At most 40 bytes; filled up with zeros (end of options) to a multiple of 4. Default none. */
  options?: Uint8Array;
}

export interface Ipv4 extends Required<Ipv4Header> {
  options: Buffer;
  total_length: number;
  checksumOk: boolean;
  /** Every byte that `total_length` promises is here and this is no fragment. */
  complete: boolean;
  /** Without Ethernet padding. */
  payload: Buffer;
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
  const options = reader.view(headerLength - 20);
  const checksumOk = checksum(reader.bytes.subarray(start, reader.pos)) === 0;
  const payload = reader.upTo(total_length - headerLength);
  const moreFragments = (fragment & 0x2000) !== 0;
  const fragmentOffset = (fragment & 0x1fff) * 8;
  const header = {
    src, dst, protocol, ttl, id, tos, options, total_length, moreFragments, fragmentOffset, checksumOk,
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
  const { options, fragmentOffset = 0 } = header;
  const optionsLength = Math.ceil((options?.length ?? 0) / 4) * 4;
  if (optionsLength > 40) throw new PacketValueError("at most 40 bytes of IPv4 options", `${optionsLength} bytes`);
  if (fragmentOffset % 8 !== 0 || !(fragmentOffset >= 0 && fragmentOffset <= 0xfff8)) {
    throw new PacketValueError("a fragment offset in units of 8 bytes", String(fragmentOffset));
  }
  const headerLength = 20 + optionsLength;
  const flags = (header.dontFragment === true ? 0x4000 : 0) | (header.moreFragments === true ? 0x2000 : 0);
  const packet = Buffer.alloc(headerLength + payload.length);
  packet.writeUInt8(0x40 | (headerLength / 4), 0);
  packet.writeUInt8(header.tos ?? 0, 1);
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt16BE(header.id ?? 0, 4);
  packet.writeUInt16BE(flags | (fragmentOffset / 8), 6);
  packet.writeUInt8(header.ttl ?? 64, 8);
  packet.writeUInt8(header.protocol, 9);
  packet.writeUInt32BE(ipv4ToNumber(header.src), 12);
  packet.writeUInt32BE(ipv4ToNumber(header.dst), 16);
  if (options !== undefined) packet.set(options, 20);
  packet.writeUInt16BE(checksum(packet.subarray(0, headerLength)), 10);
  packet.set(payload, headerLength);
  return packet;
}

/**
 * Whether a source route among the options has places left to go, so that `dst` is not the last one: transport checksums
 * count that. Options that make no sense have none.
 */
export function hasRouteLeft(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length && bytes[at] !== 0;) {
    const type = bytes[at]!;
    const length = type === 1 ? 1 : bytes[at + 1] ?? 0;
    if (length === 0 || at + length > bytes.length) return false;
    if ((type === 131 || type === 137) && length >= 3) return bytes[at + 2]! + 3 <= length;
    at += length;
  }
  return false;
}

/** `pointer` counts from 1 at the option's type, so 4 is the first slot. RFC 791 3.1 */
const route = struct({ pointer: u8, addresses: list(ipv4) });

const options = optionList("option", tlv("option", u8, lengthWithHead, {
  recordRoute: [7, route],
  /** The low 4 bits of the second byte: 0 times only, 1 addresses with times, 3 times at given addresses. */
  timestamp: [68, struct({ pointer: u8, overflow_and_flags: u8, slots: bytes })],
  security: [130, bytes],
  looseSourceRoute: [131, route],
  streamId: [136, u16],
  strictSourceRoute: [137, route],
  /** 0: routers look at the packet. RFC 2113 */
  routerAlert: [148, u16],
}), { end: 0, noOperation: 1 });

/** An option by name, or by its number with its bytes. `noOperation` and `end` are one byte each and have no value. */
export type Ipv4Option = ValueOf<typeof options>[number];

/** `ipv4.options`; what is behind the end of the list is padding and left out. @throws PacketError */
export function parseIpv4Options(bytes: Uint8Array): Ipv4Option[] {
  return options.read(new Reader(bytes));
}

/** Bytes for `options` of a header, not padded. @throws RangeError */
export function buildIpv4Options(list: readonly Ipv4Option[]): Uint8Array {
  return options.write([...list]);
}
