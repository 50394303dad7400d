// The order of things, for every local backend: txns queue in order of arrival, all that wait form a group, the group is
// evaluated against the latest state (each txn sees those before it), goes to disk in one synced write, and only then
// are its revisions readable, watched and answered. One group is in flight at a time.
//
//   txn() -> queue -> heads() -> evaluate -> write() [synced] -> reveal() -> watchers -> promises
//
// A write that fails stops the store for writing: what is on disk is then unknown until it is opened again.

import { StoreError } from "./errors.ts";
import { LIMITS, checkKey } from "./kv.ts";
import type { Compare, KvEntry, KvEvent, KvOp, KvStore, KvWatcher } from "./kv.ts";
import type { RangeOptions, StoreLog, StoreStats, TxnResult, WatchOptions } from "./kv.ts";
import { WatchHub, type HistoryLimits } from "./watch.ts";

/** What a compare and a put need to know of a stored key. */
export interface Head {
  readonly createRevision: number;
  readonly modRevision: number;
}

/** The net effect of a group: each changed key once, undefined = absent. */
export interface Group {
  readonly revision: number;
  readonly writes: ReadonlyMap<string, KvEntry | undefined>;
}

/** A backend: where records are. It is never asked to write while another write is under way. */
export interface Storage {
  /** Of the opened state. */
  readonly revision: number;
  /** The latest written state of these keys, in their order. */
  heads(keys: readonly string[]): Promise<readonly (Head | undefined)[]>;
  /** Durable when resolved, not yet readable. */
  write(group: Group): Promise<void>;
  /** Lets get and range see what was written. */
  reveal(): void;
  get(key: string): Promise<KvEntry | undefined>;
  range(options: RangeOptions): AsyncIterable<KvEntry>;
  close(): Promise<void>;
}

export interface CommitOptions {
  readonly history?: HistoryLimits;
  readonly log?: StoreLog | undefined;
}

interface Waiting {
  readonly compares: readonly Compare[];
  readonly ops: readonly KvOp[];
  readonly bytes: number;
  readonly resolve: (result: TxnResult) => void;
  readonly reject: (error: StoreError) => void;
}

export class CommitStore implements KvStore {
  readonly #storage: Storage;
  readonly #hub: WatchHub;
  readonly #log: StoreLog | undefined;
  #revision: number;
  #queue: Waiting[] = [];
  #loop: Promise<void> | undefined;
  /** Why no more txns are taken. */
  #ended: StoreError | undefined;
  #closing: Promise<void> | undefined;
  #txns = 0;
  #batches = 0;
  #largestGroup = 0;

  constructor(storage: Storage, options: CommitOptions = {}) {
    this.#storage = storage;
    this.#revision = storage.revision;
    this.#hub = new WatchHub(storage.revision, options.history);
    this.#log = options.log;
  }

  get revision(): number {
    return this.#revision;
  }

  async get(key: string): Promise<KvEntry | undefined> {
    this.#checkOpen();
    checkKey(key);
    return this.#storage.get(key);
  }

  async *range(options: RangeOptions): AsyncGenerator<KvEntry, void, undefined> {
    this.#checkOpen();
    for await (const entry of this.#storage.range(options)) {
      yield entry;
      this.#checkOpen();
    }
  }

  // Not an async function: it checks, copies and queues in the caller's turn, so the order of calls is the order.
  txn(compares: readonly Compare[], ops: readonly KvOp[]): Promise<TxnResult> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) throw this.#ended;
      this.#queue.push({ ...admit(compares, ops), resolve, reject });
      this.#loop ??= this.#run();
    });
  }

  watch(
    options: WatchOptions,
    onEvents: (revision: number, events: readonly KvEvent[]) => void,
    onError: (error: StoreError) => void,
  ): KvWatcher {
    this.#checkOpen();
    return this.#hub.watch(options, onEvents, onError);
  }

  stats(): StoreStats {
    return {
      txns: this.#txns,
      batches: this.#batches,
      largestGroup: this.#largestGroup,
      waiting: this.#queue.length,
      watchers: this.#hub.watchers,
      historyRevisions: this.#hub.revisions,
      historyBytes: this.#hub.bytes,
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#ended = new StoreError("CLOSED", "the store is closed");
    await this.#loop;
    this.#hub.close();
    await this.#storage.close();
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new StoreError("CLOSED", "the store is closed");
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // the txns of this turn share the first group
    while (this.#queue.length > 0) {
      const group = this.#take();
      try {
        await this.#commit(group);
      } catch (cause) {
        this.#stop(group, cause);
      }
    }
    this.#loop = undefined;
  }

  #take(): Waiting[] {
    let count = 0;
    let ops = 0;
    let bytes = 0;
    while (count < this.#queue.length) {
      const next = this.#queue[count]!;
      ops += next.compares.length + next.ops.length;
      bytes += next.bytes;
      if (count > 0 && (ops > LIMITS.groupOps || bytes > LIMITS.group)) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    const keys = new Set<string>();
    for (const { compares, ops } of group) {
      for (const compare of compares) keys.add(compare.key);
      for (const op of ops) keys.add("put" in op ? op.put : op.delete);
    }
    const known = [...keys];
    const heads = await this.#storage.heads(known);
    const state = new Map<string, Head | undefined>(known.map((key, i) => [key, heads[i]]));

    const writes = new Map<string, KvEntry | undefined>();
    const changes: KvEvent[][] = [];
    const results = group.map(({ compares, ops }): TxnResult => {
      const revision = this.#revision + changes.length;
      const failed = compares.find((compare) => (state.get(compare.key)?.modRevision ?? 0) !== compare.modRevision);
      if (failed !== undefined) return { ok: false, failed: failed.key, revision };
      const events = apply(ops, revision + 1, state, writes);
      if (events.length === 0) return { ok: true, revision };
      changes.push(events);
      return { ok: true, revision: revision + 1 };
    });

    if (changes.length > 0) {
      const before = this.#revision;
      await this.#storage.write({ revision: before + changes.length, writes });
      this.#batches++;
      this.#storage.reveal();
      this.#revision = before + changes.length;
      for (const [i, events] of changes.entries()) this.#hub.publish(before + 1 + i, events);
    }
    this.#txns += group.length;
    this.#largestGroup = Math.max(this.#largestGroup, group.length);
    for (const [i, waiting] of group.entries()) waiting.resolve(results[i]!);
  }

  #stop(group: readonly Waiting[], cause: unknown): void {
    const error =
      cause instanceof StoreError
        ? cause
        : new StoreError("IO", "a write failed: the store takes no more until it is opened again", {}, cause);
    this.#log?.error({ code: error.code, err: error }, "store stopped");
    this.#ended = error;
    for (const waiting of [...group, ...this.#queue.splice(0)]) waiting.reject(error);
    this.#hub.fail(error);
  }
}

function apply(
  ops: readonly KvOp[],
  revision: number,
  state: Map<string, Head | undefined>,
  writes: Map<string, KvEntry | undefined>,
): KvEvent[] {
  const events: KvEvent[] = [];
  for (const op of ops) {
    if ("put" in op) {
      const key = op.put;
      const createRevision = state.get(key)?.createRevision ?? revision;
      const entry: KvEntry = { key, value: op.value, createRevision, modRevision: revision };
      state.set(key, entry);
      writes.set(key, entry);
      events.push({ key, value: op.value, modRevision: revision });
    } else if (state.get(op.delete) !== undefined) {
      state.set(op.delete, undefined);
      writes.set(op.delete, undefined);
      events.push({ key: op.delete, modRevision: revision });
    }
  }
  return events;
}

function admit(compares: readonly Compare[], ops: readonly KvOp[]): Pick<Waiting, "compares" | "ops" | "bytes"> {
  checkSize("ops", ops.length, LIMITS.txnOps);
  checkSize("compares", compares.length, LIMITS.txnOps);
  let bytes = 0;
  for (const compare of compares) {
    bytes += checkKey(compare.key);
    if (!Number.isSafeInteger(compare.modRevision) || compare.modRevision < 0) {
      throw new TypeError(`not a revision: ${compare.modRevision}`);
    }
  }
  const written = new Set<string>();
  for (const op of ops) {
    const key = "put" in op ? op.put : op.delete;
    if (written.has(key)) throw new TypeError(`written twice in one txn: ${JSON.stringify(key)}`); // etcd refuses it too
    written.add(key);
    bytes += checkKey(key);
    if ("put" in op) {
      checkSize("bytes of value", op.value.length, LIMITS.value, key);
      bytes += op.value.length;
    }
  }
  checkSize("bytes in one txn", bytes, LIMITS.txn);
  // Copies: what the caller does to its buffers and lists later must not reach the disk.
  const own = ops.map((op) => ("put" in op ? { put: op.put, value: Buffer.from(op.value) } : { delete: op.delete }));
  return { compares: compares.map(({ key, modRevision }) => ({ key, modRevision })), ops: own, bytes };
}

function checkSize(what: string, actual: number, limit: number, key?: string): void {
  if (actual <= limit) return;
  const fields = { limit, actual, ...(key === undefined ? {} : { key }) };
  throw new StoreError("TOO_LARGE", `${actual} ${what}, the limit is ${limit}`, fields);
}
