// What may be BFD from a next hop outside comes here from gateway_in, at the host that has the gateway.
import { definePipeline } from "#app";

export const bfd = definePipeline({
  registers: {},
  tables: {
    bfd_in: {
      stage: "forward", aside: true, after: ["gateway_in"], before: ["l3_input"], miss: "next", about: "BFD to a gateway: that of a next hop of its router, sent on the link, to the controller, so much of each; the rest goes on",
      match: ["reg:net", "reg:in_port_key", "eth_dst", "eth_type", "ip_ttl", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst"],
    },
  },
});
