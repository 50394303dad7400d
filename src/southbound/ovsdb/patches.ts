// Single columns, and single keys of map columns, of rows that somebody else made. The row remembers what was there before, in
// external_ids:axion-was-<column> or axion-was-<column>:<key>, so that it is put back by whoever comes later, whatever happens in
// between; nothing else of the row is touched. A row of our own has nothing to remember: patches of it are part of its wish. Pure, as
// adoption.ts.
import { mutate, update, uuid, type InputValue, type Mutation, type Operation, type Replica, type Row, type Value } from "ovsdb-client";
import type { ColumnKind, OvsColumns, OvsPatch, OvsValue, PatchTable } from "#app";
import { byUuid, defaultInput, input, isRef, kindsOf, textOf, wantedText, type Resolve } from "./columns.ts";
import type { Ids, Note } from "./host-rows.ts";

/** Marks ports of ours, and their interfaces. */
export const PORT = "axion-port";
/** Begins the keys by which a row remembers. */
export const WAS = "axion-was-";
export const markOf = (column: string, key?: string): string => `${WAS}${column}${key === undefined ? "" : `:${key}`}`;
type AnyRow = Row & { readonly name: string; readonly external_ids: Ids } & Readonly<Record<string, Value>>;

interface Mark {
  readonly column: string;
  readonly key: string | undefined;
}
function parse(mark: string): Mark | undefined {
  if (!mark.startsWith(WAS)) return undefined;
  const [, column, key] = /^([^:]*)(?::(.*))?$/s.exec(mark.slice(WAS.length))!;
  return { column: column!, key };
}

/** Patches by the row that they are of. */
export class Patches {
  private readonly byRow = new Map<string, OvsPatch[]>();
  private readonly used = new Set<string>();

  constructor(patches: readonly OvsPatch[]) {
    for (const patch of patches) {
      const row = `${patch.table} ${patch.name}`;
      const list = this.byRow.get(row);
      if (list === undefined) this.byRow.set(row, [patch]);
      else list.push(patch);
    }
  }

  /** Of a row that is there. */
  of(table: PatchTable, name: string, resolve: Resolve): readonly OvsPatch[] {
    const row = `${table} ${name}`;
    this.used.add(row);
    return (this.byRow.get(row) ?? []).filter(({ value }) => !isRef(value) || resolve(value) !== undefined);
  }

  /** The wish for a row of ours with what patches say of it: it has nothing to remember. */
  over(table: PatchTable, name: string, columns: OvsColumns, resolve: Resolve): OvsColumns {
    const out: Record<string, OvsValue | undefined> = { ...columns };
    for (const { column, key, value } of this.of(table, name, resolve)) out[column] = key === undefined ? value : { ...(out[column] as Ids | undefined), [key]: value as string };
    return out;
  }

  /** What cannot be carried out: of rows that nobody asked for, and what refers to rows that there are not. */
  notes(resolve: Resolve): Note[] {
    return [...this.byRow].flatMap(([row, patches]) =>
      patches.flatMap(({ column, value }): Note[] => {
        if (!this.used.has(row)) return [{ about: row, problem: `the host has none of this name, so its ${column} cannot be set` }];
        return isRef(value) && resolve(value) === undefined ? [{ about: row, problem: `its ${column} cannot be set: the host has no ${value.ref} ${value.key}` }] : [];
      }),
    );
  }
}

export function planPatches(replica: Pick<Replica, "table">, patches: Patches, resolve: Resolve, notes: Note[]): Operation[] {
  const operations: Operation[] = [];
  for (const table of ["Port", "Interface"] as const) {
    for (const row of replica.table<AnyRow>(table).values()) if (row.external_ids[PORT] === undefined) operations.push(...planRow(replica, table, row, patches.of(table, row.name, resolve), resolve, notes));
  }
  notes.push(...patches.notes(resolve));
  return operations;
}

function planRow(replica: Pick<Replica, "table">, table: PatchTable, row: AnyRow, mine: readonly OvsPatch[], resolve: Resolve, notes: Note[]): Operation[] {
  const change: Record<string, InputValue> = {};
  const mutations: Mutation[] = [];
  const setKey = (column: string, key: string, value: string | undefined): void => {
    const now = (row[column] as Ids)[key];
    if (now === value) return;
    if (now !== undefined) mutations.push([column, "delete", [key]]);
    if (value !== undefined) mutations.push([column, "insert", { [key]: value }]);
  };
  const kinds = kindsOf(table);
  const wanted = new Set<string>();
  for (const { column, key, value } of mine) {
    wanted.add(markOf(column, key));
    if (!(column in row)) {
      notes.push({ about: `${table} ${row.name}`, problem: `column ${column} cannot be set by the controller` });
      continue;
    }
    const before = key === undefined ? row[column] : (row[column] as Ids)[key];
    if (row.external_ids[markOf(column, key)] === undefined) mutations.push(["external_ids", "insert", { [markOf(column, key)]: JSON.stringify(before ?? null) }]);
    if (key !== undefined) setKey(column, key, value as string);
    else if (textOf(row[column]) !== wantedText(value, resolve)) change[column] = input(kinds[column]!, value, resolve);
  }
  for (const [id, before] of Object.entries(row.external_ids)) {
    const mark = parse(id);
    if (mark === undefined || wanted.has(id)) continue;
    mutations.push(["external_ids", "delete", [id]]);
    const { column, key } = mark;
    const kind = kinds[column];
    if (kind === undefined || !(column in row)) continue;
    const value = remembered(before);
    if (key === undefined) change[column] = restored(kind, value, replica);
    else if (kind === "map") setKey(column, key, typeof value === "string" ? value : undefined);
  }
  return [
    ...(Object.keys(change).length > 0 ? [update(table, byUuid(row), change)] : []),
    ...(mutations.length > 0 ? [mutate(table, byUuid(row), mutations)] : []),
  ];
}

function remembered(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // somebody wrote into our mark
  }
}

/** What a column held before, as far as it can still be had: a row that is gone cannot be referred to, and a mark may have been written into. */
function restored(kind: ColumnKind, before: unknown, replica: Pick<Replica, "table">): InputValue {
  switch (kind) {
    case "ref?":
      return typeof before === "string" && replica.table("QoS").get(before) !== undefined ? uuid(before) : null;
    case "string": case "string?":
      return typeof before === "string" ? before : defaultInput(kind);
    case "integer": case "integer?":
      return typeof before === "number" ? before : defaultInput(kind);
    case "boolean":
      return before === true;
    case "integer*":
      return Array.isArray(before) ? before.filter((n): n is number => typeof n === "number") : defaultInput(kind);
    case "map": // of an edition that patched maps as a whole
      return typeof before === "object" && before !== null ? Object.fromEntries(Object.entries(before).map(([k, v]) => [k, String(v)])) : defaultInput(kind);
    default:
      return defaultInput(kind);
  }
}
