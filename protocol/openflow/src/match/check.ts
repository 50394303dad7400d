// Whether a match makes sense to Open vSwitch: values in range, masks where they may be, no field twice in any guise, and each
// field after those that it needs. lib/meta-flow.c and lib/nx-match.c of Open vSwitch; OpenFlow 1.3.5 section 7.2.3.8.

import { refusal } from "../wire/errors.ts";
import { fieldByName, type Field, type FieldName, type Prerequisite } from "./fields.ts";
import { isMasked, type MatchValue, type OxmEntry } from "./oxm.ts";
import { judging } from "../wire/strict.ts";
import type { FieldValue } from "./value.ts";

type Values = Readonly<Record<string, MatchValue | undefined>>;

/** Bits that a value may have, where that is not all of its bytes. */
const BITS: Readonly<Partial<Record<FieldName, number>>> = {
  ip_dscp: 0x3f, ip_tos: 0xfc, ip_ecn: 3, ip_frag: 3, tcp_flags: 0xfff, arp_op: 0xff, vlan_vid: 0x1fff, vlan_pcp: 7, ipv6_flabel: 0xfffff,
  mpls_label: 0xfffff, mpls_tc: 7, mpls_bos: 1, tun_flags: 1, ct_state: 0xff, nsh_ttl: 0x3f, nsh_spi: 0xffffff,
};

/** Whether Open vSwitch takes the value in a match or a set_field. */
export function isValidValue(field: Field, value: FieldValue): boolean {
  const bits = BITS[field.name];
  if (bits !== undefined) return (Number(value) & ~bits) === 0;
  if (field.name === "in_port" || field.name === "actset_output") return isPort(Number(value));
  if (field.name === "nsh_mdtype") return value === 1 || value === 2;
  return true;
}

/** Whether a port number of 32 bits has one of 16: it is below 0xff00, or reserved. */
export function isPort(port: number): boolean {
  return port < 0xff00 || port >= 0xffffff00;
}

/** @throws OpenFlowError OFPBMC_BAD_WILDCARDS when the value has bits that its mask has not */
export function mustBeInMask(buf: Buffer, { field, end, half }: OxmEntry): void {
  const start = end - 2 * half;
  for (let i = 0; i < half; i++) {
    if (buf[start + i]! & ~buf[start + half + i]!) throw refusal("OFPBMC_BAD_WILDCARDS", start + i, `${field.name} has bits outside its mask`);
  }
}

/** Checks an entry that comes after those in `before`. @throws OpenFlowError OFPBMC_* */
export function mustMatch(buf: Buffer, pos: number, entry: OxmEntry, before: Values): void {
  const { field, value, mask } = entry;
  if (mask !== undefined) {
    mustBeInMask(buf, entry);
    const bits = buf.subarray(entry.end - entry.half, entry.end);
    if (!field.maskable && !bits.every((byte) => byte === 0xff) && !bits.every((byte) => byte === 0)) {
      throw refusal("OFPBMC_BAD_MASK", entry.end - entry.half, `${field.name} cannot be masked`);
    }
  }
  if (!isValidValue(field, value)) throw refusal("OFPBMC_BAD_VALUE", pos, `${field.name} cannot be ${String(value)}`);
  if (!judging.loose && !hasPrerequisite(field.needs, flowOf(before))) throw refusal("OFPBMC_BAD_PREREQ", pos, `${field.name} without ${field.needs ?? ""}`);
  if (isTaken(field.name, before)) throw refusal("OFPBMC_DUP_FIELD", pos, `${field.name} is matched already`);
}

/** Whether a field, or part of it under another name, is in the match. */
function isTaken(name: FieldName, before: Values): boolean {
  const has = (other: string): boolean => {
    const value = before[other];
    return value !== undefined && !(isMasked(value) && isNothing(value.mask));
  };
  switch (name) {
    case "nxm_in_port":
      return has("in_port");
    case "ip_tos":
      return has("ip_dscp");
    case "vlan_tci":
      return has("vlan_tci") || has("vlan_vid") || has("vlan_pcp");
    case "vlan_vid":
    case "vlan_pcp":
      return has(name) || has("vlan_tci");
    case "packet_type":
      // Any field of a protocol says that the packet is Ethernet.
      return Object.keys(before).some((other) => has(other) && (other === name || fieldByName.get(other)?.needs !== undefined));
    default: {
      const register = /^(x*)reg(\d+)$/.exec(name);
      if (register === null) return has(name);
      const words = register[1]!.length * 2 || 1;
      const first = Number(register[2]) * words;
      for (let i = first; i < first + words; i++) if (has(`reg${i}`) || has(`xreg${i >> 1}`) || has(`xxreg${i >> 2}`)) return true;
      return false;
    }
  }
}

function isNothing(mask: FieldValue): boolean {
  if (mask instanceof Uint8Array) return mask.every((byte) => byte === 0);
  return typeof mask === "string" ? /^[0:.]*$/.test(mask) : Number(mask) === 0;
}

// --- prerequisites ---

/** What a match says about the headers of its packets; numbers are 0 where it says nothing. */
export interface Flow {
  packetType: number;
  ethType: number;
  /** The tags, outermost first: TCI with 0x1000 where there is one. */
  vlan: [number, number];
  ipProto: number;
  ipFrag: number;
  icmpType: number;
  icmpCode: number;
  ctState: number;
  ctMask: number;
}

function numberIn(values: Values, name: string): number {
  const value = values[name];
  if (value === undefined) return 0;
  const whole = isMasked(value) ? value.value : value;
  return typeof whole === "number" ? whole : typeof whole === "bigint" ? Number(whole) : Number(whole);
}

/** Of a match as decoders return it. */
export function flowOf(match: Values): Flow {
  const tci = match["vlan_tci"] === undefined ? numberIn(match, "vlan_vid") | (numberIn(match, "vlan_pcp") << 13) : numberIn(match, "vlan_tci");
  const ct = match["ct_state"];
  return {
    packetType: numberIn(match, "packet_type"), ethType: numberIn(match, "eth_type"), vlan: [tci, 0], ipProto: numberIn(match, "ip_proto"),
    ipFrag: numberIn(match, "ip_frag"), icmpType: numberIn(match, "icmpv6_type"), icmpCode: numberIn(match, "icmpv6_code"),
    ctState: numberIn(match, "ct_state"), ctMask: ct === undefined ? 0 : isMasked(ct) ? Number(ct.mask) : 0xffffffff,
  };
}

export const IPV4 = 0x0800;
export const IPV6 = 0x86dd;
const ARP = 0x0806;
const RARP = 0x8035;
const NSH = 0x894f;
export const TAGGED = 0x1000;

/** The type of what follows the Ethernet header, if there is one, or of the packet itself. */
export function networkType(flow: Flow): number {
  if (flow.packetType === 0) return flow.ethType;
  return flow.packetType >>> 16 === 1 ? flow.packetType & 0xffff : 0x05ff;
}

export function isMpls(type: number): boolean {
  return type === 0x8847 || type === 0x8848;
}

export function isIp(flow: Flow): boolean {
  const type = networkType(flow);
  return type === IPV4 || type === IPV6;
}

const CT_SEEN = 0xcf; // new, est, rel, rpl, snat, dnat
const CT_INVALID = 0x10;
const CT_TRACKED = 0x20;

export function hasPrerequisite(needs: Prerequisite | undefined, flow: Flow): boolean {
  const type = networkType(flow);
  const transport = (proto: number): boolean => isIp(flow) && flow.ipProto === proto && (flow.ipFrag & 2) === 0;
  const neighbour = (): boolean => type === IPV6 && flow.ipProto === 58 && flow.icmpCode === 0 && (flow.icmpType === 135 || flow.icmpType === 136);
  switch (needs) {
    case undefined:
      return true;
    case "eth":
      return flow.packetType === 0;
    case "vlan":
      return flow.packetType === 0 && (flow.vlan[0] & TAGGED) !== 0;
    case "ip":
      return isIp(flow);
    case "ipv4":
      return type === IPV4;
    case "ipv6":
      return type === IPV6;
    case "arp":
      return type === ARP || type === RARP;
    case "mpls":
      return isMpls(type);
    case "nsh":
      return type === NSH;
    case "tcp":
      return transport(6);
    case "udp":
      return transport(17);
    case "sctp":
      return transport(132);
    case "icmpv4":
      return type === IPV4 && flow.ipProto === 1;
    case "icmpv6":
      return type === IPV6 && flow.ipProto === 58;
    case "nd":
      return neighbour();
    case "nd_solicit":
      return neighbour() && flow.icmpType === 135;
    case "nd_advert":
      return neighbour() && flow.icmpType === 136;
    case "ct":
      return (flow.ctState & CT_SEEN) !== 0 || ((flow.ctState & CT_TRACKED) !== 0 && (flow.ctMask & CT_INVALID) !== 0 && (flow.ctState & CT_INVALID) === 0);
  }
}
