// Logging: what security groups accept and drop is told.
import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { securityLog } from "./log.ts";
import { logEntries, loggedPortTable, logLosses, logMeters, logTable } from "./model.ts";
import { derive, rules } from "./rules.ts";
import { gauges, opsLists } from "./shown.ts";
import { logging } from "./tables.ts";

export default {
  name: "logging",
  about: "logs of what security groups accept and drop",
  requires: ["l2", "security-groups"],
  partOf: "security-groups",
  tables: [logTable, loggedPortTable],
  softTables: [logEntries, logLosses],
  pools: [logMeters],
  resources,
  extend,
  references,
  aliases,
  pipeline: logging,
  derive,
  rules,
  services: [securityLog],
  opsLists,
  gauges,
} satisfies App;
