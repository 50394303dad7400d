// DHCP agents: which hosts answer DHCP in a network, as clients ask for it.
import { conflict, notFound, type Alias, type App } from "#app";
import { servedBy } from "../agents/model.ts";
import { networkResource } from "../l2/model.ts";
import { hostsOf, networksOn } from "./model.ts";

export default {
  name: "dhcp-agents",
  about: "hosts as DHCP agents, and the networks that each serves",
  requires: ["agents", "dhcp", "ipam", "l2"],
  partOf: "dhcp",
  // Every host answers its own ports.
  ...servedBy({
    app: "dhcp-agents",
    kind: "dhcp",
    agentType: "DHCP agent",
    binary: "axion",
    notOne: (id) => notFound("InvalidDHCPAgent", `Agent ${id} is not a valid DHCP Agent or has been disabled`),
    resource: networkResource,
    about: { rows: "Networks in which the host answers DHCP.", agents: "Hosts that answer DHCP in the network.", refused: "Refused: which hosts answer follows from where ports are." },
    rowsOn: networksOn,
    hostsOf: (view, id) => hostsOf(view, id).map((host) => [host]),
    refusal: (network, agent) =>
      conflict("Conflict", `Network ${network} cannot be given to DHCP agent ${agent}, nor taken from it: each host that has a port of a network answers DHCP there for it. Plug ports elsewhere, or set enable_dhcp of its subnets.`),
  }),
  aliases: [{ alias: "dhcp_agent_scheduler", name: "DHCP Agent Scheduler", description: "Which hosts answer DHCP in a network.", updated: "2013-02-07T10:00:00-00:00" }] satisfies readonly Alias[],
} satisfies App;
