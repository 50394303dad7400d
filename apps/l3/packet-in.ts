// Packets whose lifetime ended at a router: the sender is told with ICMP time exceeded, as a router of metal would.
import { contains, isLoopback, isMulticast, lastIp, parseCidr, parseIp, type Ip, type PacketInHandler, type ReadView, type StageOut } from "#app";
import {
  buildEthernet, buildIcmpv4Error, buildIcmpv6Error, buildIpv4, buildIpv6, ethertypes, icmpv4Types, icmpv6Types, ipProtocols, PacketError, parsePacket,
  type Packet,
} from "packet-codec";
import { networkTable, portTable, toPort } from "../l2/model.ts";
import { legTable, routerTable } from "./model.ts";

/** Internetwork control, what errors should travel with. RFC 1812 section 4.3.2.5 */
const ERROR_TOS = 0xc0;
/** Destination unreachable, source quench, redirect, time exceeded, parameter problem. */
const icmpv4Errors: ReadonlySet<number> = new Set([icmpv4Types.destinationUnreachable, 4, 5, icmpv4Types.timeExceeded, 12]);
/** Every ICMPv6 type below is an error. */
const ICMPV6_INFORMATIONAL = 128;
const ICMPV6_REDIRECT = 137;

interface Interface {
  readonly mac: string;
  readonly address: string;
}

export const l3Punt = ((packet, view: ReadView, log): readonly StageOut[] => {
  const key = packet.register("in_port_key");
  const sender = key === 0 ? undefined : view.by(portTable, "key", String(key))[0];
  const network = view.by(networkTable, "key", String(packet.register("net")))[0];
  const router = view.by(routerTable, "key", String(packet.register("router")))[0];
  const home = sender === undefined ? undefined : view.get(networkTable, sender.network_id);
  if (sender === undefined || home === undefined || network === undefined || router === undefined) {
    log.debug({ key }, "packet of a port, network or router that is gone");
    return [];
  }
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
    log.debug({ why: refused, port: sender.id }, "packet expired without an answer");
    return [];
  }
  const ip = (frame.ipv4 ?? frame.ipv6)!;
  const source = parseIp(ip.src)!;
  const own = interfaceOf(view, router.id, network.id, source);
  if (own === undefined || isBroadcastOf(own.cidr, source)) {
    log.debug({ router: router.id, network: network.id, port: sender.id }, "router has no interface that could answer");
    return [];
  }
  // Behind another router the frame carries that router's MAC, not the sender's.
  const to = home.id === network.id ? frame.eth.src : sender.mac_address;
  return [toPort(packet.chassis, home.key, sender.key, timeExceeded(frame, own, to))];
}) satisfies PacketInHandler;

/** Why there must be no error about this packet, if so. RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e) */
function noErrorAbout({ eth, ipv4, ipv6, icmpv4, icmpv6 }: Packet): string | undefined {
  const ip = ipv4 ?? ipv6;
  if (ip === undefined) return "not IP";
  if (icmpv4 !== undefined && icmpv4Errors.has(icmpv4.type)) return "is an ICMP error";
  if (icmpv6 !== undefined && (icmpv6.type < ICMPV6_INFORMATIONAL || icmpv6.type === ICMPV6_REDIRECT)) return "is an ICMP error";
  if (ip.fragmentOffset > 0) return "is a later fragment";
  if ((parseInt(eth.dst.slice(0, 2), 16) & 1) !== 0 || notOneHost(parseIp(ip.dst)!)) return "goes to many";
  if (notOneHost(parseIp(ip.src)!)) return "comes from no single host";
  return undefined;
}

/** Unspecified, loopback, multicast, and IPv4's 0/8, 240/4 and limited broadcast. */
const notOneHost = (ip: Ip): boolean =>
  isMulticast(ip) || isLoopback(ip) || ip.value === 0n || (ip.family === 4 && (ip.value >> 24n === 0n || ip.value >> 28n === 0xfn));

/** The router's address on the network: the one whose subnet has the sender, else the first. */
function interfaceOf(view: ReadView, routerId: string, networkId: string, source: Ip): (Interface & { readonly cidr: string }) | undefined {
  const legs = view.by(legTable, "router", routerId).filter((leg) => leg.network_id === networkId).sort((a, b) => (a.id < b.id ? -1 : 1));
  const candidates = legs.flatMap(({ mac, addresses }) => addresses.filter((a) => parseIp(a.ip)?.family === source.family).map(({ ip, cidr }) => ({ mac, address: ip, cidr })));
  return candidates.find(({ cidr }) => contains(parseCidr(cidr)!, source)) ?? candidates[0];
}

/** The subnet's own broadcast or network address. */
function isBroadcastOf(subnet: string, ip: Ip): boolean {
  const cidr = parseCidr(subnet);
  return ip.family === 4 && cidr?.family === 4 && cidr.prefix < 31 && (ip.value === lastIp(cidr) || ip.value === cidr.network);
}

function timeExceeded({ eth, ipv4, ipv6 }: Packet, from: Interface, mac: string): Buffer {
  if (ipv4 !== undefined) {
    const original = eth.payload.subarray(0, ipv4.total_length);
    const error = buildIcmpv4Error({ type: icmpv4Types.timeExceeded, code: 0 }, original);
    const ip = buildIpv4({ src: from.address, dst: ipv4.src, protocol: ipProtocols.icmpv4, tos: ERROR_TOS }, error);
    return buildEthernet({ dst: mac, src: from.mac, ethertype: ethertypes.ipv4 }, ip);
  }
  const ends = { src: from.address, dst: ipv6!.src };
  const original = eth.payload.subarray(0, 40 + ipv6!.payload_length);
  const error = buildIcmpv6Error({ type: icmpv6Types.timeExceeded, code: 0 }, original, ends);
  return buildEthernet({ dst: mac, src: from.mac, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.icmpv6 }, error));
}
