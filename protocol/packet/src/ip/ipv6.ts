// The IPv6 header (RFC 8200) with its chain of extension headers. As with IPv4 a payload may be shorter than promised.

import { ipv6ToBytes } from "../wire/address.ts";
import type { Layer } from "./ip.ts";
import { buildExtension, extensionType, isExtension, readExtension } from "./ipv6-extensions.ts";
import type { Ipv6Extension } from "./ipv6-extensions.ts";
import { Reader } from "../wire/reader.ts";

export interface Ipv6Header {
  src: string;
  dst: string;
  /** Of what follows the extension headers. */
  next_header: number;
  /** Default 64; neighbour discovery is only believed with 255. */
  hop_limit?: number;
  /** Default 0. */
  traffic_class?: number;
  /** Default 0. */
  flow_label?: number;
  /** Outermost first, default none. */
  extension_headers?: Ipv6Extension[];
}

export interface Ipv6 extends Required<Ipv6Header> {
  /** The upper layer's, behind all extension headers; 59 when there is none. */
  next_header: number;
  /** The numbers of `extension_headers`. */
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
  const extension_headers: Ipv6Extension[] = [];
  let moreFragments = false;
  let fragmentOffset = 0;
  // Each turn consumes at least 8 bytes. Behind a later fragment's header comes the middle of something: stop there.
  while (isExtension(next_header) && fragmentOffset === 0) {
    extensions.push(next_header);
    const { next, extension } = readExtension(body, next_header);
    extension_headers.push(extension);
    next_header = next;
    if (extension.header === "fragment") {
      fragmentOffset = extension.offset;
      moreFragments ||= extension.more;
    } else if (extension.header === "routing" && extension.segments_left > 0) {
      complete = false; // the pseudo-header has another destination
    }
  }
  if (moreFragments || fragmentOffset > 0) complete = false;
  const payload = body.upTo(body.left);
  const header = {
    src, dst, next_header, hop_limit, traffic_class: (word >>> 20) & 0xff, flow_label: word & 0xfffff,
    extensions, extension_headers, moreFragments, fragmentOffset, payload_length, complete, payload: payload.bytes,
  };
  return { header, payload };
}

/** From the first byte of the header. @throws PacketError */
export function parseIpv6(buf: Uint8Array): Ipv6 {
  return readIpv6(new Reader(buf)).header;
}

/** @throws RangeError */
export function buildIpv6(header: Ipv6Header, payload: Uint8Array): Buffer {
  const { traffic_class = 0, flow_label = 0, extension_headers = [] } = header;
  if (traffic_class > 0xff || flow_label > 0xfffff) throw new RangeError("traffic class or flow label out of range");
  const chain: Buffer[] = [];
  let next = header.next_header;
  for (const extension of extension_headers.toReversed()) {
    chain.unshift(buildExtension(extension, next));
    next = extensionType(extension);
  }
  const fixed = Buffer.alloc(40);
  fixed.writeUInt32BE(0x60000000 + traffic_class * 0x100000 + flow_label, 0);
  fixed.writeUInt16BE(chain.reduce((total, part) => total + part.length, payload.length), 4);
  fixed.writeUInt8(next, 6);
  fixed.writeUInt8(header.hop_limit ?? 64, 7);
  ipv6ToBytes(header.src).copy(fixed, 8);
  ipv6ToBytes(header.dst).copy(fixed, 24);
  return Buffer.concat([fixed, ...chain, payload]);
}
