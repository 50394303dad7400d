// Packets between switches and apps.
import type { Logger } from "pino";
import type { ReadView } from "./table.ts";

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

/** Pure: a packet and the model in, reply packets out. */
export type PacketInHandler = (packet: PacketIn, view: ReadView, log: Logger) => readonly PacketOut[];
