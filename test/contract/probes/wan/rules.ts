// No rule and no table of the pipeline: rows for l3 to rank.
import { derivation, each } from "#app";
import { routeTable, type Route } from "../../../../apps/l3/model.ts";
import { wanRouteTable } from "./model.ts";

export const derive = [
  derivation({
    name: "wan-route",
    on: each(wanRouteTable),
    into: routeTable,
    reads: [],
    derive: ({ id, router_id, destination, via, nexthop, metric }): Route => ({ id: `wan/${id}`, router_id, destination, via, nexthop, source: "wan", metric }),
  }),
];
