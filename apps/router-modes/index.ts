// Modes of routers (distributed, ha), as clients ask for them: kept and shown.
import type { App } from "#app";
import { aliases, extend, references } from "./api.ts";
import { routerModeTable } from "./model.ts";

export default {
  name: "router-modes",
  about: "what clients ask of where routers run, kept and shown: here every router is on each host that needs it, and its gateway on several",
  requires: ["l2", "l3"],
  partOf: "l3",
  tables: [routerModeTable],
  extend,
  references,
  aliases,
} satisfies App;
