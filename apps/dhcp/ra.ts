// Router advertisements (RFC 4861 section 6.2): each router interface on a network speaks for the subnets it has an
// address in. A network without a router hears nothing.
import { type ReadView } from "#app";
import {
  buildEthernet, buildIcmpv6, buildIpv6, buildRouterAdvertisement, ethertypes, icmpv6Types, ipProtocols, ipv6MulticastMac, linkLocal, type RouterAdvertisementInput,
} from "packet-codec";
import { addressTable, networkTable, portTable } from "../l2/model.ts";
import { routerInterfaceTable, routerTable } from "../l3/model.ts";
import type { Subnet } from "../ipam/model.ts";
import { advertisedSubnets } from "./model.ts";

/** Every port hears of its routers, unasked, at least this often. MaxRtrAdvInterval, RFC 4861 section 6.2.1 */
export const RA_PERIOD_S = 200;
const ROUTER_LIFETIME_S = 1800;
const PREFIX_VALID_S = 86_400;
const PREFIX_PREFERRED_S = 14_400;
const HOP_LIMIT = 64;
/** Neighbour discovery that crossed a router is not believed. */
const ND_HOP_LIMIT = 255;
const IPV6_MTU_MIN = 1280;
const ALL_NODES = "ff02::1";

export interface Recipient {
  readonly mac: string;
  readonly ip: string;
}
export const allNodes: Recipient = { mac: ipv6MulticastMac(ALL_NODES), ip: ALL_NODES };

/** Frames with the advertisements of every router on the network. `mtu` is that of networks that ask for none. */
export function advertisements(view: ReadView, networkId: string, to: Recipient, mtu: number): Buffer[] {
  const network = view.get(networkTable, networkId);
  const subnets = advertisedSubnets(view, networkId);
  if (network === undefined || subnets.length === 0) return [];
  const frames: Buffer[] = [];
  for (const { id, router_id, guest } of [...view.by(routerInterfaceTable, "network", networkId)].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    // Whoever advertises is a default router to all who hear it: not one that somebody connected to a network of others.
    if (guest === true) continue;
    const port = view.get(portTable, id);
    if (port?.admin_state_up !== true || view.get(routerTable, router_id)?.admin_state_up !== true) continue;
    const own = new Set(view.by(addressTable, "port", id).map((a) => a.subnet_id));
    const spoken = subnets.filter((s) => own.has(s.id));
    if (spoken.length > 0) frames.push(frame(port.mac_address, to, content(port.mac_address, spoken, network.mtu ?? mtu)));
  }
  return frames;
}

function content(mac: string, subnets: readonly Subnet[], mtu: number): RouterAdvertisementInput {
  return {
    cur_hop_limit: HOP_LIMIT,
    managed: subnets.some((s) => s.ipv6_ra_mode === "dhcpv6-stateful"),
    other: subnets.some((s) => s.ipv6_ra_mode === "dhcpv6-stateless"),
    router_lifetime_s: ROUTER_LIFETIME_S,
    source_lladdr: mac,
    ...(mtu >= IPV6_MTU_MIN ? { mtu } : {}),
    prefixes: subnets.map((s) => {
      const [prefix, length] = s.cidr.split("/") as [string, string];
      const autonomous = s.ipv6_ra_mode !== "dhcpv6-stateful";
      return { prefix, length: Number(length), on_link: true, autonomous, valid_lifetime_s: PREFIX_VALID_S, preferred_lifetime_s: PREFIX_PREFERRED_S };
    }),
    rdnss: { lifetime_s: ROUTER_LIFETIME_S, servers: [...new Set(subnets.flatMap((s) => s.dns_nameservers))] },
  };
}

function frame(mac: string, to: Recipient, ra: RouterAdvertisementInput): Buffer {
  const ends = { src: linkLocal(mac), dst: to.ip };
  const icmp = buildIcmpv6({ type: icmpv6Types.routerAdvertisement, code: 0 }, buildRouterAdvertisement(ra), ends);
  const ip = buildIpv6({ ...ends, next_header: ipProtocols.icmpv6, hop_limit: ND_HOP_LIMIT }, icmp);
  return buildEthernet({ dst: to.mac, src: mac, ethertype: ethertypes.ipv6 }, ip);
}
