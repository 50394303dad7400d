// Outputs beside flows: meters, groups, rows of a host's database, patches of foreign rows. Several runs, in one scope or in several
// of a chassis, may want the same one: it is there as long as one of them does. Unequal wishes for one id are a conflict, which the
// first by rule and entity wins, so that the result does not depend on the order of events.
import type { OvsPatch } from "#app";
import type { ChassisDelta, DesiredRow, Item } from "./desired.ts";
import type { MembershipChange, Scopes } from "./scopes.ts";

/** One wish. `key` tells its kind and what it is for: "meter 7", "row Port axion-geneve". */
export interface Output {
  readonly scope: string;
  readonly key: string;
  /** Equal texts = the same wish. */
  readonly text: string;
  readonly wish: { readonly is: "item"; readonly item: Item } | { readonly is: "row"; readonly row: DesiredRow } | { readonly is: "patch"; readonly patch: OvsPatch };
}

export interface OutputConflict {
  readonly output: string;
  readonly first: string;
  readonly second: string;
}

interface Held<O> {
  readonly owner: O;
  readonly output: Output;
}

export class OutputStore<O> {
  /** key -> scope -> who holds it there. */
  private readonly held = new Map<string, Map<string, Held<O>[]>>();
  private readonly keysIn = new Map<string, Set<string>>();
  /** What each chassis has, by key. */
  private readonly current = new Map<string, Map<string, Output>>();
  /** Keys to look at again on the members of these scopes. */
  private changed = new Map<string, Set<string>>();
  private readonly disputes = new Map<string, OutputConflict>();
  private readonly scopes: Scopes;
  private readonly nameOf: (owner: O) => string;
  private readonly onConflict: (conflict: OutputConflict) => void;

  constructor(scopes: Scopes, nameOf: (owner: O) => string, onConflict: (conflict: OutputConflict) => void) {
    this.scopes = scopes;
    this.nameOf = nameOf;
    this.onConflict = onConflict;
  }

  /** Outputs that two runs disagree on, as of now. */
  get conflicts(): readonly OutputConflict[] {
    return [...this.disputes.values()];
  }

  replace(owner: O, before: readonly Output[], after: readonly Output[]): void {
    for (const output of after) {
      if (before.some((b) => b.scope === output.scope && b.key === output.key && b.text === output.text)) continue;
      this.hold(owner, output);
    }
    for (const output of before) {
      if (after.some((a) => a.scope === output.scope && a.key === output.key && a.text === output.text)) continue;
      this.release(owner, output);
    }
  }

  private hold(owner: O, output: Output): void {
    let scopes = this.held.get(output.key);
    if (scopes === undefined) this.held.set(output.key, (scopes = new Map<string, Held<O>[]>()));
    const list = scopes.get(output.scope);
    if (list === undefined) scopes.set(output.scope, [{ owner, output }]);
    else list.push({ owner, output });
    let keys = this.keysIn.get(output.scope);
    if (keys === undefined) this.keysIn.set(output.scope, (keys = new Set<string>()));
    keys.add(output.key);
    this.mark(output.scope, output.key);
  }

  private release(owner: O, output: Output): void {
    const scopes = this.held.get(output.key);
    const list = scopes?.get(output.scope);
    const at = list?.findIndex((h) => h.owner === owner && h.output.text === output.text) ?? -1;
    if (scopes === undefined || list === undefined || at < 0) throw new Error(`${this.nameOf(owner)} gives up ${output.key}, which it does not hold`);
    list.splice(at, 1);
    if (list.length === 0) {
      scopes.delete(output.scope);
      if (scopes.size === 0) this.held.delete(output.key);
      const keys = this.keysIn.get(output.scope)!;
      keys.delete(output.key);
      if (keys.size === 0) this.keysIn.delete(output.scope);
    }
    this.mark(output.scope, output.key);
  }

  private mark(scope: string, key: string): void {
    const keys = this.changed.get(scope);
    if (keys === undefined) this.changed.set(scope, new Set([key]));
    else keys.add(key);
  }

  /** Ends a batch: what changed for each chassis goes to its delta. */
  commit(membership: MembershipChange, of: (chassis: string) => ChassisDelta): void {
    const open = new Map<string, Set<string>>();
    const look = (chassis: string, keys: Iterable<string>): void => {
      let set = open.get(chassis);
      if (set === undefined) open.set(chassis, (set = new Set<string>()));
      for (const key of keys) set.add(key);
    };
    for (const [scope, keys] of this.changed) for (const chassis of this.scopes.members(scope)) look(chassis, keys);
    for (const change of [membership.gained, membership.lost]) {
      for (const [chassis, scopes] of change) {
        for (const scope of scopes) look(chassis, [...(this.keysIn.get(scope) ?? []), ...(this.changed.get(scope) ?? [])]);
      }
    }
    this.changed = new Map();
    for (const [chassis, keys] of open) for (const key of keys) this.decide(chassis, key, of);
  }

  /** The whole state at once, with nothing to tell anybody. */
  commitAll(chassis: Iterable<string>): void {
    this.changed = new Map();
    const nobody: ChassisDelta = { add: [], changed: new Set(), remove: [], addItems: [], removeItems: [], rowsChanged: false };
    for (const id of chassis) for (const scope of this.scopes.of(id)) for (const key of this.keysIn.get(scope) ?? []) this.decide(id, key, () => nobody);
  }

  removeChassis(chassis: string): void {
    this.current.delete(chassis);
    for (const dispute of this.disputes.keys()) if (dispute.startsWith(`${chassis} `)) this.disputes.delete(dispute);
  }

  private decide(chassis: string, key: string, of: (chassis: string) => ChassisDelta): void {
    let now = this.current.get(chassis);
    const before = now?.get(key);
    const after = this.winner(chassis, key);
    if (before === after || (before !== undefined && before.text === after?.text)) return;
    const delta = of(chassis);
    if (now === undefined) this.current.set(chassis, (now = new Map<string, Output>()));
    if (after === undefined) now.delete(key);
    else now.set(key, after);
    const { wish } = (after ?? before)!;
    if (wish.is !== "item") delta.rowsChanged = true;
    else if (after === undefined) delta.removeItems.push(wish.item);
    else delta.addItems.push(wish.item);
  }

  private winner(chassis: string, key: string): Output | undefined {
    let first: Held<O> | undefined;
    let second: Held<O> | undefined;
    for (const [scope, list] of this.held.get(key) ?? []) {
      if (!this.scopes.has(chassis, scope)) continue;
      for (const held of list) {
        if (first === undefined) first = held;
        else {
          const differs = held.output.text !== first.output.text;
          if (this.nameOf(held.owner) >= this.nameOf(first.owner)) second = differs ? held : second;
          else {
            second = differs ? first : second;
            first = held;
          }
        }
      }
    }
    this.dispute(`${chassis} ${key}`, key, first, second);
    return first?.output;
  }

  private dispute(id: string, output: string, first: Held<O> | undefined, second: Held<O> | undefined): void {
    const before = this.disputes.get(id);
    if (first === undefined || second === undefined) {
      if (before !== undefined) this.disputes.delete(id);
      return;
    }
    const conflict = { output, first: this.nameOf(first.owner), second: this.nameOf(second.owner) };
    if (before?.first === conflict.first && before.second === conflict.second) return;
    this.disputes.set(id, conflict);
    this.onConflict(conflict);
  }

  *outputsOf(chassis: string): Iterable<Output> {
    yield* this.current.get(chassis)?.values() ?? [];
  }
}

/** A text that is equal for equal values, whatever the order of their keys. */
export function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => {
    if (typeof v === "bigint") return `${v}n`;
    if (typeof v !== "object" || v === null || Array.isArray(v)) return v;
    return Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  });
}
