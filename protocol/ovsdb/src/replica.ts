/**
 * A replica: rows of some tables that outlive the connection they came over. Attached to a session it follows the
 * server; when the session ends it keeps what it has; attached again it asks for what it missed (monitor_cond_since) or
 * compares a full reply with what it holds, so listeners hear of real differences only.
 */

import { EventEmitter } from "node:events";

import { OvsdbConnectionError, type OvsdbError } from "./errors.ts";
import { Feed, type MonitorMethod } from "./monitor.ts";
import { RowStore, type MonitoredTable, type Row, type RowChange } from "./rows.ts";
import type { ColumnType, DatabaseSchema } from "./schema.ts";
import type { OvsdbSession } from "./session.ts";
import type { Operation, OperationResult } from "./transact.ts";

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
}

export class Replica extends EventEmitter<ReplicaEvents> {
  readonly db: string;
  readonly #wanted: ReadonlyMap<string, readonly string[]>;
  readonly #store = new RowStore();
  #attachment: Attachment | undefined;
  #synced = false;
  #lastTxnId: string | undefined;
  /** Tables, columns and types of the last attachment: a transaction id is worth something only if they are the same. */
  #shape = "";
  #report: AttachReport | undefined;

  /** `tables`: columns by table; `_uuid` needs no mention. */
  constructor(db: string, tables: Readonly<Record<string, readonly string[]>>) {
    super();
    this.db = db;
    this.#wanted = new Map(Object.entries(tables));
  }

  /** Whether the rows are those of the server now. */
  get synced(): boolean { return this.#synced; }

  /** The session it is attached to. */
  get session(): OvsdbSession | undefined { return this.#attachment?.session; }

  /** What the last completed attachment found. */
  get report(): AttachReport | undefined { return this.#report; }

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
    const attachment: Attachment = { session, feed: undefined };
    this.#attachment = attachment;
    try {
      return await this.#follow(attachment);
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
    const resumeFrom = shape === this.#shape ? this.#lastTxnId : undefined;
    let report: AttachReport = { missingTables, missingColumns, method: undefined, resumed: false, schema };
    const caughtUp = (changes: RowChange[]): void => {
      this.#shape = shape;
      this.#lastTxnId = attachment.feed?.lastTxnId;
      this.#synced = true;
      this.#report = report;
      if (changes.length > 0) this.emit("change", changes);
      if (this.#attachment === attachment) this.emit("synced", report);
    };
    if (tables.size === 0) {
      this.#store.configure(tables);
      attachment.session.once("close", (reason) => {
        this.#leave(attachment, new OvsdbConnectionError("closed", undefined, reason));
      });
      caughtUp(this.#store.replaceAll({}, 2));
      return report;
    }
    const feed = new Feed(attachment.session, this.#store, {
      synced: (changes, method, resumed) => {
        report = { ...report, method, resumed };
        caughtUp(changes);
      },
      changed: (changes) => {
        this.#lastTxnId = feed.lastTxnId;
        this.emit("change", changes);
      },
      lost: (reason) => this.#leave(attachment, reason),
    }, resumeFrom);
    attachment.feed = feed;
    await feed.start(schema, tables, new Map());
    this.#stillCurrent(attachment);
    return report;
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
