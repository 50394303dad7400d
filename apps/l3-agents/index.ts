// L3 agents: which hosts route for a router, as clients ask for it.
import { conflict, notFound, type Alias, type App } from "#app";
import { servedBy } from "../agents/model.ts";
import { routerResource } from "../l3/model.ts";
import { routersOn, statesOf } from "./model.ts";

export default {
  name: "l3-agents",
  about: "hosts as L3 agents, and the routers that each routes for",
  requires: ["agents", "gateway", "l2", "l3"],
  partOf: "gateway",
  // Every host routes for its own ports.
  ...servedBy({
    app: "l3-agents",
    kind: "l3",
    agentType: "L3 agent",
    binary: "ovs-vswitchd",
    notOne: (id) => notFound("InvalidL3Agent", `Agent ${id} is not a L3 Agent or has been disabled`),
    resource: routerResource,
    about: {
      rows: "Routers that the host routes for.",
      agents: "Hosts that route for the router; ha_state: active has a gateway of it, standby stands for one, null routes for its own ports.",
      refused: "Refused: which hosts route follows from where ports are, and which have gateways from what hosts say.",
    },
    rowsOn: routersOn,
    hostsOf: (view, id) => Array.from(statesOf(view, id), ([host, ha_state]) => [host, { ha_state }]),
    refusal: (router) =>
      conflict("RouterDoesntSupportScheduling", `Router ${router} does not support scheduling: each host routes for its own ports, and hosts with external_ids:axion-gateway=true have gateways; axion-gateway=drain takes them from one.`),
  }),
  aliases: [{ alias: "l3_agent_scheduler", name: "L3 Agent Scheduler", description: "Which hosts route for a router.", updated: "2013-02-07T10:00:00-00:00" }] satisfies readonly Alias[],
} satisfies App;
