// From gateways to hosts: which host has which gateway, who watches whom, and how routers leave by them.
import { chassisTable, claim, claimTable, derivation, each, eachPair, zoneOf, type Chassis, type Claim, type ReadView } from "#app";
import { subnetTable } from "../ipam/model.ts";
import { addressTable, attachmentTable, chosenSegmentTable, knownAtTable, networkHostTable, networkTable, portTable, providedPortTable, readsTags, segmentTable, type NetworkHost, type ProvidedPort } from "../l2/model.ts";
import { addressesOnLink, hopKey, legTable, liveRouterTable, routerHopTable, routerInterfaceTable, routeTable, type Leg, type Route } from "../l3/model.ts";
import { mtuOf, profiled, profileTable, tenantMtu, vniPool } from "../overlay/model.ts";
import {
  asideId, askingHolder, defaultRouteEcmpTable, defaultSubnetOf, externalNetworkTable, gatewayAsideTable, gatewayAskingTable, gatewayGroups, gatewayHostTable, gatewayLimitTable, gatewayNeighbourTable, gatewayPeerTable, gatewayPlanTable, gatewayReadyTable, gatewayZonesTable, handsOver, inwardBy, isOnNetwork, knownAt, legId, peerPorts, routerGatewayTable, travelsInTunnels, vniHolder, wayOutOf, type GatewayAside, type GatewayAsking, type GatewayHost, type GatewayPeer, type GatewayPlan,
} from "./model.ts";
import { place } from "./placement.ts";
import { gateway } from "./tables.ts";

function hostsFor(view: ReadView, networkId: string): GatewayHost[] {
  if (travelsInTunnels(view, networkId)) return [...view.by(gatewayHostTable, "all", "")];
  const physical = view.by(segmentTable, "network", networkId).filter((s) => s.physical_network !== null);
  const hosts = new Map(physical.flatMap((s) => view.by(gatewayHostTable, "physical_network", s.physical_network!).filter((h) => readsTags(s, h)).map((h) => [h.id, h] as const)));
  return [...hosts.values()];
}

/** Hosts that have a router: those with ports of its networks, or of networks of routers that have routes to it. */
function hostsOf(view: ReadView, router: string, but: string, seen: Set<string>): Set<string> {
  const hosts = new Set<string>();
  seen.add(router);
  for (const leg of view.by(routerInterfaceTable, "router", router)) {
    if (leg.network_id === but) continue;
    for (const chassis of view.pairKeys(attachmentTable, "network_chassis", leg.network_id)) hosts.add(chassis);
    // What machines send to an interface comes in there.
    for (const host of view.get(gatewayPlanTable, leg.id)?.hosts ?? []) hosts.add(host);
    for (const other of view.pairKeys(routerHopTable, "from", hopKey(router, leg.network_id))) {
      if (seen.has(other)) continue;
      for (const chassis of hostsOf(view, other, but, seen)) hosts.add(chassis);
    }
  }
  return hosts;
}

/** Hosts that route into the network of an interface from elsewhere. */
export function routingInto(plan: GatewayPlan, view: ReadView): Set<string> {
  const hosts = hostsOf(view, plan.router_id, plan.network_id, new Set());
  for (const other of view.by(gatewayPlanTable, "router", plan.router_id)) if (other.kind === "gateway") for (const host of other.hosts) hosts.add(host);
  return hosts;
}

/** Hosts that send to those of a plan, and so have to know which of them lives. */
export function usersOf(plan: GatewayPlan, view: ReadView): Set<string> {
  const users = plan.kind === "interface" ? routingInto(plan, view) : hostsOf(view, plan.router_id, plan.network_id, new Set());
  if (plan.kind === "interface") {
    // Whoever is on the physical network sends there itself.
    for (const id of users) if (isOnNetwork(view, plan.network_id, id)) users.delete(id);
    return users;
  }
  // To whom the network outside is one like others: hosts with ports there, and with other gateways.
  if (travelsInTunnels(view, plan.network_id)) {
    for (const chassis of view.pairKeys(attachmentTable, "network_chassis", plan.network_id)) users.add(chassis);
    for (const { id } of view.by(gatewayHostTable, "all", "")) users.add(id);
  }
  return users;
}

function peersOf(plan: GatewayPlan, view: ReadView): GatewayPeer[] {
  if (plan.hosts.length === 0 || plan.apart !== undefined) return [];
  const users = usersOf(plan, view);
  const peers: GatewayPeer[] = [];
  const watch = (at: string, peer: string, role: GatewayPeer["role"]): void => void peers.push({ id: `${plan.id}/${at}|${peer}`, at, peer, role });
  for (const host of plan.hosts) {
    for (const other of plan.hosts) if (other !== host) watch(host, other, "fellow");
    for (const user of users) {
      if (plan.hosts.includes(user)) continue;
      watch(user, host, "user");
      watch(host, user, "gateway");
    }
  }
  return peers;
}

/** Hosts by their keys, as text. */
export const listOf = (hosts: readonly { readonly key: number }[]): string => hosts.map((h) => h.key).join(".");

/** What groups on hosts of a list are for, by the hosts before: see rules.ts. */
export const groupOf = {
  /** On hosts that use it: to the first of the list that lives. */
  to: (list: string): string => `to/${list}`,
  /** On one of the list: to the first before it that lives, else out from here. */
  out: (before: string): string => `out/${before}`,
  /** On one of the list: nothing while one before it lives, else in here. */
  in: (before: string): string => `in/${before}`,
  /** What is sent to a gateway's MAC from outside: as in, but here while one before it is handed over or taken back. */
  take: (before: string): string => `take/${before}`,
  /** The same for what is sent from here, where frames outside travel in tunnels: to the first before it that lives. */
  over: (before: string): string => `over/${before}`,
  /** And where they travel by a physical network: out there. */
  away: (before: string): string => `away/${before}`,
  /** On one that answers machines: with a MAC of the host while one before it lives, else with the router's. */
  own: (before: string): string => `own/${before}`,
  /** On the one of the list at a place, while it is not to be used: to the first of the others that lives, else out from here. */
  others: (list: string, place: number): string => `others/${list}/${place}`,
} as const;
/** Whether hosts of a list answer machines for some router. */
export const answersMachines = (view: ReadView, list: string): boolean => view.byPair(gatewayPlanTable, "lists", "all", list).some((plan) => plan.kind === "interface");
/** The hosts before each place of a list but the first, as lists. */
export const prefixesOf = (list: string): string[] => {
  const keys = list.split(".");
  return keys.slice(1).map((_, i) => keys.slice(0, i + 1).join("."));
};

/** Hosts of a list by their keys, as far as they are there. */
export const hostsIn = (view: ReadView, list: string): (Readonly<Chassis> | undefined)[] => list.split(".").map((key) => view.by(chassisTable, "key", key)[0]);

const FAMILIES = [4, 6] as const;

export const derive = [
  derivation({
    name: "gateway-host",
    on: each(chassisTable),
    into: gatewayHostTable,
    reads: [gatewayReadyTable],
    // One that may have none any more has those that it has until it has handed them over.
    derive: ({ id, key, gateway: may, encap_ip, encap_types, bridge_mappings, vlan_limit, zone }, view): GatewayHost | undefined =>
      (may || view.get(gatewayReadyTable, id)?.gateway === true) && encap_ip !== "" && encap_types.length > 0 ? { id, key, physical_networks: Object.keys(bridge_mappings).sort(), ...(vlan_limit !== undefined && { vlan_limit }), ...(zone !== undefined && { zone }) } : undefined,
  }),
  derivation({
    name: "gateway-plan",
    on: each(routerGatewayTable),
    into: gatewayPlanTable,
    reads: [gatewayHostTable, gatewayZonesTable, gatewayReadyTable, segmentTable, networkTable, chassisTable],
    derive({ id, router_id, network_id, avoids }, view): GatewayPlan {
      const there = view.get(networkTable, network_id)?.admin_state_up === true ? hostsFor(view, network_id) : [];
      const isDrained = (host: string): boolean => handsOver(view, view.get(chassisTable, host));
      // One that it had when draining began stays in its order until it has handed over; one that was being drained before is none of its.
      const better = avoids === undefined ? there : there.filter((h) => !avoids.includes(h.id) || !isDrained(h.id));
      const hosts = better.length > 0 ? better : there;
      const zones = new Set(view.by(gatewayZonesTable, "router", router_id).flatMap((wish) => wish.zones));
      const wished = new Set(hosts.filter((h) => zones.has(zoneOf(h))).map((h) => h.id));
      const chosen = place(id, hosts.map((h) => h.id), isDrained, wished);
      return { id, kind: "gateway", router_id, network_id, hosts: chosen, list: listOf(chosen.map((c) => hosts.find((h) => h.id === c)!)) };
    },
  }),
  derivation({ name: "gateway-peer", on: each(gatewayPlanTable), into: gatewayPeerTable, reads: [gatewayPlanTable, gatewayHostTable, chassisTable, segmentTable, attachmentTable, routerInterfaceTable, routerHopTable], derive: peersOf }),
  derivation({
    name: "gateway-network",
    on: each(gatewayPlanTable),
    into: networkHostTable,
    reads: [],
    derive: ({ id, network_id, hosts }): NetworkHost[] => hosts.map((chassis) => ({ id: `gateway/${id}/${chassis}`, network_id, chassis })),
  }),
  derivation({
    name: "gateway-known",
    on: each(gatewayPlanTable),
    into: knownAtTable,
    reads: [segmentTable, addressTable, gatewayNeighbourTable],
    derive: ({ id, kind, network_id, hosts }, view) => (kind === "gateway" ? knownAt(view, "gateway", network_id, id, hosts) : undefined),
  }),
  derivation({
    name: "gateway-port",
    on: each(gatewayPlanTable),
    into: providedPortTable,
    reads: [liveRouterTable, portTable],
    derive: ({ id, kind, router_id, hosts }, view): ProvidedPort | undefined =>
      kind === "gateway" && hosts.length > 0 && view.get(liveRouterTable, router_id) !== undefined && view.get(portTable, id)?.admin_state_up === true ? { id: `gateway/${id}`, port_id: id, at: hosts } : undefined,
  }),
  derivation({
    name: "gateway-leg",
    on: each(routerGatewayTable),
    into: legTable,
    reads: [routerGatewayTable, gatewayPlanTable, gatewayLimitTable, networkTable, portTable, addressTable, subnetTable, chosenSegmentTable, profileTable],
    derive({ id, router_id, network_id, position }, view): Leg | undefined {
      const port = view.get(portTable, id);
      const plan = view.get(gatewayPlanTable, id);
      const network = view.get(networkTable, network_id);
      if (port?.admin_state_up !== true || plan === undefined || network === undefined) return undefined;
      const used = profiled(view);
      return {
        id: legId({ id }), router_id, network_id, mac: port.mac_address, addresses: addressesOnLink(view, id), enter: false, at: plan.hosts, unresolved: gateway.entrance("gateway_unresolved"), onward: wayOutOf(view, router_id),
        ...(position > 0 && { order: position }),
        ...(inwardBy(view, id).length > 0 && { through: inwardBy(view, id) }),
        // Packets go to the gateway's host in a tunnel, whatever their networks are.
        mtu: mtuOf(view, network, used), carries: tenantMtu(view, used),
      };
    },
  }),
  derivation({
    name: "gateway-route",
    on: each(routerGatewayTable),
    into: routeTable,
    reads: [routerGatewayTable, defaultRouteEcmpTable, addressTable, subnetTable],
    derive({ id, router_id, network_id, position }, view): Route[] {
      const routes: Route[] = [];
      const metric = position === 0 || view.get(defaultRouteEcmpTable, router_id) !== undefined ? 0 : position;
      const onward = wayOutOf(view, router_id);
      for (const family of FAMILIES) {
        const subnet = defaultSubnetOf(view, id, family);
        if (subnet === undefined || subnet.gateway_ip === null) continue;
        routes.push({
          id: `gateway/${id}/${subnet.id}`, router_id, destination: subnet.ip_version === 4 ? "0.0.0.0/0" : "::/0", via: network_id, leg: legId({ id }), nexthop: subnet.gateway_ip, source: "gateway", metric, onward,
        });
      }
      return routes;
    },
  }),
  derivation({
    name: "gateway-aside",
    on: eachPair(gatewayPlanTable, "lists"),
    into: gatewayAsideTable,
    reads: [gatewayReadyTable, chassisTable],
    derive({ b: list }, view): GatewayAside[] {
      const hosts = hostsIn(view, list);
      const isUsed = (host: Readonly<Chassis> | undefined): boolean => host !== undefined && view.get(gatewayReadyTable, host.id)?.users === true;
      return hosts.flatMap((host) => (host !== undefined && !isUsed(host) && hosts.some(isUsed) ? [{ id: asideId(list, host.id), list, chassis: host.id }] : []));
    },
  }),
  derivation({
    name: "gateway-asking",
    on: eachPair(gatewayPlanTable, "lists"),
    into: gatewayAskingTable,
    reads: [gatewayReadyTable, chassisTable],
    derive({ b: list }, view): GatewayAsking[] {
      const hosts = hostsIn(view, list).filter((host) => host !== undefined);
      const ready = hosts.map(({ id }) => view.get(gatewayReadyTable, id));
      const passes = hosts.map((host, i) => ready[i]?.shared === true || (ready[i] === undefined && handsOver(view, host)));
      return hosts.flatMap(({ id: chassis }, i) => {
        const to = hosts.find((_, n) => n !== i && passes[n] === true) ?? (passes[i] === true ? hosts.find((_, n) => n !== i && ready[n]?.users === true) : undefined);
        return to === undefined ? [] : [{ id: asideId(list, chassis), list, chassis, to: to.id }];
      });
    },
  }),
  derivation({
    name: "gateway-groups",
    on: eachPair(gatewayPlanTable, "lists"),
    into: claimTable,
    reads: [gatewayPlanTable],
    derive: ({ b: list }, view): Claim[] =>
      [groupOf.to(list), ...(list.includes(".") ? list.split(".").map((_, place) => groupOf.others(list, place)) : []), ...prefixesOf(list).flatMap((before) => [groupOf.out(before), groupOf.in(before), groupOf.take(before), groupOf.over(before), groupOf.away(before), ...(answersMachines(view, list) ? [groupOf.own(before)] : [])])].map((holder) => claim(`gateway/groups/${list}`, gatewayGroups, "", holder)),
  }),
  derivation({ name: "gateway-ports", on: eachPair(gatewayPeerTable, "peers"), into: claimTable, reads: [], derive: ({ a, b }): Claim => claim(`gateway/ports/${a}`, peerPorts, "", b) }),
  derivation({
    name: "gateway-vni",
    on: each(externalNetworkTable),
    into: claimTable,
    reads: [gatewayPlanTable],
    derive: ({ id }, view): Claim[] => (!view.by(gatewayPlanTable, "network", id).some((plan) => plan.kind === "gateway") ? [] : [vniHolder(id), askingHolder(id)].map((holder) => claim("gateway/vni", vniPool, "", holder))),
  }),
];
