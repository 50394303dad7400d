// Bodies of smaller messages: asynchronous masks and roles, tunnel metadata maps, connections to forget, IPFIX counters.

import type { CtFlushTuple } from "../../messages/ct-flush.ts";
import type { MessageOf, MultipartReplyOf } from "../../messages/codec.ts";
import { packetInReason } from "./actions.ts";
import { removalReason } from "./monitor.ts";
import { hash } from "./value.ts";

// --- asynchronous messages ---

const oneOf = (names: readonly string[]) => (bit: number): string => names[bit] || String(bit);
const ROLE_REASONS = ["primary_request", "configuration_changed", "experimenter_data_changed"];

interface AsyncType {
  readonly label: string;
  readonly name: string;
  readonly reason: (bit: number) => string;
  /** Bits that Open vSwitch takes. */
  readonly known: number;
}
const ASYNC_TYPES: readonly AsyncType[] = [
  { label: "PACKET_IN", name: "packet_in", reason: packetInReason, known: 0x7 },
  { label: "PORT_STATUS", name: "port_status", reason: oneOf(["add", "delete", "modify"]), known: 0x7 },
  { label: "FLOW_REMOVED", name: "flow_removed", reason: removalReason, known: 0x3f },
  { label: "ROLE_STATUS", name: "role_status", reason: oneOf(ROLE_REASONS), known: 0x7 },
  { label: "TABLE_STATUS", name: "table_status", reason: oneOf(["", "", "", "vacancy_down", "vacancy_up"]), known: 0x18 },
  { label: "REQUESTFORWARD", name: "requestforward", reason: oneOf(["group_mod_request", "meter_mod_request"]), known: 0x3 },
];

/** `masks`: by name and role, the bits of the reasons for which messages are sent. */
function formatMasks(masks: (name: string, role: "master" | "slave") => number): string {
  let out = "";
  for (const [title, role] of [["primary", "master"], ["secondary", "slave"]] as const) {
    out += `\n ${title}:\n`;
    for (const { label, name, reason, known } of ASYNC_TYPES) {
      const bits = masks(name, role) & known;
      const reasons = Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => (bits >>> bit) & 1).map((bit) => ` ${reason(bit)}`);
      out += `${label.padStart(16)}:${reasons.length === 0 ? " (off)" : reasons.join("")}\n`;
    }
  }
  return out;
}

export function formatAsync(message: MessageOf<"set_async"> | MessageOf<"get_async_reply"> | MessageOf<"nxt_set_async">): string {
  const masks: Readonly<Record<string, readonly number[]>> = { packet_in: message.packet_in_mask, port_status: message.port_status_mask, flow_removed: message.flow_removed_mask };
  return formatMasks((name, role) => masks[name]?.[role === "master" ? 0 : 1] ?? 0);
}

export function formatAsync2(message: MessageOf<"nxt_set_async2">): string {
  const masks = new Map<string | number, number>();
  for (const property of message.properties) if ("mask" in property) masks.set(property.type, property.mask);
  return formatMasks((name, role) => masks.get(`${name}_${role}`) ?? 0);
}

const ROLE_NAMES: Readonly<Record<string, string>> = { master_request: "primary_request", config: "configuration_changed", experimenter: "experimenter_data_changed" };

export function formatRoleReason(reason: number | string): string {
  return ` reason=${ROLE_NAMES[reason] ?? "(unknown)"}`;
}

// --- tunnel metadata ---

export function formatTlvMaps(maps: MessageOf<"tlv_table_mod">["maps"]): string {
  let out = " mapping table:\n  class  type  length  match field\n ------  ----  ------  --------------";
  for (const map of maps) {
    out += `\n ${hash(map.option_class).padStart(6)}  ${hash(map.option_type).padStart(4)}  ${String(map.option_len).padStart(6)}  tun_metadata${map.index}`;
  }
  return out;
}

// --- connection tracking ---

const ICMP = new Set([1, 58]);

export function formatCtFlush(message: MessageOf<"ct_flush">): string {
  let zone = 0;
  const tuples = new Map<string, Map<string, number | string>>([["orig_tuple", new Map()], ["reply_tuple", new Map()]]);
  // The family of the last address counts for all.
  let ipv4 = false;
  for (const property of message.properties) {
    if (property.type === "zone") zone = property.zone_id;
    else if (property.type === "orig_tuple" || property.type === "reply_tuple") {
      const into = tuples.get(property.type)!;
      for (const part of property.tuple) ipv4 = readTuple(into, part) ?? ipv4;
    }
  }
  const text = (tuple: ReadonlyMap<string, number | string>): string => {
    const address = (name: string): string => String(tuple.get(name) ?? "::").replace(/^::ffff:(?=\d+\.)/, "");
    const number = (name: string): string => String(tuple.get(name) ?? 0);
    const family = ipv4 ? "ct_nw" : "ct_ipv6";
    return `${family}_src=${address("src")},${family}_dst=${address("dst")},${ICMP.has(message.ip_proto)
      ? `icmp_id=${number("icmp_id")},icmp_type=${number("icmp_type")},icmp_code=${number("icmp_code")}`
      : `ct_tp_src=${number("src_port")},ct_tp_dst=${number("dst_port")}`}`;
  };
  return ` zone=${zone} '${text(tuples.get("orig_tuple")!)},ct_nw_proto=${message.ip_proto}' '${text(tuples.get("reply_tuple")!)}'`;
}

/** Returns whether an address was IPv4, undefined for what is no address. */
function readTuple(into: Map<string, number | string>, part: CtFlushTuple): boolean | undefined {
  switch (part.type) {
    case "src":
    case "dst":
      into.set(part.type, part.addr);
      return /^::ffff:\d+\./.test(part.addr);
    case "src_port":
    case "dst_port":
      into.set(part.type, part.port);
      return undefined;
    case "icmp_id":
      into.set(part.type, part.id);
      return undefined;
    case "icmp_type":
    case "icmp_code":
      into.set(part.type, part.code);
      return undefined;
    default:
      return undefined;
  }
}

// --- IPFIX ---

const UNKNOWN = 0xffffffffffffffffn;
const count = (value: bigint): string => (value === UNKNOWN ? "?" : String(value));

export function formatIpfix(of: Omit<MultipartReplyOf<"ipfix_bridge">, "type" | "kind" | "flags">, indent: number): string {
  return `flows=${count(of.total_flows)}, current flows=${count(of.current_flows)}, sampled pkts=${count(of.pkts)}, ipv4 ok=${count(of.ipv4_pkts)}, ipv6 ok=${
    count(of.ipv6_pkts)}, tx pkts=${count(of.tx_pkts)}\n${" ".repeat(indent)}pkts errs=${count(of.error_pkts)}, ipv4 errs=${count(of.ipv4_error_pkts)}, ipv6 errs=${
    count(of.ipv6_error_pkts)}, tx errs=${count(of.tx_errors)}\n`;
}
