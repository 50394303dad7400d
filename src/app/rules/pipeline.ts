// An app's part of the pipeline: its tables and registers, and what its rules may say of them. Numbers (table ids, register bits)
// are allocated from these declarations at boot: src/pipeline/layout.ts. What a rule says beyond its declarations does not compile.
import type { MatchValue } from "node-openflow";
import type { Entrance, Field, FlowAction } from "../api/actions.ts";
import type { Items } from "./outputs.ts";
import type { ColumnPatch, OvsRowOf, OvsTable } from "../ovs-columns.ts";
import type { Source } from "./derivations.ts";
import type { Scope } from "./scopes.ts";
import type { RegisterDecl, SharedRegister, StageName } from "./stages.ts";
import type { ReadView } from "../table.ts";
import { THROUGH } from "./through.ts";

export interface TableDecl<R extends string = string> {
  readonly stage: StageName;
  readonly about: string;
  /**
   * What happens to a packet no flow matches. "next": the next table, in this stage or a later one. "sibling": the next
   * table of this stage, of whichever app; dropped after the last.
   */
  readonly miss: "drop" | "next" | "sibling";
  /** Every field and register that flows of the table may match. */
  readonly match: readonly (Field | `reg:${R}`)[];
  /** Whether rules of apps that require the owner may emit into it. Into all others they do through functions of the owner's. */
  readonly open?: boolean;
  /** Reached only by name from the same app: neither `next` nor a stage leads here. */
  readonly aside?: boolean;
  /** Entering this table passes IP packets through conntrack, in the zone that `ct_zone` holds; others skip the stage. */
  readonly conntrack?: boolean;
  /** Tables of the same stage, of whichever app, that come after or before this one; those that are not there are passed over. */
  readonly before?: readonly string[];
  readonly after?: readonly string[];
  /** After all tables of the stage that do not say so: for what no other app has a word on. */
  readonly last?: boolean;
  /** What leaves from it are copies, for others than whom the packet is sent to, or for the controller to look at: a trace names them, counts nothing as delivered by them, and ends at none. */
  readonly copies?: true;
  /** Filled by `learn` actions in the switch, not by rules: at most so many flows of each learning flow, which leave with it. */
  readonly learned?: { readonly limit: number };
}

export interface PipelineDecl {
  readonly tables: Readonly<Record<string, TableDecl>>;
  readonly registers?: Readonly<Record<string, RegisterDecl>>;
}

type Registers = Readonly<Record<string, RegisterDecl>>;
type Tables = Readonly<Record<string, TableDecl>>;

/** Names that flows of a pipeline use. */
export type TableName<P extends PipelineDecl> = keyof P["tables"] & string;
export type RegisterName<P extends PipelineDecl> = (P["registers"] extends Registers ? keyof P["registers"] & string : never) | SharedRegister;
type MatchName<P extends PipelineDecl, K extends TableName<P>> = P["tables"][K]["match"][number];

/** Keys of every branch of a union. */
type AllKeys<M> = M extends unknown ? keyof M : never;
/** A match of no other names than K, in any branch of a union, through spreads too. */
export type Only<M, K extends string> = { readonly [P in K]?: MatchValue | undefined } & { readonly [P in Exclude<AllKeys<M>, K>]?: never };

/** OXM fields as node-openflow spells them, and registers as `reg:<name>`. */
export type FlowMatch = { readonly [F in Field]?: MatchValue | undefined } & { readonly [reg: `reg:${string}`]: MatchValue | undefined };

/** A flow as the writer takes it, whatever it was declared by. */
export interface FlowSpec {
  /** 1..65535; 0 is the table-miss entry, made from the table's declaration. */
  readonly priority: number;
  readonly match: FlowMatch;
  readonly actions: readonly FlowAction[];
  /** Meter the flow passes first: an id emitted with Emit.item in a scope of the same switch. */
  readonly meter?: number;
}

/** A flow of a table of a pipeline. */
export interface FlowOf<P extends PipelineDecl, K extends TableName<P>, M extends object> {
  readonly priority: number;
  readonly match: M & Only<M, MatchName<P, K>>;
  readonly actions: readonly FlowAction<TableName<P>, RegisterName<P>>[];
  readonly meter?: number;
}

/** A flow of a table with places for numbers and addresses: bytes, dump, trace and proof come from this one declaration. */
export interface Shape<V = never> {
  readonly app: PipelineDecl;
  readonly table: string;
  readonly name: string;
  readonly make: (value: V) => FlowSpec;
}

/** A port at a place, as whoever knows where ports are has it: one port may be at several chassis. */
export interface PortPlace {
  readonly port_id: string;
  readonly chassis: string;
  /** standby: packets go there too, it is not where the port is. gateway: one of several chassis that serve it. */
  readonly role: "active" | "standby" | "gateway";
}

/** What every app's registers and stages say of a port. */
export interface PortActions {
  /** Of the port as sender: loads, the stage its packets enter (undefined: they are dropped), and where they enter policy if not by its stage. */
  readonly sender: { readonly loads: readonly FlowAction<never, never>[]; readonly enter: StageName | undefined; readonly acl?: Entrance };
  /** Of the port as receiver: whether packets get to it, loads, whether it has functions in `egress`, whether any app has a policy in `acl_in`, and where that is entered if not by its stage. */
  readonly receiver: { readonly hears: boolean; readonly loads: readonly FlowAction<never, never>[]; readonly egress: boolean; readonly policy: boolean; readonly acl?: Entrance };
}

/** What a rule puts out, but for flows. */
export interface Outputs {
  /** To emit into open tables of another app that this one requires, or of the core. */
  into<Q extends PipelineDecl>(pipeline: Q): Emit<OpenPart<Q>>;
  /** For `Pipeline.through` alone. */
  readonly [THROUGH]: (pipeline: PipelineDecl) => AnyEmit;
  /** Whoever has `from` has `to` as well. Cycles are fine. */
  include(from: Scope, to: Scope): void;
  /** A meter or group of the switch, by a number that a pool or a stored row gave. Several may want the same; it goes with the last. */
  item<K extends keyof Items>(scope: Scope, kind: K, id: number, value: Items[K]): void;
  /**
   * A row of the host's database; columns that are not named have their default. `key` is unique for its table on a host; a Port's is
   * its name. A bridge has one IPFIX, sFlow and NetFlow: the first by key; an IPFIX that a Flow_Sample_Collector_Set refers to is its alone.
   */
  row<T extends Exclude<OvsTable, "Flow_Table">>(scope: Scope, table: T, key: string, columns: OvsRowOf<T>): void;
  /** One column of a row of somebody else's, or one key of it where it is a map. */
  patch(scope: Scope, patch: ColumnPatch): void;
  /** What all apps say of a port at a place, see App.portContext. */
  portContext(view: ReadView, place: PortPlace): PortActions;
  /** The chassis' variant, for scopes of defineVariantScope. A chassis has one, so one rule of all apps sets it. */
  variant(chassis: string, variant: string): void;
}

/** What of a pipeline other apps may emit into. */
export interface OpenPart<P extends PipelineDecl> extends PipelineDecl {
  readonly registers: P["registers"] extends Registers ? P["registers"] : Registers;
  readonly tables: { readonly [K in keyof P["tables"] as P["tables"][K] extends { readonly open: true } ? K : never]: P["tables"][K] };
}

export interface Emit<P extends PipelineDecl> extends Outputs {
  flow<K extends TableName<P>, const M extends object>(scope: Scope, table: K, flow: FlowOf<P, K, M>): void;
  flow<V>(scope: Scope, shape: Shape<V>, value: V): void;
  row<T extends Exclude<OvsTable, "Flow_Table">>(scope: Scope, table: T, key: string, columns: OvsRowOf<T>): void;
  /**
   * What the switch is told of a table of this pipeline, such as the prefixes by which it narrows megaflows, or how many flows it takes and
   * which of them go first: `groups` may name registers, as `reg:<name>`.
   */
  row(scope: Scope, table: "Flow_Table", name: TableName<P>, columns: OvsRowOf<"Flow_Table">): void;
}

/** The same for the engine, which checks names when it runs. */
export interface AnyEmit extends Outputs {
  flow(scope: Scope, table: string, flow: FlowSpec): void;
  flow(scope: Scope, shape: Shape, value: unknown): void;
  row<T extends OvsTable>(scope: Scope, table: T, key: string, columns: OvsRowOf<T>): void;
}

/** Which flows of a rule count for a row of a resource, so that statistics need no flow of their own. Each packet has to match one of them, or none. */
export interface Counts<T extends string = string> {
  /** Name of the resource. */
  readonly resource: string;
  /** By table under which counter what matches is counted, such as `received`. A flow that only drops counts nothing. */
  readonly counters: { readonly [K in T]?: string };
  /** Of the row with this id what the rule runs on: ids of rows, of pairs `<a>|<b>`. */
  entities(this: void, view: ReadView, id: string): readonly string[];
}

/** A rule as the engine holds it; apps make them with their pipeline's `rule`. Entity and tracked reads in, outputs out. */
export interface Rule<E = unknown> {
  readonly name: string;
  readonly about: string;
  readonly on: Source<E>;
  /** Its flows of these tables drop packets of the entity, by table for which reason: services read what they have counted (ServiceHost.dropCounts). */
  readonly drops?: Readonly<Record<string, string>>;
  /** Its flows count for rows of a resource: services read what they have counted (ServiceHost.countsOf). */
  readonly counts?: Counts;
  /** Services of the app read what its flows have counted (ServiceHost.flowCounts): a switch that is told to take one off is asked what it had. So it is of `counts`. */
  readonly counted?: true;
  emit(entity: E, view: ReadView, out: AnyEmit): void;
}

/** Outputs that need no entity, in scope `base`, emitted once. */
export type StaticFlows = (out: AnyEmit) => void;

/** Declarations of shapes: each is a function from what it is filled with to the flow, and may do nothing with it but place it. */
type ShapeDecls = Readonly<Record<string, (value: never) => { readonly priority: number; readonly match: object; readonly actions: readonly object[]; readonly meter?: number }>>;
type CheckedShapes<P extends PipelineDecl, K extends TableName<P>, D extends ShapeDecls> = { readonly [N in keyof D]: (value: never) => FlowOf<P, K, ReturnType<D[N]>["match"]> };

export interface Pipeline<R extends Registers = Registers, T extends Tables = Tables> extends PipelineDecl {
  readonly registers: R;
  readonly tables: T;
  /** A rule that emits into this pipeline's tables. What it drops may be in the core's table as well. */
  rule<E>(r: { readonly name: string; readonly about: string; readonly on: Source<E>; readonly drops?: { readonly [K in (keyof T & string) | keyof typeof coreTables]?: string }; readonly counts?: Counts<(keyof T & string) | keyof typeof coreTables>; readonly counted?: true; emit(entity: E, view: ReadView, out: Emit<{ readonly registers: R; readonly tables: T }>): void }): Rule;
  /**
   * To emit into any of its tables, and groups whose actions lead to these, from functions that the app exports, on behalf of whoever calls them. So other apps must not have the
   * pipeline: it is declared in tables.ts, which they cannot import, and `model.ts` exports functions that use it, never itself.
   */
  through(out: Outputs): Emit<{ readonly registers: R; readonly tables: T }>;
  /** Flows that need no entity: in scope `base`, emitted once. */
  static(emit: (out: Emit<{ readonly registers: R; readonly tables: T }>) => void): StaticFlows;
  /** A way into one of its tables, for rows that tell another app where to hand packets: see Entrance. */
  entrance(table: keyof T & string): Entrance;
  shapes<K extends keyof T & string, const D extends ShapeDecls>(
    table: K, declarations: D & CheckedShapes<{ readonly registers: R; readonly tables: T }, K, D>,
  ): { readonly [N in keyof D]: Shape<Parameters<D[N]>[0]> };
}

/**
 * Declares an app's tables and registers: `export const pipeline = definePipeline({ registers: {...}, tables: {...} })`.
 * Table and register names are unique across apps; a table may match its app's registers and the shared ones.
 */
export function definePipeline<
  const R extends Registers,
  const T extends Readonly<Record<string, TableDecl<(keyof R & string) | SharedRegister>>>,
>(declaration: { readonly registers: R; readonly tables: T }): Pipeline<R, T> {
  const pipeline: Pipeline<R, T> = {
    ...declaration,
    rule: (r) => r as Rule,
    static: (emit) => emit,
    through: (out) => out[THROUGH](pipeline),
    entrance: (table) => table as Entrance,
    shapes: (table, declarations) =>
      Object.fromEntries(Object.entries(declarations).map(([name, make]) => [name, { app: pipeline, table, name, make }])) as never,
  };
  return pipeline;
}

const coreTables = {
  classify: {
    stage: "classify", open: true, miss: "drop", about: "local port or tunnel -> network and sender; who may come in by a tunnel",
    match: ["in_port", "vlan_vid", "eth_src", "eth_dst", "eth_type", "tunnel_id", "tun_ipv4_src", "tun_ipv6_src", "conj_id"],
  },
} as const satisfies Tables;
/** The core's own part: the first table, where every app says how its packets come in. */
export const core = definePipeline({ registers: {}, tables: coreTables });
export const CORE = "core";
