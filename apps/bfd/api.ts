// The switch of routers, extension enable-default-route-bfd.
import { extendResource, orNull, reference, type Alias, type Tx } from "#app";
import { routerGatewayTable } from "../gateway/model.ts";
import { portResource } from "../l2/model.ts";
import { routerResource, routerTable } from "../l3/model.ts";
import { bfdPeerTable, bfdRouterTable } from "./model.ts";

const ADMIN = "rule:admin_only";

function set(tx: Tx, routerId: string, wanted: unknown): void {
  if (wanted === true) tx.put(bfdRouterTable, { id: routerId });
  else tx.delete(bfdRouterTable, routerId);
}

const forget = (tx: Tx, gatewayId: string): void => {
  for (const { id } of tx.by(bfdPeerTable, "gateway", gatewayId)) tx.delete(bfdPeerTable, id);
};

const ofRouter = extendResource(routerResource, {
  attributes: {
    enable_default_route_bfd: {
      type: "boolean", about: "Whether it speaks BFD with its next hops on external networks: routes by one that was up, and is not any more, are used where there is no other.",
      post: true, put: true, default: null, check: orNull({ type: "boolean" }), alias: "enable-default-route-bfd", policy: { create: ADMIN, update: ADMIN },
    },
  },
  create: (tx, row, input) => set(tx, row.id, input.enable_default_route_bfd),
  update(tx, row, changes) {
    if (changes.enable_default_route_bfd !== undefined) set(tx, row.id, changes.enable_default_route_bfd);
  },
  remove: (tx, row) => tx.delete(bfdRouterTable, row.id),
  present: (view, row) => ({ enable_default_route_bfd: view.get(bfdRouterTable, row.id) !== undefined }),
});

const ofPort = extendResource(portResource, { remove: (tx, row) => forget(tx, row.id) });

export const extend = [ofRouter, ofPort];
export const references = [
  reference(bfdRouterTable, { to: routerTable, ids: (r) => r.id, gone: (tx, r) => tx.delete(bfdRouterTable, r.id) }),
  reference(bfdPeerTable, { to: routerGatewayTable, ids: (p) => p.gateway_id, gone: (tx, p) => tx.delete(bfdPeerTable, p.id) }),
];
export const aliases: readonly Alias[] = [
  { alias: "enable-default-route-bfd", name: "Enable Default Route BFD", description: "Routers may speak BFD with the next hops of their default routes.", updated: "2023-02-27T00:00:00-00:00" },
];
