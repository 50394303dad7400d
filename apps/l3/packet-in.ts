// Packets that a router cannot deliver: the sender is told why, as a router of metal would (RFC 1812, RFC 4443): its lifetime ended, there
// is no route, nobody has the address, nothing serves it here. What waits for a neighbour first is resolution.ts's.
import { contains, lastIp, parseCidr, parseIp, type Ip, type PacketIn, type PacketInHandler, type ReadView, type StageOut } from "#app";
import { PacketError, parsePacket, type Packet } from "packet-codec";
import { networkTable, noErrorAbout, resetOf, senderOf, toPort, type Network, type Port } from "../l2/model.ts";
import { icmpError, type Interface } from "./errors.ts";
import { legTable, routerTable, undelivered, type Router, type Undelivered } from "./model.ts";
import { l3 } from "./tables.ts";

export const l3Punt = ((packet, view: ReadView, log): readonly StageOut[] => {
  const why = packet.register("undelivered", l3) as Undelivered;
  if (why === undelivered.unresolved) return [];
  if (why === undelivered.tooBigTranslated || (why === undelivered.tooBig && packet.register("in_port_key") === 0)) return tooBigFromOutside(packet, why, view, log);
  const parties = partiesOf(packet, view);
  if (parties === undefined) {
    log.debug({ key: packet.register("in_port_key") }, "packet of a port, network or router that is gone");
    return [];
  }
  return errorAbout(packet, why, parties, view, log);
}) satisfies PacketInHandler;

/** Whose packet it is, where, and at which router. */
export interface Parties {
  /** undefined: of somebody on a network of the router's who is no port. */
  readonly sender: Port | undefined;
  /** The sender's. */
  readonly home: Network | undefined;
  /** Where the packet is: where it came to the router, or where it was to go on. */
  readonly network: Network;
  readonly router: Router;
}

export function partiesOf(packet: PacketIn, view: ReadView): Parties | undefined {
  const sender = senderOf(view, packet);
  const network = view.by(networkTable, "key", String(packet.register("net")))[0];
  const router = view.by(routerTable, "key", String(packet.register("router")))[0];
  const home = sender === undefined ? undefined : view.get(networkTable, sender.network_id);
  if (network === undefined || router === undefined || (packet.register("in_port_key") === 0 ? !view.by(legTable, "router", router.id).some((leg) => leg.tells === true) : home === undefined)) return undefined;
  return { sender, home, network, router };
}

/** Who pays for it, and in whose name it waits. */
export const payer = ({ sender, router }: Parties): { readonly id: string; readonly project: string } =>
  sender === undefined ? { id: `beyond ${router.id}`, project: router.project_id } : { id: sender.id, project: sender.project_id };

type Log = Parameters<PacketInHandler>[2];

/** What the sender is told, none where the RFCs have none. `mac`: the sender's, of a packet that has the router's as its source by now. */
export function errorAbout(packet: PacketIn, why: Undelivered, parties: Parties, view: ReadView, log: Log, mac?: string): readonly StageOut[] {
  const { sender, home, network, router } = parties;
  const by = sender?.id ?? "beyond";
  const frame = answerable(packet, by, log);
  if (frame === undefined) return [];
  const ip = (frame.ipv4 ?? frame.ipv6)!;
  const source = parseIp(ip.src)!;
  if (sender === undefined || home === undefined) return beyond(packet, frame, why, source, parties, view);
  // Behind another router there is no interface on the sender's network: then the one where the packet is.
  const own = (why === undelivered.unresolved ? interfaceOf(view, router.id, home.id, source) : undefined) ?? interfaceOf(view, router.id, network.id, source);
  if (own === undefined || isBroadcastOf(own.cidr, source)) {
    log.debug({ router: router.id, network: network.id, port: by }, "router has no interface that could answer");
    return [];
  }
  // Behind another router the frame carries that router's MAC, not the sender's.
  const to = mac ?? (home.id === network.id && why !== undelivered.unresolved ? frame.eth.src : sender.mac_address);
  const data = why === undelivered.notServed && frame.tcp !== undefined ? resetOf(frame, frame.tcp, own.mac, to) : icmpError(frame, why, own, to, packet.register("next_mtu", l3));
  return data === undefined ? [] : [toPort(packet.chassis, home.key, sender.key, data)];
}

/** A packet about which somebody may be told. */
function answerable(packet: PacketIn, from: string, log: Log): Packet | undefined {
  try {
    const frame = parsePacket(packet.data);
    const refused = noErrorAbout(frame);
    if (refused === undefined) return frame;
    log.debug({ why: refused, from }, "packet undelivered without an answer");
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    log.debug({ err: error, from }, "malformed packet at a router");
  }
  return undefined;
}

/**
 * Told to who sent it from outside, by the router's ways. What was translated is answered in the name of who it was for, as that one would answer: so it
 * leaves by the same connection, which gives error and quote the addresses that outside knows.
 */
function tooBigFromOutside(packet: PacketIn, why: Undelivered, view: ReadView, log: Log): readonly StageOut[] {
  const network = view.by(networkTable, "key", String(packet.register("net")))[0];
  const router = view.by(routerTable, "key", String(packet.register("router")))[0];
  const frame = network === undefined || router === undefined ? undefined : answerable(packet, network.id, log);
  if (network === undefined || router === undefined || frame === undefined) return [];
  const { src, dst } = (frame.ipv4 ?? frame.ipv6)!;
  const source = parseIp(src)!;
  const own = interfaceOf(view, router.id, network.id, source);
  if (own === undefined || isBroadcastOf(own.cidr, source)) return [];
  const from = why === undelivered.tooBigTranslated ? { mac: own.mac, address: dst } : own;
  const data = icmpError(frame, why, from, own.mac, packet.register("next_mtu", l3));
  return data === undefined ? [] : [{ chassis: packet.chassis, stage: "route", registers: { router: router.key, net: network.key }, data }];
}

/** To somebody who is no port, by the router's routes: from where the packet came, or the sender's own link if that is not known any more. */
function beyond({ chassis }: PacketIn, frame: Packet, why: Undelivered, source: Ip, { network, router }: Parties, view: ReadView): readonly StageOut[] {
  const legs = view.by(legTable, "router", router.id).filter((leg) => leg.tells === true && (why === undelivered.unresolved || leg.network_id === network.id));
  const leg = legs.find((l) => l.addresses.some(({ cidr }) => contains(parseCidr(cidr)!, source))) ?? (why === undelivered.unresolved ? undefined : legs[0]);
  const own = leg === undefined ? undefined : interfaceOf(view, router.id, leg.network_id, source);
  const key = leg === undefined ? undefined : view.get(networkTable, leg.network_id)?.key;
  if (own === undefined || key === undefined || isBroadcastOf(own.cidr, source)) return [];
  const data = why === undelivered.notServed && frame.tcp !== undefined ? resetOf(frame, frame.tcp, own.mac, own.mac) : icmpError(frame, why, own, own.mac);
  return data === undefined ? [] : [{ chassis, stage: "route", registers: { router: router.key, net: key }, data }];
}

/** The router's address on the network: the one whose subnet has the sender, else the first. */
function interfaceOf(view: ReadView, routerId: string, networkId: string, source: Ip): (Interface & { readonly cidr: string }) | undefined {
  const legs = view.by(legTable, "router", routerId).filter((leg) => leg.network_id === networkId).sort((a, b) => (a.id < b.id ? -1 : 1));
  const candidates = legs.flatMap(({ mac, addresses }) => addresses.filter((a) => parseIp(a.ip)?.family === source.family).map(({ ip, cidr }) => ({ mac, address: ip, cidr })));
  return candidates.find(({ cidr }) => contains(parseCidr(cidr)!, source)) ?? candidates[0];
}

/** The subnet's own broadcast or network address, which is nobody's. RFC 2644 */
export function isBroadcastOf(subnet: string, ip: Ip): boolean {
  const cidr = parseCidr(subnet);
  return ip.family === 4 && cidr?.family === 4 && cidr.prefix < 31 && (ip.value === lastIp(cidr) || ip.value === cidr.network);
}

