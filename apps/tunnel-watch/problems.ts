// Which tunnels are down or narrow. Where all of a host are, as far as is known, that is one problem and names the host; a pair of hosts is one problem, and says in
// which direction if it is in one alone.
import { hostSessionsTable, type AppProblem, type LiveView } from "#app";
import { overlaySettings } from "../overlay/model.ts";
import { forgedTable, tunnelTable, type TunnelSeen } from "./model.ts";

/** Hosts, and pairs of hosts, that are named of a kind; others are counted. */
const NAMED = 49;
/** With so many others at least a host's tunnels say something of the host. */
const OTHERS = 2;

const PORTS = { geneve: "UDP port 6081", vxlan: "UDP port 4789", gre: "IP protocol 47" } as const;

type Faulty = (tunnel: Readonly<TunnelSeen>) => boolean;
type Side = "from" | "to";
/** Tunnels of a host or a pair; what is said of them is put in words for those that are named. */
interface Found {
  readonly of: readonly Readonly<TunnelSeen>[];
  readonly problem: () => AppProblem;
}

export function problems(view: LiveView): AppProblem[] {
  const connected = new Map<string, boolean>();
  /** A fact of a host that is gone since says nothing. */
  const isThere = (id: string): boolean => {
    let there = connected.get(id);
    if (there === undefined) connected.set(id, (there = view.fact(hostSessionsTable, id)?.openflow !== false));
    return there;
  };
  const known = (all: readonly Readonly<TunnelSeen>[]): Readonly<TunnelSeen>[] => all.filter((t) => isThere(t.from) && isThere(t.to));
  return [...down(view, known(view.factsBy(tunnelTable, "state", "down"))), ...narrow(view, known(view.factsBy(tunnelTable, "narrow", ""))), ...forged(view)];
}

function down(view: LiveView, faulty: readonly Readonly<TunnelSeen>[]): AppProblem[] {
  const isDown: Faulty = (t) => t.state === "down";
  const whole = wholeHosts(view, faulty, isDown, ["from", "to"]);
  const found: Found[] = [];
  for (const [host, of] of byHost(faulty, (id, side) => whole.get(id)?.has(side) === true)) {
    found.push({ of, problem: () => cutHost(host, whole.get(host)!, of) });
  }
  const rest = faulty.filter((t) => whole.get(t.from)?.has("from") !== true && whole.get(t.to)?.has("to") !== true);
  for (const [a, b, of] of pairsOf(rest)) found.push({ of, problem: () => cutPair(view, a, b, of) });
  return counted(found, "tunnel_down", "error");
}

function cutHost(host: string, sides: ReadonlySet<Side>, of: readonly Readonly<TunnelSeen>[]): AppProblem {
  const others = new Set(of.map((t) => (t.from === host ? t.to : t.from))).size;
  return {
    kind: "host_cut", severity: "error", since: oldest(of), switches: [host],
    text: sides.size === 2 ? `${host} and the ${others} hosts that it has tunnels with do not reach each other`
      : sides.has("to") ? `nothing arrives at ${host} by tunnel, of what ${others} hosts send; what it sends does` : `nothing arrives of what ${host} sends by tunnel to ${others} hosts; what they send does`,
    // One that hangs sends nothing either.
    cure: { text: `${sides.size === 2 ? `see on ${host} whether ovs-vswitchd answers (ovs-appctl -t ovs-vswitchd version); else look there` : `look on ${host}`} whether the link that the tunnels run over is up, and has the address axion-encap-ip, and whether a firewall there or before it lets ${typesOf(of)} pass, both ways` },
  };
}

function cutPair(view: LiveView, a: string, b: string, of: readonly Readonly<TunnelSeen>[]): AppProblem {
  const oneWay = of.every((t) => t.from === of[0]!.from) ? of[0] : undefined;
  return {
    kind: "tunnel_down", severity: "error", since: oldest(of), switches: [a, b],
    text: oneWay === undefined ? `${a} and ${b} do not reach each other by tunnel (${typesOf(of)})` : `what ${oneWay.from} sends to ${oneWay.to} by tunnel (${typesOf(of)}) does not arrive${isUp(view, oneWay) ? ", the other way it does" : ""}`,
    cure: { text: `look whether ${oneWay === undefined ? "they reach" : `${oneWay.from} reaches`} ${oneWay === undefined ? "each other's" : `${oneWay.to}'s`} address axion-encap-ip, and whether a firewall lets ${typesOf(of)} pass${oneWay === undefined ? ", both ways" : ` from ${oneWay.from} to ${oneWay.to}`}` },
  };
}

const isUp = (view: LiveView, { from, to }: Readonly<TunnelSeen>): boolean => view.factsBy(tunnelTable, "from", to).some((t) => t.to === from && t.state === "up");

function narrow(view: LiveView, faulty: readonly Readonly<TunnelSeen>[]): AppProblem[] {
  const { mtu } = view.settings(overlaySettings);
  const whole = wholeHosts(view, faulty, (t) => t.missing !== undefined, ["from", "to"]);
  const found: Found[] = [];
  const cure = (where: string): AppProblem["cure"] => ({ text: `make the MTU ${where} ${mtu} at least, or start the controller with --mtu as it is; networks get their MTU from that` });
  for (const [host, of] of byHost(faulty, (id) => whole.has(id))) {
    found.push({
      of,
      problem: () => ({ kind: "mtu_too_small", severity: "error", since: oldest(of), switches: [host], text: `${sizeOf(of, mtu)} between ${host} and the hosts that it has tunnels with: larger packets of VMs are lost there`, cure: cure(`of ${host}'s link, and of what is before it,`) }),
    });
  }
  for (const [a, b, of] of pairsOf(faulty.filter((t) => !whole.has(t.from) && !whole.has(t.to)))) {
    found.push({ of, problem: () => ({ kind: "mtu_too_small", severity: "error", since: oldest(of), switches: [a, b], text: `${sizeOf(of, mtu)} between ${a} and ${b}: larger packets of VMs are lost there`, cure: cure("on the way between them") }) });
  }
  return counted(found, "mtu_too_small", "error");
}

function sizeOf(of: readonly Readonly<TunnelSeen>[], mtu: number): string {
  const sizes = of.flatMap((t) => t.mtu ?? []);
  return sizes.length === 0 ? `packets of ${mtu} bytes, as --mtu has it, do not get` : `packets of up to ${Math.min(...sizes)} bytes get, of ${mtu}, as --mtu has it, do not,`;
}

function forged(view: LiveView): AppProblem[] {
  return view.facts(forgedTable).map(({ id, since }): AppProblem => ({
    kind: "forged_probes", severity: "warning", since, switches: [id], text: `at ${id} probes of tunnels arrive that nobody sent: how its tunnels are is not known`,
    cure: { text: `look which host sends them: on ${id}, tcpdump of ${Object.values(PORTS).join(", ")} shows frames of EtherType 0x88b5` },
  }));
}

/** Hosts of which all tunnels that are known are so, from them, to them, or both. */
function wholeHosts(view: LiveView, faulty: readonly Readonly<TunnelSeen>[], is: Faulty, sides: readonly Side[]): Map<string, Set<Side>> {
  const out = new Map<string, Set<Side>>();
  for (const side of sides) {
    const counts = new Map<string, number>();
    for (const t of faulty) counts.set(t[side], (counts.get(t[side]) ?? 0) + 1);
    for (const [host, n] of counts) {
      if (n < OTHERS) continue;
      const all = view.factsBy(tunnelTable, side, host).filter((t) => t.state !== "unknown");
      const others = new Set(all.map((t) => t[side === "from" ? "to" : "from"]));
      if (others.size < OTHERS || !all.every(is)) continue;
      out.set(host, (out.get(host) ?? new Set<Side>()).add(side));
    }
  }
  return out;
}

/** Tunnels from and to hosts, of those hosts and ends that are wanted: one pass, however many hosts there are. */
function byHost(tunnels: readonly Readonly<TunnelSeen>[], wanted: (host: string, side: Side) => boolean): Map<string, Readonly<TunnelSeen>[]> {
  const hosts = new Map<string, Readonly<TunnelSeen>[]>();
  for (const t of tunnels) {
    for (const side of ["from", "to"] as const) {
      const host = t[side];
      if (!wanted(host, side)) continue;
      const of = hosts.get(host);
      if (of === undefined) hosts.set(host, [t]);
      else of.push(t);
    }
  }
  return hosts;
}

/** Both directions, and all encapsulations, of two hosts together. */
function pairsOf(tunnels: readonly Readonly<TunnelSeen>[]): (readonly [a: string, b: string, of: Readonly<TunnelSeen>[]])[] {
  const pairs = new Map<string, readonly [string, string, Readonly<TunnelSeen>[]]>();
  for (const t of tunnels) {
    const [a, b] = t.from < t.to ? [t.from, t.to] : [t.to, t.from];
    const key = JSON.stringify([a, b]);
    const pair = pairs.get(key);
    if (pair === undefined) pairs.set(key, [a, b, [t]]);
    else pair[2].push(t);
  }
  return [...pairs.values()];
}

function counted(found: readonly Found[], kind: "tunnel_down" | "mtu_too_small", severity: "error"): AppProblem[] {
  const named = found.slice(0, NAMED).map(({ problem }) => problem());
  const more = found.slice(NAMED).map(({ of }) => oldest(of));
  if (more.length === 0) return named;
  return [...named, {
    kind, severity, since: more.reduce((first, since) => (since < first ? since : first)), text: `and ${more.length} more: pairs of hosts, or hosts with all of their tunnels`,
    cure: { text: "axion tunnels lists them all" },
  }];
}

const oldest = (of: readonly Readonly<TunnelSeen>[]): string => of.reduce((first, t) => (t.since < first ? t.since : first), of[0]!.since);
const typesOf = (of: readonly Readonly<TunnelSeen>[]): string => [...new Set(of.map((t) => t.type))].sort().map((type) => `${type}, ${PORTS[type]}`).join("; ");
