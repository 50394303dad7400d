import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { gateTable, groupPool, macPool, portPool } from "./model.ts";
import { derive, rules } from "./rules.ts";
import { gate } from "./tables.ts";

export default {
  name: "gate",
  about: "gateways of routers, chosen in the switch by BFD",
  requires: ["l2", "ipam", "l3", "overlay"],
  tables: [gateTable],
  pools: [portPool, groupPool, macPool],
  resources,
  references,
  extend,
  aliases,
  pipeline: gate,
  derive,
  rules,
  observe: { Interface: ["bfd_status"] },
} satisfies App;
