// What is wrong with hosts and switches now, for GET /problems.
import type { Chassis } from "#app";
import type { Flow } from "../../compiler/desired.ts";
import type { Problem } from "../../lib/problem.ts";
import { limits } from "../bounds/limits.ts";
import type { Refusal, Takeover } from "../claims.ts";
import type { RoleRefused } from "../cluster/roles.ts";
import { versionOf } from "../info.ts";
import type { Switch } from "../openflow/switch.ts";
import type { Host } from "../ovsdb/host.ts";

export interface ProblemParts {
  readonly startedAt: Date;
  /** Default: as it was at the start. */
  readonly now?: Date;
  /** When the controller's certificate ends; undefined: it has none. */
  readonly certificateUntil?: Date | undefined;
  /** Names of tables, by their ids. */
  readonly tableName?: ((id: number) => string | undefined) | undefined;
  /** All switches are held, by intent. */
  readonly shadow?: boolean;
  /** Listeners without TLS that are reached from elsewhere, as host:port. */
  readonly plain: readonly string[];
  readonly chassis: Iterable<Readonly<Chassis>>;
  readonly switchOf: (chassis: string) => Switch | undefined;
  readonly hostOf: (chassis: string) => Host | undefined;
  /** Of a switch that refuses this controller's role. Default: none does. */
  readonly refusing?: (chassis: string) => RoleRefused | undefined;
  /** What is known of members and hosts here; undefined: there is no other controller. */
  readonly term?: number | undefined;
  /** When the database of a chassis went. */
  readonly lostAt: (chassis: string) => Date | undefined;
  /** All databases that are connected, also those without a name. */
  readonly hosts: Iterable<Host>;
  readonly refused: Iterable<Refusal>;
  readonly takeovers?: Iterable<Takeover>;
  readonly resourcesOf: ((flow: Flow) => Problem["resources"]) | undefined;
}

/** A switch may be busy when it is told of its bridge. */
const BRIDGE_MS = 5000;
/** While controllers come and go a switch may know more than one of them for a moment. */
const ROLE_MS = 3000;
/** Refused flows of a switch whose resources are named. */
const FLOWS_EXPLAINED = 20;

export function* southboundProblems(parts: ProblemParts): Iterable<Problem> {
  const { startedAt, plain } = parts;
  // How a controller was set up, and which Open vSwitch is there, is no event: as a warning, of those that are always there, it would teach to read past
  // warnings. Each has an alert of its own.
  if (plain.length > 0) {
    yield {
      kind: "plain_tcp", severity: "info", since: startedAt.toISOString(), resources: [], switches: [],
      text: `switches are spoken to without TLS on ${plain.join(" and ")}: who they are is proved by their address alone, and what is sent can be read and changed on the way`,
      cure: { text: "start with --tls-cert, --tls-key and --tls-ca, and give each host a certificate that names its system-id" },
    };
  }
  const confused: string[] = [];
  for (const row of parts.chassis) {
    yield* connectionProblems(row, parts);
    if (row.datapath_type === "netdev" && confusesCachedFlows(versionOf(row, parts.switchOf(row.id)))) confused.push(row.id);
  }
  if (confused.length > 0) {
    yield {
      kind: "stale_flows", severity: "info", since: startedAt.toISOString(), resources: [], switches: confused.sort(),
      text: `on ${confused.length} host(s) with a userspace datapath packets may go on as before a change: Open vSwitch there changes the wrong one of two cached flows that overlap; what is under way may still pass by a rule that is deleted, or be dropped though a rule lets it pass`,
      cure: { text: "install Open vSwitch 2.17.8, 3.0.5, 3.1.3 or any from 3.2 on; until then `ovs-appctl revalidator/purge` on the host, after a change, has all packets looked at anew" },
    };
  }
  yield* oldSwitches(parts);
  yield* certificateProblems(parts);
  yield* allHostProblems(parts);
  yield* takeoverProblems(parts);
  for (const { chassis, what, address, reason, since, count } of parts.refused) {
    yield {
      kind: "identity", severity: "error", since, resources: [], switches: [chassis],
      text: `${address} claims the ${what} of ${chassis} and is refused (${count} times): ${reason}`,
      cure: { text: `if it is ${chassis}: connect its database and its switch from one address, or give it a certificate that names ${chassis}; if it is another host, give it a system-id and a bridge of its own` },
    };
  }
}

function* takeoverProblems({ takeovers = [] }: ProblemParts): Iterable<Problem> {
  for (const { chassis, what, address, before, since, count } of takeovers) {
    yield {
      kind: "takeover", severity: "warning", since, resources: [], switches: [chassis],
      text: `${address} has the ${what} of ${chassis} now, in the place of ${before}, which was connected and did not answer any more (${count} times)`,
      cure: { text: `if ${chassis} was cut off or restarted, nothing; if both are there, they are two hosts with one name: give one a system-id and a bridge of its own, or use TLS, so that a certificate says which is ${chassis}` },
    };
  }
}

/** Patch releases that mended it, by release; all releases before 2.17 have it from 2.8 on, none from 3.2 on has. */
const MENDED: Readonly<Record<string, number>> = { "2.17": 8, "3.0": 5, "3.1": 3 };

/**
 * Whether a userspace datapath of this version of Open vSwitch looks for a cached flow that is to be changed by a packet of it, and so finds another
 * that the packet matches as well: "dpif-netdev: Fix dpif_netdev_flow_put" of August 2023 looks for it by its id.
 */
export function confusesCachedFlows(version: string): boolean {
  const [, major, minor, patch] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(version) ?? [];
  if (major === undefined || minor === undefined) return false;
  const mended = MENDED[`${major}.${minor}`];
  return mended === undefined ? major === "2" && Number(minor) >= 8 && Number(minor) < 17 : Number(patch ?? 0) < mended;
}

/** Older ones lack actions that flows of routers use: check_pkt_larger came with it. */
const OLDEST = [2, 12] as const;

function* oldSwitches({ chassis, switchOf, startedAt }: ProblemParts): Iterable<Problem> {
  const old = new Map<string, string>();
  for (const row of chassis) {
    const version = versionOf(row, switchOf(row.id));
    if (isTooOld(version)) old.set(row.id, version);
  }
  if (old.size === 0) return;
  const ids = [...old.keys()].sort();
  yield {
    kind: "version_unsupported", severity: "error", since: startedAt.toISOString(), resources: [], switches: ids,
    text: `Open vSwitch of ${ids.slice(0, HOSTS_NAMED).map((id) => `${id} (${old.get(id)!})`).join(", ")}${ids.length > HOSTS_NAMED ? ` and ${ids.length - HOSTS_NAMED} more` : ""} is older than ${OLDEST.join(".")}: it refuses flows that routers need`,
    cure: { text: `install Open vSwitch ${OLDEST.join(".")} or later there; 3.3 or later is best` },
  };
}
const HOSTS_NAMED = 5;

/** Whether a version is known, and is older than what the controller's flows need. */
export function isTooOld(version: string): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  return major !== undefined && (Number(major) < OLDEST[0] || (Number(major) === OLDEST[0] && Number(minor) < OLDEST[1]));
}

const CERTIFICATE_MS = 30 * 24 * 3600 * 1000;

function* certificateProblems({ certificateUntil, hosts, startedAt, now = startedAt }: ProblemParts): Iterable<Problem> {
  const ends = [...(certificateUntil === undefined ? [] : [{ who: "the controller", until: certificateUntil, since: startedAt, host: undefined }])];
  const all = [...ends, ...[...hosts].flatMap((host) => (host.identity.until === undefined ? [] : [{ who: host.chassis ?? host.peer, until: host.identity.until, since: host.since, host }]))];
  for (const { who, until, since, host } of all) {
    const left = until.getTime() - now.getTime();
    if (left > CERTIFICATE_MS) continue;
    const days = Math.floor(left / (24 * 3600 * 1000));
    const from = new Date(Math.max(since.getTime(), until.getTime() - CERTIFICATE_MS));
    yield {
      kind: "certificate_expires", severity: left <= 0 ? "critical" : days < 7 ? "error" : "warning", since: from.toISOString(), resources: [], switches: host?.chassis === undefined ? [] : [host.chassis],
      text: left <= 0 ? `the certificate of ${who} expired at ${until.toISOString()}: ${host === undefined ? "no host connects any more" : "it does not connect again once it is disconnected"}`
        : `the certificate of ${who} expires at ${until.toISOString()}, in ${days} day(s)`,
      cure: { text: host === undefined ? "put a new certificate of the same CA, with its key, where --tls-cert and --tls-key are, and send the controller SIGHUP" : `issue ${who} a new certificate with the same name, and give it to its Open vSwitch (ovs-vsctl set-ssl)` },
    };
  }
}

function* connectionProblems(row: Readonly<Chassis>, { startedAt, now, shadow, switchOf, hostOf, lostAt, refusing, term, resourcesOf, tableName }: ProblemParts): Iterable<Problem> {
  const target = switchOf(row.id);
  const common = { resources: [], switches: [row.id] } as const;
  const table = (id: number): string => tableName?.(id) ?? String(id);
  const host = hostOf(row.id);
  if (target?.reader === undefined) {
    yield { ...common, kind: "switch_disconnected", severity: "error", since: (target?.since ?? host?.since ?? lostAt(row.id) ?? startedAt).toISOString(), ...disconnected(row.id, target, host) };
  } else if (host === undefined) {
    yield {
      ...common, kind: "database_disconnected", severity: "warning", since: (lostAt(row.id) ?? startedAt).toISOString(),
      text: `the database of ${row.id} is not connected: ports plugged and unplugged there are not seen`,
      cure: { text: `on ${row.id}: look at ovs-vsctl get-manager and whether ovsdb-server runs` },
    };
  }
  const refused = target?.reader === undefined ? undefined : refusing?.(row.id);
  if (refused !== undefined && (now ?? startedAt).getTime() - refused.since.getTime() >= ROLE_MS) {
    const { master } = refused;
    yield {
      ...common, kind: "role_refused", severity: "error", since: refused.since.toISOString(),
      text: `${row.id} takes this controller neither for its master nor for a slave: it knows the term ${refused.term ?? "?"}, and this controller's is ${term ?? "?"}${master === undefined ? "" : `; its master is ${master}`}; it keeps its flows, and gets no changes from here`,
      cure: { text: master === undefined
        ? `terms are raised within a minute where a store was put back, or etcd made anew; if this stays, restart ovs-vswitchd on ${row.id}, which then has known no term`
        : `stop the controller at ${master} if it is of another cluster, or on a store that is not in force any more; this one follows by itself` },
    };
  }
  if (target?.repaired?.standing === true) {
    const { missing, changed, foreign, at, tables, flows } = target.repaired;
    const of = new Map(flows.flatMap((flow) => resourcesOf?.(flow) ?? []).map((r) => [`${r.type} ${r.id}`, r]));
    const where = [...tables].map(([id, count]) => `${table(id)} (${count})`).join(", ");
    yield {
      ...common, resources: [...of.values()].slice(0, FLOWS_EXPLAINED), kind: "flows_repaired", severity: "warning", since: target.repaired.since.toISOString(),
      text: `flows of ${row.id} were not as they should be at ${at.toISOString()}, and were put right: ${missing} missing, ${changed} changed, ${foreign} nobody's; of tables ${where}`,
      cure: { text: `look who else writes flows to the bridge of ${row.id}: another controller (ovs-vsctl get-controller), ovs-ofctl in a script; this goes with the first audit that finds nothing` },
    };
  }
  if (target?.state === "held" && target.hold !== undefined && shadow !== true) {
    yield {
      ...common, kind: "switch_held", severity: "critical", since: target.hold.since.toISOString(),
      text: `${target.hold.text}; it keeps what it has and gets no changes`,
      cure: { text: `restore what is missing (start with the data directory that was lost, or a copy of it) and restart the controller; if what is stored now is right, axion store accept --switch ${row.id}, or axion store accept for all that are held, makes the switch so` },
    };
  }
  if (target === undefined || target.quarantine.size === 0) return;
  const flows = [...target.quarantine.values()].slice(0, FLOWS_EXPLAINED);
  const { flow, error } = flows[0]!;
  const resources = new Map(flows.flatMap((r) => resourcesOf?.(r.flow) ?? []).map((r) => [`${r.type} ${r.id}`, r]));
  yield {
    ...common, resources: [...resources.values()], kind: "flow_refused", severity: "error", since: target.refusedSince.toISOString(),
    text: `${row.id} refuses ${target.quarantine.size} flow(s); one of table ${table(flow.table)}: ${error}`,
    cure: { text: `GET /flows?switch=${row.id}&state=diff shows them with what caused them; a full table or an old Open vSwitch are usual reasons` },
  };
}

function disconnected(id: string, target: Switch | undefined, host: Host | undefined): Pick<Problem, "text" | "cure"> {
  if (host === undefined) {
    return {
      text: target === undefined
        ? `${id} has not connected since the controller started: what it has of flows it keeps, and gets no changes`
        : `the switch of ${id} is not connected: it keeps its flows, and gets no changes`,
      cure: { text: `on ${id}: look at ovs-vsctl show (is_connected) and whether the controller is reached; a host that will not come back is forgotten with DELETE /switches/${id}` },
    };
  }
  return {
    text: `the database of ${id} is connected, its switch is not: it was told ${host.openflowTarget} for OpenFlow${target === undefined ? ", and has not come since the controller started" : "; it keeps its flows, and gets no changes"}`,
    // That the database is there says that the host is, and is reached; what the row of a Controller says stands still while ovs-vswitchd does.
    cure: { text: `see on ${id} whether ovs-vswitchd runs and answers: ovs-appctl -t ovs-vswitchd version ends at once then, and systemctl status ovs-vswitchd says why it does not run; else whether ${id} reaches this address: --advertise and --openflow of the controller say which it is, a firewall between may drop it; ovs-vsctl show on ${id} says is_connected when it does, or as it was when ovs-vswitchd last ran` },
  };
}

/** Of databases without a name a few: anybody can have many. */
function* allHostProblems({ hosts, startedAt, now = startedAt }: ProblemParts): Iterable<Problem> {
  let unnamed = 0;
  let since = now;
  for (const host of hosts) {
    if (host.chassis !== undefined || ++unnamed <= limits.unnamedShown) yield* hostProblems(host, now);
    else if (host.since < since) since = host.since;
  }
  if (unnamed <= limits.unnamedShown) return;
  yield {
    kind: "host", severity: "warning", since: since.toISOString(), resources: [], switches: [],
    text: `${unnamed - limits.unnamedShown} more databases that name no host are connected`,
    cure: { text: "see what connects to the OVSDB port; a host has a name by ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME" },
  };
}

function* hostProblems(host: Host, now: Date): Iterable<Problem> {
  const name = host.chassis ?? host.peer;
  const common = { kind: "host", severity: "warning", resources: [], switches: host.chassis === undefined ? [] : [host.chassis] } as const;
  if (host.failure !== undefined) {
    yield {
      ...common, severity: "error", since: host.failure.since.toISOString(), text: `the database of ${name} cannot be brought in order: ${host.failure.text}`,
      cure: { text: `on ${name}: look whether something else sets the same rows, and at ovs-vsctl show` },
    };
  }
  if (host.withoutTunnels) {
    yield {
      ...common, since: host.since.toISOString(), text: `${name} has no tunnels: its ports reach no port of another host`,
      cure: { text: `on ${name}: ovs-vsctl set Open_vSwitch . external_ids:axion-encap-ip=ADDRESS external_ids:axion-encap-type=geneve` },
    };
  }
  if (host.bridgeMissing !== undefined && now.getTime() - host.bridgeMissing.since.getTime() >= BRIDGE_MS) {
    const { since, type } = host.bridgeMissing;
    const kernel = type === "" || type === "system";
    yield {
      ...common, kind: "bridge_missing", severity: "error", since: since.toISOString(),
      text: `Open vSwitch on ${name} does not make the bridge ${host.settings?.bridge ?? "br-int"} (datapath ${kernel ? "system" : type}): nothing works there${kernel ? "; it may lack the kernel module openvswitch" : ""}`,
      cure: {
        text: kernel ? `on ${name}: modprobe openvswitch, or take the userspace datapath: ovs-vsctl set Open_vSwitch . external_ids:axion-datapath-type=netdev; the log of ovs-vswitchd says what it lacks`
          : `on ${name}: look whether ovs-vswitchd runs, and what its log says of the bridge`,
      },
    };
  }
  for (const [text, { since, kind = "host", cure }] of host.reported) {
    yield { ...common, kind, since: since.toISOString(), text: `${name}: ${text}`, cure: { text: cure === undefined ? `correct it on ${name} with ovs-vsctl` : `on ${name}: ${cure}` } };
  }
}
