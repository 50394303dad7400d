// Rows of a host's database that rules want beside ports (QoS, Queue, Mirror, IPFIX, sFlow, NetFlow), and single columns of rows
// that somebody else made. Ours carry external_ids:axion-row=<key>; a patched row remembers what its column held before in
// external_ids:axion-was-<column>, so that it is put back by whoever comes later, whatever happens in between. Pure, as adoption.ts.
import { del, insert, map, mutate, namedUuid, set, update, uuid, type InputAtom, type InputValue, type Mutation, type Operation, type Replica, type Row, type Value } from "ovsdb-client";
import type { OvsColumns, OvsPatch, OvsRef, OvsTable, OvsValue } from "#app";
import type { DesiredRow } from "../../compiler/desired.ts";
import { canonicalText } from "../../compiler/items.ts";
import type { BridgeRow, Ids, Note } from "./host-rows.ts";

export const OWNED = "axion-row";
const WAS = "axion-was-";
const NEVER_PATCHED: ReadonlySet<string> = new Set(["_uuid", "_version", "name", "interfaces", "external_ids"]);
/** Begins what tells that a column is put back as it was. */
export const RESTORE = "restore ";

/** Columns that rules may set, hence that are read back. */
export const ownedColumns = {
  QoS: ["type", "queues", "other_config", "external_ids"],
  Queue: ["dscp", "other_config", "external_ids"],
  Mirror: ["name", "select_all", "select_src_port", "select_dst_port", "select_vlan", "output_port", "output_vlan", "snaplen", "external_ids"],
  IPFIX: ["targets", "sampling", "obs_domain_id", "obs_point_id", "cache_active_timeout", "cache_max_flows", "other_config", "external_ids"],
  sFlow: ["agent", "header", "polling", "sampling", "targets", "external_ids"],
  NetFlow: ["active_timeout", "add_id_to_interface", "engine_id", "engine_type", "targets", "external_ids"],
} as const;
type RowTable = keyof typeof ownedColumns;
const TABLES = Object.keys(ownedColumns) as RowTable[];
/** Rows of these stay when nobody refers to them. */
const ROOTS: ReadonlySet<RowTable> = new Set(["QoS", "Queue"]);
/** Where the bridge refers to the others, and whether to several. */
const HOLDERS: Readonly<Partial<Record<RowTable, "mirrors" | "ipfix" | "sflow" | "netflow">>> = { Mirror: "mirrors", IPFIX: "ipfix", sFlow: "sflow", NetFlow: "netflow" };
/** Maps with integer keys. */
const INTEGER_KEYS: ReadonlySet<string> = new Set(["queues"]);

type AnyRow = Row & { readonly external_ids: Ids } & Readonly<Record<string, Value>>;

export interface WantedRows {
  readonly rows: readonly DesiredRow[];
  readonly patches: readonly OvsPatch[];
  /** Wishes that the database refused, and why: what there is of them stays as it is. */
  readonly refused?: ReadonlyMap<string, string>;
}

/** What tells a wish from others, and from what the same app wanted before. */
export const rowWish = ({ table, key, columns }: DesiredRow): string => `row ${table} ${key} ${canonicalText(columns)}`;
export const patchWish = ({ table, name, column, value }: OvsPatch): string => `patch ${table} ${name} ${column} ${canonicalText(value)}`;

/** How another owned row is referred to in a transaction: it is there, or is made by it. */
export type Resolve = (ref: OvsRef) => InputAtom | undefined;

export interface RowPlan {
  readonly operations: Operation[];
  readonly notes: Note[];
  readonly resolve: Resolve;
  /** Whose wish an operation is. */
  readonly wishes: ReadonlyMap<Operation, string>;
}

export function planRows(replica: Pick<Replica, "table">, bridge: BridgeRow, wanted: WantedRows): RowPlan {
  const operations: Operation[] = [];
  const notes: Note[] = [];
  const wishes = new Map<Operation, string>();
  const of = (table: OvsTable): AnyRow[] => [...replica.table<AnyRow>(table).values()];
  const ours = new Map<string, AnyRow>();
  const surplus: { readonly table: RowTable; readonly row: AnyRow }[] = [];
  for (const table of TABLES) {
    for (const row of of(table)) {
      const key = row.external_ids[OWNED];
      if (key === undefined) continue;
      if (ours.has(`${table} ${key}`)) surplus.push({ table, row });
      else ours.set(`${table} ${key}`, row);
    }
  }
  const rows = wanted.rows.filter((r): r is DesiredRow & { table: RowTable; columns: OvsColumns } => r.table !== "Port");
  const names = new Map(rows.map((r, i) => [`${r.table} ${r.key}`, `row${i}`]));
  const resolve: Resolve = ({ ref, key }) => {
    const id = `${ref} ${key}`;
    const row = ours.get(id);
    if (row !== undefined) return uuid(row._uuid);
    const name = names.get(id);
    return name === undefined ? undefined : namedUuid(name);
  };
  const wantedIds = new Set<string>();
  const changes = new Map<string, { add: InputAtom[]; remove: string[] }>();
  const holder = (column: string): { add: InputAtom[]; remove: string[] } => {
    let change = changes.get(column);
    if (change === undefined) changes.set(column, (change = { add: [], remove: [] }));
    return change;
  };

  for (const wanting of rows) {
    const { table, key, columns } = wanting;
    const id = `${table} ${key}`;
    const row = ours.get(id);
    wantedIds.add(id);
    const wish = rowWish(wanting);
    const problem = wanted.refused?.get(wish) ?? unread(table, columns, ownedColumns[table]);
    if (problem !== undefined) {
      notes.push({ about: `${table} ${key}`, problem });
      if (row === undefined) names.delete(id);
      continue;
    }
    const operate = (operation: Operation): void => {
      operations.push(operation);
      wishes.set(operation, wish);
    };
    const held = HOLDERS[table];
    if (row === undefined) {
      if (held !== undefined && held !== "mirrors" && bridge[held] !== undefined) {
        const owned = replica.table<AnyRow>(table).get(bridge[held])?.external_ids[OWNED];
        if (owned === undefined) {
          notes.push({ about: `${table} of bridge ${bridge.name}`, problem: `it has a ${table} that the controller did not make; it is left alone, and ${key} is missing` });
          names.delete(id);
          continue;
        }
      }
      operate(insert(table, { ...inputs(columns, resolve), external_ids: { ...((columns.external_ids as Ids | undefined) ?? {}), [OWNED]: key } }, { uuidName: names.get(id)! }));
      if (held !== undefined) holder(held).add.push(namedUuid(names.get(id)!));
      continue;
    }
    const change: Record<string, InputValue> = {};
    for (const [column, value] of Object.entries(columns)) {
      const is = column === "external_ids" ? without(row.external_ids, OWNED) : row[column];
      if (textOf(is) !== wantedText(value, resolve)) change[column] = column === "external_ids" ? { ...(value as Ids), [OWNED]: key } : input(column, value, resolve);
    }
    if (Object.keys(change).length > 0) operate(update(table, byUuid(row), change));
    if (held !== undefined && !refers(bridge[held], row._uuid)) holder(held).add.push(uuid(row._uuid));
  }

  for (const [id, row] of ours) if (!wantedIds.has(id)) surplus.push({ table: id.slice(0, id.indexOf(" ")) as RowTable, row });
  for (const { table, row } of surplus) {
    const held = HOLDERS[table];
    if (held !== undefined && refers(bridge[held], row._uuid)) holder(held).remove.push(row._uuid);
    if (ROOTS.has(table)) operations.push(del(table, byUuid(row)));
  }
  planPatches(replica, wanted, resolve, notes, operations, wishes);
  const mutations: Mutation[] = [];
  for (const [column, { add, remove }] of changes) {
    if (column === "mirrors") {
      if (remove.length > 0) mutations.push([column, "delete", remove]);
      if (add.length > 0) mutations.push([column, "insert", set(add)]);
    } else operations.push(update("Bridge", byUuid(bridge), { [column]: add[0] ?? null }));
  }
  if (mutations.length > 0) operations.push(mutate("Bridge", byUuid(bridge), mutations));
  return { operations, notes, resolve, wishes };
}

/** What is not read back cannot be kept in order. */
export function unread(table: string, columns: OvsColumns, read: readonly string[] | undefined): string | undefined {
  if (read === undefined) return `rows of ${table} cannot be made by the controller`;
  const column = Object.keys(columns).find((c) => !read.includes(c));
  return column === undefined ? undefined : `column ${column} cannot be set by the controller`;
}

function planPatches(replica: Pick<Replica, "table">, { patches, refused }: WantedRows, resolve: Resolve, notes: Note[], operations: Operation[], wishes: Map<Operation, string>): void {
  const left = new Set(patches);
  for (const table of ["Port", "Interface"] as const) {
    for (const row of replica.table<AnyRow & { readonly name: string }>(table).values()) {
      const mine = patches.filter((p) => p.table === table && p.name === row.name);
      const ids: Record<string, string | undefined> = {};
      for (const patch of mine) {
        left.delete(patch);
        const { column, value } = patch;
        const problem = refused?.get(patchWish(patch));
        if (problem !== undefined) {
          notes.push({ about: `${table} ${row.name}`, problem });
          continue;
        }
        if (!isPatched(row, column)) {
          notes.push({ about: `${table} ${row.name}`, problem: `column ${column} cannot be set by the controller` });
          continue;
        }
        if (row.external_ids[WAS + column] === undefined) ids[WAS + column] = JSON.stringify(plain(row[column]));
        if (textOf(row[column]) === wantedText(value, resolve)) continue;
        // One operation for each, so that what the database refuses can be told from the rest.
        const operation = update(table, byUuid(row), { [column]: input(column, value, resolve) });
        operations.push(operation);
        wishes.set(operation, patchWish(patch));
      }
      for (const [key, before] of Object.entries(row.external_ids)) {
        const column = key.startsWith(WAS) ? key.slice(WAS.length) : undefined;
        if (column === undefined || mine.some((p) => p.column === column)) continue;
        const wish = `${RESTORE}${table} ${row.name} ${column}`;
        const problem = refused?.get(wish);
        if (problem !== undefined) {
          notes.push({ about: `${table} ${row.name}`, problem: `${column} cannot be put back: ${problem}` });
          continue;
        }
        ids[key] = undefined;
        if (!isPatched(row, column)) continue; // nobody ever set that
        const operation = update(table, byUuid(row), { [column]: restored(before, column, replica) });
        operations.push(operation);
        wishes.set(operation, wish);
      }
      const mutations: Mutation[] = [];
      const gone = Object.keys(ids).filter((k) => ids[k] === undefined);
      const come = Object.fromEntries(Object.entries(ids).filter((e): e is [string, string] => e[1] !== undefined));
      if (gone.length > 0) mutations.push(["external_ids", "delete", gone]);
      if (Object.keys(come).length > 0) mutations.push(["external_ids", "insert", come]);
      if (mutations.length > 0) operations.push(mutate(table, byUuid(row), mutations));
    }
  }
  for (const { table, name, column } of left) notes.push({ about: `${table} ${name}`, problem: `the host has none of this name, so its ${column} cannot be set` });
}

/** What a column held before, as far as it can still be had: a row that is gone cannot be referred to. */
function restored(text: string, column: string, replica: Pick<Replica, "table">): InputValue {
  let before: unknown;
  try {
    before = JSON.parse(text);
  } catch {
    return null; // somebody wrote into our mark
  }
  if (column === "qos") return typeof before === "string" && replica.table("QoS").get(before) !== undefined ? uuid(before) : null;
  return before as InputValue;
}

/** A column that patches may set: what a row is called and our marks are none, nor is what somebody wrote into a mark. */
const isPatched = (row: AnyRow, column: string): boolean => Object.hasOwn(row, column) && !NEVER_PATCHED.has(column);

const plain = (value: Value): unknown => (value === undefined ? null : value instanceof Map ? Object.fromEntries(value as ReadonlyMap<string, unknown>) : value);

const isRef = (value: unknown): value is OvsRef => typeof value === "object" && value !== null && "ref" in value && "key" in value;

function inputs(columns: OvsColumns, resolve: Resolve): Record<string, InputValue> {
  return Object.fromEntries(Object.entries(columns).map(([column, value]) => [column, input(column, value, resolve)]));
}

export function input(column: string, value: OvsValue, resolve: Resolve): InputValue {
  if (isRef(value)) return resolve(value) ?? null;
  if (Array.isArray(value)) return set([...new Set(value as readonly (string | number | OvsRef)[])].flatMap((v) => (isRef(v) ? (resolve(v) ?? []) : [v])));
  if (typeof value !== "object") return value;
  const entries = Object.entries(value as Readonly<Record<string, string | OvsRef>>).flatMap(([k, v]): [InputAtom, InputAtom][] => {
    const atom = isRef(v) ? resolve(v) : v;
    return atom === undefined ? [] : [[INTEGER_KEYS.has(column) ? Number(k) : k, atom]];
  });
  return map(new Map(entries));
}

/** Text of a value as the replica gives it, and of one as it is wanted, without what refers to nothing: equal texts = in order. */
export function textOf(value: Value): string {
  if (value === undefined) return "[]";
  if (Array.isArray(value)) return JSON.stringify([...(value as readonly unknown[])].map(String).sort());
  if (typeof value !== "object") return JSON.stringify([String(value)]);
  const entries = value instanceof Map ? [...(value as ReadonlyMap<unknown, unknown>)] : Object.entries(value);
  return mapText(entries.map(([k, v]) => [String(k), String(v)]));
}

export function wantedText(value: OvsValue, resolve: Resolve): string {
  const atom = (v: string | number | boolean | OvsRef): string[] => {
    if (!isRef(v)) return [String(v)];
    const row = resolve(v);
    if (row === undefined) return [];
    return [typeof row === "object" && "uuid" in row ? row.uuid : "(to be made)"];
  };
  if (Array.isArray(value)) return JSON.stringify([...new Set((value as readonly (string | number | OvsRef)[]).flatMap(atom))].sort());
  if (typeof value !== "object" || isRef(value)) return JSON.stringify(atom(value));
  return mapText(Object.entries(value as Readonly<Record<string, string | OvsRef>>).flatMap(([k, v]) => atom(v).map((a): [string, string] => [k, a])));
}

/** An empty map and an empty set read the same. */
const mapText = (entries: readonly (readonly [string, string])[]): string =>
  entries.length === 0 ? "[]" : JSON.stringify([...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => `${k}=${v}`));

const without = (ids: Ids, key: string): Ids => Object.fromEntries(Object.entries(ids).filter(([k]) => k !== key));
const refers = (value: string | readonly string[] | undefined, id: string): boolean => value === id || (Array.isArray(value) && value.includes(id));
const byUuid = (row: Row): [[string, "==", string]] => [["_uuid", "==", row._uuid]];
