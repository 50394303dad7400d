// What IPv4 and IPv6 share: the numbers of the protocols they carry, and how a header hands its payload on.

import type { Reader } from "../wire/reader.ts";

export const ipProtocols = { icmpv4: 1, igmp: 2, tcp: 6, udp: 17, icmpv6: 58 } as const;

/** A header, and its payload for whoever reads the next one. */
export interface Layer<T> {
  header: T;
  payload: Reader;
}
