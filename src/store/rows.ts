// Rows in memory, in the order of their keys' bytes: what backends keep that have no disk for them.
import { compareKeys, type KvEntry, type RangeOptions } from "./kv.ts";
import type { LogCommit } from "./log.ts";

export class MemoryRows {
  readonly #entries = new Map<string, KvEntry>();
  /** Ordered by UTF-8 bytes. */
  readonly #keys: string[] = [];
  /** Of keys and values. */
  bytes = 0;

  get size(): number {
    return this.#keys.length;
  }

  get(key: string): KvEntry | undefined {
    return this.#entries.get(key);
  }

  apply(commits: readonly LogCommit[]): void {
    for (const { generation, changes } of commits) {
      for (const { key, after } of changes) {
        const known = this.#entries.get(key);
        if (known !== undefined) this.bytes -= key.length + known.value.length;
        if (after !== undefined) {
          if (known === undefined) this.#keys.splice(this.#position(key), 0, key);
          this.#entries.set(key, { key, value: after, createRevision: known?.createRevision ?? generation, modRevision: generation });
          this.bytes += key.length + after.length;
        } else if (known !== undefined) {
          this.#keys.splice(this.#position(key), 1);
          this.#entries.delete(key);
        }
      }
    }
  }

  /** One more, whose key comes after all that are there. */
  load(entry: KvEntry): void {
    this.#keys.push(entry.key);
    this.#entries.set(entry.key, entry);
    this.bytes += entry.key.length + entry.value.length;
  }

  /** Those that are there now: one state, whatever is applied meanwhile. */
  list({ start, end, limit = Infinity, reverse = false }: RangeOptions): KvEntry[] {
    const keys = this.#keys.slice(this.#position(start), end === "" ? undefined : this.#position(end));
    if (reverse) keys.reverse();
    if (keys.length > limit) keys.length = limit;
    return keys.map((key) => this.#entries.get(key)!);
  }

  /** Where the key is, or would be. */
  #position(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.#keys[middle]!, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
