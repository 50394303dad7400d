// dhcp's tables. What is asked by ports that are not served goes on, so that a tenant may run a DHCP server of its own.
import { definePipeline } from "#app";

export const dhcp = definePipeline({
  tables: {
    dhcp_server: {
      stage: "services", miss: "next", about: "what clients and relay agents send to the network's DHCP server, and router solicitations",
      match: ["reg:net", "eth_type", "ip_proto", "udp_src", "udp_dst", "icmpv6_type", "ipv4_dst"],
    },
    dhcp_request: {
      stage: "services", aside: true, after: ["dhcp_server"], miss: "next", about: "those of served ports, metered for each: the controller answers", match: ["reg:in_port_key", "eth_type"],
    },
  },
  registers: {},
});
