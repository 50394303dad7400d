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
/** Rules that one look goes through. */
const RULES_AT_ONCE = 20_000;
const LOOK_S = 1;

const rulesOf = (view: ReadView, policy: Readonly<Policy>): SecurityGroupRule[] => policy.groups.flatMap((group) => view.by(ruleTable, "group", group));

/** Of the rules of a group those that others cover; and how many rules were looked at for it. */
export function shadowsOf(view: ReadView, group: string): { readonly shadows: Map<string, readonly string[]>; readonly looked: number } {
  const own = view.by(ruleTable, "group", group);
  const shadows = new Map<string, readonly string[]>();
  let left: { readonly rule: SecurityGroupRule; readonly by: Set<string> }[] = [];
  const within = new Covers(own);
  for (const rule of own) {
    const by = within.of(rule);
    if (by === undefined) left.push({ rule, by: new Set() });
    else shadows.set(rule.id, [by.id]);
  }
  let looked = own.length;
  const policies = view.by(policyTable, "group", group);
  if (policies.length === 0 || policies.length > POLICIES) return { shadows, looked };
  for (const policy of policies) {
    if (left.length === 0) break;
    const all = rulesOf(view, policy);
    looked += all.length;
    const covers = new Covers(all);
    left = left.filter(({ rule, by }) => {
      const found = covers.of(rule);
      if (found !== undefined) by.add(found.id);
      return found !== undefined;
    });
  }
  for (const { rule, by } of left) shadows.set(rule.id, [...by].sort());
  return { shadows, looked };
}

class Shadows {
  private readonly host: ServiceHost;
  /** Groups that are to be looked at. */
  private readonly waiting = new Set<string>();
  private set = false;
  /** By group, the rules that facts are of. */
  private readonly found = new Map<string, Set<string>>();

  constructor(host: ServiceHost) {
    this.host = host;
    for (const { id } of host.view.all(groupTable)) this.waiting.add(id);
    host.onCommit([ruleTable, policyTable], (changes) => {
      for (const { table, before, after } of changes) {
        for (const row of [before, after]) {
          if (row === undefined) continue;
          for (const group of table.name === policyTable.name ? (row as Policy).groups : this.around((row as SecurityGroupRule).security_group_id)) this.waiting.add(group);
        }
      }
      this.soon();
    });
    this.soon();
  }

  private soon(): void {
    if (this.set || this.waiting.size === 0) return;
    this.set = true;
    this.host.after(LOOK_S, () => {
      this.set = false;
      this.look();
      this.soon();
    });
  }

  /** A group, and those that ports have with it. */
  private around(group: string): Iterable<string> {
    const policies = this.host.view.by(policyTable, "group", group);
    return new Set([group, ...policies.slice(0, POLICIES).flatMap(({ groups }) => groups)]);
  }

  private look(): void {
    let room = RULES_AT_ONCE;
    for (const group of this.waiting) {
      if (room <= 0) break;
      this.waiting.delete(group);
      const { shadows, looked } = shadowsOf(this.host.view, group);
      room -= 1 + looked;
      this.tell(group, shadows);
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
