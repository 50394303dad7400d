// dhcp's one table. Requests of ports that are not served go on, so that a tenant may run a DHCP server of its own.
import type { PipelineDecl } from "#app";

export const pipeline = {
  tables: {
    dhcp_request: { stage: "services", miss: "next", about: "DHCPv4 requests and router solicitations of served ports: the controller answers" },
  },
} as const satisfies PipelineDecl;
