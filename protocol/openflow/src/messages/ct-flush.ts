// NXT_CT_FLUSH: which connections a switch is to forget, by the two tuples of a connection and by zone.

import { refusal } from "../wire/errors.ts";
import { check, ipv6, pad, slack, u16, u8, zeros } from "../layout/layout.ts";
import { properties, type PropertyOf } from "../layout/properties.ts";

// A property of 16 bits takes four bytes.
const tuple = {
  /** IPv4 addresses as ::ffff:a.b.c.d. */
  src: [0, [ipv6("addr"), slack(0)]],
  dst: [1, [ipv6("addr"), slack(0)]],
  src_port: [2, [u16("port"), slack(2)]],
  dst_port: [3, [u16("port"), slack(2)]],
  icmp_id: [4, [u16("id"), slack(2)]],
  icmp_type: [5, [u8("code"), slack(0)]],
  icmp_code: [6, [u8("code"), slack(0)]],
} as const;

const matches = {
  orig_tuple: [0, [pad(4), properties("tuple", tuple)]],
  reply_tuple: [1, [pad(4), properties("tuple", tuple)]],
  zone: [2, [u16("zone_id"), slack(2)]],
} as const;

export type CtFlushTuple = PropertyOf<typeof tuple>;
export type CtFlushProperty = PropertyOf<typeof matches>;

/** Addresses of one family; one that is all zero is of any, and lets the next be of another. */
const oneFamily = check((obj, _buf, off) => {
  let family = "";
  for (const property of obj["properties"] as readonly CtFlushProperty[]) {
    if (!("tuple" in property)) continue;
    for (const part of property.tuple) {
      if (!("addr" in part)) continue;
      const found = part.addr === "::" ? "" : part.addr.startsWith("::ffff:") && part.addr.includes(".") ? "IPv4" : "IPv6";
      if (family !== "" && found !== "" && family !== found) throw refusal("OFPBPC_BAD_VALUE", off, "addresses of two families");
      family = found;
    }
  }
});

export const ctFlush = [u8("ip_proto"), zeros(7), properties("properties", matches), oneFamily] as const;
