// Availability zones: where hosts are, as an operator names it.
import type { App } from "#app";
import { aliases, extend, networkZoneHintsTable, references, resources } from "./api.ts";
import { zonedHostTable, zoneOfEach } from "./zones.ts";

export default {
  name: "availability-zones",
  about: "zones of hosts, and of networks by where their ports are",
  requires: ["agents", "l2"],
  tables: [networkZoneHintsTable, zonedHostTable],
  resources,
  extend,
  references,
  aliases,
  derive: [zoneOfEach("availability-zones", "network")],
} satisfies App;
