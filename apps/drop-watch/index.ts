// What switches drop of packets of ports is told.
import type { App } from "#app";
import { dropTable } from "./model.ts";
import { problems } from "./problems.ts";
import { gauges, opsLists } from "./shown.ts";
import { dropWatch } from "./watch.ts";

export default {
  name: "drop-watch",
  about: "which ports lose packets, and why: counted by port and reason",
  requires: ["l2"],
  softTables: [dropTable],
  services: [dropWatch],
  problems,
  problemKinds: {
    egress_denied: { cause: "what a port sends is dropped all the time because no egress rule of its security groups allows it", cure: "a rule, if it is to pass: `axion trace` names the smallest one; else mend what its machine sends" },
    ingress_denied: { cause: "what others send to a port itself is dropped all the time because no ingress rule of its security groups allows it; that may be just what the groups are for", cure: "nothing if it is unwanted; else a rule: `axion trace` names the smallest one" },
    unknown_vlan_dropped: { cause: "the machine of a trunk's parent sends all the time with a VLAN tag that is no sub-port's", cure: "look with which tag; if it is to be one, put a port with it into the trunk" },
    spoofing_dropped: { cause: "a port sends all the time from MAC or IP addresses that are not its own, or frames that are neither IP nor ARP: port security drops them", cure: "look what its machine sends; if it is to send so, allow the address as an address pair of the port" },
  },
  opsLists,
  gauges,
} satisfies App;
