/** What a client is made with, the states it can be in and the events it tells of. What it does is client.ts. */

import type { ConnectionOptions } from "node:tls";

import type { BackoffOptions } from "./backoff.ts";
import type { AttachReport, Conditions } from "../replica/replica.ts";
import type { AnyTables, ColumnChoice, DatabaseDefinition, Tables } from "../replica/tables.ts";
import type { ConnectOptions, ConnectTarget } from "../session/connect.ts";
import type { TransactOptions } from "../session/options.ts";
import type { RowChange } from "../session/rows.ts";
import type { OvsdbError } from "../wire/errors.ts";

export interface ClientOptions<D extends Tables<D> = AnyTables> extends Omit<ConnectOptions, "signal">, BackoffOptions {
  /** As Open vSwitch spells them, with commas between, or targets: "tcp:10.0.0.1:6641,tcp:10.0.0.2:6641". */
  readonly remotes: string | readonly (string | ConnectTarget)[];
  /** Its name, or the definition of a generated module. */
  readonly database: string | DatabaseDefinition<D>;
  /** The columns to follow by table. Default: all of the definition, none without one. What is left out reads as undefined. */
  readonly tables?: ColumnChoice<NoInfer<D>> | undefined;
  /** The rows to follow at first; see Replica.setConditions. */
  readonly where?: Conditions | undefined;
  /** Stay with the leader of a clustered database only. Default true; false takes any member that is in touch with the cluster, and relays. */
  readonly leaderOnly?: boolean | undefined;
  /** The UUID of the cluster to talk to; default: the first one met. */
  readonly clusterId?: string | undefined;
  /** Key, certificate and authority for `ssl:` remotes. */
  readonly tls?: ConnectionOptions | undefined;
  /** Begin with a random one of the remotes, so that many clients spread. Default true. */
  readonly shuffle?: boolean | undefined;
}

/**
 * `connecting`: looking for a server. `syncing`: has one, rows are being brought up to date. `ready`: rows are those of
 * the server. `waiting`: no server was right, a pause. `closed`: for good.
 */
export type ClientState = "connecting" | "syncing" | "ready" | "waiting" | "closed";

export interface ClientEvents {
  /** A new state; `reason` is why the last session ended or the last round failed. */
  state: [state: ClientState, reason: Error | undefined];
  /** A server that could not be used, and why. The next one is tried. */
  failed: [remote: string, reason: Error];
  /** The rows followed changed: one transaction, or all that happened while there was no session. */
  change: [changes: readonly RowChange[]];
  /** The rows are those of the server, at the first time and after every change of server. */
  synced: [report: AttachReport];
  /** The rows may be out of date from here on. */
  lost: [reason: OvsdbError | undefined];
}

export interface UpdateOptions extends TransactOptions {
  /** Attempts until the conflict is given up; default 20. */
  readonly attempts?: number | undefined;
}
