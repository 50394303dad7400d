// DHCP unique identifiers (RFC 8415 11, RFC 6355): who a client or a server is, for DHCPv6 and for client ids of DHCPv4.

import { PacketError } from "../wire/errors.ts";
import { bytes, fixed, hexColons, struct, u16, u32, variant } from "../wire/form.ts";
import type { Form, ValueOf } from "../wire/form.ts";
import { Reader } from "../wire/reader.ts";

const typed = variant("type", u16, {
  LLT: [1, struct({ hardware_type: u16, time_s: u32, lladdr: hexColons })],
  EN: [2, struct({ enterprise: u32, identifier: bytes })],
  LL: [3, struct({ hardware_type: u16, lladdr: hexColons })],
  UUID: [4, fixed(16)],
});

export type Duid = ValueOf<typeof typed>;

/**
 * `hardware_type` is ARP's, 1 = Ethernet; `time_s` counts from 2000-01-01 UTC, modulo 2^32. A type without a name is a number and carries bytes, and so is one
 * that is not formed as its type says: others take an identifier as it is, and do not look into it. RFC 8415 11
 */
export const duid: Form<Duid> = {
  read: (reader) => {
    const begin = reader.pos;
    try {
      return typed.read(reader);
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      reader.pos = begin;
      return { type: u16.read(reader), value: reader.rest() };
    }
  },
  write: (value) => typed.write(value),
};

/** @throws PacketError */
export function parseDuid(buf: Uint8Array): Duid {
  return duid.read(new Reader(buf));
}

/** @throws RangeError */
export function buildDuid(value: Duid): Buffer {
  return Buffer.from(duid.write(value));
}
