// The frame that all apps' tables hang in: stages in pipeline order, and the registers that packets carry across them.

/** Stages in pipeline order. Apps hand packets on by stage, never by another app's table. */
export const stages = [
  { name: "classify", about: "who sent it: local port or tunnel -> net, in_port_key, ct_zone. Its table is the core's, a joint of all apps" },
  { name: "ingress", about: "functions of the sending port that not every port has, entered by those that do" },
  { name: "admission", about: "may this port send this: anti-spoofing" },
  { name: "services", about: "requests that the network itself answers: ARP, neighbour discovery, DHCP, router solicitation" },
  { name: "acl_out", about: "policy of the sender" },
  { name: "forward", about: "destination MAC -> port, router or flood" },
  { name: "translate", about: "addresses of a router's packets before routing, entered for routers that translate" },
  { name: "route", about: "between networks" },
  { name: "translate_out", about: "what becomes of a routed packet on its way out: addresses, a gateway; entered by routes that lead there" },
  { name: "resolve", about: "routed packets that were handed on: the MAC of the next hop, and on as if sent in its network" },
  { name: "neighbour", about: "next-hop address -> MAC" },
  { name: "flood", about: "broadcast, multicast: each member host and port once" },
  { name: "locate", about: "out_port_key, out_host -> local port or tunnel" },
  { name: "acl_in", about: "policy of the receiver" },
  { name: "egress", about: "functions of the receiving port that not every port has, entered by those that do" },
  { name: "deliver", about: "out of the local port" },
] as const;
export type StageName = (typeof stages)[number]["name"];

export interface RegisterDecl {
  /** `ip` holds an address of either family: 128 bits, IPv4 in the low 32 with the rest zero. */
  readonly bits: 1 | 8 | 16 | 32 | 128 | "ip";
  readonly about: string;
  /**
   * Scratch registers of different apps share their place: a flow that loads one is followed, with no call in between, by the
   * flow that uses it; no other may count on what it holds. A flow that reads one after a call without loading it again is refused;
   * a controller started with AXION_POISON_SCRATCH=1 (for tests) overwrites them at every call.
   */
  readonly scratch?: boolean;
}

/** Registers of the core, shared by all apps. */
export const sharedRegisters = {
  net: { bits: 32, about: "key of the network the packet is in" },
  in_port_key: { bits: 32, about: "key of the port that sent it, 0 when it came through a tunnel" },
  out_port_key: { bits: 32, about: "key of the port it goes to" },
  out_host: { bits: 16, about: "key of the chassis it goes to" },
  ct_zone: { bits: 16, about: "conntrack zone of the local port whose policy applies" },
  router: { bits: 32, about: "key of the router the packet is in" },
  router_zone: { bits: 16, about: "conntrack zone of the router the packet is in, for its translations; 0: it has none here" },
  out_port: { bits: 16, about: "OpenFlow port it leaves by" },
  nexthop: { bits: "ip", about: "address whose MAC the neighbour stage finds" },
  from_tunnel: { bits: 1, about: "came from another chassis" },
  secured: { bits: 1, about: "port security applies to the sending port" },
  egress: { bits: 1, about: "the receiving port has functions in the egress stage" },
  translated: { bits: 1, about: "where the packet goes was translated on its way into its router; loaded for routers that ask for it" },
  from_network: { bits: 1, about: "made by the network itself for the port it goes to: policy does not apply" },
} as const satisfies Record<string, RegisterDecl>;
export type SharedRegister = keyof typeof sharedRegisters;

/** Values of eth_type and ip_proto that rules match. */
export const ethType = { ip: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;

/** OFPVID_NONE and OFPVID_PRESENT, OpenFlow 1.3.5 section 7.2.3.7: the packet has no tag, the packet has one. */
export const VLAN_NONE = 0;
export const VLAN_PRESENT = 0x1000;
export const ipProto = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
