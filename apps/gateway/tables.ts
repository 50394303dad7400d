// Out of the cloud: what a router sends by its gateway passes gateway_out (of several, gateway_choice says which first), which redirects it to the host that has the gateway now; there it
// goes on. Into it: what comes from outside for the gateway's MAC passes gateway_in, on that host alone.
import { definePipeline } from "#app";

export const gateway = definePipeline({
  registers: { by_gateway: { bits: 32, about: "key of the gateway's port for which another host of its router sent the packet here" } },
  tables: {
    gateway_in: {
      stage: "forward", aside: true, before: ["l3_input"], miss: "drop", about: "what comes from outside for a gateway that this host has: questions, answers to our own, pings, and what is routed",
      match: ["reg:net", "eth_dst", "eth_type", "arp_op", "ip_proto", "ip_frag", "ipv4_dst", "ipv6_dst", "icmpv4_type", "icmpv4_code", "icmpv6_type", "icmpv6_code", "udp_dst"],
    },
    gateway_unresolved: { stage: "forward", aside: true, miss: "drop", about: "packets for a next hop outside that nobody is known to have, to the controller", match: ["eth_type"] },
    gateway_bound: { stage: "route", aside: true, miss: "drop", about: "what comes from other hosts for a gateway of a router that has several, or that this host hands over: it leaves by this one, wherever its route would lead here", match: ["reg:net", "eth_dst"] },
    gateway_choice: {
      stage: "translate_out", aside: true, before: ["gateway_out"], miss: "drop", about: "which of several gateways of a router a packet leaves by, where its route does not say: the one for which it was sent here, that of its floating IP or forwarded port",
      match: ["reg:router", "reg:net", "reg:by_gateway", "eth_src", "eth_type", "ipv4_src", "ip_proto", "tcp_src", "udp_src"],
    },
    gateway_answers: {
      stage: "translate_out", aside: true, after: ["gateway_choice"], before: ["gateway_out"], miss: "drop", about: "from an address with floating IPs by several gateways: what answers, as conntrack says, leaves by the one by which it was asked, what opens a connection by the first",
      match: ["reg:router", "reg:router_zone", "ct_zone", "ct_state", "eth_type", "ipv4_src", "ct_nw_dst"],
    },
    gateway_out: { stage: "translate_out", miss: "next", about: "what a router sends by its gateway goes to the host that has it, and on from there", match: ["reg:router", "reg:net", "reg:by_gateway", "eth_src", "eth_type", "ipv4_src"] },
    gateway_here: { stage: "translate_out", aside: true, after: ["gateway_out"], miss: "next", about: "what leaves here since no host that comes before this one lives", match: ["reg:router", "reg:net", "eth_src"] },
    gateway_exit: { stage: "translate_out", last: true, miss: "next", about: "what leaves, translated if it is to be, does so in the gateway's own name: outside it is no router's any more", match: ["reg:net"] },
  },
});
