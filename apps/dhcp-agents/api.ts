// Networks of DHCP agents and agents of networks. They follow from where ports are, so there is nothing to schedule: what would is refused, and says why.
import { conflict, extendResource, notFound, type Alias, type LiveView } from "#app";
import { agentResource, shownAgents, type Agent } from "../agents/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { networkResource, networkTable } from "../l2/model.ts";
import { DHCP_AGENT, hostsOf, networksOn } from "./model.ts";

const ADMIN = "rule:admin_only";

/** @throws ApiError 404 */
function checkType({ id, agent_type }: Agent): void {
  if (agent_type !== DHCP_AGENT) throw notFound("InvalidDHCPAgent", `Agent ${id} is not a valid DHCP Agent or has been disabled`);
}

const shownNetwork = (view: LiveView, id: string): Record<string, unknown>[] => {
  const network = view.get(networkTable, id);
  if (network === undefined) return [];
  const { name, description, project_id, admin_state_up, shared } = network;
  return [{ id, name, description, tenant_id: project_id, project_id, admin_state_up, shared, status: "ACTIVE", subnets: view.by(subnetTable, "network", id).map((s) => s.id).sort() }];
};

const refusal = (networkId: string, agentId: string): Error =>
  conflict("Conflict", `Network ${networkId} cannot be given to DHCP agent ${agentId}, nor taken from it: each host that has a port of a network answers DHCP there for it. Plug ports elsewhere, or set enable_dhcp of its subnets.`);

const ofAgent = extendResource(agentResource, {
  actions: {
    "get_dhcp-networks": {
      method: "GET", path: "dhcp-networks", about: "Networks in which the host answers DHCP.", policy: ADMIN,
      read(view, agent) {
        checkType(agent);
        return { networks: networksOn(view, agent.host).flatMap((id) => shownNetwork(view, id)) };
      },
    },
    "create_dhcp-network": {
      method: "POST", path: "dhcp-networks", status: 201, about: "Refused: which hosts answer follows from where ports are.", policy: ADMIN, check: { dict: { network_id: { check: { type: "uuid" }, required: true } } },
      run(_tx, agent, { network_id }, ctx) {
        checkType(agent);
        throw refusal(ctx.visible(networkResource, network_id as string).id, agent.id);
      },
    },
    "delete_dhcp-network": {
      method: "DELETE", path: "dhcp-networks/{network_id}", status: 204, about: "Refused likewise.", policy: ADMIN,
      run(_tx, agent, _body, ctx, { network_id }) {
        checkType(agent);
        throw refusal(ctx.visible(networkResource, network_id!).id, agent.id);
      },
    },
  },
});

const ofNetwork = extendResource(networkResource, {
  actions: {
    "get_dhcp-agents": {
      method: "GET", path: "dhcp-agents", about: "Hosts that answer DHCP in the network.", policy: ADMIN,
      read: (view, network) => ({ agents: shownAgents(view, hostsOf(view, network.id), DHCP_AGENT) }),
    },
  },
});

export const extend = [ofAgent, ofNetwork];
export const aliases: readonly Alias[] = [{ alias: "dhcp_agent_scheduler", name: "DHCP Agent Scheduler", description: "Which hosts answer DHCP in a network.", updated: "2013-02-07T10:00:00-00:00" }];
