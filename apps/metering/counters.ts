// What was counted under each label and direction: summed over hosts, kept when flows go, and over restarts.
import { FlowCounters, type LiveView, type ServiceDecl, type ServiceHost } from "#app";
import { countedOf, DIRECTIONS, directionOf, labelOf, meteringCounts, meteringCountTable, meteringLabelResource, meteringLabelTable, ROOM, type Direction, type MeteringLabel } from "./model.ts";
import { countingRule } from "./rules.ts";

export const COUNTERS = ["axion:ingress", "axion:egress", "axion:counts_complete"] as const;

/** Packets and bytes of a direction; null: no switch has said. */
export interface Counts {
  readonly packets: number | null;
  readonly bytes: number | null;
}
const countsOf = (view: LiveView, id: string, direction: Direction): Counts => {
  const found = view.fact(meteringCounts, countedOf(id, direction));
  return { packets: found?.packets ?? null, bytes: found?.bytes ?? null };
};

export interface LabelCounts {
  readonly ingress: Counts;
  readonly egress: Counts;
  /** Whether all hosts have said what they counted. */
  readonly complete: boolean;
  /** RFC 3339, since when it is counted, and when it was last looked at; null: not yet. */
  readonly since: string | null;
  readonly looked_at: string | null;
}

export function labelCounts(view: LiveView, { id }: Pick<MeteringLabel, "id">): LabelCounts {
  const facts = DIRECTIONS.map((direction) => view.fact(meteringCounts, countedOf(id, direction)));
  return {
    ingress: countsOf(view, id, "ingress"), egress: countsOf(view, id, "egress"), complete: facts.every((fact) => fact?.complete === true),
    since: facts[0]?.since ?? null, looked_at: facts[0]?.looked_at ?? null,
  };
}

const countables = ({ id, project_id }: MeteringLabel) => DIRECTIONS.map((direction) => ({ id: countedOf(id, direction), project_id }));

/** Seconds between looks: what flows have counted since is lost when they go and this controller does not take them off. */
const LOOK_S = 10;

function countersOf(host: ServiceHost): FlowCounters {
  const { view } = host;
  const all = [...view.all(meteringLabelTable)].flatMap(countables);
  return new FlowCounters(host, {
    name: "metering-count", what: "what was counted under metering labels", stored: meteringCountTable, facts: meteringCounts, room: ROOM, everyS: LOOK_S, storeS: { asked: LOOK_S, others: 60 },
    look: (id, payer) => host.flowCounts(countingRule[directionOf(id)], labelOf(id), payer),
    isThere: (at, id) => at.get(meteringLabelTable, labelOf(id)) !== undefined,
  }, { stored: [], all });
}

export const meteringCounters: ServiceDecl = {
  name: "metering-counters",
  about: "counts what crosses the edge under metering labels",
  start(host) {
    const counters = countersOf(host);
    host.onAsked(meteringLabelResource, COUNTERS, (labels, caller) => counters.asked(labels.flatMap(countables), caller.projectId));
    host.onCommit([meteringLabelTable], (changes) => {
      for (const { id, before, after } of changes) {
        if (after === undefined) for (const direction of DIRECTIONS) counters.forget(countedOf(id, direction));
        else for (const one of countables(after as MeteringLabel)) counters.follow(one, before === undefined);
      }
    });
    return () => counters.store(true);
  },
};
