// What ports say of addresses that the model does not list as theirs: heard, for the routers that look for them. Anti-spoofing let it pass, of ports
// without port security whatever it is; so it is asked here whether a host had to believe it, and again whether the port may say it, since
// pairs change and what was heard stays for a while.
import { learned, type Fact, type PacketInHandler, type ReadView } from "#app";
import { addressId, addressTable, heardNeighbourTable, isAnothers, mayClaim, senderOf } from "./model.ts";
import { saidIn } from "./said.ts";

export const announced = ((packet, view: ReadView, log): readonly Fact[] => {
  const port = senderOf(view, packet);
  if (port === undefined) return [];
  const said = saidIn(packet.data, (error) => log.debug({ err: error, port: port.id }, "malformed ARP or neighbour discovery"));
  if (said === undefined || isAnothers(view, port, said.mac) || !mayClaim(port, said.ip, said.mac)) return [];
  const id = addressId(port.network_id, said.ip);
  // Its own, which everybody is told of by flows.
  if (view.get(addressTable, id)?.port_id === port.id) return [];
  return [learned(heardNeighbourTable, port.id, { id, mac: said.mac, port_id: port.id, project_id: port.project_id })];
}) satisfies PacketInHandler;
