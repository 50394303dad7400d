// Flows in the words of ovs-ofctl dump-flows: its names, its order, its number formats. For people and for golden files.

import type { SubField } from "./action-parts.ts";
import type { Action, Nat } from "./actions.ts";
import type { Instruction } from "./instructions.ts";
import type { LearnSpec } from "./learn.ts";
import { fields, ports, type Field, type FieldName } from "./fields.ts";
import type { U64 } from "./layout.ts";
import { decodeMatch, encodeMatch, flagNames, parts, toBig, type Match } from "./match.ts";
import { ipv4Text, ipv6Text, macText, writeValue, type FieldValue } from "./value.ts";

/** Names in actions (meta-flow), where they differ from OXM's. */
const OVS_NAMES: Readonly<Partial<Record<FieldName, string>>> = {
  ipv4_src: "ip_src", ipv4_dst: "ip_dst", ipv6_flabel: "ipv6_label", ip_proto: "nw_proto", ip_tos: "nw_tos", ip_ecn: "nw_ecn", ip_ttl: "nw_ttl",
  tunnel_id: "tun_id", tun_ipv4_src: "tun_src", tun_ipv4_dst: "tun_dst", icmpv4_type: "icmp_type", icmpv4_code: "icmp_code",
  ipv6_nd_target: "nd_target", ipv6_nd_sll: "nd_sll", ipv6_nd_tll: "nd_tll", in_port: "in_port_oxm", nxm_in_port: "in_port",
};
/** Names of NXM numbers, where they are not the field's own in capitals. */
const NXM_NAMES: Readonly<Partial<Record<FieldName, string>>> = {
  ipv4_src: "IP_SRC", ipv4_dst: "IP_DST", ipv6_flabel: "IPV6_LABEL", tunnel_id: "TUN_ID", icmpv4_type: "ICMP_TYPE", icmpv4_code: "ICMP_CODE",
  ipv6_nd_target: "ND_TARGET", ipv6_nd_sll: "ND_SLL", ipv6_nd_tll: "ND_TLL", nxm_in_port: "IN_PORT",
};
const DECIMAL = new Set<FieldName>([
  "recirc_id", "conj_id", "tun_gbp_id", "vlan_vid", "vlan_pcp", "mpls_label", "mpls_tc", "mpls_bos", "mpls_ttl", "ip_proto", "ip_tos", "ip_dscp",
  "ip_ecn", "ip_ttl", "arp_op", "tcp_src", "tcp_dst", "udp_src", "udp_dst", "sctp_src", "sctp_dst", "icmpv4_type", "icmpv4_code", "icmpv6_type",
  "icmpv6_code", "nd_reserved", "nd_options_type", "ct_nw_proto", "ct_tp_src", "ct_tp_dst", "tun_erspan_ver", "tun_erspan_dir", "tun_gtpu_msgtype",
  "nsh_flags", "nsh_ttl", "nsh_mdtype", "nsh_np", "nsh_si",
]);
/** Widths as Open vSwitch counts them: without the bit that says that there is a VLAN header. */
const WIDTHS: Readonly<Partial<Record<FieldName, number>>> = { vlan_vid: 12, tun_flags: 1 };
const PORT_NAMES = new Map(Object.entries(ports).filter(([name]) => name !== "MAX").map(([name, port]) => [port as number, name]));

/** C's %#x: zero has no prefix. */
function hash(value: number | bigint): string {
  return value == 0 ? "0" : `0x${value.toString(16)}`;  
}

function hex(value: number | bigint, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, "0")}`;
}

export function formatPort(port: number): string {
  return PORT_NAMES.get(port < 0x10000 && port >= 0xff00 ? port + 0xffff0000 : port) ?? String(port);
}

const scratch = Buffer.alloc(256);

/** One value in the form that Open vSwitch gives this field in actions. */
function formatValue(field: Field, value: FieldValue, mask?: FieldValue): string {
  const bytes = (v: FieldValue): Buffer => scratch.subarray(0, writeValue(scratch, 0, field, v));
  switch (field.kind) {
    case "mac":
      return macText(bytes(value), 0) + (mask === undefined ? "" : `/${macText(bytes(mask), 0)}`);
    case "ipv4":
    case "ipv6": {
      const show = (v: FieldValue): string => (field.kind === "ipv4" ? ipv4Text(bytes(v), 0) : ipv6Text(bytes(v), 0));
      if (mask === undefined) return show(value);
      const bits = toBig(field, mask);
      const ones = field.bits - trailingZeros(bits, field.bits);
      const prefix = bits === ((1n << BigInt(ones)) - 1n) << BigInt(field.bits - ones);
      return `${show(value)}/${prefix ? String(ones) : show(mask)}`;
    }
    case "bytes":
      return hash(BigInt(`0x${bytes(value).toString("hex") || "0"}`)) + (mask === undefined ? "" : `/${hash(BigInt(`0x${bytes(mask).toString("hex") || "0"}`))}`);
    case "uint":
      break;
  }
  const number = toBig(field, value);
  if (field.name === "in_port" || field.name === "actset_output" || field.name === "nxm_in_port") return formatPort(Number(number));
  const names = flagNames[field.name];
  if (names !== undefined) {
    const bits = mask === undefined ? undefined : Number(toBig(field, mask));
    return formatFlags(names, Number(number), field.name === "tun_flags" ? (bits ?? 1) : bits, field.name === "tun_flags");
  }
  return (DECIMAL.has(field.name) ? String(number) : hex(number)) + (mask === undefined ? "" : `/${hex(toBig(field, mask))}`);
}

function trailingZeros(value: bigint, limit: number): number {
  let count = 0;
  while (count < limit && ((value >> BigInt(count)) & 1n) === 0n) count++;
  return count;
}

function formatFlags(names: readonly string[], value: number, mask: number | undefined, signed = false): string {
  const all = 2 ** names.length - 1;
  if (mask === undefined || (!signed && (mask & all) === all)) {
    const set = names.filter((_, bit) => value & (1 << bit));
    return set.length === 0 ? "0" : set.join("|");
  }
  return names.map((name, bit) => (mask & (1 << bit) ? (value & (1 << bit) ? "+" : "-") + name : "")).join("");
}

/** NXM_NX_REG0[], NXM_NX_REG0[0..15], NXM_NX_REG0[3] */
export function formatSubField(sub: SubField): string {
  const field = fields[sub.field];
  const width = WIDTHS[sub.field] ?? field.bits;
  const range = sub.ofs === 0 && (sub.bits === width || width === 0) ? "" : sub.bits === 1 ? String(sub.ofs) : `${sub.ofs}..${sub.ofs + sub.bits - 1}`;
  return `${nxmName(field)}[${range}]`;
}

function nxmName(field: Field): string {
  const upper = field.name.toUpperCase();
  const cls = field.nxmHeader >>> 16;
  if (cls <= 1) return `NXM_${cls === 0 ? "OF" : "NX"}_${NXM_NAMES[field.name] ?? upper}`;
  if (cls === 0x8001) return `OXM_OF_PKT_REG${upper.slice(4)}`;
  if (cls === 0x1000) return `ERICOXM_OF_ICMPV6_${upper}`;
  switch (field.nxmExperimenter) {
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

// --- matches ---

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

// --- actions ---

/** "drop" for none. */
export function formatActions(actions: readonly Action[]): string {
  return actions.length === 0 ? "drop" : actions.map(formatAction).join(",");
}

function formatAction(action: Action): string {
  switch (action.type) {
    case "output": {
      const name = formatPort(action.port);
      if (action.port === ports.CONTROLLER) return `CONTROLLER:${action.max_len ?? 0xffff}`;
      return /^\d/.test(name) ? `output:${name}` : name;
    }
    case "group":
      return `group:${action.group_id}`;
    case "set_queue":
      return `set_queue:${action.queue_id}`;
    case "set_field":
    case "reg_load2":
      return `set_field:${formatValue(fields[action.field], action.value, action.mask)}->${OVS_NAMES[action.field] ?? action.field}`;
    case "load":
      return `load:${hash(action.value)}->${formatSubField(action.dst)}`;
    case "move":
      return `move:${formatSubField(action.src)}->${formatSubField(action.dst)}`;
    case "resubmit": {
      const port = action.in_port === undefined || (action.in_port & 0xffff) === 0xfff8 ? "" : formatPort(action.in_port);
      const table = action.table ?? 255;
      if (port !== "" && table === 255 && action.ct !== true) return `resubmit:${port}`;
      return `resubmit(${port},${table === 255 ? "" : table}${action.ct === true ? ",ct" : ""})`;
    }
    case "ct":
      return formatCt(action);
    case "nat":
      return formatNat(action.nat);
    case "controller":
      return formatController(action);
    case "output_reg":
    case "output_reg2":
      return `output:${formatSubField(action.src)}`;
    case "stack_push":
      return `push:${formatSubField(action.field)}`;
    case "stack_pop":
      return `pop:${formatSubField(action.field)}`;
    case "push_vlan":
    case "push_mpls":
    case "pop_mpls":
    case "push_pbb":
      return `${action.type}:${hex(action.ethertype, 4)}`;
    case "set_mpls_ttl":
      return `set_mpls_ttl(${action.mpls_ttl})`;
    case "set_nw_ttl":
      return `mod_nw_ttl:${action.nw_ttl}`;
    case "set_tunnel":
    case "set_tunnel64":
      return `${action.type}:${hash(action.tun_id)}`;
    case "dec_ttl_cnt_ids":
      return `dec_ttl(${action.ids.join(",")})`;
    case "conjunction":
      return `conjunction(${action.id},${action.clause + 1}/${action.n_clauses})`;
    case "note":
      return `note:${dotted(action.data)}`;
    case "clone":
      return `clone(${action.actions.length === 0 ? "" : formatActions(action.actions)})`;
    case "fin_timeout": {
      const times = [["idle_timeout", action.fin_idle_timeout], ["hard_timeout", action.fin_hard_timeout]] as const;
      return `fin_timeout(${times.filter(([, s]) => s !== 0).map(([name, s]) => `${name}=${s}`).join(",")})`;
    }
    case "output_trunc":
      return `output(port=${formatPort(action.port)},max_len=${action.max_len})`;
    case "check_pkt_larger":
      return `check_pkt_larger(${action.pkt_len})->${formatSubField(action.dst)}`;
    case "delete_field":
      return `delete_field:${action.field.field}`;
    case "write_metadata":
      return `write_metadata:${hash(action.metadata)}/${hash(action.metadata_mask)}`;
    case "sample":
      return `sample(probability=${action.probability},collector_set_id=${action.collector_set_id},obs_domain_id=${action.obs_domain_id},obs_point_id=${action.obs_point_id})`;
    case "learn":
      return formatLearn(action);
    case "experimenter":
      return `experimenter(${hex(action.experimenter)},${dotted(action.data)})`;
    case "dec_ttl":
    case "pop_vlan":
    case "ct_clear":
    case "exit":
    case "pop_queue":
    case "dec_mpls_ttl":
    case "pop_pbb":
    case "copy_ttl_in":
    case "copy_ttl_out":
    case "dec_nsh_ttl":
    case "debug_slow":
    case "debug_recirc":
      return action.type;
    default: {
      const { type, ...rest } = action;
      return `${type}(${Object.entries(rest).map(([name, value]) => `${name}=${typeof value === "object" && "field" in value ? formatSubField(value as SubField) : String(value)}`).join(",")})`;
    }
  }
}

function dotted(data: Uint8Array | undefined): string {
  return Array.from(data ?? [], (byte) => byte.toString(16).padStart(2, "0")).join(".");
}

function formatCt(action: Action & { type: "ct" }): string {
  const out: string[] = [];
  if (action.commit === true) out.push("commit");
  if (action.force === true) out.push("force");
  if (action.table !== undefined && action.table !== 255) out.push(`table=${action.table}`);
  if (typeof action.zone === "object") out.push(`zone=${formatSubField(action.zone)}`);
  else if (action.zone !== undefined && action.zone !== 0) out.push(`zone=${action.zone}`);
  if (action.nat !== undefined) out.push(formatNat(action.nat));
  if (action.exec !== undefined && action.exec.length > 0) out.push(`exec(${formatActions(action.exec)})`);
  if (action.alg !== undefined && action.alg !== 0) out.push(`alg=${action.alg === 21 ? "ftp" : action.alg === 69 ? "tftp" : action.alg}`);
  return `ct(${out.join(",")})`;
}

function formatNat(nat: Nat): string {
  if (nat.kind === undefined) return "nat";
  if (nat.addr_min === undefined && nat.port_min === undefined) return `nat(${nat.kind})`;
  const bracket = (text: string): string => (text.includes(":") && nat.port_min !== undefined ? `[${text}]` : text);
  let text = nat.addr_min === undefined ? "" : bracket(nat.addr_min);
  if (nat.addr_max !== undefined && nat.addr_max !== nat.addr_min) text += `-${bracket(nat.addr_max)}`;
  if (nat.port_min !== undefined) text += `:${nat.port_min}${nat.port_max !== undefined && nat.port_max !== nat.port_min ? `-${nat.port_max}` : ""}`;
  const flags = (["persistent", "hash", "random"] as const).filter((flag) => nat[flag] === true);
  return `nat(${[`${nat.kind}=${text}`, ...flags].join(",")})`;
}

function formatController(action: Action & { type: "controller" }): string {
  const reason = action.reason ?? 1;
  const id = action.controller_id ?? 0;
  const userdata = action.userdata?.length ? action.userdata : undefined;
  if (reason === 1 && id === 0 && userdata === undefined && action.pause !== true && action.meter_id === undefined) return `CONTROLLER:${action.max_len ?? 0xffff}`;
  const out: string[] = [];
  if (reason !== 1) out.push(`reason=${reason === 0 ? "no_match" : reason === 2 ? "invalid_ttl" : reason}`);
  if ((action.max_len ?? 0xffff) !== 0xffff) out.push(`max_len=${action.max_len!}`);
  if (id !== 0) out.push(`id=${id}`);
  if (userdata !== undefined) out.push(`userdata=${dotted(userdata)}`);
  if (action.pause === true) out.push("pause");
  if (action.meter_id !== undefined) out.push(`meter_id=${action.meter_id}`);
  return `controller(${out.join(",")})`;
}

function formatLearn(action: Action & { type: "learn" }): string {
  const out: string[] = [`table=${action.table_id ?? 1}`];
  for (const name of ["idle_timeout", "hard_timeout", "fin_idle_timeout", "fin_hard_timeout"] as const) if ((action[name] ?? 0) !== 0) out.push(`${name}=${action[name]!}`);
  if ((action.priority ?? 0x8000) !== 0x8000) out.push(`priority=${action.priority!}`);
  if ((action.flags ?? 0) & 1) out.push("send_flow_rem");
  if ((action.flags ?? 0) & 2) out.push("delete_learned");
  const cookie = toU64(action.cookie);
  if (cookie !== 0n) out.push(`cookie=${hash(cookie)}`);
  if ((action.limit ?? 0) !== 0) out.push(`limit=${action.limit!}`);
  if (action.result_dst !== undefined) out.push(`result_dst=${formatSubField(action.result_dst)}`);
  for (const spec of action.specs) out.push(formatSpec(spec));
  return `learn(${out.join(",")})`;
}

function formatSpec(spec: LearnSpec): string {
  const { src, dst } = spec;
  if (spec.type === "output" || dst === undefined) return `output:${typeof src === "object" ? formatSubField(src) : String(src)}`;
  if (spec.type === "load") return `load:${typeof src === "object" ? formatSubField(src) : hex(src)}->${formatSubField(dst)}`;
  if (typeof src === "object") return src.field === dst.field && src.ofs === dst.ofs ? formatSubField(dst) : `${formatSubField(dst)}=${formatSubField(src)}`;
  const field = fields[dst.field];
  const whole = dst.ofs === 0 && dst.bits === (WIDTHS[dst.field] ?? field.bits);
  return whole ? `${OVS_NAMES[dst.field] ?? dst.field}=${formatValue(field, BigInt(src))}` : `${formatSubField(dst)}=${hex(src)}`;
}

function toU64(value: U64 | undefined): bigint {
  if (value === undefined) return 0n;
  return typeof value === "object" ? (BigInt(value.hi >>> 0) << 32n) | BigInt(value.lo >>> 0) : BigInt(value);
}

/** What stands after "actions=". */
export function formatInstructions(instructions: readonly Instruction[]): string {
  const out: string[] = [];
  const of = <T extends Instruction["type"]>(type: T): (Instruction & { type: T })[] => instructions.filter((i): i is Instruction & { type: T } => i.type === type);
  for (const i of of("meter")) out.push(`meter:${i.meter_id}`);
  for (const i of of("apply_actions")) if (i.actions.length > 0) out.push(formatActions(i.actions));
  if (of("clear_actions").length > 0) out.push("clear_actions");
  for (const i of of("write_actions")) out.push(`write_actions(${formatActions(i.actions)})`);
  for (const i of of("write_metadata")) {
    const mask = i.metadata_mask === undefined ? 0xffffffffffffffffn : toU64(i.metadata_mask);
    out.push(`write_metadata:${hash(toU64(i.metadata))}${mask === 0xffffffffffffffffn ? "" : `/${hash(mask)}`}`);
  }
  for (const i of of("goto_table")) out.push(`goto_table:${i.table_id}`);
  for (const i of of("experimenter")) out.push(`experimenter(${hex(i.experimenter)},${dotted(i.data)})`);
  return out.length === 0 ? "drop" : out.join(",");
}

export interface PrintableFlow {
  readonly table_id: number;
  readonly priority?: number;
  readonly cookie?: U64;
  readonly match: Match;
  readonly instructions?: readonly Instruction[];
  readonly idle_timeout?: number;
  readonly hard_timeout?: number;
  readonly packet_count?: number | bigint;
  readonly byte_count?: number | bigint;
}

/** One line of dump-flows; counters and timeouts where they are given and not zero. */
export function formatFlow(flow: PrintableFlow): string {
  const head = [`cookie=0x${toU64(flow.cookie).toString(16)}`, `table=${flow.table_id}`];
  if (flow.packet_count !== undefined) head.push(`n_packets=${flow.packet_count}`);
  if (flow.byte_count !== undefined) head.push(`n_bytes=${flow.byte_count}`);
  if (flow.idle_timeout) head.push(`idle_timeout=${flow.idle_timeout}`);
  if (flow.hard_timeout) head.push(`hard_timeout=${flow.hard_timeout}`);
  const match = formatMatch(flow.match, flow.priority);
  return `${head.join(", ")}${match === "" ? "" : `, ${match}`} actions=${formatInstructions(flow.instructions ?? [])}`;
}
