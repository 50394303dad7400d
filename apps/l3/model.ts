// l3's entities: routers and their interfaces. An interface is a port of l2 (device_owner network:router_interface);
// its MAC and addresses are that port's.
import { defineTable, type Row, type StandardRow } from "#app";

export interface Route {
  readonly destination: string;
  readonly nexthop: string;
}
export interface Router extends StandardRow {
  /** 1..2^32-1, unique: `router` in the pipeline. */
  readonly key: number;
  readonly admin_state_up: boolean;
  readonly routes: readonly Route[];
}
export const routerTable = defineTable<Router>()("router", { resource: "router", indexes: { project: (r) => r.project_id, key: (r) => String(r.key) } });

/** `id` is the port's. */
export interface RouterInterface extends Row {
  readonly router_id: string;
  readonly network_id: string;
}
export const routerInterfaceTable = defineTable<RouterInterface>()("router_interface", {
  indexes: { router: (i) => i.router_id, network: (i) => i.network_id },
});

export const routerScope = (routerId: string): string => `router:${routerId}`;
