// What probes say of the tunnel that a traced packet takes.
import { chassisTable, hostSessionsTable, type EncapType, type Explains, type LiveView, type TunnelKnown } from "#app";
import { outerHeaders } from "../overlay/model.ts";
import { tunnelId, tunnelTable } from "./model.ts";
import { bfdOf } from "./shown.ts";

const ETHERNET = 14;

export const explains: Explains = {
  tunnel(view, from, to, type): TunnelKnown | undefined {
    const seen = view.fact(tunnelTable, tunnelId(from, to, type as EncapType));
    const known = seen === undefined ? undefined : { state: seen.state, since: seen.since };
    if (seen === undefined || seen.state === "unknown") return lastKnown(view, from, to, seen?.wasDown) ?? known;
    const { state, since, mtu, missing } = seen;
    if (state === "down") return { state, since, oneWay: view.fact(tunnelTable, tunnelId(to, from, type as EncapType))?.state === "up" };
    return { state, since, ...(missing !== undefined && mtu !== null && { mtu: inner(view, to, type as EncapType, mtu) }) };
  },
};

/** Of a host that is gone, or hangs, what was measured last, and what the other says: what its own database says of BFD stands still. */
function lastKnown(view: LiveView, from: string, to: string, wasDown: string | undefined): TunnelKnown | undefined {
  const there = [from, to].filter((id) => view.fact(hostSessionsTable, id)?.openflow !== false);
  if (there.length === 2) return undefined;
  if (wasDown !== undefined) return { state: "down", since: wasDown, how: "as far as was last known" };
  const [other] = there;
  if (other === undefined || bfdOf(view, other === to ? { from: to, to: from } : { from, to }) !== "down") return undefined;
  return { state: "down", how: `as BFD at ${other} says` };
}

/** Of an outer packet what is left for the packet in the frame in it. */
function inner(view: LiveView, to: string, type: EncapType, outer: number): number {
  const family = view.get(chassisTable, to)?.encap_ip.includes(":") === true ? 6 : 4;
  return outer - outerHeaders(type, family) - ETHERNET;
}
