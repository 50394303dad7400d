// Pauses after failures.
import type { Clock } from "../lib/clock.ts";
import type { Random } from "../lib/random.ts";

const MIN_MS = 1000;
const MAX_MS = 30_000;
/** After this long without a failure the next one is a first one. */
const FORGET_MS = 2 * MAX_MS;

/** How long to wait after a failure: 1 to 2 s, then twice that each time up to 15 to 30 s, at random so that many do not come at once. */
export class Backoff {
  private readonly clock: Clock;
  private readonly random: Random;
  private failures = 0;
  private lastAt = -Infinity;

  constructor(clock: Clock, random: Random) {
    this.clock = clock;
    this.random = random;
  }

  /** It failed (again). Milliseconds to wait. */
  next(): number {
    const now = this.clock.monotonic();
    if (now - this.lastAt > FORGET_MS) this.failures = 0;
    const top = Math.min(MAX_MS, MIN_MS * 2 ** (this.failures + 1));
    if (top < MAX_MS) this.failures++;
    const ms = (top / 2) * (1 + this.random.next());
    this.lastAt = now + ms;
    return ms;
  }
}
