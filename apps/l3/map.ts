// What the operator's map shows of routers, and the networks that their interfaces are on.
import { mapList, type MapPart } from "#app";
import { routerInterfaceTable, routerTable } from "./model.ts";

export const map: MapPart = {
  routers: mapList({ table: routerTable, state: (_, router) => (router.admin_state_up ? "ACTIVE" : "DOWN"), order: (router) => router.key }),
  links: (view, router) => view.by(routerInterfaceTable, "router", router).map(({ id, network_id }) => ({ network: network_id, port: id, kind: "interface" })),
  routersOn: (view, network) => view.by(routerInterfaceTable, "network", network).map(({ router_id }) => router_id),
};
