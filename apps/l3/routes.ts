// A router's legs, the routes that l3 itself knows, and which of all routes are used.
import { derivation, each, parseIp, type ReadView } from "#app";
import { subnetTable } from "../ipam/model.ts";
import { activeAttachment, addressId, addressTable, chosenSegmentTable, claimant, networkTable, portTable, providedPortTable, segmentTable, type ProvidedPort } from "../l2/model.ts";
import { profileTable } from "../overlay/model.ts";
import { deadNextHopTable, hopOfLeg, inOrder, legOf, legOfInterface, legTable, liveRouterTable, lostNextHopTable, reaches, routerHopTable, routerInterfaceTable, routerTable, routeTable, domainOf, routingDomainTable, type Leg, type LiveRouter, type Onward, type Route, type RouterHop } from "./model.ts";

/** The legs of a router, in their order. */
const legsOf = (routerId: string, view: ReadView): Leg[] => view.by(legTable, "router", routerId).toSorted(inOrder);

/** A leg, and the key of its network. */
export interface LiveLeg extends Leg {
  readonly netKey: number;
}

/** The leg by which a route leaves, where its network is up. */
function liveLegOf(route: Route, view: ReadView): LiveLeg | undefined {
  const leg = legOf(route, view);
  const network = leg === undefined ? undefined : view.get(networkTable, leg.network_id);
  return network?.admin_state_up === true ? { ...leg!, netKey: network.key } : undefined;
}

/** The domains of a router's networks, by family, if they are not all of one. */
function domainsIn(legs: readonly Leg[], view: ReadView): LiveRouter["domains"] {
  const networks = [...new Set(legs.map((leg) => leg.network_id))];
  const of = (family: 4 | 6): readonly string[] => [...new Set(networks.map((id) => domainOf(view, id, family)))].sort();
  const [four, six] = [of(4), of(6)];
  return four.length < 2 && six.length < 2 ? undefined : { ...(four.length > 1 && { 4: four }), ...(six.length > 1 && { 6: six }) };
}

/** The two networks of a router with the greatest MTUs, if larger packets may come by one than go by another. */
function widestOf(legs: readonly Leg[]): LiveRouter["widest"] {
  const mtus = new Map(legs.flatMap(({ network_id, mtu }) => (mtu === undefined ? [] : [[network_id, mtu] as const])));
  const widest = [...mtus].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).slice(0, 2).map(([network_id, mtu]) => ({ network_id, mtu }));
  return legs.some((leg) => narrower(widest, leg) !== undefined) ? widest : undefined;
}

/** The largest packet that goes by a leg, where larger ones may come by others. */
function narrower(widest: NonNullable<LiveRouter["widest"]>, { network_id, mtu = Infinity, carries = Infinity }: Leg): number | undefined {
  const most = Math.min(mtu, carries);
  return widest.some((w) => w.network_id !== network_id && w.mtu > most) ? most : undefined;
}
export const narrowerThan = ({ widest }: LiveRouter, leg: Leg): number | undefined => (widest === undefined ? undefined : narrower(widest, leg));

export const derive = [
  derivation({
    name: "live-router",
    on: each(routerTable),
    into: liveRouterTable,
    reads: [legTable, routingDomainTable],
    derive(router, view): LiveRouter | undefined {
      if (!router.admin_state_up) return undefined;
      const legs = view.by(legTable, "router", router.id);
      const [widest, domains] = [widestOf(legs), domainsIn(legs, view)];
      return { id: router.id, key: router.key, ...(widest !== undefined && { widest }), ...(domains !== undefined && { domains }) };
    },
  }),
  derivation({ name: "leg", on: each(routerInterfaceTable), into: legTable, reads: [portTable, networkTable, addressTable, subnetTable, chosenSegmentTable, profileTable], derive: legOfInterface }),
  derivation({
    name: "interface-port",
    on: each(routerInterfaceTable),
    into: providedPortTable,
    reads: [liveRouterTable, portTable, networkTable],
    derive: ({ id, router_id, network_id }, view): ProvidedPort | undefined =>
      view.get(liveRouterTable, router_id) !== undefined && view.get(portTable, id)?.admin_state_up === true && view.get(networkTable, network_id)?.admin_state_up === true ? { id: `l3/${id}`, port_id: id } : undefined,
  }),
  derivation({
    name: "route",
    on: each(routerTable),
    into: routeTable,
    reads: [legTable],
    derive(router, view) {
      const legs = router.admin_state_up ? legsOf(router.id, view) : [];
      const routes: Route[] = [];
      const add = (source: "connected" | "static", leg: Leg, destination: string, nexthop: string | null): void => {
        const id = `l3/${router.id}/${source}/${destination}${nexthop === null ? "" : `/${nexthop}`}`;
        if (!routes.some((r) => r.id === id)) routes.push({ id, router_id: router.id, destination, via: leg.network_id, nexthop, source, metric: 0 });
      };
      for (const leg of legs) for (const { cidr } of leg.addresses) add("connected", leg, cidr, null);
      for (const { destination, nexthop } of router.routes) {
        const leg = legs.find((l) => reaches(l, nexthop));
        if (leg !== undefined) add("static", leg, destination, nexthop);
      }
      return routes;
    },
  }),
  derivation({
    name: "router-hop",
    on: each(routeTable),
    into: routerHopTable,
    reads: [legTable],
    derive: (route, view): RouterHop[] => hopsOf(route, view).map(({ id, router_id: to, network_id }) => ({ id: `${route.id}|${id}`, to, from: route.router_id, network_id })),
  }),
];

/** The legs of other routers that a route leads to: who has its router has the way in there. */
export const hopsOf = ({ router_id, via, nexthop }: Pick<Route, "router_id" | "via" | "nexthop">, view: ReadView): Leg[] =>
  nexthop === null ? [] : view.by(legTable, "address", `${via}|${nexthop}`).filter((leg) => leg.enter && leg.router_id !== router_id);

const SOURCES: Readonly<Record<string, number>> = { connected: 0, static: 1 };
const rankOf = (route: Route): number => SOURCES[route.source] ?? 2;
const better = (a: Route, b: Route): number => rankOf(a) - rankOf(b) || a.metric - b.metric || (a.id < b.id ? -1 : 1);

/** As many equal routes are used side by side. */
const MAX_WAYS = 64;

export interface Way {
  readonly nexthop: string | null;
  readonly leg: LiveLeg;
  readonly onward: Onward | undefined;
}

/** Whether its router has lost its next hop, whatever others have of that. */
const isLost = ({ nexthop, leg }: Pick<Way, "nexthop" | "leg">, view: ReadView): boolean => nexthop !== null && view.count(lostNextHopTable, "hop", hopOfLeg(leg.id, nexthop)) > 0;

/** Whether a router has lost all next hops of its best routes to a prefix, and of all others there: less specific ones are used. */
export const areLost = (ways: readonly Way[], view: ReadView): boolean => ways.every((way) => isLost(way, view));

/**
 * Whether a next hop is known to be dead: it was asked for and does not answer, or, where ports are all that there is, it is a port's that is
 * nowhere, and nobody else's. A router's own address is wherever the router is.
 */
function isDead({ nexthop, leg }: Pick<Way, "nexthop" | "leg">, view: ReadView): boolean {
  if (nexthop === null) return false;
  if (isLost({ nexthop, leg }, view)) return true;
  const id = addressId(leg.network_id, nexthop);
  if (view.get(deadNextHopTable, id) !== undefined) return true;
  if (view.by(segmentTable, "network", leg.network_id).some((s) => s.physical_network !== null)) return false;
  const port = view.get(portTable, view.get(addressTable, id)?.port_id ?? "");
  if (port === undefined || view.by(legTable, "address", `${leg.network_id}|${nexthop}`).length > 0) return false;
  return (!port.admin_state_up || activeAttachment(view, port.id) === undefined) && claimant(view, leg.network_id, nexthop) === undefined;
}

/**
 * Of several equal ways, for each the one to go by: itself, or in the place of one that is known to be dead another, so that connections by the
 * others stay as they are. All of them dead: they are gone by as if none was.
 */
export function livingWays(ways: readonly Way[], view: ReadView): readonly Way[] {
  const living = ways.filter((way) => !isDead(way, view));
  return living.length === 0 ? ways : ways.map((way, i) => (living.includes(way) ? way : living[i % living.length]!));
}

/**
 * The ways of a router's best routes to a prefix (CIDR in its one spelling), in a fixed order: several if equal. A route whose next hop is
 * no address, or by a network that the router is not on, is left out; of routes to what is connected the first is used. Where all next hops of the best
 * ones are lost, those of the best that are not.
 */
export function waysTo(routerId: string, destination: string, view: ReadView): readonly Way[] {
  const ranks: { readonly first: Route; readonly ways: Way[] }[] = [];
  for (const given of view.byPair(routeTable, "prefix", routerId, destination).toSorted(better)) {
    if (given.nexthop !== null && parseIp(given.nexthop) === undefined) continue;
    const route = { ...given, destination };
    const leg = liveLegOf(route, view);
    if (leg === undefined) continue;
    const way: Way = { nexthop: route.nexthop, leg, onward: route.onward ?? leg.onward };
    const rank = ranks.find(({ first }) => equal(first, route));
    if (rank === undefined) ranks.push({ first: route, ways: [way] });
    else if (rank.ways.length < MAX_WAYS && !rank.ways.some((w) => sameWay(w, way))) rank.ways.push(way);
  }
  return (ranks.find(({ ways }) => !areLost(ways, view)) ?? ranks[0])?.ways ?? [];
}

const equal = (a: Route, b: Route): boolean => a.nexthop !== null && b.nexthop !== null && a.source === b.source && a.metric === b.metric;
const sameWay = (a: Way, b: Way): boolean => a.nexthop === b.nexthop && a.leg.id === b.leg.id && JSON.stringify(a.onward) === JSON.stringify(b.onward);
