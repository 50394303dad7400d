// Routers of L3 agents and agents of routers. They follow from where ports are and which hosts may have gateways, so there is nothing to schedule: what
// would is refused, and says why.
import { conflict, extendResource, notFound, type Alias, type LiveView } from "#app";
import { agentResource, shownAgents, type Agent } from "../agents/model.ts";
import { routerResource, routerTable } from "../l3/model.ts";
import { hostsOf, L3_AGENT, routersOn } from "./model.ts";

const ADMIN = "rule:admin_only";

/** @throws ApiError 404 */
function checkType({ id, agent_type }: Agent): void {
  if (agent_type !== L3_AGENT) throw notFound("InvalidL3Agent", `Agent ${id} is not a L3 Agent or has been disabled`);
}

const shownRouter = (view: LiveView, id: string): Record<string, unknown>[] => {
  const router = view.get(routerTable, id);
  if (router === undefined) return [];
  const { name, description, project_id, admin_state_up, routes } = router;
  return [{ id, name, description, tenant_id: project_id, project_id, admin_state_up, status: "ACTIVE", routes }];
};

const refusal = (routerId: string): Error =>
  conflict("RouterDoesntSupportScheduling", `Router ${routerId} does not support scheduling: each host routes for its own ports, and hosts with external_ids:axion-gateway=true have gateways; axion-gateway=drain takes them from one.`);

const ofAgent = extendResource(agentResource, {
  actions: {
    "get_l3-routers": {
      method: "GET", path: "l3-routers", about: "Routers that the host routes for.", policy: ADMIN,
      read(view, agent) {
        checkType(agent);
        return { routers: routersOn(view, agent.host).flatMap((id) => shownRouter(view, id)) };
      },
    },
    "create_l3-router": {
      method: "POST", path: "l3-routers", status: 201, about: "Refused: which hosts route follows from where ports are, and which have gateways from what hosts say.", policy: ADMIN,
      check: { dict: { router_id: { check: { type: "uuid" }, required: true } } },
      run(_tx, agent, { router_id }, ctx) {
        checkType(agent);
        throw refusal(ctx.visible(routerResource, router_id as string).id);
      },
    },
    "delete_l3-router": {
      method: "DELETE", path: "l3-routers/{router_id}", status: 204, about: "Refused likewise.", policy: ADMIN,
      run(_tx, agent, _body, ctx, { router_id }) {
        checkType(agent);
        throw refusal(ctx.visible(routerResource, router_id!).id);
      },
    },
  },
});

const ofRouter = extendResource(routerResource, {
  actions: {
    "get_l3-agents": {
      method: "GET", path: "l3-agents", about: "Hosts that route for the router; ha_state: active has a gateway of it, standby stands for one, null routes for its own ports.", policy: ADMIN,
      read(view, router) {
        const hosts = hostsOf(view, router.id);
        return { agents: shownAgents(view, hosts.keys(), L3_AGENT).map((agent) => ({ ...agent, ha_state: hosts.get(agent.host as string) })) };
      },
    },
  },
});

export const extend = [ofAgent, ofRouter];
export const aliases: readonly Alias[] = [{ alias: "l3_agent_scheduler", name: "L3 Agent Scheduler", description: "Which hosts route for a router.", updated: "2013-02-07T10:00:00-00:00" }];
