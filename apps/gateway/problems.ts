// What is wrong with gateways now: nobody has one, or nothing leaves by it; and that nobody answers machines for a router's interface.
import type { AppProblem, LiveView, ReadView } from "#app";
import { networkTable } from "../l2/model.ts";
import { deadNextHopTable, routerTable, translationTable } from "../l3/model.ts";
import { gatewayPlanTable, gatewayReadyTable, routerGatewayTable, type GatewayPlan } from "./model.ts";

export const HOST_IT = { text: "on hosts that lead to the external network, set external_ids:axion-gateway=true, and axion-bridge-mappings if it is on a physical network" };
export const LEAVE_IT = { text: "set enable_snat to false where outside knows the way to the addresses inside" };

/** A gateway is to translate sources and nothing is there that does: addresses of the inside do not leave. Who translates is another app's business, that somebody does is asked here. */
export const keepsIn = (plan: GatewayPlan, view: ReadView): boolean =>
  view.get(routerGatewayTable, plan.id)?.enable_snat === true && !view.by(translationTable, "router", plan.router_id).some((t) => t.out === plan.network_id);

export function problems(view: LiveView): AppProblem[] {
  const found: AppProblem[] = [];
  for (const plan of view.all(gatewayPlanTable)) {
    if (plan.kind === "interface") {
      if (plan.hosts.length === 0) {
        found.push({
          kind: "no_host", severity: "warning", text: `nobody answers for ${nameOf(plan, view)} on the physical network of ${networkOf(plan, view)}: no host is mapped to it`, resources: resourcesOf(plan),
          cure: { text: "name a bridge for the physical network in external_ids:axion-bridge-mappings of some host" },
        });
      } else if (!isReady(plan, view)) {
        found.push({
          kind: "not_ready", severity: "warning", text: `no host that could answer for ${nameOf(plan, view)} on the physical network of ${networkOf(plan, view)} is ready: connected, its flows confirmed, and not being drained`, resources: resourcesOf(plan), switches: plan.hosts,
          cure: { text: "look at these hosts in `axion switches`" },
        });
      }
      continue;
    }
    if (plan.hosts.length === 0) {
      found.push({
        kind: "no_host", severity: "error", text: `no host can have the gateway of ${nameOf(plan, view)}`, resources: resourcesOf(plan),
        cure: HOST_IT,
      });
    } else if (!isReady(plan, view)) {
      found.push({
        kind: "not_ready", severity: "error", text: `no host of the gateway of ${nameOf(plan, view)} is ready: connected, its flows confirmed, and not being drained`, resources: resourcesOf(plan), switches: plan.hosts,
        cure: { text: "look at these hosts in `axion switches`; of one that is drained set axion-gateway=true again" },
      });
    }
    if (keepsIn(plan, view)) {
      found.push({
        kind: "untranslated", severity: "warning", text: `${nameOf(plan, view)} is to translate sources, and nothing here does: no IPv4 leaves by its gateway`, resources: resourcesOf(plan),
        cure: LEAVE_IT,
      });
    }
  }
  for (const { network_id, ip } of view.by(deadNextHopTable, "all", "")) {
    found.push({
      kind: "dead_next_hop", severity: "warning", text: `the next hop ${ip} on network ${view.get(networkTable, network_id)?.name || network_id} does not answer: routes by others are used in its place`, resources: [{ type: "network", id: network_id }],
      cure: { text: "look whether it is up, and answers ARP or neighbour solicitations of the gateways there" },
    });
  }
  return found;
}

const isReady = ({ hosts }: GatewayPlan, view: LiveView): boolean => hosts.some((host) => view.get(gatewayReadyTable, host)?.users === true);
const networkOf = ({ network_id }: GatewayPlan, view: LiveView): string => `network ${view.get(networkTable, network_id)?.name || network_id}`;
export const nameOf = ({ router_id }: GatewayPlan, view: LiveView): string => `router ${view.get(routerTable, router_id)?.name || router_id}`;
export const resourcesOf = ({ router_id, network_id }: GatewayPlan): NonNullable<AppProblem["resources"]> => [{ type: "router", id: router_id }, { type: "network", id: network_id }];
