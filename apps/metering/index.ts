// Metering labels: what crosses the edge of the cloud, counted.
import type { App } from "#app";
import { aliases, references, resources } from "./api.ts";
import { meteringCounters } from "./counters.ts";
import { labelKeys, meteringCounts, meteringCountTable, meteringLabelRuleTable, meteringLabelTable } from "./model.ts";
import { derive, rules } from "./rules.ts";
import { gauges, opsLists } from "./shown.ts";
import { metering } from "./tables.ts";

export default {
  name: "metering",
  about: "metering labels: what crosses the edge of the cloud by routers, counted by prefix and direction",
  requires: ["l2", "l3", "gateway"],
  partOf: "gateway",
  tables: [meteringLabelTable, meteringLabelRuleTable, meteringCountTable],
  softTables: [meteringCounts],
  pools: [labelKeys],
  resources,
  references,
  aliases,
  pipeline: metering,
  derive,
  rules,
  services: [meteringCounters],
  opsLists,
  gauges,
} satisfies App;
