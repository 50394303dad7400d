// Which starts of a controller made the store what it is. A switch keeps by which start, and up to which generation, it was told what
// it has; a store that does not know that start, or had not come so far when the next one began, has lost changes that the switch
// confirmed, or is another one. The generation alone would not tell: a store that lost its end counts on from there.
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
  private readonly starts: readonly Start[];

  private constructor(starts: readonly Start[]) {
    this.starts = starts;
  }

  /** Writes this start down. `whole`: the generation of the store as this start found it. */
  static async open(store: KvStore, random: Random, whole = store.revision): Promise<Lineage> {
    const starts = [...read((await store.get(KEY))?.value), { id: random.uuid().replaceAll("-", "").slice(0, 12), from: whole }].slice(-KEPT);
    await store.txn([], [{ put: KEY, value: Buffer.from(JSON.stringify(starts)) }]);
    return new Lineage(starts);
  }

  /** What is written on a switch that has everything up to a generation of this start. */
  mark(generation: number): string {
    return `${this.starts.at(-1)!.id} ${generation}`;
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
