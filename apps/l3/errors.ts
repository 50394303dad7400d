// What a router says of packets that it cannot deliver, as frames: ICMP errors and resets of TCP (RFC 792, RFC 1812, RFC 4443, RFC 9293).
import { isLoopback, isMulticast, parseIp, type Ip } from "#app";
import {
  buildEthernet, buildIcmpv4Error, buildIcmpv6Error, buildIpv4, buildIpv6, buildTcp, ethertypes, icmpv4Types, icmpv6Types, ipProtocols, PacketError, parsePacket, tcpFlags, type Packet, type Tcp,
} from "packet-codec";

/** Why a packet is not delivered, as `undelivered` holds it. */
export const undelivered = { expired: 0, noRoute: 1, unresolved: 2, notServed: 3, beyondScope: 4 } as const;
export type Undelivered = (typeof undelivered)[keyof typeof undelivered];

/** Internetwork control, what errors should travel with. RFC 1812 section 4.3.2.5 */
const ERROR_TOS = 0xc0;
/** Destination unreachable, source quench, redirect, time exceeded, parameter problem. */
const icmpv4Errors: ReadonlySet<number> = new Set([icmpv4Types.destinationUnreachable, 4, 5, icmpv4Types.timeExceeded, 12]);
/** Every ICMPv6 type below is an error. */
const ICMPV6_INFORMATIONAL = 128;
const ICMPV6_REDIRECT = 137;

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

/** Why there must be no error about this packet, if so. RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e) */
export function noErrorAbout({ eth, ipv4, ipv6, icmpv4, icmpv6 }: Packet): string | undefined {
  const ip = ipv4 ?? ipv6;
  if (ip === undefined) return "not IP";
  if (icmpv4 !== undefined && icmpv4Errors.has(icmpv4.type)) return "is an ICMP error";
  if (icmpv6 !== undefined && (icmpv6.type < ICMPV6_INFORMATIONAL || icmpv6.type === ICMPV6_REDIRECT)) return "is an ICMP error";
  if (ip.fragmentOffset > 0) return "is a later fragment";
  if ((parseInt(eth.dst.slice(0, 2), 16) & 1) !== 0 || notOneHost(parseIp(ip.dst)!)) return "goes to many";
  if (notOneHost(parseIp(ip.src)!)) return "comes from no single host";
  return undefined;
}

/** Unspecified, loopback, multicast, and IPv4's 0/8, 240/4 and limited broadcast. */
const notOneHost = (ip: Ip): boolean =>
  isMulticast(ip) || isLoopback(ip) || ip.value === 0n || (ip.family === 4 && (ip.value >> 24n === 0n || ip.value >> 28n === 0xfn));

/** Type and code of the error; `rest`: what ICMPv6's parameter problem points at, the next header. RFC 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3 */
function errorOf(why: Undelivered, { udp, icmpv4, icmpv6, ipv6 }: Packet): { readonly type: number; readonly code: number; readonly rest?: number } | undefined {
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
    case undelivered.notServed:
      if (udp !== undefined) return unreachable(3, 4);
      // Questions of ICMP that a router does not answer are none of this.
      if (icmpv4 !== undefined || icmpv6 !== undefined) return undefined;
      return four ? { type: icmpv4Types.destinationUnreachable, code: 2 } : { type: icmpv6Types.parameterProblem, code: 1, rest: NEXT_HEADER };
  }
}
/** Offset of that field in an IPv6 header. */
const NEXT_HEADER = 6;

export function icmpError(frame: Packet, why: Undelivered, from: Interface, mac: string): Buffer | undefined {
  const { eth, ipv4, ipv6 } = frame;
  const header = errorOf(why, frame);
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

/** The answer to a segment for a port that nothing listens on, from the address that was asked. RFC 9293 section 3.10.7.1 */
export function reset({ ipv4, ipv6 }: Packet, tcp: Tcp, { mac: own }: Interface, mac: string): Buffer | undefined {
  if ((tcp.flags & tcpFlags.rst) !== 0) return undefined;
  const { src, dst } = (ipv4 ?? ipv6)!;
  const ends = { src: dst, dst: src };
  const { syn, fin, ack, rst } = tcpFlags;
  const length = tcp.payload.length + ((tcp.flags & syn) === 0 ? 0 : 1) + ((tcp.flags & fin) === 0 ? 0 : 1);
  const numbers = (tcp.flags & ack) === 0 ? { seq: 0, ack: (tcp.seq + length) >>> 0, flags: rst | ack } : { seq: tcp.ack, flags: rst };
  const segment = buildTcp({ src_port: tcp.dst_port, dst_port: tcp.src_port, window: 0, ...numbers }, new Uint8Array(), ends);
  return ipv4 === undefined
    ? buildEthernet({ dst: mac, src: own, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.tcp }, segment))
    : buildEthernet({ dst: mac, src: own, ethertype: ethertypes.ipv4 }, buildIpv4({ ...ends, protocol: ipProtocols.tcp }, segment));
}
