// What lies between a switch's state (switch.ts) and its OpenFlow connection (openflow.ts).
import type { Action, Slice } from "node-openflow";
import type { Meter } from "../../compiler/desired.ts";

/** A meter as installed; rate and burst are undefined if it is of another kind than ours. */
export interface InstalledMeter {
  readonly id: number;
  readonly ratePps: number | undefined;
  readonly burst: number | undefined;
}


/** What a switch needs of its OpenFlow session. */
export interface Session {
  readonly address: string;
  /** OFPMP_FLOW replies with every flow, as they came. */
  flows(): Promise<Buffer[]>;
  meters(): Promise<InstalledMeter[]>;
  setMeter(meter: Meter, exists: boolean): void;
  removeMeter(id: number): void;
  /** Forgets all connections of a conntrack zone. */
  flushZone(zone: number): void;
  /** `inPort`: what it counts as coming from; default: the controller. */
  sendPacket(actions: readonly Action[], data: Uint8Array, inPort?: number): void;
  barrier(): Promise<unknown>;
  /** All or nothing. @throws OpenFlowError OF_PEER_ERROR, with the index of the message that the switch refused if known */
  bundle(messages: readonly Slice[]): Promise<unknown>;
  close(): void;
}
