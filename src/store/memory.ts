// The store without a disk, for tests and trials: same order, same refusals, nothing survives close().

import { CommitStore, type CommitOptions, type Group, type Head, type Storage } from "./commit.ts";
import { compareKeys, type KvEntry, type KvStore, type RangeOptions } from "./kv.ts";

export const openMemory = (options: CommitOptions = {}): KvStore => new CommitStore(new MemoryStorage(), options);

export class MemoryStorage implements Storage {
  readonly revision = 0;
  readonly #entries = new Map<string, KvEntry>();
  /** Ordered by UTF-8 bytes. */
  readonly #keys: string[] = [];
  #written: Group["writes"] = new Map();

  heads(keys: readonly string[]): Promise<readonly (Head | undefined)[]> {
    return Promise.resolve(keys.map((key) => this.#entries.get(key)));
  }

  write(group: Group): Promise<void> {
    this.#written = group.writes;
    return Promise.resolve();
  }

  reveal(): void {
    for (const [key, entry] of this.#written) {
      const known = this.#entries.has(key);
      if (entry !== undefined) {
        if (!known) this.#keys.splice(this.#position(key), 0, key);
        this.#entries.set(key, entry);
      } else if (known) {
        this.#keys.splice(this.#position(key), 1);
        this.#entries.delete(key);
      }
    }
    this.#written = new Map();
  }

  get(key: string): Promise<KvEntry | undefined> {
    return Promise.resolve(this.#entries.get(key));
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, memory is not
  async *range({ start, end, limit = Infinity, reverse = false }: RangeOptions): AsyncGenerator<KvEntry> {
    const keys = this.#keys.slice(this.#position(start), end === "" ? undefined : this.#position(end));
    if (reverse) keys.reverse();
    if (keys.length > limit) keys.length = limit;
    const entries = keys.map((key) => this.#entries.get(key)!); // all now: one state throughout
    yield* entries;
  }

  close(): Promise<void> {
    return Promise.resolve();
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
