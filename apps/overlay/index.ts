import type { App } from "#app";
import { aliases, extend } from "./api.ts";
import { explains } from "./explain.ts";
import { overlaySettings, profileTable, tunnelPorts, vniPool } from "./model.ts";
import { problems } from "./problems.ts";
import { derive, rules, staticFlows } from "./rules.ts";
import { overlay } from "./tables.ts";

export default {
  name: "overlay",
  about: "tunnels between chassis: Geneve, VXLAN, GRE by what two of them share; the space of VNIs",
  requires: ["l2"],
  settings: overlaySettings,
  tables: [profileTable],
  pools: [vniPool, tunnelPorts],
  extend,
  aliases,
  pipeline: overlay,
  derive,
  rules,
  staticFlows,
  problems,
  problemKinds: {
    endpoint_taken: { cause: "two hosts name the same address for the end of their tunnels", cure: "give each its own `external_ids:axion-encap-ip`; forget hosts that are gone (`DELETE /switches/ID`)" },
    no_shared_encapsulation: { cause: "hosts have no encapsulation, or no family of addresses, in common", cure: "name an encapsulation that all have in `axion-encap-type`, and addresses of one family in `axion-encap-ip`" },
  },
  explains,
} satisfies App;
