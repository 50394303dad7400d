// What an app says of the flow tables: its tables, its registers, and rules that turn entities into flow entries.
// Numbers (table ids, register bits) are allocated from these declarations at boot: src/pipeline/layout.ts.
import type { Action as OfAction, Match as OfMatch, MatchValue } from "node-openflow";
import type { AnyTable, ReadView, Row, Table } from "./table.ts";

/** Stages in pipeline order. Apps hand packets on by stage, never by another app's table. */
export const stages = [
  { name: "classify", about: "who sent it: local port or tunnel -> net, in_port_key, ct_zone" },
  { name: "admission", about: "may this port send this: anti-spoofing" },
  { name: "services", about: "requests that the network itself answers: ARP, neighbour discovery, DHCP, router solicitation" },
  { name: "acl_out", about: "policy of the sender" },
  { name: "forward", about: "destination MAC -> port, router or flood" },
  { name: "route", about: "between networks" },
  { name: "neighbour", about: "next-hop address -> MAC" },
  { name: "flood", about: "broadcast, multicast: each member host and port once" },
  { name: "locate", about: "out_port_key, out_host -> local port or tunnel" },
  { name: "acl_in", about: "policy of the receiver" },
  { name: "deliver", about: "out of the local port" },
] as const;
export type StageName = (typeof stages)[number]["name"];

export interface TableDecl {
  readonly stage: StageName;
  readonly about: string;
  /**
   * What happens to a packet no flow matches. "next": the next table, in this stage or a later one. "sibling": the next
   * table of this stage, of whichever app; dropped after the last.
   */
  readonly miss: "drop" | "next" | "sibling";
  /** Reached only by name from the same app: neither `next` nor a stage leads here. */
  readonly aside?: boolean;
  /** Entering this table passes IP packets through conntrack, in the zone that `ct_zone` holds; others skip the stage. */
  readonly conntrack?: boolean;
}

export interface RegisterDecl {
  readonly bits: 1 | 8 | 16 | 32 | 128;
  readonly about: string;
}

/** Registers of the core, shared by all apps. */
export const sharedRegisters = {
  net: { bits: 32, about: "key of the network the packet is in; the VNI on the wire" },
  in_port_key: { bits: 32, about: "key of the port that sent it, 0 when it came through a tunnel" },
  out_port_key: { bits: 32, about: "key of the port it goes to" },
  out_host: { bits: 16, about: "key of the chassis it goes to" },
  ct_zone: { bits: 16, about: "conntrack zone of the local port whose policy applies" },
  out_port: { bits: 16, about: "OpenFlow port it leaves by" },
  nexthop: { bits: 32, about: "IPv4 address whose MAC the neighbour stage finds" },
  nexthop6: { bits: 128, about: "IPv6 address whose MAC the neighbour stage finds" },
  from_tunnel: { bits: 1, about: "came from another chassis" },
  secured: { bits: 1, about: "port security applies to the sending port" },
} as const satisfies Record<string, RegisterDecl>;

export interface PipelineDecl {
  readonly tables: Readonly<Record<string, TableDecl>>;
  readonly registers?: Readonly<Record<string, RegisterDecl>>;
}

/** Values of eth_type and ip_proto that rules match. */
export const ethType = { ip: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;
export const ipProto = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;

/** OXM fields as node-openflow spells them, and registers as `reg:<name>`. */
export type FlowMatch = OfMatch & { readonly [reg: `reg:${string}`]: MatchValue };

/** A field or register, whole or in part. */
export type FieldRef = string | { readonly field: string; readonly ofs: number; readonly bits: number };

export type FlowAction =
  | OfAction
  /** On to the next table of this stage or the first of the next stage that has one. */
  | { readonly type: "next" }
  /** On to a later (or earlier) stage. `family` tells conntrack tables what it is, when the match does not. */
  | { readonly type: "stage"; readonly stage: StageName }
  /** On to a table of the same app. */
  | { readonly type: "table"; readonly table: string }
  /** Through a table of the same app or a stage, and back. */
  | { readonly type: "call"; readonly table: string }
  | { readonly type: "call_stage"; readonly stage: StageName }
  | { readonly type: "load_reg"; readonly reg: string; readonly value: number | bigint }
  | { readonly type: "copy"; readonly from: FieldRef; readonly to: FieldRef }
  /** Conntrack commit in the zone of `ct_zone`, with ct_mark. */
  | { readonly type: "ct_commit"; readonly mark?: number }
  /** To the controller: the app's packetIn handler of this table. `meter`: id on the switch, see Emit.meter. */
  | { readonly type: "punt"; readonly maxLen?: number };

export const next: FlowAction = { type: "next" };
export const toStage = (stage: StageName): FlowAction => ({ type: "stage", stage });
export const toTable = (table: string): FlowAction => ({ type: "table", table });
export const callTable = (table: string): FlowAction => ({ type: "call", table });
export const callStage = (stage: StageName): FlowAction => ({ type: "call_stage", stage });
export const load = (reg: string, value: number | bigint): FlowAction => ({ type: "load_reg", reg, value });
export const copy = (from: FieldRef, to: FieldRef): FlowAction => ({ type: "copy", from, to });
export const setField = (field: string, value: MatchValue): FlowAction => ({ type: "set_field", field, value }) as FlowAction;

export interface FlowSpec {
  /** 1..65535; 0 is the table-miss entry, made from the table's declaration. */
  readonly priority: number;
  readonly match: FlowMatch;
  readonly actions: readonly FlowAction[];
  /** Meter the flow passes first: an id emitted with Emit.meter in a scope of the same switch. */
  readonly meter?: number;
}

/** An OVSDB port the controller wants on a chassis' integration bridge. */
export interface PortSpec {
  readonly name: string;
  readonly type: string;
  readonly options: Readonly<Record<string, string>>;
  /** The same number on every chassis. */
  readonly ofport: number;
}

/**
 * A scope is a set of flows that a switch has as a whole or not at all: `chassis:<id>` is the root of one switch, `base`
 * is on every switch, the rest are named by the apps that include them. Flows of a scope are compiled and encoded once
 * for all switches that have it.
 */
export type Scope = string;
/** A system-id may hold any character; one at the end that reads as PER_VARIANT is told from it by the space after it. */
export const chassisScope = (chassis: string): Scope => (chassis.endsWith(PER_VARIANT) ? `chassis:${chassis} ` : `chassis:${chassis}`);
export const baseScope: Scope = "base";
/** Suffix of a scope name that is replaced by the including chassis' variant (see Chassis variants in the compiler): `host:7@`. */
export const PER_VARIANT = "@";

export interface Emit {
  flow(scope: Scope, table: string, spec: FlowSpec): void;
  /** Whoever has `from` has `to` as well. Cycles are fine. */
  include(from: Scope, to: Scope): void;
  /** A drop meter, packets per second. l2 makes one for each attached port, its id the port's slot: what it may punt. */
  meter(scope: Scope, id: number, ratePps: number, burst: number): void;
  ovsPort(scope: Scope, port: PortSpec): void;
  /** Loads of every app's PortContext registers for this port. */
  portContext(view: ReadView, portId: string): readonly FlowAction[];
  /** The chassis' variant string, for scopes included with PER_VARIANT. One rule sets it: overlay. */
  variant(chassis: string, variant: string): void;
}

/** What a rule runs on: each row of a table, or each (a, b) of a pair index that has rows (its id is `a|b`). */
export type Source<E> =
  | { readonly kind: "rows"; readonly table: AnyTable; readonly entity?: E }
  | { readonly kind: "pairs"; readonly table: AnyTable; readonly pair: string; readonly entity?: E };

export const each = <R extends Row>(table: Table<R>): Source<R> => ({ kind: "rows", table });
export interface PairEntity {
  readonly id: string;
  readonly a: string;
  readonly b: string;
}
export const eachPair = <R extends Row, P extends string>(table: Table<R, string, P>, pair: P): Source<PairEntity> => ({ kind: "pairs", table, pair });

/** Pure: entity and tracked reads in, flow entries out. */
export interface Rule<E = unknown> {
  readonly name: string;
  readonly about: string;
  readonly on: Source<E>;
  emit(entity: E, view: ReadView, out: Emit): void;
}
export const rule = <E>(r: Rule<E>): Rule => r;

/** Pure: fills a derived table. Row ids must be unique among all the derivation makes (prefix them with the entity's id). */
export interface Derivation<E = unknown, R extends Row = Row> {
  readonly name: string;
  readonly on: Source<E>;
  readonly into: Table<R>;
  derive(entity: E, view: ReadView): readonly R[] | R | undefined;
}
export const derivation = <E, R extends Row>(d: Derivation<E, R>): Derivation => d as unknown as Derivation;

/** Flows that need no entity: in scope `base`, emitted once. */
export type StaticFlows = (out: Emit) => void;
