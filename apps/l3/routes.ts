// A router's legs, the routes that l3 itself knows, and which of all routes are used.
import { contains, derivation, each, formatCidr, parseCidr, parseIp, type ReadView } from "#app";
import { subnetTable } from "../ipam/model.ts";
import { addressTable, networkTable, portTable } from "../l2/model.ts";
import { routerInterfaceTable, routerTable, routeTable, type Route } from "./model.ts";

export interface Leg {
  readonly portId: string;
  readonly networkId: string;
  readonly netKey: number;
  readonly mac: string;
  readonly addresses: readonly { readonly ip: string; readonly cidr: string }[];
}

/** A router's interfaces that are up, by port id. */
export function legsOf(routerId: string, view: ReadView): Leg[] {
  const legs: Leg[] = [];
  for (const { id, network_id } of view.by(routerInterfaceTable, "router", routerId)) {
    const port = view.get(portTable, id);
    const network = view.get(networkTable, network_id);
    if (port === undefined || network === undefined || !port.admin_state_up || !network.admin_state_up) continue;
    const addresses = view.by(addressTable, "port", id).flatMap((a) => {
      const subnet = view.get(subnetTable, a.subnet_id);
      return subnet === undefined ? [] : [{ ip: a.ip, cidr: subnet.cidr }];
    });
    legs.push({ portId: id, networkId: network_id, netKey: network.key, mac: port.mac_address, addresses });
  }
  return legs.sort((a, b) => (a.portId < b.portId ? -1 : 1));
}

const reaches = (leg: Leg, address: string): boolean => {
  const hop = parseIp(address);
  return hop !== undefined && leg.addresses.some((a) => contains(parseCidr(a.cidr)!, hop));
};

/** The leg by which a route leaves: of several on its network the one that has its next hop, or the destination, on the link. */
function legOf(route: Route, legs: readonly Leg[]): Leg | undefined {
  const { destination, nexthop } = route;
  const there = legs.filter((l) => l.networkId === route.via);
  return there.find((l) => (nexthop === null ? l.addresses.some((a) => a.cidr === destination) : reaches(l, nexthop))) ?? there[0];
}

export const derive = [
  derivation({
    name: "route",
    on: each(routerTable),
    into: routeTable,
    reads: [routerInterfaceTable, portTable, networkTable, addressTable, subnetTable],
    derive(router, view) {
      const legs = router.admin_state_up ? legsOf(router.id, view) : [];
      const routes: Route[] = [];
      const add = (source: "connected" | "static", leg: Leg, destination: string, nexthop: string | null): void => {
        const id = `l3/${router.id}/${source}/${destination}`;
        // Of equal destinations the first is used.
        if (!routes.some((r) => r.id === id)) routes.push({ id, router_id: router.id, destination, via: leg.networkId, nexthop, source, metric: 0 });
      };
      for (const leg of legs) for (const { cidr } of leg.addresses) add("connected", leg, cidr, null);
      for (const { destination, nexthop } of router.routes) {
        const leg = legs.find((l) => reaches(l, nexthop));
        if (leg !== undefined) add("static", leg, destination, nexthop);
      }
      return routes;
    },
  }),
];

const SOURCES: Readonly<Record<string, number>> = { connected: 0, static: 1 };
const rankOf = (route: Route): number => SOURCES[route.source] ?? 2;
const better = (a: Route, b: Route): number => rankOf(a) - rankOf(b) || a.metric - b.metric || (a.id < b.id ? -1 : 1);

export interface Way {
  /** CIDR in its one spelling. */
  readonly destination: string;
  readonly nexthop: string | null;
  readonly leg: Leg;
}

/** The best route to each prefix. One that names no prefix, no next hop, or a network that the router is not on is left out. */
export function chosenRoutes(routes: readonly Route[], legs: readonly Leg[]): Way[] {
  const best = new Map<string, Way>();
  for (const route of routes.toSorted(better)) {
    const cidr = parseCidr(route.destination);
    if (cidr === undefined || (route.nexthop !== null && parseIp(route.nexthop) === undefined)) continue;
    const destination = formatCidr(cidr);
    const leg = legOf({ ...route, destination }, legs);
    if (leg !== undefined && !best.has(destination)) best.set(destination, { destination, nexthop: route.nexthop, leg });
  }
  return [...best.values()];
}
