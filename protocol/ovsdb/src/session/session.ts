/**
 * One JSON-RPC 1.0 connection to an ovsdb-server, whichever side opened it: every request of RFC 7047 section 4.1 and of
 * ovsdb-server(7) with its reply, echo both ways, limits, and the one way it ends. What monitors do with updates is
 * monitor.ts, what transactions mean is transact.ts, staying connected is client.ts.
 *
 * Over 400 lines: one state machine, from the socket to the close, whose parts share the pending requests.
 */

import { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";

import { OvsdbConnectionError, OvsdbError, OvsdbOutcomeError, OvsdbProtocolError } from "../wire/errors.ts";
import { MessageScanner } from "../wire/framing.ts";
import { isArray, isObject, stringify, type Json, type JsonObject } from "../wire/json.ts";
import { Monitor, type MonitorOptions, type MonitorRequest, type UpdateSink } from "./monitor.ts";
import { parseSchema, type DatabaseSchema } from "../schema/schema.ts";
import type { SessionEvents, SessionOptions, TransactOptions } from "./options.ts";
import type { Work } from "./rows.ts";
import { decodeResults, encodeOperations, errorFromJson, type Operation, type OperationResult } from "./transact.ts";

interface Pending {
  readonly onResult: (result: Json | undefined) => Work | void;
  readonly onError: (error: Error) => void;
}

const MIB = 1 << 20;
/** Messages of one peer that are taken before others have their turn. */
const MESSAGES_A_SLICE = 64;
/** A request of the peer that is longer is not answered: its id and, of an echo, its params would be sent back. */
const LONGEST_REQUEST = 1 << 16;
/** What a message takes while it is read, as a multiple of its bytes. */
const READ_FACTOR = 4;
/** A socket that does not finish its close in this time is destroyed, in ms. */
const CLOSE_GRACE_MS = 1000;

export class OvsdbSession extends EventEmitter<SessionEvents> {
  readonly #socket: Duplex;
  readonly #scanner: MessageScanner;
  readonly #maxQueuedBytes: number;
  readonly #echoIntervalMs: number;
  readonly #echoTimeoutMs: number;
  readonly #pending = new Map<number, Pending>();
  readonly #sinks = new Map<string, UpdateSink>();
  readonly #schemas = new Map<string, Promise<DatabaseSchema>>();
  /** Transactions given up here whose reply may still come. */
  readonly #canceled = new Set<number>();
  #nextId = 1;
  #nextMonitor = 1;
  #ended = false;
  #endReason: OvsdbError | undefined;
  #lastHeardMs = performance.now();
  #echoSentMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #closed: Promise<void>;
  readonly #rate: SessionOptions["rate"];
  #messagesLeft = 0;
  #bytesLeft = 0;
  #refilledMs = performance.now();
  readonly #maxSchemaBytes: number;
  readonly #turns: SessionOptions["turns"];
  readonly #room: { set(bytes: number): boolean; end(): void } | undefined;
  /** What is left of the bytes that came last; nothing once the session has ended, even if its turn is still to come. */
  #messages: Generator<JsonObject | undefined, void, undefined> | undefined;
  /** What is left to do of the last message. */
  #work: Work | undefined;
  /** Slices of work that were done for this peer, each in a turn of its own of the event loop. */
  slices = 0;

  /** Takes over a connected socket (net, tls or any duplex stream of bytes). */
  constructor(socket: Duplex, options: SessionOptions = {}) {
    super();
    this.#socket = socket;
    this.#scanner = new MessageScanner(options.maxMessageBytes ?? 64 * MIB, {
      ...(options.maxElements !== undefined && { elements: options.maxElements }), ...(options.maxValues !== undefined && { values: options.maxValues }),
    });
    this.#maxSchemaBytes = options.maxSchemaBytes ?? Infinity;
    this.#room = options.room?.open(() => this.#end(new OvsdbConnectionError("no room", "other peers need the room that its messages take")), socket);
    this.#turns = options.turns;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 64 * MIB;
    this.#rate = options.rate;
    this.#messagesLeft = options.rate?.messageBurst ?? 0;
    this.#bytesLeft = options.rate?.byteBurst ?? 0;
    this.#echoIntervalMs = options.echoIntervalMs ?? 5000;
    this.#echoTimeoutMs = options.echoTimeoutMs ?? 5000;
    this.#closed = new Promise((resolve) => socket.once("close", () => { resolve(); }));
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("end", () => this.#peerEnded());
    socket.on("error", (error: Error) => this.#end(new OvsdbConnectionError("socket error", error.message, error)));
    socket.on("close", () => this.#end(new OvsdbConnectionError("closed by peer")));
    if (socket.destroyed) queueMicrotask(() => this.#end(new OvsdbConnectionError("closed by peer")));
    this.#arm(this.#echoIntervalMs);
  }

  /** Whether requests can still be made. */
  get open(): boolean { return !this.#ended; }

  /** The stream underneath, e.g. for a peer's address or certificate; not for reading or writing. */
  get socket(): Duplex { return this.#socket; }

  /** Whether bytes that came are being read, or wait for their turn. */
  get reading(): boolean { return this.#messages !== undefined; }

  /** Bytes waiting to be sent. */
  get queuedBytes(): number { return this.#socket.writableLength; }

  /**
   * Sends any request and resolves with its "result".
   * @throws OvsdbError the server's error; OvsdbConnectionError "queue full", "closed", ...
   */
  request(method: string, params: readonly Json[]): Promise<Json | undefined> {
    return new Promise((resolve, reject) => { this.requestSync(method, params, resolve, reject); });
  }

  /**
   * As request, but `onResult` runs before any message that follows the reply is looked at, and so does the work that it gives
   * back, in slices; what it throws ends the session. For monitors: an update may be in the same packet as the reply.
   */
  requestSync(method: string, params: readonly Json[], onResult: (result: Json | undefined) => Work | void, onError: (error: Error) => void): void {
    this.#ask(method, params, onResult, onError);
  }

  /** Returns the request's id; undefined when it was not sent, `onError` has then been called. */
  #ask(method: string, params: readonly Json[], onResult: (result: Json | undefined) => Work | void, onError: (error: Error) => void): number | undefined {
    if (this.#ended) { onError(this.#endReason ?? new OvsdbConnectionError("closed")); return undefined; }
    const id = this.#nextId++;
    let refused: Error | undefined;
    try {
      refused = this.#send({ method, params, id });
    } catch (error) {
      refused = error as Error; // not representable as JSON: the caller's fault, the session stays
    }
    if (refused !== undefined) { onError(refused); return undefined; }
    this.#pending.set(id, { onResult, onError });
    return id;
  }

  async listDbs(): Promise<readonly string[]> {
    const result = await this.request("list_dbs", []);
    if (!isArray(result) || !result.every((name) => typeof name === "string")) throw new OvsdbProtocolError("not json-rpc", "list_dbs gave no list of names");
    return result;
  }

  /**
   * The schema of a database; asked for once, since a server disconnects its clients or cancels their monitors when it
   * changes.
   * @throws OvsdbError "unknown database"
   */
  getSchema(db: string): Promise<DatabaseSchema> {
    let schema = this.#schemas.get(db);
    if (schema === undefined) {
      schema = new Promise((resolve, reject) => {
        this.requestSync("get_schema", [db], (result) => {
          const bytes = this.#scanner.messageBytes;
          if (bytes > this.#maxSchemaBytes) throw new OvsdbProtocolError("message too long", `a schema of ${bytes} bytes`);
          resolve(parseSchema(result));
        }, reject);
      });
      this.#schemas.set(db, schema);
      const asked = schema;
      schema.catch(() => { if (this.#schemas.get(db) === asked) this.#schemas.delete(db); });
    }
    return schema;
  }

  /** Asks for the schema again when it is next needed: it has changed. */
  forgetSchema(db: string): void {
    this.#schemas.delete(db);
  }

  /** Sends `params` and resolves with the same, as the peer sends them back. RFC 7047 section 4.1.11 */
  async echo(params: readonly Json[] = []): Promise<Json | undefined> {
    return this.request("echo", params);
  }

  /** The UUID that a server gives itself when it starts. ovsdb-server(7) 4.1.17 */
  async getServerId(): Promise<string> {
    const result = await this.request("get_server_id", []);
    if (typeof result !== "string") throw new OvsdbProtocolError("bad result", "get_server_id gave no string");
    return result;
  }

  /**
   * Says whether this client copes with databases that are added, removed and converted: an aware one keeps its session
   * and its monitors are canceled instead. ovsdb-server(7) 4.1.18
   */
  async setDbChangeAware(aware: boolean): Promise<void> {
    await this.request("set_db_change_aware", [aware]);
  }

  /** Changes the schema of a database, whose name `schema` has; the rows are converted. ovsdb-server(7) 4.1.19 */
  async convert(db: string, schema: JsonObject): Promise<void> {
    await this.request("convert", [db, schema]);
    this.forgetSchema(db);
  }

  /** Asks for a lock; true: it is this session's, false: "locked" tells when. RFC 7047 section 4.1.8 */
  async lock(id: string): Promise<boolean> {
    return lockReply(await this.request("lock", [id]));
  }

  /** Takes a lock whoever has it. RFC 7047 section 4.1.8 */
  async steal(id: string): Promise<boolean> {
    return lockReply(await this.request("steal", [id]));
  }

  /** Gives a lock back, or the place in its queue. RFC 7047 section 4.1.8 */
  async unlock(id: string): Promise<void> {
    await this.request("unlock", [id]);
  }

  /**
   * Runs a transaction and resolves with one result for each operation. The updates it causes have reached this
   * session's monitors by then.
   * @throws OvsdbError with `opIndex`, the operation that failed; OvsdbValueError when one does not fit the schema;
   * OvsdbOutcomeError when the session ended before the answer
   */
  async transact(db: string, operations: readonly Operation[], options: TransactOptions = {}): Promise<OperationResult[]> {
    const schema = await this.getSchema(db);
    const result = await this.transactJson([db, ...encodeOperations(schema, operations)], options);
    return decodeResults(schema, operations, result);
  }

  /** Sends the params of a transaction as they are and resolves with its result as it is. @throws as transact does */
  transactJson(params: readonly Json[], { signal }: TransactOptions = {}): Promise<Json | undefined> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) { reject(new OvsdbError("canceled", { details: "before it was sent" })); return; }
      let id: number | undefined = undefined; // not yet sent; an error now is one of sending
      const abort = (): void => { if (id !== undefined) this.#cancel(id); };
      signal?.addEventListener("abort", abort);
      id = this.#ask("transact", params, (result) => {
        signal?.removeEventListener("abort", abort);
        resolve(result);
      }, (error) => {
        signal?.removeEventListener("abort", abort);
        const lost = id !== undefined && (error instanceof OvsdbConnectionError || error instanceof OvsdbProtocolError);
        reject(lost ? new OvsdbOutcomeError(error) : error);
      });
    });
  }

  /**
   * A server answers a canceled transaction with an error, or (ovsdb-server to a client that is not change aware) not at
   * all. The echo behind tells: what has not been answered before its reply never will be.
   */
  #cancel(id: number): void {
    if (!this.#pending.has(id)) return;
    if (this.#send({ method: "cancel", params: [id], id: null }) !== undefined) return;
    const settle = (): void => {
      const pending = this.#pending.get(id);
      if (pending === undefined) return;
      this.#pending.delete(id);
      this.#canceled.add(id);
      pending.onError(new OvsdbError("canceled"));
    };
    this.#ask("echo", [], settle, settle);
  }

  /**
   * Follows tables; resolves with the rows at this moment, and emits "update" for each transaction after it. Asks for
   * monitor_cond_since, monitor_cond or monitor, the first that the server knows.
   * @throws OvsdbError as the server has it; OvsdbValueError for a table or column that is not in the schema
   */
  async monitor(db: string, tables: Readonly<Record<string, MonitorRequest>>, options: MonitorOptions = {}): Promise<Monitor> {
    const schema = await this.getSchema(db);
    return Monitor.open(this, schema, tables, options);
  }

  /** Ends the connection; what is queued is still sent. Resolves when the socket is closed. */
  close(): Promise<void> {
    this.#end(undefined);
    return this.#closed;
  }

  /** Routes updates with this id to `sink`; for monitor.ts. */
  addSink(sink: UpdateSink): string {
    const id = `m${this.#nextMonitor++}`;
    this.#sinks.set(id, sink);
    return id;
  }

  removeSink(id: string): void {
    this.#sinks.delete(id);
  }

  #receive(chunk: Buffer): void {
    if (this.#ended) return;
    this.#lastHeardMs = performance.now();
    this.#echoSentMs = undefined;
    this.#refill();
    this.#bytesLeft -= chunk.length;
    this.#messages = this.#scanner.pieces(chunk);
    if (this.#turns === undefined) {
      this.#slice();
      return;
    }
    this.#socket.pause();
    if (this.#room?.set(this.#scanner.heldBytes + chunk.length) !== false) this.#turns.take(() => { this.#slice(); }, this.#socket);
  }

  /** Takes some of the messages that came; the socket is not read again before all are taken, in later turns of the event loop. */
  #slice(): void {
    const messages = this.#messages;
    if (messages === undefined) return;
    this.slices++;
    try {
      for (let n = 0; n < MESSAGES_A_SLICE; n++) {
        if (this.#work !== undefined) {
          if (this.#work.next().done !== true) break;
          this.#work = undefined;
          if (this.#ended) return;
          continue;
        }
        const next = messages.next();
        if (next.done === true) {
          this.#messages = undefined;
          if (this.#room?.set(this.#scanner.heldBytes) !== false) this.#readOn();
          return;
        }
        if (next.value === undefined) {
          if (this.#room?.set(READ_FACTOR * this.#scanner.messageBytes) === false) return;
          break;
        }
        this.#messagesLeft--;
        this.#work = this.#dispatch(next.value);
        if (this.#ended) return;
      }
    } catch (error) {
      if (error instanceof OvsdbError) { this.#end(error); return; }
      this.#end(new OvsdbConnectionError("closed", "a bug while handling a message", error));
      throw error;
    }
    this.#socket.pause();
    if (this.#turns === undefined) setImmediate(() => { this.#slice(); });
    else this.#turns.take(() => { this.#slice(); }, this.#socket);
  }

  /** At once, or when there is room for what a peer that sends too much may send. */
  #readOn(): void {
    const rate = this.#rate;
    const waitMs = rate === undefined ? 0 : Math.max(0, (-this.#messagesLeft * 1000) / rate.messages, (-this.#bytesLeft * 1000) / rate.bytes);
    if (waitMs > 0) {
      this.#socket.pause();
      setTimeout(() => { if (!this.#ended) this.#socket.resume(); }, Math.ceil(waitMs)).unref();
      this.emitSafely(() => this.emit("throttled"));
    } else if (this.#socket.isPaused()) this.#socket.resume();
  }

  #refill(): void {
    const rate = this.#rate;
    if (rate === undefined) return;
    const now = performance.now();
    const seconds = (now - this.#refilledMs) / 1000;
    this.#refilledMs = now;
    this.#messagesLeft = Math.min(rate.messageBurst, this.#messagesLeft + seconds * rate.messages);
    this.#bytesLeft = Math.min(rate.byteBurst, this.#bytesLeft + seconds * rate.bytes);
  }

  #dispatch(message: JsonObject): Work | undefined {
    const { method, params, id, result, error } = message;
    if (method !== undefined && method !== null) {
      if (typeof method !== "string" || !isArray(params)) throw new OvsdbProtocolError("not json-rpc", "method or params of the wrong type");
      if (id === null || id === undefined) return this.#notified(method, params);
      this.#asked(method, params, id);
      return undefined;
    }
    if (result === undefined && error === undefined) throw new OvsdbProtocolError("not json-rpc", "neither request nor reply");
    const pending = typeof id === "number" ? this.#pending.get(id) : undefined;
    if (pending === undefined && typeof id === "number" && this.#canceled.delete(id)) return;
    if (pending === undefined) {
      throw new OvsdbProtocolError("unexpected reply", `id ${typeof id === "object" && id !== null ? "of no number" : stringify(id ?? null).slice(0, 80)}${error === undefined || error === null ? "" : `: ${errorFromJson(error).message}`}`);
    }
    this.#pending.delete(id as number);
    if (error === undefined || error === null) {
      try {
        return pending.onResult(result) ?? undefined;
      } catch (failure) {
        pending.onError(failure as Error); // whoever asked learns of it as well
        throw failure;
      }
    }
    if (this.#scanner.messageBytes > LONGEST_REQUEST) throw new OvsdbProtocolError("message too long", `an error of ${this.#scanner.messageBytes} bytes`);
    pending.onError(errorFromJson(error));
    return undefined;
  }

  #asked(method: string, params: readonly Json[], id: Json): void {
    const bytes = this.#scanner.messageBytes;
    if (bytes > LONGEST_REQUEST) throw new OvsdbProtocolError("message too long", `a request of ${bytes} bytes`);
    const refused = this.#send(method === "echo" ? { id, result: params, error: null } : { id, result: null, error: "unknown method" });
    // a peer that asks and does not read the answers
    if (refused !== undefined) this.#end(refused);
  }

  #notified(method: string, params: readonly Json[]): Work | undefined {
    const sink = typeof params[0] === "string" ? this.#sinks.get(params[0]) : undefined;
    if (method === "update" || method === "update2" || method === "update3") return sink?.update(method, params); // none: canceled a moment ago
    if (method === "monitor_canceled") sink?.canceled();
    else if ((method === "locked" || method === "stolen") && typeof params[0] === "string") this.#emitLock(method, params[0]);
    else this.emitSafely(() => this.emit("notification", method, params));
    return undefined;
  }

  #emitLock(event: "locked" | "stolen", lock: string): void {
    this.emitSafely(() => this.emit(event, lock));
  }

  /** Ends the session at once, for a reason of the caller's that all requests under way fail with. */
  abort(reason: OvsdbError): void {
    this.#end(reason);
  }

  /** Runs listeners so that an exception of theirs is loud but does not lose messages. */
  emitSafely(emit: () => void): void {
    try {
      emit();
    } catch (error) {
      process.nextTick(() => { throw error; });
    }
  }

  #send(message: JsonObject): OvsdbConnectionError | undefined {
    const text = stringify(message);
    const size = Buffer.byteLength(text);
    if (this.#socket.writableLength + size > this.#maxQueuedBytes) {
      return new OvsdbConnectionError("queue full", `${this.#socket.writableLength} bytes wait, ${size} more would pass the limit of ${this.#maxQueuedBytes}`);
    }
    this.#socket.write(text);
    return undefined;
  }

  #peerEnded(): void {
    try {
      this.#scanner.end();
      this.#end(new OvsdbConnectionError("closed by peer"));
    } catch (error) {
      this.#end(error as OvsdbError);
    }
  }

  #arm(afterMs: number): void {
    if (this.#echoIntervalMs <= 0 || this.#ended) return;
    this.#timer = setTimeout(() => this.#probe(), Math.max(1, afterMs));
  }

  #probe(): void {
    const now = performance.now();
    if (this.reading || this.#socket.isPaused()) {
      // It is not silent: what it sent, an answer perhaps, waits for its turn here. An echo of its own may lie behind that, so it is told that this side lives,
      // else ovsdb-server ends the connection after twice its inactivity_probe, comes again, and waits from the beginning. To cancel what is not asked
      // is a message that wants no answer and changes nothing.
      this.#lastHeardMs = now;
      this.#echoSentMs = undefined;
      const refused = this.#send({ method: "cancel", params: [0], id: null });
      if (refused !== undefined) { this.#end(refused); return; }
      this.#arm(this.#echoIntervalMs / 2);
      return;
    }
    if (this.#echoSentMs !== undefined) {
      const left = this.#echoSentMs + this.#echoTimeoutMs - now;
      if (left > 0) this.#arm(left);
      // when this process was busy, the answer may lie in the socket: what is there is read before the immediates run
      else setImmediate(() => this.#bury());
      return;
    }
    const left = this.#lastHeardMs + this.#echoIntervalMs - now;
    // Looked at twice as often as would be asked: it may begin to wait meanwhile.
    if (left > 0) { this.#arm(Math.min(left, this.#echoIntervalMs / 2)); return; }
    this.#echoSentMs = now;
    this.requestSync("echo", [], () => undefined, () => undefined); // an error is a sign of life as well
    this.#arm(this.#echoTimeoutMs);
  }

  #bury(): void {
    if (this.#ended) return;
    if (this.#echoSentMs === undefined) this.#arm(this.#echoIntervalMs);
    else this.#end(new OvsdbConnectionError("dead peer", `silent for ${Math.round(performance.now() - this.#lastHeardMs)} ms`));
  }

  #end(reason: OvsdbError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#endReason = reason ?? new OvsdbConnectionError("closed");
    clearTimeout(this.#timer);
    this.#room?.end();
    this.#work = undefined;
    this.#messages = undefined;
    if (reason === undefined) {
      this.#socket.end();
      this.#socket.resume();
      const grace = setTimeout(() => this.#socket.destroy(), CLOSE_GRACE_MS);
      void this.#closed.then(() => { clearTimeout(grace); });
    } else {
      this.#socket.destroy();
    }
    const failure = this.#endReason;
    const pending = [...this.#pending.values()], sinks = [...this.#sinks.values()];
    this.#pending.clear();
    this.#sinks.clear();
    for (const { onError } of pending) this.emitSafely(() => onError(failure));
    for (const sink of sinks) this.emitSafely(() => sink.closed(failure));
    this.emitSafely(() => this.emit("close", reason));
  }
}

function lockReply(result: Json | undefined): boolean {
  if (!isObject(result) || typeof result["locked"] !== "boolean") throw new OvsdbProtocolError("bad result", "the reply to a request for a lock does not say whether it is locked");
  return result["locked"];
}
