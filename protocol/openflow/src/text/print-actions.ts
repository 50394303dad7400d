// Actions in the words of ovs-ofctl dump-flows.

import type { SubField } from "../action-parts.ts";
import type { Action, Nat } from "../actions.ts";
import { fields, ports } from "../fields.ts";
import type { LearnSpec } from "../learn.ts";
import { OVS_NAMES, WIDTHS } from "./names.ts";
import { dotted, formatPort, formatSubField, formatValue, hash, hex, toU64 } from "./print-value.ts";

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
