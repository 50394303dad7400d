// Which chassis has which scope. Scopes include scopes (a network includes the router on it, a router the networks it
// reaches ...), cycles allowed; a chassis has what is reachable from its own scope and from `base`. Kept incrementally:
// an added edge adds what it reaches, a removed edge removes what nothing else reaches any more.
//
// A name that ends in PER_VARIANT stands for one scope per chassis variant. The graph knows only the name; which of them
// a chassis has follows from its variant when somebody asks.
import { baseScope, chassisScope, PER_VARIANT } from "#app";

interface Node {
  readonly name: string;
  /** Whether the name stands for one scope per variant. */
  readonly perVariant: boolean;
  /** Included scopes with the number of emitters that say so. */
  readonly out: Map<Node, number>;
  readonly in: Set<Node>;
  /** Chassis whose closure holds it. */
  readonly members: Set<string>;
}

interface Closure {
  readonly nodes: Set<Node>;
  variant: string;
  /** To be computed from nothing: the chassis is new. */
  fresh: boolean;
}

const ROOT = chassisScope("");
/** Whether a scope is the root of some chassis. */
export const isRoot = (scope: string): boolean => scope.startsWith(ROOT);

/** Changes of one batch: chassis -> scopes it gained and lost. */
export interface MembershipChange {
  readonly gained: Map<string, Set<string>>;
  readonly lost: Map<string, Set<string>>;
}

export class Scopes {
  private readonly nodes = new Map<string, Node>();
  private readonly closures = new Map<string, Closure>();
  private readonly variants = new Map<string, string>();
  private added: [Node, Node][] = [];
  private removed: [Node, Node][] = [];
  private readonly changedVariants = new Set<string>();
  private edgesToRoots = 0;

  private node(name: string): Node {
    let node = this.nodes.get(name);
    if (node === undefined) {
      node = { name, perVariant: name.endsWith(PER_VARIANT), out: new Map(), in: new Set(), members: new Set() };
      this.nodes.set(name, node);
    }
    return node;
  }

  include(fromName: string, toName: string): void {
    const from = this.node(fromName);
    const to = this.node(toName);
    const count = from.out.get(to) ?? 0;
    from.out.set(to, count + 1);
    if (count > 0) return;
    to.in.add(from);
    if (isRoot(toName)) this.edgesToRoots++;
    if (from.members.size > 0) this.added.push([from, to]);
  }

  exclude(fromName: string, toName: string): void {
    const from = this.node(fromName);
    const to = this.node(toName);
    const count = from.out.get(to);
    if (count === undefined) throw new Error(`scope ${fromName} does not include ${toName}`);
    if (count > 1) {
      from.out.set(to, count - 1);
      return;
    }
    from.out.delete(to);
    to.in.delete(from);
    if (isRoot(toName)) this.edgesToRoots--;
    if (from.members.size > 0) this.removed.push([from, to]);
    this.dropIfIdle(from);
    this.dropIfIdle(to);
  }

  setVariant(chassis: string, variant: string | undefined): void {
    if (variant === undefined) this.variants.delete(chassis);
    else this.variants.set(chassis, variant);
    this.changedVariants.add(chassis);
  }

  addChassis(chassis: string): void {
    if (!this.closures.has(chassis)) this.closures.set(chassis, { nodes: new Set(), variant: "", fresh: true });
  }

  removeChassis(chassis: string): void {
    for (const node of this.closures.get(chassis)?.nodes ?? []) {
      node.members.delete(chassis);
      this.dropIfIdle(node);
    }
    this.closures.delete(chassis);
  }

  /** Whether a chassis may have the root scope of another: some scope includes one. */
  get rootsMeet(): boolean {
    return this.edgesToRoots > 0;
  }

  /** Chassis that have a scope, by its full name. */
  *members(scope: string): Iterable<string> {
    const plain = this.nodes.get(scope);
    const at = plain !== undefined && !plain.perVariant ? -1 : scope.indexOf(PER_VARIANT);
    const node = at < 0 ? plain : this.nodes.get(scope.slice(0, at + 1));
    if (node === undefined) return;
    if (at < 0) yield* node.members;
    else for (const chassis of node.members) if (this.closures.get(chassis)!.variant === scope.slice(at + 1)) yield chassis;
  }

  /** Whether a chassis has a scope, by its full name. */
  has(chassis: string, scope: string): boolean {
    const plain = this.nodes.get(scope);
    if (plain !== undefined && !plain.perVariant) return plain.members.has(chassis);
    const at = scope.indexOf(PER_VARIANT);
    const node = at < 0 ? undefined : this.nodes.get(scope.slice(0, at + 1));
    return node?.members.has(chassis) === true && this.closures.get(chassis)!.variant === scope.slice(at + 1);
  }

  /** Scopes of a chassis, by their full names. */
  *of(chassis: string): Iterable<string> {
    const closure = this.closures.get(chassis);
    if (closure === undefined) return;
    for (const node of closure.nodes) yield fullName(node, closure.variant);
  }

  /** Applies every change since the last call. `wanted`: whether the difference is; else it comes back empty. */
  commit(wanted = true): MembershipChange {
    const change: MembershipChange = { gained: new Map(), lost: new Map() };
    const { removed, added } = this;
    this.removed = [];
    this.added = [];
    // Losses first, all removed edges of a chassis at once.
    const suspects = new Map<string, Node[]>();
    for (const [from, to] of removed) {
      for (const chassis of from.members) {
        const list = suspects.get(chassis);
        if (list === undefined) suspects.set(chassis, [to]);
        else list.push(to);
      }
    }
    for (const [chassis, targets] of suspects) this.shrink(chassis, targets, change);
    for (const [from, to] of added) if (from.out.has(to)) for (const chassis of [...from.members]) this.grow(chassis, [to], change);
    for (const [chassis, closure] of this.closures) {
      if (!closure.fresh) continue;
      closure.fresh = false;
      closure.variant = this.variants.get(chassis) ?? "";
      this.grow(chassis, [this.node(baseScope), this.node(chassisScope(chassis))], wanted ? change : undefined);
    }
    for (const chassis of this.changedVariants) this.changeVariant(chassis, change);
    this.changedVariants.clear();
    return change;
  }

  /** A new variant: the same names stand for other scopes. */
  private changeVariant(chassis: string, change: MembershipChange): void {
    const closure = this.closures.get(chassis);
    const variant = this.variants.get(chassis) ?? "";
    if (closure === undefined || closure.variant === variant) return;
    for (const node of closure.nodes) {
      if (!node.perVariant) continue;
      noteLost(change, chassis, fullName(node, closure.variant));
      noteGained(change, chassis, fullName(node, variant));
    }
    closure.variant = variant;
  }

  private grow(chassis: string, from: readonly Node[], change: MembershipChange | undefined): void {
    const closure = this.closures.get(chassis);
    if (closure === undefined) return;
    const queue = [...from];
    for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
      if (closure.nodes.has(node)) continue;
      closure.nodes.add(node);
      node.members.add(chassis);
      if (change !== undefined) noteGained(change, chassis, fullName(node, closure.variant));
      for (const to of node.out.keys()) if (!closure.nodes.has(to)) queue.push(to);
    }
  }

  /** Drops from the closure what was reachable only through removed edges to `targets`. */
  private shrink(chassis: string, targets: readonly Node[], change: MembershipChange): void {
    const closure = this.closures.get(chassis);
    if (closure === undefined) return;
    const root = chassisScope(chassis);
    const suspects = new Set<Node>();
    const queue = [...targets];
    for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
      if (suspects.has(node) || !closure.nodes.has(node) || node.name === root || node.name === baseScope) continue;
      suspects.add(node);
      for (const to of node.out.keys()) queue.push(to);
    }
    // Those that something outside the suspects still includes are safe, and all that they include.
    const safe: Node[] = [];
    for (const node of suspects) {
      for (const from of node.in) {
        if (!closure.nodes.has(from) || suspects.has(from)) continue;
        safe.push(node);
        break;
      }
    }
    for (let node = safe.pop(); node !== undefined; node = safe.pop()) {
      if (suspects.delete(node)) safe.push(...node.out.keys());
    }
    for (const node of suspects) {
      closure.nodes.delete(node);
      node.members.delete(chassis);
      noteLost(change, chassis, fullName(node, closure.variant));
      this.dropIfIdle(node);
    }
  }

  private dropIfIdle(node: Node): void {
    if (node.members.size === 0 && node.out.size === 0 && node.in.size === 0) this.nodes.delete(node.name);
  }
}

const fullName = (node: Node, variant: string): string => (node.perVariant ? node.name + variant : node.name);

/** Gained and lost in one batch cancel out. */
function noteGained({ gained, lost }: MembershipChange, chassis: string, scope: string): void {
  if (lost.get(chassis)?.delete(scope) !== true) note(gained, chassis, scope);
}

function noteLost({ gained, lost }: MembershipChange, chassis: string, scope: string): void {
  if (gained.get(chassis)?.delete(scope) !== true) note(lost, chassis, scope);
}

function note(map: Map<string, Set<string>>, chassis: string, scope: string): void {
  const set = map.get(chassis);
  if (set === undefined) map.set(chassis, new Set([scope]));
  else set.add(scope);
}
