// What is counted of several controllers; a controller that is alone is a cluster of one without a term.
import type { Metrics } from "../../lib/metrics.ts";

interface Counted {
  readonly serving: number;
  readonly holds: boolean;
  readonly term: number;
  onChange(listener: () => void): () => void;
}

/** `mastered`: switches that have this controller for their master, or their only one. */
export function clusterMetrics(m: Metrics, cluster: Counted | undefined, mastered: () => number): void {
  m.gauge("axion_cluster_members", "Controllers that serve, as far as this one knows", () => cluster?.serving ?? 1);
  m.gauge("axion_cluster_lease", "1 while this controller may act: it has its lease in etcd, or is alone", () => (cluster?.holds === false ? 0 : 1));
  m.gauge("axion_cluster_term", "Term in which this controller asks switches for its role; 0 while it is alone", () => cluster?.term ?? 0);
  m.gauge("axion_cluster_hosts_mastered", "Switches that have this controller for their master", mastered);
  const lapses = m.counter("axion_cluster_lapses_total", "Times that this controller could not renew its lease, and others took its switches");
  lapses.inc({}, 0);
  let held = true;
  cluster?.onChange(() => {
    if (held && !cluster.holds) lapses.inc();
    held = cluster.holds;
  });
}
