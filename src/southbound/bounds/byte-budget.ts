// Bytes that many hold for a while, e.g. dumps of switches that are being read: bounded in all. Where there is no room for more, whoever
// holds most gives up what it has, so that one that holds little is not in the way of one that holds much.

export interface Holding {
  /** More of it. False: it was given up, now or before. */
  add(bytes: number): boolean;
  /** As much of it as this, more or less than before. False: it was given up. */
  set(bytes: number): boolean;
  /** Nothing of it is held any more. */
  end(): void;
}

interface Held {
  bytes: number;
  readonly giveUp: () => void;
}

export class ByteBudget {
  private readonly limit: number;
  private readonly all = new Set<Held>();
  private total = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get held(): number {
    return this.total;
  }

  /** `giveUp`: called at most once, when the room is needed. */
  open(giveUp: () => void): Holding {
    const held: Held = { bytes: 0, giveUp };
    this.all.add(held);
    const add = (bytes: number): boolean => {
      if (!this.all.has(held)) return false;
      held.bytes += bytes;
      this.total += bytes;
      while (this.total > this.limit) this.evict();
      return this.all.has(held);
    };
    return {
      add,
      set: (bytes) => add(bytes - held.bytes),
      end: () => void this.drop(held),
    };
  }

  private evict(): void {
    let most: Held | undefined;
    for (const held of this.all) if (most === undefined || held.bytes > most.bytes) most = held;
    if (most === undefined || !this.drop(most)) return;
    most.giveUp();
  }

  private drop(held: Held): boolean {
    if (!this.all.delete(held)) return false;
    this.total -= held.bytes;
    return true;
  }
}
