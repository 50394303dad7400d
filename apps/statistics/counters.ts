// Counts what ports, routers and floating IPs let pass: what somebody asks for at once, all others in turns; totals are kept over moves and restarts.
import { chassisTable, FlowCounters, learned, resourceHandle, type LiveView, type ServiceDecl, type ServiceHost } from "#app";
import { COUNTERS, countablesOf, countedOf, countedResources, partsOf, projectCounts, PROJECTS, resourceCounts, resourceCountTable, ROOM, rowOf, tables, type CountedResource, type CountedRow, type ProjectCount } from "./model.ts";
import { attachmentTable, type Attachment } from "../l2/model.ts";
import { PortCounts } from "./ports.ts";

/** Seconds between looks: what is counted since is lost when a flow goes that this controller does not take off. */
const LOOK_S = 10;
/** Counters that are looked at in a turn, each with what it counts at one place; beyond them turns are longer apart for each. */
const FLOWS_A_TURN = 40_000;

/** Packets, and bytes of these with Ethernet headers; null: no switch has said. */
export interface Count {
  readonly packets: number | null;
  readonly bytes: number | null;
}
export type Statistics = Readonly<Record<string, Count | boolean | string | null>>;

/** By counter what was counted; `complete`: whether every host concerned has said; RFC 3339 since when it is counted, and when it was last looked at. */
export function statisticsOf(view: LiveView, resource: CountedResource, id: string): Statistics {
  const facts = COUNTERS[resource].map((counter) => [counter, view.fact(resourceCounts, countedOf(resource, counter, id))] as const);
  const [, first] = facts[0]!;
  return {
    ...Object.fromEntries(facts.map(([counter, fact]) => [counter, { packets: fact?.packets ?? null, bytes: fact?.bytes ?? null } satisfies Count])),
    complete: facts.every(([, fact]) => fact?.complete === true), since: first?.since ?? null, looked_at: first?.looked_at ?? null,
  };
}

/** Sums by project, for metrics: they do not fall when a resource goes. */
class Projects {
  private readonly sums = new Map<string, ProjectCount>();
  private readonly changed = new Set<string>();
  private readonly host: ServiceHost;

  constructor(host: ServiceHost) {
    this.host = host;
  }

  add(counted: string, packets: number, bytes: number): void {
    const { resource, counter, id } = partsOf(counted);
    const project_id = rowOf(this.host.view, resource, id)?.project_id;
    if (project_id === undefined) return;
    const key = `${project_id}/${resource}/${counter}`;
    const sum = this.sums.get(key);
    if (sum === undefined && this.sums.size >= 8 * PROJECTS) return;
    this.sums.set(key, { id: key, project_id, resource, counter, packets: (sum?.packets ?? 0) + packets, bytes: (sum?.bytes ?? 0) + bytes });
    this.changed.add(key);
  }

  tell(): void {
    this.host.learn(Array.from(this.changed, (key) => learned(projectCounts, this.sums.get(key)!.project_id, this.sums.get(key)!)));
    this.changed.clear();
  }
}

/** The place where a port was, and is not any more. */
const leftBy = (before: Attachment | undefined, after: Attachment | undefined): readonly Attachment[] =>
  before?.role === "active" && (after?.role !== "active" || after.chassis !== before.chassis || after.ofport !== before.ofport) ? [before] : [];

const all = (view: LiveView) => countedResources.flatMap((resource) => Array.from(view.all(tables[resource]), (row) => countablesOf(resource, row)).flat());

export const resourceCounters: ServiceDecl = {
  name: "resource-counters",
  about: "counts what ports, routers and floating IPs let pass",
  start(host) {
    const { view } = host;
    const ports = new PortCounts(host);
    const projects = new Projects(host);
    const counters = new FlowCounters(host, {
      name: "resource-count", what: "what ports, routers and floating IPs have counted", stored: resourceCountTable, facts: resourceCounts, room: ROOM, everyS: LOOK_S, flowsATurn: FLOWS_A_TURN,
      look(counted, payer) {
        const { resource, counter, id } = partsOf(counted);
        return resource === "port" ? ports.of(id, counter, payer) : host.countsOf(resource, id, counter, payer);
      },
      grown: (counted, packets, bytes) => projects.add(counted, packets, bytes),
      turned: () => projects.tell(),
      isThere: (at, counted) => rowOf(at, partsOf(counted).resource, partsOf(counted).id) !== undefined,
    }, { stored: [], all: all(view) });
    for (const resource of countedResources) {
      host.onAsked(resourceHandle<CountedRow>(resource), [STATISTICS], (rows, caller) => counters.asked(rows.flatMap((row) => countablesOf(resource, row)), caller.projectId));
      host.onCommit([tables[resource]], (changes) => {
        for (const { id, before, after } of changes) {
          if (after !== undefined) for (const one of countablesOf(resource, after as CountedRow)) counters.follow(one, before === undefined);
          else for (const counter of COUNTERS[resource]) {
            counters.forget(countedOf(resource, counter, id));
            if (resource === "port") ports.forget(id, counter);
          }
        }
      });
    }
    /** By chassis, counters of ports that leave it, and from which generation on its switch knows. */
    const leaving = new Map<string, { readonly counted: Set<string>; generation: number }>();
    const left = (chassis: string, confirmed: number): void => {
      const of = leaving.get(chassis);
      if (of === undefined || confirmed < of.generation) return;
      leaving.delete(chassis);
      ports.leaves(chassis);
      counters.ending(of.counted);
    };
    host.onCommit([attachmentTable], (changes, generation) => {
      const places = changes.flatMap(({ before, after }) => leftBy(before as Attachment | undefined, after as Attachment | undefined));
      for (const { chassis, port_id } of places) {
        let of = leaving.get(chassis);
        if (of === undefined) leaving.set(chassis, (of = { counted: new Set(), generation }));
        of.generation = generation;
        for (const counter of COUNTERS.port) of.counted.add(countedOf("port", counter, port_id));
      }
      for (const { chassis } of places) left(chassis, host.confirmed(chassis));
    });
    host.onConfirmed(left);
    host.onCommit([chassisTable], (changes) => {
      for (const { id, after } of changes) {
        if (after !== undefined) continue;
        ports.forgetChassis(id);
        leaving.delete(id);
      }
    });
    return () => counters.store(true);
  },
};

export const STATISTICS = "axion:statistics";
