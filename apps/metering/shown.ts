// What was counted under labels, as operators are shown it: one by one in a list, and in the metrics.
import type { LiveView, OpsGauge, OpsList } from "#app";
import { labelCounts, type LabelCounts } from "./counters.ts";
import { DIRECTIONS, meteringLabelRuleTable, meteringLabelTable } from "./model.ts";

function* rows(view: LiveView, { project, label }: Readonly<Record<string, string>>): Iterable<object> {
  const found = label !== undefined ? [view.get(meteringLabelTable, label)] : project !== undefined ? view.by(meteringLabelTable, "project", project) : view.all(meteringLabelTable);
  for (const one of found) {
    if (one === undefined || (project !== undefined && one.project_id !== project)) continue;
    yield { label: one.id, name: one.name, project: one.project_id, shared: one.shared, rules: view.count(meteringLabelRuleTable, "label", one.id), ...labelCounts(view, one) };
  }
}

export const opsLists: readonly OpsList[] = [{
  path: "metering",
  about: "metering labels, and what crossed the edge and was counted under each",
  filters: { project: { about: "of this project", project: true }, label: { about: "this label, by id or name", resource: ["metering_label"] } },
  rows,
}];

/** Labels that have metrics of their own: those with a count, as far as there is room. */
const LABELS = 2048;

function* counted(view: LiveView, what: "packets" | "bytes"): Iterable<{ readonly labels: Readonly<Record<string, string>>; readonly value: number }> {
  let n = 0;
  for (const label of view.all(meteringLabelTable)) {
    if (++n > LABELS) return;
    const counts: LabelCounts = labelCounts(view, label);
    for (const direction of DIRECTIONS) {
      const value = counts[direction][what];
      if (value !== null) yield { labels: { label: label.id, project: label.project_id, direction }, value };
    }
  }
}

const of = (what: "packets" | "bytes"): OpsGauge => ({
  name: `axion_metering_${what}_total`, counter: true, about: `${what} that were counted under a metering label at the edge; of the first ${LABELS} labels`, labels: ["label", "project", "direction"], read: (view) => counted(view, what),
});
export const gauges: readonly OpsGauge[] = [of("packets"), of("bytes")];
