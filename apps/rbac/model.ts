// RBAC policies: what a project lets others use. A resource says in its declaration that it may be shared (`shareable`), other apps what else
// of it may be granted (`accesses`).
import { defineTable, EVERYBODY, resourceHandle, type Holders, type ReadView, type StandardRow, type Tx } from "#app";

export interface RbacPolicy extends StandardRow {
  /** Name of a resource that is `shareable`. */
  readonly object_type: string;
  readonly object_id: string;
  /** A project's id, or EVERYBODY. */
  readonly target_tenant: string;
  readonly action: string;
}

export const rbacPolicyResource = resourceHandle<RbacPolicy>("rbac_policy");

const grantKey = (type: string, id: string, action: string, target: string): string => JSON.stringify([type, id, action, target]);
const actionKey = (type: string, id: string, action: string): string => JSON.stringify([type, id, action]);
const targetKey = (type: string, action: string, target: string): string => JSON.stringify([type, action, target]);

export const rbacPolicyTable = defineTable<RbacPolicy>()("rbac_policy", {
  resource: "rbac_policy",
  indexes: {
    project: (p) => p.project_id,
    object: (p) => p.object_id,
    action: (p) => actionKey(p.object_type, p.object_id, p.action),
    grant: (p) => grantKey(p.object_type, p.object_id, p.action, p.target_tenant),
    target: (p) => targetKey(p.object_type, p.action, p.target_tenant),
  },
});

/** The policy with just these values. */
export const policyOf = (view: ReadView, type: string, id: string, action: string, target: string): RbacPolicy | undefined =>
  // Most objects have no policy at all.
  view.count(rbacPolicyTable, "object", id) === 0 ? undefined : view.by(rbacPolicyTable, "grant", grantKey(type, id, action, target))[0];

/** All policies that let somebody do this to the object. */
export const policiesOf = (view: ReadView, type: string, id: string, action: string): readonly RbacPolicy[] => view.by(rbacPolicyTable, "action", actionKey(type, id, action));

/** Whom they let. */
export const holdersOf = (view: ReadView, type: string, id: string, action: string): Holders =>
  policyOf(view, type, id, action, EVERYBODY) !== undefined ? "everybody" : view.count(rbacPolicyTable, "action", actionKey(type, id, action)) > 0 ? "some" : "nobody";

/** Whether a policy that names the project lets it do this to the object. */
export const isNamed = (view: ReadView, type: string, id: string, action: string, projectId: string): boolean => projectId !== "" && policyOf(view, type, id, action, projectId) !== undefined;

/** Whether some policy lets the project do this to the object. */
export const isGranted = (view: ReadView, type: string, id: string, action: string, projectId: string): boolean =>
  policyOf(view, type, id, action, EVERYBODY) !== undefined || isNamed(view, type, id, action, projectId);

/** Makes a policy of the object's owner, as it goes with what an app itself says of the object. */
export function grant(tx: Tx, type: string, object: Pick<StandardRow, "id" | "project_id">, action: string, target: string): void {
  tx.put(rbacPolicyTable, {
    id: tx.uuid(), project_id: object.project_id, name: "", description: "", tags: [], created_at: tx.now, updated_at: tx.now, revision_number: 1,
    object_type: type, object_id: object.id, target_tenant: target, action,
  });
}

/** Ids of the objects of a type that are granted to one of these targets; "" is none. */
export const grantedIds = (view: ReadView, type: string, action: string, targets: readonly string[]): string[] =>
  targets.flatMap((target) => (target === "" ? [] : view.by(rbacPolicyTable, "target", targetKey(type, action, target)).map((p) => p.object_id)));
