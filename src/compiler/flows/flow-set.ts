// The flows of a scope by key: a hash table over the bytes in the slabs, so that a flow needs no key string to be found.
// Entries are kept in the order they came, which is the order of their bytes in the slabs: reading them all is cheap.
import { FLOW_KEY_OFFSET, FLOW_MOD_MATCH_OFFSET } from "node-openflow";
import type { OwnedFlow } from "./flows.ts";

/** The flows of several contributors for one key, and the one that a switch gets for them, once somebody asked. */
export class Shared<O> {
  readonly flows: OwnedFlow<O>[];
  effective: OwnedFlow<O> | undefined = undefined;

  constructor(flows: OwnedFlow<O>[]) {
    this.flows = flows;
  }
}

/** The flow of a key, or those of several contributors. */
export type Entry<O> = OwnedFlow<O> | Shared<O>;

/** Up to this many entries are searched one by one. */
const UNINDEXED = 8;
const FREE = 0;
const DELETED = -1;

export class FlowSet<O> {
  /** Keys. */
  size = 0;
  private entries: (Entry<O> | undefined)[] = [];
  /**
   * Open addressing over a power of two of places, two words each: 1 + position in `entries`, and the hash, so that a place is
   * passed by without a look at the flow.
   */
  private index: Int32Array | undefined;

  /** What is there for the flow's key. */
  get(flow: OwnedFlow<O>): Entry<O> | undefined {
    const at = this.find(flow);
    return at < 0 ? undefined : this.entries[at];
  }

  /** Puts `entry` in place of what is there for the key of its flows. */
  set(flow: OwnedFlow<O>, entry: Entry<O>): void {
    const at = this.find(flow);
    if (at >= 0) this.entries[at] = entry;
    else this.append(flow, entry);
  }

  /** Adds `flow` if its key is new, or returns what is there. */
  addNew(flow: OwnedFlow<O>): Entry<O> | undefined {
    const at = this.find(flow);
    if (at >= 0) return this.entries[at];
    this.append(flow, flow);
    return undefined;
  }

  delete(flow: OwnedFlow<O>): void {
    const at = this.find(flow);
    if (at < 0) return;
    this.size--;
    this.entries[at] = undefined;
    const { index } = this;
    if (index === undefined) this.entries.splice(at, 1);
    else {
      const mask = index.length - 1;
      let i = (flow.hash << 1) & mask;
      while (index[i] !== at + 1) i = (i + 2) & mask;
      index[i] = DELETED;
    }
  }

  *values(): Iterable<Entry<O>> {
    for (const entry of this.entries) if (entry !== undefined) yield entry;
  }

  /** Positions of entries, of which some may be empty. */
  get places(): number {
    return this.entries.length;
  }

  /** The same without a generator, of some positions: chassis have a great many flows. */
  each(visit: (entry: Entry<O>) => void, from = 0, end = Infinity): void {
    const { entries } = this;
    const last = Math.min(end, entries.length);
    for (let at = from; at < last; at++) {
      const entry = entries[at];
      if (entry !== undefined) visit(entry);
    }
  }

  private find(flow: OwnedFlow<O>): number {
    const { index, entries } = this;
    if (index === undefined) {
      for (let at = 0; at < entries.length; at++) if (sameKey(firstOf(entries[at]!), flow)) return at;
      return -1;
    }
    const mask = index.length - 1;
    const { hash } = flow;
    for (let i = (hash << 1) & mask; ; i = (i + 2) & mask) {
      const at = index[i]! - 1;
      if (at >= 0) {
        if (index[i + 1] === hash && sameKey(firstOf(entries[at]!), flow)) return at;
      } else if (at === FREE - 1) return -1;
    }
  }

  private append(flow: OwnedFlow<O>, entry: Entry<O>): void {
    this.size++;
    this.entries.push(entry);
    const { index, entries } = this;
    // Three quarters full at most, counting what was deleted since.
    if (index === undefined ? entries.length > UNINDEXED : entries.length * 8 > index.length * 3) this.rebuild();
    else if (index !== undefined) place(index, flow.hash, entries.length);
  }

  private rebuild(): void {
    const { index: old } = this;
    const whole = this.size === this.entries.length;
    if (!whole) this.entries = this.entries.filter((e) => e !== undefined);
    const { entries } = this;
    let places = 16;
    while (places < entries.length * 2) places *= 2;
    const index = new Int32Array(places * 2);
    if (old !== undefined && whole) {
      // Positions are what they were, and the hashes are here: no flow has to be looked at but the one that came.
      for (let i = 0; i < old.length; i += 2) if (old[i]! > 0) place(index, old[i + 1]!, old[i]!);
      place(index, firstOf(entries.at(-1)!).hash, entries.length);
    } else for (let at = 0; at < entries.length; at++) place(index, firstOf(entries[at]!).hash, at + 1);
    this.index = index;
  }
}

function place(index: Int32Array, hash: number, value: number): void {
  const mask = index.length - 1;
  let i = (hash << 1) & mask;
  while (index[i]! > 0) i = (i + 2) & mask;
  index[i] = value;
  index[i + 1] = hash;
}

/** One of the flows of an entry: all have its key. */
export const firstOf = <O>(entry: Entry<O>): OwnedFlow<O> => (entry instanceof Shared ? entry.flows[0]! : entry);

/** Whether two flows are the same on a switch: equal bytes from the table to the end of the match. */
export function sameKey(a: OwnedFlow<unknown>, b: OwnedFlow<unknown>): boolean {
  if (a.hash !== b.hash) return false;
  const { matchLen } = a;
  if (a === b) return true;
  if (matchLen !== b.matchLen) return false;
  const end = FLOW_MOD_MATCH_OFFSET + matchLen;
  return a.slab.compare(b.slab, b.off + FLOW_KEY_OFFSET, b.off + end, a.off + FLOW_KEY_OFFSET, a.off + end) === 0;
}
