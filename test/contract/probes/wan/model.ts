// Routes that were learned from elsewhere: one more source of routes for l3 to rank.
import { defineTable, resourceHandle, type StandardRow } from "#app";

export interface WanRoute extends StandardRow {
  readonly router_id: string;
  readonly destination: string;
  /** Network that the next hop is on. */
  readonly via: string;
  readonly nexthop: string;
  readonly metric: number;
}
export const wanRouteResource = resourceHandle<WanRoute>("wan_route");
export const wanRouteTable = defineTable<WanRoute>()("wan_route", { resource: "wan_route" });
