// Translation of IPv4 at the edge, in the router's conntrack zone: on the way in before the packet is routed, on the way out after.
import { definePipeline } from "#app";

export const nat = definePipeline({
  registers: {},
  tables: {
    // Where a packet comes from conntrack, others may that conntrack held: fragments in vain, or packets whole beyond what leaves at once.
    nat_in: { stage: "translate", miss: "next", about: "what comes from outside for an address of a router: answers to translated sources, floating addresses", match: ["reg:router", "reg:net", "eth_type", "ipv4_dst"] },
    nat_forward: {
      stage: "translate", aside: true, miss: "drop", about: "what comes for a floating IP whose ports are forwarded, as its connection knows it; new ones by their port", match: ["reg:router", "reg:router_zone", "ct_zone", "ct_state", "eth_type", "ip_frag", "ipv4_dst", "ct_nw_proto", "ct_tp_dst"],
    },
    nat_known: { stage: "translate", aside: true, miss: "drop", about: "what is translated, and tracked in the router's zone, is routed", match: ["reg:router_zone", "ct_zone", "ct_state", "eth_type", "ipv4_dst"] },
    nat_out: {
      stage: "translate_out", after: ["gateway_out", "gateway_here"], miss: "next", about: "what leaves a router by its gateway, on the host that has it: sources of the inside -> the gateway's address",
      match: ["reg:router", "reg:net", "eth_type", "ipv4_src"],
    },
    nat_named: { stage: "translate_out", aside: true, miss: "drop", about: "what leaves has an address that it may have outside, and the MAC of that", match: ["reg:router_zone", "ct_zone", "eth_type", "ipv4_src"] },
  },
});
