// What probes say of the tunnel that a traced packet takes.
import { chassisTable, type EncapType, type Explains, type LiveView, type TunnelKnown } from "#app";
import { outerHeaders } from "../overlay/model.ts";
import { tunnelId, tunnelTable } from "./model.ts";

const ETHERNET = 14;

export const explains: Explains = {
  tunnel(view, from, to, type): TunnelKnown | undefined {
    const seen = view.fact(tunnelTable, tunnelId(from, to, type as EncapType));
    if (seen === undefined) return undefined;
    const { state, since, mtu, missing } = seen;
    if (state === "down") return { state, since, oneWay: view.fact(tunnelTable, tunnelId(to, from, type as EncapType))?.state === "up" };
    return { state, since, ...(missing !== undefined && mtu !== null && { mtu: inner(view, to, type as EncapType, mtu) }) };
  },
};

/** Of an outer packet what is left for the packet in the frame in it. */
function inner(view: LiveView, to: string, type: EncapType, outer: number): number {
  const family = view.get(chassisTable, to)?.encap_ip.includes(":") === true ? 6 : 4;
  return outer - outerHeaders(type, family) - ETHERNET;
}
