import type { App } from "#app";
import { aliases, extend, references } from "./api.ts";
import { externalNetworkTable, routerGatewayTable } from "./model.ts";

export default {
  name: "gateway",
  about: "external networks, and gateways of routers on them: highly available, chosen in the switches by BFD",
  requires: ["l2", "ipam", "l3", "overlay"],
  tables: [externalNetworkTable, routerGatewayTable],
  extend,
  references,
  aliases,
} satisfies App;
