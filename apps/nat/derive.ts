// Which routers translate, and on which hosts.
import { claim, claimTable, derivation, each, zonePool, type Claim, type ReadView } from "#app";
import { addressTable } from "../l2/model.ts";
import { gatewayPlanTable, routerGatewayTable } from "../gateway/model.ts";
import { translationTable, zoneHolder, type Translation } from "../l3/model.ts";
import { ownAddress } from "./model.ts";

const hidesSources = (view: ReadView, gatewayId: string): boolean => view.get(routerGatewayTable, gatewayId)?.enable_snat === true && ownAddress(view, gatewayId) !== undefined;

export const derive = [
  derivation({
    name: "source-translation",
    on: each(routerGatewayTable),
    into: translationTable,
    reads: [addressTable],
    derive: ({ id, router_id, network_id }, view): Translation | undefined => (hidesSources(view, id) ? { id: `nat/${id}`, router_id, out: network_id, from: network_id } : undefined),
  }),
  derivation({
    name: "gateway-zone",
    on: each(gatewayPlanTable),
    into: claimTable,
    reads: [routerGatewayTable, addressTable],
    derive: ({ id, router_id, hosts }, view): Claim[] => (hidesSources(view, id) ? hosts.map((host) => claim(`nat/gateway/${id}`, zonePool, host, zoneHolder(router_id))) : []),
  }),
];
