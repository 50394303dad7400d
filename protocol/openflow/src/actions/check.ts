// Whether actions make sense to Open vSwitch: each by itself, among those around it, and for the packets that a flow matches.
// lib/ofp-actions.c of Open vSwitch 3.1. Nothing here is needed to read bytes; decoders come here when they are to be strict.

import type { Action } from "./action.ts";
import type { SubField } from "./parts.ts";
import { refusal, type ErrorName } from "../wire/errors.ts";
import { fields, ports, type FieldName } from "../match/fields.ts";
import { hasPrerequisite, IPV4, IPV6, isIp, isMpls, isPort, networkType, flowOf, TAGGED, type Flow } from "../match/check.ts";
import { toBig } from "../match/oxm.ts";

// Where an action was read, so that a refusal of it can say so.
const places = new WeakMap<object, number>();

export function locate(action: Action, off: number): void {
  places.set(action, off);
}

function refuse(name: ErrorName, action: Action, why: string): Error {
  return refusal(name, places.get(action) ?? 0, `${action.type}: ${why}`);
}

// --- each action by itself ---

const LOCAL16 = 0xfffe;
const CONTROLLER16 = 0xfffd;
const NONE16 = 0xffff;

/** A port of 16 bits that packets can be sent to. */
function isOutput16(port: number): boolean {
  return port < 0xff00 || (port >= 0xfff8 && port <= LOCAL16);
}

function isOutput(port: number): boolean {
  return isPort(port) && isOutput16(port & 0xffff) && port !== ports.ANY;
}

const HASH_FIELDS = 7;

/** @throws OpenFlowError when Open vSwitch would not take the values of the action */
export function checkValue(action: Action, off: number): void {
  const bad = (ok: boolean, why: string, name: ErrorName = "OFPBAC_BAD_ARGUMENT"): void => {
    if (!ok) throw refusal(name, off, `${action.type}: ${why}`);
  };
  switch (action.type) {
    case "output":
      bad(isOutput(action.port), `port 0x${action.port.toString(16)}`, "OFPBAC_BAD_OUT_PORT");
      return;
    case "set_vlan_vid":
      bad(action.vlan_vid <= 0xfff, "more than 12 bits");
      return;
    case "set_vlan_pcp":
      bad(action.vlan_pcp <= 7, "more than 3 bits");
      return;
    case "set_nw_tos":
      bad((action.nw_tos & 3) === 0, "the lower two bits are not part of it");
      return;
    case "set_nw_ecn":
      bad(action.nw_ecn <= 3, "more than 2 bits");
      return;
    case "push_vlan":
      bad(action.ethertype === 0x8100 || action.ethertype === 0x88a8, `0x${action.ethertype.toString(16)} is no VLAN`);
      return;
    case "push_mpls":
      bad(isMpls(action.ethertype), `0x${action.ethertype.toString(16)} is not MPLS`);
      return;
    case "conjunction":
      bad(action.n_clauses >= 2 && action.n_clauses <= 64 && action.clause < action.n_clauses, `clause ${action.clause} of ${action.n_clauses}`, "NXBAC_BAD_CONJUNCTION");
      return;
    case "sample":
    case "sample2":
      bad(action.probability > 0, "probability 0");
      return;
    case "sample3":
      bad((action.direction ?? 0) <= 2, `direction ${action.direction ?? 0}`);
      bad(action.probability > 0, "probability 0");
      return;
    case "output_trunc":
      bad(action.max_len >= 14, `${action.max_len} bytes are less than an Ethernet header`);
      return;
    case "multipath": {
      const bits = Math.ceil(Math.log2(action.max_link + 1));
      bad(action.fields < HASH_FIELDS, `hash of ${action.fields}`);
      bad(action.algorithm <= 3, `algorithm ${action.algorithm}`);
      bad(action.dst.bits >= bits, `${action.dst.bits} bits for ${action.max_link + 1} links`); return;
    }
    case "bundle":
    case "bundle_load":
      checkBundle(action, bad);
      return;
    case "debug_slow":
    case "debug_recirc":
      bad(false, "of a switch that is started for it", "OFPBAC_BAD_VENDOR_TYPE");
      return;
    default:
  }
}

const IN_PORT_HEADER = 2; // NXM_OF_IN_PORT

function checkBundle(action: Action & { type: "bundle" | "bundle_load" }, bad: (ok: boolean, why: string, name?: ErrorName) => void): void {
  // Open vSwitch 3.1 forgets what it found wrong with a bundle_load once it knows its field.
  if (action.type === "bundle_load") {
    bad(action.dst !== undefined && action.dst.bits >= 16, "the destination has less than 16 bits");
  } else {
    bad(action.fields < HASH_FIELDS, `hash of ${action.fields}`);
    bad(action.members.length <= 2048, `${action.members.length} members`);
    bad(action.algorithm <= 1, `algorithm ${action.algorithm}`);
    bad((action.member_type ?? IN_PORT_HEADER) === IN_PORT_HEADER, "members are no ports");
    bad(action.dst === undefined, "a destination");
  }
  for (const port of action.members) bad(port === NONE16 || (isOutput16(port) && port !== CONTROLLER16), `member ${port}`, "OFPBAC_BAD_OUT_PORT");
}

// --- actions among others ---

/** The field that an action writes, as far as ct cares. */
function written(action: Action): FieldName | undefined {
  switch (action.type) {
    case "set_field":
    case "reg_load2":
      return action.field;
    case "load":
    case "move":
      return action.dst.field;
    default:
      return undefined;
  }
}

/** @throws OpenFlowError when the actions may not stand together, or not inside what is around them */
export function verifyActions(actions: readonly Action[], off: number, outer?: "ct"): void {
  verify(actions, outer, off);
  const metadata = actions.find((action) => action.type === "write_metadata");
  if (metadata !== undefined) throw refuse("OFPBIC_UNSUP_INST", metadata, "it stands for an instruction");
}

/** The same for what apply_actions has, where write_metadata may come last, unless instructions follow that come before it in execution. */
export function verifyApplied(actions: readonly Action[], off: number, followed: boolean): void {
  verify(actions, undefined, off);
  const at = actions.findIndex((action) => action.type === "write_metadata");
  if (at >= 0 && (followed || at < actions.length - 1)) throw refuse("OFPBAC_UNSUPPORTED_ORDER", actions[at]!, "something follows it");
}

function verify(actions: readonly Action[], outer: "ct" | undefined, off: number): void {
  for (const action of actions) {
    if (action.type === "conjunction") {
      const other = actions.find((a) => a.type !== "conjunction" && a.type !== "note");
      if (other !== undefined) throw refusal("NXBAC_BAD_CONJUNCTION", places.get(other) ?? off, `${other.type} beside conjunction`);
      return;
    }
    const field = written(action);
    const ofCt = field === "ct_mark" || field === "ct_label";
    if (ofCt && outer !== "ct") throw refuse("OFPBAC_BAD_SET_ARGUMENT", action, `${field} is set by ct alone`);
    if (action.type === "nat") {
      if (outer !== "ct") throw refuse("OFPBAC_BAD_SET_ARGUMENT", action, "outside of ct");
      continue;
    }
    if (outer === "ct" && !ofCt) throw refuse("OFPBAC_BAD_ARGUMENT", action, "not inside ct");
  }
}

const IN_ACTION_SET = new Set<Action["type"]>([
  "output", "group", "resubmit", "ct", "ct_clear", "pop_vlan", "pop_mpls", "decap", "encap", "push_mpls", "push_vlan", "dec_ttl", "dec_ttl_cnt_ids", "dec_mpls_ttl",
  "dec_nsh_ttl", "set_field", "load", "reg_load2", "move", "set_dl_dst", "set_dl_src", "set_nw_tos", "set_nw_ecn", "set_nw_ttl", "set_nw_dst", "set_nw_src",
  "set_tp_dst", "set_tp_src", "set_mpls_label", "set_mpls_tc", "set_mpls_ttl", "set_queue", "set_tunnel", "set_tunnel64", "set_vlan_pcp", "set_vlan_vid",
]);

/** @throws OpenFlowError when one of the actions cannot be in an action set */
export function allowedIn(actions: readonly Action[]): void {
  for (const action of actions) if (!IN_ACTION_SET.has(action.type)) throw refuse("OFPBAC_BAD_TYPE", action, "not in an action set");
}

// --- actions for the packets of a flow ---

/** Actions go through packets as their match leaves them: `inconsistent` collects the first that would do nothing. */
interface State extends Flow {
  inconsistent: Error | undefined;
}

/** Checks actions that are applied to packets as `flow` says. @throws OpenFlowError OFPBAC_MATCH_INCONSISTENT and others */
export function checkActions(actions: readonly Action[], flow: Flow, asSet = false): void {
  const state: State = { ...flow, vlan: [...flow.vlan], inconsistent: undefined };
  run(actions, state);
  if (state.inconsistent !== undefined && !asSet) throw state.inconsistent;
}

/** Actions on a copy, or after which the packet is as it was. */
function runAside(actions: readonly Action[], state: State): void {
  const copy: State = { ...state, vlan: [...state.vlan] };
  run(actions, copy);
  state.inconsistent ??= copy.inconsistent;
}

function run(actions: readonly Action[], state: State): void {
  for (const action of actions) step(action, state);
}

const FTP = 21;
const TFTP = 69;
const CT_INVALID = 0x10;

function step(action: Action, state: State): void {
  /** What Open vSwitch takes in OpenFlow 1.0 alone. */
  const expect = (ok: boolean, why: string): void => {
    if (!ok) state.inconsistent ??= refuse("OFPBAC_MATCH_INCONSISTENT", action, why);
  };
  const must = (ok: boolean, why: string, name: ErrorName = "OFPBAC_MATCH_INCONSISTENT"): void => {
    if (!ok) throw refuse(name, action, why);
  };
  const needs = (sub: SubField | undefined): void => {
    if (sub !== undefined) must(hasPrerequisite(fields[sub.field].needs, state), `${sub.field} without ${fields[sub.field].needs ?? ""}`);
  };
  const type = networkType(state);
  switch (action.type) {
    case "output_trunc":
      must(isOutput16(action.port), `port ${action.port}`, "OFPBAC_BAD_OUT_PORT");
      return;
    case "set_vlan_vid":
    case "set_vlan_pcp":
      expect((state.vlan[0] & TAGGED) !== 0, "without VLAN tag");
      state.vlan[0] |= TAGGED;
      return;
    case "pop_vlan":
      expect((state.vlan[0] & TAGGED) !== 0, "without VLAN tag");
      state.vlan = [state.vlan[1], 0];
      return;
    case "push_vlan":
      must((state.vlan[1] & TAGGED) === 0, "more than two VLAN tags", "OFPBAC_BAD_TAG");
      state.vlan = [TAGGED, state.vlan[0]];
      return;
    case "set_nw_src":
    case "set_nw_dst":
      expect(type === IPV4, "not IPv4");
      return;
    case "set_nw_tos":
    case "set_nw_ecn":
    case "set_nw_ttl":
    case "dec_ttl":
    case "dec_ttl_cnt_ids":
      expect(isIp(state), "not IP");
      return;
    case "set_tp_src":
    case "set_tp_dst":
      expect(isIp(state) && (state.ipFrag & 2) === 0 && [6, 17, 132].includes(state.ipProto), "not TCP, UDP or SCTP");
      return;
    case "set_mpls_label":
    case "set_mpls_tc":
    case "set_mpls_ttl":
    case "dec_mpls_ttl":
      expect(isMpls(type), "not MPLS");
      return;
    case "push_mpls":
      expect(state.packetType === 0, "not Ethernet");
      state.ethType = action.ethertype;
      state.ipProto = 0;
      return;
    case "pop_mpls":
      expect(state.packetType === 0 && isMpls(type), "not MPLS");
      state.ethType = action.ethertype;
      return;
    case "set_field":
    case "reg_load2":
      setField(action.field, () => Number(toBig(fields[action.field], action.value)), state, must);
      return;
    case "load":
      setField(action.dst.field, () => Number(BigInt(action.value) << BigInt(action.dst.ofs)), state, must);
      return;
    case "move":
      needs(action.src);
      needs(action.dst);
      return;
    case "stack_push":
    case "stack_pop":
      needs(action.field);
      return;
    case "output_reg":
    case "output_reg2":
      needs(action.src);
      return;
    case "multipath":
    case "bundle":
    case "bundle_load":
      needs(action.dst);
      return;
    case "delete_field":
      must(action.field.field.startsWith("tun_metadata"), `${action.field.field} cannot be deleted`, "OFPBAC_BAD_ARGUMENT");
      return;
    case "fin_timeout":
      expect(state.ipProto === 6, "not TCP");
      return;
    case "encap":
      state.packetType = action.new_pkt_type;
      if (state.packetType >>> 16 === 1) state.ethType = state.packetType & 0xffff;
      if (!isIp(state)) state.ipProto = 0;
      return;
    case "decap":
      if (state.packetType === 0) state.packetType = (0x10000 | state.ethType) >>> 0;
      else {
        state.packetType = UNKNOWN_PACKET;
        state.ethType = 0xffff;
      }
      return;
    case "dec_nsh_ttl":
      expect(state.packetType === 0x1894f || state.ethType === 0x894f, "not NSH");
      return;
    case "resubmit":
      must(action.ct !== true || hasPrerequisite("ct", state), "without a tracked connection");
      return;
    case "learn":
      checkLearn(action, state);
      return;
    case "clone":
      runAside(action.actions, state);
      return;
    case "ct": {
      const alg = action.alg ?? 0;
      must(type === IPV4 || type === IPV6, "not IP");
      must((state.ctState & CT_INVALID) === 0 || action.commit !== true, "of an invalid connection");
      must((alg !== FTP || state.ipProto === 6) && (alg !== TFTP || state.ipProto === 17), `alg ${alg} of another protocol`);
      if (typeof action.zone === "object") {
        needs(action.zone);
        return;
      }
      runAside([...(action.nat === undefined ? [] : [located({ type: "nat", nat: action.nat }, action)]), ...(action.exec ?? [])], state); return;
    }
    case "nat": {
      const { addr_min: first } = action.nat;
      must((type === IPV4 || type === IPV6) && (first === undefined || (first.includes(":") ? type === IPV6 : type === IPV4)), "of another address family"); return;
    }
    default:
  }
}

const UNKNOWN_PACKET = 0xffffffff;

function located(action: Action, like: Action): Action {
  places.set(action, places.get(like) ?? 0);
  return action;
}

function setField(name: FieldName, value: () => number, state: State, must: (ok: boolean, why: string) => void): void {
  const field = fields[name];
  must(hasPrerequisite(field.needs, state), `${name} without ${field.needs ?? ""}`);
  must(name !== "vlan_vid" || (state.vlan[0] & TAGGED) !== 0, "vlan_vid without VLAN tag");
  if (name === "vlan_tci") state.vlan[0] = value();
}

/** Sources have to be in the packets of the flow, targets in those of the flow that is learned. */
function checkLearn(action: Action & { type: "learn" }, state: State): void {
  const learned: Record<string, bigint> = {};
  const must = (sub: SubField, flow: Flow, target: boolean): void => {
    const field = fields[sub.field];
    if (sub.bits === 0 || sub.ofs + sub.bits > field.width) throw refuse("OFPBAC_BAD_SET_LEN", action, `${sub.field} has no bits ${sub.ofs}..${sub.ofs + sub.bits - 1}`);
    if (!hasPrerequisite(field.needs, flow)) throw refuse("OFPBAC_MATCH_INCONSISTENT", action, `${sub.field} without ${field.needs ?? ""}`);
    if (target && !field.writable) throw refuse("OFPBAC_BAD_SET_ARGUMENT", action, `${sub.field} cannot be written`);
  };
  for (const { type, src, dst } of action.specs) {
    if (typeof src === "object") must(src, state, false);
    if (dst === undefined || type === "output") continue;
    must(dst, flowOf(learned), type === "load");
    if (type === "match" && typeof src !== "object") learned[dst.field] = (learned[dst.field] ?? 0n) | (BigInt(src) << BigInt(dst.ofs));
  }
}
