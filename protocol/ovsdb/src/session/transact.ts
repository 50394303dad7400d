/**
 * Transactions (RFC 7047 section 5.2): operations written with plain JS values, their JSON form for a given schema, and
 * the results read back. Builders only collect what they are given; encoding happens when the schema is known.
 */

import { OvsdbError, OvsdbProtocolError, OvsdbValueError } from "../wire/errors.ts";
import { isArray, isObject, stringify, type Json, type JsonObject } from "../wire/json.ts";
import { columnType, tableSchema, type DatabaseSchema, type TableSchema } from "../schema/schema.ts";
import {
  decodeAtom, decodeValue, encodeCondition, encodeMutation, encodeValue,
  type Condition, type InputValue, type Mutation, type Value,
} from "../schema/values.ts";

export type InputRow = Readonly<Record<string, InputValue>>;

export type Operation =
  | { readonly op: "insert"; readonly table: string; readonly row: InputRow; readonly uuidName?: string | undefined; readonly uuid?: string | undefined }
  | { readonly op: "select"; readonly table: string; readonly where: readonly Condition[]; readonly columns?: readonly string[] | undefined }
  | { readonly op: "update"; readonly table: string; readonly where: readonly Condition[]; readonly row: InputRow }
  | { readonly op: "mutate"; readonly table: string; readonly where: readonly Condition[]; readonly mutations: readonly Mutation[] }
  | { readonly op: "delete"; readonly table: string; readonly where: readonly Condition[] }
  | {
    readonly op: "wait"; readonly table: string; readonly where: readonly Condition[]; readonly columns: readonly string[];
    readonly until: "==" | "!="; readonly rows: readonly InputRow[]; readonly timeoutMs?: number | undefined;
  }
  | { readonly op: "commit"; readonly durable: boolean }
  | { readonly op: "abort" }
  | { readonly op: "comment"; readonly comment: string }
  | { readonly op: "assert"; readonly lock: string };

/** What an operation gave: `uuid` of an insert, `count` of update, mutate and delete, `rows` of a select. */
export interface OperationResult {
  readonly uuid?: string;
  readonly count?: number;
  readonly rows?: readonly Readonly<Record<string, Value>>[];
}

/** Columns left out or undefined take their defaults. `uuid` sets the row's UUID itself (Open vSwitch 2.13 and later). */
export function insert(table: string, row: InputRow, options: { uuidName?: string; uuid?: string } = {}): Operation {
  return { op: "insert", table, row, ...options };
}

/** Without `columns`, all of them. */
export function select(table: string, where: readonly Condition[], columns?: readonly string[]): Operation {
  return { op: "select", table, where, columns };
}

/** A column that is undefined is left alone; null empties an optional, set or map. */
export function update(table: string, where: readonly Condition[], row: InputRow): Operation {
  return { op: "update", table, where, row };
}

export function mutate(table: string, where: readonly Condition[], mutations: readonly Mutation[]): Operation {
  return { op: "mutate", table, where, mutations };
}

/** The "delete" operation; the word is taken in JS. */
export function del(table: string, where: readonly Condition[]): Operation {
  return { op: "delete", table, where };
}

/** Holds the transaction until the rows are (or are not) as given; `timeoutMs` 0 asks once, undefined waits for ever. */
export function wait(
  table: string, where: readonly Condition[], columns: readonly string[], until: "==" | "!=", rows: readonly InputRow[], timeoutMs?: number,
): Operation {
  return { op: "wait", table, where, columns, until, rows, timeoutMs };
}

export function commit(durable = false): Operation {
  return { op: "commit", durable };
}

/** Ends the transaction with the error "aborted". */
export function abort(): Operation {
  return { op: "abort" };
}

/** A line for the server's log of the transaction. */
export function comment(text: string): Operation {
  return { op: "comment", comment: text };
}

/** Fails with "not owner" unless this session owns the lock. */
export function assert(lock: string): Operation {
  return { op: "assert", lock };
}

function encodeRow(table: TableSchema, row: InputRow): JsonObject {
  const encoded: Record<string, Json> = {};
  for (const [column, value] of Object.entries(row)) {
    if (value === undefined) continue;
    const type = columnType(table, column);
    try {
      encoded[column] = encodeValue(type, value);
    } catch (error) {
      if (!(error instanceof OvsdbValueError)) throw error;
      throw new OvsdbValueError(error.code, { details: `column ${column} of table ${table.name}: ${error.details ?? ""}`, cause: error });
    }
  }
  return encoded;
}

/** The JSON form of one operation. @throws OvsdbValueError */
export function encodeOperation(schema: DatabaseSchema, operation: Operation): JsonObject {
  const encodeWhere = (table: TableSchema, where: readonly Condition[]): Json => where.map((condition) => encodeCondition(table, condition));
  switch (operation.op) {
    case "insert": {
      const row = encodeRow(tableSchema(schema, operation.table), operation.row);
      return {
        op: "insert", table: operation.table, row,
        ...(operation.uuidName === undefined ? {} : { "uuid-name": operation.uuidName }),
        ...(operation.uuid === undefined ? {} : { uuid: operation.uuid }),
      };
    }
    case "select": {
      const table = tableSchema(schema, operation.table);
      for (const column of operation.columns ?? []) columnType(table, column);
      return {
        op: "select", table: operation.table, where: encodeWhere(table, operation.where),
        ...(operation.columns === undefined ? {} : { columns: operation.columns }),
      };
    }
    case "update": {
      const table = tableSchema(schema, operation.table);
      return { op: "update", table: operation.table, where: encodeWhere(table, operation.where), row: encodeRow(table, operation.row) };
    }
    case "mutate": {
      const table = tableSchema(schema, operation.table);
      return {
        op: "mutate", table: operation.table, where: encodeWhere(table, operation.where),
        mutations: operation.mutations.map((mutation) => encodeMutation(table, mutation)),
      };
    }
    case "delete": {
      const table = tableSchema(schema, operation.table);
      return { op: "delete", table: operation.table, where: encodeWhere(table, operation.where) };
    }
    case "wait": {
      const table = tableSchema(schema, operation.table);
      return {
        op: "wait", table: operation.table, where: encodeWhere(table, operation.where), columns: operation.columns,
        until: operation.until, rows: operation.rows.map((row) => encodeRow(table, row)),
        ...(operation.timeoutMs === undefined ? {} : { timeout: operation.timeoutMs }),
      };
    }
    case "commit": return { op: "commit", durable: operation.durable };
    case "abort": return { op: "abort" };
    case "comment": return { op: "comment", comment: operation.comment };
    case "assert": return { op: "assert", lock: operation.lock };
  }
}

/** Encodes a transaction. @throws OvsdbValueError with the index of the operation that does not fit the schema */
export function encodeOperations(schema: DatabaseSchema, operations: readonly Operation[]): JsonObject[] {
  return operations.map((operation, opIndex) => {
    try {
      return encodeOperation(schema, operation);
    } catch (error) {
      if (!(error instanceof OvsdbValueError)) throw error;
      throw new OvsdbValueError(error.code, { details: error.details, opIndex, cause: error });
    }
  });
}

/** Makes an error of an `<error>` (RFC 7047 section 3.1) or of the bare string that some replies carry. */
export function errorFromJson(json: Json, opIndex?: number): OvsdbError {
  if (!isObject(json)) return new OvsdbError(typeof json === "string" ? json : stringify(json), { opIndex });
  const text = (name: string): string | undefined => {
    const member = json[name];
    return typeof member === "string" ? member : undefined;
  };
  return new OvsdbError(text("error") ?? "unknown error", { details: text("details"), syntax: text("syntax"), opIndex });
}

/**
 * Reads the results of a transaction.
 * @throws OvsdbError of the first operation that failed, or of the commit (`opIndex` = number of operations)
 * @throws OvsdbProtocolError "bad result" when they are no results
 */
export function decodeResults(schema: DatabaseSchema, operations: readonly Operation[], result: Json | undefined): OperationResult[] {
  try {
    return readResults(schema, operations, result);
  } catch (error) {
    // not the caller's values: the server's
    if (error instanceof OvsdbValueError) throw new OvsdbProtocolError("bad result", error.message, undefined, error);
    throw error;
  }
}

function readResults(schema: DatabaseSchema, operations: readonly Operation[], result: Json | undefined): OperationResult[] {
  if (!isArray(result)) throw new OvsdbProtocolError("bad result", "a transaction's result is no array");
  for (const [index, element] of result.entries()) {
    if (isObject(element) && element["error"] !== undefined && element["error"] !== null) throw errorFromJson(element, index);
  }
  return operations.map((operation, i) => {
    const element = result[i];
    if (!isObject(element)) throw new OvsdbProtocolError("bad result", `operation ${i} has no result`);
    switch (operation.op) {
      case "insert":
        return { uuid: decodeAtom("uuid", element["uuid"]) as string };
      case "select": {
        const table = tableSchema(schema, operation.table);
        const rows = element["rows"];
        if (!isArray(rows)) throw new OvsdbProtocolError("bad result", `operation ${i} has no rows`);
        return { rows: rows.map((row) => decodeSelected(table, row)) };
      }
      case "update": case "mutate": case "delete": {
        const count = element["count"];
        if (typeof count !== "number") throw new OvsdbProtocolError("bad result", `operation ${i} has no count`);
        return { count };
      }
      case "wait": case "commit": case "abort": case "comment": case "assert":
        return {};
    }
  });
}

function decodeSelected(table: TableSchema, row: Json): Readonly<Record<string, Value>> {
  if (!isObject(row)) throw new OvsdbProtocolError("bad result", "a selected row is no object");
  const decoded: Record<string, Value> = {};
  for (const [column, value] of Object.entries(row)) decoded[column] = decodeValue(columnType(table, column), value);
  return decoded;
}
