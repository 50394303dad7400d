import type { App } from "#app";
import { addressAnnouncements } from "./announce.ts";
import { aliases, policies, resources, vif } from "./api.ts";
import { converters } from "./checks.ts";
import { addressHolderTable, addressTable, attachmentTable, networkKeys, networkTable, portBindingTable, portKeys, portStatusTable, portTable, segmentTable, takersTable } from "./model.ts";
import { derive, rules, staticFlows } from "./rules.ts";
import { portStatus } from "./status.ts";
import { l2 } from "./tables.ts";

export default {
  name: "l2",
  about: "networks and ports: delivery by MAC, broadcast to members only, ARP and ND answered at the source, anti-spoofing",
  tables: [networkTable, portTable, portBindingTable, portStatusTable, addressTable, addressHolderTable, attachmentTable, takersTable, segmentTable],
  pools: [networkKeys, portKeys],
  resources,
  converters,
  aliases,
  policies,
  pipeline: l2,
  derive,
  rules,
  staticFlows,
  services: [portStatus, addressAnnouncements],
  vif,
} satisfies App;
