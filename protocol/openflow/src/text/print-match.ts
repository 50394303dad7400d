// Matches in the words of ovs-ofctl dump-flows: its names, its order, its number formats.

import { fields, type FieldName } from "../fields.ts";
import { decodeMatch, encodeMatch, parts, type Match } from "../match.ts";
import { formatValue, hash, hex } from "./print-value.ts";

/** The match alone, "" for one that takes everything. `priority` is put in front when it is not 32768. */
export function formatMatch(match: Match, priority?: number): string {
  // One canonical form, whatever the caller's notation: through the codec and back.
  const buf = Buffer.alloc(4096);
  const canonical = decodeMatch(buf, 0, encodeMatch(buf, 0, match));
  const out: string[] = [];
  const has = (name: FieldName): boolean => canonical[name] !== undefined;
  const number = (name: FieldName): number | undefined => {
    const value = canonical[name];
    return value === undefined ? undefined : Number(parts(fields[name], value).value);
  };
  type Style = "hash" | "decimal" | "own";
  const put = (name: FieldName, text: string, style: Style = "own"): void => {
    const value = canonical[name];
    if (value === undefined) return;
    const field = fields[name];
    const masked = typeof value === "object" && !(value instanceof Uint8Array);
    if (style === "own") out.push(`${text}=${masked ? formatValue(field, value.value, value.mask) : formatValue(field, value)}`);
    else {
      const whole = parts(field, value);
      if (masked) out.push(`${text}=${hash(whole.value)}/${hash(whole.mask)}`);
      else out.push(`${text}=${style === "decimal" ? String(whole.value) : hash(whole.value)}`);
    }
  };
  if (priority !== undefined && priority !== 0x8000) out.push(`priority=${priority}`);
  put("pkt_mark", "pkt_mark", "hash");
  put("recirc_id", "recirc_id", "hash");
  put("dp_hash", "dp_hash", "hash");
  put("conj_id", "conj_id");
  put("actset_output", "actset_output");
  put("ct_state", "ct_state");
  put("ct_zone", "ct_zone", "decimal");
  put("ct_mark", "ct_mark", "hash");
  put("ct_label", "ct_label", "hash");
  for (const name of ["ct_nw_src", "ct_ipv6_src", "ct_nw_dst", "ct_ipv6_dst"] as const) put(name, name);
  for (const name of ["ct_nw_proto", "ct_tp_src", "ct_tp_dst"] as const) put(name, name, "decimal");
  const ethType = number("eth_type");
  const proto = number("ip_proto");
  let protoShown = false;
  let typeShown = true;
  if (ethType === 0x0800 || ethType === 0x86dd) {
    const v4 = ethType === 0x0800;
    const names: Readonly<Record<number, string>> = v4 ? { 1: "icmp", 6: "tcp", 17: "udp", 132: "sctp" } : { 58: "icmp6", 6: "tcp6", 17: "udp6", 132: "sctp6" };
    const name = proto === undefined ? undefined : names[proto];
    protoShown = name !== undefined;
    out.push(name ?? (v4 ? "ip" : "ipv6"));
  } else if (ethType !== undefined) {
    const name = ({ 0x0806: "arp", 0x8035: "rarp", 0x8847: "mpls", 0x8848: "mplsm" } as Record<number, string>)[ethType];
    if (name === undefined) typeShown = false;
    else out.push(name);
  }
  for (let i = 0; i < 16; i++) put(`reg${i}` as FieldName, `reg${i}`, "hash");
  put("tunnel_id", "tun_id", "hash");
  put("tun_ipv4_src", "tun_src");
  put("tun_ipv4_dst", "tun_dst");
  put("tun_ipv6_src", "tun_ipv6_src");
  put("tun_ipv6_dst", "tun_ipv6_dst");
  put("tun_gbp_id", "tun_gbp_id", "decimal");
  put("tun_gbp_flags", "tun_gbp_flags", "hash");
  for (const name of ["tun_erspan_ver", "tun_erspan_idx", "tun_erspan_dir", "tun_erspan_hwid", "tun_gtpu_flags", "tun_gtpu_msgtype"] as const) put(name, name.replace("tun_gtpu", "gtpu"));
  put("tun_flags", "tun_flags");
  for (let i = 0; i < 64; i++) put(`tun_metadata${i}` as FieldName, `tun_metadata${i}`);
  put("metadata", "metadata", "hash");
  put("in_port", "in_port");
  if (has("vlan_vid")) {
    const { value, mask } = parts(fields.vlan_vid, canonical.vlan_vid!);
    const pcp = number("vlan_pcp");
    if (value & 0x1000n && (mask & 0xfffn) === 0xfffn) {
      out.push(`dl_vlan=${value & 0xfffn}`);
      if (pcp !== undefined) out.push(`dl_vlan_pcp=${pcp}`);
    } else if (value & 0x1000n && (mask & 0xfffn) === 0n && pcp !== undefined) out.push(`dl_vlan_pcp=${pcp}`);
    else {
      const tci = value | (BigInt(pcp ?? 0) << 13n);
      out.push(`vlan_tci=${hex(tci, 4)}/${hex(mask | (pcp === undefined ? 0n : 0xe000n), 4)}`);
    }
  }
  put("eth_src", "dl_src");
  put("eth_dst", "dl_dst");
  if (!typeShown) out.push(`dl_type=${hex(ethType!, 4)}`);
  put("ipv6_src", "ipv6_src");
  put("ipv6_dst", "ipv6_dst");
  if (has("ipv6_flabel")) {
    const value = canonical.ipv6_flabel!;
    const { value: label, mask } = parts(fields.ipv6_flabel, value);
    out.push(`ipv6_label=${hex(label, 5)}${typeof value === "object" ? `/${hex(mask, 5)}` : ""}`);
  }
  put("arp_spa", "arp_spa");
  put("arp_tpa", "arp_tpa");
  for (const name of ["nsh_flags", "nsh_ttl", "nsh_mdtype", "nsh_np", "nsh_spi", "nsh_si", "nsh_c1", "nsh_c2", "nsh_c3", "nsh_c4"] as const) put(name, name);
  put("ipv4_src", "nw_src");
  put("ipv4_dst", "nw_dst");
  if (!protoShown) put("ip_proto", "nw_proto");
  put("arp_op", "arp_op");
  put("arp_sha", "arp_sha");
  put("arp_tha", "arp_tha");
  if (has("ip_dscp")) out.push(`nw_tos=${number("ip_dscp")! << 2}`);
  put("ip_ecn", "nw_ecn");
  put("ip_ttl", "nw_ttl");
  for (const name of ["mpls_label", "mpls_tc", "mpls_ttl", "mpls_bos"] as const) put(name, name);
  if (has("ip_frag")) {
    const { value, mask } = parts(fields.ip_frag, canonical.ip_frag!);
    const any = (value & 1n) !== 0n;
    const later = (value & 2n) !== 0n;
    out.push(`nw_frag=${mask === 3n ? (any ? (later ? "later" : "first") : later ? "<error>" : "no") : mask === 1n ? (any ? "yes" : "no") : later ? "later" : "not_later"}`);
  }
  for (const [v4, v6, text] of [["icmpv4_type", "icmpv6_type", "icmp_type"], ["icmpv4_code", "icmpv6_code", "icmp_code"]] as const) {
    put(v4, text);
    put(v6, text);
  }
  put("ipv6_nd_target", "nd_target");
  put("ipv6_nd_sll", "nd_sll");
  put("ipv6_nd_tll", "nd_tll");
  put("nd_reserved", "nd_reserved", "decimal");
  put("nd_options_type", "nd_options_type", "decimal");
  for (const side of ["src", "dst"] as const) for (const l4 of ["tcp", "udp", "sctp"] as const) put(`${l4}_${side}`, `tp_${side}`, "decimal");
  put("tcp_flags", "tcp_flags");
  for (const name of ["packet_type", "in_phy_port", "vlan_tci", "ip_tos", "pbb_isid", "ipv6_exthdr", "pbb_uca"] as const) put(name, name);
  return out.join(",");
}
