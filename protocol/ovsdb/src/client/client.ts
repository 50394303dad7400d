/**
 * A client that stays connected to a database: over a list of servers, to the leader of a cluster if it wants to write,
 * with rows that survive every change of server. One loop does it all:
 *
 *     next server -> session -> _Server: is it the right one? -> replicas attached, locks asked for -> ready
 *         ^                                                                                             |
 *         +---- pause, after a round in vain <---- the session ended, or the server is no longer right -+
 *
 * Rows are resumed by the last transaction id where the server has it (replica.ts). A transaction that was under way is
 * never sent again: whether it was committed is not known, and it fails with OvsdbOutcomeError.
 */

import { EventEmitter, once } from "node:events";

import { Backoff, sleep } from "./backoff.ts";
import { connect } from "../session/connect.ts";
import { OvsdbConnectionError, OvsdbError, OvsdbOutcomeError } from "../wire/errors.ts";
import { OvsdbLock } from "./lock.ts";
import { memberOf, unsuitable, watchMember, type Member } from "./member.ts";
import type { Monitor } from "../session/monitor.ts";
import type { ClientEvents, ClientOptions, ClientState, UpdateOptions } from "./options.ts";
import { Transaction, type Committed } from "../replica/optimistic.ts";
import { parseRemotes, targetName, type Remote } from "../session/remotes.ts";
import { Replica, type Conditions } from "../replica/replica.ts";
import type { TransactOptions } from "../session/options.ts";
import type { OvsdbSession } from "../session/session.ts";
import { Table, type AnyTables, type RowOf, type TableName, type Tables } from "../replica/tables.ts";
import type { Operation, OperationResult } from "../session/transact.ts";

/** Transactions that are under way when the server is to be left have this long to be answered, in ms. */
const DRAIN_MS = 1000;

export class OvsdbClient<D extends Tables<D> = AnyTables> extends EventEmitter<ClientEvents> {
  readonly database: string;
  /** The rows; also for what is not here, e.g. a listener of its own. */
  readonly replica: Replica;
  readonly #options: ClientOptions<D>;
  readonly #remotes: readonly Remote[];
  readonly #replicas = new Set<Replica>();
  readonly #locks = new Map<string, OvsdbLock>();
  readonly #closing = new AbortController();
  readonly #backoff: Backoff;
  readonly #done: Promise<void>;
  #next = 0;
  #state: ClientState = "connecting";
  #session: OvsdbSession | undefined;
  #remote: Remote | undefined;
  #member: Member | undefined;
  #clusterId: string | undefined;
  /** Of the cluster with #clusterId: who has less would show the past. */
  #minIndex: number | bigint = 0;
  /** Whether the server in use was ever right. */
  #wasReady = false;
  #lastFailure: Error | undefined;
  /** Transactions under way. */
  #inFlight = 0;
  /** Attempts after a conflict go one at a time: those of one client must not defeat each other. */
  #retrying: Promise<unknown> = Promise.resolve();

  /** Begins to connect at once. @throws OvsdbValueError for remotes that are none */
  constructor(options: ClientOptions<D>) {
    super();
    const { database } = options;
    this.#options = options;
    this.#remotes = typeof options.remotes === "string" ? parseRemotes(options.remotes, options.tls)
      : options.remotes.flatMap((remote) => (typeof remote === "string" ? parseRemotes(remote, options.tls) : [{ name: targetName(remote), target: remote }]));
    this.#backoff = new Backoff(options);
    this.setMaxListeners(0); // everyone who waits for a server is one
    if (options.shuffle !== false) this.#next = Math.floor((options.random ?? Math.random)() * this.#remotes.length);
    this.database = typeof database === "string" ? database : database.name;
    const columns: object = options.tables ?? (typeof database === "string" ? {} : database.tables);
    this.replica = new Replica(this.database, columns as Readonly<Record<string, readonly string[]>>, { where: options.where });
    this.replica.on("change", (changes) => this.emit("change", changes));
    this.replica.on("synced", (report) => this.emit("synced", report));
    this.replica.on("lost", (reason) => this.emit("lost", reason));
    this.#add(this.replica);
    this.#done = Promise.resolve().then(() => this.#run());
  }

  get state(): ClientState { return this.#state; }

  /** The session in use; it may end at any time. undefined while there is none. */
  get session(): OvsdbSession | undefined { return this.#state === "ready" && this.#session?.open === true ? this.#session : undefined; }

  /** The server in use, as it was named. */
  get remote(): string | undefined { return this.#remote?.name; }

  /** What the server says of itself; undefined without one, or when it is too old to say. */
  get member(): Member | undefined { return this.#member; }

  /** The rows of a table that is followed. */
  table<T extends TableName<D>>(name: T): Table<RowOf<D, T>> {
    return new Table(name, this.replica.table(name));
  }

  /**
   * Resolves when the rows are those of the server, at once if they are.
   * @throws OvsdbConnectionError "closed"; "no server" after `timeoutMs`, with the last failure as cause; OvsdbError
   * "canceled" by `signal`
   */
  async ready(options: { readonly timeoutMs?: number | undefined; readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.session !== undefined) return;
    const timeout = options.timeoutMs === undefined ? undefined : AbortSignal.timeout(options.timeoutMs);
    const given = [timeout, options.signal].filter((signal) => signal !== undefined);
    const signal = AbortSignal.any([this.#closing.signal, ...given]);
    while (this.session === undefined) {
      if (this.#closing.signal.aborted) throw new OvsdbConnectionError("closed");
      if (options.signal?.aborted === true) throw new OvsdbError("canceled");
      if (signal.aborted) throw new OvsdbConnectionError("no server", this.#lastFailure?.message, this.#lastFailure);
      await once(this, "state", { signal }).catch(() => undefined);
    }
  }

  /** Follows other rows of the tables named; see Replica.setConditions. */
  setConditions(conditions: Conditions): Promise<void> {
    return this.replica.setConditions(conditions);
  }

  /** Keeps one more replica, of any database of the server, attached to whatever server is in use. Resolves when its rows are there. */
  async attach(replica: Replica): Promise<void> {
    this.#add(replica);
    const session = this.session;
    if (session !== undefined) replica.attach(session).catch((error: unknown) => this.#failed(session, error));
    while (!replica.synced) {
      if (this.#closing.signal.aborted || !this.#replicas.has(replica)) throw new OvsdbConnectionError("closed");
      await once(replica, "synced", { signal: this.#closing.signal }).catch(() => undefined);
    }
  }

  /** Lets go of a replica of attach(). */
  detach(replica: Replica): void {
    if (replica === this.replica || !this.#replicas.delete(replica)) return;
    replica.detach();
  }

  /** A lock, asked for now and on every new session; the same object while it is not released. */
  lock(id: string): OvsdbLock {
    let lock = this.#locks.get(id);
    if (lock === undefined) {
      this.#locks.set(id, lock = new OvsdbLock(id, () => this.#locks.delete(id)));
      if (this.session !== undefined) lock.follow(this.session);
    }
    return lock;
  }

  /**
   * Runs a transaction once; when it resolves, the rows show its effects.
   * @throws OvsdbConnectionError "not connected" while there is no server; OvsdbOutcomeError when the session ended before
   * the answer; else as OvsdbSession.transact
   */
  async transact(operations: readonly Operation[], options: TransactOptions = {}): Promise<OperationResult[]> {
    const session = this.session;
    if (session === undefined) throw new OvsdbConnectionError("not connected", `no server of ${this.database} is in use`, this.#lastFailure);
    this.#inFlight++;
    try {
      return await session.transact(this.database, operations, options);
    } finally {
      this.#inFlight--;
    }
  }

  /**
   * Changes rows depending on what they are: `change` reads and writes through its argument, and runs again on newer rows
   * when another client was faster (see optimistic.ts); it must have no effects of its own. Waits for a server as long as
   * nothing was sent. When it resolves, the rows show the change.
   * @throws what `change` throws; OvsdbOutcomeError, never repeated; OvsdbError "timed out" when all attempts were in vain;
   * else as transact
   */
  async update<R>(change: (tx: Transaction<D>) => R | Promise<R>, options: UpdateOptions = {}): Promise<Committed<R>> {
    const first = await this.#attempt(change, 1, options);
    if (!(first instanceof Conflict)) return first;
    const retried = this.#retrying.then(() => this.#retry(change, first, options));
    this.#retrying = retried.catch(() => undefined);
    return retried;
  }

  /** Ends the session and every wait; resolves when it is over. The rows stay as they are. */
  async close(): Promise<void> {
    if (!this.#closing.signal.aborted) {
      this.#closing.abort();
      await this.#session?.close();
    }
    await this.#done;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ---- updates ------------------------------------------------------------------------------------------------------

  async #retry<R>(change: (tx: Transaction<D>) => R | Promise<R>, first: Conflict, options: UpdateOptions): Promise<Committed<R>> {
    const pause = new Backoff({ minBackoffMs: 10, maxBackoffMs: 1000, random: this.#options.random });
    let conflict = first;
    for (let attempt = 2; attempt <= (options.attempts ?? 20); attempt++) {
      // the change that was in the way has usually arrived already; a member that lags behind needs a moment
      if (this.replica.revision === conflict.revision) await this.#changed(pause.next());
      const result = await this.#attempt(change, attempt, options);
      if (!(result instanceof Conflict)) return result;
      conflict = result;
    }
    throw conflict.error;
  }

  /** Resolves at the next change of the rows, but after `ms` in any case. */
  async #changed(ms: number): Promise<void> {
    await once(this.replica, "change", { signal: AbortSignal.any([AbortSignal.timeout(ms), this.#closing.signal]) }).catch(() => undefined);
  }

  /** Runs `change` and commits; again, without counting, when the session ended before anything was sent. */
  async #attempt<R>(change: (tx: Transaction<D>) => R | Promise<R>, attempt: number, options: UpdateOptions): Promise<Committed<R> | Conflict> {
    for (;;) {
      await this.ready({ signal: options.signal });
      const session = this.#session!;
      const schema = this.replica.report!.schema;
      const { revision } = this.replica;
      const tx = new Transaction<D>(this.replica, schema, attempt);
      const value = await change(tx);
      const { operations, first } = tx.compose();
      const committed = (results: readonly OperationResult[]): Committed<R> => ({
        value, attempts: attempt, sent: operations.length > 0, results: results.slice(first),
        uuid: (inserted) => {
          const uuid = tx.resolve(inserted.namedUuid, results, first);
          if (uuid === undefined) throw new OvsdbError("unknown row", { details: `${inserted.namedUuid} was not inserted by this transaction` });
          return uuid;
        },
      });
      if (operations.length === 0) return committed([]);
      if (this.session !== session) continue; // the rows read may be of another server than the one that would get it
      try {
        return committed(await this.transact(operations, options));
      } catch (error) {
        if (error instanceof OvsdbError && error.code === "timed out" && error.opIndex !== undefined && error.opIndex < first) return new Conflict(error, revision);
        const unsent = error instanceof OvsdbConnectionError && !(error instanceof OvsdbOutcomeError) && error.code !== "queue full";
        if (!unsent || session.open) throw error;
      }
    }
  }

  // ---- staying connected --------------------------------------------------------------------------------------------

  async #run(): Promise<void> {
    let tried = 0;
    while (!this.#closing.signal.aborted) {
      const remote = this.#remotes[this.#next % this.#remotes.length]!;
      this.#next = (this.#next + 1) % this.#remotes.length;
      this.#become("connecting");
      const sinceMs = performance.now();
      const reason = await this.#use(remote).catch((error: unknown) => error as Error);
      const wasReady = this.#wasReady;
      this.#session = undefined;
      this.#remote = undefined;
      this.#member = undefined;
      if (this.#closing.signal.aborted) break;
      this.#lastFailure = reason;
      // a server that lasts no longer than the pause would is one that fails
      if (wasReady && performance.now() - sinceMs > this.#backoff.limitMs) {
        this.#backoff.reset();
        tried = 0;
      } else {
        tried++;
        if (!wasReady) this.#tell(() => this.emit("failed", remote.name, reason));
      }
      if (tried >= this.#remotes.length) {
        tried = 0;
        this.#become("waiting", reason);
        await sleep(this.#backoff.next(), this.#closing.signal);
      }
    }
    this.#become("closed", this.#lastFailure);
  }

  /** Uses one server until its session ends or it is no longer right; resolves with why. */
  async #use(remote: Remote): Promise<Error> {
    this.#wasReady = false;
    const session = await connect(remote.target, { ...this.#options, signal: this.#closing.signal });
    this.#session = session;
    const ended = new Promise<Error>((resolve) => {
      session.once("close", (given) => {
        const reason = given ?? new OvsdbConnectionError("closed");
        if (!this.#closing.signal.aborted) this.#become("connecting", reason);
        resolve(reason);
      });
    });
    this.#remote = remote;
    try {
      const monitor = await watchMember(session, this.database);
      if (monitor !== undefined) this.#watch(session, monitor);
      this.#become("syncing");
      for (let behind = [...this.#replicas]; behind.length > 0; behind = [...this.#replicas].filter((replica) => replica.session !== session)) {
        await Promise.all(behind.map((replica) => replica.attach(session)));
      }
      if (this.replica.tables.length === 0) await this.#feelSchema(session);
      for (const lock of this.#locks.values()) lock.follow(session);
      if (session.open) this.#become("ready");
    } catch (error) {
      // when the session ended meanwhile, that says more than the request which failed with it
      if (session.open) session.abort(error instanceof OvsdbError ? error : new OvsdbError("bug", { cause: error }));
    }
    return ended;
  }

  /** Leaves a server as soon as it is not, or no longer, the right one. @throws OvsdbConnectionError when it is not from the start */
  #watch(session: OvsdbSession, monitor: Monitor): void {
    const judge = (): OvsdbConnectionError | undefined => {
      const wanted = this.#options.clusterId;
      const member = memberOf(monitor, wanted);
      if (member === undefined) return new OvsdbConnectionError("unsuitable server", `it has no database ${this.database}${wanted === undefined ? "" : ` of cluster ${wanted}`}`);
      this.#member = member;
      if (member.clusterId !== this.#clusterId) this.#minIndex = 0;
      this.#clusterId = member.clusterId;
      const fault = unsuitable(member, this.#options.leaderOnly !== false, this.#minIndex);
      if (fault !== undefined) return new OvsdbConnectionError(fault.code, fault.details);
      if (member.index !== undefined) this.#minIndex = member.index;
      return undefined;
    };
    const fault = judge();
    if (fault !== undefined) throw fault;
    monitor.on("update", () => {
      const reason = judge();
      if (reason !== undefined) void this.#drain(session, reason);
    });
    monitor.on("end", (reason) => { if (session.open) session.abort(reason); });
  }

  /** Who follows no table learns of a new schema from a monitor of no row: it is canceled then, and the session forgets the old one. */
  async #feelSchema(session: OvsdbSession): Promise<void> {
    const [table] = (await session.getSchema(this.database)).tables.keys();
    if (table === undefined) return;
    const monitor = await session.monitor(this.database, { [table]: { columns: [], where: [false] } });
    monitor.once("end", (reason) => {
      if (reason.code === "canceled") this.#feelSchema(session).catch((error: unknown) => this.#failed(session, error));
    });
  }

  /** Leaves a server, but lets it answer first what is under way: a former leader passes transactions on. */
  async #drain(session: OvsdbSession, reason: OvsdbConnectionError): Promise<void> {
    if (this.#session !== session || !session.open || this.#state === "connecting") return;
    this.#become("connecting", reason);
    const deadline = performance.now() + DRAIN_MS;
    while (this.#inFlight > 0 && session.open && performance.now() < deadline) await sleep(10, this.#closing.signal);
    session.abort(reason);
  }

  #add(replica: Replica): void {
    if (this.#replicas.has(replica)) return;
    this.#replicas.add(replica);
    replica.on("lost", (reason) => {
      // canceled, and the session lives: the database was converted
      const session = this.#session;
      if (reason?.code === "canceled" && session?.open === true && this.#replicas.has(replica)) void this.#again(session, replica);
    });
  }

  async #again(session: OvsdbSession, replica: Replica): Promise<void> {
    if (this.#state === "ready") this.#become("syncing");
    try {
      await replica.attach(session);
      if (this.#session === session && this.#state === "syncing" && [...this.#replicas].every(({ synced }) => synced)) this.#become("ready");
    } catch (error) {
      this.#failed(session, error);
    }
  }

  #failed(session: OvsdbSession, error: unknown): void {
    if (session.open) session.abort(error instanceof OvsdbError ? error : new OvsdbError("bug", { cause: error }));
  }

  #become(state: ClientState, reason?: Error): void {
    if (this.#state === state) return;
    this.#state = state;
    if (state === "ready") this.#wasReady = true;
    this.#tell(() => this.emit("state", state, reason));
  }

  /** An exception of a listener is loud, but not the end of the loop. */
  #tell(emit: () => void): void {
    try {
      emit();
    } catch (error) {
      process.nextTick(() => { throw error; });
    }
  }
}

/** An attempt that another client was faster than; `revision` is that of the rows it was made from. */
class Conflict {
  readonly error: OvsdbError;
  readonly revision: number;

  constructor(error: OvsdbError, revision: number) {
    this.error = error;
    this.revision = revision;
  }
}
