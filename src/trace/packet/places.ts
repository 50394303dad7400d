// Where a packet keeps the value of each field: words of 32 bits, shared as Open vSwitch shares them in struct flow (lib/flow.h). The source
// address is one place for ipv4_src and arp_spa, the source port one for tcp_src, udp_src, sctp_src and the ICMP types, and so on; so what a
// field means after another header was pushed or popped comes out by itself.
import type { FieldName } from "node-openflow";

/** Places and their numbers of words, in order. */
const PLACES = [
  ["packet_type", 1], ["dp_hash", 1], ["recirc_id", 1], ["conj_id", 1], ["in_port", 1], ["actset_output", 1], ["skb_priority", 1], ["pkt_mark", 1], ["metadata", 2], ["regs", 16],
  ["eth_src", 2], ["eth_dst", 2], ["eth_type", 1], ["vlan_tci", 1], ["vlan_tpid", 1], ["vlan_tci_inner", 1], ["vlan_tpid_inner", 1], ["mpls", 3],
  ["nw_src", 1], ["nw_dst", 1], ["ipv6_src", 4], ["ipv6_dst", 4], ["ipv6_label", 1], ["nw_frag", 1], ["nw_tos", 1], ["nw_ttl", 1], ["nw_proto", 1],
  ["nd_target", 4], ["arp_sha", 2], ["arp_tha", 2], ["tcp_flags", 1], ["tp_src", 1], ["tp_dst", 1], ["igmp_group", 1],
  ["nsh_flags", 1], ["nsh_ttl", 1], ["nsh_mdtype", 1], ["nsh_np", 1], ["nsh_spi", 1], ["nsh_si", 1], ["nsh_context", 4],
  ["tun_id", 2], ["tun_flags", 1], ["tun_src", 1], ["tun_dst", 1], ["tun_ipv6_src", 4], ["tun_ipv6_dst", 4], ["tun_gbp_id", 1], ["tun_gbp_flags", 1],
  ["tun_erspan_idx", 1], ["tun_erspan_ver", 1], ["tun_erspan_dir", 1], ["tun_erspan_hwid", 1], ["tun_gtpu_flags", 1], ["tun_gtpu_msgtype", 1],
  ["ct_state", 1], ["ct_zone", 1], ["ct_mark", 1], ["ct_label", 4], ["ct_nw_proto", 1], ["ct_nw_src", 1], ["ct_nw_dst", 1], ["ct_ipv6_src", 4], ["ct_ipv6_dst", 4], ["ct_tp_src", 1], ["ct_tp_dst", 1],
] as const;

export type PlaceName = (typeof PLACES)[number][0];

let next = 0;
/** First word of each place. */
export const at = Object.freeze(Object.fromEntries(PLACES.map(([name, words]) => {
  const first = next;
  next += words;
  return [name, first];
}))) as Readonly<Record<PlaceName, number>>;
export const WORDS = next;
const wordsOf = new Map<string, number>(PLACES);

/** Words from the first up to the second. `header`: what a frame has; `layer3`: what push_mpls clears, with the tuple of conntrack; `conntrack`: its state, then its tuple. */
export const ranges = {
  header: [at.eth_src, at.tun_id], layer3: [at.nw_src, at.tun_id], tunnel: [at.tun_id, at.ct_state], conntrack: [at.ct_state, next], tuple: [at.ct_nw_src, next],
} as const satisfies Record<string, readonly [from: number, to: number]>;

/** Bits of a field: `bits` of them from bit `shift` of the place, whose words hold it highest first. */
export interface Place {
  readonly name: FieldName;
  readonly word: number;
  readonly words: number;
  readonly shift: number;
  readonly bits: number;
}

const SHARED: readonly (readonly [field: string, place: PlaceName, bits: number, shift?: number, word?: number])[] = [
  ["nxm_in_port", "in_port", 16], ["tunnel_id", "tun_id", 64], ["tun_ipv4_src", "tun_src", 32], ["tun_ipv4_dst", "tun_dst", 32],
  ["ipv4_src", "nw_src", 32], ["arp_spa", "nw_src", 32], ["ipv4_dst", "nw_dst", 32], ["arp_tpa", "nw_dst", 32], ["ip_proto", "nw_proto", 8], ["arp_op", "nw_proto", 16],
  ["ip_frag", "nw_frag", 2], ["ip_tos", "nw_tos", 8], ["ip_dscp", "nw_tos", 6, 2], ["ip_ecn", "nw_tos", 2], ["ip_ttl", "nw_ttl", 8], ["ipv6_flabel", "ipv6_label", 20],
  ["tcp_src", "tp_src", 16], ["udp_src", "tp_src", 16], ["sctp_src", "tp_src", 16], ["icmpv4_type", "tp_src", 8], ["icmpv6_type", "tp_src", 8],
  ["tcp_dst", "tp_dst", 16], ["udp_dst", "tp_dst", 16], ["sctp_dst", "tp_dst", 16], ["icmpv4_code", "tp_dst", 8], ["icmpv6_code", "tp_dst", 8],
  ["nd_options_type", "tcp_flags", 8], ["tcp_flags", "tcp_flags", 12], ["nd_reserved", "igmp_group", 32], ["ipv6_nd_target", "nd_target", 128],
  ["ipv6_nd_sll", "arp_sha", 48], ["ipv6_nd_tll", "arp_tha", 48],
  ["vlan_vid", "vlan_tci", 13], ["vlan_pcp", "vlan_tci", 3, 13], ["vlan_tci", "vlan_tci", 16],
  ["mpls_label", "mpls", 20, 12], ["mpls_tc", "mpls", 3, 9], ["mpls_bos", "mpls", 1, 8], ["mpls_ttl", "mpls", 8],
  ["nsh_c1", "nsh_context", 32, 0, 0], ["nsh_c2", "nsh_context", 32, 0, 1], ["nsh_c3", "nsh_context", 32, 0, 2], ["nsh_c4", "nsh_context", 32, 0, 3],
  ["eth_src", "eth_src", 48], ["eth_dst", "eth_dst", 48], ["arp_sha", "arp_sha", 48], ["arp_tha", "arp_tha", 48],
];

const places = new Map<string, Place>();
const put = (field: string, word: number, words: number, bits: number, shift = 0): void => void places.set(field, { name: field as FieldName, word, words, shift, bits });
for (const [name, words] of PLACES) if (name !== "regs" && name !== "mpls" && name !== "nsh_context") put(name, at[name], words, words * 32);
for (const [field, place, bits, shift = 0, word = 0] of SHARED) put(field, at[place] + word, place === "mpls" || place === "nsh_context" ? 1 : wordsOf.get(place)!, bits, shift);
for (let i = 0; i < 16; i++) put(`reg${i}`, at.regs + i, 1, 32);
for (let i = 0; i < 8; i++) put(`xreg${i}`, at.regs + 2 * i, 2, 64);
for (let i = 0; i < 4; i++) put(`xxreg${i}`, at.regs + 4 * i, 4, 128);

/** Undefined for tun_metadata, which packets keep apart, and for what Open vSwitch has not. */
export const placeOf = (field: string): Place | undefined => places.get(field);

/** Writing one of these does more than to change its bits: see Packet.set. */
const SPECIAL: ReadonlySet<string> = new Set(["nxm_in_port", "in_port", "ip_tos", "icmpv4_type", "icmpv4_code", "icmpv6_type", "icmpv6_code", "tcp_flags", "nd_options_type", "vlan_vid", "vlan_tci", "vlan_pcp", "arp_op"]);
const plain = new Map([...places].filter(([name, place]) => place.words === 1 && !SPECIAL.has(name)));

/** The place of a field that is part of one word and nothing else. */
export const plainPlace = (field: string): Place | undefined => plain.get(field);

/** Number of a tun_metadata field, -1 of another. */
export const metadataNumber = (field: string): number => (field.startsWith("tun_metadata") ? Number(field.slice("tun_metadata".length)) : -1);
