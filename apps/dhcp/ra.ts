// Router advertisements (RFC 4861 section 6.2): each router interface on a network speaks for the subnets it has an
// address in. A network without a router hears nothing.
import { type ReadView } from "#app";
import {
  buildEthernet, buildIcmpv6, buildIpv6, buildRouterAdvertisement, ethertypes, icmpv6Types, ipProtocols, ipv6MulticastMac, linkLocal, type RouterAdvertisementInput,
} from "packet-codec";
import { addressTable, networkTable, portTable } from "../l2/model.ts";
import { routerInterfaceTable, routerTable, type Router } from "../l3/model.ts";
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
/** What follows the headers of IPv6 and ICMPv6 in the smallest packet of IPv6. */
const BODY_MAX = IPV6_MTU_MIN - 40 - 4;
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
  const router = view.get(routerTable, router_id!)!;
  const addresses = view.by(addressTable, "port", interfaceId);
  const own = new Set(addresses.map((a) => a.subnet_id));
  const spoken = advertisedSubnets(view, network.id).filter((s) => own.has(s.id));
  if (spoken.length === 0) return undefined;
  const routes = routesBy(router, new Set(addresses.map((a) => a.ip)), spoken, lifetime(view));
  return { mac: port.mac_address, ra: { ...content(view, port.mac_address, spoken, mtuOf(view, network), lifetime(view)), ...(routes.length > 0 && { routes }) } };
}

/** As many routes as an advertisement has room for beside the rest. */
const ROUTES_MAX = 20;

/**
 * Routes of subnets that lead by the router (RFC 4191): those with one of its addresses as next hop, and those with a next hop to which it sends such packets by a route of
 * its own. An advertisement cannot name another next hop than whoever sends it.
 */
function routesBy({ routes: own }: Router, addresses: ReadonlySet<string>, subnets: readonly Subnet[], lifetime_s: number): RouteInformation[] {
  const led = subnets.flatMap((s) => s.host_routes).filter(({ destination, nexthop }) => addresses.has(nexthop) || own.some((r) => r.destination === destination && r.nexthop === nexthop));
  return [...new Set(led.map((r) => r.destination))].slice(0, ROUTES_MAX).map((destination) => {
    const [prefix, length] = destination.split("/") as [string, string];
    return { prefix, length: Number(length), preference: "medium", lifetime_s };
  });
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
export type RouteInformation = NonNullable<RouterAdvertisementInput["routes"]>[number];
const nameOf = ({ prefix, length }: Prefix | RouteInformation): string => `${prefix}/${length}`;
const itself = (text: string): string => text;

/** As many as are told to be over at a time: the others end by their lifetimes. More do not fit into an advertisement. */
const BEFORE_MAX = 32;

/** Prefixes, or others, that an interface said and does not say now, each once: the last of them, however often it changes what it says. */
export class Before<T> {
  private readonly said = new Map<string, T>();
  private readonly name: (one: T) => string;

  constructor(name: (one: T) => string) {
    this.name = name;
  }

  /** It said the first, and says the second now. */
  changed(before: readonly T[], now: readonly T[]): void {
    for (const one of before.toReversed()) {
      const name = this.name(one);
      this.said.delete(name);
      this.said.set(name, one);
    }
    for (const one of now) this.said.delete(this.name(one));
    for (const name of this.said.keys()) {
      if (this.said.size <= BEFORE_MAX) break;
      this.said.delete(name);
    }
  }

  clear(): void {
    this.said.clear();
  }

  /** What it said last comes first. */
  list(): T[] {
    return [...this.said.values()].reverse();
  }
}

/** All that an interface said and does not say now, and that hosts are to be told of. */
export class SaidBefore {
  readonly prefixes = new Before<Prefix>(nameOf);
  readonly routes = new Before<RouteInformation>(nameOf);
  readonly servers = new Before<string>(itself);
  readonly domains = new Before<string>(itself);

  changed(before: RouterAdvertisementInput, now: RouterAdvertisementInput): void {
    this.prefixes.changed(before.prefixes ?? [], now.prefixes ?? []);
    this.routes.changed(before.routes ?? [], now.routes ?? []);
    this.servers.changed(serversIn(before), serversIn(now));
    this.domains.changed(domainsIn(before), domainsIn(now));
  }

  clear(): void {
    for (const some of [this.prefixes, this.routes, this.servers, this.domains]) some.clear();
  }
}
const serversIn = ({ rdnss }: RouterAdvertisementInput): string[] => [rdnss ?? []].flat().flatMap((r) => r.servers);
const domainsIn = ({ dnssl }: RouterAdvertisementInput): string[] => [dnssl ?? []].flat().flatMap((d) => d.domains);

/**
 * Prefixes of `before`, each there once, that no interface on the network says now, as they are told to be over: hosts prefer any other
 * address (RFC 4862 section 5.5.3). As long as its subnet is there it stays on the link, for those that have no other.
 */
export function ended(view: ReadView, networkId: string, before: readonly Prefix[]): Prefix[] {
  if (before.length === 0) return [];
  const now = new Set(saidOn(view, networkId).flatMap((ra) => ra.prefixes ?? []).map(nameOf));
  const there = new Set(view.by(subnetTable, "network", networkId).map((s) => s.cidr));
  return before.filter((p) => !now.has(nameOf(p))).map((p) => ({ ...p, preferred_lifetime_s: 0, valid_lifetime_s: there.has(nameOf(p)) ? PREFIX_VALID_S : 0 }));
}
const saidOn = (view: ReadView, networkId: string): RouterAdvertisementInput[] => interfacesOf(view, networkId).flatMap((id) => advertisementOf(view, id)?.ra ?? []);

/** The same, with what is over as far as there is room for it. A route ends with whoever said it; name servers and domains are told of by others as well (RFC 8106 section 5). */
export function withEnded(view: ReadView, networkId: string, { mac, ra }: Advertisement, before: SaidBefore): Advertisement {
  const [servers, domains] = [before.servers.list(), before.domains.list()];
  const others = servers.length + domains.length === 0 ? [] : saidOn(view, networkId);
  const gone = (list: readonly string[], of: (one: RouterAdvertisementInput) => string[]): string[] => list.filter((one) => !others.some((other) => of(other).includes(one)));
  const additions: ((to: RouterAdvertisementInput) => RouterAdvertisementInput)[] = [
    ...ended(view, networkId, before.prefixes.list()).map((p) => (to: RouterAdvertisementInput) => ({ ...to, prefixes: [...(to.prefixes ?? []), p] })),
    ...gone(servers, serversIn).map((s) => (to: RouterAdvertisementInput) => ({ ...to, rdnss: [to.rdnss ?? [], { lifetime_s: 0, servers: [s] }].flat() })),
    ...over(before.routes.list()).map((r) => (to: RouterAdvertisementInput) => ({ ...to, routes: [...(to.routes ?? []), r] })),
    ...gone(domains, domainsIn).map((d) => (to: RouterAdvertisementInput) => ({ ...to, dnssl: [to.dnssl ?? [], { lifetime_s: 0, domains: [d] }].flat() })),
  ];
  let told = ra;
  for (const add of additions) {
    const more = add(told);
    if (buildRouterAdvertisement(more).length <= BODY_MAX) told = more;
  }
  return { mac, ra: told };
}
const over = (routes: readonly RouteInformation[]): RouteInformation[] => routes.map((r) => ({ ...r, lifetime_s: 0 }));

/** The last words of an interface that speaks no more: it is no router. RFC 4861 section 6.2.5 */
export const farewell = (view: ReadView, networkId: string, { mac, ra }: Advertisement): Advertisement => ({
  mac,
  ra: {
    ...ra, router_lifetime_s: 0, prefixes: ended(view, networkId, ra.prefixes ?? []), rdnss: [ra.rdnss ?? []].flat().map(({ servers }) => ({ lifetime_s: 0, servers })),
    ...(ra.routes && { routes: over(ra.routes) }), dnssl: [ra.dnssl ?? []].flat().map(({ domains }) => ({ lifetime_s: 0, domains })),
  },
});

export function frameOf({ mac, ra }: Advertisement, to: Recipient): Buffer {
  const ends = { src: linkLocal(mac), dst: to.ip };
  const icmp = buildIcmpv6({ type: icmpv6Types.routerAdvertisement, code: 0 }, buildRouterAdvertisement(ra), ends);
  const ip = buildIpv6({ ...ends, next_header: ipProtocols.icmpv6, hop_limit: ND_HOP_LIMIT }, icmp);
  return buildEthernet({ dst: to.mac, src: mac, ethertype: ethertypes.ipv6 }, ip);
}
