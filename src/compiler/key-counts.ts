// In how many scopes a flow's key is, at most: a table of small counters by hash. Nearly every flow that a chassis gains or loses is in
// one scope alone, and that is known here without asking the others.

/** Counters for each key that there was room for. Each key has two, and the lesser counts: keys that share one cost nothing. */
const ROOM = 8;
const LEAST = 1 << 12;
/** A counter that came so far stays there until the table is made again. */
const FULL = 255;

/** Of a key: in how many root scopes of chassis, and in how many others. */
export class KeyCounts {
  /** Roots first, then others. */
  private counts = new Uint8Array(2 * LEAST);
  private size = LEAST;
  private keys = 0;
  /** Two roots are no two scopes of a chassis, until one includes another. */
  rootsMeet = false;

  /** Whether no two scopes of a chassis have a key of this hash. */
  single(hash: number): boolean {
    return this.at(hash) <= 1 || this.at(second(hash)) <= 1;
  }

  private at(hash: number): number {
    const at = hash & (this.size - 1);
    const roots = this.counts[at]!;
    return (roots > 1 && !this.rootsMeet ? 1 : roots) + this.counts[at + this.size]!;
  }

  add(hash: number, root: boolean): void {
    this.keys++;
    this.change(hash, root, 1);
    this.change(second(hash), root, 1);
  }

  remove(hash: number, root: boolean): void {
    this.keys--;
    this.change(hash, root, -1);
    this.change(second(hash), root, -1);
  }

  private change(hash: number, root: boolean, by: number): void {
    const at = (hash & (this.size - 1)) + (root ? 0 : this.size);
    const count = this.counts[at]!;
    if (count < FULL) this.counts[at] = count + by;
  }

  get crowded(): boolean {
    return this.keys * ROOM > this.size * 2;
  }

  /** Makes room for so many keys, with none counted yet. */
  reset(keys: number): void {
    this.size = LEAST;
    while (this.size < keys * ROOM) this.size *= 2;
    this.counts = new Uint8Array(2 * this.size);
    this.keys = 0;
  }
}

const second = (hash: number): number => Math.imul(hash, 0x9e3779b1) >>> 9;
