import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { vniChoiceTable } from "./model.ts";
import { derive } from "./rules.ts";

export default {
  name: "vni-choice",
  about: "VNIs as callers choose them, or are refused",
  requires: ["l2", "overlay"],
  tables: [vniChoiceTable],
  resources,
  references,
  extend,
  aliases,
  derive,
} satisfies App;
