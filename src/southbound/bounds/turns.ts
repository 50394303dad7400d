// Whose turn it is to have its messages worked on. Many connections that each do a little in every turn of the event loop would together hold it
// for long, so each group of peers does a few milliseconds in a turn and no more, and owners take turns in a group: one that has many connections
// gets no more done than one that has a single one. A turn is a time, not a piece: one whose pieces are small does not wait longer for that.
// Peers that are no hosts (yet) also have only a share of the time.
import type { Clock } from "../../lib/clock.ts";

type Piece = () => void;

export interface TurnsOptions {
  /** Milliseconds of a turn of the event loop, after which the others have theirs; a piece that was begun is done. */
  readonly turnMs: number;
  /** Part of the time that may be used, at most 1. */
  readonly share: number;
}

/** Milliseconds of an owner's turn, after which it begins no piece more. */
const OWNER_MS = 0.5;
/** Pieces in a turn of the event loop, should they take no time that is seen. */
const PIECES = 64;

/** One group of peers. */
export class Turns {
  private readonly options: TurnsOptions;
  private readonly clock: Clock;
  /** Pieces by owner, in the order of their turns. */
  private readonly waiting = new Map<string, Piece[]>();
  /** A run is under way or to come. */
  private planned = false;

  constructor(options: TurnsOptions, clock: Clock) {
    this.options = options;
    this.clock = clock;
  }

  /** Owners that wait. */
  get length(): number {
    return this.waiting.size;
  }

  /** Runs `piece` when it is the owner's turn, never within this call. */
  take(owner: string, piece: Piece): void {
    const pieces = this.waiting.get(owner);
    if (pieces === undefined) this.waiting.set(owner, [piece]);
    else pieces.push(piece);
    if (!this.planned) this.plan(0);
  }

  private plan(pauseMs: number): void {
    this.planned = true;
    if (pauseMs < 1) setImmediate(() => this.run());
    else this.clock.setTimeout(() => this.run(), pauseMs);
  }

  private run(): void {
    const { turnMs, share } = this.options;
    const begun = this.clock.monotonic();
    let ms = 0;
    try {
      let left = PIECES;
      for (const [owner, pieces] of this.waiting) {
        const before = ms;
        try {
          // What a piece adds is taken in the same turn, unless that is over.
          do {
            left--;
            pieces.shift()!();
            ms = this.clock.monotonic() - begun;
          } while (pieces.length > 0 && left > 0 && ms < turnMs && ms - before < OWNER_MS);
        } finally {
          this.waiting.delete(owner);
          if (pieces.length > 0) this.waiting.set(owner, pieces); // behind the others
        }
        if (ms >= turnMs || left <= 0) break;
      }
    } finally {
      // Planned all the while, so that pieces that go on later plan nothing beside this.
      if (this.waiting.size > 0) this.plan(ms * (1 / share - 1));
      else this.planned = false;
    }
  }
}
