// Rows of derived tables and whose they are. Two runs that derive a row of one id are told apart by name: the first by app, derivation
// and entity has it, and the mistake is logged once while it lasts.
import type { AnyTable, Row } from "#app";
import { Layer } from "../model/rows.ts";
import { runName, type Run } from "./runs.ts";

export interface RowChange {
  readonly table: AnyTable;
  readonly id: string;
  readonly before: Row | undefined;
  readonly after: Row | undefined;
}

export class DerivedRows {
  readonly layer = new Layer(undefined, (table) => new Error(`derived table ${table.name} is read, which no app lists in its tables`));
  /** table -> row id -> who derives it; several only by mistake. */
  private readonly owners = new Map<string, Map<string, Run | Run[]>>();
  /** How many rows of a table came, changed or went since the start. */
  readonly changes = new Map<string, number>();
  private readonly onDuplicate: (fields: { readonly table: string; readonly row: string; readonly first: string; readonly second: string }) => void;

  constructor(onDuplicate: DerivedRows["onDuplicate"]) {
    this.onDuplicate = onDuplicate;
  }

  /**
   * Puts the rows of a run in place of those it had; `changed` is called for each difference.
   * @throws what an index function of the table throws; the rows that were put by then stay, and `run.rows` has them
   */
  replace(run: Run, table: AnyTable, rows: readonly Row[], notify: (change: RowChange) => void): void {
    const changed = (change: RowChange): void => {
      this.changes.set(table.name, (this.changes.get(table.name) ?? 0) + 1);
      notify(change);
    };
    const before = run.rows;
    const kept: Row[] = [];
    const seen = new Set<string>();
    try {
      for (const row of rows) {
        if (seen.has(row.id)) throw new Error(`a derivation makes two rows with the id ${row.id}`);
        seen.add(row.id);
        this.put(run, table, row, before.find((r) => r.id === row.id), changed);
        kept.push(row);
      }
    } finally {
      for (const old of before) if (!kept.some((r) => r.id === old.id)) this.drop(run, table, old, changed);
      run.rows = kept.length === 0 ? rows.slice(0, 0) : kept;
    }
  }

  private put(run: Run, table: AnyTable, row: Row, own: Row | undefined, changed: (change: RowChange) => void): void {
    if (own !== undefined && equalValues(own, row)) return;
    const owners = this.of(table);
    const now = owners.get(row.id);
    if (own === undefined && now !== undefined) {
      const list = (Array.isArray(now) ? [...now, run] : [now, run]).sort((a, b) => (runName(a) < runName(b) ? -1 : 1));
      this.onDuplicate({ table: table.name, row: row.id, first: runName(list[0]!), second: runName(list[1]!) });
      owners.set(row.id, list);
      if (list[0] !== run) return;
    } else if (Array.isArray(now) && now[0] !== run) return;
    const before = this.layer.row(table, row.id);
    try {
      this.layer.put(table, row);
    } catch (error) {
      if (own === undefined) this.leave(owners, row.id, run);
      throw error;
    }
    if (own === undefined && now === undefined) owners.set(row.id, run);
    changed({ table, id: row.id, before, after: row });
  }

  private drop(run: Run, table: AnyTable, old: Row, changed: (change: RowChange) => void): void {
    const owners = this.of(table);
    const now = owners.get(old.id);
    if (Array.isArray(now)) {
      this.leave(owners, old.id, run);
      if (now[0] !== run) return;
      const after = now[1]!.rows.find((r) => r.id === old.id)!;
      this.layer.put(table, after);
      changed({ table, id: old.id, before: old, after });
      return;
    }
    if (now !== run) return; // it never got in
    owners.delete(old.id);
    this.layer.remove(table, old.id);
    changed({ table, id: old.id, before: old, after: undefined });
  }

  private leave(owners: Map<string, Run | Run[]>, id: string, run: Run): void {
    const now = owners.get(id);
    if (!Array.isArray(now)) return;
    const rest = now.filter((r) => r !== run);
    owners.set(id, rest.length === 1 ? rest[0]! : rest);
  }

  private of(table: AnyTable): Map<string, Run | Run[]> {
    let owners = this.owners.get(table.name);
    if (owners === undefined) this.owners.set(table.name, (owners = new Map<string, Run | Run[]>()));
    return owners;
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
