// RBAC policies: what a project lets others use. A resource says in its declaration that it may be shared (`shareable`).
import { defineTable, resourceHandle, type ReadView, type StandardRow } from "#app";

/** The target that is every project. */
export const EVERYBODY = "*";

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
const targetKey = (type: string, action: string, target: string): string => JSON.stringify([type, action, target]);

export const rbacPolicyTable = defineTable<RbacPolicy>()("rbac_policy", {
  resource: "rbac_policy",
  indexes: {
    project: (p) => p.project_id,
    object: (p) => p.object_id,
    grant: (p) => grantKey(p.object_type, p.object_id, p.action, p.target_tenant),
    target: (p) => targetKey(p.object_type, p.action, p.target_tenant),
  },
});

/** The policy with just these values. */
export const policyOf = (view: ReadView, type: string, id: string, action: string, target: string): RbacPolicy | undefined => view.by(rbacPolicyTable, "grant", grantKey(type, id, action, target))[0];

/** Whether some policy lets the project do this to the object. */
export const isGranted = (view: ReadView, type: string, id: string, action: string, projectId: string): boolean =>
  policyOf(view, type, id, action, EVERYBODY) !== undefined || (projectId !== "" && policyOf(view, type, id, action, projectId) !== undefined);

/** Ids of the objects of a type that are granted to the project. */
export const grantedIds = (view: ReadView, type: string, action: string, projectId: string): string[] =>
  [EVERYBODY, ...(projectId === "" ? [] : [projectId])].flatMap((target) => view.by(rbacPolicyTable, "target", targetKey(type, action, target)).map((p) => p.object_id));
