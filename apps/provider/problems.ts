// Ports that are plugged, or asked for, where their network is not.
import type { AppProblem, LiveView } from "#app";
import { bindingFault, chosenSegmentTable, networkTable, pluggedAt, portBindingTable, portTable, requestedChassis } from "../l2/model.ts";

export function problems(view: LiveView): readonly AppProblem[] {
  const found: AppProblem[] = [];
  const networks = new Set([...view.all(chosenSegmentTable)].map((s) => s.network_id));
  for (const network of networks) {
    for (const port of view.by(portTable, "network", network)) {
      const requested = view.get(portBindingTable, port.id)?.requested_host ?? "";
      const chassis = pluggedAt(view, port.id)?.chassis ?? (requested === "" ? undefined : requestedChassis(view, requested));
      const fault = chassis === undefined ? undefined : bindingFault(view, network, chassis);
      if (chassis === undefined || fault === undefined) continue;
      found.push({
        kind: "binding_failed", severity: "error", text: `port ${port.id} is not bound: ${fault}`,
        resources: [{ type: "port", id: port.id, name: port.name }, { type: "network", id: network, name: view.get(networkTable, network)?.name ?? "" }], switches: [chassis.id],
        cure: { text: "name a bridge for the physical network in axion-bridge-mappings of that host, or the encapsulation in its axion-encap-type; or plug the port where its network is" },
      });
    }
  }
  return found.sort((a, b) => (a.text < b.text ? -1 : 1));
}
