// Availability zones of routers: their gateways are on hosts of the zones that they were asked for in, as long as there are some; each host routes for its own ports
// whatever its zone.
import { chassisTable, derivation, each, extendResource, reference, zoneOf, type Alias, type App } from "#app";
import { checkHints, ZONE_HINTS, zonedHostTable, zonesOf, type ZonedHost } from "../availability-zones/model.ts";
import { gatewayZonesTable, type GatewayZones } from "../gateway/model.ts";
import { hostsOf } from "../l3-agents/model.ts";
import { routerResource, routerTable } from "../l3/model.ts";
import { routerZoneHintsTable } from "./model.ts";

const alias = "router_availability_zone";

const ofRouter = extendResource(routerResource, {
  attributes: {
    availability_zone_hints: { type: "string[]", about: "Zones whose hosts its gateways are on rather than on others.", post: true, default: [], check: ZONE_HINTS, alias },
    availability_zones: { type: "string[]", about: "Zones of the hosts that route for it.", alias },
  },
  create(tx, row, input) {
    const hints = (input.availability_zone_hints as readonly string[] | undefined) ?? [];
    checkHints(tx, hints);
    if (hints.length > 0) tx.put(routerZoneHintsTable, { id: row.id, hints });
  },
  remove: (tx, row) => tx.delete(routerZoneHintsTable, row.id),
  present: (view, row) => ({ availability_zone_hints: view.get(routerZoneHintsTable, row.id)?.hints ?? [], availability_zones: zonesOf(view, hostsOf(view, row.id)) }),
});

const derive = [
  derivation({
    name: "router-zone",
    on: each(chassisTable),
    into: zonedHostTable,
    reads: [],
    derive: (chassis): ZonedHost => ({ id: `router-availability-zones/${chassis.id}`, resource: "router", zone: zoneOf(chassis), chassis: chassis.id }),
  }),
  derivation({
    name: "router-zone-wish",
    on: each(routerZoneHintsTable),
    into: gatewayZonesTable,
    reads: [],
    derive: ({ id, hints }): GatewayZones => ({ id: `router-availability-zones/${id}`, router_id: id, zones: hints }),
  }),
];

export default {
  name: "router-availability-zones",
  about: "zones of routers, by which hosts for their gateways are chosen",
  requires: ["availability-zones", "gateway", "l3", "l3-agents"],
  partOf: "l3-agents",
  tables: [routerZoneHintsTable],
  extend: [ofRouter],
  references: [reference(routerZoneHintsTable, { to: routerTable, ids: (h) => h.id, gone: (tx, h) => tx.delete(routerZoneHintsTable, h.id) })],
  aliases: [{ alias, name: "Router Availability Zone", description: "Zones of routers.", updated: "2015-01-01T10:00:00-00:00" }] satisfies readonly Alias[],
  derive,
} satisfies App;
