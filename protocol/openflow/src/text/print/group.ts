// Groups and meters: what they are, what they counted and what a switch can do with them, as ofp-print lays it out.

import { groups, ports } from "../../match/fields.ts";
import type { MessageOf, MultipartReplyOf } from "../../messages/codec.ts";
import { formatActions } from "./actions.ts";
import { bitNames, duration, formatPort, hash } from "./value.ts";

const UNKNOWN = 0xffffffffffffffffn;

/** A group number in a request. */
export function formatGroupId(group: number): string {
  return group === groups.ALL ? "ALL" : group === groups.ANY ? "ANY" : String(group);
}

type Group = MultipartReplyOf<"group_desc">["groups"][number];

export function formatGroup(group: Group): string {
  let out = `group_id=${group.group_id},type=${typeof group.group_type === "number" ? "unknown" : group.group_type}`;
  for (const bucket of group.buckets) {
    out += ",bucket=";
    const weight = bucket.weight ?? 0;
    if (weight !== (group.group_type === "select" ? 1 : 0)) out += `weight:${weight},`;
    if (bucket.watch_port !== undefined && bucket.watch_port !== ports.ANY) out += `watch_port:${formatPort(bucket.watch_port)},`;
    if (bucket.watch_group !== undefined && bucket.watch_group !== groups.ANY) out += `watch_group:${bucket.watch_group},`;
    out += `actions=${formatActions(bucket.actions)}`;
  }
  return out;
}

const GROUP_COMMANDS: Readonly<Record<string, string>> = { add: "ADD", modify: "MOD", delete: "DEL", add_or_modify: "ADD_OR_MOD" };

export function formatGroupMod(message: MessageOf<"group_mod">): string {
  return `\n ${GROUP_COMMANDS[message.command] ?? `cmd:${message.command}`} ${formatGroup(message)}`;
}

export function formatGroupStats(group: MultipartReplyOf<"group">["groups"][number]): string {
  let out = `\n group_id=${group.group_id},`;
  if (group.duration_sec !== 0xffffffff) out += `duration=${duration(group.duration_sec, group.duration_nsec)},`;
  out += `ref_count=${group.ref_count},packet_count=${group.packet_count},byte_count=${group.byte_count}`;
  group.bucket_stats.forEach((bucket, i) => {
    if (bucket.packet_count !== UNKNOWN) out += `,bucket${i}:packet_count=${bucket.packet_count},byte_count=${bucket.byte_count}`;
  });
  return out;
}

/** Actions by their number, in the order in which Open vSwitch lists them. */
const ACTION_NAMES: readonly (readonly [number: number, name: string])[] = [
  [0, "output"], [22, "group"], [25, "set_field"], [18, "strip_vlan"], [17, "push_vlan"], [23, "mod_nw_ttl"], [24, "dec_ttl"], [15, "set_mpls_ttl"], [16, "dec_mpls_ttl"],
  [19, "push_mpls"], [20, "pop_mpls"], [21, "set_queue"],
];

/** The names of the actions whose bits are set; "" for none that Open vSwitch has. */
export function actionNames(bits: number): string {
  return ACTION_NAMES.filter(([number]) => (bits & (1 << number)) !== 0).map(([, name]) => name).join(" ");
}

const GROUP_TYPES = ["all", "select", "indirect", "fast failover"];

export function formatGroupFeatures(features: MultipartReplyOf<"group_features">): string {
  let out = `\n Group table:\n    Types:  0x${features.types.toString(16)}\n    Capabilities:  0x${features.capabilities.toString(16)}\n`;
  GROUP_TYPES.forEach((name, type) => {
    if ((features.types & (1 << type)) === 0) return;
    out += `    ${name} group:\n       max_groups=${hash(features.max_groups[type]!)}\n       actions: ${actionNames(features.actions[type]!) || "<none>"}\n`;
  });
  return out;
}

// --- meters ---

const METERS: Readonly<Record<number, string>> = { 0xfffffffd: "slowpath", 0xfffffffe: "controller", 0xffffffff: "all" };
const MAX_METER = 0xffff0000;
const METER_FLAGS = ["kbps", "pktps", "burst", "stats"];
const BURST = 4;

export function formatMeterId(meter: number, separator: string): string {
  return `meter${separator}${meter <= MAX_METER ? meter : METERS[meter] ?? "unknown"}`;
}

type Meter = MultipartReplyOf<"meter_config">["meters"][number];

export function formatMeter(meter: Meter): string {
  const known = METER_FLAGS.filter((_, bit) => meter.flags & (1 << bit)).map((flag) => `${flag} `).join("");
  const others = meter.flags & ~0xf;
  let out = `${formatMeterId(meter.meter_id, "=")} ${known}${others === 0 ? "" : `flags:0x${others.toString(16)} `}bands=`;
  for (const band of meter.bands) {
    out += `\ntype=${band.type} rate=${band.rate}`;
    if (meter.flags & BURST) out += ` burst_size=${band.burst_size ?? 0}`;
    if (band.type === "dscp_remark") out += ` prec_level=${band.prec_level ?? 0}`;
  }
  return `${out}\n`;
}

const METER_COMMANDS: Readonly<Record<string, string>> = { add: "ADD", modify: "MOD", delete: "DEL" };

export function formatMeterMod(message: MessageOf<"meter_mod">): string {
  const deletes = message.command === "delete"; // only the number counts
  return ` ${METER_COMMANDS[message.command] ?? `cmd:${message.command}`} ${formatMeter(deletes ? { meter_id: message.meter_id, flags: 0, bands: [] } : message)}`;
}

export function formatMeterStats(meter: MultipartReplyOf<"meter">["meters"][number]): string {
  let out = `${formatMeterId(meter.meter_id, ":")} flow_count:${meter.flow_count} packet_in_count:${meter.packet_in_count} byte_in_count:${meter.byte_in_count} duration:${
    duration(meter.duration_sec, meter.duration_nsec)} bands:\n`;
  meter.band_stats.forEach((band, i) => (out += `${i}: packet_count:${band.packet_band_count} byte_count:${band.byte_band_count}\n`));
  return out;
}

export function formatMeterFeatures(features: MultipartReplyOf<"meter_features">): string {
  return `\nmax_meter:${features.max_meter} max_bands:${features.max_bands} max_color:${features.max_color}\nband_types: ${
    bitNames(features.band_types, ["", "drop", "dscp_remark"])}\ncapabilities: ${bitNames(features.capabilities, METER_FLAGS)}\n`;
}
