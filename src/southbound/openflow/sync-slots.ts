// How many switches are compared at a time: each comparison holds a dump, maps of flows and the difference, so that a
// controller that starts with thousands of switches needs memory for a few. First come, first served: who fails and comes
// again stands at the end, so that one switch cannot keep others waiting.

export interface Ticket {
  /** True: the slot is this one's until end(). False: end() came first. */
  readonly granted: Promise<boolean>;
  /** Leaves the queue or frees the slot; once more does nothing. */
  end(): void;
}

export class SyncSlots {
  private readonly limit: number;
  private readonly queue = new Set<() => void>();
  private used = 0;

  constructor(limit: number) {
    this.limit = limit;
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
    const grant = (): void => {
      state = "granted";
      this.used++;
      resolve(true);
    };
    this.queue.add(grant);
    this.serve();
    return {
      granted,
      end: () => {
        const before = state;
        state = "ended";
        if (before === "waiting") {
          this.queue.delete(grant);
          resolve(false);
        } else if (before === "granted") {
          this.used--;
          this.serve();
        }
      },
    };
  }

  private serve(): void {
    for (const grant of this.queue) {
      if (this.used >= this.limit) return;
      this.queue.delete(grant);
      grant();
    }
  }
}
