// dhcp's one table. Requests of ports that are not served go on, so that a tenant may run a DHCP server of its own.
import { definePipeline } from "#app";

export const dhcp = definePipeline({
  tables: {
    dhcp_request: {
      stage: "services", miss: "next", about: "DHCPv4 requests and router solicitations of served ports: the controller answers",
      match: ["reg:in_port_key", "eth_type", "ip_proto", "udp_src", "udp_dst", "icmpv6_type"],
    },
  },
  registers: {},
});
