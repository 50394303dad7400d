// The log in etcd, shared by several stores, with the rows in memory here. An entry is appended by one transaction that demands that
// the head is the one last seen: who was not first reads what came before and decides anew. What others append is told by a watch
// and applied in the order of the log; own entries are applied from memory, once their place in it is known.
//
// Over 400 lines: one state, which appends, what others append, and tidying share step by step; what is in etcd is in remote.ts.
//
//   append:  parts, if it is large -> txn(head unchanged? head, entry) -> reveal()
//   others:  watch(base, head, log) -> incoming -> rows, told() in order
//   at times: all rows as a snapshot -> txn(base unchanged? base; the log and snapshots before it gone) -> compaction of etcd
//
// An append whose answer does not come is in doubt. It is refused, and should it be in the log after all it is told like another's: no
// two entries have one place, so whatever is decided next is decided on it, or takes its place.
import { randomBytes, randomUUID } from "node:crypto";
import type { EtcdClient, Event, Watch } from "etcd-v3-client";
import { CommitStore, type CommitOptions, type Storage, type Told } from "../commit.ts";
import { compacted, StoreError } from "../errors.ts";
import { checkOrder, encodeEntry, KEEP, Tail, type Conflict, type Generation, type Keep, type LogCommit } from "../log.ts";
import type { KvEntry, KvEvent, KvStore, RangeOptions } from "../kv.ts";
import { MemoryRows } from "../rows.ts";
import { Keys } from "./keys.ts";
import { explain, Remote, type At, type Base, type Found, type Head } from "./remote.ts";

/** Of the log in etcd, before compression, whatever is asked for: its space is 2 GiB where nobody says otherwise. */
const MOST_BYTES = 256 * 1024 * 1024;
/** The log grows by so much, or by as much as there are rows, before they are written anew. */
const SNAPSHOT_BYTES = 8 * 1024 * 1024;
const SNAPSHOT_COMMITS = 20_000;
/** Of history that is too old alone, rows are not written anew more often. */
const SNAPSHOT_MS = 3_600_000;
const PROBE_MS = 1000;
const AGAIN_MS = 500;
const POLL_MS = 5;
/** Who asks to be first is waited for so long. */
const FIRST_MS = 1000;
/** An append is answered in about this time, whatever it has to wait for before it is sent, if etcd is away: callers are answered in some two seconds. */
const ANSWER_MS = 1500;
/** Each request of it has so long at the least, also on a machine with too much to do. */
const LEAST_MS = 900;
/** Appends in doubt that are remembered. */
const DOUBTS = 1000;

export const openEtcd = async (client: EtcdClient, prefix: string, { make, ...options }: CommitOptions & { readonly make?: boolean | undefined } = {}): Promise<KvStore> => new CommitStore(await EtcdStorage.open(client, prefix, options.keep, make), options);

/** Somebody asked to be first. */
interface Asked {
  /** This store. */
  readonly own: boolean;
  readonly token: string;
  /** Etcd's, where it is known. */
  revision: number | undefined;
  readonly over: NodeJS.Timeout;
  readonly end: () => void;
  readonly ended: Promise<void>;
}

export class EtcdStorage implements Storage {
  generation: Generation = 0;
  oldest: Generation = 1;
  writtenBytes = 0;
  private readonly remote: Remote;
  private rows = new MemoryRows();
  private tail: Tail;
  private readonly keep: Keep;
  private head: At<Head> = { value: { id: "", generation: 0 }, revision: 0 };
  private base: At<Base> = { value: { snapshot: 0, pieces: 0, oldest: 1, tail: [] }, revision: 0 };
  private appended: readonly LogCommit[] = [];
  /** The append that is under way. */
  private flight: string | undefined;
  private asked: Asked | undefined;
  private readonly doubts = new Set<string>();
  /** Entries of the log that were told, by their first generation. */
  private readonly incoming = new Map<Generation, Found>();
  private taking: Promise<void> | undefined;
  /** All rows are being read again: nothing is appended meanwhile, and nothing is under way when it begins. */
  private jumping: Promise<void> | undefined;
  private rereading: Promise<void> | undefined;
  private told: Told | undefined;
  private watch: Watch | undefined;
  private tidying: Promise<void> | undefined;
  private tidied = { at: Date.now(), bytes: 0, generation: 0 };
  private closed = false;
  private probing: NodeJS.Timeout | undefined;
  /** Why it cannot be written to at present. */
  trouble: string | undefined;

  private constructor(remote: Remote, keep: Keep) {
    this.remote = remote;
    this.keep = { ms: keep.ms, bytes: Math.min(keep.bytes, MOST_BYTES) };
    this.tail = new Tail(this.keep);
  }

  /** Reads everything; makes the store if there is none, unless `make` is false. @throws StoreError UNAVAILABLE, CORRUPT, LOSS, UNSUPPORTED, MISSING; the client is closed then */
  static async open(client: EtcdClient, prefix: string, keep: Keep = KEEP, make = true): Promise<EtcdStorage> {
    const storage = new EtcdStorage(new Remote(client, new Keys(prefix)), keep);
    try {
      const { revision } = await storage.load(make);
      storage.follow(revision + 1);
      return storage;
    } catch (error) {
      client.close();
      throw explain(error);
    }
  }

  get logBytes(): number {
    return this.tail.bytes;
  }

  onTold(told: Told): void {
    this.told = told;
    this.takeSoon();
  }

  /** Everything as of one revision of etcd's. `before`: the rows in whose place they are. */
  private async load(make = false): Promise<{ readonly revision: number; readonly before: MemoryRows }> {
    for (let tries = 1; ; tries++) {
      const state = await this.remote.state();
      if (state === undefined) {
        if (!make) throw new StoreError("MISSING", `there is no store under ${this.remote.keys.base.slice(0, -4)} in etcd`);
        await this.remote.begin(randomUUID(), 0, 0);
        continue;
      }
      const { head, base, revision } = state;
      try {
        const rows = new MemoryRows();
        for await (const row of this.remote.rows(base.value, revision)) rows.load(row);
        const tail = new Tail(this.keep);
        tail.restore(base.value.tail);
        let next = base.value.snapshot + 1;
        for await (const entry of this.remote.entries(next, head.value.generation, revision)) {
          if (entry.first !== next) break;
          const commits = await this.remote.commitsOf(entry, revision);
          rows.apply(commits);
          next += entry.header.count;
          tail.add(entry.first, next, commits.at(-1)!.at, entry.header.bytes);
        }
        const { generation } = head.value;
        if (next !== generation + 1) throw new StoreError("LOSS", `etcd says that there are generations up to ${generation}, its log goes to ${next - 1}: start on a backup`, { acknowledged: generation, found: next - 1 });
        const before = this.rows;
        [this.rows, this.tail, this.head, this.base] = [rows, tail, head, base];
        this.generation = generation;
        this.oldest = base.value.oldest;
        this.tidied = { at: Date.now(), bytes: tail.bytes - base.value.tail.reduce((sum, part) => sum + part.bytes, 0), generation: base.value.snapshot };
        return { revision, before };
      } catch (error) {
        // Another one's compaction came in between.
        if ((error as { code?: string }).code !== "COMPACTED" || tries === 5) throw error;
      }
    }
  }

  private follow(from: number): void {
    if (this.closed) return;
    const { key, rangeEnd } = this.remote.keys.watched;
    this.watch = this.remote.client.watch({ key, rangeEnd, from }, {
      onEvents: (events) => this.see(events),
      onCompacted: () => void this.reread(),
      onState: (up, error) => (up ? this.probe() : this.inTrouble(error?.message ?? "etcd ended the watch")),
    });
  }

  private see(events: readonly Event[]): void {
    try {
      for (const { type, kv } of events) {
        if (kv === undefined) continue;
        const key = kv.key.toString();
        if (key === this.remote.keys.first) this.heardAsked(type === 1 ? undefined : kv.value.toString(), kv.mod_revision);
        else if (type === 1) continue;
        else if (key === this.remote.keys.base) this.rebased(this.remote.baseOf(kv));
        else if (key !== this.remote.keys.head) {
          const entry = this.remote.found(kv);
          if (entry.first > this.generation) this.incoming.set(entry.first, entry);
        }
      }
    } catch (error) {
      this.told?.failed(explain(error));
      return;
    }
    this.takeSoon();
  }

  private rebased(base: At<Base>): void {
    if (base.revision <= this.base.revision) return;
    this.base = base;
    this.oldest = Math.max(this.oldest, base.value.oldest);
    this.tail.forget(this.oldest);
  }

  /** Not in the turn of an answer: whoever waits for that one comes first. */
  private takeSoon(): void {
    setImmediate(() => {
      this.take().catch((error: unknown) => {
        const { code } = explain(error);
        if (code === "CLOSED" || this.closed) return;
        if (code === "UNAVAILABLE") setTimeout(() => this.takeSoon(), AGAIN_MS).unref();
        else this.told?.failed(explain(error));
      });
    });
  }

  /** Applies what was told, as far as it is the next. */
  private take(): Promise<void> {
    this.taking ??= this.takeNow().finally(() => (this.taking = undefined));
    return this.taking;
  }

  private async takeNow(): Promise<void> {
    // Before somebody listens, what is told would be lost.
    while (this.told !== undefined && !this.closed) {
      const next = this.incoming.get(this.generation + 1);
      if (next === undefined || next.header.token === this.flight) break;
      const commits = await this.remote.commitsOf(next);
      if (next.first !== this.generation + 1) continue;
      this.generation = next.first + next.header.count - 1;
      this.head = { value: { ...this.head.value, generation: this.generation }, revision: next.revision };
      this.rows.apply(commits);
      this.tail.add(next.first, this.generation + 1, commits.at(-1)!.at, next.header.bytes);
      this.told.commits(commits, this.doubts.delete(next.header.token));
    }
    for (const first of this.incoming.keys()) if (first <= this.generation) this.incoming.delete(first);
  }

  /** What was told is not all: reads on from where this store is, or, where that is gone, all rows. */
  private reread(): Promise<void> {
    this.rereading ??= this.rereadNow().finally(() => (this.rereading = undefined));
    return this.rereading;
  }

  private async rereadNow(): Promise<void> {
    this.watch?.close();
    while (!this.closed) {
      try {
        const state = await this.remote.state();
        const { generation } = this;
        if (state === undefined || state.head.value.id !== this.head.value.id || state.head.value.generation < generation) throw this.wentBack(state?.head);
        if (state.base.value.oldest <= generation + 1) {
          for await (const entry of this.remote.entries(generation + 1, state.head.value.generation, state.revision)) this.incoming.set(entry.first, entry);
          this.rebased(state.base);
          await this.take();
          this.follow(state.revision + 1);
        } else await this.jump();
        return;
      } catch (error) {
        const known = explain(error);
        if (known.code !== "UNAVAILABLE") {
          if (!this.closed) this.told?.failed(known);
          return;
        }
        this.inTrouble(known.message);
        await new Promise((done) => setTimeout(done, AGAIN_MS).unref());
      }
    }
  }

  /** The log between is gone: what rows became since is told as one. */
  private jump(): Promise<void> {
    this.jumping ??= this.jumpNow().finally(() => (this.jumping = undefined));
    return this.jumping;
  }

  private async jumpNow(): Promise<void> {
    // What is under way may be among what is read: its place has to be known before.
    while (this.flight !== undefined) await new Promise((done) => setTimeout(done, POLL_MS));
    const { revision, before: rows } = await this.load();
    const before = new Map(rows.list(ALL).map((row) => [row.key, row]));
    const events: KvEvent[] = [];
    for (const { key, value, modRevision } of this.rows.list(ALL)) {
      if (before.get(key)?.modRevision !== modRevision) events.push({ key, value, modRevision });
      before.delete(key);
    }
    for (const key of before.keys()) events.push({ key, modRevision: this.generation });
    this.told?.jumped(this.generation, events);
    this.incoming.clear();
    this.follow(revision + 1);
  }

  private wentBack(head: At<Head> | undefined): StoreError {
    const { generation, id } = this.head.value;
    const found = head?.value.id === id ? head.value.generation : 0;
    return new StoreError("LOSS", `etcd was at generation ${generation}, and now ${found === 0 ? "has another store or none" : `is at ${found}`}: it was put back to an earlier state. Restart the controller to go on with what is there`, { acknowledged: generation, found });
  }

  /** Others wait for the next append of this store, for a moment: it came second several times. */
  async goFirst(): Promise<void> {
    if (this.asked !== undefined || this.trouble !== undefined || this.closed) return;
    const token = randomBytes(9).toString("base64url");
    const asked = this.ask(token, true);
    const revision = await this.remote.askFirst(token).catch(() => undefined);
    if (revision === undefined) this.endAsked(token); // it goes without
    else asked.revision = revision;
  }

  private ask(token: string, own: boolean, revision?: number): Asked {
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    const over = setTimeout(() => {
      this.endAsked(token);
      // Also of one that is gone.
      if (asked.revision !== undefined) void this.remote.endFirst(asked.revision).catch(() => undefined);
    }, FIRST_MS).unref();
    const asked: Asked = { own, token, over, end, ended, revision };
    this.asked = asked;
    return asked;
  }

  private heardAsked(token: string | undefined, revision: number): void {
    // That an own one is over is known here before, and the next may be under way.
    if (token === this.asked?.token || (token === undefined && this.asked?.own === true)) return;
    this.endAsked(this.asked?.token);
    if (token !== undefined) this.ask(token, false, revision);
  }

  private endAsked(token: string | undefined): void {
    const { asked } = this;
    if (asked === undefined || asked.token !== token) return;
    clearTimeout(asked.over);
    this.asked = undefined;
    asked.end();
  }

  heads(keys: readonly string[]): Promise<readonly (KvEntry | undefined)[]> {
    return Promise.resolve(keys.map((key) => this.rows.get(key)));
  }

  async append(after: Generation, commits: readonly LogCommit[]): Promise<Generation | Conflict> {
    if (after !== this.generation) return { conflict: this.generation };
    checkOrder(after, commits);
    if (commits.length === 0) return after;
    const end = performance.now() + ANSWER_MS;
    // What is written cannot be let go of as fast: it waits.
    if (this.tidying !== undefined && this.tail.bytes > 1.5 * this.keep.bytes) await this.tidying;
    if (this.jumping !== undefined) await before(end, this.jumping.catch(() => undefined));
    if (this.asked?.own === false && this.trouble === undefined) await before(end, this.asked.ended, () => true);
    if (after !== this.generation) return { conflict: this.generation };
    const raw = encodeEntry(commits, true);
    const token = randomBytes(9).toString("base64url");
    const first = after + 1;
    const last = after + commits.length;
    this.flight = token;
    let revision: number;
    try {
      const asked = this.asked?.own === true ? this.asked.token : undefined;
      const written = await this.remote.append(this.head, first, last, raw, token, () => after === this.generation, { asked: asked !== undefined, timeoutMs: left(end) });
      if (written === "late") return { conflict: this.generation };
      if (!("won" in written)) {
        this.flight = undefined;
        // Where the next ones are known by then, the rest comes in its time.
        await before(end, this.lost(written.head, written.entries, after), () => this.generation > after);
        return { conflict: this.generation };
      }
      revision = written.won;
      this.endAsked(asked);
    } catch (error) {
      // Its answer was lost, but it was told of.
      const found = this.incoming.get(first);
      if (found?.header.token !== token) throw this.failed(error, token);
      revision = found.revision;
    } finally {
      this.flight = undefined;
      this.takeSoon();
    }
    this.generation = last;
    this.head = { value: { ...this.head.value, generation: last }, revision };
    this.tail.add(first, last + 1, commits.at(-1)!.at, raw.length);
    this.writtenBytes += raw.length;
    this.appended = commits;
    this.well();
    return last;
  }

  /**
   * Another one was first: its entries are applied before anything is decided anew. `generation`: that was known when etcd was asked. The watch may have told of more
   * before the answer came, which then is older than what is known, without anything having been put back.
   */
  private async lost(head: At<Head> | undefined, entries: readonly Found[], generation: number): Promise<void> {
    for (const entry of entries) if (entry.first > this.generation) this.incoming.set(entry.first, entry);
    await this.take().catch((error: unknown) => {
      throw explain(error);
    });
    if (this.generation > generation) return;
    if (head === undefined || head.value.id !== this.head.value.id || head.value.generation < generation) throw this.wentBack(head);
    if (head.value.generation === generation) this.head = head; // somebody touched the key
    else await this.reread();
  }

  private failed(error: unknown, token: string): StoreError {
    const known = explain(error);
    if (known.code !== "UNAVAILABLE") return known;
    this.doubts.add(token);
    if (this.doubts.size > DOUBTS) this.doubts.delete(this.doubts.values().next().value!);
    this.inTrouble(known.message);
    return known;
  }

  private inTrouble(why: string): void {
    if (this.closed) return;
    this.trouble = why;
    this.endAsked(this.asked?.token);
    if (this.probing !== undefined) return;
    this.probing = setTimeout(() => {
      this.probing = undefined;
      this.probe();
    }, PROBE_MS);
    this.probing.unref();
  }

  private probe(): void {
    if (this.closed || this.trouble === undefined) return;
    void this.remote.probe().then((why) => (why === undefined ? this.well() : this.inTrouble(why)));
  }

  private well(): void {
    this.trouble = undefined;
    clearTimeout(this.probing);
    this.probing = undefined;
  }

  reveal(): void {
    this.rows.apply(this.appended);
    this.appended = [];
    if (this.tidying === undefined && this.untidy) this.tidy(false).catch(() => undefined); // the next write tries again
  }

  private get untidy(): boolean {
    const due = this.tail.due(Date.now());
    const over = this.tail.bytes > this.keep.bytes;
    if (due !== undefined && due.next <= this.base.value.snapshot + 1) return true;
    if (due !== undefined && !over && Date.now() - this.tidied.at > SNAPSHOT_MS) return true;
    return this.wantsSnapshot;
  }

  private get wantsSnapshot(): boolean {
    const bytes = this.writtenSince;
    const half = this.keep.bytes / 2;
    return bytes > Math.max(Math.min(SNAPSHOT_BYTES, half), Math.min(this.rows.bytes, half)) || this.generation - this.base.value.snapshot > SNAPSHOT_COMMITS;
  }

  /** Bytes of the log after the snapshot. */
  private get writtenSince(): number {
    return this.tail.bytesAfter(this.base.value.snapshot);
  }

  /** Writes all rows where that is due, lets go of what need not be kept, and has etcd do likewise. */
  private tidy(whole: boolean): Promise<void> {
    this.tidying ??= this.tidyNow(whole).catch((error: unknown) => {
      throw explain(error);
    }).finally(() => (this.tidying = undefined));
    return this.tidying;
  }

  private async tidyNow(whole: boolean): Promise<void> {
    const { base } = this;
    let next: Base = base.value;
    if (whole || this.wantsSnapshot || (this.tail.due(Date.now())?.next ?? 0) > next.snapshot + 1) {
      while (this.appended.length > 0) await new Promise((done) => setImmediate(done)); // rows are of this generation
      const { generation } = this;
      if (generation > next.snapshot) {
        this.tail.cut();
        const pieces = await this.remote.writeRows(generation, this.rows.list(ALL), randomBytes(9).toString("base64url"), () => !this.closed);
        if (this.closed) return;
        next = { ...next, snapshot: generation, pieces };
      }
    }
    let { oldest } = next;
    // Where the snapshot is another's, parts end as that one had them.
    const parts = next === base.value ? next.tail : this.tail.upTo(next.snapshot);
    let bytes = this.tail.bytes;
    // All that is over, but what is after the snapshot; the newest part always stays.
    const least = Date.now() - this.keep.ms;
    const kept = parts.filter((part, i) => {
      const over = (bytes > this.keep.bytes || part.at < least) && (i < parts.length - 1 || this.generation > next.snapshot);
      if (!over || part.first > oldest) return true;
      bytes -= part.bytes;
      oldest = part.next;
      return false;
    });
    if (next === base.value && oldest === next.oldest) return;
    next = { ...next, oldest, tail: kept };
    const revision = await this.remote.rebase(base, next);
    if (revision === undefined) return; // another one did it
    this.rebased({ value: next, revision });
    this.tidied = { at: Date.now(), bytes: 0, generation: next.snapshot };
    // Up to the time before: who is a little behind still reads on.
    if (base.revision > 0) await this.remote.client.compact(base.revision).catch(() => undefined);
  }

  async *read(from: Generation): AsyncGenerator<LogCommit> {
    if (from < this.oldest) throw compacted(from, this.oldest);
    const end = this.generation;
    let next = this.tail.startOf(from);
    try {
      if (next !== undefined) {
        for await (const entry of this.remote.entries(next, end)) {
          // It was let go of while it was read.
          if (entry.first !== next) throw compacted(Math.max(next, from), this.oldest);
          next += entry.header.count;
          if (next > from) for (const commit of await this.remote.commitsOf(entry)) if (commit.generation >= from && commit.generation <= end) yield commit;
        }
      }
    } catch (error) {
      throw explain(error);
    }
    if (from <= end && (next ?? 0) <= end) throw compacted(Math.max(next ?? 0, from), this.oldest);
  }

  async checkpoint(): Promise<void> {
    await this.tidying?.catch(() => undefined);
    await this.tidy(true);
  }

  get(key: string): Promise<KvEntry | undefined> {
    return Promise.resolve(this.rows.get(key));
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, memory is not
  async *range(options: RangeOptions): AsyncGenerator<KvEntry> {
    yield* this.rows.list(options);
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.probing);
    this.endAsked(this.asked?.token);
    this.watch?.close();
    await this.tidying?.catch(() => undefined);
    this.remote.client.close();
  }
}

const left = (end: number): number => Math.max(LEAST_MS, end - performance.now());

/** Until `work` is done, or for so long if that is `enough`; it goes on all the same. @throws StoreError UNAVAILABLE: nothing was written */
async function before(end: number, work: Promise<unknown>, enough = (): boolean => false): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve, reject) => {
    timer = setTimeout(() => (enough() ? resolve() : reject(new StoreError("UNAVAILABLE", "etcd does not answer in time"))), left(end)).unref();
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined);
  }
}

const ALL: RangeOptions = { start: "", end: "" };
