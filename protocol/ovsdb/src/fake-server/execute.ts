/**
 * The operations of a transaction (RFC 7047 section 5.2), each a function of its parsed members. One runs after the other
 * on the same tables; the first refusal ends them, and what is left gets null for a result.
 */

import { OvsdbError } from "../wire/errors.ts";
import type { Json, JsonObject } from "../wire/json.ts";
import { checkAtomConstraints, compareAtoms, datumToJson, equalData, type Datum, type Symbols } from "./datum.ts";
import { conditionFromJson, matchesAll, mutationsFromJson, onlyRow, type Condition } from "./condition.ts";
import { errorToJson, Members, syntaxError } from "./parse.ts";
import { Table, type Column, type Row } from "./table.ts";
import type { Transaction } from "./transaction.ts";
import { isUuid } from "../schema/values.ts";

/** What a transaction runs on and for whom. */
export interface Execution {
  readonly tables: ReadonlyMap<string, Table>;
  readonly transaction: Transaction;
  /** A database whose name begins with "_": the server's own, not to be written; its name. */
  readonly reserved: string | undefined;
  readonly newUuid: () => string;
  readonly ownsLock: (name: string) => boolean;
  /** Since the request came, in ms. */
  readonly elapsedMs: number;
}

/**
 * Results of the operations; `complete` when none was refused. Or the transaction waits: to be run again when the database
 * changes, or after `waitMs` (Infinity: no limit) at the latest.
 */
export type Outcome =
  | { readonly results: readonly Json[]; readonly complete: boolean }
  | { readonly results: undefined; readonly waitMs: number };

/** Thrown by "wait" whose time has not come. */
class Unsatisfied extends OvsdbError {}

interface Names extends Symbols {
  /** The UUID for a row to be inserted. @throws OvsdbError when the name is taken */
  define(name: string, uuid: string | undefined): string;
}

function namesOf(newUuid: () => string): Names {
  const uuids = new Map<string, string>(), defined = new Set<string>();
  const resolve = (name: string): string => {
    let uuid = uuids.get(name);
    if (uuid === undefined) uuids.set(name, uuid = newUuid());
    return uuid;
  };
  return {
    resolve,
    define: (name, uuid) => {
      if (defined.has(name)) throw syntaxError(name, 'This "uuid-name" appeared on an earlier "insert" operation.', "duplicate uuid-name");
      defined.add(name);
      if (uuid !== undefined) uuids.set(name, uuid);
      return resolve(name);
    },
  };
}

interface Run extends Execution {
  readonly names: Names;
  /** The shortest timeout of the "wait" operations so far, in ms. */
  waitMs: number;
}

type Operation = (run: Run, members: Members) => JsonObject;

function tableOf(run: Run, members: Members): Table | undefined {
  const name = members.required("table", "id") as string | undefined;
  const table = name === undefined ? undefined : run.tables.get(name);
  if (name !== undefined && table === undefined) members.fail(`No table named ${name}.`);
  return table;
}

const array = (json: Json | undefined): readonly Json[] => json as readonly Json[];

function columnsFromJson(table: Table, json: Json | undefined): readonly Column[] {
  if (json === undefined) return table.columns;
  const columns = new Set<Column>();
  for (const name of array(json)) {
    const column = typeof name === "string" ? table.byName.get(name) : undefined;
    if (typeof name === "string" && column === undefined) throw syntaxError(json, `${name} is not a valid column name`);
    if (column === undefined || columns.has(column)) throw syntaxError(json, "array of distinct column names expected");
    columns.add(column);
  }
  return [...columns];
}

/** The rows that match; a list of its own, for they may be changed while it is walked. */
function query(table: Table, condition: Condition): Row[] {
  const only = onlyRow(condition);
  if (only !== undefined) {
    const row = table.rows.get(only);
    return row !== undefined && matchesAll(condition, row.cells) ? [row] : [];
  }
  const found: Row[] = [];
  for (const row of table.rows.values()) if (matchesAll(condition, row.cells)) found.push(row);
  return found;
}

const insert: Operation = (run, members) => {
  const table = tableOf(run, members);
  const uuidJson = members.optional("uuid", "string") as string | undefined, name = members.optional("uuid-name", "id") as string | undefined;
  const rowJson = members.required("row", "object");
  members.check();
  const given = uuidJson?.toLowerCase();
  if (given !== undefined) {
    if (!isUuid(given)) throw syntaxError(uuidJson, "bad uuid");
    if (!run.transaction.mayInsert(table!, given)) {
      throw syntaxError(uuidJson, "This UUID would duplicate a UUID already present within the table or deleted within the same transaction.", "duplicate uuid");
    }
  }
  const uuid = name === undefined ? given ?? run.newUuid() : run.names.define(name, given);
  const cells = table!.blank();
  table!.readRow(rowJson, cells, run.names);
  for (const { index, type } of table!.columns) {
    const { keys, values } = cells[index]!;
    if (keys.length !== 1) continue; // none: nothing to check; more: no default, checked already
    checkAtomConstraints(type.key, keys[0]!);
    if (type.value !== undefined) checkAtomConstraints(type.value, values![0]!);
  }
  run.transaction.insert(table!, uuid, cells);
  return { uuid: ["uuid", uuid] };
};

function byColumns(columns: readonly Column[]): (a: Row, b: Row) => number {
  return (a, b) => {
    for (const { index } of columns) {
      const x = a.cells[index]!.keys, y = b.cells[index]!.keys;
      if (x.length !== y.length) return x.length - y.length;
      for (let i = 0; i < x.length; i++) {
        const order = compareAtoms(x[i]!, y[i]!);
        if (order !== 0) return order;
      }
    }
    return 0;
  };
}

export function rowToJson(row: Row, columns: readonly Column[]): JsonObject {
  return Object.fromEntries(columns.map(({ name, index, type }) => [name, datumToJson(type, row.cells[index]!)]));
}

const select: Operation = (run, members) => {
  const table = tableOf(run, members);
  const where = members.required("where", "array"), columnsJson = members.optional("columns", "array"), sortJson = members.optional("sort", "array");
  members.check();
  const condition = conditionFromJson(table!, array(where), run.names);
  const columns = columnsFromJson(table!, columnsJson), sort = columnsFromJson(table!, sortJson);
  let rows = query(table!, condition);
  if (!columns.some((column) => column.name === "_uuid")) {
    const distinct = new Map<string, Row>();
    for (const row of rows) distinct.set(Table.keyOf(row, columns), row);
    rows = [...distinct.values()];
  }
  rows.sort(byColumns(sort));
  return { rows: rows.map((row) => rowToJson(row, columns)) };
};

const update: Operation = (run, members) => {
  const table = tableOf(run, members), where = members.required("where", "array"), rowJson = members.required("row", "object");
  members.check();
  const given = table!.blank(), columns = table!.readRow(rowJson, given, run.names);
  const fixed = columns.find((column) => !column.mutable);
  if (fixed !== undefined) throw syntaxError(members.json, `Cannot update immutable column ${fixed.name} in table ${table!.name}.`, "constraint violation");
  const rows = query(table!, conditionFromJson(table!, array(where), run.names));
  for (const row of rows) {
    if (columns.every(({ index }) => equalData(row.cells[index]!, given[index]!))) continue;
    const cells = [...row.cells];
    for (const { index } of columns) cells[index] = given[index]!;
    run.transaction.modify(table!, row, cells);
  }
  return { count: rows.length };
};

const mutate: Operation = (run, members) => {
  const table = tableOf(run, members), where = members.required("where", "array"), mutationsJson = members.required("mutations", "array");
  members.check();
  const mutations = mutationsFromJson(table!, array(mutationsJson), run.names);
  const rows = query(table!, conditionFromJson(table!, array(where), run.names));
  for (const row of rows) {
    const cells: Datum[] = [...row.cells];
    for (const { column, apply } of mutations) cells[column.index] = apply(cells[column.index]!);
    run.transaction.modify(table!, row, cells);
  }
  return { count: rows.length };
};

const remove: Operation = (run, members) => {
  const where = members.required("where", "array"), table = tableOf(run, members);
  members.check();
  const rows = query(table!, conditionFromJson(table!, array(where), run.names));
  for (const row of rows) run.transaction.delete(table!, row);
  return { count: rows.length };
};

const wait: Operation = (run, members) => {
  const timeoutJson = members.optional("timeout", "integer"), where = members.required("where", "array");
  const columnsJson = members.optional("columns", "array"), until = members.required("until", "string"), rowsJson = members.required("rows", "array");
  const table = tableOf(run, members);
  members.check();
  const condition = conditionFromJson(table!, array(where), run.names), columns = columnsFromJson(table!, columnsJson);
  const timeoutMs = timeoutJson === undefined ? undefined : Number(timeoutJson);
  if (timeoutMs !== undefined) {
    if (timeoutMs < 0) throw syntaxError(timeoutJson, "timeout must be nonnegative");
    run.waitMs = Math.min(run.waitMs, timeoutMs);
  }
  if (until !== "==" && until !== "!=") throw syntaxError(until, '"until" must be "==" or "!="');
  const expected = new Set(array(rowsJson).map((json) => {
    const cells = table!.blank();
    table!.readRow(json, cells, run.names);
    return Table.keyOf({ cells }, columns);
  }));
  const actual = new Set(query(table!, condition).map((row) => Table.keyOf(row, columns)));
  const equal = actual.size === expected.size && [...actual].every((key) => expected.has(key));
  if (equal === (until === "==")) return {};
  if (timeoutMs === undefined || run.elapsedMs < timeoutMs) throw new Unsatisfied("not supported");
  throw new OvsdbError("timed out", { details: run.elapsedMs > 0 ? `"wait" timed out after ${run.elapsedMs} ms` : '"where" clause test failed' });
};

const commit: Operation = (_, members) => {
  members.required("durable", "true", "false"); // memory is as durable as it gets
  return {};
};

const abort: Operation = () => {
  throw new OvsdbError("aborted", { details: "aborted by request" });
};

const comment: Operation = (run, members) => {
  const text = members.required("comment", "string");
  if (text !== undefined) run.transaction.addComment(text as string);
  return {};
};

const assert: Operation = (run, members) => {
  const lock = members.required("lock", "id") as string | undefined;
  if (lock !== undefined && !run.ownsLock(lock)) throw new OvsdbError("not owner", { details: `Asserted lock ${lock} not held.` });
  return {};
};

const OPERATIONS: Readonly<Record<string, { readonly run: Operation; readonly writes: boolean }>> = {
  insert: { run: insert, writes: true }, update: { run: update, writes: true }, mutate: { run: mutate, writes: true },
  delete: { run: remove, writes: true }, commit: { run: commit, writes: true }, select: { run: select, writes: false },
  wait: { run: wait, writes: false }, abort: { run: abort, writes: false }, comment: { run: comment, writes: false }, assert: { run: assert, writes: false },
};

function runOperation(run: Run, json: Json, what: string): JsonObject {
  const members = new Members(json, what);
  const name = members.required("op", "id") as string | undefined;
  const operation = name !== undefined && Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name]! : undefined;
  if (name !== undefined && operation === undefined) members.fail(`No operation "${name}"`);
  let result: JsonObject = {}, refused: OvsdbError | undefined;
  try {
    if (operation !== undefined) result = operation.run(run, members);
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
    refused = error;
  }
  // a fault in the operation's own form comes before what it met
  const fault = members.finish() ?? refused;
  if (fault !== undefined) throw fault;
  if (operation!.writes && run.reserved !== undefined) {
    throw new OvsdbError("not allowed", { details: `${name!} operation not allowed on table in reserved database ${run.reserved}` });
  }
  return result;
}

/** Runs operations on the tables; the caller commits or aborts the transaction. */
export function execute(execution: Execution, operations: readonly Json[]): Outcome {
  const run: Run = { ...execution, names: namesOf(execution.newUuid), waitMs: Infinity };
  const results: Json[] = [];
  for (const [i, operation] of operations.entries()) {
    try {
      results.push(runOperation(run, operation, `ovsdb operation ${i + 1} of ${operations.length}`));
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      if (error instanceof Unsatisfied) return { results: undefined, waitMs: run.waitMs };
      results.push(errorToJson(error));
      while (results.length < operations.length) results.push(null);
      return { results, complete: false };
    }
  }
  return { results, complete: true };
}
