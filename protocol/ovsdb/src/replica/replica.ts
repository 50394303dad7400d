/**
 * A replica: rows of some tables that outlive the connection they came over. Attached to a session it follows the
 * server; when the session ends it keeps what it has; attached again it asks for what it missed (monitor_cond_since) or
 * compares a full reply with what it holds, so listeners hear of real differences only.
 */

import { EventEmitter } from "node:events";

import { OvsdbConnectionError, type OvsdbError } from "../wire/errors.ts";
import { Feed, METHODS, type MonitorMethod } from "../session/monitor.ts";
import { done, RowStore, type MonitoredTable, type Row, type RowChange } from "../session/rows.ts";
import type { ColumnType, DatabaseSchema } from "../schema/schema.ts";
import type { OvsdbSession } from "../session/session.ts";
import type { Operation, OperationResult } from "../session/transact.ts";
import { encodeCondition, type Condition } from "../schema/values.ts";

/** Conditions by table; a row is followed if any of its table's matches. None = all rows, `[false]` = none. */
export type Conditions = Readonly<Record<string, readonly Condition[]>>;

export interface ReplicaOptions {
  /** The rows to follow at first; see setConditions. */
  readonly where?: Conditions | undefined;
  /** The ways to ask for updates, in this order; what the server does not know is passed over. */
  readonly methods?: readonly MonitorMethod[] | undefined;
}

export interface AttachReport {
  /** Tables asked for that this server does not have; they are empty. */
  readonly missingTables: readonly string[];
  /** Columns asked for that this server does not have, "Table.column"; rows lack them. */
  readonly missingColumns: readonly string[];
  /** How the server is asked; undefined when it has none of the tables. */
  readonly method: MonitorMethod | undefined;
  /** True when the server sent only what happened since the last attachment. */
  readonly resumed: boolean;
  readonly schema: DatabaseSchema;
}

export interface ReplicaEvents {
  /** The changes of one transaction, or all that happened between two attachments. Never empty. */
  change: [changes: readonly RowChange[]];
  /** The replica has caught up with its server. */
  synced: [report: AttachReport];
  /** The replica stopped following; its rows stay as they are. undefined after detach(). */
  lost: [reason: OvsdbError | undefined];
}

interface Attachment {
  readonly session: OvsdbSession;
  feed: Feed | undefined;
  /** Settles when the rows are the server's, under whatever conditions. */
  synced: Promise<unknown>;
  /** The change of conditions under way, shared by all who wait for it. */
  changing: Promise<void> | undefined;
  /** Asks for all rows again. */
  restart: () => Promise<void>;
}

export class Replica extends EventEmitter<ReplicaEvents> {
  readonly db: string;
  readonly #wanted: ReadonlyMap<string, readonly string[]>;
  readonly #methods: readonly MonitorMethod[];
  readonly #store = new RowStore();
  #attachment: Attachment | undefined;
  /** The conditions asked for. */
  #where: ReadonlyMap<string, readonly Condition[]>;
  /** Those that the rows held were chosen by; undefined while a change of them is under way: then nobody can tell. */
  #whereHeld: ReadonlyMap<string, readonly Condition[]> | undefined;
  #revision = 0;
  #synced = false;
  #lastTxnId: string | undefined;
  /** Tables, columns and types of the last attachment: a transaction id is worth something only if they are the same. */
  #shape = "";
  #report: AttachReport | undefined;

  /** `tables`: columns by table; `_uuid` needs no mention. */
  constructor(db: string, tables: Readonly<Record<string, readonly string[]>>, options: ReplicaOptions = {}) {
    super();
    this.db = db;
    this.#wanted = new Map(Object.entries(tables));
    this.#where = new Map(Object.entries(options.where ?? {}));
    this.#methods = options.methods ?? METHODS;
  }

  /** Whether the rows are those of the server now. */
  get synced(): boolean { return this.#synced; }

  /** The session it is attached to. */
  get session(): OvsdbSession | undefined { return this.#attachment?.session; }

  /** What the last completed attachment found. */
  get report(): AttachReport | undefined { return this.#report; }

  /** Counts the changes of the rows. */
  get revision(): number { return this.#revision; }

  /** The names of its tables, those that the server lacks included. */
  get tables(): readonly string[] { return [...this.#wanted.keys()]; }

  /** The columns that are followed of a table, without `_uuid`; undefined for a table that was not asked for. */
  columns(table: string): readonly string[] | undefined {
    return this.#wanted.get(table);
  }

  /** The rows of a table by UUID: live, not to be changed. Empty for a table that was not asked for. */
  table<R extends Row = Row>(name: string): ReadonlyMap<string, R> {
    return this.#store.table(name) as ReadonlyMap<string, R>;
  }

  /**
   * Follows a server; leaves the session it followed before. Resolves when the rows are the server's.
   * @throws OvsdbError "unknown database"; OvsdbConnectionError "superseded" by a later attach or detach, or as the session ended
   */
  async attach(session: OvsdbSession): Promise<AttachReport> {
    this.detach();
    const attachment: Attachment = { session, feed: undefined, synced: Promise.resolve(), changing: undefined, restart: () => Promise.resolve() };
    this.#attachment = attachment;
    try {
      const following = this.#follow(attachment);
      attachment.synced = following;
      const report = await following;
      await this.#catchUp(attachment);
      this.#stillCurrent(attachment);
      return report;
    } catch (error) {
      if (this.#attachment === attachment) this.#attachment = undefined;
      attachment.feed?.cancel();
      throw error;
    }
  }

  /** Stops following; rows and the place to resume from are kept, the session is left open. */
  detach(): void {
    const attachment = this.#attachment;
    if (attachment === undefined) return;
    this.#leave(attachment, undefined);
    attachment.feed?.cancel();
  }

  /**
   * Follows other rows: replaces the conditions of the tables named. Resolves when the rows are those of the new
   * conditions, at once when it is not attached (the next attachment uses them). Every row that comes or goes by it is
   * in a `change` event as if it were inserted or deleted.
   * @throws OvsdbValueError for a condition that does not fit the schema, the old ones then stay; OvsdbConnectionError
   * when the session ends meanwhile, the next attachment uses the new ones
   */
  async setConditions(conditions: Conditions): Promise<void> {
    const report = this.#report;
    if (report !== undefined) {
      for (const [name, list] of Object.entries(conditions)) {
        const table = report.schema.tables.get(name);
        if (table !== undefined) for (const condition of list) encodeCondition(table, condition);
      }
    }
    this.#where = new Map([...this.#where, ...Object.entries(conditions)]);
    const attachment = this.#attachment;
    if (attachment === undefined) return;
    await attachment.synced;
    await this.#catchUp(attachment);
  }

  /** Runs a transaction on the session it is attached to; when it resolves, the rows show its effects. */
  transact(operations: readonly Operation[]): Promise<OperationResult[]> {
    const session = this.#attachment?.session;
    if (session === undefined) return Promise.reject(new OvsdbConnectionError("not connected", `the replica of ${this.db} is not attached`));
    return session.transact(this.db, operations);
  }

  async #follow(attachment: Attachment): Promise<AttachReport> {
    const schema = await attachment.session.getSchema(this.db);
    this.#stillCurrent(attachment);
    const tables = new Map<string, MonitoredTable>();
    const missingTables: string[] = [], missingColumns: string[] = [];
    for (const [name, wanted] of this.#wanted) {
      const table = schema.tables.get(name);
      if (table === undefined) { missingTables.push(name); continue; }
      const columns = new Map<string, ColumnType>();
      for (const column of wanted) {
        if (column === "_uuid") continue;
        const found = table.columns.get(column);
        if (found === undefined) missingColumns.push(`${name}.${column}`);
        else columns.set(column, found.type);
      }
      tables.set(name, { schema: table, columns });
    }
    const shape = shapeOf(tables);
    let report: AttachReport = { missingTables, missingColumns, method: undefined, resumed: false, schema };
    const caughtUp = (changes: RowChange[]): void => {
      this.#shape = shape;
      this.#lastTxnId = attachment.feed?.lastTxnId;
      this.#synced = true;
      this.#report = report;
      if (changes.length > 0) this.#revision++;
      if (changes.length > 0) this.emit("change", changes);
      if (this.#attachment === attachment) this.emit("synced", report);
    };
    if (tables.size === 0) {
      this.#whereHeld = this.#where;
      this.#store.configure(tables);
      attachment.session.once("close", (reason) => {
        this.#leave(attachment, new OvsdbConnectionError("closed", undefined, reason));
      });
      caughtUp(done(this.#store.replaceAll({}, 2)));
      return report;
    }
    const start = async (resume: boolean): Promise<void> => {
      // rows chosen by other conditions cannot be resumed under these; under their own they can, and are changed after
      const held = resume && shape === this.#shape && this.#lastTxnId !== undefined ? this.#whereHeld : undefined;
      const where = held ?? this.#where;
      const feed = new Feed(attachment.session, this.#store, {
        synced: (changes, method, resumed) => {
          report = { ...report, method, resumed };
          this.#whereHeld = where;
          caughtUp(changes);
        },
        changed: (changes) => {
          this.#lastTxnId = feed.lastTxnId;
          this.#revision++;
          this.emit("change", changes);
        },
        lost: (reason) => this.#leave(attachment, reason),
      }, held === undefined ? undefined : this.#lastTxnId, this.#methods);
      attachment.feed = feed;
      await feed.start(schema, tables, where);
      this.#stillCurrent(attachment);
    };
    attachment.restart = () => {
      attachment.feed?.cancel();
      return start(false);
    };
    await start(true);
    return report;
  }

  /** Brings the server's conditions in line with those asked for, one request at a time. */
  async #catchUp(attachment: Attachment): Promise<void> {
    while (this.#attachment === attachment && this.#whereHeld !== this.#where) {
      attachment.changing ??= this.#changeConditions(attachment).finally(() => { attachment.changing = undefined; });
      await attachment.changing;
    }
    if (this.#whereHeld !== this.#where) this.#stillCurrent(attachment);
  }

  async #changeConditions(attachment: Attachment): Promise<void> {
    const { feed } = attachment;
    const target = this.#where;
    const before = this.#whereHeld ?? new Map<string, readonly Condition[]>();
    const changed = new Map([...target].filter(([name, conditions]) => before.get(name) !== conditions));
    if (feed === undefined || changed.size === 0) {
      this.#whereHeld = target;
    } else if (feed.method === "monitor") {
      // such a server knows nothing of conditions: rows left out so far have to be asked for anew
      await attachment.restart();
    } else {
      this.#whereHeld = undefined;
      try {
        await feed.changeConditions(changed);
      } catch (error) {
        // refused: the server goes on with the old ones
        if (this.#attachment === attachment && this.#synced) {
          this.#whereHeld = before;
          if (this.#where === target) this.#where = before;
        }
        throw error;
      }
      if (this.#attachment === attachment) this.#whereHeld = target;
    }
  }

  #stillCurrent(attachment: Attachment): void {
    if (this.#attachment === attachment) return;
    throw new OvsdbConnectionError(attachment.session.open ? "superseded" : "closed", "the replica was attached elsewhere, detached or lost its session");
  }

  #leave(attachment: Attachment, reason: OvsdbError | undefined): void {
    if (this.#attachment !== attachment) return;
    this.#attachment = undefined;
    const wasSynced = this.#synced;
    this.#synced = false;
    // an update that made no sense: what is held cannot be resumed from
    if (reason?.code === "bad update" || reason?.code === "canceled") this.#lastTxnId = undefined;
    if (wasSynced) this.emit("lost", reason);
  }
}

function shapeOf(tables: ReadonlyMap<string, MonitoredTable>): string {
  const plain = [...tables].map(([name, { columns }]) => [name, [...columns]]);
  return JSON.stringify(plain, (_, value: unknown) => (typeof value === "bigint" ? `${value}n` : value === Infinity ? "unlimited" : value));
}
