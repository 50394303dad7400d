// What a switch is made with, and what it says of itself.
import type { Logger } from "pino";
import type { Desired, Flow } from "../../compiler/desired.ts";
import type { ByteBudget } from "../bounds/byte-budget.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";
import type { SouthboundMetrics } from "../metrics.ts";
import type { SameInstructions } from "./comparison.ts";
import type { LastCounts } from "./delivery.ts";
import type { SyncSlots } from "./sync-slots.ts";
import type { FlowEffects } from "./withdrawal.ts";

/** Flows that are counted beyond their end. */
export interface CountedFlows {
  /** Whether somebody counts what such a flow has counted: only then a switch is asked for it. */
  isCounted(flow: Flow): boolean;
  /** A flow that is desired no more was taken off the switch of a chassis. */
  ended(chassis: string, flow: Flow, counts: LastCounts): void;
}

export interface SwitchOptions {
  readonly chassis: string;
  readonly desired: Desired;
  /** Generation of the last delta that was handed to the switches. */
  readonly reached: () => number;
  readonly metrics: SouthboundMetrics;
  readonly log: Logger;
  readonly sameInstructions: SameInstructions;
  /** Flows that may wait; more, and the switch is compared anew instead. */
  readonly pendingLimit: number;
  readonly onConfirmed: (chassis: string) => void;
  /** It has another controller for its master, though this one took itself for that. Whether something is done about it. */
  readonly deposed?: () => boolean;
  /** Changes up to a generation are on their way to it. */
  readonly onSent?: (generation: number) => void;
  /** Shared by all switches: who may hold a dump, and how much all dumps may have. */
  readonly slots: SyncSlots;
  readonly dumps: ByteBudget;
  readonly clock: Clock;
  readonly random: Random;
  readonly effects: FlowEffects | undefined;
  /** Flows with something to say that the switch has now and had not before, and keys of those that it has no more. */
  readonly arrived: (came: readonly Flow[], went: readonly string[]) => void;
  /** Whose counts somebody wants when they go, and who is told of them. */
  readonly counting?: CountedFlows | undefined;
  /** Nothing at all is sent that could change anything. */
  readonly shadow: boolean;
  /** Asked of each dump (OFPMP_FLOW replies) that a session begins with: why nothing on the switch may be changed; undefined: it may. It ends early once `current` is false. */
  readonly judge: (parts: readonly Buffer[], current: () => boolean) => Promise<string | undefined>;
}

/** held: it keeps what it has, and gets nothing. standby: it is connected, and another controller is its master. */
export type SwitchState = "disconnected" | "syncing" | "connected" | "held" | "standby";

export interface Hold {
  readonly text: string;
  readonly since: Date;
}

export interface Refused {
  readonly flow: Flow;
  readonly error: string;
}

export interface AuditResult {
  readonly missing: number;
  readonly changed: number;
  readonly foreign: number;
}

/** Of a comparison, in flows. */
export interface Found extends AuditResult {
  /** Differences by table, and some of the flows that were missing or changed. */
  readonly tables: ReadonlyMap<number, number>;
  readonly flows: readonly Flow[];
  /** Packets that flows of a table have dropped. */
  readonly drops: ReadonlyMap<number, number>;
  readonly desired: number;
  readonly found: number;
}

/** What an audit found and put right, the last time that one did. */
export interface Repaired extends AuditResult {
  readonly at: Date;
  /** When audits that each found something began. */
  readonly since: Date;
  /** No audit since has found everything in order. */
  readonly standing: boolean;
  /** Differences by table. */
  readonly tables: ReadonlyMap<number, number>;
  /** Some of the flows that were missing or changed. */
  readonly flows: readonly Flow[];
}
