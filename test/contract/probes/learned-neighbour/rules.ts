// One learning flow for each network, on every switch that has a port of it.
import { copy, each, ethType, next, type PortContext } from "#app";
import { lanScope, networkTable, portTable } from "../../../../apps/l2/model.ts";
import { listenerTable } from "./model.ts";
import { learnedNeighbour } from "./tables.ts";

/** Seconds that a neighbour is known without being asked for. */
const IDLE_S = 8;

const listen = learnedNeighbour.rule({
  name: "listen",
  about: "who answers ARP in a network is a neighbour there",
  on: each(networkTable),
  emit(network, view, out) {
    if (view.count(listenerTable, "network", network.id) === 0) return;
    out.flow(lanScope(network.id), "arp_heard", {
      priority: 100,
      match: { "reg:net": network.key, eth_type: ethType.arp, arp_op: 2 },
      actions: [
        copy("arp_spa", "reg:nexthop"),
        {
          type: "learn", table: "learned_neighbour", priority: 100, idleTimeoutS: IDLE_S,
          match: { "reg:net": { from: "reg:net" }, "reg:nexthop": { from: "reg:nexthop" } },
          load: [{ to: "eth_dst", from: "arp_sha" }],
        },
        next,
      ],
    });
  },
});

export const rules = [listen];

export const portContext: readonly PortContext[] = [
  {
    ingress(view, at) {
      const port = view.get(portTable, at.port_id);
      return port !== undefined && view.count(listenerTable, "network", port.network_id) > 0;
    },
  },
];
