// flavors' entities: what kinds of a service there are, by which profiles of providers each is provided, and of which kind a router is.
import { defineTable, resourceHandle, type Row } from "#app";

/** A kind of a service, as an operator offers it. */
export interface Flavor extends Row {
  readonly name: string;
  readonly description: string | null;
  readonly service_type: string;
  /** Of one that is not nothing new is made. */
  readonly enabled: boolean;
  /** Ids, the one to use first first. */
  readonly service_profiles: readonly string[];
}
export const flavorTable = defineTable<Flavor>()("flavor", { resource: "flavor", indexes: { profile: (f) => f.service_profiles } });
export const flavorResource = resourceHandle<Flavor>("flavor");

/** How a provider is to provide a service. */
export interface ServiceProfile extends Row {
  readonly description: string | null;
  /** A provider's; "": whoever provides the service. */
  readonly driver: string;
  /** What the operator notes down: text, or any JSON. */
  readonly metainfo: unknown;
  readonly enabled: boolean;
}
export const serviceProfileTable = defineTable<ServiceProfile>()("service_profile", { resource: "service_profile" });
export const serviceProfileResource = resourceHandle<ServiceProfile>("service_profile");

/** A router that was asked for by a flavor; `id` is the router's. */
export interface RouterFlavor extends Row {
  readonly flavor_id: string;
}
export const routerFlavorTable = defineTable<RouterFlavor>()("router_flavor", { indexes: { flavor: (r) => r.flavor_id } });
