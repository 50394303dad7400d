// From chosen segments to what others need to know of them, and to flows: patches to physical networks, ways in and out. A network leaves a
// host one way only. On a network with several segments hosts are on the first of its physical ones that they have; between two on the same
// one it is that, else a tunnel. What goes to all is handed on between a physical segment and the tunnels by one host, the first by key if no app says which.
// Those that are on none may be very many: they have one list, in parts, and what a host's coming changes at others is the same for all of a segment.
import {
  chassisScope, chassisTable, claim, claimTable, core, derivation, each, eachPair, ethType, ipProto, load, numberOf, setField, toEntrance, toStage, toTable, VLAN_NONE, VLAN_PRESENT, type Claim, type Emit, type FlowAction, type Outputs, type ReadView, type SharedRegister,
} from "#app";
import {
  attachmentTable, chosenSegments, chosenSegmentTable, floodPart, floodTo, handOn, hostScope, isPhysical, netScope, networkHostTable, networkTable, portTable, segmentFault, segmentTable, sendUnknown, spreadOf, handOnHostTable, TAGGED, VLAN_TPIDS, type ChosenSegment, type HostsInParts, type Network, type Segment, hostMac,
} from "../l2/model.ts";
import { alsoByTunnel, encapOf, endHere, leaveBy, vniOf } from "../overlay/model.ts";
import { inlandListTable, inlandScope, patchPool, physicalScope, sideId, sideTable, vlanPool, wireScope, wireTable, wireTunnelScope, type InlandList, type Side, type Wire } from "./model.ts";
import { provider } from "./tables.ts";

/** As a host: out of this one to the physical network. */
const WIRE = 0;

/** A host of a network, by a port there or by what another app has there. */
function wireOf({ a: networkId, b: chassisId }: { readonly a: string; readonly b: string }, view: ReadView): Wire | undefined {
  const segments = chosenSegments(view, networkId);
  if (!segments.some(isPhysical)) return undefined;
  const network = view.get(networkTable, networkId);
  const chassis = view.get(chassisTable, chassisId);
  if (network === undefined || chassis === undefined) return undefined;
  const here = segments.filter((s) => segmentFault(s, chassis) === undefined);
  return {
    id: `${networkId}@${chassisId}`, network_id: networkId, net_key: network.key, chassis: chassisId, host_key: chassis.key,
    segment: here.find(isPhysical)?.index ?? -1, tunnel: here.some((s) => !isPhysical(s)),
  };
}

export const derive = [
  derivation({
    name: "segment",
    on: each(chosenSegmentTable),
    into: segmentTable,
    reads: [networkTable],
    derive({ id, network_id, type, physical_network, segmentation_id, outer_tag }, view): Segment | undefined {
      if (type === "local" || view.get(networkTable, network_id) === undefined) return undefined;
      return { id: `provider/${id}`, network_id, type, physical_network, segmentation_id, ...(outer_tag !== undefined && { outer_tag }) };
    },
  }),
  derivation({
    name: "segment-numbers",
    on: each(chosenSegmentTable),
    into: claimTable,
    reads: [],
    derive({ id, network_id, type, physical_network: physnet, segmentation_id: n }): Claim[] {
      if (physnet === null) return [];
      const patch = claim(`provider/patch/${id}`, patchPool, "", physnet);
      return type === "vlan" ? [patch, claim(`provider/vlan/${id}`, vlanPool, physnet, network_id, { n: n! })] : [patch];
    },
  }),
  derivation({
    name: "wire-host",
    on: eachPair(attachmentTable, "network_chassis"),
    into: wireTable,
    reads: [chosenSegmentTable, networkTable, chassisTable],
    derive: wireOf,
  }),
  derivation({
    name: "wire-host-without-port",
    on: eachPair(networkHostTable, "network_chassis"),
    into: wireTable,
    reads: [attachmentTable, chosenSegmentTable, networkTable, chassisTable],
    derive: (pair, view) => (view.byPair(attachmentTable, "network_chassis", pair.a, pair.b).length > 0 ? undefined : wireOf(pair, view)),
  }),
  derivation({
    name: "wire-side",
    on: eachPair(wireTable, "sides"),
    into: sideTable,
    reads: [wireTable, chosenSegmentTable, handOnHostTable],
    derive({ a: network, b }, view): Side | undefined {
      const segment = Number(b);
      if (segment === NONE || !hasSeveral(view, network)) return undefined;
      // Those that shall hand on before others, then the first by key.
      const later = ({ chassis }: Wire): number => (view.byPair(handOnHostTable, "network_chassis", network, chassis).length > 0 ? 0 : 1);
      const [first] = view.byPair(wireTable, "sides", network, b).filter((w) => w.tunnel).toSorted((x, y) => later(x) - later(y) || x.host_key - y.host_key);
      return first === undefined ? undefined : { id: sideId(network, segment), chassis: first.chassis, host_key: first.host_key };
    },
  }),
  derivation({
    name: "wire-inland",
    on: eachPair(wireTable, "sides"),
    into: inlandListTable,
    reads: [wireTable, chosenSegmentTable],
    derive({ a: network, b }, view): InlandList | undefined {
      if (Number(b) !== NONE || !hasSeveral(view, network)) return undefined;
      const hosts = view.byPair(wireTable, "sides", network, b);
      return hosts[0] === undefined ? undefined : { id: network, net_key: hosts[0].net_key, spread: spreadOf(hosts.length) };
    },
  }),
];

/** As a segment: none that is physical. */
const NONE = -1;
const hasSeveral = (view: ReadView, networkId: string): boolean => chosenSegments(view, networkId).length > 1;

const patch = provider.rule({
  name: "patch",
  about: "patches between the integration bridge and the bridges of physical networks that some network is on, and what no host lets in there",
  on: each(chassisTable),
  emit(chassis, view, out) {
    let patched = false;
    for (const [physnet, bridge] of Object.entries(chassis.bridge_mappings)) {
      const number = numberOf(view, patchPool, "", physnet);
      if (number === undefined || bridge === chassis.bridge) continue;
      patched = true;
      const [near, far] = [`axion-phys-${number}`, `axion-int-${number}`];
      out.row(chassisScope(chassis.id), "Port", near, { interface: { type: "patch", options: { peer: far }, ofport_request: number } });
      out.row(chassisScope(chassis.id), "Port", far, { interface: { type: "patch", options: { peer: near } }, bridge });
    }
    if (!patched) return;
    out.include(chassisScope(chassis.id), physicalScope());
    out.flow(chassisScope(chassis.id), "routed_out", { priority: 100, match: {}, actions: [setField("eth_src", hostMac(chassis.key)), toTable("physical_out")] });
    const into = (priority: number, match: Parameters<typeof out.flow<"physical_in", object>>[2]["match"], actions: readonly FlowAction<never, SharedRegister>[]): void => out.flow(physicalScope(), "physical_in", { priority, match, actions });
    into(1, {}, [toStage("forward")]);
    // What is behind the network's own tag is nobody's: of one more tag a switch shows the VLAN or the type, by its limit of tags.
    into(300, { vlan_vid: TAGGED }, []);
    for (const eth_type of VLAN_TPIDS) into(320, { eth_type }, []);
    // Answers of DHCP servers out there: nobody asked them by an address that connections could be known by.
    const served = [load("from_network", 1), toStage("forward")] as const;
    into(100, { eth_type: ethType.ip, ip_proto: ipProto.udp, udp_src: 67, udp_dst: 68 }, served);
    into(100, { eth_type: ethType.ipv6, ip_proto: ipProto.udp, udp_src: 547, udp_dst: 546 }, served);
  },
});

/** Out of a host as the segment wants it. Other copies go elsewhere without its tag. */
const outBy = ({ type, segmentation_id: vlan, outer_tag = 0x8100 }: ChosenSegment, port: number): readonly FlowAction<never, SharedRegister>[] =>
  type === "flat"
    ? [{ type: "output", port }]
    : [{ type: "clone", actions: [{ type: "push_vlan", ethertype: outer_tag }, setField("vlan_vid", VLAN_PRESENT | vlan!), { type: "output", port }] }];

const segmentOut = provider.rule({
  name: "physical-segment",
  about: "what leaves for other hosts, or for nobody known, of a network on a physical one",
  on: each(chosenSegmentTable),
  emit(segment, view, out) {
    const network = view.get(networkTable, segment.network_id);
    const port = segment.physical_network === null ? undefined : numberOf(view, patchPool, "", segment.physical_network);
    if (network === undefined || port === undefined) return;
    const wire = wireScope(network.id, segment.index);
    const single = chosenSegments(view, network.id).length === 1;
    // Hosts that route into a network of one segment leave by it too.
    const scope = single ? netScope(network.id) : wire;
    const actions = outBy(segment, port);
    leaveBy(out, scope, network, actions, [{ type: "clone", actions: [toEntrance(provider.entrance("routed_out"))] }]);
    out.flow(scope, "physical_out", { priority: 100, match: { "reg:net": network.key }, actions });
    if (!single) return;
    floodTo(out, wire, network, [WIRE]);
    sendUnknown(out, scope, network, [WIRE]);
  },
});

const wires = provider.rule({
  name: "wire",
  about: "a host of a network with physical segments: what comes in there, and to whom it sends by tunnel all the same",
  on: each(wireTable),
  emit(wire, view, out) {
    const network = view.get(networkTable, wire.network_id);
    const segments = chosenSegments(view, wire.network_id);
    if (network === undefined) return;
    const hands = segments.length > 1 && view.get(sideTable, sideId(network.id, wire.segment))?.chassis === wire.chassis;
    enter(wire, segments.find((s) => s.index === wire.segment), hands, view, out);
    if (segments.length > 1) join(network, wire, segments, hands, view, out);
  },
});

const inland = provider.rule({
  name: "inland",
  about: "what hosts that are on no physical segment of a network send to all, or to nobody known",
  on: each(inlandListTable),
  emit({ id }, view, out) {
    const network = view.get(networkTable, id);
    if (network === undefined) return;
    const scope = wireScope(id, NONE);
    const sides = handingOn(id, chosenSegments(view, id), NONE, view);
    out.include(scope, inlandScope(id));
    floodTo(out, scope, network, sides, inlandHosts(id, view));
    sendUnknown(out, scope, network, sides);
  },
});

const inlandPart = provider.rule({
  name: "inland-part",
  about: "one copy of broadcast to each host of a part of many that are on no physical segment",
  on: eachPair(wireTable, "parts"),
  emit({ a: networkId, b: part }, view, out) {
    const list = view.get(inlandListTable, networkId);
    if (list === undefined || list.spread === "whole") return;
    floodPart(out, inlandScope(networkId), { key: list.net_key }, Number(part), keysOf(view.byPair(wireTable, "parts", networkId, part)));
  },
});

const keysOf = (wires: readonly Wire[]): number[] => wires.map((w) => w.host_key).sort((a, b) => a - b);

/** The hosts of a network that are on no physical segment of it. The copy for oneself ends in the tunnels. */
function inlandHosts(networkId: string, view: ReadView): HostsInParts {
  const spread = view.get(inlandListTable, networkId)?.spread;
  if (spread === undefined) return [];
  return spread === "whole" ? keysOf(view.byPair(wireTable, "sides", networkId, String(NONE))) : { parts: view.pairKeys(wireTable, "parts", networkId).map(Number), spread };
}

/** By whom what goes to all gets to the other physical segments: one host each, of which a network has few. */
const handingOn = (networkId: string, segments: readonly ChosenSegment[], but: number, view: ReadView): number[] =>
  segments.flatMap(({ index }) => (index === but ? [] : (view.get(sideTable, sideId(networkId, index))?.host_key ?? [])));

/** What comes from a physical network. Whoever hands it on takes it as of a port that is here: it goes wherever such a frame would, but back. */
function enter(wire: Wire, segment: ChosenSegment | undefined, hands: boolean, view: ReadView, out: Emit<typeof provider>): void {
  const port = segment?.physical_network == null ? undefined : numberOf(view, patchPool, "", segment.physical_network);
  if (segment === undefined || port === undefined) return;
  const scope = chassisScope(wire.chassis);
  out.include(scope, wireScope(wire.network_id, segment.index));
  if (segment.outer_tag !== undefined) out.flow(scope, "physical_in", { priority: 310, match: { "reg:net": wire.net_key, vlan_vid: TAGGED }, actions: [toStage("forward")] });
  out.into(core).flow(scope, "classify", {
    priority: 200, match: { in_port: port, vlan_vid: segment.type === "flat" ? VLAN_NONE : VLAN_PRESENT | segment.segmentation_id! },
    actions: [
      ...(segment.type === "flat" ? [] : [{ type: "pop_vlan" } as const]), load("net", wire.net_key), ...(hands ? [] : [load("from_tunnel", 1)]), toEntrance(provider.entrance("physical_in")),
    ],
  });
}

/** A host of a network that has several segments: to whom it sends how, and how others send to it. */
function join(network: Network, wire: Wire, segments: readonly ChosenSegment[], hands: boolean, view: ReadView, out: Outputs): void {
  const scope = chassisScope(wire.chassis);
  if (wire.tunnel) {
    out.include(netScope(network.id), hostScope(wire.host_key));
    const vni = vniOf(view, network.id);
    const elsewhere = segments.filter((s) => isPhysical(s) && s.index !== wire.segment);
    if (vni !== undefined) for (const { index } of elsewhere) alsoByTunnel(out, wireTunnelScope(network.id, index), network, { vni, type: encapOf(view, network.id) }, wire.host_key);
  }
  if (wire.segment === NONE) {
    out.include(scope, wireScope(network.id, NONE));
    return;
  }
  if (wire.tunnel) out.include(scope, wireTunnelScope(network.id, wire.segment));
  if (!hands) {
    floodTo(out, scope, network, [WIRE]);
    sendUnknown(out, scope, network, [WIRE]);
    endHere(out, scope, network);
    return;
  }
  const hosts = [WIRE, ...handingOn(network.id, segments, wire.segment, view)];
  const list = inlandHosts(network.id, view);
  if ("parts" in list) out.include(scope, inlandScope(network.id));
  floodTo(out, scope, network, hosts, list);
  // Hosts that are on no segment are not sent what is for nobody known: none of them knows more.
  sendUnknown(out, scope, network, hosts);
  handOn(out, scope, network, [WIRE], view);
}

const ownMac = provider.rule({
  name: "own-mac",
  about: "frames with the MAC of a port that is here do not come from a physical network: one that does went round a loop",
  on: each(attachmentTable),
  emit(at, view, out) {
    if (at.role === "standby" || view.get(wireTable, `${at.network_id}@${at.chassis}`) === undefined) return;
    const port = view.get(portTable, at.port_id);
    if (port !== undefined) out.flow(chassisScope(at.chassis), "physical_in", { priority: 330, match: { "reg:net": at.net_key, eth_src: port.mac_address }, actions: [] });
  },
});

export const rules = [patch, segmentOut, wires, inland, inlandPart, ownMac];
