import type { App } from "#app";
import { derive, profileTable, rules } from "./rules.ts";
import { pipeline } from "./tables.ts";

export default {
  name: "overlay",
  about: "tunnels between chassis: Geneve, VXLAN, GRE by what two of them share",
  requires: ["l2"],
  tables: [profileTable],
  pipeline,
  derive,
  rules,
} satisfies App;
