// The public face: nothing else is exported.

export {
  bigIntToIpv6, bigIntToMac, eui64, ipv4ToNumber, ipv6MulticastMac, ipv6ToBigInt, linkLocal, macToBigInt, numberToIpv4,
  solicitedNode,
} from "./wire/address.ts";
export { buildGratuitousArp, buildUnsolicitedNeighbourAdvertisement } from "./frame/announce.ts";
export type { GratuitousArpInput, UnsolicitedNeighbourAdvertisementInput } from "./frame/announce.ts";
export { arpOps, buildArp, parseArp } from "./ethernet/arp.ts";
export type { Arp } from "./ethernet/arp.ts";
export { bfdDiagnostics, bfdPorts, bfdStates, buildBfd, parseBfd } from "./routing/bfd.ts";
export type { BfdAuthentication, BfdControl } from "./routing/bfd.ts";
export { checksum, pseudoHeaderSum } from "./wire/checksum.ts";
export type { Endpoints } from "./wire/checksum.ts";
export {
  buildDhcp, dhcpMessageType, dhcpMessageTypes, dhcpOps, dhcpOverloadSizes, dhcpPorts, parseDhcp, wantsBroadcast,
} from "./dhcp/dhcp.ts";
export type { DhcpInput, DhcpMessage } from "./dhcp/dhcp.ts";
export { decodeDhcpValue, dhcpOptionName, dhcpOptions, dhcpOptionType, encodeDhcpValue, findDhcpOption } from "./dhcp/option-table.ts";
export type { DhcpClientFqdn, DhcpClientId, DhcpOption, DhcpOptionName, DhcpOptionType, DhcpValues } from "./dhcp/option-table.ts";
export { decodeDhcpAddresses, decodeDhcpOption, encodeDhcpOption } from "./dhcp/options.ts";
export { decodeClasslessRoutes, encodeClasslessRoutes } from "./dhcp/routes.ts";
export type { ClasslessRoute } from "./dhcp/routes.ts";
export {
  buildDhcp6, dhcp6Groups, dhcp6MessageTypes, dhcp6OptionName, dhcp6Ports, dhcp6StatusCodes, dhcp6Value, parseDhcp6,
} from "./dhcp/dhcp6.ts";
export type {
  Dhcp4o6Message, Dhcp6ClientMessage, Dhcp6Message, Dhcp6Nested, Dhcp6Option, Dhcp6OptionName, Dhcp6RelayMessage, Dhcp6Value,
} from "./dhcp/dhcp6.ts";
export { encodeDhcp6Option, findDhcp6Option } from "./dhcp/options6.ts";
export { buildDns, dnsClasses, dnsOpcodes, dnsPort, dnsRcodes, parseDns } from "./dns/dns.ts";
export type { DnsInput, DnsMessage, DnsQuestion } from "./dns/dns.ts";
export { dnsTypes, ednsFlags } from "./dns/records.ts";
export type { DnsData, DnsOptRecord, DnsOtherRecord, DnsRecord, DnsTypedName, DnsTypedRecord, DnsTypeName } from "./dns/records.ts";
export { buildDuid, parseDuid } from "./dhcp/duid.ts";
export type { Duid } from "./dhcp/duid.ts";
export { PacketError, PacketValueError } from "./wire/errors.ts";
export type { PacketErrorCode } from "./wire/errors.ts";
export { buildEthernet, ethertypes, parseEthernet } from "./ethernet/ethernet.ts";
export type { Ethernet, EthernetHeader, VlanTag } from "./ethernet/ethernet.ts";
export type { IcmpExtensionObject, IcmpQuote } from "./icmp/error.ts";
export {
  buildIcmpv4, buildIcmpv4Body, buildIcmpv4Error, echoRest, icmpv4Types, parseIcmpv4, parseIcmpv4Body,
} from "./icmp/icmpv4.ts";
export type { Icmpv4, Icmpv4Body, Icmpv4Header } from "./icmp/icmpv4.ts";
export { buildEchoBody, buildIcmpv6, buildIcmpv6Error, icmpv6Types, parseIcmpv6 } from "./icmp/icmpv6.ts";
export type { Icmpv6, Icmpv6Header } from "./icmp/icmpv6.ts";
export { buildIcmpv6Body, parseIcmpv6Body } from "./icmp/icmpv6-body.ts";
export type { Icmpv6Body } from "./icmp/icmpv6-body.ts";
export { buildIgmp, igmpTypes, parseIgmp } from "./routing/igmp.ts";
export type { Igmp, IgmpMessage, IgmpQuery } from "./routing/igmp.ts";
export { ipProtocols } from "./ip/ip.ts";
export { buildIpv4, buildIpv4Options, parseIpv4, parseIpv4Options } from "./ip/ipv4.ts";
export type { Ipv4, Ipv4Header, Ipv4Option } from "./ip/ipv4.ts";
export { buildIpv6, parseIpv6 } from "./ip/ipv6.ts";
export type { Ipv6, Ipv6Header } from "./ip/ipv6.ts";
export { extensionTypes, parseSegments } from "./ip/ipv6-extensions.ts";
export type {
  Ipv6AuthenticationHeader, Ipv6Extension, Ipv6FragmentHeader, Ipv6Option, Ipv6OptionsHeader, Ipv6OtherHeader, Ipv6RoutingHeader,
} from "./ip/ipv6-extensions.ts";
export type { MldQuery } from "./routing/mld.ts";
export { expandTimeCode, groupRecordTypes, timeCode } from "./routing/multicast.ts";
export type { GroupRecord } from "./routing/multicast.ts";
export type {
  Dnssl, NdOption, Pref64, PrefixInformation, RouteInformation, RouterPreference,
} from "./routing/nd-options.ts";
export {
  buildNeighbourAdvertisement, buildNeighbourSolicitation, buildRedirect, buildRouterAdvertisement, buildRouterSolicitation,
  infiniteLifetimeS, parseNeighbourAdvertisement, parseNeighbourSolicitation, parseRedirect, parseRouterAdvertisement,
  parseRouterSolicitation,
} from "./routing/neighbour.ts";
export type {
  NeighbourAdvertisement, NeighbourAdvertisementInput, NeighbourOptions, NeighbourSolicitation, NeighbourSolicitationInput, Rdnss,
  Redirect, RedirectInput, RouterAdvertisement, RouterAdvertisementFields, RouterAdvertisementInput, RouterSolicitation,
} from "./routing/neighbour.ts";
export { parsePacket } from "./frame/packet.ts";
export type { Packet } from "./frame/packet.ts";
export { buildTcp, buildTcpOptions, parseTcp, parseTcpOptions, tcpFlags } from "./transport/tcp.ts";
export type { Tcp, TcpHeader, TcpOption } from "./transport/tcp.ts";
export type { Carrier } from "./transport/transport.ts";
export { buildUdp, parseUdp } from "./transport/udp.ts";
export type { Udp, UdpHeader } from "./transport/udp.ts";
