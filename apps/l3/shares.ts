// What many want of something that has an end: each owner has a share. As long as there is room anybody takes as much as he likes; then
// whoever has less than the one that has most takes from that one, the oldest first, and whoever has most gets no more. So nobody is
// crowded out by another, however much that one wants.

interface Kept<V> {
  readonly owner: string;
  readonly value: V;
}

export class Shares<V> {
  private readonly limit: number;
  private readonly kept = new Map<string, Kept<V>>();
  /** Keys of each owner, the oldest first. */
  private readonly owned = new Map<string, Set<string>>();
  /** Owners by how many they have. */
  private readonly ranks: Set<string>[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  get size(): number {
    return this.kept.size;
  }
  get(key: string): V | undefined {
    return this.kept.get(key)?.value;
  }
  has(key: string): boolean {
    return this.kept.has(key);
  }
  *[Symbol.iterator](): IterableIterator<[string, V]> {
    for (const [key, { value }] of this.kept) yield [key, value];
  }
  *values(): IterableIterator<V> {
    for (const { value } of this.kept.values()) yield value;
  }

  /** Whether one more of an owner would be kept. */
  admits(owner: string): boolean {
    return this.kept.size < this.limit || this.count(owner) + 1 < this.most();
  }

  /** Keeps one more, which must be admitted and new. What had to go for it, if anything. */
  put(key: string, owner: string, value: V): readonly [key: string, value: V] | undefined {
    let gone: readonly [string, V] | undefined;
    if (this.kept.size >= this.limit) {
      const [greediest] = this.ranks[this.most()]!;
      const [oldest] = this.owned.get(greediest!)!;
      gone = [oldest!, this.kept.get(oldest!)!.value];
      this.delete(oldest!);
    }
    this.kept.set(key, { owner, value });
    let own = this.owned.get(owner);
    if (own === undefined) this.owned.set(owner, (own = new Set()));
    own.add(key);
    this.rank(owner, own.size - 1, own.size);
    return gone;
  }

  delete(key: string): void {
    const owner = this.kept.get(key)?.owner;
    if (owner === undefined) return;
    this.kept.delete(key);
    const own = this.owned.get(owner)!;
    own.delete(key);
    this.rank(owner, own.size + 1, own.size);
    if (own.size === 0) this.owned.delete(owner);
  }

  private count(owner: string): number {
    return this.owned.get(owner)?.size ?? 0;
  }
  /** How many the one that has most has. */
  private most(): number {
    return this.ranks.length - 1;
  }

  private rank(owner: string, before: number, now: number): void {
    this.ranks[before]?.delete(owner);
    if (now > 0) (this.ranks[now] ??= new Set()).add(owner);
    this.ranks[0] ??= new Set();
    while (this.ranks.length > 1 && this.ranks.at(-1)!.size === 0) this.ranks.pop();
  }
}
