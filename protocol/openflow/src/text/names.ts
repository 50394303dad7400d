// Tables that text is written and read by: what Open vSwitch calls fields and ports, and the number format of each field.
// Shared by print-*.ts (values to text) and parse-*.ts (text to values); no code that does either.

import { ports, type Field, type FieldName } from "../match/fields.ts";

/** Names in actions (meta-flow), where they differ from OXM's. */
export const OVS_NAMES: Readonly<Partial<Record<FieldName, string>>> = {
  ipv4_src: "ip_src", ipv4_dst: "ip_dst", ipv6_flabel: "ipv6_label", ip_proto: "nw_proto", ip_tos: "nw_tos", ip_ecn: "nw_ecn", ip_ttl: "nw_ttl",
  tunnel_id: "tun_id", tun_ipv4_src: "tun_src", tun_ipv4_dst: "tun_dst", icmpv4_type: "icmp_type", icmpv4_code: "icmp_code",
  ipv6_nd_target: "nd_target", ipv6_nd_sll: "nd_sll", ipv6_nd_tll: "nd_tll", in_port: "in_port_oxm", nxm_in_port: "in_port",
};
/** Names of NXM numbers, where they are not the field's own in capitals. */
export const NXM_NAMES: Readonly<Partial<Record<FieldName, string>>> = {
  ipv4_src: "IP_SRC", ipv4_dst: "IP_DST", ipv6_flabel: "IPV6_LABEL", tunnel_id: "TUN_ID", icmpv4_type: "ICMP_TYPE", icmpv4_code: "ICMP_CODE",
  ipv6_nd_target: "ND_TARGET", ipv6_nd_sll: "ND_SLL", ipv6_nd_tll: "ND_TLL", nxm_in_port: "IN_PORT",
};
/** Fields whose values are written in decimal, not 0x, when they stand alone. */
export const DECIMAL: ReadonlySet<FieldName> = new Set<FieldName>([
  "recirc_id", "conj_id", "tun_gbp_id", "vlan_vid", "vlan_pcp", "mpls_label", "mpls_tc", "mpls_bos", "mpls_ttl", "ip_proto", "ip_tos", "ip_dscp",
  "ip_ecn", "ip_ttl", "arp_op", "tcp_src", "tcp_dst", "udp_src", "udp_dst", "sctp_src", "sctp_dst", "icmpv4_type", "icmpv4_code", "icmpv6_type",
  "icmpv6_code", "nd_reserved", "nd_options_type", "ct_nw_proto", "ct_tp_src", "ct_tp_dst", "tun_erspan_ver", "tun_erspan_dir", "tun_gtpu_msgtype",
  "nsh_flags", "nsh_ttl", "nsh_mdtype", "nsh_np", "nsh_si",
]);
/**
 * All fields in the order in which Open vSwitch numbers them, which is the order of its lists of names ("tun_{id,src,dst}").
 * A range of a family stands for its members.
 */
export const FIELD_ORDER: readonly FieldName[] = ((): FieldName[] => {
  const family = (name: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${name}${i}`);
  return [
    "dp_hash", "recirc_id", "packet_type", "conj_id", "tunnel_id", "tun_ipv4_src", "tun_ipv4_dst", "tun_ipv6_src", "tun_ipv6_dst", "tun_flags",
    "tun_gbp_id", "tun_gbp_flags", "tun_erspan_idx", "tun_erspan_ver", "tun_erspan_dir", "tun_erspan_hwid", "tun_gtpu_flags", "tun_gtpu_msgtype",
    ...family("tun_metadata", 64), "metadata", "nxm_in_port", "in_port", "actset_output", "pkt_mark", "ct_state", "ct_zone", "ct_mark", "ct_label",
    "ct_nw_proto", "ct_nw_src", "ct_nw_dst", "ct_ipv6_src", "ct_ipv6_dst", "ct_tp_src", "ct_tp_dst", ...family("reg", 16), ...family("xreg", 8),
    ...family("xxreg", 4), "eth_src", "eth_dst", "eth_type", "vlan_tci", "vlan_vid", "vlan_pcp", "mpls_label", "mpls_tc", "mpls_bos", "mpls_ttl",
    "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst", "ipv6_flabel", "ip_proto", "ip_tos", "ip_dscp", "ip_ecn", "ip_ttl", "ip_frag", "arp_op",
    "arp_spa", "arp_tpa", "arp_sha", "arp_tha", "tcp_src", "tcp_dst", "tcp_flags", "udp_src", "udp_dst", "sctp_src", "sctp_dst", "icmpv4_type",
    "icmpv4_code", "icmpv6_type", "icmpv6_code", "ipv6_nd_target", "ipv6_nd_sll", "ipv6_nd_tll", "nd_reserved", "nd_options_type", "nsh_flags",
    "nsh_mdtype", "nsh_np", "nsh_spi", "nsh_si", "nsh_c1", "nsh_c2", "nsh_c3", "nsh_c4", "nsh_ttl",
  ] as FieldName[];
})();
/** Widths as Open vSwitch counts them: without the bit that says that there is a VLAN header. */
export const WIDTHS: Readonly<Partial<Record<FieldName, number>>> = { vlan_vid: 12, tun_flags: 1 };
/** Reserved port numbers (32 bits) to their names; UNSET only comes in actset_output. */
export const PORT_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(ports).filter(([name]) => name !== "MAX").map(([name, port]): [number, string] => [port, name]).concat([[0xfffffff7, "UNSET"]]));

/** NXM_NX_REG0, OXM_OF_METADATA ...: how Open vSwitch names the field in subfields and in NXM matches. */
export function nxmName(field: Field): string {
  return headerName(field, field.nxmHeader >>> 16, field.nxmExperimenter);
}

/** The same for OXM matches: OXM_OF_IPV4_SRC where the NXM name is NXM_OF_IP_SRC. */
export function oxmName(field: Field): string {
  return headerName(field, field.header >>> 16, field.experimenter);
}

function headerName(field: Field, cls: number, experimenter: number | undefined): string {
  const upper = field.name.toUpperCase();
  switch (cls) {
    case 0:
      return `NXM_OF_${NXM_NAMES[field.name] ?? upper}`;
    case 1:
      return `NXM_NX_${NXM_NAMES[field.name] ?? upper}`;
    case 0x8001:
      return `OXM_OF_PKT_REG${upper.slice(4)}`;
    case 0x1000:
      return `ERICOXM_OF_ICMPV6_${upper}`;
  }
  switch (experimenter) {
    case undefined:
      return `OXM_OF_${upper}`;
    case 0x4f4e4600:
      return `ONFOXM_ET_${upper}`;
    case 0x005ad650:
      return `NXOXM_${upper}`;
    default:
      return `NXOXM_ET_${upper.replace("TUN_", "")}`;
  }
}
