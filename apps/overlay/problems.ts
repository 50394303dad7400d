// What is wrong with the ends of tunnels now: two hosts that name one address, and hosts that have no encapsulation in common.
import { chassisTable, isIpv6, normalizeIp, type AppProblem, type Chassis, type LiveView } from "#app";
import { sharedEncap } from "./model.ts";

/** Hosts that are named of a group; the others are counted. */
const NAMED = 5;
/** Groups of hosts with the same encapsulations that are compared with each other. */
const GROUPS = 64;

type Host = Readonly<Chassis>;

export function problems(view: LiveView): AppProblem[] {
  const ends = [...view.all(chassisTable)].filter((c) => c.encap_ip !== "").sort((a, b) => (a.id < b.id ? -1 : 1));
  return [...sameAddress(ends), ...apart(ends)];
}

function sameAddress(ends: readonly Host[]): AppProblem[] {
  return [...groupsOf(ends, (c) => normalizeIp(c.encap_ip) ?? c.encap_ip)].flatMap(([ip, hosts]): AppProblem[] => hosts.length < 2 ? [] : [{
    kind: "endpoint_taken", severity: "error", switches: hosts.map((c) => c.id),
    text: `${named(hosts)} all have ${ip} as the address of their tunnels: what is sent to one of them may come to another`,
    cure: { text: "on each host but the one that has the address: ovs-vsctl set Open_vSwitch . external_ids:axion-encap-ip=ADDRESS, an address of its own; forget hosts that are gone with DELETE /switches/ID" },
  }]);
}

/** Pairs of groups that cannot reach each other; of a group that reaches no other, once. */
function apart(ends: readonly Host[]): AppProblem[] {
  const groups = [...groupsOf(ends, (c) => `${c.encap_types.join(", ")} over ${isIpv6(c.encap_ip) ? "IPv6" : "IPv4"}`)].slice(0, GROUPS);
  const meet = (a: Host, b: Host): boolean => isIpv6(a.encap_ip) === isIpv6(b.encap_ip) && sharedEncap(a.encap_types, b.encap_types) !== undefined;
  const found: AppProblem[] = [];
  const lonely = groups.filter(([, [host]]) => groups.length > 1 && !groups.some(([, [other]]) => other !== host && meet(host!, other!)));
  const problem = (a: (typeof groups)[number], [what, others]: (typeof groups)[number] | readonly [string, readonly Host[]]): void => {
    found.push({
      kind: "no_shared_encapsulation", severity: "error", switches: [...a[1], ...others].map((c) => c.id).slice(0, 2 * NAMED),
      text: `${named(a[1])} (${a[0]}) ${a[1].length > 1 ? "share" : "shares"} no encapsulation with ${named(others)}${what === "" ? "" : ` (${what})`}: their ports do not reach each other`,
      cure: { text: "name an encapsulation that all hosts have in external_ids:axion-encap-type, and addresses of one family in axion-encap-ip" },
    });
  };
  // Of two groups alone, both of which reach nobody, one says it for both.
  if (groups.length === 2 && lonely.length === 2) problem(groups[0]!, groups[1]!);
  else {
    for (const group of lonely) problem(group, ["", ends.filter((c) => !group[1].includes(c))]);
    for (const [i, a] of groups.entries()) {
      for (const b of groups.slice(i + 1)) if (!lonely.includes(a) && !lonely.includes(b) && !meet(a[1][0]!, b[1][0]!)) problem(a, b);
    }
  }
  return found;
}

function groupsOf(hosts: readonly Host[], keyOf: (host: Host) => string): Map<string, Host[]> {
  const groups = new Map<string, Host[]>();
  for (const host of hosts) {
    const key = keyOf(host);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [host]);
    else group.push(host);
  }
  return groups;
}

const named = (hosts: readonly Host[]): string => hosts.slice(0, NAMED).map((c) => c.id).join(", ") + (hosts.length > NAMED ? ` and ${hosts.length - NAMED} more` : "");
