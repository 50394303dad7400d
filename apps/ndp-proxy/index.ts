// Addresses of the inside that are known outside.
import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { ndpProxyTable, ndpRouterTable, proxiedAddressTable } from "./model.ts";
import { derive, rules } from "./rules.ts";
import { ndpProxy } from "./tables.ts";

export default {
  name: "ndp-proxy",
  about: "IPv6 addresses of ports that routers answer for outside",
  requires: ["l2", "ipam", "l3", "gateway"],
  partOf: "gateway",
  tables: [ndpProxyTable, ndpRouterTable, proxiedAddressTable],
  resources,
  extend,
  references,
  aliases,
  pipeline: ndpProxy,
  derive,
  rules,
} satisfies App;
