// What rules have let pass: their flows are counted where somebody asks, and the others in turns, which tells which are never used.
import { defineSoftTable, defineTable, FlowCounters, type CountFact, type LiveView, type ReadView, type ServiceDecl, type ServiceHost, type StoredCount } from "#app";
import { ruleResource, ruleTable, remoteUseTable, useOf, type SecurityGroupRule } from "../model.ts";

/** By what is counted, see countedOf. */
export const ruleCountTable = defineTable<StoredCount>()("sg_rule_count");
export type RuleCount = CountFact;

const DAY_S = 86_400;
const ROOM = { project: 1000, count: 20_000 };
export const ruleCounts = defineSoftTable<RuleCount>()("sg_rule_counts", { ttlS: DAY_S, limitPerOwner: ROOM.project, limit: ROOM.count });

/** What counts for a rule: the rule itself, or the conjunction that rules with one other side share. The flow that packets match is then one for all. */
export const countedOf = (rule: Pick<SecurityGroupRule, "id" | "security_group_id" | "direction" | "ethertype" | "remote_group_id" | "remote_set">): string => useOf(rule) ?? rule.id;

export const COUNTERS = ["axion:packets", "axion:bytes", "axion:last_hit", "axion:counts_complete", "axion:counted_with"] as const;

export function shownCounts(view: LiveView, rule: SecurityGroupRule): Record<(typeof COUNTERS)[number], unknown> {
  const found = view.fact(ruleCounts, countedOf(rule));
  const use = useOf(rule);
  return {
    "axion:packets": found?.packets ?? null,
    "axion:bytes": found?.bytes ?? null,
    "axion:last_hit": found?.last_hit ?? null,
    "axion:counts_complete": found?.complete ?? false,
    "axion:counted_with": use === undefined ? [] : view.by(ruleTable, "remote_use", use).flatMap(({ id }) => (id === rule.id ? [] : [id])).sort(),
  };
}

const countable = (rule: SecurityGroupRule) => ({ id: countedOf(rule), project_id: rule.project_id });
/** The rules that a count is of. */
const ruleOf = (view: ReadView, id: string): SecurityGroupRule | undefined => view.get(ruleTable, id) ?? view.by(ruleTable, "remote_use", id)[0];

function countersOf(host: ServiceHost): FlowCounters {
  const { view } = host;
  return new FlowCounters(host, {
    name: "rule-count", what: "what rules have counted", stored: ruleCountTable, facts: ruleCounts, room: ROOM,
    look: (id, payer) => host.flowCounts(view.get(remoteUseTable, id) !== undefined ? "remote-group" : "security-group-rule", id, payer),
    isThere: (at, id) => at.get(ruleTable, id) !== undefined || at.get(remoteUseTable, id) !== undefined,
  }, {
    stored: Array.from(view.all(ruleCountTable)).flatMap(({ id }) => ruleOf(view, id) ?? []).map(countable),
    all: Array.from(view.all(ruleTable), countable),
  });
}

export const ruleCounters: ServiceDecl = {
  name: "rule-counters",
  about: "counts what the flows of security group rules let pass, often where somebody asks for it, the others in turns",
  start(host) {
    const counters = countersOf(host);
    host.onAsked(ruleResource, COUNTERS, (rules, caller) => counters.asked(rules.map(countable), caller.projectId));
    host.onCommit([ruleTable, remoteUseTable], (changes) => {
      for (const { table, id, before, after } of changes) {
        if (after === undefined) counters.forget(id);
        else if (table.name === ruleTable.name) counters.follow(countable(after as SecurityGroupRule), before === undefined);
      }
    });
    return () => counters.store(true);
  },
};
