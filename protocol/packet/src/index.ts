// The public face: nothing else is exported.

export {
  bigIntToIpv6, bigIntToMac, eui64, ipv4ToNumber, ipv6MulticastMac, ipv6ToBigInt, linkLocal, macToBigInt, numberToIpv4,
  solicitedNode,
} from "./address.ts";
export { checksum, pseudoHeaderSum } from "./checksum.ts";
export type { Endpoints } from "./checksum.ts";
export {
  buildDhcp, dhcpMessageType, dhcpMessageTypes, dhcpOps, dhcpPorts, parseDhcp, wantsBroadcast,
} from "./dhcp.ts";
export type { DhcpInput, DhcpMessage } from "./dhcp.ts";
export {
  decodeClasslessRoutes, decodeDhcpAddresses, decodeDhcpOption, dhcpOptionName, dhcpOptions, encodeClasslessRoutes,
  encodeDhcpOption, findDhcpOption,
} from "./dhcp-options.ts";
export type { ClasslessRoute, DhcpOption, DhcpOptionName, DhcpOptionType } from "./dhcp-options.ts";
export { PacketError, PacketValueError } from "./errors.ts";
export type { PacketErrorCode } from "./errors.ts";
export { arpOps, buildArp, buildEthernet, ethertypes, parseArp, parseEthernet } from "./ethernet.ts";
export type { Arp, Ethernet, EthernetHeader } from "./ethernet.ts";
export {
  buildEchoBody, buildIcmpv4, buildIcmpv4Error, buildIcmpv6, buildIcmpv6Error, echoRest, icmpv4Types, icmpv6Types,
  parseIcmpv4, parseIcmpv6,
} from "./icmp.ts";
export type { Icmpv4, Icmpv4Header, Icmpv6, Icmpv6Header } from "./icmp.ts";
export { buildIpv4, buildIpv6, ipProtocols, parseIpv4, parseIpv6 } from "./ip.ts";
export type { Ipv4, Ipv4Header, Ipv6, Ipv6Header } from "./ip.ts";
export {
  buildNeighbourAdvertisement, buildNeighbourSolicitation, buildRouterAdvertisement, buildRouterSolicitation,
  infiniteLifetimeS, parseNeighbourAdvertisement, parseNeighbourSolicitation, parseRouterAdvertisement,
  parseRouterSolicitation,
} from "./neighbour.ts";
export type {
  Dnssl, NeighbourAdvertisement, NeighbourAdvertisementInput, NeighbourOptions, NeighbourSolicitation,
  PrefixInformation, Rdnss, RouterAdvertisement, RouterAdvertisementFields, RouterAdvertisementInput,
  RouterSolicitation,
} from "./neighbour.ts";
export { parsePacket } from "./packet.ts";
export type { Packet } from "./packet.ts";
export { buildUdp, parseTcp, parseUdp, tcpFlags } from "./transport.ts";
export type { Carrier, Tcp, Udp, UdpHeader } from "./transport.ts";
