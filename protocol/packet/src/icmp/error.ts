// What ICMP errors of both families carry: the beginning of the packet they are about, and behind it, since RFC 4884,
// extension objects (MPLS labels, interface information). The header's length field says where the first part ends.

import { checksum } from "../wire/checksum.ts";
import { PacketValueError } from "../wire/errors.ts";
import { bytes, list, struct, u8 } from "../wire/form.ts";
import type { ValueOf } from "../wire/form.ts";
import { Reader } from "../wire/reader.ts";

const object = {
  read: (reader: Reader) => {
    const length = reader.u16();
    if (length < 4) reader.malformed("ICMP extension object is below 4 bytes", 2);
    return struct({ class_num: u8, c_type: u8, data: bytes }).read(reader.within(length - 2));
  },
  write: (value: { class_num: number; c_type: number; data: Uint8Array }) => {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(4 + value.data.length);
    return Buffer.concat([length, u8.write(value.class_num), u8.write(value.c_type), value.data]);
  },
};

/** RFC 4884 8 */
export type IcmpExtensionObject = ValueOf<typeof object>;

export interface IcmpQuote {
  /** The beginning of the packet complained about, from its IP header on. */
  original: Uint8Array;
  /** Present when the message has the extension structure. */
  extensions?: IcmpExtensionObject[];
}

/** Below this the quote of a message with extensions is filled up with zeros. RFC 4884 5.2 */
const quoteMin = 128;

/** `words` is the header's length field, in units of `unit` bytes; 0 = no extensions. */
export function readQuote(payload: Buffer, words: number, unit: number, base: number): IcmpQuote {
  const end = words * unit;
  if (end === 0 || end >= payload.length) return { original: payload };
  const reader = new Reader(payload.subarray(end), base + end);
  if (reader.u8() >>> 4 !== 2) reader.unsupported("ICMP extension version is not 2", 1);
  reader.skip(3);
  return { original: payload.subarray(0, end), extensions: list(object).read(reader) };
}

/** The bytes and what goes into the length field. */
export function writeQuote(quote: IcmpQuote, unit: number): { words: number; payload: Uint8Array } {
  const { original, extensions } = quote;
  if (extensions === undefined) return { words: 0, payload: original };
  const size = Math.max(quoteMin, Math.ceil(original.length / unit) * unit);
  const words = size / unit;
  if (words > 255) throw new PacketValueError(`a quote of at most ${255 * unit} bytes`, `${size} bytes`);
  const structure = Buffer.concat([Buffer.of(0x20, 0, 0, 0), list(object).write(extensions)]);
  structure.writeUInt16BE(checksum(structure), 2);
  return { words, payload: Buffer.concat([Buffer.concat([original], size), structure]) };
}
