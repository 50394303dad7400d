// Why a packet does not leave by a gateway; which hosts take up what is sent by a physical network to a router, or to an address that leads to one; and what waits for the MAC of a next hop outside.
import type { Explains, LiveView, PacketCause, PacketStop } from "#app";
import { networkTable, portTable } from "../../l2/model.ts";
import { routerTable } from "../../l3/model.ts";
import { gatewayAddressTable, gatewayPlanTable, routerGatewayTable } from "../model.ts";
import { HOST_IT, keepsIn, LEAVE_IT, nameOf, resourcesOf } from "../problems.ts";
import { closed, hostsOf, inbound } from "./inbound.ts";

/** Of what leaves a router for a network outside, and comes no further. */
function keptIn(view: LiveView, stop: PacketStop): PacketCause | undefined {
  const [router] = view.by(routerTable, "key", String(stop.register("router")));
  const [network] = view.by(networkTable, "key", String(stop.register("net")));
  const plan = router === undefined ? undefined : view.by(gatewayPlanTable, "router", router.id).find((one) => one.kind !== "interface" && one.network_id === network?.id);
  if (plan === undefined) return undefined;
  if (plan.hosts.length === 0) return { reason: "no_gateway", text: `no host can have the gateway of ${nameOf(plan, view)}`, resources: resourcesOf(plan), cure: HOST_IT };
  return keepsIn(plan, view) ? { reason: "no_gateway", text: `${nameOf(plan, view)} is to translate sources, and nothing here does`, resources: resourcesOf(plan), cure: LEAVE_IT } : undefined;
}

/** A packet for the MAC of a gateway whose router is closed. */
function closedGateway(view: LiveView, stop: PacketStop): PacketCause | undefined {
  const [network] = view.by(networkTable, "key", String(stop.register("net")));
  const mac = stop.field("eth_dst").toString(16).padStart(12, "0").replace(/..(?!$)/g, "$&:");
  for (const { id } of network === undefined ? [] : view.by(portTable, "network_mac", `${network.id}|${mac}`)) {
    const router = view.get(routerTable, view.get(routerGatewayTable, id)?.router_id ?? "");
    if (router?.admin_state_up === false) return closed("router", router.id);
  }
  return undefined;
}

export const explains: Explains = {
  begin: inbound,
  cause(view, stop) {
    if (stop.table === "gateway_out" && stop.did === "dropped") return keptIn(view, stop);
    if (stop.table !== "gateway_unresolved") return closedGateway(view, stop);
    const [network] = view.by(networkTable, "key", String(stop.register("net")));
    const hop = stop.register("nexthop");
    return {
      reason: "unresolved", text: `${stop.chassis} has not been told who has ${hop} outside: with the first packet for it the controller finds that out, and sends it on`, resources: network === undefined ? [] : [{ type: "network", id: network.id }],
      cure: { text: `send a packet, and trace again; if it is still so, see whether ${hop} is there and answers` },
    };
  },
  waits: (_, { did, table }) => did === "punted" && table === "gateway_unresolved",
  takers(view, networkKey, mac) {
    const [network] = view.by(networkTable, "key", String(networkKey));
    if (network === undefined) return [];
    const there = view.by(gatewayAddressTable, "mac", mac).filter(({ gateway_id }) => view.get(gatewayPlanTable, gateway_id)?.network_id === network.id);
    return [...there.flatMap(({ at, gateway_id }) => at ?? hostsOf(view, gateway_id)), ...view.by(portTable, "network_mac", `${network.id}|${mac}`).flatMap(({ id }) => hostsOf(view, id))];
  },
};
