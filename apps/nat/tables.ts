// Translation of IPv4 at the edge, in the router's conntrack zone: on the way in before the packet is routed, on the way out after.
import { definePipeline } from "#app";

export const nat = definePipeline({
  registers: {},
  tables: {
    nat_in: { stage: "translate", miss: "next", about: "what comes from outside for an address of a router: answers to translated sources, floating addresses", match: ["reg:router", "reg:net", "eth_type", "ipv4_dst"] },
    nat_out: {
      stage: "translate_out", after: ["gateway_out", "gateway_here"], miss: "next", about: "what leaves a router by its gateway, on the host that has it: sources of the inside -> the gateway's address",
      match: ["reg:router", "reg:net", "eth_type", "ipv4_src"],
    },
  },
});
