// l2's tables. From a VM: classify, port_security, then services (ARP, ND) or policy, l2_lookup, locate.
// From a tunnel: classify, l2_lookup, locate.
import { definePipeline } from "#app";
import { PART_BITS } from "./model/copies.ts";

/** So many MACs are learned of one port without port security, and of one chassis in one network. What is beyond is flooded, as what is not heard yet. Of a host in all: l2Settings. */
const MACS_LEARNED = 256;
/** So many neighbours that the model does not list are known of one network, and where their MACs are. */
const NEIGHBOURS_LEARNED = 256;

export const l2 = definePipeline({
  tables: {
    mac_source: {
      stage: "ingress", miss: "next", about: "senders of MACs that the model does not place are learned, those of local ports and those of other chassis",
      match: ["reg:in_port_key", "reg:net", "reg:from_tunnel", "eth_src", "eth_type", "arp_spa", "arp_tpa", "ip_proto", "ip_ttl", "icmpv6_type", "ipv6_nd_target", "tun_ipv4_src", "tun_ipv6_src"],
    },
    announced: {
      stage: "ingress", miss: "drop", aside: true, about: "what ports say of addresses that others may have too, or the model does not list: copies to the controller, metered for each port",
      match: ["reg:in_port_key"],
    },
    port_security: {
      stage: "admission", miss: "drop", about: "only the port's own MAC and addresses may send",
      match: [
        "reg:in_port_key", "reg:secured", "reg:tag_passes", "reg:tag_unseen", "vlan_vid", "eth_src", "eth_dst", "eth_type", "arp_sha", "arp_spa", "arp_tpa", "ipv4_src", "ipv4_dst", "ipv6_src", "ip_proto", "ip_frag", "udp_src", "udp_dst", "tcp_dst",
        "ip_ttl", "ipv6_dst", "icmpv6_type", "icmpv6_code", "ipv6_nd_target", "ipv6_nd_sll", "ipv6_nd_tll",
      ],
    },
    inner_tag: { stage: "admission", miss: "drop", aside: true, about: "a guest's frame without its tag: that is put back, unless one more was behind it", match: ["vlan_vid"] },
    nd_source: {
      stage: "admission", miss: "drop", aside: true, about: "neighbour discovery that is right so far: the source is the port's own too, it is formed as it has to be, and carries no more",
      match: [
        "reg:in_port_key", "reg:secured", "reg:too_long", "eth_src", "eth_type", "ip_proto", "ip_frag", "ipv6_src", "ipv6_dst", "icmpv6_type", "ipv6_nd_target", "nd_options_type",
        "ipv6_nd_sll", "ipv6_nd_tll",
      ],
    },
    arp_nd: {
      stage: "services", miss: "next", about: "ARP requests and neighbour solicitations: look the target up",
      match: ["reg:net", "reg:too_long", "reg:announces", "vlan_vid", "eth_type", "arp_op", "arp_spa", "arp_tpa", "ip_proto", "icmpv6_type", "ipv6_src", "ipv6_nd_target"],
    },
    arp_nd_reply: {
      stage: "services", miss: "drop", aside: true, about: "known target: answer on its behalf; unknown: flood the question",
      match: ["reg:in_port_key", "reg:said", "reg:probes", "eth_dst", "eth_type", "ip_proto", "icmpv6_type", "ipv6_src"],
    },
    nd_advertise: { stage: "services", miss: "drop", aside: true, about: "the rest of a neighbour advertisement", match: ["reg:in_port_key", "eth_type", "ip_proto", "icmpv6_type", "ipv6_src"] },
    l2_lookup: {
      stage: "forward", miss: "sibling", about: "destination MAC -> port and chassis; group addresses -> flood; what is answered for addresses that no port has",
      match: [
        "reg:net", "reg:in_port_key", "reg:from_tunnel", "reg:from_network", "reg:mac_heard", "vlan_vid", "ct_state", "eth_dst", "eth_type", "arp_op", "arp_tpa", "ip_proto", "ip_frag", "icmpv4_type", "icmpv4_code", "ipv4_dst",
        "icmpv6_type", "icmpv6_code", "ipv6_src", "ipv6_dst", "ipv6_nd_target",
      ],
    },
    mac_unknown: { stage: "forward", last: true, miss: "drop", about: "MACs that no table knows, where a port may have such behind it: look up what was learned", match: ["reg:net", "reg:from_tunnel"] },
    mac_learned: { stage: "forward", miss: "drop", aside: true, about: "MACs that were heard -> port and chassis", match: ["reg:net", "reg:from_tunnel", "eth_dst"], learned: { limit: MACS_LEARNED } },
    mac_verdict: { stage: "forward", miss: "drop", aside: true, about: "learned: to where it was heard; else to every port that may have it behind it", match: ["reg:from_tunnel", "reg:out_port_key", "reg:out_host"] },
    neighbour: { stage: "neighbour", miss: "sibling", about: "address in a network -> MAC; what the controller tells of those that the model does not list is learned", match: ["reg:net", "reg:nexthop", "reg:from_network", "eth_type"] },
    neighbour_told: { stage: "neighbour", miss: "drop", aside: true, about: "what the controller tells: learned", match: ["reg:net", "eth_type", "ip_frag"] },
    neighbour_learned: {
      stage: "neighbour", after: ["neighbour"], miss: "sibling", about: "addresses that the model does not list -> MAC", match: ["reg:net", "reg:nexthop", "reg:question"],
      learned: { limit: NEIGHBOURS_LEARNED },
    },
    flood_remote: { stage: "flood", miss: "drop", about: "one copy to each other chassis with a port of the network", match: ["reg:net"] },
    flood_local: { stage: "flood", miss: "drop", aside: true, about: "one copy to each local port of the network", match: ["reg:net"] },
    flood_unknown: { stage: "flood", miss: "drop", aside: true, about: "one copy to each local port that may have a MAC which the model does not place", match: ["reg:net"] },
    flood_parts: { stage: "flood", miss: "drop", aside: true, about: "parts of these lists where they are long: up to 64 copies", match: ["reg:net", "reg:flood_part"] },
    locate: { stage: "locate", miss: "next", about: "local port: its policy and OpenFlow port; else on to the tunnels", match: ["reg:out_port_key", "eth_type"] },
    push_tag: { stage: "egress", miss: "next", about: "the VLAN tag of a port that is reached behind another's OpenFlow port", match: ["reg:in_port_key", "reg:out_port_key", "reg:from_network"] },
  },
  registers: {
    said: { bits: 8, about: "who answers for the address that the neighbour stage found: 0 the network for a host, 1 the network for a router, 2 whoever has it" },
    announces: { bits: 1, about: "ARP of a port that says which address it has" },
    probes: { bits: 1, about: "the packet asks whether somebody has an address, before the sender uses it" },
    too_long: { bits: 1, about: "ARP or neighbour discovery with more in it than these have" },
    flood_part: { bits: PART_BITS, scratch: true, about: "which part of a long list: of hosts, of local ports, of those that may have an unknown MAC" },
    tag_passes: { bits: 1, about: "the sender's network is transparent to tags of guests" },
    tag_unseen: { bits: 1, about: "whether the sender's tag is the only one is not known yet, and it has to be" },
    question: { bits: 1, about: "the packet asks for a neighbour: only what the model lists is answered, the rest answers itself" },
    mac_heard: { bits: 1, about: "the sender's MAC, of a packet from a tunnel, was looked at" },
  },
});
