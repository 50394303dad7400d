// What a router says of packets that it cannot deliver, as frames: ICMP errors (RFC 792, RFC 1812, RFC 4443).
import {
  buildEthernet, buildIcmpv4Error, buildIcmpv6Error, buildIpv4, buildIpv6, ethertypes, icmpv4Types, icmpv6Types, ipProtocols, PacketError, parsePacket, type Packet,
} from "packet-codec";
import { ERROR_TOS, noErrorAbout } from "../l2/model.ts";

/** Why a packet is not delivered, as `undelivered` holds it. */
export const undelivered = { expired: 0, noRoute: 1, unresolved: 2, notServed: 3, beyondScope: 4, tooBig: 5, /** The same, of a packet that had another destination. */ tooBigTranslated: 6 } as const;
export type Undelivered = (typeof undelivered)[keyof typeof undelivered];

export interface Interface {
  readonly mac: string;
  readonly address: string;
}

/** What a router says of a packet whose next hop did not answer, from an address of its own; undefined where it says nothing. To go on by its routes. */
export function hostUnreachable(data: Uint8Array, own: { readonly mac: string; readonly address: string }): Buffer | undefined {
  try {
    const frame = parsePacket(data);
    return noErrorAbout(frame) === undefined ? icmpError(frame, undelivered.unresolved, own, own.mac) : undefined;
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    return undefined;
  }
}

/**
 * Type and code of the error; `rest`: of what is too big the MTU (RFC 1191 section 4), else what ICMPv6's parameter problem points at, the next header. RFC
 * 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3
 */
function errorOf(why: Undelivered, { udp, icmpv4, icmpv6, ipv6 }: Packet, mtu: number): { readonly type: number; readonly code: number; readonly rest?: number } | undefined {
  const four = ipv6 === undefined;
  const unreachable = (v4: number, v6: number): { readonly type: number; readonly code: number } => (four ? { type: icmpv4Types.destinationUnreachable, code: v4 } : { type: icmpv6Types.destinationUnreachable, code: v6 });
  switch (why) {
    case undelivered.expired:
      return { type: four ? icmpv4Types.timeExceeded : icmpv6Types.timeExceeded, code: 0 };
    case undelivered.noRoute:
      return unreachable(0, 0);
    case undelivered.unresolved:
      return unreachable(1, 3);
    case undelivered.beyondScope:
      return unreachable(1, 2);
    case undelivered.tooBig:
    case undelivered.tooBigTranslated:
      return { type: four ? icmpv4Types.destinationUnreachable : icmpv6Types.packetTooBig, code: four ? FRAGMENTATION_NEEDED : 0, rest: mtu };
    case undelivered.notServed:
      if (udp !== undefined) return unreachable(3, 4);
      // Questions of ICMP that a router does not answer are none of this.
      if (icmpv4 !== undefined || icmpv6 !== undefined) return undefined;
      return four ? { type: icmpv4Types.destinationUnreachable, code: 2 } : { type: icmpv6Types.parameterProblem, code: 1, rest: NEXT_HEADER };
  }
}
/** Offset of that field in an IPv6 header. */
const NEXT_HEADER = 6;
const FRAGMENTATION_NEEDED = 4;

/** `mtu`: of what is too big, what would not have been. */
export function icmpError(frame: Packet, why: Undelivered, from: Interface, mac: string, mtu = 0): Buffer | undefined {
  const { eth, ipv4, ipv6 } = frame;
  const header = errorOf(why, frame, mtu);
  if (header === undefined) return undefined;
  if (ipv4 !== undefined) {
    const original = eth.payload.subarray(0, ipv4.total_length);
    const error = buildIcmpv4Error(header, original);
    const ip = buildIpv4({ src: from.address, dst: ipv4.src, protocol: ipProtocols.icmpv4, tos: ERROR_TOS }, error);
    return buildEthernet({ dst: mac, src: from.mac, ethertype: ethertypes.ipv4 }, ip);
  }
  const ends = { src: from.address, dst: ipv6!.src };
  const original = eth.payload.subarray(0, 40 + ipv6!.payload_length);
  const error = buildIcmpv6Error(header, original, ends);
  return buildEthernet({ dst: mac, src: from.mac, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.icmpv6 }, error));
}
