// What is wrong with gateways now: nobody has one, or nothing leaves by it.
import type { AppProblem, LiveView } from "#app";
import { routerTable } from "../l3/model.ts";
import { gatewayPlanTable, gatewayReadyTable, type GatewayPlan } from "./model.ts";
import { keepsIn } from "./translation.ts";

export function problems(view: LiveView): AppProblem[] {
  const found: AppProblem[] = [];
  for (const plan of view.all(gatewayPlanTable)) {
    if (plan.hosts.length === 0) {
      found.push({
        kind: "no_host", severity: "error", text: `no host can have the gateway of ${nameOf(plan, view)}`, resources: resourcesOf(plan),
        cure: { text: "on hosts that lead to the external network, set external_ids:axion-gateway=true, and axion-bridge-mappings if it is on a physical network" },
      });
    } else if (!plan.hosts.some((host) => view.get(gatewayReadyTable, host)?.users === true)) {
      found.push({
        kind: "not_ready", severity: "error", text: `no host of the gateway of ${nameOf(plan, view)} is ready: connected, its flows confirmed, and not being drained`, resources: resourcesOf(plan), switches: plan.hosts,
        cure: { text: "look at these hosts in `axion switches`; of one that is drained set axion-gateway=true again" },
      });
    }
    if (keepsIn(plan, view)) {
      found.push({
        kind: "untranslated", severity: "warning", text: `${nameOf(plan, view)} is to translate sources, and nothing here does: no IPv4 leaves by its gateway`, resources: resourcesOf(plan),
        cure: { text: "set enable_snat to false where outside knows the way to the addresses inside" },
      });
    }
  }
  return found;
}

const nameOf = ({ router_id }: GatewayPlan, view: LiveView): string => `router ${view.get(routerTable, router_id)?.name || router_id}`;
const resourcesOf = ({ router_id, network_id }: GatewayPlan): NonNullable<AppProblem["resources"]> => [{ type: "router", id: router_id }, { type: "network", id: network_id }];
