// Quotas of projects. A request is refused if a project would have more than its limit of a resource of which the request creates some, as a whole: the
// rows are counted when all of them are there, whoever's code made them, and then go. What belongs to no project (ports of gateways and floating IPs, what
// an administrator without a project makes) is counted for none.
import { badRequest, conflict, defineResource, type Alias, type AnyExtension, type Caller, type Done, type ExtendAll, type KeyCheck, type ReadView, type StandardRow, type Tx, type Values } from "#app";
import { defaultLimit, limitedBy, limitOf, QUOTA_MAX, quotaResource, quotaTable, saidLimit, type Limited, type QuotaLimits } from "./model.ts";

const PROJECT_MAX = 255;
const PROJECT: KeyCheck = { check: { type: "string" }, required: true };
/** A number that a limit or a use of one is. */
const NUMBER: KeyCheck = { check: { type: "integer" }, required: true };
/** What a change may have beside limits. */
const MANNERS: ReadonlySet<string> = new Set(["force", "check_limit"]);

const quota = defineResource(quotaResource, {
  collection: "quotas",
  about: "How many of each resource a project may have; -1 is any number. Named by the project. The list has those for which something was set.",
  alias: "quotas",
  table: quotaTable,
  standard: [],
  keyed: { initial: (_view, project) => (project === "" || project.length > PROJECT_MAX ? undefined : { id: project, project_id: project, limits: {} }) },
  notFound: { type: "TenantQuotaNotFound", message: (id) => `Quota for tenant ${id} could not be found.` },
  attributes: {
    tenant_id: { type: "string", about: "Older name of project_id; always equal to it.", filter: true, sort: true, inLists: true },
    project_id: { type: "string", about: "The project.", filter: true, sort: true, inLists: true },
    force: { type: "boolean", about: "Whether a limit may be below what the project has.", put: true, visible: false, alias: "quota-check-limit-default" },
    check_limit: { type: "boolean", about: "That it may not, which is so anyway.", put: true, visible: false, alias: "quota-check-limit" },
  },
  policy: { get: "rule:admin_only or project_id:%(project_id)s", update: "rule:admin_only", delete: "rule:admin_only" },
  update(tx, row, changes) {
    const limits = { ...row.limits, ...Object.fromEntries(Object.entries(changes).filter(([name]) => !MANNERS.has(name)).map(([name, n]) => [name, n as number])) };
    const after: QuotaLimits = { ...row, limits };
    tx.put(quotaTable, after);
    return after;
  },
  remove: (tx, row) => tx.delete(quotaTable, row.id),
  collectionActions: {
    tenant: { method: "GET", about: "The caller's own project.", policy: "", answers: { tenant: { dict: { tenant_id: PROJECT } } }, read: (_view, { projectId }: Caller) => ({ tenant: { tenant_id: projectId } }) },
    project: { method: "GET", about: "The caller's own project.", policy: "", answers: { project: { dict: { project_id: PROJECT } } }, read: (_view, { projectId }: Caller) => ({ project: { project_id: projectId } }) },
  },
});

/** Everything that is limited with something of it. */
const ofEach = <V>(limited: readonly Limited[], value: (limited: Limited) => V): Record<string, V> => Object.fromEntries(limited.map((l) => [l.name, value(l)]));

/** What is limited becomes attributes of quotas. */
const ofQuota = (limited: readonly Limited[]): AnyExtension => ({
  attributes: ofEach(limited, ({ about }) => ({ type: "integer", about, put: true, check: { range: [-1, QUOTA_MAX] } })),
  present: (view: ReadView, row: QuotaLimits) => ofEach(limited, (l) => limitOf(view, row, l)),
  update(tx: Tx, row: QuotaLimits, changes: Values) {
    if (changes.force === true) return;
    for (const l of limited) {
      const limit = changes[l.name] as number | undefined;
      if (limit === undefined || limit < 0) continue;
      const used = l.used(tx, row.project_id);
      if (limit < used) throw badRequest(`Invalid input for ${l.name}. Reason: the project has ${used}, which is more than '${limit}'; "force": true sets it all the same.`);
    }
  },
  actions: {
    default: { method: "GET", about: "The limits of a project for which nothing was set.", policy: { of: "get" }, answers: { quota: { dict: ofEach(limited, () => NUMBER) } }, read: (view) => ({ quota: ofEach(limited, (l) => defaultLimit(view, l)) }) },
    details: {
      method: "GET", about: "The limits, and how many the project has.", policy: { of: "get" },
      answers: { quota: { dict: ofEach(limited, () => ({ check: { dict: { limit: NUMBER, used: NUMBER, reserved: NUMBER } }, required: true })) } },
      read: (view, row: QuotaLimits) => ({ quota: ofEach(limited, (l) => ({ limit: limitOf(view, row, l), used: l.used(view, row.project_id), reserved: 0 })) }),
    },
  },
});

/** @throws ApiError 409 OverQuota if a project has more of these than its limit */
function checkLimit(tx: Tx, projectId: string, counted: Limited): void {
  const limit = limitOf(tx, tx.get(quotaTable, projectId), counted);
  if (limit >= 0 && counted.used(tx, projectId) > limit) throw conflict("OverQuota", `Quota exceeded for resources: ['${counted.name}'].`);
}

export const extendAll: ExtendAll = (resource, all) => {
  if (resource.name === quota.name) return ofQuota(all.flatMap(limitedBy));
  const counted = resource.quota === undefined ? undefined : limitedBy(resource).find((l) => l.name === resource.name);
  if (counted === undefined && resource.limits === undefined) return undefined;
  return {
    ...(resource.limits !== undefined && { limitOf: (view: ReadView, name: string, project: string) => saidLimit(view, project, name) }),
    ...(counted !== undefined && {
      completed(tx: Tx, done: readonly Done<StandardRow>[]) {
        for (const project of new Set(done.filter((d) => d.created).map((d) => d.row.project_id))) if (project !== "") checkLimit(tx, project, counted);
      },
    }),
  };
};

export const resources = [quota];
export const aliases: readonly Alias[] = [
  { alias: "quotas", name: "Quota management support", description: "How many of each resource a project may have.", updated: "2012-07-29T10:00:00-00:00" },
  { alias: "quota_details", name: "Quota details management support", description: "What of its quotas a project uses.", updated: "2017-02-10T10:00:00-00:00" },
  { alias: "quota-check-limit", name: "Quota engine limit check", description: "A limit below what a project has is refused.", updated: "2021-09-08T16:00:00-00:00" },
  { alias: "quota-check-limit-default", name: "Quota engine limit check by default", description: "Unless the change says force.", updated: "2024-08-21T16:00:00-00:00" },
];
