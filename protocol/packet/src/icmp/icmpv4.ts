// ICMP (RFC 792): the common header for whoever forwards or answers, and the bodies of all its types for whoever reads them.

import { checksum } from "../wire/checksum.ts";
import { PacketValueError } from "../wire/errors.ts";
import { bytes, i32, ipv4, list, reserved, struct, u16, u32, u8 } from "../wire/form.ts";
import type { Form, ValueOf } from "../wire/form.ts";
import { readQuote, writeQuote } from "./error.ts";
import type { IcmpQuote } from "./error.ts";
import { Reader } from "../wire/reader.ts";

export const icmpv4Types = {
  echoReply: 0, destinationUnreachable: 3, sourceQuench: 4, redirect: 5, echoRequest: 8, routerAdvertisement: 9,
  routerSolicitation: 10, timeExceeded: 11, parameterProblem: 12, timestampRequest: 13, timestampReply: 14,
  informationRequest: 15, informationReply: 16, addressMaskRequest: 17, addressMaskReply: 18, traceroute: 30,
  extendedEchoRequest: 42, extendedEchoReply: 43,
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

const idAndSeq = struct({ id: u16, seq: u16 });
const unused = struct({ _unused: reserved(4) });
const nothing = struct({});
const extendedEcho = struct({ id: u16, seq: u8, flags: u8 });

/** Per kind: the form of the 4 bytes behind the checksum, and of what follows. Errors that quote are below. */
const plainForms = {
  echoReply: [idAndSeq, struct({ data: bytes })],
  echoRequest: [idAndSeq, struct({ data: bytes })],
  sourceQuench: [unused, struct({ original: bytes })],
  redirect: [struct({ gateway: ipv4 }), struct({ original: bytes })],
  routerAdvertisement: [
    struct({ count: u8, entry_words: u8, lifetime_s: u16 }), struct({ routers: list(struct({ address: ipv4, preference: i32 })) }),
  ],
  routerSolicitation: [unused, nothing],
  timestampRequest: [idAndSeq, struct({ originate_ms: u32, receive_ms: u32, transmit_ms: u32 })],
  timestampReply: [idAndSeq, struct({ originate_ms: u32, receive_ms: u32, transmit_ms: u32 })],
  informationRequest: [idAndSeq, nothing],
  informationReply: [idAndSeq, nothing],
  addressMaskRequest: [idAndSeq, struct({ mask: ipv4 })],
  addressMaskReply: [idAndSeq, struct({ mask: ipv4 })],
  /** RFC 1393, not sent any more */
  traceroute: [
    struct({ id: u16, _unused: reserved(2) }), struct({ outbound_hops: u16, return_hops: u16, link_speed: u32, link_mtu: u32 }),
  ],
  /** RFC 8335 */
  extendedEchoRequest: [extendedEcho, struct({ data: bytes })],
  extendedEchoReply: [extendedEcho, struct({ data: bytes })],
} as const satisfies Record<string, readonly [Form<object>, Form<object>]>;

type PlainForms = typeof plainForms;
type Plain = { [N in keyof PlainForms]: { kind: N; code: number } & ValueOf<PlainForms[N][0]> & ValueOf<PlainForms[N][1]> }[keyof PlainForms];

/** What a message says, by kind; a number as kind is a type without a form here, with `rest` and bytes. */
export type Icmpv4Body =
  | Plain
  /** `next_hop_mtu` is 0 except in code 4, "fragmentation needed". RFC 1191 */
  | ({ kind: "destinationUnreachable"; code: number; next_hop_mtu: number } & IcmpQuote)
  | ({ kind: "timeExceeded"; code: number } & IcmpQuote)
  /** `pointer` is the offset of the offending byte in the original. */
  | ({ kind: "parameterProblem"; code: number; pointer: number } & IcmpQuote)
  | { kind: number; code: number; rest: number; payload: Uint8Array };

const kinds = new Map(Object.entries(icmpv4Types).map(([kind, type]) => [type as number, kind as keyof typeof icmpv4Types]));

/** The body of what `parseIcmpv4` or `parsePacket` gave; offsets of errors count from the ICMP header. @throws PacketError */
export function parseIcmpv4Body(message: Pick<Icmpv4, "type" | "code" | "rest" | "payload">): Icmpv4Body {
  const { type, code, rest, payload } = message;
  const kind = kinds.get(type);
  // RFC 4884: the second of the 4 bytes counts the words of the quote, in messages that may have extensions.
  const quote = (): IcmpQuote => readQuote(payload, (rest >>> 16) & 0xff, 4, 8);
  switch (kind) {
    case undefined:
      return { kind: type, code, rest, payload };
    case "destinationUnreachable":
      return { kind, code, next_hop_mtu: rest & 0xffff, ...quote() };
    case "timeExceeded":
      return { kind, code, ...quote() };
    case "parameterProblem":
      return { kind, code, pointer: rest >>> 24, ...quote() };
    default: {
      const [head, tail]: readonly [Form<object>, Form<object>] = plainForms[kind];
      const reader = new Reader(payload, 8);
      const body = { kind, code, ...head.read(new Reader(u32.write(rest), 4)), ...tail.read(reader) } as Plain;
      return body;
    }
  }
}

/** The whole message, with its checksum. @throws RangeError */
export function buildIcmpv4Body(body: Icmpv4Body): Buffer {
  const { kind, code } = body;
  if (typeof kind === "number") {
    const { rest, payload } = body;
    return buildIcmpv4({ type: kind, code, rest }, payload);
  }
  const type = icmpv4Types[kind];
  if (kind === "destinationUnreachable" || kind === "timeExceeded" || kind === "parameterProblem") {
    const { words, payload } = writeQuote(body, 4);
    const { next_hop_mtu = 0, pointer = 0 } = body as { next_hop_mtu?: number; pointer?: number };
    if (!(pointer >= 0 && pointer <= 0xff)) throw new PacketValueError("a pointer of 0..255", String(pointer));
    return buildIcmpv4({ type, code, rest: pointer * 0x1000000 + words * 0x10000 + next_hop_mtu }, payload);
  }
  const [head, tail]: readonly [Form<object>, Form<object>] = plainForms[kind];
  const rest = Buffer.from(head.write(body)).readUInt32BE();
  return buildIcmpv4({ type, code, rest }, tail.write(body));
}
