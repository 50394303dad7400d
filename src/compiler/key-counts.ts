// In how many scopes a flow's key is, at most: a table of small counters by hash. Nearly every flow that a chassis gains or loses is in
// one scope alone, and that is known here without asking the others.

/** Counters for each key that there was room for. Each key has two, and the lesser counts: keys that share one cost nothing. */
const ROOM = 8;
const LEAST = 1 << 12;
/** A counter that came so far stays there until the table is made again. */
const FULL = 255;

export class KeyCounts {
  private counts = new Uint8Array(LEAST);
  private mask = LEAST - 1;
  private keys = 0;

  /** Whether no two scopes have a key of this hash. */
  single(hash: number): boolean {
    return this.counts[hash & this.mask]! <= 1 || this.counts[second(hash) & this.mask]! <= 1;
  }

  add(hash: number): void {
    this.keys++;
    this.change(hash & this.mask, 1);
    this.change(second(hash) & this.mask, 1);
  }

  remove(hash: number): void {
    this.keys--;
    this.change(hash & this.mask, -1);
    this.change(second(hash) & this.mask, -1);
  }

  private change(at: number, by: number): void {
    const count = this.counts[at]!;
    if (count < FULL) this.counts[at] = count + by;
  }

  get crowded(): boolean {
    return this.keys * ROOM > this.counts.length * 2;
  }

  /** Counts everything anew. */
  rebuild(keys: number, hashes: Iterable<number>): void {
    let size = LEAST;
    while (size < keys * ROOM) size *= 2;
    this.counts = new Uint8Array(size);
    this.mask = size - 1;
    this.keys = 0;
    for (const hash of hashes) this.add(hash);
  }
}

const second = (hash: number): number => Math.imul(hash, 0x9e3779b1) >>> 9;
