// Which routes follow from the segments of a network. They are not stored: a subnet that comes or goes changes those of the others.
import { derivation, each, type ReadView } from "#app";
import { subnetRouteTable, type SubnetRoute } from "../dhcp/model.ts";
import { subnetTable, type HostRoute, type Subnet } from "../ipam/model.ts";
import { subnetSegmentTable } from "../segments/model.ts";

/** To subnets of its family on other segments, by its gateway, in the order of their prefixes. Not where the subnet's own routes say otherwise. */
export function peerRoutes(view: ReadView, subnet: Subnet): readonly HostRoute[] {
  const { gateway_ip: nexthop, host_routes: own } = subnet;
  const segment = view.get(subnetSegmentTable, subnet.id)?.segment_id;
  if (segment === undefined || nexthop === null) return [];
  const others = view.by(subnetSegmentTable, "network", subnet.network_id).flatMap((s) => (s.segment_id === segment ? [] : (view.get(subnetTable, s.id) ?? [])));
  return others
    .filter((s) => s.ip_version === subnet.ip_version && !own.some((r) => r.destination === s.cidr))
    .map(({ cidr }): HostRoute => ({ destination: cidr, nexthop }))
    .sort((a, b) => (a.destination < b.destination ? -1 : 1));
}

export const derive = [
  derivation({
    name: "peers",
    on: each(subnetSegmentTable),
    into: subnetRouteTable,
    reads: [subnetTable, subnetSegmentTable],
    derive({ id }, view): readonly SubnetRoute[] {
      const subnet = view.get(subnetTable, id);
      return subnet?.ip_version !== 4 ? [] : peerRoutes(view, subnet).map((r) => ({ id: `segment-routes/${id}/${r.destination}`, subnet_id: id, ...r }));
    },
  }),
];
