// The desired flows, meters and ports of every scope: who contributes what, what a switch gets for it, and the difference
// since the last batch, spread over the chassis that have each scope. Nearly every flow has one contributor. Equal flows of
// several count once, conjunctions with the same match are merged, anything else is a conflict in which the first by
// cookie wins, so that the result does not depend on the order of events.
import type { ChassisDelta, Delta, Flow, Meter, OvsPort } from "./desired.ts";
import { FlowSet, type Entry } from "./flow-set.ts";
import { conjunctionRoom, sameBytes, type FlowEncoder, type Home, type OwnedFlow } from "./flows.ts";
import type { MembershipChange, Scopes } from "./scopes.ts";

interface ScopeState<O> extends Home {
  readonly flows: FlowSet<O>;
  readonly meters: Map<number, Meter>;
  readonly ports: Map<string, OvsPort>;
}

/** A key whose flow may have changed in this batch: one with that key, and the effective one before. */
interface Touch<O> {
  readonly flow: OwnedFlow<O>;
  readonly before: OwnedFlow<O> | undefined;
}

/** What a run wants beside flows. */
export interface Extras {
  readonly includes: readonly (readonly [string, string])[];
  readonly meters: readonly { readonly scope: string; readonly meter: Meter }[];
  readonly ports: readonly { readonly scope: string; readonly port: OvsPort }[];
  readonly variants: readonly (readonly [string, string])[];
}

export interface FlowConflict {
  readonly scope: string;
  readonly table: number;
  readonly first: string;
  readonly second: string;
}

export class ScopeStore<O> {
  /** Distinct flows, and how many changed since the start. */
  count = 0;
  flowsChanged = 0;
  readonly conflicts: FlowConflict[] = [];
  /** Whether differences are kept: not while everything is compiled. */
  told = false;
  private readonly scopeFlows = new Map<string, ScopeState<O>>();
  private touched = new Map<ScopeState<O>, Map<string, Touch<O>>>();
  private touchedMeters = new Map<string, Map<number, Meter | undefined>>();
  private touchedPorts = new Set<string>();
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

  replaceExtras(before: Extras, after: Extras): void {
    for (const { scope, meter } of before.meters) {
      if (after.meters.some((m) => m.scope === scope && m.meter.id === meter.id)) continue;
      this.touchMeter(scope, meter.id);
      this.scope(scope).meters.delete(meter.id);
    }
    for (const { scope, meter } of after.meters) {
      this.touchMeter(scope, meter.id);
      this.scope(scope).meters.set(meter.id, meter);
    }
    for (const { scope, port } of before.ports) {
      this.scope(scope).ports.delete(port.name);
      this.touchedPorts.add(scope);
    }
    for (const { scope, port } of after.ports) {
      this.scope(scope).ports.set(port.name, port);
      this.touchedPorts.add(scope);
    }
  }

  /** A scope by name. It stays the same object as long as it has anything, and until the batch ends. */
  home(name: string): Home {
    return this.scope(name);
  }

  private scope(name: string): ScopeState<O> {
    let scope = this.scopeFlows.get(name);
    if (scope === undefined) this.scopeFlows.set(name, (scope = { name, flows: new FlowSet<O>(), meters: new Map(), ports: new Map() }));
    return scope;
  }

  private touch(scope: ScopeState<O>, flow: OwnedFlow<O>): void {
    if (!this.told) return;
    let keys = this.touched.get(scope);
    if (keys === undefined) this.touched.set(scope, (keys = new Map<string, Touch<O>>()));
    if (!keys.has(flow.key)) keys.set(flow.key, { flow, before: this.effective(scope, flow) });
  }

  private touchMeter(scope: string, id: number): void {
    if (!this.told) return;
    let ids = this.touchedMeters.get(scope);
    if (ids === undefined) this.touchedMeters.set(scope, (ids = new Map<number, Meter | undefined>()));
    if (!ids.has(id)) ids.set(id, this.scopeFlows.get(scope)?.meters.get(id));
  }

  contribute(flow: OwnedFlow<O>): void {
    const scope = flow.home as ScopeState<O>;
    this.touch(scope, flow);
    const now = scope.flows.addNew(flow);
    if (now === undefined) this.count++;
    else if (Array.isArray(now)) now.push(flow);
    else scope.flows.set(flow, [now, flow]);
  }

  withdraw(flow: OwnedFlow<O>): void {
    const scope = flow.home as ScopeState<O>;
    this.touch(scope, flow);
    const now = scope.flows.get(flow);
    if (Array.isArray(now)) {
      const rest = now.filter((f) => f !== flow);
      scope.flows.set(flow, rest.length === 1 ? rest[0]! : rest);
    } else {
      scope.flows.delete(flow);
      this.count--;
    }
  }

  /** What a switch gets for a flow's key: the one flow, the merged conjunction, or of conflicting ones the first by cookie. */
  private effective(scope: ScopeState<O>, flow: OwnedFlow<O>): OwnedFlow<O> | undefined {
    const now = scope.flows.get(flow);
    return now === undefined ? undefined : this.resolve(now);
  }

  private resolve(entry: Entry<O>): OwnedFlow<O> {
    return Array.isArray(entry) ? this.merge(entry) : entry;
  }

  private merge(flows: OwnedFlow<O>[]): OwnedFlow<O> {
    const sorted = [...flows].sort((a, b) => a.cookieHi - b.cookieHi || a.cookieLo - b.cookieLo);
    const first = sorted[0]!;
    const conjunctions = sorted.map((f) => f.conjunctions);
    if (conjunctions.every((c) => c !== undefined)) {
      const actions = new Map(conjunctions.flat().map((a) => [`${a.id},${a.clause},${a.n_clauses}`, a]));
      const merged = [...actions.values()].sort((a, b) => a.id - b.id || a.clause - b.clause || a.n_clauses - b.n_clauses);
      // A message has its size: what does not fit is left out and said, the rest holds.
      const room = conjunctionRoom(first);
      if (merged.length > room) this.onConflict({ scope: first.scope, table: first.table, first: this.nameOf(first.owner), second: `${merged.length} conjunctions, of which one flow holds ${room}` });
      return this.encoder.encodeMerged(first, merged.slice(0, room));
    }
    const other = sorted.find((f) => !sameActions(f, first));
    if (other !== undefined) {
      const conflict: FlowConflict = { scope: first.scope, table: first.table, first: this.nameOf(first.owner), second: this.nameOf(other.owner) };
      if (this.conflicts.length < 100) this.conflicts.push(conflict);
      this.onConflict(conflict);
    }
    return first;
  }

  /** Ends a batch: what changed is forgotten, and scopes without anything in them. */
  forgetTouched(): void {
    const names = new Set(this.touchedPorts);
    for (const scope of this.touched.keys()) names.add(scope.name);
    for (const name of this.touchedMeters.keys()) names.add(name);
    for (const name of this.told ? names : this.scopeFlows.keys()) {
      const scope = this.scopeFlows.get(name);
      if (scope !== undefined && scope.flows.size + scope.meters.size + scope.ports.size === 0) this.scopeFlows.delete(name);
    }
    this.touched = new Map();
    this.touchedMeters = new Map();
    this.touchedPorts = new Set();
  }

  /** The difference since the last call, for each chassis. `membership`: scopes chassis gained and lost meanwhile. */
  settle(generation: number, membership: MembershipChange): Delta {
    const chassis = new Map<string, ChassisDelta>();
    const of = (id: string): ChassisDelta => {
      let delta = chassis.get(id);
      if (delta === undefined) chassis.set(id, (delta = { add: [], changed: new Set(), remove: [], addMeters: [], removeMeters: [], portsChanged: false }));
      return delta;
    };
    this.flowDeltas(membership, of);
    this.meterDeltas(membership, of);
    for (const scope of this.touchedPorts) for (const id of this.scopes.members(scope)) of(id).portsChanged = true;
    for (const change of [membership.gained, membership.lost]) {
      for (const [id, scopes] of change) for (const s of scopes) if (this.touchedPorts.has(s) || (this.scopeFlows.get(s)?.ports.size ?? 0) > 0) of(id).portsChanged = true;
    }
    for (const delta of chassis.values()) dedupe(delta);
    this.forgetTouched();
    return { generation, chassis };
  }

  private flowDeltas(membership: MembershipChange, of: (chassis: string) => ChassisDelta): void {
    for (const [state, keys] of this.touched) {
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

  private meterDeltas(membership: MembershipChange, of: (chassis: string) => ChassisDelta): void {
    for (const [scope, ids] of this.touchedMeters) {
      for (const [meterId, before] of ids) {
        const after = this.scopeFlows.get(scope)?.meters.get(meterId);
        if (before !== undefined && after !== undefined && before.ratePps === after.ratePps && before.burst === after.burst) continue;
        for (const id of this.scopes.members(scope)) {
          if (membership.gained.get(id)?.has(scope) === true) continue;
          if (after !== undefined) of(id).addMeters.push(after);
          else if (before !== undefined) of(id).removeMeters.push(before);
        }
      }
    }
    for (const [id, scopes] of membership.gained) for (const s of scopes) append(of(id).addMeters, [...(this.scopeFlows.get(s)?.meters.values() ?? [])]);
    for (const [id, scopes] of membership.lost) for (const s of scopes) append(of(id).removeMeters, this.metersBefore(s));
  }

  /** Effective flows of a scope. */
  *flowsIn(scope: string): Iterable<OwnedFlow<O>> {
    for (const entry of this.scopeFlows.get(scope)?.flows.values() ?? []) yield this.resolve(entry);
  }

  /** The flows a scope had before this batch. */
  private *flowsBefore(name: string): Iterable<Flow> {
    const scope = this.scopeFlows.get(name);
    if (scope === undefined) return;
    const touched = this.touched.get(scope);
    if (touched !== undefined) for (const { before } of touched.values()) if (before !== undefined) yield before;
    for (const entry of scope.flows.values()) {
      const flow = this.resolve(entry);
      if (touched?.has(flow.key) !== true) yield flow;
    }
  }

  /** The meters a scope had before this batch. */
  private *metersBefore(scope: string): Iterable<Meter> {
    const touched = this.touchedMeters.get(scope);
    if (touched !== undefined) for (const meter of touched.values()) if (meter !== undefined) yield meter;
    for (const [id, meter] of this.scopeFlows.get(scope)?.meters ?? []) if (touched?.has(id) !== true) yield meter;
  }

  *metersIn(scope: string): Iterable<Meter> {
    yield* this.scopeFlows.get(scope)?.meters.values() ?? [];
  }

  *portsIn(scope: string): Iterable<OvsPort> {
    yield* this.scopeFlows.get(scope)?.ports.values() ?? [];
  }

  names(): Iterable<string> {
    return this.scopeFlows.keys();
  }
}

function append<T>(to: T[], from: Iterable<T>): void {
  for (const x of from) to.push(x);
}

/** A key that one scope gives up and another takes over is replaced, not removed; the last word on a key counts. */
function dedupe(delta: ChassisDelta): void {
  if (delta.remove.length > 0 && delta.add.length > 0) {
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
  if (delta.removeMeters.length > 0 && delta.addMeters.length > 0) {
    const added = new Set(delta.addMeters.map((m) => m.id));
    const rest = delta.removeMeters.filter((m) => !added.has(m.id));
    delta.removeMeters.length = 0;
    append(delta.removeMeters, rest);
  }
}

const sameActions = (a: Flow, b: Flow): boolean => {
  const at = 48 + a.matchLen;
  return a.len === b.len && a.slab.compare(b.slab, b.off + at, b.off + b.len, a.off + at, a.off + a.len) === 0;
};
