/**
 * Database schemas (RFC 7047 section 3.2): the JSON of get_schema, checked and turned into what the codecs walk. Members
 * that are not known are passed over: a newer server must not be refused for saying more.
 */

import { OvsdbValueError } from "../wire/errors.ts";
import { isArray, isObject, type Json } from "../wire/json.ts";

export type AtomicType = "integer" | "real" | "boolean" | "string" | "uuid";

export interface BaseType {
  readonly type: AtomicType;
  /** Allowed values as plain JS (a UUID as its string), undefined = all. */
  readonly enum?: readonly (string | number | bigint | boolean)[];
  readonly minInteger?: number | bigint;
  readonly maxInteger?: number | bigint;
  readonly minReal?: number;
  readonly maxReal?: number;
  /** Lengths count Unicode characters. */
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly refTable?: string;
  readonly refType?: "strong" | "weak";
}

export interface ColumnType {
  readonly key: BaseType;
  /** Present for maps only. */
  readonly value?: BaseType;
  readonly min: 0 | 1;
  /** Infinity for "unlimited". */
  readonly max: number;
}

export interface ColumnSchema {
  readonly name: string;
  readonly type: ColumnType;
  readonly ephemeral: boolean;
  readonly mutable: boolean;
}

export interface TableSchema {
  readonly name: string;
  /** Without _uuid and _version, which every table has. */
  readonly columns: ReadonlyMap<string, ColumnSchema>;
  readonly maxRows: number;
  readonly isRoot: boolean;
  readonly indexes: readonly (readonly string[])[];
}

export interface DatabaseSchema {
  readonly name: string;
  /** "x.y.z" */
  readonly version: string;
  readonly cksum: string | undefined;
  readonly tables: ReadonlyMap<string, TableSchema>;
}

const UUID_COLUMN: ColumnType = { key: { type: "uuid" }, min: 1, max: 1 };
const IMPLICIT: ReadonlyMap<string, ColumnType> = new Map([["_uuid", UUID_COLUMN], ["_version", UUID_COLUMN]]);

/** The type of a column, the implicit _uuid and _version included. @throws OvsdbValueError "unknown column" */
export function columnType(table: TableSchema, column: string): ColumnType {
  const type = table.columns.get(column)?.type ?? IMPLICIT.get(column);
  if (type === undefined) throw new OvsdbValueError("unknown column", { details: `no column ${column} in table ${table.name}` });
  return type;
}

/** @throws OvsdbValueError "unknown table" */
export function tableSchema(schema: DatabaseSchema, table: string): TableSchema {
  const found = schema.tables.get(table);
  if (found === undefined) throw new OvsdbValueError("unknown table", { details: `no table ${table} in database ${schema.name}` });
  return found;
}

const ATOMIC: ReadonlySet<string> = new Set<AtomicType>(["integer", "real", "boolean", "string", "uuid"]);
const ID = /^[A-Za-z][A-Za-z0-9_]*$/; // names beginning with "_" are reserved

const fail = (details: string): never => { throw new OvsdbValueError("syntax error", { details }); };

/** Parses a `<base-type>`. @throws OvsdbValueError */
export function parseBaseType(json: Json | undefined, what = "base type"): BaseType {
  if (typeof json === "string") return { type: parseAtomicType(json) };
  if (!isObject(json)) return fail(`${what} must be a string or an object`);
  const type = parseAtomicType(json["type"]);
  const base: { -readonly [K in keyof BaseType]: BaseType[K] } = { type };
  if (json["enum"] !== undefined) base.enum = parseEnum(json["enum"], type);
  const bounds = (min: "minInteger" | "minReal" | "minLength", max: "maxInteger" | "maxReal" | "maxLength", ok: (v: Json) => boolean): void => {
    for (const name of [min, max]) {
      const bound = json[name];
      if (bound === undefined) continue;
      if (!ok(bound)) fail(`${name} is not of the right type`);
      (base as Record<string, Json>)[name] = bound;
    }
    if (json[min] !== undefined && json[max] !== undefined && base[min]! > base[max]!) fail(`${min} exceeds ${max}`);
  };
  switch (type) {
    case "integer":
      bounds("minInteger", "maxInteger", (v) => typeof v === "bigint" || Number.isInteger(v));
      break;
    case "real":
      bounds("minReal", "maxReal", (v) => typeof v === "number");
      break;
    case "string":
      bounds("minLength", "maxLength", (v) => Number.isInteger(v) && (v as number) >= 0);
      break;
    case "uuid": {
      const { refTable, refType } = json;
      if (refTable !== undefined) {
        if (typeof refTable !== "string" || !ID.test(refTable)) return fail("refTable is not a table name");
        base.refTable = refTable;
      }
      if (refType !== undefined) {
        if (refTable === undefined || (refType !== "strong" && refType !== "weak")) return fail('refType must be "strong" or "weak" and needs refTable');
        base.refType = refType;
      }
      break;
    }
    case "boolean":
      break;
  }
  if (base.enum !== undefined && Object.keys(json).length > 2) fail(`${what} has an enum and other constraints`);
  return base;
}

function parseAtomicType(json: Json | undefined): AtomicType {
  if (typeof json === "string" && ATOMIC.has(json)) return json as AtomicType;
  return fail(`${JSON.stringify(json) ?? "nothing"} is not an atomic-type`);
}

function parseEnum(json: Json, type: AtomicType): readonly (string | number | bigint | boolean)[] {
  const elements = isArray(json) && json[0] === "set" ? json[1] : [json];
  if (!isArray(elements) || elements.length === 0) return fail("enum must have at least one value");
  return elements.map((element) => {
    if (type === "uuid" && isArray(element) && element[0] === "uuid" && typeof element[1] === "string") return element[1];
    const ok = type === "integer" ? typeof element === "bigint" || Number.isInteger(element)
      : type === "real" ? typeof element === "number" : typeof element === type;
    return ok ? element as string | number | bigint | boolean : fail(`enum holds a value that is no ${type}`);
  });
}

/** Parses a `<type>`. @throws OvsdbValueError */
export function parseColumnType(json: Json | undefined): ColumnType {
  if (typeof json === "string") return { key: parseBaseType(json), min: 1, max: 1 };
  if (!isObject(json)) return fail("column type must be a string or an object");
  if (json["key"] === undefined) return fail('column type needs the member "key"');
  const key = parseBaseType(json["key"], "key");
  const min = json["min"] ?? 1, limit = json["max"] ?? 1;
  const max = limit === "unlimited" ? Infinity : limit;
  if (min !== 0 && min !== 1) return fail('"min" must be 0 or 1');
  if (typeof max !== "number" || max < 1 || (max !== Infinity && !Number.isInteger(max))) return fail('"max" must be a positive integer or "unlimited"');
  return json["value"] === undefined ? { key, min, max } : { key, value: parseBaseType(json["value"], "value"), min, max };
}

export function parseColumn(name: string, json: Json): ColumnSchema {
  if (!ID.test(name)) return fail(`${name}: not a column name; names beginning with "_" are reserved`);
  if (!isObject(json)) return fail(`column ${name} must be an object`);
  return { name, type: parseColumnType(json["type"]), ephemeral: json["ephemeral"] === true, mutable: json["mutable"] !== false };
}

export function parseTable(name: string, json: Json): TableSchema {
  if (!ID.test(name)) return fail(`${name}: not a table name; names beginning with "_" are reserved`);
  if (!isObject(json) || !isObject(json["columns"])) return fail(`table ${name} needs columns`);
  const columns = new Map<string, ColumnSchema>();
  for (const [column, definition] of Object.entries(json["columns"])) columns.set(column, parseColumn(column, definition));
  if (columns.size === 0) fail(`table ${name} must have at least one column`);
  const maxRows = json["maxRows"] ?? Infinity;
  if (typeof maxRows !== "number" || maxRows < 1) return fail(`maxRows of table ${name} must be at least 1`);
  const indexes = json["indexes"] ?? [];
  if (!isArray(indexes)) return fail(`indexes of table ${name} must be an array`);
  for (const index of indexes) {
    if (!isArray(index) || index.length === 0) return fail("index must have at least one column");
    const seen = new Set<Json>();
    for (const column of index) {
      const known = typeof column === "string" ? columns.get(column) : undefined;
      if (known === undefined) return fail(`index of table ${name} names an unknown column`);
      if (known.ephemeral) return fail(`ephemeral column ${known.name} may not be indexed`);
      if (seen.has(column)) return fail(`index of table ${name} names column ${known.name} twice`);
      seen.add(column);
    }
  }
  return { name, columns, maxRows, isRoot: json["isRoot"] === true, indexes: indexes as readonly string[][] };
}

/** Parses the reply to get_schema. @throws OvsdbValueError "syntax error" */
export function parseSchema(json: Json | undefined): DatabaseSchema {
  if (!isObject(json)) return fail("schema must be an object");
  const { name, version = "0.0.0", cksum, tables } = json;
  if (typeof name !== "string" || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return fail("schema needs a name");
  if (typeof version !== "string" || !/^\d+\.\d+\.\d+$/.test(version)) return fail(`schema version ${JSON.stringify(version)} not in format x.y.z`);
  if (!isObject(tables)) return fail("schema needs tables");
  const parsed = new Map<string, TableSchema>();
  for (const [table, definition] of Object.entries(tables)) parsed.set(table, parseTable(table, definition));
  return { name, version, cksum: typeof cksum === "string" ? cksum : undefined, tables: parsed };
}
