// The options of neighbour discovery as an ordered list (RFC 4861 4.6 and later), so that a message is built again byte by
// byte. neighbour.ts gathers them into fields for those who only ask.

import { PacketValueError } from "../wire/errors.ts";
import { formatIpv6Bytes } from "../wire/address.ts";
import { decodeDomainNames, domain, encodeDomainName } from "../wire/domain-name.ts";
import {
  bytes, fixed, hexColons, ipv6, ipv6s, list, maskIpv6, prefix6Parts, reserved, sized, struct, text, tlv, u16, u32, u64, u8,
} from "../wire/form.ts";
import type { Form, ValueOf } from "../wire/form.ts";
import type { Reader } from "../wire/reader.ts";

/** Of routers and routes. The reserved value reads as medium, as RFC 4191 2.2 has it. */
export type RouterPreference = "low" | "medium" | "high";

const preferenceBits = { medium: 0, high: 0x08, low: 0x18 } as const;

export function readPreference(byte: number): RouterPreference {
  const bits = byte & 0x18;
  return bits === preferenceBits.high ? "high" : bits === preferenceBits.low ? "low" : "medium";
}

export function writePreference(preference: RouterPreference): number {
  return preferenceBits[preference];
}

/** Zeros up to a whole number of 8 byte units, counting the type and length in front. */
function padded<T>(form: Form<T>): Form<T> {
  return {
    read: (reader) => form.read(reader),
    write: (value) => {
      const content = form.write(value);
      return Buffer.concat([content], Math.ceil((content.length + 2) / 8) * 8 - 2);
    },
  };
}

const units: Form<number> = {
  read: (reader) => {
    const count = reader.u8();
    if (count === 0) reader.malformed("neighbour discovery option of length 0", 1);
    return count * 8 - 2;
  },
  write: (length) => {
    if (length % 8 !== 6 || length > 255 * 8 - 2) {
      throw new PacketValueError("an option of 6 bytes and a multiple of 8 more, at most 2038", `${length} bytes`);
    }
    return Buffer.of((length + 2) / 8);
  },
};

export interface PrefixInformation {
  prefix: string;
  length: number;
  on_link: boolean;
  autonomous: boolean;
  /** The prefix is the router's whole address. RFC 6275 7.2; present when set. */
  router_address?: boolean;
  valid_lifetime_s: number;
  preferred_lifetime_s: number;
}

function prefixLength(reader: Reader): number {
  const length = reader.u8();
  if (length > 128) reader.malformed("prefix length is above 128", 1);
  return length;
}

const prefixInformation: Form<PrefixInformation> = {
  read: (reader) => {
    const length = prefixLength(reader);
    const flags = reader.u8();
    const valid_lifetime_s = reader.u32();
    const preferred_lifetime_s = reader.u32();
    reader.skip(4);
    return {
      prefix: reader.ipv6(), length, on_link: (flags & 0x80) !== 0, autonomous: (flags & 0x40) !== 0,
      ...((flags & 0x20) !== 0 && { router_address: true }), valid_lifetime_s, preferred_lifetime_s,
    };
  },
  write: (info) => {
    if (!(info.length >= 0 && info.length <= 128)) throw new PacketValueError("a prefix length of 0..128", String(info.length));
    const flags = (info.on_link ? 0x80 : 0) | (info.autonomous ? 0x40 : 0) | (info.router_address === true ? 0x20 : 0);
    return Buffer.concat([
      Buffer.of(info.length, flags), u32.write(info.valid_lifetime_s), u32.write(info.preferred_lifetime_s), Buffer.alloc(4),
      ipv6.write(info.prefix),
    ]);
  },
};

/** RFC 4191 2.3 */
export interface RouteInformation {
  prefix: string;
  length: number;
  preference: RouterPreference;
  lifetime_s: number;
  /** Bytes the prefix takes, 8 or 16, when that is more than its length needs: radvd always writes 16. */
  prefix_size?: number;
}

const routeSize = (length: number): number => (length > 64 ? 16 : length > 0 ? 8 : 0);

const routeInformation: Form<RouteInformation> = {
  read: (reader) => {
    const length = prefixLength(reader);
    const preference = readPreference(reader.u8());
    const lifetime_s = reader.u32();
    if (reader.left !== 0 && reader.left !== 8 && reader.left !== 16) reader.malformed("route prefix is not 0, 8 or 16 bytes");
    if (reader.left * 8 < length) reader.malformed("route prefix is shorter than its length");
    const prefix_size = reader.left > routeSize(length) ? { prefix_size: reader.left } : {};
    return { prefix: formatIpv6Bytes(Buffer.concat([reader.rest()], 16)), length, preference, lifetime_s, ...prefix_size };
  },
  write: ({ prefix, length, preference, lifetime_s, prefix_size }) => {
    const { address } = prefix6Parts(`${prefix}/${length}`);
    const size = prefix_size ?? routeSize(length);
    if (size < routeSize(length) || (size !== 0 && size !== 8 && size !== 16)) throw new PacketValueError("a prefix of 0, 8 or 16 bytes", String(size));
    return Buffer.concat([Buffer.of(length, writePreference(preference)), u32.write(lifetime_s), address.subarray(0, size)]);
  },
};

export interface Dnssl {
  lifetime_s: number;
  domains: string[];
}

const dnssl: Form<Dnssl> = {
  read: (reader) => {
    reader.skip(2);
    const lifetime_s = reader.u32();
    const base = reader.offset;
    return { lifetime_s, domains: decodeDomainNames(reader.rest(), { compressed: false, padded: true }, base) };
  },
  write: ({ lifetime_s, domains }) => Buffer.concat([Buffer.alloc(2), u32.write(lifetime_s), ...domains.map(encodeDomainName)]),
};

const pref64Lengths = [96, 64, 56, 48, 40, 32] as const;

/** RFC 8781. `lifetime_s` counts in steps of 8. */
export interface Pref64 {
  /** "64:ff9b::/96" */
  prefix: string;
  lifetime_s: number;
}

const pref64: Form<Pref64> = {
  read: (reader) => {
    const word = reader.u16();
    const length = pref64Lengths[word & 7] ?? reader.malformed("PREF64 length code is above 5", 2);
    const address = Buffer.concat([reader.view(12)], 16);
    return { prefix: `${formatIpv6Bytes(maskIpv6(address, length))}/${length}`, lifetime_s: word & 0xfff8 };
  },
  write: ({ prefix, lifetime_s }) => {
    const { address, length } = prefix6Parts(prefix);
    const code = pref64Lengths.findIndex((known) => known === length);
    if (code < 0) throw new PacketValueError("a prefix of 96, 64, 56, 48, 40 or 32 bits", prefix);
    if (lifetime_s % 8 !== 0) throw new PacketValueError("a lifetime in steps of 8 seconds", String(lifetime_s));
    return Buffer.concat([u16.write(lifetime_s | code), maskIpv6(address, length).subarray(0, 12)]);
  },
};

/** RFC 9463 6. An option without addresses and parameters ends behind the name. */
const encryptedDns = struct({
  service_priority: u16, lifetime_s: u32, adn: sized(u16, domain), addresses: sized(u16, list(ipv6, 0, 16)), service_params: sized(u16, bytes),
  _padding: { read: (reader: Reader) => void reader.rest(), write: () => Buffer.alloc(0) },
});

const option = tlv("option", u8, units, {
  sourceLladdr: [1, padded(hexColons)],
  targetLladdr: [2, padded(hexColons)],
  prefixInformation: [3, padded(prefixInformation)],
  /** The beginning of the packet that caused a redirect. */
  redirectedHeader: [4, padded(struct({ _reserved: reserved(6), original: bytes }))],
  mtu: [5, padded(struct({ _reserved: reserved(2), mtu: u32 }))],
  /** Seconds since 1970 in units of 2^-16. RFC 3971 5.3.1 */
  timestamp: [13, padded(struct({ _reserved: reserved(6), timestamp: u64 }))],
  nonce: [14, bytes],
  routeInformation: [24, padded(routeInformation)],
  rdnss: [25, padded(struct({ _reserved: reserved(2), lifetime_s: u32, servers: ipv6s }))],
  /** RFC 5175 */
  flagsExtension: [26, fixed(6)],
  dnssl: [31, padded(dnssl)],
  /** RFC 8910 */
  captivePortal: [37, padded(text)],
  pref64: [38, padded(pref64)],
  encryptedDns: [144, padded(encryptedDns)],
});

/** An option by name, or by its number with its bytes. */
export type NdOption = ValueOf<typeof option>;

export const ndOptions = list(option);
