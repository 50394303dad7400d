// Subnets as they are stored, and ports that have no address yet. Addresses themselves are l2's Address rows.
import { defineTable, resourceHandle, type Row, type StandardRow } from "#app";

export interface AllocationPool {
  readonly start: string;
  readonly end: string;
}
export interface HostRoute {
  readonly destination: string;
  readonly nexthop: string;
}
export type Ipv6Mode = "slaac" | "dhcpv6-stateful" | "dhcpv6-stateless";

export interface Subnet extends StandardRow {
  readonly network_id: string;
  readonly ip_version: 4 | 6;
  /** Network address and prefix length, normalised. */
  readonly cidr: string;
  readonly gateway_ip: string | null;
  readonly allocation_pools: readonly AllocationPool[];
  readonly dns_nameservers: readonly string[];
  readonly host_routes: readonly HostRoute[];
  readonly enable_dhcp: boolean;
  readonly ipv6_ra_mode: Ipv6Mode | null;
  readonly ipv6_address_mode: Ipv6Mode | null;
  /** Owners of ports (`device_owner`) that its automatic addresses are for; absent: all that no other subnet of the network is for. */
  readonly owners?: readonly string[];
}
export const subnetTable = defineTable<Subnet>()("subnet", { resource: "subnet", indexes: { network: (s) => s.network_id, project: (s) => s.project_id } });
export const subnetResource = resourceHandle<Subnet>("subnet");

/** A port that gets its addresses once it is known at which host it is (`ip_allocation` deferred); `id` is the port's. */
export interface DeferredPort extends Row {
  readonly network_id: string;
}
export const deferredPortTable = defineTable<DeferredPort>()("deferred_port", { indexes: { network: (d) => d.network_id } });

/** What a machine without a name is called by one of its addresses: `host-10-0-0-5`, `host-2001-db8--5`. */
export const hostOfAddress = (ip: string): string => `host-${ip.replace(/[.:]/g, "-")}`;
