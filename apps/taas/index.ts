// Tap as a service: copies of packets, for machines that look at them.
import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { tapActiveTable, tapFlowTable, tapHostsTable, tappedPortTable, tapPlaceTable, tapServiceTable } from "./model.ts";
import { derive, portContext, rules } from "./rules.ts";
import { tapStatus } from "./status.ts";
import { taas } from "./tables.ts";

export default {
  name: "taas",
  about: "copies of what ports send and get, to other ports",
  requires: ["l2", "overlay"],
  tables: [tapServiceTable, tapFlowTable, tappedPortTable, tapPlaceTable, tapHostsTable, tapActiveTable],
  resources,
  extend,
  references,
  aliases,
  pipeline: taas,
  derive,
  rules,
  portContext,
  services: [tapStatus],
} satisfies App;
