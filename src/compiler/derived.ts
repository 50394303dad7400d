// Rows of derived tables and whose they are. Two runs that derive a row of one id are a mistake: the first by app, derivation and entity
// has it, and it is logged once while it lasts. A row that moves from one run to another within a batch is none.
import type { AnyTable, Row } from "#app";
import { fewOf, isList, listOf, type Few } from "../lib/few.ts";
import { Layer } from "../model/rows.ts";
import { Conflicts } from "./flows/conflicts.ts";
import { runName, type Run } from "./runs.ts";

export interface RowChange {
  readonly table: AnyTable;
  readonly id: string;
  readonly before: Row | undefined;
  readonly after: Row | undefined;
}

export interface DuplicateRow {
  readonly table: string;
  readonly row: string;
  readonly first: string;
  readonly second: string;
}

/** Who derives the rows of a table: the first by name first; several only by mistake. */
type Owners = Map<string, Few<Run>>;

interface Derived {
  readonly owners: Owners;
}

export class DerivedRows {
  readonly layer = new Layer(undefined, (table) => new Error(`derived table ${table.name} is read, which no app lists in its tables`));
  private readonly tables = new Map<string, Derived>();
  /** Rows that had several owners at some moment of this batch. */
  private suspects: { readonly table: string; readonly id: string }[] = [];
  private readonly duplicates: Conflicts<DuplicateRow>;
  private readonly onChange: (change: RowChange, owner: Run | undefined) => void;
  private readonly onBug: (error: unknown, run: Run) => void;

  /** `onChange`: and whose row it was until now. `onBug`: an index function of the table failed for a row of the run. */
  constructor(onChange: (change: RowChange, owner: Run | undefined) => void, onDuplicate: (duplicate: DuplicateRow) => void, onBug: (error: unknown, run: Run) => void) {
    this.duplicates = new Conflicts(onDuplicate);
    this.onChange = onChange;
    this.onBug = onBug;
  }

  /** Puts the rows of a run, nearly always one, in place of those it had. A row that no index takes is left out. */
  replace(run: Run, table: AnyTable, rows: Few<Row>): void {
    const before = run.rows;
    if (before === undefined && rows === undefined) return;
    if (rows !== undefined && !isList(rows) && !isList(before) && (before === undefined || before.id === rows.id)) {
      if (this.put(run, table, rows, before)) run.rows = rows;
      else {
        if (before !== undefined) this.drop(run, table, before);
        run.rows = undefined;
      }
      return;
    }
    const had = listOf(before);
    const old = byId(had);
    const kept = new Map<string, Row>();
    for (const row of listOf(rows)) {
      if (kept.has(row.id)) this.onBug(new Error(`a derivation makes two rows with the id ${row.id}`), run);
      else if (this.put(run, table, row, old(row.id))) kept.set(row.id, row);
    }
    for (const row of had) if (!kept.has(row.id)) this.drop(run, table, row);
    run.rows = fewOf([...kept.values()]);
  }

  /** Who derives the row: the run whose row it is; undefined: it is not there. */
  ownerOf(table: AnyTable, id: string): Run | undefined {
    return listOf(this.tables.get(table.name)?.owners.get(id))[0];
  }

  /** Ends a batch: what has several owners now is a mistake. */
  endBatch(): void {
    const { suspects } = this;
    if (suspects.length === 0) return;
    this.suspects = [];
    for (const { table, id } of suspects) {
      const now = this.tables.get(table)?.owners.get(id);
      this.duplicates.set(`${table} ${id}`, isList(now) ? { table, row: id, first: runName(now[0]!), second: runName(now[1]!) } : undefined);
    }
  }

  /** Whether the run has the row now, be it behind another's. */
  private put(run: Run, table: AnyTable, row: Row, own: Row | undefined): boolean {
    if (own !== undefined && surelyEqual(own, row)) return true;
    const derived = this.of(table);
    const { owners } = derived;
    const now = owners.get(row.id);
    if (own === undefined && now !== undefined) {
      const list = [...(isList(now) ? now : [now]), run].sort((a, b) => (runName(a) < runName(b) ? -1 : 1));
      owners.set(row.id, list);
      this.suspects.push({ table: table.name, id: row.id });
      if (list[0] !== run) return true;
    } else if (isList(now) && now[0] !== run) return true;
    const before = this.layer.row(table, row.id);
    try {
      this.layer.put(table, row);
    } catch (error) {
      if (own === undefined && now !== undefined) this.leave(owners, table, row.id, run);
      this.onBug(error, run);
      return false;
    }
    if (own === undefined && now === undefined) owners.set(row.id, run);
    this.onChange({ table, id: row.id, before, after: row }, isList(now) ? now[0] : now);
    return true;
  }

  private drop(run: Run, table: AnyTable, old: Row): void {
    const derived = this.of(table);
    const { owners } = derived;
    const now = owners.get(old.id);
    if (!isList(now)) {
      owners.delete(old.id);
      this.layer.remove(table, old.id);
      this.onChange({ table, id: old.id, before: old, after: undefined }, run);
      return;
    }
    this.leave(owners, table, old.id, run);
    if (now[0] !== run) return;
    // The next by name has the row from now on.
    const heir = now[1]!;
    let after = listOf(heir.rows).find((r) => r.id === old.id);
    try {
      if (after !== undefined) this.layer.put(table, after);
    } catch (error) {
      this.onBug(error, heir);
      after = undefined;
    }
    if (after === undefined) this.layer.remove(table, old.id);
    this.onChange({ table, id: old.id, before: old, after }, run);
  }

  private leave(owners: Owners, table: AnyTable, id: string, run: Run): void {
    const now = owners.get(id);
    if (!isList(now)) return;
    const rest = now.filter((r) => r !== run);
    owners.set(id, rest.length === 1 ? rest[0]! : rest);
    this.suspects.push({ table: table.name, id });
  }

  private of(table: AnyTable): Derived {
    let derived = this.tables.get(table.name);
    if (derived === undefined) this.tables.set(table.name, (derived = { owners: new Map() }));
    return derived;
  }
}

function byId(rows: readonly Row[]): (id: string) => Row | undefined {
  if (rows.length < 8) return (id) => rows.find((r) => r.id === id);
  const map = new Map(rows.map((r) => [r.id, r]));
  return (id) => map.get(id);
}

/** Rows that cannot be compared (one that contains itself, a getter that throws) are not equal. */
function surelyEqual(a: Row, b: Row): boolean {
  try {
    return equalValues(a, b);
  } catch {
    return false;
  }
}

/** Equality of plain data: numbers, bigints, text, lists, objects. An absent key and an undefined one are the same. */
export function equalValues(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((v, i) => equalValues(v, b[i]));
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  for (const key in left) if (!equalValues(left[key], right[key])) return false;
  for (const key in right) if (right[key] !== undefined && left[key] === undefined) return false;
  return true;
}
