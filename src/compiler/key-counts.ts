// In how many scopes a flow's key is, at most: a table of small counters by hash. Nearly every flow that a chassis gains or loses is in
// one scope alone, and that is known here without asking the others.

/** Counters for each key that there was room for: two keys on one counter cost a look at the scopes, no more. */
const ROOM = 8;
const LEAST = 1 << 12;
/** A counter that came so far stays there until the table is made again. */
const FULL = 255;

export class KeyCounts {
  private counts = new Uint8Array(LEAST);
  private mask = LEAST - 1;
  private keys = 0;
  /** Taken out in this batch. Until it ends they count: it asks for what was before as well. */
  private removed: number[] = [];

  /** Whether no two scopes have a key of this hash, nor had when the batch began. */
  single(hash: number): boolean {
    return this.counts[hash & this.mask]! <= 1;
  }

  add(hash: number): void {
    this.keys++;
    const at = hash & this.mask;
    const count = this.counts[at]!;
    if (count < FULL) this.counts[at] = count + 1;
  }

  remove(hash: number): void {
    this.removed.push(hash);
  }

  /** Ends a batch. `hashes`: of every key in every scope, should the table have become too small. */
  endBatch(hashes: () => Iterable<number>): void {
    for (const hash of this.removed) {
      const at = hash & this.mask;
      const count = this.counts[at]!;
      if (count < FULL) this.counts[at] = count - 1;
    }
    this.keys -= this.removed.length;
    this.removed = [];
    if (this.keys * ROOM > this.counts.length * 2) this.rebuild(this.keys, hashes());
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
