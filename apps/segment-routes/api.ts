// host_routes of subnets, with what follows from segments.
import { extendResource, type Alias } from "#app";
import { subnetResource, subnetTable, type HostRoute } from "../ipam/model.ts";
import { peerRoutes } from "./peers.ts";

const ofSubnet = extendResource(subnetResource, {
  // Who writes back what he was shown makes none of it his own.
  update(tx, { id }, changes) {
    const row = tx.get(subnetTable, id);
    if (changes.host_routes === undefined || row === undefined) return;
    const follow = peerRoutes(tx, { ...row, host_routes: [] });
    const own = row.host_routes.filter((r) => !follow.some((f) => f.destination === r.destination && f.nexthop === r.nexthop));
    if (own.length < row.host_routes.length) tx.put(subnetTable, { ...row, host_routes: own });
  },
  instead: { host_routes: (view, row): readonly HostRoute[] => [...row.host_routes, ...peerRoutes(view, row)] },
});

export const extend = [ofSubnet];
export const aliases: readonly Alias[] = [
  { alias: "segments-peer-subnet-host-routes", name: "Segments peer-subnet host routes", description: "Subnets on segments have routes to those on other segments of their network.", updated: "2018-06-12T10:00:00-00:00" },
];
