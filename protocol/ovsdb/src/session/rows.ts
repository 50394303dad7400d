/**
 * Rows kept by UUID and how monitor replies and notifications change them: <table-updates> (update) and
 * <table-updates2> (update2, update3), both turned into the same list of real changes. No I/O.
 */

import { OvsdbProtocolError } from "../wire/errors.ts";
import { isArray, isObject, type Json, type JsonObject } from "../wire/json.ts";
import type { ColumnType } from "../schema/schema.ts";
import { applyDiff, decodeValue, defaultValue, equalValues, isUuid, matches, type Condition, type Value } from "../schema/values.ts";
import type { TableSchema } from "../schema/schema.ts";

/** A decoded row: its columns by name and `_uuid`. Never changed in place; a change makes a new one. */
export type Row = Readonly<Record<string, Value>> & { readonly _uuid: string };

export interface RowChange<R extends Row = Row> {
  readonly table: string;
  readonly uuid: string;
  /** Absent for an insert. */
  readonly old?: R;
  /** Absent for a delete. */
  readonly new?: R;
}

/** Which kinds of updates a server sends; what is left out is sent. RFC 7047 section 4.1.5 */
export interface MonitorSelect {
  readonly initial?: boolean;
  readonly insert?: boolean;
  readonly delete?: boolean;
  readonly modify?: boolean;
}

/** One table as it is monitored. */
export interface MonitoredTable {
  readonly schema: TableSchema;
  readonly columns: ReadonlyMap<string, ColumnType>;
  /** Rows to keep, where the server cannot filter; a row matches if any condition does. */
  readonly filter?: readonly Condition[] | undefined;
  /** Kinds of updates that the server is told to leave out. */
  readonly select?: MonitorSelect | undefined;
}

export type UpdateForm = 1 | 2;

/** Work in pieces: it stops after each. */
export type Work<T = void> = Generator<undefined, T, undefined>;

/** Does it at once, to its end. */
export function done<T>(work: Work<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** Atoms of rows that are read at a time. */
const PIECE_ATOMS = 4096;

const bad = (details: string): never => { throw new OvsdbProtocolError("bad update", details); };

export class RowStore {
  #monitored: ReadonlyMap<string, MonitoredTable> = new Map();
  readonly #tables = new Map<string, Map<string, Row>>();
  /** Atoms read since the last stop: many small updates are as much work as a large one. */
  #read = 0;

  table(name: string): ReadonlyMap<string, Row> {
    return this.#rows(name);
  }

  /** Sets what later updates are about; rows stay as they are until an update or replaceAll changes them. */
  configure(monitored: ReadonlyMap<string, MonitoredTable>): void {
    this.#monitored = monitored;
    for (const name of monitored.keys()) this.#rows(name);
  }

  /**
   * Applies updates to the rows at hand. All or nothing: nothing changes when it throws, or is not run to its end.
   * @throws OvsdbProtocolError "bad update", OvsdbValueError
   */
  *apply(updates: Json | undefined, form: UpdateForm): Work<RowChange[]> {
    const changes: RowChange[] = [];
    for (const [name, table, uuid, update] of each(this.#monitored, updates)) {
      const old = this.#rows(name).get(uuid);
      const next = yield* form === 1 ? this.#next1(table, uuid, old, update) : this.#next2(table, uuid, old, update);
      this.#record(changes, name, table, uuid, old, next);
    }
    this.#commit(changes);
    return changes;
  }

  /** Takes a full reply: what it does not mention is gone. Returns the real differences to the rows held before. */
  *replaceAll(updates: Json | undefined, form: UpdateForm): Work<RowChange[]> {
    const changes: RowChange[] = [];
    const seen = new Map<string, Set<string>>();
    for (const [name, table, uuid, update] of each(this.#monitored, updates)) {
      const next = yield* form === 1 ? this.#next1(table, uuid, undefined, update) : this.#next2(table, uuid, undefined, update);
      if (next === undefined) continue;
      let uuids = seen.get(name);
      if (uuids === undefined) seen.set(name, uuids = new Set());
      uuids.add(uuid);
      this.#record(changes, name, table, uuid, this.#rows(name).get(uuid), next);
    }
    for (const [name, rows] of this.#tables) {
      for (const [uuid, old] of rows) if (seen.get(name)?.has(uuid) !== true) changes.push({ table: name, uuid, old });
    }
    this.#commit(changes);
    return changes;
  }

  #rows(name: string): Map<string, Row> {
    let rows = this.#tables.get(name);
    if (rows === undefined) this.#tables.set(name, rows = new Map<string, Row>());
    return rows;
  }

  #record(changes: RowChange[], name: string, table: MonitoredTable, uuid: string, old: Row | undefined, found: Row | undefined): void {
    const kept = found === undefined || table.filter === undefined || table.filter.some((condition) => matches(table.schema, found, condition));
    const next = kept ? found : undefined;
    if (next === undefined) {
      if (old !== undefined) changes.push({ table: name, uuid, old });
    } else if (old === undefined) {
      changes.push({ table: name, uuid, new: next });
    } else if (!equalRows(table, old, next)) {
      changes.push({ table: name, uuid, old, new: next });
    }
  }

  #commit(changes: readonly RowChange[]): void {
    for (const change of changes) {
      const rows = this.#rows(change.table);
      if (change.new === undefined) rows.delete(change.uuid);
      else rows.set(change.uuid, change.new);
    }
  }

  /** <row-update>: "new" is the whole row, except that a modified row may leave out what did not change. */
  *#next1(table: MonitoredTable, uuid: string, old: Row | undefined, update: JsonObject): Work<Row | undefined> {
    const fresh = update["new"];
    if (fresh === undefined || fresh === null) {
      yield* this.#pause(1);
      return update["old"] === undefined ? bad(`update of row ${uuid} has neither "old" nor "new"`) : undefined;
    }
    return yield* this.#decodeRow(table, uuid, fresh, old);
  }

  /** <row-update2> */
  *#next2(table: MonitoredTable, uuid: string, old: Row | undefined, update: JsonObject): Work<Row | undefined> {
    if (Object.hasOwn(update, "delete")) {
      yield* this.#pause(1);
      return undefined;
    }
    const whole = update["initial"] ?? update["insert"];
    if (whole !== undefined) return yield* this.#decodeRow(table, uuid, whole, undefined);
    const diff = update["modify"];
    if (!isObject(diff)) return bad(`update of row ${uuid} is of no known kind`);
    if (old === undefined) return bad(`row ${uuid} of table ${table.schema.name} is modified but was never seen`);
    const next: Record<string, Value> & { _uuid: string } = { ...old };
    for (const [column, value] of Object.entries(diff)) {
      const type = table.columns.get(column);
      if (type === undefined) return bad(`column ${shortly(column)} of table ${table.schema.name} is not monitored`);
      const before = old[column];
      yield* this.#pause(atoms(value) + (Array.isArray(before) ? before.length : 1));
      next[column] = applyDiff(type, before, value);
    }
    return next;
  }

  *#decodeRow(table: MonitoredTable, uuid: string, json: Json, base: Row | undefined): Work<Row> {
    if (!isObject(json)) return bad(`row ${uuid} is no object`);
    yield* this.#pause(1 + table.columns.size); // a column that is left out is set as well
    const row: Record<string, Value> & { _uuid: string } = { _uuid: uuid };
    for (const [column, type] of table.columns) {
      const value = Object.hasOwn(json, column) ? json[column] : undefined;
      if (value !== undefined && (this.#read += atoms(value)) > PIECE_ATOMS) yield* this.#pause(0);
      row[column] = value !== undefined ? decodeValue(type, value)
        : base !== undefined && column in base ? base[column] : defaultValue(type);
    }
    for (const column of Object.keys(json)) {
      if (!table.columns.has(column)) return bad(`column ${shortly(column)} of table ${table.schema.name} is not monitored`);
    }
    return row;
  }

  *#pause(read: number): Work {
    if ((this.#read += read) <= PIECE_ATOMS) return;
    this.#read = 0;
    yield;
  }
}

/** How much there is to read of a value: what it holds, of a set or map. */
const atoms = (value: Json): number => (isArray(value) && isArray(value[1] ?? null) ? 1 + (value[1] as readonly Json[]).length : 1);

const shortly = (text: string): string => (text.length > 80 ? `${text.slice(0, 77)}...` : text);

function* each(monitored: ReadonlyMap<string, MonitoredTable>, updates: Json | undefined): Generator<[name: string, table: MonitoredTable, uuid: string, update: JsonObject], void, undefined> {
  if (!isObject(updates)) return bad("table updates are no object");
  for (const [name, rows] of Object.entries(updates)) {
    const table = monitored.get(name);
    if (table === undefined) return bad(`table ${shortly(name)} is not monitored`);
    if (!isObject(rows)) return bad(`updates of table ${name} are no object`);
    for (const [uuid, update] of Object.entries(rows)) {
      if (!isUuid(uuid)) return bad(`${JSON.stringify(shortly(uuid))} in table ${name} is no UUID`);
      if (!isObject(update)) return bad(`update of row ${uuid} in table ${name} is no object`);
      yield [name, table, uuid.toLowerCase(), update];
    }
  }
}

function equalRows(table: MonitoredTable, a: Row, b: Row): boolean {
  // a row of before a schema change may have other columns
  if (Object.keys(a).length !== Object.keys(b).length) return false;
  for (const [column, type] of table.columns) {
    if (!(column in a) || !equalLoosely(type, a[column], b[column])) return false;
  }
  return true;
}

/** As equalValues, for a value that a different type of the same column may have made. */
function equalLoosely(type: ColumnType, a: Value, b: Value): boolean {
  const shape = (value: Value): string => (Array.isArray(value) ? "array" : value instanceof Map ? "map" : typeof value);
  return shape(a) === shape(b) && equalValues(type, a, b);
}
