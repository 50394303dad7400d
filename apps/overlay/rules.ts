// Tunnels: ingress and egress of tunnel segments. One flow-based tunnel port per encapsulation and chassis, with the same OpenFlow number everywhere; one flow
// per peer chassis. Which encapsulation two chassis use depends on what both have: chassis with the same list and
// underlay family form a profile, and a peer's flow is compiled once per profile.
//
// Who may come in: a frame is taken when its outer source is a chassis that may send into some network here and its VNI is one of the
// networks here. Both are a conjunction in the first table, one row for each sender and one for each network, never their product.
// What this does not stop: a chassis that was taken over can send into every network that its peers have.
import {
  baseScope, chassisScope, chassisTable, claim, claimTable, copy, core, derivation, each, isIpv6, load, poolNumberTable, setField, toStage,
  type Chassis, type Claim, type EncapType,
} from "#app";
import { attachmentTable, chosenSegmentTable, fromScope, hostScope, lanScope, netScope, networkHostTable, networkTable, segmentTable, type Segment } from "../l2/model.ts";
import { byEncapScope, byTunnel, encapOf, isTunnelled, KNOWN_SENDER, loadedFor, overlaySettings, OWN, profileTable, sharedEncap, tunnelPort, vniOf, vniPool, vniRanges } from "./model.ts";
import { overlay } from "./tables.ts";

const portName: Readonly<Record<EncapType, string>> = { geneve: "axion-geneve", vxlan: "axion-vxlan", gre: "axion-gre" };

const profileOf = (c: Chassis): string | undefined => (c.encap_ip === "" || c.encap_types.length === 0 ? undefined : `${c.encap_types.join(",")}/${c.encap_ip.includes(":") ? 6 : 4}`);

export const derive = [
  derivation({
    name: "encap-profile",
    on: each(chassisTable),
    into: profileTable,
    reads: [],
    derive: (c, view) => {
      const profile = profileOf(c);
      return profile === undefined ? undefined : { id: c.id, profile, marked: view.settings(overlaySettings)["tunnel-dscp"] === "inherit" };
    },
  }),
  derivation({
    name: "tunnel-segment",
    on: each(networkTable),
    into: segmentTable,
    reads: [poolNumberTable, chosenSegmentTable],
    derive(network, view): Segment | undefined {
      const id = isTunnelled(view, network.id) ? vniOf(view, network.id) : undefined;
      return id === undefined ? undefined : { id: `${OWN}${network.id}`, network_id: network.id, type: "tunnel", physical_network: null, segmentation_id: id };
    },
  }),
  // Networks that were made while the overlay was not there, or before VNIs were told from keys, get one: the number of their key, as it was.
  derivation({
    name: "network-vni", on: each(networkTable), into: claimTable, reads: [chosenSegmentTable],
    derive: (network, view) => (isTunnelled(view, network.id) ? claim("overlay/network-vni", vniPool, "", network.id, { prefer: network.key, within: vniRanges(view) }) : undefined),
  }),
  derivation({
    name: "segment-vni",
    on: each(segmentTable),
    into: claimTable,
    reads: [networkTable],
    derive({ id, network_id, type, segmentation_id: n }, view): Claim | undefined {
      if (id.startsWith(OWN) || type === "vlan" || type === "flat" || n === null || view.get(networkTable, network_id) === undefined) return undefined;
      return claim(`overlay/segment-vni/${id}`, vniPool, "", network_id, { n });
    },
  }),
];

const tunnels = overlay.rule({
  name: "tunnel-ports",
  about: "the tunnel ports of a chassis, one for each of its encapsulations",
  on: each(chassisTable),
  emit(chassis, view, out) {
    const { profile, marked } = view.get(profileTable, chassis.id) ?? {};
    if (profile === undefined) return;
    out.variant(chassis.id, profile);
    for (const type of chassis.encap_types) {
      out.row(chassisScope(chassis.id), "Port", portName[type], {
        interface: { type, options: { remote_ip: "flow", key: "flow", local_ip: chassis.encap_ip, ...(marked === true && { tos: "inherit" }) }, ofport_request: tunnelPort[type] },
      });
    }
    // Broadcast goes to every member chassis of a network; the copy for oneself ends here.
    out.flow(chassisScope(chassis.id), "tunnel_out", { priority: 200, match: { "reg:out_host": chassis.key }, actions: [] });
  },
});

const peer = overlay.rule({
  name: "peer",
  about: "how other chassis reach this one",
  on: each(chassisTable),
  emit(chassis, view, out) {
    const own = profileOf(chassis);
    if (own === undefined) return;
    const family = own.slice(-2);
    for (const profile of view.pairKeys(profileTable, "profiles", "all")) {
      if (!profile.endsWith(family)) continue; // an IPv4 endpoint cannot reach an IPv6 one
      const type = sharedEncap(chassis.encap_types, profile.slice(0, -2).split(","));
      if (type === undefined) continue;
      const destination = family === "/6" ? setField("tun_ipv6_dst", chassis.encap_ip) : setField("tun_ipv4_dst", chassis.encap_ip);
      out.flow(hostScope(chassis.key, profile), "tunnel_out", {
        priority: 100,
        match: { "reg:out_host": chassis.key },
        actions: [copy("reg:net", { field: "tunnel_id", ofs: 0, bits: 32 }), destination, { type: "output", port: tunnelPort[type] }],
      });
    }
    // Networks of a certain encapsulation have these alone.
    for (const type of chassis.encap_types) {
      const destination = family === "/6" ? setField("tun_ipv6_dst", chassis.encap_ip) : setField("tun_ipv4_dst", chassis.encap_ip);
      out.flow(byEncapScope(chassis.key, type), "tunnel_out", {
        priority: 106,
        match: { "reg:out_host": chassis.key, "reg:vni_loaded": loadedFor(type) },
        actions: [copy("reg:net", { field: "tunnel_id", ofs: 0, bits: 32 }), destination, { type: "output", port: tunnelPort[type] }],
      });
    }
    out.into(core).flow(fromScope(chassis.id), "classify", {
      priority: 50,
      match: isIpv6(chassis.encap_ip) ? { tun_ipv6_src: chassis.encap_ip } : { tun_ipv4_src: chassis.encap_ip },
      actions: [{ type: "conjunction", id: KNOWN_SENDER, clause: 0, n_clauses: 2 }],
    });
  },
});

const vni = overlay.rule({
  name: "vni",
  about: "the VNI of a network in tunnels, in and out",
  on: each(networkTable),
  emit(network, view, out) {
    const id = vniOf(view, network.id);
    if (id === undefined) {
      // By the number of its key it would come out in whatever network has that as VNI.
      out.flow(netScope(network.id), "tunnel_out", { priority: 110, match: { "reg:net": network.key, "reg:vni_loaded": 0 }, actions: [] });
      return;
    }
    const first = out.into(core);
    first.flow(lanScope(network.id), "classify", { priority: 50, match: { tunnel_id: id }, actions: [{ type: "conjunction", id: KNOWN_SENDER, clause: 1, n_clauses: 2 }] });
    const type = encapOf(view, network.id);
    if (type !== undefined) {
      const hosts = new Set([...view.pairKeys(attachmentTable, "network_chassis", network.id), ...view.pairKeys(networkHostTable, "network_chassis", network.id)]);
      for (const host of hosts) {
        const key = view.get(chassisTable, host)?.key;
        if (key !== undefined) out.include(netScope(network.id), byEncapScope(key, type));
      }
      out.flow(netScope(network.id), "tunnel_out", { priority: 105, match: { "reg:vni_loaded": loadedFor(type) }, actions: [] });
    }
    if (id !== network.key || type !== undefined) out.flow(netScope(network.id), "tunnel_out", { priority: 110, match: { "reg:net": network.key, "reg:vni_loaded": 0 }, actions: byTunnel(network, id, type) });
    if (id === network.key) return;
    first.flow(lanScope(network.id), "classify", {
      priority: 51, match: { conj_id: KNOWN_SENDER, tunnel_id: id }, actions: [load("net", network.key), load("from_tunnel", 1), toStage("forward")],
    });
  },
});

export const rules = [tunnels, peer, vni];

export const staticFlows = overlay.static((out) => {
  const first = out.into(core);
  first.flow(baseScope, "classify", {
    priority: 50, match: { conj_id: KNOWN_SENDER }, actions: [copy({ field: "tunnel_id", ofs: 0, bits: 32 }, "reg:net"), load("from_tunnel", 1), toStage("forward")],
  });
  // Strangers, and networks that are not here: dropped, and counted.
  for (const port of Object.values(tunnelPort)) first.flow(baseScope, "classify", { priority: 10, match: { in_port: port }, actions: [] });
});
