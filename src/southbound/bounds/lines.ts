// Lines in the log about peers: so many about one of them in a minute and so many in all; the rest is counted, and told in one line at the minute's end.
import type { Logger } from "pino";
import type { Clock } from "../../lib/clock.ts";
import { placeOf } from "../identity.ts";

export interface LinesOptions {
  readonly log: Logger;
  readonly clock: Clock;
  /** Lines about one peer in a minute, and about all. */
  readonly perPeer: number;
  readonly total: number;
  /** Told when lines were left out; the fields say of whom, and how many. */
  readonly summary: string;
}

const WINDOW_MS = 60_000;
/** Peers that are named in the line that tells what was left out. */
const NAMED = 20;

interface Count {
  written: number;
  left: number;
}

export class Lines {
  private readonly options: LinesOptions;
  private counts = new Map<string, Count>();
  /** Of peers that there is no room to count by themselves. */
  private others = 0;
  private written = 0;
  private windowOpen = false;

  constructor(options: LinesOptions) {
    this.options = options;
  }

  /** A line about one connection, unless there were many about its peer. `about`: what sort of line it is, or which port. */
  write(about: string, address: string, fields: Readonly<Record<string, unknown>>, message: string): void {
    const { log, perPeer, total } = this.options;
    this.openWindow();
    const key = `${about} ${placeOf(address)}`;
    let count = this.counts.get(key);
    if (count === undefined) {
      if (this.counts.size >= total) {
        this.others++;
        return;
      }
      this.counts.set(key, count = { written: 0, left: 0 });
    }
    if (count.written >= perPeer || this.written >= total) count.left++;
    else {
      count.written++;
      this.written++;
      log.warn(fields, message);
    }
  }

  private openWindow(): void {
    if (this.windowOpen) return;
    this.windowOpen = true;
    const { log, clock, summary } = this.options;
    clock.setTimeout(() => {
      this.windowOpen = false;
      const left = [...this.counts].filter(([, count]) => count.left > 0).map(([peer, count]) => `${peer}: ${count.left}`);
      if (this.others > 0) left.push(`others: ${this.others}`);
      this.counts = new Map();
      this.others = 0;
      this.written = 0;
      if (left.length > 0) log.warn({ left_out: left.slice(0, NAMED), peers: left.length }, summary);
    }, WINDOW_MS);
  }
}
