// Routing, done where the packet enters: l3_input takes what is addressed to a router's MAC, l3_route chooses the next
// network and hop, the neighbour stage finds the MAC, and the packet goes on as if sent in that network.
import { definePipeline } from "#app";

export const l3 = definePipeline({
  tables: {
    l3_input: { stage: "forward", miss: "sibling", about: "packets for the MAC of a router interface; whether their source is of that link", match: ["reg:net", "reg:from_tunnel", "reg:in_port_key", "eth_dst", "eth_type", "ipv4_src", "ipv6_src"] },
    router_zone: { stage: "translate", miss: "next", about: "a router that translates has a conntrack zone on each chassis", match: ["reg:router"] },
    l3_route: {
      stage: "route", miss: "drop", about: "longest prefix -> next network and hop; pings of the router itself; what is not routed, as from a source that is on another of its links",
      match: ["reg:router", "reg:off_link", "reg:domain4", "reg:domain6", "reg:translated", "ct_state", "eth_type", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst", "ip_proto", "ip_frag", "ip_ttl", "icmpv4_type", "icmpv4_code", "icmpv6_type", "icmpv6_code"],
    },
    l3_paths: {
      stage: "route", miss: "drop", aside: true, about: "a prefix with several equal routes: the one that the hash of the connection chose",
      match: ["reg:router", "reg:path", "eth_type", "ipv4_dst", "ipv6_dst"],
    },
    l3_fits: {
      stage: "route", miss: "drop", aside: true, about: "routes into a network with a lesser MTU than another of the router's: what does not fit goes to the controller, the rest goes on",
      match: ["reg:router", "reg:path", "reg:too_big", "eth_type", "ipv4_dst", "ipv6_dst"],
    },
    l3_undelivered: {
      stage: "route", miss: "drop", aside: true, about: "what a router cannot deliver, metered for each sending port, to the controller: for a neighbour that has to be asked for, or an ICMP error",
      match: ["reg:in_port_key", "reg:undelivered", "ct_state"],
    },
    l3_resolve: { stage: "resolve", miss: "drop", about: "routed packets that were handed on: to the next hop as others go", match: ["eth_type"] },
  },
  registers: {
    undelivered: { bits: 8, about: "why a router cannot deliver a packet: see apps/l3/model.ts" },
    off_link: { bits: 8, about: "0: the source is of the network by which the packet came to the router; 1: it is not; 2: it is, and of another network as well, where the router is a guest" },
    domain4: { bits: 8, about: "of which routing domain of its router an IPv4 packet is, where there are several; 0: another host has judged it" },
    domain6: { bits: 8, about: "likewise of IPv6" },
    path: { bits: 8, about: "which of several equal routes" },
    too_big: { bits: 1, about: "the packet is larger than what its route carries" },
    next_mtu: { bits: 16, about: "the largest packet that its route carries, where that was looked at" },
  },
});
