/**
 * One JSON-RPC connection of the fake server: what comes in is checked as strictly as ovsdb-server checks it (it closes
 * on anything it would close on), requests are answered, monitors and locks belong to the session and go with it.
 */

import type { Socket } from "node:net";

import { OvsdbError, OvsdbProtocolError } from "../wire/errors.ts";
import { MessageScanner } from "../wire/framing.ts";
import { isArray, isObject, stringify, type Json, type JsonObject } from "../wire/json.ts";
import type { Commit, Database, Follower, Pending } from "./database.ts";
import type { Faults } from "./faults.ts";
import type { LockHolder, Locks } from "./locks.ts";
import { MonitorState, UPDATE_METHODS, type MonitorVersion } from "./monitor.ts";
import { errorToJson, isId, sortedText, syntaxError } from "./parse.ts";
import { schemaFromJson } from "./schema.ts";
import { isUuid } from "../schema/values.ts";
import { ZERO_UUID } from "./datum.ts";

/** What a session needs of the server it belongs to. */
export interface SessionHost {
  readonly databases: ReadonlyMap<string, Database>;
  readonly locks: Locks;
  readonly faults: Faults;
  readonly serverId: string;
  readonly maxMessageBytes: number;
  /** Bytes that may wait to be sent before the session is ended. */
  readonly maxQueuedBytes: number;
  /** Silence, in ms, after which the client is asked for a sign of life, and again until it counts as dead; 0 = never. */
  readonly probeIntervalMs: number;
  /** A schema has changed: sessions that did not say they can bear it are to be ended. */
  schemaChanged(): void;
  /** A message came in or went out, for logs of tests. */
  observed(session: Session, direction: "in" | "out", message: JsonObject): void;
  ended(session: Session): void;
}

/** Neither a request nor a reply but the answer to one: sent as it is. */
type Answer = { readonly result: Json } | { readonly error: Json } | undefined;

/** Strings that cannot be, in a server that keeps them as C strings of UTF-8; numbers that no double holds. */
function isRefusable(json: Json): boolean {
  if (typeof json === "string") return json.includes("\0") || /\p{Surrogate}/u.test(json);
  if (typeof json === "number") return !Number.isFinite(json);
  if (isArray(json)) return json.some(isRefusable);
  return isObject(json) && Object.entries(json).some(([name, value]) => isRefusable(name) || isRefusable(value ?? null));
}

/** Bytes that may yet become the start of a value which is no object: a parser that reads words cannot tell before the end of the word. */
const UNFINISHED_WORD = /^[ \t\r\n]*(?:[A-Za-z]+|[-0-9][-+.0-9eE]*)$/;
const LONGEST_WORD = 1000;

export class Session implements LockHolder {
  readonly #host: SessionHost;
  readonly #socket: Socket;
  readonly #scanner: MessageScanner;
  readonly #monitors = new Map<string, { readonly monitor: MonitorState; readonly follower: Follower }>();
  /** Transactions not answered yet, by the text of the request's id. */
  readonly #transactions = new Map<string, Pending>();
  #changeAware = false;
  #ended = false;
  #word: Buffer = Buffer.alloc(0);
  #delayed: Promise<void> | undefined;
  #queuedBytes = 0;
  #probe: NodeJS.Timeout | undefined;
  #probed = false;

  constructor(host: SessionHost, socket: Socket) {
    this.#host = host;
    this.#socket = socket;
    this.#scanner = new MessageScanner(host.maxMessageBytes);
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("error", () => this.end());
    socket.on("close", () => this.end());
    this.#armProbe();
  }

  /** Whether the client said that it follows changes of schemas (set_db_change_aware). */
  get changeAware(): boolean { return this.#changeAware; }

  /** Closes the connection; replies already written are still sent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#probe);
    for (const { monitor, follower } of this.#monitors.values()) monitor.database.unfollow(follower);
    this.#monitors.clear();
    for (const transaction of [...this.#transactions.values()]) transaction.cancel();
    this.#host.locks.giveAll(this);
    this.#socket.end();
    this.#socket.resume();
    const linger = setTimeout(() => this.#socket.destroy(), 500);
    this.#socket.once("close", () => { clearTimeout(linger); });
    this.#host.ended(this);
  }

  /** Cuts the connection with nothing more sent. */
  cut(): void {
    this.#socket.destroy();
    this.end();
  }

  locked(name: string): void {
    this.#notify("locked", [name]);
  }

  stolen(name: string): void {
    this.#notify("stolen", [name]);
  }

  // ---- messages in ----------------------------------------------------------------------------------------------------

  #receive(chunk: Buffer): void {
    if (this.#ended) return;
    this.#armProbe();
    let bytes = chunk;
    if (this.#scanner.pendingBytes === 0) {
      bytes = this.#word.length > 0 ? Buffer.concat([this.#word, chunk]) : chunk;
      this.#word = Buffer.alloc(0);
      if (bytes.length < LONGEST_WORD && UNFINISHED_WORD.test(bytes.toString("latin1"))) {
        this.#word = bytes;
        return;
      }
    }
    try {
      for (const message of this.#scanner.push(bytes)) {
        this.#dispatch(message);
        if (this.#ended) return;
      }
    } catch (error) {
      if (!(error instanceof OvsdbProtocolError)) throw error;
      this.end();
    }
  }

  #dispatch(message: JsonObject): void {
    if (isRefusable(message)) { this.end(); return; }
    this.#host.observed(this, "in", message);
    const { method, params, result, error, id, ...others } = message;
    const absent = (json: Json | undefined): boolean => json === undefined || json === null;
    const isReply = !absent(result) || !absent(error);
    const wellFormed = Object.keys(others).length === 0 && (method === undefined || typeof method === "string")
      && (isReply
        ? method === undefined && absent(params) && absent(result) !== absent(error) && !absent(id)
        : typeof method === "string" && isArray(params));
    if (!wellFormed) { this.end(); return; }
    if (isReply) {
      if (id !== "echo") this.end(); // only the probe is ever asked
    } else if (absent(id)) {
      if (method === "cancel") this.#cancel(params as readonly Json[]);
    } else {
      this.#asked(method as string, params as readonly Json[], id!);
    }
  }

  #asked(method: string, params: readonly Json[], id: Json): void {
    let answer: Answer;
    try {
      answer = this.#answer(method, params, id);
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      answer = { error: errorToJson(error) };
    }
    if (answer !== undefined) this.#reply(id, answer);
  }

  #answer(method: string, params: readonly Json[], id: Json): Answer {
    switch (method) {
      case "echo": return this.#host.faults.answersEcho ? { result: params } : undefined;
      case "list_dbs": return { result: [...this.#host.databases.keys()] };
      case "get_server_id": return { result: this.#host.serverId };
      case "get_schema": return { result: this.#database(method, params).schemaJson };
      case "transact": return this.#transact(this.#database(method, params), params, id);
      case "convert": return this.#convert(this.#database(method, params), params, id);
      case "monitor": return this.#monitor(this.#database(method, params), 1, params);
      case "monitor_cond": return this.#monitor(this.#database(method, params), 2, params);
      case "monitor_cond_since": return this.#monitor(this.#database(method, params), 3, params);
      case "monitor_cond_change": return this.#changeConditions(params);
      case "monitor_cancel": return this.#cancelMonitor(params);
      case "lock": return this.#lock(method, params, false);
      case "steal": return this.#lock(method, params, true);
      case "unlock": return this.#unlock(method, params);
      case "set_db_change_aware":
        if (params.length !== 1 || typeof params[0] !== "boolean") throw syntaxError(params, `${method}: true or false parameter expected`);
        this.#changeAware = params[0];
        return { result: {} };
      default: return { error: "unknown method" };
    }
  }

  #database(method: string, params: readonly Json[]): Database {
    const [name] = params;
    if (typeof name !== "string") throw syntaxError(params, `${method} request params must begin with <db-name>`);
    const database = this.#host.databases.get(name);
    if (database === undefined) throw syntaxError(params, `${method} request specifies unknown database ${name}`, "unknown database");
    return database;
  }

  // ---- transactions ---------------------------------------------------------------------------------------------------

  #transact(database: Database, params: readonly Json[], id: Json): Answer {
    const key = sortedText(id);
    if (this.#transactions.has(key)) throw syntaxError(params, "transact: duplicate request ID");
    const { refuse, drop } = this.#host.faults.nextTransaction();
    let answered = false;
    const pending = database.submit({
      operations: params.slice(1), refuse, ownsLock: (name) => this.#host.locks.owns(this, name),
      done: (results) => {
        answered = true;
        this.#transactions.delete(key);
        if (this.#ended) return;
        if (drop) this.cut();
        // RFC 7047 4.1.4 wants "canceled" always; ovsdb-server says it only to clients of the newer sort
        else if (results !== undefined) this.#reply(id, { result: results });
        else if (this.#changeAware) this.#reply(id, { error: "canceled" });
      },
    });
    if (!answered) this.#transactions.set(key, pending);
    return undefined;
  }

  #cancel(params: readonly Json[]): void {
    if (params.length === 1) this.#transactions.get(sortedText(params[0]!))?.cancel();
  }

  #convert(database: Database, params: readonly Json[], id: Json): Answer {
    if (params.length !== 2) throw syntaxError(params, "array expected");
    const schema = schemaFromJson(params[1]!);
    if (schema.name !== database.name) {
      throw new OvsdbError("invalid parameters", { details: `new schema name (${schema.name}) does not match database name (${database.name})` });
    }
    database.convert(schema);
    this.#reply(id, { result: {} });
    this.#host.schemaChanged();
    return undefined;
  }

  // ---- monitors -------------------------------------------------------------------------------------------------------

  #monitor(database: Database, version: MonitorVersion, params: readonly Json[]): Answer {
    if (version === 1 ? params.length < 3 : params.length !== version + 1) throw syntaxError(params, "invalid parameters");
    const id = params[1]!, requests = params[2]!;
    if (!isObject(requests)) throw syntaxError(requests, "monitor-requests must be object");
    const key = sortedText(id);
    if (this.#monitors.has(key)) throw syntaxError(id, "duplicate monitor ID");
    const monitor = new MonitorState(database, version, id, requests);
    const since = version === 3 ? params[3]! : ZERO_UUID;
    if (typeof since !== "string") throw syntaxError(since, "last-txn-id must be string");
    if (!isUuid(since)) throw syntaxError(since, "last-txn-id must be UUID format.");
    const follower: Follower = {
      committed: (commit: Commit) => {
        const update = monitor.update(commit);
        if (update !== undefined) this.#notify(UPDATE_METHODS[version], update);
      },
      converted: () => {
        this.#forget(sortedText(monitor.id));
        if (this.#changeAware) this.#notify("monitor_canceled", [monitor.id]);
      },
    };
    this.#monitors.set(key, { monitor, follower });
    database.follow(follower);
    return { result: monitor.reply(since === ZERO_UUID ? undefined : since.toLowerCase()) };
  }

  #forget(key: string): boolean {
    const found = this.#monitors.get(key);
    if (found !== undefined) found.monitor.database.unfollow(found.follower);
    return this.#monitors.delete(key);
  }

  #changeConditions(params: readonly Json[]): Answer {
    if (params.length !== 3) throw syntaxError(params, "invalid parameters");
    const [id, newId, requests] = params as readonly [Json, Json, Json];
    const key = sortedText(id), newKey = sortedText(newId);
    const found = this.#monitors.get(key);
    if (found === undefined) throw syntaxError(id, "unknown monitor session");
    if (newKey !== key && this.#monitors.has(newKey)) throw syntaxError(newId, "duplicate monitor ID");
    if (!isObject(requests)) throw new OvsdbError("syntax error", { details: "monitor-cond-change-requests must be object" });
    const update = found.monitor.changeConditions(newId, requests);
    this.#monitors.delete(key);
    this.#monitors.set(newKey, found);
    if (update !== undefined) this.#notify(UPDATE_METHODS[found.monitor.version], update);
    return { result: {} };
  }

  #cancelMonitor(params: readonly Json[]): Answer {
    if (params.length !== 1) return { error: "invalid parameters" };
    return this.#forget(sortedText(params[0]!)) ? { result: {} } : { error: "unknown monitor" };
  }

  // ---- locks ----------------------------------------------------------------------------------------------------------

  #lockName(method: string, params: readonly Json[]): string {
    const [name] = params;
    if (params.length !== 1 || typeof name !== "string" || !isId(name)) throw syntaxError(params, `${method} request params must be <id>`);
    return name;
  }

  #lock(method: string, params: readonly Json[], steal: boolean): Answer {
    const name = this.#lockName(method, params), { locks } = this.#host;
    if (locks.hasAsked(this, name)) throw syntaxError(params, `must issue "unlock" before new "${method}"`);
    return { result: { locked: locks.ask(this, name, steal) } };
  }

  #unlock(method: string, params: readonly Json[]): Answer {
    const name = this.#lockName(method, params), { locks } = this.#host;
    if (!locks.hasAsked(this, name)) throw syntaxError(params, `${method}: "unlock" without "lock" or "steal"`);
    locks.give(this, name);
    return { result: {} };
  }

  // ---- messages out ---------------------------------------------------------------------------------------------------

  #reply(id: Json, answer: { readonly result: Json } | { readonly error: Json }): void {
    // ovsdb-server leaves out the "result" of an error, which RFC 7047 wants to be null
    this.#send("result" in answer ? { id, result: answer.result, error: null } : { id, error: answer.error });
  }

  #notify(method: string, params: readonly Json[]): void {
    this.#send({ id: null, method, params });
  }

  #send(message: JsonObject): void {
    if (this.#ended) return;
    this.#host.observed(this, "out", message);
    const { delayMs } = this.#host.faults;
    const bytes = Buffer.from(stringify(message));
    if (delayMs <= 0 && this.#delayed === undefined) { this.#write(bytes); return; }
    this.#queuedBytes += bytes.length;
    this.#checkQueue();
    const due = new Promise<void>((resolve) => { setTimeout(resolve, delayMs).unref(); });
    const delayed = Promise.all([this.#delayed, due]).then(() => {
      this.#queuedBytes -= bytes.length;
      if (this.#delayed === delayed) this.#delayed = undefined;
      this.#write(bytes);
    });
    this.#delayed = delayed;
  }

  #write(bytes: Buffer): void {
    if (this.#socket.destroyed) return;
    const cut = this.#host.faults.cutWithin(bytes.length);
    if (cut !== undefined) {
      this.#socket.write(bytes.subarray(0, cut));
      this.end();
      return;
    }
    this.#socket.write(bytes);
    this.#checkQueue();
  }

  #checkQueue(): void {
    if (this.#socket.writableLength + this.#queuedBytes > this.#host.maxQueuedBytes) this.cut();
  }

  #armProbe(): void {
    const { probeIntervalMs } = this.#host;
    clearTimeout(this.#probe);
    this.#probed = false;
    if (probeIntervalMs > 0 && !this.#ended) this.#probe = setTimeout(() => this.#askForLife(), probeIntervalMs).unref();
  }

  #askForLife(): void {
    if (this.#probed) { this.cut(); return; }
    this.#send({ id: "echo", method: "echo", params: [] });
    this.#probed = true;
    if (!this.#ended) this.#probe = setTimeout(() => this.#askForLife(), this.#host.probeIntervalMs).unref();
  }
}
