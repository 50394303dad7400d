// Router advertisements (RFC 4861 section 6.2): each router interface on a network speaks for the subnets it has an
// address in. A network without a router hears nothing.
import { type ReadView } from "#app";
import {
  buildEthernet, buildIcmpv6, buildIpv6, buildRouterAdvertisement, ethertypes, icmpv6Types, ipProtocols, ipv6MulticastMac, linkLocal, type RouterAdvertisementInput,
} from "packet-codec";
import { addressTable, networkTable, portTable } from "../l2/model.ts";
import { routerInterfaceTable, routerTable } from "../l3/model.ts";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { mtuOf } from "../overlay/model.ts";
import { advertisedSubnets, dhcpSettings, nameServersOf, subnetOfferTable } from "./model.ts";

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

/** What a router interface says of itself on its network. */
export interface Advertisement {
  readonly mac: string;
  readonly ra: RouterAdvertisementInput;
}

/** What an interface of a router says, if it speaks: it is no guest, interface, router and network are up, and it has an address in a subnet that is advertised. */
export function advertisementOf(view: ReadView, interfaceId: string): Advertisement | undefined {
  const { router_id, network_id, guest } = view.get(routerInterfaceTable, interfaceId) ?? {};
  // Whoever advertises is a default router to all who hear it: not one that somebody connected to a network of others.
  if (guest === true) return undefined;
  const network = network_id === undefined ? undefined : view.get(networkTable, network_id);
  const port = view.get(portTable, interfaceId);
  if (network?.admin_state_up !== true || port?.admin_state_up !== true || view.get(routerTable, router_id!)?.admin_state_up !== true) return undefined;
  const own = new Set(view.by(addressTable, "port", interfaceId).map((a) => a.subnet_id));
  const spoken = advertisedSubnets(view, network.id).filter((s) => own.has(s.id));
  return spoken.length === 0 ? undefined : { mac: port.mac_address, ra: content(view, port.mac_address, spoken, mtuOf(view, network), lifetime(view)) };
}

/** Frames with the advertisements of every router on the network. */
export function advertisements(view: ReadView, networkId: string, to: Recipient): Buffer[] {
  return interfacesOf(view, networkId).flatMap((id) => {
    const said = advertisementOf(view, id);
    return said === undefined ? [] : [frameOf(said, to)];
  });
}

/** Interfaces of routers on a network, in a fixed order. */
export const interfacesOf = (view: ReadView, networkId: string): string[] => view.by(routerInterfaceTable, "network", networkId).map((i) => i.id).sort();

/** At least as long as the time to the next advertisement but one: a single loss ends no route. RFC 4861 section 6.2.1 */
const lifetime = (view: ReadView): number => Math.max(ROUTER_LIFETIME_S, 3 * view.settings(dhcpSettings)["ra-interval"]);

function content(view: ReadView, mac: string, subnets: readonly Subnet[], mtu: number, lifetimeS: number): RouterAdvertisementInput {
  return {
    cur_hop_limit: HOP_LIMIT,
    managed: subnets.some((s) => s.ipv6_ra_mode === "dhcpv6-stateful"),
    other: subnets.some((s) => s.ipv6_ra_mode === "dhcpv6-stateless"),
    router_lifetime_s: lifetimeS,
    source_lladdr: mac,
    ...(mtu >= IPV6_MTU_MIN ? { mtu } : {}),
    prefixes: subnets.map((s) => {
      const [prefix, length] = s.cidr.split("/") as [string, string];
      const autonomous = s.ipv6_ra_mode !== "dhcpv6-stateful";
      return { prefix, length: Number(length), on_link: true, autonomous, valid_lifetime_s: PREFIX_VALID_S, preferred_lifetime_s: PREFIX_PREFERRED_S };
    }),
    rdnss: { lifetime_s: lifetimeS, servers: [...new Set(subnets.flatMap((s) => nameServersOf(view, s)))] },
    ...searched(lifetimeS, [...new Set(subnets.flatMap((s) => view.by(subnetOfferTable, "subnet", s.id).map((o) => o.domain)))]),
  };
}

const searched = (lifetime_s: number, domains: string[]): Pick<RouterAdvertisementInput, "dnssl"> => (domains.length === 0 ? {} : { dnssl: { lifetime_s, domains } });

export type Prefix = NonNullable<RouterAdvertisementInput["prefixes"]>[number];
const nameOf = ({ prefix, length }: Prefix): string => `${prefix}/${length}`;

/** As many as are told to be over at a time: the others end by their lifetimes. More do not fit into an advertisement. */
const BEFORE_MAX = 32;

/** Prefixes that an interface said and does not say now, each once: the last of them, however often it changes what it says. */
export class Before {
  private readonly prefixes = new Map<string, Prefix>();

  /** It said the first, and says the second now. */
  changed(before: readonly Prefix[], now: readonly Prefix[]): void {
    for (const prefix of before.toReversed()) {
      const name = nameOf(prefix);
      this.prefixes.delete(name);
      this.prefixes.set(name, prefix);
    }
    for (const prefix of now) this.prefixes.delete(nameOf(prefix));
    for (const name of this.prefixes.keys()) {
      if (this.prefixes.size <= BEFORE_MAX) break;
      this.prefixes.delete(name);
    }
  }

  clear(): void {
    this.prefixes.clear();
  }

  /** What it said last comes first. */
  list(): Prefix[] {
    return [...this.prefixes.values()].reverse();
  }
}

/**
 * Prefixes of `before`, each there once, that no interface on the network says now, as they are told to be over: hosts prefer any other
 * address (RFC 4862 section 5.5.3). As long as its subnet is there it stays on the link, for those that have no other.
 */
export function ended(view: ReadView, networkId: string, before: readonly Prefix[]): Prefix[] {
  if (before.length === 0) return [];
  const now = new Set(interfacesOf(view, networkId).flatMap((id) => advertisementOf(view, id)?.ra.prefixes ?? []).map(nameOf));
  const there = new Set(view.by(subnetTable, "network", networkId).map((s) => s.cidr));
  return before.filter((p) => !now.has(nameOf(p))).map((p) => ({ ...p, preferred_lifetime_s: 0, valid_lifetime_s: there.has(nameOf(p)) ? PREFIX_VALID_S : 0 }));
}

/** The same with prefixes that are over. */
export const withEnded = ({ mac, ra }: Advertisement, prefixes: readonly Prefix[]): Advertisement => ({ mac, ra: { ...ra, prefixes: [...(ra.prefixes ?? []), ...prefixes] } });

/** The last words of an interface that speaks no more: it is no router. RFC 4861 section 6.2.5 */
export const farewell = (view: ReadView, networkId: string, { mac, ra }: Advertisement): Advertisement => ({
  mac,
  ra: {
    ...ra, router_lifetime_s: 0, prefixes: ended(view, networkId, ra.prefixes ?? []), rdnss: [ra.rdnss ?? []].flat().map(({ servers }) => ({ lifetime_s: 0, servers })),
    dnssl: [ra.dnssl ?? []].flat().map(({ domains }) => ({ lifetime_s: 0, domains })),
  },
});

export function frameOf({ mac, ra }: Advertisement, to: Recipient): Buffer {
  const ends = { src: linkLocal(mac), dst: to.ip };
  const icmp = buildIcmpv6({ type: icmpv6Types.routerAdvertisement, code: 0 }, buildRouterAdvertisement(ra), ends);
  const ip = buildIpv6({ ...ends, next_header: ipProtocols.icmpv6, hop_limit: ND_HOP_LIMIT }, icmp);
  return buildEthernet({ dst: to.mac, src: mac, ethertype: ethertypes.ipv6 }, ip);
}
