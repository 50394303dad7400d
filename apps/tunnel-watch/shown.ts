// Tunnels as operators are shown them: one by one in a list, by state and by host in the metrics.
import { chassisTable, observed, type LiveView, type OpsGauge, type OpsList } from "#app";
import { peerPortName } from "../overlay/model.ts";
import { tunnelTable, type TunnelSeen } from "./model.ts";

const STATES = ["down", "unknown", "up"] as const;
/** More hosts than have gauges of their own; of more those are shown that are not well. */
const HOSTS = 1000;

function* rows(view: LiveView, { switch: at, state }: Readonly<Record<string, string>>): Iterable<object> {
  const tunnels = at !== undefined ? [...view.factsBy(tunnelTable, "from", at), ...view.factsBy(tunnelTable, "to", at)] : state !== undefined ? view.factsBy(tunnelTable, "state", state) : view.facts(tunnelTable);
  for (const t of tunnels) if (state === undefined || t.state === state) yield { from: t.from, to: t.to, type: t.type, state: t.state, since: t.since, latency_ms: t.latency_ms, loss: t.loss, mtu: t.mtu, bfd: bfdOf(view, t) };
}

/** What the sender's switch says of the BFD that it has with the other, as gateways and their users have; null: none. */
export function bfdOf(view: LiveView, { from, to }: Pick<TunnelSeen, "from" | "to">): string | null {
  const key = view.get(chassisTable, to)?.key;
  return (key === undefined ? undefined : observed(view, from, "Interface", peerPortName(key))?.bfd_status?.state) ?? null;
}

export const opsLists: readonly OpsList[] = [{
  path: "tunnels",
  about: "tunnels between hosts, each direction, with what probes say of them",
  filters: {
    switch: { about: "from or to this host", chassis: true },
    state: { about: "in this state", values: STATES },
  },
  rows,
}];

interface Sum {
  down: number;
  tunnels: number;
  loss: number;
  measured: number;
  latencyMs: number;
}

/** What leaves each host by its tunnels. */
function byHost(view: LiveView): Map<string, Sum> {
  const sums = new Map<string, Sum>();
  for (const t of view.facts(tunnelTable)) {
    let sum = sums.get(t.from);
    if (sum === undefined) sums.set(t.from, (sum = { down: 0, tunnels: 0, loss: 0, measured: 0, latencyMs: 0 }));
    add(sum, t);
  }
  if (sums.size > HOSTS) for (const [id, { down, loss }] of sums) if (down === 0 && loss === 0) sums.delete(id);
  return sums;
}

function add(sum: Sum, t: Readonly<TunnelSeen>): void {
  if (t.state === "down") sum.down++;
  if (t.state === "up" && t.loss !== null) {
    sum.tunnels++;
    sum.loss += t.loss;
  }
  if (t.latency_ms !== null) {
    sum.measured++;
    sum.latencyMs += t.latency_ms;
  }
}

const ofHosts = (value: (sum: Sum) => number | undefined) => (view: LiveView) => [...byHost(view)].flatMap(([id, sum]) => {
  const of = value(sum);
  return of === undefined ? [] : [{ labels: { switch: id }, value: of }];
});

export const gauges: readonly OpsGauge[] = [
  { name: "axion_tunnels", about: "tunnels between hosts that are watched, each direction, by what probes say: up, down, unknown", labels: ["state"], read: (view) => STATES.map((state) => ({ labels: { state }, value: view.factsBy(tunnelTable, "state", state).length })) },
  { name: "axion_tunnels_narrow", about: "tunnels that carry small packets, and none as large as --mtu has them", read: (view) => view.factsBy(tunnelTable, "narrow", "").length },
  { name: "axion_tunnel_down", about: "tunnels from a host that are down", labels: ["switch"], read: ofHosts(({ down }) => down) },
  { name: "axion_tunnel_loss_ratio", about: "share of the last probes from a host that were lost, in tunnels that are up, 0..1", labels: ["switch"], read: ofHosts(({ loss, tunnels }) => (tunnels === 0 ? undefined : loss / tunnels)) },
  { name: "axion_tunnel_latency_seconds", about: "how long a packet takes from a host to another, on average over its tunnels", labels: ["switch"], read: ofHosts(({ latencyMs, measured }) => (measured === 0 ? undefined : latencyMs / measured / 1000)) },
];
