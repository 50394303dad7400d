// What a switch matches of ARP and of neighbour discovery, RFC 4861 section 4.
import { ethType, ipProto } from "#app";

export const arp = { eth_type: ethType.arp } as const;

export const icmpv6 = { eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6 } as const;
export const ND = { routerSolicitation: 133, routerAdvertisement: 134, neighbourSolicitation: 135, neighbourAdvertisement: 136, redirect: 137 } as const;
export const solicitation = { ...icmpv6, icmpv6_type: ND.neighbourSolicitation } as const;
export const advertisement = { ...icmpv6, icmpv6_type: ND.neighbourAdvertisement } as const;

/** Neighbour discovery is valid from the link alone: what a router may have handed on says nothing of who is here. RFC 4861 sections 6.1 and 7.1 */
export const fromLink = { ip_ttl: 255 } as const;
