// What a rule says, as matches: of a packet by its own fields, and of a connection by the addresses and ports that its first packet had,
// which conntrack knows of every packet of it, of answers and of errors about it.
import { portMatches, type PortMask, ethType, ipDst, ipProto, ipSrc, isIpv6 } from "#app";
import type { BoundTo, SecurityGroupRule } from "./model.ts";
import { protocolNumber } from "./protocol.ts";

export type Direction = SecurityGroupRule["direction"];

export const familyOf = (ethertype: "IPv4" | "IPv6"): number => (ethertype === "IPv4" ? ethType.ip : ethType.ipv6);

/** ct_state bits, ovs-fields(7). */
export const ct = { new: 0x01, est: 0x02, rel: 0x04, rpl: 0x08, inv: 0x10, trk: 0x20 } as const;
/** Packets with all of the states `on` and none of `off`. */
export const state = (on: number, off: number): { readonly ct_state: PortMask } => ({ ct_state: { value: on, mask: on | off } });
/** The tuple of a connection can be matched only of packets that have one. */
const TRACKED = state(ct.trk, ct.inv);

/** What of a packet's protocol a rule says. */
export interface ProtocolMatch {
  readonly eth_type: number;
  readonly ip_proto?: number;
  readonly ip_frag?: PortMask;
  readonly icmpv4_type?: number;
  readonly icmpv4_code?: number;
  readonly icmpv6_type?: number;
  readonly icmpv6_code?: number;
  readonly tcp_dst?: number | PortMask;
  readonly udp_dst?: number | PortMask;
  readonly sctp_dst?: number | PortMask;
}

/** What of a connection's protocol a rule says. Of ICMP, ct_tp_src is the type and ct_tp_dst the code. */
export interface ConnectionMatch {
  readonly eth_type: number;
  readonly ct_state: PortMask;
  readonly ct_nw_proto?: number;
  readonly ct_tp_src?: number;
  readonly ct_tp_dst?: number | PortMask;
  /** Of an answer itself. */
  readonly ip_proto?: number;
  readonly sctp_src?: number | PortMask;
}

/** What a rule says, as matches of packets that open connections and of packets of a connection: any one of them is enough. */
export interface ProtocolMatches {
  readonly packets: readonly ProtocolMatch[];
  readonly connections: readonly ConnectionMatch[];
}
const NONE: ProtocolMatches = { packets: [], connections: [] };

/** What Open vSwitch shows as the protocol of later fragments of IPv6, whatever they are of. */
const IPV6_FRAGMENT = 44;
/** Extension headers of IPv6, which are never what a packet carries. */
const IN_FRONT: ReadonlySet<number> = new Set([0, 43, IPV6_FRAGMENT, 51, 60]);

/**
 * The protocol part of a rule: one match for each mask that its port range needs. None for what no field has, rather than more than the
 * rule says: the API refuses such rules, a store may have them from before it did.
 */
export function protocolMatches(r: SecurityGroupRule): ProtocolMatches {
  const family = { eth_type: familyOf(r.ethertype) };
  const tracked = { ...family, ...TRACKED };
  const protocol = protocolNumber(r.protocol, r.ethertype);
  const { port_range_min: min, port_range_max: max } = r;
  if (protocol === undefined) return min === null && max === null ? { packets: [family], connections: [tracked] } : NONE;
  if (r.ethertype === "IPv6" && protocol === IPV6_FRAGMENT) return NONE;
  const base = { ...family, ip_proto: protocol };
  const connection = { ...tracked, ct_nw_proto: protocol };
  if (min === null) return max === null ? { packets: [base], connections: [connection] } : NONE;
  if (protocol === ipProto.icmp || protocol === ipProto.icmpv6) {
    const connections = [{ ...connection, ct_tp_src: min, ...(max === null ? {} : { ct_tp_dst: max }) }];
    if (protocol === ipProto.icmp) return { packets: [{ ...base, icmpv4_type: min, ...(max === null ? {} : { icmpv4_code: max }) }], connections };
    return { packets: [{ ...base, icmpv6_type: min, ...(max === null ? {} : { icmpv6_code: max }) }], connections };
  }
  const ported = PORTED[protocol];
  if (ported === undefined) return NONE;
  const masks = portMatches(min, max ?? min);
  return {
    packets: masks.map((port) => ({ ...base, [ported]: port })),
    connections: [...masks.map((port) => ({ ...connection, ct_tp_dst: port })), ...(protocol === ipProto.sctp ? withoutPorts(family, masks) : [])],
  };
}

/** Bits of NXM_NX_IP_FRAG, ovs-fields(7): a fragment; none; one that is not the first. */
export const FRAGMENT = { ip_frag: { value: 1, mask: 1 } } as const;
export const UNFRAGMENTED = { ip_frag: { value: 0, mask: 1 } } as const;
export const LATER = { ip_frag: { value: 2, mask: 2 } } as const;

/**
 * The same where nothing is remembered of a connection: packets as they are, and fragments after the first, which show no ports or type, by the rest
 * of what the rule says.
 */
export function statelessMatches(r: SecurityGroupRule): readonly ProtocolMatch[] {
  const { packets } = protocolMatches(r);
  const [{ eth_type, ip_proto } = {}] = packets;
  if (eth_type === undefined || ip_proto === undefined) return packets;
  if (r.ethertype === "IPv6") return IN_FRONT.has(ip_proto) ? packets : [...packets, { eth_type, ip_proto: IPV6_FRAGMENT, ...LATER }];
  return r.port_range_min === null ? packets : [...packets, { eth_type, ip_proto, ...LATER }];
}

/**
 * SCTP where conntrack keeps no ports, as Open vSwitch 3.1's userspace datapath: both are 0 then, which where they are kept no rule with ports
 * lets in. An answer is judged by the port that it comes from. An error shows nothing of the association but its hosts.
 */
function withoutPorts(family: { readonly eth_type: number }, masks: readonly (number | PortMask)[]): ConnectionMatch[] {
  const unknown = { ...family, ct_nw_proto: ipProto.sctp, ct_tp_src: 0, ct_tp_dst: 0 };
  const answer = { ...unknown, ...state(ct.trk | ct.rpl, ct.inv), ip_proto: ipProto.sctp };
  return [...masks.map((port) => ({ ...answer, sctp_src: port })), { ...unknown, ...state(ct.trk | ct.rel, ct.inv) }];
}
const PORTED: Readonly<Record<number, "tcp_dst" | "udp_dst" | "sctp_dst">> = { [ipProto.tcp]: "tcp_dst", [ipProto.udp]: "udp_dst", [ipProto.sctp]: "sctp_dst" };

/** The other side, as a packet that opens a connection has it, and as conntrack remembers it. An address or prefix; of length 0 it says nothing. */
export const remotePacket = (direction: Direction, ip: string): RemotePacket => (ip.endsWith("/0") ? {} : direction === "ingress" ? ipSrc(ip) : ipDst(ip));

export interface RemotePacket {
  readonly ipv4_src?: string;
  readonly ipv4_dst?: string;
  readonly ipv6_src?: string;
  readonly ipv6_dst?: string;
}
export interface RemoteConnection {
  readonly ct_nw_src?: string;
  readonly ct_nw_dst?: string;
  readonly ct_ipv6_src?: string;
  readonly ct_ipv6_dst?: string;
}
export function remoteConnection(direction: Direction, ip: string): RemoteConnection {
  if (ip.endsWith("/0")) return {};
  if (isIpv6(ip)) return direction === "ingress" ? { ct_ipv6_src: ip } : { ct_ipv6_dst: ip };
  return direction === "ingress" ? { ct_nw_src: ip } : { ct_nw_dst: ip };
}

export interface MacMatch {
  readonly "reg:net"?: number;
  readonly eth_src?: string;
  readonly eth_dst?: string;
}
/** In the direction of the rule: what opens connections. */
export const boundPacket = (direction: Direction, bound: BoundTo | undefined): MacMatch =>
  bound === undefined ? {} : { "reg:net": bound.net, [direction === "ingress" ? "eth_src" : "eth_dst"]: bound.mac };
/** Of a connection, what comes from the MAC and what goes to it. */
export function boundConnection(direction: Direction, bound: BoundTo | undefined): readonly (MacMatch & { readonly ct_state: PortMask })[] {
  if (bound === undefined) return [TRACKED];
  const [opens, answers] = direction === "ingress" ? (["eth_src", "eth_dst"] as const) : (["eth_dst", "eth_src"] as const);
  return [
    { "reg:net": bound.net, [opens]: bound.mac, ...state(ct.trk, ct.inv | ct.rpl) },
    { "reg:net": bound.net, [answers]: bound.mac, ...state(ct.trk | ct.rpl, ct.inv) },
  ];
}
