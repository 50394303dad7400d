// dhcp6's one table: what port security hands over. Requests of ports that are not served go on, so that a tenant may run a DHCPv6 server of its own.
import { definePipeline } from "#app";

export const dhcp6 = definePipeline({
  tables: {
    dhcp6_request: { stage: "services", miss: "drop", aside: true, about: "DHCPv6 requests of served ports: the controller answers", match: ["reg:in_port_key"] },
  },
  registers: {},
});
