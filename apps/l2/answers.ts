// What needs no entity: rogue servers, unsecured ports, the answers to ARP and neighbour discovery, group addresses.
import { baseScope, callStage, callTable, copy, ethType, ipProto, load, setField, toStage, toTable } from "#app";
import { backToSender, GROUP_MAC, onAsAnyFrame } from "./model.ts";
import { TAGGED, VLAN_TPIDS } from "./model/tags.ts";
import { advertisement, arp, icmpv6, ND, solicitation } from "./model/messages.ts";
import { DHCP_SERVER, ARP_TO_SERVICES, ND_TO_SOURCE, NO_OPTION } from "./rules.ts";
import { l2 } from "./tables.ts";

const NO_ADDRESS = "0.0.0.0";
const BROADCAST = "ff:ff:ff:ff:ff:ff";
const ALL_NODES = "33:33:00:00:00:01";
const SOLICITED_NODES = "ff02::1:ff00:0/104";
/** NXM_NX_IP_FRAG, ovs-fields(7): a fragment, and not a later one. */
const FIRST_FRAGMENT = 1;
/** Who was heard once may be gone, and somebody else have the address: who has it answers itself. */
const LOOK_UP = [load("question", 1), callStage("neighbour"), load("question", 0), toTable("arp_nd_reply")] as const;

export const staticFlows = l2.static((out) => {
  const base = baseScope;
  const secured = { "reg:secured": 1 } as const;
  const open = { "reg:secured": 0 } as const;
  const toServices = [toStage("services")];
  const toForward = [toStage("forward")];
  // Nobody's tag passes: not one behind that of a sub-port, one behind SNAP, or one of a provider's older kinds.
  out.flow(base, "port_security", { priority: 1000, match: { "reg:tag_passes": 0, vlan_vid: TAGGED }, actions: [] });
  for (const eth_type of VLAN_TPIDS) out.flow(base, "port_security", { priority: 1000, match: { eth_type }, actions: [] });
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
  out.flow(base, "port_security", { priority: 60, match: { ...open, ...arp }, actions: ARP_TO_SERVICES });
  out.flow(base, "port_security", { priority: 60, match: { ...open, ...DHCP_SERVER }, actions: toServices });
  for (const icmpv6_type of [ND.routerSolicitation, ND.neighbourSolicitation, ND.neighbourAdvertisement]) {
    out.flow(base, "port_security", { priority: 60, match: { ...open, ...icmpv6, icmpv6_type }, actions: ND_TO_SOURCE });
  }
  out.flow(base, "port_security", { priority: 50, match: open, actions: toForward });
  // Who has no address yet solicits from none, RFC 4861 sections 4.1 and 4.3: neighbours by the group of the address that it wants, without an option.
  out.flow(base, "nd_source", { priority: 200, match: { "reg:too_long": 1 }, actions: [] });
  out.flow(base, "nd_source", { priority: 110, match: { ...solicitation, ipv6_src: "::", ipv6_dst: SOLICITED_NODES, ipv6_nd_sll: NO_OPTION }, actions: toServices });
  out.flow(base, "nd_source", { priority: 110, match: { ...icmpv6, icmpv6_type: ND.routerSolicitation, ipv6_src: "::" }, actions: toServices });
  out.flow(base, "nd_source", { priority: 90, match: open, actions: toServices });

  out.flow(base, "arp_nd", { priority: 200, match: { "reg:too_long": 1 }, actions: [] });
  out.flow(base, "arp_nd", { priority: 150, match: { "reg:announces": 1 }, actions: toForward });
  // ARP: the target's MAC lands in eth_dst if it is known. Who probes for a duplicate is answered like any other, but not for what is its own
  // (rules.ts); the owner does not hear it, or it would give the address up. RFC 5227 section 2.1.1, RFC 4862 section 5.4.3
  const askArp = [setField("eth_dst", BROADCAST), copy("arp_tpa", "reg:nexthop"), ...LOOK_UP] as const;
  out.flow(base, "arp_nd", { priority: 100, match: { ...arp, arp_op: 1 }, actions: askArp });
  out.flow(base, "arp_nd", { priority: 103, match: { ...arp, arp_op: 1, arp_spa: NO_ADDRESS }, actions: [load("probes", 1), ...askArp] });
  // Nobody says anything of an address that is none, but hosts take it for a probe.
  out.flow(base, "arp_nd", { priority: 60, match: { ...arp, arp_spa: NO_ADDRESS }, actions: [] });
  out.flow(base, "arp_nd", { priority: 50, match: arp, actions: toForward });
  out.flow(base, "arp_nd_reply", { priority: 100, match: { ...arp, eth_dst: GROUP_MAC }, actions: toForward });
  out.flow(base, "arp_nd_reply", { priority: 90, match: { ...arp, "reg:said": 2 }, actions: [setField("eth_dst", BROADCAST), ...toForward] });
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
  const askNd = [setField("eth_dst", ALL_NODES), copy("ipv6_nd_target", "reg:nexthop"), ...LOOK_UP] as const;
  out.flow(base, "arp_nd", { priority: 110, match: { ...solicitation, ipv6_src: "::" }, actions: [load("probes", 1), ...askNd] });
  out.flow(base, "arp_nd", { priority: 100, match: advertisement, actions: toForward });
  out.flow(base, "arp_nd", { priority: 100, match: solicitation, actions: askNd });
  out.flow(base, "arp_nd_reply", { priority: 100, match: { ...solicitation, eth_dst: GROUP_MAC }, actions: toForward });
  out.flow(base, "arp_nd_reply", { priority: 90, match: { ...solicitation, "reg:said": 2 }, actions: [setField("eth_dst", ALL_NODES), ...toForward] });
  const toAdvertise = [setField("icmpv6_type", ND.neighbourAdvertisement), setField("icmpv6_code", 0), toTable("nd_advertise")] as const;
  // What is not known, and what several may have: to the group of the address, whatever MAC the frame was sent to. RFC 2464 section 7
  const toGroup = [setField("eth_dst", "33:33:ff:00:00:00"), copy({ field: "ipv6_dst", ofs: 0, bits: 24 }, { field: "eth_dst", ofs: 0, bits: 24 }), ...toForward] as const;
  for (const match of [{ eth_dst: GROUP_MAC }, { "reg:said": 2 }] as const) {
    out.flow(base, "arp_nd_reply", { priority: "eth_dst" in match ? 120 : 110, match: { ...solicitation, ipv6_src: "::", ...match }, actions: toGroup });
  }
  out.flow(base, "arp_nd_reply", { priority: 50, match: solicitation, actions: toAdvertise });
  const routerFlag = copy({ field: "reg:said", ofs: 0, bits: 1 }, { field: "nd_reserved", ofs: 31, bits: 1 });
  // Who looks for a duplicate has no address yet: to all nodes, and nobody solicited it. RFC 4861 section 7.2.4
  out.flow(base, "nd_advertise", {
    priority: 70, match: { ...advertisement, ipv6_src: "::" },
    actions: [
      setField("nd_reserved", 0x20000000), routerFlag, setField("nd_options_type", 2), copy("eth_dst", "ipv6_nd_tll"),
      setField("ipv6_dst", "ff02::1"), copy("ipv6_nd_target", "ipv6_src"), copy("ipv6_nd_tll", "eth_src"), setField("eth_dst", ALL_NODES), ...backToSender,
    ],
  });
  for (const { priority, at, back } of ways) {
    out.flow(base, "nd_advertise", {
      priority, match: { ...at, ...advertisement },
      actions: [
        // Solicited and override flags, and for a router its own, RFC 4861 section 4.4; option type 2: target link-layer address.
        setField("nd_reserved", 0x60000000), routerFlag, setField("nd_options_type", 2), copy("eth_dst", "ipv6_nd_tll"),
        copy("ipv6_src", "ipv6_dst"), copy("ipv6_nd_target", "ipv6_src"), copy("eth_src", "eth_dst"), copy("ipv6_nd_tll", "eth_src"),
        ...back,
      ],
    });
  }

  // What no connection tracker makes sense of was not translated either, and goes nowhere: +trk+inv, ovs-fields(7).
  out.flow(base, "l2_lookup", { priority: 300, match: { eth_type: ethType.ip, ct_state: { value: 0x30, mask: 0x30 } }, actions: [] });
  out.flow(base, "l2_lookup", { priority: 50, match: { eth_dst: GROUP_MAC, "reg:from_tunnel": 0 }, actions: [callTable("flood_remote"), toTable("flood_local")] });
  out.flow(base, "l2_lookup", { priority: 50, match: { eth_dst: GROUP_MAC, "reg:from_tunnel": 1 }, actions: [toTable("flood_local")] });
});
