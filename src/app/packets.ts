// Packets that come up from a switch, and what may come of one: packets out of a port, packets into the pipeline, facts, counts.
import type { Logger } from "pino";
import type { Counted } from "./shown.ts";
import type { Fact, LiveView } from "./soft-table.ts";
import type { RegisterDecl, sharedRegisters, SharedRegister, StageName } from "./rules/stages.ts";

/** What a register holds, by its declaration. */
export type RegisterValue<D extends RegisterDecl> = D["bits"] extends "ip" ? string : D["bits"] extends 128 ? bigint : number;

/** A packet that a flow's `punt` sent up. */
export interface PacketIn {
  readonly chassis: string;
  /** OpenFlow port it came in by; 0 where a flow took it away, as for a port behind the interface of another. Who sent it is `in_port_key`. */
  readonly inPort: number;
  readonly table: string;
  readonly data: Uint8Array;
  /**
   * Value of a register when the packet was punted: a number, of a register of 128 bits a bigint, of an `ip` register an address as text
   * (IPv4 if all but the lowest 32 bits are 0). 0 or "" if it was never loaded. An app's own registers are typed by its pipeline.
   */
  register<N extends SharedRegister>(name: N): RegisterValue<(typeof sharedRegisters)[N]>;
  register<R extends Readonly<Record<string, RegisterDecl>>, N extends keyof R & string>(name: N, pipeline: { readonly registers: R }): RegisterValue<R[N]>;
  register(name: string): number | bigint | string;
}

/**
 * A packet to send out of an OpenFlow port of a chassis, as it is. A port of a network has more to it than its OpenFlow port (a tag,
 * functions of its own): what goes to one goes into the stage `locate`, as `toPort` of apps/l2 has it.
 */
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
  /** OpenFlow port it counts as coming from; default: the bridge's own. A packet does not leave by the port it came from. */
  readonly inPort?: number;
  readonly data: Uint8Array;
}

/** What a packet handler answers with. */
export type Out = PacketOut | StageOut | Fact | Counted;

/** Pure: a packet and the model in; packets, facts and counts out. What has to wait, or to write, is a service: ServiceHost.onPacket. */
export type PacketInHandler = (packet: PacketIn, view: LiveView, log: Logger) => readonly Out[];
