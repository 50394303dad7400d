// Frames by which a host tells its neighbours where an address lives, unasked: gratuitous ARP and the unsolicited neighbour
// advertisement. What a router sends when an address moves to another port.

import { arpOps, buildArp } from "../ethernet/arp.ts";
import { buildEthernet, ethertypes } from "../ethernet/ethernet.ts";
import type { EthernetHeader } from "../ethernet/ethernet.ts";
import { buildIcmpv6, icmpv6Types } from "../icmp/icmpv6.ts";
import { ipProtocols } from "../ip/ip.ts";
import { buildIpv6 } from "../ip/ipv6.ts";
import { buildNeighbourAdvertisement } from "../routing/neighbour.ts";

const broadcast = "ff:ff:ff:ff:ff:ff";
const allNodes = { mac: "33:33:00:00:00:01", ip: "ff02::1" } as const;
/** Neighbour discovery that crossed a router is not believed. RFC 4861 7.1.2 */
const hopLimit = 255;

type Tags = Pick<EthernetHeader, "vlan" | "vlan_pcp" | "vlan_dei" | "vlan_tpid" | "inner_tags">;

export interface GratuitousArpInput extends Tags {
  mac: string;
  /** The IPv4 address that lives at `mac`. */
  address: string;
  /** "request" is an announcement as RFC 5227 3 has it, "reply" what some neighbours need to see. Default request. */
  op?: keyof typeof arpOps;
}

/** A whole frame to everybody, not padded. @throws RangeError */
export function buildGratuitousArp(input: GratuitousArpInput): Buffer {
  const { mac, address, op = "request", ...tags } = input;
  // A reply names its target's address too; a request asks nobody.
  const tha = op === "reply" ? broadcast : "00:00:00:00:00:00";
  return buildEthernet(
    { dst: broadcast, src: mac, ethertype: ethertypes.arp, ...tags },
    buildArp({ op: arpOps[op], sha: mac, spa: address, tha, tpa: address }),
  );
}

export interface UnsolicitedNeighbourAdvertisementInput extends Tags {
  mac: string;
  /** The IPv6 address that lives at `mac`; also the source. */
  address: string;
  /** Default false. */
  router?: boolean;
  /** Replaces what neighbours have cached. Default true; false for anycast addresses. */
  override?: boolean;
}

/** A whole frame to all nodes. @throws RangeError. RFC 4861 7.2.6 */
export function buildUnsolicitedNeighbourAdvertisement(input: UnsolicitedNeighbourAdvertisementInput): Buffer {
  const { mac, address, router = false, override = true, ...tags } = input;
  const ends = { src: address, dst: allNodes.ip };
  const body = buildNeighbourAdvertisement({ target: address, target_lladdr: mac, router, override });
  const message = buildIcmpv6({ type: icmpv6Types.neighbourAdvertisement, code: 0 }, body, ends);
  const packet = buildIpv6({ ...ends, next_header: ipProtocols.icmpv6, hop_limit: hopLimit }, message);
  return buildEthernet({ dst: allNodes.mac, src: mac, ethertype: ethertypes.ipv6, ...tags }, packet);
}
