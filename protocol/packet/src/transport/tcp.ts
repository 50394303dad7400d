// TCP segments (RFC 9293). Options stay bytes in the header, so that it is built again as it was; `parseTcpOptions` says
// what they mean.

import { checksum, pseudoHeaderSum } from "../wire/checksum.ts";
import type { Endpoints } from "../wire/checksum.ts";
import { PacketValueError } from "../wire/errors.ts";
import { bytes, empty, fixed, lengthWithHead, list, optionList, struct, tlv, u16, u32, u8 } from "../wire/form.ts";
import type { ValueOf } from "../wire/form.ts";
import { ipProtocols } from "../ip/ip.ts";
import { Reader } from "../wire/reader.ts";
import { checkTransport } from "./transport.ts";
import type { Carrier } from "./transport.ts";

/** `ae` is accurate ECN's bit, once the nonce sum. */
export const tcpFlags = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128, ae: 256 } as const;

export interface TcpHeader {
  src_port: number;
  dst_port: number;
  seq: number;
  /** Default 0. */
  ack?: number;
  /** Bits of `tcpFlags`; the three above are reserved. */
  flags: number;
  window: number;
  /** Default 0. */
  urgent?: number;
  /** At most 40 bytes; filled up with zeros (end of options) to a multiple of 4. Default none. */
  options?: Uint8Array;
}

export interface Tcp extends Required<TcpHeader> {
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
    src_port, dst_port, seq, ack, flags: offsetAndFlags & 0xfff, window, urgent, options, checksumOk, payload: reader.rest(),
  };
}

/** Without `carrier` the checksum is not looked at. @throws PacketError */
export function parseTcp(buf: Uint8Array, carrier?: Carrier): Tcp {
  return readTcp(new Reader(buf), carrier);
}

/** @throws RangeError */
export function buildTcp(header: TcpHeader, payload: Uint8Array, ends: Endpoints): Buffer {
  const { options } = header;
  const optionsLength = Math.ceil((options?.length ?? 0) / 4) * 4;
  if (optionsLength > 40) throw new PacketValueError("at most 40 bytes of TCP options", `${optionsLength} bytes`);
  if (!(header.flags >= 0 && header.flags <= 0xfff)) throw new PacketValueError("TCP flags of 12 bits", String(header.flags));
  const headerLength = 20 + optionsLength;
  const segment = Buffer.alloc(headerLength + payload.length);
  segment.writeUInt16BE(header.src_port, 0);
  segment.writeUInt16BE(header.dst_port, 2);
  segment.writeUInt32BE(header.seq, 4);
  segment.writeUInt32BE(header.ack ?? 0, 8);
  segment.writeUInt16BE(((headerLength / 4) << 12) | header.flags, 12);
  segment.writeUInt16BE(header.window, 14);
  segment.writeUInt16BE(header.urgent ?? 0, 18);
  if (options !== undefined) segment.set(options, 20);
  segment.set(payload, headerLength);
  segment.writeUInt16BE(checksum(segment, pseudoHeaderSum(ends, ipProtocols.tcp, segment.length)), 16);
  return segment;
}

const options = optionList("option", tlv("option", u8, lengthWithHead, {
  mss: [2, u16],
  windowScale: [3, u8],
  sackPermitted: [4, empty],
  sack: [5, list(struct({ left: u32, right: u32 }))],
  timestamps: [8, struct({ value: u32, echo: u32 })],
  md5Signature: [19, fixed(16)],
  /** The highest bit says minutes, else seconds. RFC 5482 */
  userTimeout: [28, u16],
  authentication: [29, struct({ key_id: u8, next_key_id: u8, mac: bytes })],
  multipath: [30, bytes],
  fastOpenCookie: [34, bytes],
}), { end: 0, noOperation: 1 });

/** An option by name, or by its kind with its bytes. `noOperation` and `end` are one byte each and have no value. */
export type TcpOption = ValueOf<typeof options>[number];

/** `tcp.options`; what is behind the end of the list is padding and left out. @throws PacketError */
export function parseTcpOptions(bytes: Uint8Array): TcpOption[] {
  return options.read(new Reader(bytes));
}

/** Bytes for `options` of a header, not padded. @throws RangeError */
export function buildTcpOptions(list: readonly TcpOption[]): Uint8Array {
  return options.write([...list]);
}
