// Which MAC the addresses of ports have, and who else may have them: ports with pairs, and without port security. What several may have is
// asked for in its network, and routers follow who announced it last (announce.ts).
import { chassisScope, derivation, each, type ReadView } from "#app";
import {
  activeAttachment, addressId, addressTable, isNetworkPort, knownAtTable, mayBeTaken, mayForward, neighbour, netScope, networkTable, portTable, saidOfLink, saidOfNetworkPort, singleAddress, takenBy, takersTable, contestedTable, type Contested, type Takers,
} from "./model.ts";
import { l2 } from "./tables.ts";

/** Who may have addresses of a network beside their own. */
function takersOf({ id }: { readonly id: string }, view: ReadView): Takers | undefined {
  const ports = view.by(portTable, "takers", id);
  if (ports.length === 0) return undefined;
  const prefixes = new Map<string, string>();
  for (const port of ports) for (const { ip_address: cidr } of port.allowed_address_pairs) {
    if (singleAddress(cidr) === undefined) prefixes.set(cidr, (prefixes.get(cidr) ?? port.id) === port.id ? port.id : "");
  }
  return { id, any: ports.some((p) => !p.port_security_enabled), prefixes: [...prefixes].sort(byKey).map(([cidr, port_id]) => ({ cidr, port_id })) };
}

function contestedOf({ id }: { readonly id: string }, view: ReadView): Contested | undefined {
  const contested = new Map<string, { readonly ip: string; readonly port_id: string }>();
  for (const port of view.by(portTable, "takers", id)) for (const { ip_address: text } of port.allowed_address_pairs) {
    const ip = singleAddress(text);
    const owner = ip === undefined ? undefined : view.get(addressTable, addressId(id, ip))?.port_id;
    if (ip !== undefined && owner !== undefined && owner !== port.id) contested.set(ip, { ip, port_id: owner });
  }
  return contested.size === 0 ? undefined : { id, addresses: [...contested].sort(byKey).map(([, row]) => row) };
}
const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

export const takers = [
  derivation({ name: "address-takers", on: each(networkTable), into: takersTable, reads: [portTable], derive: takersOf }),
  derivation({ name: "address-contested", on: each(networkTable), into: contestedTable, reads: [portTable, addressTable], derive: contestedOf }),
];

export const knownNeighbour = l2.rule({
  name: "neighbour",
  about: "an address of an attached port, or of one that the network itself provides, and its MAC",
  on: each(addressTable),
  emit(address, view, out) {
    const port = view.get(portTable, address.port_id);
    const network = view.get(networkTable, address.network_id);
    if (port === undefined || network === undefined) return;
    if (isNetworkPort(port)) {
      const known = view.by(knownAtTable, "port", port.id)[0];
      const scopes = known === undefined ? [netScope(network.id)] : known.hosts.map((host) => chassisScope(host));
      for (const scope of scopes) neighbour(out, network, address.ip, port.mac_address, scope, saidOfNetworkPort(port));
      return;
    }
    const said = mayForward(port) || mayBeTaken(view, network.id, address.ip, port.id) ? "asked" : "host";
    const mac = (said === "asked" ? takenBy(view, network.id, address.ip) : undefined) ?? (activeAttachment(view, port.id) === undefined ? undefined : port.mac_address);
    if (mac !== undefined) neighbour(out, network, address.ip, mac, netScope(network.id), said, saidOfLink(view, port, mac));
  },
});
