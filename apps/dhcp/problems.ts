// What is wrong with what ports are told, or with what their machines say of it.
import type { AppProblem, LiveView } from "#app";
import { addressId, addressTable, portTable } from "../l2/model.ts";
import { declinedAddressTable, relayRefusalTable, type RelayFault, type RelayRefusal } from "./model.ts";
import { optionsOfIpv4 } from "./options.ts";
import { unsentOptions } from "./port-options.ts";

export const problems = (view: LiveView): AppProblem[] => [
  ...unsentOptions(optionsOfIpv4, view).map((p): AppProblem => ({ kind: "option_not_sent", severity: "warning", ...p })),
  ...declinedAddresses(view),
  ...refusedRelays(view),
];

const CURES: Readonly<Record<RelayFault, string>> = {
  source: "give the relay's port the address that the relay sends from, as one of its own or as a pair (allowed_address_pairs) with the MAC that it sends by",
  giaddr: "give the relay's port the address that the relay names (giaddr), as one of its own or as a single address among its allowed_address_pairs",
  link: "have the relay name an address (giaddr, link selection, link-address) of a subnet of its port's network that has DHCP, or make one",
  client: "make a port with the client's MAC in the network of the relay's port, for the same project; with a port of another project there the relay may not ask for it",
  down: "set admin_state_up of the client's port",
  address: "give the client's port an address (fixed_ips) of the subnet that the relay names",
  message: "see docs/dhcp.md, relay agents, for what a relay has to send",
};

/** One for all clients that one relay asks for in vain for one reason. */
function refusedRelays(view: LiveView): AppProblem[] {
  const groups = new Map<string, Readonly<RelayRefusal>[]>();
  for (const refusal of view.facts(relayRefusalTable)) {
    if (refusal.fault === undefined || view.get(portTable, refusal.port_id) === undefined) continue;
    const key = `${refusal.port_id}/${refusal.family}/${refusal.why}`;
    const those = groups.get(key);
    if (those === undefined) groups.set(key, [refusal]);
    else those.push(refusal);
  }
  return Array.from(groups.values(), (those) => {
    const { port_id, family, why, fault } = those[0]!;
    const port = view.get(portTable, port_id)!;
    const clients = those.map(({ mac }) => mac).filter((mac) => mac !== "").sort().join(", ");
    return {
      kind: "relay_refused", severity: "warning", resources: [{ type: "port", id: port_id }, { type: "network", id: port.network_id }],
      text: `what the relay agent at port ${port.name || port_id} asks by DHCPv${family}${clients === "" ? "" : ` for ${clients}`} is not answered: ${why}`, cure: { text: CURES[fault!] },
    };
  });
}

/** As long as it has the address: what was declined and is no longer its own is no problem. */
function declinedAddresses(view: LiveView): AppProblem[] {
  return view.facts(declinedAddressTable).flatMap(({ port_id, ip }) => {
    const port = view.get(portTable, port_id);
    if (port === undefined || view.get(addressTable, addressId(port.network_id, ip))?.port_id !== port_id) return [];
    return [{
      kind: "address_declined", severity: "warning", resources: [{ type: "port", id: port_id }, { type: "network", id: port.network_id }],
      text: `the machine of port ${port.name || port_id} does not take its address ${ip}: it says that somebody else on its network uses it`,
      cure: { text: `find who answers for ${ip} there, among ports without port security and machines on the physical network; or give the port another address` },
    }];
  });
}
