// The resource rbac_policy, and what it does to resources that are shareable: they are seen by those with whom they are shared,
// may show it as `shared`, and take their policies along when they go.
import {
  badRequest, conflict, defineResource, resourceHandle,
  type Alias, type ApiContext, type Attribute, type ExtendAll, type Shareable, type StandardRow, type Table, type Tx, type Values,
} from "#app";
import { shared, SHARED } from "./everybody.ts";
import { EVERYBODY, grantedIds, isGranted, policyOf, rbacPolicyResource, rbacPolicyTable, type RbacPolicy } from "./model.ts";

const MEMBER = "rule:admin_only or (role:member and project_id:%(project_id)s)";
const NOT_EVERYBODY = "rule:admin_only or (not field:rbac_policy:target_tenant=* and not field:rbac_policy:target_project=*)";
const TO = { create: NOT_EVERYBODY, update: NOT_EVERYBODY };

const target: Attribute = { type: "string", about: "The project that may, or * for every one.", post: true, put: true, check: { type: "string", max: 255 }, filter: true, policy: TO };

/** The target under either of its names. */
function targetOf(values: Values): string | undefined {
  const [tenant, project] = [values.target_tenant as string | undefined, values.target_project as string | undefined];
  if (tenant !== undefined && project !== undefined && tenant !== project) throw badRequest("Invalid input for operation: target_tenant and target_project name different projects.", "InvalidInput");
  const given = project ?? tenant;
  if (given?.trim() === "") throw badRequest("Invalid input for target_tenant. Reason: it is empty.", "InvalidInput");
  return given;
}

function shareableOf(ctx: ApiContext, type: string): Shareable {
  const shareable = ctx.shareable(type);
  if (shareable === undefined) throw badRequest(`Invalid input for operation: '${type}' is no object_type that can be shared.`, "InvalidInput");
  return shareable;
}

const duplicate = (): Error => conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.");

/** Refuses to take a grant away on which something of another project rests. Called when the policy is no longer in force. */
function checkUnused(tx: Tx, ctx: ApiContext, policy: RbacPolicy): void {
  const shareable = ctx.shareable(policy.object_type);
  const row = shareable === undefined ? undefined : tx.get(shareable.table as Table<StandardRow>, policy.object_id);
  if (shareable === undefined || row === undefined) return;
  for (const project of shareable.usedBy(tx, row)) {
    if (project === row.project_id || (policy.target_tenant !== EVERYBODY && policy.target_tenant !== project)) continue;
    if (isGranted(tx, policy.object_type, policy.object_id, policy.action, project)) continue;
    throw conflict("RbacPolicyInUse", `RBAC policy on object ${policy.object_id} cannot be removed because other objects depend on it.\nDetails: project ${policy.target_tenant} uses it`);
  }
}

const rbacPolicy = defineResource(rbacPolicyResource, {
  collection: "rbac_policies",
  about: "Lets another project use something of one's own.",
  alias: "rbac-security-groups",
  table: rbacPolicyTable,
  notFound: { type: "RbacPolicyNotFound", message: (id) => `RBAC policy with ID ${id} could not be found.` },
  standard: ["id", "project"],
  attributes: {
    object_type: { type: "string", about: "Resource of the object, e.g. security_group.", post: true, required: true, check: { type: "string", max: 255 }, filter: true },
    object_id: { type: "uuid", about: "What is shared: the caller's own.", post: true, required: true, filter: true, index: "object" },
    target_tenant: target,
    target_project: { ...target, about: "Another name of target_tenant.", visible: false },
    action: { type: "string", about: "What the target may: access_as_shared.", post: true, required: true, check: { type: "string", max: 255 }, filter: true },
  },
  policy: { create: MEMBER, get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: MEMBER, delete: MEMBER },
  bulk: true,

  create(tx, standard, input, ctx) {
    const [type, id, action] = [input.object_type as string, input.object_id as string, input.action as string];
    shareableOf(ctx, type);
    if (action !== SHARED) throw badRequest(`Invalid action '${action}' for object type '${type}'. Valid actions: ${SHARED}`, "InvalidActionForType");
    const to = targetOf(input);
    if (to === undefined) throw badRequest("Failed to parse request. Required attribute 'target_tenant' not specified", "HTTPBadRequest");
    const object = ctx.visible(resourceHandle<StandardRow>(type), id);
    if (!ctx.caller.admin && object.project_id !== ctx.caller.projectId) throw badRequest(`Invalid input for operation: object_id ${id} is not of the caller's project.`, "InvalidInput");
    if (policyOf(tx, type, id, action, to) !== undefined) throw duplicate();
    const row: RbacPolicy = { ...standard, object_type: type, object_id: id, target_tenant: to, action };
    tx.put(rbacPolicyTable, row);
    return row;
  },

  update(tx, row, changes, ctx) {
    const to = targetOf(changes);
    if (to === undefined || to === row.target_tenant) return row;
    if (policyOf(tx, row.object_type, row.object_id, row.action, to) !== undefined) throw duplicate();
    const after: RbacPolicy = { ...row, target_tenant: to };
    tx.put(rbacPolicyTable, after);
    checkUnused(tx, ctx, row);
    return after;
  },

  remove(tx, row, ctx) {
    tx.delete(rbacPolicyTable, row.id);
    checkUnused(tx, ctx, row);
  },

  present: (_view, row) => ({ target_project: row.target_tenant }),
});

export const resources = [rbacPolicy];

/** Whatever is shareable, whoever declares it. */
export const extendAll: ExtendAll = ({ name, shareable }) => {
  if (shareable === undefined) return undefined;
  return {
    relations: { [`${name}:shared`]: (row: StandardRow, view, caller) => isGranted(view, name, row.id, SHARED, caller.projectId) },
    reach: { [`${name}:shared`]: (view, caller) => grantedIds(view, name, SHARED, caller.projectId) },
    remove(tx, row: StandardRow) {
      for (const policy of tx.by(rbacPolicyTable, "object", row.id)) tx.delete(rbacPolicyTable, policy.id);
    },
    ...shared(name, shareable),
  };
};

export const aliases: readonly Alias[] = [
  { alias: "rbac-security-groups", name: "Add security_group type to network RBAC", description: "Security groups can be shared with other projects.", updated: "2018-04-20T00:00:00-00:00" },
];
