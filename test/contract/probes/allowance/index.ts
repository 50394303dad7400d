import type { App } from "#app";
import { aliases, extend, resources } from "./api.ts";
import { allowanceTable } from "./model.ts";

export default {
  name: "allowance",
  about: "how many ports a project may have, and how many hosts have",
  requires: ["l2"],
  tables: [allowanceTable],
  resources,
  extend,
  aliases,
} satisfies App;
