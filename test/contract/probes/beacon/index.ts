import type { App } from "#app";
import { aliases, resources } from "./api.ts";
import { beaconTable, toldTable } from "./model.ts";
import { beacons } from "./service.ts";

export default {
  name: "beacon",
  about: "tells receivers of attached ports",
  requires: ["l2"],
  tables: [beaconTable, toldTable],
  resources,
  aliases,
  services: [beacons],
} satisfies App;
