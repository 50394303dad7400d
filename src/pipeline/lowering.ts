// Actions in declared names -> actions of a switch. What hands a packet on is in layout.ts; loads, which are most of all actions, are
// written without an object between by flow-writer.ts.
import { isIpv6, type FieldRef, type FlowAction } from "#app";
import { encodeActions, ports, type Action, type FieldName, type LearnSpec, type SubField } from "node-openflow";
import { ipv4ToNumber, ipv6ToBigInt } from "packet-codec";
import { learnedCookie } from "../lib/cookies.ts";
import type { Layout, PipelineTable } from "./layout.ts";
import { toSubField, wholeField, type Register } from "./registers.ts";

/** Actions that do not hand the packet on. */
export type LowerAction = Exclude<FlowAction, { readonly type: "next" | "stage" | "table" | "entrance" }>;

/** delete_learned, ovs-actions(7): what a flow made goes with it. */
const DELETE_LEARNED = 2;
/** NX_MP_ALG_HRW: highest random weight, so that another number of links moves few. NX_HASH_FIELDS_SYMMETRIC_L3L4: addresses, and the ports of TCP and SCTP. */
const HRW = 2;
const SYMMETRIC_L3L4 = 2;
/** Of NXAST_CT, by the port that each protocol is known by. */
const ALG = { ftp: 21, tftp: 69 } as const;

/** Room for the actions of a hand-over or of a port's context. */
const LONGEST = 1024;

/** Value of an `ip` register for an address. */
export const addressValue = (address: string): bigint => (isIpv6(address) ? ipv6ToBigInt(address) : BigInt(ipv4ToNumber(address)));

export class Lowering {
  private readonly layout: Layout;
  private readonly scratch: readonly Register[];
  private readonly room = Buffer.alloc(LONGEST);

  /** `poison`: every call, and every hand-over that comes back, overwrites the scratch registers: it proves that nothing lives in them across it. */
  constructor(layout: Layout, poison = false) {
    this.layout = layout;
    this.scratch = poison ? [...layout.registers.values()].filter((r) => r.scratch) : [];
  }

  /** @throws Error naming table and register when the action may not do what it says */
  lower(table: PipelineTable, action: LowerAction, cookie: bigint): readonly Action[] {
    const { layout } = this;
    switch (action.type) {
      case "call":
        return this.called(layout.ownTable(table, action.table).id);
      case "call_stage": {
        const target = layout.entry(action.stage);
        return target?.stage !== action.stage ? [] : this.called(target.id);
      }
      case "clone":
        return [{ type: "clone", actions: this.lowerAll(table, action.actions, cookie) }];
      case "load_reg":
        return [loadOf(layout.registerFor(table, action.reg), action.value)];
      case "copy":
        return this.copy(table, action.from, action.to);
      case "stack_push":
        return [{ type: "stack_push", field: this.subField(table, action.from) }];
      case "stack_pop":
        return [{ type: "stack_pop", field: this.subField(table, action.to) }];
      case "ct":
        return [this.conntrack(table, action)];
      case "learn":
        return [this.learn(table, action, cookie)];
      case "group":
        return [{ type: "group", group_id: action.id }];
      case "multipath":
        return [{ type: "multipath", fields: SYMMETRIC_L3L4, basis: action.basis ?? 0, algorithm: HRW, max_link: action.links - 1, arg: 0, dst: this.subField(table, action.to) }];
      case "check_longer":
        return [{ type: "check_pkt_larger", pkt_len: action.bytes, dst: this.subField(table, action.to) }];
      case "punt":
        if (action.meter !== undefined) return [{ type: "controller", max_len: action.maxLen ?? 0xffff, meter_id: action.meter }];
        return [{ type: "output", port: ports.CONTROLLER, max_len: action.maxLen ?? 0xffff }];
      case "lowered":
        return action.actions;
      case "set_field":
        return [inPortSet(action) ?? action];
      default:
        return [action];
    }
  }

  /** A list where the packet may go on too: of a clone, or a group's bucket. */
  lowerAll(table: PipelineTable, actions: readonly FlowAction[], cookie: bigint): Action[] {
    return actions.flatMap((action) => {
      if (action.type !== "next" && action.type !== "stage" && action.type !== "table" && action.type !== "entrance") return this.lower(table, action, cookie);
      const step = this.layout.transition(table, action, "unknown", false);
      if (typeof step === "number") throw new Error("a list inside of an action cannot go to a table"); // `last` is false: never
      return [...step, ...this.poison()];
    });
  }

  /** A load made for any app's register: PortContext crosses apps by design. */
  load(name: string, value: number | bigint): Action {
    return loadOf(this.layout.register(name), value);
  }

  /** Actions that are written again and again. */
  encoded(actions: readonly Action[]): { readonly type: "lowered"; readonly actions: readonly Action[]; readonly bytes: Uint8Array } {
    const { room } = this;
    return { type: "lowered", actions, bytes: Uint8Array.prototype.slice.call(room, 0, encodeActions(room, 0, actions)) };
  }

  private called(id: number): Action[] {
    return [{ type: "resubmit", table: id }, ...this.poison()];
  }

  /** What overwrites the scratch registers where something was called; nothing but where that was asked for. */
  poison(): readonly Action[] {
    return this.scratch.map((register): Action => loadOf(register, (1n << BigInt(register.bits)) - 1n));
  }

  /** Into an `ip` register an address is copied whole: the words that IPv4 leaves out are zeroed. */
  private copy(table: PipelineTable, from: FieldRef, to: FieldRef): Action[] {
    const src = this.subField(table, from);
    const dst = this.subField(table, to);
    if (src.bits === dst.bits) return [{ type: "move", src, dst }];
    if (dst.bits === 128 && src.bits === 32) return [{ type: "set_field", field: dst.field, value: 0n }, { type: "move", src, dst: { ...dst, ofs: 0, bits: 32 } }];
    if (src.bits === 128 && dst.bits === 32) return [{ type: "move", src: { ...src, ofs: 0, bits: 32 }, dst }];
    throw new Error(`table ${table.name} copies ${src.bits} bits of ${src.field} to ${dst.bits} of ${dst.field}`);
  }

  private conntrack(table: PipelineTable, action: LowerAction & { readonly type: "ct" }): Action {
    const { layout } = this;
    const zone = layout.registerFor(table, action.zone);
    if (zone.bits !== 16) throw new Error(`table ${table.name}: zone register ${action.zone} has ${zone.bits} bits, a zone 16`);
    if (action.commit !== true && (action.force === true || action.mark !== undefined || action.label !== undefined || action.alg !== undefined)) throw new Error(`table ${table.name}: ct marks and reads only what it commits`);
    if (action.commit !== true && action.nat !== undefined && Object.keys(action.nat).length > 0) throw new Error(`table ${table.name}: ct translates anew only what it commits`);
    const exec: Action[] = [];
    if (action.mark !== undefined) exec.push({ type: "set_field", field: "ct_mark", value: action.mark });
    if (action.label !== undefined) exec.push({ type: "set_field", field: "ct_label", value: action.label });
    const target = action.then === undefined ? undefined : "table" in action.then ? layout.ownTable(table, action.then.table) : layout.entry(action.then.stage);
    if (action.then !== undefined && target === undefined) throw new Error(`table ${table.name}: after ct there is no table to go on to`);
    if (target?.conntrack === true) throw new Error(`table ${table.name}: ct leads to ${target.name}, which is entered through conntrack itself`);
    return {
      type: "ct", zone: toSubField(zone), ...(target === undefined ? {} : { table: target.id }), ...(action.commit === true ? { commit: true } : {}),
      ...(action.force === true ? { force: true } : {}), ...(action.nat === undefined ? {} : { nat: action.nat }), ...(exec.length === 0 ? {} : { exec }),
      ...(action.alg === undefined ? {} : { alg: ALG[action.alg] }),
    };
  }

  private learn(table: PipelineTable, action: LowerAction & { readonly type: "learn" }, cookie: bigint): Action {
    const target = this.layout.ownTable(table, action.table);
    if (target.learned === undefined) throw new Error(`table ${table.name} learns into ${target.name}, which is not declared as learned`);
    if ((action.idleTimeoutS ?? 0) === 0 && (action.hardTimeoutS ?? 0) === 0) throw new Error(`table ${table.name} learns flows that never end`);
    const specs: LearnSpec[] = [];
    for (const [name, value] of Object.entries(action.match)) {
      if (value === undefined) continue;
      if (!target.matches.has(name)) throw new Error(`table ${target.name} does not declare that it matches ${name}`);
      specs.push({ type: "match", src: typeof value === "object" ? this.subField(table, value.from) : value, dst: this.subField(target, name as FieldRef) });
    }
    for (const { to, from } of action.load ?? []) specs.push({ type: "load", src: typeof from === "number" || typeof from === "bigint" ? from : this.subField(table, from), dst: this.subField(target, to) });
    if (action.output !== undefined) specs.push({ type: "output", src: this.subField(table, action.output) });
    return {
      type: "learn", table_id: target.id, priority: action.priority, cookie: learnedCookie(cookie), idle_timeout: action.idleTimeoutS ?? 0, hard_timeout: action.hardTimeoutS ?? 0,
      flags: DELETE_LEARNED, limit: target.learned.limit, specs,
    };
  }

  subField(table: PipelineTable, ref: FieldRef): SubField {
    if (typeof ref !== "string") {
      const whole = this.subField(table, ref.field);
      if (ref.ofs + ref.bits > whole.bits) throw new Error(`table ${table.name} uses bits ${ref.ofs}..${ref.ofs + ref.bits - 1} of ${ref.field}, which has ${whole.bits}`);
      return { field: whole.field, ofs: whole.ofs + ref.ofs, bits: ref.bits };
    }
    if (ref.startsWith("reg:")) return toSubField(this.layout.registerFor(table, ref.slice(4)));
    return wholeField(ref as FieldName);
  }
}

/** Reserved ports of OpenFlow 1.3, OFPP_MAX and above, are the highest of 16 bits too. */
const RESERVED = 0xffff_ff00;
/** Open vSwitch refuses a set_field of the 32-bit in_port (OFPBAC_BAD_SET_ARGUMENT), and takes a load of its 16-bit one. Undefined: another field, or a part of it. */
export function inPortSet({ field, value, mask }: FlowAction & { readonly type: "set_field" }): Action | undefined {
  if (field !== "in_port" || mask !== undefined) return undefined;
  const port = Number(value);
  return { type: "load", dst: { field: "nxm_in_port", ofs: 0, bits: 16 }, value: port >= RESERVED && port <= 0xffff_ffff ? port & 0xffff : port };
}

export function loadOf(register: Register, value: number | bigint | string): Action {
  const number = typeof value === "string" ? addressValue(value) : value;
  return register.bits < 32 || register.field === "metadata" ? { type: "load", dst: toSubField(register), value: number } : { type: "set_field", field: register.field, value: number };
}
