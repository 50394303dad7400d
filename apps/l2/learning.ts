// MACs and addresses that the model does not place. MACs: of ports without port security anything may be behind, and of a MAC that several ports may send from
// only what they send says who has it. Switches learn them where such ports are, in the networks that have any: on the sender's host from
// what its ports send, elsewhere from what comes by tunnels. A hard time-out ends them, not disuse: what is sent to a MAC must not keep it
// where it was. What no switch has heard of goes to every port that may have it, and to nobody else.
// Addresses: what ports say of them in ARP and neighbour discovery goes to the controller as well, which tells the switches that route there.
import {
  baseScope, callTable, chassisScope, chassisTable, derivation, each, ethType, isIpv6, load, next, toStage, toTable, type Emit, type FlowAction, type PortContext, type PortPlace, type ReadView, type Scope,
} from "#app";
import {
  addressId, addressTable, announcementMeter, extraMacs, GROUP_MAC, inPrefix, isAnothers, isNetworkPort, l2Settings, lanScope, learningTable, NEIGHBOUR_S, netScope, isUnspecified, macOfLinkLocal, macOfPair, networkTable, portTable, singleAddress,
  type AddressPair, type Attachment, type Learning, type Network, type Port,
} from "./model.ts";
import { advertisement, arp, fromLink } from "./model/messages.ts";
import { l2 } from "./tables.ts";

/** Seconds after a MAC was last heard until it is forgotten. */
const HEARD_S = 60;

/** Packets a second that a port may send to the controller, and such of what it announces. */
export const PUNT_METER = { unit: "pps", rate: 50, burst: 100 } as const;

type L2 = Emit<typeof l2>;

export const derive = [
  derivation({
    name: "mac-learning",
    on: each(networkTable),
    into: learningTable,
    reads: [portTable],
    derive({ id }, view): Learning | undefined {
      const macs = view.count(portTable, "network_guests", id) > 0;
      if (!macs && view.count(portTable, "network_pairs", id) === 0) return undefined;
      const settings = view.settings(l2Settings);
      return { id, macs, limits: { macs: settings["learned-macs"], neighbours: settings["learned-neighbours"] } };
    },
  }),
];

const holders = (view: ReadView, port: Port, mac: string): number => view.count(portTable, "pair_mac", `${port.network_id}|${mac}`);

/** MACs that are this port's and no other's: its own, and those of pairs that it alone has. */
export function placedMacs(view: ReadView, port: Port): string[] {
  return [port.mac_address, ...extraMacs(port).filter((mac) => holders(view, port, mac) === 1 && !isAnothers(view, port, mac))];
}
/** MACs that others may send from as well. */
const sharedMacs = (view: ReadView, port: Port): string[] => extraMacs(port).filter((mac) => holders(view, port, mac) > 1 && !isAnothers(view, port, mac));

/** Whether anything may be behind the port. */
export const isOpen = (port: Port): boolean => !port.port_security_enabled && !isNetworkPort(port);

export const portContext: readonly PortContext[] = [
  {
    ingress(view: ReadView, { port_id: id }: PortPlace): boolean {
      const port = view.get(portTable, id);
      return port !== undefined && (isOpen(port) || sharedMacs(view, port).length > 0);
    },
  },
];

/** The sender's MAC is where this says. Whoever speaks last has it. */
const heardAt = ({ port, host }: { readonly port: number; readonly host: number }): FlowAction<"mac_learned", "net" | "out_port_key" | "out_host"> => ({
  type: "learn", table: "mac_learned", priority: 100, hardTimeoutS: HEARD_S,
  match: { "reg:net": { from: "reg:net" }, eth_dst: { from: "eth_src" } },
  load: [{ to: "reg:out_port_key", from: port }, { to: "reg:out_host", from: host }],
});

/**
 * What the controller says of a neighbour: its MAC is the packet's source, and where that is, for MACs that nobody was heard to have here. It
 * is for what a router sends from here: what came by a tunnel goes to the ports here that may have it, and not back or on to a third host.
 */
const told: readonly FlowAction<"mac_learned" | "neighbour_learned", "net" | "nexthop" | "question" | "from_tunnel" | "out_port_key" | "out_host">[] = [
  {
    type: "learn", table: "neighbour_learned", priority: 100, hardTimeoutS: NEIGHBOUR_S,
    match: { "reg:net": { from: "reg:net" }, "reg:nexthop": { from: "reg:nexthop" }, "reg:question": 0 }, load: [{ to: "eth_dst", from: "eth_src" }],
  },
  {
    type: "learn", table: "mac_learned", priority: 50, hardTimeoutS: NEIGHBOUR_S,
    match: { "reg:net": { from: "reg:net" }, "reg:from_tunnel": 0, eth_dst: { from: "eth_src" } }, load: [{ to: "reg:out_port_key", from: "reg:out_port_key" }, { to: "reg:out_host", from: "reg:out_host" }],
  },
];

/** A copy for the controller of what tells who has an address, for each port at a rate of its own: beyond it copies are lost, never the packet. */
export const ANNOUNCE = callTable("announced");
/** Bytes of an announcement that the controller needs: longer ones go nowhere. */
const ANNOUNCEMENT_MAX = 128;

/** Lets the controller hear what a port at a place announces. */
export function hear(at: Attachment, out: L2): void {
  const scope = chassisScope(at.chassis);
  const meter = announcementMeter(at.slot);
  out.item(scope, "meter", meter, PUNT_METER);
  out.flow(scope, "announced", { priority: 100, match: { "reg:in_port_key": at.port_key }, actions: [{ type: "punt", maxLen: ANNOUNCEMENT_MAX, meter }] });
}

/** Whether the controller hears what a port says of a pair's address: not at a MAC of another's, where nobody finds the port. */
export const isHeard = (view: ReadView, port: Port, pair: AddressPair): boolean => !isPlaced(view, port, pair) && !isAnothers(view, port, pair.mac_address);

/**
 * Whether the model says where a pair's address is: this port alone may have it, at one MAC that is its own or nobody's. Else only what the holders say tells which
 * of them has it, and at which MAC: an address may be a port's twice, at its own and at a virtual one.
 */
export function isPlaced(view: ReadView, port: Port, pair: AddressPair): boolean {
  const ip = singleAddress(pair.ip_address);
  const mac = macOfPair(port, pair);
  if (ip === undefined || isUnspecified(ip) || isAnothers(view, port, mac) || isOfOtherMac(view, port, ip, mac)) return false;
  if (view.count(portTable, "pair_ip", `${port.network_id}|${ip}`) > 1 || view.get(addressTable, addressId(port.network_id, ip)) !== undefined) return false;
  if (port.allowed_address_pairs.some((other) => singleAddress(other.ip_address) === ip && macOfPair(port, other) !== mac)) return false;
  return !inPrefix(view, port.network_id, ip, port.id);
}
/** Whether an address is the link-local one that goes with another MAC of the network, a port's own or of a pair. */
function isOfOtherMac(view: ReadView, port: Port, ip: string, mac: string): boolean {
  const made = macOfLinkLocal(ip);
  return made !== "" && made !== mac && (made === port.mac_address || isAnothers(view, port, made) || holders(view, port, made) > 0);
}

const ADVERTISED = { ...advertisement, ...fromLink } as const;

/** A port without port security announces an address of its own that others may take: it has it again. */
export function hearOwn(at: Attachment, port: Port, ip: string, out: L2): void {
  if (!isOpen(port)) return;
  const own = { "reg:in_port_key": at.port_key, eth_src: port.mac_address } as const;
  out.flow(chassisScope(at.chassis), "mac_source", { priority: 160, match: { ...own, ...(isIpv6(ip) ? { ...ADVERTISED, ipv6_nd_target: ip } : { ...arp, arp_spa: ip, arp_tpa: ip }) }, actions: [ANNOUNCE, next] });
}

/** What is learned of a port at its place. */
export function learnFromPort(at: Attachment, port: Port, view: ReadView, scope: Scope, out: L2): void {
  const sender = { "reg:in_port_key": at.port_key } as const;
  const heard = [heardAt({ port: at.port_key, host: at.host_key }), next] as const;
  if (isOpen(port)) {
    const own = { ...sender, eth_src: port.mac_address } as const;
    // What it says of its own addresses is known.
    for (const { ip } of view.by(addressTable, "port", port.id)) {
      out.flow(scope, "mac_source", { priority: 150, match: { ...own, ...(isIpv6(ip) ? { ...ADVERTISED, ipv6_nd_target: ip } : { ...arp, arp_spa: ip }) }, actions: [next] });
    }
    for (const said of [arp, ADVERTISED]) {
      out.flow(scope, "mac_source", { priority: 140, match: { ...own, ...said }, actions: [ANNOUNCE, next] });
      out.flow(scope, "mac_source", { priority: 130, match: { ...sender, ...said }, actions: [ANNOUNCE, ...heard] });
    }
    out.flow(scope, "mac_source", { priority: 110, match: own, actions: [next] });
    out.flow(scope, "mac_source", { priority: 100, match: sender, actions: heard });
  } else {
    for (const mac of sharedMacs(view, port)) out.flow(scope, "mac_source", { priority: 100, match: { ...sender, eth_src: mac }, actions: heard });
    if (!port.allowed_address_pairs.some((pair) => isHeard(view, port, pair))) return;
  }
  hear(at, out);
}

/** In a network where MACs are learned: what is known is not, and unknown destinations are looked up. Where addresses are: what the controller tells is. */
export function learnInNetwork(network: Network, view: ReadView, out: L2): void {
  const learning = view.get(learningTable, network.id);
  if (learning === undefined) return;
  const net = { "reg:net": network.key } as const;
  // By way of conntrack, which forgets it: what a packet-out itself learns, a switch does not look again at cached flows for.
  out.flow(netScope(network.id), "neighbour", { priority: 200, match: { ...net, "reg:from_network": 1, eth_type: ethType.ip }, actions: [{ type: "ct", zone: "ct_zone", then: { table: "neighbour_told" } }] });
  // It tells nothing in fragments: those are what conntrack held of others.
  out.flow(netScope(network.id), "neighbour_told", { priority: 100, match: { ...net, eth_type: ethType.ip, ip_frag: { value: 0, mask: 1 } }, actions: told });
  // Of all that teach it together: each of them alone has a limit of its own (tables.ts), and who comes last would find it full.
  const bounded = (flow_limit: number) => ({ flow_limit, overflow_policy: "evict", groups: ["reg:net"] });
  out.row(netScope(network.id), "Flow_Table", "neighbour_learned", bounded(learning.limits.neighbours));
  out.row(netScope(network.id), "Flow_Table", "mac_learned", bounded(learning.limits.macs));
  if (!learning.macs) return;
  // Whoever routes into the network may be told of MACs in it that are no port's own.
  out.flow(netScope(network.id), "mac_unknown", { priority: 100, match: net, actions: [load("out_port_key", 0), load("out_host", 0), callTable("mac_learned"), toTable("mac_verdict")] });
  out.flow(lanScope(network.id), "l2_lookup", { priority: 200, match: { ...net, "reg:from_tunnel": 1, "reg:mac_heard": 0 }, actions: [load("mac_heard", 1), toTable("mac_source")] });
}
export function placed(at: Attachment, macs: readonly string[], view: ReadView, out: L2): void {
  if (view.get(learningTable, at.network_id)?.macs !== true) return;
  for (const eth_src of macs) out.flow(lanScope(at.network_id), "mac_source", { priority: 200, match: { "reg:net": at.net_key, "reg:from_tunnel": 1, eth_src }, actions: [toTable("l2_lookup")] });
}

interface FromChassis {
  readonly match: { readonly "reg:net": number; readonly "reg:from_tunnel": 1; readonly tun_ipv4_src?: string; readonly tun_ipv6_src?: string };
  readonly actions: readonly [ReturnType<typeof heardAt>, ReturnType<typeof toTable<"l2_lookup">>];
}
/** Frames of a network that come from a chassis by a tunnel, where MACs are learned. */
function fromChassis(network: { readonly id: string; readonly key: number }, chassis: string, view: ReadView): FromChassis | undefined {
  const row = view.get(chassisTable, chassis);
  if (row === undefined || row.encap_ip === "" || view.get(learningTable, network.id)?.macs !== true) return undefined;
  const from = isIpv6(row.encap_ip) ? { tun_ipv6_src: row.encap_ip } : { tun_ipv4_src: row.encap_ip };
  return { match: { "reg:net": network.key, "reg:from_tunnel": 1, ...from }, actions: [heardAt({ port: 0, host: row.key }), toTable("l2_lookup")] };
}
export function learnFromChassis(network: { readonly id: string; readonly key: number }, chassis: string, view: ReadView, out: L2): void {
  const heard = fromChassis(network, chassis, view);
  if (heard !== undefined) out.flow(lanScope(network.id), "mac_source", { priority: 100, ...heard });
}
/**
 * MACs that the model names and several ports may have: learned apart from those that nobody named, by a rule of their own and so under a limit of their own. Somebody there who
 * sends from more MACs than are learned of a chassis would else keep a virtual MAC where it was before it came there.
 */
export function learnSharedFromChassis(network: { readonly id: string; readonly key: number }, chassis: string, members: readonly Attachment[], view: ReadView, out: L2): void {
  const heard = fromChassis(network, chassis, view);
  if (heard === undefined) return;
  const ports = members.flatMap((at) => view.get(portTable, at.port_id) ?? []);
  const macs = new Set(ports.flatMap((port) => sharedMacs(view, port)));
  for (const eth_src of macs) out.flow(lanScope(network.id), "mac_source", { priority: 150, ...heard, match: { ...heard.match, eth_src } });
}

/** Of ports at one chassis those that hear frames to MACs that nobody was heard to have: those that may have any, or one that others may have too. */
export const listeners = (members: readonly Attachment[], view: ReadView): Attachment[] =>
  members.filter((at) => {
    const port = view.get(portTable, at.port_id);
    return port !== undefined && (isOpen(port) || sharedMacs(view, port).length > 0);
  });

export const staticFlows = l2.static((out) => {
  const tunnel = { "reg:from_tunnel": 1 } as const;
  out.flow(baseScope, "mac_source", { priority: 310, match: { ...tunnel, eth_src: GROUP_MAC }, actions: [toTable("l2_lookup")] });
  out.flow(baseScope, "mac_source", { priority: 300, match: { eth_src: GROUP_MAC }, actions: [next] });
  out.flow(baseScope, "mac_source", { priority: 10, match: tunnel, actions: [toTable("l2_lookup")] });
  // What came by a tunnel leaves by none: two hosts that believe each other to have a MAC would send a frame to and fro.
  out.flow(baseScope, "mac_verdict", { priority: 120, match: { ...tunnel, "reg:out_port_key": 0 }, actions: [toTable("flood_unknown")] });
  out.flow(baseScope, "mac_verdict", { priority: 110, match: { "reg:from_tunnel": 0, "reg:out_host": 0 }, actions: [callTable("flood_remote"), toTable("flood_unknown")] });
  out.flow(baseScope, "mac_verdict", { priority: 100, match: {}, actions: [toStage("locate")] });
});
