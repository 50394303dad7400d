// availability-zones' entities: which hosts are in which zone for which kind of resource, and the zones that somebody wishes a network in.
import { chassisTable, defineTable, notFound, resourceHandle, show, zoneOf, type Check, type ReadView, type Row } from "#app";

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

/** Zones that were asked for when a network was made. `id` is the network's; without any there is no row. */
export interface NetworkZoneHints extends Row {
  readonly hints: readonly string[];
}
export const networkZoneHintsTable = defineTable<NetworkZoneHints>()("network_zone_hints");

/** What a caller may give as hints. */
export const ZONE_HINTS: Check = { list: { type: "string", blank: false }, unique: true, max: 16 };

/** @throws ApiError 404 naming a zone in which no host is */
export function checkHints(view: ReadView, hints: readonly string[]): void {
  const unknown = hints.find((zone) => view.count(chassisTable, "zone", zone) === 0);
  if (unknown !== undefined) throw notFound("AvailabilityZoneNotFound", `AvailabilityZone ${show(unknown)} could not be found.`);
}

/** Zones of hosts, in order. */
export const zonesOf = (view: ReadView, hosts: Iterable<string>): string[] =>
  [...new Set([...hosts].flatMap((id) => {
    const chassis = view.get(chassisTable, id);
    return chassis === undefined ? [] : [zoneOf(chassis)];
  }))].sort();
