// How what one flow or several have dropped grows: how much of late, and whether it goes on. A stray packet, or a burst of them, is not yet a fault of anybody's.

/** Milliseconds for which packets are "of late", and over which a rate is taken. */
const MINUTE_MS = 60_000;
const RATE_MS = 10_000;
/** So many looks at least found more, and so many packets, within the window: then it goes on. */
const LOOKS = 3;
const PACKETS = 5;
/** It has ceased when so long nothing was dropped. */
const QUIET_MS = 15_000;

export class Recent {
  packets: number;
  bytes = 0;
  lastSeenMs: number | undefined;
  /** Since when it goes on; undefined: it does not. */
  persistentMs: number | undefined;
  private grown: { readonly ms: number; readonly packets: number }[] = [];

  /** `packets`: those of which it is not known when they were dropped. */
  constructor(packets: number) {
    this.packets = packets;
  }

  /** What the switch says now; `everyMs`: how often it is asked. */
  look(packets: number, bytes: number, nowMs: number, everyMs: number): void {
    // Flows that were written anew count from 0.
    const more = packets < this.packets ? packets : packets - this.packets;
    this.packets = packets;
    this.bytes = bytes;
    this.grown = this.grown.filter(({ ms }) => ms > nowMs - MINUTE_MS);
    if (more > 0) {
      this.grown.push({ ms: nowMs, packets: more });
      this.lastSeenMs = nowMs;
    }
    const window = this.within(nowMs, Math.max(RATE_MS, 5 * everyMs));
    if (window.length >= LOOKS && sum(window) >= PACKETS) this.persistentMs ??= window[0]!.ms;
    else if (this.persistentMs !== undefined && nowMs - (this.lastSeenMs ?? 0) > Math.max(QUIET_MS, 3 * everyMs)) this.persistentMs = undefined;
  }

  /** Nothing is known of what it does now. */
  forget(): void {
    this.grown = [];
    this.persistentMs = undefined;
  }

  lastMinute(): number {
    return sum(this.grown);
  }
  perSecond(nowMs: number): number {
    return Math.round((sum(this.within(nowMs, RATE_MS)) * 10_000) / RATE_MS) / 10;
  }
  /** Whether what is shown of it changes with time alone. */
  get moves(): boolean {
    return this.grown.length > 0 || this.persistentMs !== undefined;
  }

  private within(nowMs: number, ms: number): readonly { readonly ms: number; readonly packets: number }[] {
    return this.grown.filter((g) => g.ms > nowMs - ms);
  }
}

const sum = (grown: readonly { readonly packets: number }[]): number => grown.reduce((all, { packets }) => all + packets, 0);
