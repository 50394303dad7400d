// l2's entities: networks, ports, their addresses, and where ports are attached. The one file of l2 that other apps import.
//
// Over 400 lines: what other apps may know of ports, addresses and who has them is to be found in one place.
import {
  chassisScope, chassisTable, contains, definePool, defineScope, defineSettings, defineSoftTable, defineTable, defineVariantScope, copy, isIpv6, load, next, parseCidr, parseIp, resourceHandle, setField, toStage, vifTable, type Chassis, type Cidr, type Outputs, type ReadView, type Row, type StageOut, type StandardRow, type Vif, ethType, ipProto, toTable, meterOfZone, zoneMeters, type PortPlace, type Scope,
} from "#app";
import { buildEthernet, buildIpv4, ethertypes, linkLocal } from "packet-codec";
import { l2 } from "./tables.ts";

export interface Network extends StandardRow {
  /** 1..2^24-1, unique: `net` in the pipeline. How the network travels between hosts is its segments' business. */
  readonly key: number;
  readonly admin_state_up: boolean;
  readonly shared: boolean;
  readonly port_security_enabled: boolean;
  /** As the tenant asked; absent: as large as the encapsulation leaves. The attribute is the overlay's, who knows how large that is. */
  readonly mtu?: number;
}
export const networkTable = defineTable<Network>()("network", {
  resource: "network",
  indexes: { key: (n) => String(n.key), project: (n) => n.project_id, shared: (n) => (n.shared ? "true" : undefined) },
});

/** Keys of networks: of the pipeline, and of nothing that leaves a host. */
export const networkKeys = definePool({
  name: "network-key", of: "key", min: 1, max: 2 ** 24 - 1, about: "keys of networks: `net` in the pipeline", taken: (view, _part, n) => view.count(networkTable, "key", String(n)) > 0,
});

export const networkResource = resourceHandle<Network>("network");

export interface AddressPair {
  /** Address or CIDR. */
  readonly ip_address: string;
  /** "" = the port's own, whatever it is now. */
  readonly mac_address: string;
}

export interface Port extends StandardRow {
  /** 1..2^32-1, unique: in_port_key and out_port_key in the pipeline. */
  readonly key: number;
  readonly network_id: string;
  /** Lower case, colons. */
  readonly mac_address: string;
  readonly admin_state_up: boolean;
  readonly device_id: string;
  readonly device_owner: string;
  readonly port_security_enabled: boolean;
  readonly allowed_address_pairs: readonly AddressPair[];
}
export const portTable = defineTable<Port>()("port", {
  resource: "port",
  indexes: {
    key: (p) => String(p.key),
    network: (p) => p.network_id,
    network_mac: (p) => `${p.network_id}|${p.mac_address}`,
    device: (p) => p.device_id,
    project: (p) => p.project_id,
    /** Those that may have addresses beside their own. */
    takers: (p) => (!isNetworkPort(p) && (!p.port_security_enabled || p.allowed_address_pairs.length > 0) ? p.network_id : undefined),
    /** Single extra addresses: `<network>|<ip>`. */
    pair_ip: (p) => singlePairs(p).map((ip) => `${p.network_id}|${ip}`),
    /** Those with pairs of more than one address. */
    prefix_pairs: (p) => (p.allowed_address_pairs.some((a) => singleAddress(a.ip_address) === undefined) ? p.network_id : undefined),
    /** Those that may have any address. */
    unsecured: (p) => (!isNetworkPort(p) && !p.port_security_enabled ? p.network_id : undefined),
    network_pairs: (p) => (p.allowed_address_pairs.length > 0 ? p.network_id : undefined),
    /** Extra MACs: `<network>|<mac>`. */
    pair_mac: (p) => extraMacs(p).map((mac) => `${p.network_id}|${mac}`),
    /** Those behind which there may be MACs that the model does not place: without port security, or with a MAC that others may have too. */
    network_guests: (p) => (!isNetworkPort(p) && (!p.port_security_enabled || extraMacs(p).length > 0) ? p.network_id : undefined),
  },
});
/** The MAC that a pair is of. */
export const macOfPair = (port: Pick<Port, "mac_address">, { mac_address: mac }: Pick<AddressPair, "mac_address">): string => (mac === "" ? port.mac_address : mac);
/** Of no host: who has no address yet sends from it, as any port may. RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2 */
export const isUnspecified = (ip: string): boolean => ip === "0.0.0.0" || ip === "::";
/** The one address that a pair names, alone or as a prefix of full length; undefined: it names more. */
export function singleAddress(text: string): string | undefined {
  const at = text.indexOf("/");
  if (at < 0) return text;
  return text.slice(at + 1) === (isIpv6(text) ? "128" : "32") ? text.slice(0, at) : undefined;
}
/** Single addresses of a port's pairs, each once. */
function singlePairs({ allowed_address_pairs: pairs }: Pick<Port, "allowed_address_pairs">): string[] {
  return [...new Set(pairs.flatMap(({ ip_address: text }) => singleAddress(text) ?? []))];
}
/** MACs that a port may send from beside its own, each once. */
export function extraMacs({ mac_address: own, allowed_address_pairs: pairs }: Pick<Port, "mac_address" | "allowed_address_pairs">): string[] {
  const macs: string[] = [];
  for (const { mac_address: mac } of pairs) if (mac !== "" && mac !== own && !macs.includes(mac) && !isGroupMac(mac)) macs.push(mac);
  return macs;
}
/** The same as a match. */
export const GROUP_MAC = { value: "01:00:00:00:00:00", mask: "01:00:00:00:00:00" } as const;
export const isGroupMac = (mac: string): boolean => (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;

/** Networks where there may be what the model does not place, and switches learn it (derived). `id` is the network's. */
export interface Learning extends Row {
  /** MACs, behind ports without port security and of pairs; else addresses alone, of pairs. */
  readonly macs: boolean;
  /** What a host knows in all, of whatever networks. */
  readonly limits: { readonly macs: number; readonly neighbours: number };
}
/** How much a host learns in all, whatever ports and networks have it learn: beyond, what ends soonest of the network that has most goes first. */
export const l2Settings = defineSettings({
  "learned-macs": { kind: { integer: [16, 1_000_000] }, fallback: "16384", about: "MACs that a host knows of what the model does not place, of all networks: of the network with most the oldest go first" },
  "learned-neighbours": { kind: { integer: [16, 1_000_000] }, fallback: "16384", about: "addresses that a host knows of what the model does not list, of all networks: of the network with most the oldest go first" },
});
export const learningTable = defineTable<Learning>()("learning", { derived: true });

/** Who was last heard to have an address of a network that is no port's own. `id` is addressId(...). */
export interface HeardNeighbour extends Row {
  readonly mac: string;
  readonly port_id: string;
}
/** Of one port so many at a time, so that nobody's claims push out those of others. */
export const heardNeighbourTable = defineSoftTable<HeardNeighbour>()("neighbour_heard", { ttlS: 300, limitPerOwner: 64, limit: 65_536 });

/** What pairs name, parsed once for each list of them: that is asked for many packets, of all ports that have prefixes. */
const ranges = new WeakMap<readonly AddressPair[], readonly (Cidr | undefined)[]>();
function rangesOf(pairs: readonly AddressPair[]): readonly (Cidr | undefined)[] {
  let parsed = ranges.get(pairs);
  if (parsed === undefined) ranges.set(pairs, (parsed = pairs.map(({ ip_address: text }) => parseCidr(text.includes("/") ? text : `${text}/${isIpv6(text) ? 128 : 32}`))));
  return parsed;
}
/** Whether a port may say that it has an address at a MAC: any, without port security; else one of its pairs. */
export function mayClaim(port: Port, ip: string, mac?: string): boolean {
  if (isNetworkPort(port)) return false;
  if (!port.port_security_enabled) return true;
  const address = parseIp(ip);
  if (address === undefined) return false;
  const pairs = port.allowed_address_pairs;
  return rangesOf(pairs).some((range, i) => range !== undefined && contains(range, address) && (mac === undefined || mac === macOfPair(port, pairs[i]!)));
}
/** Where the first port is that may have an address; undefined: nobody may. */
export function claimant(view: ReadView, networkId: string, ip: string): Attachment | undefined {
  // By what is indexed: a network may have thousands of ports with pairs.
  for (const [index, key] of [["pair_ip", `${networkId}|${ip}`], ["unsecured", networkId], ["prefix_pairs", networkId]] as const) {
    for (const port of view.by(portTable, index, key)) {
      const at = mayClaim(port, ip) ? activeAttachment(view, port.id) : undefined;
      if (at !== undefined) return at;
    }
  }
  return undefined;
}
/**
 * Tells a switch who has an address that is no port's own, and where that MAC is: it keeps both for a while (NEIGHBOUR_S), in tables of its own
 * with limits for each network. `turn`
 * differs from call to call: what a switch has a cached flow for it would learn when it next looks at that.
 */
export const tellNeighbour = (chassis: string, net: number, ip: string, { mac, port, host }: { readonly mac: string; readonly port: number; readonly host: number }, turn: number): StageOut => ({
  chassis, stage: "neighbour", registers: { net, nexthop: ip, from_network: 1, out_port_key: port, out_host: host, router: turn },
  data: buildEthernet({ dst: mac, src: mac, ethertype: ethertypes.ipv4 }, buildIpv4({ src: "127.0.0.1", dst: "127.0.0.1", protocol: EXPERIMENTAL, ttl: 1 }, new Uint8Array(8))),
});
/** For experiments and testing, RFC 3692: nothing listens to it, and the packet goes nowhere. */
const EXPERIMENTAL = 253;
/** Seconds that a switch believes what it was told. */
export const NEIGHBOUR_S = 300;

export const portKeys = definePool({
  name: "port", of: "key", min: 1, max: 2 ** 32 - 1, about: "keys of ports: in_port_key and out_port_key in the pipeline", taken: (view, _part, n) => view.count(portTable, "key", String(n)) > 0,
});

/** Beyond what apps draw. Ports have one where what they announce is heard: by their zone. */
export const announcementMeters = zoneMeters("announcement-meter", 0x8000_0000, "meters of what ports announce, one for each port: by its zone");
export const announcementMeter = (zone: number): number => meterOfZone(announcementMeters, zone);

export const portResource = resourceHandle<Port>("port");

/** Values of `device_owner` that this controller knows: ports that the network's own functions made. */
export const deviceOwner = {
  dhcp: "network:dhcp",
  distributed: "network:distributed",
  floatingIp: "network:floatingip",
  floatingIpAgentGateway: "network:floatingip_agent_gateway",
  routerInterface: "network:router_interface",
  routerInterfaceDistributed: "network:router_interface_distributed",
  routerInterfaceReplicated: "network:ha_router_replicated_interface",
  routerCentralizedSnat: "network:router_centralized_snat",
  routerGateway: "network:router_gateway",
} as const;

type Owned = Pick<Port, "device_owner">;
const SERVICE_OWNERS: ReadonlySet<string> = new Set([deviceOwner.dhcp, deviceOwner.distributed, deviceOwner.floatingIpAgentGateway]);
const ROUTER_OWNERS: ReadonlySet<string> = new Set([
  deviceOwner.routerInterface, deviceOwner.routerInterfaceDistributed, deviceOwner.routerInterfaceReplicated, deviceOwner.routerCentralizedSnat, deviceOwner.routerGateway,
]);

/** Whether a function of the network made the port, not a tenant's device. */
export const isNetworkPort = (port: Owned): boolean => port.device_owner.startsWith("network:");
/** Ports that the network's own services made: they go with it, and keep neither it nor its subnets. */
export const isServicePort = (port: Owned): boolean => SERVICE_OWNERS.has(port.device_owner);
/**
 * Ports that may be routers themselves: what they send is not held to their addresses, or to prefixes alone. Nobody but they can say what
 * they are.
 */
export const mayForward = (port: Pick<Port, "port_security_enabled" | "allowed_address_pairs">): boolean => !port.port_security_enabled || port.allowed_address_pairs.some((a) => singleAddress(a.ip_address) === undefined);
/** Ports of routers, whose addresses are the routers' choice. */
export const isRouterPort = (port: Owned): boolean => ROUTER_OWNERS.has(port.device_owner);

/** What the data plane does not depend on, kept apart so that its changes rerun no rule but those that ask. `id` is the port's. */
export interface PortBinding extends Row {
  /** Where the API caller wants it; "" = wherever it is plugged. */
  readonly requested_host: string;
  readonly vnic_type: string;
  readonly profile: Readonly<Record<string, unknown>>;
}
export const portBindingTable = defineTable<PortBinding>()("port_binding", {});

/** `id` is the port's. Status as the API shows it; host is where it is active. */
export interface PortStatus extends Row {
  readonly status: "DOWN" | "BUILD" | "ACTIVE" | "ERROR";
  readonly host: string;
}
export const portStatusTable = defineTable<PortStatus>()("port_status", {});

/** An address of a port: `id` is `<network id>/<ip>`, hence unique in its network. Which ones a port gets is ipam's decision. */
export interface Address extends Row {
  readonly network_id: string;
  readonly port_id: string;
  readonly subnet_id: string;
  /** IPv4 dotted quad or IPv6 in RFC 5952 form. */
  readonly ip: string;
  readonly family: 4 | 6;
  /** Position in the port's fixed_ips. */
  readonly position: number;
}
export const addressId = (networkId: string, ip: string): string => `${networkId}/${ip}`;
export const addressTable = defineTable<Address>()("address", {
  indexes: { port: (a) => a.port_id, network: (a) => a.network_id, subnet: (a) => a.subnet_id },
});

/** A network with ports that may have addresses beside their own (derived). `id` is the network's. */
export interface Takers extends Row {
  /** One has no port security: it may have any. */
  readonly any: boolean;
  /** Prefixes that allowed pairs name, and the port whose each is; "": of several. Single addresses are in the ports' index `pair_ip`. */
  readonly prefixes: readonly { readonly cidr: string; readonly port_id: string }[];
}
export const takersTable = defineTable<Takers>()("address_takers", { derived: true });
/** Addresses of ports that another port has as a pair that names it, in order (derived). `id` is the network's. Apart from takers, which all addresses read. */
export interface Contested extends Row {
  readonly addresses: readonly { readonly ip: string; readonly port_id: string }[];
}
export const contestedTable = defineTable<Contested>()("address_contested", { derived: true });

/** Whether a prefix of a pair in a network holds an address, of another port than this one if one is named. */
export function inPrefix(view: ReadView, networkId: string, ip: string, but?: string): boolean {
  const prefixes = view.get(takersTable, networkId)?.prefixes ?? [];
  const parsed = prefixes.length === 0 ? undefined : parseIp(ip);
  return parsed !== undefined && prefixes.some(({ cidr, port_id }) => (but === undefined || port_id !== but) && contains(parseCidr(cidr)!, parsed));
}

/** Who announced last to have an address that is another port's own: it has it as a pair, at that MAC. `id` is addressId(...). */
export interface AddressHolder extends Row {
  readonly port_id: string;
  /** Port from which it took the address: of no other that has it later. */
  readonly owner_id: string;
  readonly mac: string;
}
export const addressHolderTable = defineTable<AddressHolder>()("address_holder", { indexes: { port: (h) => h.port_id } });

/** Whether a MAC is another port's own in a port's network, a router's included: then a pair with it gives no claim to what is sent to it. */
export const isAnothers = (view: ReadView, port: Pick<Port, "network_id" | "mac_address">, mac: string): boolean =>
  mac !== "" && mac !== port.mac_address && view.count(portTable, "network_mac", `${port.network_id}|${mac}`) > 0;

/** Whether a port has an address at a MAC as a pair that names it. */
export const hasPair = (port: Pick<Port, "mac_address" | "allowed_address_pairs">, ip: string, mac: string): boolean =>
  port.allowed_address_pairs.some((p) => singleAddress(p.ip_address) === ip && macOfPair(port, p) === mac);

/** The MAC of who announced last that it has an address of another port's, if it still may and is somewhere. */
export function takenBy(view: ReadView, networkId: string, ip: string): string | undefined {
  const holder = view.get(addressHolderTable, addressId(networkId, ip));
  const port = holder === undefined ? undefined : view.get(portTable, holder.port_id);
  if (holder === undefined || port?.network_id !== networkId || !hasPair(port, ip, holder.mac) || isAnothers(view, port, holder.mac)) return undefined;
  if (view.get(addressTable, holder.id)?.port_id !== holder.owner_id) return undefined;
  return activeAttachment(view, port.id) === undefined ? undefined : holder.mac;
}

export const isLinkLocal = (ip: string): boolean => ip.startsWith("fe80:");

/** What is said of link-local addresses of ports in a network: the same of all. */
export const saidOfLink = (view: ReadView, networkId: string): Said => {
  const takers = view.get(takersTable, networkId);
  return takers !== undefined && (takers.any || takers.prefixes.length > 0) ? "asked" : "host";
};

/** Whether others than a port may have an address too, so that nobody but who has it can say so. */
export function mayBeTaken(view: ReadView, networkId: string, ip: string, holder: string): boolean {
  const takers = view.get(takersTable, networkId);
  if (takers === undefined) return false;
  // Two flows may say the same link-local address: as one that a port has, and as what goes with the MAC of another address.
  if (isLinkLocal(ip) && saidOfLink(view, networkId) === "asked") return true;
  return takers.any || view.by(portTable, "pair_ip", `${networkId}|${ip}`).some((p) => p.id !== holder) || inPrefix(view, networkId, ip);
}

/**
 * A port at a chassis (derived: port x vif x binding x chassis, and whatever other apps add). A joint: an app that requires l2 may
 * derive rows, e.g. of a sub-port behind another port's interface. `id` is the port's for its active place, `<port>@<chassis>` for others.
 */
export interface Attachment extends Row, PortPlace {
  readonly port_id: string;
  readonly network_id: string;
  readonly net_key: number;
  readonly port_key: number;
  readonly chassis: string;
  readonly host_key: number;
  /**
   * standby: what goes to the port goes there too, it is not where the port is, and what it sends passes only if a context says so
   * (PortContext.speaks). gateway: one of several chassis that serve it, each those on it; from elsewhere packets go to the first by id.
   * A chassis has one place of a port: of several the active one, then the first by id.
   */
  readonly role: PortPlace["role"];
  readonly ofport: number;
  /** Tag of its frames on that OpenFlow port; null: untagged. */
  readonly vlan: number | null;
  /** Conntrack zone and punt meter of the port there: from the chassis' zones. */
  readonly slot: number;
}
export const attachmentTable = defineTable<Attachment>()("attachment", {
  derived: true,
  open: true,
  indexes: { chassis: (a) => a.chassis, network: (a) => a.network_id, port: (a) => a.port_id },
  pairs: { network_chassis: (a) => [a.network_id, a.chassis] },
});
export const attachmentId = (portId: string, chassis: string, role: Attachment["role"]): string => (role === "active" ? portId : `${portId}@${chassis}`);

/** What is happening to interfaces of a port: one that is there now, though it may not be in the view yet, and one that is about to vanish. */
export interface PlugChange {
  readonly appeared?: Vif;
  readonly gone?: Vif;
}

/**
 * The interface of a port, the one that counts: on the chassis the API asked for, or wherever it is plugged. For derivations that fill `attachment`, which
 * cannot read it: they say `pluggedReads`.
 */
export function pluggedAt(view: ReadView, portId: string, { appeared, gone }: PlugChange = {}): { readonly vif: Vif; readonly chassis: Chassis } | undefined {
  const stored = view.by(vifTable, "iface_id", portId);
  const vifs = appeared === undefined && gone === undefined ? stored : [...stored, ...(appeared === undefined ? [] : [appeared])].filter((vif) => vif.id !== gone?.id);
  if (vifs.length === 0) return undefined;
  const wanted = view.get(portBindingTable, portId)?.requested_host ?? "";
  const host = vifs.length === 1 ? "" : (view.get(portStatusTable, portId)?.host ?? "");
  const requested = wanted === "" ? undefined : requestedChassis(view, wanted);
  let best: { vif: Vif; chassis: Chassis } | undefined;
  for (const vif of vifs) {
    const chassis = view.get(chassisTable, vif.chassis);
    if (chassis === undefined || (wanted !== "" && chassis.id !== requested?.id)) continue;
    if (best === undefined || preferred(vif, best.vif, host)) best = { vif, chassis };
  }
  return best;
}
export const pluggedReads = [vifTable, portBindingTable, portStatusTable, chassisTable] as const;

/** Where a port is: of its active attachments the first by id, one that l2 knows before what others derive; without any, of those that serve it. */
export function activeAttachment(view: ReadView, portId: string): Attachment | undefined {
  const own = view.get(attachmentTable, portId);
  if (own?.role === "active") return own;
  return view.by(attachmentTable, "port", portId).filter((at) => at.role !== "standby").sort(first)[0];
}
/** Every place of a port, one a chassis: where it is comes first. */
export function placesOf(view: ReadView, portId: string): Attachment[] {
  const places: Attachment[] = [];
  for (const at of view.by(attachmentTable, "port", portId).toSorted(first)) if (!places.some((p) => p.chassis === at.chassis)) places.push(at);
  return places;
}
const RANK = { active: 0, gateway: 1, standby: 2 } as const;
const first = (a: Attachment, b: Attachment): number => RANK[a.role] - RANK[b.role] || (a.id < b.id ? -1 : 1);

/**
 * How a network travels between hosts. A joint: the overlay gives every network a tunnel segment, other apps add theirs.
 * Rows carry `<app>/<network>` as id. `tunnel`: any encapsulation that both hosts have. A VNI is a wish until the network holds it: the
 * overlay claims it, and an app that has it from a caller takes it with the overlay's `takeVni`, which refuses one that is held.
 */
export interface Segment extends Row {
  readonly network_id: string;
  readonly type: "tunnel" | "geneve" | "vxlan" | "gre" | "vlan" | "flat";
  readonly physical_network: string | null;
  /** VNI (one space for all kinds of tunnel) or VLAN id. */
  readonly segmentation_id: number | null;
}
export const segmentTable = defineTable<Segment>()("segment", { derived: true, open: true, indexes: { network: (s) => s.network_id } });

/** Scopes of l2. `lan`: chassis with a port of the network; `net`: chassis that can reach the network, through a router too. */
export const lanScope = defineScope("lan");
export const netScope = defineScope("net");
/**
 * Who may send into a network by a tunnel, the reverse of reach: `lan:N` has `senders:N`; these are the chassis that have the
 * network (`members:N`), and those that come through a router. Each chassis' own flow is in its `from` scope.
 */
export const sendersScope = defineScope("senders");
export const membersScope = defineScope("members");
export const fromScope = defineScope("from");
/** How to reach a chassis: `hostScope(key)` is included, the overlay fills one for each encapsulation profile. */
export const hostScope = defineVariantScope("host");

/**
 * What is said to those that ask for the MAC of an address. "host", "router": the network answers, for IPv6 with what that one is (the
 * router flag, RFC 4861 section 4.4). "asked": the question goes to all that may have the address, and who has it says so itself.
 */
export type Said = "host" | "router" | "asked";
const SAID: Readonly<Record<Said, number>> = { host: 0, router: 1, asked: 2 };

/**
 * Says which MAC an address of a network has, on the switches of `scope`: by default all that can reach the network, so that routers
 * everywhere find it. Who knows it also answers questions for it, those of the ports on that host alone: they are not carried on. `ofLink`:
 * of the link-local address that goes with the MAC.
 */
export function neighbour(
  out: Outputs, network: { readonly id: string; readonly key: number }, ip: string, mac: string, scope: Scope = netScope(network.id), said: Said = "host", ofLink: Said = said,
): void {
  const known = l2.through(out);
  const say = (address: string, as: Said): void => {
    if (as === "host") known.flow(scope, neighbours.known, { net: network.key, address, mac });
    else known.flow(scope, neighbours.said, { net: network.key, address, mac, said: SAID[as] });
  };
  say(ip, said);
  if (isIpv6(ip) && !isLinkLocal(ip)) say(linkLocal(mac), ofLink);
}

/** What is answered for an address, at least one of both. */
export interface Answers {
  /** Questions for its MAC: ARP, or neighbour discovery by its family. */
  readonly arp?: boolean;
  /** Echo requests to it that go to its MAC, whoever may send them. */
  readonly ping?: boolean;
  /** Whether it is a router's: advertisements of it say so. */
  readonly router?: boolean;
}

/**
 * Answers in a network on behalf of an address that no port has there: on the switches of `scope`, whether it was asked by a port on the
 * same host or from afar (a tunnel, a physical network). So of several hosts that hear a question those of the scope alone answer it.
 */
export function answerFor(out: Outputs, scope: Scope, network: { readonly key: number }, ip: string, mac: string, { arp = false, ping = false, router = false }: Answers): void {
  const into = l2.through(out);
  const net = { "reg:net": network.key } as const;
  const known = [load("nexthop", ip), setField("eth_dst", mac), load("said", SAID[router ? "router" : "host"]), toTable("arp_nd_reply")] as const;
  const asked = isIpv6(ip)
    ? ({ eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type: 135, ipv6_nd_target: ip } as const)
    : ({ eth_type: ethType.arp, arp_op: 1, arp_tpa: ip } as const);
  if (arp) {
    into.flow(scope, "arp_nd", { priority: 105, match: { ...net, ...asked }, actions: known });
    const fromAfar = { ...net, "reg:in_port_key": 0, ...asked } as const;
    into.flow(scope, "l2_lookup", { priority: 120, match: fromAfar, actions: known });
    // Whoever asks for an address of its own before it uses it is not answered, but heard by those that may have it.
    if (isIpv6(ip)) into.flow(scope, "l2_lookup", { priority: 121, match: { ...fromAfar, ipv6_src: "::" }, actions: [toTable("flood_local")] });
  }
  if (!ping) return;
  for (const { echo, reply } of [{ echo: echoRequest(ip), reply: echoReply(ip) }, { echo: laterEcho(ip), reply: turnedBack(ip) }] as const) {
    const match = { ...net, eth_dst: mac, ...echo } as const;
    into.flow(scope, "l2_lookup", { priority: 120, match, actions: [...reply, ...backToSender] });
    into.flow(scope, "l2_lookup", { priority: 121, match: { ...match, "reg:in_port_key": 0 }, actions: [...reply, ...onAsAnyFrame] });
  }
}

/** An echo request to an address. */
export const echoRequest = (ip: string) =>
  isIpv6(ip)
    ? ({ eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type: 128, icmpv6_code: 0, ipv6_dst: ip } as const)
    : ({ eth_type: ethType.ip, ip_proto: ipProto.icmp, icmpv4_type: 8, icmpv4_code: 0, ipv4_dst: ip } as const);
/** Makes such a one into its answer, which goes back where the frame came from: by `backToSender`, or as any frame. */
export const echoReply = (ip: string) => [setField(isIpv6(ip) ? "icmpv6_type" : "icmpv4_type", isIpv6(ip) ? 129 : 0), ...turnedBack(ip)] as const;

/**
 * Fragments behind the first of what may be an echo request to an address: they show no type, those of IPv6 no protocol either. Each goes
 * back as it came, `turnedBack`, so that the answer to the first has what it needs; without a first one there is no packet.
 */
export const laterEcho = (ip: string) =>
  isIpv6(ip)
    ? ({ eth_type: ethType.ipv6, ip_proto: IPV6_FRAGMENT, ip_frag: LATER_FRAGMENT, ipv6_dst: ip } as const)
    : ({ eth_type: ethType.ip, ip_proto: ipProto.icmp, ip_frag: LATER_FRAGMENT, ipv4_dst: ip } as const);
const IPV6_FRAGMENT = 44;
/** NXM_NX_IP_FRAG, ovs-fields(7): a fragment, and not the first. */
const LATER_FRAGMENT = 3;

/** From the address, to whoever sent it: what makes a packet an answer but for its type. */
export const turnedBack = (ip: string) =>
  [
    ...(isIpv6(ip) ? [copy("ipv6_src", "ipv6_dst"), setField("ipv6_src", ip)] as const : [copy("ipv4_src", "ipv4_dst"), setField("ipv4_src", ip)] as const),
    setField("ip_ttl", 64), { type: "stack_push", from: "eth_dst" } as const, copy("eth_src", "eth_dst"), { type: "stack_pop", to: "eth_src" } as const,
  ] as const;

/** At a chassis, what comes for a MAC of a network is left to the tables that come after l2's, though the network may have no port there. */
export function takeMac(out: Outputs, network: { readonly id: string; readonly key: number }, mac: string, chassis: string): void {
  out.include(chassisScope(chassis), lanScope(network.id));
  l2.through(out).flow(chassisScope(chassis), "l2_lookup", { priority: 110, match: { "reg:net": network.key, eth_dst: mac }, actions: [next] });
}
/** Says at which chassis a MAC of a network is that is no port's: one that another app holds there, e.g. of a gateway. */
export function holdMac(out: Outputs, network: { readonly id: string; readonly key: number }, mac: string, at: { readonly chassis: string; readonly host_key: number }): void {
  l2.through(out).flow(netScope(network.id), "l2_lookup", {
    priority: 100, match: { "reg:net": network.key, eth_dst: mac }, actions: [load("out_port_key", 0), load("out_host", at.host_key), toStage("locate")],
  });
  out.include(netScope(network.id), hostScope(at.host_key));
  takeMac(out, network, mac, at.chassis);
}

/**
 * How a flow that made a packet into its answer sends it back: to the port that sent it, by all that any packet to that port passes (its
 * tag, its functions), but for policy. Nothing follows. A switch sends nothing out of the port it came in by, so it came in by none.
 */
export const backToSender = [setField("in_port", 0), copy("reg:in_port_key", "reg:out_port_key"), load("from_network", 1), toStage("locate")] as const;
/** How an answer goes to who asked from afar: by its MAC, as any frame, out of the port it came in by as well. */
export const onAsAnyFrame = [setField("in_port", 0), toStage("forward")] as const;
/** As `backToSender` for a packet that the controller made: to the port of this key in the network of that key, where it is at that chassis. */
export const toPort = (chassis: string, net: number, port: number, data: Uint8Array): StageOut => ({
  chassis, stage: "locate", registers: { net, out_port_key: port, from_network: 1 }, data,
});

const neighbours = l2.shapes("neighbour", {
  known: (n: { net: number; address: string; mac: string }) => ({
    priority: 100, match: { "reg:net": n.net, "reg:nexthop": n.address }, actions: [{ type: "set_field", field: "eth_dst", value: n.mac } as const],
  }),
  said: (n: { net: number; address: string; mac: string; said: number }) => ({
    priority: 100, match: { "reg:net": n.net, "reg:nexthop": n.address }, actions: [{ type: "set_field", field: "eth_dst", value: n.mac } as const, load("said", n.said)],
  }),
});

/** Of two interfaces of one port, where it may be: the one where it already is, so that a second plug takes nothing away. */
const preferred = (a: Vif, b: Vif, host: string): boolean => (a.chassis === host) === (b.chassis === host) ? a.id < b.id : a.chassis === host;
/**
 * The chassis that a port's requested host names: by its system-id, which is proved. A hostname is self-declared, so it counts only
 * where exactly one chassis has it and none has it as its system-id.
 */
export function requestedChassis(view: ReadView, host: string): Readonly<Chassis> | undefined {
  const byId = view.get(chassisTable, host);
  if (byId !== undefined) return byId;
  const named = view.by(chassisTable, "hostname", host);
  return named.length === 1 ? named[0] : undefined;
}
