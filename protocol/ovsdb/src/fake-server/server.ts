/**
 * A test double of ovsdb-server 3.1 (package entry "ovsdb-client/fake-server"): a real database in memory behind real
 * sockets, to be started in a test in a millisecond, looked into, and broken on purpose. What is on disk in the other one
 * (files, logs, Raft) is not here; a cluster is several of these servers on the same tables.
 *
 *     const server = new FakeOvsdbServer({ databases: [{ schema, rows: { Bridge: [{ name: "br0" }] } }] });
 *     const { port } = await server.listen({ host: "127.0.0.1" });
 *     ...
 *     await server.close();
 */

import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

import { OvsdbError } from "../wire/errors.ts";
import type { Json, JsonObject } from "../wire/json.ts";
import { Database, type Follower, type UuidPurpose, type UuidSource } from "./database.ts";
import { datumToJson, scalar, type Datum } from "./datum.ts";
import { Faults } from "./faults.ts";
import { Locks } from "./locks.ts";
import { sortedText } from "./parse.ts";
import { schemaFromJson, SERVER_SCHEMA } from "./schema.ts";
import { Session, type SessionHost } from "./session.ts";
import type { Table } from "./table.ts";
import { decodeResults, encodeOperations, insert, type InputRow, type Operation, type OperationResult } from "../session/transact.ts";
import { decodeValue, type Value } from "../schema/values.ts";

export { Faults } from "./faults.ts";
export type { UuidPurpose } from "./database.ts";

export interface FakeDatabase {
  /** As in a .ovsschema file or a get_schema reply. */
  readonly schema: Json;
  /** Rows to begin with, by table, in one transaction; `_uuid` sets a row's UUID, so that others may refer to it. */
  readonly rows?: Readonly<Record<string, readonly InputRow[]>> | undefined;
  /** Default "standalone". A clustered database gives its transactions ids and knows the last of them. */
  readonly model?: "standalone" | "clustered" | undefined;
}

export interface FakeServerOptions {
  readonly databases?: readonly FakeDatabase[] | undefined;
  /** Serve the clustered databases of this server too, as a follower. */
  readonly join?: FakeOvsdbServer | undefined;
  /**
   * How many transactions of a clustered database are known to monitor_cond_since. By default as ovsdb-server does it:
   * 100, fewer when they are larger than the database.
   */
  readonly historyLength?: number | undefined;
  /** Longest message taken, in bytes. Default 64 MiB. */
  readonly maxMessageBytes?: number | undefined;
  /** Bytes that may wait to be sent on a connection before it is cut. Default 64 MiB. */
  readonly maxQueuedBytes?: number | undefined;
  /** Silence, in ms, after which a client is sent an echo request, and cut when it is silent as long again; 0 = never. Default 5000. */
  readonly probeIntervalMs?: number | undefined;
  /** Where UUIDs come from; random by default. For tests that want the same ones each time. */
  readonly newUuid?: ((purpose: UuidPurpose) => string) | undefined;
}

/** A row as the client's replica would have it, with its UUID. */
export type FakeRow = Readonly<Record<string, Value>> & { readonly _uuid: string };

export interface FakeServerEvents {
  /** A message that came in or went out; `connection` counts connections from 0. */
  message: [connection: number, direction: "in" | "out", message: JsonObject];
  /** A connection was made, by either side. */
  connection: [connection: number];
  /** A connection has ended. */
  disconnect: [connection: number];
}

/** An active connection, as a switch with a manager makes them: made again, when it is lost, until it is closed. */
export interface ActiveConnection {
  /** Whether there is a connection now. */
  readonly connected: boolean;
  close(): void;
}

export type Target = { readonly host: string; readonly port: number } | { readonly path: string };

/** What servers of one cluster have in common. */
interface Cluster {
  readonly databases: Map<string, Database>;
  readonly members: Set<FakeOvsdbServer>;
  leader: FakeOvsdbServer | undefined;
  readonly id: string;
}

const MIB = 1 << 20;

export class FakeOvsdbServer extends EventEmitter<FakeServerEvents> {
  readonly faults = new Faults();
  readonly serverId: string;
  readonly #newUuid: UuidSource;
  readonly #databases = new Map<string, Database>();
  readonly #status: Database;
  readonly #cluster: Cluster;
  /** UUIDs of the rows of _Server's Database table, by database. */
  readonly #statusRows = new Map<string, string>();
  readonly #clusterMemberId: string;
  #connected = true;
  readonly #locks = new Locks();
  readonly #sessions = new Map<Session, number>();
  #connections = 0;
  readonly #listeners = new Set<Server>();
  readonly #active = new Set<ActiveConnection>();
  readonly #followed: [Database, Follower][] = [];
  readonly #host: SessionHost;
  #closed = false;

  /** @throws OvsdbError for a schema or rows that ovsdb-server would refuse */
  constructor(options: FakeServerOptions = {}) {
    super();
    this.#newUuid = options.newUuid ?? (() => randomUUID());
    this.serverId = this.#newUuid("server");
    this.#clusterMemberId = this.#newUuid("server");
    this.#status = new Database({ schema: SERVER_SCHEMA, clustered: false, newUuid: this.#newUuid });
    this.#cluster = options.join === undefined
      ? { databases: new Map(), members: new Set(), leader: this, id: this.#newUuid("server") } : options.join.#cluster;
    this.#cluster.members.add(this);
    for (const { schema, rows, model } of options.databases ?? []) {
      const parsed = schemaFromJson(schema), clustered = model === "clustered";
      if (parsed.name.startsWith("_") || this.#databases.has(parsed.name)) throw new OvsdbError("duplicate database", { details: parsed.name });
      const database = new Database({ schema: parsed, clustered, newUuid: this.#newUuid, historyLength: options.historyLength });
      this.#databases.set(parsed.name, database);
      if (clustered) this.#cluster.databases.set(parsed.name, database);
      this.#fill(database, rows ?? {});
    }
    for (const [name, database] of this.#cluster.databases) this.#databases.set(name, database);
    for (const database of this.#databases.values()) {
      const follower: Follower = {
        committed: () => { if (database.clustered) queueMicrotask(() => this.#updateStatus()); },
        // of a stand-alone database ovsdb-server 3.1 goes on telling the schema it began with
        converted: () => { if (database.clustered) this.#updateStatus(database.name); },
      };
      database.follow(follower);
      this.#followed.push([database, follower]);
      if (database.clustered) database.setWritable(() => this.#cluster.leader !== undefined);
    }
    this.#databases.set("_Server", this.#status);
    this.#updateStatus();
    this.#host = {
      databases: this.#databases, locks: this.#locks, faults: this.faults, serverId: this.serverId,
      maxMessageBytes: options.maxMessageBytes ?? 64 * MIB, maxQueuedBytes: options.maxQueuedBytes ?? 64 * MIB,
      probeIntervalMs: options.probeIntervalMs ?? 5000,
      schemaChanged: () => {
        for (const member of this.#cluster.members) member.#endUnaware();
      },
      observed: (session, direction, message) => this.emit("message", this.#sessions.get(session) ?? -1, direction, message),
      ended: (session) => {
        const connection = this.#sessions.get(session);
        if (this.#sessions.delete(session)) this.emit("disconnect", connection!);
      },
    };
  }

  /** Connections open now. */
  get connections(): number { return this.#sessions.size; }

  /** Transactions that wait for a condition, a leader or a cancel. */
  get waiting(): number { return [...this.#databases.values()].reduce((sum, database) => sum + database.waiting, 0); }

  /** Takes connections at a TCP port (0 or none: a free one) or a Unix socket; gives the target for a client. May be called several times. */
  async listen(where: { readonly host?: string; readonly port?: number } | { readonly path: string } = {}): Promise<{ readonly host: string; readonly port: number; readonly path: string }> {
    const server = createServer((socket) => { this.serve(socket); });
    if ("path" in where) server.listen(where.path);
    else server.listen(where.port ?? 0, where.host ?? "127.0.0.1");
    await once(server, "listening");
    this.#listeners.add(server);
    const address = server.address() as AddressInfo | string;
    return typeof address === "string" ? { host: "", port: 0, path: address } : { host: address.address, port: address.port, path: "" };
  }

  /** Connects to a client that listens, as a switch connects to its manager; `retryMs` after a connection ended it is made again. */
  connectTo(target: Target, { retryMs = 100 }: { readonly retryMs?: number } = {}): ActiveConnection {
    let closed = false, session: Session | undefined, timer: NodeJS.Timeout | undefined;
    const again = (): void => {
      session = undefined;
      if (!closed) timer = setTimeout(open, retryMs);
    };
    const open = (): void => {
      const socket = "path" in target ? connect(target.path) : connect(target.port, target.host);
      socket.once("connect", () => {
        if (closed) { socket.destroy(); return; }
        session = this.serve(socket);
      });
      socket.on("error", () => undefined);
      socket.once("close", again);
    };
    const active: ActiveConnection = {
      get connected() { return session !== undefined; },
      close: () => {
        closed = true;
        clearTimeout(timer);
        this.#active.delete(active);
        session?.end();
      },
    };
    this.#active.add(active);
    open();
    return active;
  }

  /** Serves a client at the other end of a connection that somebody made. */
  serve(socket: Socket): Session {
    socket.setNoDelay(true);
    const session = new Session(this.#host, socket);
    this.#sessions.set(session, this.#connections);
    this.emit("connection", this.#connections++);
    return session;
  }

  /** Closes connections and listeners; waiting transactions are forgotten. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const active of [...this.#active]) active.close();
    const closing = [...this.#listeners].map((server) => once(server, "close"));
    for (const server of this.#listeners) server.close();
    for (const session of [...this.#sessions.keys()]) session.cut();
    for (const [database, follower] of this.#followed) database.unfollow(follower);
    this.#cluster.members.delete(this);
    if (this.#cluster.leader === this) this.#elect(undefined);
    this.#status.close();
    for (const database of this.#databases.values()) if (!database.clustered || this.#cluster.members.size === 0) database.close();
    await Promise.all(closing);
  }

  /** Cuts all connections, as a restart would. */
  disconnectAll(): void {
    for (const session of [...this.#sessions.keys()]) session.cut();
  }

  /**
   * Runs a transaction as if a client had sent it; locks are not held. The updates have been sent when it resolves.
   * @throws OvsdbError with `opIndex`, the operation refused; OvsdbValueError when one does not fit the schema
   */
  async transact(db: string, operations: readonly Operation[]): Promise<OperationResult[]> {
    const { schema } = this.#database(db);
    return decodeResults(schema, operations, await this.transactJson(db, encodeOperations(schema, operations)));
  }

  /** As `transact`, with operations and results as they are on the wire (RFC 7047 section 4.1.3). */
  transactJson(db: string, operations: readonly Json[]): Promise<readonly Json[]> {
    return new Promise((resolve, reject) => {
      this.#database(db).submit({
        operations, ownsLock: () => false,
        done: (results) => {
          if (results === undefined) reject(new OvsdbError("canceled"));
          else resolve(results);
        },
      });
    });
  }

  /** The rows of a table now, in no order that means anything. @throws OvsdbError */
  rows(db: string, table: string): readonly FakeRow[] {
    const found = this.#table(db, table);
    return [...found.rows.values()].map((row) => {
      const values = found.columns.filter(({ name }) => name !== "_uuid")
        .map(({ name, index, type }): [string, Value] => [name, decodeValue(type, datumToJson(type, row.cells[index]!))]);
      return { ...Object.fromEntries(values), _uuid: row.uuid };
    });
  }

  /** Changes a database's schema as a convert request does. @throws OvsdbError when rows do not fit it */
  convert(db: string, schema: Json): void {
    const parsed = schemaFromJson(schema);
    if (parsed.name !== db) throw new OvsdbError("invalid parameters", { details: `new schema name (${parsed.name}) does not match database name (${db})` });
    this.#database(db).convert(parsed);
    this.#host.schemaChanged();
  }

  /**
   * Makes this server the leader of its cluster, or leaves the cluster without one: transactions on clustered databases
   * wait then. `_Server` tells clients.
   */
  setLeader(leader: boolean): void {
    if (leader) this.#elect(this);
    else if (this.#cluster.leader === this) this.#elect(undefined);
  }

  /** Whether this server is in contact with its cluster, as `_Server` has it. */
  setConnected(connected: boolean): void {
    this.#connected = connected;
    this.#updateStatus();
  }

  #elect(leader: FakeOvsdbServer | undefined): void {
    this.#cluster.leader = leader;
    for (const member of this.#cluster.members) member.#updateStatus();
    for (const database of this.#cluster.databases.values()) database.wake();
  }

  #database(name: string): Database {
    const database = this.#databases.get(name);
    if (database === undefined) throw new OvsdbError("unknown database", { details: `no database ${name}` });
    return database;
  }

  #table(db: string, name: string): Table {
    const table = this.#database(db).tables.get(name);
    if (table === undefined) throw new OvsdbError("unknown table", { details: `no table ${name} in database ${db}` });
    return table;
  }

  #fill(database: Database, rows: Readonly<Record<string, readonly InputRow[]>>): void {
    const operations = Object.entries(rows).flatMap(([table, list]) =>
      list.map(({ _uuid: uuid, ...row }) => insert(table, row, typeof uuid === "string" ? { uuid } : {})));
    if (operations.length === 0) return;
    database.submit({
      operations: encodeOperations(database.schema, operations), ownsLock: () => false,
      done: (results) => { decodeResults(database.schema, operations, results); }, // throws what was refused
    });
  }

  #endUnaware(): void {
    for (const session of [...this.#sessions.keys()]) if (!session.changeAware) session.end();
  }

  // ---- the _Server database -----------------------------------------------------------------------------------------

  /** `converted`: the database whose schema is to be told again. */
  #updateStatus(converted?: string): void {
    if (this.#closed) return;
    const table = this.#status.tables.get("Database")!;
    this.#status.change((transaction) => {
      for (const [name, database] of this.#databases) {
        const known = this.#statusRows.get(name), row = known === undefined ? undefined : table.rows.get(known);
        const cells: Datum[] = row === undefined ? table.blank() : [...row.cells];
        const put = (column: string, value: string | number | boolean | undefined): void => {
          cells[table.byName.get(column)!.index] = value === undefined ? { keys: [] } : scalar(value);
        };
        put("name", name);
        put("model", database.clustered ? "clustered" : "standalone");
        put("connected", !database.clustered || this.#connected);
        put("leader", !database.clustered || this.#cluster.leader === this);
        put("cid", database.clustered ? this.#cluster.id : undefined);
        put("sid", database.clustered ? this.#clusterMemberId : undefined);
        put("index", database.clustered ? database.index : undefined);
        if (row === undefined || name === converted) put("schema", sortedText(database.schemaJson));
        if (row === undefined) {
          const uuid = this.#newUuid("row");
          this.#statusRows.set(name, uuid);
          transaction.insert(table, uuid, cells);
        } else {
          transaction.modify(table, row, cells);
        }
      }
    });
  }
}
