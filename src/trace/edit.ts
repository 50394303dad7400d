// Actions that change a packet and nothing else: fields, tags, labels, time to live. ofproto-dpif-xlate.c and lib/flow.c of Open vSwitch.
import { fields, type Action, type FieldName, type SubField } from "node-openflow";
import { bigOfU64, fieldBits, fullMask, type Packet } from "./packet/packet.ts";
import { at, plainPlace, ranges } from "./packet/places.ts";
import { ETH_TYPE, isIp, isMpls } from "./packet/prerequisites.ts";
import type { Op } from "./flow.ts";

const CFI = 0x1000;
const BOS = 0x100;
const LABELS = 3;

interface Write {
  readonly field: FieldName;
  readonly value: bigint;
  readonly mask: bigint;
  /** The same in the one word that the field is part of, where writing it is no more than that. */
  readonly plain?: { readonly word: number; readonly mask: number; readonly value: number } | undefined;
}

const writes = new WeakMap<object, Write>();

/** What a set_field or load writes, read once. */
function writeOf(action: Action & { readonly type: "set_field" | "reg_load2" | "load" }): Write {
  let write = writes.get(action);
  if (write !== undefined) return write;
  if (action.type === "load") {
    const ofs = BigInt(action.dst.ofs);
    write = { field: action.dst.field, value: BigInt(action.value) << ofs, mask: ((1n << BigInt(action.dst.bits)) - 1n) << ofs };
  } else {
    const field = fields[action.field];
    const { value } = fieldBits(field, action.value);
    write = { field: action.field, value, mask: action.mask === undefined ? fullMask(field) : fieldBits(field, action.mask).value };
  }
  write = { ...write, plain: plainly(write) };
  writes.set(action, write);
  return write;
}

function plainly({ field, value, mask }: Write): Write["plain"] {
  const place = plainPlace(field);
  if (place === undefined) return undefined;
  const m = Number((mask << BigInt(place.shift)) & 0xffff_ffffn);
  return { word: place.word, mask: m, value: Number((value << BigInt(place.shift)) & BigInt(m)) };
}

/** Writes part of a field. @returns why not, when the packet has no such field */
export function writePart(packet: Packet, { field, ofs, bits }: SubField, value: bigint): string | undefined {
  const ones = ((1n << BigInt(bits)) - 1n) << BigInt(ofs);
  return write(packet, { field, value: (value << BigInt(ofs)) & ones, mask: ones });
}

function write(packet: Packet, { field, value, mask, plain }: Write): string | undefined {
  if (!packet.has(field)) return `the packet has no ${field}`;
  if (plain !== undefined) {
    packet.words[plain.word] = (packet.words[plain.word]! & ~plain.mask) | plain.value;
    return undefined;
  }
  if (mask === fullMask(fields[field])) packet.set(field, value);
  else packet.set(field, (packet.get(field) & ~mask) | (value & mask));
  return undefined;
}

function move(packet: Packet, src: SubField, dst: SubField): string | undefined {
  if (!packet.has(src.field)) return `the packet has no ${src.field}`;
  const from = plainPlace(src.field);
  const to = plainPlace(dst.field);
  if (from !== undefined && to !== undefined && packet.has(dst.field)) {
    const { words } = packet;
    const ones = dst.bits >= 32 ? 0xffff_ffff : 2 ** dst.bits - 1;
    const value = (words[from.word]! >>> (from.shift + src.ofs)) & ones;
    const shift = to.shift + dst.ofs;
    words[to.word] = (words[to.word]! & ~(ones << shift)) | (value << shift);
    return undefined;
  }
  return writePart(packet, dst, packet.part(src.field, src.ofs, src.bits));
}

/** Puts a value where ofproto writes it whatever headers there are. */
function always(packet: Packet, field: FieldName, value: number | bigint, when: boolean): string | undefined {
  if (!when) return `the packet has no ${field}`;
  packet.set(field, BigInt(value));
  return undefined;
}

/** A note on what an action did not do; "" when it did; undefined when it is no action of this file. */
export function edit(packet: Packet, op: Op): string | undefined {
  const done = apply(packet, op);
  return done === NOT_MINE ? undefined : done ?? "";
}

const NOT_MINE = Symbol("not mine");

function apply(packet: Packet, op: Op): string | undefined | typeof NOT_MINE {
  const { words } = packet;
  switch (op.type) {
    case "set_field":
    case "reg_load2":
    case "load":
      return write(packet, writeOf(op));
    case "move":
      return move(packet, op.src, op.dst);
    case "write_metadata":
      return write(packet, { field: "metadata", value: bigOfU64(op.metadata), mask: bigOfU64(op.metadata_mask) });
    case "set_tunnel":
    case "set_tunnel64":
      packet.set("tunnel_id", bigOfU64(op.tun_id));
      return undefined;
    case "set_dl_src":
      packet.set("eth_src", fieldBits(fields.eth_src, op.dl_addr).value);
      return undefined;
    case "set_dl_dst":
      packet.set("eth_dst", fieldBits(fields.eth_dst, op.dl_addr).value);
      return undefined;
    case "set_nw_src":
    case "set_nw_dst": {
      const field = op.type === "set_nw_src" ? "ipv4_src" : "ipv4_dst";
      return always(packet, field, fieldBits(fields[field], op.nw_addr).value, packet.has(field));
    }
    case "set_nw_tos":
      return always(packet, "ip_tos", op.nw_tos, isIp(words));
    case "set_nw_ecn":
      return always(packet, "ip_ecn", op.nw_ecn & 3, isIp(words));
    case "set_nw_ttl":
      return always(packet, "ip_ttl", op.nw_ttl, isIp(words));
    case "set_tp_src":
      return always(packet, "tcp_src", op.tp_port, isIp(words) && !packet.laterFragment);
    case "set_tp_dst":
      return always(packet, "tcp_dst", op.tp_port, isIp(words) && !packet.laterFragment);
    case "set_vlan_vid":
    case "set_vlan_pcp":
      if ((words[at.vlan_tci]! & CFI) === 0) return "the packet has no tag";
      if (op.type === "set_vlan_pcp") packet.set("vlan_pcp", BigInt(op.vlan_pcp));
      else packet.set("vlan_vid", BigInt(op.vlan_vid | CFI));
      return undefined;
    case "set_mpls_label":
      return always(packet, "mpls_label", op.mpls_label, isMpls(words[at.eth_type]!));
    case "set_mpls_tc":
      return always(packet, "mpls_tc", op.mpls_tc, isMpls(words[at.eth_type]!));
    case "set_mpls_ttl":
      return always(packet, "mpls_ttl", op.mpls_ttl, isMpls(words[at.eth_type]!));
    case "push_vlan":
      words[at.vlan_tci_inner] = words[at.vlan_tci]!;
      words[at.vlan_tpid_inner] = words[at.vlan_tpid]!;
      words[at.vlan_tci] = CFI;
      words[at.vlan_tpid] = op.ethertype;
      return undefined;
    case "pop_vlan":
      return popVlan(words);
    case "delete_field": {
      const rest = new Map(packet.metadata);
      rest.delete(Number(op.field.field.slice("tun_metadata".length)));
      packet.metadata = rest;
      return undefined;
    }
    default:
      return NOT_MINE;
  }
}

function popVlan(words: Uint32Array): string | undefined {
  if ((words[at.vlan_tci]! & CFI) === 0) return "the packet has no tag";
  const two = (words[at.vlan_tci_inner]! & CFI) !== 0;
  words[at.vlan_tci] = two ? words[at.vlan_tci_inner]! : 0;
  words[at.vlan_tpid] = two ? words[at.vlan_tpid_inner]! : 0;
  if (two) words[at.vlan_tci_inner] = words[at.vlan_tpid_inner] = 0;
  return undefined;
}

function labels(words: Uint32Array): number {
  if (!isMpls(words[at.eth_type]!)) return 0;
  let count = 0;
  for (let i = 0; i < LABELS; i++) {
    const label = words[at.mpls + i]!;
    if ((label & BOS) !== 0) return i + 1;
    if (label !== 0) count++;
  }
  return count;
}

/** @returns false when there are as many labels as Open vSwitch takes */
export function pushMpls(packet: Packet, type: number): boolean {
  const { words } = packet;
  const count = labels(words);
  if (count >= LABELS) return false;
  if (count > 0) {
    for (let i = count; i >= 1; i--) words[at.mpls + i] = words[at.mpls + i - 1]!;
    words[at.mpls] = words[at.mpls + 1]! & ~BOS;
  } else {
    const ip = isIp(words);
    const label = words[at.eth_type] === ETH_TYPE.ipv6 ? 2 : 0; // explicit null
    const tc = ip ? (words[at.nw_tos]! & 0xfc) >> 2 & 7 : 0;
    const ttl = (ip ? words[at.nw_ttl]! : 0) || 64;
    packet.inner = { type: words[at.eth_type]!, words: words.slice(...ranges.layer3) };
    words[at.mpls] = ((label << 12) | (tc << 9) | BOS | ttl) >>> 0;
    words.fill(0, ...ranges.layer3);
    words.fill(0, ...ranges.tuple);
    words[at.dp_hash] = 0;
  }
  words[at.eth_type] = type;
  return true;
}

/** @returns "inner" when what is behind has to be read anew, "full" when there are more labels than can be seen */
export function popMpls(packet: Packet, type: number): "inner" | "full" | undefined {
  const { words } = packet;
  const count = labels(words);
  if (count === 0) return undefined;
  if (count === LABELS && (words[at.mpls + LABELS - 1]! & BOS) === 0) return "full";
  for (let i = 1; i < count; i++) words[at.mpls + i - 1] = words[at.mpls + i]!;
  words[at.mpls + count - 1] = 0;
  words[at.eth_type] = type;
  return isMpls(type) ? undefined : "inner";
}

/** What was behind the labels, if it is known: pushed here, or read from a frame. */
export function readInner(packet: Packet): void {
  const { inner, words } = packet;
  if (inner !== undefined && inner.type === words[at.eth_type]) words.set(inner.words, ranges.layer3[0]);
  packet.inner = undefined;
}

/** @returns false when the time to live ran out, undefined when the packet has none */
export function decTtl(packet: Packet): boolean | undefined {
  const { words } = packet;
  if (!isIp(words)) return undefined;
  if (words[at.nw_ttl]! <= 1) return false;
  words[at.nw_ttl]!--;
  return true;
}

export function decMplsTtl(packet: Packet): boolean | undefined {
  const { words } = packet;
  if (!isMpls(words[at.eth_type]!)) return undefined;
  const ttl = words[at.mpls]! & 0xff;
  if (ttl <= 1) return false;
  words[at.mpls] = ((words[at.mpls]! & ~0xff) | (ttl - 1)) >>> 0;
  return true;
}

export function clearConntrack({ words }: Packet): void {
  words.fill(0, ...ranges.conntrack);
}

/** Swaps a packet's addresses and ports with those of its connection: resubmit(ct). */
export function swapTuple({ words }: Packet): void {
  const swap = (a: number, b: number, count = 1): void => {
    for (let i = 0; i < count; i++) [words[a + i], words[b + i]] = [words[b + i]!, words[a + i]!];
  };
  swap(at.nw_proto, at.ct_nw_proto);
  if (words[at.eth_type] === ETH_TYPE.ipv4) {
    swap(at.nw_src, at.ct_nw_src);
    swap(at.nw_dst, at.ct_nw_dst);
  } else {
    swap(at.ipv6_src, at.ct_ipv6_src, 4);
    swap(at.ipv6_dst, at.ct_ipv6_dst, 4);
  }
  swap(at.tp_src, at.ct_tp_src);
  swap(at.tp_dst, at.ct_tp_dst);
}
