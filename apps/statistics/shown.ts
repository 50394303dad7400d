// What was counted, as operators are shown it: one by one in a list, by project in the metrics.
import type { LiveView, OpsGauge, OpsList } from "#app";
import { statisticsOf } from "./counters.ts";
import { countedResources, projectCounts, rowOf, tables, type CountedResource } from "./model.ts";

function* rows(view: LiveView, asked: Readonly<Record<string, string>>): Iterable<object> {
  const { type, project, id } = asked;
  for (const resource of type === undefined ? countedResources : [type as CountedResource]) {
    for (const row of id === undefined ? view.all(tables[resource]) : [rowOf(view, resource, id)]) {
      if (row !== undefined && (project === undefined || row.project_id === project)) yield { type: resource, id: row.id, name: tables[resource].naming.of?.(row) ?? row.name ?? "", project: row.project_id, ...statisticsOf(view, resource, row.id) };
    }
  }
}

export const opsLists: readonly OpsList[] = [{
  path: "statistics",
  about: "what ports, routers and floating IPs have let pass",
  filters: {
    type: { about: "of these alone", values: countedResources },
    project: { about: "of this project", project: true },
    id: { about: "this one, by id or name", resource: ({ type }) => (type === undefined ? countedResources : [type]) },
  },
  rows,
}];

const of = (what: "packets" | "bytes"): OpsGauge => ({
  name: `axion_resource_${what}_total`, counter: true, labels: ["project", "type", "counter"],
  about: `${what} that ports, routers and floating IPs of a project have counted together since this controller started; of the first 500 projects`,
  read: (view) => view.facts(projectCounts).map((sum) => ({ labels: { project: sum.project_id, type: sum.resource, counter: sum.counter }, value: sum[what] })),
});
export const gauges: readonly OpsGauge[] = [of("packets"), of("bytes")];
