// Several gateways of a router as flows. Routes choose one; a packet that another host sent here for a gateway leaves by that one, whatever routes
// here say, or it might go to and fro between hosts that do not know the same yet. What answers by a floating IP leaves by the gateway of its network.
// Routers with one gateway have nothing of this, but where their host hands over what it has to send itself.
import { chassisScope, ethType, load, toEntrance, toStage, toTable, type Emit, type ReadView } from "#app";
import type { Network, Port } from "../../l2/model.ts";
import { routerScope, type LiveRouter } from "../../l3/model.ts";
import { asideId, gatewayAsideTable, isOneOfSeveral, leaveBy, nextHopOf, sentBy, type GatewayPlan } from "../model.ts";
import { gateway } from "../tables.ts";

const ON = toTable("gateway_out");
const FAMILIES = [{ eth_type: ethType.ip, six: false }, { eth_type: ethType.ipv6, six: true }] as const;

/** How what comes from other hosts for a gateway goes on, at one that has it. */
export const arrival = (plan: GatewayPlan, host: string, view: ReadView) => (isOneOfSeveral(plan, view) || isAside(plan, host, view) ? toEntrance(gateway.entrance("gateway_bound")) : toStage("route"));

/** Whether what a host has to send by a gateway of its own goes to others. */
export const isAside = ({ list }: GatewayPlan, host: string, view: ReadView): boolean => view.get(gatewayAsideTable, asideId(list, host)) !== undefined;

/** At a host that has to know what others have sent there for a gateway. */
export function bound(plan: GatewayPlan, host: string, router: LiveRouter, network: Network, port: Port, view: ReadView, out: Emit<typeof gateway>): void {
  const several = isOneOfSeveral(plan, view);
  if (!several && !isAside(plan, host, view)) return;
  const here = chassisScope(host);
  out.flow(here, "gateway_bound", { priority: 100, match: { "reg:net": network.key, eth_dst: port.mac_address }, actions: [load("by_gateway", port.key), toStage("route")] });
  if (!several) return;
  const came = { "reg:by_gateway": port.key } as const;
  out.flow(here, "gateway_choice", { priority: 200, match: { ...sentBy(plan, router, network, port.mac_address, view), ...came }, actions: [ON] });
  for (const { eth_type, six } of FAMILIES) {
    const nexthop = nextHopOf(plan.id, six, view);
    out.flow(here, "gateway_choice", { priority: 190, match: { "reg:router": router.key, ...came, eth_type }, actions: nexthop === undefined ? [] : leaveBy(network, port.mac_address, nexthop) });
  }
}

/** Wherever a router with several gateways is. */
export function asRouted(plan: GatewayPlan, router: LiveRouter, view: ReadView, out: Emit<typeof gateway>): void {
  if (isOneOfSeveral(plan, view)) out.flow(routerScope(router.id), "gateway_choice", { priority: 10, match: { "reg:router": router.key }, actions: [ON] });
}
