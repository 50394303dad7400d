// Of several who write to one log, who goes when. What lost the race is decided anew, which takes its time, so whoever won is likely to win again.
// So it waits for a moment after each win while others write too, and who lost goes on with less at once: what is short is seldom overtaken.
// This is courtesy alone: what is right follows from the log (src/store/commit.ts), whoever goes first.
import type { Clock } from "../lib/clock.ts";
import type { Random } from "../lib/random.ts";

/** Of the time of an append. */
const HELD = 2;
/** Losses in a row. What takes long to decide, as many rows at once do, is else always overtaken. */
const PRESSING = 3;
const MOST_HELD_MS = 50;
const LONGEST_PAUSE_MS = 64;

export class Contention {
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly random: Random;
  /** Of all writes, those that came second. */
  races = 0;
  /** Since the last win. */
  private losses = 0;
  private others = false;
  /** Of late. */
  private appendMs = 1;
  private heldUntil = 0;

  constructor(clock: Pick<Clock, "monotonic">, random: Random) {
    this.clock = clock;
    this.random = random;
  }

  /** Own commits are in the log, which took so long. */
  won(ms: number): void {
    this.appendMs += (Math.min(ms, 1000) - this.appendMs) / 8;
    this.heldUntil = this.others ? this.clock.monotonic() + Math.min(HELD * this.appendMs, MOST_HELD_MS) : 0;
    this.others = false;
    this.losses = 0;
  }

  /** Others' came first. */
  lost(): void {
    this.losses++;
    this.races++;
  }

  /** Somebody else's commit is in the log: nobody is waited for any more. */
  heard(): void {
    this.others = true;
    this.heldUntil = 0;
  }

  /** ms until the next append may be made, so that others come to theirs. */
  get hold(): number {
    return Math.max(0, this.heldUntil - this.clock.monotonic());
  }

  /** It came second so often that the others are to be asked to wait. */
  get presses(): boolean {
    return this.losses >= PRESSING;
  }

  /** ms until what lost is decided anew: at once the first time, then so that losers do not meet again. */
  get pause(): number {
    return this.losses < 2 ? 0 : this.random.next() * Math.min((this.losses - 1) * this.appendMs, LONGEST_PAUSE_MS);
  }

  /** How many of so many transactions go at once. */
  most(limit: number): number {
    return Math.max(1, limit >> Math.min(2 * this.losses, 30));
  }
}
