// What a topology of the reachability suite is, as data: networks, routers, who is where, and rows that say who reaches whom by what, and who does not.
//
//   "a, b > c: ping tcp udp6"           each of the left reaches each of the right by each of these; IPv6 has a 6
//   "a > other: not ping tcp"           by none of these, and nothing of it arrives there
//   "a > x: tcp udp as r"               x sees the address outside of router r; without "as" it sees the sender's own
//   "x > a@fip: ping tcp"               a answers by the floating IP fip
//   "x > a@shared:2222: tcp"            a answers by a forwarded port
//   "x > r: ping", "a > r.blue: ping"   the router itself: its address outside, or of a network
//   "a > x: trace r.blue x"             who is on the way
//   "a > b: mtu 1300"                   the MTU that the sender finds out
//   "a > b: neighbour neighbour6"       the MAC that the sender finds is the other's port's
//   "d: dhcp slaac"                     it gets the addresses of its port from DHCP, by router advertisements

export const KINDS = ["geneve", "vxlan", "gre", "vlan", "flat"] as const;
export type Kind = (typeof KINDS)[number];

export interface NetworkData {
  readonly kind: Kind;
  /** Of VLAN and flat networks. */
  readonly physnet?: string;
  /** VLAN or VNI; drawn if not given. */
  readonly number?: number;
  readonly cidr: string;
  readonly cidr6?: string;
  /** As the API has it if not given; null: none. */
  readonly gateway?: string | null;
  readonly gateway6?: string | null;
  /** Leads outside. */
  readonly external?: true;
  /** How instances get their addresses of IPv6; by hand if not given. */
  readonly mode6?: "slaac";
  readonly mtu?: number;
  /** Of cidr; as the API has it if not given. */
  readonly pool?: readonly [start: string, end: string];
}

export interface RouterData {
  readonly nets: readonly string[];
  readonly outside?: string;
  /** Default true. */
  readonly snat?: boolean;
}

/** Hosts 1 to 3 are hypervisors, 4 and 5 may have gateways as well. */
export type Host = 1 | 2 | 3 | 4 | 5;

export interface InstanceData {
  readonly net: string;
  readonly host: Host;
  /** Default open: everything may come in. With "default" only what is of the same group. */
  readonly group?: "open" | "default";
  /** No address is configured by hand. */
  readonly dhcp?: true;
}

/** On the physical network of a flat or VLAN network. */
export interface MachineData {
  readonly net: string;
  readonly ip: string;
  readonly ip6?: string;
  /** Sends on what is not for itself, as a router outside does. */
  readonly forwards?: true;
  /** PREFIX, and the router whose address there leads to it. */
  readonly routes?: Readonly<Record<string, string>>;
}

export interface FloatingData {
  readonly net: string;
  readonly to?: string;
  readonly forward?: readonly { readonly protocol: "tcp" | "udp"; readonly from: number; readonly to: string; readonly port: number }[];
}

export interface Topology {
  readonly name: string;
  /** What tunnels go by, default IPv4. */
  readonly underlay?: "ipv6";
  /** What each host has of physical networks; default all that networks name. */
  readonly physnets?: Partial<Readonly<Record<Host, readonly string[]>>>;
  readonly networks: Readonly<Record<string, NetworkData>>;
  readonly routers?: Readonly<Record<string, RouterData>>;
  readonly instances: Readonly<Record<string, InstanceData>>;
  readonly machines?: Readonly<Record<string, MachineData>>;
  readonly floating?: Readonly<Record<string, FloatingData>>;
  readonly rows: readonly string[];
}

const PROBES = ["ping", "tcp", "udp", "neighbour", "trace", "mtu", "dhcp", "slaac"] as const;
export type Probe = (typeof PROBES)[number];
/** By which one gets its own addresses. */
export const ALONE: readonly Probe[] = ["dhcp", "slaac"];

/** One check: a row has as many as it has senders, receivers and ways. */
export interface Check {
  readonly row: string;
  readonly from: string;
  /** A guest, or a router (with its network, if it is one inside). */
  readonly to: string;
  /** A floating IP by which the guest is asked for, and the port there. */
  readonly by: string | undefined;
  readonly port: number | undefined;
  readonly probe: Probe;
  readonly six: boolean;
  readonly reaches: boolean;
  /** Whose address the receiver sees: a router's or a floating IP's. */
  readonly as: string | undefined;
  /** Of trace and mtu: what comes out. */
  readonly expected: readonly string[];
}

/** The checks of a row. @throws SyntaxError that names the row and what of it is not understood */
export function checksOf(topology: Topology, row: string): Check[] {
  const fail = (why: string): never => {
    throw new SyntaxError(`${topology.name}: "${row}": ${why}`);
  };
  const parts = /^([\w, ]+?)(?: *> *([\w, .@:]+?))?: +(not +)?([a-z]+6?(?: +[\w.]+)*)$/.exec(row) ?? fail("not a row");
  const list = (text: string): string[] => text.split(",").map((name) => name.trim());
  const [words = "", as] = parts[4]!.split(/ +as +/);
  const [first = "", ...rest] = words.split(/ +/);
  const probes = /^(trace|mtu)6?$/.test(first) ? [first] : [first, ...rest];
  const expected = probes.length === 1 && /^(trace|mtu)6?$/.test(first) ? rest : [];
  const guest = (name: string): string => (name in topology.instances || name in (topology.machines ?? {}) ? name : fail(`nobody is called ${name}`));
  const router = (name: string): boolean => name.split(".")[0]! in (topology.routers ?? {}) && (name.split(".")[1] ?? Object.keys(topology.networks)[0]!) in topology.networks;
  const target = (text: string): Pick<Check, "to" | "by" | "port"> => {
    const [, to = "", by, port] = /^([\w.]+)(?:@(\w+)(?::(\d+))?)?$/.exec(text) ?? fail(`nobody is called ${text}`);
    if (by !== undefined && !(by in (topology.floating ?? {}))) fail(`no floating IP is called ${by}`);
    return { to: by === undefined && router(to) ? to : guest(to), by, port: port === undefined ? undefined : Number(port) };
  };
  if (as !== undefined && !router(as) && !(as in (topology.floating ?? {}))) fail(`no router or floating IP is called ${as}`);
  const out: Check[] = [];
  for (const from of list(parts[1]!)) for (const to of list(parts[2] ?? from)) for (const word of probes) {
    const probe = PROBES.find((p) => p === word.replace(/6$/, "")) ?? fail(`no check is called ${word}`);
    const alone = ALONE.includes(probe);
    if ((parts[2] === undefined) !== alone) fail(`${word} is of ${alone ? "one" : "two"}`);
    const at = target(to);
    if (router(at.to) && (probe === "tcp" || probe === "udp") && parts[3] === undefined) fail("routers serve nothing");
    out.push({ row, from: guest(from), ...at, probe, six: word.endsWith("6"), reaches: parts[3] === undefined, as, expected });
  }
  return out;
}
