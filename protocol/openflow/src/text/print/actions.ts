// Actions in the words of ovs-ofctl dump-flows: one small function for each type of action.

import type { SubField } from "../../actions/parts.ts";
import type { Action, Nat } from "../../actions/codec.ts";
import { fields, ports } from "../../match/fields.ts";
import type { LearnSpec } from "../../actions/learn.ts";
import { OVS_NAMES } from "../names.ts";
import { dotted, formatPort, formatSubField, formatValue, hash, hashBytes, hex, toU64 } from "./value.ts";

type ActionOf<T extends Action["type"]> = Extract<Action, { readonly type: T }>;
type Formats = { readonly [T in Action["type"]]: (action: ActionOf<T>) => string };

/** "drop" for none. */
export function formatActions(actions: readonly Action[]): string {
  return actions.length === 0 ? "drop" : actions.map(formatAction).join(",");
}

function formatAction(action: Action): string {
  const format = FORMATS[action.type] as ((action: Action) => string) | undefined;
  return format === undefined ? action.type : format(action);
}

const word = (action: Action): string => action.type;
const field = (name: SubField["field"]): string => OVS_NAMES[name] ?? name;
const setField = (action: ActionOf<"set_field" | "reg_load2">): string => `set_field:${formatValue(fields[action.field], action.value, action.mask)}->${field(action.field)}`;
const sample = (action: ActionOf<"sample" | "sample2" | "sample3">): string => {
  const out = [`probability=${action.probability}`, `collector_set_id=${action.collector_set_id}`, `obs_domain_id=${action.obs_domain_id}`, `obs_point_id=${action.obs_point_id}`];
  if (action.type !== "sample" && action.sampling_port !== undefined && (action.sampling_port & 0xffff) !== 0xffff) out.push(`sampling_port=${formatPort(action.sampling_port)}`);
  if (action.type !== "sample" && action.direction === 1) out.push("ingress");
  if (action.type !== "sample" && action.direction === 2) out.push("egress");
  return `sample(${out.join(",")})`;
};

const HASH_FIELDS = ["eth_src", "symmetric_l4", "symmetric_l3l4", "symmetric_l3l4+udp", "nw_src", "nw_dst", "symmetric_l3"];
const LINK_ALGORITHMS = ["modulo_n", "hash_threshold", "hrw", "iter_hash"];
const MEMBER_ALGORITHMS = ["active_backup", "hrw"];
const bundle = (action: ActionOf<"bundle" | "bundle_load">): string => {
  const out = [HASH_FIELDS[action.fields] ?? "<unknown>", String(action.basis), MEMBER_ALGORITHMS[action.algorithm] ?? "<unknown>", "ofport"];
  if (action.dst !== undefined) out.push(formatSubField(action.dst));
  return `${action.dst === undefined ? "bundle" : "bundle_load"}(${out.join(",")},members:${action.members.map(formatPort).join(",")})`;
};

const PACKET_TYPES: Readonly<Record<number, string>> = { 0: "ethernet", 0x1894f: "nsh", 0x18847: "mpls", 0x18848: "mpls_mc" };
const NEXT_PROTOCOL = 0xfffe;

const FORMATS: Formats = {
  output: (action) => {
    const name = formatPort(action.port);
    if (action.port === ports.CONTROLLER) return `CONTROLLER:${action.max_len ?? 0xffff}`;
    return (action.port >>> 0 < 0xff00 ? "output:" : "") + name;
  },
  group: (action) => `group:${action.group_id}`,
  set_queue: (action) => `set_queue:${action.queue_id}`,
  set_field: setField,
  reg_load2: setField,
  load: (action) => `load:${hash(action.value)}->${formatSubField(action.dst)}`,
  move: (action) => `move:${formatSubField(action.src)}->${formatSubField(action.dst)}`,
  resubmit: (action) => {
    const port = action.in_port === undefined || (action.in_port & 0xffff) === 0xfff8 ? "" : formatPort(action.in_port);
    const table = action.table ?? 255;
    if (port !== "" && table === 255) return `resubmit:${port}`;
    return `resubmit(${port},${table === 255 ? "" : table}${action.ct === true ? ",ct" : ""})`;
  },
  ct: formatCt,
  nat: (action) => formatNat(action.nat),
  controller: formatController,
  output_reg: (action) => `output:${formatSubField(action.src)}`,
  output_reg2: (action) => `output:${formatSubField(action.src)}`,
  stack_push: (action) => `push:${formatSubField(action.field)}`,
  stack_pop: (action) => `pop:${formatSubField(action.field)}`,
  push_vlan: (action) => `push_vlan:${hash(action.ethertype)}`,
  pop_vlan: word,
  push_mpls: (action) => `push_mpls:${hex(action.ethertype, 4)}`,
  pop_mpls: (action) => `pop_mpls:${hex(action.ethertype, 4)}`,
  push_pbb: (action) => `push_pbb:${hex(action.ethertype, 4)}`,
  pop_pbb: word,
  set_mpls_label: (action) => `set_mpls_label(${action.mpls_label})`,
  set_mpls_tc: (action) => `set_mpls_tc(${action.mpls_tc})`,
  set_mpls_ttl: (action) => `set_mpls_ttl(${action.mpls_ttl})`,
  dec_mpls_ttl: word,
  copy_ttl_in: word,
  copy_ttl_out: word,
  set_vlan_vid: (action) => `set_vlan_vid:${action.vlan_vid}`,
  set_vlan_pcp: (action) => `set_vlan_pcp:${action.vlan_pcp}`,
  set_dl_src: (action) => `mod_dl_src:${action.dl_addr}`,
  set_dl_dst: (action) => `mod_dl_dst:${action.dl_addr}`,
  set_nw_src: (action) => `mod_nw_src:${action.nw_addr}`,
  set_nw_dst: (action) => `mod_nw_dst:${action.nw_addr}`,
  set_nw_tos: (action) => `mod_nw_tos:${action.nw_tos}`,
  set_nw_ecn: (action) => `mod_nw_ecn:${action.nw_ecn}`,
  set_nw_ttl: (action) => `mod_nw_ttl:${action.nw_ttl}`,
  set_tp_src: (action) => `mod_tp_src:${action.tp_port}`,
  set_tp_dst: (action) => `mod_tp_dst:${action.tp_port}`,
  dec_ttl: word,
  dec_ttl_cnt_ids: (action) => `dec_ttl(${action.ids.join(",")})`,
  dec_nsh_ttl: word,
  set_tunnel: (action) => `set_tunnel:${hash(action.tun_id)}`,
  set_tunnel64: (action) => `set_tunnel64:${hash(action.tun_id)}`,
  multipath: (action) =>
    `multipath(${HASH_FIELDS[action.fields] ?? "<unknown>"},${action.basis},${LINK_ALGORITHMS[action.algorithm] ?? "<unknown>"},${action.max_link + 1},${action.arg},${formatSubField(action.dst)})`,
  bundle,
  bundle_load: bundle,
  conjunction: (action) => `conjunction(${action.id},${action.clause + 1}/${action.n_clauses})`,
  note: (action) => `note:${dotted(action.data)}`,
  clone: (action) => `clone(${formatActions(action.actions)})`,
  fin_timeout: (action) => {
    const times = [["idle_timeout", action.fin_idle_timeout], ["hard_timeout", action.fin_hard_timeout]] as const;
    return `fin_timeout(${times.filter(([, s]) => s !== 0).map(([name, s]) => `${name}=${s}`).join(",")})`;
  },
  output_trunc: (action) => `output(port=${formatPort(action.port)},max_len=${action.max_len})`,
  check_pkt_larger: (action) => `check_pkt_larger(${action.pkt_len})->${formatSubField(action.dst)}`,
  delete_field: (action) => `delete_field:${field(action.field.field)}`,
  write_metadata: (action) => formatMetadata(toU64(action.metadata), toU64(action.metadata_mask)),
  sample,
  sample2: sample,
  sample3: sample,
  encap: (action) => {
    const properties = (action.properties ?? []).map((property) => {
      switch (property.type) {
        case "nsh_mdtype":
          return `md_type=${property.md_type}`;
        case "nsh_tlv":
          return `tlv(${hex(property.tlv_class, 4)},${property.tlv_type},${hashBytes(property.value)})`;
        case "unknown":
          return `property(${hex(property.prop_class)},${property.prop_type},${hashBytes(property.data)})`;
      }
    });
    return `encap(${PACKET_TYPES[action.new_pkt_type] ?? "UNKNOWN"}${properties.length === 0 ? "" : `(${properties.join(",")})`})`;
  },
  decap: (action) => `decap(${action.new_pkt_type === NEXT_PROTOCOL ? "" : `packet_type(ns=${action.new_pkt_type >>> 16},type=${hash(action.new_pkt_type & 0xffff)})`})`,
  learn: formatLearn,
  experimenter: (action) => `experimenter(${hex(action.experimenter)},${dotted(action.data)})`,
  ct_clear: word,
  exit: word,
  pop_queue: word,
  debug_slow: word,
  debug_recirc: word,
};

/** write_metadata as action and as instruction. */
export function formatMetadata(metadata: bigint, mask: bigint): string {
  return `write_metadata:${hash(metadata)}${mask === 0xffffffffffffffffn ? "" : `/${hash(mask)}`}`;
}

const ALGS: Readonly<Record<number, string>> = { 21: "ftp", 69: "tftp" };

function formatCt(action: ActionOf<"ct">): string {
  const out: string[] = [];
  if (action.commit === true) out.push("commit");
  if (action.force === true) out.push("force");
  if (action.table !== undefined && action.table !== 255) out.push(`table=${action.table}`);
  if (typeof action.zone === "object") out.push(`zone=${formatSubField(action.zone)}`);
  else if (action.zone !== undefined && action.zone !== 0) out.push(`zone=${action.zone}`);
  if (action.nat !== undefined) out.push(formatNat(action.nat));
  if (action.exec !== undefined && action.exec.length > 0) out.push(`exec(${formatActions(action.exec)})`);
  if (action.alg !== undefined && action.alg !== 0) out.push(`alg=${ALGS[action.alg] ?? action.alg}`);
  return `ct(${out.join(",")})`;
}

const NO_ADDRESS = new Set(["0.0.0.0", "::"]);

function formatNat(nat: Nat): string {
  if (nat.kind === undefined) return "nat";
  const { addr_min: from, addr_max: to, port_min: low = 0, port_max: high = 0 } = nat;
  if (from === undefined) return `nat(${nat.kind})`;
  const bracket = (text: string): string => (text.includes(":") && low !== 0 ? `[${text}]` : text);
  let text = bracket(from);
  if (to !== undefined && to !== from && !NO_ADDRESS.has(to)) text += `-${bracket(to)}`;
  if (low !== 0) text += `:${low}${high !== 0 && high !== low ? `-${high}` : ""}`;
  const flags = (["persistent", "hash", "random"] as const).filter((flag) => nat[flag] === true);
  return `nat(${[`${nat.kind}=${text}`, ...flags].join(",")})`;
}

/** Why a packet comes to the controller, "" for a table miss that tells two kinds apart. */
export function packetInReason(reason: number | string): string {
  if (typeof reason === "string") return reason;
  return ["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out", "", ""][reason] ?? String(reason);
}

function formatController(action: ActionOf<"controller">): string {
  const reason = action.reason ?? 1;
  const id = action.controller_id ?? 0;
  const meter = action.meter_id === 0xffffffff ? undefined : action.meter_id;
  const userdata = action.userdata?.length ? action.userdata : undefined;
  if (reason === 1 && id === 0 && userdata === undefined && action.pause !== true && meter === undefined) return `CONTROLLER:${action.max_len ?? 0xffff}`;
  const out: string[] = [];
  if (reason !== 1) out.push(`reason=${packetInReason(reason)}`);
  if ((action.max_len ?? 0xffff) !== 0xffff) out.push(`max_len=${action.max_len!}`);
  if (id !== 0) out.push(`id=${id}`);
  if (userdata !== undefined) out.push(`userdata=${dotted(userdata)}`);
  if (action.pause === true) out.push("pause");
  if (meter !== undefined) out.push(`meter_id=${meter}`);
  return `controller(${out.join(",")})`;
}

function formatLearn(action: ActionOf<"learn">): string {
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
  if (spec.type === "load") return `load:${typeof src === "object" ? formatSubField(src) : hash(src)}->${formatSubField(dst)}`;
  const target = formatSubField(dst);
  if (typeof src === "object") return src.field === dst.field && src.ofs === dst.ofs ? target : `${target}=${formatSubField(src)}`;
  return target.endsWith("[]") ? `${field(dst.field)}=${formatValue(fields[dst.field], BigInt(src))}` : `${target}=${hash(src)}`;
}
