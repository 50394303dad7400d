/**
 * A transaction changes the tables as it goes, so that its later operations see what the earlier did, and remembers each
 * row as it was. Committing settles what the operations could leave open, in the server's order: strong references
 * counted, unheld rows of non-root tables collected, rows counted, weak references to nothing dropped, indexes checked,
 * versions renewed. Any refusal puts every row back.
 */

import { OvsdbError } from "../wire/errors.ts";
import { compareAtoms, datumToText, equalData, filterDatum, includesAll, scalar, ZERO_UUID, type Datum } from "./datum.ts";
import { referred, rowOf, Table, targets, VERSION, type Column, type Row } from "./table.ts";
import type { BaseType } from "../schema/schema.ts";
import type { Atom } from "../schema/values.ts";

/** What became of one row: `old` undefined for a new row, `now` undefined for one that is gone. */
export interface RowChange {
  readonly table: Table;
  readonly uuid: string;
  readonly old: Row | undefined;
  readonly now: Row | undefined;
}

interface Entry {
  readonly table: Table;
  readonly uuid: string;
  readonly old: Row | undefined;
  now: Row | undefined;
  /** Indexes of columns that changed, once the commit has found out. */
  changed: Set<number>;
}

const constraint = (details: string): OvsdbError => new OvsdbError("constraint violation", { details });
const integrity = (details: string): OvsdbError => new OvsdbError("referential integrity violation", { details });

export class Transaction {
  readonly #tables: ReadonlyMap<string, Table>;
  readonly #newVersion: () => string;
  readonly #entries = new Map<Table, Map<string, Entry>>();
  /** Strong references gained and lost. */
  readonly #delta = new Map<Table, Map<string, number>>();
  readonly #weakReferrers = new Map<Table, Map<string, (readonly [Table, string])[]>>();
  readonly #comments: string[] = [];

  constructor(tables: ReadonlyMap<string, Table>, newVersion: () => string) {
    this.#tables = tables;
    this.#newVersion = newVersion;
  }

  /** What "comment" operations said, a line each. */
  get comment(): string { return this.#comments.join("\n"); }

  addComment(text: string): void {
    this.#comments.push(text);
  }

  /** Whether a new row may have this UUID: no row has it, nor one that this transaction deletes. */
  mayInsert(table: Table, uuid: string): boolean {
    return !table.rows.has(uuid) && this.#entries.get(table)?.has(uuid) !== true;
  }

  insert(table: Table, uuid: string, cells: readonly Datum[]): void {
    const row = rowOf(uuid, this.#newVersion(), cells);
    this.#entry(table, uuid).now = row;
    table.rows.set(uuid, row);
  }

  modify(table: Table, row: Row, cells: readonly Datum[]): void {
    const changed: Row = { uuid: row.uuid, cells };
    this.#entry(table, row.uuid).now = changed;
    table.rows.set(row.uuid, changed);
  }

  delete(table: Table, row: Row): void {
    const entry = this.#entry(table, row.uuid);
    table.rows.delete(row.uuid);
    entry.now = undefined;
    if (entry.old === undefined) this.#entries.get(table)?.delete(row.uuid);
  }

  /** Puts every row back. */
  abort(): void {
    for (const { table, uuid, old } of this.#all()) {
      if (old === undefined) table.rows.delete(uuid);
      else table.rows.set(uuid, old);
    }
  }

  /** Makes the changes last and gives them. @throws OvsdbError after putting everything back */
  commit(): readonly RowChange[] {
    try {
      this.#findChanges();
      this.#countReferences();
      this.#collectGarbage();
      this.#checkRowCounts();
      this.#dropWeakReferences();
      this.#checkIndexes();
    } catch (error) {
      this.abort();
      throw error;
    }
    return this.#settle();
  }

  *#all(): Generator<Entry, void, undefined> {
    for (const entries of this.#entries.values()) yield* entries.values();
  }

  #entry(table: Table, uuid: string): Entry {
    let entries = this.#entries.get(table);
    if (entries === undefined) this.#entries.set(table, entries = new Map<string, Entry>());
    let entry = entries.get(uuid);
    if (entry === undefined) {
      const row = table.rows.get(uuid);
      entries.set(uuid, entry = { table, uuid, old: row, now: row, changed: new Set() });
    }
    return entry;
  }

  #findChanges(): void {
    for (const [table, entries] of this.#entries) {
      for (const entry of entries.values()) {
        const { old, now } = entry;
        for (const { index } of table.columns) {
          if (old === undefined || now === undefined || !equalData(old.cells[index]!, now.cells[index]!)) entry.changed.add(index);
        }
        if (entry.changed.size === 0) entries.delete(entry.uuid);
      }
      if (entries.size === 0) this.#entries.delete(table);
    }
  }

  #hold(table: Table, uuid: string, by: number): number {
    this.#entry(table, uuid);
    let counts = this.#delta.get(table);
    if (counts === undefined) this.#delta.set(table, counts = new Map<string, number>());
    const delta = (counts.get(uuid) ?? 0) + by;
    counts.set(uuid, delta);
    return (table.held.get(uuid) ?? 0) + delta;
  }

  #held(table: Table, uuid: string): number {
    return (table.held.get(uuid) ?? 0) + (this.#delta.get(table)?.get(uuid) ?? 0);
  }

  #countReferences(): void {
    for (const { table, old, now, changed } of this.#all()) {
      for (const reference of table.strong) {
        const { column } = reference;
        if (!changed.has(column.index)) continue;
        const target = this.#tables.get(reference.target)!;
        if (old !== undefined) for (const uuid of targets(old, reference)) this.#hold(target, uuid, -1);
        if (now === undefined) continue;
        for (const uuid of targets(now, reference)) {
          // a row that this transaction deletes counts as there: its deletion is what is refused then
          if (!target.rows.has(uuid) && this.#entries.get(target)?.has(uuid) !== true) {
            throw integrity(`Table ${table.name} column ${column.name} row ${now.uuid} references nonexistent row ${uuid} in table ${target.name}.`);
          }
          this.#hold(target, uuid, 1);
        }
      }
    }
    for (const { table, uuid, now } of this.#all()) {
      const held = this.#held(table, uuid);
      if (now === undefined && held > 0) throw integrity(`cannot delete ${table.name} row ${uuid} because of ${held} remaining reference(s)`);
    }
  }

  #collectGarbage(): void {
    const pending: [Table, string][] = [];
    const consider = (table: Table, uuid: string): void => {
      if (!table.schema.isRoot && table.rows.has(uuid) && this.#held(table, uuid) === 0) pending.push([table, uuid]);
    };
    for (const { table, uuid } of this.#all()) consider(table, uuid);
    for (const [table, counts] of this.#delta) for (const uuid of counts.keys()) consider(table, uuid);
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const [table, uuid] = next;
      const row = table.rows.get(uuid);
      if (row === undefined) continue;
      const entry = this.#entry(table, uuid);
      entry.now = undefined;
      entry.changed = new Set(table.columns.keys());
      table.rows.delete(uuid);
      for (const reference of table.strong) {
        const target = this.#tables.get(reference.target)!;
        for (const held of targets(row, reference)) if (this.#hold(target, held, -1) === 0) consider(target, held);
      }
    }
  }

  #checkRowCounts(): void {
    for (const { name, rows, schema: { maxRows } } of this.#entries.keys()) {
      if (rows.size > maxRows) throw constraint(`transaction causes "${name}" table to contain ${rows.size} rows, greater than the schema-defined limit of ${maxRows} row(s)`);
    }
  }

  /**
   * Row by row, tables in the order in which the transaction came to them. A row that is gone tells those that refer to it,
   * and a row that had its turn before keeps the dead reference, for good: so does ovsdb-server 3.1.
   */
  #dropWeakReferences(): void {
    const seen = new Set<Entry>(), gone = new Map<Entry, Set<string>>();
    for (let any = true; any;) {
      any = false;
      for (const entry of this.#all()) {
        if (seen.has(entry)) continue;
        seen.add(entry);
        any = true;
        if (entry.now === undefined) {
          if (entry.old !== undefined) this.#tellReferrers(entry, gone);
        } else {
          for (const { column } of entry.table.weak) this.#dropFrom(entry, entry.now, column, gone.get(entry));
        }
      }
    }
  }

  #tellReferrers({ table: target, uuid }: Entry, gone: Map<Entry, Set<string>>): void {
    for (const [table, referrer] of this.#referrers(target).get(uuid) ?? []) {
      if (!table.rows.has(referrer)) continue;
      const entry = this.#entry(table, referrer);
      let told = gone.get(entry);
      if (told === undefined) gone.set(entry, told = new Set<string>());
      told.add(`${target.name} ${uuid}`);
    }
  }

  /** Which rows refer weakly to the rows of a table; found by looking at all once, and kept no longer than the transaction. */
  #referrers(target: Table): ReadonlyMap<string, readonly (readonly [Table, string])[]> {
    let referrers = this.#weakReferrers.get(target);
    if (referrers !== undefined) return referrers;
    this.#weakReferrers.set(target, referrers = new Map<string, (readonly [Table, string])[]>());
    for (const table of this.#tables.values()) {
      for (const reference of table.weak.filter((weak) => weak.target === target.name)) {
        for (const row of table.rows.values()) {
          for (const uuid of referred(row, reference)) {
            const known = referrers.get(uuid);
            if (known === undefined) referrers.set(uuid, [[table, row.uuid]]);
            else known.push([table, row.uuid]);
          }
        }
      }
    }
    return referrers;
  }

  #dropFrom(entry: Entry, row: Row, column: Column, gone: ReadonlySet<string> | undefined): void {
    const { table, old } = entry;
    const before = row.cells[column.index]!, had = old?.cells[column.index];
    /** Whether an element may stay: what was there before needs no look unless its row was told to be gone. */
    const stays = (base: BaseType | undefined, atom: Atom | undefined, isNew: boolean): boolean => {
      if (base?.refTable === undefined || base.refType !== "weak") return true;
      return isNew ? this.#tables.get(base.refTable)!.rows.has(atom as string) : gone?.has(`${base.refTable} ${atom as string}`) !== true;
    };
    const { key, value } = column.type;
    let zero = false;
    const after = filterDatum(before, (k, v) => {
      const isNew = had === undefined || !includesAll(had, v === undefined ? { keys: [k] } : { keys: [k], values: [v] });
      const kept = stays(key, k, isNew) && stays(value, v, isNew);
      if (!kept && (k === ZERO_UUID || v === ZERO_UUID)) zero = true;
      return kept;
    });
    if (after === before) return;
    const cells = [...row.cells];
    cells[column.index] = after;
    entry.now = { uuid: row.uuid, cells };
    entry.changed.add(column.index);
    table.rows.set(row.uuid, entry.now);
    if (after.keys.length >= column.type.min) return;
    if (zero && old === undefined) {
      throw constraint(`Weak reference column "${column.name}" in "${table.name}" row ${row.uuid} (inserted within this transaction) contained all-zeros UUID (probably as the default value for this column) but deleting this value caused a constraint volation because this column is not allowed to be empty.`);
    }
    throw constraint(`Deletion of ${before.keys.length - after.keys.length} weak reference(s) to deleted (or never-existing) rows from column "${column.name}" in "${table.name}" row ${row.uuid} ${old === undefined ? "(inserted within this transaction) " : ""}caused this column to become empty, but constraints on this column disallow an empty column.`);
  }

  #checkIndexes(): void {
    for (const [table, entries] of this.#entries) {
      table.indexes.forEach((columns, i) => {
        const seen = new Map<string, Row>();
        for (const { now } of entries.values()) {
          if (now === undefined) continue;
          const key = Table.keyOf(now, columns);
          const settled = table.entries[i]!.get(key);
          const twin = seen.get(key) ?? (settled === undefined || entries.has(settled) ? undefined : table.rows.get(settled));
          if (twin !== undefined) throw this.#duplicate(table, columns, twin, now);
          seen.set(key, now);
        }
      });
    }
  }

  #duplicate(table: Table, columns: readonly Column[], a: Row, b: Row): OvsdbError {
    const [first, second] = compareRows(table, a, b) < 0 ? [b, a] : [a, b];
    const list = (items: readonly string[]): string =>
      items.length < 3 ? items.join(" and ") : `${items.slice(0, -1).join(", ")}, and ${items.at(-1) ?? ""}`;
    const values = (row: Row): string => list(columns.map((column) => datumToText(column.type, row.cells[column.index]!)));
    const history = (row: Row, title: string): string => {
      const entry = this.#entries.get(table)?.get(row.uuid);
      const what = entry === undefined || entry.changed.size === 0 ? "existed in the database before this transaction and was not modified by the transaction."
        : entry.old === undefined ? "was inserted by this transaction."
          : columns.every(({ index }) => equalData(entry.old!.cells[index]!, row.cells[index]!))
            ? "existed in the database before this transaction, which modified some of the row's columns but not any columns in this index."
            : `had the following index values before the transaction: ${values(entry.old)}.`;
      return `${title} row, with UUID ${row.uuid}, ${what}`;
    };
    const names = `column${columns.length > 1 ? "s" : ""} ${list(columns.map((column) => `"${column.name}"`))}`;
    return constraint(`Transaction causes multiple rows in "${table.name}" table to have identical values (${values(first)}) for index on ${names}.  ${history(first, "First")}  ${history(second, "Second")}`);
  }

  #settle(): readonly RowChange[] {
    const changes: RowChange[] = [];
    for (const entry of this.#all()) {
      const { table, uuid, old, changed } = entry;
      if ((old === undefined && entry.now === undefined) || changed.size === 0) continue;
      if (old !== undefined && entry.now !== undefined) {
        const cells = [...entry.now.cells];
        cells[VERSION] = scalar(this.#newVersion());
        entry.now = { uuid, cells };
        table.rows.set(uuid, entry.now);
      }
      changes.push({ table, uuid, old, now: entry.now });
    }
    for (const [table, counts] of this.#delta) {
      for (const [uuid, delta] of counts) {
        const held = (table.held.get(uuid) ?? 0) + delta;
        if (held === 0) table.held.delete(uuid);
        else table.held.set(uuid, held);
      }
    }
    // all old values out before any new one in: rows may have swapped theirs
    for (const { table, old } of changes) if (old !== undefined) table.indexes.forEach((columns, i) => table.entries[i]!.delete(Table.keyOf(old, columns)));
    for (const { table, now } of changes) if (now !== undefined) table.indexes.forEach((columns, i) => table.entries[i]!.set(Table.keyOf(now, columns), now.uuid));
    return changes;
  }
}

/** A fixed order of two rows, for texts that name both; by what was given first, by the UUIDs last. */
function compareRows(table: Table, a: Row, b: Row): number {
  for (const { index } of [...table.columns.slice(VERSION + 1), table.columns[0]!]) {
    const x = a.cells[index]!, y = b.cells[index]!;
    const shorter = x.keys.length - y.keys.length;
    if (shorter !== 0) return shorter;
    for (let i = 0; i < x.keys.length; i++) {
      const order = compareAtoms(x.keys[i]!, y.keys[i]!) || (x.values === undefined ? 0 : compareAtoms(x.values[i]!, y.values![i]!));
      if (order !== 0) return order;
    }
  }
  return 0;
}
