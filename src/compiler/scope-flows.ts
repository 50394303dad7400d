// The desired flows of every scope: who contributes what, what a switch gets for it, and the difference since the last batch, spread
// over the chassis that have each scope. Nearly every flow has one contributor. Equal flows of several count once, conjunctions with
// the same match are merged, anything else is a conflict in which the first by cookie wins, so that the result does not depend on the
// order of events. What several make of a flow is computed once and kept until one of them changes.
import type { ChassisDelta, Flow } from "./desired.ts";
import { FlowSet, Shared, type Entry } from "./flow-set.ts";
import { conjunctionRoom, sameBytes, type FlowEncoder, type FlowScope, type OwnedFlow } from "./flows.ts";
import type { MembershipChange, Scopes } from "./scopes.ts";

interface ScopeState<O> extends FlowScope {
  readonly flows: FlowSet<O>;
}

/** A key whose flow may have changed in this batch: one with that key, and the effective one before. */
interface Changed<O> {
  readonly flow: OwnedFlow<O>;
  readonly before: OwnedFlow<O> | undefined;
}

export interface FlowConflict {
  readonly scope: string;
  readonly table: number;
  readonly first: string;
  readonly second: string;
}

export class ScopeFlows<O> {
  /** Distinct flows, and how many changed since the start. */
  count = 0;
  flowsChanged = 0;
  /** Whether differences are kept: not while everything is compiled. */
  incremental = false;
  private readonly states = new Map<string, ScopeState<O>>();
  private changed = new Map<ScopeState<O>, Map<string, Changed<O>>>();
  private readonly disputes = new Map<Shared<O>, FlowConflict>();
  private readonly scopes: Scopes;
  private readonly encoder: FlowEncoder;
  private readonly nameOf: (owner: O) => string;
  private readonly onConflict: (conflict: FlowConflict) => void;

  constructor(scopes: Scopes, encoder: FlowEncoder, nameOf: (owner: O) => string, onConflict: (conflict: FlowConflict) => void) {
    this.scopes = scopes;
    this.encoder = encoder;
    this.nameOf = nameOf;
    this.onConflict = onConflict;
  }

  /** Flows that two runs disagree on, as of now. */
  get conflicts(): readonly FlowConflict[] {
    return [...this.disputes.values()];
  }

  /** A scope by name. It stays the same object as long as it has anything, and until the batch ends. */
  scope(name: string): FlowScope {
    return this.state(name);
  }

  private state(name: string): ScopeState<O> {
    let state = this.states.get(name);
    if (state === undefined) this.states.set(name, (state = { name, flows: new FlowSet<O>() }));
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
    if (now === undefined) this.count++;
    else if (now instanceof Shared) {
      this.outdate(now);
      now.flows.push(flow);
    } else state.flows.set(flow, new Shared([now, flow]));
  }

  withdraw(flow: OwnedFlow<O>): void {
    const state = flow.scope as ScopeState<O>;
    this.note(state, flow);
    const now = state.flows.get(flow);
    if (now instanceof Shared) {
      this.outdate(now);
      now.flows.splice(now.flows.indexOf(flow), 1);
      if (now.flows.length === 1) state.flows.set(flow, now.flows[0]!);
    } else {
      state.flows.delete(flow);
      this.count--;
    }
    this.encoder.release(flow);
  }

  /** What the contributors made together has to be made again. */
  private outdate(shared: Shared<O>): void {
    this.disputes.delete(shared);
    const { effective } = shared;
    shared.effective = undefined;
    if (effective !== undefined && !shared.flows.includes(effective)) this.encoder.release(effective);
  }

  /** What a switch gets for a flow's key: the one flow, the merged conjunction, or of conflicting ones the first by cookie. */
  private effective(state: ScopeState<O>, flow: OwnedFlow<O>): OwnedFlow<O> | undefined {
    const now = state.flows.get(flow);
    return now === undefined ? undefined : this.resolve(now);
  }

  private resolve(entry: Entry<O>): OwnedFlow<O> {
    return entry instanceof Shared ? (entry.effective ??= this.merge(entry)) : entry;
  }

  private merge(shared: Shared<O>): OwnedFlow<O> {
    const sorted = [...shared.flows].sort((a, b) => a.cookieHi - b.cookieHi || a.cookieLo - b.cookieLo);
    const first = sorted[0]!;
    const other = sorted.find((f) => !sameActions(f, first));
    if (other === undefined) return first;
    const conjunctions = sorted.map((f) => f.conjunctions);
    if (!conjunctions.every((c) => c !== undefined)) {
      this.dispute(shared, first, this.nameOf(other.owner));
      return first;
    }
    const actions = new Map(conjunctions.flat().map((a) => [`${a.id},${a.clause},${a.n_clauses}`, a]));
    const all = [...actions.values()].sort((a, b) => a.id - b.id || a.clause - b.clause || a.n_clauses - b.n_clauses);
    // A message has its size: what does not fit is left out and logged, the rest holds.
    const room = conjunctionRoom(first);
    if (all.length > room) this.dispute(shared, first, `${all.length} conjunctions, of which one flow holds ${room}`);
    const merged = this.encoder.encodeMerged(first, all.slice(0, room));
    this.encoder.retain(merged);
    return merged;
  }

  private dispute(shared: Shared<O>, first: OwnedFlow<O>, second: string): void {
    const conflict = { scope: first.scope.name, table: first.table, first: this.nameOf(first.owner), second };
    this.disputes.set(shared, conflict);
    this.onConflict(conflict);
  }

  /** Ends a batch: the differences were taken, and scopes without anything in them end. */
  endBatch(): void {
    const emptied = this.incremental ? [...this.changed.keys()] : [...this.states.values()];
    for (const state of emptied) if (state.flows.size === 0) this.states.delete(state.name);
    this.changed = new Map();
    this.encoder.endBatch();
  }

  /** The difference since the last batch, for each chassis. `membership`: scopes chassis gained and lost meanwhile. */
  commit(membership: MembershipChange, of: (chassis: string) => ChassisDelta): void {
    for (const [state, keys] of this.changed) {
      const scope = state.name;
      const add: Flow[] = [];
      const changed: Flow[] = [];
      const remove: Flow[] = [];
      for (const { flow, before } of keys.values()) {
        const after = this.effective(state, flow);
        if (after === undefined && before !== undefined) remove.push(before);
        else if (after !== undefined && (before === undefined || !sameBytes(before, after))) {
          add.push(after);
          if (before !== undefined) changed.push(after);
        }
      }
      this.flowsChanged += add.length + remove.length;
      if (add.length + remove.length === 0) continue;
      for (const id of this.scopes.members(scope)) {
        if (membership.gained.get(id)?.has(scope) === true) continue;
        const delta = of(id);
        append(delta.add, add);
        for (const flow of changed) delta.changed.add(flow);
        append(delta.remove, remove);
      }
    }
    for (const [id, scopes] of membership.gained) for (const scope of scopes) append(of(id).add, this.flowsIn(scope));
    for (const [id, scopes] of membership.lost) for (const scope of scopes) append(of(id).remove, this.flowsBefore(scope));
  }

  /** Effective flows of a scope. */
  *flowsIn(scope: string): Iterable<OwnedFlow<O>> {
    for (const entry of this.states.get(scope)?.flows.values() ?? []) yield this.resolve(entry);
  }

  /** The flows a scope had before this batch. */
  private *flowsBefore(name: string): Iterable<Flow> {
    const state = this.states.get(name);
    if (state === undefined) return;
    const changed = this.changed.get(state);
    if (changed !== undefined) for (const { before } of changed.values()) if (before !== undefined) yield before;
    for (const entry of state.flows.values()) {
      const flow = this.resolve(entry);
      if (changed?.has(flow.key) !== true) yield flow;
    }
  }

  names(): Iterable<string> {
    return this.states.keys();
  }
}

function append<T>(to: T[], from: Iterable<T>): void {
  for (const x of from) to.push(x);
}

/** A key that one scope gives up and another takes over is replaced, not removed. */
export function dedupe(delta: ChassisDelta): void {
  if (delta.remove.length === 0 || delta.add.length === 0) return;
  const added = new Map(delta.add.map((f) => [f.key, f]));
  const rest: Flow[] = [];
  for (const flow of delta.remove) {
    const now = added.get(flow.key);
    if (now === undefined) rest.push(flow);
    else delta.changed.add(now);
  }
  delta.remove.length = 0;
  append(delta.remove, rest);
}

const sameActions = (a: Flow, b: Flow): boolean => {
  const at = 48 + a.matchLen;
  return a.len === b.len && a.slab.compare(b.slab, b.off + at, b.off + b.len, a.off + at, a.off + a.len) === 0;
};
