import type { App } from "#app";
import { aliases, extend, policies, references, resources } from "./api.ts";
import { explains } from "./explain/index.ts";
import { arrivalMeters, connectionLimitTable, connectionMeters, defaultRuleTable, deniedMeters, groupTable, keptPolicyTable, memberTable, policyKeys, policyTable, portGroupsTable, remoteUseKeys, rejectingPolicyTable, remoteUseTable, ruleTable, securityGroupsSettings, shippedTable, verdictCopyTable } from "./model.ts";
import { derive, rules as connectionRules, staticFlows } from "./connections.ts";
import { ruleCounters, ruleCounts, ruleCountTable } from "./usage/counters.ts";
import { ruleShadows, shadowTable } from "./usage/shadows.ts";
import { opsLists, problems } from "./usage/shown.ts";
import { members } from "./members.ts";
import { deniedToMany, packetIn, rejectingPolicies, rejectRules } from "./reject.ts";
import { converters } from "./rule-checks.ts";
import { portContext, rules } from "./rules.ts";
import { securityGroups } from "./tables.ts";

export default {
  name: "security-groups",
  about: "stateful policy of ports, by groups of ports and their rules",
  requires: ["l2", "ipam"],
  tables: [groupTable, ruleTable, defaultRuleTable, shippedTable, portGroupsTable, policyTable, remoteUseTable, memberTable, keptPolicyTable, rejectingPolicyTable, verdictCopyTable, connectionLimitTable, ruleCountTable],
  softTables: [ruleCounts, shadowTable],
  pools: [policyKeys, remoteUseKeys, connectionMeters, arrivalMeters, deniedMeters],
  settings: securityGroupsSettings,
  resources,
  references,
  extend,
  converters,
  aliases,
  policies,
  pipeline: securityGroups,
  portContext,
  derive: [members, ...derive, rejectingPolicies],
  rules: [...rules, ...connectionRules, ...rejectRules],
  packetIn,
  services: [ruleCounters, ruleShadows],
  staticFlows: (out) => {
    staticFlows(out);
    deniedToMany(out);
  },
  problems,
  problemKinds: {
    shadowed_rule: { cause: "another rule of its group allows all that a security group rule allows", cure: "delete the rule: that changes nothing for any port (`axion plan DELETE /v2.0/security-group-rules/ID` shows it)" },
    unused_rule: { cause: "a security group rule has let nothing pass for as many days as `--unused-rule-days` says, though ports have it and all of their hosts say what they count", cure: "delete the rule, if nothing is to use it any more" },
  },
  opsLists,
  explains,
} satisfies App;
