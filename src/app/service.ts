// Services: what an app does by itself, neither asked by the API nor by a packet. A service starts and stops with the controller and
// has nothing but its host: the same code runs in a simulation under a seed.
import type { Logger } from "pino";
import type { Cancel, Clock } from "../lib/clock.ts";
import type { Random } from "../lib/random.ts";
import type { Endpoint } from "./settings.ts";
import type { DropCount, FlowCounts, PortCount } from "./counting/flow-counts.ts";
import type { Caller, ResourceHandle } from "./api/resource.ts";
import type { PacketIn, PacketOut, StageOut } from "./packets.ts";
import type { OpsCounter } from "./shown.ts";
import type { Scope } from "./rules/scopes.ts";
import type { AnySoftTable, Fact, LiveView } from "./soft-table.ts";
import type { AnyTable, Row, Tx } from "./table.ts";

export type { Cancel, Clock } from "../lib/clock.ts";
export type { Random } from "../lib/random.ts";

export interface ServiceDecl {
  /** Unique in the app; log lines and metrics name it. */
  readonly name: string;
  readonly about: string;
  /**
   * Called once what is stored is compiled and switches may connect. What it returns is called at the stop, in reverse order of the
   * starts; timers, requests and subscriptions of the host end by themselves. A start that throws is logged, and the service is not there.
   */
  start(host: ServiceHost): (() => void | Promise<void>) | undefined;
}

/** A row that came (`before` undefined), changed, or went (`after` undefined). */
export interface RowChange {
  readonly table: AnyTable;
  readonly id: string;
  readonly before: Row | undefined;
  readonly after: Row | undefined;
}

/** What a service takes of packets; more are dropped and counted (`axion_service_packets_dropped_total`). */
export interface PacketLimits {
  /** Packets of one port that wait or are worked on, default 16. */
  readonly perPort?: number;
  /** The same of all ports, default 1024; beyond these as many as of one port of each owner. */
  readonly total?: number;
  /**
   * Whose packet it is, of those that shall not crowd each other out: a project. They take turns, and each of them always has room for as many as one
   * port, and may change something, however much comes and is written because of others. Asked when a packet comes. Default: nobody's.
   */
  readonly owner?: (packet: PacketIn) => string | undefined;
  /** Which port a packet is of: that it comes from (default), or that it is for. */
  readonly port?: "in_port_key" | "out_port_key";
}

export interface FetchOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Until the whole answer is there, default 10 000. */
  readonly timeoutMs?: number;
  /** Longest body of an answer, default 1 MiB. */
  readonly limitBytes?: number;
  /** With the token that Keystone gives the controller, as X-Auth-Token; where callers are not known by Keystone (`--auth`) without any. */
  readonly ownToken?: boolean;
}

export interface FetchAnswer {
  /** Any status is an answer; redirects are not followed. */
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface ExchangeOptions {
  /** Until the answer is there, default 5 000. */
  readonly timeoutMs?: number;
  /** Whether what came back is the answer; default: the first is. What is not is dropped. */
  readonly accept?: (data: Buffer) => boolean;
  /** Ends it before its time (STOPPED). */
  readonly signal?: AbortSignal;
  /** By a TCP connection of its own, each message behind its length in two bytes, as DNS has it (RFC 1035 section 4.2.2). Default: by UDP. */
  readonly overTcp?: boolean;
}

/**
 * What a service has. Everything it hands over to be called later is guarded: what that throws, or rejects with, is logged with app
 * and service and costs that call alone. After the stop nothing is called any more, and nothing can be started.
 */
export interface ServiceHost {
  readonly view: LiveView;
  readonly clock: Pick<Clock, "now" | "monotonic">;
  readonly random: Random;
  readonly log: Logger;
  /** Calls `fn` every so many seconds; while what it returned is not done, its turns are left out. */
  every(seconds: number, fn: () => void | Promise<void>): Cancel;
  /** Calls `fn` once. */
  after(seconds: number, fn: () => void | Promise<void>): Cancel;
  /** Called after commits, once they are compiled, with what changed in these tables, stored or derived, and the generation that is compiled. */
  onCommit(tables: readonly AnyTable[], fn: (changes: readonly RowChange[], generation: number) => void | Promise<void>): Cancel;
  /**
   * The last generation whose flows of a chassis are all confirmed by its switch; 0: none since the start. What `onCommit` tells of has its
   * flows there once this has reached its generation.
   */
  confirmed(chassis: string): number;
  /**
   * Whether the switch of a chassis has all that it should have now; false: it is being told, or its flows are being compared after it came
   * back; undefined: it is not connected.
   */
  synced(chassis: string): boolean | undefined;
  /**
   * Called when a switch has confirmed more. While anybody listens every commit costs a look at each switch: listen as long as you wait
   * for one.
   */
  onConfirmed(fn: (chassis: string, generation: number) => void | Promise<void>): Cancel;
  /**
   * Takes what flows of a table of the app punt, beside the table's handler if it has one. Owners take turns, and ports (by `in_port_key`) of
   * each; the packets of one come in order. A packet is worked on until what `fn` returned is settled: the answer may come later, by `send`.
   * @throws Error when the table is none of the app
   */
  onPacket(table: string, fn: (packet: PacketIn) => void | Promise<void>, limits?: PacketLimits): Cancel;
  /**
   * One atomic change of the model; `what` is what provenance shows as its cause. Called because of a packet (within what `onPacket` calls,
   * what that awaits and an `after` that it sets) it is one of few: 5 at once and 1 a second for each port, 100 and 50 for the service; beyond these 5 and
   * 1 for each owner of packets.
   * @throws whatever `fn` throws (nothing is written then), a store's error, PacketRateError, Error when the service is stopped.
   */
  transact<T>(what: string, fn: (tx: Tx) => T): Promise<{ readonly result: T; readonly generation: number }>;
  /** Sends packets; those of switches that are not connected are dropped. @throws Error naming stage or register of one that cannot be sent */
  send(packets: Iterable<PacketOut | StageOut>): void;
  learn(facts: Iterable<Fact>): void;
  /** One more of a counter that the app lists. @throws Error naming one that it does not list, or a value that the counter has not */
  count<V extends string>(counter: OpsCounter<V>, value: NoInfer<V>): void;
  /** Takes back facts of a table that the app lists; ids of none are passed over. */
  forget(table: AnySoftTable, ids: Iterable<string>): void;
  /** Chassis that have a scope, as last compiled: whose switches get what is emitted into it. */
  having(scope: Scope): Iterable<string>;
  /** Whether a chassis is among them; it costs one look. */
  has(chassis: string, scope: Scope): boolean;
  /** One HTTP request over http: or https:. @throws FetchError; few at a time run, the others of the service wait in a queue of limited length */
  fetch(url: string, options?: FetchOptions): Promise<FetchAnswer>;
  /**
   * Sends one UDP datagram, or one message by TCP, and gives what comes back from where it went: each has a socket, and so a port, of its own.
   * @throws FetchError; 256 of a service are under way at most, others are refused (QUEUE_FULL)
   */
  exchange(to: Endpoint, data: Uint8Array, options?: ExchangeOptions): Promise<Buffer>;
  /** The name servers that this machine asks, in their order. */
  nameServers(): readonly Endpoint[];
  /**
   * What the flows have counted that a rule of the app wants for an entity, on all switches that should have them; one that is equal to another's
   * counts for both. `payer`: who causes it, a project; a switch is asked 100 times a second for each and 500 in all, and beyond that is silent.
   */
  flowCounts(rule: string, entity: string, payer: string): Promise<FlowCounts>;
  /**
   * What flows of all apps' rules that say so (Rule.counts) have counted for a row of a resource, under one counter, on all switches that should have them.
   * Bounded as `flowCounts` is.
   */
  countsOf(resource: string, id: string, counter: string, payer: string): Promise<FlowCounts>;
  /** What the ports of a switch's integration bridge have counted, one answer for all. As often as the caller asks: it has to spare the switch. Undefined: the switch did not say. */
  portCounts(chassis: string): Promise<readonly PortCount[] | undefined>;
  /**
   * What flows of all apps' rules that say so (Rule.drops) have dropped on a switch, of these entities, if the rules run on them: an answer of the switch for
   * each rule and table. As often as the caller asks: it has to spare the switch. Undefined: the switch did not say.
   */
  dropCounts(chassis: string, entities: readonly string[]): Promise<readonly DropCount[] | undefined>;
  /**
   * Called before rows of a resource are shown to a caller who named one of these attributes, which are `onRequest`; the answer waits for what
   * it returns, for 3 seconds at most. Of lists, what is shown of the first 250 rows.
   */
  onAsked<R extends Row>(resource: ResourceHandle<R>, attributes: readonly string[], fn: (rows: readonly R[], caller: Caller) => void | Promise<void>): Cancel;
  /** Whether this controller is the one of all that acts for a chassis: sends its unasked packets. */
  masters(chassis: string): boolean;
  /** Likewise for what belongs to no chassis, by any key. Actions are idempotent all the same: for a moment two may believe it. */
  acts(key: string): boolean;
  /**
   * Called when what this controller acts for may be more or less than before: another one came or went. What has to be done is then looked for anew,
   * as whoever acted for it before may have ended in the midst.
   */
  onShare(fn: () => void | Promise<void>): Cancel;
}

/** A change because of a packet that was one too many; nothing was written. */
export class PacketRateError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "PacketRateError";
  }
}

/** Why an outbound request has no answer. */
export class FetchError extends Error {
  readonly code: "INVALID" | "TIMEOUT" | "TOO_LARGE" | "UNREACHABLE" | "QUEUE_FULL" | "STOPPED";

  constructor(code: FetchError["code"], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "FetchError";
    this.code = code;
  }
}
