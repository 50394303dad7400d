// Which flow of a table a packet matches: a hash for each combination of masks (tuple space search), those with the highest priority first, and
// conjunctive matches, in the way in which Open vSwitch finds them. lib/classifier.c, classifier_lookup__.
import { at } from "./packet/places.ts";
import type { Packet } from "./packet/packet.ts";
import type { MetadataCondition, TraceFlow } from "./flow.ts";

/** Flows with equal matches, highest priority first. */
interface Entry<R> {
  readonly values: readonly number[];
  readonly metadata: readonly MetadataCondition[];
  readonly flows: TraceFlow<R>[];
}

class Subtable<R> {
  readonly words: readonly number[];
  readonly masks: readonly number[];
  maxPriority = -1;
  size = 0;
  private readonly entries = new Map<number, Entry<R>[]>();

  constructor(words: readonly number[], masks: readonly number[]) {
    this.words = words;
    this.masks = masks;
  }

  private hash(values: ArrayLike<number>, indexed: boolean): number {
    const { words, masks } = this;
    let h = 0;
    for (let i = 0; i < words.length; i++) {
      h = Math.imul(h ^ (indexed ? values[words[i]!]! & masks[i]! : values[i]!), 0x9e37_79b1);
      h ^= h >>> 15;
    }
    return h;
  }

  entryOf(flow: TraceFlow<R>): Entry<R> {
    const values = flow.conditions.map((c) => c.value);
    const hash = this.hash(values, false);
    let list = this.entries.get(hash);
    if (list === undefined) this.entries.set(hash, (list = []));
    let entry = list.find((e) => e.values.every((v, i) => v === values[i]) && sameMetadata(e.metadata, flow.metadata));
    if (entry === undefined) list.push((entry = { values, metadata: flow.metadata, flows: [] }));
    return entry;
  }

  /** Flows that match the packet as far as this subtable says; those with the highest priority come first. */
  find(packet: Packet): readonly TraceFlow<R>[] | undefined {
    const { words: values } = packet;
    const list = this.entries.get(this.hash(values, true));
    if (list === undefined) return undefined;
    let best: readonly TraceFlow<R>[] | undefined;
    for (const entry of list) {
      if (entry.flows.length === 0 || !this.holds(entry, values)) continue;
      if (entry.metadata.length > 0 && !entry.metadata.every((c) => ((packet.metadata?.get(c.number) ?? 0n) & c.mask) === c.value)) continue;
      if (best === undefined || entry.flows[0]!.priority > best[0]!.priority) best = entry.flows;
    }
    return best;
  }

  private holds(entry: Entry<R>, values: Uint32Array): boolean {
    const { words, masks } = this;
    for (let i = 0; i < words.length; i++) if ((values[words[i]!]! & masks[i]!) >>> 0 !== entry.values[i]) return false;
    return true;
  }

  *all(): Iterable<TraceFlow<R>> {
    for (const list of this.entries.values()) for (const { flows } of list) yield* flows;
  }

  refresh(): void {
    this.maxPriority = -1;
    for (const list of this.entries.values()) for (const { flows } of list) if (flows.length > 0) this.maxPriority = Math.max(this.maxPriority, flows[0]!.priority);
  }
}

const sameMetadata = (a: readonly MetadataCondition[], b: readonly MetadataCondition[]): boolean =>
  a.length === b.length && a.every((c, i) => c.number === b[i]!.number && c.mask === b[i]!.mask && c.value === b[i]!.value);

/** Of several conjunctions that all hold at one priority a switch takes any: chooses from their ids, ascending. */
export type ConjunctionChoice = (ids: readonly number[]) => number;
const first: ConjunctionChoice = (ids) => ids[0]!;

export class Classifier<R> {
  private readonly byMask = new Map<string, Subtable<R>>();
  /** Highest priority first. */
  private ordered: Subtable<R>[] = [];
  private stale = false;
  size = 0;

  /** A flow with the same match and priority is replaced, and returned. */
  add(flow: TraceFlow<R>): TraceFlow<R> | undefined {
    const words = flow.conditions.map((c) => c.word);
    const masks = flow.conditions.map((c) => c.mask);
    const key = `${words.join()}/${masks.join()}`;
    let subtable = this.byMask.get(key);
    if (subtable === undefined) this.byMask.set(key, (subtable = new Subtable(words, masks)));
    const { flows } = subtable.entryOf(flow);
    const at = flows.findIndex((f) => f.priority <= flow.priority);
    this.stale = true;
    subtable.maxPriority = Math.max(subtable.maxPriority, flow.priority);
    if (at >= 0 && flows[at]!.priority === flow.priority) {
      const old = flows[at]!;
      flows[at] = flow;
      return old;
    }
    flows.splice(at < 0 ? flows.length : at, 0, flow);
    subtable.size++;
    this.size++;
    return undefined;
  }

  /** @returns whether it was there */
  remove(flow: TraceFlow<R>): boolean {
    const key = `${flow.conditions.map((c) => c.word).join()}/${flow.conditions.map((c) => c.mask).join()}`;
    const subtable = this.byMask.get(key);
    const flows = subtable?.entryOf(flow).flows;
    const at = flows?.indexOf(flow) ?? -1;
    if (subtable === undefined || at < 0) return false;
    flows!.splice(at, 1);
    this.size--;
    this.stale = true;
    if (--subtable.size === 0) this.byMask.delete(key);
    else subtable.refresh();
    return true;
  }

  private get subtables(): readonly Subtable<R>[] {
    if (this.stale) {
      this.ordered = [...this.byMask.values()].sort((a, b) => b.maxPriority - a.maxPriority);
      this.stale = false;
    }
    return this.ordered;
  }

  lookup(packet: Packet, choose: ConjunctionChoice = first): TraceFlow<R> | undefined {
    let hard: TraceFlow<R> | undefined;
    let soft: (readonly TraceFlow<R>[])[] | undefined;
    let softPriority = -1;
    for (const subtable of this.subtables) {
      if (hard !== undefined && subtable.maxPriority <= hard.priority) break;
      const flows = subtable.find(packet);
      if (flows === undefined) continue;
      const flow = flows[0]!;
      if (hard !== undefined && flow.priority <= hard.priority) continue;
      if (flow.conjunctions === undefined) hard = flow;
      else {
        (soft ??= []).push(flows);
        softPriority = Math.max(softPriority, flow.priority);
      }
    }
    if (soft === undefined || (hard !== undefined && hard.priority >= softPriority)) return hard;
    return this.conjunctive(packet, hard, soft, choose);
  }

  /** Open vSwitch goes down priority by priority; where the parts at one do not make a whole, the next flows with their matches count. */
  private conjunctive(packet: Packet, hard: TraceFlow<R> | undefined, parts: readonly (readonly TraceFlow<R>[])[], choose: ConjunctionChoice): TraceFlow<R> | undefined {
    let soft = parts;
    for (;;) {
      soft = soft.filter((flows) => flows.length > 0 && (hard === undefined || flows[0]!.priority > hard.priority));
      if (soft.length === 0) return hard;
      const priority = soft.reduce((most, flows) => Math.max(most, flows[0]!.priority), -1);
      let ids = complete(soft.filter((flows) => flows[0]!.priority === priority).map((flows) => flows[0]!));
      while (ids.length > 0) {
        const id = ids.length === 1 ? ids[0]! : choose(ids);
        const found = this.withId(packet, id);
        if (found !== undefined) return found;
        ids = ids.filter((other) => other !== id);
      }
      const next: (readonly TraceFlow<R>[])[] = [];
      for (const flows of soft) {
        if (flows[0]!.priority !== priority) {
          next.push(flows);
          continue;
        }
        const rest = flows.slice(1);
        if (rest.length > 0 && rest[0]!.conjunctions === undefined) {
          if (hard === undefined || rest[0]!.priority > hard.priority) hard = rest[0]!;
        } else next.push(rest);
      }
      soft = next;
    }
  }

  /** The flow for the packet with this conj_id, parts of conjunctions aside. */
  private withId(packet: Packet, id: number): TraceFlow<R> | undefined {
    const saved = packet.words[at.conj_id]!;
    packet.words[at.conj_id] = id;
    let hard: TraceFlow<R> | undefined;
    for (const subtable of this.subtables) {
      if (hard !== undefined && subtable.maxPriority <= hard.priority) break;
      const flow = subtable.find(packet)?.[0];
      if (flow !== undefined && (hard === undefined || flow.priority > hard.priority) && flow.conjunctions === undefined) hard = flow;
    }
    packet.words[at.conj_id] = saved;
    return hard;
  }

  *[Symbol.iterator](): Iterator<TraceFlow<R>> {
    for (const subtable of this.byMask.values()) yield* subtable.all();
  }
}

/** Ids of conjunctions of which every clause is among the flows, ascending. Open vSwitch looks at none that has more clauses than there are flows, even if one is part of several. */
function complete(flows: readonly TraceFlow[]): number[] {
  const clauses = new Map<number, { seen: bigint; all: bigint }>();
  for (const flow of flows) {
    for (const { id, clause, n_clauses } of flow.conjunctions ?? []) {
      if (n_clauses > flows.length) continue;
      const c = clauses.get(id) ?? { seen: 0n, all: (1n << BigInt(n_clauses)) - 1n };
      c.seen |= 1n << BigInt(clause);
      clauses.set(id, c);
    }
  }
  return [...clauses].filter(([, c]) => (c.seen & c.all) === c.all).map(([id]) => id).sort((a, b) => a - b);
}
