import type { App } from "#app";
import { aliases, extend } from "./api.ts";
import { patchPool, providerSettings, vlanPool } from "./model.ts";
import { problems } from "./problems.ts";
import { derive } from "./rules.ts";

export default {
  name: "provider",
  about: "networks on physical networks, flat and by VLAN, and in tunnels of a chosen kind; what networks of tenants become",
  requires: ["l2", "overlay"],
  settings: providerSettings,
  pools: [vlanPool, patchPool],
  extend,
  aliases,
  derive,
  problems,
} satisfies App;
