// Flavors of services.
import type { App } from "#app";
import { aliases, converters, extend, references, resources } from "./api.ts";
import { flavorTable, routerFlavorTable, serviceProfileTable } from "./model.ts";

export default {
  name: "flavors",
  about: "kinds of services that an operator offers, and of which a router is",
  requires: ["l3", "service-providers"],
  partOf: "service-providers",
  tables: [flavorTable, serviceProfileTable, routerFlavorTable],
  resources,
  converters,
  references,
  extend,
  aliases,
} satisfies App;
