// A frame from the outside in: each header that is understood becomes a field, the rest stays payload. Application
// protocols (DHCP, neighbour discovery) are left to whoever wants them, so a bad one cannot hide the headers.

import { ethertypes, readArp, readEthernet } from "./ethernet.ts";
import type { Arp, Ethernet } from "./ethernet.ts";
import { readIcmpv4, readIcmpv6 } from "./icmp.ts";
import type { Icmpv4, Icmpv6 } from "./icmp.ts";
import { ipProtocols, readIpv4, readIpv6 } from "./ip.ts";
import type { Ipv4, Ipv6 } from "./ip.ts";
import { Reader } from "./reader.ts";
import { readTcp, readUdp } from "./transport.ts";
import type { Carrier, Tcp, Udp } from "./transport.ts";

export interface Packet {
  eth: Ethernet;
  arp?: Arp;
  ipv4?: Ipv4;
  ipv6?: Ipv6;
  icmpv4?: Icmpv4;
  icmpv6?: Icmpv6;
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
    else readTransport(packet, header.protocol, payload, header);
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
