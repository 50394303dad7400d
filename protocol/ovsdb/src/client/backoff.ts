/**
 * How long to wait before the next attempt: doubling up to a limit, with a random part so that clients which lost the
 * same server do not come back in step. No timers here, only the arithmetic and a sleep that can be cut short.
 */

export interface BackoffOptions {
  /** The first pause, in ms. Default 100. */
  readonly minBackoffMs?: number | undefined;
  /** No pause is longer, in ms. Default 8000. */
  readonly maxBackoffMs?: number | undefined;
  /** 0 <= x < 1; for tests. Default Math.random. */
  readonly random?: (() => number) | undefined;
}

export class Backoff {
  readonly #min: number;
  readonly #max: number;
  readonly #random: () => number;
  #failures = 0;

  constructor({ minBackoffMs = 100, maxBackoffMs = 8000, random = Math.random }: BackoffOptions) {
    this.#min = minBackoffMs;
    this.#max = Math.max(minBackoffMs, maxBackoffMs);
    this.#random = random;
  }

  /** The longest that the next pause can be, in ms. */
  get limitMs(): number { return Math.min(this.#max, this.#min * 2 ** Math.min(this.#failures, 30)); }

  /** The next pause, in ms: between half of the limit and the limit; then the limit doubles. */
  next(): number {
    const limit = this.limitMs;
    this.#failures++;
    return limit / 2 + this.#random() * (limit / 2);
  }

  /** Begins anew: it went well. */
  reset(): void {
    this.#failures = 0;
  }
}

/** Resolves after `ms` or as soon as `signal` is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) { resolve(); return; }
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
