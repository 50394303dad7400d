import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { meterPool, rateTable } from "./model.ts";
import { portContext, rules } from "./rules.ts";
import { portMeters } from "./tables.ts";

export default {
  name: "port-meters",
  about: "a meter for every port, at both ends",
  requires: ["l2"],
  tables: [rateTable],
  pools: [meterPool],
  resources,
  references,
  extend,
  aliases,
  pipeline: portMeters,
  portContext,
  rules,
} satisfies App;
