// For tests only: a frame taken apart as far as this package goes, and put together again from the parts.

import { buildArp } from "../ethernet/arp.ts";
import { bfdPorts, buildBfd, parseBfd } from "../routing/bfd.ts";
import type { BfdControl } from "../routing/bfd.ts";
import { buildDhcp, dhcpPorts, parseDhcp } from "../dhcp/dhcp.ts";
import type { DhcpMessage } from "../dhcp/dhcp.ts";
import { buildDhcp6, dhcp6Ports, parseDhcp6 } from "../dhcp/dhcp6.ts";
import type { Dhcp6Message } from "../dhcp/dhcp6.ts";
import { buildDns, dnsPort, parseDns } from "../dns/dns.ts";
import type { DnsMessage } from "../dns/dns.ts";
import { buildEthernet } from "../ethernet/ethernet.ts";
import { buildIcmpv4Body, parseIcmpv4Body } from "../icmp/icmpv4.ts";
import type { Icmpv4Body } from "../icmp/icmpv4.ts";
import { buildIcmpv6Body, parseIcmpv6Body } from "../icmp/icmpv6-body.ts";
import type { Icmpv6Body } from "../icmp/icmpv6-body.ts";
import { buildIgmp } from "../routing/igmp.ts";
import { buildIpv4, buildIpv4Options, parseIpv4Options } from "../ip/ipv4.ts";
import type { Ipv4Option } from "../ip/ipv4.ts";
import { buildIpv6 } from "../ip/ipv6.ts";
import { parseSegments } from "../ip/ipv6-extensions.ts";
import { parsePacket } from "../frame/packet.ts";
import type { Packet } from "../frame/packet.ts";
import { buildTcp, buildTcpOptions, parseTcpOptions } from "../transport/tcp.ts";
import type { TcpOption } from "../transport/tcp.ts";
import { buildUdp } from "../transport/udp.ts";

export interface Dissection extends Packet {
  icmpv4Body?: Icmpv4Body;
  icmpv6Body?: Icmpv6Body;
  ipv4Options?: Ipv4Option[];
  tcpOptions?: TcpOption[];
  dhcp?: DhcpMessage;
  dhcp6?: Dhcp6Message;
  dns?: DnsMessage;
  bfd?: BfdControl;
  /** The last address of a source route that is not at its end: what checksums count. RFC 1122 3.2.1.8, RFC 8200 8.1 */
  finalDst?: string;
}

export function dissect(frame: Uint8Array): Dissection {
  const packet: Dissection = parsePacket(frame);
  const { ipv4, ipv6, icmpv4, icmpv6, udp, tcp } = packet;
  if (ipv4 !== undefined) packet.ipv4Options = parseIpv4Options(ipv4.options);
  if (tcp !== undefined) packet.tcpOptions = parseTcpOptions(tcp.options);
  const finalDst = finalDestination(packet);
  if (finalDst !== undefined) packet.finalDst = finalDst;
  if ((ipv4 ?? ipv6)?.moreFragments === true) return packet;
  if (icmpv4 !== undefined) packet.icmpv4Body = parseIcmpv4Body(icmpv4);
  if (icmpv6 !== undefined) packet.icmpv6Body = parseIcmpv6Body(icmpv6);
  if (udp !== undefined) {
    const ports = [udp.src_port, udp.dst_port];
    if (ports.includes(dhcpPorts.server)) packet.dhcp = parseDhcp(udp.payload);
    else if (ports.includes(dhcp6Ports.server)) packet.dhcp6 = parseDhcp6(udp.payload);
    else if (ports.includes(dnsPort) && udp.payload.length >= 12) packet.dns = parseDns(udp.payload);
    else if (ports.includes(bfdPorts.control)) packet.bfd = parseBfd(udp.payload);
  }
  return packet;
}

function application({ udp, dhcp, dhcp6, dns, bfd }: Dissection): Uint8Array {
  if (dhcp !== undefined) return buildDhcp(dhcp);
  if (dhcp6 !== undefined) return buildDhcp6(dhcp6);
  if (dns !== undefined) return buildDns(dns);
  if (bfd !== undefined) return buildBfd(bfd);
  return udp!.payload;
}

/** From the innermost part out; nothing of the frame is copied that a builder could have made. */
export function rebuild(parts: Dissection): Buffer {
  const { eth, arp, ipv4, ipv6, icmpv4Body, icmpv6Body, igmp, udp, tcp } = parts;
  if (arp !== undefined) return buildEthernet(eth, buildArp(arp));
  const ip = ipv4 ?? ipv6;
  if (ip === undefined) return buildEthernet(eth, eth.payload);
  let upper: Uint8Array = ip.payload;
  // The checksum of a first fragment covers bytes that are elsewhere, so it cannot be made again.
  if (!ip.moreFragments) {
    if (icmpv4Body !== undefined) upper = buildIcmpv4Body(icmpv4Body);
    else if (icmpv6Body !== undefined) upper = buildIcmpv6Body(icmpv6Body, ip);
    else if (igmp !== undefined) upper = buildIgmp(igmp);
    else if (udp !== undefined) upper = buildUdp(udp, application(parts), ends(parts));
    else if (tcp !== undefined) upper = buildTcp({ ...tcp, options: buildTcpOptions(parts.tcpOptions!) }, tcp.payload, ip);
  }
  const packet = ipv4 === undefined ? buildIpv6(ipv6!, upper) : buildIpv4({ ...ipv4, options: buildIpv4Options(parts.ipv4Options!) }, upper);
  return buildEthernet(eth, packet);
}

function finalDestination({ ipv4Options, ipv6 }: Dissection): string | undefined {
  const loose = ipv4Options?.find((item) => item.option === "looseSourceRoute");
  if (loose?.option === "looseSourceRoute") return loose.value.addresses.at(-1);
  const routing = ipv6?.extension_headers.find((header) => header.header === "routing");
  if (routing === undefined || routing.segments_left === 0) return undefined;
  return routing.routing_type === 4 ? parseSegments(routing)?.[0] : parseSegments(routing)?.at(-1);
}

function ends(parts: Dissection): { src: string; dst: string } {
  const { src, dst } = (parts.ipv4 ?? parts.ipv6)!;
  return { src, dst: parts.finalDst ?? dst };
}
