// Whether this controller knows what others have committed. Who becomes the master of a host may have stood still for a while, or hears of commits later than of
// members: what it would make of the host's switch is then what was wanted before, and would take away what the master before it has made since. So it first
// asks how far the store is, after the switch, or database, takes changes of nobody else any more, and begins when it has worked out what follows from that.
import type { Cancel, Clock } from "../../lib/clock.ts";
import type { ClusterPort } from "./port.ts";

export interface CurrentOptions {
  readonly cluster: Pick<ClusterPort, "head" | "masters">;
  /** The generation that the desired state is of. */
  readonly reached: () => number;
  readonly clock: Pick<Clock, "setTimeout">;
}

const AGAIN_MS = 100;

export class Current {
  private readonly options: CurrentOptions;
  /** One question for all who ask meanwhile: one that was asked before may be answered with less. */
  private next: Promise<number | undefined> | undefined;
  private asking: Promise<unknown> | undefined;
  private readonly waiting = new Set<{ readonly generation: number; readonly done: () => void }>();
  private readonly pauses = new Map<Cancel, () => void>();
  private stopped = false;

  constructor(options: CurrentOptions) {
    this.options = options;
  }

  /** Until what was committed before this call is desired here. Without a lease, and so without the store, what is known has to do. */
  async is(chassis: string): Promise<void> {
    let head = await this.head();
    while (head === undefined && !this.stopped && this.options.cluster.masters(chassis)) {
      await this.pause();
      head = await this.head();
    }
    if (head === undefined || this.stopped || this.options.reached() >= head) return;
    await new Promise<void>((done) => this.waiting.add({ generation: head, done }));
  }

  /** The desired state is of a later generation. */
  moved(): void {
    const reached = this.options.reached();
    for (const one of this.waiting) {
      if (one.generation > reached) continue;
      this.waiting.delete(one);
      one.done();
    }
  }

  /** Nobody waits any more. */
  stop(): void {
    this.stopped = true;
    for (const [cancel, done] of this.pauses) {
      cancel();
      done();
    }
    for (const { done } of this.waiting) done();
    this.waiting.clear();
  }

  /** undefined: it cannot be asked. */
  private head(): Promise<number | undefined> {
    return (this.next ??= this.ask(this.asking));
  }

  private async ask(before: Promise<unknown> | undefined): Promise<number | undefined> {
    await before;
    this.next = undefined;
    const head = this.options.cluster.head().catch(() => undefined);
    this.asking = head;
    return head;
  }

  private pause(): Promise<void> {
    return new Promise((done) => {
      const over = (): void => {
        this.pauses.delete(cancel);
        done();
      };
      const cancel = this.options.clock.setTimeout(over, AGAIN_MS);
      this.pauses.set(cancel, over);
    });
  }
}
