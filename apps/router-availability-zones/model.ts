// router-availability-zones' entity: the zones that somebody wishes the gateways of a router in.
import { defineTable, type Row } from "#app";

/** `id` is the router's; without hints there is no row. */
export interface RouterZoneHints extends Row {
  readonly hints: readonly string[];
}
export const routerZoneHintsTable = defineTable<RouterZoneHints>()("router_zone_hints");
