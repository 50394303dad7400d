// When a switch is compared with the desired state although nothing happened: each once an interval, one at a time, the
// most overdue first; the pause after each is a multiple of what it took, but no longer than the interval: one that hung with its switch holds up others no more.
import type { Logger } from "pino";
import type { Cancel, Clock } from "../lib/clock.ts";
import type { Random } from "../lib/random.ts";
import type { Switch } from "./openflow/switch.ts";

export interface AuditScheduleOptions {
  /** 0: never. */
  readonly intervalMs: number;
  readonly switches: () => Iterable<Switch>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** An audit takes at most one part in this many of the controller's time. */
const SHARE = 10;

export class AuditSchedule {
  private readonly options: AuditScheduleOptions;
  /** Chassis -> when it is due, in monotonic time. */
  private readonly due = new Map<string, number>();
  private cancel: Cancel | undefined;
  private stopped = false;

  constructor(options: AuditScheduleOptions) {
    this.options = options;
  }

  start(pauseMs = 0): void {
    const { intervalMs, clock } = this.options;
    if (intervalMs <= 0 || this.stopped) return;
    this.cancel = clock.setTimeout(() => void this.next(intervalMs), Math.max(pauseMs, Math.min(1000, intervalMs / 4)));
  }

  forget(chassis: string): void {
    this.due.delete(chassis);
  }

  stop(): void {
    this.stopped = true;
    this.cancel?.();
  }

  private async next(intervalMs: number): Promise<void> {
    const { clock, random } = this.options;
    const now = clock.monotonic();
    const jittered = (): number => now + intervalMs * (0.8 + 0.4 * random.next());
    let next: Switch | undefined;
    let earliest = now;
    for (const target of this.options.switches()) {
      if (target.state !== "connected" && target.state !== "held") continue;
      const at = this.due.get(target.chassis);
      if (at === undefined) this.due.set(target.chassis, jittered());
      else if (at <= earliest) {
        earliest = at;
        next = target;
      }
    }
    if (next !== undefined) {
      this.due.set(next.chassis, jittered());
      try {
        await next.audit();
      } catch (error) {
        this.options.log.warn({ err: error, chassis: next.chassis }, "switch could not be audited");
      }
    }
    this.start(Math.min((clock.monotonic() - now) * SHARE, intervalMs));
  }
}
