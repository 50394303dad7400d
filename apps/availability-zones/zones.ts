// availability-zones' entities: which hosts are in which zone for which kind of resource; how hosts are said to be, and resources to be wished in zones.
import { chassisTable, defineTable, derivation, each, resourceHandle, zoneOf, type Derivation, type Row } from "#app";

/** A host that serves a kind of resource in a zone. A joint (derived): who serves a kind says so for its hosts. Rows carry `<app>/<chassis>` as id. */
export interface ZonedHost extends Row {
  /** "network", "router". */
  readonly resource: string;
  readonly zone: string;
  readonly chassis: string;
}
export const zonedHostTable = defineTable<ZonedHost>()("zoned_host", { derived: true, open: true, pairs: { zones: (h) => [h.resource, h.zone] } });

/** A zone for a kind of resource (never stored). */
export interface AvailabilityZone extends Row {
  readonly name: string;
  readonly resource: string;
  readonly state: "available" | "unavailable";
}
export const availabilityZoneResource = resourceHandle<AvailabilityZone>("availability_zone");

/** Every host serves the kind of resource. */
export const zoneOfEach = (app: string, resource: string): Derivation =>
  derivation({
    name: `${resource}-zone`,
    on: each(chassisTable),
    into: zonedHostTable,
    reads: [],
    derive: (chassis): ZonedHost => ({ id: `${app}/${chassis.id}`, resource, zone: zoneOf(chassis), chassis: chassis.id }),
  });
