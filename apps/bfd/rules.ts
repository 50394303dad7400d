// From routes to sessions, and from sessions to flows: what a next hop says comes to the controller from the host that has the gateway, and what is known of
// it tells the router's routes.
import { chassisScope, claim, claimTable, derivation, each, ethType, ipDst, ipSrc, isIpv6, numberOf, type ReadView } from "#app";
import { bfdPorts, linkLocal } from "packet-codec";
import { gatewayPlanTable, gatewaysOf, legId, udpFromOutside } from "../gateway/model.ts";
import { addressId, addressTable, networkTable, portTable } from "../l2/model.ts";
import { legOf, legTable, lostNextHopTable, reaches, routeTable, type Leg, type LostNextHop, type Route } from "../l3/model.ts";
import { bfdMeters, bfdPeerTable, bfdRouterTable, bfdSessionTable, sessionId, SESSIONS_MAX, type BfdSession } from "./model.ts";
import { bfd } from "./tables.ts";

/** RFC 5881 section 5: what came from farther than the link has less. */
export const TTL = 255;
/** Of one session: it is to be one a second, and as many again while it comes up. */
const METER = { unit: "pps", rate: 20, burst: 20 } as const;

/** By which of its own addresses a router speaks with a next hop on the link of a leg. */
function addressFor(leg: Leg, nexthop: string): string | undefined {
  if (nexthop.startsWith("fe80:")) return leg.addresses.some((a) => isIpv6(a.ip)) ? linkLocal(leg.mac) : undefined;
  return leg.addresses.find(({ ip, cidr }) => isIpv6(ip) === isIpv6(nexthop) && reaches({ addresses: [{ ip, cidr }] }, nexthop))?.ip;
}

/** Those of the gateways are told by their source, whoever else may have others. */
const byDefault = ({ source }: Route): number => (source === "gateway" ? 0 : 1);

function sessionsOf(router_id: string, view: ReadView): BfdSession[] {
  const gateways = new Map(gatewaysOf(view, router_id).map((plan) => [legId(plan), plan]));
  const sessions = new Map<string, BfdSession>();
  for (const route of view.by(routeTable, "router", router_id).toSorted((a, b) => byDefault(a) - byDefault(b) || (a.id < b.id ? -1 : 1))) {
    if (sessions.size >= SESSIONS_MAX) break;
    const leg = route.nexthop === null ? undefined : legOf(route, view);
    const plan = leg === undefined ? undefined : gateways.get(leg.id);
    const address = plan === undefined ? undefined : addressFor(leg!, route.nexthop!);
    if (plan === undefined || address === undefined) continue;
    const id = sessionId(plan.id, route.nexthop!);
    sessions.set(id, { id, router_id, gateway_id: plan.id, network_id: plan.network_id, leg: leg!.id, address, nexthop: route.nexthop! });
  }
  return [...sessions.values()];
}

export const derive = [
  derivation({ name: "bfd-session", on: each(bfdRouterTable), into: bfdSessionTable, reads: [routeTable, legTable, gatewayPlanTable], derive: ({ id }, view) => sessionsOf(id, view) }),
  derivation({ name: "bfd-meter", on: each(bfdSessionTable), into: claimTable, reads: [], derive: ({ id }) => claim("bfd", bfdMeters, "", id) }),
  derivation({
    name: "bfd-lost",
    on: each(bfdSessionTable),
    into: lostNextHopTable,
    reads: [bfdPeerTable],
    derive: ({ id, leg, nexthop }, view): LostNextHop | undefined => (view.get(bfdPeerTable, id)?.up === false ? { id: `bfd/${id}`, leg, ip: nexthop } : undefined),
  }),
];

const heard = bfd.rule({
  name: "heard",
  about: "what a next hop outside says to a gateway by BFD comes to the controller, at the rate of its session",
  on: each(bfdSessionTable),
  emit({ id, gateway_id, network_id, address, nexthop }, view, out) {
    const plan = view.get(gatewayPlanTable, gateway_id);
    const network = view.get(networkTable, network_id);
    const mac = view.get(portTable, gateway_id)?.mac_address;
    const meter = numberOf(view, bfdMeters, "", id);
    if (plan === undefined || network?.admin_state_up !== true || mac === undefined || meter === undefined) return;
    // No port but the one that has the address, where the model lists it, speaks for it.
    const port = view.get(portTable, view.get(addressTable, addressId(network_id, nexthop))?.port_id ?? "");
    const family = { eth_type: isIpv6(nexthop) ? ethType.ipv6 : ethType.ip } as const;
    for (const host of plan.hosts) {
      const here = chassisScope(host);
      out.item(here, "meter", meter, METER);
      udpFromOutside(out, host, network, mac, address, bfdPorts.control, bfd.entrance("bfd_in"));
      for (const sender of port === undefined ? [0] : [0, port.key]) {
        out.flow(here, "bfd_in", {
          priority: 100, match: { "reg:net": network.key, "reg:in_port_key": sender, eth_dst: mac, ...family, ...ipSrc(nexthop), ...ipDst(address), ip_ttl: TTL }, meter, actions: [{ type: "punt", maxLen: 256 }],
        });
      }
    }
  },
});

export const rules = [heard];
