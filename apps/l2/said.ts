// What a frame says of who has an address, if a host has to believe it: ARP of Ethernet and IPv4 whose sender is the frame's, neighbour
// advertisements that are valid. Whether the port may say it is asked elsewhere.
import { arpOps, icmpv6Types, PacketError, parseNeighbourAdvertisement, parsePacket, type Packet } from "packet-codec";
import { NO_MAC } from "#app";
import { isGroupMac } from "./model.ts";

export interface Said {
  readonly ip: string;
  readonly mac: string;
  /** Whether it is said to everybody, and with the MAC: an announcement. */
  readonly toAll: boolean;
}

/** Who says to have which address, in a frame of that MAC; undefined: nobody who is to be believed. */
export function saidIn(data: Uint8Array, onMalformed?: (error: PacketError) => void): Said | undefined {
  try {
    const frame = parsePacket(data);
    if (frame.eth.vlan !== undefined || !isUsable(frame.eth.src)) return undefined;
    const said = frame.arp === undefined ? advertised(frame) : resolved(frame.arp);
    return said?.mac === frame.eth.src ? said : undefined;
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    onMalformed?.(error);
    return undefined;
  }
}

const isUsable = (mac: string): boolean => !isGroupMac(mac) && mac !== NO_MAC;

/** Any ARP but a probe, which asks whether it may. What is not of Ethernet and IPv4 was refused when it was read. */
function resolved({ op, spa, sha, tpa }: NonNullable<Packet["arp"]>): Said | undefined {
  if (op !== arpOps.request && op !== arpOps.reply) return undefined;
  return spa === "0.0.0.0" || Number.parseInt(spa, 10) >= MULTICAST ? undefined : { ip: spa, mac: sha, toAll: spa === tpa };
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
  return { ip: target, mac: target_lladdr ?? eth.src, toAll: ipv6.dst === ALL_NODES && target_lladdr !== undefined };
}
const ALL_NODES = "ff02::1";
const FRAGMENT_HEADER = 44;
const TARGET_LINK_LAYER_ADDRESS = 2;
const isMulticast = (ip: string): boolean => ip.startsWith("ff");
