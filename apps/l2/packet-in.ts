// What ports say of addresses that the model does not list as theirs: heard, for the routers that look for them. Anti-spoofing let it pass;
// whether the port may say it is asked again, since pairs change and what was heard stays for a while.
import { learned, type Fact, type PacketInHandler, type ReadView } from "#app";
import { parseNeighbourAdvertisement, PacketError, parsePacket, icmpv6Types } from "packet-codec";
import { addressId, addressTable, heardNeighbourTable, mayClaim, portTable } from "./model.ts";

export const announced = ((packet, view: ReadView, log): readonly Fact[] => {
  const key = packet.register("in_port_key");
  const port = view.by(portTable, "key", String(key))[0];
  if (port === undefined) return [];
  let said: { readonly ip: string; readonly mac: string } | undefined;
  try {
    said = saidBy(packet.data);
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    log.debug({ err: error, port: port.id }, "malformed ARP or neighbour discovery");
  }
  if (said === undefined || !mayClaim(port, said.ip, said.mac)) return [];
  const id = addressId(port.network_id, said.ip);
  // Its own, which everybody is told of by flows.
  if (view.get(addressTable, id)?.port_id === port.id) return [];
  return [learned(heardNeighbourTable, port.id, { id, mac: said.mac, port_id: port.id })];
}) satisfies PacketInHandler;

/** Who says to have which address: any ARP but a probe, which asks whether it may; a neighbour advertisement. */
function saidBy(data: Uint8Array): { readonly ip: string; readonly mac: string } | undefined {
  const { eth, arp, icmpv6 } = parsePacket(data);
  if (arp !== undefined) return arp.spa === "0.0.0.0" ? undefined : { ip: arp.spa, mac: arp.sha };
  if (icmpv6?.type !== icmpv6Types.neighbourAdvertisement) return undefined;
  const { target, target_lladdr: mac } = parseNeighbourAdvertisement(icmpv6.payload);
  return { ip: target, mac: mac ?? eth.src };
}
