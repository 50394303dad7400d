// How routers become flows. A router's flows are the same on every chassis; a chassis has those of the routers on its
// own networks, and of the networks these lead to.
import {
  baseScope, callStage, chassisScope, claim, claimTable, copy, derivation, each, eachPair, ethType, familyMatch, ipDst, isIpv6, load, poolNumberTable, setField, toStage, toTable, zonePool, toEntrance,
  type Claim, type Emit, type FlowAction, type RegisterName, type Scope, type TableName,
} from "#app";
import { linkLocal } from "packet-codec";
import { attachmentTable, backToSender, echoReply, echoRequest, lanScope, laterEcho, membersScope, netScope, sendersScope, turnedBack } from "../l2/model.ts";
import { enterScope, legTable, routerScope, routerSendersScope, routerTable, routeTable, translationTable, zoneHolder, type Onward } from "./model.ts";
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

/** The router's own address: pings are answered in the switch, anything else to it is dropped. */
function answer(key: number, ip: string, scope: Scope, out: Emit<typeof l3>): void {
  const router = { "reg:router": key } as const;
  out.flow(scope, "l3_route", { priority: 1100, match: { ...router, ...echoRequest(ip) }, actions: [...echoReply(ip), ...backToSender] });
  out.flow(scope, "l3_route", { priority: 1100, match: { ...router, ...laterEcho(ip) }, actions: [...turnedBack(ip), ...backToSender] });
  out.flow(scope, "l3_route", { priority: 800, match: { ...router, ...familyMatch(ip), ...ipDst(ip) }, actions: [] });
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

const expired = l3.rule({
  name: "expired",
  about: "expired packets of a local port go to the controller, at the port's own rate",
  on: each(attachmentTable),
  emit(at, _view, out) {
    out.flow(chassisScope(at.chassis), "l3_expired", { priority: 100, match: { "reg:in_port_key": at.port_key }, meter: at.slot, actions: [{ type: "punt", maxLen: 600 }] });
  },
});

export const rules = [routing, routerZone, expired];

export const staticFlows = l3.static((out) => {
  for (const eth_type of [ethType.ip, ethType.ipv6]) {
    for (const ip_ttl of [0, 1]) out.flow(baseScope, "l3_route", { priority: 1000, match: { eth_type, ip_ttl }, actions: [toTable("l3_expired")] });
    out.flow(baseScope, "l3_resolve", { priority: 100, match: { eth_type }, actions: [AGE, ...RESOLVE] });
  }
});
