// Matches as text: "tcp,nw_src=10.0.0.0/8,tp_dst=80". A packet has one place for what several fields of OpenFlow name, the
// source address for ipv4_src and arp_spa, the source port for tcp_src and icmpv4_type; which of them is meant follows from the
// protocols that are matched. So conditions are collected by place first, and become fields at the end. What has no field there
// (tp_dst without tcp) is dropped, as ovs-ofctl drops it.

import { fields, type FieldName } from "../../match/fields.ts";
import type { Match, MatchValue } from "../../match/match.ts";
import { fieldInteger, fieldNamed, fieldValue, matchedValue, ones, subField, wireValue, type Masked, type TextField, type TextSubField } from "./fields.ts";
import { ETH, Packet, PACKET_TYPE, PROTO, VLAN_PRESENT } from "./packet.ts";
import { pairs, quoted, textError, type Pair, type Word } from "./words.ts";

/** Protocols by name: Ethernet type, and IP protocol if it says one. */
const PROTOCOLS: ReadonlyMap<string, readonly [type: number, proto?: number]> = new Map<string, readonly [number, number?]>([
  ["ip", [ETH.IP]], ["ipv4", [ETH.IP]], ["ip4", [ETH.IP]], ["icmp", [ETH.IP, PROTO.ICMP]], ["tcp", [ETH.IP, PROTO.TCP]], ["udp", [ETH.IP, PROTO.UDP]],
  ["sctp", [ETH.IP, PROTO.SCTP]], ["ipv6", [ETH.IPV6]], ["ip6", [ETH.IPV6]], ["icmp6", [ETH.IPV6, PROTO.ICMPV6]], ["tcp6", [ETH.IPV6, PROTO.TCP]],
  ["udp6", [ETH.IPV6, PROTO.UDP]], ["sctp6", [ETH.IPV6, PROTO.SCTP]], ["arp", [ETH.ARP]], ["rarp", [ETH.RARP]], ["mpls", [ETH.MPLS]], ["mplsm", [ETH.MPLS_MC]],
]);

const SHARED = {
  ipv4_src: "nw_src", arp_spa: "nw_src", ipv4_dst: "nw_dst", arp_tpa: "nw_dst", ip_proto: "nw_proto", arp_op: "nw_proto", ip_tos: "ip_dscp",
  tcp_src: "tp_src", udp_src: "tp_src", sctp_src: "tp_src", icmpv4_type: "tp_src", icmpv6_type: "tp_src",
  tcp_dst: "tp_dst", udp_dst: "tp_dst", sctp_dst: "tp_dst", icmpv4_code: "tp_dst", icmpv6_code: "tp_dst",
  tcp_flags: "tcp_flags", nd_options_type: "tcp_flags", ipv6_nd_sll: "arp_sha", ipv6_nd_tll: "arp_tha", nxm_in_port: "in_port",
} as const satisfies Partial<Record<FieldName, string>>;
type Place = FieldName | (typeof SHARED)[keyof typeof SHARED];
const PLACES: Readonly<Partial<Record<FieldName, Place>>> = SHARED;

/** Places whose field depends on the protocols that are matched. */
const DEPENDENT = new Set<Place>([
  "nw_src", "nw_dst", "nw_proto", "tp_src", "tp_dst", "tcp_flags", "arp_sha", "arp_tha", "ipv6_src", "ipv6_dst", "ip_frag", "ip_dscp", "ip_ecn", "ip_ttl",
  "ipv6_flabel", "nd_reserved", "ipv6_nd_target", "mpls_label", "mpls_tc", "mpls_bos", "mpls_ttl",
]);
const PORTS_OF: Readonly<Record<number, readonly [FieldName, FieldName]>> = {
  [PROTO.TCP]: ["tcp_src", "tcp_dst"], [PROTO.UDP]: ["udp_src", "udp_dst"], [PROTO.SCTP]: ["sctp_src", "sctp_dst"],
};
const CONNECTION_PORTS = new Set<Place>(["ct_nw_proto", "ct_tp_src", "ct_tp_dst"]);
/** Open vSwitch 3.1 takes the value of these for their mask. */
const VALUE_AS_MASK = new Set<FieldName>(["tun_erspan_ver", "tun_erspan_dir", "tun_erspan_hwid", "tun_gtpu_flags", "tun_gtpu_msgtype"]);
const PCP = 0xe000;
const VID = 0x0fff;
const TAG = VID | VLAN_PRESENT;
const MOST_TUN_METADATA = 256;

/** Conditions on a packet, as they are being read. */
export class Conditions {
  private readonly places = new Map<Place, Masked>();
  private readonly said = new Map<string, string>();
  private readonly metadata = new Map<FieldName, { value: bigint; mask: bigint | undefined; bytes: number }>();
  private metadataBytes = 0;
  private tci = 0;
  private tciMask = 0;
  private packetType: number | undefined;

  /** Takes one word of a match. @returns false if it is none */
  take(pair: Pair): boolean {
    const { key, value } = pair;
    const protocol = PROTOCOLS.get(key.text);
    if (protocol !== undefined) {
      this.places.set("eth_type", { value: BigInt(protocol[0]), mask: 0xffffn });
      if (protocol[1] !== undefined) this.places.set("nw_proto", { value: BigInt(protocol[1]), mask: 0xffn });
      this.packetType ??= PACKET_TYPE.ETHERNET;
      return true;
    }
    if (key.text === "eth") {
      this.packetType = PACKET_TYPE.ETHERNET;
      return true;
    }
    const bracket = key.text.indexOf("[");
    const field = bracket < 0 ? fieldNamed(key.text) : undefined;
    if (field !== undefined) {
      this.once(pair, field.name);
      this.set(value, field, value.text === "" ? fieldValue(field, { text: "0/0", at: value.at }) : fieldValue(field, value));
    } else if (bracket >= 0) this.takePart(key, value);
    else return false;
    return true;
  }

  /** Two different values for one thing are a mistake. */
  once(pair: Pair, name = pair.key.text): void {
    const before = this.said.get(name);
    if (before !== undefined && before !== pair.value.text) throw textError(pair.key, `${name} is given twice, as ${before.slice(0, 60)} and ${pair.value.text.slice(0, 60)}`);
    this.said.set(name, pair.value.text);
  }

  private takePart(key: Word, word: Word): void {
    const sub = subField(key);
    const value = fieldInteger(sub.field, word);
    if (value >> BigInt(sub.bits) !== 0n) throw textError(word, `${key.text.slice(0, 60)}: ${quoted(word)} has more than ${sub.bits} bits`);
    this.write(key, sub, value);
  }

  /** Adds that some bits of a field have this value. */
  write(key: Word, { field, ofs, bits }: TextSubField, value: bigint): void {
    const old = this.get(field);
    const range = ((1n << BigInt(bits)) - 1n) << BigInt(ofs);
    const mask = old.mask | range;
    if (!field.maskable && mask !== ones(field)) throw textError(key, `${field.name} takes no mask`);
    this.set(key, field, { value: (old.value & ~range) | (value << BigInt(ofs)), mask });
  }

  private get(field: TextField): Masked {
    const name = field.wire?.name;
    if (name === "vlan_tci") return { value: BigInt(this.tci), mask: BigInt(this.tciMask) };
    if (name === "vlan_vid" || name === undefined) return { value: BigInt(this.tci & TAG), mask: BigInt(this.tciMask & TAG) };
    if (name === "ip_tos") {
      const dscp = this.places.get("ip_dscp");
      return { value: (dscp?.value ?? 0n) << 2n, mask: dscp === undefined ? 0n : 0xfcn };
    }
    let value = 0n;
    let mask = 0n;
    for (const [register, shift] of registersOf(name)) {
      const half = this.places.get(register);
      value |= (half?.value ?? 0n) << shift;
      mask |= (half?.mask ?? 0n) << shift;
    }
    if (mask !== 0n) return { value, mask };
    const place = this.places.get(PLACES[name] ?? name);
    return place === undefined ? { value, mask } : { value: place.value & ones(field), mask: place.mask & ones(field) };
  }

  private set(word: Word, field: TextField, given: Masked): void {
    const { mask } = given;
    const matched = matchedValue(field, given.value & mask);
    if (matched === undefined) throw textError(word, `${field.name} cannot be ${quoted(word)}`, "OFPBMC_BAD_VALUE");
    if (field.needs !== undefined) this.packetType ??= PACKET_TYPE.ETHERNET;
    const name = field.wire?.name;
    if (name === undefined || name === "vlan_vid" || name === "vlan_pcp" || name === "vlan_tci") {
      this.setVlan(field.name, Number(matched), Number(mask));
      return;
    }
    if (name === "packet_type") {
      this.packetType = mask === 0n ? undefined : Number(given.value);
      return;
    }
    if (field.wire!.bytes === 0) {
      this.setMetadata(word, name, given, mask !== ones(field));
      return;
    }
    const registers = registersOf(name);
    if (registers.length > 0) {
      for (const [register, shift] of registers) this.put(register, (given.value >> shift) & 0xffffffffn, (mask >> shift) & 0xffffffffn);
      return;
    }
    const place = PLACES[name] ?? name;
    let value = matched;
    let bits = mask;
    if (VALUE_AS_MASK.has(name)) bits = mask === 0n ? 0n : given.value;
    else if (name === "ip_tos") value >>= 2n;
    else if (name === "ct_state") bits &= 0xffn;
    else if (name === "tun_flags") bits &= 1n;
    else if (name === "nxm_in_port") [value, bits] = [value >= 0xff00n ? value + 0xffff0000n : value, mask === 0n ? 0n : 0xffffffffn];
    else if (name === "ipv6_flabel" && (mask & 0xfffffn) === 0xfffffn) bits = 0xffffffffn;
    else if (mask === ones(field) && place !== name) bits = place === "nw_proto" ? 0xffn : place === "tp_src" || place === "tp_dst" || place === "tcp_flags" ? 0xffffn : mask;
    this.put(place, value, bits);
  }

  private put(place: Place, value: bigint, mask: bigint): void {
    if (mask === 0n) this.places.delete(place);
    else this.places.set(place, { value: value & mask, mask });
  }

  /** dl_vlan, vlan_vid and so on each say something about parts of the one tag control information. */
  private setVlan(name: string, value: number, mask: number): void {
    const bits = (change: number, mean: number): void => {
      this.tci = (this.tci & ~change) | value;
      this.tciMask = mean;
    };
    const forget = (own: number, other: number): void => {
      const keep = (this.tciMask & other) !== 0 ? ~own : 0;
      this.tci &= keep;
      this.tciMask &= keep;
    };
    switch (name) {
      case "vlan_tci":
        bits(0xffff, mask);
        return;
      case "vlan_vid":
        if (mask === 0) forget(VID, PCP);
        else bits(TAG, (mask & TAG) | (this.tciMask & PCP));
        return;
      case "dl_vlan":
        if (mask === 0) forget(VID, PCP);
        else if (value === 0xffff) [this.tci, this.tciMask] = [0, 0xffff];
        else {
          value |= VLAN_PRESENT;
          bits(VID, this.tciMask | TAG);
        }
        return;
      default:
        if (mask === 0) forget(PCP, VID);
        else {
          value = (value << 13) | VLAN_PRESENT;
          bits(PCP, this.tciMask | PCP | VLAN_PRESENT);
        }
    }
  }

  private setMetadata(word: Word, name: FieldName, { value, mask }: Masked, masked: boolean): void {
    const bytes = Math.max(bytesOf(value), masked ? bytesOf(mask) : 0);
    this.metadataBytes += bytes;
    if (this.metadataBytes > MOST_TUN_METADATA) throw textError(word, `${name}: more than ${MOST_TUN_METADATA} bytes of tunnel metadata in one match`);
    if (this.metadata.has(name)) throw textError(word, `${name} is given twice`);
    this.metadata.set(name, { value: value & mask, mask: masked ? mask : undefined, bytes });
  }

  private valueOf(place: Place): number {
    return Number(this.places.get(place)?.value ?? 0n);
  }

  /** A packet type may say it too, and is believed. */
  private ethType(): number {
    return this.packetType !== undefined && this.packetType >>> 16 === 1 ? this.packetType & 0xffff : this.valueOf("eth_type");
  }

  /** What the match says about the packet. */
  packet(): Packet {
    const packet = new Packet();
    packet.packetType = this.packetType ?? PACKET_TYPE.ETHERNET;
    packet.ethType = this.ethType();
    packet.proto = this.valueOf("nw_proto");
    packet.frag = this.valueOf("ip_frag");
    packet.vlans = [this.tci, 0];
    packet.ctState = this.valueOf("ct_state");
    packet.ctStateMask = Number(this.places.get("ct_state")?.mask ?? 0n);
    packet.tpSrc = this.valueOf("tp_src");
    packet.tpDst = this.valueOf("tp_dst");
    return packet;
  }

  match(): Match {
    const out: Record<string, MatchValue> = {};
    let ethernet = false;
    const put = (name: FieldName, place: Place = name): void => {
      const masked = this.places.get(place);
      if (masked === undefined) return;
      const field = fields[name];
      if (field.needs !== undefined) ethernet = true;
      const all = ones(field);
      if ((masked.mask & all) === all) out[name] = wireValue(field, masked.value & all);
      else out[name] = { value: wireValue(field, masked.value), mask: wireValue(field, masked.mask) };
    };
    for (const place of this.places.keys()) {
      if (place === "eth_type") {
        out["eth_type"] = this.ethType();
        ethernet = true;
      }
      else if (!DEPENDENT.has(place) && (!CONNECTION_PORTS.has(place) || this.valueOf("ct_nw_proto") !== 0)) put(place as FieldName);
    }
    const packet = this.packet();
    if (packet.isIp) this.putIp(packet, put, out);
    else if (packet.meets("arp")) {
      if (this.places.has("nw_proto")) out["arp_op"] = this.valueOf("nw_proto");
      put("arp_spa", "nw_src");
      put("arp_tpa", "nw_dst");
      put("arp_sha");
      put("arp_tha");
    } else if (packet.isMpls) for (const name of ["mpls_label", "mpls_tc", "mpls_bos", "mpls_ttl"] as const) put(name);
    if ((this.tciMask & TAG) !== 0) {
      ethernet = true;
      out["vlan_vid"] = (this.tciMask & TAG) === TAG ? this.tci & TAG : { value: this.tci & TAG, mask: this.tciMask & TAG };
    }
    if ((this.tci & TAG) !== 0 && (this.tciMask & PCP) !== 0) out["vlan_pcp"] = this.tci >> 13;
    for (const [name, { value, mask, bytes }] of this.metadata) {
      const field = fields[name];
      out[name] = mask === undefined ? wireValue(field, value, bytes) : { value: wireValue(field, value, bytes), mask: wireValue(field, mask, bytes) };
    }
    // That it is an Ethernet packet goes without saying where a field says it.
    if (this.packetType !== undefined && (this.packetType !== PACKET_TYPE.ETHERNET || !ethernet)) out["packet_type"] = this.packetType;
    return out;
  }

  private putIp(packet: Packet, put: (name: FieldName, place?: Place) => void, out: Record<string, MatchValue>): void {
    const v4 = packet.type === ETH.IP;
    if (v4) {
      put("ipv4_src", "nw_src");
      put("ipv4_dst", "nw_dst");
    } else {
      put("ipv6_src");
      put("ipv6_dst");
    }
    put("ip_frag");
    for (const name of ["ip_dscp", "ip_ecn", "ip_ttl", "ipv6_flabel"] as const) put(name);
    if (!this.places.has("nw_proto")) return;
    put("ip_proto", "nw_proto");
    const ports = PORTS_OF[packet.proto];
    if (ports !== undefined) {
      put(ports[0], "tp_src");
      put(ports[1], "tp_dst");
      if (packet.proto === PROTO.TCP) put("tcp_flags");
    } else if (packet.proto === (v4 ? PROTO.ICMP : PROTO.ICMPV6)) {
      if (this.places.has("tp_src")) out[v4 ? "icmpv4_type" : "icmpv6_type"] = packet.tpSrc & 0xff;
      if (this.places.has("tp_dst")) out[v4 ? "icmpv4_code" : "icmpv6_code"] = packet.tpDst & 0xff;
      if (packet.meets("nd")) {
        put("nd_reserved");
        put("ipv6_nd_target");
        if (this.places.has("tcp_flags")) out["nd_options_type"] = this.valueOf("tcp_flags") & 0xff;
        if (packet.meets("nd_solicit")) put("ipv6_nd_sll", "arp_sha");
        else put("ipv6_nd_tll", "arp_tha");
      }
    }
  }
}

function bytesOf(value: bigint): number {
  return value === 0n ? 0 : (value.toString(16).length + 1) >> 1;
}

const NONE: readonly (readonly [FieldName, bigint])[] = [];
const wideRegisters = new Map<FieldName, readonly (readonly [FieldName, bigint])[]>();
for (let i = 0; i < 8; i++) wideRegisters.set(`xreg${i}` as FieldName, [[`reg${i * 2}` as FieldName, 32n], [`reg${i * 2 + 1}` as FieldName, 0n]]);
for (let i = 0; i < 4; i++) wideRegisters.set(`xxreg${i}` as FieldName, [0, 1, 2, 3].map((k) => [`reg${i * 4 + k}` as FieldName, BigInt(96 - 32 * k)] as const));

/** The registers that xreg and xxreg consist of, and how far left each stands; none for other fields. */
function registersOf(name: FieldName): readonly (readonly [FieldName, bigint])[] {
  return wideRegisters.get(name) ?? NONE;
}

/**
 * Fields and protocols as ovs-ofctl takes them, such as "ip,nw_dst=10.0.0.0/8", without actions, priority and table.
 * @throws OpenFlowError OF_TEXT
 */
export function parseMatch(text: string): Match {
  const conditions = new Conditions();
  for (const pair of pairs({ text, at: 0 })) if (!conditions.take(pair)) throw textError(pair.key, `no field ${quoted(pair.key)}`);
  return conditions.match();
}

