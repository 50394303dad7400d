import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { vniWishTable } from "./model.ts";
import { derive } from "./rules.ts";

export default {
  name: "vni-wish",
  about: "VNIs as callers wish them, held or not",
  requires: ["l2", "overlay"],
  tables: [vniWishTable],
  resources,
  references,
  extend,
  aliases,
  derive,
} satisfies App;
