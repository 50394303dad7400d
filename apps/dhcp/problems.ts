// What is wrong with what ports are told, or with what their machines say of it.
import type { AppProblem, LiveView } from "#app";
import { addressId, addressTable, portTable } from "../l2/model.ts";
import { declinedAddressTable } from "./model.ts";
import { optionsOfIpv4 } from "./options.ts";
import { unsentOptions } from "./port-options.ts";

export const problems = (view: LiveView): AppProblem[] => [
  ...unsentOptions(optionsOfIpv4, view).map((p): AppProblem => ({ kind: "option_not_sent", severity: "warning", ...p })),
  ...declinedAddresses(view),
];

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
