// Which chassis has which scope. Scopes include scopes (a network includes the router on it, a router the networks it
// reaches ...), cycles allowed; a chassis has what is reachable from its own scope and from `base`. Kept incrementally:
// an added edge adds what it reaches, a removed edge removes what nothing else reaches any more.
import { baseScope, chassisScope, PER_VARIANT } from "#app";

interface Node {
  readonly name: string;
  /** Included scopes with the number of emitters that say so. Names may end in PER_VARIANT. */
  readonly out: Map<string, number>;
  readonly in: Set<string>;
  readonly members: Set<string>;
}

/** Changes of one batch: chassis -> scopes it gained and lost. */
export interface MembershipChange {
  readonly gained: Map<string, Set<string>>;
  readonly lost: Map<string, Set<string>>;
}

export class Scopes {
  private readonly nodes = new Map<string, Node>();
  /** chassis -> its scopes, resolved names. */
  private readonly closures = new Map<string, Set<string>>();
  private readonly variants = new Map<string, string>();
  private added: [string, string][] = [];
  private removed: [string, string][] = [];
  private readonly reset = new Set<string>();

  private node(name: string): Node {
    let node = this.nodes.get(name);
    if (node === undefined) this.nodes.set(name, (node = { name, out: new Map(), in: new Set(), members: new Set() }));
    return node;
  }

  include(from: string, to: string): void {
    const out = this.node(from).out;
    const count = out.get(to) ?? 0;
    out.set(to, count + 1);
    if (count > 0) return;
    this.node(to).in.add(from);
    this.added.push([from, to]);
  }

  exclude(from: string, to: string): void {
    const out = this.node(from).out;
    const count = out.get(to)!;
    if (count > 1) {
      out.set(to, count - 1);
      return;
    }
    out.delete(to);
    this.node(to).in.delete(from);
    this.removed.push([from, to]);
  }

  setVariant(chassis: string, variant: string | undefined): void {
    const before = this.variants.get(chassis);
    if (before === variant) return;
    if (variant === undefined) this.variants.delete(chassis);
    else this.variants.set(chassis, variant);
    this.reset.add(chassis);
  }

  addChassis(chassis: string): void {
    if (!this.closures.has(chassis)) {
      this.closures.set(chassis, new Set());
      this.reset.add(chassis);
    }
  }

  removeChassis(chassis: string): void {
    for (const scope of this.closures.get(chassis) ?? []) this.nodes.get(scope)?.members.delete(chassis);
    this.closures.delete(chassis);
    this.reset.delete(chassis);
  }

  members(scope: string): ReadonlySet<string> {
    return this.nodes.get(scope)?.members ?? EMPTY;
  }

  of(chassis: string): ReadonlySet<string> {
    return this.closures.get(chassis) ?? EMPTY;
  }

  /** The name a scope has on a chassis, and back: the graph is kept under the name with the placeholder. */
  private resolve(name: string, chassis: string): string {
    return name.endsWith(PER_VARIANT) ? name + (this.variants.get(chassis) ?? "") : name;
  }

  private edges(resolved: string): ReadonlyMap<string, number> {
    return this.nodes.get(unresolved(resolved))?.out ?? NO_EDGES;
  }

  /** Applies everything said since the last call. */
  settle(): MembershipChange {
    const change: MembershipChange = { gained: new Map(), lost: new Map() };
    const removed = this.removed;
    const added = this.added;
    this.removed = [];
    this.added = [];
    // Losses first: per chassis, all removed edges at once.
    const suspects = new Map<string, string[]>();
    for (const [from, to] of removed) {
      for (const chassis of this.membersOf(from)) {
        if (this.reset.has(chassis)) continue;
        const list = suspects.get(chassis);
        if (list === undefined) suspects.set(chassis, [to]);
        else list.push(to);
      }
    }
    for (const [chassis, targets] of suspects) this.shrink(chassis, targets, change);
    for (const [from, to] of added) {
      for (const chassis of this.membersOf(from)) if (!this.reset.has(chassis)) this.grow(chassis, this.resolve(to, chassis), change);
    }
    for (const chassis of this.reset) {
      if (!this.closures.has(chassis)) continue;
      const want = new Set<string>();
      const queue = [baseScope, chassisScope(chassis)];
      for (const scope of queue) {
        if (want.has(scope)) continue;
        want.add(scope);
        for (const to of this.edges(scope).keys()) queue.push(this.resolve(to, chassis));
      }
      for (const scope of this.closures.get(chassis)!) if (!want.has(scope)) this.lose(chassis, scope, change);
      for (const scope of want) if (!this.closures.get(chassis)!.has(scope)) this.gain(chassis, scope, change);
    }
    this.reset.clear();
    return change;
  }

  /** Members of a scope by its unresolved name: members of all its variants. */
  private membersOf(name: string): Iterable<string> {
    if (!name.endsWith(PER_VARIANT)) return [...this.members(name)];
    const out = new Set<string>();
    for (const [chassis, scopes] of this.closures) if (scopes.has(this.resolve(name, chassis))) out.add(chassis);
    return out;
  }

  private grow(chassis: string, scope: string, change: MembershipChange): void {
    const closure = this.closures.get(chassis);
    if (closure === undefined) return;
    const queue = [scope];
    for (const name of queue) {
      if (closure.has(name)) continue;
      this.gain(chassis, name, change);
      for (const to of this.edges(name).keys()) queue.push(this.resolve(to, chassis));
    }
  }

  /** Drops from the closure what was reachable only through removed edges to `targets`. */
  private shrink(chassis: string, targets: readonly string[], change: MembershipChange): void {
    const closure = this.closures.get(chassis);
    if (closure === undefined) return;
    const suspects = new Set<string>();
    const queue: string[] = targets.map((t) => this.resolve(t, chassis)).filter((t) => closure.has(t));
    const roots = [baseScope, chassisScope(chassis)];
    for (const name of queue) {
      if (suspects.has(name) || roots.includes(name)) continue;
      suspects.add(name);
      for (const to of this.edges(name).keys()) {
        const resolved = this.resolve(to, chassis);
        if (closure.has(resolved)) queue.push(resolved);
      }
    }
    // Those that something outside the suspects still includes are safe, and all that they include.
    const safe: string[] = [];
    for (const name of suspects) {
      for (const from of this.nodes.get(unresolved(name))?.in ?? []) {
        const holder = this.resolve(from, chassis);
        if (closure.has(holder) && !suspects.has(holder)) {
          safe.push(name);
          break;
        }
      }
    }
    for (const name of safe) {
      if (!suspects.delete(name)) continue;
      for (const to of this.edges(name).keys()) {
        const resolved = this.resolve(to, chassis);
        if (suspects.has(resolved)) safe.push(resolved);
      }
    }
    for (const name of suspects) this.lose(chassis, name, change);
  }

  private gain(chassis: string, scope: string, change: MembershipChange): void {
    this.closures.get(chassis)!.add(scope);
    this.node(scope).members.add(chassis);
    if (change.lost.get(chassis)?.delete(scope) === true) return;
    note(change.gained, chassis, scope);
  }

  private lose(chassis: string, scope: string, change: MembershipChange): void {
    this.closures.get(chassis)!.delete(scope);
    const node = this.node(scope);
    node.members.delete(chassis);
    if (node.members.size === 0 && node.out.size === 0 && node.in.size === 0) this.nodes.delete(scope);
    if (change.gained.get(chassis)?.delete(scope) === true) return;
    note(change.lost, chassis, scope);
  }
}

const EMPTY: ReadonlySet<string> = new Set();
const NO_EDGES: ReadonlyMap<string, number> = new Map();

/** "host:7@geneve" -> "host:7@". */
function unresolved(name: string): string {
  const at = name.indexOf(PER_VARIANT);
  return at < 0 ? name : name.slice(0, at + 1);
}

function note(map: Map<string, Set<string>>, chassis: string, scope: string): void {
  const set = map.get(chassis);
  if (set === undefined) map.set(chassis, new Set([scope]));
  else set.add(scope);
}
