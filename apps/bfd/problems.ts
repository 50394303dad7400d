// Which next hops were up by BFD, and are not any more.
import type { AppProblem, LiveView } from "#app";
import { networkTable } from "../l2/model.ts";
import { routerTable } from "../l3/model.ts";
import { bfdPeerTable, bfdSessionTable } from "./model.ts";

export function problems(view: LiveView): AppProblem[] {
  const found: AppProblem[] = [];
  for (const { id, up } of view.by(bfdPeerTable, "all", "")) {
    const session = up ? undefined : view.get(bfdSessionTable, id);
    if (session === undefined) continue;
    const { router_id, network_id, nexthop } = session;
    found.push({
      kind: "session_down", severity: "warning", text: `the BFD session of router ${view.get(routerTable, router_id)?.name || router_id} with its next hop ${nexthop} on network ${view.get(networkTable, network_id)?.name || network_id} was up and is not: other routes are used in its place`,
      resources: [{ type: "router", id: router_id }, { type: "network", id: network_id }], cure: { text: "look whether the next hop is up, and speaks BFD with the router's gateway" },
    });
  }
  return found;
}
