// Which MAC the addresses of ports have, and who else may have them: ports with pairs, and without port security. What several may have is
// asked for in its network, and routers follow who announced it last (announce.ts).
import { chassisScope, derivation, each, toStage, type ReadView } from "#app";
import {
  activeAttachment, addressId, addressTable, attachmentTable, isNetworkPort, isRouterPort, mayBeTaken, mayForward, neighbour, netScope, networkTable, portTable, saidOfLink, singleAddress, takenBy, takersTable, type Takers,
} from "./model.ts";
import { l2 } from "./tables.ts";

/** Bytes of an announcement that the controller needs: longer ones were dropped. */
const ANNOUNCEMENT_MAX = 128;

/** Who may have addresses of a network beside their own. */
function takersOf({ id }: { readonly id: string }, view: ReadView): Takers | undefined {
  const ports = view.by(portTable, "takers", id);
  if (ports.length === 0) return undefined;
  const prefixes = new Set<string>();
  const rivals = new Set<string>();
  for (const port of ports) for (const { ip_address: text } of port.allowed_address_pairs) {
    const ip = singleAddress(text);
    if (ip === undefined) prefixes.add(text);
    const owner = ip === undefined ? undefined : view.get(addressTable, addressId(id, ip))?.port_id;
    if (owner !== undefined && owner !== port.id) rivals.add(port.id).add(owner);
  }
  return { id, any: ports.some((p) => !p.port_security_enabled), prefixes: [...prefixes].sort(), rivals: [...rivals].sort() };
}

export const takers = derivation({ name: "address-takers", on: each(networkTable), into: takersTable, reads: [portTable, addressTable], derive: takersOf });

export const knownNeighbour = l2.rule({
  name: "neighbour",
  about: "an address of an attached port, or of one that the network itself provides, and its MAC",
  on: each(addressTable),
  emit(address, view, out) {
    const port = view.get(portTable, address.port_id);
    const network = view.get(networkTable, address.network_id);
    if (port === undefined || network === undefined) return;
    if (isNetworkPort(port)) {
      neighbour(out, network, address.ip, port.mac_address, netScope(network.id), isRouterPort(port) ? "router" : "host");
      return;
    }
    const said = mayForward(port) || mayBeTaken(view, network.id, address.ip, port.id) ? "asked" : "host";
    const mac = (said === "asked" ? takenBy(view, network.id, address.ip) : undefined) ?? (activeAttachment(view, port.id) === undefined ? undefined : port.mac_address);
    if (mac !== undefined) neighbour(out, network, address.ip, mac, netScope(network.id), said, saidOfLink(view, network.id));
  },
});

export const announced = l2.rule({
  name: "address-announced",
  about: "announcements of ports that have addresses of each other's come to the controller: routers follow who has one",
  on: each(takersTable),
  emit({ rivals }, view, out) {
    for (const port of rivals) for (const at of view.by(attachmentTable, "port", port)) {
      out.flow(chassisScope(at.chassis), "address_announced", { priority: 100, match: { "reg:in_port_key": at.port_key }, meter: at.slot, actions: [{ type: "punt", maxLen: ANNOUNCEMENT_MAX }, toStage("forward")] });
    }
  },
});
