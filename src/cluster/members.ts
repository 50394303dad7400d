// Who of several controllers is there: a key of each in etcd, under a lease that it renews. index.ts says what follows from that.
import { compareResult, compareTarget, EtcdError, type EtcdClient, type Event, type KeyValue, type Watch } from "etcd-v3-client";
import type { Logger } from "pino";
import type { Cancel, Clock } from "../lib/clock.ts";
import { UsageError } from "../lib/usage-error.ts";
import { Floor } from "./floor.ts";
import type { ClusterKeys } from "./keys.ts";
import { refuseUnlike } from "./admission.ts";
import { recordOf, type MemberRecord } from "./member-record.ts";
import { Outbox } from "./outbox.ts";
import { Topics } from "./topics.ts";

export interface Member extends MemberRecord {
  readonly name: string;
  /** Revision of etcd at which it came. */
  readonly joined: number;
}

export interface MembersOptions {
  /** Its own; closed with it. */
  readonly client: EtcdClient;
  readonly keys: ClusterKeys;
  readonly name: string;
  readonly says: Omit<MemberRecord, "state" | "ovsdb" | "api" | "ops">;
  readonly log: Logger;
  readonly clock: Clock;
  /** Seconds, at the least; etcd may give more. Default 2. */
  readonly leaseS?: number;
}

const LEASE_S = 2;
/** Of a lease, by the own clock, from when its renewal was asked for. */
const HELD = 0.85;
const RENEWALS = 4;
const CALL_MS = 1000;
/** A member that is no more is waited for: its lease, and as long again for an etcd that has much to do. */
const WAIT_LEASES = 4;
const AGAIN_MS = 100;
/** Members beyond are passed over: they are no cluster's. */
const MOST = 64;

export class Members {
  readonly name: string;
  private readonly options: MembersOptions;
  private readonly key: string;
  private says: MemberRecord;
  private lease: { readonly id: bigint; readonly ms: number } | undefined;
  private heldUntil = -Infinity;
  private known: ReadonlyMap<string, Member> = new Map();
  private servingNames: readonly string[] = [];
  /** Everything of etcd up to this revision is known. */
  private seen = 0;
  private changedAt = 0;
  private readonly lowest: Floor;
  private watch: Watch | undefined;
  private watching = false;
  private entering: Promise<void> | undefined;
  private cancels: Cancel[] = [];
  private readonly listeners = new Set<(later: boolean) => void>();
  private readonly topics: Topics;
  private readonly published = new Map<string, string>();
  private readonly outbox: Outbox;
  private held = false;
  private stopped = false;
  /** Why it has no lease, or does not hear of others; undefined: all is well. */
  trouble: string | undefined;
  /** Members that went without saying that they would, since when: RFC 3339. The last 64. */
  readonly gone = new Map<string, { readonly since: string; readonly said: MemberRecord }>();

  private constructor(options: MembersOptions) {
    this.options = options;
    this.name = options.name;
    this.key = options.keys.of("member", options.name);
    this.lowest = new Floor(options.client, options.keys.floor);
    this.topics = new Topics({ own: options.name, most: MOST });
    // Its own key is the proof that the lease is: a put under one that is no more is refused.
    this.outbox = new Outbox(async (key, value) => {
      if (this.lease === undefined || this.stopped) return false;
      await options.client.put({ key, value, lease: this.lease.id }, { timeoutMs: CALL_MS, again: true });
      return true;
    });
    this.says = { ...options.says, state: "starting", ovsdb: "", api: "", ops: "" };
  }

  /** @throws UsageError when there is one of that name, or of another kind, EtcdError when there is no etcd; the client is closed then */
  static async join(options: MembersOptions): Promise<Members> {
    const members = new Members(options);
    const { clock, leaseS = LEASE_S } = options;
    const end = clock.monotonic() + WAIT_LEASES * 1000 * leaseS;
    try {
      // An etcd that chooses a leader just now answers in a moment; what was not answered is found when it is asked again.
      for (let entered = false; !entered; ) {
        entered = await members.enter(end).then(() => true, async (error: unknown) => {
          const passes = error instanceof EtcdError && (error.code === "TIMEOUT" || error.code === "UNAVAILABLE");
          if (!passes || clock.monotonic() >= end) throw error;
          await new Promise<void>((done) => void clock.setTimeout(done, AGAIN_MS));
          return false;
        });
      }
      members.renewSoon();
      return members;
    } catch (error) {
      await members.leave();
      throw error;
    }
  }

  /** Whether it may act: its lease is certain to live. */
  get holds(): boolean {
    return this.options.clock.monotonic() < this.heldUntil && this.known.get(this.name)?.id === this.says.id;
  }

  /** Names of members that serve, as etcd said last, in order. */
  get serving(): readonly string[] {
    return this.servingNames;
  }

  get all(): readonly Member[] {
    return [...this.known.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The revision of etcd at which who serves changed last, or a later one at which it was read. */
  get term(): number {
    return this.changedAt;
  }

  /** What all terms are above. */
  get floor(): number {
    return this.lowest.value;
  }

  /** Raises the floor for all on the word of a switch, and tells so. False: it has been raised too often lately. @throws EtcdError */
  async raise(floor: number, chassis: string): Promise<boolean> {
    const at = this.options.clock.now();
    if (!this.lowest.mayRaise(at)) return false;
    // Where another one has raised it meanwhile, it is known then.
    await this.lowest.raise(floor, { at, chassis }, CALL_MS);
    await this.refresh();
    return true;
  }

  /** Called when who serves, or whether this one holds its lease, is not as before; or what members say of themselves. `later`: all is as before, but as of a later term. */
  onChange(listener: (later: boolean) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Told of what other members publish of a topic, and have; undefined: nothing any more. One listener for each topic. */
  onPublished(topic: string, listener: (name: string, text: string | undefined) => void): void {
    this.topics.on(topic, listener);
  }

  /** Says something else of itself. @throws EtcdError; it is written again with the next renewal */
  async say(change: Partial<Omit<MemberRecord, "id">>): Promise<void> {
    this.says = { ...this.says, ...change };
    await this.outbox.put(this.key, JSON.stringify(this.says));
  }

  /** The latest alone counts. @throws EtcdError; it is written again with the next renewal */
  async publish(topic: string, text: string): Promise<void> {
    this.published.set(topic, text);
    await this.outbox.put(this.options.keys.of(topic, this.name), text);
  }

  /** Reads who is there now, whatever the watch has told. Etcd's revision of that. @throws EtcdError */
  async refresh(): Promise<number> {
    const { key, rangeEnd } = this.options.keys.all;
    const { kvs, header } = await this.options.client.range({ key, range_end: rangeEnd }, { timeoutMs: CALL_MS });
    const revision = header?.revision ?? 0;
    this.take(kvs, revision);
    return revision;
  }

  /** Nothing of it is left in etcd. It has handed over what it had. */
  async leave(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    for (const cancel of this.cancels.splice(0)) cancel();
    this.watch?.close();
    await this.entering?.catch(() => undefined);
    this.heldUntil = -Infinity;
    if (this.lease !== undefined) await this.options.client.leaseRevoke(this.lease.id, { timeoutMs: CALL_MS }).catch(() => undefined); // it ends by itself
    this.options.client.close();
  }

  /** What etcd did not take, or took in another order, is written again. */
  private writeAgain(): void {
    const own = this.known.get(this.name);
    const { state, ovsdb, api, ops } = this.says;
    if (own !== undefined && (own.state !== state || own.ovsdb !== ovsdb || own.api !== api || own.ops !== ops)) this.outbox.keep(this.key, JSON.stringify(this.says));
    if (this.lowest.missing) this.lowest.keep(CALL_MS).catch((error: unknown) => this.options.log.debug({ reason: (error as Error).message }, "what terms are above could not be written"));
    this.outbox.again((error) => this.options.log.debug({ reason: error.message }, "what this controller says could not be written"));
  }

  // --- coming in ----------------------------------------------------------------------------------------------------

  /** Until its key is there. `end`: by the monotonic clock, how long one of its name is waited for. */
  private async enter(end: number): Promise<void> {
    const { client, keys, clock, log, name, leaseS = LEASE_S } = this.options;
    let waited = false;
    for (let first = true; ; first = false) {
      if (!first) await new Promise<void>((done) => void clock.setTimeout(done, AGAIN_MS));
      const [mine] = (await client.range({ key: this.key })).kvs;
      const there = mine && recordOf(mine);
      if (mine !== undefined && there?.id !== this.says.id) {
        const who = there === undefined ? "" : ` (since ${there.since}${there.api === "" ? "" : `, API at ${there.api}`})`;
        if (clock.monotonic() >= end) throw new UsageError(`a controller named ${name} is there${who}: give this one another --name`);
        if (!waited) log.info({ name, since: there?.since }, "a controller of this name is there, or was a moment ago; its lease is waited for");
        waited = true;
        continue;
      }
      const asked = clock.monotonic();
      // Left of a request whose answer did not come: its lease is this one's.
      const lease = mine === undefined ? await client.leaseGrant(leaseS) : { id: mine.lease, ttlS: await client.leaseKeepAlive(mine.lease) };
      if (lease.ttlS === 0) continue;
      const says = JSON.stringify(this.says);
      const { succeeded, responses, header } = await client.txn({
        compare: [{ key: this.key, target: compareTarget.create, result: compareResult.equal, create_revision: mine?.create_revision ?? 0 }],
        success: [{ request_put: { key: this.key, value: says, lease: lease.id } }, { request_range: { key: keys.all.key, range_end: keys.all.rangeEnd } }],
      }, { timeoutMs: CALL_MS });
      if (!succeeded) {
        if (mine === undefined) await client.leaseRevoke(lease.id).catch(() => undefined);
        continue;
      }
      this.lease = { id: lease.id, ms: 1000 * lease.ttlS };
      this.heldUntil = asked + HELD * this.lease.ms;
      this.trouble = undefined;
      const revision = header?.revision ?? 0;
      this.take(responses[1]?.response_range?.kvs ?? [], revision);
      if (this.watch === undefined) {
        // Two may have begun at once.
        refuseUnlike({ ...this.says, name }, this.known);
        this.follow(revision + 1);
      }
      this.outbox.wrote(this.key, says);
      for (const [topic, text] of this.published) this.outbox.keep(keys.of(topic, name), text);
      this.writeAgain();
      return;
    }
  }

  private renewSoon(spentMs = 0): void {
    if (this.stopped) return;
    const { clock } = this.options;
    const pauseMs = (this.lease?.ms ?? 1000 * LEASE_S) / RENEWALS;
    this.cancels = [clock.setTimeout(() => {
      const asked = clock.monotonic();
      // What took long is no reason to wait longer for the next.
      void this.renew().finally(() => this.renewSoon(clock.monotonic() - asked));
    }, Math.max(AGAIN_MS, pauseMs - spentMs))];
    if (this.held !== this.holds) {
      this.held = this.holds;
      this.tell();
    }
  }

  private async renew(): Promise<void> {
    const { client, clock, log } = this.options;
    try {
      const { lease } = this;
      if (lease !== undefined) {
        const asked = clock.monotonic();
        const left = await client.leaseKeepAlive(lease.id, { timeoutMs: CALL_MS });
        if (this.stopped) return;
        if (left > 0) {
          this.heldUntil = asked + HELD * 1000 * left;
          if (!this.watching) await this.refresh();
        }
        if (left > 0 && this.known.get(this.name)?.id === this.says.id) {
          if (this.trouble !== undefined) log.info("etcd is there again");
          this.trouble = undefined;
          this.writeAgain();
          return;
        }
        log.warn({ lease: left > 0 ? "there" : "gone" }, "this controller's place among the members is gone; it comes in again");
        this.lease = undefined;
        this.heldUntil = -Infinity;
        if (left > 0) await client.leaseRevoke(lease.id).catch(() => undefined);
        this.tell();
      }
      await (this.entering = this.enter(clock.monotonic()));
    } catch (error) {
      if (this.stopped) return;
      if (this.trouble === undefined) log.warn({ reason: (error as Error).message }, "this controller cannot renew its lease");
      this.trouble = (error as Error).message;
    } finally {
      this.entering = undefined;
    }
  }

  // --- who is there -------------------------------------------------------------------------------------------------

  private follow(from: number): void {
    const { client, keys: { all } } = this.options;
    this.watch = client.watch({ key: all.key, rangeEnd: all.rangeEnd, from }, {
      onEvents: (events, revision) => this.see(events, revision),
      onCompacted: () => {
        this.watch = undefined;
        this.watching = false;
        if (!this.stopped) void this.refresh().then(() => this.follow(this.seen + 1), () => this.follow(this.seen + 1));
      },
      onState: (up) => (this.watching = up),
    });
  }

  private see(events: readonly Event[], revision: number): void {
    const known = new Map(this.known);
    let changed: number | undefined;
    let floored = false;
    for (const { type, kv } of events) {
      if (kv === undefined || kv.mod_revision <= this.seen) continue;
      const { topic, name } = this.options.keys.read(kv.key.toString());
      if (topic === "term" && name !== "floor") continue; // nobody's
      if (topic === "term") {
        floored = this.lowest.learn(type === 1 ? undefined : kv) || floored;
        continue;
      }
      if (topic !== "member") {
        this.topics.hear(topic, name, type === 1 ? undefined : kv.value.toString());
        continue;
      }
      changed = kv.mod_revision;
      const said = type === 1 ? undefined : recordOf(kv);
      if (said === undefined) known.delete(name);
      else if (known.has(name) || known.size < MOST) known.set(name, { ...said, name, joined: kv.create_revision });
    }
    this.seen = Math.max(this.seen, revision);
    if (changed !== undefined) this.become(known, changed, false);
    if (floored) this.tell(true);
  }

  /** All keys as of a revision. */
  private take(kvs: readonly KeyValue[], revision: number): void {
    if (revision < this.seen) return;
    const known = new Map<string, Member>();
    const told = new Set<string>();
    let floor: KeyValue | undefined;
    for (const kv of kvs) {
      const { topic, name } = this.options.keys.read(kv.key.toString());
      if (topic === "term") floor = name === "floor" ? kv : floor;
      else if (topic === "member") {
        const said = recordOf(kv);
        if (said !== undefined && (name === this.name || known.size < MOST)) known.set(name, { ...said, name, joined: kv.create_revision });
      } else {
        told.add(`${topic}/${name}`);
        this.topics.hear(topic, name, kv.value.toString());
      }
    }
    this.topics.keep(told);
    this.seen = revision;
    const rose = this.lowest.learn(floor);
    this.become(known, revision, true);
    if (rose) this.tell(true);
  }

  private become(known: ReadonlyMap<string, Member>, revision: number, read: boolean): void {
    const { log, clock } = this.options;
    for (const [name, said] of this.known) {
      const now = known.get(name);
      if (now?.id === said.id) continue;
      if (name !== this.name) log.info({ member: name, left: said.state === "leaving" }, "a controller went");
      if (now !== undefined || said.state === "leaving" || name === this.name) continue;
      this.gone.set(name, { since: new Date(clock.now()).toISOString(), said });
      if (this.gone.size > MOST) this.gone.delete(this.gone.keys().next().value!);
    }
    for (const [name, { id, state, joined }] of known) {
      this.gone.delete(name);
      const before = this.known.get(name);
      if (name !== this.name && (before?.id !== id || before.state !== state)) log.info({ member: name, state, joined }, "a controller is there");
    }
    // What a member says beside its state makes no new term.
    const set = (members: ReadonlyMap<string, Member>): string => [...members.values()].filter((m) => m.state === "serving").map((m) => `${m.name} ${m.joined}`).sort().join();
    const [term, held] = [this.changedAt, this.held];
    if (read || set(known) !== set(this.known)) this.changedAt = Math.max(this.changedAt, revision);
    // What is read anew at the same revision is what was known: whoever was refused, and asked, waits before it asks again, and has no others asked.
    const others = !read || JSON.stringify([...known]) !== JSON.stringify([...this.known]);
    this.known = known;
    this.servingNames = [...known.values()].filter((m) => m.state === "serving").map((m) => m.name).sort();
    this.held = this.holds;
    if (others || this.held !== held) this.tell();
    else if (this.changedAt > term) this.tell(true);
  }

  private tell(later = false): void {
    for (const listener of this.listeners) {
      try {
        listener(later);
      } catch (error) {
        this.options.log.error({ err: error }, "listener of members failed");
      }
    }
  }
}
