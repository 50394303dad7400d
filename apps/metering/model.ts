// metering's entities: labels, under which traffic of routers is counted at the edge of the cloud, and the rules that say which traffic.
import { defineScope, defineSoftTable, defineTable, definePool, resourceHandle, type CountFact, type ReadView, type Row, type StandardRow, type StoredCount } from "#app";

/** Traffic of the routers of its project is counted under it, or, if it is shared, of all routers. */
export interface MeteringLabel extends Pick<StandardRow, "id" | "project_id" | "name" | "description"> {
  /** 1..65535, unique: `metering_label` in the pipeline. */
  readonly key: number;
  readonly shared: boolean;
}
export const meteringLabelResource = resourceHandle<MeteringLabel>("metering_label");
export const meteringLabelTable = defineTable<MeteringLabel>()("metering_label", {
  resource: "metering_label",
  indexes: {
    project: (l) => l.project_id,
    /** Whose routers: a project's, or everybody's. */
    of: (l) => (l.shared ? EVERYBODYS : `project/${l.project_id}`),
    key: (l) => String(l.key),
  },
});
const EVERYBODYS = "everybody";

/** Labels that a router's traffic is counted under. */
export const labelsOf = (view: ReadView, { project_id }: { readonly project_id: string }): readonly MeteringLabel[] =>
  [...view.by(meteringLabelTable, "of", EVERYBODYS), ...view.by(meteringLabelTable, "of", `project/${project_id}`)].toSorted((a, b) => a.key - b.key);

export interface MeteringLabelRule extends Row {
  readonly metering_label_id: string;
  readonly project_id: string;
  /** ingress: what comes from outside, egress: what leaves; of either with the addresses that machines inside have. */
  readonly direction: "ingress" | "egress";
  /** What it matches is not counted under the label, whatever other rules say. */
  readonly excluded: boolean;
  /** As it was given: machines inside, so the source of what leaves, the destination of what comes in. */
  readonly remote_ip_prefix: string | null;
  readonly source_ip_prefix: string | null;
  readonly destination_ip_prefix: string | null;
}
export const meteringLabelRuleResource = resourceHandle<MeteringLabelRule>("metering_label_rule");
export const meteringLabelRuleTable = defineTable<MeteringLabelRule>()("metering_label_rule", { resource: "metering_label_rule", indexes: { label: (r) => r.metering_label_id, project: (r) => r.project_id } });

export const labelKeys = definePool({
  name: "metering-label", of: "key", min: 1, max: 65_535, about: "keys of metering labels: `metering_label` in the pipeline", taken: (view, _part, n) => view.count(meteringLabelTable, "key", String(n)) > 0,
});

/** Hosts where packets of routers whose traffic is counted under a label leave or come in. */
export const labelScope = defineScope("metering-label");

/** Labels of a project, likewise shared ones: each is a turn more for every packet that opens a flow of the datapath. */
export const LABELS_MAX = 16;
/** Rules of a label. */
export const RULES_MAX = 64;

// ---- what was counted ----

/** What is counted of a label, each by itself. */
export const DIRECTIONS = ["ingress", "egress"] as const;
export type Direction = (typeof DIRECTIONS)[number];
export const countedOf = (label: string, direction: Direction): string => `${direction}/${label}`;
export const labelOf = (counted: string): string => counted.slice(counted.indexOf("/") + 1);
export const directionOf = (counted: string): Direction => (counted.startsWith("ingress/") ? "ingress" : "egress");

/** Totals that outlive flows and controllers. */
export const meteringCountTable = defineTable<StoredCount>()("metering_count");
/** Counters of labels, of all and of a project. */
export const ROOM = { count: 20_000, project: 2 * 2 * LABELS_MAX };
export const meteringCounts = defineSoftTable<CountFact>()("metering_counts", { ttlS: 86_400, limitPerOwner: ROOM.project, limit: ROOM.count });
