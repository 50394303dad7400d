// Which starts of controllers made the store what it is. A switch keeps which start was the last, and up to which generation it was told what
// it has; a store that does not know that start, or had not come so far when a later one began, has lost changes that the switch
// confirmed, or is another one. The generation alone would not tell: a store that lost its end counts on from there.
//
// Several controllers may run on one store. What one of them tells a switch after another has started is of a store that knows this start: so it is
// the last one up to the generation, whosever it is, that a switch is marked with.
import type { Random } from "../lib/random.ts";
import type { KvStore } from "../store/kv.ts";

/** One start: everything up to `from` was there when it began. */
interface Start {
  readonly id: string;
  readonly from: number;
}

const KEY = "starts";
/** A switch that was away for more starts than this is taken for one of another store. */
const KEPT = 1000;
const TOLD = /^([0-9a-f]{12}) (\d{1,15})$/;

export class Lineage {
  private readonly own: Start;
  private known: readonly Start[];
  /** What is to be read of it yet. */
  private told: Buffer | undefined;

  private constructor(own: Start, starts: readonly Start[]) {
    this.own = own;
    this.known = starts;
  }

  private get starts(): readonly Start[] {
    if (this.told !== undefined) this.known = read(this.told);
    this.told = undefined;
    return this.known;
  }

  /** Writes this start down, as what is next in the log, and hears of those that come after. Before this start changes anything else. */
  static async open(store: KvStore, random: Random): Promise<Lineage> {
    const id = random.uuid().replaceAll("-", "").slice(0, 12);
    for (;;) {
      const own: Start = { id, from: store.revision };
      const starts = [...read((await store.get(KEY))?.value), own].slice(-KEPT);
      const written = await store.append(own.from, [{ ops: [{ put: KEY, value: Buffer.from(JSON.stringify(starts)) }] }]);
      if (!written.ok) continue; // another one wrote first, and is heard of
      const lineage = new Lineage(own, starts);
      store.watch({ prefix: KEY, fromRevision: written.revisions[0]! + 1 }, (_, events) => {
        for (const { key, value } of events) if (key === KEY) lineage.told = value ?? Buffer.alloc(0);
      }, () => undefined);
      return lineage;
    }
  }

  /** What was there when this start began. */
  get from(): number {
    return this.own.from;
  }

  /** What is written on a switch that has everything up to a generation. */
  mark(generation: number): string {
    return `${(this.starts.findLast(({ from }) => from < generation) ?? this.own).id} ${generation}`;
  }

  /** Whether the store still has all that a switch with this mark was told. */
  has(mark: string): boolean {
    const [, id, generation] = TOLD.exec(mark) ?? [];
    const at = this.starts.findIndex((start) => start.id === id);
    return at >= 0 && this.starts.slice(at + 1).every(({ from }) => Number(generation) <= from);
  }
}

function read(value: Buffer | undefined): Start[] {
  try {
    const list: unknown = value === undefined ? [] : JSON.parse(value.toString());
    return Array.isArray(list) ? list.filter((one: Partial<Start> | null): one is Start => typeof one?.id === "string" && typeof one.from === "number") : [];
  } catch {
    return []; // switches are then as if of another store, which holds them at worst
  }
}
