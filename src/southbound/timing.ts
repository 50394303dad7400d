// Clock, timers and chance, in one place so that a test can bring its own.

export interface Timing {
  /** Milliseconds on a clock that only goes forward. */
  now(): number;
  /** 0 <= x < 1. */
  random(): number;
  /** Runs it once after that long; returns how to cancel it. It does not keep the process alive. */
  after(ms: number, run: () => void): () => void;
}

export const realTiming: Timing = {
  now: () => performance.now(),
  random: () => Math.random(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

const MIN_MS = 1000;
const MAX_MS = 30_000;
/** After this long without a failure the next one is a first one. */
const FORGET_MS = 2 * MAX_MS;

/** How long to wait after a failure: 1 to 2 s, then twice that each time up to 15 to 30 s, at random so that many do not come at once. */
export class Backoff {
  private readonly timing: Timing;
  private failures = 0;
  private lastAt = -Infinity;

  constructor(timing: Timing) {
    this.timing = timing;
  }

  /** It failed (again). Milliseconds to wait. */
  next(): number {
    const now = this.timing.now();
    if (now - this.lastAt > FORGET_MS) this.failures = 0;
    const top = Math.min(MAX_MS, MIN_MS * 2 ** (this.failures + 1));
    if (top < MAX_MS) this.failures++;
    const ms = (top / 2) * (1 + this.timing.random());
    this.lastAt = now + ms;
    return ms;
  }
}
