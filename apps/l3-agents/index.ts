// L3 agents: which hosts route for a router, as clients ask for it.
import { chassisTable, derivation, each, type App } from "#app";
import { hostRoleTable, type HostRole } from "../agents/model.ts";
import { aliases, extend } from "./api.ts";
import { L3_AGENT } from "./model.ts";

/** Every host routes for its own ports. */
const derive = [
  derivation({
    name: "l3-host",
    on: each(chassisTable),
    into: hostRoleTable,
    reads: [],
    derive: ({ id }): HostRole => ({ id: `l3-agents/${id}`, chassis: id, agent_type: L3_AGENT, binary: "ovs-vswitchd" }),
  }),
];

export default {
  name: "l3-agents",
  about: "hosts as L3 agents, and the routers that each routes for",
  requires: ["agents", "gateway", "l2", "l3"],
  partOf: "gateway",
  extend,
  aliases,
  derive,
} satisfies App;
