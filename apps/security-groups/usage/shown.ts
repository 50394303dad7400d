// Rules as operators are shown them, with what each has let pass and what would tighten them; and what of that is told as a problem.
import { momentOf, parseCidr, type AppProblem, type LiveView, type OpsList } from "#app";
import { groupTable, policyTable, portGroupsTable, remoteOf, ruleTable, securityGroupsSettings, useOf, type SecurityGroupRule } from "../model.ts";
import { countedOf, ruleCounts, type RuleCount } from "./counters.ts";
import { shadowTable } from "./shadows.ts";

const DAY_MS = 86_400_000;
/** Rules that are named of a kind of problem; others are counted. */
const NAMED = 40;

/** Days for which a rule has let nothing pass, as far as that is known; undefined: it has, or nobody knows, or no port has it. */
function idleDays(count: Readonly<RuleCount> | undefined): number | undefined {
  if (count?.complete !== true) return undefined;
  return (momentOf(count.looked_at) - momentOf(count.idle_since)) / DAY_MS;
}

type Use = "used" | "never" | "unknown" | "no_port";

function useOfRule(count: Readonly<RuleCount> | undefined, ports: number): Use {
  if ((count?.packets ?? 0) > 0) return "used";
  if (ports === 0) return "no_port";
  return count?.complete === true ? "never" : "unknown";
}

/** What a rule leaves open; who makes use of it counters do not tell. */
function breadth(rule: Readonly<SecurityGroupRule>): string[] {
  const anybody = remoteOf(rule) === undefined && (rule.remote_ip_prefix === null || parseCidr(rule.remote_ip_prefix)!.prefix === 0);
  const anyProtocol = rule.protocol === null || ["any", "ip"].includes(rule.protocol);
  return [...(anybody ? ["any_address"] : []), ...(anyProtocol ? ["any_protocol"] : rule.port_range_min === null && ["tcp", "udp", "sctp", "6", "17", "132"].includes(rule.protocol) ? ["any_port"] : [])];
}

/** Rules behind one that are looked at before it is said that something is not needed. */
const BEHIND = 1000;

/**
 * Whether a rule that nothing seems to use stands behind others that something uses, one after another: of rules that overlap a switch counts for one, and says
 * not which. Those are told of as shadowed: with both gone nothing would let it pass.
 */
function isNeeded(view: LiveView, id: string): boolean {
  const looked = new Set([id]);
  for (const above of looked) {
    for (const { id: below } of view.factsBy(shadowTable, "by", above)) {
      const rule = view.get(ruleTable, below);
      if (rule === undefined || looked.has(below)) continue;
      if (looked.size >= BEHIND || view.fact(ruleCounts, countedOf(rule))?.packets !== 0) return true;
      looked.add(below);
    }
  }
  return false;
}

interface Tighten {
  readonly why: "shadowed" | "unused";
  readonly method: "DELETE";
  readonly path: string;
}

/** The call that would tighten; null: none is known to change nothing for anybody. */
function tighten(view: LiveView, rule: Readonly<SecurityGroupRule>, days: number): Tighten | null {
  const call = { method: "DELETE", path: `/v2.0/security-group-rules/${rule.id}` } as const;
  if (view.fact(shadowTable, rule.id) !== undefined) return { why: "shadowed", ...call };
  return isUnused(view, rule, days) ? { why: "unused", ...call } : null;
}

function isUnused(view: LiveView, rule: Readonly<SecurityGroupRule>, days: number): boolean {
  const count = view.fact(ruleCounts, countedOf(rule));
  const idle = idleDays(count);
  return idle !== undefined && idle >= days && view.count(policyTable, "group", rule.security_group_id) > 0 && !isNeeded(view, rule.id);
}

/** After how many days it is told that a rule is not used; undefined: never. */
function unusedDays(view: LiveView): number {
  const days = view.settings(securityGroupsSettings)["unused-rule-days"];
  return days === 0 ? Infinity : days;
}

function* rows(view: LiveView, asked: Readonly<Record<string, string>>): Iterable<object> {
  const { group, project, port, shadowed } = asked;
  const unusedFor = asked["unused-for"] === undefined ? undefined : Number(asked["unused-for"]);
  const groups = port === undefined ? undefined : (view.get(portGroupsTable, port)?.groups ?? []);
  const rules = group !== undefined ? view.by(ruleTable, "group", group) : groups !== undefined ? groups.flatMap((id) => view.by(ruleTable, "group", id)) : project !== undefined ? view.by(ruleTable, "project", project) : view.all(ruleTable);
  for (const rule of rules) {
    if ((project !== undefined && rule.project_id !== project) || (groups?.includes(rule.security_group_id) === false)) continue;
    const shadow = view.fact(shadowTable, rule.id);
    if (shadowed !== undefined && (shadow !== undefined) !== (shadowed === "true")) continue;
    if (unusedFor !== undefined && !isUnused(view, rule, unusedFor)) continue;
    yield shownRule(view, rule, unusedFor);
  }
}

function shownRule(view: LiveView, rule: Readonly<SecurityGroupRule>, unusedFor: number | undefined): object {
  const count = view.fact(ruleCounts, countedOf(rule));
  const ports = view.count(portGroupsTable, "group", rule.security_group_id);
  const use = useOf(rule);
  return {
    id: rule.id, group: rule.security_group_id, group_name: view.get(groupTable, rule.security_group_id)?.name ?? "", project: rule.project_id, direction: rule.direction, ethertype: rule.ethertype, protocol: rule.protocol,
    port_range_min: rule.port_range_min, port_range_max: rule.port_range_max, remote: rule.remote_ip_prefix ?? remoteOf(rule) ?? null, ports, use: useOfRule(count, ports),
    packets: count?.packets ?? null, bytes: count?.bytes ?? null, last_hit: count?.last_hit ?? null, since: count?.since ?? null, complete: count?.complete ?? false,
    counted_with: use === undefined ? [] : view.by(ruleTable, "remote_use", use).flatMap(({ id }) => (id === rule.id ? [] : [id])).sort(),
    shadowed_by: view.fact(shadowTable, rule.id)?.by ?? [], broad: breadth(rule), tighten: tighten(view, rule, unusedFor ?? unusedDays(view)),
  };
}

export const opsLists: readonly OpsList[] = [{
  path: "rules",
  about: "rules of security groups, what each has let pass, and what would tighten them",
  filters: {
    project: { about: "of this project", project: true },
    group: { about: "of this security group, by id or name", resource: ["security_group"] },
    port: { about: "of the groups of this port, by id or name", resource: ["port"] },
    "unused-for": { about: "that have let nothing pass for so many days at least", integer: [0, 3650] },
    shadowed: { about: "whether others say all that they say", values: ["true", "false"] },
  },
  rows,
}];

export function problems(view: LiveView): AppProblem[] {
  return [...shadowedRules(view), ...unusedRules(view)];
}

const nameOf = (rule: Readonly<SecurityGroupRule>): string =>
  `${rule.direction} rule ${rule.id} (${rule.ethertype}${rule.protocol === null ? "" : ` ${rule.protocol}`}${rule.port_range_min === null ? "" : ` ${rule.port_range_min}${rule.port_range_max === null || rule.port_range_max === rule.port_range_min ? "" : `-${rule.port_range_max}`}`}, ${remoteOf(rule) ?? rule.remote_ip_prefix ?? "any address"})`;
const resourcesOf = (rule: Readonly<SecurityGroupRule>): NonNullable<AppProblem["resources"]> => [{ type: "security_group_rule", id: rule.id }, { type: "security_group", id: rule.security_group_id }];
const deleteIt = (rule: Readonly<SecurityGroupRule>): string => `DELETE /v2.0/security-group-rules/${rule.id}; axion plan DELETE /v2.0/security-group-rules/${rule.id} shows first what that changes`;

function more(kind: string, left: readonly string[], flag: string): AppProblem[] {
  if (left.length === 0) return [];
  return [{ kind, severity: "info", since: left.reduce((a, b) => (b < a ? b : a)), text: `and ${left.length} rules more`, cure: { text: `axion policy ${flag} lists them all` } }];
}

function shadowedRules(view: LiveView): AppProblem[] {
  // Of groups that no port has nothing depends. That groups of one port say the same is what groups are for: each may be had without the other.
  const found = view.facts(shadowTable).flatMap((shadow) => {
    const rule = view.get(ruleTable, shadow.id);
    const group = rule?.security_group_id;
    if (rule === undefined || view.count(policyTable, "group", rule.security_group_id) === 0) return [];
    return shadow.by.every((id) => view.get(ruleTable, id)?.security_group_id === group) ? [{ rule, shadow }] : [];
  });
  const named = found.slice(0, NAMED).map(({ rule, shadow }): AppProblem => ({
    kind: "shadowed_rule", severity: "info", since: shadow.since, resources: resourcesOf(rule),
    text: `${nameOf(rule)} allows nothing that rule ${shadow.by[0]!} of its group does not allow as well`,
    cure: { text: deleteIt(rule) },
  }));
  return [...named, ...more("shadowed_rule", found.slice(NAMED).map(({ shadow }) => shadow.since), "--shadowed")];
}

function unusedRules(view: LiveView): AppProblem[] {
  const days = unusedDays(view);
  if (days === Infinity) return [];
  const found: { readonly rule: Readonly<SecurityGroupRule>; readonly count: Readonly<RuleCount> }[] = [];
  for (const count of view.facts(ruleCounts)) {
    const idle = idleDays(count);
    if (idle === undefined || idle < days) continue;
    const own = view.get(ruleTable, count.id);
    for (const rule of own === undefined ? view.by(ruleTable, "remote_use", count.id) : [own]) {
      if (view.fact(shadowTable, rule.id) === undefined && isUnused(view, rule, days)) found.push({ rule, count });
    }
  }
  const named = found.slice(0, NAMED).map(({ rule, count }): AppProblem => ({
    kind: "unused_rule", severity: "info", since: count.idle_since, resources: resourcesOf(rule),
    text: `${nameOf(rule)} has let nothing pass for ${days} days and more${count.packets === 0 ? ", nor ever since it is counted" : ""}`,
    cure: { text: `if nothing is to use it any more, ${deleteIt(rule)}` },
  }));
  return [...named, ...more("unused_rule", found.slice(NAMED).map(({ count }) => count.idle_since), `--unused-for ${days}`)];
}
