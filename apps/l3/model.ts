// l3's entities: routers and their interfaces. An interface is a port of l2 (device_owner network:router_interface);
// its MAC and addresses are that port's.
import { defineScope, defineTable, resourceHandle, type Row, type Scope, type StandardRow } from "#app";

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

export const routerResource = resourceHandle<Router>("router");

/** `id` is the port's. */
export interface RouterInterface extends Row {
  readonly router_id: string;
  readonly network_id: string;
}
export const routerInterfaceTable = defineTable<RouterInterface>()("router_interface", {
  indexes: { router: (i) => i.router_id, network: (i) => i.network_id },
});

export const routerScope = defineScope("router");
/** The way into a router from one of its networks: for chassis on that network, and those that come through another router. */
export const enterScope: (routerId: string, networkId: string) => Scope = defineScope("router-from");
/** Who may send through the router: see sendersScope. */
export const routerSendersScope = defineScope("router-senders");
