// Time, as a thing that is handed down: whoever waits or dates something asks a Clock, so that the same code runs by the machine's
// time and by a simulated one. Apps get theirs from ServiceHost and Tx.

/** Takes back what was set; does nothing once it ran. */
export type Cancel = () => void;

export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z; may jump when the machine's time is set. */
  now(): number;
  /** Milliseconds since some moment; never goes back. For measuring. */
  monotonic(): number;
  /** Runs `fn` once, `ms` from now. Timers do not keep the process alive. */
  setTimeout(fn: () => void, ms: number): Cancel;
  /** Runs `fn` every `ms`, first `ms` from now. */
  setInterval(fn: () => void, ms: number): Cancel;
}

/** A moment as rows have it (`created_at`, RFC 3339) in milliseconds since 1970, as `now` counts. */
export const momentOf = (timestamp: string): number => Date.parse(timestamp);

/** The same the other way. */
export const timestampOf = (ms: number): string => new Date(ms).toISOString();

/** A longer delay overflows Node's timers, which would run at once: it is waited for in parts. */
const LONGEST_MS = 0x7fff_ffff;

export const machineClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout(fn, ms) {
    let timer: NodeJS.Timeout;
    const wait = (left: number): void => {
      timer = left > LONGEST_MS ? setTimeout(() => wait(left - LONGEST_MS), LONGEST_MS) : setTimeout(fn, left);
      timer.unref();
    };
    wait(ms);
    return () => clearTimeout(timer);
  },
  setInterval(fn, ms) {
    const timer = setInterval(fn, Math.min(ms, LONGEST_MS));
    timer.unref();
    return () => clearInterval(timer);
  },
};

interface Timer {
  due: number;
  /** Timers due at one time run in the order they were set. */
  order: number;
  readonly fn: () => void;
  readonly everyMs: number | undefined;
}

/** Time that passes only when it is told to. */
export class SimulatedClock implements Clock {
  private readonly startedAt: number;
  private passed = 0;
  private set = 0;
  private readonly timers = new Set<Timer>();

  /** `startMs`: since 1970. */
  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.startedAt = startMs;
  }

  now(): number {
    return this.startedAt + this.passed;
  }

  monotonic(): number {
    return this.passed;
  }

  /** Timers that are still to run. */
  get pending(): number {
    return this.timers.size;
  }

  setTimeout(fn: () => void, ms: number): Cancel {
    return this.add(fn, ms, undefined);
  }

  /** Below 1 ms it is 1 ms, as with Node's timers. */
  setInterval(fn: () => void, ms: number): Cancel {
    return this.add(fn, Math.max(1, ms), Math.max(1, ms));
  }

  /** Lets time pass, and runs what falls due on the way, in order. What `fn`s throw ends it. */
  advance(ms: number): void {
    const until = this.passed + ms;
    for (let timer = this.next(until); timer !== undefined; timer = this.next(until)) this.fire(timer);
    this.passed = until;
  }

  /** Likewise, and after each timer lets what waits for promises go on. */
  async run(ms: number): Promise<void> {
    const until = this.passed + ms;
    for (let timer = this.next(until); timer !== undefined; timer = this.next(until)) {
      this.fire(timer);
      await new Promise((done) => setImmediate(done));
    }
    this.passed = until;
  }

  private add(fn: () => void, ms: number, everyMs: number | undefined): Cancel {
    const timer: Timer = { due: this.passed + Math.max(0, ms), order: this.set++, fn, everyMs };
    this.timers.add(timer);
    return () => void this.timers.delete(timer);
  }

  private next(until: number): Timer | undefined {
    let first: Timer | undefined;
    for (const t of this.timers) if (t.due <= until && (first === undefined || t.due < first.due || (t.due === first.due && t.order < first.order))) first = t;
    return first;
  }

  private fire(timer: Timer): void {
    this.passed = Math.max(this.passed, timer.due);
    if (timer.everyMs === undefined) this.timers.delete(timer);
    else {
      timer.due += timer.everyMs;
      timer.order = this.set++;
    }
    timer.fn();
  }
}

/** How often something may be: in a second, for long, and at once. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}
