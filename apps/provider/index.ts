import { answer, type App } from "#app";
import { wireEntrance } from "../l2/model.ts";
import { aliases, extend } from "./api.ts";
import { inlandListTable, patchPool, providerSettings, sideTable, vlanPool, wireTable } from "./model.ts";
import { entranceOf, explains } from "./explain.ts";
import { problems } from "./problems.ts";
import { derive, rules } from "./rules.ts";
import { provider } from "./tables.ts";

export default {
  name: "provider",
  about: "networks on physical networks, flat and by VLAN, and in tunnels of a chosen kind; what networks of tenants become",
  requires: ["l2", "overlay"],
  settings: providerSettings,
  tables: [wireTable, sideTable, inlandListTable],
  pools: [vlanPool, patchPool],
  extend,
  aliases,
  pipeline: provider,
  derive,
  rules,
  explains,
  answers: [answer(wireEntrance, entranceOf)],
  problems,
  problemKinds: {
    binding_failed: { cause: "a port is plugged, or asked for, at a host to which its network does not lead", cure: "name a bridge in `axion-bridge-mappings` of the host, or the encapsulation in its `axion-encap-type`" },
  },
} satisfies App;
