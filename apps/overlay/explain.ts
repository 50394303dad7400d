// How large packets of a network may be, of packets that are traced.
import type { Explains } from "#app";
import { networkTable, portTable } from "../l2/model.ts";
import { mtuOf } from "./model.ts";

export const explains: Explains = {
  begin(view, { from, size }) {
    const port = view.get(portTable, from);
    const network = port === undefined ? undefined : view.get(networkTable, port.network_id);
    if (network === undefined || size === undefined) return undefined;
    const mtu = mtuOf(view, network);
    if (size <= mtu) return undefined;
    return {
      reason: "mtu", text: `a packet of ${size} bytes does not fit network ${network.id}, which takes ${mtu}`, resources: [{ type: "network", id: network.id }],
      cure: { text: `send packets of at most ${mtu} bytes, as DHCP tells machines; larger ones need a larger MTU between hosts (--mtu)` },
    };
  },
};
