// What presenters say of rows, kept while nothing changes that they read: a list that is asked for again costs the rows that changed.
// The view that presentation reads through records, of each row that is to be kept, what was read; a commit drops what it concerns.
//
// Only stored rows are kept track of. What reads derived or soft tables is worked out each time, and so is what takes the caller.
import type { AnyTable, LiveView, ReadView, Row, SettingDecls, Settings, SettingValues, SoftTable, Table, Values } from "../app/contract.ts";
import type { Change, Model } from "../model/model.ts";
import { View } from "../model/view.ts";

/** Rows kept, of all kinds. */
const KEEP = 16_384;

/** What the presenters of one row said. */
interface Said {
  readonly kind: string;
  readonly row: Row;
  readonly parts: readonly Values[];
  /** Commits seen when it was said. */
  readonly since: number;
  /** Where it is noted as a reader. */
  readonly reads: readonly Noted[];
}
/** Readers by key, of one way to read a table. */
type Readers = Map<string, Said | Set<Said>>;
interface Noted {
  readonly readers: Readers;
  readonly key: string;
}

/** The ways in which one table was read. */
class TableReads {
  readonly rows: Readers = new Map();
  readonly all: Readers = new Map();
  readonly indexes = new Map<string, Readers>();
  readonly pairs = new Map<string, Readers>();
  readonly pairKeys = new Map<string, Readers>();
}

const readers = (): Readers => new Map();
const keysOf = (keys: string | readonly string[] | undefined): readonly string[] => (keys === undefined ? [] : typeof keys === "string" ? [keys] : keys);

function inMap<V>(map: Map<string, V>, key: string, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

/** What has been said, by kind and row. */
export class Shown {
  /** Commits so far: what is kept holds as of the last. */
  commits = 0;
  private readonly said = new Map<string, Map<string, Said>>();
  private readonly tables = new Map<string, TableReads>();
  private size = 0;
  /** Reads of the row that is being worked out, unless it reads what nobody tells changes of. */
  private noted: Noted[] | undefined;
  private lasting = true;

  constructor(model: Model) {
    model.onCommit(({ changes }) => this.changed(changes));
  }

  /** Reads of what is committed. */
  view(of: View): ShownView {
    return new ShownView(of, this, undefined);
  }

  /** What was said of the row and still holds, at an instant: so many commits. */
  known(kind: string, row: Row, instant = this.commits): readonly Values[] | undefined {
    // Inside of another row's presentation its reads are the other's too.
    if (this.noted !== undefined) return undefined;
    const said = this.said.get(kind)?.get(row.id);
    return said?.row === row && said.since <= instant ? said.parts : undefined;
  }

  /** Works out what is said of the row, and keeps it. */
  keep(kind: string, row: Row, say: () => readonly Values[]): readonly Values[] {
    if (this.noted !== undefined) return say();
    const reads: Noted[] = (this.noted = []);
    this.lasting = true;
    let parts: readonly Values[];
    try {
      parts = say();
    } finally {
      this.noted = undefined;
    }
    if (!this.lasting) return parts;
    if (this.size >= KEEP) this.clear();
    const ofKind = inMap(this.said, kind, () => new Map<string, Said>());
    const before = ofKind.get(row.id);
    if (before !== undefined) this.forget(before);
    const said: Said = { kind, row, parts, since: this.commits, reads };
    ofKind.set(row.id, said);
    this.size++;
    for (const { readers, key } of reads) {
      const now = readers.get(key);
      if (now === undefined) readers.set(key, said);
      else if (now instanceof Set) now.add(said);
      else if (now !== said) readers.set(key, new Set([now, said]));
    }
    return parts;
  }

  private clear(): void {
    this.said.clear();
    this.tables.clear();
    this.size = 0;
  }

  private forget(said: Said): void {
    const ofKind = this.said.get(said.kind);
    if (ofKind?.get(said.row.id) !== said) return;
    ofKind.delete(said.row.id);
    this.size--;
    for (const { readers, key } of said.reads) {
      const now = readers.get(key);
      if (now === said) readers.delete(key);
      else if (now instanceof Set) {
        now.delete(said);
        if (now.size === 0) readers.delete(key);
      }
    }
  }

  private changed(changes: readonly Change[]): void {
    this.commits++;
    if (this.size === 0) return;
    for (const change of changes) {
      const reads = this.tables.get(change.table.name);
      if (reads === undefined) continue;
      this.drop(reads.rows, [change.id]);
      this.drop(reads.all, [""]);
      const { indexes, pairs } = change.table as Table;
      for (const row of [change.before, change.after]) {
        if (row === undefined) continue;
        for (const [name, readers] of reads.indexes) this.drop(readers, keysOf(indexes[name]!(row)));
        for (const [name, readers] of reads.pairs) this.drop(readers, keysOf(pairs[name]!(row)?.join("|")));
        for (const [name, readers] of reads.pairKeys) this.drop(readers, keysOf(pairs[name]!(row)?.[0]));
      }
    }
  }

  private drop(readers: Readers, keys: readonly string[]): void {
    for (const key of keys) {
      const now = readers.get(key);
      if (now === undefined) continue;
      for (const said of now instanceof Set ? [...now] : [now]) this.forget(said);
    }
  }

  /** Notes a read. `of`: readers of the table by that way. */
  note(table: AnyTable, of: (reads: TableReads) => Readers, key: string): void {
    if (this.noted === undefined || !this.lasting) return;
    if (table.derived) this.lasting = false;
    else this.noted.push({ readers: of(inMap(this.tables, table.name, () => new TableReads())), key });
  }

  /** What is read now changes without a word. */
  passing(): void {
    this.lasting = false;
  }
}

/** A view whose reads are noted while a row's presentation is to be kept. */
export class ShownView implements LiveView {
  private readonly of: View;
  private readonly shown: Shown;
  /** Commits that it is as of; undefined: the latest. */
  private readonly instant: number | undefined;

  constructor(of: View, shown: Shown, instant: number | undefined) {
    this.of = of;
    this.shown = shown;
    this.instant = instant;
  }

  /** Inside of a transaction, whose rows nobody keeps. */
  over(tx: ReadView): View {
    return this.of.over(tx);
  }

  /** As of the last commit, however long it is read: `stored` is what was committed then. */
  now(stored: ReadView): ShownView {
    return new ShownView(this.of.over(stored), this.shown, this.shown.commits);
  }

  /** What presenters say of a row. `keep`: for others who may ask for it soon. */
  parts(kind: string, row: Row, keep: boolean, say: () => readonly Values[]): readonly Values[] {
    const known = this.shown.known(kind, row, this.instant);
    if (known !== undefined) return known;
    // What is read of the past is not kept: it may hold no longer.
    return keep && (this.instant === undefined || this.instant === this.shown.commits) ? this.shown.keep(kind, row, say) : say();
  }

  get<R extends Row>(table: Table<R>, id: string): Readonly<R> | undefined {
    this.shown.note(table, (reads) => reads.rows, id);
    return this.of.get(table, id);
  }
  by<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): readonly Readonly<R>[] {
    this.shown.note(table, (reads) => inMap(reads.indexes, index, readers), key);
    return this.of.by(table, index, key);
  }
  count<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string): number {
    this.shown.note(table, (reads) => inMap(reads.indexes, index, readers), key);
    return this.of.count(table, index, key);
  }
  pairKeys<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string): readonly string[] {
    this.shown.note(table, (reads) => inMap(reads.pairKeys, pair, readers), a);
    return this.of.pairKeys(table, pair, a);
  }
  byPair<R extends Row, P extends string>(table: Table<R, string, P>, pair: P, a: string, b: string): readonly Readonly<R>[] {
    this.shown.note(table, (reads) => inMap(reads.pairs, pair, readers), `${a}|${b}`);
    return this.of.byPair(table, pair, a, b);
  }
  all<R extends Row>(table: Table<R>): Iterable<Readonly<R>> {
    this.shown.note(table, (reads) => reads.all, "");
    return this.of.all(table);
  }
  settings<S extends SettingDecls>(of: Settings<S>): SettingValues<S> {
    return this.of.settings(of);
  }

  fact<R extends Row>(table: SoftTable<R>, id: string): Readonly<R> | undefined {
    this.shown.passing();
    return this.of.fact(table, id);
  }
  factsBy<R extends Row, I extends string>(table: SoftTable<R, I>, index: I, key: string): readonly Readonly<R>[] {
    this.shown.passing();
    return this.of.factsBy(table, index, key);
  }
  facts<R extends Row>(table: SoftTable<R>, owner?: string): readonly Readonly<R>[] {
    this.shown.passing();
    return this.of.facts(table, owner);
  }
}
