// Which MAC the addresses of ports have, and who else may have them: ports with pairs, and without port security. What several may have is
// asked for in its network, and routers follow who announced it last (announce.ts).
import { derivation, each, type ReadView } from "#app";
import {
  activeAttachment, addressId, addressTable, isNetworkPort, isRouterPort, mayBeTaken, mayForward, neighbour, netScope, networkTable, portTable, saidOfLink, singleAddress, takenBy, takersTable, type Takers,
} from "./model.ts";
import { l2 } from "./tables.ts";

/** Who may have addresses of a network beside their own. */
function takersOf({ id }: { readonly id: string }, view: ReadView): Takers | undefined {
  const ports = view.by(portTable, "takers", id);
  if (ports.length === 0) return undefined;
  const prefixes = new Set<string>();
  const contested = new Map<string, { readonly ip: string; readonly port_id: string }>();
  for (const port of ports) for (const { ip_address: text } of port.allowed_address_pairs) {
    const ip = singleAddress(text);
    if (ip === undefined) prefixes.add(text);
    const owner = ip === undefined ? undefined : view.get(addressTable, addressId(id, ip))?.port_id;
    if (ip !== undefined && owner !== undefined && owner !== port.id) contested.set(ip, { ip, port_id: owner });
  }
  return { id, any: ports.some((p) => !p.port_security_enabled), prefixes: [...prefixes].sort(), contested: [...contested].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row) };
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
