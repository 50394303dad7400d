// DHCP agents: which hosts answer DHCP in a network, as clients ask for it.
import { chassisTable, derivation, each, type App } from "#app";
import { hostRoleTable, type HostRole } from "../agents/model.ts";
import { aliases, extend } from "./api.ts";
import { DHCP_AGENT } from "./model.ts";

/** Every host answers its own ports. */
const derive = [
  derivation({
    name: "dhcp-host",
    on: each(chassisTable),
    into: hostRoleTable,
    reads: [],
    derive: ({ id }): HostRole => ({ id: `dhcp-agents/${id}`, chassis: id, agent_type: DHCP_AGENT, binary: "axion" }),
  }),
];

export default {
  name: "dhcp-agents",
  about: "hosts as DHCP agents, and the networks that each serves",
  requires: ["agents", "dhcp", "ipam", "l2"],
  partOf: "dhcp",
  extend,
  aliases,
  derive,
} satisfies App;
