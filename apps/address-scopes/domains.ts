// The routing domain of a network is the scope of its pool: for each subnet that is of one.
import { derivation, each } from "#app";
import { subnetTable } from "../ipam/model.ts";
import { routingDomainTable, type RoutingDomain } from "../l3/model.ts";
import { pooledSubnetTable } from "../subnet-pools/model.ts";
import { scopedPoolTable } from "./model.ts";

export const derive = [
  derivation({
    name: "routing-domain",
    on: each(pooledSubnetTable),
    into: routingDomainTable,
    reads: [scopedPoolTable, subnetTable],
    derive({ id, subnetpool_id }, view): RoutingDomain | undefined {
      const scope = view.get(scopedPoolTable, subnetpool_id)?.address_scope_id;
      const subnet = scope === undefined ? undefined : view.get(subnetTable, id);
      return subnet === undefined ? undefined : { id: `address-scopes/${id}`, network_id: subnet.network_id, ip_version: subnet.ip_version, domain: scope! };
    },
  }),
];
