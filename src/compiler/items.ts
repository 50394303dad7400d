// Outputs beside flows: meters, groups, rows of a host's database, patches of foreign rows. Several runs, in one scope or in several
// of a chassis, may want the same one: it is there as long as one of them does. Unequal wishes for one id are a conflict, which the
// first by rule and entity wins, so that the result does not depend on the order of events.
import type { OvsPatch } from "#app";
import { isList, listOf, type Few } from "../lib/few.ts";
import { Conflicts } from "./flows/conflicts.ts";
import { emptyDelta, type ChassisDelta, type DesiredRow, type Item } from "./desired.ts";
import type { MembershipChange, Scopes } from "./scopes.ts";

/** One wish. `key` tells its kind and what it is for: "meter 7", "row Port axion-geneve". */
export type Output = {
  readonly scope: string;
  readonly key: string;
  /** Equal texts = the same wish. */
  readonly text: string;
} & ({ readonly is: "item"; readonly wish: Item } | { readonly is: "row"; readonly wish: DesiredRow } | { readonly is: "patch"; readonly wish: OvsPatch });

export interface OutputConflict {
  readonly output: string;
  readonly first: string;
  readonly second: string;
}

interface Held<O> {
  readonly owner: O;
  readonly output: Output;
}

/** Who holds a key in a scope: nearly always one run. */
type Holders<O> = Few<Held<O>>;

/** What a chassis has for a key, and the scopes of it that hold the key: nearly always one. */
interface Slot {
  scopes: readonly string[];
  output: Output | undefined;
}

export class OutputStore<O> {
  /** scope -> key -> who holds it there. */
  private readonly held = new Map<string, Map<string, Holders<O>>>();
  /** Whether differences are kept: not while everything is compiled, which is the first batch. */
  private incremental = false;
  /** chassis -> key -> what it has. */
  private readonly slots = new Map<string, Map<string, Slot>>();
  /** Keys of a scope whose holders changed in this batch. */
  private changed = new Map<string, Set<string>>();
  private readonly disputes: Conflicts<OutputConflict>;
  private readonly scopes: Scopes;
  private readonly nameOf: (owner: O) => string;

  constructor(scopes: Scopes, nameOf: (owner: O) => string, onConflict: (conflict: OutputConflict) => void) {
    this.scopes = scopes;
    this.nameOf = nameOf;
    this.disputes = new Conflicts(onConflict);
  }

  /** Outputs that two runs disagree on, as of now. */
  get conflicts(): readonly OutputConflict[] {
    return this.disputes.list;
  }

  /** Puts what a run wants in place of what it wanted. */
  replace(owner: O, before: readonly Output[], after: readonly Output[]): void {
    const was = among(before, after.length);
    const is = among(after, before.length);
    for (const output of after) if (!was(output)) this.hold(owner, output);
    for (const output of before) if (!is(output)) this.release(owner, output);
  }

  private hold(owner: O, output: Output): void {
    let keys = this.held.get(output.scope);
    if (keys === undefined) this.held.set(output.scope, (keys = new Map<string, Holders<O>>()));
    const now = keys.get(output.key);
    keys.set(output.key, now === undefined ? { owner, output } : [...listOf(now), { owner, output }]);
    this.mark(output);
  }

  private release(owner: O, output: Output): void {
    const keys = this.held.get(output.scope);
    const now = keys?.get(output.key);
    const list = listOf(now);
    const at = list.findIndex((h) => h.owner === owner && h.output.text === output.text);
    if (keys === undefined || at < 0) throw new Error(`${this.nameOf(owner)} gives up ${output.key}, which it does not hold`);
    const rest = list.filter((_, i) => i !== at);
    if (rest.length > 0) keys.set(output.key, rest.length === 1 ? rest[0]! : rest);
    else {
      keys.delete(output.key);
      if (keys.size === 0) this.held.delete(output.scope);
    }
    this.mark(output);
  }

  private mark({ scope, key }: Output): void {
    if (!this.incremental) return;
    const keys = this.changed.get(scope);
    if (keys === undefined) this.changed.set(scope, new Set([key]));
    else keys.add(key);
  }

  /** Ends a batch: what changed for each chassis goes to its delta. `membership`: scopes that chassis gained and lost meanwhile. */
  commit(membership: MembershipChange, of: (chassis: string) => ChassisDelta): void {
    const { changed } = this;
    this.changed = new Map();
    const open = new Map<string, Set<string>>();
    const look = (chassis: string, scope: string, keys: Iterable<string>, member: boolean): void => {
      const alone = [scope];
      for (const key of keys) {
        let set = open.get(chassis);
        if (set === undefined) open.set(chassis, (set = new Set<string>()));
        set.add(key);
        this.source(chassis, alone, key, member && this.held.get(scope)?.has(key) === true);
      }
    };
    for (const [chassis, lost] of membership.lost) {
      for (const scope of lost) {
        look(chassis, scope, this.held.get(scope)?.keys() ?? [], false);
        look(chassis, scope, changed.get(scope) ?? [], false);
      }
    }
    for (const [chassis, gained] of membership.gained) for (const scope of gained) look(chassis, scope, this.held.get(scope)?.keys() ?? [], true);
    for (const [scope, keys] of changed) for (const chassis of this.scopes.members(scope)) look(chassis, scope, keys, true);
    for (const [chassis, keys] of open) for (const key of keys) this.decide(chassis, key, of);
  }

  /** The whole state at once, with nothing to tell anybody. */
  commitAll(): void {
    this.incremental = true;
    const nobody = emptyDelta();
    for (const [scope, keys] of this.held) {
      const alone = [scope];
      for (const chassis of this.scopes.members(scope)) for (const key of keys.keys()) this.source(chassis, alone, key, true);
    }
    for (const [chassis, slots] of this.slots) for (const key of slots.keys()) this.decide(chassis, key, () => nobody);
  }

  /** Forgets what a chassis had. */
  removeChassis(chassis: string): void {
    this.slots.delete(chassis);
    this.disputes.dropPlaces(`${chassis} `);
  }

  /** Whether a scope of a chassis holds a key. `alone`: the scope in a list of its own, which the slots of all its keys may share. */
  private source(chassis: string, alone: readonly string[], key: string, holds: boolean): void {
    const scope = alone[0]!;
    let slots = this.slots.get(chassis);
    if (slots === undefined) this.slots.set(chassis, (slots = new Map<string, Slot>()));
    const slot = slots.get(key);
    if (slot === undefined) {
      if (holds) slots.set(key, { scopes: alone, output: undefined });
    } else if (slot.scopes.includes(scope) !== holds) slot.scopes = holds ? [...slot.scopes, scope] : slot.scopes.filter((s) => s !== scope);
  }

  private decide(chassis: string, key: string, of: (chassis: string) => ChassisDelta): void {
    const slots = this.slots.get(chassis)!;
    const slot = slots.get(key);
    if (slot === undefined) return;
    const before = slot.output;
    const after = this.winner(chassis, key, slot.scopes);
    slot.output = after;
    if (after === undefined) slots.delete(key);
    if (before === after || (before !== undefined && before.text === after?.text)) return;
    const delta = of(chassis);
    const changed = (after ?? before)!;
    if (changed.is !== "item") delta.rowsChanged = true;
    else if (after === undefined) delta.removeItems.push(changed.wish);
    else delta.addItems.push(changed.wish);
  }

  /** Of all that a chassis' scopes hold for a key the first by name of its owner, then of the scope. */
  private winner(chassis: string, key: string, scopes: readonly string[]): Output | undefined {
    if (scopes.length === 1 && this.disputes.none) {
      const only = this.held.get(scopes[0]!)?.get(key);
      if (only === undefined) return undefined;
      if (!isList(only)) return only.output;
    }
    const holders = scopes.flatMap((scope) => this.held.get(scope)?.get(key) ?? []);
    const any = holders[0];
    const place = `${chassis} ${key}`;
    if (any === undefined || holders.every((h) => h.output.text === any.output.text)) {
      this.disputes.set(place, undefined);
      return any?.output;
    }
    const ordered = holders.map((h) => ({ ...h, name: this.nameOf(h.owner) })).sort((a, b) => compare(a.name, b.name) || compare(a.output.scope, b.output.scope));
    const first = ordered[0]!;
    const second = ordered.find((h) => h.output.text !== first.output.text)!;
    this.disputes.set(place, { output: key, first: first.name, second: second.name });
    return first.output;
  }

  *outputsOf(chassis: string): Iterable<Output> {
    for (const { output } of this.slots.get(chassis)?.values() ?? []) if (output !== undefined) yield output;
  }
}

/** Whether one is in the list; for so many questions. */
function among(list: readonly Output[], questions: number): (output: Output) => boolean {
  if (list.length * questions < 1024) return (output) => list.some((o) => same(o, output));
  const texts = new Set(list.map(whole));
  return (output) => texts.has(whole(output));
}

const whole = ({ scope, key, text }: Output): string => `${scope}\n${key}\n${text}`;
const same = (a: Output, b: Output): boolean => a.scope === b.scope && a.key === b.key && a.text === b.text;

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** A text that is equal for equal values, whatever the order of their keys. */
export function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => {
    if (typeof v === "bigint") return `${v}n`;
    if (typeof v !== "object" || v === null || Array.isArray(v)) return v;
    return Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  });
}
