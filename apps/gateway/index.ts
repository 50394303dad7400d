import { answer, type App } from "#app";
import { outsideFor } from "../l3/model.ts";
import { announcement } from "./announcement.ts";
import { aliases, extend, references } from "./api.ts";
import { derive } from "./derive.ts";
import { derive as interfacesDerive, rules as interfaces } from "./interfaces.ts";
import { defaultRouteEcmpTable, externalNetworkTable, gatewayAddressTable, gatewayAsideTable, gatewayAskingTable, gatewayGroups, gatewayHostTable, gatewayLimitTable, gatewayZonesTable, gatewayMeters, gatewayNeighbourTable, gatewayPassageTable, gatewayPeerTable, gatewayPlanTable, gatewayReadyTable, peerPorts, routerGatewayTable } from "./model.ts";
import { explains } from "./explain/index.ts";
import { outsideNeighbours } from "./neighbours.ts";
import { problems } from "./problems.ts";
import { readiness } from "./readiness.ts";
import { rules } from "./rules.ts";
import { gateway } from "./tables.ts";

export default {
  name: "gateway",
  about: "external networks, and gateways of routers on them: highly available, chosen in the switches by BFD; likewise interfaces of routers on physical networks",
  requires: ["l2", "ipam", "l3", "overlay"],
  tables: [externalNetworkTable, routerGatewayTable, defaultRouteEcmpTable, gatewayHostTable, gatewayZonesTable, gatewayPlanTable, gatewayPeerTable, gatewayReadyTable, gatewayAsideTable, gatewayAskingTable, gatewayNeighbourTable, gatewayAddressTable, gatewayPassageTable, gatewayLimitTable],
  pools: [peerPorts, gatewayGroups, gatewayMeters],
  extend,
  references,
  answers: [answer(outsideFor, (view, router) => (view.count(routerGatewayTable, "router", router) > 0 ? [] : view.by(externalNetworkTable, "open", "").map(({ id }) => id)))],
  aliases,
  pipeline: gateway,
  derive: [...derive, ...interfacesDerive],
  rules: [...rules, ...interfaces],
  services: [readiness, announcement, outsideNeighbours],
  problems,
  explains,
  map: {
    external: (view, network) => view.get(externalNetworkTable, network) !== undefined,
    links: (view, router) => view.by(routerGatewayTable, "router", router).map(({ id, network_id }) => ({ network: network_id, port: id, kind: "gateway" })),
    routersOn: (view, network) => view.by(routerGatewayTable, "network", network).map(({ router_id }) => router_id),
  },
  heard: ["gateway_unresolved"],
  problemKinds: {
    no_host: { cause: "no host can be the gateway of a router, or answer for its interface", cure: "set `external_ids:axion-gateway=true`, and `axion-bridge-mappings`, on hosts that lead outside" },
    not_ready: { cause: "no host of a gateway is connected with all its flows, and not drained", cure: "look at these hosts in `axion switches`" },
    untranslated: { cause: "a router is to translate sources, and the app `nat` is left out", cure: "set `enable_snat` to false where outside knows the way back" },
    dead_next_hop: { cause: "a next hop of several does not answer", cure: "look whether it is up, and answers ARP or neighbour solicitations" },
  },
  observe: { Interface: ["bfd_status"] },
} satisfies App;
