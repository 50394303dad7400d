/**
 * Schemas as a server takes them: strictly (a member it does not know is an error, a reference must have its table), and
 * written back in the short form that `get_schema` replies have, whatever form they came in. Parsing gives the structures
 * of schema/schema.ts, with what only a server needs added.
 */

import { OvsdbError } from "../wire/errors.ts";
import { isArray, isObject, type Json, type JsonObject } from "../wire/json.ts";
import { atomToJson, compareAtoms, datumFromJson, toInteger } from "./datum.ts";
import { BOOLEAN, isId, jsonType, Members, NUMBER, syntaxError } from "./parse.ts";
import type { AtomicType, BaseType, ColumnSchema, ColumnType, DatabaseSchema, TableSchema } from "../schema/schema.ts";
import { isScalarType } from "../schema/values.ts";

export interface ServerTableSchema extends TableSchema {
  /** Kept and written back; nothing hangs on it, columns have their own. */
  readonly mutable: boolean;
}

export interface ServerSchema extends DatabaseSchema {
  readonly tables: ReadonlyMap<string, ServerTableSchema>;
}

const UINT_MAX = 2 ** 32 - 1;
const ATOMIC: readonly string[] = ["integer", "real", "boolean", "string", "uuid"] satisfies readonly AtomicType[];

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** @throws OvsdbError */
export function atomicTypeFromJson(json: Json): AtomicType {
  if (typeof json !== "string") throw syntaxError(json, "atomic-type expected");
  if (!ATOMIC.includes(json)) throw syntaxError(json, `"${json}" is not an atomic-type`);
  return json as AtomicType;
}

function limits(members: Members, json: Json, minName: string, maxName: string, read: (name: string) => number | bigint | undefined): [number | bigint | undefined, number | bigint | undefined] {
  const min = read(minName), max = read(maxName);
  members.check();
  if (min !== undefined && max !== undefined && min > max) throw syntaxError(json, `${minName} exceeds ${maxName}`);
  return [min, max];
}

/** @throws OvsdbError */
export function baseTypeFromJson(json: Json): BaseType {
  if (typeof json === "string") return { type: atomicTypeFromJson(json) };
  const members = new Members(json, "ovsdb type");
  const typeJson = members.required("type", "string");
  members.check();
  const base: Writable<BaseType> = { type: atomicTypeFromJson(typeJson!) };
  const values = members.optional("enum");
  if (values !== undefined) {
    base.enum = datumFromJson({ key: { type: base.type }, min: 1, max: Infinity }, values).keys;
  } else if (base.type === "integer") {
    const [min, max] = limits(members, json, "minInteger", "maxInteger", (name) => {
      const limit = members.optional(name, "integer");
      return limit === undefined ? undefined : toInteger(limit as number | bigint) as number | bigint;
    });
    if (min !== undefined) base.minInteger = min;
    if (max !== undefined) base.maxInteger = max;
  } else if (base.type === "real") {
    const [min, max] = limits(members, json, "minReal", "maxReal", (name) => {
      const limit = members.optional(name, ...NUMBER);
      return limit === undefined ? undefined : Number(limit);
    });
    if (min !== undefined) base.minReal = Number(min);
    if (max !== undefined) base.maxReal = Number(max);
  } else if (base.type === "string") {
    const [min, max] = limits(members, json, "minLength", "maxLength", (name) => {
      const limit = members.optional(name, "integer");
      if (limit !== undefined && ((limit as number) < 0 || (limit as number) > UINT_MAX)) throw syntaxError(limit, `${name} out of valid range 0 to ${UINT_MAX}`);
      return limit as number | undefined;
    });
    if (min !== undefined) base.minLength = Number(min);
    if (max !== undefined) base.maxLength = Number(max);
  } else if (base.type === "uuid") {
    const refTable = members.optional("refTable", "id") as string | undefined;
    if (refTable !== undefined) {
      const refType = members.optional("refType", "id") as string | undefined;
      if (refType !== undefined && refType !== "strong" && refType !== "weak") throw syntaxError(json, `refType must be "strong" or "weak" (not "${refType}")`);
      base.refTable = refTable;
      base.refType = refType ?? "strong";
    }
  }
  members.finishOrThrow();
  return base;
}

/** @throws OvsdbError */
export function columnTypeFromJson(json: Json): ColumnType {
  if (typeof json === "string") return { key: baseTypeFromJson(json), min: 1, max: 1 };
  if (!isObject(json)) throw syntaxError(json, "ovsdb type expected");
  const members = new Members(json, "ovsdb type");
  const key = members.required("key", "string", "object");
  const value = members.optional("value", "string", "object");
  const min = members.optional("min", "integer"), max = members.optional("max", "integer", "string");
  members.finishOrThrow();
  const count = (limit: Json | undefined): number => {
    if (limit === undefined) return 1;
    if (jsonType(limit) === "integer" && (limit as number) >= 0 && (limit as number) < UINT_MAX) return Number(limit);
    throw syntaxError(limit, "bad min or max value");
  };
  const type = {
    key: baseTypeFromJson(key!), ...(value === undefined ? {} : { value: baseTypeFromJson(value) }),
    min: count(min), max: max === "unlimited" ? Infinity : count(max),
  };
  if (type.min > 1 || type.max < 1) throw syntaxError(json, "ovsdb type fails constraint checks");
  return type as ColumnType;
}

const references = (column: { readonly type: ColumnType }): BaseType[] =>
  [column.type.key, ...(column.type.value === undefined ? [] : [column.type.value])].filter((base) => base.refTable !== undefined);

function checkName(name: string, json: Json): void {
  if (name.startsWith("_")) throw syntaxError(json, 'names beginning with "_" are reserved');
  if (!isId(name)) throw syntaxError(json, "name must be a valid id");
}

/** @throws OvsdbError */
export function columnFromJson(name: string, json: Json): ColumnSchema {
  const members = new Members(json, `schema for column ${name}`);
  const mutable = members.optional("mutable", ...BOOLEAN), ephemeral = members.optional("ephemeral", ...BOOLEAN);
  const typeJson = members.required("type", "string", "object");
  members.finishOrThrow();
  const type = columnTypeFromJson(typeJson!);
  // a weak reference must be able to go with its row
  const weak = references({ type }).some((base) => base.refType === "weak");
  return { name, type, mutable: mutable !== false || weak, ephemeral: ephemeral === true };
}

/** @throws OvsdbError */
export function tableFromJson(name: string, json: Json): ServerTableSchema {
  const members = new Members(json, `table schema for table ${name}`);
  const columnsJson = members.required("columns", "object") as JsonObject | undefined;
  const mutable = members.optional("mutable", ...BOOLEAN), maxRows = members.optional("maxRows", "integer") as number | undefined;
  const isRoot = members.optional("isRoot", ...BOOLEAN), indexesJson = members.optional("indexes", "array") as readonly Json[] | undefined;
  members.finishOrThrow();
  if (maxRows !== undefined && maxRows <= 0) throw syntaxError(json, "maxRows must be at least 1");
  const columns = new Map<string, ColumnSchema>();
  for (const [column, definition] of Object.entries(columnsJson!)) {
    checkName(column, json);
    columns.set(column, columnFromJson(column, definition));
  }
  if (columns.size === 0) throw syntaxError(json, "table must have at least one column");
  const indexes = (indexesJson ?? []).map((index) => {
    const names = new Set<string>();
    const expected = (): never => { throw syntaxError(index, "array of distinct column names expected"); };
    if (!isArray(index)) return expected();
    for (const column of index) {
      if (typeof column !== "string") return expected();
      const known = columns.get(column);
      if (known === undefined && !column.startsWith("_")) throw syntaxError(index, `${column} is not a valid column name`);
      if (names.has(column)) return expected();
      if (known?.ephemeral === true) throw syntaxError(json, `ephemeral columns (such as ${column}) may not be indexed`);
      names.add(column);
    }
    if (names.size === 0) throw syntaxError(json, "index must have at least one column");
    return [...names];
  });
  return { name, columns, mutable: mutable !== false, maxRows: maxRows ?? Infinity, isRoot: isRoot === true, indexes };
}

/** @throws OvsdbError */
export function schemaFromJson(json: Json): ServerSchema {
  const members = new Members(json, "database schema");
  const name = members.required("name", "id") as string | undefined, version = members.optional("version", "string") as string | undefined;
  const cksum = members.optional("cksum", "string") as string | undefined, tablesJson = members.required("tables", "object") as JsonObject | undefined;
  members.finishOrThrow();
  if (version !== undefined && !/^\d+\.\d+\.\d+$/.test(version)) throw syntaxError(json, `schema version "${version}" not in format x.y.z`);
  const tables = new Map<string, ServerTableSchema>();
  for (const [table, definition] of Object.entries(tablesJson!)) {
    checkName(table, json);
    tables.set(table, tableFromJson(table, definition));
  }
  // schemas older than "isRoot" have none, and no garbage collection
  const anyRoot = [...tables.values()].some((table) => table.isRoot);
  const isRoot = (table: string): boolean => !anyRoot || tables.get(table)?.isRoot === true;
  const checked = new Map<string, ServerTableSchema>();
  for (const table of tables.values()) {
    const columns = new Map<string, ColumnSchema>();
    for (const column of table.columns.values()) {
      for (const base of references(column)) {
        if (!tables.has(base.refTable!)) {
          throw new OvsdbError("syntax error", { details: `column ${column.name} ${base === column.type.key ? "key" : "value"} refers to undefined table ${base.refTable!}` });
        }
      }
      // the only reference to a row must outlive a restart if the row does
      const holds = references(column).some((base) => base.refType === "strong" && !isRoot(base.refTable!));
      columns.set(column.name, holds ? { ...column, ephemeral: false } : column);
    }
    checked.set(table.name, { ...table, columns, isRoot: isRoot(table.name) });
  }
  return { name: name!, version: version ?? "", cksum: cksum === "" ? undefined : cksum, tables: checked };
}

// ---- and back -------------------------------------------------------------------------------------------------------

const CONSTRAINTS = ["minInteger", "maxInteger", "minReal", "maxReal", "minLength", "maxLength", "refTable"] as const;

export function baseTypeToJson(base: BaseType): Json {
  const json: Record<string, Json> = { type: base.type };
  if (base.enum !== undefined) {
    const values = [...base.enum].sort(compareAtoms).map((value) => atomToJson(base.type, value));
    json["enum"] = values.length === 1 ? values[0]! : ["set", values];
  }
  for (const name of CONSTRAINTS) {
    const value = base[name];
    if (value !== undefined && !(name === "minLength" && value === 0) && !(name === "maxLength" && value === UINT_MAX)) json[name] = value;
  }
  if (base.refTable !== undefined && base.refType === "weak") json["refType"] = "weak";
  return Object.keys(json).length === 1 ? base.type : json;
}

export function columnTypeToJson(type: ColumnType): Json {
  const key = baseTypeToJson(type.key);
  if (isScalarType(type) && typeof key === "string") return key;
  return {
    key, ...(type.value === undefined ? {} : { value: baseTypeToJson(type.value) }),
    ...(type.min === 1 ? {} : { min: type.min }), ...(type.max === 1 ? {} : { max: type.max === Infinity ? "unlimited" : type.max }),
  };
}

export function columnToJson(column: ColumnSchema): JsonObject {
  return { ...(column.mutable ? {} : { mutable: false }), ...(column.ephemeral ? { ephemeral: true } : {}), type: columnTypeToJson(column.type) };
}

/** `rootsImplied`: every table is a root, so none says so. */
export function tableToJson(table: ServerTableSchema, rootsImplied: boolean): JsonObject {
  return {
    ...(table.mutable ? {} : { mutable: false }), ...(table.isRoot && !rootsImplied ? { isRoot: true } : {}),
    columns: Object.fromEntries([...table.columns.values()].map((column) => [column.name, columnToJson(column)])),
    ...(table.maxRows >= UINT_MAX ? {} : { maxRows: table.maxRows }),
    ...(table.indexes.length === 0 ? {} : { indexes: table.indexes }),
  };
}

/** The reply to get_schema. */
export function schemaToJson(schema: ServerSchema): JsonObject {
  const tables = [...schema.tables.values()], rootsImplied = tables.every((table) => table.isRoot);
  return {
    name: schema.name, ...(schema.version === "" ? {} : { version: schema.version }), ...(schema.cksum === undefined ? {} : { cksum: schema.cksum }),
    tables: Object.fromEntries(tables.map((table) => [table.name, tableToJson(table, rootsImplied)])),
  };
}

/** The same schema with no column ephemeral: a clustered database keeps them all. */
export function withoutEphemeral(schema: ServerSchema): ServerSchema {
  const tables = [...schema.tables.values()].map((table): [string, ServerTableSchema] => {
    const columns = new Map([...table.columns].map(([name, column]): [string, ColumnSchema] => [name, { ...column, ephemeral: false }]));
    return [table.name, { ...table, columns }];
  });
  return { ...schema, tables: new Map(tables) };
}

/** The schema of the database that tells of the others; ovsdb-server(5). */
export const SERVER_SCHEMA: ServerSchema = schemaFromJson({
  name: "_Server", version: "1.2.0", cksum: "3009684573 744",
  tables: {
    Database: {
      columns: {
        name: { type: "string" },
        model: { type: { key: { type: "string", enum: ["set", ["standalone", "clustered", "relay"]] } } },
        connected: { type: "boolean" }, leader: { type: "boolean" },
        schema: { type: { key: "string", min: 0, max: 1 } },
        cid: { type: { key: "uuid", min: 0, max: 1 } }, sid: { type: { key: "uuid", min: 0, max: 1 } },
        index: { type: { key: "integer", min: 0, max: 1 } },
      },
      isRoot: true,
    },
  },
});
