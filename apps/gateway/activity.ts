// Gateways as they are now: what an operator is shown of their hosts, how one is on its network, and what is done while there are any.
import type { Cancel, LiveView, ServiceHost } from "#app";
import { addressesOf, networkTable, portTable, type Network, type Port } from "../l2/model.ts";
import { gatewayNeighbourTable, gatewayPlanTable, gatewayReadyTable, gatewaysOf, seenAlive, usedBy, type GatewayPlan } from "./model.ts";

/** Calls `fn` every so many seconds, from now on whenever there are gateways, or what is left of some. */
export function whileGateways(host: ServiceHost, seconds: number, fn: () => void | Promise<void>): void {
  let cancel: Cancel | undefined;
  const { view } = host;
  const idle = (): boolean => view.count(gatewayPlanTable, "all", "") + view.count(gatewayReadyTable, "all", "") + view.count(gatewayNeighbourTable, "all", "") === 0;
  const begin = (): void => {
    if (cancel !== undefined || idle()) return;
    cancel = host.every(seconds, async () => {
      await fn();
      if (!idle()) return;
      cancel?.();
      cancel = undefined;
    });
  };
  host.onCommit([gatewayPlanTable], begin);
  begin();
}

/** What an operator is shown of the hosts of a router's gateways, the preferred one first; `alive`: null where no fellow is there to say. What acts asks `activeHost`, which also knows whose switch is connected. */
export function shownHosts(view: LiveView, routerId: string): object[] {
  return gatewaysOf(view, routerId).map((plan) => {
    const hosts = plan.hosts.map((host) => ({ host, ready: usedBy(view.get(gatewayReadyTable, host)), alive: seenAlive(view, plan, host) ?? null }));
    return { network_id: plan.network_id, port_id: plan.id, active: hosts.find(({ ready, alive }) => ready && alive !== false)?.host ?? null, hosts };
  });
}

/** A gateway as it is on its network. */
export interface Presence {
  readonly plan: GatewayPlan;
  readonly network: Network;
  readonly port: Port;
  readonly addresses: readonly string[];
}
export function presenceOf(view: LiveView, plan: GatewayPlan): Presence | undefined {
  const network = view.get(networkTable, plan.network_id);
  const port = view.get(portTable, plan.id);
  if (network === undefined || port === undefined) return undefined;
  return { plan, network, port, addresses: addressesOf(view, plan.id).map((a) => a.ip) };
}

/** What a packet of a gateway's own has in its registers: it is from there, and no question of somebody outside. */
export const ofGateway = ({ network, port }: Presence): { readonly net: number; readonly in_port_key: number } => ({ net: network.key, in_port_key: port.key });
