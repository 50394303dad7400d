import type { App } from "#app";
import { addressAnnouncements } from "./announce.ts";
import { explains } from "./explain/index.ts";
import { staticFlows } from "./answers.ts";
import { aliases, policies, resources, vif } from "./api.ts";
import { converters } from "./checks.ts";
import { staticFlows as discoveryFlows } from "./discovery.ts";
import { floodGroups, hostListTable, memberHostTable, addressHolderTable, addressTable, announcementMeters, attachmentTable, networkHostTable, handOnHostTable, knownAtTable, chosenSegmentTable, contestedTable, heardNeighbourTable, l2Settings, learningTable, networkKeys, networkTable, portBindingTable, portDetailTable, portKeys, portStatusTable, portTable, providedPortTable, segmentTable, takersTable, arrivalTable, inactiveBindingTable, placeFault } from "./model.ts";
import { announced } from "./packet-in.ts";
import { map } from "./model/map.ts";
import { portContext, staticFlows as learningFlows } from "./learning.ts";
import { derive, rules } from "./rules.ts";
import { portContext as tagContext } from "./tags.ts";
import { portStatus } from "./status.ts";
import { l2 } from "./tables.ts";

export default {
  name: "l2",
  about: "networks and ports: delivery by MAC, broadcast to members only, ARP and ND answered at the source, anti-spoofing",
  tables: [networkTable, portTable, portBindingTable, inactiveBindingTable, arrivalTable, portStatusTable, addressTable, addressHolderTable, attachmentTable, networkHostTable, handOnHostTable, knownAtTable, providedPortTable, takersTable, contestedTable, learningTable, segmentTable, chosenSegmentTable, portDetailTable, memberHostTable, hostListTable],
  pools: [networkKeys, portKeys, announcementMeters, floodGroups],
  settings: l2Settings,
  resources,
  converters,
  aliases,
  policies,
  pipeline: l2,
  derive,
  rules,
  portContext: [...portContext, ...tagContext],
  staticFlows: (out) => {
    staticFlows(out);
    discoveryFlows(out);
    learningFlows(out);
  },
  softTables: [heardNeighbourTable],
  packetIn: { announced },
  heard: ["announced"],
  services: [portStatus, addressAnnouncements],
  vif: { ...vif, fault: placeFault },
  map,
  problemKinds: {
    plugged_elsewhere: { cause: "an interface of a port is plugged at another host than the port is bound to", cure: "bind the port where its machine runs (`binding:host_id`), or plug it where it is bound" },
    plugged_twice: { cause: "interfaces of one port are plugged on two hosts, without a binding for each; the one that was first is used", cure: "unplug the one that is not the machine's; for a migration make an inactive binding first" },
  },
  explains,
} satisfies App;
