import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { listenerTable } from "./model.ts";
import { portContext, rules } from "./rules.ts";
import { learnedNeighbour } from "./tables.ts";

export default {
  name: "learned-neighbour",
  about: "neighbours that the switch learns from answers of ARP",
  requires: ["l2"],
  tables: [listenerTable],
  resources,
  references,
  extend,
  aliases,
  pipeline: learnedNeighbour,
  portContext,
  rules,
} satisfies App;
