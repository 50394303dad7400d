// Private VLANs: ports of one network that are kept apart.
import type { App } from "#app";
import { aliases, extend, references } from "./api.ts";
import { explains } from "./explain.ts";
import { communityNumbers, pvlanIdentityTable, pvlanNetworkTable, pvlanPortTable } from "./model.ts";
import { derive, portContext, rules } from "./rules.ts";
import { pvlan } from "./tables.ts";

export default {
  name: "pvlan",
  about: "private VLANs: ports of a network that reach promiscuous ones alone, or those of their community as well",
  requires: ["l2"],
  tables: [pvlanNetworkTable, pvlanPortTable, pvlanIdentityTable],
  pools: [communityNumbers],
  extend,
  references,
  aliases,
  pipeline: pvlan,
  portContext,
  derive,
  rules,
  explains,
} satisfies App;
