// What the southbound layer is started with.
import type { App, PacketOut } from "#app";
import type { Logger } from "pino";
import type { Desired, Flow } from "../compiler/desired.ts";
import type { Clock } from "../lib/clock.ts";
import type { HookGuard } from "../lib/hook-guard.ts";
import type { Metrics } from "../lib/metrics.ts";
import type { Lineage } from "../model/lineage.ts";
import type { Problem } from "../lib/problem.ts";
import type { Random } from "../lib/random.ts";
import type { SwitchPacketOut } from "./openflow/channel.ts";
import type { CountedFlows } from "./openflow/switch-types.ts";
import type { FlowEffects } from "./openflow/withdrawal.ts";
import type { ClusterPort } from "./cluster/port.ts";
import type { RawPacketIn } from "./openflow/session.ts";
import type { FactKeeper } from "./ovsdb/observer.ts";
import type { ModelPort } from "./ovsdb/progress.ts";

export interface HostPort {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

export interface SouthboundConfig {
  readonly openflow: HostPort;
  readonly ovsdb: HostPort;
  /** Address that is configured on switches for OpenFlow; without it, the one their database connected to. */
  readonly advertise?: string | undefined;
  /** PEM: both ports speak TLS only, and peers must have a certificate of the CA. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer; readonly ca: string | Buffer } | undefined;
  /** How often a switch is compared with the desired state, default 60 s; 0 = never. */
  readonly auditIntervalMs?: number | undefined;
  /** Nothing is written to a switch or its database. */
  readonly shadow?: boolean | undefined;
  /** Tells this controller's rows on a switch from another controller's, default "axion". */
  readonly controllerId?: string | undefined;
  /** Connections at a time on each port, default 4096. */
  readonly maxConnections?: number | undefined;
  /** Connections to one port from one address that are no host's yet, default 128. */
  readonly unprovedPerAddress?: number | undefined;
  /** Until a peer must have identified itself, default 10 s. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** How long a session may take to answer whether it is alive, when another one claims to be the same host, default 5 s. */
  readonly probeTimeoutMs?: number | undefined;
  /** How long a switch may stay connected without its database, default 60 s. */
  readonly unknownSwitchTimeoutMs?: number | undefined;
  /** How long a database may stay connected without a system-id, default 60 s. */
  readonly unnamedMs?: number | undefined;
  /** Switches that are compared at a time, default 16. */
  readonly syncLimit?: number | undefined;
  /** Changed flows that may wait for one switch, default 200 000; beyond, it is compared anew. */
  readonly pendingLimit?: number | undefined;
  /** Packets that may wait for one switch, default 1000. */
  readonly packetInLimit?: number | undefined;
}

/** A packet that a switch sent up, before anybody knows what table and registers mean. */
export interface SwitchPacketIn extends RawPacketIn {
  readonly chassis: string;
  /** By one that is not the switch's master. */
  readonly heard?: boolean;
}

export interface SouthboundOptions {
  readonly model: ModelPort;
  readonly desired: Desired;
  readonly apps: readonly App[];
  readonly config: SouthboundConfig;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  /** By which every hook of an app is called. */
  readonly guard: HookGuard;
  /** Where what apps observe of hosts is kept; default: nowhere, and nothing is observed. */
  readonly facts?: FactKeeper | undefined;
  /** What comes along with flows; default: nothing. */
  readonly effects?: FlowEffects | undefined;
  /** Flows that are counted beyond their end; default: none. */
  readonly counting?: CountedFlows | undefined;
  /** What the store has told switches; default: whatever is stored is taken for all that was. */
  readonly lineage?: Pick<Lineage, "mark" | "has"> | undefined;
  /** Of several controllers: which of them is the master of a switch. Default: there is no other. */
  readonly cluster?: ClusterPort | undefined;
  /** API resources because of which a flow exists, for problems. */
  readonly resourcesOf?: ((flow: Flow) => Problem["resources"]) | undefined;
  /** Names of tables, for people. */
  readonly tableName?: ((id: number) => string | undefined) | undefined;
  /** In a shadow: a switch was looked at, and would be held because of `hold`. */
  readonly looked?: ((chassis: string, hold: string | undefined) => void) | undefined;
  /** Of several controllers: tables whose packets are heard at switches of which another one is the master, and what is done with them. */
  readonly hearing?: { readonly tables: ReadonlySet<number>; readonly hear: (packet: SwitchPacketIn) => void } | undefined;
  readonly onPacketIn: (packet: SwitchPacketIn) => readonly (PacketOut | SwitchPacketOut)[];
}
