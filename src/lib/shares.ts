// What many want of something that has an end: each owner has a share. As long as there is room anybody takes as much as he likes; then
// whoever has less than the one that has most takes from that one, the oldest first, and whoever has most gets no more, or gives of his own. So
// nobody is crowded out by another, however much that one wants.

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
  private readonly ranks = new Map<number, Set<string>>();
  /** How many the one that has most has. */
  private most = 0;

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
  *keys(): IterableIterator<string> {
    yield* this.kept.keys();
  }
  *[Symbol.iterator](): IterableIterator<[string, V]> {
    for (const [key, { value }] of this.kept) yield [key, value];
  }
  *values(): IterableIterator<V> {
    for (const { value } of this.kept.values()) yield value;
  }

  /** Whether one more of an owner would be kept. */
  admits(owner: string): boolean {
    return this.kept.size < this.limit || this.count(owner) + 1 < this.most;
  }

  /** Who gives one up for one more of an owner: whoever has most, or the owner himself if he would have as many. Undefined: there is room. */
  giver(owner: string): string | undefined {
    if (this.kept.size < this.limit) return undefined;
    return this.count(owner) === 0 || this.count(owner) + 1 < this.most ? this.greediest() : owner;
  }

  /** What an owner has had for longest. */
  oldest(owner: string): string | undefined {
    return this.owned.get(owner)?.keys().next().value;
  }

  /** Keeps one more, which must be admitted and new. What had to go for it, if anything. */
  put(key: string, owner: string, value: V): readonly [key: string, value: V] | undefined {
    return this.add(key, owner, value, this.kept.size < this.limit ? undefined : this.greediest());
  }

  /** Keeps one more, which must be new, whoever has how many: of who has most it is the last that counts. What had to go for it, if anything. */
  push(key: string, owner: string, value: V): readonly [key: string, value: V] | undefined {
    return this.add(key, owner, value, this.giver(owner));
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

  private add(key: string, owner: string, value: V, giver: string | undefined): readonly [key: string, value: V] | undefined {
    let gone: readonly [string, V] | undefined;
    if (giver !== undefined) {
      const oldest = this.oldest(giver)!;
      gone = [oldest, this.kept.get(oldest)!.value];
      this.delete(oldest);
    }
    this.kept.set(key, { owner, value });
    let own = this.owned.get(owner);
    if (own === undefined) this.owned.set(owner, (own = new Set()));
    own.add(key);
    this.rank(owner, own.size - 1, own.size);
    return gone;
  }

  private count(owner: string): number {
    return this.owned.get(owner)?.size ?? 0;
  }
  /** The first of those that have most. */
  private greediest(): string | undefined {
    return this.ranks.get(this.most)?.keys().next().value;
  }

  private rank(owner: string, before: number, now: number): void {
    const left = this.ranks.get(before);
    left?.delete(owner);
    if (left?.size === 0) this.ranks.delete(before);
    if (now > 0) {
      let rank = this.ranks.get(now);
      if (rank === undefined) this.ranks.set(now, (rank = new Set()));
      rank.add(owner);
    }
    // Owners come and go one by one: below a rank that is empty now is the one that left it.
    if (now > this.most || !this.ranks.has(this.most)) this.most = now;
  }
}
