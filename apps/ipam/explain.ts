// How a machine sends a packet, as one does that has its port's addresses, and the routes that it gets with them.
import { bitsOf, contains, formatIp, isMulticast, normalizeIp, parseCidr, parseIp, VLAN_PRESENT, type Ask, type Explains, type Ip, type PacketCause, type ReadView } from "#app";
import { linkLocal } from "packet-codec";
import { absent, activeAttachment, addressesOf, addressId, addressTable, chosenSegments, hasPair, isLinkLocal, isNetworkPort, isPhysical, macOfLinkLocal, macOfPair, pluggedAt, portTable, type Address, type Port } from "../l2/model.ts";
import { firstPacket, isDhcp, UNKNOWN_MAC } from "./first-packet.ts";
import { subnetTable, type HostRoute, type Subnet } from "./model.ts";
import { answeredMac, ledTo, ON_LINK, toldRoutes } from "./told.ts";

export const explains: Explains = {
  *ports(view, type, id) {
    const subnet = type === "subnet" ? view.get(subnetTable, id) : undefined;
    if (subnet !== undefined) for (const port of view.by(portTable, "network", subnet.network_id)) yield port.id;
  },
  begin(view, question, ask) {
    const port = view.get(portTable, question.from);
    if (port === undefined) return undefined;
    const place = placeOf(view, port, ask);
    if ("reason" in place) return place;
    const target = view.get(portTable, question.to);
    const own = addressesOf(view, port.id);
    const wanted = target === undefined ? [normalizeIp(question.to)].filter((ip) => ip !== undefined) : addressesOf(view, target.id).filter((a) => question.family === undefined || a.family === question.family).map((a) => a.ip);
    const address = wanted.find((ip) => own.some((a) => a.family === parseIp(ip)!.family)) ?? wanted[0];
    if (address === undefined) return target === undefined ? unknown(`${question.to.slice(0, 64)} is neither a port nor an address`, "name a port, or an address") : addressless(view, target, question.family ?? 4, `port ${target.id} has no ${question.family === undefined ? "" : `IPv${question.family} `}address`);
    const ip = parseIp(address)!;
    const way = nextHop(view, ask, { port, own, to: ip, answers: question.answers === true, claimed: question.source ?? (isDhcp(question, address) ? "0.0.0.0" : undefined) });
    if ("reason" in way) return way;
    // A local IP, say, leads to a port on the sender's own host.
    const [led] = ask(ledTo, view, port.network_id, address, place.chassis).filter((id) => id !== undefined);
    const to = (led === undefined ? undefined : view.get(portTable, led)) ?? target ?? onLink(view, port.network_id, address);
    const at = to === undefined ? undefined : activeAttachment(view, to.id);
    // Of ports that share an address in a pair whichever has it now: so it is for any of them.
    const shared = to !== undefined && target === undefined && led === undefined && view.get(addressTable, addressId(port.network_id, address)) === undefined && view.count(portTable, "pair_ip", `${port.network_id}|${address}`) > 1;
    return {
      chassis: place.chassis, ofport: place.ofport, fields: { ...(place.vlan !== null && { vlan_vid: VLAN_PRESENT | place.vlan }), ...firstPacket(question, { mac: port.mac_address, ip: way.source }, { mac: way.mac, ip: address }) }, source: way.source, sourceMac: question.sourceMac ?? port.mac_address, address, to: to?.id, ...(isOwn(view, port, own, address) && { own: true as const }),
      goal: shared ? "anywhere" : at !== undefined ? { chassis: at.chassis, ofport: at.ofport, vlan: at.vlan } : to !== undefined && !isNetworkPort(to) ? "none" : way.onward !== undefined ? "outside" : "anywhere",
      ...(way.onward !== undefined && { onward: way.onward }),
    };
  },
};

interface Place {
  readonly chassis: string;
  readonly ofport: number;
  readonly vlan: number | null;
}

function placeOf(view: ReadView, port: Port, ask: Ask): Place | PacketCause {
  const at = activeAttachment(view, port.id);
  if (at !== undefined) return at;
  const plugged = pluggedAt(view, port.id);
  return plugged === undefined ? absent(view, port, ask)! : { chassis: plugged.chassis.id, ofport: plugged.vif.ofport, vlan: null };
}

interface Way {
  readonly source: string;
  readonly mac: string;
  /** Next hop on the physical network that no port has. */
  readonly onward?: string;
}
interface Sending {
  readonly port: Port;
  readonly own: readonly Address[];
  readonly to: Ip;
  /** As which address it is sent. */
  readonly claimed: string | undefined;
  /** Whoever it is for has asked, so it is there, also where the model does not list it. */
  readonly answers: boolean;
}

function nextHop(view: ReadView, ask: Ask, { port, own, to, claimed, answers }: Sending): Way | PacketCause {
  const six = to.family === 6;
  const addresses = own.filter((a) => a.family === to.family);
  const links = addresses.flatMap((a) => {
    const subnet = view.get(subnetTable, a.subnet_id);
    return subnet === undefined ? [] : [{ ip: a.ip, subnet, prefix: parseCidr(subnet.cidr)! }];
  });
  const direct = links.find(({ prefix }) => contains(prefix, to));
  const text = formatIp(to);
  // What stays on the link is sent from the address that is of the link alone. RFC 6724 section 5
  const ofLink = six && (isLinkLocal(text) || to.value >> 112n === LINK_GROUPS) && links.length > 0 ? linkLocal(port.mac_address) : undefined;
  const ip = claimed ?? direct?.ip ?? ofLink ?? links[0]?.ip;
  if (ip === undefined) return addressless(view, port, to.family, `port ${port.id} has no IPv${to.family} address`);
  if (to.family === 4 && (to.value === 0xffff_ffffn || links.some(({ prefix }) => prefix.prefix < 31 && contains(prefix, to) && to.value === (prefix.network | ((1n << BigInt(32 - prefix.prefix)) - 1n))))) return { source: ip, mac: "ff:ff:ff:ff:ff:ff" };
  if (isMulticast(to)) return { source: ip, mac: six ? `33:33:${bytes(to.value, 4)}` : `01:00:5e:${bytes(to.value & 0x7f_ffffn, 3)}` };
  const onItsLink = (): Way | PacketCause => {
    const mac = macOn(view, port.network_id, text) ?? ask(answeredMac, view, port.network_id, text).find((one) => one !== undefined);
    if (mac !== undefined) return { source: ip, mac };
    if (answers && chosenSegments(view, port.network_id).some(isPhysical)) return { source: ip, mac: UNKNOWN_MAC, onward: text };
    return unknown(`no port of network ${port.network_id} has the address ${text}`, "see the address, or make the port that is to have it");
  };
  if (direct !== undefined || isLinkLocal(text)) return onItsLink();
  const subnet = links[0]?.subnet;
  if (subnet === undefined) return addressless(view, port, to.family, `port ${port.id} has no IPv${to.family} address on a subnet`);
  const hop = routeOf([...subnet.host_routes, ...ask(toldRoutes, view, subnet).flat()], to) ?? subnet.gateway_ip;
  if (hop === ON_LINK) return onItsLink();
  const resources = [{ type: "subnet", id: subnet.id }];
  if (hop === null) {
    const gateway = freeGateway(view, subnet);
    return {
      reason: "no_gateway", text: `subnet ${subnet.id} has no gateway, and ${text} is not on it`, resources,
      cure: gateway === undefined ? { text: "give the subnet a gateway (gateway_ip), which its machines learn by DHCP; which address it is to have is yours to choose" }
        : { text: "give the subnet a gateway, which its machines learn by DHCP", call: { method: "PUT", path: `/v2.0/subnets/${subnet.id}`, body: { subnet: { gateway_ip: gateway } } } },
    };
  }
  const mac = macOn(view, port.network_id, hop);
  if (mac !== undefined) return { source: ip, mac };
  if (chosenSegments(view, port.network_id).some(isPhysical)) return { source: ip, mac: UNKNOWN_MAC, onward: hop };
  return {
    reason: "no_gateway", resources, text: `${text} goes by the gateway ${hop}, which no port of network ${port.network_id} has`,
    cure: { text: `connect a router to the subnet (add_router_interface with "subnet_id": "${subnet.id}"); which one is yours to choose` },
  };
}

/** Of what machines are told, by the longest prefix. */
function routeOf(routes: readonly HostRoute[], to: Ip): string | undefined {
  const fitting = routes.flatMap(({ destination, nexthop }) => {
    const prefix = parseCidr(destination);
    return prefix !== undefined && contains(prefix, to) ? [{ length: prefix.prefix, nexthop }] : [];
  });
  return fitting.sort((a, b) => b.length - a.length)[0]?.nexthop;
}

function onLink(view: ReadView, network: string, ip: string): Readonly<Port> | undefined {
  const address = view.get(addressTable, addressId(network, ip));
  return address === undefined ? (view.by(portTable, "pair_ip", `${network}|${ip}`)[0] ?? ofMac(view, network, macOfLinkLocal(ip))) : view.get(portTable, address.port_id);
}

/** Whose link-local address is made of a MAC: of a port that has another of IPv6. */
const ofMac = (view: ReadView, network: string, mac: string): Readonly<Port> | undefined =>
  mac === "" ? undefined : view.by(portTable, "network_mac", `${network}|${mac}`).find((port) => addressesOf(view, port.id).some((a) => a.family === 6));

function macOn(view: ReadView, network: string, ip: string): string | undefined {
  const address = view.get(addressTable, addressId(network, ip));
  if (address !== undefined) return view.get(portTable, address.port_id)?.mac_address;
  const [holder] = view.by(portTable, "pair_ip", `${network}|${ip}`);
  const pair = holder?.allowed_address_pairs.find((p) => hasPair({ ...holder, allowed_address_pairs: [p] }, ip, macOfPair(holder, p)));
  return holder === undefined || pair === undefined ? ofMac(view, network, macOfLinkLocal(ip))?.mac_address : macOfPair(holder, pair);
}

/** By an allowed address pair another machine may have it, so that is no port's own. */
const isOwn = (view: ReadView, port: Port, own: readonly Address[], address: string): boolean => own.some((a) => a.ip === address) || (isLinkLocal(address) && ofMac(view, port.network_id, macOfLinkLocal(address))?.id === port.id);

/** ff02::/16. */
const LINK_GROUPS = 0xff02n;

const unknown = (text: string, cure: string): PacketCause => ({ reason: "unknown_address", text, resources: [], cure: { text: cure } });

/** A port has no address of a family. The one subnet that it may have one of is named. */
function addressless(view: ReadView, port: Port, family: 4 | 6, text: string): PacketCause {
  const subnets = view.by(subnetTable, "network", port.network_id).filter((s) => s.ip_version === family);
  const resources = [{ type: "port", id: port.id }];
  const [subnet] = subnets;
  if (subnet === undefined) return { reason: "unknown_address", text, resources, cure: { text: `make a subnet of IPv${family} on network ${port.network_id}, and give the port an address of it (fixed_ips); which addresses is yours to choose` } };
  if (subnets.length > 1) return { reason: "unknown_address", text, resources, cure: { text: "give the port an address (fixed_ips); of which subnet is yours to choose" } };
  const fixed_ips = [...addressesOf(view, port.id).map(({ subnet_id, ip }) => ({ subnet_id, ip_address: ip })), { subnet_id: subnet.id }];
  return { reason: "unknown_address", text, resources, cure: { text: "give the port an address", call: { method: "PUT", path: `/v2.0/ports/${port.id}`, body: { port: { fixed_ips } } } } };
}
const bytes = (value: bigint, n: number): string => Array.from({ length: n }, (_, i) => Number((value >> BigInt(8 * (n - 1 - i))) & 0xffn).toString(16).padStart(2, "0")).join(":");

/** The first address of a subnet that a router may have, where nobody has it and none is given out. */
function freeGateway(view: ReadView, { network_id, cidr, allocation_pools: pools }: Subnet): string | undefined {
  const { family, network, prefix } = parseCidr(cidr)!;
  const value = prefix >= bitsOf(family) - 1 ? network : network + 1n;
  const ip = formatIp({ family, value });
  const pooled = pools.some(({ start, end }) => parseIp(start)!.value <= value && value <= parseIp(end)!.value);
  return pooled || view.get(addressTable, addressId(network_id, ip)) !== undefined ? undefined : ip;
}

