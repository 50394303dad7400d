import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { subPortTable } from "./model.ts";
import { derive } from "./rules.ts";

export default {
  name: "subport",
  about: "ports behind another port's interface, by VLAN tag",
  requires: ["l2"],
  tables: [subPortTable],
  resources,
  extend,
  references,
  aliases,
  derive,
} satisfies App;
