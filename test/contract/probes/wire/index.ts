import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { patchPool, wireTable } from "./model.ts";
import { derive, portContext, rules } from "./rules.ts";
import { wire } from "./tables.ts";

export default {
  name: "wire",
  about: "ports on physical networks, by a patch to the operator's bridge",
  requires: ["l2"],
  tables: [wireTable],
  pools: [patchPool],
  resources,
  references,
  extend,
  aliases,
  pipeline: wire,
  derive,
  rules,
  portContext,
} satisfies App;
