// What ports say of addresses that the model does not list as theirs: heard, for the routers that look for them. Anti-spoofing let it pass, of ports
// without port security whatever it is; so it is asked here whether a host had to believe it, and again whether the port may say it, since
// pairs change and what was heard stays for a while.
import { learned, type Fact, type PacketInHandler, type ReadView } from "#app";
import { arpOps, icmpv6Types, PacketError, parseNeighbourAdvertisement, parsePacket, type Packet } from "packet-codec";
import { addressId, addressTable, heardNeighbourTable, isAnothers, isGroupMac, mayClaim, portTable } from "./model.ts";

interface Said {
  readonly ip: string;
  readonly mac: string;
}

export const announced = ((packet, view: ReadView, log): readonly Fact[] => {
  const key = packet.register("in_port_key");
  const port = view.by(portTable, "key", String(key))[0];
  if (port === undefined) return [];
  let said: Said | undefined;
  try {
    said = saidBy(parsePacket(packet.data));
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    log.debug({ err: error, port: port.id }, "malformed ARP or neighbour discovery");
  }
  if (said === undefined || !isUsable(said.mac) || isAnothers(view, port, said.mac) || !mayClaim(port, said.ip, said.mac)) return [];
  const id = addressId(port.network_id, said.ip);
  // Its own, which everybody is told of by flows.
  if (view.get(addressTable, id)?.port_id === port.id) return [];
  return [learned(heardNeighbourTable, port.id, { id, mac: said.mac, port_id: port.id })];
}) satisfies PacketInHandler;

/** Who says to have which address, in a frame of that MAC. */
function saidBy(frame: Packet): Said | undefined {
  if (frame.eth.vlan !== undefined) return undefined;
  const said = frame.arp === undefined ? advertised(frame) : resolved(frame.arp);
  return said?.mac === frame.eth.src ? said : undefined;
}

/** Any ARP but a probe, which asks whether it may. What is not of Ethernet and IPv4 was refused when it was read. */
function resolved({ op, spa, sha }: NonNullable<Packet["arp"]>): Said | undefined {
  if (op !== arpOps.request && op !== arpOps.reply) return undefined;
  return spa === "0.0.0.0" || Number.parseInt(spa, 10) >= MULTICAST ? undefined : { ip: spa, mac: sha };
}
/** First byte of the addresses that are nobody's own: multicast, reserved, broadcast. */
const MULTICAST = 224;

/** A neighbour advertisement that is valid, RFC 4861 section 7.1.2, and whole, RFC 6980 section 5. The length of options was asked when it was read. */
function advertised({ eth, ipv6, icmpv6 }: Packet): Said | undefined {
  if (ipv6 === undefined || icmpv6?.type !== icmpv6Types.neighbourAdvertisement || icmpv6.code !== 0 || icmpv6.checksumOk !== true) return undefined;
  if (ipv6.hop_limit !== 255 || ipv6.extensions.includes(FRAGMENT_HEADER)) return undefined;
  const { target, target_lladdr, solicited, unknown } = parseNeighbourAdvertisement(icmpv6.payload);
  if (isMulticast(target) || target === "::" || (solicited && isMulticast(ipv6.dst))) return undefined;
  // A second one, or one of another length, which another host may take for the address.
  if (unknown.some(({ type }) => type === TARGET_LINK_LAYER_ADDRESS)) return undefined;
  return { ip: target, mac: target_lladdr ?? eth.src };
}
const FRAGMENT_HEADER = 44;
const TARGET_LINK_LAYER_ADDRESS = 2;
const isMulticast = (ip: string): boolean => ip.startsWith("ff");

const isUsable = (mac: string): boolean => !isGroupMac(mac) && mac !== "00:00:00:00:00:00";
