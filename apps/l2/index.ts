import type { App } from "#app";
import { aliases, extend, resources, vif } from "./api.ts";
import { addressTable, attachmentTable, networkTable, portBindingTable, portStatusTable, portTable } from "./model.ts";
import { derive, rules, staticFlows } from "./rules.ts";
import { pipeline } from "./tables.ts";

export default {
  name: "l2",
  about: "networks and ports: delivery by MAC, broadcast to members only, ARP and ND answered at the source, anti-spoofing",
  tables: [networkTable, portTable, portBindingTable, portStatusTable, addressTable, attachmentTable],
  resources,
  extend,
  aliases,
  pipeline,
  derive,
  rules,
  staticFlows,
  vif,
} satisfies App;
