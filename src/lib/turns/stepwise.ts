// Work that can stop between its steps: as one piece for who needs the result now, or spread over turns so that others have theirs.

/** It yields where it may stop, and what it waits for, if anything; what it returns is its result. */
export type Stepwise<T> = Generator<PromiseLike<unknown> | undefined, T, undefined>;

/** All of it in this turn. @throws Error when it waits for something */
export function finish<T>(work: Stepwise<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
    if (step.value !== undefined) throw new Error("the work waits for something, and has to end in this turn");
  }
}

/** How work is spread, in ms: so long at a time, and then so long nothing. */
export interface Pace {
  readonly slice: number;
  readonly rest: number;
}
/** Others wait little for a slice, and have half of the time; a call has several turns, each of which may wait for one. */
export const gently: Pace = { slice: 2, rest: 2 };

const resting = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Slice by slice; the first begins in this turn. `stopped` ends it between two slices, with an error. @throws what the work throws */
export async function spread<T>(work: Stepwise<T>, { slice, rest }: Pace = gently, stopped?: () => Error | undefined): Promise<T> {
  for (;;) {
    const until = performance.now() + slice;
    do {
      const step = work.next();
      if (step.done === true) return step.value;
      if (step.value !== undefined) await step.value;
    } while (performance.now() < until);
    await resting(rest);
    const reason = stopped?.();
    if (reason !== undefined) throw reason;
  }
}
