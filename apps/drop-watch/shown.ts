// What is dropped of packets of ports, as operators are shown it: one by one in a list, by host and reason in the metrics.
import type { LiveView, OpsGauge, OpsList } from "#app";
import { portTable } from "../l2/model.ts";
import { dropTable, REASONS } from "./model.ts";

/** Hosts that have gauges of their own, those first that drop most. */
const HOSTS = 500;

function* rows(view: LiveView, asked: Readonly<Record<string, string>>): Iterable<object> {
  const { port, project, reason, switch: at } = asked;
  const found = port !== undefined ? view.factsBy(dropTable, "port", port) : at !== undefined ? view.factsBy(dropTable, "switch", at) : project !== undefined ? view.facts(dropTable, project) : reason !== undefined ? view.factsBy(dropTable, "reason", reason) : view.facts(dropTable);
  for (const d of found) {
    if ((at !== undefined && d.switch !== at) || (project !== undefined && d.project_id !== project) || (reason !== undefined && d.reason !== reason)) continue;
    yield {
      port: d.port_id, name: view.get(portTable, d.port_id)?.name ?? "", project: d.project_id, switch: d.switch, reason: d.reason, packets: d.packets, bytes: d.bytes,
      per_second: d.per_second, last_minute: d.last_minute, last_seen: d.last_seen, persistent_since: d.persistent_since,
    };
  }
}

export const opsLists: readonly OpsList[] = [{
  path: "drops",
  about: "what switches drop of packets of ports, by port and reason",
  filters: {
    port: { about: "of this port, by id or name", resource: ["port"] },
    project: { about: "of ports of this project", project: true },
    switch: { about: "at this host", chassis: true },
    reason: { about: "for this reason", values: REASONS },
  },
  rows,
}];

function* rates(view: LiveView): Iterable<{ readonly labels: { readonly switch: string; readonly reason: string }; readonly value: number }> {
  const sums = new Map<string, Map<string, number>>();
  for (const { switch: at, reason, per_second } of view.facts(dropTable)) {
    if (per_second === 0) continue;
    const of = sums.get(at) ?? new Map<string, number>();
    sums.set(at, of.set(reason, (of.get(reason) ?? 0) + per_second));
  }
  const total = (of: ReadonlyMap<string, number>): number => [...of.values()].reduce((all, n) => all + n, 0);
  const most = [...sums].sort(([, a], [, b]) => total(b) - total(a)).slice(0, HOSTS);
  for (const [at, of] of most) for (const [reason, value] of of) yield { labels: { switch: at, reason }, value };
}

export const gauges: readonly OpsGauge[] = [
  { name: "axion_ports_dropping", about: "ports of which packets are dropped all the time, by reason", labels: ["reason"], read: (view) => REASONS.map((reason) => ({ labels: { reason }, value: view.factsBy(dropTable, "persistent", reason).length })) },
  { name: "axion_port_drops_per_second", about: "packets of ports that a switch drops, on average of the last ten seconds, by reason; of the 500 hosts that drop most", labels: ["switch", "reason"], read: rates },
];
