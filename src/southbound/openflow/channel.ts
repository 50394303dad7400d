// What lies between a switch's state (switch.ts) and its OpenFlow connection (session.ts).
import type { Action, Match, OpenFlowError, Slice, Message } from "node-openflow";
import type { Meter, PortCount } from "#app";
import type { ItemKind } from "../../compiler/desired.ts";
import type { Holding } from "../bounds/byte-budget.ts";
import type { Identity } from "../identity.ts";

/** A meter or group as installed; `text` as wireText gives it, of another kind than ours a text that nothing has. */
export interface InstalledItem {
  readonly kind: ItemKind;
  readonly id: number;
  readonly text: string;
}

/** What a meter has counted since the switch has it. */
export interface MeterCounts {
  readonly id: number;
  readonly packets: number;
  readonly bytes: number;
  readonly droppedPackets: number;
  readonly droppedBytes: number;
}

/** A packet and what a switch is to do with it. */
export interface SwitchPacketOut {
  readonly chassis: string;
  /** What it counts as coming from; default: the controller. */
  readonly inPort?: number | undefined;
  readonly actions: readonly Action[];
  readonly data: Uint8Array;
}

export interface DumpOptions {
  /** Counts it among all that are read. */
  readonly holding: Holding;
  readonly maxBytes: number;
  /** For all of it. Default 120 s, of which 60 s for each part. */
  readonly timeoutMs?: number | undefined;
  /** Of one table alone. */
  readonly table?: number | undefined;
}

/** A port of a switch, OFPMP_PORT_DESC. */
export interface SwitchPort {
  readonly number: number;
  readonly name: string;
  /** Its link is up, and nobody has closed it. */
  readonly live: boolean;
  /** Whether packets leave by it at all: OFPPC_NO_FWD. */
  readonly forwards: boolean;
}

export interface CookieOptions {
  /** Bits of the cookie that count; default: all. Where not all do, the switch looks at every flow of the table. */
  readonly mask?: bigint;
  /** Of this table alone. */
  readonly table?: number;
  /** Those that match this or less alone. */
  readonly match?: Match;
}

/** What a switch needs of its OpenFlow session. */
export interface Session {
  readonly identity: Identity;
  /** Remote "address:port", for people. */
  readonly address: string;
  /** Whether it answers an echo request in time. */
  alive(timeoutMs: number): Promise<boolean>;
  /** Makes first fragments match by their ports and types, instead of as if they had none. */
  showPorts(): void;
  /** OFPMP_FLOW replies with every flow, as they came. */
  flows(options: DumpOptions): Promise<Buffer[]>;
  /** Likewise those with a cookie, which Open vSwitch finds without a look at the others unless there is a mask. @throws OpenFlowError, also where there is no answer soon */
  flowsWith(cookie: bigint, options?: CookieOptions): Promise<Buffer[]>;
  /** Switches without meters or groups answer that part with an error; then there are none. */
  items(): Promise<InstalledItem[]>;
  /** Its ports. @throws OpenFlowError, also where there is no answer soon */
  ports(): Promise<SwitchPort[]>;
  /** Packets that came to a table and matched none of its flows, of each where there are some: OFPMP_TABLE. None where the switch does not say. */
  missed(): Promise<ReadonlyMap<number, number>>;
  /** OFPMP_PORT_STATS of all ports. @throws OpenFlowError, also where there is no answer soon */
  portCounts(): Promise<PortCount[]>;
  /** OFPMP_METER of all meters; none where the switch has no meters. */
  meterCounts(): Promise<MeterCounts[]>;
  setMeter(id: number, meter: Meter, exists: boolean): void;
  removeMeter(id: number): void;
  /** Forgets all connections of a conntrack zone. */
  flushZone(zone: number): void;
  /** Sends an NXT_CT_FLUSH. */
  flush(message: Message): void;
  /** `inPort`: what it counts as coming from; default: the controller. */
  sendPacket(actions: readonly Action[], data: Uint8Array, inPort?: number): void;
  barrier(): Promise<unknown>;
  /**
   * All or nothing. `onRefused` is called for each message that the switch refuses, with its index; `beforeCommit` when nothing was: what it sends comes right before the commit.
   * @throws OpenFlowError OF_PEER_ERROR, with the index of the first message that the switch refused if known; or `unopened`
   */
  bundle(messages: Iterable<Slice>, onRefused: (error: OpenFlowError) => void, beforeCommit?: () => void): Promise<unknown>;
  close(): void;
}
