// Which MAC an address has, who answers for it, and how an answer gets to who asked.
import { chassisScope, copy, isIpv6, load, next, setField, toStage, ethType, ipProto, toTable, VLAN_NONE, type FlowAction, type Outputs, type SharedRegister, type StageOut, type Scope } from "#app";
import { linkLocal } from "packet-codec";
import { GROUP_MAC, isLinkLocal } from "./ports.ts";
import { lanScope, netScope, hostScope } from "./places.ts";
import { arp as anyArp, icmpv6, ND, solicitation } from "./messages.ts";
import { l2 } from "../tables.ts";

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
  // A port may have that address by itself as well: both say the same of it.
  const link = isIpv6(ip) ? linkLocal(mac) : undefined;
  say(ip, ip === link ? ofLink : said);
  if (link !== undefined && !isLinkLocal(ip)) say(link, ofLink);
}

/** What is answered for an address, at least one of both. */
export interface Answers {
  /** Questions for its MAC: ARP, or neighbour discovery by its family. "here": those of ports on the same host alone. */
  readonly arp?: boolean | "here";
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
  const asked = questionFor(ip);
  if (arp !== false) into.flow(scope, "arp_nd", { priority: 105, match: { ...net, ...asked }, actions: known });
  if (arp === true) {
    const fromAfar = { ...net, "reg:in_port_key": 0, ...asked } as const;
    into.flow(scope, "l2_lookup", { priority: 120, match: fromAfar, actions: known });
    // Whoever asks for an address of its own before it uses it is not answered, but heard by those that may have it.
    if (isIpv6(ip)) into.flow(scope, "l2_lookup", { priority: 121, match: { ...fromAfar, ipv6_src: "::" }, actions: [toTable("flood_local")] });
  }
  if (!ping) return;
  for (const { echo, reply } of [{ echo: echoRequest(ip), reply: echoReply(ip) }, { echo: laterEcho(ip), reply: turnedBack(ip) }] as const) {
    const match = { ...net, vlan_vid: VLAN_NONE, eth_dst: mac, ...echo } as const;
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
/** Of actions that an app says for l2: no table of l2's, and registers that all share. */
type Handling = readonly FlowAction<never, SharedRegister>[];
/**
 * What a port sends to a port number of an address is done with as an app says, whichever MAC it is sent to, before anybody asks who it says it is: the answer has to go to
 * that port. No more than `meter`, by default that for what it sends up.
 */
export function takeFromPort(
  out: Outputs, { chassis, port_key, slot }: { readonly chassis: string; readonly port_key: number; readonly slot: number }, ip: string, service: { readonly udp: number } | { readonly tcp: number }, actions: Handling, meter = slot,
): void {
  const to = isIpv6(ip) ? ({ eth_type: ethType.ipv6, ipv6_dst: ip } as const) : ({ eth_type: ethType.ip, ipv4_dst: ip } as const);
  const by = "udp" in service ? ({ ip_proto: ipProto.udp, udp_dst: service.udp } as const) : ({ ip_proto: ipProto.tcp, tcp_dst: service.tcp } as const);
  l2.through(out).flow(chassisScope(chassis), "port_security", { priority: 160, match: { "reg:in_port_key": port_key, vlan_vid: VLAN_NONE, ...by, ...to }, actions, meter });
}
/**
 * On the switches of `scope`, what comes in a network for a MAC that no port has is done with as its app says. `from`: what no port here sent, or of
 * that what came from another host. `rank`: of several flows the higher one.
 */
export function handleMac(
  out: Outputs, scope: Scope, network: { readonly key: number }, mac: string, actions: Handling, { rank = 0, from = "anybody" }: { readonly rank?: 0 | 1 | 2; readonly from?: "anybody" | "no port" | "afar" } = {},
): void {
  const sender = from === "anybody" ? {} : from === "afar" ? ({ "reg:in_port_key": 0, "reg:from_tunnel": 1 } as const) : ({ "reg:in_port_key": 0 } as const);
  l2.through(out).flow(scope, "l2_lookup", { priority: 115 + rank, match: { "reg:net": network.key, vlan_vid: VLAN_NONE, eth_dst: mac, ...sender }, actions });
}
/** Likewise what is asked from afar (a tunnel, a physical network) for an address that no port has; questions of local ports are answered by whoever knows it. */
export function handleQuestions(out: Outputs, scope: Scope, network: { readonly key: number }, ip: string, actions: Handling): void {
  l2.through(out).flow(scope, "l2_lookup", { priority: 125, match: { "reg:net": network.key, "reg:in_port_key": 0, "reg:from_network": 0, ...questionFor(ip) }, actions });
}
/** And what somebody out there asks of all routers, whom it does not know yet: a copy. Ports hear it as before. */
export function hearSolicitations(out: Outputs, scope: Scope, network: { readonly key: number }, actions: Handling): void {
  l2.through(out).flow(scope, "l2_lookup", {
    priority: 125, match: { "reg:net": network.key, "reg:in_port_key": 0, "reg:from_network": 0, vlan_vid: VLAN_NONE, ...icmpv6, icmpv6_type: ND.routerSolicitation, ipv6_dst: "ff02::2" },
    actions: [{ type: "clone", actions }, toTable("flood_local")],
  });
}
/** RFC 4291 section 2.7 */
const GROUPS_6 = "ff00::/8";
/** IP multicast of a network, whoever sent it, is done with as an app says, where it would go to all. What has a tag of a guest does. */
export function handleMulticast(out: Outputs, scope: Scope, network: { readonly key: number }, actions: Handling): void {
  for (const to of [{ eth_type: ethType.ip, ipv4_dst: "224.0.0.0/4" }, { eth_type: ethType.ipv6, ipv6_dst: GROUPS_6 }] as const) {
    l2.through(out).flow(scope, "l2_lookup", { priority: 55, match: { "reg:net": network.key, vlan_vid: VLAN_NONE, eth_dst: GROUP_MAC, ...to }, actions });
  }
}
/**
 * What a port with port security says of multicast groups of IPv6, from the link-local address of a MAC of its own and to a group, goes into its network. Policy has no say in it, as it has none
 * in neighbour discovery: conntrack makes no sense of it. By types of ICMPv6, each with the length of its longest frame: what is longer carries something else.
 */
export function admitListener(out: Outputs, { chassis, port_key }: { readonly chassis: string; readonly port_key: number }, mac: string, types: readonly { readonly icmpv6_type: number; readonly bytes: number }[]): void {
  const scope = chassisScope(chassis);
  for (const { icmpv6_type, bytes } of types) {
    l2.through(out).flow(scope, "port_security", {
      priority: 155, match: { "reg:in_port_key": port_key, vlan_vid: VLAN_NONE, ...icmpv6, eth_src: mac, eth_dst: GROUP_MAC, ipv6_src: linkLocal(mac), ipv6_dst: GROUPS_6, icmpv6_type },
      actions: [{ type: "check_longer", bytes, to: "reg:too_long" }, toTable("nd_source")],
    });
    l2.through(out).flow(scope, "nd_source", { priority: 120, match: { ...icmpv6, ipv6_dst: GROUPS_6, icmpv6_type }, actions: [toStage("forward")] });
  }
}
/** A question for the MAC of an address: ARP, or neighbour discovery by its family. What has a tag of a guest is none of the network's. */
const questionFor = (ip: string) =>
  isIpv6(ip)
    ? ({ ...solicitation, vlan_vid: VLAN_NONE, ipv6_nd_target: ip } as const)
    : ({ ...anyArp, vlan_vid: VLAN_NONE, arp_op: 1, arp_tpa: ip } as const);
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
/** How an answer goes to who asked from afar: by its MAC, as any frame of here, out of the port it came in by as well, also where nobody knows that MAC. */
export const onAsAnyFrame = [load("from_tunnel", 0), setField("in_port", 0), toStage("forward")] as const;
/** As `backToSender` for a packet that the controller made: to the port of this key in the network of that key, where it is at that chassis. */
export const toPort = (chassis: string, net: number, port: number, data: Uint8Array): StageOut => ({
  chassis, stage: "locate", registers: { net, out_port_key: port, from_network: 1 }, data,
});

/** Likewise to every port that the network of that key has at that chassis, as a broadcast that came by a tunnel: it goes on to no other chassis. */
export const toAllPorts = (chassis: string, net: number, data: Uint8Array): StageOut => ({
  chassis, stage: "forward", registers: { net, from_tunnel: 1, from_network: 1 }, data,
});

/** Likewise out to the physical network that the network is on, and to nobody else: as what a router routes, with a MAC of the host. */
export const toMachines = (chassis: string, net: number, router: number, data: Uint8Array): StageOut => ({ chassis, stage: "locate", registers: { net, router }, data });

const neighbours = l2.shapes("neighbour", {
  known: (n: { net: number; address: string; mac: string }) => ({
    priority: 100, match: { "reg:net": n.net, "reg:nexthop": n.address }, actions: [{ type: "set_field", field: "eth_dst", value: n.mac } as const],
  }),
  said: (n: { net: number; address: string; mac: string; said: number }) => ({
    priority: 100, match: { "reg:net": n.net, "reg:nexthop": n.address }, actions: [{ type: "set_field", field: "eth_dst", value: n.mac } as const, load("said", n.said)],
  }),
});
