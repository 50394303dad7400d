// Packets that come up from a switch, and what may come of one: packets out of a port, packets into the pipeline, facts.
import type { Logger } from "pino";
import type { Fact, LiveView } from "./soft-table.ts";
import type { StageName } from "./stages.ts";

/** A packet that a flow's `punt` sent up. */
export interface PacketIn {
  readonly chassis: string;
  readonly inPort: number;
  readonly table: string;
  readonly data: Uint8Array;
  /** Value of a register when the packet was punted; 0 if it was never loaded. */
  register(name: string): number;
}

/** A packet to send out of a port of a chassis. */
export interface PacketOut {
  readonly chassis: string;
  readonly outPort: number;
  readonly data: Uint8Array;
}

/**
 * A packet to send into a stage of a chassis' pipeline, which decides where it goes as for any packet. Registers are shared ones or
 * the app's own; those not given are 0. Into a stage that begins with conntrack, `ct_zone` has to be given.
 */
export interface StageOut {
  readonly chassis: string;
  readonly stage: StageName;
  /** An `ip` register takes an address as text. */
  readonly registers: Readonly<Record<string, number | bigint | string>>;
  /** OpenFlow port it counts as coming from; default: the controller's. A packet does not leave by the port it came from. */
  readonly inPort?: number;
  readonly data: Uint8Array;
}

/** What a packet handler answers with. */
export type Out = PacketOut | StageOut | Fact;

/** Pure: a packet and the model in; packets and facts out. */
export type PacketInHandler = (packet: PacketIn, view: LiveView, log: Logger) => readonly Out[];
