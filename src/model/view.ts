// The one view outside of rules and transactions: every table, wherever its rows are kept. What is not there is an error that names
// the table, so that nobody takes a table that is missing for one that is empty.
import type { AnyTable, MapView, ReadView, Row, SettingDecls, Settings, SettingValues, SoftTable, Table } from "#app";
import type { Facts } from "./facts.ts";
import { Layer } from "./rows.ts";

export class View implements MapView {
  private readonly stored: ReadView;
  private readonly derived: ReadView | undefined;
  private readonly soft: Facts | undefined;

  constructor(stored: ReadView, derived?: ReadView, facts?: Facts) {
    this.stored = stored;
    this.derived = derived;
    this.soft = facts;
  }

  /** The same with soft tables. */
  with(facts: Facts): View {
    return new View(this.stored, this.derived, facts);
  }

  /** The same with stored rows as a transaction sees them; derived ones do not know of it yet. */
  over(stored: ReadView): View {
    return new View(stored, this.derived, this.soft);
  }

  private of(table: AnyTable): ReadView {
    if (!table.derived) return this.stored;
    if (this.derived === undefined) throw new Error(`something reads derived table ${table.name} where nothing is compiled`);
    return this.derived;
  }

  private get known(): Facts {
    if (this.soft === undefined) throw new Error("something reads a soft table where nothing is learned");
    return this.soft;
  }

  get<R extends Row>(table: Table<R>, id: string): Readonly<R> | undefined {
    return this.of(table).get(table, id);
  }
  by<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): readonly Readonly<R>[] {
    return this.of(table).by(table, index, key);
  }
  first<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string, most: number): readonly Readonly<R>[] {
    const of = this.of(table);
    return of instanceof Layer ? of.first(table, index, key, most) : of.by(table, index, key).slice(0, most);
  }
  count<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): number {
    return this.of(table).count(table, index, key);
  }
  pairKeys<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string): readonly string[] {
    return this.of(table).pairKeys(table, pair, a);
  }
  byPair<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string, b: string): readonly Readonly<R>[] {
    return this.of(table).byPair(table, pair, a, b);
  }
  all<R extends Row>(table: Table<R>): Iterable<Readonly<R>> {
    return this.of(table).all(table);
  }

  settings<S extends SettingDecls>(of: Settings<S>): SettingValues<S> {
    return this.stored.settings(of);
  }

  fact<R extends Row>(table: SoftTable<R>, id: string): Readonly<R> | undefined {
    return this.known.fact(table, id);
  }
  factsBy<R extends Row, I extends string>(table: SoftTable<R, I>, index: I, key: string): readonly Readonly<R>[] {
    return this.known.factsBy(table, index, key);
  }
  facts<R extends Row>(table: SoftTable<R>, owner?: string): readonly Readonly<R>[] {
    return this.known.facts(table, owner);
  }
}
