// What is known about a packet at some point of a flow: what its match says, changed by the actions before. Decides whether
// the prerequisites of a field hold, in a match and in actions, by the rules of Open vSwitch.

import type { Prerequisite } from "../../match/fields.ts";

export const ETH = { IP: 0x0800, ARP: 0x0806, RARP: 0x8035, IPV6: 0x86dd, MPLS: 0x8847, MPLS_MC: 0x8848, NSH: 0x894f } as const;
export const PROTO = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58, SCTP: 132 } as const;
/** Name space in the upper half, type in the lower. */
export const PACKET_TYPE = { ETHERNET: 0, NSH: 0x1894f, NEXT: 0xfffe, UNKNOWN: 0xffffffff } as const;
export const VLAN_PRESENT = 0x1000;
export const CT_INVALID = 0x10;
const CT_TRACKED = 0x20;
/** new, est, rel, rpl, snat, dnat: each says that there is a connection. */
const CT_CONNECTED = 0xcf;
const NEIGHBOUR_SOLICITATION = 135;
const NEIGHBOUR_ADVERTISEMENT = 136;
const NO_TYPE = 0x05ff;
const NOT_FIRST = 2;

export class Packet {
  packetType = 0;
  /** As matched or set by actions; use `type` to ask for it. */
  ethType = 0;
  proto = 0;
  frag = 0;
  /** Outer tag first; bit VLAN_PRESENT says that there is one. */
  vlans: [number, number] = [0, 0];
  ctState = 0;
  ctStateMask = 0;
  tpSrc = 0;
  tpDst = 0;

  copy(): Packet {
    const copy = Object.assign(new Packet(), this);
    copy.vlans = [...this.vlans];
    return copy;
  }

  get type(): number {
    if (this.packetType === PACKET_TYPE.ETHERNET) return this.ethType;
    return this.packetType >>> 16 === 1 ? this.packetType & 0xffff : NO_TYPE;
  }

  get isIp(): boolean {
    return this.type === ETH.IP || this.type === ETH.IPV6;
  }

  get isMpls(): boolean {
    return this.type === ETH.MPLS || this.type === ETH.MPLS_MC;
  }

  get hasVlan(): boolean {
    return (this.vlans[0] & VLAN_PRESENT) !== 0;
  }

  /** A transport protocol with ports, in a packet that has them. */
  get hasPorts(): boolean {
    return this.isIp && (this.frag & NOT_FIRST) === 0 && (this.proto === PROTO.TCP || this.proto === PROTO.UDP || this.proto === PROTO.SCTP);
  }

  meets(needs: Prerequisite | undefined): boolean {
    switch (needs) {
      case undefined:
        return true;
      case "eth":
        return this.packetType === PACKET_TYPE.ETHERNET;
      case "vlan":
        return this.packetType === PACKET_TYPE.ETHERNET && this.hasVlan;
      case "ip":
        return this.isIp;
      case "ipv4":
        return this.type === ETH.IP;
      case "ipv6":
        return this.type === ETH.IPV6;
      case "arp":
        return this.type === ETH.ARP || this.type === ETH.RARP;
      case "mpls":
        return this.isMpls;
      case "nsh":
        return this.type === ETH.NSH;
      case "tcp":
      case "udp":
      case "sctp":
        return this.hasPorts && this.proto === PROTO[needs === "tcp" ? "TCP" : needs === "udp" ? "UDP" : "SCTP"];
      case "icmpv4":
        return this.type === ETH.IP && this.proto === PROTO.ICMP;
      case "icmpv6":
        return this.type === ETH.IPV6 && this.proto === PROTO.ICMPV6;
      case "nd":
        return this.meets("nd_solicit") || this.meets("nd_advert");
      case "nd_solicit":
      case "nd_advert":
        return this.meets("icmpv6") && this.tpDst === 0 && this.tpSrc === (needs === "nd_solicit" ? NEIGHBOUR_SOLICITATION : NEIGHBOUR_ADVERTISEMENT);
      case "ct":
        return (this.ctState & CT_CONNECTED) !== 0 || ((this.ctState & CT_TRACKED) !== 0 && (this.ctStateMask & CT_INVALID) !== 0 && (this.ctState & CT_INVALID) === 0);
    }
  }

  /** @returns false when there are two tags already */
  pushVlan(): boolean {
    if ((this.vlans[1] & VLAN_PRESENT) !== 0) return false;
    this.vlans = [VLAN_PRESENT, this.vlans[0]];
    return true;
  }

  popVlan(): void {
    this.vlans = [this.vlans[1], 0];
  }
}
