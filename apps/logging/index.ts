// Logging: what security groups accept and drop is told.
import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { lostCounter, securityLog } from "./log.ts";
import { logEntries, loggedPortTable, logMeters, logTable } from "./model.ts";
import { derive, rules } from "./rules.ts";
import { opsLists } from "./shown.ts";
import { logging } from "./tables.ts";

export default {
  name: "logging",
  about: "logs of what security groups accept and drop",
  requires: ["l2", "security-groups"],
  partOf: "security-groups",
  tables: [logTable, loggedPortTable],
  softTables: [logEntries],
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
  counters: [lostCounter],
} satisfies App;
