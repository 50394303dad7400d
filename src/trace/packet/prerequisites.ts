// Which fields a packet has: an action on a field of another protocol does nothing. lib/meta-flow.c of Open vSwitch, mf_are_prereqs_ok.
import type { Field } from "node-openflow";
import { at } from "./places.ts";

export const ETH_TYPE = { ipv4: 0x0800, arp: 0x0806, rarp: 0x8035, vlan: 0x8100, qinq: 0x88a8, ipv6: 0x86dd, mpls: 0x8847, mplsMulticast: 0x8848, nsh: 0x894f, none: 0x05ff } as const;
export const PROTO = { icmpv4: 1, igmp: 2, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
const LATER = 2;
/** new, est, rpl: a packet of a known connection has one of them. */
const VALID = 0x0b;

/** Type of what follows the Ethernet header, or of the packet itself where there is none. */
export function networkType(words: Uint32Array): number {
  const type = words[at.packet_type]!;
  if (type === 0) return words[at.eth_type]!;
  return type >>> 16 === 1 ? type & 0xffff : ETH_TYPE.none;
}

export const isMpls = (type: number): boolean => type === ETH_TYPE.mpls || type === ETH_TYPE.mplsMulticast;

export function isIp(words: Uint32Array): boolean {
  const type = networkType(words);
  return type === ETH_TYPE.ipv4 || type === ETH_TYPE.ipv6;
}

export function hasField(needs: Field["needs"], words: Uint32Array): boolean {
  if (needs === undefined) return true;
  const type = networkType(words);
  const proto = words[at.nw_proto]!;
  const transport = (number: number): boolean => isIp(words) && proto === number && (words[at.nw_frag]! & LATER) === 0;
  const icmp6 = type === ETH_TYPE.ipv6 && proto === PROTO.icmpv6;
  const kind = words[at.tp_src]!;
  const neighbour = icmp6 && words[at.tp_dst] === 0 && (kind === 135 || kind === 136);
  switch (needs) {
    case "eth":
      return words[at.packet_type] === 0;
    case "vlan":
      return words[at.packet_type] === 0 && (words[at.vlan_tci]! & 0x1000) !== 0;
    case "ip":
      return isIp(words);
    case "ipv4":
      return type === ETH_TYPE.ipv4;
    case "ipv6":
      return type === ETH_TYPE.ipv6;
    case "arp":
      return type === ETH_TYPE.arp || type === ETH_TYPE.rarp;
    case "mpls":
      return isMpls(type);
    case "nsh":
      return type === ETH_TYPE.nsh;
    case "tcp":
      return transport(PROTO.tcp);
    case "udp":
      return transport(PROTO.udp);
    case "sctp":
      return transport(PROTO.sctp);
    case "icmpv4":
      return type === ETH_TYPE.ipv4 && proto === PROTO.icmpv4;
    case "icmpv6":
      return icmp6;
    case "nd":
      return neighbour;
    case "nd_solicit":
      return neighbour && kind === 135;
    case "nd_advert":
      return neighbour && kind === 136;
    case "ct":
      return (words[at.ct_state]! & VALID) !== 0;
  }
}
