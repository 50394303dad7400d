import type { App } from "#app";
import { overlaySettings } from "./model.ts";
import { derive, profileTable, rules, staticFlows } from "./rules.ts";
import { overlay } from "./tables.ts";

export default {
  name: "overlay",
  about: "tunnels between chassis: Geneve, VXLAN, GRE by what two of them share",
  requires: ["l2"],
  settings: overlaySettings,
  tables: [profileTable],
  pipeline: overlay,
  derive,
  rules,
  staticFlows,
} satisfies App;
