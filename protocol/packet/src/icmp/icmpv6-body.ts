// What ICMPv6 messages say, by kind: errors, echo, neighbour discovery, multicast listeners, node information. Every body is
// a form over what follows the checksum, so reading and building are one table.

import type { Endpoints } from "../wire/checksum.ts";
import { bytes, fixed, struct, u16, u32, u8 } from "../wire/form.ts";
import type { Form, ValueOf } from "../wire/form.ts";
import { readQuote, writeQuote } from "./error.ts";
import type { IcmpQuote } from "./error.ts";
import { buildIcmpv6, icmpv6Types } from "./icmpv6.ts";
import type { Icmpv6 } from "./icmpv6.ts";
import { mldForms } from "../routing/mld.ts";
import { ndForms } from "../routing/neighbour.ts";
import { Reader } from "../wire/reader.ts";

/** Errors that may have the extensions of RFC 4884: their first byte counts the quote in units of 8. */
const quoting: Form<IcmpQuote> = {
  read: (reader) => {
    const words = reader.u8();
    reader.skip(3);
    const base = reader.offset;
    return readQuote(reader.rest(), words, 8, base);
  },
  write: (quote) => {
    const { words, payload } = writeQuote(quote, 8);
    return Buffer.concat([Buffer.of(words, 0, 0, 0), payload]);
  },
};

const echo = struct({ id: u16, seq: u16, data: bytes });
/** RFC 4620 */
const nodeInformation = struct({ query_type: u16, flags: u16, nonce: fixed(8), data: bytes });
/** RFC 8335 */
const extendedEcho = struct({ id: u16, seq: u8, flags: u8, data: bytes });

const forms = {
  destinationUnreachable: quoting,
  packetTooBig: struct({ mtu: u32, original: bytes }),
  timeExceeded: quoting,
  /** `pointer` is the offset of the offending byte in the original. */
  parameterProblem: struct({ pointer: u32, original: bytes }),
  echoRequest: echo,
  echoReply: echo,
  ...mldForms,
  ...ndForms,
  nodeInformationQuery: nodeInformation,
  nodeInformationResponse: nodeInformation,
  /** RFC 4286; its `code` is the interval in seconds. */
  multicastRouterAdvertisement: struct({ query_interval_s: u16, robustness: u16 }),
  multicastRouterSolicitation: struct({}),
  multicastRouterTermination: struct({}),
  extendedEchoRequest: extendedEcho,
  extendedEchoReply: extendedEcho,
} as const satisfies Record<keyof typeof icmpv6Types, Form<object>>;

type Forms = typeof forms;

/** What a message says; a number as kind is a type without a form here, with everything behind the checksum. */
export type Icmpv6Body =
  | { [N in keyof Forms]: { kind: N; code: number } & ValueOf<Forms[N]> }[keyof Forms]
  | { kind: number; code: number; payload: Uint8Array };

const kinds = new Map(Object.entries(icmpv6Types).map(([kind, type]) => [type as number, kind as keyof Forms]));

/** The body of what `parseIcmpv6` or `parsePacket` gave; offsets of errors count from the ICMPv6 header. @throws PacketError */
export function parseIcmpv6Body(message: Pick<Icmpv6, "type" | "code" | "payload">): Icmpv6Body {
  const { type, code, payload } = message;
  const kind = kinds.get(type);
  if (kind === undefined) return { kind: type, code, payload };
  const form: Form<object> = forms[kind];
  return { kind, code, ...form.read(new Reader(payload, 4)) } as Icmpv6Body;
}

/** The whole message, with its checksum. @throws RangeError */
export function buildIcmpv6Body(body: Icmpv6Body, ends: Endpoints): Buffer {
  const { kind, code } = body;
  if (typeof kind === "number") return buildIcmpv6({ type: kind, code }, (body as { payload: Uint8Array }).payload, ends);
  const form: Form<object> = forms[kind];
  return buildIcmpv6({ type: icmpv6Types[kind], code }, form.write(body), ends);
}
