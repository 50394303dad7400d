// Default rules: what the rules of new groups are copied from. An administrator changes them; some are shipped.
import { conflict, defineResource, orNull, type ApiContext, type Attribute, type ReadView, type Tx, type Values } from "#app";
import { defaultRuleResource, defaultRuleTable, groupResource, PARENT, shippedTable, type DefaultRule } from "./model.ts";
import { checkRule, contentOf, ruleKey, type Content } from "./rule-checks.ts";

const optional = (about: string, check: Attribute["check"]): Attribute => ({ type: "any", about, post: true, default: null, check: check!, filter: true, sort: true });

/** What rules and default rules say alike. */
export const contentAttributes: Readonly<Record<string, Attribute>> = {
  direction: { type: "string", about: "ingress: what ports receive; egress: what they send.", post: true, required: true, check: { enum: ["ingress", "egress"] }, filter: true, sort: true },
  ethertype: { type: "string", about: "IPv4 or IPv6.", post: true, default: "IPv4", check: { convert: "security-group-ethertype" }, filter: true, sort: true },
  protocol: optional("Name or number; null: any.", { convert: "security-group-protocol" }),
  port_range_min: optional("First port, or ICMP type.", { convert: "security-group-port" }),
  port_range_max: optional("Last port, or ICMP code.", { convert: "security-group-port" }),
  remote_ip_prefix: optional("The other side's addresses.", { convert: "security-group-prefix" }),
};

type Shipped = Pick<DefaultRule, "direction" | "ethertype" | "remote_group_id" | "used_in_non_default_sg">;
const FAMILIES = ["IPv4", "IPv6"] as const;
/** Everything out; in, what is of the same group, if it is a project's default one. */
const SHIPPED: readonly Shipped[] = [
  ...FAMILIES.map((ethertype) => ({ direction: "egress", ethertype, remote_group_id: null, used_in_non_default_sg: true }) as const),
  ...FAMILIES.map((ethertype) => ({ direction: "ingress", ethertype, remote_group_id: PARENT, used_in_non_default_sg: false }) as const),
];

const DONE = "shipped";
const needsShipped = (view: ReadView): boolean => view.get(shippedTable, DONE) === undefined;

/** Once and for all: what an administrator deletes does not come back. */
function ship(tx: Tx, ctx: ApiContext): void {
  if (!needsShipped(tx)) return;
  tx.put(shippedTable, { id: DONE });
  for (const rule of SHIPPED) ctx.create(defaultRuleResource, { ...rule, used_in_default_sg: true });
}

/** What a new group's rules say. */
export function rulesOfNew(tx: Tx, ctx: ApiContext, group: { readonly id: string }, isDefault: boolean): readonly Values[] {
  ship(tx, ctx);
  return [...tx.all(defaultRuleTable)].filter((r) => (isDefault ? r.used_in_default_sg : r.used_in_non_default_sg)).map((r) => ({
    description: r.description, direction: r.direction, ethertype: r.ethertype, protocol: r.protocol, port_range_min: r.port_range_min, port_range_max: r.port_range_max, remote_ip_prefix: r.remote_ip_prefix,
    remote_group_id: r.remote_group_id === PARENT ? group.id : r.remote_group_id, ...(r.remote_set !== undefined && { [r.remote_set.attribute]: r.remote_set.id }),
  }));
}

/** What lets a group in that is gone means nothing any more. */
export function withoutRemote(tx: Tx, ctx: ApiContext, groupId: string): void {
  for (const rule of tx.by(defaultRuleTable, "remote", groupId)) ctx.remove(defaultRuleResource, rule.id);
}

export const defaultRule = defineResource(defaultRuleResource, {
  collection: "default_security_group_rules",
  about: "A rule that new groups get.",
  alias: "security-groups-default-rules",
  table: defaultRuleTable,
  notFound: { type: "DefaultSecurityGroupRuleNotFound", message: (id) => `Default Security Group rule ${id} does not exist.` },
  standard: ["id", "description"],
  attributes: {
    description: { type: "string", about: "Text of the administrator's choice, which the rules get too.", post: true, default: "", check: { type: "string", max: 1024 }, filter: true },
    ...contentAttributes,
    remote_group_id: optional(`The other side's group; ${PARENT}: the new group itself.`, orNull({ or: [{ type: "uuid" }, { enum: [PARENT] }] })),
    used_in_default_sg: { type: "boolean", about: "Default groups of projects get it.", post: true, required: true, filter: true },
    used_in_non_default_sg: { type: "boolean", about: "All other groups get it.", post: true, required: true, filter: true },
  },
  policy: { create: "rule:admin_only", get: "role:reader", delete: "rule:admin_only" },
  bulk: true,
  prepare: { needed: needsShipped, run: ship },

  create(tx, standard, input, ctx) {
    const content: Content = contentOf(input);
    checkRule(content);
    const remote = content.remote_group_id;
    if (remote !== null && remote !== PARENT) ctx.visible(groupResource, remote);
    const key = ruleKey(content);
    const same = [...tx.all(defaultRuleTable)].find((r) => ruleKey(r) === key);
    if (same !== undefined) throw conflict("DefaultSecurityGroupRuleExists", `Default Security group rule already exists. Rule id is ${same.id}.`);
    const row: DefaultRule = { used_in_default_sg: input.used_in_default_sg as boolean, used_in_non_default_sg: input.used_in_non_default_sg as boolean, ...content, ...standard };
    tx.put(defaultRuleTable, row);
    return row;
  },

  remove(tx, row) {
    tx.delete(defaultRuleTable, row.id);
  },
});
