// How many switches are compared at a time: each comparison holds a dump, maps of flows and the difference, so that a
// controller that starts with thousands of switches needs memory for a few. First come, first served: who fails and comes
// again stands at the end, so that one switch cannot keep others waiting.

import type { Cancel, Clock } from "../../lib/clock.ts";

export interface Ticket {
  /** True: the slot is this one's until end(). False: end() came first. */
  readonly granted: Promise<boolean>;
  /** Leaves the queue or frees the slot; once more does nothing. */
  end(): void;
}

export class SyncSlots {
  private readonly limit: number;
  private readonly hold: { readonly clock: Clock; readonly ms: number } | undefined;
  private readonly queue = new Set<() => void>();
  private used = 0;

  /** `hold`: a slot that is used longer is another's as well, so that switches that are slow on purpose keep nobody waiting for ever. */
  constructor(limit: number, hold?: { readonly clock: Clock; readonly ms: number }) {
    this.limit = limit;
    this.hold = hold;
  }

  /** Slots in use. */
  get active(): number {
    return this.used;
  }

  get waiting(): number {
    return this.queue.size;
  }

  take(): Ticket {
    let state: "waiting" | "granted" | "ended" = "waiting";
    let resolve!: (granted: boolean) => void;
    const granted = new Promise<boolean>((done) => (resolve = done));
    let cancel: Cancel | undefined;
    const grant = (): void => {
      state = "granted";
      this.used++;
      cancel = this.hold?.clock.setTimeout(end, this.hold.ms);
      resolve(true);
    };
    const end = (): void => {
      const before = state;
      state = "ended";
      cancel?.();
      if (before === "waiting") {
        this.queue.delete(grant);
        resolve(false);
      } else if (before === "granted") {
        this.used--;
        this.serve();
      }
    };
    this.queue.add(grant);
    this.serve();
    return { granted, end };
  }

  private serve(): void {
    for (const grant of this.queue) {
      if (this.used >= this.limit) return;
      this.queue.delete(grant);
      grant();
    }
  }
}
