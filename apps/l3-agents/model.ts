// Which hosts route for which routers: those with a port of a network that a router is connected to, since each host routes for its own, and those
// that have its gateways.
import type { LiveView, ReadView } from "#app";
import { gatewayPlanTable, gatewayReadyTable, gatewaysOf, type GatewayPlan } from "../gateway/model.ts";
import { isAlive } from "../agents/model.ts";
import { attachmentTable } from "../l2/model.ts";
import { routerInterfaceTable } from "../l3/model.ts";

/** Hosts of a router; one may come several times. */
export function* hostsOf(view: ReadView, routerId: string): Iterable<string> {
  for (const { network_id } of view.by(routerInterfaceTable, "router", routerId)) yield* view.pairKeys(attachmentTable, "network_chassis", network_id);
  for (const { hosts } of gatewaysOf(view, routerId)) yield* hosts;
}

/** What each is; `active`: it has a gateway of the router, `standby`: it stands for one, null: it routes for its own ports alone. */
export function statesOf(view: LiveView, routerId: string): ReadonlyMap<string, "active" | "standby" | null> {
  const hosts = new Map<string, "active" | "standby" | null>(Array.from(hostsOf(view, routerId), (host) => [host, null]));
  for (const plan of gatewaysOf(view, routerId)) {
    const active = activeOf(view, plan);
    for (const host of plan.hosts) if (hosts.get(host) !== "active") hosts.set(host, host === active ? "active" : "standby");
  }
  return hosts;
}

/** The first that is connected and may be used. */
const activeOf = (view: LiveView, plan: GatewayPlan): string | undefined => plan.hosts.find((host) => view.get(gatewayReadyTable, host)?.users === true && isAlive(view, host));

/** Ids of the routers of a host. */
export function routersOn(view: LiveView, host: string): string[] {
  const networks = new Set(view.by(attachmentTable, "chassis", host).map((a) => a.network_id));
  const routers = new Set([...networks].flatMap((id) => view.by(routerInterfaceTable, "network", id).map((i) => i.router_id)));
  for (const plan of view.by(gatewayPlanTable, "host", host)) if (plan.kind === "gateway") routers.add(plan.router_id);
  return [...routers].sort();
}
