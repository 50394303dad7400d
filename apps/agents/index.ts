// Agents: hosts as clients of the API look for them.
import type { App } from "#app";
import { aliases, resources } from "./api.ts";
import { agentTable, heartbeatTable, hostRoleTable } from "./model.ts";
import { agentsOfRoles, derive } from "./roles.ts";

export default {
  name: "agents",
  about: "hosts as agents, one for each role, alive as long as they are connected",
  tables: [agentTable, hostRoleTable],
  softTables: [heartbeatTable],
  resources,
  aliases,
  derive,
  services: [agentsOfRoles],
} satisfies App;
