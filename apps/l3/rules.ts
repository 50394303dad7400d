// How routers become flows. A router's flows are the same on every chassis; a chassis has those of the routers on its
// own networks, and of the networks these lead to.
import {
  baseScope, callStage, chassisScope, claim, claimTable, copy, derivation, each, eachPair, ethType, familyMatch, ipDst, ipProto, isIpv6, load, NO_MAC, poolNumberTable, setField, toStage, toTable, zonePool, toEntrance,
  type Claim, type Emit, type FlowAction, type ReadView, type RegisterName, type Scope, type TableName,
} from "#app";
import { linkLocal } from "packet-codec";
import { attachmentTable, backToSender, echoReply, echoRequest, fromScope, lanScope, laterEcho, membersScope, netScope, networkTable, portTable, sendersScope, turnedBack } from "../l2/model.ts";
import { enterScope, legTable, liveRouterTable, outsideMeter, routerScope, routerSendersScope, routerTable, routeTable, translationTable, undelivered, undeliveredMeter, unresolvedInto, zoneHolder, domainNumber, inDomain, inDomains, NO_DOMAIN, type Leg, type LiveRouter, type Onward } from "./model.ts";
import { areLost, hopsOf, livingWays, narrowerThan, waysTo, type Way } from "./routes.ts";
import { excepted, kept, ofHostsToo, ofLink, sourceIn } from "./sources.ts";
import { l3 } from "./tables.ts";

type L3Action = FlowAction<TableName<typeof l3>, RegisterName<typeof l3>>;

const PREFIX_BASE = 100;
/** Of a router with several routing domains: two priorities for each length of prefix, for those that may go there and for the others. */
const DIVIDED_BASE = 300;

/** What a packet is given for its way: the network, whose MAC sends it there, and the address of the next hop. */
function wayOf({ leg, nexthop }: Way, ipv6: boolean): L3Action[] {
  return [
    load("net", leg.netKey),
    setField("eth_src", leg.mac),
    // Stays zero when the neighbour is unknown, and nobody has that address.
    setField("eth_dst", NO_MAC),
    nexthop === null ? copy(ipv6 ? "ipv6_dst" : "ipv4_dst", "reg:nexthop") : load("nexthop", nexthop),
  ];
}
/** What ends a hop: the packet is one older, and goes on as if sent in that network. */
const AGE = { type: "dec_ttl" } as const;
// The next hop may be where the packet came from, and a switch sends nothing out of the port it came in by.
const RESOLVE = [callStage("neighbour"), setField("in_port", 0), toStage("forward")] as const;

const onwardOf = (onward: Onward): L3Action => ("stage" in onward ? toStage(onward.stage) : toEntrance(onward.table));

const translates = ({ router_id, network_id }: Leg, view: ReadView): boolean => view.by(translationTable, "router", router_id).some((t) => t.from === undefined || t.from === network_id);

const legs = l3.rule({
  name: "legs",
  about: "a router on a network: what is addressed to it there enters it, and its answers to ping",
  on: each(legTable),
  emit(leg, view, out) {
    const { router_id, network_id, mac, addresses, enter } = leg;
    const router = view.get(liveRouterTable, router_id);
    const network = view.get(networkTable, network_id);
    if (router === undefined || network?.admin_state_up !== true) return;
    const scope = routerScope(router_id);
    // The network of a leg that is not entered everywhere may have very many routers: who has one of them has not all.
    if (enter) out.include(scope, netScope(network_id));
    for (const { ip } of addresses) answer(router.key, ip, scope, out);
    if (addresses.some((a) => isIpv6(a.ip))) answer(router.key, linkLocal(mac), scope, out);
    for (const cidr of kept(leg, view)) out.flow(scope, "l3_route", { priority: 1150, match: { "reg:router": router.key, "reg:off_link": 1, ...sourceIn(cidr) }, actions: [] });
    const stage = translates(leg, view) ? "translate" : "route";
    // What comes in by another leg may be for somebody there who has to be asked for.
    const tells = (leg.at ?? []).length > 0 && view.by(legTable, "router", router_id).some((l) => l.tells === true);
    for (const chassis of leg.at ?? []) {
      const here = chassisScope(chassis);
      out.include(here, scope);
      out.include(here, lanScope(network_id));
      // The network may have no port anywhere.
      out.include(here, netScope(network_id));
      out.include(here, routerSendersScope(router_id));
      out.include(routerSendersScope(router_id), fromScope(chassis));
      out.include(membersScope(network_id), fromScope(chassis));
      input(leg, here, { "reg:net": network.key, eth_dst: mac }, router, stage, view, out);
      if (tells) out.flow(here, "l3_undelivered", { priority: 100, match: { "reg:in_port_key": 0 }, meter: outsideMeter(out, here), actions: [{ type: "punt" }] });
      if (leg.unresolved !== undefined) unresolvedInto(out, chassis, network, leg.unresolved);
    }
    if (!enter) return;
    const entry = enterScope(router_id, network_id);
    out.include(lanScope(network_id), entry);
    out.include(entry, scope);
    // Whoever is on one leg may send to the others.
    out.include(sendersScope(network_id), routerSendersScope(router_id));
    out.include(routerSendersScope(router_id), membersScope(network_id));
    input(leg, entry, { "reg:net": network.key, eth_dst: mac, "reg:from_tunnel": 0 }, router, stage, view, out);
  },
});

/** What matches enters the router, and it is told whether its source is of the link. */
function input(leg: Leg, scope: Scope, sent: { readonly "reg:net": number; readonly eth_dst: string; readonly "reg:from_tunnel"?: 0 }, router: LiveRouter, stage: "translate" | "route", view: ReadView, out: Emit<typeof l3>): void {
  // From wherever it came, what a router hands on is from here.
  const here = sent["reg:from_tunnel"] === 0 ? [] : [load("from_tunnel", 0)];
  const domains = inDomains(router, leg.network_id, view);
  const through = sent["reg:from_tunnel"] === 0 ? [] : (leg.through ?? []).map(toEntrance);
  const into = (offLink: 0 | 1 | 2) => [...here, load("router", router.key), load("off_link", offLink), ...domains, ...through, toStage(stage)] as const;
  out.flow(scope, "l3_input", { priority: 100, match: sent, actions: into(1) });
  const link = ofLink(leg, view);
  for (const cidr of link) out.flow(scope, "l3_input", { priority: 105, match: { ...sent, ...sourceIn(cidr) }, actions: into(0) });
  for (const cidr of ofHostsToo(leg, link, view)) out.flow(scope, "l3_input", { priority: 107, match: { ...sent, ...sourceIn(cidr) }, actions: into(2) });
  for (const { port, source } of excepted(leg, view)) {
    const said = { ...sent, "reg:in_port_key": port } as const;
    out.flow(scope, "l3_input", { priority: 105, match: { ...said, ...sourceIn(source) }, actions: into(0) });
    for (const cidr of ofHostsToo(leg, [source], view)) out.flow(scope, "l3_input", { priority: 107, match: { ...said, ...sourceIn(cidr) }, actions: into(2) });
  }
}

const routing = l3.rule({
  name: "routing",
  about: "the best of a router's routes to one prefix",
  on: eachPair(routeTable, "prefix"),
  counts: { resource: "router", counters: { l3_route: "routed" }, entities: (view, id) => view.pairKeys(routeTable, "prefix", id).map((prefix) => `${id}|${prefix}`) },
  emit({ a: routerId, b: destination }, view, out) {
    const router = view.get(liveRouterTable, routerId);
    if (router === undefined) return;
    const ways = waysTo(routerId, destination, view);
    if (ways.length === 0) return;
    const scope = routerScope(router.id);
    const prefix = Number(destination.slice(destination.indexOf("/") + 1));
    const family = isIpv6(destination) ? 6 : 4;
    const divided = router.domains?.[family] !== undefined;
    const priority = divided ? DIVIDED_BASE + 2 * prefix + 1 : PREFIX_BASE + prefix;
    const to = { "reg:router": router.key, ...familyMatch(destination), ...(prefix === 0 ? {} : ipDst(destination)) } as const;
    const guest = ways.some((way) => way.leg.guest === true);
    // No less specific route is taken instead.
    if (guest) for (const offLink of [1, 2]) out.flow(scope, "l3_route", { priority, match: { ...to, "reg:off_link": offLink }, actions: [] });
    // Less specific ones are: a route by who is lost is as none. By default there is nothing less specific.
    else if (prefix > 0 && areLost(ways, view)) return;
    const match = guest ? ({ ...to, "reg:off_link": 0 } as const) : to;
    const translations = view.by(translationTable, "router", routerId);
    const actionsOf = (way: Way): L3Action[] => {
      const onward = way.onward ?? (translations.some((t) => t.out === way.leg.network_id) ? OUT : undefined);
      const onItsWay = wayOf(way, isIpv6(destination));
      return onward === undefined ? [AGE, ...onItsWay, ...RESOLVE] : [...onItsWay, onwardOf(onward)];
    };
    /** On by a way, from a flow that chose it; looked at first if it may be too large for that. */
    const goBy = (way: Way, choose: (actions: L3Action[]) => void, path?: number): void => {
      const most = narrowerThan(router, way.leg);
      if (most === undefined || most + ETHERNET > MAX_CHECKED) {
        choose(actionsOf(way));
        return;
      }
      choose([{ type: "check_longer", bytes: most + ETHERNET, to: "reg:too_big" }, load("next_mtu", most), toTable("l3_fits")]);
      const chosen = { ...to, ...(path !== undefined && { "reg:path": path }) } as const;
      out.flow(scope, "l3_fits", { priority: PREFIX_BASE + prefix, match: { ...chosen, "reg:too_big": 1 }, actions: [...tell("tooBig")] });
      out.flow(scope, "l3_fits", { priority: PREFIX_BASE + prefix, match: { ...chosen, "reg:too_big": 0 }, actions: actionsOf(way) });
    };
    const living = livingWays(ways, view);
    /** What comes to the route goes by these of its ways. */
    const route = (among: readonly number[], from: (actions: L3Action[]) => void): void => {
      if (ways.length === 1) goBy(ways[0]!, from);
      else from([among.length === ways.length ? { type: "multipath", links: ways.length, to: "reg:path" } : load("path", among[0]!), toTable("l3_paths")]);
    };
    const all = ways.map((_, i) => i);
    if (ways.length > 1) for (const [path, way] of living.entries()) goBy(way, (actions) => out.flow(scope, "l3_paths", { priority: PREFIX_BASE + prefix, match: { ...to, "reg:path": path }, actions }), path);
    if (!divided) route(all, (actions) => out.flow(scope, "l3_route", { priority, match, actions }));
    else {
      // Into which domain each way leads; undefined: others decide who may go by it.
      const into = living.map(({ leg }) => (family === 4 && translations.some((t) => t.out === leg.network_id) ? undefined : domainNumber(router, leg.network_id, family, view)));
      const open = all.filter((i) => into[i] === undefined);
      const numbers = [...new Set(into.flatMap((n) => (n === undefined || n === NO_DOMAIN ? [] : [n])))];
      for (const n of numbers) {
        const of = inDomain(family, n);
        route(all.filter((i) => into[i] === n || into[i] === undefined), (actions) => out.flow(scope, "l3_route", { priority, match: { ...match, ...of }, actions }));
      }
      // What another host sent here, to leave by the gateway, was judged there.
      if (open.length < ways.length) route(all, (actions) => out.flow(scope, "l3_route", { priority, match: { ...match, ...inDomain(family, 0) }, actions }));
      if (open.length < ways.length && family === 4) route(all, (actions) => out.flow(scope, "l3_route", { priority, match: { ...match, "reg:translated": 1 }, actions }));
      // Nor is a less specific route taken by what comes from elsewhere.
      if (open.length === 0) out.flow(scope, "l3_route", { priority: priority - 1, match, actions: [] });
      else route(open, (actions) => out.flow(scope, "l3_route", { priority: priority - 1, match, actions }));
    }
    for (const { leg, nexthop } of ways) {
      // The hop may be another router on that network, which then has to be there as well.
      for (const other of hopsOf({ router_id: router.id, via: leg.network_id, nexthop }, view)) {
        out.include(scope, enterScope(other.router_id, leg.network_id));
        out.include(routerSendersScope(other.router_id), routerSendersScope(router.id));
      }
    }
  },
});
const OUT: Onward = { stage: "translate_out" };
/** Bytes of a frame's header, which the MTU does not count; no router sees a tag. */
const ETHERNET = 14;
/** Of a frame, as a switch can ask for. */
const MAX_CHECKED = 65_535;

/** The router's own address: pings are answered in the switch, of anything else the sender is told that nobody serves it. */
function answer(key: number, ip: string, scope: Scope, out: Emit<typeof l3>): void {
  const router = { "reg:router": key } as const;
  out.flow(scope, "l3_route", { priority: 1100, match: { ...router, ...echoRequest(ip) }, actions: [...echoReply(ip), ...backToSender] });
  out.flow(scope, "l3_route", { priority: 1100, match: { ...router, ...laterEcho(ip) }, actions: [...turnedBack(ip), ...backToSender] });
  out.flow(scope, "l3_route", { priority: 1050, match: { ...router, ...familyMatch(ip), ...ipDst(ip) }, actions: [...tell("notServed")] });
}

const routerZone = l3.rule({
  name: "router-zone",
  about: "the conntrack zones of a router that translates, on each chassis",
  on: eachPair(translationTable, "routers"),
  emit({ b: routerId }, view, out) {
    const router = view.get(routerTable, routerId);
    if (router === undefined) return;
    for (const { part: chassis, n, pool, releasing } of view.by(poolNumberTable, "holder", zoneHolder(routerId))) {
      if (pool !== zonePool.name || releasing) continue;
      out.flow(chassisScope(chassis), "router_zone", { priority: 100, match: { "reg:router": router.key }, actions: [load("router_zone", n), { type: "next" }] });
    }
  },
});

export const zones = [
  derivation({
    name: "zone-claim",
    // Once for a router, however many of its addresses are translated.
    on: eachPair(translationTable, "routers"),
    into: claimTable,
    reads: [legTable, attachmentTable, translationTable],
    derive({ b: router }, view): Claim[] {
      if (view.by(translationTable, "router", router).every((t) => t.from !== undefined)) return [];
      const legs = view.by(legTable, "router", router).filter((leg) => leg.enter);
      const chassis = new Set(legs.flatMap((leg) => view.pairKeys(attachmentTable, "network_chassis", leg.network_id)));
      return [...chassis].sort().map((c) => claim("l3/router-zone", zonePool, c, zoneHolder(router)));
    },
  }),
];

/** To the controller, which knows whom to ask or what to say. */
const tell = (why: keyof typeof undelivered) => [load("undelivered", undelivered[why]), toTable("l3_undelivered")] as const;

/** Packets of a port that routers cannot deliver, a second. */
const UNDELIVERED_METER = { unit: "pps", rate: 50, burst: 100 } as const;

const undeliveredPackets = l3.rule({
  name: "undelivered",
  about: "packets of a local port that a router cannot deliver go to the controller, at a rate of the port's that nothing else has part in",
  on: each(attachmentTable),
  emit(at, view, out) {
    // The port is what the meter is shown with.
    if (view.get(portTable, at.port_id) === undefined) return;
    const scope = chassisScope(at.chassis);
    const meter = undeliveredMeter(at.slot);
    out.item(scope, "meter", meter, UNDELIVERED_METER);
    out.flow(scope, "l3_undelivered", { priority: 100, match: { "reg:in_port_key": at.port_key }, meter, actions: [{ type: "punt" }] });
  },
});

export const rules = [legs, routing, routerZone, undeliveredPackets];

/** What no router takes from one link to another, as source or as destination. RFC 1812 sections 4.2.2.11 and 5.3.7, RFC 3927 section 7 */
const UNROUTED_IPV4 = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"] as const;
/** RFC 4291 sections 2.5.2, 2.5.3, 2.5.6 and 2.7 */
const UNROUTED_IPV6 = ["::/127", "fe80::/10", "ff00::/8"] as const;
/** What no connection tracker makes sense of was not translated either: +trk+inv, ovs-fields(7). */
const INVALID = { value: 0x30, mask: 0x30 } as const;
/** Neighbour discovery: types of ICMPv6 that are for the link alone. RFC 4861 section 4 */
const DISCOVERY = [133, 134, 135, 136, 137] as const;

export const staticFlows = l3.static((out) => {
  const route = (priority: number, match: Parameters<typeof out.flow<"l3_route", object>>[2]["match"], actions: readonly L3Action[]): void => out.flow(baseScope, "l3_route", { priority, match, actions });
  for (const icmpv6_type of DISCOVERY) route(1200, { eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type }, []);
  for (const eth_type of [ethType.ip, ethType.ipv6]) {
    for (const ip_ttl of [0, 1]) route(1000, { eth_type, ip_ttl }, [...tell("expired")]);
    route(1, { eth_type }, [...tell("noRoute")]);
    route(1250, { eth_type, ct_state: INVALID }, []);
    out.flow(baseScope, "l3_resolve", { priority: 100, match: { eth_type }, actions: [AGE, ...RESOLVE] });
  }
  for (const net of UNROUTED_IPV4) for (const field of ["ipv4_src", "ipv4_dst"] as const) route(1020, { eth_type: ethType.ip, [field]: net }, []);
  for (const net of UNROUTED_IPV6) {
    route(1020, { eth_type: ethType.ipv6, ipv6_dst: net }, []);
    route(1010, { eth_type: ethType.ipv6, ipv6_src: net }, net === "fe80::/10" ? [...tell("beyondScope")] : []);
  }
  // The neighbour stage left it: nobody is known to have the next hop.
  out.flow(baseScope, "l3_input", { priority: 200, match: { eth_dst: NO_MAC, "reg:from_tunnel": 0 }, actions: [...tell("unresolved")] });
});
