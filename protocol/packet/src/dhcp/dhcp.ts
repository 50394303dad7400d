// DHCPv4 messages (RFC 2131): the fixed part, and options as number -> bytes. Splitting of long options (RFC 3396) and
// options in `file` and `sname` (overload, RFC 2132 9.3) are undone here, so nobody else sees them. What the bytes of
// an option mean is in options.ts.

import { formatHexBytes, ipv4ToNumber } from "../wire/address.ts";
import { PacketError, PacketValueError } from "../wire/errors.ts";
import { Reader } from "../wire/reader.ts";

export const dhcpPorts = { server: 67, client: 68 } as const;

export const dhcpOps = { request: 1, reply: 2 } as const;

/** Values of option 53. */
export const dhcpMessageTypes = {
  discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7, inform: 8,
} as const;

const magicCookie = 0x63825363;
const codes = { pad: 0, overload: 52, end: 255 } as const;
/** BOOTP relays and clients may drop what is shorter. RFC 1542 2.1 */
const sizeMin = 300;
const snameSize = 64;
const fileSize = 128;
const broadcastFlag = 0x8000;

export interface DhcpMessage {
  /** 1 from clients, 2 from servers. */
  op: number;
  htype: number;
  /** Bytes of `chaddr`, at most 16. */
  hlen: number;
  hops: number;
  xid: number;
  secs: number;
  flags: number;
  ciaddr: string;
  yiaddr: string;
  siaddr: string;
  giaddr: string;
  /** `hlen` bytes as "fa:16:..". */
  chaddr: string;
  /** Empty when overloaded with options. */
  sname: string;
  /** Empty when overloaded with options. */
  file: string;
  /** In order of first appearance, parts of one option joined; without pad, end and overload. */
  options: Map<number, Buffer>;
}

/** Collects the parts of each option; joined once at the end, so that hostile repetition stays linear. */
type OptionParts = Map<number, Buffer[]>;

function readOptionField(reader: Reader, parts: OptionParts): void {
  while (reader.left > 0) {
    const code = reader.u8();
    if (code === codes.end) return;
    if (code === codes.pad) continue;
    const data = reader.view(reader.u8());
    const seen = parts.get(code);
    if (seen === undefined) parts.set(code, [data]);
    else seen.push(data);
  }
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("latin1", 0, end < 0 ? bytes.length : end);
}

/** `buf` is the UDP payload. A missing end option is forgiven. @throws PacketError */
export function parseDhcp(buf: Uint8Array): DhcpMessage {
  const reader = new Reader(buf);
  const op = reader.u8();
  const htype = reader.u8();
  const hlen = reader.u8();
  if (hlen > 16) reader.malformed("DHCP hardware address is longer than 16 bytes", 1);
  const hops = reader.u8();
  const xid = reader.u32();
  const secs = reader.u16();
  const flags = reader.u16();
  const ciaddr = reader.ipv4();
  const yiaddr = reader.ipv4();
  const siaddr = reader.ipv4();
  const giaddr = reader.ipv4();
  const chaddr = formatHexBytes(reader.view(16).subarray(0, hlen));
  const snameField = reader.upTo(snameSize);
  const fileField = reader.upTo(fileSize);
  if (reader.u32() !== magicCookie) reader.malformed("DHCP magic cookie is wrong", 4);

  const parts: OptionParts = new Map();
  const optionsAt = reader.offset;
  readOptionField(reader, parts);
  const overload = joined(parts.get(codes.overload));
  parts.delete(codes.overload);
  if (overload !== undefined && (overload.length !== 1 || overload[0]! < 1 || overload[0]! > 3)) {
    throw new PacketError("PACKET_MALFORMED", optionsAt, "DHCP option overload is not 1, 2 or 3");
  }
  const places = overload?.[0] ?? 0;
  // RFC 3396 5: the aggregate is the option field, then file, then sname.
  if ((places & 1) !== 0) readOptionField(fileField, parts);
  if ((places & 2) !== 0) readOptionField(snameField, parts);
  parts.delete(codes.overload); // it has no meaning inside the overloaded fields

  const options = new Map<number, Buffer>();
  for (const [code, pieces] of parts) options.set(code, pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
  const sname = (places & 2) !== 0 ? "" : cString(snameField.bytes);
  const file = (places & 1) !== 0 ? "" : cString(fileField.bytes);
  return { op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, options };
}

function joined(parts: Buffer[] | undefined): Buffer | undefined {
  return parts === undefined ? undefined : Buffer.concat(parts);
}

/** What to send; absent numbers are 0 (`htype` 1), absent addresses 0.0.0.0, `hlen` follows `chaddr`. */
export interface DhcpInput extends Partial<Omit<DhcpMessage, "op" | "xid" | "chaddr" | "options">> {
  op: number;
  xid: number;
  chaddr: string;
  options: ReadonlyMap<number, Uint8Array>;
  /** Options that lie in `file` and `sname` instead of names: for clients they follow those of `options`. RFC 2132 9.3 */
  overload?: { readonly file?: ReadonlyMap<number, Uint8Array> | undefined; readonly sname?: ReadonlyMap<number, Uint8Array> | undefined };
}

/** Bytes of options that `file` and `sname` have room for, their end option left out. */
export const dhcpOverloadSizes = { file: fileSize - 1, sname: snameSize - 1 } as const;

function chaddrBytes(text: string): Buffer {
  if (text === "") return Buffer.alloc(0);
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){0,15}$/i.test(text)) throw new PacketValueError("a hardware address", text);
  return Buffer.from(text.replaceAll(":", ""), "hex");
}

function fixedString(text: string, size: number): Buffer {
  const bytes = Buffer.from(text, "latin1");
  if (bytes.length >= size) throw new PacketValueError(`at most ${size - 1} bytes`, text);
  return Buffer.concat([bytes], size);
}

function optionBytes(options: ReadonlyMap<number, Uint8Array>): Buffer {
  const parts: Uint8Array[] = [];
  for (const [code, data] of options) {
    if (!Number.isInteger(code) || code <= codes.pad || code >= codes.end || code === codes.overload) {
      throw new PacketValueError("a DHCP option of 1..254 other than 52", String(code));
    }
    let at = 0;
    do {
      const piece = data.subarray(at, at + 255);
      parts.push(Buffer.of(code, piece.length), piece);
      at += piece.length;
    } while (at < data.length);
  }
  return Buffer.concat(parts);
}

/** `sname` or `file`: a name, or options with their end. */
function field(name: string, options: ReadonlyMap<number, Uint8Array> | undefined, size: number): Buffer {
  if (options === undefined) return fixedString(name, size);
  if (name !== "") throw new PacketValueError("a field of options alone", name);
  const bytes = optionBytes(options);
  if (bytes.length >= size) throw new PacketValueError(`at most ${size - 1} bytes of options`, `${bytes.length} bytes`);
  return Buffer.concat([bytes, Buffer.of(codes.end)], size);
}

/**
 * The UDP payload, at least 300 bytes. Options keep the map's order; above 255 bytes they are split. 0, 52 and 255 are
 * not options one can set. @throws RangeError
 */
export function buildDhcp(message: DhcpInput): Buffer {
  const { file, sname } = message.overload ?? {};
  const chaddr = chaddrBytes(message.chaddr);
  const fixed = Buffer.alloc(240);
  fixed.writeUInt8(message.op, 0);
  fixed.writeUInt8(message.htype ?? 1, 1);
  fixed.writeUInt8(message.hlen ?? chaddr.length, 2);
  fixed.writeUInt8(message.hops ?? 0, 3);
  fixed.writeUInt32BE(message.xid, 4);
  fixed.writeUInt16BE(message.secs ?? 0, 8);
  fixed.writeUInt16BE(message.flags ?? 0, 10);
  fixed.writeUInt32BE(ipv4ToNumber(message.ciaddr ?? "0.0.0.0"), 12);
  fixed.writeUInt32BE(ipv4ToNumber(message.yiaddr ?? "0.0.0.0"), 16);
  fixed.writeUInt32BE(ipv4ToNumber(message.siaddr ?? "0.0.0.0"), 20);
  fixed.writeUInt32BE(ipv4ToNumber(message.giaddr ?? "0.0.0.0"), 24);
  chaddr.copy(fixed, 28);
  field(message.sname ?? "", sname, snameSize).copy(fixed, 44);
  field(message.file ?? "", file, fileSize).copy(fixed, 108);
  fixed.writeUInt32BE(magicCookie, 236);
  const places = (file === undefined ? 0 : 1) | (sname === undefined ? 0 : 2);
  const overload = places === 0 ? Buffer.alloc(0) : Buffer.of(codes.overload, 1, places);
  const bytes = Buffer.concat([fixed, overload, optionBytes(message.options), Buffer.of(codes.end)]);
  return Buffer.concat([bytes], Math.max(bytes.length, sizeMin));
}

/** The value of option 53, undefined when absent (BOOTP) or not one byte. */
export function dhcpMessageType(message: { readonly options: ReadonlyMap<number, Uint8Array> }): number | undefined {
  const data = message.options.get(53);
  return data?.length === 1 ? data[0] : undefined;
}

/** The client cannot receive unicast before it is configured. RFC 2131 4.1 */
export function wantsBroadcast(message: Pick<DhcpMessage, "flags">): boolean {
  return (message.flags & broadcastFlag) !== 0;
}
