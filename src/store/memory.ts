// The store without a disk, for tests and trials: same order, same refusals, nothing survives close().

import { CommitStore, type CommitOptions, type Storage } from "./commit.ts";
import { compacted } from "./errors.ts";
import { checkOrder, KEEP, Tail, type Conflict, type Generation, type Keep, type LogCommit } from "./log.ts";
import type { KvEntry, KvStore, RangeOptions } from "./kv.ts";
import { MemoryRows } from "./rows.ts";

export const openMemory = (options: CommitOptions = {}): KvStore => new CommitStore(new MemoryStorage(options.keep), options);

/** Less than on a disk. */
const MOST: Keep = { ms: KEEP.ms, bytes: 64 * 1024 * 1024 };

export class MemoryStorage implements Storage {
  generation = 0;
  oldest = 1;
  writtenBytes = 0;
  readonly #rows = new MemoryRows();
  readonly #tail: Tail;
  #log: LogCommit[] = [];
  #appended: readonly LogCommit[] = [];

  constructor(keep: Keep = MOST) {
    this.#tail = new Tail({ ms: keep.ms, bytes: Math.min(keep.bytes, MOST.bytes) });
  }

  get logBytes(): number {
    return this.#tail.bytes;
  }

  heads(keys: readonly string[]): Promise<readonly (KvEntry | undefined)[]> {
    return Promise.resolve(keys.map((key) => this.#rows.get(key)));
  }

  append(after: Generation, commits: readonly LogCommit[]): Promise<Generation | Conflict> {
    if (after !== this.generation) return Promise.resolve({ conflict: this.generation });
    checkOrder(after, commits);
    this.#appended = [...this.#appended, ...commits];
    this.generation = after + commits.length;
    for (const commit of commits) {
      this.#log.push(commit);
      let bytes = 0;
      for (const change of commit.changes) bytes += change.key.length + (change.before?.value.length ?? 0) + (change.after?.length ?? 0);
      this.writtenBytes += bytes;
      this.#tail.add(commit.generation, commit.generation + 1, commit.at, bytes);
    }
    this.#trim();
    return Promise.resolve(this.generation);
  }

  reveal(): void {
    this.#rows.apply(this.#appended);
    this.#appended = [];
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, memory is not
  async *read(from: Generation): AsyncGenerator<LogCommit> {
    if (from < this.oldest) throw compacted(from, this.oldest);
    yield* this.#log.slice(from - this.oldest);
  }

  checkpoint(): Promise<void> {
    this.#trim();
    return Promise.resolve();
  }

  #trim(): void {
    let { oldest } = this;
    for (let part = this.#tail.due(Date.now()); part !== undefined; part = this.#tail.due(Date.now())) {
      oldest = part.next;
      this.#tail.drop();
    }
    this.#log = oldest === this.oldest ? this.#log : this.#log.slice(oldest - this.oldest);
    this.oldest = oldest;
  }

  get(key: string): Promise<KvEntry | undefined> {
    return Promise.resolve(this.#rows.get(key));
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, memory is not
  async *range(options: RangeOptions): AsyncGenerator<KvEntry> {
    yield* this.#rows.list(options);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
