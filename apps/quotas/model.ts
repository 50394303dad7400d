// quotas' entity: what limits a project has of its own. What is counted, and the limit where nobody says otherwise, the resources themselves
// declare; how many a project has are the indexes of their tables, which are kept with every change.
import { defineSettings, defineTable, resourceHandle, type AnyResource, type ReadView, type Row } from "#app";

/** Limits of a project that were set. `id` is the project's; resources that are not named have the default. */
export interface QuotaLimits extends Row {
  readonly project_id: string;
  readonly limits: Readonly<Record<string, number>>;
}
export const quotaTable = defineTable<QuotaLimits>()("quota", { resource: "quota", indexes: { project: (q) => q.project_id } });
export const quotaResource = resourceHandle<QuotaLimits>("quota");

export const isCounted = ({ quota }: { readonly quota?: object }): boolean => quota !== undefined;

export const QUOTA_MAX = 2 ** 31 - 1;
/** In the flag: every resource that it does not name. */
const ALL = "all";
export const quotaSettings = defineSettings({
  "default-quota": { kind: { namedNumbers: [-1, QUOTA_MAX] }, value: "RESOURCE:N,...", names: (resources) => [ALL, ...resources.filter(isCounted).map((r) => r.name)], about: `how many of a resource a project may have where nothing was set for it, -1: any number; ${ALL}:N is of every resource that is not named` },
});

/** Of a project that has no limits of its own. -1: any number. */
export function defaultLimit(view: ReadView, { name, quota }: AnyResource): number {
  const given = view.settings(quotaSettings)["default-quota"];
  return given.get(name) ?? given.get(ALL) ?? quota?.default ?? -1;
}
export const limitOf = (view: ReadView, own: QuotaLimits | undefined, resource: AnyResource): number => own?.limits[resource.name] ?? defaultLimit(view, resource);

/** How many of the resource a project has, whoever made them. */
export const usedBy = (view: ReadView, projectId: string, { table }: AnyResource): number => (table === undefined ? 0 : view.count(table, "project", projectId));

