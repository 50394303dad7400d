// What is counted of ports, routers and floating IPs, under which counter, and where totals are kept.
import { defineSoftTable, defineTable, type CountFact, type ReadView, type Row, type StoredCount, type Table } from "#app";
import { portTable } from "../l2/model.ts";
import { routerTable } from "../l3/model.ts";
import { floatingIpTable } from "../nat/model.ts";

/** By resource its counters, as machines see it: `received` came to it, `sent` left it; `routed`: packets that a router handed on, once each. */
export const COUNTERS = { port: ["received", "sent"], router: ["routed"], floatingip: ["received", "sent"] } as const;
export type CountedResource = keyof typeof COUNTERS;
export const countedResources = Object.keys(COUNTERS) as readonly CountedResource[];

/** A port, a router or a floating IP, of which the last has no name. */
export interface CountedRow extends Row {
  readonly project_id: string;
  readonly name?: string;
}
export const tables = { port: portTable, router: routerTable, floatingip: floatingIpTable } as unknown as Readonly<Record<CountedResource, Table<CountedRow>>>;
export const rowOf = (view: ReadView, resource: CountedResource, id: string): Readonly<CountedRow> | undefined => view.get(tables[resource], id);

export const countedOf = (resource: CountedResource, counter: string, id: string): string => `${resource}/${counter}/${id}`;
export function partsOf(counted: string): { readonly resource: CountedResource; readonly counter: string; readonly id: string } {
  const [resource, counter, id] = counted.split("/") as [CountedResource, string, string];
  return { resource, counter, id };
}
export const countablesOf = (resource: CountedResource, { id, project_id }: CountedRow) => COUNTERS[resource].map((counter) => ({ id: countedOf(resource, counter, id), project_id }));

/** Totals that outlive flows, places and controllers. */
export const resourceCountTable = defineTable<StoredCount>()("resource_count");
/** Counters, of all and of a project: a port has two. */
export const ROOM = { count: 200_000, project: 20_000 };
export const resourceCounts = defineSoftTable<CountFact>()("resource_counts", { ttlS: 86_400, limitPerOwner: ROOM.project, limit: ROOM.count });

/** What all resources of a kind of a project have counted together since this controller started, those included that are gone. `id`: `<project>/<resource>/<counter>`. */
export interface ProjectCount extends Row {
  readonly project_id: string;
  readonly resource: CountedResource;
  readonly counter: string;
  readonly packets: number;
  readonly bytes: number;
}
/** Projects that have metrics of their own. */
export const PROJECTS = 500;
export const projectCounts = defineSoftTable<ProjectCount>()("project_counts", { ttlS: Infinity, limitPerOwner: 8, limit: 8 * PROJECTS });
