// The resource agent: hosts as the dashboard, the command-line client and health checks look for them.
import { badRequest, defineResource, type Alias } from "#app";
import { agentResource, agentTable, statusOf, type Agent } from "./hosts.ts";

const ADMIN = "rule:admin_only";

const agent = defineResource(agentResource, {
  collection: "agents",
  about: "A host in one of its roles. It is alive as long as its switch and its database are connected; what changes it is the host.",
  alias: "agent",
  table: agentTable,
  standard: ["id"],
  notFound: { type: "AgentNotFound", message: (id) => `Agent ${id} could not be found.` },
  attributes: {
    id: { type: "uuid", about: "Of the host and the role: it is the same whenever the host joins.", filter: true, sort: true },
    agent_type: { type: "string", about: "The role.", filter: true, sort: true },
    binary: { type: "string", about: "What does it: ovs-vswitchd on the host, or axion, the controller.", filter: true, sort: true },
    topic: { type: "string", about: "N/A: nobody sends messages to it.", filter: true, sort: true },
    host: { type: "string", about: "The host's system-id, as in binding:host_id.", filter: true, sort: true },
    admin_state_up: { type: "boolean", about: "True. A host is taken out of use where it is: gateways leave one with axion-gateway=drain.", put: true, filter: true, sort: true },
    created_at: { type: "any", about: "When the host was first seen in the role, UTC.", sort: true },
    started_at: { type: "any", about: "When its sessions last began; null: not since the controller started.", sort: true },
    heartbeat_timestamp: { type: "any", about: "When it was last seen alive, to half a minute; null: not since the controller started.", sort: true },
    alive: { type: "boolean", about: "Whether its switch and its database are connected.", filter: true, sort: true },
    configurations: { type: "object", about: "What the host says of itself." },
    resources_synced: { type: "any", about: "null: no resources of hosts are told to placement.", alias: "agent-resources-synced" },
    description: { type: "string", about: "Free text, or null.", put: true, check: { null: null, else: { type: "string", max: 255 } }, filter: true, sort: true },
  },
  policy: { get: ADMIN, update: ADMIN },
  update(tx, row, changes) {
    if (changes.admin_state_up === false) throw badRequest("Invalid input for admin_state_up. Reason: 'False' is not possible: a host acts as long as it is connected; external_ids:axion-gateway=drain on it takes gateways from it.");
    const after: Agent = changes.description === undefined ? row : { ...row, description: changes.description as string | null };
    tx.put(agentTable, after);
    return after;
  },
  present: (view, row) => ({ ...statusOf(view, row), resources_synced: null }),
});

export const resources = [agent];
export const aliases: readonly Alias[] = [
  { alias: "agent", name: "agent", description: "Hosts by their roles, and whether they are alive.", updated: "2013-02-03T10:00:00-00:00" },
  { alias: "agent-resources-synced", name: "Agent's Resource View Synced to Placement", description: "Hosts show whether their resources are known to placement.", updated: "2018-12-19T00:00:00-00:00" },
  { alias: "agent_sort_key", name: "Agents Sort Key", description: "Lists of agents can be sorted.", updated: "2013-02-03T10:00:00-00:00" },
];
