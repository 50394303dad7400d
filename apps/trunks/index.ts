// Trunks: ports behind the interface of another, by VLAN tag.
import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { answers } from "./explain.ts";
import { subPortTable, trunkParentTable, trunkTable } from "./model.ts";
import { derive, portContext, rules, trunks } from "./rules.ts";

export default {
  name: "trunks",
  about: "trunks: ports behind the interface of another, told apart by VLAN tags",
  requires: ["l2", "overlay"],
  tables: [trunkTable, subPortTable, trunkParentTable],
  resources,
  extend,
  references,
  aliases,
  answers,
  pipeline: trunks,
  derive,
  portContext,
  rules,
} satisfies App;
