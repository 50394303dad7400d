// What security groups allow, written down a second time and as plainly as it can be said: no masks, no conjunctions, no shared policies, addresses
// compared by Node's own lists. Of what docs/security-groups.md says, for one packet at one port. Knows nothing of flows.
import { BlockList } from "node:net";

export type Direction = "ingress" | "egress";
export type Ethertype = "IPv4" | "IPv6";

/** As the API shows it. */
export interface Rule {
  readonly id: string;
  readonly security_group_id: string;
  readonly direction: Direction;
  readonly ethertype: Ethertype;
  readonly protocol: string | null;
  readonly port_range_min: number | null;
  readonly port_range_max: number | null;
  readonly remote_ip_prefix: string | null;
  readonly remote_group_id: string | null;
  readonly remote_address_group_id?: string | null;
}

/** As the API shows it. */
export interface Group {
  readonly id: string;
  readonly stateful: boolean;
}

/** As the API shows it. */
export interface AddressGroup {
  readonly id: string;
  readonly addresses: readonly string[];
}

/** As the API shows it. */
export interface Port {
  readonly id: string;
  readonly network_id: string;
  readonly mac_address: string;
  readonly device_owner: string;
  readonly port_security_enabled: boolean;
  readonly security_groups: readonly string[];
  readonly fixed_ips: readonly { readonly ip_address: string }[];
  readonly allowed_address_pairs: readonly { readonly ip_address: string; readonly mac_address: string }[];
}
/** All there is. */
export interface Intent {
  readonly ports: readonly Port[];
  readonly rules: readonly Rule[];
  readonly subnets: readonly { readonly network_id: string; readonly cidr: string }[];
  readonly addressGroups?: readonly AddressGroup[];
  /** Those that are not here are stateful. */
  readonly groups?: readonly Group[];
}

/** A packet as rules speak of it: the first of a connection. */
export interface Opening {
  readonly ethertype: Ethertype;
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  /** Of TCP, UDP and SCTP. */
  readonly ports?: { readonly source: number; readonly destination: number };
  readonly icmp?: { readonly type: number; readonly code: number };
}

/**
 * What a packet is to its connection: the first or a further one of who opened it, an answer, an ICMP error about it of who opened it or of the
 * other side, or nothing that conntrack understands.
 */
export type Standing = "new" | "established" | "answer" | "error" | "error back" | "invalid";

/** A packet at a port. */
export interface Sight {
  /** egress: the port sends it. */
  readonly way: Direction;
  readonly standing: Standing;
  readonly opening: Opening;
  /** The packet itself, and whether of it this is a fragment after the first: for ports that remember nothing. */
  readonly packet?: Opening;
  readonly later?: boolean;
  /** The MAC at the other end of the frame, in the port's network. */
  readonly otherMac: string;
  /** Whether conntrack knows the ports of SCTP. */
  readonly sctpPorts: boolean;
}

const lists = new Map<string, BlockList>();
/** Whether an address is in a prefix, or is that address. */
export function within(ip: string, range: string): boolean {
  const family = (text: string): "ipv4" | "ipv6" => (text.includes(":") ? "ipv6" : "ipv4");
  if (family(ip) !== family(range)) return false;
  let list = lists.get(range);
  if (list === undefined) {
    list = new BlockList();
    const [address, length] = range.split("/");
    if (length === undefined) list.addAddress(address!, family(range));
    else list.addSubnet(address!, Number(length), family(range));
    lists.set(range, list);
  }
  return list.check(ip, family(ip));
}

const NUMBERS: Readonly<Record<string, number>> = { hopopt: 0, icmp: 1, tcp: 6, udp: 17, dccp: 33, "ipv6-frag": 44, gre: 47, esp: 50, ah: 51, icmpv6: 58, "ipv6-icmp": 58, ospf: 89, vrrp: 112, sctp: 132, udplite: 136 };
const numberOf = (protocol: string, ethertype: Ethertype): number => {
  const n = NUMBERS[protocol] ?? Number(protocol);
  if (!Number.isInteger(n)) throw new Error(`the model does not know protocol ${protocol}`);
  return n === 1 && ethertype === "IPv6" ? 58 : n;
};

/** Whether a rule's family, protocol, ports, type and code are those of the connection. `blind`: of the connection no ports are known, and any will do. */
function saysProtocol(rule: Rule, { ethertype, protocol, ports, icmp }: Opening, blind: boolean): boolean {
  if (rule.ethertype !== ethertype) return false;
  if (rule.protocol === null) return true;
  if (numberOf(rule.protocol, ethertype) !== protocol) return false;
  const { port_range_min: min, port_range_max: max } = rule;
  if (min === null) return true;
  if (icmp !== undefined) return icmp.type === min && (max === null || icmp.code === max);
  return blind || (ports !== undefined && ports.destination >= min && ports.destination <= max!);
}

/** Whether a port has an address: in whatever network, or, where others might be meant, in its own from its own MAC alone. */
function has(port: Port, ip: string, mac: string, network: string, { ports, subnets }: Intent): boolean {
  const neighbours = ports.filter((p) => p.id !== port.id && p.network_id === port.network_id);
  if (port.fixed_ips.some((f) => f.ip_address === ip)) return true;
  return port.allowed_address_pairs.some((pair) => {
    if (!within(ip, pair.ip_address) || neighbours.some((p) => p.mac_address === pair.mac_address)) return false;
    if (network === port.network_id && mac === pair.mac_address) return true;
    const single = !pair.ip_address.includes("/") || pair.ip_address.endsWith(ip.includes(":") ? "/128" : "/32");
    return single && !neighbours.some((p) => p.fixed_ips.some((f) => f.ip_address === ip)) && subnets.some((s) => s.network_id === port.network_id && within(ip, s.cidr));
  });
}

/** Whether nothing is remembered of what a port sends and gets: all of its groups are so. */
export const stateless = (port: Port, { groups = [] }: Intent): boolean => port.security_groups.length > 0 && port.security_groups.every((id) => groups.find((g) => g.id === id)?.stateful === false);

/** Whether a rule names a packet that a port of its group sends or gets. */
export function names(rule: Rule, port: Port, sight: Sight, intent: Intent): boolean {
  const { way, standing, opening, otherMac, sctpPorts } = sight;
  if (stateless(port, intent)) {
    const packet = sight.packet!;
    // What a later fragment does not show, it is let off.
    const protocol = sight.later === true ? rule.ethertype === packet.ethertype && (rule.protocol === null || (packet.ethertype === "IPv6" ? !IN_FRONT.includes(rule.protocol) : numberOf(rule.protocol, "IPv4") === packet.protocol)) : saysProtocol(rule, packet, false);
    return rule.direction === way && protocol && saysRemote(rule, port, way === "ingress" ? packet.source : packet.destination, otherMac, intent);
  }
  if (standing === "invalid") return false;
  const back = standing === "answer" || standing === "error back";
  // An answer goes by the rules of the direction in which what it answers went.
  if (rule.direction !== (back ? (way === "ingress" ? "egress" : "ingress") : way)) return false;
  const blind = opening.protocol === 132 && !sctpPorts && (standing === "error" || standing === "error back");
  if (!saysProtocol(rule, opening, blind)) return false;
  return saysRemote(rule, port, rule.direction === "ingress" ? opening.source : opening.destination, otherMac, intent);
}

/** Headers of IPv6 that are not what a packet carries. */
const IN_FRONT = ["hopopt", "ipv6-frag", "ah"];

/** Whether a rule's other side is this address, with this MAC. */
function saysRemote(rule: Rule, port: Port, remote: string, otherMac: string, intent: Intent): boolean {
  if (rule.remote_ip_prefix !== null) return within(remote, rule.remote_ip_prefix);
  if (rule.remote_address_group_id != null) return intent.addressGroups!.find((g) => g.id === rule.remote_address_group_id)!.addresses.some((a) => within(remote, a));
  if (rule.remote_group_id === null) return true;
  return intent.ports.some((p) => p.security_groups.includes(rule.remote_group_id!) && has(p, remote, otherMac, port.network_id, intent));
}

/** The rules of a port that let a packet pass. */
export const rulesFor = (port: Port, sight: Sight, intent: Intent): readonly Rule[] =>
  intent.rules.filter((r) => port.security_groups.includes(r.security_group_id) && names(r, port, sight, intent));

/** Whether policy lets a packet pass at a port. */
export const allows = (port: Port, sight: Sight, intent: Intent): boolean => !port.port_security_enabled || rulesFor(port, sight, intent).length > 0;
