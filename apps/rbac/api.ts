// The resource rbac_policy, and what it does to resources of which something may be granted: they, and what is a part of them, are seen by those to
// whom it is, may show it as `shared`, and take their policies along when they go. Where their app has an attribute that says the same of
// everybody, the two are kept equal: with the change of either, and at a start.
import {
  ACCESS_AS_SHARED, badRequest, conflict, defineResource, EVERYBODY,
  type Access, type Accesses, type Alias, type AnyExtension, type AnyResource, type ApiContext, type Attribute, type Caller, type Done, type ExtendAll, type Mend, type Reach, type ReadView, type Relation, type ResourceHandle, type Row, type StandardRow, type Table, type Tx, type Values,
} from "#app";
import { shared } from "./everybody.ts";
import { grant, grantedIds, holdersOf, isGranted, isNamed, policiesOf, policyOf, rbacPolicyResource, rbacPolicyTable, type RbacPolicy } from "./model.ts";

const EXTERNAL = "access_as_external";
const MEMBER = "rule:admin_only or (role:member and project_id:%(project_id)s)";
const NOT_EVERYBODY = "not field:rbac_policy:target_tenant=* and not field:rbac_policy:target_project=*";
// Whoever owns a network may share it; that it leads outside is the administrator's to say.
const NOT_EXTERNAL = `(not field:rbac_policy:object_type=network or not field:rbac_policy:action=${EXTERNAL})`;
const TO = { create: `rule:admin_only or (${NOT_EVERYBODY})`, update: `rule:admin_only or (${NOT_EVERYBODY} and ${NOT_EXTERNAL})` };

const target: Attribute = { type: "string", about: "The project that may, or * for every one.", post: true, put: true, check: { type: "string", max: 255 }, filter: true, policy: TO };

/** The target under either of its names. */
function targetOf(values: Values): string | undefined {
  const [tenant, project] = [values.target_tenant as string | undefined, values.target_project as string | undefined];
  if (tenant !== undefined && project !== undefined && tenant !== project) throw badRequest("Invalid input for operation: target_tenant and target_project name different projects.", "InvalidInput");
  const given = project ?? tenant;
  if (given?.trim() === "") throw badRequest("Invalid input for target_tenant. Reason: it is empty.", "InvalidInput");
  return given;
}

/** The access that a policy is of, and its object. @throws ApiError naming what of it there is not */
function accessOf(ctx: ApiContext, type: string, action: string): { readonly resource: ResourceHandle<StandardRow>; readonly access: Access } {
  const shareable = ctx.shareable(type);
  if (shareable === undefined) throw badRequest(`Invalid input for operation: '${type}' is no object_type that can be shared.`, "InvalidInput");
  const access = shareable.accesses.get(action);
  if (access === undefined) throw badRequest(`Invalid action '${action}' for object type '${type}'. Valid actions: ${[...shareable.accesses.keys()].join(", ")}`, "InvalidActionForType");
  return { resource: shareable.resource as ResourceHandle<StandardRow>, access };
}

const duplicate = (): Error => conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.");

const inUse = (id: string, project: string): Error =>
  conflict("RbacPolicyInUse", `RBAC policy on object ${id} cannot be removed because other objects depend on it.\nDetails: ${project === EVERYBODY ? "every project" : `project ${project}`} uses it`);

/** A policy came or went: the object's app hears of it. Refuses to take away what something of another project rests on. */
function changed(tx: Tx, ctx: ApiContext, { object_type: type, object_id: id, action }: RbacPolicy, lost?: RbacPolicy): void {
  const shareable = ctx.shareable(type);
  const access = shareable?.accesses.get(action);
  const row = shareable === undefined ? undefined : tx.get(shareable.table as Table<StandardRow>, id);
  if (access === undefined || row === undefined) return;
  const holders = holdersOf(tx, type, id, action);
  if (lost !== undefined) {
    const ownerLacksIt = access.needed === true && holders === "nobody";
    for (const project of access.usedBy(tx, row, ctx)) {
      const hadIt = lost.target_tenant === EVERYBODY || lost.target_tenant === project;
      const lacksIt = project === row.project_id ? ownerLacksIt : hadIt && !isGranted(tx, type, id, action, project);
      if (lacksIt) throw inUse(id, project);
    }
  }
  const { kept } = access;
  const before = kept?.read(tx, row) ?? holders;
  if (before !== holders && (before === "everybody" || holders === "everybody" || access.needed === true)) kept?.write(tx, row, holders, ctx);
}

/** Takes a policy away. @throws ApiError 409 while something rests on it */
function lose(tx: Tx, ctx: ApiContext, policy: RbacPolicy): void {
  tx.delete(rbacPolicyTable, policy.id);
  changed(tx, ctx, policy, policy);
}

const rbacPolicy = defineResource(rbacPolicyResource, {
  collection: "rbac_policies",
  about: "Lets another project use something of one's own.",
  alias: "rbac-policies",
  quota: { default: 10 },
  table: rbacPolicyTable,
  notFound: { type: "RbacPolicyNotFound", message: (id) => `RBAC policy with ID ${id} could not be found.` },
  standard: ["id", "project"],
  attributes: {
    object_type: { type: "string", about: "Resource of the object, e.g. security_group.", post: true, required: true, check: { type: "string", max: 255 }, filter: true },
    object_id: { type: "uuid", about: "What is shared: the caller's own.", post: true, required: true, filter: true, index: "object" },
    target_tenant: target,
    target_project: { ...target, about: "Another name of target_tenant.", visible: false },
    action: { type: "string", about: "What the target may: access_as_shared, or of a network access_as_external.", post: true, required: true, check: { type: "string", max: 255 }, filter: true, policy: { create: `rule:admin_only or ${NOT_EXTERNAL}` } },
  },
  policy: { create: MEMBER, get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: MEMBER, delete: MEMBER },
  bulk: true,

  create(tx, standard, input, ctx) {
    const [type, id, action] = [input.object_type as string, input.object_id as string, input.action as string];
    const { resource: of } = accessOf(ctx, type, action);
    const to = targetOf(input);
    if (to === undefined) throw badRequest("Failed to parse request. Required attribute 'target_tenant' not specified", "HTTPBadRequest");
    const object = ctx.visible(of, id);
    if (!ctx.caller.admin && object.project_id !== ctx.caller.projectId) throw badRequest(`Invalid input for operation: object_id ${id} is not of the caller's project.`, "InvalidInput");
    if (policyOf(tx, type, id, action, to) !== undefined) throw duplicate();
    const row: RbacPolicy = { object_type: type, object_id: id, target_tenant: to, action, ...standard };
    tx.put(rbacPolicyTable, row);
    changed(tx, ctx, row);
    return row;
  },

  update(tx, row, changes, ctx) {
    const to = targetOf(changes);
    if (to === undefined || to === row.target_tenant) return row;
    if (policyOf(tx, row.object_type, row.object_id, row.action, to) !== undefined) throw duplicate();
    const after: RbacPolicy = { ...row, target_tenant: to };
    tx.put(rbacPolicyTable, after);
    changed(tx, ctx, after, row);
    return after;
  },

  remove: (tx, row, ctx) => lose(tx, ctx, row),

  present: (_view, row) => ({ target_project: row.target_tenant }),
});

export const resources = [rbacPolicy];

// ---- what may be granted, whoever declares it ----

/** Makes the policies say what the object's app keeps. Others of the same access stay where the app does not know of them. */
function follow(tx: Tx, type: string, row: StandardRow, action: string, { kept }: Access): void {
  if (kept === undefined) return;
  const holders = kept.read(tx, row);
  const everybody = policyOf(tx, type, row.id, action, EVERYBODY);
  if (holders === "everybody") {
    if (everybody === undefined) grant(tx, type, row, action, EVERYBODY);
  } else if (holders === "nobody") for (const { id } of policiesOf(tx, type, row.id, action)) tx.delete(rbacPolicyTable, id);
  else if (everybody !== undefined) tx.delete(rbacPolicyTable, everybody.id);
}

/** Whether policies say something else than the app keeps. */
function differs(view: ReadView, type: string, row: StandardRow, action: string, { kept }: Access): boolean {
  if (kept === undefined) return false;
  const [is, should] = [holdersOf(view, type, row.id, action), kept.read(view, row)];
  return is !== should && (is === "everybody" || should === "everybody" || should === "nobody");
}

/** Whether a policy gives it to the project. What is given to everybody the object's app says itself, where it keeps that. */
const gives = (type: string, action: string, { kept }: Access, view: ReadView, id: string, { projectId }: Caller): boolean =>
  kept === undefined ? isGranted(view, type, id, action, projectId) : isNamed(view, type, id, action, projectId);

const given = (type: string, action: string, { kept }: Access, view: ReadView, { projectId }: Caller): string[] => grantedIds(view, type, action, kept === undefined ? [EVERYBODY, projectId] : [projectId]);

/** What policies call rows of a resource. */
const typeOf = ({ name, shareable }: AnyResource): string => shareable?.objectType ?? name;

/** What policies add to the resource that they are of. */
function ofObject(resource: AnyResource, accesses: Accesses): AnyExtension {
  const { shareable } = resource;
  const type = typeOf(resource);
  const all = [...accesses];
  const isShared = (view: ReadView, row: StandardRow, caller: Caller): boolean => isGranted(view, type, row.id, ACCESS_AS_SHARED, caller.projectId);
  const own = resource.relations?.[`${resource.name}:shared`] as Relation<StandardRow> | undefined;
  return {
    relations: Object.fromEntries(all.map(([action, access]) => [access.relation, (row: StandardRow, view: ReadView, caller: Caller) => gives(type, action, access, view, row.id, caller)])),
    reach: Object.fromEntries(all.map(([action, access]) => [access.relation, (view: ReadView, caller: Caller) => given(type, action, access, view, caller)])),
    grantedTo: (view, action, id) => policiesOf(view, type, id, action).map((policy) => policy.target_tenant),
    completed(tx, done: readonly Done[]) {
      for (const { row } of done) for (const [action, access] of all) follow(tx, type, row as StandardRow, action, access);
    },
    remove(tx, row: StandardRow) {
      for (const policy of tx.by(rbacPolicyTable, "object", row.id)) tx.delete(rbacPolicyTable, policy.id);
    },
    ...(resource.attributes.shared !== undefined && { instead: { shared: (view, row: StandardRow, caller) => own?.(row, view, caller) === true || isShared(view, row, caller) } }),
    ...shared(type, shareable ?? {}, lose),
  };
}

/** A resource whose rows name others of which something is granted: what holds of these holds of it, where it has the relation. */
function ofPart(part: AnyResource, all: readonly AnyResource[], accessesOf: (resource: string) => Accesses): AnyExtension | undefined {
  const relations: Record<string, Relation> = {};
  const reach: Record<string, Reach> = {};
  let shared: AnyExtension["instead"];
  for (const object of all) {
    const { name } = object;
    const type = typeOf(object);
    const column = `${name}_id`;
    const attribute = part.attributes[column];
    if (attribute === undefined || name === part.name) continue;
    const objectOf = (row: Row): string => String((row as Row & Values)[column]);
    for (const [action, access] of accessesOf(name)) {
      const { relation } = access;
      const own = part.relations?.[relation] as Relation | undefined;
      if (own === undefined) continue;
      relations[relation] = (row, view, caller) => gives(type, action, access, view, objectOf(row), caller);
      const { table } = part;
      const { index } = attribute;
      if (table !== undefined && index !== undefined) reach[relation] = (view, caller) => given(type, action, access, view, caller).flatMap((id) => view.by(table as Table, index, id).map((row) => row.id));
      if (action === ACCESS_AS_SHARED && part.attributes.shared !== undefined) shared = { shared: (view, row: Row, caller) => own(row, view, caller) === true || relations[relation]!(row, view, caller) };
    }
  }
  if (Object.keys(relations).length === 0) return undefined;
  return { relations, reach, ...(shared !== undefined && { instead: shared }) };
}

export const extendAll: ExtendAll = (resource, all, accessesOf) => {
  const accesses = accessesOf(resource.name);
  return accesses.size > 0 ? ofObject(resource, accesses) : ofPart(resource, all, accessesOf);
};

/** While this app was not there objects went, or were given to everybody or taken from him. */
export function* mend(view: ReadView, all: readonly AnyResource[], accessesOf: (resource: string) => Accesses): Iterable<Mend> {
  const objects = all.filter((resource) => resource.shareable !== undefined);
  const tables = new Map(objects.map((resource) => [typeOf(resource), resource.shareable!.table as Table<StandardRow>]));
  for (const { id, object_type: type, object_id } of view.all(rbacPolicyTable)) {
    const table = tables.get(type);
    if (table !== undefined && view.get(table, object_id) === undefined) yield { table: rbacPolicyTable, id, why: `${type} ${object_id} went`, run: (tx) => tx.delete(rbacPolicyTable, id) };
  }
  for (const resource of objects) {
    const type = typeOf(resource);
    const table = tables.get(type)!;
    const kept = [...accessesOf(resource.name)].filter(([, access]) => access.kept !== undefined);
    for (const row of kept.length === 0 ? [] : view.all(table)) {
      for (const [action, access] of kept) {
        if (!differs(view, type, row, action, access)) continue;
        yield { table, id: row.id, why: `${action} of ${type} ${row.id} changed`, run: (tx) => follow(tx, type, tx.get(table, row.id) ?? row, action, access) };
      }
    }
  }
}

export const aliases: readonly Alias[] = [
  { alias: "rbac-policies", name: "RBAC Policies", description: "What a project lets others use of its own: networks, and what other extensions name.", updated: "2015-06-17T12:15:12-00:00" },
];
