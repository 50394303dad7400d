// Soft tables in memory. Facts lie in the order in which they were last heard, which is the order in which they end: whoever reads or
// adds first drops those whose time is over, so no timer is needed and limits bound what is kept.
import type { AnySoftTable, Fact, Row, SoftTable } from "#app";
import type { Clock } from "../lib/clock.ts";
import { Shares } from "../lib/shares.ts";
import { TableData } from "./rows.ts";

/** Which limit a fact went by. */
export type FactLimit = "owner" | "table";

interface Kept {
  readonly owner: string;
  readonly endsMs: number;
}

class FactTable {
  readonly table: AnySoftTable;
  readonly data: TableData;
  /** Heard longest ago first, both; shared out by whom they count for. */
  readonly kept: Shares<Kept>;
  readonly byOwner = new Map<string, Set<string>>();

  constructor(table: AnySoftTable) {
    this.table = table;
    this.kept = new Shares(table.limit);
    this.data = new TableData({ name: table.name, resource: undefined, naming: {}, derived: false, open: false, of: undefined, indexes: table.indexes, pairs: {}, upgrade: undefined });
  }

  groupOf(owner: string, row: Row): string {
    return this.table.group?.(row) ?? owner;
  }

  put({ owner, row }: Fact, endsMs: number): void {
    this.drop(row.id);
    this.data.put(row);
    this.kept.put(row.id, this.groupOf(owner, row), { owner, endsMs });
    let own = this.byOwner.get(owner);
    if (own === undefined) this.byOwner.set(owner, (own = new Set<string>()));
    own.add(row.id);
  }

  drop(id: string): void {
    const kept = this.kept.get(id);
    if (kept === undefined) return;
    this.kept.delete(id);
    this.data.remove(id, false);
    const own = this.byOwner.get(kept.owner)!;
    own.delete(id);
    if (own.size === 0) this.byOwner.delete(kept.owner);
  }

  expire(nowMs: number): this {
    for (const [id, { endsMs }] of this.kept) {
      if (endsMs > nowMs) break;
      this.drop(id);
    }
    return this;
  }
}

export class Facts {
  private readonly tables = new Map<string, FactTable>();
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly evicted: (table: string, limit: FactLimit) => void;

  /** `evicted` is told of each fact that a limit pushed out. @throws Error naming a table that is declared twice or without limits */
  constructor(tables: readonly AnySoftTable[], clock: Pick<Clock, "monotonic">, evicted: (table: string, limit: FactLimit) => void = () => undefined) {
    this.clock = clock;
    this.evicted = evicted;
    for (const table of tables) {
      if (this.tables.has(table.name)) throw new Error(`two apps declare a soft table named ${table.name}`);
      for (const key of ["ttlS", "limitPerOwner", "limit"] as const) if (!(table[key] > 0)) throw new Error(`soft table ${table.name}: ${key} is ${table[key]}, it must be above 0`);
      this.tables.set(table.name, new FactTable(table));
    }
  }

  private of(table: AnySoftTable): FactTable {
    const found = this.tables.get(table.name);
    if (found === undefined) throw new Error(`something reads or fills soft table ${table.name}, which no app lists in its softTables`);
    return found.expire(this.clock.monotonic());
  }

  learn(fact: Fact): void {
    const facts = this.of(fact.fact);
    const { ttlS, limitPerOwner } = facts.table;
    facts.drop(fact.row.id);
    const own = facts.byOwner.get(fact.owner);
    if ((own?.size ?? 0) >= limitPerOwner) this.evict(facts, own!, "owner");
    else this.makeRoom(facts, fact, own);
    facts.put(fact, this.clock.monotonic() + ttlS * 1000);
  }

  private makeRoom(facts: FactTable, { owner, row }: Fact, own: Iterable<string> | undefined): void {
    const group = facts.groupOf(owner, row);
    const giver = facts.kept.giver(group);
    if (giver !== undefined) this.evict(facts, giver === group && own !== undefined ? own : [facts.kept.oldest(giver)!], "table");
  }

  private evict(facts: FactTable, ids: Iterable<string>, limit: FactLimit): void {
    for (const id of ids) {
      facts.drop(id);
      this.evicted(facts.table.name, limit);
      return;
    }
  }

  forget(table: AnySoftTable, id: string): void {
    this.of(table).drop(id);
  }

  fact<R extends Row>(table: SoftTable<R>, id: string): Readonly<R> | undefined {
    return this.of(table).data.rows.get(id) as Readonly<R> | undefined;
  }
  factsBy<R extends Row, I extends string>(table: SoftTable<R, I>, index: I, key: string): readonly Readonly<R>[] {
    return this.of(table).data.rowsBy(index, key) as readonly Readonly<R>[];
  }
  facts<R extends Row>(table: SoftTable<R>, owner?: string): readonly Readonly<R>[] {
    const { data, kept, byOwner } = this.of(table);
    const ids: Iterable<string> = owner === undefined ? kept.keys() : (byOwner.get(owner) ?? []);
    return Array.from(ids, (id) => data.rows.get(id) as unknown as R);
  }

  /** Facts that live, by table. */
  get counts(): readonly { readonly table: string; readonly facts: number }[] {
    return [...this.tables.values()].map(({ table, kept }) => ({ table: table.name, facts: kept.size }));
  }
}
