// Flows that have arrived on their switches and have something to say (effects `confirmed`), waiting for their turn. Thousands may
// arrive in one bundle: so few are told of at a time, chassis take turns, and what waits is bounded. A flow that goes before its turn
// is not told of; a chassis that is away keeps its turn.
import type { Flow } from "../../compiler/desired.ts";
import type { Clock } from "../../lib/clock.ts";

export interface AnnouncementsOptions {
  /** Flows that may wait for one chassis, and in all; more are not told of. */
  readonly limit?: number | undefined;
  readonly total?: number | undefined;
  readonly clock: Clock;
  readonly connected: (chassis: string) => boolean;
  readonly tell: (chassis: string, flow: Flow) => void;
  readonly dropped: (chassis: string, flows: number) => void;
}

const LIMIT = 20_000;
const TOTAL = 200_000;
/** Flows that are told of in one turn, and the pause between two: 1600 flows a second. */
const BATCH = 32;
const PAUSE_MS = 20;

export class Announcements {
  private readonly options: AnnouncementsOptions;
  private readonly limit: number;
  private readonly total: number;
  /** Flows by key, chassis in the order of their turns. */
  private readonly ready = new Map<string, Map<string, Flow>>();
  /** Of chassis that were away when their turn came. */
  private readonly parked = new Map<string, Map<string, Flow>>();
  private count = 0;
  private lastAt = -Infinity;
  private cancel: (() => void) | undefined;
  private stopped = false;

  constructor(options: AnnouncementsOptions) {
    this.options = options;
    this.limit = options.limit ?? LIMIT;
    this.total = options.total ?? TOTAL;
  }

  /** Flows that wait. */
  get waiting(): number {
    return this.count;
  }

  add(chassis: string, flows: Iterable<Flow>): void {
    if (this.stopped) return;
    let queue = this.ready.get(chassis) ?? this.parked.get(chassis);
    let dropped = 0;
    for (const flow of flows) {
      const known = queue?.has(flow.key) === true;
      if (!known && (this.count >= this.total || (queue?.size ?? 0) >= this.limit)) {
        dropped++;
        continue;
      }
      if (queue === undefined) this.ready.set(chassis, (queue = new Map<string, Flow>()));
      queue.set(flow.key, flow);
      if (!known) this.count++;
    }
    if (dropped > 0) this.options.dropped(chassis, dropped);
    this.schedule();
  }

  /** These flows went, or are told of in another form. */
  withdraw(chassis: string, keys: Iterable<string>): void {
    const queue = this.ready.get(chassis) ?? this.parked.get(chassis);
    if (queue === undefined) return;
    for (const key of keys) if (queue.delete(key)) this.count--;
    if (queue.size === 0) this.drop(chassis);
  }

  /** The chassis is in order again. */
  resume(chassis: string): void {
    const queue = this.parked.get(chassis);
    if (queue === undefined) return;
    this.parked.delete(chassis);
    this.ready.set(chassis, queue);
    this.schedule();
  }

  forget(chassis: string): void {
    this.count -= (this.ready.get(chassis) ?? this.parked.get(chassis))?.size ?? 0;
    this.drop(chassis);
  }

  stop(): void {
    this.stopped = true;
    this.cancel?.();
    this.ready.clear();
    this.parked.clear();
    this.count = 0;
  }

  private drop(chassis: string): void {
    this.ready.delete(chassis);
    this.parked.delete(chassis);
  }

  private schedule(): void {
    if (this.cancel !== undefined || this.ready.size === 0 || this.stopped) return;
    const { clock } = this.options;
    this.cancel = clock.setTimeout(() => {
      this.cancel = undefined;
      this.lastAt = clock.monotonic();
      for (let n = 0; n < BATCH && this.ready.size > 0; ) if (this.next()) n++;
      this.schedule();
    }, Math.max(0, this.lastAt + PAUSE_MS - clock.monotonic()));
  }

  /** One flow of the chassis whose turn it is. False: it is away. */
  private next(): boolean {
    const [chassis, queue] = this.ready.entries().next().value!;
    this.ready.delete(chassis);
    if (!this.options.connected(chassis)) {
      this.parked.set(chassis, queue);
      return false;
    }
    const [key, flow] = queue.entries().next().value!;
    queue.delete(key);
    this.count--;
    if (queue.size > 0) this.ready.set(chassis, queue);
    this.options.tell(chassis, flow);
    return true;
  }
}
