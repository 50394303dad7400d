// Single columns, and single keys of map columns, of rows that somebody else made. The row remembers what was there before, in
// external_ids:axion-was-<column> or axion-was-<column>:<key>, so that it is put back by whoever comes later, whatever happens in
// between; nothing else of the row is touched. A row of our own has nothing to remember: patches of it are set beside its wish. Pure, as
// adoption.ts.
import { mutate, update, uuid, type InputValue, type Mutation, type Replica, type Row, type Value } from "ovsdb-client";
import type { ColumnKind, OvsColumns, OvsPatch, OvsValue, PatchTable } from "#app";
import { byUuid, defaultInput, input, isRef, kindsOf, textOf, wantedText, type Resolve } from "./columns.ts";
import type { Ids } from "./host-rows.ts";
import { patchWish, RESTORE, type Draft, type WantedRows } from "./wishes.ts";

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

interface Share {
  readonly doable: readonly OvsPatch[];
  /** Nothing is done about these: what there is of them stays as it is. */
  readonly left: readonly OvsPatch[];
}

const NOTHING: Share = { doable: [], left: [] };

/** Patches by the row that they are of. */
export class Patches {
  private readonly byRow = new Map<string, OvsPatch[]>();
  private readonly used = new Set<string>();
  private readonly problems = new Map<OvsPatch, string>();
  readonly refused: ReadonlyMap<string, string>;

  constructor({ patches, refused = new Map<string, string>() }: WantedRows) {
    this.refused = refused;
    for (const patch of patches) {
      const row = `${patch.table} ${patch.name}`;
      const list = this.byRow.get(row);
      if (list === undefined) this.byRow.set(row, [patch]);
      else list.push(patch);
    }
  }

  /** Of a row that is there, or is being made (`row` undefined); what refers to nothing is no wish. */
  of(table: PatchTable, name: string, row: Row | undefined, resolve: Resolve): Share {
    // Of most rows nobody wants anything, and there may be tens of thousands.
    if (this.byRow.size === 0) return NOTHING;
    const id = `${table} ${name}`;
    const all = this.byRow.get(id);
    if (all === undefined) return NOTHING;
    this.used.add(id);
    const resolved = all.filter(({ value }) => !isRef(value) || resolve(value) !== undefined);
    for (const patch of resolved) {
      const problem = this.refused.get(patchWish(patch)) ?? (isPatchable(table, patch) && (row === undefined || patch.column in row) ? undefined : `column ${patch.column} cannot be set by the controller`);
      if (problem !== undefined) this.problems.set(patch, problem);
    }
    return { doable: resolved.filter((p) => !this.problems.has(p)), left: resolved.filter((p) => this.problems.has(p)) };
  }

  /** Of a row of ours, which has nothing to remember: its wish with the keys that patches set, and the columns that they set as a whole. */
  over(table: PatchTable, name: string, row: Row | undefined, columns: OvsColumns, resolve: Resolve): { readonly columns: OvsColumns; readonly whole: readonly OvsPatch[] } {
    const { doable } = this.of(table, name, row, resolve);
    const out: Record<string, OvsValue | undefined> = { ...columns };
    for (const { column, key, value } of doable) if (key !== undefined) out[column] = { ...(out[column] as Ids | undefined), [key]: value as string };
    return { columns: out, whole: doable.filter((p) => p.key === undefined) };
  }

  /** A port of ours, and its interface, that are left alone. */
  leave(name: string): void {
    for (const table of ["Port", "Interface"]) this.used.add(`${table} ${name}`);
  }

  /** Names what cannot be carried out: of rows that there are not, what refers to such, what was refused. */
  tell(draft: Draft, resolve: Resolve): void {
    for (const [row, patches] of this.byRow) {
      for (const patch of patches) {
        const { column, value } = patch;
        const problem = this.problems.get(patch);
        if (!this.used.has(row)) draft.note(row, `the host has none of this name, so its ${column} cannot be set`);
        else if (problem !== undefined) draft.note(row, problem);
        else if (isRef(value) && resolve(value) === undefined) draft.note(row, `its ${column} cannot be set: the host has no ${value.ref} ${value.key}`);
      }
    }
  }
}

/** What rules may set of foreign rows, hence what may have to be put back: a map by its keys, our own marks never. */
function isPatchable(table: PatchTable, { column, key }: { readonly column: string; readonly key?: string | undefined }): boolean {
  const kind = kindOf(table, column);
  return kind !== undefined && (kind === "map") === (key !== undefined) && !(column === "external_ids" && key!.startsWith("axion-"));
}
const kindOf = (table: PatchTable, column: string): ColumnKind | undefined => (Object.hasOwn(kindsOf(table), column) ? kindsOf(table)[column] : undefined);

export function planPatches(replica: Pick<Replica, "table">, patches: Patches, resolve: Resolve, draft: Draft): void {
  for (const table of ["Port", "Interface"] as const) {
    for (const row of replica.table<AnyRow>(table).values()) {
      if (row.external_ids[PORT] !== undefined) continue;
      const share = patches.of(table, row.name, row, resolve);
      planRestoring(replica, table, row, share, patches.refused, draft);
      for (const patch of share.doable) planPatch(table, row, patch, resolve, draft);
    }
  }
  patches.tell(draft, resolve);
}

/** Each patch by operations of its own, so that what the database refuses can be told from the rest. */
function planPatch(table: PatchTable, row: AnyRow, patch: OvsPatch, resolve: Resolve, draft: Draft): void {
  const { column, key, value } = patch;
  const mutations: Mutation[] = [];
  const before = key === undefined ? row[column] : keyOf(row, column, key);
  const mark = markOf(column, key);
  if (row.external_ids[mark] === undefined) mutations.push(["external_ids", "insert", { [mark]: JSON.stringify(before ?? null) }]);
  if (key !== undefined) mutations.push(...setKey(row, column, key, value as string));
  else if (textOf(row[column]) !== wantedText(value, resolve)) draft.operate(patchWish(patch), update(table, byUuid(row), { [column]: input(kindsOf(table)[column]!, value, resolve) }));
  if (mutations.length > 0) draft.operate(patchWish(patch), mutate(table, byUuid(row), mutations));
}

/** Puts back what nobody wants any more; a mark by which nothing can be put back stays, and is named. */
function planRestoring(replica: Pick<Replica, "table">, table: PatchTable, row: AnyRow, { doable, left }: Share, refused: Patches["refused"], draft: Draft): void {
  let wanted: Set<string> | undefined;
  for (const id of Object.keys(row.external_ids)) {
    const mark = parse(id);
    if (mark === undefined) continue;
    const text = row.external_ids[id]!;
    wanted ??= new Set([...doable, ...left].map(({ column, key }) => markOf(column, key)));
    if (wanted.has(id)) continue;
    const { column, key } = mark;
    const wish = `${RESTORE}${table} ${row.name} ${id}`;
    const fail = (problem: string): void => draft.note(`${table} ${row.name}`, `${column} cannot be put back: ${problem}`);
    const problem = refused.get(wish);
    if (problem !== undefined) {
      fail(problem);
      continue;
    }
    const mutations: Mutation[] = [["external_ids", "delete", [id]]];
    const kind = kindOf(table, column);
    const before = remembered(text);
    if (kind !== undefined && column in row && isRestorable(kind, mark)) {
      if (key !== undefined) mutations.push(...setKey(row, column, key, typeof before === "string" ? before : undefined));
      else {
        const value = restored(kind, before, replica);
        if (value === undefined) {
          fail(`external_ids:${id} holds no value that it can have`);
          continue;
        }
        draft.operate(wish, update(table, byUuid(row), { [column]: value }));
      }
    }
    draft.operate(wish, mutate(table, byUuid(row), mutations));
  }
}

/** Whether a patch ever set that; an edition before patched maps as a whole, but for external_ids. */
const isRestorable = (kind: ColumnKind, { column, key }: Mark): boolean =>
  column === "external_ids" ? key !== undefined && !key.startsWith("axion-") : key === undefined || kind === "map";

const keyOf = (row: AnyRow, column: string, key: string): string | undefined => (Object.hasOwn(row[column] as Ids, key) ? (row[column] as Ids)[key] : undefined);

function setKey(row: AnyRow, column: string, key: string, value: string | undefined): Mutation[] {
  const now = keyOf(row, column, key);
  if (now === value) return [];
  return [...(now === undefined ? [] : [[column, "delete", [key]] satisfies Mutation]), ...(value === undefined ? [] : [[column, "insert", { [key]: value }] satisfies Mutation])];
}

function remembered(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // somebody wrote into our mark
  }
}

/** What a column held before, as far as it can still be had: a row that is gone cannot be referred to. Undefined: a column of this kind cannot hold that. */
function restored(kind: ColumnKind, before: unknown, replica: Pick<Replica, "table">): InputValue | undefined {
  if (before === null) return defaultInput(kind);
  switch (kind) {
    case "ref?":
      return typeof before !== "string" ? undefined : replica.table("QoS").get(before) !== undefined ? uuid(before) : null;
    case "string": case "string?":
      return typeof before === "string" ? before : undefined;
    case "integer": case "integer?":
      return Number.isInteger(before) ? (before as number) : undefined;
    case "boolean":
      return typeof before === "boolean" ? before : undefined;
    case "integer*":
      return Array.isArray(before) && before.every((n): n is number => Number.isInteger(n)) ? before : undefined;
    case "map": // of an edition that patched maps as a whole
      return typeof before === "object" && !Array.isArray(before) ? Object.fromEntries(Object.entries(before).map(([k, v]) => [k, String(v)])) : undefined;
    default:
      return undefined;
  }
}
