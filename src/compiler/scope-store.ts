// The desired flows, meters and ports of every scope: who contributes what, what a switch gets for it, and the difference
// since the last batch, spread over the chassis that have each scope. Nearly every flow has one contributor. Equal flows of
// several count once, conjunctions with the same match are merged, anything else is a conflict in which the first by
// cookie wins, so that the result does not depend on the order of events.
import type { ChassisDelta, Delta, Flow, Meter, OvsPort } from "./desired.ts";
import { conjunctionRoom, sameBytes, type FlowEncoder, type OwnedFlow } from "./flows.ts";
import type { MembershipChange, Scopes } from "./scopes.ts";

interface ScopeState<O> {
  readonly flows: Map<string, OwnedFlow<O> | OwnedFlow<O>[]>;
  readonly meters: Map<number, Meter>;
  readonly ports: Map<string, OvsPort>;
}

/** What a run wants beside flows. */
export interface Extras {
  readonly includes: [string, string][];
  readonly meters: { readonly scope: string; readonly meter: Meter }[];
  readonly ports: { readonly scope: string; readonly port: OvsPort }[];
  readonly variants: [string, string][];
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
  /** scope -> key -> effective flow before this batch. */
  private touched = new Map<string, Map<string, OwnedFlow<O> | undefined>>();
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

  private scope(name: string): ScopeState<O> {
    let scope = this.scopeFlows.get(name);
    if (scope === undefined) this.scopeFlows.set(name, (scope = { flows: new Map(), meters: new Map(), ports: new Map() }));
    return scope;
  }

  private touch(scope: string, key: string): void {
    if (!this.told) return;
    let keys = this.touched.get(scope);
    if (keys === undefined) this.touched.set(scope, (keys = new Map<string, OwnedFlow<O> | undefined>()));
    if (!keys.has(key)) keys.set(key, this.effective(scope, key));
  }

  private touchMeter(scope: string, id: number): void {
    if (!this.told) return;
    let ids = this.touchedMeters.get(scope);
    if (ids === undefined) this.touchedMeters.set(scope, (ids = new Map<number, Meter | undefined>()));
    if (!ids.has(id)) ids.set(id, this.scopeFlows.get(scope)?.meters.get(id));
  }

  contribute(flow: OwnedFlow<O>): void {
    const { flows } = this.scope(flow.scope);
    this.touch(flow.scope, flow.key);
    const now = flows.get(flow.key);
    if (now === undefined) {
      flows.set(flow.key, flow);
      this.count++;
    } else if (Array.isArray(now)) now.push(flow);
    else flows.set(flow.key, [now, flow]);
  }

  withdraw(flow: OwnedFlow<O>): void {
    const { flows } = this.scope(flow.scope);
    this.touch(flow.scope, flow.key);
    const now = flows.get(flow.key);
    if (Array.isArray(now)) {
      const rest = now.filter((f) => f !== flow);
      flows.set(flow.key, rest.length === 1 ? rest[0]! : rest);
    } else {
      flows.delete(flow.key);
      this.count--;
      const scope = this.scopeFlows.get(flow.scope)!;
      if (flows.size === 0 && scope.meters.size === 0 && scope.ports.size === 0) this.scopeFlows.delete(flow.scope);
    }
  }

  /** What a switch gets for a key: the one flow, the merged conjunction, or of conflicting ones the first by cookie. */
  private effective(scope: string, key: string): OwnedFlow<O> | undefined {
    const now = this.scopeFlows.get(scope)?.flows.get(key);
    return now === undefined ? undefined : Array.isArray(now) ? this.merge(now) : now;
  }

  private merge(flows: OwnedFlow<O>[]): OwnedFlow<O> {
    const sorted = [...flows].sort((a, b) => a.cookieHi - b.cookieHi || a.cookieLo - b.cookieLo);
    const first = sorted[0]!;
    if (sorted.every((f) => f.conjunctions !== undefined)) {
      const actions = new Map<string, object>();
      for (const f of sorted) for (const a of f.conjunctions!) actions.set(JSON.stringify(a), a);
      const merged = [...actions.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, a]) => a);
      // A message has its size: what does not fit is left out and said, the rest holds.
      const room = conjunctionRoom(first);
      if (merged.length > room) this.onConflict({ scope: first.scope, table: first.table, first: this.nameOf(first.owner), second: `${merged.length} conjunctions, of which one flow holds ${room}` });
      return this.encoder.encodeMerged(first, merged.slice(0, room) as never);
    }
    const other = sorted.find((f) => !sameActions(f, first));
    if (other !== undefined) {
      const conflict: FlowConflict = { scope: first.scope, table: first.table, first: this.nameOf(first.owner), second: this.nameOf(other.owner) };
      if (this.conflicts.length < 100) this.conflicts.push(conflict);
      this.onConflict(conflict);
    }
    return first;
  }

  forgetTouched(): void {
    this.touched = new Map();
    this.touchedMeters = new Map();
    this.touchedPorts = new Set();
  }

  /** The difference since the last call, for each chassis. `membership`: scopes chassis gained and lost meanwhile. */
  settle(generation: number, membership: MembershipChange): Delta {
    const chassis = new Map<string, ChassisDelta>();
    const of = (id: string): ChassisDelta => {
      let delta = chassis.get(id);
      if (delta === undefined) chassis.set(id, (delta = { add: [], remove: [], addMeters: [], removeMeters: [], portsChanged: false }));
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
    for (const [scope, keys] of this.touched) {
      const add: Flow[] = [];
      const remove: Flow[] = [];
      for (const [key, before] of keys) {
        const after = this.effective(scope, key);
        if (after === undefined && before !== undefined) remove.push(before);
        else if (after !== undefined && (before === undefined || !sameBytes(before, after))) add.push(after);
      }
      this.flowsChanged += add.length + remove.length;
      if (add.length + remove.length === 0) continue;
      for (const id of this.scopes.members(scope)) {
        if (membership.gained.get(id)?.has(scope) === true) continue;
        const delta = of(id);
        append(delta.add, add);
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
    for (const flow of this.scopeFlows.get(scope)?.flows.values() ?? []) yield Array.isArray(flow) ? this.merge(flow) : flow;
  }

  /** The flows a scope had before this batch. */
  private *flowsBefore(scope: string): Iterable<Flow> {
    const touched = this.touched.get(scope);
    if (touched !== undefined) for (const flow of touched.values()) if (flow !== undefined) yield flow;
    for (const [key, flow] of this.scopeFlows.get(scope)?.flows ?? []) {
      if (touched?.has(key) !== true) yield Array.isArray(flow) ? this.merge(flow) : flow;
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
    const added = new Set(delta.add.map((f) => f.key));
    const rest = delta.remove.filter((f) => !added.has(f.key));
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
