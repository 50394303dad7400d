// The order of things, for every local backend: txns and appends queue in order of arrival, all that wait form a group, the group
// is evaluated against the latest state (each sees those before it), goes to disk as one entry of the log in one synced write, and
// only then are its revisions readable, watched and answered. One group is in flight at a time.
//
//   txn(), append() -> queue -> heads() -> evaluate -> storage.append() [synced] -> reveal() -> watchers -> promises
//
// A write that fails stops the store for writing: what is on disk is then unknown until it is opened again. Where others write to the
// same log, a storage says so (UNAVAILABLE, which ends; a conflict, upon which a group is decided anew) and tells what they wrote.

import { StoreError } from "./errors.ts";
import { LIMITS, checkKey } from "./kv.ts";
import type { AppendResult, Compare, Draft, KvEntry, KvEvent, KvOp, KvStore, KvWatcher, OnEvents } from "./kv.ts";
import type { RangeOptions, StoreLog, StoreStats, TxnResult, WatchOptions } from "./kv.ts";
import { undoOf, type CommitLog, type Keep, type LogChange, type LogCommit, type ReadOptions, type Undone, type Was } from "./log.ts";
import { WatchHub, type HistoryLimits } from "./watch.ts";

/** A backend: a log with the rows beside it. It is never asked to append while another append is under way. */
export interface Storage extends CommitLog {
  /** Of entries that are kept. */
  readonly logBytes: number;
  /** Of entries appended since the start. */
  readonly writtenBytes: number;
  /** The latest written state of these keys, in their order. */
  heads(keys: readonly string[]): Promise<readonly (KvEntry | undefined)[]>;
  /** Lets get and range see what was appended. */
  reveal(): void;
  get(key: string): Promise<KvEntry | undefined>;
  range(options: RangeOptions): AsyncIterable<KvEntry>;
  close(): Promise<void>;
  /** Of a log that others write to: who hears of what they wrote, from now on. */
  onTold?(told: Told): void;
  /** Of a log that others write to: has them wait for the next append, if it can be done. Never fails. */
  goFirst?(): Promise<void>;
  /** Why it cannot be written to at present. */
  readonly trouble?: string | undefined;
}

/** What others wrote, in the order of the log; never between an append and its `reveal`. Rows are as they say when it is called. */
export interface Told {
  /** `doubted`: appended here, and refused as nobody knew whether it would come about. */
  commits(commits: readonly LogCommit[], doubted: boolean): void;
  /** What was between is not known any more: what rows became up to a generation, each with the one that last wrote it. */
  jumped(generation: number, events: readonly KvEvent[]): void;
  /** Nothing more can be told. */
  failed(error: StoreError): void;
}

export interface CommitOptions {
  readonly history?: HistoryLimits;
  /** How much of the log is kept. */
  readonly keep?: Keep | undefined;
  readonly log?: StoreLog | undefined;
  /** A group is on disk: how long that took, in seconds. */
  readonly onSync?: ((seconds: number) => void) | undefined;
}

/** A draft as it was let in. */
interface Own {
  readonly ops: readonly KvOp[];
  readonly note: string;
  readonly at: number | undefined;
}

interface Waiting {
  readonly compares: readonly Compare[];
  /** The revision that must be the newest, if any must. */
  readonly after: number | undefined;
  readonly writer: string;
  readonly drafts: readonly Own[];
  readonly size: number;
  readonly bytes: number;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: StoreError) => void;
}

/** `revisions`: of each draft; of one that changed nothing, that of those before it. */
type Outcome = { readonly revisions: readonly number[] } | { readonly failed: string; readonly revision: number };

const LONGEST_BACK_OFF_MS = 64;

export class CommitStore implements KvStore {
  readonly #storage: Storage;
  readonly #hub: WatchHub;
  readonly #log: StoreLog | undefined;
  readonly #onSync: CommitOptions["onSync"];
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
    this.#revision = storage.generation;
    this.#hub = new WatchHub(storage.generation, options.history);
    this.#log = options.log;
    this.#onSync = options.onSync;
    storage.onTold?.({
      commits: (commits, doubted) => {
        this.#revision = commits.at(-1)!.generation;
        // Who appended it was told that it failed: to him it is like another's.
        for (const commit of commits) this.#hub.publish(commit.generation, eventsOf(commit), doubted ? "" : commit.writer, commit.note);
      },
      jumped: (generation, events) => {
        this.#revision = generation;
        this.#hub.jump(generation, events);
      },
      failed: (error) => this.#stop([], error),
    });
  }

  get trouble(): string | undefined {
    return this.#ended?.message ?? this.#storage.trouble;
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

  get oldest(): number {
    return this.#storage.oldest;
  }

  async *history(from: number, options?: ReadOptions): AsyncGenerator<LogCommit, void, undefined> {
    this.#checkOpen();
    for await (const commit of this.#storage.read(from, options)) {
      if (commit.generation > this.#revision) return;
      yield commit;
      this.#checkOpen();
    }
  }

  async *undo(from: number, to: number): AsyncGenerator<Undone, void, undefined> {
    this.#checkOpen();
    const last = Math.min(to, this.#revision);
    if (from > last) return;
    const storage = this.#storage;
    for await (const part of storage.undo?.(from, last) ?? undoOf(storage.read(from, { undo: true }), last)) {
      yield part;
      this.#checkOpen();
    }
  }

  async checkpoint(): Promise<void> {
    this.#checkOpen();
    await this.#storage.checkpoint();
  }

  // Not async functions: they check, copy and queue in the caller's turn, so the order of calls is the order.
  txn(compares: readonly Compare[], ops: readonly KvOp[]): Promise<TxnResult> {
    return this.#queued(compares, undefined, "", () => [{ ops: ownOf(ops) }], (outcome) =>
      "failed" in outcome ? { ok: false, ...outcome } : { ok: true, revision: outcome.revisions[0]! });
  }

  async goFirst(): Promise<void> {
    await this.#storage.goFirst?.();
  }

  append(after: number, drafts: readonly Draft[], writer = ""): Promise<AppendResult> {
    return this.#queued([], after, writer, () => drafts, (outcome) => ("failed" in outcome ? { ok: false, revision: outcome.revision } : { ok: true, revisions: outcome.revisions }));
  }

  #queued<T>(compares: readonly Compare[], after: number | undefined, writer: string, drafts: () => readonly Draft[], answer: (outcome: Outcome) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) throw this.#ended;
      this.#queue.push({ ...admit(compares, drafts()), after, writer, resolve: (outcome) => resolve(answer(outcome)), reject });
      this.#loop ??= this.#run();
    });
  }

  watch(options: WatchOptions, onEvents: OnEvents, onError: (error: StoreError) => void): KvWatcher {
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
      logBytes: this.#storage.logBytes,
      writtenBytes: this.#storage.writtenBytes,
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
        for (let lost = 0; !(await this.#commit(group)); lost++) await this.#backOff(lost);
      } catch (cause) {
        if (cause instanceof StoreError && cause.code === "TOO_LARGE") for (const waiting of group) waiting.reject(cause);
        // Those that wait would wait as long again.
        else if (cause instanceof StoreError && cause.code === "UNAVAILABLE") for (const waiting of [...group, ...this.#queue.splice(0)]) waiting.reject(cause);
        else this.#stop(group, cause);
      }
    }
    this.#loop = undefined;
  }

  /** Others came first, so often one after the other: a while of chance, so that each has its turn. */
  async #backOff(lost: number): Promise<void> {
    if (lost > 0) await new Promise((done) => setTimeout(done, Math.random() * Math.min(2 ** lost, LONGEST_BACK_OFF_MS)));
  }

  #take(): Waiting[] {
    let count = 0;
    let ops = 0;
    let bytes = 0;
    while (count < this.#queue.length) {
      const next = this.#queue[count]!;
      ops += next.size;
      bytes += next.bytes;
      if (count > 0 && (ops > LIMITS.groupOps || bytes > LIMITS.group)) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  /** False: somebody else's commits came first, and are here now. */
  async #commit(group: readonly Waiting[]): Promise<boolean> {
    const before = this.#revision;
    const keys = new Set<string>();
    for (const { compares, drafts } of group) {
      for (const compare of compares) keys.add(compare.key);
      for (const { ops } of drafts) {
        for (const op of ops) {
          if (!("put" in op)) keys.add(op.delete);
          else if (op.fresh !== true) keys.add(op.put);
        }
      }
    }
    const known = [...keys];
    const heads = await this.#storage.heads(known);
    const state = new Map<string, KvEntry | undefined>();
    for (let i = 0; i < known.length; i++) state.set(known[i]!, heads[i]);

    if (before !== this.#revision) return false;

    const commits: LogCommit[] = [];
    const outcomes = group.map(({ compares, after, writer, drafts }): Outcome => {
      const revision = before + commits.length;
      if (after !== undefined && after !== revision) return { failed: "", revision };
      const failed = compares.find((compare) => (state.get(compare.key)?.modRevision ?? 0) !== compare.modRevision);
      if (failed !== undefined) return { failed: failed.key, revision };
      const revisions = drafts.map(({ ops, note, at = Date.now() }) => {
        const generation = before + commits.length + 1;
        const changes = apply(ops, generation, state);
        if (changes.length > 0) commits.push({ generation, at, writer, note, changes });
        return before + commits.length;
      });
      return { revisions };
    });

    if (commits.length > 0) {
      const began = performance.now();
      const answer = await this.#storage.append(before, commits);
      this.#onSync?.((performance.now() - began) / 1000);
      if (typeof answer !== "number") {
        if (this.#storage.onTold === undefined) throw new Error(`generation ${answer.conflict} is in a store that only this process writes to`);
        return false;
      }
      this.#batches++;
      this.#storage.reveal();
      this.#revision = answer;
      for (const commit of commits) this.#hub.publish(commit.generation, eventsOf(commit), commit.writer, commit.note);
    }
    this.#txns += group.length;
    this.#largestGroup = Math.max(this.#largestGroup, group.length);
    for (const [i, waiting] of group.entries()) waiting.resolve(outcomes[i]!);
    return true;
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

function apply(ops: readonly KvOp[], revision: number, state: Map<string, KvEntry | undefined>): LogChange[] {
  const changes: LogChange[] = [];
  for (const op of ops) {
    const key = "put" in op ? op.put : op.delete;
    const head = state.get(key);
    const before: Was | undefined = head === undefined ? undefined : { value: head.value, createRevision: head.createRevision, modRevision: head.modRevision };
    if ("put" in op) {
      state.set(key, { key, value: op.value, createRevision: before?.createRevision ?? revision, modRevision: revision });
      changes.push({ key, before, after: op.value });
    } else if (before !== undefined) {
      state.set(key, undefined);
      changes.push({ key, before });
    }
  }
  return changes;
}

const eventsOf = ({ generation, changes }: Pick<LogCommit, "generation" | "changes">): KvEvent[] =>
  changes.map(({ key, after }) => (after === undefined ? { key, modRevision: generation } : { key, value: after, modRevision: generation }));

/** Copies: what the caller does to its buffers and lists later must not reach the disk. */
const ownOf = (ops: readonly KvOp[]): KvOp[] => ops.map((op) => ("put" in op ? { put: op.put, value: Buffer.from(op.value) } : { delete: op.delete }));

function admit(compares: readonly Compare[], drafts: readonly Draft[]): Pick<Waiting, "compares" | "drafts" | "size" | "bytes"> {
  checkSize("compares", compares.length, LIMITS.txnOps);
  let size = compares.length;
  let bytes = 0;
  for (const compare of compares) {
    bytes += checkKey(compare.key);
    if (!Number.isSafeInteger(compare.modRevision) || compare.modRevision < 0) {
      throw new TypeError(`not a revision: ${compare.modRevision}`);
    }
  }
  const own = drafts.map(({ ops, note = "", at }): Own => {
    checkSize("ops", ops.length, LIMITS.txnOps);
    checkSize("bytes of note", note.length, LIMITS.note);
    size += ops.length;
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
    return { ops, note, at };
  });
  return { compares: compares.map(({ key, modRevision }) => ({ key, modRevision })), drafts: own, size, bytes };
}

function checkSize(what: string, actual: number, limit: number, key?: string): void {
  if (actual <= limit) return;
  const fields = { limit, actual, ...(key === undefined ? {} : { key }) };
  throw new StoreError("TOO_LARGE", `${actual} ${what}, the limit is ${limit}`, fields);
}
