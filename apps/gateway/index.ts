import type { App } from "#app";
import { announcement } from "./announcement.ts";
import { aliases, extend, references } from "./api.ts";
import { derive } from "./derive.ts";
import { derive as interfacesDerive, rules as interfaces } from "./interfaces.ts";
import { defaultRouteEcmpTable, externalNetworkTable, gatewayAddressTable, gatewayAsideTable, gatewayAskingTable, gatewayGroups, gatewayHostTable, gatewayZonesTable, gatewayMeters, gatewayNeighbourTable, gatewayPeerTable, gatewayPlanTable, gatewayReadyTable, peerPorts, routerGatewayTable } from "./model.ts";
import { outsideNeighbours } from "./neighbours.ts";
import { problems } from "./problems.ts";
import { readiness } from "./readiness.ts";
import { rules } from "./rules.ts";
import { gateway } from "./tables.ts";

export default {
  name: "gateway",
  about: "external networks, and gateways of routers on them: highly available, chosen in the switches by BFD; likewise interfaces of routers on physical networks",
  requires: ["l2", "ipam", "l3", "overlay"],
  tables: [externalNetworkTable, routerGatewayTable, defaultRouteEcmpTable, gatewayHostTable, gatewayZonesTable, gatewayPlanTable, gatewayPeerTable, gatewayReadyTable, gatewayAsideTable, gatewayAskingTable, gatewayNeighbourTable, gatewayAddressTable],
  pools: [peerPorts, gatewayGroups, gatewayMeters],
  extend,
  references,
  aliases,
  pipeline: gateway,
  derive: [...derive, ...interfacesDerive],
  rules: [...rules, ...interfaces],
  services: [readiness, announcement, outsideNeighbours],
  problems,
  observe: { Interface: ["bfd_status"] },
} satisfies App;
