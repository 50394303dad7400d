// A floating IP is ACTIVE when a switch that translates it has confirmed its flows, DOWN when it leads nowhere. One that is translated
// somewhere else because its port moved stays ACTIVE.
import { activeRows, numberOf, poolNumberTable, zonePool } from "#app";
import { zoneHolder } from "../l3/model.ts";
import { floatingIpActiveTable, floatingIpTable, floatingPlaceTable } from "./model.ts";

export const floatingStatus = activeRows({
  name: "floating-ip-status",
  about: "floating IPs are ACTIVE when their flows are confirmed",
  what: "floating IPs",
  into: floatingIpActiveTable,
  of: [floatingIpTable],
  by: [floatingPlaceTable],
  // Of those that wait for a zone the flows come with it.
  waitsFor: [poolNumberTable],
  isActive(host, id, since) {
    const { router_id, hosts } = host.view.get(floatingPlaceTable, id) ?? { router_id: "", hosts: [] };
    if (hosts.length === 0) return false;
    return hosts.some((chassis) => numberOf(host.view, zonePool, chassis, zoneHolder(router_id)) !== undefined && host.confirmed(chassis) >= since) ? true : undefined;
  },
});
