// Security groups and their rules, the groups of ports, and the rows that the flow rules work from: Policy (a set of groups
// that ports have) and RemoteUse (a group's rules that refer to another).
import {
  invalidInput, memberOf, AUTO, badRequest, conflict, defineResource, draw, extendResource, formatCidr, notFound, orNull, parseCidr, reference, resourceHandle,
  type Alias, type ApiContext, type Caller, type ReadView, type Tx, type Values,
} from "#app";
import { isNetworkPort, networkResource, portResource, portTable } from "../l2/model.ts";
import {
  groupResource, groupTable, NO_GROUPS_POLICY, policyKeys, policyTable, portGroupsTable, remoteOf, remoteUseKeys, remoteUseTable, ruleResource, ruleTable, useOf, type PortGroups, type SecurityGroup, type SecurityGroupRule,
} from "./model.ts";
import { countedOf, ruleCountTable, shownCounts } from "./usage/counters.ts";
import { contentAttributes, defaultRule, rulesOfNew, withoutRemote } from "./default-rules.ts";
import { checkRule, contentOf, ruleKey } from "./rule-checks.ts";

/** Rules of a group that callers make. */
const RULES_MAX = 1000;
/** Groups of a port. */
const GROUPS_MAX = 32;

const DEFAULT = "default";
const DEFAULT_DESCRIPTION = "Default security group";

// ---- the default group of a project ----

const defaultGroup = (view: ReadView, projectId: string): SecurityGroup | undefined => view.by(groupTable, "project_name", `${projectId}|${DEFAULT}`)[0];

function ensureDefault(tx: Tx, ctx: ApiContext, projectId: string): SecurityGroup {
  return defaultGroup(tx, projectId) ?? ctx.create(groupResource, { project_id: projectId, name: DEFAULT, description: DEFAULT_DESCRIPTION });
}

const prepare = {
  needed: (view: ReadView, caller: Caller): boolean => caller.projectId !== "" && defaultGroup(view, caller.projectId) === undefined,
  run: (tx: Tx, ctx: ApiContext): void => void ensureDefault(tx, ctx, ctx.caller.projectId),
};

const isReserved = (name: string): boolean => name.toLowerCase() === DEFAULT;

// ---- groups ----

const groupNotFound = { type: "SecurityGroupNotFound", message: (id: string) => `Security group ${id} does not exist` };
const KEEPS = "axion:keep_established";
const DENY = "axion:deny";
interface Options {
  readonly stateful: boolean;
  readonly keeps: boolean;
  readonly rejects: boolean;
}
const columnsOf = ({ stateful, keeps, rejects }: Options): Pick<SecurityGroup, "stateless" | "keep_established" | "rejects"> => ({ ...(!stateful && { stateless: true }), ...(keeps && { keep_established: true }), ...(rejects && { rejects: true }) });
/** As they were given, else as they are. */
const optionsOf = (input: Values, row: Partial<SecurityGroup> = {}): Options => ({
  stateful: (input.stateful as boolean | undefined) ?? row.stateless !== true,
  keeps: (input[KEEPS] as boolean | undefined) ?? row.keep_established === true,
  rejects: input[DENY] === undefined ? row.rejects === true : input[DENY] === "reject",
});
const groupInUse = (id: string): Error => conflict("SecurityGroupInUse", `Security Group ${id} in use.`);

const group = defineResource(groupResource, {
  collection: "security_groups",
  about: "A set of rules that ports share: what they may send and receive.",
  alias: "security-group",
  table: groupTable,
  quota: { default: 10 },
  notFound: groupNotFound,
  attributes: {
    stateful: { type: "boolean", about: "Whether answers to what is allowed are allowed. Not changed while ports have it.", post: true, put: true, default: true, filter: true, alias: "stateful-security-group" },
    [KEEPS]: {
      type: "boolean", about: "Whether ports that have it keep their connections when no rule allows them any more.", post: true, put: true, default: false, onRequest: true, filter: true, alias: "axion-keep-established",
    },
    [DENY]: {
      type: "string", about: "What becomes of what no rule of a port that has it allows: drop, or reject, where the sender is told.", post: true, put: true, default: "drop", check: { enum: ["drop", "reject"] }, onRequest: true, filter: true, alias: "axion-active-deny",
    },
  },
  embedded: { security_group_rules: { about: "Its rules.", resource: ruleResource, attribute: "security_group_id", index: "group" } },
  policy: { create: memberOf(), get: "rule:admin_only or (role:reader and project_id:%(project_id)s) or rule:shared_security_group", update: memberOf(), delete: memberOf() },
  relations: { "security_group:shared": () => false },
  reach: { "security_group:shared": () => [] },
  shareable: {
    shownBy: "security-groups-shared-filtering",
    table: groupTable,
    *usedBy(view, row) {
      for (const { id } of view.by(portGroupsTable, "group", row.id)) yield view.get(portTable, id)?.project_id ?? row.project_id;
      for (const { project_id } of view.by(ruleTable, "remote", row.id)) yield project_id;
    },
  },
  bulk: true,
  prepare,

  create(tx, standard, input, ctx) {
    const isDefault = isReserved(standard.name);
    if (isDefault && !ctx.internal) throw conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.");
    const row: SecurityGroup = { ...standard, ...columnsOf(optionsOf(input)) };
    tx.put(groupTable, row);
    for (const values of rulesOfNew(tx, ctx, row, isDefault)) ctx.create(ruleResource, { project_id: row.project_id, security_group_id: row.id, ...values });
    return tx.get(groupTable, row.id)!;
  },

  update(tx, row, changes) {
    // The row put is still the old one.
    const before = tx.get(groupTable, row.id)!;
    if (row.name !== before.name) {
      if (before.name === DEFAULT) throw conflict("SecurityGroupCannotUpdateDefault", "Updating default security group not allowed.");
      if (isReserved(row.name)) throw conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.");
    }
    const options = optionsOf(changes, row);
    if (options.stateful !== (row.stateless !== true) && tx.count(portGroupsTable, "group", row.id) > 0) throw groupInUse(row.id);
    // `stateful` is a column of the first edition's rows.
    const old = new Set(["stateless", "keep_established", "rejects", ...(changes.stateful === undefined ? [] : ["stateful"])]);
    const after = { ...Object.fromEntries(Object.entries(row).filter(([column]) => !old.has(column))), ...columnsOf(options) } as SecurityGroup;
    tx.put(groupTable, after);
    return after;
  },

  remove(tx, row, ctx) {
    if (row.name === DEFAULT && !ctx.internal && !ctx.caller.admin) throw conflict("SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group.");
    if (tx.count(portGroupsTable, "group", row.id) > 0) throw groupInUse(row.id);
    for (const rule of tx.by(ruleTable, "group", row.id)) ctx.remove(ruleResource, rule.id);
    // Rules of other groups that let this one's members in mean nothing any more.
    for (const rule of tx.by(ruleTable, "remote", row.id)) ctx.remove(ruleResource, rule.id);
    withoutRemote(tx, ctx, row.id);
    tx.delete(groupTable, row.id);
  },

  // Rows of the first edition have it as a column, which is shown as it is.
  presentOnRequest: (_view, row) => ({ [KEEPS]: row.keep_established === true, [DENY]: row.rejects === true ? "reject" : "drop" }),
  present: (_view, row) => ({ ...(!Object.hasOwn(row, "stateful") && { stateful: row.stateless !== true }) }),
});

// ---- rules ----

const computed = (view: ReadView, rule: SecurityGroupRule): Record<string, unknown> => ({
  normalized_cidr: rule.remote_ip_prefix === null ? null : formatCidr(parseCidr(rule.remote_ip_prefix)!),
  belongs_to_default_sg: view.get(groupTable, rule.security_group_id)?.name === DEFAULT,
});

/** Of two rules of a group that say the same, one is refused: those that are new, beside each other and beside those that were there. */
function checkDoubles(tx: Tx, rules: readonly SecurityGroupRule[]): void {
  const made = new Set(rules.map((r) => r.id));
  for (const group of new Set(rules.map((r) => r.security_group_id))) {
    const [before, after] = [false, true].map((isNew) => new Map(tx.by(ruleTable, "group", group).filter((r) => made.has(r.id) === isNew).map((r) => [ruleKey(r), r.id])));
    if (after!.size < rules.filter((r) => r.security_group_id === group).length) throw conflict("DuplicateSecurityGroupRuleInPost", "Duplicate Security Group Rule in POST.");
    for (const key of after!.keys()) {
      const id = before!.get(key);
      if (id !== undefined) throw conflict("SecurityGroupRuleExists", `Security group rule already exists. Rule id is ${id}.`);
    }
  }
}

const rule = defineResource(ruleResource, {
  collection: "security_group_rules",
  about: "One kind of packet that a group's ports may send or receive.",
  alias: "security-group",
  table: ruleTable,
  quota: { default: 100 },
  notFound: { type: "SecurityGroupRuleNotFound", message: (id) => `Security group rule ${id} does not exist` },
  attributes: {
    security_group_id: { type: "string", about: "Group it belongs to.", post: true, required: true, check: { convert: "some-id" }, filter: true, sort: true, index: "group" },
    ...contentAttributes,
    remote_group_id: { type: "any", about: "The other side's group.", post: true, default: null, check: orNull({ convert: "some-id" }), filter: true, sort: true },
    normalized_cidr: { type: "cidr", about: "remote_ip_prefix without host bits.", filter: true, sort: true, alias: "security-groups-normalized-cidr" },
    belongs_to_default_sg: { type: "boolean", about: "Whether its group is the project's default.", filter: true, alias: "security-groups-rules-belongs-to-default-sg" },
    "axion:packets": { type: "integer", about: "Packets that its flows have matched, on all hosts; null: not known.", onRequest: true, alias: "axion-rule-counters" },
    "axion:bytes": { type: "integer", about: "Bytes of these.", onRequest: true, alias: "axion-rule-counters" },
    "axion:last_hit": { type: "any", about: "When packets were last seen to match, RFC 3339; null: not since it is looked at.", onRequest: true, alias: "axion-rule-counters" },
    "axion:counts_complete": { type: "boolean", about: "Whether every host that has it said what it counted; else what is known of it is shown.", onRequest: true, alias: "axion-rule-counters" },
    "axion:counted_with": { type: "uuid[]", about: "Rules whose packets are counted together with its own: they name the same group or set as the other side.", onRequest: true, alias: "axion-rule-counters" },
  },
  policy: { create: "rule:admin_only or (role:member and rule:sg_owner)", get: "rule:admin_only or (role:reader and rule:sg_owner)", update: "rule:admin_only or (role:member and rule:sg_owner)", delete: "rule:admin_only or (role:member and rule:sg_owner)" },
  relations: {
    "security_group:project_id"(row, view, caller) {
      const owner = view.get(groupTable, row.security_group_id)?.project_id;
      // Of a rule that is being asked for: a group that is not to be seen is not there.
      if (row.id === undefined && owner !== caller.projectId) throw notFound(groupNotFound.type, groupNotFound.message(row.security_group_id));
      return owner;
    },
  },
  reach: {
    "security_group:project_id": (view, caller) => view.by(groupTable, "project", caller.projectId).flatMap((g) => view.by(ruleTable, "group", g.id).map((r) => r.id)),
  },
  bulk: true,
  standard: ["id", "project", "description", "timestamps", "revision"],
  prepare,

  create(tx, standard, input, ctx) {
    const owner = tx.get(groupTable, input.security_group_id as string);
    const its = ctx.internal && owner !== undefined ? owner : ctx.visible(groupResource, input.security_group_id as string);
    const content = contentOf(input);
    checkRule(content);
    const remote = content.remote_group_id;
    if (remote !== null && remote !== its.id) ctx.visible(groupResource, remote);
    const chosen = ctx.given.has("project_id") || ctx.given.has("tenant_id");
    const row: SecurityGroupRule = { security_group_id: its.id, ...content, ...standard, project_id: chosen ? standard.project_id : its.project_id };
    tx.put(ruleTable, row);
    const use = useOf(row);
    if (use !== undefined && tx.get(remoteUseTable, use) === undefined) {
      tx.put(remoteUseTable, { id: use, key: draw(tx, remoteUseKeys), group: its.id, remote: remoteOf(row)!, direction: row.direction, ethertype: row.ethertype });
    }
    ctx.bump(groupResource, its.id);
    return row;
  },

  completed(tx, done) {
    const created = done.filter((d) => d.created);
    const asked = created.filter((d) => d.asked);
    if (new Set(asked.map((d) => d.row.security_group_id)).size > 1) throw badRequest("Only allowed to update rules for one security profile at a time", "SecurityGroupNotSingleGroupRules");
    if (new Set(asked.map((d) => d.row.project_id)).size > 1) throw badRequest("Multiple projects_ids in bulk security group rule create not allowed", "SecurityGroupRulesNotSingleProject");
    checkDoubles(tx, created.map((d) => d.row));
    const full = asked.find((d) => tx.count(ruleTable, "group", d.row.security_group_id) > RULES_MAX)?.row.security_group_id;
    if (full !== undefined) throw conflict("OverQuota", `Quota exceeded for resources: ['security_group_rule']: security group ${full} has ${RULES_MAX} rules, which is the most.`);
  },

  // Its description alone.
  update(tx, row, _changes, ctx) {
    tx.put(ruleTable, row);
    ctx.bump(groupResource, row.security_group_id);
    return row;
  },

  remove(tx, row, ctx) {
    tx.delete(ruleTable, row.id);
    const use = useOf(row);
    const last = use === undefined || tx.by(ruleTable, "remote_use", use).length === 0;
    if (use !== undefined && last) tx.delete(remoteUseTable, use);
    if (last) tx.delete(ruleCountTable, countedOf(row));
    ctx.bump(groupResource, row.security_group_id);
  },

  present: (view, row) => computed(view, row),
  presentOnRequest: (view, row) => shownCounts(view, row),
});

// ---- the groups of ports ----

/** @throws ApiError 400 InvalidInput: every set of groups that some port has is flows for all of their rules */
function checkMany(groups: readonly string[]): void {
  if (groups.length > GROUPS_MAX) throw invalidInput(`security_groups: a port has ${GROUPS_MAX} groups at most, not ${groups.length}`);
}

/** Records the port's groups and keeps the policies of all ports: one per set of groups, as long as a port has it. */
function setGroups(tx: Tx, portId: string, groups: readonly string[]): void {
  const before = tx.get(portGroupsTable, portId);
  const policy = groups.length === 0 ? NO_GROUPS_POLICY : groups.toSorted().join("+");
  if (groups.length === 0) tx.delete(portGroupsTable, portId);
  else if (before === undefined || before.groups.join() !== groups.join()) tx.put(portGroupsTable, { id: portId, groups, policy } satisfies PortGroups);
  if (before?.policy === policy) return;
  if (groups.length > 0 && tx.get(policyTable, policy) === undefined) {
    const stateless = groups.every((id) => tx.get(groupTable, id)?.stateless === true);
    tx.put(policyTable, { id: policy, key: draw(tx, policyKeys), groups: groups.toSorted(), ...(stateless && { stateless }) });
  }
  if (before !== undefined && tx.count(portGroupsTable, "policy", before.policy) === 0) tx.delete(policyTable, before.policy);
}

function checkVisible(ctx: ApiContext, groups: readonly string[]): void {
  for (const id of groups) ctx.visible(groupResource, id);
}

const securityRequired = (): Error =>
  badRequest("Port security must be enabled and port must have an IP address in order to use security groups.", "PortSecurityAndIPRequiredForSecurityGroups");

const portExtension = extendResource(portResource, {
  attributes: {
    security_groups: {
      type: "uuid[]", about: "Its groups; absent: the project's default group, [] none.", post: true, put: true, default: AUTO, filter: true, alias: "security-group",
    },
  },
  create(tx, row, input, ctx) {
    let groups = input.security_groups as readonly string[] | undefined;
    if (groups === undefined) {
      const none = !row.port_security_enabled || isNetworkPort(row);
      groups = none ? [] : [ensureDefault(tx, ctx, row.project_id).id];
    } else {
      if (groups.length > 0 && !row.port_security_enabled) throw securityRequired();
      checkMany(groups);
      checkVisible(ctx, groups);
    }
    if (groups.length > 0) setGroups(tx, row.id, groups);
  },
  update(tx, row, changes, ctx) {
    const given = changes.security_groups as readonly string[] | undefined;
    const now = tx.get(portGroupsTable, row.id)?.groups ?? [];
    if (!row.port_security_enabled) {
      if (given !== undefined && given.length > 0) throw securityRequired();
      if (given === undefined && now.length > 0) throw conflict("PortSecurityPortHasSecurityGroup", "Port has security group associated. Cannot disable port security or IP address until security group is removed.");
    }
    if (given === undefined) return;
    checkMany(given);
    // Groups that stay need not be visible: an administrator may have given them.
    checkVisible(ctx, given.filter((id) => !now.includes(id)));
    setGroups(tx, row.id, given);
  },
  remove: (tx, row) => setGroups(tx, row.id, []),
  present: (view, row) => ({ security_groups: view.get(portGroupsTable, row.id)?.groups ?? [] }),
});

const networkExtension = extendResource(networkResource, {
  create(tx, row, _input, ctx) {
    ensureDefault(tx, ctx, row.project_id);
  },
});

export const resources = [group, rule, defaultRule];
export const references = [reference(portGroupsTable, { to: portTable, ids: (p) => p.id, gone: (tx, p) => setGroups(tx, p.id, []) })];
export const extend = [networkExtension, portExtension];
export const policies: Readonly<Record<string, string>> = {
  sg_owner: "project_id:%(security_group:project_id)s",
  admin_or_sg_owner: "rule:context_is_admin or rule:sg_owner",
  admin_owner_or_sg_owner: "rule:owner or rule:admin_or_sg_owner",
  shared_security_group: "field:security_groups:shared=True",
};
export const aliases: readonly Alias[] = [
  { alias: "rbac-security-groups", name: "Add security_group type to network RBAC", description: "Security groups can be shared with other projects.", updated: "2018-04-20T00:00:00-00:00", needs: resourceHandle("rbac_policy") },
  { alias: "security-group", name: "security-group", description: "Groups of rules for what ports send and receive.", updated: "2012-10-05T10:00:00-00:00" },
  { alias: "stateful-security-group", name: "Stateful security group", description: "Groups may do without connection tracking.", updated: "2019-11-26T09:00:00-00:00" },
  { alias: "port-security-groups-filtering", name: "Port filtering on security groups", description: "Ports are found by their groups.", updated: "2018-01-09T09:00:00-00:00" },
  { alias: "security-groups-normalized-cidr", name: "Normalized CIDR field for security group rules", description: "Rules show their prefix without host bits.", updated: "2020-07-28T10:00:00-00:00" },
  { alias: "axion-active-deny", name: "Senders are told what is denied", description: "Groups may say that what no rule allows is answered, by a reset or an ICMP error.", updated: "2026-11-28T00:00:00-00:00" },
  { alias: "axion-keep-established", name: "Established connections are kept", description: "Groups may say that connections outlive the rules that allowed them.", updated: "2026-11-28T00:00:00-00:00" },
  { alias: "axion-rule-counters", name: "Counters of security group rules", description: "Rules show how many packets and bytes they let pass, and when the last.", updated: "2026-11-28T00:00:00-00:00" },
  { alias: "security-groups-shared-filtering", name: "Security group filtering on the shared field", description: "Groups are found by whether other projects may use them.", updated: "2021-10-05T09:00:00-00:00" },
  { alias: "security-groups-default-rules", name: "Default rules for security groups", description: "What the rules of new groups are copied from.", updated: "2022-12-19T10:00:00-00:00" },
  { alias: "security-groups-rules-belongs-to-default-sg", name: "Security group rule belongs to the project's default security group", description: "Rules show whether their group is a default group.", updated: "2023-05-23T10:00:00-00:00" },
];
