// l3's entities: routers and their interfaces. An interface is a port of l2 (device_owner network:router_interface);
// its MAC and addresses are that port's.
import { badRequest, contains, NO_MAC, definePool, defineScope, defineSoftTable, defineTable, formatCidr, load, overlap, parseCidr, parseIp, resourceHandle, toStage, type Outputs, type Row, type Scope, type StandardRow, chassisScope, setField, meterOfZone, zoneMeters, ethType, familyMatch, ipDst, ipSrc, toEntrance, type Entrance, type ReadView } from "#app";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { addressesOf, fromScope, membersScope, networkTable, portTable, takeMac, type Address, type Port } from "../l2/model.ts";
import { mtuOf, profiled } from "../overlay/model.ts";
import { inDomains, type Domains } from "./domains.ts";
import { undelivered } from "./errors.ts";
import { l3 } from "./tables.ts";

export { hostUnreachable, undelivered, type Undelivered } from "./errors.ts";
export { domainNumber, domainOf, inDomain, inDomains, NO_DOMAIN, routeTranslated, routingDomainOf, routingDomainTable, type Domains, type RoutingDomain } from "./domains.ts";
export { outsideFor, questionFor } from "./questions.ts";

/** A route that the router's owner asked for. */
export interface StaticRoute {
  readonly destination: string;
  readonly nexthop: string;
}
export interface Router extends StandardRow {
  /** 1..2^32-2, unique: `router` in the pipeline. */
  readonly key: number;
  readonly admin_state_up: boolean;
  readonly routes: readonly StaticRoute[];
}
export const routerTable = defineTable<Router>()("router", { resource: "router", indexes: { project: (r) => r.project_id, key: (r) => String(r.key) } });

/** A router that is up, and what its flows need to know of it: they are not looked at again when the rest of its row changes. */
export interface LiveRouter extends Row {
  readonly key: number;
  /** The two of its networks with the greatest MTUs, where larger packets may come by one than go by another. */
  readonly widest?: readonly { readonly network_id: string; readonly mtu: number }[];
  /** By family, where its networks are not all of one routing domain: these domains, in order. */
  readonly domains?: Domains;
}
export const liveRouterTable = defineTable<LiveRouter>()("live_router", { derived: true, of: routerTable });

export const routerKeys = definePool({
  name: "router", of: "key", min: 1, max: 2 ** 32 - 2, about: "keys of routers: `router` in the pipeline", taken: (view, _part, n) => view.count(routerTable, "key", String(n)) > 0,
});

/** Beyond those of l2 and of the security groups: a port that sends much to who is gone must not lose by it what it asks of DHCP and its routers. */
export const undeliveredMeters = zoneMeters("undelivered-meter", 0x8002_0000, "meters of what routers cannot deliver, one for each sending port: by its zone");
export const undeliveredMeter = (zone: number): number => meterOfZone(undeliveredMeters, zone);

/** What comes from no port: the same on every switch, nobody draws one. */
export const outsideMeters = definePool({ name: "undelivered-outside-meter", of: "meter", min: 0x8008_0000, max: 0x8008_0000, about: "meter of what those that are no ports want of routers, and of what is not delivered of theirs", taken: () => true });

/** The same of all of them, on one host. */
export function outsideMeter(out: Outputs, scope: Scope): number {
  out.item(scope, "meter", outsideMeters.min, { unit: "pps", rate: 200, burst: 400 });
  return outsideMeters.min;
}

export const routerResource = resourceHandle<Router>("router");

/** `id` is the port's. */
export interface RouterInterface extends Row {
  readonly router_id: string;
  readonly network_id: string;
  /** Who connected it owns neither the network nor the subnet: it forwards what is sent to it, and tells nobody there to do so. */
  readonly guest?: boolean;
}
export const routerInterfaceTable = defineTable<RouterInterface>()("router_interface", {
  indexes: { router: (i) => i.router_id, network: (i) => i.network_id },
});

/**
 * A port by which a router is on a network without an interface there, as a gateway's. A joint: an app that requires l3 stores rows beside the
 * ports that it makes. What is on the link counts as connected, for routes and for what may be connected besides. `id` is the port's.
 */
export interface RouterLink extends Row {
  readonly router_id: string;
}
export const routerLinkTable = defineTable<RouterLink>()("router_link", { indexes: { router: (l) => l.router_id } });

/** What connects a router to a network. */
export interface Connection {
  readonly port: Port;
  readonly addresses: readonly Address[];
  readonly subnets: readonly Subnet[];
}
export function interfaceOf(view: ReadView, portId: string): Connection | undefined {
  const port = view.get(portTable, portId);
  if (port === undefined) return undefined;
  const addresses = addressesOf(view, portId);
  const ids = [...new Set(addresses.map((a) => a.subnet_id))];
  return { port, addresses, subnets: ids.flatMap((id) => view.get(subnetTable, id) ?? []) };
}
export const interfacesOf = (view: ReadView, routerId: string): readonly Connection[] =>
  view.by(routerInterfaceTable, "router", routerId).flatMap((i) => interfaceOf(view, i.id) ?? []);
/** The same, and what other apps connected it by. */
export const connectionsOf = (view: ReadView, routerId: string): readonly Connection[] =>
  [...interfacesOf(view, routerId), ...view.by(routerLinkTable, "router", routerId).flatMap((l) => interfaceOf(view, l.id) ?? [])];

export const badRouter = (message: string): Error => badRequest(`Bad router request: ${message}.`, "BadRequest");
/**
 * A router knows each address range once. `but`: ports that may be on the subnet.
 * @throws ApiError 400 BadRequest
 */
export function checkNewPrefix(view: ReadView, routerId: string, subnet: Subnet, but: ReadonlySet<string> = new Set()): void {
  const prefix = parseCidr(subnet.cidr)!;
  for (const other of connectionsOf(view, routerId).flatMap((c) => (but.has(c.port.id) ? [] : c.subnets))) {
    if (other.id === subnet.id) throw badRouter(`Router already has a port on subnet ${subnet.id}`);
    if (overlap(prefix, parseCidr(other.cidr)!)) throw badRouter(`Cidr ${subnet.cidr} of subnet ${subnet.id} overlaps with cidr ${other.cidr} of subnet ${other.id}`);
  }
}

/**
 * Where a routed packet is handed on, in place of the next hop's network: into the stage of the translations on the way out, or into a
 * table of the app that says so (`pipeline.entrance`), which stands in that stage. `net`, `nexthop` and the source MAC are those of the
 * way; what these tables pass on by `next` goes to the next hop.
 */
export type Onward = { readonly stage: "translate_out" } | { readonly table: Entrance };

/**
 * A router on a network. A joint: l3 derives one for each interface that is up, an app that requires l3 those that have no port, as of
 * a gateway. Rows of other apps carry `<app>/...` as id; l3's the port's.
 */
export interface Leg extends Row {
  readonly router_id: string;
  readonly network_id: string;
  readonly mac: string;
  /** CIDR: the subnet that is on the link there. */
  readonly addresses: readonly { readonly ip: string; readonly cidr: string }[];
  /**
   * Whether every chassis on the network has the router, and whatever is addressed to the MAC enters it there. False: it is entered where
   * `at` or `enterRouter` says; nobody has the router because of this network, nor the network because of the router.
   */
  readonly enter: boolean;
  /** Chassis where what comes to `l3_input` for the MAC enters it: they have the router and the network. */
  readonly at?: readonly string[];
  /** At `at`, tables of other apps in the stage `translate` that what enters there goes through before that stage; they may drop it, and hand on to nobody. */
  readonly through?: readonly Entrance[];
  /** At these, where packets go whose next hop on the network nobody is known to have: into a table of the app that asks for it. */
  readonly unresolved?: Entrance;
  /**
   * There is more on the network than ports: whoever sent what came by it and cannot be delivered is told so, and a next hop that no port has is
   * somebody's (`wantedNeighbourTable`).
   */
  readonly tells?: true;
  /**
   * The router is there by somebody else's leave: what is sent into the network by it has a source of the link by which it came, and
   * none of the network itself.
   */
  readonly guest?: boolean;
  /** Of routes by this leg that say nothing themselves, those to what is connected among them. */
  readonly onward?: Onward;
  /** The network's: nothing larger comes by the leg, nor goes. */
  readonly mtu?: number;
  /** Of several legs on a network those with less come first, 0 if not said. */
  readonly order?: number;
  /** The largest packet that gets from a router to the network, where that is less: what it leaves by is elsewhere. */
  readonly carries?: number;
}
export const legTable = defineTable<Leg>()("leg", {
  derived: true,
  open: true,
  indexes: { router: (l) => l.router_id, network: (l) => l.network_id, place: (l) => `${l.router_id}|${l.network_id}`, address: (l) => l.addresses.map((a) => `${l.network_id}|${a.ip}`) },
});

/**
 * A way to a prefix, as somebody knows it. A joint: l3 derives what is connected and what is static, an app that requires l3 what it
 * learned elsewhere; l3 alone ranks. Longest prefix first; of equal ones connected, then static, then the others by metric. Several best
 * ones of one source and metric are used side by side, a connection keeping to one.
 */
export interface Route extends Row {
  readonly router_id: string;
  /** CIDR of either family. */
  readonly destination: string;
  /** Network that the packet goes on in; a route by one that the router has no leg on is left out. */
  readonly via: string;
  /** Which of the router's legs there, if it has several. */
  readonly leg?: string;
  /** Address on that network; null: the destination itself is there. */
  readonly nexthop: string | null;
  /** "connected" and "static" are l3's; others say their app. */
  readonly source: string;
  /** Less is better. */
  readonly metric: number;
  readonly onward?: Onward;
}
/** Rows of other apps carry `<app>/...` as id. */
export const routeTable = defineTable<Route>()("route", {
  derived: true, open: true, indexes: { router: (r) => r.router_id },
  /** Router and prefix, in the one spelling of each; a route to no prefix is none. */
  pairs: { prefix: prefixOf },
});

/** Of several legs, which is first. */
export const inOrder = (a: Leg, b: Leg): number => (a.order ?? 0) - (b.order ?? 0) || (a.id < b.id ? -1 : 1);

/** Whether an address is on the link of a leg. */
export function reaches({ addresses }: Pick<Leg, "addresses">, address: string): boolean {
  const ip = parseIp(address);
  return ip !== undefined && addresses.some((a) => contains(parseCidr(a.cidr)!, ip));
}

/**
 * The leg by which a route leaves: of several on its network the one that it names, else the first that has its next hop, or the destination,
 * on the link. Undefined: the router is not on that network.
 */
export function legOf({ router_id, via, leg: named, destination, nexthop }: Route, view: ReadView): Leg | undefined {
  const there = view.by(legTable, "place", `${router_id}|${via}`).filter((l) => named === undefined || l.id === named).toSorted(inOrder);
  return there.find((l) => (nexthop === null ? l.addresses.some((a) => a.cidr === destination) : reaches(l, nexthop))) ?? there[0];
}

function prefixOf({ router_id, destination }: Route): [router: string, prefix: string] | undefined {
  const cidr = parseCidr(destination);
  return cidr === undefined ? undefined : [router_id, formatCidr(cidr)];
}

/**
 * That a router has routes to another one on a network, whoever's routes these are (derived): hosts that have the one have the way into the other. Who
 * reaches a router is found by it; `id` is `<route>|<leg>`.
 */
export interface RouterHop extends Row {
  /** The next hop. */
  readonly to: string;
  /** Whose route it is. */
  readonly from: string;
  readonly network_id: string;
}
export const routerHopTable = defineTable<RouterHop>()("router_hop", {
  derived: true,
  /** Router and network of the next hop, and who has routes to it there: each once, however many routes there are. */
  pairs: { from: (hop) => [hopKey(hop.to, hop.network_id), hop.from] },
});
export const hopKey = (routerId: string, networkId: string): string => `${routerId}|${networkId}`;

/** What a port may send from, by its pairs, that is of no subnet of its network: of those ports that have such pairs. `id` is the port's. */
export interface PairSource extends Row {
  readonly network_id: string;
  readonly port_key: number;
  /** CIDRs in their one spelling, in order. */
  readonly prefixes: readonly string[];
}
export const pairSourceTable = defineTable<PairSource>()("pair_source", { derived: true, of: portTable, indexes: { network: (s) => s.network_id } });


/** The addresses of a port, and what is on the link there, as a leg has them. */
export const addressesOnLink = (view: ReadView, portId: string): Leg["addresses"] =>
  addressesOf(view, portId).flatMap((a) => {
    const subnet = view.get(subnetTable, a.subnet_id);
    return subnet === undefined ? [] : [{ ip: a.ip, cidr: subnet.cidr }];
  });

/** The leg that an interface is, if port and network are up. */
export function legOfInterface({ id, router_id, network_id, guest }: RouterInterface, view: ReadView): Leg | undefined {
  const port = view.get(portTable, id);
  const network = view.get(networkTable, network_id);
  if (port === undefined || network === undefined || !port.admin_state_up || !network.admin_state_up) return undefined;
  return { id, router_id, network_id, mac: port.mac_address, addresses: addressesOnLink(view, id), enter: true, mtu: mtuOf(view, network, profiled(view)), ...(guest === true && { guest }) };
}

/**
 * A next hop that routers have packets for, and no port is known to have (a fact). A joint: an app that can ask where the model ends asks for those of its
 * networks, and says who answered. `id` is addressId(...).
 */
export interface WantedNeighbour extends Row {
  readonly network_id: string;
  readonly ip: string;
  /** Who answered; "": nobody yet. */
  readonly mac: string;
}
export const wantedNeighbourTable = defineSoftTable<WantedNeighbour>()("neighbour_wanted", { ttlS: 2, limitPerOwner: 1024, limit: 4096 });

/**
 * A next hop of several equal routes that is known to be dead (stored). A joint: an app that asks for neighbours where the model ends stores
 * those that do not answer, and takes them back. `id` is addressId(...).
 */
export interface DeadNextHop extends Row {
  readonly network_id: string;
  readonly ip: string;
}
export const deadNextHopTable = defineTable<DeadNextHop>()("dead_next_hop", { indexes: { all: () => "", network: (n) => n.network_id } });

/**
 * A next hop that one router has lost, by one of its legs (derived): its routes by it are used where there is no other. A joint: an app that speaks with
 * next hops says so. Rows carry `<app>/...` as id.
 */
export interface LostNextHop extends Row {
  /** As of Leg. */
  readonly leg: string;
  readonly ip: string;
}
export const hopOfLeg = (leg: string, ip: string): string => `${leg}|${ip}`;
export const lostNextHopTable = defineTable<LostNextHop>()("lost_next_hop", { derived: true, open: true, indexes: { hop: (n) => hopOfLeg(n.leg, n.ip) } });

export const routerScope = defineScope("router");
/** The way into a router from one of its networks: for chassis on that network, and those that come through another router. */
export const enterScope: (routerId: string, networkId: string) => Scope = defineScope("router-from");
/** Who may send through the router: see sendersScope. */
export const routerSendersScope = defineScope("router-senders");

/**
 * Routers whose packets pass the translate stage before they are routed. A joint: an app that translates addresses of a router derives
 * a row for it and puts its tables into that stage; the router then has a conntrack zone on every chassis that has its networks, which
 * `router_zone` holds there. Routers without a row do without. Of a chassis where the router is entered by `enterRouter` alone the zone is
 * the app's to claim, for `zoneHolder`.
 */
export interface Translation extends Row {
  readonly router_id: string;
  /** Network: what the router sends into it passes the stage `translate_out`. */
  readonly out?: string;
  /**
   * Network: only what comes to the router by it passes the stage `translate`. Where all rows of a router say so its zones are the app's to
   * claim, on the chassis where it translates.
   */
  readonly from?: string;
}
export const translationTable = defineTable<Translation>()("translation", {
  derived: true, open: true, indexes: { router: (t) => t.router_id },
  /** Each router that has any, once. */
  pairs: { routers: (t) => ["all", t.router_id] },
});
/**
 * At a chassis where packets come from outside, those too large for the network that they are for go to the controller, and who sent them is
 * told; others that no router delivers are not spoken of. `meter`: what they may be a second.
 */
export function tellOutside(out: Outputs, scope: Scope, meter: number): void {
  const into = l3.through(out);
  const tooBig = { "reg:undelivered": undelivered.tooBig } as const;
  into.flow(scope, "l3_undelivered", { priority: 90, match: { ...tooBig, "reg:in_port_key": 0 }, meter, actions: [{ type: "punt" }] });
  // What the sender knows by another address: the error has to go back by the connection.
  into.flow(scope, "l3_undelivered", { priority: 110, match: { ...tooBig, ct_state: TRANSLATED }, meter, actions: [load("undelivered", undelivered.tooBigTranslated), { type: "punt" }] });
}
/** +trk+dnat, ovs-fields(7). */
const TRANSLATED = { value: 0xa0, mask: 0xa0 } as const;

/** Holder of a router's zone in the zone pool. */
export const zoneHolder = (routerId: string): string => `router/${routerId}`;

/**
 * Lets what is addressed to `mac` in a network enter a router at a chassis, from wherever it comes: how a packet that was sent to the
 * chassis where the router's work for it is done arrives there. The chassis has the router then, sends into its networks and this one,
 * and takes what those send that have the router. What came by a tunnel may go on by it. `links`: prefixes of what is on the link there; what
 * has another source, of another link of the router's, is not taken. Without them sources are not judged: the packet comes from within as well, handed
 * on by the router elsewhere. `only`: the family that the MAC stands for; what else is sent to it is dropped. `domains`: those of what comes in. `through`: as of Leg.
 */
export function enterRouter(
  out: Outputs, chassis: string, network: { readonly id: string; readonly key: number }, mac: string, router: { readonly id: string; readonly key: number }, stage: "translate" | "route" = "translate",
  links?: readonly string[], only?: "ipv4", domains: ReturnType<typeof inDomains> = [], through: readonly Entrance[] = [],
): void {
  const scope = chassisScope(chassis);
  takeMac(out, network, mac, chassis);
  out.include(scope, routerScope(router.id));
  out.include(scope, routerSendersScope(router.id));
  out.include(routerSendersScope(router.id), fromScope(chassis));
  out.include(membersScope(network.id), fromScope(chassis));
  const sent = { "reg:net": network.key, eth_dst: mac } as const;
  const into = (offLink: 0 | 1) => [setField("in_port", 0), load("router", router.key), load("off_link", offLink), ...domains, ...through.map(toEntrance), toStage(stage)] as const;
  l3.through(out).flow(scope, "l3_input", { priority: 110, match: sent, actions: into(links === undefined ? 0 : 1) });
  if (only !== undefined) l3.through(out).flow(scope, "l3_input", { priority: 112, match: { ...sent, eth_type: ethType.ipv6 }, actions: [] });
  for (const cidr of links ?? []) l3.through(out).flow(scope, "l3_input", { priority: 111, match: { ...sent, ...familyMatch(cidr), ...(cidr.endsWith("/0") ? {} : ipSrc(cidr)) }, actions: into(0) });
}

/** At a chassis: packets for a next hop on a network that nobody is known to have go into a table of the app that asks for it. */
export function unresolvedInto(out: Outputs, chassis: string, network: { readonly key: number }, table: Entrance): void {
  l3.through(out).flow(chassisScope(chassis), "l3_input", { priority: 210, match: { "reg:net": network.key, eth_dst: NO_MAC }, actions: [toEntrance(table)] });
}

/**
 * What is sent from an address of the inside to one of the router's own, echo requests aside, is no matter of the router's: it goes on in the
 * network of that address, as to anybody else there. For an app by which the router's address stands for somebody else.
 */
export function routeToOwn(
  out: Outputs, scope: Scope, router: { readonly key: number }, { source, address, network, mac, onward }: { readonly source: string; readonly address: string; readonly network: { readonly key: number }; readonly mac: string; readonly onward: Entrance },
): void {
  l3.through(out).flow(scope, "l3_route", {
    priority: 1060, match: { "reg:router": router.key, ...familyMatch(source), ...ipSrc(source), ...ipDst(address) },
    actions: [load("net", network.key), setField("eth_src", mac), setField("eth_dst", NO_MAC), load("nexthop", address), toEntrance(onward)],
  });
}
