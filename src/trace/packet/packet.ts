// A packet as a switch sees it: headers, where it came from, tunnel, registers, connection state. No payload.
import { decodeOxms, encodeOxm, fieldList, fields, type Field, type FieldName, type FieldValue, type Match, type MatchValue, type U64 } from "node-openflow";
import { at, metadataNumber, placeOf, WORDS, type Place } from "./places.ts";
import { hasField } from "./prerequisites.ts";

const LATER = 2;
const CFI = 0x1000;
/** OFPP_UNSET: no port in the action set. */
export const UNSET = 0xffff_fff7;
const NONE = 0xffff_ffff;

/** A port in 16 bits as one of 32, reserved ones included. */
export const port32 = (port: number): number => (port >= 0xff00 && port <= 0xffff ? port + 0xffff_0000 : port);

export class Packet {
  readonly words: Uint32Array;
  /** Values of tun_metadata, by number; those that are absent are not there. */
  metadata: ReadonlyMap<number, bigint> | undefined;
  /** Bytes of the frame, where they are known: check_pkt_larger asks. */
  length: number | undefined;
  /** The network layer behind MPLS labels, where it is known. */
  inner: { readonly type: number; readonly words: Uint32Array } | undefined;

  constructor(words = new Uint32Array(WORDS), from?: Packet) {
    this.words = words;
    this.metadata = from?.metadata;
    this.length = from?.length;
    this.inner = from?.inner;
  }

  /** From fields, as a rule or a match of exact values names them. Fields that are not given are 0, in_port none. @throws OpenFlowError or Error naming a bad field */
  static of(values: Match): Packet {
    const packet = new Packet();
    packet.words[at.in_port] = NONE;
    packet.words[at.actset_output] = UNSET;
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined) continue;
      const field = fields[name as FieldName] as Field | undefined;
      if (field === undefined) throw new Error(`no field ${name}`);
      const { value: number, mask } = fieldBits(field, value);
      if (mask !== undefined && mask !== fullMask(field) && name !== "ct_state") throw new Error(`${name}: a packet has whole values`);
      packet.set(field.name, number);
    }
    return packet;
  }

  clone(): Packet {
    return new Packet(this.words.slice(), this);
  }

  /** The value of a field, whether the packet has its header or not. */
  get(name: FieldName): bigint {
    const place = placeOf(name);
    if (place === undefined) return this.metadata?.get(metadataNumber(name)) ?? 0n;
    if (name === "nxm_in_port") return BigInt(this.words[at.in_port]! & 0xffff);
    return this.bits(place, 0, place.bits);
  }

  /** `bits` bits from bit `ofs` of a place on. */
  private bits(place: Place, ofs: number, bits: number): bigint {
    if (place.words === 1) {
      const word = this.words[place.word]! >>> (place.shift + ofs);
      return BigInt(bits >= 32 ? word : (word & ((2 ** bits) - 1)) >>> 0);
    }
    let value = 0n;
    for (let i = 0; i < place.words; i++) value = (value << 32n) | BigInt(this.words[place.word + i]!);
    return (value >> BigInt(place.shift + ofs)) & ((1n << BigInt(bits)) - 1n);
  }

  part(name: FieldName, ofs: number, bits: number): bigint {
    if (ofs === 0 && bits === fields[name].bits) return this.get(name);
    return (this.get(name) >> BigInt(ofs)) & ((1n << BigInt(bits)) - 1n);
  }

  /** As mf_set_flow_value of Open vSwitch, lib/meta-flow.c: writing a tag makes one. */
  set(name: FieldName, value: bigint): void {
    const { words } = this;
    switch (name) {
      case "nxm_in_port":
      case "in_port":
        words[at.in_port] = port32(Number(value));
        return;
      case "ip_tos":
        words[at.nw_tos] = (words[at.nw_tos]! & 3) | (Number(value) & 0xfc);
        return;
      case "icmpv4_type":
      case "icmpv6_type":
        words[at.tp_src] = Number(value);
        return;
      case "icmpv4_code":
      case "icmpv6_code":
        words[at.tp_dst] = Number(value);
        return;
      case "tcp_flags":
      case "nd_options_type":
        words[at.tcp_flags] = Number(value);
        return;
      case "vlan_vid":
      case "vlan_tci":
        words[at.vlan_tci] = name === "vlan_tci" ? Number(value) : (words[at.vlan_tci]! & 0xe000) | Number(value & 0x1fffn);
        this.fixTag();
        return;
      case "vlan_pcp":
        words[at.vlan_tci] = (words[at.vlan_tci]! & 0x1fff) | ((Number(value) & 7) << 13) | CFI;
        this.fixTag();
        return;
      case "arp_op":
        words[at.nw_proto] = Number(value) & 0xff;
        return;
      default: {
        const place = placeOf(name);
        if (place !== undefined) this.put(place, value);
        else {
          const n = metadataNumber(name);
          if (n < 0) throw new Error(`no switch keeps ${name}`);
          this.metadata = new Map(this.metadata).set(n, value);
        }
      }
    }
  }

  private fixTag(): void {
    if (this.words[at.vlan_tpid] === 0 && this.words[at.vlan_tci] !== 0) this.words[at.vlan_tpid] = 0x8100;
  }

  private put(place: Place, value: bigint): void {
    const { words } = this;
    if (place.words === 1) {
      const ones = place.bits >= 32 ? 0xffff_ffff : 2 ** place.bits - 1;
      const mask = (ones << place.shift) >>> 0;
      words[place.word] = (words[place.word]! & ~mask) | (Number(value & 0xffff_ffffn) << place.shift & mask);
      return;
    }
    for (let i = place.words - 1, rest = value; i >= 0; i--, rest >>= 32n) words[place.word + i] = Number(rest & 0xffff_ffffn);
  }

  /** Whether the packet has the headers that the field is part of. */
  has(name: FieldName): boolean {
    return hasField(fields[name].needs, this.words);
  }

  /** Whether it is a later fragment, which has no ports. */
  get laterFragment(): boolean {
    return (this.words[at.nw_frag]! & LATER) !== 0;
  }

  /** What it has: fields of the headers that are there, and whatever else is not 0, as matches say it. */
  fields(): Match {
    const buf = Buffer.alloc(4096);
    let end = 0;
    for (const field of fieldList) {
      const { name } = field;
      if (DERIVED.has(name) || !field.known || !this.has(name)) continue;
      if (field.bytes === 0) {
        const value = this.metadata?.get(metadataNumber(name));
        if (value !== undefined) end = encodeOxm(buf, end, field, Buffer.from(value.toString(16).padStart(2 * Math.max(1, Math.ceil(value.toString(16).length / 2)), "0"), "hex"));
        continue;
      }
      const value = this.get(name);
      if (value === 0n && (field.needs === undefined || field.needs === "ct" || OPTIONAL.has(name))) continue;
      if (name === "in_port" && value === BigInt(NONE)) continue;
      if (name === "actset_output" && value === BigInt(UNSET)) continue;
      if (name === "tcp_flags" && this.laterFragment) continue;
      end = encodeOxm(buf, end, field, value);
    }
    return decodeOxms(buf, 0, end);
  }
}

/** Said by others of the list. */
const DERIVED: ReadonlySet<string> = new Set(["packet_type", "xreg", "vlan_tci", "ip_tos", "nxm_in_port", "cookie", ...Array.from({ length: 8 }, (_, i) => `xreg${i}`), ...Array.from({ length: 4 }, (_, i) => `xxreg${i}`)]);
/** Left out when 0, though the packet has the header. */
const OPTIONAL: ReadonlySet<string> = new Set(["vlan_vid", "vlan_pcp", "ip_frag", "ipv6_flabel", "ip_dscp", "ip_ecn", "tcp_flags", "nd_reserved", "nd_options_type", "ipv6_nd_sll", "ipv6_nd_tll"]);

const scratch = Buffer.alloc(1024);

/** A value as bits, and its mask if it has one. @throws OpenFlowError when it is no value of the field */
export function fieldBits(field: Field, value: MatchValue): { readonly value: bigint; readonly mask: bigint | undefined } {
  if (typeof value === "bigint") return { value, mask: undefined };
  if (typeof value === "number") return { value: BigInt(value), mask: undefined };
  const end = encodeOxm(scratch, 0, field, value);
  if (end === 0) return { value: 0n, mask: 0n };
  const start = field.experimenter === undefined ? 4 : 8;
  const masked = (scratch[2]! & 1) === 1;
  const half = (end - start) / (masked ? 2 : 1);
  return { value: bigOf(scratch, start, half), mask: masked ? bigOf(scratch, start + half, half) : undefined };
}

export const valueBits = (field: Field, value: FieldValue): bigint => fieldBits(field, value).value;

export const fullMask = (field: Field): bigint => (1n << BigInt(field.bits || 992)) - 1n;

export function bigOf(buf: Uint8Array, off: number, length: number): bigint {
  let value = 0n;
  for (let i = 0; i < length; i++) value = (value << 8n) | BigInt(buf[off + i]!);
  return value;
}

export const bigOfU64 = (value: U64): bigint => (typeof value === "object" ? (BigInt(value.hi) << 32n) | BigInt(value.lo) : BigInt(value));
