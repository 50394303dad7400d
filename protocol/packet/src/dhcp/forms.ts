// Forms that several options share, of DHCPv4 and DHCPv6 alike: locations, authentication, names with lengths.

import { domain } from "../wire/domain-name.ts";
import { PacketValueError } from "../wire/errors.ts";
import { bytes, fixed, list, sized, struct, text, u16, u8 } from "../wire/form.ts";
import type { Form } from "../wire/form.ts";

/** RFC 3118 2 and RFC 8415 21.11 */
export const authentication = struct({ protocol: u8, algorithm: u8, rdm: u8, replay_detection: fixed(8), information: bytes });

const ascii2: Form<string> = {
  read: (reader) => reader.view(2).toString("latin1"),
  write: (value) => {
    const written = Buffer.from(value, "latin1");
    if (written.length !== 2) throw new PacketValueError("a country code of two letters", value);
    return written;
  },
};

/** A postal address in pieces. `what`: 0 the server's, 1 the next network element's, 2 the client's. RFC 4776 3.1 */
export const civicAddress = struct({ what: u8, country: ascii2, elements: list(struct({ type: u8, value: sized(u8, text) })) });

/** Where something is, RFC 6225 2.2. Degrees, and metres or floors as `altitude_type` says. */
export interface GeoLocation {
  /** 6 bits, as the other two: bits of resolution in version 0, an exponent of uncertainty in version 1. */
  latitude_uncertainty: number;
  /** In steps of 2^-25 degrees. */
  latitude: number;
  longitude_uncertainty: number;
  longitude: number;
  /** 1 metres, 2 floors. */
  altitude_type: number;
  altitude_uncertainty: number;
  /** In steps of 2^-8. */
  altitude: number;
  version: number;
  /** 1 WGS84, 2 NAD83 with NAVD88, 3 NAD83 with MLLW. */
  datum: number;
}

/** Field, bits, and of signed fixed point numbers the bits behind the point. */
const geoFields = [
  ["latitude_uncertainty", 6], ["latitude", 34, 25], ["longitude_uncertainty", 6], ["longitude", 34, 25],
  ["altitude_type", 4], ["altitude_uncertainty", 6], ["altitude", 30, 8], ["version", 2], [undefined, 3], ["datum", 3],
] as const;

export const geoLocation: Form<GeoLocation> = {
  read: (reader) => {
    let word = (reader.u64() << 64n) | reader.u64();
    const value: Partial<GeoLocation> = {};
    for (const [name, width, fraction] of geoFields.toReversed()) {
      const field = word & ((1n << BigInt(width)) - 1n);
      word >>= BigInt(width);
      if (name !== undefined) value[name] = fraction === undefined ? Number(field) : Number(BigInt.asIntN(width, field)) / 2 ** fraction;
    }
    return value as GeoLocation;
  },
  write: (value) => {
    let word = 0n;
    for (const [name, width, fraction] of geoFields) {
      const field = name === undefined ? 0 : fraction === undefined ? value[name] : Math.round(value[name] * 2 ** fraction);
      const [min, max] = fraction === undefined ? [0, 2 ** width - 1] : [-(2 ** (width - 1)), 2 ** (width - 1) - 1];
      if (!Number.isInteger(field) || field < min || field > max) throw new PacketValueError(`a location's ${name}`, String(field));
      word = (word << BigInt(width)) | BigInt.asUintN(width, BigInt(field));
    }
    return Buffer.from(word.toString(16).padStart(32, "0"), "hex");
  },
};

/** Texts with 16 bit lengths. */
export const texts16 = list(sized(u16, text));

/** Virtual subnet selection: 0 a name in ASCII, 1 a VPN id of RFC 2685, 255 the global one. RFC 6607 3.5 */
export const virtualSubnet = struct({ type: u8, info: bytes });

/** Port sets of RFC 7597: the offset bits in front, and the set's id in its highest bits. */
export const portParameters = struct({ offset: u8, psid_length: u8, psid: u16 });

/** Client architectures, RFC 4578 2.1 and its registry. */
export const u16s = list(u16, 1, 2);

/** Client network interface, RFC 4578 2.2: 1 = UNDI, then its version. */
export const networkInterface = struct({ type: u8, major: u8, minor: u8 });

/** Mobility services (RFC 5678): lists per kind of service. */
export const mobilityServices = { informationService: 1, commandService: 2, eventService: 3 } as const;

/** One name or more, without compression. */
export const domains = list(domain, 1);

