/**
 * The world behind a recorded conversation, on a fake server: rows that must have been in the database for the server to
 * say what it said, and what others did meanwhile. Both are read off the server's first replies to monitors and its updates.
 */

import { sortedText } from "../fake-server/parse.ts";
import { schemaFromJson, type ServerSchema } from "../fake-server/schema.ts";
import { FakeOvsdbServer } from "../fake-server/server.ts";
import { columnType } from "../schema/schema.ts";
import { applyDiff, encodeValue } from "../schema/values.ts";
import { isArray, isObject, stringify, type Json, type JsonObject } from "../wire/json.ts";

/** One line of a recording: a message of one connection, or what happened to it. */
export interface Entry { readonly conn: number; readonly dir?: string; readonly json?: JsonObject; readonly event?: string }

export const object = (json: Json | undefined): JsonObject => json as JsonObject;
export const list = (json: Json | undefined): readonly Json[] => json as readonly Json[];

/** Rows by table and UUID; undefined for a row that goes. */
export type Rows = Map<string, Map<string, JsonObject>>;

const put = (rows: Rows, table: string, uuid: string, cells: JsonObject): void => {
  let known = rows.get(table);
  if (known === undefined) rows.set(table, known = new Map<string, JsonObject>());
  known.set(uuid, { ...cells, ...known.get(uuid) });
};

const strongReferences = (schema: ServerSchema, target: string) => [...schema.tables.values()].flatMap((table) =>
  [...table.columns.values()].filter(({ type }) => [type.key, type.value].some((base) => base?.refTable === target && base.refType === "strong"))
    .map((column) => ({ table, column })));

const uuidsIn = (json: Json): string[] => (isArray(json) ? json[0] === "uuid" && typeof json[1] === "string" ? [json[1]] : json.flatMap(uuidsIn) : []);

/** Fills in what a database of these rows must have besides: rows they refer to, and what holds rows of tables that are no roots. */
export function complete(schema: ServerSchema, rows: Rows): void {
  const walk = (table: string, uuid: string, cells: JsonObject): void => {
    // a name that is not told has to be some name, where names are unique
    if (cells["name"] === undefined && schema.tables.get(table)!.indexes.some((index) => index.includes("name"))) (cells as Record<string, Json>)["name"] = `row-${uuid}`;
    for (const [name, { type }] of schema.tables.get(table)!.columns) {
      for (const base of [type.key, type.value]) {
        if (base?.refTable === undefined) continue;
        if (cells[name] === undefined && type.min > 0) (cells as Record<string, Json>)[name] = ["uuid", crypto.randomUUID()];
        for (const target of cells[name] === undefined ? [] : uuidsIn(cells[name])) {
          if (rows.get(base.refTable)?.has(target) === true) continue;
          put(rows, base.refTable, target, {});
          walk(base.refTable, target, rows.get(base.refTable)!.get(target)!);
        }
      }
    }
  };
  for (const [table, known] of [...rows]) for (const [uuid, cells] of [...known]) walk(table, uuid, cells);
}

/** Adds rows that hold those that nothing holds, up to a root; the recordings follow tables without those above them. */
export function holdAll(schema: ServerSchema, rows: Rows): void {
  for (let again = true; again;) {
    again = false;
    const held = new Set([...rows.values()].flatMap((known) => [...known.values()]).flatMap((cells) => Object.values(cells).flatMap((json) => uuidsIn(json))));
    for (const [name, known] of [...rows]) {
      if (schema.tables.get(name)!.isRoot) continue;
      const loose = [...known.keys()].filter((uuid) => !held.has(uuid));
      // a table that is not followed, or else a column that is not
      const holders = strongReferences(schema, name).filter(({ column }) => column.type.max > 1 || loose.length === 1);
      const holder = holders.find(({ table }) => !rows.has(table.name)) ?? holders[0];
      if (loose.length === 0 || holder === undefined) continue;
      const above = rows.get(holder.table.name)?.entries().next().value;
      put(rows, holder.table.name, above?.[0] ?? crypto.randomUUID(), {
        ...(above === undefined && holder.table.columns.has("name") ? { name: "holder" } : {}),
        [holder.column.name]: ["set", loose.map((uuid): Json => ["uuid", uuid])],
      });
      again = true;
      break;
    }
  }
}

export const operationsOf = (rows: Rows): Json[] =>
  [...rows].flatMap(([table, known]) => [...known].map(([uuid, cells]): Json => ({ op: "insert", table, uuid, row: Object.fromEntries(Object.entries(cells).filter(([name]) => name !== "_version")) })));

export class World {
  readonly server: FakeOvsdbServer;
  readonly #schemas: Map<string, ServerSchema>;

  constructor(schemas: readonly Json[], clustered: boolean) {
    this.server = new FakeOvsdbServer({
      databases: schemas.map((schema) => ({ schema, model: clustered ? "clustered" : "standalone" })), probeIntervalMs: 0,
    });
    this.#schemas = new Map(schemas.map((json) => [object(json)["name"] as string, schemaFromJson(json)]));
  }

  schema(db: string): ServerSchema {
    return this.#schemas.get(db)!;
  }

  convert(schema: Json): void {
    const parsed = schemaFromJson(schema);
    this.server.convert(parsed.name, schema);
    this.#schemas.set(parsed.name, parsed);
  }

  async run(db: string, operations: readonly Json[]): Promise<void> {
    if (operations.length === 0) return;
    const results = await this.server.transactJson(db, operations);
    const refused = results.find((result) => isObject(result) && "error" in result);
    if (refused !== undefined) throw new Error(`the world refused ${stringify(operations)}: ${stringify(refused)}`);
  }

  /** Does what an update tells. `whole`: rows as "old" and "new", else differences. */
  async follow(db: string, updates: JsonObject): Promise<void> {
    const schema = this.schema(db);
    const operations: Json[] = [], added: Rows = new Map(), gone: [string, string][] = [];
    for (const [name, rows] of Object.entries(updates)) {
      const table = schema.tables.get(name)!;
      for (const [uuid, change] of Object.entries(object(rows))) {
        const { old, new: now, insert, modify } = object(change) as Readonly<Record<string, JsonObject | undefined>>;
        const where = [["_uuid", "==", ["uuid", uuid]]];
        if (insert !== undefined || (now !== undefined && old === undefined)) {
          put(added, name, uuid, insert ?? now!);
        } else if (modify !== undefined || now !== undefined) {
          const current = this.server.rows(db, name).find((row) => row._uuid === uuid)!;
          const changed = Object.entries(modify ?? now!).filter(([column]) => column !== "_version" && (modify !== undefined || Object.hasOwn(old!, column))).map(([column, json]): [string, Json] => {
            const type = columnType(table, column);
            return [column, modify === undefined ? json! : encodeValue(type, applyDiff(type, current[column], json))];
          });
          if (changed.length > 0) operations.push({ op: "update", table: name, where, row: Object.fromEntries(changed) });
          else operations.push({ op: "update", table: name, where, row: {} });
        } else {
          gone.push([name, uuid]);
        }
      }
    }
    complete(schema, added);
    operations.push(...operationsOf(added));
    // who holds what comes and goes, where the monitors do not show it
    for (const [name, rows] of added) {
      const [holder] = schema.tables.get(name)!.isRoot ? [] : strongReferences(schema, name);
      if (holder === undefined) continue;
      for (const uuid of rows.keys()) {
        const held = [...added.values()].some((others) => [...others.values()].some((cells) => Object.values(cells).some((json) => uuidsIn(json).includes(uuid))))
          || operations.some((operation) => object(operation)["op"] === "update" && uuidsIn(Object.values(object(object(operation)["row"]))).includes(uuid));
        if (!held) operations.push(...await this.#hold(db, holder.table.name, holder.column.name, uuid));
      }
    }
    for (const [name, uuid] of gone) {
      for (const { table, column } of strongReferences(schema, name)) {
        if (column.type.min === 0) operations.push({ op: "mutate", table: table.name, where: [[column.name, "includes", ["uuid", uuid]]], mutations: [[column.name, "delete", ["uuid", uuid]]] });
      }
      operations.push({ op: "delete", table: name, where: [["_uuid", "==", ["uuid", uuid]]] });
    }
    await this.run(db, operations);
  }

  async #hold(db: string, table: string, column: string, uuid: string): Promise<Json[]> {
    const [row] = this.server.rows(db, table);
    if (row === undefined) return [{ op: "insert", table, row: { [column]: ["uuid", uuid] } }];
    return Promise.resolve([{ op: "mutate", table, where: [["_uuid", "==", ["uuid", row._uuid]]], mutations: [[column, "insert", ["uuid", uuid]]] }]);
  }
}

/** What the first monitor of each table showed. */
export function beginnings(entries: readonly Entry[]): ReadonlyMap<string, Rows> {
  const databases = new Map<string, Rows>(), seen = new Set<string>(), monitors = new Map<string, string>(), mentioned = new Set<string>();
  let changing = false;
  for (const [i, { conn, json }] of entries.entries()) {
    const method = json?.["method"];
    if (method === "monitor_cond_change") changing = true;
    else if (method === undefined) changing = false;
    if (method === "update" || method === "update2" || method === "update3") {
      const rows = databases.get(monitors.get(`${conn} ${sortedText(list(json!["params"])[0]!)}`) ?? "");
      for (const [table, changes] of rows === undefined ? [] : Object.entries(object(list(json!["params"]).at(-1)))) {
        for (const [uuid, change] of Object.entries(object(changes))) {
          const { old, new: now, insert } = object(change) as Readonly<Record<string, JsonObject | undefined>>;
          // rows that were there and not shown: a condition lets them in, or they are not asked for at first
          if (!mentioned.has(uuid) && (old !== undefined || (insert !== undefined && changing))) put(rows!, table, uuid, insert ?? { ...now, ...old });
          mentioned.add(uuid);
        }
      }
    }
    if (method === "transact") {
      const [db, ...operations] = list(json!["params"]) as readonly [string, ...JsonObject[]];
      const results = entries.slice(i).find((entry) => entry.conn === conn && entry.dir === "server-to-client" && stringify(entry.json!["id"] ?? null) === stringify(json!["id"]!))?.json?.["result"];
      for (const [n, { op, table }] of operations.entries()) {
        for (const row of op === "select" && db !== "_Server" ? list(object(list(results)[n])["rows"] ?? []) : []) {
          const { _uuid: uuid, ...cells } = object(row);
          if (!isArray(uuid)) continue;
          let rows = databases.get(db);
          if (rows === undefined) databases.set(db, rows = new Map<string, Map<string, JsonObject>>());
          put(rows, table as string, uuid[1] as string, cells);
        }
      }
    }
    if (method !== "monitor" && method !== "monitor_cond" && method !== "monitor_cond_since") continue;
    const [db, , requests] = list(json!["params"]) as readonly [string, Json, JsonObject];
    const reply = entries.slice(i).find((entry) => entry.conn === conn && entry.dir === "server-to-client" && entry.json!["method"] === undefined && stringify(entry.json!["id"]!) === stringify(json!["id"]!));
    const result = reply?.json?.["result"];
    if (db === "_Server" || result === undefined || result === null) continue;
    for (const id of [list(json!["params"])[1]!, "mc2"]) monitors.set(`${conn} ${sortedText(id)}`, db);
    let rows = databases.get(db);
    if (rows === undefined) databases.set(db, rows = new Map<string, Map<string, JsonObject>>());
    for (const table of Object.keys(requests)) {
      if (seen.has(`${db} ${table}`)) continue;
      seen.add(`${db} ${table}`);
      for (const [uuid, row] of Object.entries(object(object(isArray(result) ? result[2] : result)[table] ?? {}))) {
        put(rows, table, uuid, object(object(row)["initial"] ?? object(row)["new"]));
        mentioned.add(uuid);
      }
    }
  }
  return databases;
}
