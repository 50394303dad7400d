// How l2's entities become flows. What is the same on every chassis goes to a scope of the network; only what names a
// local OpenFlow port goes to the chassis' own scope.
import {
  callStage, callTable, chassisScope, chassisTable, copy, derivation, each, eachPair, ethType, ipProto, load, rule, setField, toStage, toTable,
  vifTable, type Chassis, type Emit, type FlowAction, type FlowMatch, type ReadView, type Vif,
} from "#app";
import { ports as ofPorts } from "node-openflow";
import { ipv4ToNumber, ipv6ToBigInt, linkLocal } from "packet-codec";
import { addressTable, attachmentTable, hostScope, lanScope, netScope, networkTable, portBindingTable, portStatusTable, portTable, preferred, requestedChassis, type Attachment, type Port } from "./model.ts";

/** Packets a port may send to the controller, per second. */
const PUNT_RATE_PPS = 50;
const PUNT_BURST = 100;
/** Local ports per flood flow: 40 bytes of actions each, a message holds 64 KiB. */
const FLOOD_CHUNK = 1000;

const BROADCAST = "ff:ff:ff:ff:ff:ff";
const ALL_NODES = "33:33:00:00:00:01";
const GROUP_BIT = { value: "01:00:00:00:00:00", mask: "01:00:00:00:00:00" };
const icmpv6 = { eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6 } as const;
const ND = { routerSolicitation: 133, routerAdvertisement: 134, neighbourSolicitation: 135, neighbourAdvertisement: 136, redirect: 137 } as const;
const DHCP_CLIENT = { eth_type: ethType.ip, ip_proto: ipProto.udp, udp_src: 68, udp_dst: 67 } as const;

/** Where a port is: on the chassis the API asked for, or wherever it is plugged. */
function attach(port: Port, view: ReadView): Attachment | undefined {
  if (!port.admin_state_up) return undefined;
  const vifs = view.by(vifTable, "iface_id", port.id);
  if (vifs.length === 0) return undefined;
  const network = view.get(networkTable, port.network_id);
  if (network === undefined || !network.admin_state_up) return undefined;
  const wanted = view.get(portBindingTable, port.id)?.requested_host ?? "";
  const host = vifs.length === 1 ? "" : (view.get(portStatusTable, port.id)?.host ?? "");
  const requested = wanted === "" ? undefined : requestedChassis(view, wanted);
  let best: { vif: Vif; chassis: Chassis } | undefined;
  for (const vif of vifs) {
    const chassis = view.get(chassisTable, vif.chassis);
    if (chassis === undefined || (wanted !== "" && chassis.id !== requested?.id)) continue;
    if (best === undefined || preferred(vif, best.vif, host)) best = { vif, chassis };
  }
  if (best === undefined) return undefined;
  const { vif, chassis } = best;
  return { id: port.id, network_id: network.id, net_key: network.key, port_key: port.key, chassis: chassis.id, host_key: chassis.key, ofport: vif.ofport, slot: vif.slot };
}

export const derive = [derivation({ name: "attachment", on: each(portTable), into: attachmentTable, derive: attach })];

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

const localPort = rule({
  name: "local-port",
  about: "a port on its own chassis: what it may send, and how packets reach it",
  on: each(attachmentTable),
  emit(at: Attachment, view, out) {
    const port = view.get(portTable, at.id);
    if (port === undefined) return;
    const scope = chassisScope(at.chassis);
    const context = out.portContext(view, port.id);
    const sources = port.port_security_enabled ? sourcesOf(port, view) : [];
    out.include(scope, lanScope(at.network_id));
    out.meter(scope, at.slot, PUNT_RATE_PPS, PUNT_BURST);
    out.flow(scope, "classify", {
      priority: 100,
      match: { in_port: at.ofport },
      actions: [
        load("net", at.net_key), load("in_port_key", at.port_key), load("ct_zone", at.slot),
        ...(port.port_security_enabled ? [load("secured", 1)] : []), ...context, toStage("admission"),
      ],
    });
    if (port.port_security_enabled) admit(at, sources, scope, out);
    locate(at, port.port_security_enabled, sources.some((s) => s.ip.includes(":")), context, scope, out);
  },
});

// The flows of every port pass here: matches are written out, not put together from parts.
function admit(at: Attachment, sources: readonly Source[], scope: string, out: Emit): void {
  const key = at.port_key;
  const flow = (priority: number, match: FlowMatch, actions: readonly FlowAction[]): void => out.flow(scope, "port_security", { priority, match, actions });
  for (const { mac, ip } of sources) {
    if (ip.includes(":")) {
      flow(100, { "reg:in_port_key": key, eth_src: mac, eth_type: ethType.ipv6, ipv6_src: ip }, TO_POLICY);
      for (const sll of [mac, "00:00:00:00:00:00"]) {
        flow(120, { ...icmpv6, "reg:in_port_key": key, eth_src: mac, icmpv6_type: ND.neighbourSolicitation, ipv6_src: ip, ipv6_nd_sll: sll }, TO_SERVICES);
      }
      flow(120, { ...icmpv6, "reg:in_port_key": key, eth_src: mac, icmpv6_type: ND.neighbourAdvertisement, ipv6_nd_target: ip, ipv6_nd_tll: mac }, TO_FORWARD);
    } else {
      flow(100, { "reg:in_port_key": key, eth_src: mac, eth_type: ethType.ip, ipv4_src: ip }, TO_POLICY);
      flow(100, { "reg:in_port_key": key, eth_src: mac, eth_type: ethType.arp, arp_sha: mac, arp_spa: ip }, TO_SERVICES);
    }
  }
  for (const mac of macsOf(sources)) {
    flow(100, { "reg:in_port_key": key, eth_src: mac, eth_type: ethType.arp, arp_sha: mac, arp_spa: "0.0.0.0" }, TO_SERVICES);
    flow(150, { ...DHCP_CLIENT, "reg:in_port_key": key, eth_src: mac }, TO_SERVICES);
    if (!sendsIpv6(sources, mac)) continue;
    flow(120, { ...icmpv6, "reg:in_port_key": key, eth_src: mac, icmpv6_type: ND.routerSolicitation }, TO_SERVICES);
    flow(120, { ...icmpv6, "reg:in_port_key": key, eth_src: mac, icmpv6_type: ND.neighbourSolicitation, ipv6_src: "::" }, TO_SERVICES);
  }
}
const TO_POLICY = [toStage("acl_out")];
const TO_SERVICES = [toStage("services")];
const TO_FORWARD = [toStage("forward")];

function locate(at: Attachment, secured: boolean, ipv6: boolean, context: readonly FlowAction[], scope: string, out: Emit): void {
  const to = (match: FlowMatch, actions: readonly FlowAction[]): void => out.flow(scope, "locate", { priority: 200, match, actions });
  const key = at.port_key;
  const onward = [load("out_port", at.ofport), toStage("deliver")];
  if (!secured) {
    to({ "reg:out_port_key": key }, onward);
    return;
  }
  const checked = [load("out_port", at.ofport), load("ct_zone", at.slot), ...context, toStage("acl_in")];
  to({ "reg:out_port_key": key, eth_type: ethType.ip }, checked);
  if (ipv6) to({ "reg:out_port_key": key, eth_type: ethType.ipv6 }, checked);
  to({ "reg:out_port_key": key, eth_type: ethType.arp }, onward);
}

const reachPort = rule({
  name: "reach-port",
  about: "a port's MAC, for every chassis that can reach its network",
  on: each(attachmentTable),
  emit(at: Attachment, view, out) {
    const port = view.get(portTable, at.id);
    if (port === undefined) return;
    out.flow(netScope(at.network_id), "l2_lookup", {
      priority: 100,
      match: { "reg:net": at.net_key, eth_dst: port.mac_address },
      actions: [load("out_port_key", at.port_key), load("out_host", at.host_key), toStage("locate")],
    });
    // An extra address that one port alone may use can be routed to; of several holders only ARP tells which is active.
    for (const { ip_address: ip, mac_address: mac } of port.allowed_address_pairs) {
      if (ip.includes("/") || view.by(portTable, "pair_ip", `${port.network_id}|${ip}`).length > 1) continue;
      if (view.get(addressTable, `${port.network_id}/${ip}`) !== undefined) continue;
      neighbour(out, port.network_id, at.net_key, ip, mac === "" ? port.mac_address : mac);
    }
  },
});

function neighbour(out: Emit, networkId: string, netKey: number, ip: string, mac: string): void {
  out.flow(netScope(networkId), "neighbour", {
    priority: 100,
    match: ip.includes(":") ? { "reg:net": netKey, "reg:nexthop6": ipv6ToBigInt(ip) } : { "reg:net": netKey, "reg:nexthop": ipv4ToNumber(ip) },
    actions: [setField("eth_dst", mac)],
  });
}

const knownNeighbour = rule({
  name: "neighbour",
  about: "an address of an attached port, or of one that the network itself provides, and its MAC",
  on: each(addressTable),
  emit(address, view, out) {
    const port = view.get(portTable, address.port_id);
    const network = view.get(networkTable, address.network_id);
    if (port === undefined || network === undefined) return;
    if (!port.device_owner.startsWith("network:") && view.get(attachmentTable, port.id) === undefined) return;
    neighbour(out, network.id, network.key, address.ip, port.mac_address);
    if (address.family === 6) neighbour(out, network.id, network.key, linkLocal(port.mac_address), port.mac_address);
  },
});

const networkRule = rule({
  name: "network",
  about: "packets of the network from tunnels, and one copy of broadcast to each member chassis",
  on: each(networkTable),
  emit(network, view, out) {
    const hosts = view.pairKeys(attachmentTable, "network_chassis", network.id);
    if (hosts.length === 0) return;
    const keys = hosts.map((id) => view.get(chassisTable, id)?.key ?? 0).filter((k) => k > 0).sort((a, b) => a - b);
    out.include(lanScope(network.id), netScope(network.id));
    // Only where the network has ports: whoever reaches it through a router sends into it and never gets from it.
    out.flow(lanScope(network.id), "classify", {
      priority: 50,
      match: { tunnel_id: network.key },
      actions: [load("net", network.key), load("from_tunnel", 1), toStage("forward")],
    });
    out.flow(lanScope(network.id), "flood_remote", {
      priority: 100,
      match: { "reg:net": network.key },
      actions: keys.flatMap((key) => [load("out_host", key), callStage("locate")]),
    });
    for (const key of keys) out.include(netScope(network.id), hostScope(key));
  },
});

const floodLocal = rule({
  name: "flood-local",
  about: "one copy of broadcast to each local port of the network",
  on: eachPair(attachmentTable, "network_chassis"),
  emit({ a: networkId, b: chassis }, view, out) {
    const members = [...view.byPair(attachmentTable, "network_chassis", networkId, chassis)].sort((x, y) => x.port_key - y.port_key);
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

export const rules = [localPort, reachPort, knownNeighbour, networkRule, floodLocal];

/** What needs no entity: rogue servers, unsecured ports, the answers to ARP and ND, group addresses. */
export function staticFlows(out: Emit): void {
  const flow = (table: string, priority: number, match: FlowMatch, ...actions: FlowAction[]): void => out.flow("base", table, { priority, match, actions });
  const secured = { "reg:secured": 1 };
  const open = { "reg:secured": 0 };
  // Nobody but the network itself serves DHCP or advertises routers; spoofed neighbour discovery falls to these as well.
  flow("port_security", 200, { ...secured, eth_type: ethType.ip, ip_proto: ipProto.udp, udp_src: 67, udp_dst: 68 });
  flow("port_security", 200, { ...secured, eth_type: ethType.ipv6, ip_proto: ipProto.udp, udp_src: 547, udp_dst: 546 });
  for (const type of [ND.routerAdvertisement, ND.redirect]) flow("port_security", 200, { ...secured, ...icmpv6, icmpv6_type: type });
  for (const type of [ND.routerSolicitation, ND.neighbourSolicitation, ND.neighbourAdvertisement]) flow("port_security", 110, { ...secured, ...icmpv6, icmpv6_type: type });
  // Ports without port security: the services answer them too, policy does not apply.
  flow("port_security", 60, { ...open, eth_type: ethType.arp }, toStage("services"));
  flow("port_security", 60, { ...open, ...DHCP_CLIENT }, toStage("services"));
  for (const type of [ND.routerSolicitation, ND.neighbourSolicitation]) flow("port_security", 60, { ...open, ...icmpv6, icmpv6_type: type }, toStage("services"));
  flow("port_security", 50, open, toStage("forward"));

  // ARP: the target's MAC lands in eth_dst if it is known; a probe for a duplicate is for the owner itself to answer.
  const arp = { eth_type: ethType.arp } as const;
  flow("arp_nd", 110, { ...arp, arp_op: 1, arp_spa: "0.0.0.0" }, toStage("forward"));
  flow("arp_nd", 100, { ...arp, arp_op: 1 }, setField("eth_dst", BROADCAST), copy("arp_tpa", "reg:nexthop"), callStage("neighbour"), toTable("arp_nd_reply"));
  flow("arp_nd", 50, arp, toStage("forward"));
  flow("arp_nd_reply", 100, { ...arp, eth_dst: GROUP_BIT }, toStage("forward"));
  flow("arp_nd_reply", 50, arp,
    setField("arp_op", 2), copy("arp_sha", "arp_tha"), copy("eth_dst", "arp_sha"), copy("arp_spa", "arp_tpa"), copy("reg:nexthop", "arp_spa"),
    copy("eth_src", "eth_dst"), copy("arp_sha", "eth_src"), { type: "output", port: ofPorts.IN_PORT });

  // Neighbour discovery likewise; nd_advertise is a table of its own because its fields exist only in an advertisement.
  const solicitation = { ...icmpv6, icmpv6_type: ND.neighbourSolicitation } as const;
  flow("arp_nd", 110, { ...solicitation, ipv6_src: "::" }, toStage("forward"));
  flow("arp_nd", 100, solicitation, setField("eth_dst", ALL_NODES), copy("ipv6_nd_target", "reg:nexthop6"), callStage("neighbour"), toTable("arp_nd_reply"));
  flow("arp_nd_reply", 100, { ...solicitation, eth_dst: GROUP_BIT }, toStage("forward"));
  flow("arp_nd_reply", 50, solicitation, setField("icmpv6_type", ND.neighbourAdvertisement), setField("icmpv6_code", 0), toTable("nd_advertise"));
  flow("nd_advertise", 50, { ...icmpv6, icmpv6_type: ND.neighbourAdvertisement },
    // Solicited and override flags, RFC 4861 section 4.4; option type 2: target link-layer address.
    setField("nd_reserved", 0x60000000), setField("nd_options_type", 2), copy("eth_dst", "ipv6_nd_tll"),
    copy("ipv6_src", "ipv6_dst"), copy("ipv6_nd_target", "ipv6_src"), copy("eth_src", "eth_dst"), copy("ipv6_nd_tll", "eth_src"),
    { type: "output", port: ofPorts.IN_PORT });

  flow("l2_lookup", 50, { eth_dst: GROUP_BIT, "reg:from_tunnel": 0 }, callTable("flood_remote"), toTable("flood_local"));
  flow("l2_lookup", 50, { eth_dst: GROUP_BIT, "reg:from_tunnel": 1 }, toTable("flood_local"));
}
