// How l2's entities become flows. What is the same on every chassis goes to a scope of the network; only what names a
// local OpenFlow port goes to the chassis' own scope.
// Over 400 lines: what a port may send, what stops it and how packets reach it follow from the same places and sources.
import {
  callStage, chassisScope, core, derivation, each, eachPair, ethType, ipProto, isIpv6, load, NO_MAC, setField, toEntrance, toStage, toTable,
  VLAN_NONE, VLAN_PRESENT, type Emit, type FlowOf, type PortActions, type ReadView, type Scope,
} from "#app";
import { linkLocal } from "packet-codec";
import {
  addressTable, attachmentId, attachmentTable, bindingFault, chosenSegments, chosenSegmentTable, fromScope, hostScope, lanScope, learningTable, mayForward, membersScope, neighbour, netScope, networkTable, activeAttachment, pluggedAt, pluggedReads, portTable, sendersScope, singleAddress, type Attachment, type Port, isAnothers, isCarried, isNetworkPort, isPhysical, isTransparent, isUnspecified, macOfPair, mayBeTaken, saidOfLink, placesOf, contestedTable,
  apart, callParts, FLOOD_LIST, floodParts, hostListTable, inParts, memberHostTable, partKey, spreadOf, type HostList, type MemberHost,
} from "./model.ts";
import { knownNeighbour, takers } from "./neighbours.ts";
import { ANNOUNCE, derive as learningDerive, hear, hearOwn, isHeard, isOpen, isPlaced, PUNT_METER, learnFromChassis, learnFromPort, learnSharedFromChassis, learnInNetwork, listeners, placed, placedMacs } from "./learning.ts";
import { advertisement, fromLink, icmpv6, ND, solicitation } from "./model/messages.ts";
import { l2 } from "./tables.ts";
import { admitTags, passTags } from "./tags.ts";

export const DHCP_SERVER = { eth_type: ethType.ip, ip_proto: ipProto.udp, udp_dst: 67 } as const;
const DHCP_CLIENT = { ...DHCP_SERVER, udp_src: 68 } as const;

/** Where a port is, if it is up. */
function attach(port: Port, view: ReadView): Attachment | undefined {
  if (!port.admin_state_up) return undefined;
  const at = pluggedAt(view, port.id);
  if (at === undefined) return undefined;
  const network = view.get(networkTable, port.network_id);
  if (network === undefined || !network.admin_state_up || bindingFault(view, network.id, at.chassis) !== undefined) return undefined;
  return {
    id: attachmentId(port.id, at.chassis.id, "active"), port_id: port.id, network_id: network.id, net_key: network.key, port_key: port.key, chassis: at.chassis.id, host_key: at.chassis.key, role: "active",
    ofport: at.vif.ofport, vlan: null, slot: at.vif.slot,
  };
}

export const derive = [
  derivation({ name: "attachment", on: each(portTable), into: attachmentTable, reads: [networkTable, chosenSegmentTable, ...pluggedReads], derive: attach }),
  derivation({
    name: "member-host",
    on: eachPair(attachmentTable, "network_chassis"),
    into: memberHostTable,
    reads: [attachmentTable],
    derive({ a: network_id, b: chassis }, view): MemberHost | undefined {
      const at = view.byPair(attachmentTable, "network_chassis", network_id, chassis)[0];
      return at === undefined ? undefined : { id: `${network_id}@${chassis}`, network_id, net_key: at.net_key, chassis, host_key: at.host_key };
    },
  }),
  derivation({
    name: "host-list",
    on: each(networkTable),
    into: hostListTable,
    reads: [memberHostTable],
    derive({ id, key }, view): HostList | undefined {
      const members = view.count(memberHostTable, "network", id);
      return members === 0 ? undefined : { id, net_key: key, spread: spreadOf(members) };
    },
  }),
  ...takers,
  ...learningDerive,
];

/** A (MAC, address or prefix) a port may send from. */
interface Source {
  readonly mac: string;
  readonly ip: string;
  /** Others may have it too, or it is one of many: what the port says of it is heard. */
  readonly heard: boolean;
}

function sourcesOf(port: Port, view: ReadView): Source[] {
  const all: Source[] = [];
  const add = (mac: string, ip: string, heard = false): void => {
    if (!all.some((s) => s.mac === mac && s.ip === ip)) all.push({ mac, ip, heard });
  };
  for (const { ip } of view.by(addressTable, "port", port.id)) add(port.mac_address, ip);
  for (const pair of port.allowed_address_pairs) {
    const ip = singleAddress(pair.ip_address) ?? pair.ip_address;
    if (!isUnspecified(ip)) add(macOfPair(port, pair), ip, isHeard(view, port, pair));
  }
  // The link-local address of another's MAC is that one's.
  for (const mac of macsOf(all)) if (sendsIpv6(all, mac) && !isAnothers(view, port, mac)) add(mac, linkLocal(mac));
  return all;
}

/** The MACs of a port's sources, each once; nearly always there is one. */
function macsOf(sources: readonly Source[]): readonly string[] {
  const macs: string[] = [];
  for (const { mac } of sources) if (!macs.includes(mac)) macs.push(mac);
  return macs;
}

const sendsIpv6 = (sources: readonly Source[], mac: string): boolean => sources.some((s) => s.mac === mac && s.ip.includes(":"));

const localPort = l2.rule({
  name: "local-port",
  about: "a port on its own chassis: what it may send, and how packets reach it",
  on: each(attachmentTable),
  // Others have an OpenFlow port to themselves, which counts.
  counts: { resource: "port", counters: { classify: "sent", push_tag: "received" }, entities: (view, id) => view.by(attachmentTable, "port", id).flatMap((at) => (at.vlan !== null && at.role === "active" ? [at.id] : [])) },
  emit(at: Attachment, view, out) {
    const port = view.get(portTable, at.port_id);
    if (port === undefined || (at.role !== "active" && !placesOf(view, port.id).some((p) => p.id === at.id))) return;
    const scope = chassisScope(at.chassis);
    const { sender, receiver } = out.portContext(view, at);
    const sources = port.port_security_enabled ? sourcesOf(port, view) : [];
    out.include(scope, lanScope(at.network_id));
    out.item(scope, "meter", at.slot, PUNT_METER);
    const asSender = sender.enter === undefined ? [] : [
      load("net", at.net_key), load("in_port_key", at.port_key), load("ct_zone", at.slot), ...(port.port_security_enabled ? [load("secured", 1)] : []), ...sender.loads, toStage(sender.enter),
    ];
    // Who came in by the port of another may be answered, or sent on to that other, by the same port.
    const untagged = at.vlan === null || sender.enter === undefined ? [] : [{ type: "pop_vlan" } as const, setField("in_port", 0)];
    out.into(core).flow(scope, "classify", {
      priority: at.vlan === null ? 100 : 110,
      // A tag means somebody else behind the interface, here or where the packet would be delivered: nobody sends one that is not his.
      match: { in_port: at.ofport, vlan_vid: at.vlan === null ? VLAN_NONE : VLAN_PRESENT | at.vlan },
      actions: [...untagged, ...asSender],
    });
    if (at.vlan === null && isTransparent(view, at.network_id)) admitTags(at, asSender, out);
    const emit: LocalEmit = (shape, value) => out.flow(scope, shape, value);
    if (port.port_security_enabled) admit(at, sources, emit, sender.acl === undefined ? undefined : (flow) => out.flow(scope, "port_security", { ...flow, actions: [toEntrance(sender.acl!)] }));
    // Nobody hears who probes for what it has itself: an answer would tell it that somebody else does.
    const macs = isOpen(port) ? [] : [port.mac_address, ...macsOf(sources).filter((mac) => mac !== port.mac_address && !isAnothers(view, port, mac))];
    for (const mac of macs) out.flow(scope, probing.own, { key: at.port_key, mac });
    learnFromPort(at, port, view, scope, out);
    locate(at, port.port_security_enabled, sources.some((s) => isIpv6(s.ip)), receiver, (flow) => out.flow(scope, "locate", flow));
    if (at.vlan === null) return;
    // A packet may go back where it came from, to another port behind the same interface, but not to its sender. Other copies of it are
    // not tagged.
    out.flow(scope, "push_tag", { priority: 110, match: { "reg:out_port_key": at.port_key, "reg:in_port_key": at.port_key, "reg:from_network": 0 }, actions: [] });
    out.flow(scope, "push_tag", {
      priority: 100,
      match: { "reg:out_port_key": at.port_key },
      actions: [{ type: "clone", actions: [{ type: "push_vlan", ethertype: 0x8100 }, setField("vlan_vid", VLAN_PRESENT | at.vlan), setField("in_port", 0), { type: "next" }] }],
    });
  },
});

interface Stopped {
  readonly key: number;
}
const stopped = l2.shapes("port_security", {
  any: (s: Stopped) => ({ priority: 1, match: { "reg:in_port_key": s.key }, actions: [] }),
  ipv6: (s: Stopped) => ({ priority: 2, match: { "reg:in_port_key": s.key, eth_type: ethType.ipv6 }, actions: [] }),
});
const stoppedDiscovery = l2.shapes("nd_source", { any: (s: Stopped) => ({ priority: 1, match: { "reg:in_port_key": s.key }, actions: [] }) });

/** A port where what it sends is judged, of the places where it is; undefined: nothing of it is. */
function judgedAt(at: Attachment, view: ReadView): Port | undefined {
  const port = view.get(portTable, at.port_id);
  return at.role === "active" && port?.port_security_enabled === true ? port : undefined;
}

const stoppedAtPort = l2.rule({
  name: "stopped-at-port",
  about: "what a port sends that is not its own is dropped, and counted",
  on: each(attachmentTable),
  drops: { port_security: "port_security", nd_source: "port_security" },
  emit(at, view, out) {
    const port = judgedAt(at, view);
    if (port === undefined) return;
    out.flow(chassisScope(at.chassis), stopped.any, { key: at.port_key });
    if (sendsIpv6(sourcesOf(port, view), port.mac_address)) out.flow(chassisScope(at.chassis), stoppedDiscovery.any, { key: at.port_key });
  },
});

// Every machine says something by IPv6 when it starts, whether or not it has an address of it: that is no fault of anybody's.
const ipv6AtPort = l2.rule({
  name: "ipv6-at-port",
  about: "IPv6 of a port that has no address of it is dropped, and counted apart",
  on: each(attachmentTable),
  drops: { port_security: "no_ipv6" },
  emit(at, view, out) {
    const port = judgedAt(at, view);
    if (port !== undefined && !sourcesOf(port, view).some(({ ip }) => isIpv6(ip))) out.flow(chassisScope(at.chassis), stopped.ipv6, { key: at.port_key });
  },
});

/** A source of a port on its chassis, as the shapes take it. */
interface Sender {
  readonly key: number;
  readonly mac: string;
  readonly ip: string;
}
type LocalEmit = (shape: (typeof admitted)[keyof typeof admitted], value: Sender) => void;

const TO_POLICY = [toStage("acl_out")];
const TO_SERVICES = [toStage("services")];

/**
 * Longest frames of ARP and of neighbour discovery, in bytes: the least frame of Ethernet and a tag; six options of 8 bytes (of link-layer
 * address and nonce a message has one each), with some to spare. What is longer carries something that is not for the network.
 */
const ARP_MAX = 64;
const ND_MAX = 128;
/** And where the switch shows no link-layer address: a nonce (RFC 7527), or another option of 8 bytes, and a tag. In two there is room for an address that it does not read. */
const BARE_ND_MAX = 90;
const arpLength = { type: "check_longer", bytes: ARP_MAX, to: "reg:too_long" } as const;
const ndLength = { type: "check_longer", bytes: ND_MAX, to: "reg:too_long" } as const;
const bareLength = { type: "check_longer", bytes: BARE_ND_MAX, to: "reg:too_long" } as const;
export const ARP_TO_SERVICES = [arpLength, toStage("services")];
export const ND_TO_SOURCE = [ndLength, toTable("nd_source")];
const BARE_TO_SOURCE = [bareLength, toTable("nd_source")];
const ALL_NODES = "ff02::1";
const ALL_ROUTERS = { ip: "ff02::2", mac: "33:33:00:00:00:02" } as const;
const wellFormed = { icmpv6_code: 0, ...fromLink } as const;
const asks = { ...solicitation, ...wellFormed } as const;
const advertises = { ...advertisement, ...wellFormed } as const;

/** What a switch shows where there is no link-layer address option. */
export const NO_OPTION = NO_MAC;

const ip6 = (s: Sender) => ({ priority: 100, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.ipv6, ipv6_src: s.ip }, actions: TO_POLICY });
const ip4 = (s: Sender) => ({ priority: 100, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.ip, ipv4_src: s.ip }, actions: TO_POLICY });
const admitted = l2.shapes("port_security", {
  ip6,
  solicitation: (s: Sender) => ({ priority: 120, match: { ...asks, "reg:in_port_key": s.key, eth_src: s.mac, ipv6_nd_sll: s.mac }, actions: ND_TO_SOURCE }),
  bareSolicitation: (s: Sender) => ({
    priority: 120, match: { ...asks, "reg:in_port_key": s.key, eth_src: s.mac, ipv6_nd_sll: NO_OPTION }, actions: BARE_TO_SOURCE,
  }),
  advertisement: (s: Sender) => ({ priority: 120, match: { ...advertises, "reg:in_port_key": s.key, eth_src: s.mac, ipv6_nd_target: s.ip, ipv6_nd_tll: s.mac }, actions: ND_TO_SOURCE }),
  advertisementHeard: (s: Sender) => ({
    priority: 120, match: { ...advertises, "reg:in_port_key": s.key, eth_src: s.mac, ipv6_nd_target: s.ip, ipv6_nd_tll: s.mac }, actions: [ANNOUNCE, ...ND_TO_SOURCE],
  }),
  bareAdvertisement: (s: Sender) => ({
    priority: 120, match: { ...advertises, "reg:in_port_key": s.key, eth_src: s.mac, ipv6_nd_target: s.ip, ipv6_nd_tll: NO_OPTION }, actions: BARE_TO_SOURCE,
  }),
  bareAdvertisementHeard: (s: Sender) => ({
    priority: 120, match: { ...advertises, "reg:in_port_key": s.key, eth_src: s.mac, ipv6_nd_target: s.ip, ipv6_nd_tll: NO_OPTION }, actions: [ANNOUNCE, ...BARE_TO_SOURCE],
  }),
  routerSolicitation: (s: Sender) => ({
    priority: 120, match: { ...icmpv6, ...wellFormed, "reg:in_port_key": s.key, eth_src: s.mac, icmpv6_type: ND.routerSolicitation, ipv6_dst: ALL_ROUTERS.ip }, actions: [setField("eth_dst", ALL_ROUTERS.mac), ...ND_TO_SOURCE],
  }),
  ip4,
  arp: (s: Sender) => ({ priority: 100, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.arp, arp_sha: s.mac, arp_spa: s.ip }, actions: ARP_TO_SERVICES }),
  arpHeard: (s: Sender) => ({ priority: 100, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.arp, arp_sha: s.mac, arp_spa: s.ip }, actions: [ANNOUNCE, ...ARP_TO_SERVICES] }),
  // As a request, RFC 5227 section 3: nobody is asked but whoever has it as well.
  announcement: (s: Sender) => ({
    priority: 110, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.arp, arp_sha: s.mac, arp_spa: s.ip, arp_tpa: s.ip }, actions: [load("announces", 1), ...ARP_TO_SERVICES],
  }),
  announcementHeard: (s: Sender) => ({
    priority: 110, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.arp, arp_sha: s.mac, arp_spa: s.ip, arp_tpa: s.ip }, actions: [ANNOUNCE, load("announces", 1), ...ARP_TO_SERVICES],
  }),
  // Of an address that another port has as a pair: its owner has it again.
  announcementAgain: (s: Sender) => ({
    priority: 115, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.arp, arp_sha: s.mac, arp_spa: s.ip, arp_tpa: s.ip }, actions: [ANNOUNCE, load("announces", 1), ...ARP_TO_SERVICES],
  }),
  advertisementAgain: (s: Sender) => ({
    priority: 125, match: { ...advertises, "reg:in_port_key": s.key, eth_src: s.mac, ipv6_dst: ALL_NODES, ipv6_nd_target: s.ip, ipv6_nd_tll: s.mac }, actions: [ANNOUNCE, ...ND_TO_SOURCE],
  }),
  arpProbe: (s: Sender) => ({ priority: 100, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.arp, arp_sha: s.mac, arp_spa: "0.0.0.0" }, actions: ARP_TO_SERVICES }),
  // Who has no lease; who renews one, and a relay agent, which asks from the server's port: RFC 2131 sections 4.1 and 4.4.
  dhcpFirst: (s: Sender) => ({ priority: 150, match: { ...DHCP_CLIENT, "reg:in_port_key": s.key, eth_src: s.mac, ipv4_src: "0.0.0.0" }, actions: TO_SERVICES }),
  dhcpLater: (s: Sender) => ({ priority: 150, match: { ...DHCP_SERVER, "reg:in_port_key": s.key, eth_src: s.mac, ipv4_src: s.ip }, actions: TO_SERVICES }),
});

const discovering = l2.shapes("nd_source", {
  own: (s: Sender) => ({ priority: 100, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.ipv6, ipv6_src: s.ip }, actions: TO_SERVICES }),
});

const probing = l2.shapes("arp_nd_reply", {
  own: (s: { readonly key: number; readonly mac: string }) => ({ priority: 130, match: { "reg:in_port_key": s.key, "reg:probes": 1, "reg:said": 0, eth_dst: s.mac }, actions: [] }),
});


/** `byOwnWay`: of a port whose packets do not enter policy by its stage. */
function admit(at: Attachment, sources: readonly Source[], emit: LocalEmit, byOwnWay: ((flow: Pick<ReturnType<typeof ip4 | typeof ip6>, "priority" | "match">) => void) | undefined): void {
  const key = at.port_key;
  const toPolicy = (sender: Sender, shape: (typeof admitted)["ip4" | "ip6"], flow: typeof ip4 | typeof ip6): void => (byOwnWay === undefined ? emit(shape, sender) : byOwnWay(flow(sender)));
  for (const { mac, ip, heard } of sources) {
    const sender = { key, mac, ip };
    if (isIpv6(ip)) {
      toPolicy(sender, admitted.ip6, ip6);
      emit(heard ? admitted.advertisementHeard : admitted.advertisement, sender);
      emit(heard ? admitted.bareAdvertisementHeard : admitted.bareAdvertisement, sender);
      emit(discovering.own, sender);
    } else {
      toPolicy(sender, admitted.ip4, ip4);
      emit(admitted.dhcpLater, sender);
      emit(heard ? admitted.arpHeard : admitted.arp, sender);
      if (!ip.includes("/")) emit(heard ? admitted.announcementHeard : admitted.announcement, sender);
    }
  }
  for (const mac of macsOf(sources)) {
    const sender = { key, mac, ip: "" };
    emit(admitted.arpProbe, sender);
    emit(admitted.dhcpFirst, sender);
    if (!sendsIpv6(sources, mac)) continue;
    emit(admitted.solicitation, sender);
    emit(admitted.bareSolicitation, sender);
    emit(admitted.routerSolicitation, sender);
  }
}
type LocateFlow = FlowOf<typeof l2, "locate", { readonly "reg:out_port_key": number; readonly eth_type?: number }>;

function locate(at: Attachment, secured: boolean, ipv6: boolean, receiver: PortActions["receiver"], emit: (flow: LocateFlow) => void): void {
  const key = at.port_key;
  if (!receiver.hears) {
    emit({ priority: 200, match: { "reg:out_port_key": key }, actions: [] });
    return;
  }
  // Other copies of the packet go elsewhere: what marks this one is taken back.
  const egress = receiver.egress || at.vlan !== null;
  const ways = (stage: "acl_in" | "deliver"): LocateFlow["actions"] => {
    const step = stage === "acl_in" && receiver.acl !== undefined ? toEntrance(receiver.acl) : toStage(stage);
    return !egress ? [step] : stage === "deliver" || !receiver.policy ? [toStage("egress")] : [load("egress", 1), step, load("egress", 0)];
  };
  const onward: LocateFlow["actions"] = [load("out_port", at.ofport), ...receiver.loads, ...ways("deliver")];
  if (!secured) {
    emit({ priority: 200, match: { "reg:out_port_key": key }, actions: onward });
    return;
  }
  const checked: LocateFlow["actions"] = [load("out_port", at.ofport), load("ct_zone", at.slot), ...receiver.loads, ...ways("acl_in")];
  emit({ priority: 200, match: { "reg:out_port_key": key, eth_type: ethType.ip }, actions: checked });
  if (ipv6) emit({ priority: 200, match: { "reg:out_port_key": key, eth_type: ethType.ipv6 }, actions: checked });
  emit({ priority: 200, match: { "reg:out_port_key": key, eth_type: ethType.arp }, actions: onward });
}

const reachPort = l2.rule({
  name: "reach-port",
  about: "a port's MACs, for every chassis that can reach its network",
  on: each(attachmentTable),
  emit(at: Attachment, view, out) {
    const port = view.get(portTable, at.port_id);
    if (port === undefined) return;
    const macs = placedMacs(view, port);
    const matches = macs.map((mac) => ({ "reg:net": at.net_key, eth_dst: mac }) as const);
    const here = [load("out_port_key", at.port_key), load("out_host", at.host_key), toStage("locate")] as const;
    if (at.role !== "active") for (const match of matches) otherPlace(at, match, view, (scope, flow) => out.flow(scope, "l2_lookup", flow));
    if (activeAttachment(view, at.port_id)?.id !== at.id) return;
    for (const match of matches) out.flow(netScope(at.network_id), "l2_lookup", { priority: 100, match, actions: here });
    placed(at, macs, view, out);
    // An extra address that one port alone may use is there; of several holders only what they say tells which has it.
    for (const pair of port.allowed_address_pairs) {
      const ip = singleAddress(pair.ip_address);
      if (ip === undefined || !isPlaced(view, port, pair)) continue;
      const said = mayForward(port) || mayBeTaken(view, port.network_id, ip, port.id) ? "asked" : "host";
      const mac = macOfPair(port, pair);
      neighbour(out, { id: port.network_id, key: at.net_key }, ip, mac, netScope(port.network_id), said, saidOfLink(view, port, mac));
    }
  },
});

type LookupFlow = FlowOf<typeof l2, "l2_lookup", { readonly "reg:net": number; readonly eth_dst: string; readonly "reg:from_tunnel"?: number }>;

/** What a place that is not the active one changes about the way to its port. */
function otherPlace(at: Attachment, match: LookupFlow["match"], view: ReadView, emit: (scope: Scope, flow: LookupFlow) => void): void {
  const places = placesOf(view, at.port_id);
  const [place] = places;
  if (place === undefined || !places.some((p) => p.id === at.id)) return;
  const toPort = [load("out_port_key", at.port_key), load("out_host", 0), toStage("locate")] as const;
  if (at.role === "gateway" && place.role === "gateway") emit(chassisScope(at.chassis), { priority: 102, match, actions: toPort });
  if (at.role !== "standby" || place.role === "standby") return;
  // A physical network carries a frame to all of them or, as its switches know one of them for the MAC, to that one: copies would be twice there. What is sent at
  // this host leaves as it would without this place, and is for the interface here too, which may be deaf.
  if (chosenSegments(view, at.network_id).some(isPhysical)) {
    emit(chassisScope(at.chassis), { priority: 104, match: { ...match, "reg:from_tunnel": 0 }, actions: [load("out_port_key", 0), load("out_host", place.host_key), callStage("locate"), ...toPort] });
    return;
  }
  // A copy to each place by a tunnel (the one to oneself ends there), and the packet itself to the port if it is here. Copies end where they arrive.
  // By key, so that nothing of it changes when two of them change roles.
  const heard = places.filter((p) => p === place || p.role === "standby").sort((a, b) => a.host_key - b.host_key);
  emit(netScope(at.network_id), { priority: 104, match, actions: [load("out_port_key", 0), ...heard.flatMap((p) => [load("out_host", p.host_key), callStage("locate")] as const), ...toPort] });
  for (const p of heard) emit(chassisScope(p.chassis), { priority: 106, match: { ...match, "reg:from_tunnel": 1 }, actions: toPort });
}

const contestedAddresses = l2.rule({
  name: "address-announced",
  about: "announcements of addresses that other ports have as pairs come to the controller from their owners too: routers follow who has one",
  on: each(contestedTable),
  emit({ addresses }, view, out) {
    for (const { ip, port_id } of addresses) {
      const port = view.get(portTable, port_id);
      if (port === undefined || isNetworkPort(port)) continue;
      for (const at of view.by(attachmentTable, "port", port_id)) {
        hear(at, out);
        hearOwn(at, port, ip, out);
        if (!port.port_security_enabled) continue;
        const sender = { key: at.port_key, mac: port.mac_address, ip };
        out.flow(chassisScope(at.chassis), isIpv6(ip) ? admitted.advertisementAgain : admitted.announcementAgain, sender);
      }
    }
  },
});

const networkRule = l2.rule({
  name: "network",
  about: "who has a network and who may send into it",
  on: each(networkTable),
  emit(network, view, out) {
    if (view.get(hostListTable, network.id) === undefined) return;
    out.include(lanScope(network.id), netScope(network.id));
    out.include(lanScope(network.id), sendersScope(network.id));
    out.include(sendersScope(network.id), membersScope(network.id));
    learnInNetwork(network, view, out);
    if (isTransparent(view, network.id)) passTags(network, view, out);
  },
});

const memberHost = l2.rule({
  name: "reach-host",
  about: "a host that has a network is reached by those that reach it, and may send into it",
  on: each(memberHostTable),
  emit({ network_id, chassis, host_key }, view, out) {
    if (!isCarried(view, network_id)) out.include(netScope(network_id), hostScope(host_key));
    out.include(membersScope(network_id), fromScope(chassis));
  },
});

const copiesToHosts = (hosts: readonly MemberHost[]) => hosts.toSorted((a, b) => a.host_key - b.host_key).flatMap(({ host_key }) => [load("out_host", host_key), callStage("locate")] as const);

// Only where the network has ports: whoever reaches it through a router sends into it and never gets from it.
const floodRemote = l2.rule({
  name: "flood-remote",
  about: "one copy of broadcast to each member chassis, or to each part of many",
  on: each(hostListTable),
  emit({ id, net_key, spread }, view, out) {
    if (isCarried(view, id)) return;
    const actions = spread === "whole" ? copiesToHosts(view.by(memberHostTable, "network", id)) : callParts(floodParts, FLOOD_LIST.flood_remote, view.pairKeys(memberHostTable, "parts", id).map(Number), spread);
    out.flow(lanScope(id), "flood_remote", { priority: 100, match: { "reg:net": net_key }, actions });
    if (spread === "apart") apart(out, lanScope(id), floodParts);
  },
});

const floodRemotePart = l2.rule({
  name: "flood-remote-part",
  about: "one copy of broadcast to each member chassis of a part of many",
  on: eachPair(memberHostTable, "parts"),
  emit({ a: networkId, b: part }, view, out) {
    const list = view.get(hostListTable, networkId);
    if (list === undefined || list.spread === "whole" || isCarried(view, networkId)) return;
    out.flow(lanScope(networkId), "flood_parts", {
      priority: 100, match: { "reg:net": list.net_key, "reg:flood_part": partKey(FLOOD_LIST.flood_remote, Number(part)) }, actions: copiesToHosts(view.byPair(memberHostTable, "parts", networkId, part)),
    });
  },
});

const floodLocal = l2.rule({
  name: "flood-local",
  about: "one copy of broadcast to each local port of the network",
  on: eachPair(attachmentTable, "network_chassis"),
  emit({ a: networkId, b: chassis }, view, out) {
    const members = [...view.byPair(attachmentTable, "network_chassis", networkId, chassis)].sort((x, y) => x.port_key - y.port_key).filter((m, i, all) => m.port_key !== all[i - 1]?.port_key);
    const netKey = members[0]?.net_key;
    if (netKey === undefined) return;
    flood(out, chassis, netKey, "flood_local", members);
    learnFromChassis({ id: networkId, key: netKey }, chassis, view, out);
    if (view.get(learningTable, networkId)?.macs === true) flood(out, chassis, netKey, "flood_unknown", listeners(members, view));
  },
});

const sharedMacsRule = l2.rule({
  name: "shared-macs",
  about: "a MAC that several ports may have is where it was heard last, on whatever host",
  on: eachPair(attachmentTable, "network_chassis"),
  emit({ a: networkId, b: chassis }, view, out) {
    if (view.count(portTable, "network_pairs", networkId) === 0) return;
    const members = view.byPair(attachmentTable, "network_chassis", networkId, chassis).toSorted((a, b) => a.port_key - b.port_key);
    if (members[0] !== undefined) learnSharedFromChassis({ id: networkId, key: members[0].net_key }, chassis, members, view, out);
  },
});

/** One copy to each of these ports. */
function flood(out: Emit<typeof l2>, chassis: string, netKey: number, table: "flood_local" | "flood_unknown", members: readonly Attachment[]): void {
  if (members.length === 0) return;
  const scope = chassisScope(chassis);
  const spread = spreadOf(members.length);
  const copies = (some: readonly Attachment[]) => some.flatMap((m) => [load("out_port_key", m.port_key), callStage("locate")] as const);
  const byPart = spread === "whole" ? undefined : inParts(members, (m) => m.slot);
  out.flow(scope, table, { priority: 100, match: { "reg:net": netKey }, actions: [load("out_host", 0), ...(byPart === undefined ? copies(members) : callParts(floodParts, FLOOD_LIST[table], byPart.keys(), spread))] });
  for (const [part, some] of byPart ?? []) out.flow(scope, "flood_parts", { priority: 100, match: { "reg:net": netKey, "reg:flood_part": partKey(FLOOD_LIST[table], part) }, actions: copies(some) });
  if (spread === "apart") apart(out, scope, floodParts);
}

export const rules = [localPort, stoppedAtPort, ipv6AtPort, reachPort, knownNeighbour, contestedAddresses, networkRule, memberHost, floodRemote, floodRemotePart, floodLocal, sharedMacsRule];
