// What is limited at the edge of the cloud: floating IPs and gateways of routers whose policy asks for it.
import { definePool, defineTable, type ReadView, type Row } from "#app";
import { routerGatewayTable } from "../gateway/model.ts";
import { floatingIpTable } from "../nat/model.ts";
import { qosUseTable, type Direction } from "../qos/model.ts";

/** The id by which the gateway of a router has a policy: that of its port is the port's own. */
export const gatewayUse = (gatewayId: string): string => `router_gateway/${gatewayId}`;

/** The policy of a floating IP: its own, else that of the network outside. */
export const policyOfFloatingIp = (view: ReadView, id: string): string | undefined => view.get(qosUseTable, id)?.policy_id ?? policyOfNetwork(view, view.get(floatingIpTable, id)?.floating_network_id);
export const policyOfGateway = (view: ReadView, id: string): string | undefined => view.get(qosUseTable, gatewayUse(id))?.policy_id ?? policyOfNetwork(view, view.get(routerGatewayTable, id)?.network_id);
const policyOfNetwork = (view: ReadView, id: string | undefined): string | undefined => (id === undefined ? undefined : view.get(qosUseTable, id)?.policy_id);

/** A floating IP or a gateway of which packets are limited where they cross the edge, wherever that is (derived). `id`: see `limitId`. */
export interface EdgeLimit extends Row {
  readonly gateway_id: string;
  readonly policy_id: string;
}
export const edgeLimitTable = defineTable<EdgeLimit>()("qos_edge_limit", { derived: true, indexes: { gateway: (l) => l.gateway_id } });
export const limitId = (of: "floatingip" | "gateway", id: string): string => `${of}/${id}`;

/** Meters at the hosts of each. */
export const edgeMeters = definePool({ name: "qos-edge-meter", of: "meter", min: 0x8020_0000, max: 0x802f_ffff, about: "meters of floating IPs and gateways with a QoS policy, one for each direction and unit" });
export const units = ["bandwidth", "packets"] as const;
export const meterHolder = (limit: string, direction: Direction, unit: (typeof units)[number]): string => `${limit}/${direction}/${unit}`;
