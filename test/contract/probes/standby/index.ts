import type { App } from "#app";
import { aliases, references, resources } from "./api.ts";
import { standbyTable } from "./model.ts";
import { derive, portContext } from "./rules.ts";

export default {
  name: "standby",
  about: "ports that hear at a second host",
  requires: ["l2"],
  tables: [standbyTable],
  resources,
  references,
  aliases,
  derive,
  portContext,
} satisfies App;
