// How routers become flows. A router's flows are the same on every chassis; a chassis has those of the routers on its
// own networks, and of the networks these lead to.
import {
  baseScope, callStage, chassisScope, claim, claimTable, copy, derivation, each, eachPair, ethType, familyMatch, ipDst, ipProto, isIpv6, load, poolNumberTable, setField, toStage, toTable, zonePool, toEntrance,
  type Claim, type Emit, type FlowAction, type RegisterName, type Scope, type TableName,
} from "#app";
import { linkLocal } from "packet-codec";
import { attachmentTable, backToSender, echoReply, echoRequest, lanScope, membersScope, netScope, sendersScope } from "../l2/model.ts";
import { enterScope, legTable, routerScope, routerSendersScope, routerTable, routeTable, translationTable, undelivered, zoneHolder, type Onward } from "./model.ts";
import { chosenRoutes, liveLegs, type Way } from "./routes.ts";
import { l3 } from "./tables.ts";

type L3Action = FlowAction<TableName<typeof l3>, RegisterName<typeof l3>>;

const PREFIX_BASE = 100;

/** What a packet is given for its way: the network, whose MAC sends it there, and the address of the next hop. */
function wayOf({ leg, nexthop }: Way, ipv6: boolean): L3Action[] {
  return [
    load("net", leg.netKey),
    setField("eth_src", leg.mac),
    // Stays zero when the neighbour is unknown, and nobody has that address.
    setField("eth_dst", "00:00:00:00:00:00"),
    nexthop === null ? copy(ipv6 ? "ipv6_dst" : "ipv4_dst", "reg:nexthop") : load("nexthop", nexthop),
  ];
}
/** What ends a hop: the packet is one older, and goes on as if sent in that network. */
const AGE = { type: "dec_ttl" } as const;
const RESOLVE = [callStage("neighbour"), toStage("forward")] as const;

const onwardOf = (onward: Onward): L3Action => ("stage" in onward ? toStage(onward.stage) : toEntrance(onward.table));

const routing = l3.rule({
  name: "routing",
  about: "a router's networks, the best of its routes to each prefix, and its answers to ping",
  on: each(routerTable),
  emit(router, view, out) {
    if (!router.admin_state_up) return;
    const legs = liveLegs(router.id, view);
    const translations = view.by(translationTable, "router", router.id);
    const scope = routerScope(router.id);
    for (const leg of legs) {
      out.include(scope, netScope(leg.network_id));
      for (const { ip } of leg.addresses) answer(router.key, ip, scope, out);
      if (leg.addresses.some((a) => isIpv6(a.ip))) answer(router.key, linkLocal(leg.mac), scope, out);
      if (!leg.enter) continue;
      const entry = enterScope(router.id, leg.network_id);
      out.include(lanScope(leg.network_id), entry);
      out.include(entry, scope);
      // Whoever is on one leg may send to the others.
      out.include(sendersScope(leg.network_id), routerSendersScope(router.id));
      out.include(routerSendersScope(router.id), membersScope(leg.network_id));
      out.flow(entry, "l3_input", {
        priority: 100,
        match: { "reg:net": leg.netKey, eth_dst: leg.mac, "reg:from_tunnel": 0 },
        actions: [load("router", router.key), toStage(translations.length > 0 ? "translate" : "route")],
      });
    }
    for (const [destination, ways] of chosenRoutes(view.by(routeTable, "router", router.id), legs)) {
      const prefix = Number(destination.slice(destination.indexOf("/") + 1));
      const priority = PREFIX_BASE + prefix;
      const match = { "reg:router": router.key, ...familyMatch(destination), ...(prefix === 0 ? {} : ipDst(destination)) } as const;
      const actionsOf = (way: Way): L3Action[] => {
        const onward = way.onward ?? (translations.some((t) => t.out === way.leg.network_id) ? OUT : undefined);
        const to = wayOf(way, isIpv6(destination));
        return onward === undefined ? [AGE, ...to, ...RESOLVE] : [...to, onwardOf(onward)];
      };
      if (ways.length === 1) out.flow(scope, "l3_route", { priority, match, actions: actionsOf(ways[0]!) });
      else {
        out.flow(scope, "l3_route", { priority, match, actions: [{ type: "multipath", links: ways.length, to: "reg:path" }, toTable("l3_paths")] });
        for (const [path, way] of ways.entries()) out.flow(scope, "l3_paths", { priority, match: { ...match, "reg:path": path }, actions: actionsOf(way) });
      }
      for (const { leg, nexthop } of ways) {
        if (nexthop === null) continue;
        // The hop may be another router on that network, which then has to be there as well.
        for (const other of view.by(legTable, "address", `${leg.network_id}|${nexthop}`)) {
          if (other.router_id === router.id || !other.enter) continue;
          out.include(scope, enterScope(other.router_id, leg.network_id));
          out.include(routerSendersScope(other.router_id), routerSendersScope(router.id));
        }
      }
    }
  },
});
const OUT: Onward = { stage: "translate_out" };

/** The router's own address: pings are answered in the switch, of anything else the sender is told that nobody serves it. */
function answer(key: number, ip: string, scope: Scope, out: Emit<typeof l3>): void {
  const router = { "reg:router": key } as const;
  out.flow(scope, "l3_route", { priority: 1100, match: { ...router, ...echoRequest(ip) }, actions: [...echoReply(ip), ...backToSender] });
  out.flow(scope, "l3_route", { priority: 1050, match: { ...router, ...familyMatch(ip), ...ipDst(ip) }, actions: [...tell("notServed")] });
}

const routerZone = l3.rule({
  name: "router-zone",
  about: "the conntrack zone of a router that translates, on one chassis",
  on: each(poolNumberTable),
  emit(number, view, out) {
    if (number.pool !== zonePool.name || number.releasing || !number.holder.startsWith(zoneHolder(""))) return;
    const router = view.get(routerTable, number.holder.slice(zoneHolder("").length));
    if (router === undefined) return;
    out.flow(chassisScope(number.part), "router_zone", { priority: 100, match: { "reg:router": router.key }, actions: [load("router_zone", number.n), { type: "next" }] });
  },
});

export const zones = [
  derivation({
    name: "zone-claim",
    // Once for a router, however many of its addresses are translated.
    on: eachPair(translationTable, "routers"),
    into: claimTable,
    reads: [legTable, attachmentTable],
    derive({ b: router }, view): Claim[] {
      const legs = view.by(legTable, "router", router).filter((leg) => leg.enter);
      const chassis = new Set(legs.flatMap((leg) => view.pairKeys(attachmentTable, "network_chassis", leg.network_id)));
      return [...chassis].sort().map((c) => claim("l3/router-zone", zonePool, c, zoneHolder(router)));
    },
  }),
];

/** To the controller, which knows whom to ask or what to say. */
const tell = (why: keyof typeof undelivered) => [load("undelivered", undelivered[why]), toTable("l3_undelivered")] as const;

const undeliveredPackets = l3.rule({
  name: "undelivered",
  about: "packets of a local port that a router cannot deliver go to the controller, at the port's own rate",
  on: each(attachmentTable),
  emit(at, _view, out) {
    out.flow(chassisScope(at.chassis), "l3_undelivered", { priority: 100, match: { "reg:in_port_key": at.port_key }, meter: at.slot, actions: [{ type: "punt" }] });
  },
});

export const rules = [routing, routerZone, undeliveredPackets];

/** What no router takes from one link to another, as source or as destination. RFC 1812 sections 4.2.2.11 and 5.3.7, RFC 3927 section 7 */
const UNROUTED_IPV4 = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"] as const;
/** RFC 4291 sections 2.5.2, 2.5.3, 2.5.6 and 2.7 */
const UNROUTED_IPV6 = ["::/127", "fe80::/10", "ff00::/8"] as const;
/** Neighbour discovery is of one link. */
const ND_TYPES = [133, 134, 135, 136, 137] as const;

export const staticFlows = l3.static((out) => {
  const route = (priority: number, match: Parameters<typeof out.flow<"l3_route", object>>[2]["match"], actions: readonly L3Action[]): void => out.flow(baseScope, "l3_route", { priority, match, actions });
  for (const eth_type of [ethType.ip, ethType.ipv6]) {
    for (const ip_ttl of [0, 1]) route(1000, { eth_type, ip_ttl }, [...tell("expired")]);
    route(1, { eth_type }, [...tell("noRoute")]);
    out.flow(baseScope, "l3_resolve", { priority: 100, match: { eth_type }, actions: [AGE, ...RESOLVE] });
  }
  for (const icmpv6_type of ND_TYPES) route(1060, { eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type }, []);
  for (const net of UNROUTED_IPV4) for (const field of ["ipv4_src", "ipv4_dst"] as const) route(1020, { eth_type: ethType.ip, [field]: net }, []);
  for (const net of UNROUTED_IPV6) {
    route(1020, { eth_type: ethType.ipv6, ipv6_dst: net }, []);
    route(1010, { eth_type: ethType.ipv6, ipv6_src: net }, net === "fe80::/10" ? [...tell("beyondScope")] : []);
  }
  // The neighbour stage left it: nobody is known to have the next hop.
  out.flow(baseScope, "l3_input", { priority: 200, match: { eth_dst: "00:00:00:00:00:00", "reg:from_tunnel": 0 }, actions: [...tell("unresolved")] });
});
