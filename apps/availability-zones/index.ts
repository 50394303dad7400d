// Availability zones: where hosts are, as an operator names it.
import { chassisTable, derivation, each, zoneOf, type App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { networkZoneHintsTable, zonedHostTable, type ZonedHost } from "./model.ts";

/** Every host has networks. */
const derive = [
  derivation({
    name: "network-zone",
    on: each(chassisTable),
    into: zonedHostTable,
    reads: [],
    derive: (chassis): ZonedHost => ({ id: `availability-zones/${chassis.id}`, resource: "network", zone: zoneOf(chassis), chassis: chassis.id }),
  }),
];

export default {
  name: "availability-zones",
  about: "zones of hosts, and of networks by where their ports are",
  requires: ["agents", "l2"],
  tables: [networkZoneHintsTable, zonedHostTable],
  resources,
  extend,
  references,
  aliases,
  derive,
} satisfies App;
