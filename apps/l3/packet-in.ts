// Packets that a router cannot deliver: the sender is told why, as a router of metal would (RFC 1812, RFC 4443): its lifetime ended, there
// is no route, nobody has the address, nothing serves it here. What waits for a neighbour first is resolution.ts's.
import { contains, lastIp, parseCidr, parseIp, type Ip, type PacketIn, type PacketInHandler, type ReadView, type StageOut } from "#app";
import {
  buildEthernet, buildIcmpv4Error, buildIcmpv6Error, buildIpv4, buildIpv6, ethertypes, icmpv4Types, icmpv6Types, ipProtocols, PacketError, parsePacket,
  type Packet,
} from "packet-codec";
import { ERROR_TOS, networkTable, noErrorAbout, resetOf, senderOf, toPort, type Network, type Port } from "../l2/model.ts";
import { legTable, routerTable, undelivered, type Router, type Undelivered } from "./model.ts";
import { l3 } from "./tables.ts";

interface Interface {
  readonly mac: string;
  readonly address: string;
}

export const l3Punt = ((packet, view: ReadView, log): readonly StageOut[] => {
  const why = packet.register("undelivered", l3) as Undelivered;
  if (why === undelivered.unresolved) return [];
  const parties = partiesOf(packet, view);
  if (parties === undefined) {
    log.debug({ key: packet.register("in_port_key") }, "packet of a port, network or router that is gone");
    return [];
  }
  return errorAbout(packet, why, parties, view, log);
}) satisfies PacketInHandler;

/** Whose packet it is, where, and at which router. */
export interface Parties {
  readonly sender: Port;
  /** The sender's. */
  readonly home: Network;
  /** Where the packet is: where it came to the router, or where it was to go on. */
  readonly network: Network;
  readonly router: Router;
}

export function partiesOf(packet: PacketIn, view: ReadView): Parties | undefined {
  const sender = senderOf(view, packet);
  const network = view.by(networkTable, "key", String(packet.register("net")))[0];
  const router = view.by(routerTable, "key", String(packet.register("router")))[0];
  const home = sender === undefined ? undefined : view.get(networkTable, sender.network_id);
  return sender === undefined || home === undefined || network === undefined || router === undefined ? undefined : { sender, home, network, router };
}

type Log = Parameters<PacketInHandler>[2];

/** What the sender is told, none where the RFCs have none. `mac`: the sender's, of a packet that has the router's as its source by now. */
export function errorAbout(packet: PacketIn, why: Undelivered, { sender, home, network, router }: Parties, view: ReadView, log: Log, mac?: string): readonly StageOut[] {
  let frame: Packet;
  try {
    frame = parsePacket(packet.data);
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    log.debug({ err: error, port: sender.id }, "malformed packet at a router");
    return [];
  }
  const refused = noErrorAbout(frame);
  if (refused !== undefined) {
    log.debug({ why: refused, port: sender.id }, "packet undelivered without an answer");
    return [];
  }
  const ip = (frame.ipv4 ?? frame.ipv6)!;
  const source = parseIp(ip.src)!;
  // Behind another router there is no interface on the sender's network: then the one where the packet is.
  const own = (why === undelivered.unresolved ? interfaceOf(view, router.id, home.id, source) : undefined) ?? interfaceOf(view, router.id, network.id, source);
  if (own === undefined || isBroadcastOf(own.cidr, source)) {
    log.debug({ router: router.id, network: network.id, port: sender.id }, "router has no interface that could answer");
    return [];
  }
  // Behind another router the frame carries that router's MAC, not the sender's.
  const to = mac ?? (home.id === network.id && why !== undelivered.unresolved ? frame.eth.src : sender.mac_address);
  const data = why === undelivered.notServed && frame.tcp !== undefined ? resetOf(frame, frame.tcp, own.mac, to) : icmpError(frame, why, own, to);
  return data === undefined ? [] : [toPort(packet.chassis, home.key, sender.key, data)];
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

/** Type and code of the error; `rest`: what ICMPv6's parameter problem points at, the next header. RFC 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3 */
function errorOf(why: Undelivered, { udp, icmpv4, icmpv6, ipv6 }: Packet): { readonly type: number; readonly code: number; readonly rest?: number } | undefined {
  const four = ipv6 === undefined;
  const unreachable = (v4: number, v6: number): { readonly type: number; readonly code: number } => (four ? { type: icmpv4Types.destinationUnreachable, code: v4 } : { type: icmpv6Types.destinationUnreachable, code: v6 });
  switch (why) {
    case undelivered.expired:
      return { type: four ? icmpv4Types.timeExceeded : icmpv6Types.timeExceeded, code: 0 };
    case undelivered.noRoute:
      return unreachable(0, 0);
    case undelivered.unresolved:
      return unreachable(1, 3);
    case undelivered.beyondScope:
      return unreachable(1, 2);
    case undelivered.notServed:
      if (udp !== undefined) return unreachable(3, 4);
      // Questions of ICMP that a router does not answer are none of this.
      if (icmpv4 !== undefined || icmpv6 !== undefined) return undefined;
      return four ? { type: icmpv4Types.destinationUnreachable, code: 2 } : { type: icmpv6Types.parameterProblem, code: 1, rest: NEXT_HEADER };
  }
}
/** Offset of that field in an IPv6 header. */
const NEXT_HEADER = 6;

function icmpError(frame: Packet, why: Undelivered, from: Interface, mac: string): Buffer | undefined {
  const { eth, ipv4, ipv6 } = frame;
  const header = errorOf(why, frame);
  if (header === undefined) return undefined;
  if (ipv4 !== undefined) {
    const original = eth.payload.subarray(0, ipv4.total_length);
    const error = buildIcmpv4Error(header, original);
    const ip = buildIpv4({ src: from.address, dst: ipv4.src, protocol: ipProtocols.icmpv4, tos: ERROR_TOS }, error);
    return buildEthernet({ dst: mac, src: from.mac, ethertype: ethertypes.ipv4 }, ip);
  }
  const ends = { src: from.address, dst: ipv6!.src };
  const original = eth.payload.subarray(0, 40 + ipv6!.payload_length);
  const error = buildIcmpv6Error(header, original, ends);
  return buildEthernet({ dst: mac, src: from.mac, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.icmpv6 }, error));
}
