// Work that may have to wait for switches: it yields what is to be waited for. So the same code follows a packet over switches that are asked, and over
// the past, where nobody is, and it may have to be one turn.
import { OpenFlowError } from "node-openflow";
import type { Clock } from "../../lib/clock.ts";

export type Asking<T> = Generator<Promise<unknown>, T, void>;

/** gone: a switch went while it was asked. silent: one is connected, and does not answer. late: all of it took too long. */
export class TraceBroken extends Error {
  readonly why: "gone" | "silent" | "late";
  constructor(why: TraceBroken["why"], message: string) {
    super(message);
    this.name = "TraceBroken";
    this.why = why;
  }
}

export function* wait<T>(promise: Promise<T>): Asking<T> {
  let result: { readonly value: T } | undefined;
  yield promise.then((value) => (result = { value }));
  return result!.value;
}

/** What a switch answers. @throws TraceBroken */
export function* waitFor<T>(chassis: string, promise: Promise<T>): Asking<T> {
  try {
    return yield* wait(promise);
  } catch (error) {
    if (!(error instanceof OpenFlowError)) throw error;
    throw new TraceBroken(error.code === "OF_CLOSED" ? "gone" : "silent", `switch ${chassis} does not show what it has: ${error.message}; with "state": "desired" the trace is over what it should have`);
  }
}

/** How long a trace may take. */
export class Deadline {
  private readonly clock: Clock;
  private readonly endMs: number;
  private readonly text: string;

  constructor(clock: Clock, ms: number) {
    this.clock = clock;
    this.endMs = clock.monotonic() + ms;
    this.text = `the trace took more than ${ms / 1000} seconds; with "state": "desired" no switch is asked`;
  }

  get passed(): boolean {
    return this.clock.monotonic() >= this.endMs;
  }

  /** @throws TraceBroken */
  check(): void {
    if (this.passed) throw new TraceBroken("late", this.text);
  }

  /** @throws TraceBroken, and what the work throws */
  async within(work: Promise<unknown>): Promise<void> {
    let cancel = (): void => undefined;
    const late = new Promise<never>((_, refuse) => {
      cancel = this.clock.setTimeout(() => refuse(new TraceBroken("late", this.text)), Math.max(0, this.endMs - this.clock.monotonic()));
    });
    try {
      await Promise.race([work, late]);
    } finally {
      cancel();
    }
  }
}

/** Waits for whatever the work asks. @throws TraceBroken, and what the work throws */
export async function waited<T>(work: Asking<T>, deadline: Deadline): Promise<T> {
  for (let step = work.next(); ;) {
    if (step.done === true) return step.value;
    try {
      await deadline.within(step.value);
    } catch (error) {
      step = work.throw(error);
      continue;
    }
    step = work.next();
  }
}
