// An etcd cluster for simulations: revisions, transactions, leases, watches and compaction as etcd 3.4 has them, over one replicated state. Its members
// are machines; one may be cut off from the others, and all may be without a leader for a while. Raft itself is not here: what is carried out is
// carried out on the one state, in one order, and an answer may still be lost.
import { compareResult, compareTarget, procedures, type Compare, type RangeRequest, type RequestOp } from "etcd-v3-client";
import { bytesOf, NOT_FOUND, OUT_OF_RANGE, Refused, text, UNAVAILABLE, wireOf, type Asked, type Change, type EtcdAnswer, type EtcdCall, type Kv, type Lease, type Member, type Watcher } from "./etcd-state.ts";
import type { End, Network } from "./network.ts";
import { running, type World } from "./world.ts";

export class SimEtcd {
  readonly members: Member[] = [];
  revision = 1;
  /** Milliseconds that a commit takes at least. */
  diskMs = 1;
  /** Called with what each transaction wrote. */
  onCommit: (revision: number, changes: readonly Change[]) => void = () => undefined;
  /** Whether the answer of the next write is lost, though it is done. */
  loseAnswers = 0;
  private readonly world: World;
  private readonly kvs = new Map<string, Kv>();
  private readonly leases = new Map<bigint, Lease>();
  private readonly history: { readonly revision: number; readonly changes: readonly Change[] }[] = [];
  private compacted = 0;
  private readonly watchers = new Set<Watcher>();
  private leader = true;
  private busyUntil = 0;
  private sorted: string[] | undefined;

  constructor(world: World, network: Network, count: number) {
    this.world = world;
    for (let i = 1; i <= count; i++) {
      const machine = world.machine(`etcd${i}`);
      const address = `10.0.1.${i}`;
      network.place(machine, address);
      const member = { machine, address: `${address}:2379`, isolated: false };
      this.members.push(member);
      network.listen(machine, 2379, (end) => this.serve(member, end));
    }
  }

  get endpoints(): string {
    return this.members.map(({ address }) => address).join(",");
  }

  /** All keys with what they hold. */
  rows(): readonly Kv[] {
    return [...this.kvs.values()];
  }

  // --- faults ---

  loseLeader(): void {
    this.leader = false;
    this.noLeader(() => true);
  }
  /** A new leader gives each lease its whole time again, as etcd does. */
  elect(): void {
    if (this.leader) return;
    this.leader = true;
    for (const [id, lease] of this.leases) this.prolong(id, lease);
  }
  isolate(i: number): void {
    this.members[i]!.isolated = true;
    this.noLeader((member) => member === this.members[i]);
  }
  join(): void {
    for (const member of this.members) member.isolated = false;
  }
  private noLeader(which: (member: Member) => boolean): void {
    for (const watcher of this.watchers) {
      if (!which(watcher.member)) continue;
      this.watchers.delete(watcher);
      this.answer(watcher.end, watcher.call, undefined, new Refused(UNAVAILABLE, "etcdserver: no leader"));
    }
  }

  // --- conversations ---

  private serve(member: Member, end: End): void {
    const gone = (): void => this.forget(end);
    end.handlers = {
      data: (bytes, message) => this.take(member, end, bytes, message as EtcdCall),
      ended: () => {
        gone();
        end.finish();
      },
      reset: gone,
    };
  }

  private forget(end: End): void {
    for (const watcher of this.watchers) if (watcher.end === end) this.watchers.delete(watcher);
  }

  private answer(end: End, call: number, bytes: Buffer | undefined, error?: Refused): void {
    const answer: EtcdAnswer = { call, ...(error !== undefined && { error: { code: error.code, details: error.message } }) };
    running.exit(() => end.send(bytes ?? Buffer.from(error?.message ?? ""), answer));
  }

  private take(member: Member, end: End, bytes: Buffer, { call, path, stream, ends }: EtcdCall): void {
    if (path === "ping") {
      this.answer(end, call, Buffer.alloc(0));
      return;
    }
    const name = path.replace("/etcdserverpb.", "");
    if (ends === true) {
      for (const watcher of this.watchers) if (watcher.end === end && watcher.call === call) this.watchers.delete(watcher);
      return;
    }
    if (!this.leader || member.isolated) {
      // A request that came a moment before the leader went has no answer at all; streams are ended.
      if (stream || this.world.random.next() < 0.7) this.answer(end, call, undefined, new Refused(UNAVAILABLE, "etcdserver: no leader"));
      return;
    }
    const writes = /Put|Txn|DeleteRange|Compact|Grant|Revoke/.test(name);
    const at = (this.busyUntil = Math.max(this.busyUntil, this.world.now) + (writes ? this.diskMs * (0.5 + this.world.random.next()) : 0.05));
    this.world.after(at - this.world.now, undefined, () => {
      // The leader may have gone meanwhile; who asked it does not know what became of it.
      if (!this.leader && (stream || this.world.random.next() < 0.5)) {
        this.answer(end, call, undefined, new Refused(UNAVAILABLE, "etcdserver: leader changed"));
        return;
      }
      let answer: Buffer | undefined;
      let refused: Refused | undefined;
      try {
        answer = this.perform(name, bytes, { end, call, member, stream });
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        refused = error;
      }
      if (writes && refused === undefined && this.loseAnswers > 0) {
        this.loseAnswers--;
        this.world.trace(`etcd answer of ${name} lost`);
        end.reset();
        this.forget(end);
        return;
      }
      if (answer !== undefined || refused !== undefined) this.answer(end, call, answer, refused);
    });
  }

  private perform(name: string, bytes: Buffer, from: { readonly end: End; readonly call: number; readonly member: Member; readonly stream: boolean }): Buffer | undefined {
    const decode = <T>(procedure: { readonly request: unknown }): Asked<T> => (procedure.request as { decode(bytes: Buffer): Asked<T> }).decode(bytes);
    const encode = (procedure: { readonly response: unknown }, value: object): Buffer => (procedure.response as { encode(value: object): Buffer }).encode({ header: this.header(from.member), ...value });
    switch (name) {
      case "KV/Range":
        return encode(procedures.range, this.range(decode<RangeRequest>(procedures.range)));
      case "KV/Put": {
        this.writing((write) => write({ request_put: decode(procedures.put) }));
        return encode(procedures.put, {});
      }
      case "KV/DeleteRange": {
        const [answer] = this.writing((write) => write({ request_delete_range: decode(procedures.deleteRange) }));
        return encode(procedures.deleteRange, answer!.response_delete_range as object);
      }
      case "KV/Txn": {
        const { compare, success, failure } = decode<{ compare: readonly Compare[]; success: readonly RequestOp[]; failure: readonly RequestOp[] }>(procedures.txn);
        const succeeded = compare.every((one) => this.holds(one as Asked<Compare>));
        const responses = this.writing((write) => {
          for (const op of succeeded ? success : failure) write(op);
        });
        return encode(procedures.txn, { succeeded, responses });
      }
      case "KV/Compact": {
        const { revision } = decode<{ revision: number }>(procedures.compact);
        if (revision <= this.compacted) throw new Refused(OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted");
        this.compact(revision);
        return encode(procedures.compact, {});
      }
      case "Lease/LeaseGrant": {
        const { TTL } = decode<{ TTL: number }>(procedures.leaseGrant);
        const id = BigInt(this.leases.size + 1) * 1000n + BigInt(Math.floor(this.world.random.next() * 1000)) + BigInt(this.revision) * 1_000_000n;
        const lease = { ttlS: TTL, ttlMs: TTL * 1000, keys: new Set<string>(), until: 0 };
        this.leases.set(id, lease);
        this.prolong(id, lease);
        return encode(procedures.leaseGrant, { ID: id, TTL });
      }
      case "Lease/LeaseRevoke": {
        const { ID } = decode<{ ID: bigint }>(procedures.leaseRevoke);
        if (!this.leases.has(ID)) throw new Refused(NOT_FOUND, "etcdserver: requested lease not found");
        this.end(ID);
        return encode(procedures.leaseRevoke, {});
      }
      case "Lease/LeaseKeepAlive": {
        const { ID } = decode<{ ID: bigint }>(procedures.leaseKeepAlive);
        const lease = this.leases.get(ID);
        if (lease !== undefined) this.prolong(ID, lease);
        return encode(procedures.leaseKeepAlive, { ID, TTL: lease?.ttlS ?? 0 });
      }
      case "Maintenance/Status":
        return encode(procedures.status, { version: "3.4.23", dbSize: 1, leader: 1n, raftTerm: 1, errors: [], dbSizeInUse: 1 });
      case "Watch/Watch": {
        const { create_request } = decode<{ create_request: { key: Buffer; range_end: Buffer; start_revision: number } }>(procedures.watch);
        this.watch(from, create_request);
        return undefined;
      }
      default:
        throw new Error(`the simulated etcd does not know ${name}`);
    }
  }

  private header(member: Member): object {
    return { cluster_id: 1n, member_id: BigInt(this.members.indexOf(member) + 1), revision: this.revision, raft_term: 1 };
  }

  // --- keys ---

  private within(start: string, stop: string | undefined): string[] {
    if (stop === undefined) return this.kvs.has(start) ? [start] : [];
    this.sorted ??= [...this.kvs.keys()].sort();
    return this.sorted.filter((key) => key >= start && (stop === "\0" || key < stop));
  }

  private range({ key, range_end, limit, revision, sort_order, keys_only, count_only }: Asked<RangeRequest>): object {
    if (revision > 0 && revision < this.compacted) throw new Refused(OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted");
    if (revision > this.revision) throw new Refused(OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision");
    const stop = text(range_end) === "" ? undefined : text(range_end);
    let found = revision > 0 && revision < this.revision ? this.asOf(revision, text(key), stop) : this.within(text(key), stop).map((name) => this.kvs.get(name)!);
    if (sort_order === 2) found = found.reverse();
    const count = found.length;
    if (limit > 0) found = found.slice(0, limit);
    return { kvs: count_only ? [] : found.map((kv) => wireOf(kv, keys_only)), more: !count_only && found.length < count, count };
  }

  /** The range as it was, from what is and what has changed since. */
  private asOf(revision: number, start: string, stop: string | undefined): Kv[] {
    const then = new Map(this.within(start, stop).map((key): [string, Kv | undefined] => [key, this.kvs.get(key)]));
    const since = new Set(this.history.filter((one) => one.revision > revision).flatMap(({ changes }) => changes.map(({ key }) => key)));
    for (const key of since) {
      if (stop === undefined ? key !== start : key < start || (stop !== "\0" && key >= stop)) continue;
      let kv: Kv | undefined;
      for (const one of this.history) if (one.revision <= revision) for (const change of one.changes) if (change.key === key) kv = change.kv;
      kv ??= this.base.get(key);
      then.set(key, kv);
    }
    return [...then].filter((entry): entry is [string, Kv] => entry[1] !== undefined).sort(([a], [b]) => (a < b ? -1 : 1)).map(([, kv]) => kv);
  }
  /** What each key was when the history begins. */
  private readonly base = new Map<string, Kv>();

  private holds({ target, result, key, version, create_revision, mod_revision }: Asked<Compare>): boolean {
    const kv = this.kvs.get(text(key));
    const [is, wanted] = target === compareTarget.version ? [kv?.version ?? 0, version] : target === compareTarget.create ? [kv?.create ?? 0, create_revision] : [kv?.mod ?? 0, mod_revision];
    return result === compareResult.greater ? is > wanted : result === compareResult.less ? is < wanted : result === compareResult.notEqual ? is !== wanted : is === wanted;
  }

  /** What is written by one request has one revision. */
  private writing(run: (write: (op: RequestOp) => void) => void): { readonly response_delete_range?: unknown }[] {
    const responses: { response_delete_range?: unknown }[] = [];
    const changes = new Map<string, Change>();
    const next = this.revision + 1;
    const undo = new Map<string, Kv | undefined>();
    const set = (key: string, kv: Kv | undefined): void => {
      if (!undo.has(key)) undo.set(key, this.kvs.get(key));
      if (kv === undefined) this.kvs.delete(key);
      else this.kvs.set(key, kv);
      this.sorted = undefined;
      changes.set(key, { key, kv });
    };
    try {
      run((op) => {
        const { request_put: put, request_delete_range: gone, request_range: range } = op as Asked<RequestOp>;
        if ((put as unknown) !== undefined) {
          const key = text(put.key);
          const lease = put.lease ?? 0n;
          const before = this.kvs.get(key);
          if (lease !== 0n && !this.leases.has(lease)) throw new Refused(NOT_FOUND, "etcdserver: requested lease not found");
          if (key === "") throw new Refused(3, "etcdserver: key is not provided");
          set(key, { key, value: put.ignore_value === true ? before!.value : Buffer.from(put.value ?? []), create: before?.create ?? next, mod: next, version: (before?.version ?? 0) + 1, lease });
          responses.push({ response_put: {} } as object);
        } else if ((gone as unknown) !== undefined) {
          const stop = text(gone.range_end);
          const keys = this.within(text(gone.key), stop === "" ? undefined : stop);
          for (const key of keys) set(key, undefined);
          responses.push({ response_delete_range: { deleted: keys.length } });
        } else responses.push({ response_range: this.range(range as Asked<RangeRequest>) } as object);
      });
    } catch (error) {
      for (const [key, kv] of undo) {
        if (kv === undefined) this.kvs.delete(key);
        else this.kvs.set(key, kv);
      }
      this.sorted = undefined;
      throw error;
    }
    if (changes.size > 0) this.commit([...changes.values()], undo);
    return responses;
  }

  private commit(changes: readonly Change[], before: ReadonlyMap<string, Kv | undefined>): void {
    const revision = ++this.revision;
    for (const { key, kv } of changes) {
      const old = before.get(key);
      if (old !== undefined && old.lease !== 0n) this.leases.get(old.lease)?.keys.delete(key);
      if (kv !== undefined && kv.lease !== 0n) this.leases.get(kv.lease)?.keys.add(key);
    }
    this.history.push({ revision, changes });
    this.world.trace(`etcd commit ${revision} ${changes.map(({ key, kv }) => `${key}${kv === undefined ? "-" : ""}`).join()}`);
    this.onCommit(revision, changes);
    for (const watcher of this.watchers) this.tell(watcher, [{ revision, changes }]);
  }

  private compact(revision: number): void {
    this.compacted = revision;
    while (this.history.length > 0 && this.history[0]!.revision <= revision) {
      for (const { key, kv } of this.history.shift()!.changes) {
        if (kv === undefined) this.base.delete(key);
        else this.base.set(key, kv);
      }
    }
  }
  /** Lets go of all that was before now, as another one's compaction would. */
  compactNow(): void {
    if (this.revision > this.compacted) this.compact(this.revision);
  }

  // --- leases ---

  private prolong(id: bigint, lease: Lease): void {
    lease.until = this.world.now + lease.ttlMs;
    this.expireAt(id, lease);
  }
  private expireAt(id: bigint, lease: Lease): void {
    const until = lease.until;
    this.world.after(until - this.world.now, undefined, () => {
      if (this.leases.get(id) !== lease || lease.until !== until || !this.leader) return;
      this.world.trace(`etcd lease ${id} is over`);
      this.end(id);
    });
  }
  private end(id: bigint): void {
    const lease = this.leases.get(id)!;
    this.leases.delete(id);
    this.writing((write) => {
      for (const key of [...lease.keys].sort()) write({ request_delete_range: { key: bytesOf(key) } });
    });
  }

  // --- watches ---

  private watch({ end, call, member }: { readonly end: End; readonly call: number; readonly member: Member }, { key, range_end, start_revision }: { readonly key: Buffer; readonly range_end: Buffer; readonly start_revision: number }): void {
    const watcher: Watcher = { end, call, member, start: text(key), stop: text(range_end) === "" ? undefined : text(range_end) };
    this.answer(end, call, this.watchAnswer(member, { created: true }));
    if (start_revision > 0 && start_revision <= this.compacted) {
      this.answer(end, call, this.watchAnswer(member, { canceled: true, compact_revision: this.compacted }));
      return;
    }
    this.watchers.add(watcher);
    if (start_revision > 0) this.tell(watcher, this.history.filter(({ revision }) => revision >= start_revision));
  }

  private watchAnswer(member: Member, value: object): Buffer {
    return (procedures.watch.response as unknown as { encode(value: object): Buffer }).encode({ header: this.header(member), ...value });
  }

  private tell({ end, call, member, start, stop }: Watcher, commits: readonly { readonly revision: number; readonly changes: readonly Change[] }[]): void {
    const events = commits.flatMap(({ revision, changes }) => changes.filter(({ key }) => (stop === undefined ? key === start : key >= start && (stop === "\0" || key < stop)))
      .map(({ key, kv }) => (kv === undefined ? { type: 1, kv: { key: bytesOf(key), mod_revision: revision } } : { type: 0, kv: wireOf(kv, false) })));
    if (events.length > 0) this.answer(end, call, this.watchAnswer(member, { events }));
  }
}
