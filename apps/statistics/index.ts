// Statistics: what ports, routers and floating IPs let pass, by counters of ports and flows that there are anyway.
import type { App } from "#app";
import { aliases, extend, references } from "./api.ts";
import { resourceCounters } from "./counters.ts";
import { projectCounts, resourceCounts, resourceCountTable } from "./model.ts";
import { gauges, opsLists } from "./shown.ts";

export default {
  name: "statistics",
  about: "what ports, routers and floating IPs let pass: packets and bytes that outlive moves and restarts",
  requires: ["l2", "l3", "nat"],
  partOf: "nat",
  tables: [resourceCountTable],
  softTables: [resourceCounts, projectCounts],
  extend,
  references,
  aliases,
  observe: { Interface: ["ifindex"] },
  services: [resourceCounters],
  opsLists,
  gauges,
} satisfies App;
