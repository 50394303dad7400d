// What is told to the sender of a packet that does not arrive, whoever keeps it from arriving: when nothing may be told, and the reset of a TCP connection.
import { isLoopback, isMulticast, parseIp, type Ip } from "#app";
import { buildEthernet, buildIpv4, buildIpv6, buildTcp, ethertypes, icmpv4Types, ipProtocols, tcpFlags, type Packet, type Tcp } from "packet-codec";

/** Internetwork control, what errors should travel with. RFC 1812 section 4.3.2.5 */
export const ERROR_TOS = 0xc0;
/** Destination unreachable, source quench, redirect, time exceeded, parameter problem. */
const icmpv4Errors: ReadonlySet<number> = new Set([icmpv4Types.destinationUnreachable, 4, 5, icmpv4Types.timeExceeded, 12]);
/** Every ICMPv6 type below is an error. */
const ICMPV6_INFORMATIONAL = 128;
const ICMPV6_REDIRECT = 137;

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

/** The answer to a segment for a port that nothing listens on, from the address that was asked and the MAC `own`. RFC 9293 section 3.10.7.1 */
export function resetOf({ ipv4, ipv6 }: Packet, tcp: Tcp, own: string, mac: string): Buffer | undefined {
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
