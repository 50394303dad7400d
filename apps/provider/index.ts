import type { App } from "#app";
import { aliases, extend } from "./api.ts";
import { patchPool, providerSettings, vlanPool, wireTable } from "./model.ts";
import { problems } from "./problems.ts";
import { derive, rules } from "./rules.ts";
import { provider } from "./tables.ts";

export default {
  name: "provider",
  about: "networks on physical networks, flat and by VLAN, and in tunnels of a chosen kind; what networks of tenants become",
  requires: ["l2", "overlay"],
  settings: providerSettings,
  tables: [wireTable],
  pools: [vlanPool, patchPool],
  extend,
  aliases,
  pipeline: provider,
  derive,
  rules,
  problems,
} satisfies App;
