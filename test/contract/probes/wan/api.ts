// Says over the API what a routing protocol would have learned.
import { integer, ip, strictCidr, uuid, type Alias, type Resource, type StandardRow, type Tx, type Values } from "#app";
import { wanRouteTable, type WanRoute } from "./model.ts";

const route: Resource<WanRoute> = {
  name: "wan_route",
  collection: "wan_routes",
  about: "A route that was learned.",
  alias: "wan",
  table: wanRouteTable,
  notFound: { type: "WanRouteNotFound", message: (id) => `Route ${id} could not be found.` },
  attributes: {
    router_id: { type: "uuid", about: "Router that has it.", post: true, required: true, check: uuid },
    destination: { type: "cidr", about: "Where it leads.", post: true, required: true, check: strictCidr },
    via: { type: "uuid", about: "Network of the next hop.", post: true, required: true, check: uuid },
    nexthop: { type: "string", about: "Address of the next hop.", post: true, required: true, check: ip },
    metric: { type: "integer", about: "Less is better.", post: true, put: true, default: 10, check: integer(0, 65_535) },
  },
  policy: { create: "admin", get: "admin", update: "admin", delete: "admin" },
  create(tx: Tx, standard: StandardRow, input: Values): WanRoute {
    const row = { ...standard, ...input } as WanRoute;
    tx.put(wanRouteTable, row);
    return row;
  },
  update(tx, row, changes): WanRoute {
    const after = { ...row, metric: (changes.metric as number | undefined) ?? row.metric };
    tx.put(wanRouteTable, after);
    return after;
  },
  remove(tx, row): void {
    tx.delete(wanRouteTable, row.id);
  },
};

export const resources = [route] as unknown as readonly Resource<never>[];
export const aliases: readonly Alias[] = [{ alias: "wan", name: "WAN", description: "Routes that were learned", updated: "2026-01-01T00:00:00-00:00" }];
