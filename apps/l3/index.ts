import type { App } from "#app";
import { aliases, extend, resources } from "./api.ts";
import { routerInterfaceTable, routerTable, routeTable } from "./model.ts";
import { l3Punt } from "./packet-in.ts";
import { derive } from "./routes.ts";
import { rules, staticFlows } from "./rules.ts";
import { l3 } from "./tables.ts";

export default {
  name: "l3",
  about: "routers between a project's networks, routed where the packet enters",
  requires: ["l2", "ipam"],
  tables: [routerTable, routerInterfaceTable, routeTable],
  resources,
  extend,
  aliases,
  pipeline: l3,
  derive,
  rules,
  staticFlows,
  packetIn: { l3_expired: l3Punt },
} satisfies App;
