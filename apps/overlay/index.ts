import type { App } from "#app";
import { aliases, extend } from "./api.ts";
import { overlaySettings, profileTable, tunnelPorts, vniPool } from "./model.ts";
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
} satisfies App;
