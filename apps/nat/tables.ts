// Translation of IPv4 at the edge, in the router's conntrack zone: on the way in before the packet is routed, on the way out after.
import { definePipeline } from "#app";

export const nat = definePipeline({
  registers: { asked: { bits: 1, about: "another host of the gateway passed it here, since it knows no connection of it" } },
  tables: {
    // Where a packet comes from conntrack, others may that conntrack held: fragments in vain, or packets whole beyond what leaves at once.
    nat_in: { stage: "translate", miss: "next", about: "what comes from outside for an address of a router: answers to translated sources, floating addresses", match: ["reg:router", "reg:net", "ct_state", "eth_type", "ip_frag", "ip_proto", "ipv4_dst", "tcp_dst", "udp_dst"] },
    nat_asked: { stage: "translate", aside: true, before: ["nat_known"], miss: "drop", about: "what came from outside to another host of a gateway that is handed over, and is of no connection there", match: ["reg:router", "reg:router_zone", "eth_type"] },
    nat_known: {
      stage: "translate", aside: true, miss: "drop", about: "as its connection has it, it is routed; what opens one by a floating IP, or a port of it that is forwarded, is translated and remembered, so much for each router",
      match: ["reg:router", "reg:router_zone", "reg:asked", "ct_zone", "ct_state", "eth_type", "ip_frag", "ip_proto", "icmpv4_type", "ipv4_dst", "ct_nw_proto", "ct_tp_dst", "tcp_dst", "tcp_flags", "udp_dst"],
    },
    nat_opened: { stage: "translate", aside: true, miss: "drop", about: "what has opened a connection is routed, if it was translated", match: ["reg:router_zone", "ct_zone", "ct_state", "eth_type", "ipv4_dst"] },
    nat_out: {
      stage: "translate_out", after: ["gateway_out", "gateway_here"], miss: "next", about: "what leaves a router by its gateway, on the host that has it: sources of the inside -> the gateway's address",
      match: ["reg:router", "reg:net", "ct_state", "eth_src", "eth_type", "ip_frag", "ip_proto", "ipv4_src", "ipv4_dst", "tcp_dst", "udp_dst"],
    },
    nat_leaving: {
      stage: "translate_out", aside: true, miss: "drop", about: "as its connection has it, it leaves; what opens one is translated and remembered, so much for each router", match: ["reg:router_zone", "reg:net", "ct_zone", "ct_state", "eth_src", "eth_type", "ip_frag", "ip_proto", "icmpv4_type", "ipv4_src", "tcp_src", "tcp_flags", "tcp_dst", "udp_dst"],
    },
    nat_named: { stage: "translate_out", aside: true, miss: "drop", about: "what has opened a connection leaves, if it has an address that it may have outside, and with the MAC of that", match: ["reg:router_zone", "reg:net", "ct_zone", "eth_type", "ipv4_src"] },
  },
});
