// Says over the API what a routing protocol would have learned.
import { defineResource, reference, type Alias } from "#app";
import { networkTable } from "../../../../apps/l2/model.ts";
import { routerTable } from "../../../../apps/l3/model.ts";
import { wanRouteResource, wanRouteTable, type WanRoute } from "./model.ts";

const route = defineResource(wanRouteResource, {
  collection: "wan_routes",
  about: "A route that was learned.",
  alias: "wan",
  table: wanRouteTable,
  notFound: { type: "WanRouteNotFound", message: (id) => `Route ${id} could not be found.` },
  attributes: {
    router_id: { type: "uuid", about: "Router that has it.", post: true, required: true },
    destination: { type: "cidr", about: "Where it leads.", post: true, required: true, check: { type: "strict-cidr" } },
    via: { type: "uuid", about: "Network of the next hop.", post: true, required: true },
    nexthop: { type: "string", about: "Address of the next hop.", post: true, required: true, check: { type: "ip" } },
    metric: { type: "integer", about: "Less is better.", post: true, put: true, default: 10, check: { range: [0, 65_535] } },
  },
  policy: { create: "rule:admin_only", get: "rule:admin_only", update: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input) {
    const row = { ...standard, ...input } as WanRoute;
    tx.put(wanRouteTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after = { ...row, metric: (changes.metric as number | undefined) ?? row.metric };
    tx.put(wanRouteTable, after);
    return after;
  },
  remove(tx, row): void {
    tx.delete(wanRouteTable, row.id);
  },
});

export const resources = [route];
export const references = [reference(wanRouteTable, { to: routerTable, ids: (r) => r.router_id }), reference(wanRouteTable, { to: networkTable, ids: (r) => r.via })];
export const aliases: readonly Alias[] = [{ alias: "wan", name: "WAN", description: "Routes that were learned", updated: "2026-01-01T00:00:00-00:00" }];
