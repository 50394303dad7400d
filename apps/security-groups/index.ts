import type { App } from "#app";
import { aliases, extend, policies, references, resources } from "./api.ts";
import { arrivalMeters, connectionLimitTable, connectionMeters, defaultRuleTable, groupTable, keptPolicyTable, memberTable, policyKeys, policyTable, portGroupsTable, remoteUseKeys, remoteUseTable, ruleTable, securityGroupsSettings, shippedTable } from "./model.ts";
import { converters } from "./rule-checks.ts";
import { derive, portContext, rules, staticFlows } from "./rules.ts";
import { securityGroups } from "./tables.ts";

export default {
  name: "security-groups",
  about: "stateful policy of ports, by groups of ports and their rules",
  requires: ["l2", "ipam"],
  tables: [groupTable, ruleTable, defaultRuleTable, shippedTable, portGroupsTable, policyTable, remoteUseTable, memberTable, keptPolicyTable, connectionLimitTable],
  pools: [policyKeys, remoteUseKeys, connectionMeters, arrivalMeters],
  settings: securityGroupsSettings,
  resources,
  references,
  extend,
  converters,
  aliases,
  policies,
  pipeline: securityGroups,
  portContext,
  derive,
  rules,
  staticFlows,
} satisfies App;
