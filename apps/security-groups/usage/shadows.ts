// Which rules of groups say nothing that another rule of every port which has them does not say as well, kept as facts: found anew when rules change, or what
// groups ports have together.
import { defineSoftTable, learned, timestampOf, type Row, type ServiceDecl, type ServiceHost, type ReadView } from "#app";
import { groupTable, policyTable, ruleTable, type Policy, type SecurityGroupRule } from "../model.ts";
import { Covers } from "./covers.ts";

/** A rule that is not needed. `id` is the rule's. */
export interface Shadow extends Row {
  /** Rules that say all that it says; each port that has it has one of them. */
  readonly by: readonly string[];
  /** RFC 3339; when that was found. */
  readonly since: string;
}
export const shadowTable = defineSoftTable<Shadow>()("sg_rule_shadow", { ttlS: Infinity, limitPerOwner: 1000, limit: 20_000, indexes: { by: (s) => s.by } });

/** Sets of groups with a group that are looked at; of one that is in more, rules are covered within the group or not at all. */
const POLICIES = 256;
/** Rules that one turn goes through, and seconds between two while there are more. */
export const RULES_A_TURN = 200;
const TURN_S = 0.02;
const LOOK_S = 1;

const rulesOf = (view: ReadView, policy: Readonly<Policy>): SecurityGroupRule[] => policy.groups.flatMap((group) => view.by(ruleTable, "group", group));

/** Of the rules of a group those that others cover. In steps: yields how many rules it went through. What changes meanwhile has it begin anew. */
export function* shadowsOf(view: ReadView, group: string): Generator<number, Map<string, readonly string[]>> {
  const own = view.by(ruleTable, "group", group);
  const shadows = new Map<string, readonly string[]>();
  let left = own.map((rule) => ({ rule, by: new Set<string>() }));
  const covered = function* (covers: Covers<SecurityGroupRule>): Generator<number, typeof left> {
    const kept: typeof left = [];
    for (const [n, one] of left.entries()) {
      if (n % RULES_A_TURN === RULES_A_TURN - 1) yield RULES_A_TURN;
      const found = covers.of(one.rule);
      if (found === undefined) continue;
      one.by.add(found.id);
      kept.push(one);
    }
    yield left.length % RULES_A_TURN;
    return kept;
  };
  for (const { rule, by } of yield* covered(new Covers(own))) shadows.set(rule.id, [...by]);
  left = left.filter(({ rule }) => !shadows.has(rule.id));
  const policies = view.by(policyTable, "group", group);
  if (policies.length === 0 || policies.length > POLICIES) return shadows;
  for (const policy of policies) {
    if (left.length === 0) break;
    const all = rulesOf(view, policy);
    const covers = new Covers(all);
    yield all.length;
    left = yield* covered(covers);
  }
  for (const { rule, by } of left) shadows.set(rule.id, [...by].sort());
  return shadows;
}

class Shadows {
  private readonly host: ServiceHost;
  /** Groups that are to be looked at. */
  private readonly waiting = new Set<string>();
  private set = false;
  /** The group that is being looked at. */
  private looking: { readonly group: string; readonly steps: ReturnType<typeof shadowsOf> } | undefined;
  /** By group, the rules that facts are of. */
  private readonly found = new Map<string, Set<string>>();

  constructor(host: ServiceHost) {
    this.host = host;
    for (const { id } of host.view.all(groupTable)) this.waiting.add(id);
    host.onCommit([ruleTable, policyTable], (changes) => {
      const changed = new Set<string>();
      for (const { table, before, after } of changes) {
        for (const row of [before, after]) {
          if (row === undefined) continue;
          if (table.name === ruleTable.name) changed.add((row as SecurityGroupRule).security_group_id);
          else for (const group of (row as Policy).groups) this.waiting.add(group);
        }
      }
      for (const group of changed) for (const other of this.around(group)) this.waiting.add(other);
      this.soon();
    });
    this.soon();
  }

  private soon(seconds = LOOK_S): void {
    if (this.set || (this.waiting.size === 0 && this.looking === undefined)) return;
    this.set = true;
    this.host.after(seconds, () => {
      this.set = false;
      this.look();
      this.soon(TURN_S);
    });
  }

  /** A group, and those that ports have with it. */
  private around(group: string): Iterable<string> {
    const policies = this.host.view.by(policyTable, "group", group);
    return new Set([group, ...policies.slice(0, POLICIES).flatMap(({ groups }) => groups)]);
  }

  private look(): void {
    for (let room = RULES_A_TURN; room > 0; ) {
      if (this.looking === undefined || this.waiting.has(this.looking.group)) {
        const [group] = this.waiting;
        if (group === undefined) return;
        this.looking = { group, steps: shadowsOf(this.host.view, group) };
        this.waiting.delete(group);
      }
      const { group, steps } = this.looking;
      const step = steps.next();
      if (step.done !== true) room -= step.value;
      else {
        this.looking = undefined;
        room--;
        this.tell(group, step.value);
      }
    }
  }

  private tell(group: string, shadows: ReadonlyMap<string, readonly string[]>): void {
    const { view, clock } = this.host;
    const now = `${timestampOf(clock.now()).slice(0, 19)}Z`;
    const gone = [...(this.found.get(group) ?? [])].filter((id) => !shadows.has(id));
    if (gone.length > 0) this.host.forget(shadowTable, gone);
    if (shadows.size === 0) this.found.delete(group);
    else this.found.set(group, new Set(shadows.keys()));
    this.host.learn([...shadows].flatMap(([id, by]) => {
      const rule = view.get(ruleTable, id);
      const before = view.fact(shadowTable, id);
      if (rule === undefined || (before !== undefined && before.by.join() === by.join())) return [];
      return [learned(shadowTable, rule.project_id, { id, by, since: before?.since ?? now })];
    }));
  }
}

export const ruleShadows: ServiceDecl = {
  name: "rule-shadows",
  about: "finds rules that say nothing which another rule of the same ports does not say as well",
  start(host) {
    new Shadows(host);
    return undefined;
  },
};
