// What the southbound layer counts.
import type { Counter, Histogram, Metrics } from "../lib/metrics.ts";

export interface SouthboundMetrics {
  readonly flowMods: Counter<"switch">;
  readonly bundles: Counter<"result">;
  readonly bytes: Counter;
  readonly packetIns: Counter<"table">;
  readonly packetInsDropped: Counter<"switch">;
  readonly packetOuts: Counter;
  readonly audits: Counter<"switch">;
  readonly announcementsDropped: Counter<"switch">;
  readonly repaired: Counter<"switch" | "kind">;
  readonly refused: Counter<"switch">;
  readonly takeovers: Counter;
  readonly fenced: Counter<"what">;
  readonly syncSeconds: Histogram;
}

/** Counts nothing yet of a switch, so that what is counted first is seen to be more. */
export function countedFromNow(metrics: SouthboundMetrics, chassis: string): void {
  const labels = { switch: chassis };
  for (const counter of [metrics.flowMods, metrics.packetInsDropped, metrics.audits, metrics.announcementsDropped, metrics.refused]) counter.inc(labels, 0);
  for (const kind of ["missing", "changed", "foreign"]) metrics.repaired.inc({ ...labels, kind }, 0);
}

export function southboundMetrics(m: Metrics, connected: () => number, slots: () => { readonly active: number; readonly waiting: number }): SouthboundMetrics {
  m.gauge("axion_switches_connected", "Switches with an OpenFlow session", connected);
  m.gauge("axion_syncs_active", "Switches that are being compared with the desired state", () => slots().active);
  m.gauge("axion_syncs_waiting", "Switches that wait to be compared", () => slots().waiting);
  const bundles = m.counter("axion_bundles_total", "Atomic bundles, by result: committed or refused", ["result"]);
  for (const result of ["committed", "refused"]) bundles.inc({ result }, 0);
  const takeovers = m.counter("axion_cluster_takeovers_total", "Times that a switch made this controller its master");
  takeovers.inc({}, 0);
  const fenced = m.counter("axion_cluster_refused_total", "What switches and databases refused this controller because of another one, by what: role (a later term is known), change (of a switch that has another master) or rows (of a database whose lock another one has)", ["what"]);
  for (const what of ["role", "change", "rows"]) fenced.inc({ what }, 0);
  return {
    takeovers, fenced,
    flowMods: m.counter("axion_flow_mods_sent_total", "Flow-mods sent, by switch", ["switch"]),
    bundles,
    bytes: m.counter("axion_bytes_sent_total", "Bytes of the flow-mods sent"),
    packetIns: m.counter("axion_packet_ins_total", "Packets that switches sent to the controller, by table", ["table"]),
    packetInsDropped: m.counter("axion_packet_ins_dropped_total", "Packets dropped because the queue of their switch was full", ["switch"]),
    announcementsDropped: m.counter("axion_announcements_dropped_total", "Flows that arrived on a switch and were not told of, because too many waited", ["switch"]),
    packetOuts: m.counter("axion_packet_outs_total", "Packets sent out through switches"),
    audits: m.counter("axion_audits_total", "Audits that compared a switch with the desired state to the end, by switch", ["switch"]),
    repaired: m.counter("axion_repaired_flows_total", "Differences found on a switch that nobody here made, by kind: missing, changed or foreign", ["switch", "kind"]),
    refused: m.counter("axion_refused_flows_total", "Flows that a switch refused", ["switch"]),
    syncSeconds: m.histogram("axion_sync_seconds", "From the connection of a switch until it has all its flows"),
  };
}
