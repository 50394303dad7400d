// A gate: where packets of a router leave for an outside network, on the first of its hosts that is alive.
import { contains, definePool, defineTable, parseCidr, parseIp, resourceHandle, type ReadView, type StandardRow } from "#app";
import { subnetTable } from "../../../../apps/ipam/model.ts";
import { attachmentTable } from "../../../../apps/l2/model.ts";
import { routerInterfaceTable } from "../../../../apps/l3/model.ts";

export interface Gate extends StandardRow {
  readonly router_id: string;
  /** Network of the outside: the router is on it by its gate alone. Redirected packets travel with its VNI. */
  readonly outside_id: string;
  /** The router's there. */
  readonly address: string;
  /** Where its default route leads. */
  readonly nexthop: string;
  /** Ids of chassis, in order of preference. */
  readonly hosts: readonly string[];
  /** Reserved: no port has it. It is the router's outside, and by it a gateway knows a redirected packet. */
  readonly mac: string;
}
export const gateTable = defineTable<Gate>()("gate", { resource: "gate", indexes: { router: (g) => g.router_id } });
export const gateResource = resourceHandle<Gate>("gate");

/** Ports of one chassis, to one peer each; below the overlay's own. */
export const portPool = definePool({ name: "gate-port", of: "ofport", min: 61_001, max: 65_000, about: "OpenFlow ports of tunnels to and from gateways" });
/** One for each list of hosts, the same on every switch. */
export const groupPool = definePool({ name: "gate-group", of: "group", min: 1_000_001, max: 2_000_000, about: "groups of gateways" });
export const macPool = definePool({ name: "gate-mac", of: "key", min: 1, max: 0xff_ffff, about: "last three bytes of the MACs of gates" });
export const macOf = (n: number): string => `fa:16:40:${n.toString(16).padStart(6, "0").replace(/..(?=.)/g, "$&:")}`;

export const portNameTo = (peerKey: number): string => `axion-bfd-${peerKey}`;
export const listOf = (gate: Gate): string => gate.hosts.join(",");

/** Subnet of the outside that the gate's address is of. */
export const cidrOf = (gate: Gate, view: ReadView): string | undefined => {
  const ip = parseIp(gate.address);
  return ip === undefined ? undefined : view.by(subnetTable, "network", gate.outside_id).map((s) => s.cidr).sort().find((cidr) => contains(parseCidr(cidr)!, ip));
};

/** Chassis that send to a gate's hosts: they have a port in a network of the router, and are none of the hosts. */
export function usersOf(gate: Gate, view: ReadView): string[] {
  const users = new Set<string>();
  for (const leg of view.by(routerInterfaceTable, "router", gate.router_id)) {
    if (leg.network_id === gate.outside_id) continue;
    for (const chassis of view.pairKeys(attachmentTable, "network_chassis", leg.network_id)) if (!gate.hosts.includes(chassis)) users.add(chassis);
  }
  return [...users].sort();
}
