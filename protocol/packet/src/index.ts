// The public face: nothing else is exported.

export {
  bigIntToIpv6, bigIntToMac, eui64, ipv4ToNumber, ipv6MulticastMac, ipv6ToBigInt, linkLocal, macToBigInt, numberToIpv4,
  solicitedNode,
} from "./address.ts";
export { buildGratuitousArp, buildUnsolicitedNeighbourAdvertisement } from "./announce.ts";
export type { GratuitousArpInput, UnsolicitedNeighbourAdvertisementInput } from "./announce.ts";
export { arpOps, buildArp, parseArp } from "./arp.ts";
export type { Arp } from "./arp.ts";
export { bfdDiagnostics, bfdPorts, bfdStates, buildBfd, parseBfd } from "./bfd.ts";
export type { BfdAuthentication, BfdControl } from "./bfd.ts";
export { checksum, pseudoHeaderSum } from "./checksum.ts";
export type { Endpoints } from "./checksum.ts";
export {
  buildDhcp, dhcpMessageType, dhcpMessageTypes, dhcpOps, dhcpPorts, parseDhcp, wantsBroadcast,
} from "./dhcp.ts";
export type { DhcpInput, DhcpMessage } from "./dhcp.ts";
export { decodeDhcpValue, dhcpOptionName, dhcpOptions, dhcpOptionType, encodeDhcpValue, findDhcpOption } from "./dhcp-option-table.ts";
export type { DhcpClientFqdn, DhcpClientId, DhcpOption, DhcpOptionName, DhcpOptionType, DhcpValues } from "./dhcp-option-table.ts";
export { decodeDhcpAddresses, decodeDhcpOption, encodeDhcpOption } from "./dhcp-options.ts";
export { decodeClasslessRoutes, encodeClasslessRoutes } from "./dhcp-routes.ts";
export type { ClasslessRoute } from "./dhcp-routes.ts";
export {
  buildDhcp6, dhcp6Groups, dhcp6MessageTypes, dhcp6OptionName, dhcp6Ports, dhcp6StatusCodes, dhcp6Value, parseDhcp6,
} from "./dhcp6.ts";
export type {
  Dhcp4o6Message, Dhcp6ClientMessage, Dhcp6Message, Dhcp6Nested, Dhcp6Option, Dhcp6OptionName, Dhcp6RelayMessage, Dhcp6Value,
} from "./dhcp6.ts";
export { buildDns, dnsClasses, dnsOpcodes, dnsPort, dnsRcodes, parseDns } from "./dns.ts";
export type { DnsInput, DnsMessage, DnsQuestion } from "./dns.ts";
export { dnsTypes, ednsFlags } from "./dns-records.ts";
export type { DnsData, DnsOptRecord, DnsOtherRecord, DnsRecord, DnsTypedName, DnsTypedRecord, DnsTypeName } from "./dns-records.ts";
export { buildDuid, parseDuid } from "./duid.ts";
export type { Duid } from "./duid.ts";
export { PacketError, PacketValueError } from "./errors.ts";
export type { PacketErrorCode } from "./errors.ts";
export { buildEthernet, ethertypes, parseEthernet } from "./ethernet.ts";
export type { Ethernet, EthernetHeader, VlanTag } from "./ethernet.ts";
export type { IcmpExtensionObject, IcmpQuote } from "./icmp-error.ts";
export {
  buildIcmpv4, buildIcmpv4Body, buildIcmpv4Error, echoRest, icmpv4Types, parseIcmpv4, parseIcmpv4Body,
} from "./icmpv4.ts";
export type { Icmpv4, Icmpv4Body, Icmpv4Header } from "./icmpv4.ts";
export { buildEchoBody, buildIcmpv6, buildIcmpv6Error, icmpv6Types, parseIcmpv6 } from "./icmpv6.ts";
export type { Icmpv6, Icmpv6Header } from "./icmpv6.ts";
export { buildIcmpv6Body, parseIcmpv6Body } from "./icmpv6-body.ts";
export type { Icmpv6Body } from "./icmpv6-body.ts";
export { buildIgmp, igmpTypes, parseIgmp } from "./igmp.ts";
export type { Igmp, IgmpMessage, IgmpQuery } from "./igmp.ts";
export { ipProtocols } from "./ip.ts";
export { buildIpv4, buildIpv4Options, parseIpv4, parseIpv4Options } from "./ipv4.ts";
export type { Ipv4, Ipv4Header, Ipv4Option } from "./ipv4.ts";
export { buildIpv6, parseIpv6 } from "./ipv6.ts";
export type { Ipv6, Ipv6Header } from "./ipv6.ts";
export { extensionTypes, parseSegments } from "./ipv6-extensions.ts";
export type {
  Ipv6AuthenticationHeader, Ipv6Extension, Ipv6FragmentHeader, Ipv6Option, Ipv6OptionsHeader, Ipv6OtherHeader, Ipv6RoutingHeader,
} from "./ipv6-extensions.ts";
export type { MldQuery } from "./mld.ts";
export { expandTimeCode, groupRecordTypes, timeCode } from "./multicast.ts";
export type { GroupRecord } from "./multicast.ts";
export type {
  Dnssl, NdOption, Pref64, PrefixInformation, RouteInformation, RouterPreference,
} from "./nd-options.ts";
export {
  buildNeighbourAdvertisement, buildNeighbourSolicitation, buildRedirect, buildRouterAdvertisement, buildRouterSolicitation,
  infiniteLifetimeS, parseNeighbourAdvertisement, parseNeighbourSolicitation, parseRedirect, parseRouterAdvertisement,
  parseRouterSolicitation,
} from "./neighbour.ts";
export type {
  NeighbourAdvertisement, NeighbourAdvertisementInput, NeighbourOptions, NeighbourSolicitation, NeighbourSolicitationInput, Rdnss,
  Redirect, RedirectInput, RouterAdvertisement, RouterAdvertisementFields, RouterAdvertisementInput, RouterSolicitation,
} from "./neighbour.ts";
export { parsePacket } from "./packet.ts";
export type { Packet } from "./packet.ts";
export { buildTcp, buildTcpOptions, parseTcp, parseTcpOptions, tcpFlags } from "./tcp.ts";
export type { Tcp, TcpHeader, TcpOption } from "./tcp.ts";
export type { Carrier } from "./transport.ts";
export { buildUdp, parseUdp } from "./udp.ts";
export type { Udp, UdpHeader } from "./udp.ts";
