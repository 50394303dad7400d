/**
 * Monitors: which rows and columns a client follows, and what it is told of a commit. The three request methods differ in
 * two things only, whether there are conditions and how a row's change is written:
 *
 *     monitor               <row-update>    whole rows, "old" and "new"       RFC 7047 section 4.1.5
 *     monitor_cond          <row-update2>   defaults left out, differences    ovsdb-server(7) 4.1.12
 *     monitor_cond_since    the same, with the id of the last transaction     ovsdb-server(7) 4.1.15
 */

import { OvsdbError } from "../wire/errors.ts";
import { isArray, type Json, type JsonObject } from "../wire/json.ts";
import { conditionFromJson, matchesAny, type Condition } from "./condition.ts";
import { datumToJson, difference, equalData, isDefault, type Datum } from "./datum.ts";
import type { Commit, Database } from "./database.ts";
import { BOOLEAN, Members, syntaxError } from "./parse.ts";
import type { Column, Row, Table } from "./table.ts";
import type { RowChange } from "./transaction.ts";

export type MonitorVersion = 1 | 2 | 3;
export const UPDATE_METHODS: Readonly<Record<MonitorVersion, string>> = { 1: "update", 2: "update2", 3: "update3" };

/** Kinds of change; a request selects some of them. */
type Kind = "initial" | "insert" | "delete" | "modify";
const KINDS: readonly Kind[] = ["initial", "insert", "delete", "modify"];
type Select = ReadonlySet<Kind>;

interface MonitoredTable {
  readonly table: Table;
  /** What is asked for in any of the table's requests. */
  readonly select: Set<Kind>;
  readonly columns: Map<Column, Select>;
  /** Columns that only conditions look at: their changes count as changes of the row, and are not told. */
  readonly watched: Set<Column>;
  condition: Condition;
}

type OldAndNow = Pick<RowChange, "uuid" | "old" | "now">;

/** Several commits as one: each row as it was before the first and is after the last. */
function merge(commits: readonly Commit[]): readonly RowChange[] {
  const merged = new Map<string, RowChange>();
  for (const change of commits.flatMap(({ changes }) => changes)) {
    const key = `${change.table.name} ${change.uuid}`, before = merged.get(key);
    const both = before === undefined ? change : { ...change, old: before.old };
    if (both.old === undefined && both.now === undefined) merged.delete(key);
    else merged.set(key, both);
  }
  return [...merged.values()];
}

export class MonitorState {
  readonly database: Database;
  readonly version: MonitorVersion;
  id: Json;
  readonly #tables = new Map<string, MonitoredTable>();

  /** @throws OvsdbError for a request that does not fit the database */
  constructor(database: Database, version: MonitorVersion, id: Json, requests: JsonObject) {
    this.database = database;
    this.version = version;
    this.id = id;
    for (const [name, request] of Object.entries(requests)) {
      const table = database.tables.get(name);
      if (table === undefined) throw new OvsdbError("syntax error", { details: `no table named ${name}` });
      const monitored: MonitoredTable = { table, select: new Set(), columns: new Map(), watched: new Set(), condition: [] };
      this.#tables.set(name, monitored);
      for (const part of isArray(request) ? request : [request]) this.#addRequest(monitored, part);
    }
  }

  /**
   * The result of the request: the rows as they are, or with `since` (the id of a transaction that the database still
   * knows) what has changed after it.
   */
  reply(since: string | undefined): Json {
    const commits = since === undefined ? undefined : this.database.commitsAfter(since);
    const updates = commits === undefined ? this.#initial() : this.#compose(merge(commits));
    return this.version === 3 ? [commits !== undefined, this.database.lastId, updates ?? {}] : updates ?? {};
  }

  /** The parameters of the notification of a commit; undefined when the client need not know. */
  update(commit: Commit): readonly Json[] | undefined {
    return this.#params(this.#compose(commit.changes));
  }

  /**
   * Replaces conditions and gives the parameters of the notification of the rows that come and go, if any.
   * @throws OvsdbError and nothing has changed
   */
  changeConditions(id: Json, requests: JsonObject): readonly Json[] | undefined {
    const fresh = new Map<MonitoredTable, Condition>();
    for (const [name, request] of Object.entries(requests)) {
      const refuse = (details: string): never => { throw new OvsdbError("syntax error", { details }); };
      const monitored = this.#tables.get(name);
      if (!this.database.tables.has(name)) return refuse(`no table named ${name}`);
      if (monitored === undefined) return refuse(`no table named ${name} in monitor session`);
      if (!isArray(request)) return refuse(`table ${name} no monitor-cond-change JSON array`);
      for (const part of request) {
        const members = new Members(part, `table ${name}`);
        const columns = members.optional("columns", "array"), where = members.optional("where", "array");
        members.finishOrThrow();
        if (columns !== undefined) throw syntaxError(part, "changing columns is unsupported");
        // a plain monitor has no conditions, and takes any for its own; ovsdb-server 3.1 dies of an absent "where" here, we do not
        if (this.version !== 1) fresh.set(monitored, conditionFromJson(monitored.table, (where ?? []) as readonly Json[]));
      }
    }
    this.id = id;
    const updates: Record<string, Json> = {};
    for (const [monitored, condition] of fresh) {
      const { table, condition: before } = monitored;
      this.#setCondition(monitored, condition);
      const rows: Record<string, Json> = {};
      for (const row of table.rows.values()) {
        const had = matchesAny(before, row.cells), has = matchesAny(condition, row.cells);
        const json = had === has ? undefined : had ? this.#delta(monitored, "delete", row.cells, undefined) : this.#delta(monitored, "insert", undefined, row.cells);
        if (json !== undefined) rows[row.uuid] = json;
      }
      if (Object.keys(rows).length > 0) updates[table.name] = rows;
    }
    return this.#params(Object.keys(updates).length === 0 ? undefined : updates);
  }

  #params(updates: JsonObject | undefined): readonly Json[] | undefined {
    if (updates === undefined) return undefined;
    return this.version === 3 ? [this.id, this.database.lastId, updates] : [this.id, updates];
  }

  #addRequest(monitored: MonitoredTable, json: Json): void {
    const { table, columns } = monitored;
    const members = new Members(json, `table ${table.name}`);
    const where = this.version === 1 ? undefined : members.optional("where", "array");
    const columnsJson = members.optional("columns", "array") as readonly Json[] | undefined, selectJson = members.optional("select", "object");
    members.finishOrThrow();
    const select = new Set(KINDS);
    if (selectJson !== undefined) {
      const chosen = new Members(selectJson, `table ${table.name} select`);
      for (const kind of KINDS) if (chosen.optional(kind, ...BOOLEAN) === false) select.delete(kind);
      chosen.finishOrThrow();
    }
    for (const kind of select) monitored.select.add(kind);
    const twice = (column: Column): OvsdbError => syntaxError(columnsJson, `column ${column.name} mentioned more than once`);
    for (const column of columnsJson === undefined ? table.columns.slice(1) : columnsJson.map((name) => this.#columnNamed(table, name, columnsJson))) {
      if (columns.has(column)) throw twice(column);
      columns.set(column, select);
    }
    if (this.version !== 1) this.#setCondition(monitored, conditionFromJson(table, (where ?? []) as readonly Json[]));
  }

  #columnNamed(table: Table, name: Json, json: Json): Column {
    if (typeof name !== "string") throw syntaxError(json, "array of column names expected");
    const column = table.byName.get(name);
    if (column === undefined) throw syntaxError(json, `${name} is not a valid column name`);
    return column;
  }

  #setCondition(monitored: MonitoredTable, condition: Condition): void {
    monitored.condition = condition;
    for (const clause of condition) {
      if (typeof clause !== "boolean" && !monitored.columns.has(clause.column)) monitored.watched.add(clause.column);
    }
  }

  #initial(): JsonObject | undefined {
    const rows = function* (table: Table): Generator<OldAndNow> {
      for (const now of table.rows.values()) yield { uuid: now.uuid, old: undefined, now };
    };
    const updates: Record<string, Json> = {};
    for (const monitored of this.#tables.values()) {
      if (monitored.select.has("initial")) this.#add(updates, monitored, rows(monitored.table), true);
    }
    return Object.keys(updates).length === 0 ? undefined : updates;
  }

  #compose(changes: readonly RowChange[]): JsonObject | undefined {
    const byTable = new Map<string, RowChange[]>();
    for (const change of changes) {
      const list = byTable.get(change.table.name);
      if (list === undefined) byTable.set(change.table.name, [change]);
      else list.push(change);
    }
    const updates: Record<string, Json> = {};
    for (const [name, list] of byTable) {
      const monitored = this.#tables.get(name);
      if (monitored !== undefined) this.#add(updates, monitored, list, false);
    }
    return Object.keys(updates).length === 0 ? undefined : updates;
  }

  #add(updates: Record<string, Json>, monitored: MonitoredTable, changes: Iterable<OldAndNow>, initial: boolean): void {
    const rows: Record<string, Json> = {};
    let any = false;
    for (const { uuid, old, now } of changes) {
      const json = this.#rowUpdate(monitored, old, now, initial);
      if (json === undefined) continue;
      rows[uuid] = json;
      any = true;
    }
    if (any) updates[monitored.table.name] = rows;
  }

  #rowUpdate(monitored: MonitoredTable, old: Row | undefined, now: Row | undefined, initial: boolean): JsonObject | undefined {
    const kind: Kind = initial ? "initial" : old === undefined ? "insert" : now === undefined ? "delete" : "modify";
    if (this.version === 1) return monitored.select.has(kind) ? this.#whole(monitored, kind, old?.cells, now?.cells) : undefined;
    const { condition } = monitored;
    const had = old !== undefined && matchesAny(condition, old.cells), has = now !== undefined && matchesAny(condition, now.cells);
    if (!had && !has) return undefined;
    const seen = kind !== "modify" ? kind : !had ? "insert" : !has ? "delete" : "modify";
    return monitored.select.has(seen) ? this.#delta(monitored, seen, old?.cells, now?.cells) : undefined;
  }

  /** Whether anything the monitor looks at differs. */
  #differs({ columns, watched }: MonitoredTable, old: readonly Datum[], now: readonly Datum[]): boolean {
    for (const { index } of columns.keys()) if (!equalData(old[index]!, now[index]!)) return true;
    for (const { index } of watched) if (!equalData(old[index]!, now[index]!)) return true;
    return false;
  }

  #whole(monitored: MonitoredTable, kind: Kind, old: readonly Datum[] | undefined, now: readonly Datum[] | undefined): JsonObject | undefined {
    if (kind === "modify" && !this.#differs(monitored, old!, now!)) return undefined;
    const before: Record<string, Json> = {}, after: Record<string, Json> = {};
    for (const [{ name, index, type }, select] of monitored.columns) {
      if (!select.has(kind)) continue;
      if (old !== undefined && (now === undefined || !equalData(old[index]!, now[index]!))) before[name] = datumToJson(type, old[index]!);
      if (now !== undefined) after[name] = datumToJson(type, now[index]!);
    }
    return { ...(old === undefined ? {} : { old: before }), ...(now === undefined ? {} : { new: after }) };
  }

  #delta(monitored: MonitoredTable, kind: Kind, old: readonly Datum[] | undefined, now: readonly Datum[] | undefined): JsonObject | undefined {
    if (kind === "delete") return monitored.select.has("delete") ? { delete: null } : undefined;
    if (!monitored.select.has(kind)) return undefined;
    if (kind === "modify" && !this.#differs(monitored, old!, now!)) return undefined;
    const cells: Record<string, Json> = {};
    for (const [{ name, index, type }, select] of monitored.columns) {
      if (!select.has(kind)) continue;
      const value = now![index]!;
      if (kind !== "modify") {
        if (!isDefault(type, value)) cells[name] = datumToJson(type, value);
      } else if (!equalData(old![index]!, value)) {
        // a difference of one element is written without "set", as any value is
        cells[name] = datumToJson(type, difference(type, old![index]!, value));
      }
    }
    return { [kind]: cells };
  }
}
