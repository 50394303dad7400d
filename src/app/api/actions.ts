// What a flow does, in declared names: stages, tables, registers. Actions of OpenFlow that name a table, a zone or a group by
// number are not here; their forms below are lowered by src/pipeline once ids are known.
import type { Action as OfAction, FieldName, FieldValue, MatchValue, Nat } from "node-openflow";
import type { StageName } from "../rules/stages.ts";

/** Fields that a rule may name: OXM fields as node-openflow spells them. Registers are `reg:<name>`. */
export type Field = Exclude<FieldName, `reg${number}` | `xreg${number}` | `xxreg${number}` | "nxm_in_port" | "metadata">;

/** A field or register, whole or in part. */
export type FieldRef<R extends string = string> = Field | `reg:${R}` | { readonly field: Field | `reg:${R}`; readonly ofs: number; readonly bits: number };

type Plain = Extract<OfAction, { type: "output" | "dec_ttl" | "ct_clear" | "push_vlan" | "pop_vlan" | "conjunction" | "set_queue" | "pop_queue" | "push_mpls" | "pop_mpls" | "sample" | "sample3" | "output_trunc" }>;

/** A sample of so many packets in 65,535 goes to a set of collectors. ovs-actions(7) */
export type Sample = Extract<OfAction, { type: "sample3" }>;

/** Where a packet goes on: a stage, or a table of the same app. */
export type Then<T extends string = string> = { readonly stage: StageName } | { readonly table: T };

declare const entranceBrand: unique symbol;
/**
 * A table that flows of other apps may hand packets to. Its owner makes it (`pipeline.entrance`) and gives it away in rows of a joint; it
 * must require the app whose flows use it.
 */
export type Entrance = string & { readonly [entranceBrand]: true };

/** Protocols whose control connections conntrack reads, to open what they name. */
export type Alg = "ftp" | "tftp";

/** `T`: tables of the app, `R`: registers that it may use. */
export type FlowAction<T extends string = string, R extends string = string> =
  | Plain
  | { readonly type: "set_field"; readonly field: Field; readonly value: FieldValue; readonly mask?: FieldValue }
  | { readonly type: "stack_push"; readonly from: FieldRef<R> }
  | { readonly type: "stack_pop"; readonly to: FieldRef<R> }
  /** Actions on a copy of the packet; it may leave by a call. */
  | { readonly type: "clone"; readonly actions: readonly FlowAction<T, R>[] }
  /** On to the next table of this stage or the first of the next stage that has one. */
  | { readonly type: "next" }
  /** On to a later (or earlier) stage. */
  | { readonly type: "stage"; readonly stage: StageName }
  /** On to a table of the same app. */
  | { readonly type: "table"; readonly table: T }
  /** On to a table whose app gave this way in. */
  | { readonly type: "entrance"; readonly table: Entrance }
  /** Through a table of the same app or a stage, and back. */
  | { readonly type: "call"; readonly table: T }
  | { readonly type: "call_stage"; readonly stage: StageName }
  /** An `ip` register takes an address as text. */
  | { readonly type: "load_reg"; readonly reg: R; readonly value: number | bigint | string }
  | { readonly type: "copy"; readonly from: FieldRef<R>; readonly to: FieldRef<R> }
  /**
   * Connection tracking in the zone that a register holds. With `then` the packet goes on there with its state, and nothing
   * may follow; without, it commits a copy's state and the list goes on. `nat: {}` translates as the connection has it. `alg`: of a connection that is
   * committed, what it says of others is read, which are related then; the flow matches the protocol.
   */
  | {
      readonly type: "ct"; readonly zone: R; readonly then?: Then<T>; readonly commit?: boolean; readonly force?: boolean; readonly nat?: Nat;
      readonly mark?: number; readonly label?: bigint; readonly alg?: Alg;
    }
  /** Makes a flow in a learned table of the same app; see TableDecl.learned. */
  | {
      readonly type: "learn"; readonly table: T; readonly priority: number;
      /** What the learned flow matches: a constant, or `{ from }` the packet. */
      readonly match: Readonly<Partial<Record<Field | `reg:${R}`, number | bigint | { readonly from: FieldRef<R> }>>>;
      /** What it does: loads from this packet or of a constant, then a port to output to, if any. */
      readonly load?: readonly { readonly to: FieldRef<R>; readonly from: FieldRef<R> | number | bigint }[];
      readonly output?: FieldRef<R>;
      /** Seconds; one of them at least is not 0. */
      readonly idleTimeoutS?: number; readonly hardTimeoutS?: number;
    }
  /** Through a group: an id emitted with Emit.item in a scope of the same switch. */
  | { readonly type: "group"; readonly id: number }
  /** A number 0..links-1 into a register, by a hash of the packet's addresses and ports that moves few flows when `links` changes. */
  | { readonly type: "multipath"; readonly links: number; readonly to: FieldRef<R>; readonly basis?: number }
  /** Whether the frame, from its Ethernet header on, is longer than so many bytes, into one bit. */
  | { readonly type: "check_longer"; readonly bytes: number; readonly to: FieldRef<R> }
  /**
   * A copy to the controller: the app's packetIn handler of this table. `meter`: what the copy passes, an id emitted with Emit.item in a
   * scope of the same switch; beyond its rate copies are lost and the packet goes on, where a meter of the flow drops the packet itself.
   */
  | { readonly type: "punt"; readonly maxLen?: number; readonly meter?: number }
  /** Made by the core, for a place where another app's registers are loaded: see Emit.portContext. `bytes`: the actions, encoded. */
  | { readonly type: "lowered"; readonly actions: readonly OfAction[]; readonly bytes: Uint8Array };

/** Actions that stand in any table of any app. */
type Free<A> = A;

export const next: Free<{ readonly type: "next" }> = { type: "next" };
export const toStage = <const S extends StageName>(stage: S): { readonly type: "stage"; readonly stage: S } => ({ type: "stage", stage });
export const toTable = <const T extends string>(table: T): { readonly type: "table"; readonly table: T } => ({ type: "table", table });
export const toEntrance = (table: Entrance): { readonly type: "entrance"; readonly table: Entrance } => ({ type: "entrance", table });
export const callTable = <const T extends string>(table: T): { readonly type: "call"; readonly table: T } => ({ type: "call", table });
export const callStage = <const S extends StageName>(stage: S): { readonly type: "call_stage"; readonly stage: S } => ({ type: "call_stage", stage });
export const load = <const R extends string>(reg: R, value: number | bigint | string): { readonly type: "load_reg"; readonly reg: R; readonly value: number | bigint | string } => ({ type: "load_reg", reg, value });
export const copy = <const A, const B>(from: A, to: B): { readonly type: "copy"; readonly from: A; readonly to: B } => ({ type: "copy", from, to });
export const setField = <const F extends Field>(field: F, value: FieldValue): { readonly type: "set_field"; readonly field: F; readonly value: FieldValue } => ({ type: "set_field", field, value });

// --- families: what is called otherwise in IPv4 and IPv6 -----------------------------------------------------------------

export const isIpv6 = (address: string): boolean => address.includes(":");

/** Matches of the address family of an address or prefix: `{ eth_type }`. */
export const familyMatch = (address: string): { readonly eth_type: number } => ({ eth_type: isIpv6(address) ? 0x86dd : 0x0800 });

/** Source address or prefix, by its family. */
export const ipSrc = (address: string): { readonly ipv4_src: string } | { readonly ipv6_src: string } => (isIpv6(address) ? { ipv6_src: address } : { ipv4_src: address });

/** Destination address or prefix, by its family. */
export const ipDst = (address: string): { readonly ipv4_dst: string } | { readonly ipv6_dst: string } => (isIpv6(address) ? { ipv6_dst: address } : { ipv4_dst: address });

export type { MatchValue };
