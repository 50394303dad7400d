// The model: every stored row in memory, changed by transactions that are durable before anyone hears of them.
//
// A transaction is a synchronous function over the newest state. Its rows go to a staged layer; all that were staged while
// the last write was under way go to the store as one group: one atomic, synced append that also demands that nobody else
// committed since. So transactions are serialised across controllers without locks; if another one came first, the group is
// run again on the newer state. Only after the write are rows visible in `view`, are callers told, and does the compiler hear
// of it. Each transaction of a group is a commit of its own: its revision in the store is its generation.
//
// Over 400 lines: one queue from call to commit, whose steps share what is staged, in flight and waiting.
import type { AnyTable, ReadView, Row, Tx } from "#app";
import type { SettingsBook } from "../app/settings.ts";
import { machineClock, type Cancel, type Clock } from "../lib/clock.ts";
import { machineRandom, type Random } from "../lib/random.ts";
import { StoreError } from "../store/errors.ts";
import type { AppendResult, Draft, KvEvent, KvStore } from "../store/kv.ts";
import { Contention } from "./contention.ts";
import { TooBusy, TransactionTooLarge } from "./refusals.ts";
import { Layer } from "./rows.ts";
import { Snapshots, type Snapshot } from "./past/snapshot.ts";
import { allocationTable, ROWS, Transaction, unlisted, type Touched, type TxSource } from "./transaction.ts";

export { TooBusy, TransactionTooLarge } from "./refusals.ts";
export type { TxSource } from "./transaction.ts";

/** Who asked for a change: kept with every row it wrote. */
export interface Cause {
  readonly requestId: string;
  /** "POST /v2.0/ports", or what the controller itself did: "interface plugged on hv1". */
  readonly call: string;
  readonly user?: string;
  readonly project?: string;
  /** The controller itself writes what it found: a row that was there keeps the cause that it has. */
  readonly own?: true;
}

export interface Change {
  readonly table: AnyTable;
  readonly id: string;
  readonly before: Row | undefined;
  readonly after: Row | undefined;
}

export interface Commit {
  readonly generation: number;
  readonly changes: readonly Change[];
  /** undefined: whoever wrote it did not say. */
  readonly cause?: Cause;
  /** Another process wrote it. */
  readonly foreign?: true;
}

export interface LastChange {
  readonly cause: Cause;
  readonly generation: number;
}

/** Where transactions have their time and their UUIDs from; default: the machine. */
export interface Source {
  readonly clock: Clock;
  readonly random: Random;
}

interface Pending {
  readonly cause: Cause;
  readonly fn: (tx: Tx) => unknown;
  /** Bytes that it holds while it waits; 0: its caller has so few that they need no limit. */
  readonly weight: number;
  /** Nothing may be under way while it runs: it sees what is committed, and shares its group with nobody. */
  readonly alone: boolean;
  result: unknown;
  touched: Touched;
  /** The same with what became of them, when it has run. */
  written: readonly Written[];
  /** What it threw on rows that are not committed yet: it is refused when they are, and runs again when they will not be. */
  refusal: { readonly error: unknown } | undefined;
  readonly resolve: (value: { result: unknown; generation: number }) => void;
  readonly reject: (error: unknown) => void;
}

interface Group {
  /** By the monotonic clock: when it was begun to decide on it, if nothing was under way then. */
  readonly began: number | undefined;
  layer: Layer;
  readonly pending: Pending[];
  rows: number;
}

/** A row that a transaction writes, or takes away (`after` undefined). */
interface Written {
  readonly key: string;
  readonly table: AnyTable;
  readonly id: string;
  readonly after: Row | undefined;
  /** It was not there before: all stored rows of a listed table are here, so the store need not look. */
  readonly fresh: boolean;
  /** The change whose cause it keeps, where the controller itself writes a row that somebody else made. */
  kept: LastChange | undefined;
}

/** What may wait for its write, of transactions whose callers say what they weigh. */
export interface WaitingLimits {
  readonly transactions: number;
  readonly bytes: number;
}
const WAITING: WaitingLimits = { transactions: 10_000, bytes: 64 * 1024 * 1024 };
/** What a transaction takes in memory beside what its caller says. */
const PENDING_BYTES = 512;

/** Transactions in one group at most; a longer queue waits for the next write. */
const GROUP_LIMIT = 512;
/** Rows in one group, and so in one transaction, at most: a store write has its limit (10,000 operations). */
const ROW_LIMIT = 9_900;

/** Until what could not be written is tried again. */
const POSTPONED_MS = 200;

/** Rows that are gone whose end is known: two of the largest transactions. */
const REMOVALS = 20_000;

/** What a model is opened with; the machine's own clock and randomness by default. */
export interface ModelOptions extends Partial<Source> {
  readonly limits?: WaitingLimits;
  /** Of the apps, for every view; default: what counts where nothing is given. */
  readonly settings?: SettingsBook;
}

export class Model {
  private readonly base = new Layer(undefined, unlisted);
  private readonly snapshots = new Snapshots(this.base);
  private readonly tables = new Map<string, AnyTable>();
  private readonly store: KvStore;
  private readonly source: Source;
  /** Whose commits are this model's own. */
  private readonly writer: string;
  /** table -> row -> who changed it last. Rows of one transaction share the object: there are as many entries as rows. */
  private readonly last = new Map<string, Map<string, LastChange>>();
  /** `table/row` -> what took it away, the newest so many. */
  private readonly removals = new Map<string, LastChange>();
  /** While the store is read: request -> the one object for its rows. */
  private interned: Map<string, LastChange> | undefined = new Map();
  private readonly listeners = new Set<(commit: Commit) => void>();
  private readonly waiting: Pending[] = [];
  private readonly limits: WaitingLimits;
  private readonly contention: Contention;
  private holding: Cancel | undefined;
  /** What waits goes on in a moment. */
  private refilling = false;
  /** Of those that wait: how many have a weight, and what all weigh. */
  private weighed = 0;
  private weight = 0;
  private inflight: Group | undefined;
  private staged: Group | undefined;
  /** The next so many transactions are written one by one: among them is what the store refused as a group. */
  private oneByOne = 0;
  private failure: Error | undefined;
  private committed = 0;
  private stopWatch: (() => void) | undefined;
  private closing = false;

  private constructor(store: KvStore, tables: readonly AnyTable[], { clock = machineClock, random = machineRandom, limits = WAITING, settings }: ModelOptions) {
    this.base.book = settings;
    this.store = store;
    this.limits = limits;
    this.source = { clock, random };
    this.contention = new Contention(clock);
    this.writer = random.uuid();
    for (const table of [allocationTable, ...tables]) {
      if (table.derived) continue;
      if (this.tables.has(table.name)) throw new Error(`two apps declare a table named ${table.name}`);
      this.tables.set(table.name, table);
      this.base.table(table);
    }
  }

  /** Reads all rows. @throws StoreError, or Error naming the key of a record that is no row. */
  static async open(store: KvStore, tables: readonly AnyTable[], options: ModelOptions = {}): Promise<Model> {
    const model = new Model(store, tables, options);
    const from = store.revision;
    for await (const entry of store.range({ start: ROWS, end: "t0" })) model.loadRecord(entry.key, entry.value, entry.modRevision);
    model.interned = undefined;
    model.committed = from;
    const watcher = store.watch(
      { prefix: "", fromRevision: from + 1 },
      (revision, events, writer, note) => {
        if (writer !== model.writer) model.foreign(revision, events, writer, note);
      },
      (error) => model.fail(error),
    );
    model.stopWatch = () => watcher.close();
    return model;
  }

  /** Committed rows of stored tables; the compiler's view has the derived ones as well. */
  get view(): ReadView {
    return this.base;
  }

  /** Committed rows as they are now, also while others are committed, up to `maxRows` changed ones. To be closed. */
  snapshot(maxRows?: number): Snapshot {
    return this.snapshots.take(maxRows);
  }

  /** Last committed store revision. */
  get generation(): number {
    return this.committed;
  }

  /** Writes that came second, after another controller's, and were decided anew. */
  get lostRaces(): number {
    return this.contention.races;
  }

  /** Why the store cannot be written any more, if so. */
  get storeFailure(): Error | undefined {
    return this.failure;
  }

  /** The rows themselves, for the compiler. */
  get layer(): Layer {
    return this.base;
  }

  lastChange(table: string, id: string): LastChange | undefined {
    return this.last.get(table)?.get(id);
  }

  /** What took away a row that is not there any more, if it was among the last 20,000 that went while this process ran. */
  removal(table: string, id: string): LastChange | undefined {
    return this.removals.get(`${table}/${id}`);
  }

  /** Called for every commit, in order, after it is durable and visible. */
  onCommit(listener: (commit: Commit) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Runs `fn` on the newest state and commits what it wrote, again where another controller wrote first. Resolves when the write is on disk;
   * rejects with what `fn` threw (nothing is written then) once what it saw is on disk, or with the store's error. A transaction that wrote nothing resolves at once after
   * those before it.
   *
   * `bytes`: what `fn` holds, said by callers that come in any number (requests). They are refused with TooBusy, before `fn` runs,
   * when too much waits; those that do not say it bound themselves (one transaction a host at a time).
   *
   * `alone`: it runs when nothing else is under way, so that what it sees is what is committed; others wait for the one write.
   */
  transact<T>(cause: Cause, fn: (tx: Tx) => T, bytes?: number, alone = false): Promise<{ result: T; generation: number }> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) {
        reject(this.failure);
        return;
      }
      const weight = bytes === undefined ? 0 : PENDING_BYTES + bytes;
      // What a transaction brings about in its own turn waits for its end: it sees rows that may yet be refused.
      const waits = this.running || this.waiting.length > 0 || this.stagedIsFull || (alone && !this.idle) || this.held;
      if (waits && weight > 0) {
        const { transactions, bytes: most } = this.limits;
        // One alone may weigh more than all may: it waits for a turn like others.
        if (this.weighed >= transactions || (this.weighed > 0 && this.weight + weight > most)) {
          reject(new TooBusy(`${this.weighed} transactions of ${this.weight} bytes`));
          return;
        }
      }
      const pending: Pending = { cause, fn, weight, alone, result: undefined, touched: new Map(), written: [], refusal: undefined, resolve: resolve as Pending["resolve"], reject };
      if (waits) {
        this.waiting.push(pending);
        this.weigh(pending, 1);
        if (this.idle) this.hold();
      } else this.stage(pending);
    });
  }

  /**
   * Runs `fn` on what is committed as `transact` would, with this time and chance, and writes nothing. `changes`: what it would have written; `view`: what
   * is committed with these, for as long as nothing else is. `rows`: a copy to run on instead. @throws what `fn` throws; TransactionTooLarge
   */
  rehearse<T>(fn: (tx: Tx) => T, source: TxSource, rows = this.base): { readonly result: T; readonly changes: readonly Change[]; readonly view: ReadView } {
    const layer = new Layer(rows);
    const touched: Touched = new Map();
    const result = fn(new Transaction(layer, { touched }, this.tables, source));
    if (touched.size > ROW_LIMIT) throw new TransactionTooLarge(`${touched.size} rows; at most ${ROW_LIMIT} are possible`);
    const changes: Change[] = [];
    for (const { table, id } of touched.values()) {
      const [before, after] = [rows.row(table, id), layer.row(table, id)];
      if (before !== undefined || after !== undefined) changes.push({ table, id, before, after });
    }
    return { result, changes, view: layer };
  }

  /** Puts rows in the place of those that are committed, for somebody who puts them back before anybody else's turn. */
  place(changes: readonly Change[], as: "after" | "before"): void {
    for (const { table, id, [as]: row } of changes) {
      // A row that goes and comes stands elsewhere afterwards: who reads through all of them must not miss it.
      this.snapshots.changing(table, id, this.base.row(table, id));
      if (row === undefined) this.base.remove(table, id);
      else this.base.put(table, row);
    }
  }

  async close(): Promise<void> {
    this.closing = true;
    if (this.holding !== undefined) {
      // Nobody is waited for any more.
      this.holding();
      this.holding = undefined;
      this.refill();
    }
    while (this.inflight !== undefined || this.staged !== undefined || this.waiting.length > 0) await new Promise((done) => setImmediate(done));
    this.stopWatch?.();
    await this.store.close();
  }

  /** A transaction runs, in this turn. */
  private running = false;

  private weigh(pending: Pending, sign: 1 | -1): void {
    if (pending.weight === 0) return;
    this.weighed += sign;
    this.weight += sign * pending.weight;
  }

  /** Back to the head of the queue: what is there was let in once, and has no limit again. */
  private putBack(pending: readonly Pending[]): void {
    for (let i = pending.length - 1; i >= 0; i--) {
      this.waiting.unshift(pending[i]!);
      this.weigh(pending[i]!, 1);
    }
  }

  private get idle(): boolean {
    return this.inflight === undefined && this.staged === undefined;
  }

  private get stagedIsFull(): boolean {
    return this.staged?.pending[0]?.alone === true || (this.staged?.pending.length ?? 0) >= (this.oneByOne > 0 ? 1 : this.contention.most(GROUP_LIMIT));
  }

  private stage(pending: Pending): void {
    const group = (this.staged ??= { began: this.idle ? this.source.clock.monotonic() : undefined, layer: new Layer(this.inflight?.layer ?? this.base), pending: [], rows: 0 });
    const outcome = this.run(pending, group);
    if (outcome === "full") this.putBack([pending]);
    else if (outcome === "staged") group.pending.push(pending);
    // Calls made in the same turn share the write; so do those that come while one is under way.
    if (this.inflight === undefined) queueMicrotask(() => this.flush());
  }

  /** Runs one transaction into a group. "full": it has to wait for the next one. */
  private run(pending: Pending, group: Group): "staged" | "refused" | "full" {
    const layer = new Layer(group.layer);
    pending.touched = new Map();
    pending.written = [];
    pending.refusal = undefined;
    this.running = true;
    try {
      pending.result = pending.fn(new Transaction(layer, pending, this.tables, this.source));
      if (pending.touched.size > ROW_LIMIT) throw new TransactionTooLarge(`${pending.touched.size} rows; at most ${ROW_LIMIT} are possible`);
      // Deleting what is not there is no change: a commit of nothing would have no place in the order, and nothing would conflict with it.
      const written: Written[] = [];
      for (const [key, { table, id }] of pending.touched) {
        const after = layer.row(table, id);
        const fresh = after !== undefined && !layer.replaces(table, id);
        if (after !== undefined || group.layer.row(table, id) !== undefined) written.push({ key, table, id, after, fresh, kept: undefined });
      }
      pending.written = written;
    } catch (error) {
      if (this.inflight === undefined && group.rows === 0) {
        pending.reject(error);
        return "refused";
      }
      pending.refusal = { error };
      return "staged";
    } finally {
      this.running = false;
    }
    if (group.rows > 0 && group.rows + pending.touched.size > ROW_LIMIT) return "full";
    group.rows += pending.touched.size;
    // The first transaction's layer becomes the group's: nothing is indexed a second time, and most groups have but one.
    if (group.layer.empty) {
      layer.parent = group.layer.parent;
      group.layer = layer;
    } else layer.mergeDown();
    return "staged";
  }

  private flush(): void {
    if (this.inflight !== undefined) return;
    if (this.staged === undefined) {
      this.refill(); // one that runs alone may
      return;
    }
    const group = this.staged;
    this.staged = undefined;
    if (this.held) {
      // Others have come meanwhile: whatever is decided now would be decided again after them.
      this.putBack(group.pending);
      this.hold();
      return;
    }
    const writes = group.pending.some((p) => p.written.length > 0);
    if (this.oneByOne > 0) this.oneByOne--;
    if (!writes) {
      for (const p of group.pending) answer(p, this.committed);
      this.refill();
      return;
    }
    this.inflight = group;
    this.refill();
    this.write(group).catch((error: unknown) => this.fail(error instanceof Error ? error : new Error(String(error))));
  }

  /** It is others' turn: what is asked for now is decided when they have written. */
  private get held(): boolean {
    if (this.closing) return false;
    return this.inflight === undefined ? this.contention.hold > 0 : this.contention.isShared();
  }

  /** What waits goes on when it is this one's turn, should nobody be heard of before. */
  private hold(): void {
    if (this.waiting.length === 0) return;
    this.holding ??= this.source.clock.setTimeout(() => {
      this.holding = undefined;
      this.refill();
    }, this.contention.hold);
  }

  /** Stages what waits, as far as the next group goes. */
  private refill(): void {
    if (this.held) {
      if (this.inflight === undefined) this.hold();
      return;
    }
    for (let before = -1; this.waiting.length > 0 && this.waiting.length !== before && !this.stagedIsFull && (this.idle || !this.waiting[0]!.alone); ) {
      before = this.waiting.length;
      const pending = this.waiting.shift()!;
      this.weigh(pending, -1);
      this.stage(pending);
    }
  }

  private draft({ cause, written }: Pending): Draft {
    const note = JSON.stringify(cause);
    const ops = written.map(({ key, after, fresh, kept }) => {
      if (after === undefined) return { delete: key };
      const why = kept === undefined ? `"cause":${note}` : `"cause":${JSON.stringify(kept.cause)},"since":${kept.generation}`;
      return { put: key, value: Buffer.from(`{"row":${JSON.stringify(after)},${why}}`), fresh };
    });
    return { ops, note, at: this.source.clock.now() };
  }

  /** Rows keep the call that made them as their cause when the controller itself changes them. */
  private keepCauses(writers: readonly Pending[]): void {
    const last = new Map<string, LastChange | undefined>();
    for (const [i, { cause, written }] of writers.entries()) {
      const mark: LastChange = { cause, generation: this.committed + 1 + i };
      for (const row of written) {
        if (cause.own === true && row.after !== undefined) {
          const before = last.has(row.key) ? last.get(row.key) : this.lastChange(row.table.name, row.id);
          row.kept = before?.cause.own === true ? undefined : before;
        }
        last.set(row.key, row.after === undefined ? undefined : (row.kept ?? mark));
      }
    }
  }

  private async write(group: Group): Promise<void> {
    const writers = group.pending.filter((p) => p.written.length > 0);
    this.keepCauses(writers);
    let written: AppendResult;
    const { began = this.source.clock.monotonic() } = group;
    try {
      written = await this.store.append(this.committed, writers.map((p) => this.draft(p)), this.writer);
    } catch (error) {
      if (error instanceof StoreError && error.code === "UNAVAILABLE") this.postpone(group, error);
      else if (isUnwritable(error)) this.refuse(group, error);
      else throw error;
      return;
    }
    if (!written.ok) {
      this.contention.lost();
      this.rerun(group);
      return;
    }
    this.contention.won(this.source.clock.monotonic() - began);
    const before = this.committed;
    const commits = this.commitsOf(writers, written.revisions);
    group.layer.mergeDown();
    if (this.staged !== undefined) this.staged.layer.parent = this.base;
    this.inflight = undefined;
    this.committed = written.revisions.at(-1)!;
    for (const commit of commits) this.tell(commit);
    let generation = before;
    let next = 0;
    for (const p of group.pending) {
      if (p === writers[next]) generation = written.revisions[next++]!;
      answer(p, generation);
    }
    this.flush();
  }

  /** What each transaction changed, in their order; rows are still as they were. */
  private commitsOf(writers: readonly Pending[], revisions: readonly number[]): Commit[] {
    const now = new Map<string, Row | undefined>();
    const commits: Commit[] = [];
    for (const [i, { cause, written }] of writers.entries()) {
      const generation = revisions[i]!;
      const mark: LastChange = { cause, generation };
      const changes: Change[] = [];
      for (const { key, table, id, after, kept } of written) {
        const before = now.has(key) ? now.get(key) : this.base.row(table, id);
        if (!now.has(key)) this.snapshots.changing(table, id, before);
        now.set(key, after);
        changes.push({ table, id, before, after });
        if (after === undefined) {
          this.last.get(table.name)?.delete(id);
          this.removed(`${table.name}/${id}`, mark);
        } else if (kept === undefined) this.note(table.name, id, mark);
      }
      commits.push({ generation, changes, cause });
    }
    return commits;
  }

  private removed(key: string, mark: LastChange): void {
    const { removals } = this;
    removals.delete(key);
    removals.set(key, mark);
    if (removals.size > REMOVALS) removals.delete(removals.keys().next().value!);
  }

  /** The store will not take what a group wrote: refuses it if it is one transaction, else finds out which one it is. */
  private refuse(group: Group, error: unknown): void {
    if (group.pending.length > 1) this.oneByOne = group.pending.length;
    else {
      const culprit = group.pending.shift();
      culprit?.reject(error instanceof StoreError ? new TransactionTooLarge(`too much: ${error.message}`, error) : error);
    }
    this.rerun(group);
  }

  /** Nothing can be written at present. Callers are told so; what the controller itself found out is written when it can be, on what the rows are then. */
  private postpone(group: Group, error: StoreError): void {
    const all = [...group.pending, ...(this.staged?.pending ?? []), ...this.waiting.splice(0)];
    this.inflight = undefined;
    this.staged = undefined;
    this.weighed = 0;
    this.weight = 0;
    // What was not sent is not in doubt.
    const unsent = new StoreError("UNAVAILABLE", error.message, {}, error);
    for (const pending of all) {
      if (pending.weight > 0 || this.closing) pending.reject(group.pending.includes(pending) ? error : unsent);
      else this.waiting.push(pending);
    }
    this.source.clock.setTimeout(() => {
      if (this.inflight === undefined) this.refill();
    }, POSTPONED_MS);
  }

  /** Another controller committed first: its rows have come or will come by the watch; run everything again on them. */
  private rerun(group: Group): void {
    this.putBack([...group.pending, ...(this.staged?.pending ?? [])]);
    this.inflight = undefined;
    this.staged = undefined;
    if (this.contention.presses && !this.closing) {
      void this.store.goFirst().then(() => {
        this.contention.press();
        this.refillSoon();
      });
    } else this.refillSoon();
  }

  /** When all that has just been told of is here. */
  private refillSoon(): void {
    if (this.refilling) return;
    this.refilling = true;
    setImmediate(() => {
      this.refilling = false;
      this.holding?.();
      this.holding = undefined;
      if (this.inflight === undefined) this.refill();
    });
  }

  /** Revisions of other writers, from the watch. Own ones were applied by write(). */
  private foreign(revision: number, events: readonly KvEvent[], writer: string, note: string): void {
    const changes: Change[] = [];
    const cause = note === "" ? undefined : (JSON.parse(note) as Cause);
    const removal: LastChange | undefined = cause && { cause, generation: revision };
    this.interned = new Map();
    for (const event of events) {
      if (!event.key.startsWith(ROWS)) continue;
      const { table, id } = this.parseKey(event.key);
      if (table === undefined) continue;
      const before = this.base.row(table, id);
      this.snapshots.changing(table, id, before);
      if (event.value === undefined) {
        this.base.remove(table, id);
        this.last.get(table.name)?.delete(id);
        if (removal !== undefined) this.removed(`${table.name}/${id}`, removal);
      } else this.loadRecord(event.key, event.value, event.modRevision);
      changes.push({ table, id, before, after: this.base.row(table, id) });
    }
    this.interned = undefined;
    this.committed = revision;
    this.contention.heard(writer);
    // What is staged ran on rows that are no longer the newest, and its append would not tell: it comes after this one by now.
    if (this.inflight === undefined && this.staged !== undefined) {
      this.putBack(this.staged.pending);
      this.staged = undefined;
    }
    // When those who listen know it, whom who decides may ask, and with it the other commits of one append; but before it is compiled.
    if (this.inflight === undefined && this.waiting.length > 0) this.refillSoon();
    this.tell({ generation: revision, changes, foreign: true, ...(cause !== undefined && { cause }) });
  }

  /** A listener that throws is a bug of its owner: loud (uncaught), and the commit goes on. */
  private tell(commit: Commit): void {
    for (const listener of this.listeners) {
      try {
        listener(commit);
      } catch (bug) {
        queueMicrotask(() => {
          throw bug;
        });
      }
    }
  }

  private note(table: string, id: string, mark: LastChange): void {
    let rows = this.last.get(table);
    if (rows === undefined) this.last.set(table, (rows = new Map<string, LastChange>()));
    rows.set(id, mark);
  }

  private parseKey(key: string): { table: AnyTable | undefined; id: string } {
    const slash = key.indexOf("/", ROWS.length);
    return { table: this.tables.get(key.slice(ROWS.length, slash)), id: key.slice(slash + 1) };
  }

  private loadRecord(key: string, value: Buffer, revision: number): void {
    const { table } = this.parseKey(key);
    if (table === undefined) return; // rows of an app that is not installed now stay in the store untouched
    let record: { row: Row; cause?: Cause; since?: number };
    try {
      record = JSON.parse(value.toString()) as typeof record;
    } catch (cause) {
      throw new Error(`the store's record ${key} is not JSON`, { cause });
    }
    this.base.put(table, record.row);
    if (record.cause === undefined) {
      this.last.get(table.name)?.delete(record.row.id);
      return;
    }
    const generation = record.since ?? revision;
    const request = `${generation} ${record.cause.requestId}`;
    let mark = this.interned?.get(request);
    if (mark === undefined) {
      mark = { cause: record.cause, generation };
      this.interned?.set(request, mark);
    }
    this.note(table.name, record.row.id, mark);
  }

  private fail(error: Error): void {
    this.failure ??= error;
    const all = [...(this.inflight?.pending ?? []), ...(this.staged?.pending ?? []), ...this.waiting];
    this.inflight = undefined;
    this.staged = undefined;
    this.waiting.length = 0;
    this.weighed = 0;
    this.weight = 0;
    for (const p of all) p.reject(error);
  }
}

function answer({ refusal, reject, resolve, result }: Pending, generation: number): void {
  if (refusal !== undefined) reject(refusal.error);
  else resolve({ result, generation });
}

/** The store refused what was to be written, and takes other writes as before. */
const isUnwritable = (error: unknown): boolean => error instanceof TypeError || (error instanceof StoreError && error.code === "TOO_LARGE");
