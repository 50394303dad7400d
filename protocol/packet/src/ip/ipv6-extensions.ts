// IPv6 extension headers (RFC 8200 4): each is kept as parsed, so the chain is built again byte by byte. Padding options
// are options like others and stay in the list. ESP (50) ends the chain: behind it nothing can be read.

import { PacketValueError } from "../wire/errors.ts";
import { bytes, ipv6, list, optionList, tlv, u16, u32, u8 } from "../wire/form.ts";
import type { ValueOf } from "../wire/form.ts";
import { Reader } from "../wire/reader.ts";

export const extensionTypes = {
  hopByHop: 0, routing: 43, fragment: 44, authentication: 51, destination: 60, mobility: 135, hostIdentity: 139, shim6: 140,
} as const;

const options = optionList("option", tlv("option", u8, u8, {
  padN: [1, bytes],
  tunnelLimit: [4, u8],
  /** 0: MLD, 1: RSVP, 2: active networks. RFC 2711 */
  routerAlert: [5, u16],
  jumboPayload: [0xc2, u32],
  homeAddress: [0xc9, ipv6],
}), { pad1: 0 });

/** An option of a hop-by-hop or destination header; `pad1` is a single byte and has no value. */
export type Ipv6Option = ValueOf<typeof options>[number];

/** Options are filled up to 8 bytes with padding when the list does not do it itself. */
export interface Ipv6OptionsHeader {
  header: "hopByHop" | "destination";
  options: Ipv6Option[];
}

export interface Ipv6RoutingHeader {
  header: "routing";
  /** 0: source route (deprecated), 2: mobile IPv6, 4: segment routing. */
  routing_type: number;
  segments_left: number;
  /** Behind the fourth byte; 4 and a multiple of 8 more. See `parseSegments`. */
  data: Uint8Array;
}

export interface Ipv6FragmentHeader {
  header: "fragment";
  /** In bytes, a multiple of 8. */
  offset: number;
  more: boolean;
  id: number;
}

/** RFC 4302 */
export interface Ipv6AuthenticationHeader {
  header: "authentication";
  spi: number;
  seq: number;
  /** The integrity check value and its padding. */
  icv: Uint8Array;
}

export interface Ipv6OtherHeader {
  header: "other";
  /** 135, 139 or 140. */
  type: number;
  /** Behind the length: 6 bytes and a multiple of 8 more. */
  data: Uint8Array;
}

export type Ipv6Extension =
  | Ipv6OptionsHeader | Ipv6RoutingHeader | Ipv6FragmentHeader | Ipv6AuthenticationHeader | Ipv6OtherHeader;

const names: ReadonlyMap<number, Ipv6Extension["header"]> = new Map<number, Ipv6Extension["header"]>([
  [extensionTypes.hopByHop, "hopByHop"], [extensionTypes.routing, "routing"], [extensionTypes.fragment, "fragment"],
  [extensionTypes.authentication, "authentication"], [extensionTypes.destination, "destination"],
  [extensionTypes.mobility, "other"], [extensionTypes.hostIdentity, "other"], [extensionTypes.shim6, "other"],
]);

/** RFC 7045 list, without ESP. */
export function isExtension(nextHeader: number): boolean {
  return names.has(nextHeader);
}

/** Takes one header of number `type`; the next header's number comes with it. */
export function readExtension(reader: Reader, type: number): { next: number; extension: Ipv6Extension } {
  const next = reader.u8();
  const length = reader.u8();
  const header = names.get(type) ?? "other";
  switch (header) {
    case "fragment": {
      const field = reader.u16();
      return { next, extension: { header, offset: field & 0xfff8, more: (field & 1) !== 0, id: reader.u32() } };
    }
    case "authentication": {
      if (length === 0) reader.malformed("authentication header is below 12 bytes", 1);
      reader.skip(2);
      return { next, extension: { header, spi: reader.u32(), seq: reader.u32(), icv: reader.view((length + 2) * 4 - 12) } };
    }
    case "routing": {
      const inside = reader.within(length * 8 + 6);
      return { next, extension: { header, routing_type: inside.u8(), segments_left: inside.u8(), data: inside.rest() } };
    }
    case "hopByHop": case "destination":
      return { next, extension: { header, options: options.read(reader.within(length * 8 + 6)) } };
    case "other":
      return { next, extension: { header, type, data: reader.view(length * 8 + 6) } };
  }
}

/** The number that announces this header. */
export function extensionType(extension: Ipv6Extension): number {
  return extension.header === "other" ? extension.type : extensionTypes[extension.header];
}

function padded(content: Uint8Array): Uint8Array {
  const missing = 7 - ((content.length + 1) & 7); // with the two bytes in front a multiple of 8
  if (missing === 0) return content;
  const pad = missing === 1 ? Buffer.of(0) : Buffer.of(1, missing - 2);
  return Buffer.concat([content, pad], content.length + missing);
}

/** One header, `next` being the number of what follows. @throws RangeError */
export function buildExtension(extension: Ipv6Extension, next: number): Buffer {
  switch (extension.header) {
    case "fragment": {
      const { offset, more, id } = extension;
      if (offset % 8 !== 0) throw new PacketValueError("a fragment offset in units of 8 bytes", String(offset));
      return Buffer.concat([u8.write(next), Buffer.of(0), u16.write(offset | (more ? 1 : 0)), u32.write(id)]);
    }
    case "authentication": {
      const { spi, seq, icv } = extension;
      if (icv.length % 4 !== 0) throw new PacketValueError("an integrity value of whole words", `${icv.length} bytes`);
      return Buffer.concat([u8.write(next), u8.write(icv.length / 4 + 1), Buffer.alloc(2), u32.write(spi), u32.write(seq), icv]);
    }
    case "routing": {
      const { routing_type, segments_left, data } = extension;
      return sizedHeader(next, Buffer.concat([u8.write(routing_type), u8.write(segments_left), data]));
    }
    case "hopByHop": case "destination":
      return sizedHeader(next, padded(options.write(extension.options)));
    case "other":
      return sizedHeader(next, extension.data);
  }
}

function sizedHeader(next: number, content: Uint8Array): Buffer {
  if (content.length % 8 !== 6) throw new PacketValueError("6 bytes and a multiple of 8 more", `${content.length} bytes`);
  return Buffer.concat([u8.write(next), u8.write((content.length - 6) / 8), content]);
}

const addresses = list(ipv6);

/**
 * The addresses of a routing header of type 0, 2 or 4, as they lie in it: those of segment routing (RFC 8754) are in
 * reverse, and only as many as `last entry` says. undefined for other types. @throws PacketError
 */
export function parseSegments(routing: Ipv6RoutingHeader): string[] | undefined {
  const reader = new Reader(routing.data);
  if (routing.routing_type === 0 || routing.routing_type === 2) {
    reader.skip(4);
    return addresses.read(reader);
  }
  if (routing.routing_type !== 4) return undefined;
  const count = reader.u8() + 1;
  reader.skip(3);
  return addresses.read(reader.within(count * 16));
}
