// What came of a packet: where it went, and why.
import type { Nat } from "node-openflow";
import type { LearnedFlow } from "./learn.ts";
import type { Op, TraceFlow } from "./flow.ts";
import type { Packet } from "./packet/packet.ts";

/** A lookup in a table and what its flow did. */
export interface Hop<R> {
  readonly kind: "table";
  readonly table: number;
  /** Undefined: no flow matched. */
  readonly flow: TraceFlow<R> | undefined;
  /** The packet before the flow's actions. */
  readonly packet: Packet;
  readonly steps: Step<R>[];
}

export interface Did<R> {
  readonly kind: "action";
  readonly action: Op;
  /** What came of it, where that is not plain: ignored, suppressed, assumed. */
  readonly notes: string[];
  /** Tables, buckets and nested actions that it led to. */
  readonly steps: Step<R>[];
}

export interface InBucket<R> {
  readonly kind: "bucket";
  readonly group: number;
  /** Its place in the group, from 0. */
  readonly bucket: number;
  readonly packet: Packet;
  readonly steps: Step<R>[];
}

export interface InActionSet<R> {
  readonly kind: "action_set";
  readonly steps: Step<R>[];
}

export type Step<R> = Hop<R> | Did<R> | InBucket<R> | InActionSet<R>;

/** From the packet's arrival, or from where conntrack gave it back, to its end. */
export interface Pass<R> {
  readonly number: number;
  /** What recirculated it: the number of the pass that did, and why. Undefined: it arrived. */
  readonly from: { readonly pass: number; readonly ct?: CtUse<R> } | undefined;
  readonly packet: Packet;
  readonly steps: Step<R>[];
  /** As the last action left it. */
  readonly final: Packet;
  /** Nothing that the pass did reaches anybody. */
  readonly error: TraceError | undefined;
}

export type TraceErrorName =
  | "RECURSION_TOO_DEEP" | "TOO_MANY_RESUBMITS" | "STACK_TOO_DEEP" | "TOO_MANY_MPLS_LABELS" | "TOO_MANY_RECIRCULATIONS" | "UNSUPPORTED_ACTION";

export interface TraceError {
  readonly name: TraceErrorName;
  readonly text: string;
}

interface Made<R> {
  readonly pass: number;
  /** Table and flow whose action it was; of an action set those of the last lookup. */
  readonly table: number;
  readonly flow: TraceFlow<R> | undefined;
}

export interface Output<R> extends Made<R> {
  /** A port, or NORMAL (node-openflow's `ports`), which is not followed: the switch forwards by what it learned. */
  readonly port: number;
  /** As it is sent: without tunnel fields where the port is no tunnel. */
  readonly packet: Packet;
  /** Longest that is sent, of output_trunc. */
  readonly maxLen?: number;
}

/** OFPR_*, OpenFlow 1.4.1 section 7.4.1. */
export const puntReasons = ["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"] as const;
export type PuntReason = (typeof puntReasons)[number];

export interface Punt<R> extends Made<R> {
  readonly packet: Packet;
  readonly reason: PuntReason;
  readonly controllerId: number;
  readonly maxLen: number;
  readonly userdata?: Uint8Array;
  /** What the copy passes, which may lose it; the packet goes on. */
  readonly meter?: number;
  /** What follows waits until the controller says to go on. */
  readonly paused?: boolean;
}

export interface Drop<R> extends Made<R> {
  readonly reason: string;
}

/** One ct action. */
export interface CtUse<R> extends Made<R> {
  readonly zone: number;
  readonly packet: Packet;
  readonly commit: boolean;
  readonly force: boolean;
  readonly nat?: Nat;
  readonly alg?: number;
  /** Bits that the action gives the connection. */
  readonly mark?: number;
  readonly label?: bigint;
  /** Where the packet goes on with its state; undefined: nowhere. */
  readonly nextTable?: number;
}

/** What was assumed of a connection; only where the packet goes on. */
export interface CtAssumption<R> {
  readonly use: CtUse<R>;
  /** Bits of ct_state. */
  readonly state: number;
}

/** A place where a switch may do one of several things. */
export interface Choice {
  readonly kind: "select" | "multipath" | "bundle" | "conjunction";
  /** Group id or table. */
  readonly of: number;
  /** Buckets, links, members (their places) or conjunction ids. */
  readonly options: readonly number[];
  /** Place in `options`. */
  readonly taken: number;
}

export interface Trace<R> {
  readonly passes: readonly Pass<R>[];
  readonly outputs: readonly Output<R>[];
  readonly punts: readonly Punt<R>[];
  /** Where a copy of the packet ended without leaving; there may be some beside outputs. */
  readonly drops: readonly Drop<R>[];
  readonly conntrack: readonly CtUse<R>[];
  readonly assumptions: readonly CtAssumption<R>[];
  /** Meters passed by the packet, or by a copy for the controller, in order; taken to let them pass. */
  readonly meters: readonly number[];
  readonly learned: readonly LearnedFlow[];
  readonly choices: readonly Choice[];
  /** Of the first pass that failed. */
  readonly error: TraceError | undefined;
}

/** Lookups of all passes in the order in which they were made. */
export function* hopsOf<R>(steps: Iterable<Step<R>>): Iterable<Hop<R>> {
  for (const step of steps) {
    if (step.kind === "table") yield step;
    yield* hopsOf(step.steps);
  }
}
