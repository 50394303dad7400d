// Effects of flows: what has to happen beside when a flow leaves a switch, and when one has arrived there.
import type { PacketOut, StageOut } from "../packets.ts";
import type { ReadView } from "../table.ts";

/** A flow as its table declares it: fields and `reg:` names, whole values only. Addresses are text. */
export interface SeenFlow {
  readonly chassis: string;
  readonly priority: number;
  readonly match: Readonly<Record<string, number | bigint | string>>;
}

/** Connections of a switch to forget: those in `zone` whose packets in the original direction match what is given. */
export interface ConntrackFlush {
  readonly zone: number;
  readonly src?: string;
  readonly dst?: string;
  readonly protocol?: number;
  readonly srcPort?: number;
  readonly dstPort?: number;
  /** The same of the answers, where it is the translated side that is known. */
  readonly reply?: { readonly src?: string; readonly dst?: string; readonly srcPort?: number; readonly dstPort?: number };
}

export interface TableEffects {
  /**
   * Connections to forget when a flow of the table is taken off a switch or replaced there. It follows from the flow that the switch
   * still has, so it is the same for one that an earlier process wanted: until the connections are forgotten, a flow that drops stands
   * in its place, and whoever finds that goes on from there.
   */
  withdrawn?(flow: SeenFlow, view: ReadView): readonly ConntrackFlush[];
  /**
   * Packets to send when a switch has confirmed a flow that it did not have before; not for one that was replaced. They are sent a few
   * at a time, as the view is then: not for a flow that went meanwhile, later for a switch that is away. What waits is bounded, and
   * a controller that ends loses it.
   */
  confirmed?(flow: SeenFlow, view: ReadView): readonly (PacketOut | StageOut)[];
}
