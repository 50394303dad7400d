// What many hold for a while, bounded in all: bytes of dumps that are being read, of OVSDB messages, rows of databases. Where there is no
// room for more, the owner who holds most gives up the largest of its holdings: one that holds little is not in the way of one that holds
// much, nor of one that holds much by little on many connections.

export interface Holding {
  /** More of it. False: it was given up, now or before. */
  add(amount: number): boolean;
  /** As much of it as this, more or less than before. False: it was given up. */
  set(amount: number): boolean;
  /** Nothing of it is held any more. */
  end(): void;
}

/** Whose it is. */
export interface Owner {
  /** Equal for all that one peer holds, by however many connections. */
  readonly name: string;
  /** Whether it has not proved to be a host (yet); strangers give way first, while they hold more than a quarter of all. Default: it has. */
  readonly stranger?: () => boolean;
}

/** Where one owner's holdings begin. */
export interface Room {
  /** `giveUp`: called at most once, when the room is needed. */
  open(giveUp: () => void): Holding;
}

interface Held {
  amount: number;
  readonly owner: Owner | undefined;
  readonly giveUp: () => void;
}

/** What strangers may hold in all before they give way to hosts, as a part of everything: a host that hoards does not keep new ones out. */
const STRANGERS_PART = 1 / 4;

export class ByteBudget implements Room {
  private readonly limit: number;
  private readonly all = new Set<Held>();
  private total = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get held(): number {
    return this.total;
  }

  /** Room of `owner`. */
  of(owner: Owner): Room {
    return { open: (giveUp) => this.open(giveUp, owner) };
  }

  /** Without an owner it is one by itself. */
  open(giveUp: () => void, owner?: Owner): Holding {
    const held: Held = { amount: 0, owner, giveUp };
    this.all.add(held);
    const add = (amount: number): boolean => {
      if (!this.all.has(held)) return false;
      held.amount += amount;
      this.total += amount;
      while (this.total > this.limit) this.evict();
      return this.all.has(held);
    };
    return {
      add,
      set: (amount) => add(amount - held.amount),
      end: () => void this.drop(held),
    };
  }

  private evict(): void {
    interface Sum { amount: number; largest: Held; stranger: boolean }
    const sums = new Map<string | Held, Sum>();
    let strangers = 0;
    for (const held of this.all) {
      if (held.amount === 0) continue;
      const stranger = held.owner?.stranger?.() === true;
      if (stranger) strangers += held.amount;
      const key = held.owner === undefined ? held : `${stranger ? "stranger" : "host"} ${held.owner.name}`;
      const sum = sums.get(key);
      if (sum === undefined) sums.set(key, { amount: held.amount, largest: held, stranger });
      else {
        sum.amount += held.amount;
        if (held.amount > sum.largest.amount) sum.largest = held;
      }
    }
    const strangersFirst = strangers > this.limit * STRANGERS_PART;
    let most: Sum | undefined;
    for (const sum of sums.values()) {
      if (strangersFirst && !sum.stranger) continue;
      if (most === undefined || sum.amount > most.amount) most = sum;
    }
    if (most === undefined || !this.drop(most.largest)) return;
    most.largest.giveUp();
  }

  private drop(held: Held): boolean {
    if (!this.all.delete(held)) return false;
    this.total -= held.amount;
    return true;
  }
}
