// Availability zones of routers: their gateways are on hosts of the zones that they were asked for in, as long as there are some; each host routes for its own ports
// whatever its zone.
import { derivation, each, type Alias, type App } from "#app";
import { hinted, zoneHintsTable, zoneOfEach } from "../availability-zones/model.ts";
import { gatewayZonesTable, type GatewayZones } from "../gateway/model.ts";
import { hostsOf } from "../l3-agents/model.ts";
import { routerResource, routerTable } from "../l3/model.ts";

const name = "router-availability-zones";
const alias = "router_availability_zone";
const routerZoneHintsTable = zoneHintsTable("router");

const wish = derivation({
  name: "router-zone-wish",
  on: each(routerZoneHintsTable),
  into: gatewayZonesTable,
  reads: [],
  derive: ({ id, hints }): GatewayZones => ({ id: `${name}/${id}`, router_id: id, zones: hints }),
});

export default {
  name,
  about: "zones of routers, by which hosts for their gateways are chosen",
  requires: ["availability-zones", "gateway", "l3", "l3-agents"],
  partOf: "l3-agents",
  tables: [routerZoneHintsTable],
  ...hinted({
    resource: routerResource,
    table: routerTable,
    hints: routerZoneHintsTable,
    about: { hints: "Zones whose hosts its gateways are on rather than on others.", zones: "Zones of the hosts that route for it." },
    alias,
    hostsOf,
  }),
  aliases: [{ alias, name: "Router Availability Zone", description: "Zones of routers.", updated: "2015-01-01T10:00:00-00:00" }] satisfies readonly Alias[],
  derive: [zoneOfEach(name, "router"), wish],
} satisfies App;
