// Who has an address, or may have it: ports whose own it is, ports that have it as a pair, and what was heard or told of others.
import { contains, defineSettings, defineSoftTable, defineTable, isIpv6, parseCidr, parseIp, meterOfZone, zoneMeters, type Cidr, type ReadView, type Row, type StageOut } from "#app";
import { buildEthernet, buildIpv4, ethertypes } from "packet-codec";
import { portTable, macOfPair, hasPair, isLinkLocal, isNetworkPort, isRouterPort, addressId, addressTable, type AddressPair, type Port } from "./ports.ts";
import { activeAttachment, type Attachment } from "./places.ts";
import type { Said } from "./answering.ts";

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
  /** The port's. */
  readonly project_id: string;
}
/** Of one port so many at a time, and of all by projects, so that nobody's claims push out those of others. */
export const heardNeighbourTable = defineSoftTable<HeardNeighbour>()("neighbour_heard", { ttlS: 300, limitPerOwner: 64, limit: 65_536, group: (heard) => heard.project_id });

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

/** Beyond what apps draw. Ports have one where what they announce is heard: by their zone. */
export const announcementMeters = zoneMeters("announcement-meter", 0x8000_0000, "meters of what ports announce, one for each port: by its zone");
export const announcementMeter = (zone: number): number => meterOfZone(announcementMeters, zone);

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

/** The MAC of who announced last that it has an address of another port's, if it still may and is somewhere. */
export function takenBy(view: ReadView, networkId: string, ip: string): string | undefined {
  const holder = view.get(addressHolderTable, addressId(networkId, ip));
  const port = holder === undefined ? undefined : view.get(portTable, holder.port_id);
  if (holder === undefined || port?.network_id !== networkId || !hasPair(port, ip, holder.mac) || isAnothers(view, port, holder.mac)) return undefined;
  if (view.get(addressTable, holder.id)?.port_id !== holder.owner_id) return undefined;
  return activeAttachment(view, port.id) === undefined ? undefined : holder.mac;
}

/** What is said of the own addresses of a port that the network itself made. */
export const saidOfNetworkPort = (port: Pick<Port, "device_owner">): Said => (isRouterPort(port) ? "router" : "host");

/** What is said of the link-local address that goes with a MAC, which a port has: the same of all in a network, but of a MAC whose port the network itself made. */
export function saidOfLink(view: ReadView, port: Port, mac: string): Said {
  const owner = mac === port.mac_address ? port : view.by(portTable, "network_mac", `${port.network_id}|${mac}`)[0];
  if (owner !== undefined && isNetworkPort(owner)) return saidOfNetworkPort(owner);
  return linksAreAsked(view, port.network_id) ? "asked" : "host";
}

function linksAreAsked(view: ReadView, networkId: string): boolean {
  const takers = view.get(takersTable, networkId);
  return takers !== undefined && (takers.any || takers.prefixes.length > 0);
}

/** Whether others than a port may have an address too, so that nobody but who has it can say so. */
export function mayBeTaken(view: ReadView, networkId: string, ip: string, holder: string): boolean {
  const takers = view.get(takersTable, networkId);
  if (takers === undefined) return false;
  if (isLinkLocal(ip) && linksAreAsked(view, networkId)) return true;
  return takers.any || view.by(portTable, "pair_ip", `${networkId}|${ip}`).some((p) => p.id !== holder) || inPrefix(view, networkId, ip);
}
