// quotas' entity: what limits a project has of its own. What is counted, and the limit where nobody says otherwise, the resources themselves
// declare; how many a project has are the indexes of their tables, which are kept with every change. Some limit what each row has within it.
import { defineSettings, defineTable, resourceHandle, type AnyResource, type ReadView, type Row } from "#app";

/** Limits of a project that were set. `id` is the project's; resources that are not named have the default. */
export interface QuotaLimits extends Row {
  readonly project_id: string;
  readonly limits: Readonly<Record<string, number>>;
}
export const quotaTable = defineTable<QuotaLimits>()("quota", { resource: "quota", indexes: { project: (q) => q.project_id } });
export const quotaResource = resourceHandle<QuotaLimits>("quota");

/** Something with a limit. */
export interface Limited {
  readonly name: string;
  readonly about: string;
  readonly default: number;
  /** How many a project has, whoever made them; of what rows have within them the most that one has. */
  used(view: ReadView, projectId: string): number;
}

/** What of a resource is limited. */
export function limitedBy({ name, collection, table, quota, limits = {} }: AnyResource): Limited[] {
  const counted: Limited[] = quota === undefined ? [] : [{ name, about: `Of ${collection}.`, default: quota.default, used: (view, project) => (table === undefined ? 0 : view.count(table, "project", project)) }];
  const within = Object.entries(limits).map(([of, limit]): Limited => ({
    name: of, about: limit.about, default: limit.default, used: (view, project) => (table === undefined ? 0 : view.by(table, "project", project).reduce((most, row) => Math.max(most, limit.count(row)), 0)),
  }));
  return [...counted, ...within];
}

export const QUOTA_MAX = 2 ** 31 - 1;
/** In the flag: every resource that it does not name. */
const ALL = "all";
export const quotaSettings = defineSettings({
  "default-quota": { kind: { namedNumbers: [-1, QUOTA_MAX] }, value: "RESOURCE:N,...", names: (resources) => [ALL, ...resources.flatMap(({ name, quota, limits = {} }) => [...(quota === undefined ? [] : [name]), ...Object.keys(limits)])], about: `how many of a resource a project may have where nothing was set for it, -1: any number; ${ALL}:N is of every resource that is not named` },
});

/** Of a project that has no limits of its own. -1: any number. */
export const defaultLimit = (view: ReadView, { name, default: declared }: Limited): number => saidOf(view, name) ?? declared;
/** What the flag says. */
function saidOf(view: ReadView, name: string): number | undefined {
  const given = view.settings(quotaSettings)["default-quota"];
  return given.get(name) ?? given.get(ALL);
}
export const limitOf = (view: ReadView, own: QuotaLimits | undefined, limited: Limited): number => own?.limits[limited.name] ?? defaultLimit(view, limited);
/** What was said of it, for a project or for all; undefined: what is declared counts. */
export const saidLimit = (view: ReadView, projectId: string, name: string): number | undefined => view.get(quotaTable, projectId)?.limits[name] ?? saidOf(view, name);

