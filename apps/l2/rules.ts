// How l2's entities become flows. What is the same on every chassis goes to a scope of the network; only what names a
// local OpenFlow port goes to the chassis' own scope.
import {
  callStage, callTable, chassisScope, chassisTable, copy, core, derivation, each, eachPair, ethType, ipProto, isIpv6, load, setField, toStage, toTable,
  baseScope, type FlowOf, type PortActions, type ReadView, type Scope,
} from "#app";
import { linkLocal } from "packet-codec";
import {
  addressTable, attachmentId, attachmentTable, backToSender, fromScope, hostScope, lanScope, mayForward, membersScope, neighbour, netScope, networkTable, activeAttachment, pluggedAt, pluggedReads, portTable, sendersScope, type Attachment, type Port, mayBeTaken, saidOfLink, placesOf, onAsAnyFrame,
} from "./model.ts";
import { announced, knownNeighbour, takers } from "./neighbours.ts";
import { l2 } from "./tables.ts";

/** Packets a port may send to the controller. */
const PUNT_METER = { unit: "pps", rate: 50, burst: 100 } as const;
/** Local ports per flood flow: 40 bytes of actions each, a message holds 64 KiB. */
const FLOOD_CHUNK = 1000;

const BROADCAST = "ff:ff:ff:ff:ff:ff";
const ALL_NODES = "33:33:00:00:00:01";
const GROUP_BIT = { value: "01:00:00:00:00:00", mask: "01:00:00:00:00:00" };
const icmpv6 = { eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6 } as const;
const ND = { routerSolicitation: 133, routerAdvertisement: 134, neighbourSolicitation: 135, neighbourAdvertisement: 136, redirect: 137 } as const;
const SOLICITED_NODES = "ff02::1:ff00:0/104";
const DHCP_CLIENT = { eth_type: ethType.ip, ip_proto: ipProto.udp, udp_src: 68, udp_dst: 67 } as const;

/** NXM_NX_IP_FRAG, ovs-fields(7): a fragment, and not a later one. */
const FIRST_FRAGMENT = 1;

/** Where a port is, if it is up. */
function attach(port: Port, view: ReadView): Attachment | undefined {
  if (!port.admin_state_up) return undefined;
  const at = pluggedAt(view, port.id);
  if (at === undefined) return undefined;
  const network = view.get(networkTable, port.network_id);
  if (network === undefined || !network.admin_state_up) return undefined;
  return {
    id: attachmentId(port.id, at.chassis.id, "active"), port_id: port.id, network_id: network.id, net_key: network.key, port_key: port.key, chassis: at.chassis.id, host_key: at.chassis.key, role: "active",
    ofport: at.vif.ofport, vlan: null, slot: at.vif.slot,
  };
}

export const derive = [
  derivation({ name: "attachment", on: each(portTable), into: attachmentTable, reads: [networkTable, ...pluggedReads], derive: attach }),
  takers,
];

/** A (MAC, address or prefix) a port may send from. */
interface Source {
  readonly mac: string;
  readonly ip: string;
}

function sourcesOf(port: Port, view: ReadView): Source[] {
  const all: Source[] = [];
  const add = (mac: string, ip: string): void => {
    if (!all.some((s) => s.mac === mac && s.ip === ip)) all.push({ mac, ip });
  };
  for (const { ip } of view.by(addressTable, "port", port.id)) add(port.mac_address, ip);
  for (const { mac_address: mac, ip_address: ip } of port.allowed_address_pairs) add(mac === "" ? port.mac_address : mac, ip);
  for (const mac of macsOf(all)) if (sendsIpv6(all, mac)) add(mac, linkLocal(mac));
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
  emit(at: Attachment, view, out) {
    const port = view.get(portTable, at.port_id);
    if (port === undefined || (at.role !== "active" && !placesOf(view, port.id).some((p) => p.id === at.id))) return;
    const scope = chassisScope(at.chassis);
    const { sender, receiver } = out.portContext(view, at);
    const sources = port.port_security_enabled ? sourcesOf(port, view) : [];
    out.include(scope, lanScope(at.network_id));
    out.item(scope, "meter", at.slot, PUNT_METER);
    out.into(core).flow(scope, "classify", {
      priority: at.vlan === null ? 100 : 110,
      // A tag means somebody else behind the interface, here or where the packet would be delivered: nobody sends one that is not his.
      match: { in_port: at.ofport, vlan_vid: at.vlan === null ? VLAN_NONE : VLAN_PRESENT | at.vlan },
      actions: sender.enter === undefined ? [] : [
        // Who came in by the port of another may be answered, or sent on to that other, by the same port.
        ...(at.vlan === null ? [] : [{ type: "pop_vlan" } as const, setField("in_port", 0)]),
        load("net", at.net_key), load("in_port_key", at.port_key), load("ct_zone", at.slot),
        ...(port.port_security_enabled ? [load("secured", 1)] : []), ...sender.loads, toStage(sender.enter),
      ],
    });
    const emit: LocalEmit = (shape, value) => out.flow(scope, shape, value);
    if (port.port_security_enabled) admit(at, sources, emit);
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
/** OFPVID_NONE and OFPVID_PRESENT, OpenFlow 1.3.5 section 7.2.3.7: the packet has no tag, the packet has one. */
const VLAN_NONE = 0;
const VLAN_PRESENT = 0x1000;

/** A source of a port on its chassis, as the shapes take it. */
interface Sender {
  readonly key: number;
  readonly mac: string;
  readonly ip: string;
  /** Of the link-layer address option; all zero where there is none. */
  readonly option: string;
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
const arpLength = { type: "check_longer", bytes: ARP_MAX, to: "reg:too_long" } as const;
const ndLength = { type: "check_longer", bytes: ND_MAX, to: "reg:too_long" } as const;
const ARP_TO_SERVICES = [arpLength, toStage("services")];
const ND_TO_SOURCE = [ndLength, toTable("nd_source")];
const ALL_ROUTERS = { ip: "ff02::2", mac: "33:33:00:00:00:02" } as const;
/** Neighbour discovery is valid from the link alone. RFC 4861 sections 6.1 and 7.1 */
const nd = { ...icmpv6, icmpv6_code: 0, ip_ttl: 255 } as const;

const admitted = l2.shapes("port_security", {
  ip6: (s: Sender) => ({ priority: 100, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.ipv6, ipv6_src: s.ip }, actions: TO_POLICY }),
  solicitation: (s: Sender) => ({ priority: 120, match: { ...nd, "reg:in_port_key": s.key, eth_src: s.mac, icmpv6_type: ND.neighbourSolicitation, ipv6_nd_sll: s.option }, actions: ND_TO_SOURCE }),
  advertisement: (s: Sender) => ({ priority: 120, match: { ...nd, "reg:in_port_key": s.key, eth_src: s.mac, icmpv6_type: ND.neighbourAdvertisement, ipv6_nd_target: s.ip, ipv6_nd_tll: s.option }, actions: ND_TO_SOURCE }),
  routerSolicitation: (s: Sender) => ({
    priority: 120, match: { ...nd, "reg:in_port_key": s.key, eth_src: s.mac, icmpv6_type: ND.routerSolicitation, ipv6_dst: ALL_ROUTERS.ip }, actions: [setField("eth_dst", ALL_ROUTERS.mac), ...ND_TO_SOURCE],
  }),
  ip4: (s: Sender) => ({ priority: 100, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.ip, ipv4_src: s.ip }, actions: TO_POLICY }),
  arp: (s: Sender) => ({ priority: 100, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.arp, arp_sha: s.mac, arp_spa: s.ip }, actions: ARP_TO_SERVICES }),
  // As a request, RFC 5227 section 3: nobody is asked but whoever has it as well.
  announcement: (s: Sender) => ({
    priority: 110, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.arp, arp_sha: s.mac, arp_spa: s.ip, arp_tpa: s.ip }, actions: [load("announces", 1), ...ARP_TO_SERVICES],
  }),
  arpProbe: (s: Sender) => ({ priority: 100, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.arp, arp_sha: s.mac, arp_spa: "0.0.0.0" }, actions: ARP_TO_SERVICES }),
  dhcp: (s: Sender) => ({ priority: 150, match: { ...DHCP_CLIENT, "reg:in_port_key": s.key, eth_src: s.mac }, actions: TO_SERVICES }),
});

const discovering = l2.shapes("nd_source", {
  own: (s: Sender) => ({ priority: 100, match: { "reg:in_port_key": s.key, eth_src: s.mac, eth_type: ethType.ipv6, ipv6_src: s.ip }, actions: TO_SERVICES }),
});

function admit(at: Attachment, sources: readonly Source[], emit: LocalEmit): void {
  const key = at.port_key;
  for (const { mac, ip } of sources) {
    const sender = { key, mac, ip, option: mac };
    if (isIpv6(ip)) {
      emit(admitted.ip6, sender);
      emit(admitted.advertisement, sender);
      emit(admitted.advertisement, { ...sender, option: NO_OPTION });
      emit(discovering.own, sender);
    } else {
      emit(admitted.ip4, sender);
      emit(admitted.arp, sender);
      if (!ip.includes("/")) emit(admitted.announcement, sender);
    }
  }
  for (const mac of macsOf(sources)) {
    const sender = { key, mac, ip: "", option: mac };
    emit(admitted.arpProbe, sender);
    emit(admitted.dhcp, sender);
    if (!sendsIpv6(sources, mac)) continue;
    emit(admitted.solicitation, sender);
    emit(admitted.solicitation, { ...sender, option: NO_OPTION });
    emit(admitted.routerSolicitation, sender);
  }
}
/** What a switch shows where there is no link-layer address option. */
const NO_OPTION = "00:00:00:00:00:00";

type LocateFlow = FlowOf<typeof l2, "locate", { readonly "reg:out_port_key": number; readonly eth_type?: number }>;

function locate(at: Attachment, secured: boolean, ipv6: boolean, receiver: PortActions["receiver"], emit: (flow: LocateFlow) => void): void {
  const key = at.port_key;
  // Other copies of the packet go elsewhere: what marks this one is taken back.
  const egress = receiver.egress || at.vlan !== null;
  const ways = (stage: "acl_in" | "deliver"): LocateFlow["actions"] =>
    !egress ? [toStage(stage)] : stage === "deliver" || !receiver.policy ? [toStage("egress")] : [load("egress", 1), toStage(stage), load("egress", 0)];
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
  about: "a port's MAC, for every chassis that can reach its network",
  on: each(attachmentTable),
  emit(at: Attachment, view, out) {
    const port = view.get(portTable, at.port_id);
    if (port === undefined) return;
    const match = { "reg:net": at.net_key, eth_dst: port.mac_address } as const;
    const here = [load("out_port_key", at.port_key), load("out_host", at.host_key), toStage("locate")] as const;
    if (at.role !== "active") otherPlace(at, match, view, (scope, flow) => out.flow(scope, "l2_lookup", flow));
    if (activeAttachment(view, at.port_id)?.id !== at.id) return;
    out.flow(netScope(at.network_id), "l2_lookup", { priority: 100, match, actions: here });
    // An extra address that one port alone may use can be routed to; of several holders only ARP tells which is active.
    for (const { ip_address: ip, mac_address: mac } of port.allowed_address_pairs) {
      if (ip.includes("/") || view.by(portTable, "pair_ip", `${port.network_id}|${ip}`).length > 1) continue;
      if (view.get(addressTable, `${port.network_id}/${ip}`) !== undefined) continue;
      neighbour(out, { id: port.network_id, key: at.net_key }, ip, mac === "" ? port.mac_address : mac, netScope(port.network_id), mayForward(port) || mayBeTaken(view, port.network_id, ip, port.id) ? "asked" : "host", saidOfLink(view, port.network_id));
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
  // A copy to each place by a tunnel (the one to oneself ends there), and the packet itself to the port if it is here. Copies end where they arrive.
  const heard = places.filter((p) => p === place || p.role === "standby");
  emit(netScope(at.network_id), { priority: 104, match, actions: [load("out_port_key", 0), ...heard.flatMap((p) => [load("out_host", p.host_key), callStage("locate")] as const), ...toPort] });
  for (const p of heard) emit(chassisScope(p.chassis), { priority: 106, match: { ...match, "reg:from_tunnel": 1 }, actions: toPort });
}

const networkRule = l2.rule({
  name: "network",
  about: "who has a network and who may send into it, and one copy of broadcast to each member chassis",
  on: each(networkTable),
  emit(network, view, out) {
    const hosts = view.pairKeys(attachmentTable, "network_chassis", network.id);
    if (hosts.length === 0) return;
    const members = hosts.map((id) => ({ id, key: view.get(chassisTable, id)?.key ?? 0 })).filter((m) => m.key > 0).sort((a, b) => a.key - b.key);
    out.include(lanScope(network.id), netScope(network.id));
    out.include(lanScope(network.id), sendersScope(network.id));
    out.include(sendersScope(network.id), membersScope(network.id));
    // Only where the network has ports: whoever reaches it through a router sends into it and never gets from it.
    out.flow(lanScope(network.id), "flood_remote", {
      priority: 100,
      match: { "reg:net": network.key },
      actions: members.flatMap(({ key }) => [load("out_host", key), callStage("locate")]),
    });
    for (const { id, key } of members) {
      out.include(netScope(network.id), hostScope(key));
      out.include(membersScope(network.id), fromScope(id));
    }
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
    for (let chunk = 0; chunk * FLOOD_CHUNK < members.length; chunk++) {
      const part = members.slice(chunk * FLOOD_CHUNK, (chunk + 1) * FLOOD_CHUNK);
      const more = (chunk + 1) * FLOOD_CHUNK < members.length;
      out.flow(chassisScope(chassis), "flood_local", {
        priority: 100,
        match: { "reg:net": netKey, "reg:flood_chunk": chunk },
        actions: [
          load("out_host", 0),
          ...part.flatMap((m) => [load("out_port_key", m.port_key), callStage("locate")]),
          ...(more ? [load("flood_chunk", chunk + 1), callTable("flood_local")] : []),
        ],
      });
    }
  },
});

export const rules = [localPort, reachPort, knownNeighbour, announced, networkRule, floodLocal];

/** What needs no entity: rogue servers, unsecured ports, the answers to ARP and ND, group addresses. */
export const staticFlows = l2.static((out) => {
  const base = baseScope;
  const secured = { "reg:secured": 1 } as const;
  const open = { "reg:secured": 0 } as const;
  const toServices = [toStage("services")];
  const toForward = [toStage("forward")];
  // Nobody but the network itself serves DHCP or advertises routers; spoofed neighbour discovery falls to these as well.
  out.flow(base, "port_security", { priority: 200, match: { ...secured, eth_type: ethType.ip, ip_proto: ipProto.udp, udp_src: 67, udp_dst: 68 }, actions: [] });
  out.flow(base, "port_security", { priority: 200, match: { ...secured, eth_type: ethType.ipv6, ip_proto: ipProto.udp, udp_src: 547, udp_dst: 546 }, actions: [] });
  for (const icmpv6_type of [ND.routerAdvertisement, ND.redirect]) out.flow(base, "port_security", { priority: 200, match: { ...secured, ...icmpv6, icmpv6_type }, actions: [] });
  for (const icmpv6_type of [ND.routerSolicitation, ND.neighbourSolicitation, ND.neighbourAdvertisement]) {
    out.flow(base, "port_security", { priority: 110, match: { ...secured, ...icmpv6, icmpv6_type }, actions: [] });
  }
  // First fragments show their ports and types to these flows. IPv6 can put them into the second, behind other headers, which no host has
  // to accept (RFC 7112, RFC 8200 section 4.5); a chain of headers that is cut shows as protocol 0.
  const first = { ...secured, eth_type: ethType.ipv6, ip_frag: FIRST_FRAGMENT } as const;
  out.flow(base, "port_security", { priority: 200, match: { ...first, ip_proto: ipProto.udp, udp_src: 0, udp_dst: 0 }, actions: [] });
  out.flow(base, "port_security", { priority: 200, match: { ...first, ip_proto: ipProto.icmpv6, icmpv6_type: 0 }, actions: [] });
  out.flow(base, "port_security", { priority: 200, match: { ...secured, eth_type: ethType.ipv6, ip_proto: 0 }, actions: [] });
  // Ports without port security: the services answer them too, policy does not apply.
  out.flow(base, "port_security", { priority: 60, match: { ...open, eth_type: ethType.arp }, actions: ARP_TO_SERVICES });
  out.flow(base, "port_security", { priority: 60, match: { ...open, ...DHCP_CLIENT }, actions: toServices });
  for (const icmpv6_type of [ND.routerSolicitation, ND.neighbourSolicitation, ND.neighbourAdvertisement]) {
    out.flow(base, "port_security", { priority: 60, match: { ...open, ...icmpv6, icmpv6_type }, actions: ND_TO_SOURCE });
  }
  out.flow(base, "port_security", { priority: 50, match: open, actions: toForward });
  // Who has no address yet solicits from none, RFC 4861 sections 4.1 and 4.3: neighbours by the group of the address that it wants, without an option.
  out.flow(base, "nd_source", { priority: 200, match: { "reg:too_long": 1 }, actions: [] });
  out.flow(base, "nd_source", { priority: 110, match: { ...icmpv6, icmpv6_type: ND.neighbourSolicitation, ipv6_src: "::", ipv6_dst: SOLICITED_NODES, ipv6_nd_sll: NO_OPTION }, actions: toServices });
  out.flow(base, "nd_source", { priority: 110, match: { ...icmpv6, icmpv6_type: ND.routerSolicitation, ipv6_src: "::" }, actions: toServices });
  out.flow(base, "nd_source", { priority: 90, match: open, actions: toServices });

  out.flow(base, "arp_nd", { priority: 200, match: { "reg:too_long": 1 }, actions: [] });
  out.flow(base, "arp_nd", { priority: 150, match: { "reg:announces": 1 }, actions: [toTable("address_announced")] });
  out.flow(base, "address_announced", { priority: 10, match: {}, actions: toForward });
  // ARP: the target's MAC lands in eth_dst if it is known; a probe for a duplicate is for the owner itself to answer, if it can: of a router nobody else does.
  const arp = { eth_type: ethType.arp } as const;
  out.flow(base, "arp_nd", {
    priority: 100, match: { ...arp, arp_op: 1 },
    actions: [setField("eth_dst", BROADCAST), copy("arp_tpa", "reg:nexthop"), callStage("neighbour"), toTable("arp_nd_reply")],
  });
  out.flow(base, "arp_nd", { priority: 50, match: arp, actions: toForward });
  out.flow(base, "arp_nd_reply", { priority: 100, match: { ...arp, eth_dst: GROUP_BIT }, actions: toForward });
  out.flow(base, "arp_nd_reply", { priority: 90, match: { ...arp, "reg:said": 2 }, actions: [setField("eth_dst", BROADCAST), ...toForward] });
  out.flow(base, "arp_nd_reply", { priority: 80, match: { ...arp, "reg:said": 0, arp_spa: "0.0.0.0" }, actions: [setField("eth_dst", BROADCAST), ...toForward] });
  // Who asked from afar is no port here: the answer goes as any frame does.
  const fromAfar = { "reg:in_port_key": 0 } as const;
  const ways = [{ priority: 50, at: {}, back: backToSender }, { priority: 60, at: fromAfar, back: onAsAnyFrame }] as const;
  for (const { priority, at, back } of ways) {
    out.flow(base, "arp_nd_reply", {
      priority, match: { ...at, ...arp },
      actions: [
        setField("arp_op", 2), copy("arp_sha", "arp_tha"), copy("eth_dst", "arp_sha"), copy("arp_spa", "arp_tpa"), copy("reg:nexthop", "arp_spa"),
        copy("eth_src", "eth_dst"), copy("arp_sha", "eth_src"), ...back,
      ],
    });
  }

  // Neighbour discovery likewise; nd_advertise is a table of its own because its fields exist only in an advertisement.
  const solicitation = { ...icmpv6, icmpv6_type: ND.neighbourSolicitation } as const;
  out.flow(base, "arp_nd", { priority: 110, match: { ...solicitation, ipv6_src: "::" }, actions: [copy("ipv6_nd_target", "reg:nexthop"), callStage("neighbour"), toTable("arp_nd_reply")] });
  out.flow(base, "arp_nd", { priority: 100, match: { ...icmpv6, icmpv6_type: ND.neighbourAdvertisement }, actions: toForward });
  out.flow(base, "arp_nd", { priority: 105, match: { ...icmpv6, icmpv6_type: ND.neighbourAdvertisement, ipv6_dst: "ff02::1" }, actions: [toTable("address_announced")] });
  out.flow(base, "arp_nd", {
    priority: 100, match: solicitation,
    actions: [setField("eth_dst", ALL_NODES), copy("ipv6_nd_target", "reg:nexthop"), callStage("neighbour"), toTable("arp_nd_reply")],
  });
  out.flow(base, "arp_nd_reply", { priority: 100, match: { ...solicitation, eth_dst: GROUP_BIT }, actions: toForward });
  out.flow(base, "arp_nd_reply", { priority: 90, match: { ...solicitation, "reg:said": 2 }, actions: [setField("eth_dst", ALL_NODES), ...toForward] });
  const toAdvertise = [setField("icmpv6_type", ND.neighbourAdvertisement), setField("icmpv6_code", 0), toTable("nd_advertise")] as const;
  out.flow(base, "arp_nd_reply", { priority: 120, match: { ...solicitation, ipv6_src: "::", "reg:said": 1 }, actions: toAdvertise });
  out.flow(base, "arp_nd_reply", {
    priority: 110, match: { ...solicitation, ipv6_src: "::" },
    // To the group of the address, whatever MAC the frame was sent to. RFC 2464 section 7
    actions: [setField("eth_dst", "33:33:ff:00:00:00"), copy({ field: "ipv6_dst", ofs: 0, bits: 24 }, { field: "eth_dst", ofs: 0, bits: 24 }), ...toForward],
  });
  out.flow(base, "arp_nd_reply", { priority: 50, match: solicitation, actions: toAdvertise });
  const routerFlag = copy({ field: "reg:said", ofs: 0, bits: 1 }, { field: "nd_reserved", ofs: 31, bits: 1 });
  // Who looks for a duplicate has no address yet: to all nodes, and nobody solicited it. RFC 4861 section 7.2.4
  out.flow(base, "nd_advertise", {
    priority: 70, match: { ...icmpv6, icmpv6_type: ND.neighbourAdvertisement, ipv6_src: "::" },
    actions: [
      setField("nd_reserved", 0x20000000), routerFlag, setField("nd_options_type", 2), copy("eth_dst", "ipv6_nd_tll"),
      setField("ipv6_dst", "ff02::1"), copy("ipv6_nd_target", "ipv6_src"), copy("ipv6_nd_tll", "eth_src"), setField("eth_dst", ALL_NODES), ...backToSender,
    ],
  });
  for (const { priority, at, back } of ways) {
    out.flow(base, "nd_advertise", {
      priority, match: { ...at, ...icmpv6, icmpv6_type: ND.neighbourAdvertisement },
      actions: [
        // Solicited and override flags, and for a router its own, RFC 4861 section 4.4; option type 2: target link-layer address.
        setField("nd_reserved", 0x60000000), routerFlag, setField("nd_options_type", 2), copy("eth_dst", "ipv6_nd_tll"),
        copy("ipv6_src", "ipv6_dst"), copy("ipv6_nd_target", "ipv6_src"), copy("eth_src", "eth_dst"), copy("ipv6_nd_tll", "eth_src"),
        ...back,
      ],
    });
  }

  out.flow(base, "l2_lookup", { priority: 50, match: { eth_dst: GROUP_BIT, "reg:from_tunnel": 0 }, actions: [callTable("flood_remote"), toTable("flood_local")] });
  out.flow(base, "l2_lookup", { priority: 50, match: { eth_dst: GROUP_BIT, "reg:from_tunnel": 1 }, actions: [toTable("flood_local")] });
});
