// Multicast goes to ports that joined its group: IGMP and MLD snooping, RFC 4541.
import type { App } from "#app";
import { multicastGroups, multicastSettings, snoopedHostTable, snoopedTable } from "./model.ts";
import { punted } from "./packet-in.ts";
import { querier } from "./querier.ts";
import { derive, rules, staticFlows } from "./rules.ts";
import { multicast } from "./tables.ts";

export default {
  name: "multicast",
  about: "multicast goes to ports that joined its group: IGMP and MLD snooping",
  requires: ["l2"],
  tables: [snoopedTable, snoopedHostTable],
  pools: [multicastGroups],
  settings: multicastSettings,
  pipeline: multicast,
  derive,
  rules,
  staticFlows,
  packetIn: { multicast_punted: punted },
  services: [querier],
} satisfies App;
