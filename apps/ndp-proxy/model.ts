// ndp-proxy's entities: addresses of the inside that a router answers for outside.
import { defineTable, resourceHandle, type ReadView, type Row, type StandardRow } from "#app";
import { addressTable, type Port } from "../l2/model.ts";
import { routerInterfaceTable } from "../l3/model.ts";

/** An IPv6 address of a port that is known outside, by a router's gateway. */
export interface NdpProxy extends StandardRow {
  readonly router_id: string;
  readonly port_id: string;
  readonly ip_address: string;
}
export const ndpProxyTable = defineTable<NdpProxy>()("ndp_proxy", { resource: "ndp_proxy", indexes: { project: (p) => p.project_id, router: (p) => p.router_id, port: (p) => p.port_id } });
export const ndpProxyResource = resourceHandle<NdpProxy>("ndp_proxy");

/** A router with `enable_ndp_proxy`. `id` is the router's. */
export interface NdpRouter extends Row {
  /** The gateway that it was switched on for; with another one it is off. */
  readonly gateway_id: string;
}
export const ndpRouterTable = defineTable<NdpRouter>()("ndp_router", { indexes: { gateway: (r) => r.gateway_id } });

/** A proxied address as its gateway has it (derived): of routers where that is on, while the port has the address. `id` is that of the NDP proxy. */
export interface ProxiedAddress extends Row {
  readonly gateway_id: string;
  readonly network_id: string;
  readonly ip: string;
  readonly mac: string;
}
export const proxiedAddressTable = defineTable<ProxiedAddress>()("proxied_address", { derived: true });

/**
 * The subnet by which a router reaches an address of a port; undefined: by none. A guest on somebody else's network lets nobody in there.
 */
export function subnetBetween(view: ReadView, routerId: string, port: Port, ip: string): string | undefined {
  const subnet = view.by(addressTable, "port", port.id).find((a) => a.ip === ip)?.subnet_id;
  if (subnet === undefined) return undefined;
  const leads = view.by(routerInterfaceTable, "network", port.network_id).some((i) => i.router_id === routerId && i.guest !== true && view.by(addressTable, "port", i.id).some((a) => a.subnet_id === subnet));
  return leads ? subnet : undefined;
}
