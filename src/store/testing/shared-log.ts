// A log that several stores share, in memory, as etcd would be over a network: what is asked and what is told takes its time, answers get lost,
// and who was away for long finds that what was between is not kept. All of it by a clock and a chance that are given, so that a seed repeats it.
import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";
import type { Storage, Told } from "../commit.ts";
import { StoreError } from "../errors.ts";
import type { Conflict, Generation, LogCommit } from "../log.ts";
import type { KvEntry, KvEvent, RangeOptions } from "../kv.ts";
import { MemoryRows } from "../rows.ts";

export interface Faults {
  /** ms at most, each way. */
  readonly delay: number;
  /** Chance that an append does not get there, and that its answer does not come back. */
  readonly lost: number;
  readonly unanswered: number;
  /** Chance that one who hears of something has missed what was before. */
  readonly jump: number;
}

interface Entry {
  readonly token: object;
  readonly commits: readonly LogCommit[];
}

const ALL: RangeOptions = { start: "", end: "" };

export class SharedLog {
  readonly commits: LogCommit[] = [];
  readonly entries: Entry[] = [];
  private readonly storages = new Set<SharedStorage>();
  readonly clock: Clock;
  readonly random: Random;
  faults: Faults;

  constructor(clock: Clock, random: Random, faults: Faults) {
    this.clock = clock;
    this.random = random;
    this.faults = faults;
  }

  open(): SharedStorage {
    const storage = new SharedStorage(this);
    this.storages.add(storage);
    return storage;
  }

  /** Its process is gone: what it sent is on its way, and nothing comes back. */
  kill(storage: SharedStorage): void {
    storage.dead = true;
    this.storages.delete(storage);
  }

  write(after: Generation, entry: Entry): boolean {
    if (this.commits.length !== after) return false;
    this.entries.push(entry);
    this.commits.push(...entry.commits);
    for (const storage of this.storages) storage.hear();
    return true;
  }

  /** Some time passes. */
  async pass(most = this.faults.delay): Promise<void> {
    const ms = this.random.next() * most;
    await new Promise<void>((done) => this.clock.setTimeout(done, ms));
  }
}

export class SharedStorage implements Storage {
  generation: Generation;
  readonly oldest = 1;
  readonly logBytes = 0;
  readonly writtenBytes = 0;
  trouble: string | undefined;
  dead = false;
  /** How often it was not told each commit. */
  jumps = 0;
  private readonly log: SharedLog;
  private rows = new MemoryRows();
  private appended: readonly LogCommit[] = [];
  private flight: object | undefined;
  private readonly doubts = new Set<object>();
  private told: Told | undefined;
  private listening = false;

  constructor(log: SharedLog) {
    this.log = log;
    this.rows.apply(log.commits);
    this.generation = log.commits.length;
  }

  onTold(told: Told): void {
    this.told = told;
  }

  /** Something is in the log: it is told of it a while later. */
  hear(): void {
    if (this.listening || this.dead) return;
    this.listening = true;
    void this.log.pass(4 * this.log.faults.delay).then(() => {
      this.listening = false;
      if (this.dead || this.generation === this.log.commits.length) return;
      if (this.flight === undefined && this.log.random.next() < this.log.faults.jump) this.jump();
      else this.take();
      if (this.generation < this.log.commits.length) this.hear();
    });
  }

  /** Applies what is there, but for what is under way here. */
  private take(): void {
    for (const { token, commits } of this.log.entries) {
      if (commits[0]!.generation <= this.generation) continue;
      if (token === this.flight) return;
      this.generation = commits.at(-1)!.generation;
      this.rows.apply(commits);
      this.told!.commits(commits, this.doubts.delete(token));
    }
  }

  private jump(): void {
    this.jumps++;
    const before = new Map(this.rows.list(ALL).map((row) => [row.key, row]));
    this.rows = new MemoryRows();
    this.rows.apply(this.log.commits);
    this.generation = this.log.commits.length;
    const events: KvEvent[] = [];
    for (const { key, value, modRevision } of this.rows.list(ALL)) {
      if (before.get(key)?.modRevision !== modRevision) events.push({ key, value, modRevision });
      before.delete(key);
    }
    for (const key of before.keys()) events.push({ key, modRevision: this.generation });
    this.told!.jumped(this.generation, events);
  }

  heads(keys: readonly string[]): Promise<readonly (KvEntry | undefined)[]> {
    return Promise.resolve(keys.map((key) => this.rows.get(key)));
  }

  async append(after: Generation, commits: readonly LogCommit[]): Promise<Generation | Conflict> {
    if (after !== this.generation) return { conflict: this.generation };
    const token = {};
    const { log } = this;
    const { lost, unanswered } = log.faults;
    this.flight = token;
    const chance = log.random.next();
    const sending = log.pass().then(() => chance >= lost && log.write(after, { token, commits }));
    let won = false;
    if (chance < lost || chance > 1 - unanswered) {
      // Its caller gives it up, which may be before it gets there.
      await log.pass(2 * log.faults.delay);
      if (this.dead) return new Promise(() => undefined);
      this.flight = undefined;
      this.doubts.add(token);
      throw new StoreError("UNAVAILABLE", "no answer", { doubt: true });
    }
    won = await sending;
    await log.pass();
    if (this.dead) return new Promise(() => undefined);
    this.flight = undefined;
    if (!won) {
      this.take();
      return { conflict: this.generation };
    }
    this.generation = after + commits.length;
    this.appended = commits;
    return this.generation;
  }

  reveal(): void {
    this.rows.apply(this.appended);
    this.appended = [];
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, memory is not
  async *read(from: Generation): AsyncGenerator<LogCommit> {
    yield* this.log.commits.slice(from - 1, this.generation);
  }
  checkpoint(): Promise<void> {
    return Promise.resolve();
  }
  get(key: string): Promise<KvEntry | undefined> {
    return Promise.resolve(this.rows.get(key));
  }
  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, memory is not
  async *range(options: RangeOptions): AsyncGenerator<KvEntry> {
    yield* this.rows.list(options);
  }
  close(): Promise<void> {
    this.dead = true;
    return Promise.resolve();
  }
}
