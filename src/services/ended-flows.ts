// What flows had counted when they were taken off, until whoever counts them looks: kept by the rule and the entity that they were of. Entities may go with their
// flows, as a route of a router does: so it is remembered which of them each counter had at its last look.
import type { Clock, FlowCount } from "#app";

/** A flow that is no more, as its switch had it in the end. */
export interface EndedFlow extends Pick<FlowCount, "chassis" | "key" | "packets" | "bytes"> {
  readonly table: number;
}

/** What a rule emits for an entity, as far as it counts. */
export interface Part {
  readonly id: string;
  /** Whether its flows in a table count. */
  counts(this: void, table: number): boolean;
}
export const partId = (app: string, rule: string, entity: string): string => `${app}/${rule} ${entity}`;

interface Entry extends EndedFlow {
  /** In the order in which they were told. */
  readonly number: number;
}
interface Bucket {
  entries: Entry[];
  /** Monotonic milliseconds, of the first. */
  readonly at: number;
}

/** Flows; beyond them those of the oldest part are forgotten, which then count as what the last look saw. So are those that nobody fetches, as when their resource is gone. */
const ENDED = 20_000;
const KEPT_MS = 600_000;
/** Counters of which it is remembered what they had. */
const COUNTERS = 50_000;

export class EndedFlows {
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly buckets = new Map<string, Bucket>();
  private readonly before = new Map<string, readonly Part[]>();
  private size = 0;
  private last = 0;

  constructor(clock: Pick<Clock, "monotonic">) {
    this.clock = clock;
  }

  /** What is told from now on has a higher number. */
  get number(): number {
    return this.last;
  }

  add(part: string, flow: EndedFlow): void {
    const now = this.clock.monotonic();
    let bucket = this.buckets.get(part);
    if (bucket === undefined) this.buckets.set(part, (bucket = { entries: [], at: now }));
    bucket.entries.push({ ...flow, number: ++this.last });
    this.size++;
    for (const [oldest, { entries, at }] of this.buckets) {
      if (this.size <= ENDED && now - at < KEPT_MS) break;
      this.buckets.delete(oldest);
      this.size -= entries.length;
    }
  }

  /** What has ended of these, in order, and of what a counter had at the last look where entities of it may go: `counter`, its parts that may be others at the next. */
  take(parts: readonly Part[], counter?: { readonly name: string; readonly parts: readonly Part[] }): readonly Entry[] {
    const of = new Map<string, Part>();
    if (counter !== undefined) {
      for (const part of this.before.get(counter.name) ?? []) of.set(part.id, part);
      this.before.delete(counter.name);
      if (counter.parts.length > 0) this.before.set(counter.name, counter.parts);
      if (this.before.size > COUNTERS) this.before.delete(this.before.keys().next().value!);
    }
    for (const part of parts) of.set(part.id, part);
    if (this.size === 0) return [];
    return Array.from(of.values(), (part) => this.takeOf(part)).flat().sort((a, b) => a.number - b.number);
  }

  private takeOf({ id, counts }: Part): readonly Entry[] {
    const bucket = this.buckets.get(id);
    if (bucket === undefined) return [];
    const taken = bucket.entries.filter(({ table }) => counts(table));
    bucket.entries = bucket.entries.filter(({ table }) => !counts(table));
    if (bucket.entries.length === 0) this.buckets.delete(id);
    this.size -= taken.length;
    return taken;
  }
}
