// Every OXM and NXM match field as data: wire number, width, mask, how its value is written in text. Nothing here
// reads or writes bytes; match.ts and actions.ts walk this table.
//
// A field may have two numbers. Matches and set_field use the OpenFlow one (OXM); Nicira actions that name a field (load,
// move, ct, learn ...) use the older NXM one where it exists, because that is what Open vSwitch writes back.

export type FieldKind = "uint" | "mac" | "ipv4" | "ipv6" | "bytes";

export interface Field {
  readonly name: FieldName;
  readonly oxmClass: number;
  readonly oxmField: number;
  /** Significant bits; the value takes `bytes` bytes, in network order. 0 for tun_metadata: as long as the value. */
  readonly bits: number;
  readonly bytes: number;
  readonly maskable: boolean;
  /** Whether actions may write it. */
  readonly writable: boolean;
  /** Whether Open vSwitch 3.1 has it at all. */
  readonly known: boolean;
  readonly needs: Prerequisite | undefined;
  /** Bits that actions can name, as Open vSwitch counts them: without the one that says that there is a VLAN header. */
  readonly width: number;
  /** Set when oxmClass is 0xffff: four more bytes after the header. */
  readonly experimenter?: number;
  readonly kind: FieldKind;
  /** oxm_class << 16 | oxm_field << 9, as in a match. */
  readonly header: number;
  /** The same number, or the NXM one: for Nicira actions. */
  readonly nxmHeader: number;
  readonly nxmExperimenter: number | undefined;
  /** Rank in a match; matches are written in this order, which is the one Open vSwitch uses. */
  readonly order: number;
}

/** What has to be matched before a field means anything: an Ethernet type, a protocol, an ICMPv6 type. OpenFlow 1.3.5 section 7.2.3.8. */
export type Prerequisite =
  | "eth" | "vlan" | "ip" | "ipv4" | "ipv6" | "arp" | "mpls" | "nsh" | "tcp" | "udp" | "sctp" | "icmpv4" | "icmpv6" | "nd" | "nd_solicit" | "nd_advert" | "ct";

/** flags: m maskable, w writable by actions, x unknown to Open vSwitch. */
type Row = readonly [name: string, kind: FieldKind, bits: number, bytes: number, oxm: string, nxm: string | null, flags?: string, needs?: Prerequisite];

// Classes: "b" basic 0x8000, "r" packet registers 0x8001, "0"/"1" NXM, "o" ONF and "n" Nicira and "h" NSH experimenters,
// "e" 0x1000. The order of rows is the order in a match: lib/nx-match.c, nx_put_raw(), of Open vSwitch.
const ROWS = [
  ["packet_type", "uint", 32, 4, "b44", null],
  ["dp_hash", "uint", 32, 4, "1.35", "1.35", "m"],
  ["recirc_id", "uint", 32, 4, "1.36", "1.36"],
  ["conj_id", "uint", 32, 4, "1.37", "1.37"],
  ["in_port", "uint", 32, 4, "b0", null, "w"],
  ["in_phy_port", "uint", 32, 4, "b1", null, "x"],
  ["actset_output", "uint", 32, 4, "o43", null],
  ["eth_src", "mac", 48, 6, "b4", "0.2", "mw", "eth"],
  ["eth_dst", "mac", 48, 6, "b3", "0.1", "mw", "eth"],
  ["eth_type", "uint", 16, 2, "b5", "0.3", "", "eth"],
  ["vlan_vid", "uint", 13, 2, "b6", null, "mw", "eth"],
  ["vlan_pcp", "uint", 3, 1, "b7", null, "w", "vlan"],
  ["mpls_tc", "uint", 3, 1, "b35", null, "w", "mpls"],
  ["mpls_bos", "uint", 1, 1, "b36", null, "", "mpls"],
  ["mpls_ttl", "uint", 8, 1, "1.30", "1.30", "w", "mpls"],
  ["mpls_label", "uint", 20, 4, "b34", null, "w", "mpls"],
  ["ipv4_src", "ipv4", 32, 4, "b11", "0.7", "mw", "ipv4"],
  ["ipv4_dst", "ipv4", 32, 4, "b12", "0.8", "mw", "ipv4"],
  ["ipv6_src", "ipv6", 128, 16, "b26", "1.19", "mw", "ipv6"],
  ["ipv6_dst", "ipv6", 128, 16, "b27", "1.20", "mw", "ipv6"],
  ["ip_frag", "uint", 2, 1, "1.26", "1.26", "m", "ip"],
  ["ip_dscp", "uint", 6, 1, "b8", null, "w", "ip"],
  ["ip_ecn", "uint", 2, 1, "b9", "1.28", "w", "ip"],
  ["ip_ttl", "uint", 8, 1, "1.29", "1.29", "w", "ip"],
  ["ipv6_flabel", "uint", 20, 4, "b28", "1.27", "mw", "ipv6"],
  ["ip_proto", "uint", 8, 1, "b10", "0.6", "", "ip"],
  ["tcp_src", "uint", 16, 2, "b13", "0.9", "mw", "tcp"],
  ["tcp_dst", "uint", 16, 2, "b14", "0.10", "mw", "tcp"],
  ["tcp_flags", "uint", 12, 2, "o42", "1.34", "m", "tcp"],
  ["udp_src", "uint", 16, 2, "b15", "0.11", "mw", "udp"],
  ["udp_dst", "uint", 16, 2, "b16", "0.12", "mw", "udp"],
  ["sctp_src", "uint", 16, 2, "b17", null, "mw", "sctp"],
  ["sctp_dst", "uint", 16, 2, "b18", null, "mw", "sctp"],
  ["icmpv4_type", "uint", 8, 1, "b19", "0.13", "w", "icmpv4"],
  ["icmpv4_code", "uint", 8, 1, "b20", "0.14", "w", "icmpv4"],
  ["icmpv6_type", "uint", 8, 1, "b29", "1.21", "w", "icmpv6"],
  ["icmpv6_code", "uint", 8, 1, "b30", "1.22", "w", "icmpv6"],
  ["nd_reserved", "uint", 32, 4, "e1", null, "w", "nd"],
  ["ipv6_nd_target", "ipv6", 128, 16, "b31", "1.23", "mw", "nd"],
  ["nd_options_type", "uint", 8, 1, "e2", null, "w", "nd"],
  ["ipv6_nd_sll", "mac", 48, 6, "b32", "1.24", "mw", "nd_solicit"],
  ["ipv6_nd_tll", "mac", 48, 6, "b33", "1.25", "mw", "nd_advert"],
  ["arp_op", "uint", 16, 2, "b21", "0.15", "w", "arp"],
  ["arp_spa", "ipv4", 32, 4, "b22", "0.16", "mw", "arp"],
  ["arp_tpa", "ipv4", 32, 4, "b23", "0.17", "mw", "arp"],
  ["arp_sha", "mac", 48, 6, "b24", "1.17", "mw", "arp"],
  ["arp_tha", "mac", 48, 6, "b25", "1.18", "mw", "arp"],
  ["pbb_isid", "uint", 24, 3, "b37", null, "mx"],
  ["ipv6_exthdr", "uint", 9, 2, "b39", null, "mx"],
  ["pbb_uca", "uint", 1, 1, "b41", null, "x"],
  ["tunnel_id", "uint", 64, 8, "b38", "1.16", "mw"],
  ["tun_flags", "uint", 16, 2, "1.104", "1.104", "mw"],
  ["tun_ipv4_src", "ipv4", 32, 4, "1.31", "1.31", "mw"],
  ["tun_ipv4_dst", "ipv4", 32, 4, "1.32", "1.32", "mw"],
  ["tun_ipv6_src", "ipv6", 128, 16, "1.109", "1.109", "mw"],
  ["tun_ipv6_dst", "ipv6", 128, 16, "1.110", "1.110", "mw"],
  ["tun_gbp_id", "uint", 16, 2, "1.38", "1.38", "mw"],
  ["tun_gbp_flags", "uint", 8, 1, "1.39", "1.39", "mw"],
  ["tun_metadata*", "bytes", 0, 0, "1.40", "1.40", "mw"],
  ["tun_erspan_idx", "uint", 20, 4, "n11", null, "mw"],
  ["tun_erspan_ver", "uint", 4, 1, "n12", null, "mw"],
  ["tun_erspan_dir", "uint", 1, 1, "n13", null, "mw"],
  ["tun_erspan_hwid", "uint", 6, 1, "n14", null, "mw"],
  ["tun_gtpu_flags", "uint", 8, 1, "n15", null, "m"],
  ["tun_gtpu_msgtype", "uint", 8, 1, "n16", null, "m"],
  ["nsh_flags", "uint", 8, 1, "h1", null, "mw", "nsh"],
  ["nsh_ttl", "uint", 8, 1, "h10", null, "w", "nsh"],
  ["nsh_mdtype", "uint", 8, 1, "h2", null, "", "nsh"],
  ["nsh_np", "uint", 8, 1, "h3", null, "", "nsh"],
  ["nsh_spi", "uint", 24, 4, "h4", null, "w", "nsh"],
  ["nsh_si", "uint", 8, 1, "h5", null, "w", "nsh"],
  ["nsh_c1", "uint", 32, 4, "h6", null, "mw", "nsh"],
  ["nsh_c2", "uint", 32, 4, "h7", null, "mw", "nsh"],
  ["nsh_c3", "uint", 32, 4, "h8", null, "mw", "nsh"],
  ["nsh_c4", "uint", 32, 4, "h9", null, "mw", "nsh"],
  ["reg*", "uint", 32, 4, "1.0", "1.0", "mw"],
  ["pkt_mark", "uint", 32, 4, "1.33", "1.33", "mw"],
  ["ct_state", "uint", 32, 4, "1.105", "1.105", "m"],
  ["ct_zone", "uint", 16, 2, "1.106", "1.106"],
  ["ct_mark", "uint", 32, 4, "1.107", "1.107", "mw"],
  ["ct_label", "uint", 128, 16, "1.108", "1.108", "mw"],
  ["ct_nw_src", "ipv4", 32, 4, "1.120", "1.120", "m", "ct"],
  ["ct_ipv6_src", "ipv6", 128, 16, "1.122", "1.122", "m", "ct"],
  ["ct_nw_dst", "ipv4", 32, 4, "1.121", "1.121", "m", "ct"],
  ["ct_ipv6_dst", "ipv6", 128, 16, "1.123", "1.123", "m", "ct"],
  ["ct_nw_proto", "uint", 8, 1, "1.119", "1.119", "", "ct"],
  ["ct_tp_src", "uint", 16, 2, "1.124", "1.124", "m", "ct"],
  ["ct_tp_dst", "uint", 16, 2, "1.125", "1.125", "m", "ct"],
  ["metadata", "uint", 64, 8, "b2", null, "mw"],
  // In a match these are written as the fields that they consist of: registers, vlan_vid and vlan_pcp, ip_dscp.
  ["xreg*", "uint", 64, 8, "r0", null, "mw"],
  ["xxreg*", "uint", 128, 16, "1.111", "1.111", "mw"],
  ["vlan_tci", "uint", 16, 2, "0.4", "0.4", "mw", "eth"],
  ["ip_tos", "uint", 8, 1, "0.5", "0.5", "w", "ip"],
  // For subfields of actions: the 16-bit port number that most pipelines save and load; in a match it is in_port.
  ["nxm_in_port", "uint", 16, 2, "0.0", "0.0", "w"],
  ["cookie", "uint", 64, 8, "1.30.8", "1.30.8", "m"],
] as const satisfies readonly Row[];

type D = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;
type UpTo15 = D | 10 | 11 | 12 | 13 | 14 | 15;
type UpTo63 = D | `${1 | 2 | 3 | 4 | 5}${D}` | 60 | 61 | 62 | 63;
type Family<N extends string> = N extends "reg*" ? `reg${UpTo15}`
  : N extends "xreg*" ? `xreg${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7}`
  : N extends "xxreg*" ? `xxreg${0 | 1 | 2 | 3}`
  : N extends "tun_metadata*" ? `tun_metadata${UpTo63}`
  : N;

/** Names as ovs-fields(7) and the specification spell them, without the class prefix. */
export type FieldName = Family<(typeof ROWS)[number][0]>;

const WIDTHS: Readonly<Record<string, number>> = { vlan_vid: 12, tun_flags: 1, "tun_metadata*": 992 };
const FAMILIES: Readonly<Record<string, number>> = { "reg*": 16, "xreg*": 8, "xxreg*": 4, "tun_metadata*": 64 };
const CLASSES: Readonly<Record<string, readonly [cls: number, experimenter: number | undefined]>> = {
  b: [0x8000, undefined], r: [0x8001, undefined], e: [0x1000, undefined],
  o: [0xffff, 0x4f4e4600], n: [0xffff, 0x00002320], h: [0xffff, 0x005ad650],
};

function number(text: string, index: number): { cls: number; field: number; experimenter: number | undefined } {
  const nxm = /^([01])\.(\d+)/.exec(text);
  if (nxm !== null) return { cls: Number(nxm[1]), field: Number(nxm[2]) + index, experimenter: undefined };
  const [cls, experimenter] = CLASSES[text[0]!]!;
  return { cls, field: Number(text.slice(1)) + index, experimenter };
}

function build(): Field[] {
  const all: Field[] = [];
  for (const [name, kind, bits, bytes, oxmText, nxmText, flags = "", needs] of ROWS as readonly Row[]) {
    const count = FAMILIES[name] ?? 1;
    for (let i = 0; i < count; i++) {
      const oxm = number(oxmText, i);
      const nxm = nxmText === null ? oxm : number(nxmText, i);
      all.push({
        name: (count === 1 ? name : name.replace("*", String(i))) as FieldName,
        kind, bits, bytes,
        maskable: flags.includes("m"),
        writable: flags.includes("w"),
        known: !flags.includes("x"),
        needs,
        width: WIDTHS[name] ?? bits,
        oxmClass: oxm.cls,
        oxmField: oxm.field,
        ...(oxm.experimenter === undefined ? {} : { experimenter: oxm.experimenter }),
        header: ((oxm.cls << 16) | (oxm.field << 9)) >>> 0,
        nxmHeader: ((nxm.cls << 16) | (nxm.field << 9)) >>> 0,
        nxmExperimenter: nxm.experimenter,
        order: all.length,
      });
    }
  }
  return all;
}

const list = build();

/** All fields in match order. */
export const fieldList: readonly Field[] = list;

export const fields = Object.freeze(Object.fromEntries(list.map((f) => [f.name, f]))) as Readonly<Record<FieldName, Field>>;

/** The same, for hot loops. */
export const fieldByName: ReadonlyMap<string, Field> = new Map(list.map((f) => [f.name, f]));

// header without mask bit and length -> field, one map for ordinary classes and one per experimenter
const byHeader = new Map<number, Field>();
const byExperimenter = new Map<number, Map<number, Field>>();
for (const field of list) {
  if (field.name === "cookie") continue;
  if (field.experimenter === undefined) byHeader.set(field.header >>> 9, field);
  else {
    const map = byExperimenter.get(field.experimenter) ?? new Map<number, Field>();
    byExperimenter.set(field.experimenter, map.set(field.header >>> 9, field));
  }
  if (field.nxmExperimenter === undefined) byHeader.set(field.nxmHeader >>> 9, field);
}
// Further numbers of fields: what the ONF extensions became in OpenFlow 1.5, and the newer one of dp_hash.
byHeader.set(((0x8000 << 16) | (42 << 9)) >>> 9, fieldByName.get("tcp_flags")!);
byHeader.set(((0x8000 << 16) | (43 << 9)) >>> 9, fieldByName.get("actset_output")!);
byExperimenter.get(0x00002320)!.set(((0xffff << 16) | (0 << 9)) >>> 9, fieldByName.get("dp_hash")!);

/** The field of an OXM header (class, field, mask bit, length), undefined if unknown. The length tells mpls_ttl from cookie. */
export function fieldOfHeader(header: number, experimenter: number | undefined): Field | undefined {
  if (experimenter !== undefined) return byExperimenter.get(experimenter)?.get(header >>> 9);
  if (header >>> 9 === COOKIE_HEADER && (header & 0xff) >= 8) return fields.cookie;
  return byHeader.get(header >>> 9);
}
const COOKIE_HEADER = fields.cookie.header >>> 9;

/** Reserved port numbers, OpenFlow 1.3.5 A.2.1. */
export const ports = {
  MAX: 0xffffff00,
  IN_PORT: 0xfffffff8,
  TABLE: 0xfffffff9,
  NORMAL: 0xfffffffa,
  FLOOD: 0xfffffffb,
  ALL: 0xfffffffc,
  CONTROLLER: 0xfffffffd,
  LOCAL: 0xfffffffe,
  ANY: 0xffffffff,
} as const;

/** Reserved group numbers. */
export const groups = { MAX: 0xffffff00, ALL: 0xfffffffc, ANY: 0xffffffff } as const;

export const NO_BUFFER = 0xffffffff;
export const ALL_TABLES = 0xff;
