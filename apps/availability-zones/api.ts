// Availability zones, and those of networks. A network is where its ports are, whatever its hints: what they are good for to a router is said by the app of its zones.
import { defineResource, extendResource, reference, zoneOf, chassisTable, type Alias, type LiveView } from "#app";
import { agentResource, isAlive } from "../agents/model.ts";
import { attachmentTable, networkResource, networkTable } from "../l2/model.ts";
import { availabilityZoneResource, checkHints, networkZoneHintsTable, ZONE_HINTS, zonedHostTable, zonesOf, type AvailabilityZone } from "./model.ts";

/** Kinds of resources that may be in zones. */
const KINDS = ["network", "router"] as const;

const zone = (view: LiveView, resource: string, name: string): AvailabilityZone => ({
  id: `${resource}/${name}`, name, resource, state: view.byPair(zonedHostTable, "zones", resource, name).some((h) => isAlive(view, h.chassis)) ? "available" : "unavailable",
});

const availabilityZone = defineResource(availabilityZoneResource, {
  collection: "availability_zones",
  path: "availability_zones",
  about: "A zone in which there are hosts, for a kind of resource that they serve.",
  alias: "availability_zone",
  standard: [],
  computed: {
    list: (view) => KINDS.flatMap((resource) => view.pairKeys(zonedHostTable, "zones", resource).toSorted().map((name) => zone(view as LiveView, resource, name))),
    get: () => undefined,
  },
  notFound: { type: "AvailabilityZoneNotFound", message: (id) => `AvailabilityZone ${id} could not be found.` },
  attributes: {
    name: { type: "string", about: "As in external_ids:axion-zone of its hosts; nova has those that name none.", filter: true },
    resource: { type: "string", about: "network or router.", filter: true },
    state: { type: "string", about: "available if one of its hosts is connected, else unavailable.", filter: true },
  },
  policy: { get: "role:reader" },
});

const ofNetwork = extendResource(networkResource, {
  attributes: {
    availability_zone_hints: { type: "string[]", about: "Zones that it was asked for in. It is where its ports are.", post: true, default: [], check: ZONE_HINTS, alias: "network_availability_zone" },
    availability_zones: { type: "string[]", about: "Zones of the hosts that have ports of it.", alias: "network_availability_zone" },
  },
  create(tx, row, input) {
    const hints = (input.availability_zone_hints as readonly string[] | undefined) ?? [];
    checkHints(tx, hints);
    if (hints.length > 0) tx.put(networkZoneHintsTable, { id: row.id, hints });
  },
  remove: (tx, row) => tx.delete(networkZoneHintsTable, row.id),
  present: (view, row) => ({
    availability_zone_hints: view.get(networkZoneHintsTable, row.id)?.hints ?? [],
    availability_zones: zonesOf(view, view.pairKeys(attachmentTable, "network_chassis", row.id)),
  }),
});

const ofAgent = extendResource(agentResource, {
  attributes: { availability_zone: { type: "string", about: "Zone of the host.", filter: true, sort: true, alias: "availability_zone" } },
  present(view, { host }) {
    const chassis = view.get(chassisTable, host);
    return { availability_zone: chassis === undefined ? null : zoneOf(chassis) };
  },
});

export const resources = [availabilityZone];
export const extend = [ofNetwork, ofAgent];
export const references = [reference(networkZoneHintsTable, { to: networkTable, ids: (h) => h.id, gone: (tx, h) => tx.delete(networkZoneHintsTable, h.id) })];
export const aliases: readonly Alias[] = [
  { alias: "availability_zone", name: "Availability Zone", description: "Zones in which there are hosts.", updated: "2015-01-01T10:00:00-00:00" },
  { alias: "availability_zone_filter", name: "Availability Zone Filter Extension", description: "Zones are filtered by name, resource and state.", updated: "2018-06-22T10:00:00-00:00" },
  { alias: "network_availability_zone", name: "Network Availability Zone", description: "Zones of networks.", updated: "2015-01-01T10:00:00-00:00" },
];
