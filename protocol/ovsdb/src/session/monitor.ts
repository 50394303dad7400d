/**
 * Monitors: one subscription to tables of a database, in whichever of the three forms the server knows. `Feed` is the
 * common part (requests, fallback, notifications into a RowStore); `Monitor` is a feed with rows of its own that
 * lives as long as its session. Replica (replica.ts) is a feed whose rows outlive sessions.
 */

import { EventEmitter } from "node:events";

import { OvsdbError, OvsdbProtocolError, OvsdbValueError } from "../wire/errors.ts";
import { isArray, type Json, type JsonObject } from "../wire/json.ts";
import { RowStore, type MonitoredTable, type MonitorSelect, type Row, type RowChange, type UpdateForm, type Work } from "./rows.ts";
import { columnType, tableSchema, type ColumnType, type DatabaseSchema } from "../schema/schema.ts";
import { encodeCondition, type Condition } from "../schema/values.ts";

export interface MonitorRequest {
  /** Columns to follow; undefined = all of the schema. */
  readonly columns?: readonly string[] | undefined;
  /** Rows to follow: those that match any of the conditions; undefined or empty = all, `[false]` = none. */
  readonly where?: readonly Condition[] | undefined;
  /** Kinds of updates to leave out, by `false`; the rows held are then those heard of. RFC 7047 section 4.1.5 */
  readonly select?: MonitorSelect | undefined;
}

export interface MonitorOptions {
  /** The ways to ask, in this order; what the server does not know is passed over. Default: all, the most capable first. */
  readonly methods?: readonly MonitorMethod[] | undefined;
}

export type MonitorMethod = "monitor_cond_since" | "monitor_cond" | "monitor";

export const ZERO_TXN_ID = "00000000-0000-0000-0000-000000000000";

export const METHODS: readonly MonitorMethod[] = ["monitor_cond_since", "monitor_cond", "monitor"];
const FORM_OF: Readonly<Record<string, UpdateForm>> = { update: 1, update2: 2, update3: 2 };

/** Where updates for a monitor id go; called synchronously, in the order of arrival. The work that is given back is done before the next. */
export interface UpdateSink {
  update(method: string, params: readonly Json[]): Work;
  canceled(): void;
  closed(reason: OvsdbError): void;
}

/** What a feed needs of its session. */
export interface MonitorSession {
  readonly open: boolean;
  /** `onResult` runs before any message that follows the reply is looked at; so does the work that it gives back. */
  requestSync(method: string, params: readonly Json[], onResult: (result: Json | undefined) => Work | void, onError: (error: Error) => void): void;
  addSink(sink: UpdateSink): string;
  removeSink(id: string): void;
  forgetSchema(db: string): void;
  emitSafely(emit: () => void): void;
}

export interface FeedListener {
  /** The reply is in the store. `resumed`: only what happened since the last transaction id was sent. */
  synced(changes: RowChange[], method: MonitorMethod, resumed: boolean): void;
  changed(changes: RowChange[]): void;
  /** The server canceled the monitor, or the session ended. */
  lost(reason: OvsdbError): void;
}

/** A live subscription. */
export class Feed {
  readonly #session: MonitorSession;
  readonly #store: RowStore;
  readonly #listener: FeedListener;
  readonly #id: string;
  readonly #methods: readonly MonitorMethod[];
  #db = "";
  #tables: ReadonlyMap<string, MonitoredTable> = new Map();
  #form: UpdateForm = 2;
  #method: MonitorMethod | undefined;
  /** Canceled, lost or refused: the store is no longer this feed's to change. */
  #over = false;
  /** Fails the request for rows: a reply that makes no sense ends the session while it is read. */
  #unanswered: ((reason: Error) => void) | undefined;
  /** Of the newest transaction in the store; undefined when the server keeps none. */
  lastTxnId: string | undefined;

  constructor(session: MonitorSession, store: RowStore, listener: FeedListener, lastTxnId: string | undefined, methods: readonly MonitorMethod[] = METHODS) {
    this.#methods = methods;
    this.#session = session;
    this.#store = store;
    this.#listener = listener;
    this.lastTxnId = lastTxnId;
    this.#id = session.addSink({
      update: (method, params) => this.#update(method, params),
      canceled: () => {
        this.#stop();
        session.forgetSchema(this.#db); // the usual reason is that it changed
        listener.lost(new OvsdbError("canceled", { details: "the server canceled the monitor" }));
      },
      closed: (reason) => {
        this.#over = true;
        this.#unanswered?.(reason);
        listener.lost(reason);
      },
    });
  }

  /** How the server is asked; undefined until it answered. */
  get method(): MonitorMethod | undefined { return this.#method; }

  /** Subscribes; rejects with the server's error. The listener's synced() has run when it resolves. */
  async start(schema: DatabaseSchema, tables: ReadonlyMap<string, MonitoredTable>, where: ReadonlyMap<string, readonly Condition[]>): Promise<void> {
    this.#db = schema.name;
    this.#tables = tables;
    try {
      for (const method of this.#methods) {
        if (await this.#try(method, schema, tables, where)) return;
      }
      throw new OvsdbError("unknown method", { details: "the server knows no way to monitor" });
    } catch (error) {
      this.#stop();
      throw error;
    }
  }

  /**
   * Changes the conditions of some tables; resolves when the rows are those of the new ones. Of a monitor of the first
   * form (RFC 7047) they cannot be changed: see method.
   * @throws OvsdbValueError for a condition that does not fit the schema; OvsdbError as the server has it
   */
  changeConditions(where: ReadonlyMap<string, readonly Condition[]>): Promise<void> {
    const requests: Record<string, JsonObject[]> = {};
    for (const [name, conditions] of where) {
      const table = this.#tables.get(name);
      if (table !== undefined) requests[name] = [{ where: (conditions.length === 0 ? [true] : conditions).map((condition) => encodeCondition(table.schema, condition)) }];
    }
    return new Promise((resolve, reject) => {
      // rows that come and go by the new conditions are sent before the reply
      this.#session.requestSync("monitor_cond_change", [this.#id, this.#id, requests], () => { resolve(); }, reject);
    });
  }

  /** Stops listening at once and tells the server, whose answer does not matter. */
  cancel(): void {
    if (this.#over) return;
    this.#stop();
    if (this.#session.open) this.#session.requestSync("monitor_cancel", [this.#id], () => undefined, () => undefined);
  }

  #stop(): void {
    this.#over = true;
    this.#session.removeSink(this.#id);
  }

  /** Resolves with false when the server does not know the method. */
  #try(method: MonitorMethod, schema: DatabaseSchema, tables: ReadonlyMap<string, MonitoredTable>, where: ReadonlyMap<string, readonly Condition[]>): Promise<boolean> {
    const requests: Record<string, JsonObject[]> = {};
    const monitored = new Map<string, MonitoredTable>();
    for (const [name, table] of tables) {
      const conditions = where.get(name) ?? [];
      const filtered = conditions.length > 0;
      if (method === "monitor" && filtered) {
        // the server cannot filter, so the rows are filtered here; that takes the columns compared
        const columns = new Map(table.columns);
        for (const condition of conditions) {
          if (typeof condition !== "boolean" && condition[0] !== "_uuid") columns.set(condition[0], columnType(table.schema, condition[0]));
        }
        monitored.set(name, { ...table, columns, filter: conditions });
        requests[name] = [{ columns: [...columns.keys()], ...(table.select === undefined ? {} : { select: { ...table.select } }) }];
      } else {
        monitored.set(name, table);
        requests[name] = [{
          columns: [...table.columns.keys()],
          ...(filtered ? { where: conditions.map((condition) => encodeCondition(table.schema, condition)) } : {}),
          ...(table.select === undefined ? {} : { select: { ...table.select } }),
        }];
      }
    }
    const params: Json[] = [schema.name, this.#id, requests];
    if (method === "monitor_cond_since") params.push(this.lastTxnId ?? ZERO_TXN_ID);
    return new Promise((resolve, reject) => {
      this.#unanswered = reject;
      this.#session.requestSync(method, params, (result) => {
        if (!this.#over) {
          this.#store.configure(monitored);
          return this.#replied(method, result, () => { resolve(true); });
        }
        resolve(true);
        return undefined;
      }, (error) => {
        if (error instanceof OvsdbError && error.code === "unknown method" && !this.#over) resolve(false);
        else reject(error);
      });
    });
  }

  *#replied(method: MonitorMethod, result: Json | undefined, done: () => void): Work {
    this.#form = method === "monitor" ? 1 : 2;
    this.#method = method;
    let resumed = false;
    let updates = result;
    let txnId: string | undefined;
    if (method === "monitor_cond_since") {
      if (!isArray(result) || typeof result[0] !== "boolean" || typeof result[1] !== "string") throw new OvsdbProtocolError("bad update", "reply to monitor_cond_since of the wrong form");
      resumed = result[0];
      if (resumed && this.lastTxnId === undefined) throw new OvsdbProtocolError("bad update", "the server resumes what was never begun");
      txnId = realTxnId(result[1]);
      updates = result[2];
    }
    const changes = yield* this.#received(resumed ? this.#store.apply(updates, this.#form) : this.#store.replaceAll(updates, this.#form));
    if (changes !== undefined) {
      this.lastTxnId = txnId;
      this.#session.emitSafely(() => this.#listener.synced(changes, method, resumed));
    }
    done();
  }

  *#update(method: string, params: readonly Json[]): Work {
    if (FORM_OF[method] !== this.#form) throw new OvsdbProtocolError("bad update", `${method} for a monitor of another form`);
    const since = method === "update3";
    const changes = yield* this.#received(this.#store.apply(params[since ? 2 : 1], this.#form));
    if (changes === undefined) return;
    if (since) this.lastTxnId = typeof params[1] === "string" ? realTxnId(params[1]) : undefined;
    if (changes.length > 0) this.#session.emitSafely(() => this.#listener.changed(changes));
  }

  /** undefined: the feed ended meanwhile. A value that does not fit its column is, coming from a server, a protocol error. */
  *#received(work: Work<RowChange[]>): Work<RowChange[] | undefined> {
    for (;;) {
      let step: IteratorResult<undefined, RowChange[]>;
      try {
        step = work.next();
      } catch (error) {
        if (error instanceof OvsdbValueError) throw new OvsdbProtocolError("bad update", error.message, undefined, error);
        throw error;
      }
      if (step.done === true) return step.value;
      yield;
      if (this.#over) return undefined;
    }
  }
}

const realTxnId = (id: string): string | undefined => (id === ZERO_TXN_ID ? undefined : id);

/** Columns of a request with their types. @throws OvsdbValueError for a table or column that is not in the schema */
export function monitoredTables(schema: DatabaseSchema, tables: Readonly<Record<string, MonitorRequest>>): Map<string, MonitoredTable> {
  const monitored = new Map<string, MonitoredTable>();
  for (const [name, request] of Object.entries(tables)) {
    const table = tableSchema(schema, name);
    const columns = new Map<string, ColumnType>();
    for (const column of request.columns ?? table.columns.keys()) {
      if (column !== "_uuid") columns.set(column, columnType(table, column)); // _uuid comes by itself
    }
    for (const condition of request.where ?? []) encodeCondition(table, condition);
    monitored.set(name, { schema: table, columns, select: request.select });
  }
  if (monitored.size === 0) throw new OvsdbValueError("syntax error", { details: "no table to monitor" });
  return monitored;
}

export interface MonitorEvents {
  /** The changes of one transaction. */
  update: [changes: readonly RowChange[]];
  /** No more updates: the server canceled the monitor or the session ended. */
  end: [reason: OvsdbError];
}

/** Rows of some tables, followed until cancel() or the end of the session. */
export class Monitor extends EventEmitter<MonitorEvents> {
  readonly #store = new RowStore();
  readonly #feed: Feed;
  #method: MonitorMethod = "monitor_cond_since";
  #initial: readonly RowChange[] = [];
  /** Events that arrived before the caller of open() could listen. */
  #early: (() => void)[] | undefined = [];

  private constructor(session: MonitorSession, methods: readonly MonitorMethod[] | undefined) {
    super();
    this.#feed = new Feed(session, this.#store, {
      synced: (changes, method) => {
        this.#initial = changes;
        this.#method = method;
      },
      changed: (changes) => this.#deliver(() => this.emit("update", changes)),
      lost: (reason) => this.#deliver(() => this.emit("end", reason)),
    }, undefined, methods);
  }

  static async open(session: MonitorSession, schema: DatabaseSchema, tables: Readonly<Record<string, MonitorRequest>>, options: MonitorOptions = {}): Promise<Monitor> {
    const monitored = monitoredTables(schema, tables);
    const where = new Map<string, readonly Condition[]>();
    for (const [name, request] of Object.entries(tables)) if (request.where !== undefined) where.set(name, request.where);
    // what is told of a row never seen must be whole: only "update" says more than the difference
    const partial = [...monitored.values()].some(({ select }) => select?.initial === false || select?.insert === false);
    const monitor = new Monitor(session, partial ? ["monitor"] : options.methods);
    await monitor.#feed.start(schema, monitored, where);
    // whoever awaits this adds listeners in the microtasks to come
    setImmediate(() => {
      const early = monitor.#early ?? [];
      monitor.#early = undefined;
      for (const emit of early) session.emitSafely(emit);
    });
    return monitor;
  }

  /** The rows of the reply, each as an insert. */
  get initial(): readonly RowChange[] { return this.#initial; }

  /** How the server is asked. */
  get method(): MonitorMethod { return this.#method; }

  /** The newest transaction seen, where the server has such ids. */
  get lastTxnId(): string | undefined { return this.#feed.lastTxnId; }

  /** The rows of a table by UUID, kept up to date. */
  table(name: string): ReadonlyMap<string, Row> {
    return this.#store.table(name);
  }

  cancel(): void {
    this.#feed.cancel();
  }

  #deliver(emit: () => void): void {
    if (this.#early === undefined) emit();
    else this.#early.push(emit);
  }
}
