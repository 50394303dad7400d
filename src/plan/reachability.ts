// Which pairs of ports a change joins or parts, and for which traffic. Candidates come from the rows that change and from why flows change, as
// apps say which ports these are about, and which ports are around those; classes of traffic from what rules of the two tell apart. Each is
// followed as a packet over the flows of both states: what they say differently is told. Only so many are followed.
import { EXTERNAL, EXTERNAL_ADDRESS, type AnyTable, type App, type PacketQuestion, type Row, type Traffic } from "#app";
import type { Delta } from "../compiler/desired.ts";
import type { Engine } from "../compiler/engine.ts";
import type { HookGuard } from "../lib/hook-guard.ts";
import type { Stepwise } from "../lib/turns/stepwise.ts";
import type { Change } from "../model/model.ts";
import type { View } from "../model/view.ts";
import { classesOf, Concerned } from "./traffic.ts";

export interface Reach {
  /** Id of the port that asks, or "external". */
  readonly from: string;
  /** Likewise. */
  readonly to: string;
  readonly ethertype: "IPv4" | "IPv6";
  readonly protocol: string;
  /** The first and, where they are several, the last; null: all, or the protocol has none. */
  readonly port: number | null;
  readonly port_max?: number;
  /** By which it is asked, where that is not the receiver's own: a floating IP, or one of its allowed address pairs. */
  readonly address?: string;
}

export interface Reachability {
  readonly gained: readonly Reach[];
  readonly lost: readonly Reach[];
  /** Some may be missing. */
  readonly truncated: boolean;
  /** Pairs with a class of traffic that were not followed, as far as they were counted. */
  readonly unexamined: number;
}

/** Follows packets over what one state desires. */
export interface Follower {
  starts(port: string, family: 4 | 6): boolean;
  /** And whether the answer comes back. `receiver` undefined: to the outside. */
  reaches(question: PacketQuestion, receiver: string | undefined): Promise<boolean>;
}

export interface ReachLimits {
  /** Pairs with a class of traffic that are followed. */
  readonly pairs: number;
  /** Ports that are looked at. */
  readonly ports: number;
  /** ms for each of the two states. */
  readonly ms: number;
}
export const reachLimits: ReachLimits = { pairs: 1_000, ports: 2_000, ms: 2_000 };

export interface ReachParts {
  readonly apps: readonly App[];
  readonly guard: HookGuard;
  readonly follower: (state: { readonly engine: Engine; readonly view: View }) => Follower;
  readonly limits?: Partial<ReachLimits>;
}

interface State {
  readonly engine: Engine;
  readonly view: View;
}

const FAMILIES = [4, 6] as const;
const NAMES: ReadonlyMap<number, string> = new Map([[1, "icmp"], [58, "icmpv6"], [6, "tcp"], [17, "udp"], [132, "sctp"]]);
/** Beyond so many candidates the others are not counted. */
const COUNTED = 20_000;

/** What is known of a port, of both states together. */
interface Known {
  readonly families: Set<4 | 6>;
  readonly addresses: Set<string>;
  readonly traffic: Traffic[];
}

interface Candidate {
  /** undefined: the outside, of one of the two. */
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly address: string | undefined;
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly port: number | undefined;
  /** Ports that it stands for. */
  readonly intervals: readonly (readonly [number, number])[];
  after?: boolean;
  before?: boolean;
}

export class ReachQuestion {
  private readonly parts: ReachParts;
  private readonly limits: ReachLimits;
  private readonly sees: (port: string, view: View) => boolean;
  /** Ports that the change is about, and which ports are around each. */
  private readonly touched = new Map<string, Set<string>>();
  private readonly known = new Map<string, Known>();
  private readonly hidden = new Set<string>();
  private readonly resources = new Map<string, { readonly type: string; readonly id: string }>();
  private candidates: Candidate[] = [];
  private unexamined = 0;
  private truncated = false;

  /** `sees`: who asks is told of the port. */
  constructor(parts: ReachParts, sees: (port: string, view: View) => boolean = () => true) {
    this.parts = parts;
    this.limits = { ...reachLimits, ...parts.limits };
    this.sees = sees;
  }

  /** Looks at the state before; `changes` are not made yet. */
  *before(state: State, changes: readonly Change[]): Stepwise<void> {
    for (const { table, before, after } of changes) for (const row of [before, after]) if (row !== undefined) for (const one of resourcesOf(table, row)) this.resources.set(`${one.type}/${one.id}`, one);
    yield* this.look(state, this.resources.values());
  }

  /** Follows candidates in the state after; `delta`: what differs. */
  *after(state: State, delta: Delta): Stepwise<void> {
    const { engine } = state;
    const concerned = new Concerned();
    const further = new Map<string, { readonly type: string; readonly id: string }>();
    let n = 0;
    for (const chassis of delta.chassis.values()) {
      if (chassis.rowsChanged || chassis.addItems.length + chassis.removeItems.length > 0) concerned.all();
      for (const [list, why] of [[chassis.add, (flow: typeof chassis.add[number]) => engine.provenance(flow)], [chassis.remove, (flow: typeof chassis.add[number]) => engine.provenanceBefore(flow)]] as const) {
        for (const flow of list) {
          concerned.add(flow);
          const { resources } = why(flow);
          if (!resources.some(({ type, id }) => this.resources.has(`${type}/${id}`))) for (const one of resources) further.set(`${one.type}/${one.id}`, one);
          if (++n % 16 === 0) yield;
        }
      }
    }
    if (n === 0 && !concerned.everything) return;
    yield* this.look(state, [...this.resources.values(), ...further.values()]);
    yield* this.gather(concerned);
    yield* this.follow(state, "after");
  }

  /** Follows them in the state before, and compares. */
  *result(state: State): Stepwise<Reachability> {
    yield* this.follow(state, "before");
    const gained: Candidate[] = [];
    const lost: Candidate[] = [];
    for (const candidate of this.candidates) {
      const { before, after } = candidate;
      if (before === undefined || after === undefined) this.unexamined++;
      else if (after !== before) (after ? gained : lost).push(candidate);
    }
    return { gained: shown(gained), lost: shown(lost), truncated: this.truncated || this.unexamined > 0, unexamined: this.unexamined };
  }

  private *look(state: State, resources: Iterable<{ readonly type: string; readonly id: string }>): Stepwise<void> {
    const { view } = state;
    const follower = this.parts.follower(state);
    const found = new Set(this.touched.keys());
    for (const { type, id } of resources) {
      yield;
      for (const port of this.ask((e) => e.ports?.(view, type, id))) {
        if (found.size >= this.limits.ports) this.truncated = true;
        else found.add(port);
      }
    }
    const looked = new Set<string>();
    for (const port of found) {
      let around = this.touched.get(port);
      if (around === undefined) this.touched.set(port, (around = new Set()));
      for (const id of [port, ...this.ask((e) => e.around?.(view, port))]) {
        if (looked.size >= this.limits.ports) {
          this.truncated = true;
          break;
        }
        if (id !== port) around.add(id);
        if (looked.has(id)) continue;
        looked.add(id);
        this.learn(id, view, follower);
        yield;
      }
    }
  }

  private learn(id: string, view: View, follower: Follower): void {
    let known = this.known.get(id);
    if (known === undefined) this.known.set(id, (known = { families: new Set(), addresses: new Set(), traffic: [] }));
    if (this.sees(id, view)) this.hidden.delete(id);
    else if (known.families.size === 0) this.hidden.add(id);
    for (const family of FAMILIES) if (follower.starts(id, family)) known.families.add(family);
    for (const address of this.ask((e) => e.addresses?.(view, id))) known.addresses.add(address);
    known.traffic.push(...this.ask((e) => e.traffic?.(view, id)));
  }

  private *ask<T>(hook: (explains: NonNullable<App["explains"]>) => Iterable<T> | undefined): Iterable<T> {
    for (const { name, explains } of this.parts.apps) if (explains !== undefined) yield* this.parts.guard<readonly T[]>({ app: name, hook: "explains" }, {}, () => [...hook(explains) ?? []], []);
  }

  private *gather(concerned: Concerned): Stepwise<void> {
    const seen = new Set<string>();
    for (const [port, around] of this.touched) {
      for (const other of [undefined, ...around]) {
        for (const [from, to] of other === undefined ? [[port, undefined], [undefined, port]] as const : [[port, other], [other, port]] as const) {
          const pair = `${from} ${to}`;
          if (seen.has(pair)) continue;
          seen.add(pair);
          for (const candidate of this.between(from, to, concerned)) {
            if (this.candidates.length < this.limits.pairs) this.candidates.push(candidate);
            else this.unexamined++;
          }
          yield;
          if (this.unexamined <= COUNTED) continue;
          this.truncated = true;
          return;
        }
      }
    }
  }

  private *between(from: string | undefined, to: string | undefined, concerned: Concerned): Iterable<Candidate> {
    const ends = [from, to].filter((id) => id !== undefined);
    if (ends.some((id) => !this.known.has(id) || this.hidden.has(id))) return;
    const [sender, receiver] = [from, to].map((id) => (id === undefined ? undefined : this.known.get(id)));
    for (const family of FAMILIES) {
      if (sender?.families.has(family) === false || receiver?.families.has(family) === false) continue;
      const addresses = [undefined, ...receiver?.addresses ?? []].filter((a) => a === undefined || (a.includes(":") ? 6 : 4) === family);
      const classes = classesOf(family, [...sender?.traffic ?? [], ...receiver?.traffic ?? []]).filter((one) => concerned.has(family, one));
      for (const address of addresses) for (const { protocol, port, intervals } of classes) yield { from, to, address, family, protocol, port, intervals };
    }
  }

  private *follow(state: State, as: "before" | "after"): Stepwise<void> {
    const follower = this.parts.follower(state);
    const until = performance.now() + this.limits.ms;
    for (const candidate of this.candidates) {
      if (performance.now() > until) return;
      const { from, to, address, family, protocol, port } = candidate;
      const question: PacketQuestion = { from: from ?? EXTERNAL, to: address ?? to ?? EXTERNAL_ADDRESS[family], family, protocol, ...(port !== undefined && { port }) };
      yield follower.reaches(question, to).then((reached) => (candidate[as] = reached), () => undefined);
    }
  }
}

function resourcesOf(table: AnyTable, row: Row): readonly { readonly type: string; readonly id: string }[] {
  if (table.resource !== undefined) return [{ type: table.resource, id: row.id }];
  const type = table.of?.table.resource;
  return type === undefined ? [] : Array.from(table.of!.ids(row), (id) => ({ type, id }));
}

/** Of each pair and protocol intervals that touch are one. */
function shown(candidates: readonly Candidate[]): Reach[] {
  const groups = new Map<string, Candidate[]>();
  for (const one of candidates) {
    const key = [one.from, one.to, one.address, one.family, one.protocol].join(" ");
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  const out: Reach[] = [];
  for (const group of groups.values()) {
    const { from, to, address, family, protocol } = group[0]!;
    const common = { from: from ?? EXTERNAL, to: to ?? EXTERNAL, ethertype: family === 6 ? "IPv6" : "IPv4", protocol: NAMES.get(protocol) ?? String(protocol) } as const;
    const more = address === undefined ? {} : { address };
    const merged: [number, number][] = [];
    for (const [min, max] of group.flatMap((one) => one.intervals).sort(([a], [b]) => a - b)) {
      const last = merged.at(-1);
      if (last?.[1] === min - 1) last[1] = max;
      else merged.push([min, max]);
    }
    if (merged.length === 0) out.push({ ...common, port: null, ...more });
    for (const [min, max] of merged) out.push({ ...common, port: min === 1 && max === 65_535 ? null : min, ...(max !== min && max - min < 65_534 && { port_max: max }), ...more });
  }
  return out;
}
