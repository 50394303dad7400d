// dhcp6: ports learn their IPv6 addresses and the rest from the controller, out of the model (RFC 8415), stateful or stateless.
import type { App } from "#app";
import { explains } from "./explain.ts";
import { serverIdentity } from "./identity.ts";
import { dhcp6ServerTable, portPrefixTable } from "./model.ts";
import { extend, problems } from "./options.ts";
import { dhcp6Request, requestCounter } from "./packet-in.ts";
import { rules, staticFlows } from "./rules.ts";
import { dhcp6 } from "./tables.ts";

export default {
  name: "dhcp6",
  about: "answers DHCPv6 requests from the model",
  requires: ["l2", "ipam", "overlay", "dhcp"],
  partOf: "dhcp",
  tables: [dhcp6ServerTable, portPrefixTable],
  extend,
  pipeline: dhcp6,
  rules,
  staticFlows,
  packetIn: { dhcp6_request: dhcp6Request },
  services: [serverIdentity],
  counters: [requestCounter],
  problems,
  explains,
  problemKinds: {
    option_not_sent: { cause: "a port has DHCPv6 options that no server may send, or with values of another type", cure: "correct `extra_dhcp_opts` of the port" },
  },
} satisfies App;
