// Of several who write to one log, who goes when. What lost the race is decided anew, so who writes out of turn costs all. Everybody sees the same log,
// and takes from it whose turn it is: his who has not written for longest, of those who have written lately. Each has a slot of time in which the others
// leave him alone, and writes then all that was asked for meanwhile, in one append; who does not use his turns has none after a few.
// This is courtesy alone: what is right follows from the log (src/store/commit.ts), whoever goes first. Who stands still costs the others his slots.
import type { Clock } from "../lib/clock.ts";

/** A slot is so many times as long as turns take of late, from one to the next. */
const SLOT = 2;
const LEAST_SLOT_MS = 2;
const MOST_SLOT_MS = 400;
/** Until it is known how long a turn takes. */
const TURN_MS = 10;
/** Losses in a row. What takes long to decide, as many rows at once do, is else always overtaken; who is new has no turn before he has written. */
const PRESSING = 2;
/** Turns that may be missed, of one who has used some, and of one who is new. */
const MISSES = 3;
const AT_FIRST = 2;
/** Who has not written for so long has no turn. */
const LATELY_MS = 2000;
/** Others that are known: more than a cluster has. */
const OTHERS = 64;

interface Other {
  /** When it wrote last, in the order of the log as it is seen here. */
  wrote: number;
  at: number;
  turns: number;
}

export class Contention {
  private readonly clock: Pick<Clock, "monotonic">;
  /** Of all writes, those that came second. */
  races = 0;
  /** Since the last win. */
  private losses = 0;
  /** Whoever has written longest ago is the first. */
  private readonly others = new Map<string, Other>();
  private count = 0;
  private wrote = 0;
  private latest: string | undefined;
  /** Of the newest write of anybody. */
  private at = 0;
  private turnMs = TURN_MS;
  /** All others were asked to wait. */
  private pressed = false;

  constructor(clock: Pick<Clock, "monotonic">) {
    this.clock = clock;
  }

  /** Own commits are in the log, so long after it was begun to decide on them. */
  won(ms: number): void {
    this.took(ms);
    this.passed(this.wrote);
    this.wrote = ++this.count;
    this.latest = undefined;
    this.at = this.clock.monotonic();
    this.losses = 0;
    this.pressed = false;
  }

  /** Others' came first. */
  lost(): void {
    this.losses++;
    this.races++;
    // Somebody was not given the time that he takes.
    this.turnMs = Math.min(MOST_SLOT_MS, 1.5 * this.turnMs);
    this.pressed = false;
  }

  /** A commit of somebody else is in the log. */
  heard(writer: string): void {
    const before = this.at;
    this.at = this.clock.monotonic();
    const known = this.others.get(writer);
    if (known !== undefined && writer === this.latest) {
      known.at = this.at; // of one append there are many
      return;
    }
    this.latest = writer;
    if (known !== undefined) {
      // In his slot: so long is a turn as others see it.
      if (this.at - before <= this.slot) this.took(this.at - before);
      this.passed(known.wrote);
    }
    this.others.delete(writer);
    this.others.set(writer, { wrote: ++this.count, at: this.at, turns: known === undefined ? AT_FIRST : Math.min(MISSES, known.turns + 1) });
    if (this.others.size > OTHERS) this.others.delete(this.others.keys().next().value!);
  }

  private took(ms: number): void {
    this.turnMs += (Math.min(ms, MOST_SLOT_MS) - this.turnMs) / (ms > this.turnMs ? 2 : 8);
  }

  private get slot(): number {
    return Math.min(MOST_SLOT_MS, Math.max(LEAST_SLOT_MS, SLOT * this.turnMs));
  }

  /** Somebody wrote who had written last at that time: it was the turn of all before. */
  private passed(wrote: number): void {
    for (const [writer, other] of this.others) {
      if (other.wrote >= wrote) return;
      if (--other.turns <= 0) this.others.delete(writer);
    }
  }

  /** Others have their turns, too: after an append it is theirs. */
  isShared(): boolean {
    const before = this.clock.monotonic() - LATELY_MS;
    for (const [writer, { at }] of this.others) {
      if (at >= before) return true;
      this.others.delete(writer);
    }
    return false;
  }

  /** ms until it is this one's turn, if none of those before it writes until then. */
  get hold(): number {
    if (this.pressed || !this.isShared()) return 0;
    let ahead = 0;
    for (const { wrote } of this.others.values()) if (wrote < this.wrote) ahead++;
    return Math.max(0, this.at + ahead * this.slot - this.clock.monotonic());
  }

  /** It came second so often that the others are to be asked to wait. */
  get presses(): boolean {
    return this.losses >= PRESSING;
  }

  /** They were asked: the next append is this one's, whoever's turn it is. */
  press(): void {
    this.pressed = true;
  }

  /** How many of so many transactions go at once: what is short is seldom overtaken. */
  most(limit: number): number {
    return Math.max(1, limit >> Math.min(2 * this.losses, 30));
  }
}
