// What is wrong now, in one shape for every part that can find something: GET /problems lists them, worst first. What sorts of problem the core can
// find is declared here, those of apps by them (App.problemKinds): docs/problems.md lists both.

const severities = ["critical", "error", "warning", "info"] as const;
export type Severity = (typeof severities)[number];

export interface Problem {
  /** What sort of thing, for programs: plain_tcp, flow_refused, identity ... */
  readonly kind: string;
  readonly severity: Severity;
  /** RFC 3339: since when it is known. */
  readonly since: string;
  readonly text: string;
  /** API resources concerned. */
  readonly resources: readonly { readonly type: string; readonly id: string; readonly name?: string }[];
  /** Ids of chassis concerned. */
  readonly switches: readonly string[];
  readonly cure: { readonly text: string };
}

/** Worst first, then the oldest. */
export const worstFirst = (problems: Iterable<Problem>): Problem[] =>
  [...problems].sort((a, b) => severities.indexOf(a.severity) - severities.indexOf(b.severity) || (a.since < b.since ? -1 : a.since > b.since ? 1 : 0));

/** Of one kind; what is beyond is one problem that counts the others. */
const LISTED = 50;

/** What is shown of them: worst first, of each kind a bounded number. */
export function listed(problems: Iterable<Problem>): Problem[] {
  const kinds = new Map<string, number>();
  const beyond = new Map<string, Problem[]>();
  const shown: Problem[] = [];
  for (const problem of worstFirst(problems)) {
    const count = (kinds.get(problem.kind) ?? 0) + 1;
    kinds.set(problem.kind, count);
    if (count <= LISTED) shown.push(problem);
    else if (count === LISTED + 1) beyond.set(problem.kind, [problem]);
    else beyond.get(problem.kind)!.push(problem);
  }
  for (const [kind, more] of beyond) {
    const { severity } = more[0]!;
    const since = more.reduce((first, p) => (p.since < first ? p.since : first), more[0]!.since);
    shown.push({ kind: "more", severity, since, text: `and ${more.length} more of the kind ${kind}`, resources: [], switches: [], cure: { text: `mend the ${LISTED} of ${kind} that are listed, the others follow` } });
  }
  return worstFirst(shown);
}

/** For the reference: what brings such a problem about, and what ends it. */
export interface ProblemKind {
  readonly cause: string;
  readonly cure: string;
}

export const coreProblemKinds = {
  bridge_missing: {
    cause: "Open vSwitch on a host does not make the integration bridge: without the kernel module `openvswitch` there is no datapath of type `system`",
    cure: "on the host, `modprobe openvswitch`, or take the userspace datapath: `external_ids:axion-datapath-type=netdev`",
  },
  bridge_mapping: { cause: "`axion-bridge-mappings` of a host names a bridge that is not there", cure: "make the bridge (`ovs-vsctl add-br`), or correct the mapping" },
  certificate_expires: { cause: "the certificate of the controller, or of a connected host, is no longer valid, or not for 30 days more", cure: "`axion pki renew` makes new ones; the controller and Open vSwitch take them when the files are replaced" },
  dangling: { cause: "rows name what was deleted while their app was left out", cure: "delete them, and make them anew if they are still wanted" },
  database_disconnected: { cause: "the database of a host is not connected, its switch is", cure: "look at `ovs-vsctl get-manager` there, and whether ovsdb-server runs" },
  flows_disputed: { cause: "two rules want different flows, groups or rows in one place, or more conjunctions than one flow holds (about 4,000): the first by name has it", cure: "let fewer groups have the address; two rules that differ are a fault of their apps: report it" },
  flows_left_out: {
    cause: "a rule makes nothing of a resource: a flow or group would be larger than a message to a switch may be (65,535 bytes), or the rule fails. What it wants is on no switch; all else is",
    cure: "make less of what the resource lists (members, addresses, routes, rules), or spread it over several; where the text names no size, report it",
  },
  flow_refused: { cause: "a switch refuses flows: a full table, or an Open vSwitch that is too old", cure: "`axion flows --switch ID --state diff` names them, and what they are for" },
  flows_repaired: {
    cause: "an audit found flows that were missing, changed, or nobody's, and put them right; it stays until an audit of that switch finds nothing",
    cure: "look who else writes flows to the bridge: another controller (`ovs-vsctl get-controller`), `ovs-ofctl` in a script",
  },
  host: { cause: "a setting of a host cannot be used, or its database does not take what the controller writes", cure: "correct it on the host with ovs-vsctl" },
  identity: { cause: "a session claimed to be a host or switch that it could not prove to be, such as a second host with the same system-id", cure: "give each host a system-id of its own, and with TLS a certificate that names it" },
  interface_error: { cause: "Open vSwitch cannot use an interface of the integration bridge: its device is gone, or taken", cure: "plug the interface again, or take it away (`ovs-vsctl del-port`)" },
  keystone: { cause: "Keystone does not answer, or refuses the controller", cure: "look whether it runs, and whether --keystone-url, user and password are right" },
  member_gone: { cause: "a controller of the cluster ended without having been stopped: a crash, a machine that is off, a network that is cut", cure: "start it again; of one that is gone for good, see cluster.md" },
  member_unreachable: { cause: "a controller of the cluster does not say by which address hosts reach it", cure: "start it with `--advertise ADDRESS`" },
  member_version: { cause: "controllers of the cluster run different versions: an upgrade that is under way, or was not ended", cure: "upgrade those that are left, one after the other" },
  more: { cause: "there are more problems of one kind than are listed", cure: "mend those that are listed, the others follow" },
  no_lease: { cause: "this controller cannot renew its lease in etcd: it writes nothing, and others take its switches if they can", cure: "see that etcd runs, has a leader, and is reached; it comes in again by itself" },
  number: { cause: "a number (VNI, zone, key) that something asks for is another's, or its pool is empty", cure: "choose another number; of a pool that is empty take away some of what holds numbers, or make it larger" },
  ops_token_file: { cause: "the file of the ops listener's token cannot be used; the token before it stays in force", cure: "mend the file: it is read again when it changes" },
  peer_limit: { cause: "what speaks OpenFlow or OVSDB, or connects to their ports, goes over a limit (limits.md); it stays for a minute after the last time", cure: "look what connects from there, and how large its flow tables and database are" },
  plain_tcp: { cause: "switches are spoken to without TLS from beyond this machine", cure: "start with --tls-cert, --tls-key and --tls-ca" },
  policy_file: { cause: "the policy file cannot be used; the rules before it stay in force", cure: "mend the file: it is read again when it changes" },
  role_refused: { cause: "a switch takes this controller neither for its master nor for a slave, as it knows a later term: another cluster's controller is its master, or the store was put back to an earlier state", cure: "stop the other controllers; terms are raised by themselves where nobody else is its master (cluster.md)" },
  stale_flows: { cause: "this Open vSwitch, with a userspace datapath, may go on by cached flows of before a change", cure: "install Open vSwitch 2.17.8, 3.0.5, 3.1.3, or any from 3.2 on" },
  switch_disconnected: { cause: "a switch is not connected: it keeps its flows, and gets no changes", cure: "where its database is connected, see there whether ovs-vswitchd runs and answers (`ovs-appctl -t ovs-vswitchd version`, `systemctl status ovs-vswitchd`); look at `ovs-vsctl show`, whose `is_connected` stays as it was while ovs-vswitchd does not run, and whether it reaches the controller; `DELETE /switches/ID` if it is gone for good" },
  switch_held: { cause: "a start would take most of what a switch has from it, by a store that is not the one, or not as new, as what the switch was told from", cure: "start with the data directory that was lost, or a copy; if what is stored is right, axion store accept" },
  takeover: { cause: "a session has the system-id or datapath id of one that was connected and did not answer any more: a host that was cut off and came back, or a second one with its name", cure: "nothing, if it came back; else give one of the two a system-id and a bridge of its own, or use TLS. It goes after a minute, or ten if the two come from different addresses" },
  token_file: { cause: "the file of tokens cannot be used; the tokens before it stay in force", cure: "mend the file: it is read again when it changes" },
  unknown_interface: { cause: "the iface-id of an interface names no port", cure: "correct `external_ids:iface-id`, create the port, or unplug the interface" },
  version_unsupported: { cause: "a host's Open vSwitch is older than what the controller's flows need", cure: "install Open vSwitch 2.12 or later" },
} as const satisfies Readonly<Record<string, ProblemKind>>;
export type CoreProblemKind = keyof typeof coreProblemKinds;
