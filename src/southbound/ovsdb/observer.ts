// What apps observe of one host: columns that change by themselves, followed beside those that are kept in order, so that they make
// nobody compare anything. They become facts, at most once a second, and are forgotten with the session.
import { type AnySoftTable, observableColumns, observedId, observedTable, type App, type LiveView, type Fact, type Observed, type ObservableTable } from "#app";
import { Replica, type OvsdbSession, type Row, type Value } from "ovsdb-client";
import type { Logger } from "pino";
import type { Cancel, Clock } from "../../lib/clock.ts";

/** Where facts are kept. */
export interface FactKeeper extends Pick<LiveView, "fact"> {
  learn(fact: Fact): void;
  forget(table: AnySoftTable, id: string): void;
}

/** Columns by table that some app declares. */
export function observedColumns(apps: readonly App[]): ReadonlyMap<ObservableTable, readonly string[]> {
  const out = new Map<ObservableTable, string[]>();
  for (const table of Object.keys(observableColumns) as ObservableTable[]) {
    const columns = new Set(apps.flatMap((app) => (app.observe?.[table] ?? []) as readonly string[]));
    if (columns.size > 0) out.set(table, [...columns].sort());
  }
  return out;
}

/** Changes of a host become facts this often at most. */
const PAUSE_MS = 1000;

type NamedRow = Row & { readonly name: string } & Readonly<Record<string, Value>>;

export interface ObserverOptions {
  readonly chassis: string;
  readonly columns: ReadonlyMap<ObservableTable, readonly string[]>;
  readonly facts: FactKeeper;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Observer {
  private readonly options: ObserverOptions;
  private readonly replica: Replica;
  /** UUID -> what was learned of it. */
  private readonly known = new Map<string, Observed>();
  /** UUIDs of rows that came, changed or went since. */
  private readonly changed = new Map<string, ObservableTable>();
  private cancel: Cancel | undefined;
  private lastAt = -Infinity;
  private ended = false;

  constructor(options: ObserverOptions) {
    this.options = options;
    this.replica = new Replica("Open_vSwitch", Object.fromEntries([...options.columns].map(([table, columns]) => [table, ["name", ...columns]])));
    this.replica.on("change", (changes) => {
      for (const { table, uuid } of changes) this.changed.set(uuid, table as ObservableTable);
      this.schedule();
    });
  }

  async start(session: OvsdbSession): Promise<void> {
    try {
      await this.replica.attach(session);
    } catch (error) {
      if (session.open && !this.ended) this.options.log.warn({ err: error }, "what apps observe of the host cannot be followed");
    }
  }

  private schedule(): void {
    if (this.ended || this.cancel !== undefined) return;
    const { clock } = this.options;
    this.cancel = clock.setTimeout(() => {
      this.cancel = undefined;
      this.lastAt = clock.monotonic();
      this.learn();
    }, Math.max(0, this.lastAt + PAUSE_MS - clock.monotonic()));
  }

  private learn(): void {
    const { chassis, columns, facts } = this.options;
    const changed = [...this.changed];
    this.changed.clear();
    const rows = changed.map(([uuid, table]) => ({ uuid, table, row: this.replica.table<NamedRow>(table).get(uuid) }));
    // What went first: another row may have its name.
    for (const { uuid, row } of rows) if (row === undefined) this.forget(uuid);
    for (const { uuid, table, row } of rows) {
      if (row === undefined) continue;
      const seen = Object.fromEntries(columns.get(table)!.flatMap((c) => (row[c] === undefined ? [] : [[c, plain(row[c])]])));
      const fact: Observed = { id: observedId(chassis, table, row.name), chassis, table, name: row.name, columns: seen };
      this.known.set(uuid, fact);
      facts.learn({ fact: observedTable, owner: chassis, row: fact });
    }
  }

  /** Unless somebody else has learned it since. */
  private forget(uuid: string): void {
    const { facts } = this.options;
    const fact = this.known.get(uuid);
    this.known.delete(uuid);
    if (fact !== undefined && facts.fact(observedTable, fact.id) === fact) facts.forget(observedTable, fact.id);
  }

  end(): void {
    this.ended = true;
    this.cancel?.();
    this.replica.detach();
    for (const uuid of [...this.known.keys()]) this.forget(uuid);
  }
}

/** Counters as numbers, whatever their size. */
function plain(value: Value): unknown {
  if (typeof value === "bigint") return Number(value);
  if (typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, typeof v === "bigint" ? Number(v) : v]));
}
