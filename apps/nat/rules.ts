// Translation as flows. What a router sends outside has the gateway's address, given on the host that has the gateway; all hosts of a gateway
// are ready to do it. Each has a conntrack zone for the router, in which all its translations are, so none can be taken for another's.
import { chassisScope, each, ethType, load, numberOf, zonePool, type App, type TableEffects } from "#app";
import { gatewayPlanTable, routerGatewayTable } from "../gateway/model.ts";
import { networkTable } from "../l2/model.ts";
import { liveRouterTable, routerTable, zoneHolder } from "../l3/model.ts";
import { ownAddress } from "./model.ts";
import { nat } from "./tables.ts";

/** What a packet was translated to before does not count: one of the same zone, on its way out, may come in again for somebody else inside. */
const AFRESH = [{ type: "ct_clear" }, load("from_tunnel", 0)] as const;
/** As the connection has it, if there is one. */
const asKnown = { type: "ct", zone: "router_zone", nat: {}, then: { stage: "route" } } as const;
/** Outside it is no router's any more. */
const OUTSIDE = load("router", 0);

const sources = nat.rule({
  name: "sources",
  about: "connections from the inside leave with the gateway's address, and their answers find their way",
  on: each(gatewayPlanTable),
  emit(plan, view, out) {
    const router = view.get(liveRouterTable, plan.router_id);
    const network = view.get(networkTable, plan.network_id);
    const ip = ownAddress(view, plan.id);
    if (router === undefined || network?.admin_state_up !== true || ip === undefined || view.get(routerGatewayTable, plan.id)?.enable_snat !== true) return;
    for (const host of plan.hosts) {
      const zone = numberOf(view, zonePool, host, zoneHolder(router.id));
      if (zone === undefined) continue;
      const scope = chassisScope(host);
      const ofRouter = { "reg:router": router.key, eth_type: ethType.ip } as const;
      out.flow(scope, "nat_in", { priority: 100, match: { ...ofRouter, ipv4_dst: ip }, actions: [...AFRESH, asKnown] });
      // Addresses of the inside are not known outside, so nobody there sends to them.
      out.flow(scope, "nat_in", { priority: 50, match: { ...ofRouter, "reg:net": network.key }, actions: [] });
      out.flow(scope, "nat_out", {
        priority: 50, match: { ...ofRouter, "reg:net": network.key },
        actions: [load("router_zone", zone), OUTSIDE, { type: "ct", zone: "router_zone", commit: true, nat: { kind: "src", addr_min: ip }, then: { stage: "resolve" } }],
      });
    }
  },
});

export const rules = [sources];

/** Connections by an address that is not translated any more, or leads elsewhere now: those that were opened to it, and from behind it. */
const forgotten: TableEffects = {
  withdrawn({ chassis, match }, view) {
    const router = view.by(routerTable, "key", String(match["reg:router"]))[0];
    const zone = router === undefined ? undefined : numberOf(view, zonePool, chassis, zoneHolder(router.id));
    const dst = match.ipv4_dst;
    // The zone of a router that is gone is flushed when it is given back.
    if (zone === undefined || typeof dst !== "string") return [];
    return [{ zone, dst }, { zone, reply: { dst } }];
  },
};
export const effects: NonNullable<App["effects"]> = { nat_in: forgotten };
