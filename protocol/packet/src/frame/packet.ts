// A frame from the outside in: each header that is understood becomes a field, the rest stays payload. What travels in UDP
// and in ICMP (DHCP, DNS, BFD, neighbour discovery) is left to whoever wants it, so a bad one cannot hide the headers.

import { readArp } from "../ethernet/arp.ts";
import type { Arp } from "../ethernet/arp.ts";
import { ethertypes, readEthernet } from "../ethernet/ethernet.ts";
import type { Ethernet } from "../ethernet/ethernet.ts";
import { readIcmpv4 } from "../icmp/icmpv4.ts";
import type { Icmpv4 } from "../icmp/icmpv4.ts";
import { readIcmpv6 } from "../icmp/icmpv6.ts";
import type { Icmpv6 } from "../icmp/icmpv6.ts";
import { readIgmp } from "../routing/igmp.ts";
import type { Igmp } from "../routing/igmp.ts";
import { ipProtocols } from "../ip/ip.ts";
import { hasRouteLeft, readIpv4 } from "../ip/ipv4.ts";
import type { Ipv4 } from "../ip/ipv4.ts";
import { readIpv6 } from "../ip/ipv6.ts";
import type { Ipv6 } from "../ip/ipv6.ts";
import { Reader } from "../wire/reader.ts";
import { readTcp } from "../transport/tcp.ts";
import type { Tcp } from "../transport/tcp.ts";
import type { Carrier } from "../transport/transport.ts";
import { readUdp } from "../transport/udp.ts";
import type { Udp } from "../transport/udp.ts";

export interface Packet {
  eth: Ethernet;
  arp?: Arp;
  ipv4?: Ipv4;
  ipv6?: Ipv6;
  icmpv4?: Icmpv4;
  icmpv6?: Icmpv6;
  igmp?: Igmp;
  udp?: Udp;
  tcp?: Tcp;
}

/**
 * Payloads are views of `buf`. Wrong checksums are reported in `checksumOk`, not thrown; behind a later fragment's IP
 * header nothing is read. @throws PacketError when a header of a known protocol is cut or contradicts itself
 */
export function parsePacket(buf: Uint8Array): Packet {
  const reader = new Reader(buf);
  const eth = readEthernet(reader);
  const packet: Packet = { eth };
  const inner = new Reader(eth.payload, reader.offset - eth.payload.length);
  if (eth.ethertype === ethertypes.arp) {
    packet.arp = readArp(inner);
  } else if (eth.ethertype === ethertypes.ipv4) {
    const { header, payload } = readIpv4(inner);
    packet.ipv4 = header;
    if (header.fragmentOffset > 0) return packet;
    if (header.protocol === ipProtocols.icmpv4) packet.icmpv4 = readIcmpv4(payload, header.complete);
    else if (header.protocol === ipProtocols.igmp) packet.igmp = readIgmp(payload, header.complete);
    else readTransport(packet, header.protocol, payload, hasRouteLeft(header.options) ? { ...header, complete: false } : header);
  } else if (eth.ethertype === ethertypes.ipv6) {
    const { header, payload } = readIpv6(inner);
    packet.ipv6 = header;
    if (header.fragmentOffset > 0) return packet;
    if (header.next_header === ipProtocols.icmpv6) packet.icmpv6 = readIcmpv6(payload, header);
    else readTransport(packet, header.next_header, payload, header);
  }
  return packet;
}

function readTransport(packet: Packet, protocol: number, payload: Reader, carrier: Carrier): void {
  if (protocol === ipProtocols.udp) packet.udp = readUdp(payload, carrier);
  else if (protocol === ipProtocols.tcp) packet.tcp = readTcp(payload, carrier);
}
