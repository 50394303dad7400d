// The resource policy, and who may have one: ports and networks, and what other apps say.
import {
  conflict, defineResource, extendResource, orNull, type Alias, type ApiContext, type Attribute, type BoundExtension, type Tx,
} from "#app";
import { networkResource, portResource } from "../l2/model.ts";
import { keepPolicy, qosPolicyResource, qosPolicyTable, qosUseTable, usersOf, type QosPolicy } from "./model.ts";
import { rulesOf } from "./rule-kinds.ts";

const MANAGER = "rule:admin_only or (role:manager and project_id:%(project_id)s)";

function checkDefault(tx: Tx, { id, project_id: project, is_default: isDefault }: Pick<QosPolicy, "id" | "project_id" | "is_default">): void {
  if (isDefault && tx.by(qosPolicyTable, "default", project).some((p) => p.id !== id)) throw conflict("QoSPolicyDefaultAlreadyExists", `A default QoS policy exists for project ${project}.`);
}

export const qosPolicy = defineResource(qosPolicyResource, {
  collection: "policies",
  path: "qos/policies",
  about: "Limits and marks of packets under one name, for ports and networks.",
  alias: "qos",
  table: qosPolicyTable,
  notFound: { type: "QosPolicyNotFound", message: (id) => `QoS policy ${id} could not be found.` },
  attributes: {
    is_default: { type: "boolean", about: "New networks of its project have it, where their makers name none.", post: true, put: true, default: false, filter: true, alias: "qos-default" },
    rules: { type: "object[]", about: "Its rules of all types." },
  },
  policy: { create: MANAGER, get: "rule:admin_only or (role:reader and project_id:%(project_id)s) or rule:shared_qos_policy", update: MANAGER, delete: MANAGER },
  relations: { "policy:shared": () => false },
  reach: { "policy:shared": () => [] },
  shareable: { objectType: "qos_policy", shownBy: "qos", givenBy: MANAGER, table: qosPolicyTable, usedBy: usersOf, unshared: "back" },
  bulk: true,
  create(tx, standard, input) {
    const row: QosPolicy = { is_default: input.is_default as boolean, ...standard };
    checkDefault(tx, row);
    tx.put(qosPolicyTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after: QosPolicy = { ...row, is_default: (changes.is_default as boolean | undefined) ?? row.is_default };
    checkDefault(tx, after);
    tx.put(qosPolicyTable, after);
    return after;
  },
  remove(tx, row) {
    const use = tx.by(qosUseTable, "policy", row.id)[0];
    if (use !== undefined) throw conflict("QosPolicyInUse", `QoS Policy ${row.id} is used by ${use.kind} ${use.of ?? use.id}.`);
    for (const { table, row: rule } of rulesOf(tx, row.id)) tx.delete(table, rule.id);
    tx.delete(qosPolicyTable, row.id);
  },
  present: (view, row) => ({ rules: rulesOf(view, row.id).map(({ type, row: { policy_id: qos_policy_id, ...rest } }) => ({ ...rest, qos_policy_id, type })) }),
});

const attribute = (about: string): Attribute => ({ type: "uuid|null", about, post: true, put: true, default: null, check: orNull({ type: "uuid" }), alias: "qos" });

const keep = (tx: Tx, ctx: ApiContext, kind: "port" | "network", id: string, wanted: string | null | undefined): void => keepPolicy(tx, ctx, { id, kind }, wanted);
const given = (values: Readonly<Record<string, unknown>>): string | null | undefined => values.qos_policy_id as string | null | undefined;

const ofPort = extendResource(portResource, {
  attributes: {
    qos_policy_id: attribute("Its QoS policy; null: its network's counts."),
    qos_network_policy_id: { type: "uuid|null", about: "That of its network.", alias: "qos-port-network-policy" },
  },
  create: (tx, row, input, ctx) => keep(tx, ctx, "port", row.id, given(input)),
  update: (tx, row, changes, ctx) => keep(tx, ctx, "port", row.id, given(changes)),
  remove: (tx, row) => tx.delete(qosUseTable, row.id),
  present: (view, row) => ({ qos_policy_id: view.get(qosUseTable, row.id)?.policy_id ?? null, qos_network_policy_id: view.get(qosUseTable, row.network_id)?.policy_id ?? null }),
});

const ofNetwork = extendResource(networkResource, {
  attributes: { qos_policy_id: attribute("The QoS policy of its ports that have none of their own.") },
  create(tx, row, input, ctx) {
    const wanted = given(input) ?? tx.by(qosPolicyTable, "default", row.project_id)[0]?.id;
    keep(tx, ctx, "network", row.id, wanted);
  },
  update: (tx, row, changes, ctx) => keep(tx, ctx, "network", row.id, given(changes)),
  remove: (tx, row) => tx.delete(qosUseTable, row.id),
  present: (view, row) => ({ qos_policy_id: view.get(qosUseTable, row.id)?.policy_id ?? null }),
});

export const extend: readonly BoundExtension[] = [ofPort, ofNetwork];
export const policies: Readonly<Record<string, string>> = { shared_qos_policy: "field:policies:shared=True" };
export const aliases: readonly Alias[] = [
  { alias: "qos", name: "Quality of Service", description: "Limits and marks of what ports send and get.", updated: "2015-06-08T10:00:00-00:00" },
  { alias: "qos-default", name: "QoS default policy", description: "New networks of a project have its default policy.", updated: "2017-04-06T10:00:00-00:00" },
  { alias: "qos-port-network-policy", name: "QoS port network policy ID", description: "Ports show the policy of their network.", updated: "2019-11-01T10:00:00-00:00" },
];
