// l3's entities: routers and their interfaces. An interface is a port of l2 (device_owner network:router_interface);
// its MAC and addresses are that port's.
import { definePool, defineScope, defineTable, load, resourceHandle, toStage, type Outputs, type Row, type Scope, type StandardRow } from "#app";
import { l3 } from "./tables.ts";

/** A route that the router's owner asked for. */
export interface StaticRoute {
  readonly destination: string;
  readonly nexthop: string;
}
export interface Router extends StandardRow {
  /** 1..2^32-1, unique: `router` in the pipeline. */
  readonly key: number;
  readonly admin_state_up: boolean;
  readonly routes: readonly StaticRoute[];
}
export const routerTable = defineTable<Router>()("router", { resource: "router", indexes: { project: (r) => r.project_id, key: (r) => String(r.key) } });

export const routerKeys = definePool({
  name: "router", of: "key", min: 1, max: 2 ** 32 - 1, about: "keys of routers: `router` in the pipeline", taken: (view, _part, n) => view.count(routerTable, "key", String(n)) > 0,
});

export const routerResource = resourceHandle<Router>("router");

/** `id` is the port's. */
export interface RouterInterface extends Row {
  readonly router_id: string;
  readonly network_id: string;
}
export const routerInterfaceTable = defineTable<RouterInterface>()("router_interface", {
  indexes: { router: (i) => i.router_id, network: (i) => i.network_id },
});

/**
 * A way to a prefix, as somebody knows it. A joint: l3 derives what is connected and what is static, an app that requires l3 what it
 * learned elsewhere; l3 alone ranks. Longest prefix first; of equal ones connected, then static, then the others by metric and id.
 */
export interface Route extends Row {
  readonly router_id: string;
  /** CIDR of either family. */
  readonly destination: string;
  /** Network that the packet goes on in; a route by one that the router has no interface on is left out. */
  readonly via: string;
  /** Address on that network; null: the destination itself is there. */
  readonly nexthop: string | null;
  /** "connected" and "static" are l3's; others say their app. */
  readonly source: string;
  /** Less is better. */
  readonly metric: number;
}
/** Rows of other apps carry `<app>/...` as id. */
export const routeTable = defineTable<Route>()("route", { derived: true, open: true, indexes: { router: (r) => r.router_id } });

export const routerScope = defineScope("router");
/** The way into a router from one of its networks: for chassis on that network, and those that come through another router. */
export const enterScope: (routerId: string, networkId: string) => Scope = defineScope("router-from");
/** Who may send through the router: see sendersScope. */
export const routerSendersScope = defineScope("router-senders");

/**
 * Routers whose packets pass the translate stage before they are routed. A joint: an app that translates addresses of a router derives
 * a row for it and puts its tables into that stage; the router then has a conntrack zone on every chassis that has its networks, which
 * `router_zone` holds there. Routers without a row do without.
 */
export interface Translation extends Row {
  readonly router_id: string;
}
export const translationTable = defineTable<Translation>()("translation", {
  derived: true, open: true, indexes: { router: (t) => t.router_id },
  /** Each router that has any, once. */
  pairs: { routers: (t) => ["all", t.router_id] },
});
/** Holder of a router's zone in the zone pool. */
export const zoneHolder = (routerId: string): string => `router/${routerId}`;

/**
 * Lets what is addressed to `mac` in a network enter a router on the switches of `scope`, from wherever it comes: how a packet that was
 * sent to the chassis where the router's work for it is done arrives there.
 */
export function enterRouter(out: Outputs, scope: Scope, network: { readonly key: number }, mac: string, router: { readonly key: number }, stage: "translate" | "route" = "translate"): void {
  out.into(l3).flow(scope, "l3_input", { priority: 110, match: { "reg:net": network.key, eth_dst: mac }, actions: [load("router", router.key), toStage(stage)] });
}
