import type { App } from "#app";
import { aliases, converters, extend, references, resources } from "./api.ts";
import { explains } from "./explain.ts";
import { deadNextHopTable, lostNextHopTable, legTable, liveRouterTable, pairSourceTable, routerHopTable, routerInterfaceTable, routerKeys, routerLinkTable, routerTable, routeTable, translationTable, undeliveredMeters, wantedNeighbourTable, outsideMeters, routingDomainTable } from "./model.ts";
import { map } from "./map.ts";
import { l3Punt } from "./packet-in.ts";
import { resolution } from "./resolution.ts";
import { derive as routes } from "./routes.ts";
import { rules, staticFlows, zones } from "./rules.ts";
import { pairSources } from "./sources.ts";
import { l3 } from "./tables.ts";

export default {
  name: "l3",
  about: "routers between a project's networks, routed where the packet enters",
  requires: ["l2", "ipam", "overlay"],
  tables: [routerTable, routerInterfaceTable, routerLinkTable, liveRouterTable, pairSourceTable, legTable, routeTable, routerHopTable, routingDomainTable, translationTable, deadNextHopTable, lostNextHopTable],
  softTables: [wantedNeighbourTable],
  pools: [routerKeys, undeliveredMeters, outsideMeters],
  resources,
  references,
  extend,
  converters,
  aliases,
  pipeline: l3,
  derive: [...routes, ...zones, pairSources],
  rules,
  staticFlows,
  packetIn: { l3_undelivered: l3Punt },
  heard: ["l3_undelivered"],
  services: [resolution],
  explains,
  map,
} satisfies App;
