/**
 * The commands of `ovsdb`: what each takes, does and prints. No process here: text goes out through `Output`, and the
 * result is an exit status (0 done, 1 it failed, 2 it was asked wrongly), so that tests run commands as the shell does.
 */

import { readFileSync } from "node:fs";
import { once } from "node:events";
import type { ConnectionOptions } from "node:tls";
import { parseArgs } from "node:util";

import { OvsdbClient } from "../client/client.ts";
import { connect } from "../session/connect.ts";
import { OvsdbConnectionError, OvsdbError, OvsdbValueError } from "../wire/errors.ts";
import { generateTypes } from "../schema/generate.ts";
import { isArray, isObject, JsonSyntaxError, parseExact, type Json, type JsonObject } from "../wire/json.ts";
import { sortedJson, tableJson, tableText, valueJson, type PrintedColumn } from "./print.ts";
import { parseRemotes } from "../session/remotes.ts";
import type { Row, RowChange } from "../session/rows.ts";
import { columnType, parseSchema, tableSchema, type DatabaseSchema, type TableSchema } from "../schema/schema.ts";
import type { OvsdbSession } from "../session/session.ts";
import { select } from "../session/transact.ts";

export const USAGE = `usage: ovsdb COMMAND [SERVER] [ARGUMENT...] [OPTION...]

  list-dbs [SERVER]                               names of the databases, one a line
  get-schema [SERVER] [DATABASE]                  the schema, as JSON on one line
  dump [SERVER] [DATABASE] [TABLE [COLUMN...]]    all rows of one table or of all
  transact [SERVER] TRANSACTION                   runs '["DATABASE", {"op": ...}, ...]' and prints the results as JSON;
                                                  fails when an operation did, after printing them
  monitor [SERVER] [DATABASE] TABLE [COLUMN,...]  prints the rows of the table (of all tables: ALL), then every change as it
                                                  happens, until interrupted, also when the server restarts: one JSON object a
                                                  line with table, uuid, action (initial, insert, modify, delete), new, and of
                                                  a row that changed the former values as old
  generate SCHEMA.json | generate SERVER [DATABASE]   a TypeScript module with the types of the tables

SERVER is tcp:HOST:PORT, ssl:HOST:PORT or unix:PATH, of a cluster all members with commas between; the default is
unix:/var/run/openvswitch/db.sock. The default DATABASE is Open_vSwitch, or the only one the server has; with several
servers it must be named.

  -f, --format FORMAT     of dump: table (default) or json
      --tables A,B        of generate: these tables only
      --import NAME       of generate: where the module imports the client from (default ovsdb-client)
      --no-leader-only    take any member of the cluster, not only its leader
  -t, --timeout SECONDS   to find a server (default 10)
  -p, --private-key FILE, -c, --certificate FILE, -C, --ca-cert FILE
                          PEM files for ssl: servers
  -h, --help

Exit status: 0 it was done, 1 it failed, 2 it was asked wrongly.
`;

/** Where a command's text goes. */
export interface Output {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Aborted when the user interrupts. */
  readonly interrupted: AbortSignal;
}

/** What the caller did wrong; the usage helps. */
class UsageError extends Error {}

interface Arguments {
  readonly remotes: string;
  /** What follows the server. */
  readonly rest: readonly string[];
  readonly options: Options;
}

interface Options {
  readonly format: "table" | "json";
  readonly tables: readonly string[] | undefined;
  readonly import: string | undefined;
  readonly leaderOnly: boolean;
  readonly timeoutMs: number;
  readonly tls: ConnectionOptions | undefined;
}

const REMOTE = /^[A-Za-z]+:/;
const defaultRemote = (): string => `unix:${process.env["OVS_RUNDIR"] ?? "/var/run/openvswitch"}/db.sock`;

type Command = (given: Arguments, output: Output) => Promise<number>;

const COMMANDS: Readonly<Record<string, Command>> = { "list-dbs": listDbs, "get-schema": getSchema, dump, transact, monitor, generate };

/** Runs a command line, without the program's name; resolves with the exit status. */
export async function run(argv: readonly string[], output: Output): Promise<number> {
  try {
    const { values, positionals } = parse(argv);
    if (values.help === true) {
      output.out(USAGE);
      return 0;
    }
    const [name, ...rest] = positionals;
    if (name === undefined) throw new UsageError("which command?");
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined) throw new UsageError(`no command is named ${name}`);
    const given = rest[0] !== undefined && REMOTE.test(rest[0]);
    return await command({ remotes: given ? rest[0]! : defaultRemote(), rest: given ? rest.slice(1) : rest, options: optionsOf(values) }, output);
  } catch (error) {
    if (error instanceof UsageError) {
      output.err(`ovsdb: ${error.message}; --help tells more\n`);
      return 2;
    }
    if (!(error instanceof OvsdbError) && (error as NodeJS.ErrnoException).code === undefined) throw error;
    output.err(`ovsdb: ${(error as Error).message}\n`);
    return 1;
  }
}

type Values = ReturnType<typeof parse>["values"];

function parse(argv: readonly string[]) {
  const text = (short?: string) => ({ type: "string" as const, ...(short === undefined ? {} : { short }) });
  try {
    return parseArgs({
      args: [...argv], allowPositionals: true,
      options: {
        format: text("f"), tables: text(), import: text(), timeout: text("t"), "private-key": text("p"), certificate: text("c"), "ca-cert": text("C"),
        "no-leader-only": { type: "boolean" }, help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function optionsOf(values: Values): Options {
  const { format = "table", timeout = "10" } = values;
  if (format !== "table" && format !== "json") throw new UsageError(`--format is table or json, not ${format}`);
  const seconds = Number(timeout);
  if (!(seconds > 0)) throw new UsageError(`--timeout takes a number of seconds, not ${timeout}`);
  const files = { key: values["private-key"], cert: values.certificate, ca: values["ca-cert"] };
  const tls: Record<string, Buffer> = {};
  for (const [name, file] of Object.entries(files)) if (file !== undefined) tls[name] = readFileSync(file);
  return {
    format, tables: values.tables?.split(",").filter((name) => name !== ""), import: values.import, leaderOnly: values["no-leader-only"] !== true,
    timeoutMs: seconds * 1000, tls: Object.keys(tls).length === 0 ? undefined : tls,
  };
}

// ---- reaching a server ----------------------------------------------------------------------------------------------

/** Runs `use` on a session: of the only server named, or of the member of the cluster that is right for the database. */
async function withSession<T>({ remotes, options }: Arguments, database: string | undefined, use: (session: OvsdbSession) => Promise<T>): Promise<T> {
  const parsed = parseRemotes(remotes, options.tls);
  if (parsed.length > 1 && database !== undefined) {
    const client = new OvsdbClient({ remotes, database, tls: options.tls, leaderOnly: options.leaderOnly });
    try {
      await client.ready({ timeoutMs: options.timeoutMs });
      return await use(client.session!);
    } finally {
      await client.close();
    }
  }
  const failures: string[] = [];
  for (const { name, target } of parsed) {
    let session: OvsdbSession;
    try {
      session = await connect(target, { connectTimeoutMs: options.timeoutMs });
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message}`);
      continue;
    }
    try {
      return await use(session);
    } finally {
      await session.close();
    }
  }
  throw new OvsdbConnectionError("no server", failures.join("; "));
}

/** The database named first in `rest`, or the default; and what follows it. */
async function withDatabase<T>(given: Arguments, minRest: number, use: (session: OvsdbSession, database: string, rest: readonly string[]) => Promise<T>): Promise<T> {
  const { rest } = given;
  if (given.remotes.includes(",")) {
    const [database, ...others] = rest;
    if (database === undefined || others.length < minRest) throw new UsageError("with several servers the database must be named");
    return withSession(given, database, (session) => use(session, database, others));
  }
  return withSession(given, undefined, async (session) => {
    const databases = await session.listDbs();
    const [first] = rest;
    if (first !== undefined && rest.length > minRest && databases.includes(first)) return use(session, first, rest.slice(1));
    const own = databases.filter((name) => !name.startsWith("_"));
    const database = own.includes("Open_vSwitch") ? "Open_vSwitch" : own.length === 1 ? own[0] : undefined;
    if (database === undefined) throw new UsageError(`the server has the databases ${databases.join(", ")}: which one?`);
    return use(session, database, rest);
  });
}

// ---- commands -------------------------------------------------------------------------------------------------------

async function listDbs(given: Arguments, { out }: Output): Promise<number> {
  atMost(given.rest, 0);
  for (const name of await withSession(given, undefined, (session) => session.listDbs())) out(`${name}\n`);
  return 0;
}

async function getSchema(given: Arguments, { out }: Output): Promise<number> {
  atMost(given.rest, 1);
  // a name that is no database is one that the server refuses, not an argument too many
  const named = given.rest[0];
  const schema = named === undefined
    ? await withDatabase(given, 0, (session, database) => session.request("get_schema", [database]))
    : await withSession(given, named, (session) => session.request("get_schema", [named]));
  parseSchema(schema);
  out(`${sortedJson(schema!)}\n`);
  return 0;
}

async function dump(given: Arguments, { out }: Output): Promise<number> {
  return withDatabase(given, 0, async (session, database, [name, ...wanted]) => {
    const schema = await session.getSchema(database);
    const tables = name === undefined ? [...schema.tables.values()].sort((a, b) => (a.name < b.name ? -1 : 1)) : [tableSchema(schema, name)];
    const columns = tables.map((table) => printed(table, wanted));
    const results = await session.transact(database, tables.map((table, i) => select(table.name, [], columns[i]!.map((column) => column.name))));
    const shown = tables.map((table, i) => ({ name: table.name, columns: columns[i]!, rows: results[i]!.rows ?? [] }));
    out(given.options.format === "json" ? shown.map((table) => `${tableJson(table)}\n`).join("") : shown.map(tableText).join("\n"));
    return 0;
  });
}

const printed = (table: TableSchema, wanted: readonly string[]): PrintedColumn[] =>
  (wanted.length > 0 ? [...new Set(wanted)] : ["_uuid", ...table.columns.keys()]).sort().map((name) => ({ name, type: columnType(table, name) }));

async function transact(given: Arguments, { out }: Output): Promise<number> {
  const [text] = given.rest;
  if (text === undefined) throw new UsageError("which transaction?");
  atMost(given.rest, 1);
  const params = parseJson(text, "the transaction");
  const database = isArray(params) ? params[0] : undefined;
  if (!isArray(params) || typeof database !== "string") throw new UsageError('a transaction is \'["DATABASE", {"op": ...}, ...]\'');
  const result = await withSession(given, database, (session) => session.transactJson(params));
  out(`${sortedJson(result ?? null)}\n`);
  return isArray(result) && result.some((one) => isObject(one) && one["error"] !== undefined && one["error"] !== null) ? 1 : 0;
}

async function monitor(given: Arguments, output: Output): Promise<number> {
  const { database, schema, rest } = await withDatabase(given, 1, async (session, name, others) => ({ database: name, schema: await session.getSchema(name), rest: others }));
  const [name, ...lists] = rest;
  if (name === undefined) throw new UsageError("which table?");
  const wanted = lists.flatMap((list) => list.split(",")).filter((column) => column !== "");
  if (name === "ALL" && wanted.length > 0) throw new UsageError("columns go with one table, not with ALL");
  const tables: Record<string, string[]> = {};
  for (const table of name === "ALL" ? schema.tables.values() : [tableSchema(schema, name)]) {
    for (const column of wanted) columnType(table, column);
    tables[table.name] = wanted.length > 0 ? [...new Set(wanted)] : [...table.columns.keys()];
  }
  const client = new OvsdbClient({ remotes: given.remotes, database, tables, tls: given.options.tls, leaderOnly: given.options.leaderOnly });
  let initial = true;
  client.on("change", (changes) => {
    const current = client.replica.report?.schema ?? schema;
    output.out(changes.map((change) => `${sortedJson(changeJson(current, change, initial))}\n`).join(""));
  });
  client.on("synced", () => { initial = false; });
  client.on("state", (state, reason) => { if (state === "connecting" && reason !== undefined) output.err(`ovsdb: ${reason.message}; connecting again\n`); });
  try {
    await client.ready({ timeoutMs: given.options.timeoutMs, signal: output.interrupted });
    if (!output.interrupted.aborted) await once(output.interrupted, "abort");
  } catch (error) {
    if (!output.interrupted.aborted) throw error;
  } finally {
    await client.close();
  }
  return 0;
}

function changeJson(schema: DatabaseSchema, { table, uuid, old, new: row }: RowChange, initial: boolean): JsonObject {
  const types = schema.tables.get(table);
  const json = (values: Row, differs?: Row): JsonObject => {
    const object: Record<string, Json> = {};
    for (const [column, value] of Object.entries(values)) {
      const type = types?.columns.get(column)?.type;
      if (type === undefined) continue;
      const shown = valueJson(type, value);
      if (differs === undefined || !(column in differs) || sortedJson(valueJson(type, differs[column])) !== sortedJson(shown)) object[column] = shown;
    }
    return object;
  };
  const action = row === undefined ? "delete" : old !== undefined ? "modify" : initial ? "initial" : "insert";
  return { table, uuid, action, ...(old === undefined ? {} : { old: json(old, row) }), ...(row === undefined ? {} : { new: json(row) }) };
}

async function generate(given: Arguments, { out }: Output): Promise<number> {
  const { options, rest } = given;
  const [file] = rest;
  let schema: DatabaseSchema;
  if (given.remotes === defaultRemote() && file !== undefined) {
    atMost(rest, 1);
    schema = parseSchema(parseJson(readFileSync(file, "utf8"), file));
  } else if (given.remotes === defaultRemote()) {
    throw new UsageError("which schema? A file or a server");
  } else {
    atMost(rest, 1);
    schema = await withDatabase(given, 0, (session, database) => session.getSchema(database));
  }
  out(generateTypes(schema, { tables: options.tables, from: options.import }));
  return 0;
}

function atMost(rest: readonly string[], count: number): void {
  if (rest.length > count) throw new UsageError(`${rest[count]!} is one argument too many`);
}

function parseJson(text: string, what: string): Json {
  try {
    return parseExact(text);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new OvsdbValueError("syntax error", { details: `${what} is no JSON: ${error.message} at character ${error.index}` });
  }
}
