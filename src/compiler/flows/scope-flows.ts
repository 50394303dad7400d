// The desired flows of every scope: who contributes what, what a switch gets for it, and the difference since the last batch, spread
// over the chassis that have each scope. Nearly every flow has one contributor and is in one scope. Equal flows of several count once,
// conjunctions with the same match are merged within a scope, anything else is a conflict that the first by name wins, so that the
// result does not depend on the order of events. What several make of a flow is computed once and kept until one of them changes.
//
// Two scopes of one chassis may have the same key: the chassis loses the flow with the last of them. Such keys are rare, and found by
// counting (key-counts.ts); for them every scope of the chassis is asked.
import type { Stepwise } from "../../lib/turns/stepwise.ts";
import { Conflicts } from "./conflicts.ts";
import type { ChassisDelta } from "../desired.ts";
import { firstOf, FlowSet, Shared, type Entry } from "./flow-set.ts";
import { conjunctionRoom, sameActions, sameBytes, type FlowEncoder, type FlowScope, type OwnedFlow } from "./flows.ts";
import { KeyCounts } from "./key-counts.ts";
import { isRoot, type MembershipChange, type Scopes } from "../scopes.ts";

interface ScopeState<O> extends FlowScope {
  readonly root: boolean;
  readonly flows: FlowSet<O>;
}

/** A key whose flow may have changed in this batch: one with that key, and the effective one before. */
interface Changed<O> {
  readonly flow: OwnedFlow<O>;
  readonly before: OwnedFlow<O> | undefined;
}

/** What a switch gets for a key of a scope, before this batch and now. */
interface Difference<O> {
  readonly flow: OwnedFlow<O>;
  readonly before: OwnedFlow<O> | undefined;
  readonly after: OwnedFlow<O> | undefined;
}

export interface FlowConflict {
  readonly scope: string;
  readonly table: number;
  readonly first: string;
  readonly second: string;
}

/** Flows of a scope that are read in one step; and how often it is tried to read those of a chassis while others change them. */
const STEP = 512;
const TRIES = 3;

export class ScopeFlows<O> {
  /** Distinct flows, and how many changed since the start. */
  count = 0;
  flowsChanged = 0;
  /** So many batches ended. */
  private batch = 0;
  /** Whether differences are kept: not while everything is compiled, which is the first batch. */
  private incremental = false;
  private readonly states = new Map<string, ScopeState<O>>();
  /** Scopes that were asked for in this batch and were not there. */
  private fresh: ScopeState<O>[] = [];
  private changed = new Map<ScopeState<O>, Map<string, Changed<O>>>();
  /** Whose flow has to be made, or made again. */
  private readonly outdated = new Set<Shared<O>>();
  private readonly counts = new KeyCounts();
  /** Keys that a scope lost in this batch: until it ends they count, for what a chassis had before is asked as well. */
  private gone: { readonly hash: number; readonly root: boolean }[] = [];
  /** Hashes of the keys that came in the first batch, of roots and of others; undefined: to be collected from the scopes. */
  private came: { readonly roots: number[]; readonly others: number[] } | undefined = { roots: [], others: [] };
  private readonly disputes: Conflicts<FlowConflict>;
  private readonly scopes: Scopes;
  private readonly encoder: FlowEncoder;
  private readonly nameOf: (owner: O) => string;

  constructor(scopes: Scopes, encoder: FlowEncoder, nameOf: (owner: O) => string, onConflict: (conflict: FlowConflict) => void) {
    this.scopes = scopes;
    this.encoder = encoder;
    this.nameOf = nameOf;
    this.disputes = new Conflicts(onConflict);
  }

  /** Flows that two runs disagree on, as of now. */
  get conflicts(): readonly FlowConflict[] {
    return this.disputes.list;
  }

  /** A scope by name. It stays the same object as long as it has anything, and until the batch ends. */
  scope(name: string): FlowScope {
    return this.state(name);
  }

  private state(name: string): ScopeState<O> {
    let state = this.states.get(name);
    if (state === undefined) {
      this.states.set(name, (state = { name, root: isRoot(name), flows: new FlowSet<O>() }));
      if (this.incremental) this.fresh.push(state);
    }
    return state;
  }

  private note(state: ScopeState<O>, flow: OwnedFlow<O>): void {
    if (!this.incremental) return;
    let keys = this.changed.get(state);
    if (keys === undefined) this.changed.set(state, (keys = new Map<string, Changed<O>>()));
    if (!keys.has(flow.key)) keys.set(flow.key, { flow, before: this.effective(state, flow) });
  }

  contribute(flow: OwnedFlow<O>): void {
    const state = flow.scope as ScopeState<O>;
    this.note(state, flow);
    this.encoder.retain(flow);
    const now = state.flows.addNew(flow);
    if (now === undefined) {
      this.count++;
      if (this.came !== undefined) (state.root ? this.came.roots : this.came.others).push(flow.hash);
    } else if (now instanceof Shared) {
      this.outdate(now);
      now.flows.push(flow);
    } else {
      const shared = new Shared([now, flow]);
      this.outdated.add(shared);
      state.flows.set(flow, shared);
    }
  }

  withdraw(flow: OwnedFlow<O>): void {
    const state = flow.scope as ScopeState<O>;
    this.note(state, flow);
    const now = state.flows.get(flow);
    if (now instanceof Shared) {
      this.outdate(now);
      now.flows.splice(now.flows.indexOf(flow), 1);
      if (now.flows.length === 1) {
        state.flows.set(flow, now.flows[0]!);
        this.outdated.delete(now);
        this.disputes.set(now, undefined);
      }
    } else {
      state.flows.delete(flow);
      this.count--;
      this.came = undefined;
    }
    this.encoder.release(flow);
  }

  /** What the contributors made together has to be made again. */
  private outdate(shared: Shared<O>): void {
    this.outdated.add(shared);
    const { effective } = shared;
    shared.effective = undefined;
    if (effective !== undefined && !shared.flows.includes(effective)) this.encoder.release(effective);
  }

  /** What a switch gets for a flow's key in a scope: the one flow, the merged conjunction, or of conflicting ones the first. */
  private effective(state: ScopeState<O>, flow: OwnedFlow<O>): OwnedFlow<O> | undefined {
    const now = state.flows.get(flow);
    return now === undefined ? undefined : this.resolve(now);
  }

  private resolve(entry: Entry<O>): OwnedFlow<O> {
    if (!(entry instanceof Shared)) return entry;
    if (entry.effective === undefined) {
      this.outdated.delete(entry);
      entry.effective = this.merge(entry);
    }
    return entry.effective;
  }

  private merge(shared: Shared<O>): OwnedFlow<O> {
    const { flows } = shared;
    const conjunctions = flows.every((f) => sameActions(f, flows[0]!)) ? [] : flows.map((f) => f.conjunctions);
    if (conjunctions.length === 0 || !conjunctions.every((c) => c !== undefined)) return this.first(shared, flows);
    const first = this.least(flows);
    const actions = new Map(conjunctions.flat().map((a) => [`${a.id},${a.clause},${a.n_clauses}`, a]));
    const all = [...actions.values()].sort((a, b) => a.id - b.id || a.clause - b.clause || a.n_clauses - b.n_clauses);
    // A message has its size: what does not fit is left out and logged, the rest holds.
    const room = conjunctionRoom(first);
    this.disputes.set(shared, all.length > room ? this.conflict(first, `${all.length} conjunctions, of which one flow holds ${room}`) : undefined);
    const merged = this.encoder.encodeMerged(first, all.slice(0, room));
    this.encoder.retain(merged);
    return merged;
  }

  /** The first of flows with one key, and a conflict at `place` if they differ. */
  private first(place: unknown, flows: readonly OwnedFlow<O>[]): OwnedFlow<O> {
    const { flow, conflict } = this.choose(flows);
    this.disputes.set(place, conflict);
    return flow;
  }

  /** Of flows with one key the first by names, of its owner and then of its scope; a conflict if another does something else. */
  private choose(flows: readonly OwnedFlow<O>[]): { readonly flow: OwnedFlow<O>; readonly conflict?: FlowConflict } {
    const flow = this.least(flows);
    const others = flows.filter((f) => !sameActions(f, flow));
    return others.length === 0 ? { flow } : { flow, conflict: this.conflict(flow, this.nameOf(this.least(others).owner)) };
  }

  private least(flows: readonly OwnedFlow<O>[]): OwnedFlow<O> {
    let least = flows[0]!;
    if (flows.length === 1) return least;
    let name = this.nameOf(least.owner);
    for (const flow of flows) {
      const other = this.nameOf(flow.owner);
      if (other > name || (other === name && flow.scope.name >= least.scope.name)) continue;
      least = flow;
      name = other;
    }
    return least;
  }

  private conflict(first: OwnedFlow<O>, second: string): FlowConflict {
    return { scope: first.scope.name, table: first.table, first: this.nameOf(first.owner), second };
  }

  /** Ends a batch: the differences were taken, and scopes without anything in them end. */
  endBatch(): void {
    this.batch++;
    for (const shared of this.outdated) this.resolve(shared);
    this.counts.rootsMeet = this.scopes.rootsMeet;
    const emptied = this.incremental ? [...this.changed.keys(), ...this.fresh] : [...this.states.values()];
    this.fresh = [];
    for (const state of emptied) if (state.flows.size === 0) this.states.delete(state.name);
    this.changed = new Map();
    this.encoder.endBatch();
    for (const { hash, root } of this.gone) this.counts.remove(hash, root);
    this.gone = [];
    if (!this.incremental || this.counts.crowded) this.recount();
    this.incremental = true;
  }

  private recount(): void {
    const { came, counts } = this;
    this.came = undefined;
    counts.reset(this.count);
    if (came !== undefined) {
      for (const hash of came.roots) counts.add(hash, true);
      for (const hash of came.others) counts.add(hash, false);
      return;
    }
    for (const { root, flows } of this.states.values()) flows.each((entry) => counts.add(firstOf(entry).hash, root));
  }

  /** The chassis is no more. */
  removeChassis(chassis: string): void {
    this.disputes.dropPlaces(`${chassis} `);
  }

  /** The difference since the last batch, for each chassis. `membership`: scopes chassis gained and lost meanwhile. */
  commit(membership: MembershipChange, of: (chassis: string) => ChassisDelta): void {
    this.counts.rootsMeet ||= this.scopes.rootsMeet;
    const differences: [ScopeState<O>, Difference<O>[]][] = [];
    for (const [state, keys] of this.changed) {
      const list: Difference<O>[] = [];
      for (const { flow, before } of keys.values()) {
        const after = this.effective(state, flow);
        if (before === undefined ? after === undefined : after !== undefined && sameBytes(before, after)) continue;
        list.push({ flow, before, after });
        if (before === undefined) this.counts.add(flow.hash, state.root);
        else if (after === undefined) this.gone.push({ hash: flow.hash, root: state.root });
      }
      if (list.length > 0) differences.push([state, list]);
      this.flowsChanged += list.length;
    }
    /** Keys that may be in several scopes of a chassis. */
    const contested = new Map<string, OwnedFlow<O>[]>();
    for (const [state, list] of differences) {
      const single = list.filter(({ flow }) => this.counts.single(flow.hash));
      const other = single.length === list.length ? [] : list.filter(({ flow }) => !this.counts.single(flow.hash));
      for (const id of this.scopes.members(state.name)) {
        if (membership.gained.get(id)?.has(state.name) === true) continue;
        for (const { flow } of other) push(contested, id, flow);
        if (single.length === 0) continue;
        const delta = of(id);
        for (const { before, after } of single) {
          if (after === undefined) delta.remove.push(before!);
          else {
            delta.add.push(after);
            if (before !== undefined) delta.changed.add(after);
          }
        }
      }
    }
    for (const [id, scopes] of membership.gained) {
      for (const scope of scopes) {
        for (const flow of this.flowsIn(scope)) {
          if (this.counts.single(flow.hash)) of(id).add.push(flow);
          else push(contested, id, flow);
        }
      }
    }
    for (const [id, scopes] of membership.lost) {
      for (const scope of scopes) {
        for (const flow of this.flowsBefore(scope)) {
          if (this.counts.single(flow.hash)) of(id).remove.push(flow);
          else push(contested, id, flow);
        }
      }
    }
    for (const [id, flows] of contested) this.decide(id, flows, membership, of);
  }

  /** Keys that several scopes of a chassis may have had or have: what they came to before and come to now. */
  private decide(chassis: string, flows: readonly OwnedFlow<O>[], membership: MembershipChange, of: (chassis: string) => ChassisDelta): void {
    const gained = membership.gained.get(chassis);
    const lost = new Set(membership.lost.get(chassis));
    const states = [...this.scopes.of(chassis), ...lost].map((s) => this.states.get(s)).filter((s) => s !== undefined);
    const holders = this.holders(states, flows);
    const changed = states.filter((s) => this.changed.has(s));
    const seen = new Set<string>();
    for (const flow of flows) {
      const { key } = flow;
      if (seen.has(key)) continue;
      seen.add(key);
      const before: OwnedFlow<O>[] = [];
      const after: OwnedFlow<O>[] = [];
      for (const state of holders(flow)) {
        const now = this.effective(state, flow);
        if (now === undefined) continue;
        if (!lost.has(state.name)) after.push(now);
        if (gained?.has(state.name) !== true && this.changed.get(state)?.has(key) !== true) before.push(now);
      }
      for (const state of changed) {
        const was = gained?.has(state.name) === true ? undefined : this.changed.get(state)!.get(key)?.before;
        if (was !== undefined) before.push(was);
      }
      const place = `${chassis} ${key}`;
      const was = before.length === 0 ? undefined : this.choose(before).flow;
      if (after.length === 0) this.disputes.set(place, undefined);
      const is = after.length === 0 ? undefined : this.first(place, after);
      if (is === undefined) {
        if (was !== undefined) of(chassis).remove.push(was);
      } else if (was === undefined || !sameBytes(was, is)) {
        const delta = of(chassis);
        delta.add.push(is);
        if (was !== undefined) delta.changed.add(is);
      }
    }
  }

  /** Those of the scopes that have a flow's key, and maybe more. */
  private holders(states: readonly ScopeState<O>[], flows: readonly OwnedFlow<O>[]): (flow: OwnedFlow<O>) => Iterable<ScopeState<O>> {
    // Few keys are asked of every scope; many are found by one walk over all that the scopes have.
    if (flows.length * states.length <= states.reduce((sum, s) => sum + s.flows.size, 0)) return () => states;
    const byHash = new Map<number, Set<ScopeState<O>>>(flows.map((f) => [f.hash, new Set()]));
    for (const state of states) state.flows.each((entry) => byHash.get(firstOf(entry).hash)?.add(state));
    return (flow) => byHash.get(flow.hash)!;
  }

  /** What a chassis should have, each key once: in steps. What changes in between makes it begin anew, at last without a stop. */
  *flowsOf(chassis: string): Stepwise<OwnedFlow<O>[]> {
    for (let stops = true, tries = 1; ; stops = tries++ < TRIES) {
      const { batch } = this;
      const flows: OwnedFlow<O>[] = [];
      const contested = new Map<number, OwnedFlow<O>[]>();
      const visit = (entry: Entry<O>): void => {
        const flow = this.resolve(entry);
        if (this.counts.single(flow.hash)) flows.push(flow);
        else push(contested, flow.hash, flow);
      };
      const sets = [...this.scopes.of(chassis)].flatMap((scope) => this.states.get(scope)?.flows ?? []);
      for (const set of sets) for (let from = 0; from < set.places && batch === this.batch; from += STEP) {
        set.each(visit, from, from + STEP);
        if (stops) yield;
      }
      if (batch !== this.batch) continue;
      const groups = [...contested.values()].flatMap((alike) => (alike.length === 1 ? [alike] : [...groupByKey(alike)]));
      for (const same of groups) flows.push(same.length === 1 ? same[0]! : this.first(`${chassis} ${same[0]!.key}`, same));
      return flows;
    }
  }

  /** What switches get for a flow that a run wants, which may be an equal one of another run, and which chassis those are of. */
  placed(flow: OwnedFlow<O>): { readonly flow: OwnedFlow<O>; readonly chassis: Iterable<string> } | undefined {
    const effective = this.effective(flow.scope as ScopeState<O>, flow);
    return effective && { flow: effective, chassis: this.scopes.members(flow.scope.name) };
  }

  /** Effective flows of a scope. */
  private *flowsIn(scope: string): Iterable<OwnedFlow<O>> {
    for (const entry of this.states.get(scope)?.flows.values() ?? []) yield this.resolve(entry);
  }

  /** The flows a scope had before this batch. */
  private *flowsBefore(name: string): Iterable<OwnedFlow<O>> {
    const state = this.states.get(name);
    if (state === undefined) return;
    const changed = this.changed.get(state);
    if (changed !== undefined) for (const { before } of changed.values()) if (before !== undefined) yield before;
    for (const entry of state.flows.values()) {
      const flow = this.resolve(entry);
      if (changed?.has(flow.key) !== true) yield flow;
    }
  }
}

function groupByKey<O>(flows: readonly OwnedFlow<O>[]): Iterable<OwnedFlow<O>[]> {
  const groups = new Map<string, OwnedFlow<O>[]>();
  for (const flow of flows) push(groups, flow.key, flow);
  return groups.values();
}

function push<K, T>(map: Map<K, T[]>, key: K, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
