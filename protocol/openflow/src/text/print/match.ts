// Matches in the words of ovs-ofctl: its names, its order, its number formats.
//
// A match is a set of pieces, each with a place in the line. Most fields are a row of a table (label and number format);
// those that share a piece with others (VLAN, protocol, fragments) have code of their own. Packets are described in the same
// pieces, see print-packet.ts.

import { fieldByName, fields, type Field, type FieldName } from "../../match/fields.ts";
import { flagNames, parts, type Match, type MatchValue } from "../../match/match.ts";
import type { FieldValue } from "../../match/value.ts";
import { formatAddress, formatFlags, formatPacketType, formatPort, formatValue, hash, hashBytes, hex, valueBytes } from "./value.ts";

/** Labels in the order of the line. */
const LABELS = [
  "priority", "pkt_mark", "recirc_id", "dp_hash", "conj_id", "actset_output", "ct_state", "ct_zone", "ct_mark", "ct_label", "ct_nw_src", "ct_ipv6_src",
  "ct_nw_dst", "ct_ipv6_dst", "ct_nw_proto", "ct_tp_src", "ct_tp_dst", "packet_type", "protocol", ...numbered("reg", 16), "tun_id", "tun_src", "tun_dst",
  "tun_ipv6_src", "tun_ipv6_dst", "tun_gbp_id", "tun_gbp_flags", "tun_erspan_ver", "tun_erspan_idx", "tun_erspan_dir", "tun_erspan_hwid", "gtpu_flags",
  "gtpu_msgtype", "tun_flags", ...numbered("tun_metadata", 64), "metadata", "in_port", "vlan", "vlan1", "vlan2", "dl_src", "dl_dst", "dl_type",
  "ipv6_src", "ipv6_dst", "ipv6_label", "arp_spa", "arp_tpa", "nsh_flags", "nsh_ttl", "nsh_mdtype", "nsh_np", "nsh_spi", "nsh_si", ...numbered("nsh_c", 5),
  "nw_src", "nw_dst", "nw_proto", "arp_op", "arp_sha", "arp_tha", "nw_tos", "nw_ecn", "nw_ttl", "mpls_label", "mpls_tc", "mpls_ttl", "mpls_bos", "mpls_lse1",
  "mpls_lse2", "nw_frag", "icmp_type", "icmp_code", "nd_target", "nd_sll", "nd_tll", "nd_reserved", "nd_options_type", "tp_src", "tp_dst", "tcp_flags", "others",
];
const RANKS: ReadonlyMap<string, number> = new Map(LABELS.map((label, rank) => [label, rank]));

function numbered(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${name}${i}`);
}

/** Pieces of a line, put in any order, joined in the order of LABELS. */
export class Pieces {
  private readonly ranks: number[] = [];
  private readonly texts: string[] = [];

  /** A piece that says its label itself. */
  raw(label: string, text: string): void {
    const rank = RANKS.get(label) ?? LABELS.length;
    let at = this.ranks.length;
    for (; at > 0 && this.ranks[at - 1]! > rank; at--) {
      this.ranks[at] = this.ranks[at - 1]!;
      this.texts[at] = this.texts[at - 1]!;
    }
    this.ranks[at] = rank;
    this.texts[at] = text;
  }

  put(label: string, value: string | number | bigint): void {
    this.raw(label, `${label}=${value}`);
  }

  toString(): string {
    return this.texts.join(",");
  }
}

// --- number formats ---

/** A number and its mask, undefined when all bits count. */
type Style = (value: number | bigint, mask: number | bigint | undefined) => string;

const masked = (style: Style, hidden: Style): Style => (value, mask) => (mask === undefined ? style(value, mask) : hidden(value, mask));
const plain: Style = (value) => String(value);
const hashed: Style = (value) => hash(value);
const hashes: Style = (value, mask) => hash(value) + (mask === undefined ? "" : `/${hash(mask)}`);
const hexes = (digits: number): Style => (value, mask) => hex(value, digits) + (mask === undefined ? "" : `/${hex(mask, digits)}`);
/** Decimal, or with a mask hexadecimal with so many digits. */
const decimal = (digits: number): Style => masked(plain, hexes(digits));
const port: Style = (value) => formatPort(Number(value));
const ctState: Style = (value, mask) => formatFlags(flagNames.ct_state!, Number(value), Number(mask ?? 0xff) & 0xff, 0xff);
const tcpFlags: Style = (value, mask) => formatFlags(flagNames.tcp_flags!, Number(value), Number(mask ?? 0xfff) & 0xfff, 0xfff);
/** Always with signs: Open vSwitch has more tunnel flags inside than may be matched. */
const tunnelFlags: Style = (value) => `${Number(value) & 1 ? "+" : "-"}oam`;

type Row = readonly [label: string, style: Style];
const NUMBERS: Readonly<Partial<Record<FieldName, Row>>> = {
  pkt_mark: ["pkt_mark", hashes], recirc_id: ["recirc_id", hashes], dp_hash: ["dp_hash", hashes], conj_id: ["conj_id", plain], actset_output: ["actset_output", port],
  ct_state: ["ct_state", ctState], ct_zone: ["ct_zone", decimal(1)], ct_mark: ["ct_mark", hashes], ct_label: ["ct_label", hashes], ct_nw_proto: ["ct_nw_proto", plain],
  ct_tp_src: ["ct_tp_src", decimal(1)], ct_tp_dst: ["ct_tp_dst", decimal(1)], tunnel_id: ["tun_id", hashes], tun_gbp_id: ["tun_gbp_id", decimal(1)],
  tun_gbp_flags: ["tun_gbp_flags", hashed], tun_erspan_ver: ["tun_erspan_ver", plain], tun_erspan_idx: ["tun_erspan_idx", hashed], tun_erspan_dir: ["tun_erspan_dir", plain],
  tun_erspan_hwid: ["tun_erspan_hwid", hashed], tun_gtpu_flags: ["gtpu_flags", hashed], tun_gtpu_msgtype: ["gtpu_msgtype", plain], tun_flags: ["tun_flags", tunnelFlags],
  metadata: ["metadata", hashes], in_port: ["in_port", port], nxm_in_port: ["in_port", port], ipv6_flabel: ["ipv6_label", hexes(5)], nsh_flags: ["nsh_flags", decimal(2)],
  nsh_ttl: ["nsh_ttl", decimal(2)], nsh_mdtype: ["nsh_mdtype", decimal(2)], nsh_np: ["nsh_np", decimal(2)], nsh_spi: ["nsh_spi", hexes(1)], nsh_si: ["nsh_si", decimal(2)],
  nsh_c1: ["nsh_c1", hexes(1)], nsh_c2: ["nsh_c2", hexes(1)], nsh_c3: ["nsh_c3", hexes(1)], nsh_c4: ["nsh_c4", hexes(1)], arp_op: ["arp_op", plain],
  ip_dscp: ["nw_tos", (value) => String(Number(value) << 2)], ip_tos: ["nw_tos", (value) => String(Number(value) & 0xfc)], ip_ecn: ["nw_ecn", plain], ip_ttl: ["nw_ttl", plain],
  mpls_label: ["mpls_label", plain], mpls_tc: ["mpls_tc", plain], mpls_ttl: ["mpls_ttl", plain], mpls_bos: ["mpls_bos", plain], icmpv4_type: ["icmp_type", decimal(1)],
  icmpv4_code: ["icmp_code", decimal(1)], icmpv6_type: ["icmp_type", decimal(1)], icmpv6_code: ["icmp_code", decimal(1)], nd_reserved: ["nd_reserved", plain],
  nd_options_type: ["nd_options_type", plain], tcp_src: ["tp_src", decimal(1)], tcp_dst: ["tp_dst", decimal(1)], udp_src: ["tp_src", decimal(1)], udp_dst: ["tp_dst", decimal(1)],
  sctp_src: ["tp_src", decimal(1)], sctp_dst: ["tp_dst", decimal(1)], tcp_flags: ["tcp_flags", tcpFlags],
};
const ADDRESSES: Readonly<Partial<Record<FieldName, string>>> = {
  ct_nw_src: "ct_nw_src", ct_ipv6_src: "ct_ipv6_src", ct_nw_dst: "ct_nw_dst", ct_ipv6_dst: "ct_ipv6_dst", tun_ipv4_src: "tun_src", tun_ipv4_dst: "tun_dst",
  tun_ipv6_src: "tun_ipv6_src", tun_ipv6_dst: "tun_ipv6_dst", eth_src: "dl_src", eth_dst: "dl_dst", ipv6_src: "ipv6_src", ipv6_dst: "ipv6_dst", arp_spa: "arp_spa",
  arp_tpa: "arp_tpa", ipv4_src: "nw_src", ipv4_dst: "nw_dst", arp_sha: "arp_sha", arp_tha: "arp_tha", ipv6_nd_target: "nd_target", ipv6_nd_sll: "nd_sll", ipv6_nd_tll: "nd_tll",
};
/** Fields that only show together with another, if it has that value. */
const ONLY_WITH: Readonly<Partial<Record<FieldName, readonly [field: FieldName, value?: number]>>> = {
  ct_tp_src: ["ct_nw_proto"], ct_tp_dst: ["ct_nw_proto"],
  tun_erspan_idx: ["tun_erspan_ver", 1], tun_erspan_dir: ["tun_erspan_ver", 2], tun_erspan_hwid: ["tun_erspan_ver", 2],
  nsh_c1: ["nsh_mdtype", 1], nsh_c2: ["nsh_mdtype", 1], nsh_c3: ["nsh_mdtype", 1], nsh_c4: ["nsh_mdtype", 1],
};

const ETHERTYPES: Readonly<Record<number, string>> = { 0x0800: "ip", 0x86dd: "ipv6", 0x0806: "arp", 0x8035: "rarp", 0x8847: "mpls", 0x8848: "mplsm" };
const PROTOCOLS: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  0x0800: { 1: "icmp", 6: "tcp", 17: "udp", 132: "sctp" },
  0x86dd: { 58: "icmp6", 6: "tcp6", 17: "udp6", 132: "sctp6" },
};

/** The word or the numbers for an Ethernet type and, where it is known, an IP protocol. */
export function putProtocol(out: Pieces, ethType: number | undefined, ipProto: number | undefined, typeOfPacket?: number): void {
  const type = typeOfPacket ?? ethType;
  const word = type === undefined || ethType === undefined ? undefined : ETHERTYPES[type];
  const proto = ipProto === undefined || word === undefined ? undefined : PROTOCOLS[type!]?.[ipProto];
  if (word !== undefined) out.raw("protocol", proto ?? word);
  else if (ethType !== undefined) out.put("dl_type", hex(type!, 4));
  if (ipProto !== undefined && proto === undefined) out.put("nw_proto", ipProto);
}

/** One VLAN tag: by its parts where exactly these are known, else as bits. */
export function putVlan(out: Pieces, index: number, tci: number, mask: number): void {
  const suffix = index === 0 ? "" : String(index);
  const vid = mask & 0xfff;
  const pcp = mask & 0xe000;
  const text: string[] = [];
  if ((mask & tci & 0x1000) !== 0 && (vid === 0 || vid === 0xfff) && (pcp === 0 || pcp === 0xe000) && vid + pcp !== 0) {
    if (vid !== 0) text.push(`dl_vlan${suffix}=${tci & 0xfff}`);
    if (pcp !== 0) text.push(`dl_vlan_pcp${suffix}=${tci >> 13}`);
  } else text.push(`vlan_tci${suffix}=${hex(tci, 4)}${mask === 0xffff ? "" : `/${hex(mask, 4)}`}`);
  out.raw(`vlan${suffix}`, text.join(","));
}

// --- matches ---

/** The match alone, "" for one that takes everything. `priority` is put in front when it is not 32768. */
export function formatMatch(match: Match, priority?: number): string {
  const out = new Pieces();
  if (priority !== undefined && priority !== 0x8000) out.put("priority", priority);
  let tci = 0;
  let tciMask = 0;
  let registers: Map<string, Register> | undefined;
  for (const name in match) {
    const given = match[name as FieldName];
    const field = fieldByName.get(name);
    if (given === undefined || field === undefined) continue;
    const row = NUMBERS[field.name];
    if (row !== undefined) {
      if (shows(match, field)) putNumber(out, field, row, given);
      continue;
    }
    const address = ADDRESSES[field.name];
    if (address !== undefined) {
      const text = addressText(field, given);
      if (text !== undefined) out.put(address, text);
      continue;
    }
    if (field.kind === "bytes") putTunnelMetadata(out, field, given);
    else if (REGISTER.test(name)) {
      registers ??= new Map<string, Register>();
      putRegister(registers, field, given);
    } else if (name === "vlan_vid" || name === "vlan_pcp" || name === "vlan_tci") {
      const { value, mask } = parts(field, given);
      tci |= name === "vlan_pcp" ? (Number(value) << 13) | 0x1000 : Number(value & mask & WIDE[name]);
      tciMask |= name === "vlan_pcp" ? (Number(mask & 7n) << 13) | 0x1000 : Number(mask & WIDE[name]);
    } else if (name === "ip_frag") {
      const { value, mask } = parts(field, given);
      if ((mask & 3n) !== 0n) out.put("nw_frag", formatValue(field, value, mask & 3n));
    } else if (!HANDLED_TOGETHER.has(name)) putUnknown(out, field, given);
  }
  if (registers !== undefined) for (const [label, [value, mask]] of registers) out.put(label, hashes(value, mask === 0xffffffffn ? undefined : mask));
  if (tciMask !== 0) putVlan(out, 0, tci & tciMask, tciMask);
  // A field of Ethernet says that the packet is of that kind, but only flows of recirculated packets tell.
  const ethernet = match.recirc_id !== undefined && ETHERNET.some((name) => match[name] !== undefined);
  const packetType = numberOf(match, "packet_type") ?? (ethernet ? 0 : undefined);
  const typed = packetType !== undefined && (packetType !== 0 || match.recirc_id !== undefined);
  if (typed) out.raw("packet_type", formatPacketType(packetType, 0xffffffff));
  putProtocol(out, numberOf(match, "eth_type"), numberOf(match, "ip_proto"), typed && packetType >>> 16 === 1 ? packetType & 0xffff : undefined);
  return out.toString();
}
/** Fields in which a zero counts as nothing, since Open vSwitch 3.1 takes their value for their mask. */
const OWN_MASK: ReadonlySet<FieldName> = new Set<FieldName>(["tun_erspan_ver", "tun_erspan_dir", "tun_erspan_hwid", "tun_gtpu_flags", "tun_gtpu_msgtype"]);

function shows(match: Match, field: Field): boolean {
  const condition = ONLY_WITH[field.name];
  if (condition !== undefined) {
    const other = numberOf(match, condition[0]);
    if (other === undefined || (condition[1] !== undefined && other !== condition[1])) return false;
  }
  if (!OWN_MASK.has(field.name)) return true;
  const { value, mask } = parts(field, match[field.name]!);
  return (value & mask) !== 0n;
}

const WIDE = { vlan_vid: 0x1fffn, vlan_tci: 0xffffn };
const ETHERNET = ["eth_src", "eth_dst", "eth_type", "vlan_vid", "vlan_tci"] as const satisfies readonly FieldName[];
const HANDLED_TOGETHER = new Set(["packet_type", "eth_type", "ip_proto", "cookie"]);

function numberOf(match: Match, name: FieldName): number | undefined {
  const value = match[name];
  return value === undefined ? undefined : typeof value === "number" ? value : Number(parts(fields[name], value).value);
}

/** Bits that are there to be matched, where not all are. */
const USED: Readonly<Partial<Record<FieldName, bigint>>> = { tun_flags: 1n, ct_state: 0xffn };

function putNumber(out: Pieces, field: Field, [label, style]: Row, given: MatchValue): void {
  if (typeof given === "number") {
    out.put(label, style(given, undefined));
    return;
  }
  const { value, mask } = parts(field, given);
  const all = USED[field.name] ?? (1n << BigInt(field.bits)) - 1n;
  if ((mask & all) === 0n) return;
  out.put(label, style(value & mask, (mask & all) === all ? undefined : mask));
}

/** undefined when nothing of it is matched. */
function addressText(field: Field, given: MatchValue): string | undefined {
  if (typeof given === "string" && given.includes("/")) {
    const { value, mask } = parts(field, given);
    return mask === 0n ? undefined : formatAddress(field, value & mask, mask);
  }
  if (typeof given === "object" && !(given instanceof Uint8Array)) {
    const { value, mask } = parts(field, given);
    if (mask === 0n) return undefined;
    return formatAddress(field, value & mask, mask === (1n << BigInt(field.bits)) - 1n ? undefined : mask);
  }
  return formatAddress(field, given);
}

function putTunnelMetadata(out: Pieces, field: Field, given: MatchValue): void {
  const whole = (value: FieldValue): Buffer => Buffer.from(valueBytes(field, value));
  if (typeof given === "string" && given.includes("/")) {
    const [value = "", mask = ""] = given.split("/");
    putTunnelMetadata(out, field, { value, mask });
  } else if (typeof given === "object" && !(given instanceof Uint8Array)) {
    const all = whole(given.mask);
    const start = Math.max(0, all.findIndex((byte) => byte !== 0)); // leading bytes that do not count are left out
    const mask = all.subarray(start);
    const value = whole(given.value).subarray(start).map((byte, i) => byte & (mask[i] ?? 0));
    if (mask.every((byte) => byte === 0)) out.raw(field.name, field.name); // its presence alone
    else out.put(field.name, hashBytes(value) + (mask.every((byte) => byte === 0xff) ? "" : `/${hashBytes(mask)}`));
  } else out.put(field.name, hashBytes(whole(given)));
}

type Register = readonly [value: bigint, mask: bigint];
const REGISTER = /^x{0,2}reg\d/;

/** xreg0 is reg0 and reg1, xxreg0 is reg0 to reg3; what they say about the same register is one piece. */
function putRegister(registers: Map<string, Register>, field: Field, given: MatchValue): void {
  const { value, mask } = parts(field, given);
  const words = field.bits / 32;
  const first = Number(field.name.replace(/^x*reg/, "")) * words;
  for (let i = 0; i < words; i++) {
    const shift = BigInt((words - 1 - i) * 32);
    const bits = (mask >> shift) & 0xffffffffn;
    if (bits === 0n) continue;
    const label = `reg${first + i}`;
    const old = registers.get(label) ?? [0n, 0n];
    registers.set(label, [old[0] | ((value >> shift) & bits), old[1] | bits]);
  }
}

/** Fields that Open vSwitch does not have. */
function putUnknown(out: Pieces, field: Field, given: MatchValue): void {
  const { value, mask } = parts(field, given);
  const full = mask === (1n << BigInt(field.bits)) - 1n;
  out.raw("others", `${field.name}=${formatValue(field, value, full ? undefined : mask)}`);
}
