// When one switch may be compared: not before its last failure is long enough ago, and when a slot is free.
import type { Logger } from "pino";
import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";
import { Backoff } from "../backoff.ts";
import type { SyncSlots, Ticket } from "./sync-slots.ts";

export class SyncGate {
  private readonly slots: SyncSlots;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly backoff: Backoff;
  private retryAt = -Infinity;
  /** What waits, each with how to end it. */
  private readonly waits = new Set<() => void>();

  constructor(slots: SyncSlots, clock: Clock, random: Random, log: Logger) {
    this.slots = slots;
    this.clock = clock;
    this.log = log;
    this.backoff = new Backoff(clock, random);
  }

  /** A comparison, or what came of it, failed. Returns the pause until the next in ms; a failure within a pause does not prolong it. */
  failed(): number {
    const now = this.clock.monotonic();
    if (this.retryAt <= now) this.retryAt = now + this.backoff.next();
    return Math.round(this.retryAt - now);
  }

  /** A slot for a comparison after the pause that the last failure asks for. undefined: `current` became false, or cancel() was called. */
  async enter(current: () => boolean): Promise<Ticket | undefined> {
    const ms = this.retryAt - this.clock.monotonic();
    if (ms > 0) {
      this.log.info({ ms: Math.round(ms) }, "switch failed before; it is compared after a pause");
      await new Promise<void>((resolve) => {
        const end = (): void => {
          cancel();
          this.waits.delete(end);
          resolve();
        };
        const cancel = this.clock.setTimeout(end, ms);
        this.waits.add(end);
      });
    }
    return current() ? this.slot(current) : undefined;
  }

  /** A slot without a pause. */
  async slot(current: () => boolean): Promise<Ticket | undefined> {
    const ticket = this.slots.take();
    const end = (): void => ticket.end();
    this.waits.add(end);
    const granted = await ticket.granted;
    this.waits.delete(end);
    if (granted && current()) return ticket;
    ticket.end();
    return undefined;
  }

  /** The session ended: nothing of it waits any more. */
  cancel(): void {
    for (const end of [...this.waits]) end();
  }
}
