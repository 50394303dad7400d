import type { App } from "#app";
import { aliases, references, resources } from "./api.ts";
import { wanRouteTable } from "./model.ts";
import { derive } from "./rules.ts";

export default {
  name: "wan",
  about: "routes from elsewhere, ranked by l3",
  requires: ["l3"],
  tables: [wanRouteTable],
  resources,
  references,
  aliases,
  derive,
} satisfies App;
