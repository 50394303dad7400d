// Local IPs: an address that leads to a port on the sender's own host.
import type { App } from "#app";
import { answers } from "./explain.ts";
import { aliases, extend, references, resources } from "./api.ts";
import { associatedPortTable, associationTable, localIpHostTable, localIpPlaceTable, localIpTable, openedMeters } from "./model.ts";
import { derive, portContext, rules } from "./rules.ts";
import { localIp } from "./tables.ts";

export default {
  name: "local-ip",
  about: "local IPs: addresses of a network that lead to a port on the sender's own host",
  requires: ["l2", "ipam"],
  tables: [localIpTable, associationTable, associatedPortTable, localIpPlaceTable, localIpHostTable],
  pools: [openedMeters],
  resources,
  extend,
  references,
  aliases,
  answers,
  pipeline: localIp,
  derive,
  portContext,
  rules,
} satisfies App;
