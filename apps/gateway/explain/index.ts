// Which hosts take up what is sent by a physical network to a router, or to an address that leads to one; and what waits for the MAC of a next hop outside.
import type { Explains, ReadView } from "#app";
import { networkTable, portTable } from "../../l2/model.ts";
import { answering, gatewayAddressTable, gatewayPlanTable } from "../model.ts";

const hostsOf = (view: ReadView, portId: string): readonly string[] => {
  const plan = view.get(gatewayPlanTable, portId);
  if (plan === undefined) return [];
  return plan.apart === undefined ? plan.hosts : [...answering(view, plan), ...plan.hosts];
};

export const explains: Explains = {
  cause(view, stop) {
    if (stop.table !== "gateway_unresolved") return undefined;
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
