// A tap service is ACTIVE while its port is at a host, a tap flow while both of its ports are, once the switches there have confirmed their flows; else DOWN.
import { activeRows } from "#app";
import { tapActiveTable, tapFlowTable, tapHostsTable, tapServiceTable } from "./model.ts";

export const tapStatus = activeRows({
  name: "tap-status",
  about: "tap services and tap flows are ACTIVE when their flows are confirmed",
  what: "taps",
  into: tapActiveTable,
  of: [tapServiceTable, tapFlowTable],
  by: [tapHostsTable],
  isActive(host, id, since) {
    const hosts = host.view.get(tapHostsTable, id)?.hosts;
    if (hosts === undefined) return false;
    // A host that is away has its flows when it comes back.
    return hosts.every((chassis) => host.confirmed(chassis) >= since) ? true : undefined;
  },
});
