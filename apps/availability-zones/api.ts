// Availability zones, and those of networks. A network is where its ports are, whatever its hints: what they are good for to a router is said by the app of its zones.
import { defineResource, extendResource, zoneOf, chassisTable, type Alias, type LiveView } from "#app";
import { agentResource, isAlive } from "../agents/model.ts";
import { attachmentTable, networkResource, networkTable } from "../l2/model.ts";
import { hinted, zoneHintsTable } from "./hints.ts";
import { availabilityZoneResource, zonedHostTable, type AvailabilityZone } from "./zones.ts";

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

export const networkZoneHintsTable = zoneHintsTable("network");
const ofNetwork = hinted({
  resource: networkResource,
  table: networkTable,
  hints: networkZoneHintsTable,
  about: { hints: "Zones that it was asked for in. It is where its ports are.", zones: "Zones of the hosts that have ports of it." },
  alias: "network_availability_zone",
  hostsOf: (view, id) => view.pairKeys(attachmentTable, "network_chassis", id),
});

const ofAgent = extendResource(agentResource, {
  attributes: { availability_zone: { type: "string", about: "Zone of the host.", filter: true, sort: true, alias: "availability_zone" } },
  present(view, { host }) {
    const chassis = view.get(chassisTable, host);
    return { availability_zone: chassis === undefined ? null : zoneOf(chassis) };
  },
});

export const resources = [availabilityZone];
export const extend = [...ofNetwork.extend, ofAgent];
export const { references } = ofNetwork;
export const aliases: readonly Alias[] = [
  { alias: "availability_zone", name: "Availability Zone", description: "Zones in which there are hosts.", updated: "2015-01-01T10:00:00-00:00" },
  { alias: "availability_zone_filter", name: "Availability Zone Filter Extension", description: "Zones are filtered by name, resource and state.", updated: "2018-06-22T10:00:00-00:00" },
  { alias: "network_availability_zone", name: "Network Availability Zone", description: "Zones of networks.", updated: "2015-01-01T10:00:00-00:00" },
];
