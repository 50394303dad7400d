// Packets that wait for a service, and those that it is working on. Each port has a share, owners of ports take turns and the ports of each, so
// that whoever sends much costs itself; what is too much is dropped and counted. What a service writes because of packets is counted out likewise.
import type { Clock, Rate } from "../lib/clock.ts";

export interface MailboxLimits {
  /** Packets of one port that wait or are worked on, and in all. Beyond all, as many as of one port are left to each owner, so that nobody has none. */
  readonly perPort: number;
  readonly total: number;
}

export interface MailboxOptions<P> extends MailboxLimits {
  /** What it answers with a promise is worked on until that is settled. */
  readonly handle: (packet: P, port: string, owner: string | undefined) => unknown;
  readonly dropped: (limit: "port" | "total") => void;
}

/** Packets handled in one turn of the event loop. */
const BATCH = 32;

export class Mailbox<P> {
  private readonly options: MailboxOptions<P>;
  /** Owners in the order of their turns, and the ports of each likewise. */
  private readonly waiting = new Map<string | undefined, Map<string, P[]>>();
  /** Of each port and each owner: waiting and worked on. */
  private readonly held = new Map<string, number>();
  private readonly owned = new Map<string, number>();
  private total = 0;
  private scheduled = false;
  private stopped = false;

  constructor(options: MailboxOptions<P>) {
    this.options = options;
  }

  /** `owner`: whose port it is; undefined: nobody's, or it is not known. */
  push(port: string, packet: P, owner?: string): void {
    if (this.stopped) return;
    const { perPort, total, dropped } = this.options;
    if ((this.held.get(port) ?? 0) >= perPort) {
      dropped("port");
      return;
    }
    if (this.total >= total && (owner === undefined || (this.owned.get(owner) ?? 0) >= perPort)) {
      dropped("total");
      return;
    }
    this.count(port, owner, 1);
    let ports = this.waiting.get(owner);
    if (ports === undefined) this.waiting.set(owner, (ports = new Map<string, P[]>()));
    const queue = ports.get(port);
    if (queue === undefined) ports.set(port, [packet]);
    else queue.push(packet);
    this.schedule();
  }

  stop(): void {
    this.stopped = true;
    this.waiting.clear();
    this.held.clear();
    this.owned.clear();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      for (let n = 0; n < BATCH && this.waiting.size > 0; n++) this.next();
      if (this.waiting.size > 0) this.schedule();
    });
  }

  private next(): void {
    const [owner, ports] = this.waiting.entries().next().value!;
    const [port, queue] = ports.entries().next().value!;
    this.waiting.delete(owner);
    ports.delete(port);
    const packet = queue.shift()!;
    if (queue.length > 0) ports.set(port, queue);
    if (ports.size > 0) this.waiting.set(owner, ports);
    const done = (): void => this.count(port, owner, -1);
    const doing = this.options.handle(packet, port, owner);
    if (doing instanceof Promise) doing.then(done, done);
    else done();
  }

  private count(port: string, owner: string | undefined, by: 1 | -1): void {
    this.total += by;
    add(this.held, port, by);
    if (owner !== undefined) add(this.owned, owner, by);
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const now = (counts.get(key) ?? 0) + by;
  if (now > 0) counts.set(key, now);
  else counts.delete(key);
}

interface Bucket {
  left: number;
  at: number;
}

/** Buckets that are looked through when there are so many; full ones are as good as none. */
const BUCKETS = 10_000;

/** So many at once and so many a second, for each of some keys and in all. Beyond all, as much as for a key is left to each owner, so that nobody has none. */
export class Allowance {
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly each: Rate;
  private readonly all: Rate;
  private readonly buckets = new Map<string, Bucket>();
  private readonly owners = new Map<string, Bucket>();
  private readonly whole: Bucket;

  constructor(clock: Pick<Clock, "monotonic">, each: Rate, all: Rate) {
    this.clock = clock;
    this.each = each;
    this.all = all;
    this.whole = { left: all.burst, at: clock.monotonic() };
  }

  /** Whether one more is allowed; then it is taken. `cost`: as how many it counts; who takes more than is left waits longer for the next. */
  take(key: string, owner?: string, cost = 1): boolean {
    const now = this.clock.monotonic();
    refill(this.whole, this.all, now);
    const own = this.bucket(this.buckets, key, now);
    const from = this.whole.left >= 1 ? this.whole : owner === undefined ? undefined : this.bucket(this.owners, owner, now);
    if (own === undefined || from === undefined || own.left < 1 || from.left < 1) return false;
    own.left -= cost;
    from.left -= cost;
    return true;
  }

  /** Undefined: there are too many. */
  private bucket(buckets: Map<string, Bucket>, key: string, now: number): Bucket | undefined {
    let found = buckets.get(key);
    if (found !== undefined) refill(found, this.each, now);
    else {
      if (buckets.size >= BUCKETS) this.tidy(buckets, now);
      if (buckets.size >= BUCKETS) return undefined;
      buckets.set(key, (found = { left: this.each.burst, at: now }));
    }
    return found;
  }

  private tidy(buckets: Map<string, Bucket>, now: number): void {
    for (const [key, bucket] of buckets) {
      refill(bucket, this.each, now);
      if (bucket.left >= this.each.burst) buckets.delete(key);
    }
  }
}

function refill(bucket: Bucket, { burst, perSecond }: Rate, now: number): void {
  bucket.left = Math.min(burst, bucket.left + ((now - bucket.at) / 1000) * perSecond);
  bucket.at = now;
}
