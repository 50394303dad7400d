// In how many scopes a flow's key is, at most: a counting Bloom filter. Nearly every flow that a chassis gains or loses is in one scope
// of it alone, and that is known here without asking the others. Scopes that are the root of a chassis are counted apart: their keys are
// alike from chassis to chassis, and no chassis has two of them until one includes another.

/** Bytes for each key that there was room for, halved at most before the table is made anew. */
const ROOM = 16;
const LEAST = 1 << 13;
/** Of a byte the low half counts roots, the high half others. One that came to this stays there until the table is made anew. */
const FULL = 15;

export class KeyCounts {
  private counts = new Uint8Array(LEAST);
  private mask = LEAST - 1;
  private keys = 0;
  /** Whether some scope includes a root. */
  rootsMeet = false;

  /** Whether no two scopes of a chassis have a key of this hash. A wrong no is rare and costs a look at the scopes. */
  single(hash: number): boolean {
    return this.few(hash) || this.few(second(hash)) || this.few(third(hash));
  }

  private few(hash: number): boolean {
    const count = this.counts[hash & this.mask]!;
    const roots = count & FULL;
    return (roots > 1 && !this.rootsMeet ? 1 : roots) + (count >> 4) <= 1;
  }

  add(hash: number, root: boolean): void {
    this.keys++;
    this.change(hash, root, 1);
    this.change(second(hash), root, 1);
    this.change(third(hash), root, 1);
  }

  remove(hash: number, root: boolean): void {
    this.keys--;
    this.change(hash, root, -1);
    this.change(second(hash), root, -1);
    this.change(third(hash), root, -1);
  }

  private change(hash: number, root: boolean, by: number): void {
    const at = hash & this.mask;
    const count = this.counts[at]!;
    if ((root ? count & FULL : count >> 4) < FULL) this.counts[at] = count + (root ? by : by * 16);
  }

  get crowded(): boolean {
    return this.keys * ROOM > this.counts.length * 2;
  }

  /** Makes room for so many keys, with none counted yet. */
  reset(keys: number): void {
    let size = LEAST;
    while (size < keys * ROOM) size *= 2;
    this.counts = new Uint8Array(size);
    this.mask = size - 1;
    this.keys = 0;
  }
}

const second = (hash: number): number => Math.imul(hash, 0x9e3779b1) >>> 5;
const third = (hash: number): number => Math.imul(hash, 0x85ebca6b) >>> 4;
