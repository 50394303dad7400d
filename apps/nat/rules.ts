// Translation as flows. What a router sends outside has the gateway's address, given on the host that has the gateway; all hosts of a gateway
// are ready to do it. A floating IP is translated on the host of its port if that leads outside itself, else at the gateway. Each such host has
// a conntrack zone for the router, in which all its translations are, so none can be taken for another router's.
//
// Nothing but a look in a table follows conntrack. What it held of others, fragments whose rest never came, may leave it with any packet, and
// is not of the router's zone. Whether a packet opens a connection is asked of conntrack first, since that passes a meter; of what the policy of
// a port on this host found to open one already, or this router on its way out, it is not asked again: a switch bears six passes of a packet. And what could not be translated, as when the table of connections is full, has the address that it came with.
import { type Alg, callStage, chassisScope, chassisTable, contains, each, ethType, ipProto, isIpv6, load, meterOfZone, next, numberOf, parseCidr, parseIp, setField, toEntrance, toStage, zonePool, type Emit, type Outputs, type Pool, type ReadView, type Scope,  } from "#app";
import { answerByGateway, askedBy, gatewayPlanTable, inwardBy, leaveByGateway, leaveFrom, onwardBy, outsideScope, routerGatewayTable, sentBy, tellTooBig, wayOut } from "../gateway/model.ts";
import { answerFor, holdMac, lanScope, netScope, networkTable, portTable, type Network } from "../l2/model.ts";
import { domainOf, enterRouter, inDomains, legTable, liveRouterTable, routerScope, routeToOwn, routeTranslated, translationTable, zoneHolder, type LiveRouter } from "../l3/model.ts";
import { receiveVni } from "../overlay/model.ts";
import { calledMeters, floatingPlaceTable, hidesSources, linksOutside, openedMeters, ownAddress, portForwardingTable, translatedHelperTable, translatedLimitTable, type FloatingPlace, type TranslatedHelper } from "./model.ts";
import { forwarded, isPlain, sizeOf } from "./ports.ts";
import { nat } from "./tables.ts";

/** What a packet was translated to before does not count: one of the same zone, on its way out, may come in again for somebody else inside. */
const AFRESH = [{ type: "ct_clear" }, load("from_tunnel", 0)] as const;
/** As the connection has it, if there is one. */
const asKnown = { type: "ct", zone: "router_zone", nat: {}, then: { table: "nat_known" } } as const;
const asKnownOutside = { type: "ct", zone: "router_zone", nat: {}, then: { table: "nat_leaving" } } as const;
/**
 * Out of a router: as from the stage `resolve`, but with the next hop's MAC found before the packet is translated, which saves a table. Outside
 * it is no router's any more.
 */
const leave = (zone: number) => [{ type: "ct_clear" }, { type: "dec_ttl" }, callStage("neighbour"), setField("in_port", 0), load("router_zone", zone), load("router", 0)] as const;
const asSource = (ip: string, alg?: Alg) => ({ type: "ct", zone: "router_zone", commit: true, nat: { kind: "src", addr_min: ip }, then: { table: "nat_named" }, ...reading(alg) }) as const;
/** A connection that another host has translated goes on from here. */
const asAnswer = (ip: string, port?: number) => ({ type: "ct", zone: "router_zone", commit: true, nat: { kind: "src", addr_min: ip, ...(port !== undefined && { port_min: port }) }, then: { table: "nat_named" } }) as const;
const asDestination = (ip: string, port?: number, alg?: Alg) =>
  ({ type: "ct", zone: "router_zone", commit: true, nat: { kind: "dst", addr_min: ip, ...(port !== undefined && { port_min: port }) }, then: { table: "nat_opened" }, ...reading(alg) }) as const;
/** Where the connection that it belongs to leads. */
const asExpected = (then: "nat_named" | "nat_opened") => ({ type: "ct", zone: "router_zone", commit: true, nat: {}, then: { table: then } }) as const;
const reading = (alg: Alg | undefined): { readonly alg?: Alg } => (alg === undefined ? {} : { alg });
/** What comes from conntrack in the router's zone. */
const tracked = (zone: number) => ({ "reg:router_zone": zone, ct_zone: zone, eth_type: ethType.ip }) as const;
/** The same on its way out into a network: a router may have gateways on several, and a connection leaves by the one that it has its address from. */
const trackedInto = ({ key }: Network, zone: number) => ({ ...tracked(zone), "reg:net": key }) as const;
/** No fragment: later ones show no ports, and the first alone would wait for them in vain. */
const UNFRAGMENTED = { value: 0, mask: 1 } as const;
const NO_SYN = { value: 0, mask: 0x002 } as const;
/** ct_state bits, ovs-fields(7): +trk+new-inv, +trk-inv. */
const NEW = { value: 0x21, mask: 0x31 } as const;
const VALID = { value: 0x20, mask: 0x30 } as const;
/** +trk+inv */
const UNKNOWN = { value: 0x30, mask: 0x30 } as const;
const WITH_ACK = { tcp_flags: { value: 0x010, mask: 0x010 } } as const;
/**
 * What belongs to a connection that another host knows, and begins none: answers to pings, and segments of TCP that acknowledge something. A floating IP is that of one
 * address, so no connection has to say what becomes of it.
 */
const OF_OTHERS = [{ ip_proto: ipProto.icmp, icmpv4_type: 0 }, { ip_proto: ipProto.tcp, ...WITH_ACK }] as const;
/**
 * +trk+inv-est, and translated: of a connection that is remembered from a time before another host had it, or seen in one direction alone,
 * conntrack takes nothing for valid any more, yet knows what becomes of its addresses. Whoever it is for looks at its numbers himself. What a
 * helper refuses, as it names somebody else's address, is +est+inv, and stays refused.
 */
const [SENT_LATE, RECEIVED_LATE] = [{ value: 0x70, mask: 0x72 }, { value: 0xb0, mask: 0xb2 }] as const;
/** It goes on whatever conntrack has said of it: what stays marked as invalid is dropped on its way. */
const UNTRACK = [{ type: "ct_clear" }] as const;
/** +trk+new+rel-inv: another connection spoke of it. */
const EXPECTED = { value: 0x25, mask: 0x35 } as const;

/** Hosts that have a zone for a router; those that have none yet translate nothing for it. */
function* translating(hosts: readonly string[], routerId: string, view: ReadView): Iterable<{ readonly host: string; readonly scope: Scope; readonly zone: number }> {
  for (const host of hosts) {
    const zone = numberOf(view, zonePool, host, zoneHolder(routerId));
    if (zone !== undefined) yield { host, scope: chassisScope(host), zone };
  }
}

/** What opens a connection to a port that a router has a helper for, and what the connection does then. Fragments show no port. */
const helped = (view: ReadView, routerId: string): { readonly opens: Readonly<Record<string, unknown>> & { readonly ip_proto: number; readonly ip_frag: typeof UNFRAGMENTED }; readonly helper: TranslatedHelper }[] =>
  [...new Map(view.by(translatedHelperTable, "router", routerId).map((h) => [`${h.protocol}/${h.port}`, h])).values()].map((helper) => ({
    opens: { ip_frag: UNFRAGMENTED, ip_proto: ipProto[helper.protocol], [`${helper.protocol}_dst`]: helper.port }, helper,
  }));

const sources = nat.rule({
  name: "sources",
  about: "connections from the inside leave with the gateway's address, and their answers find their way",
  on: each(gatewayPlanTable),
  emit(plan, view, out) {
    const router = view.get(liveRouterTable, plan.router_id);
    const network = view.get(networkTable, plan.network_id);
    const ip = ownAddress(view, plan.id);
    const mac = view.get(portTable, plan.id)?.mac_address;
    if (router === undefined || network?.admin_state_up !== true || ip === undefined || mac === undefined || !hidesSources(view, plan.id)) return;
    const { eth_src, ...sent } = sentBy(plan, router, network, mac, view);
    const own = eth_src === undefined ? {} : { eth_src };
    const own4 = domainOf(view, network.id, 4) === "" ? [] : ofDomain(view, router.id, network.id);
    for (const host of plan.hosts) {
      const zone = numberOf(view, zonePool, host, zoneHolder(router.id));
      const scope = chassisScope(host);
      const ofRouter = { "reg:router": router.key, eth_type: ethType.ip } as const;
      const leaves = { ...sent, ...own, eth_type: ethType.ip } as const;
      if (zone === undefined) {
        // Not yet: nothing leaves as it is meanwhile.
        out.flow(scope, "nat_out", { priority: 50, match: leaves, actions: [] });
        continue;
      }
      out.flow(scope, "nat_in", { priority: 100, match: { ...ofRouter, ipv4_dst: ip }, actions: [...AFRESH, asKnown] });
      // Addresses of the inside are not known outside, so nobody there sends to them; but for those of its own domain.
      out.flow(scope, "nat_in", { priority: 50, match: { ...ofRouter, "reg:net": network.key }, actions: [] });
      for (const cidr of own4) {
        out.flow(scope, "nat_in", { priority: 60, match: { ...ofRouter, "reg:net": network.key, ipv4_dst: cidr }, actions: [next] });
        out.flow(scope, "nat_out", { priority: 60, match: { ...leaves, ipv4_src: cidr }, actions: [next] });
      }
      toRouter(router, zone, scope, out);
      const asked = askedBy(view, plan, host);
      if (asked !== undefined) ask(asked, { ip, mac, zone, router, network }, scope, out);
      const meter = metered(openedMeters, host, zone, view, out);
      out.flow(scope, "nat_out", { priority: 50, match: leaves, actions: [...leave(zone), asKnownOutside] });
      out.flow(scope, "nat_out", { priority: 55, match: { ...leaves, ct_state: NEW }, meter, actions: [...leave(zone), asSource(ip)] });
      out.flow(scope, "nat_leaving", { priority: 50, match: { ...trackedInto(network, zone), ...own, ct_state: NEW }, meter, actions: [asSource(ip)] });
      for (const { opens, helper: { alg } } of helped(view, router.id)) {
        out.flow(scope, "nat_out", { priority: 57, match: { ...leaves, ct_state: NEW, ...opens }, meter, actions: [...leave(zone), asSource(ip, alg)] });
        out.flow(scope, "nat_leaving", { priority: 52, match: { ...trackedInto(network, zone), ...own, ct_state: NEW, ...opens }, meter, actions: [asSource(ip, alg)] });
      }
      expected(router, host, zone, view, out);
      outAs(ip, mac, trackedInto(network, zone), scope, out);
    }
  },
});

/** While a gateway is handed over: what comes for its address and is of no connection here may be of one that the other host knows, and the other way round. */
function ask({ vni, port }: { readonly vni: number; readonly port: number }, to: { readonly ip: string; readonly mac: string; readonly zone: number; readonly router: LiveRouter; readonly network: Network }, scope: Scope, out: Emit<typeof nat>): void {
  const { ip, mac, zone, router, network } = to;
  receiveVni(out, scope, vni, { eth_dst: mac }, [load("net", network.key), load("router", router.key), load("router_zone", zone), setField("in_port", 0), toEntrance(nat.entrance("nat_asked"))]);
  out.flow(scope, "nat_asked", { priority: 100, match: { "reg:router": router.key, "reg:router_zone": zone, eth_type: ethType.ip }, actions: [load("asked", 1), asKnown] });
  for (const ct_state of [NEW, UNKNOWN]) {
    out.flow(scope, "nat_known", { priority: 105, match: { ...tracked(zone), ct_state, ipv4_dst: ip }, actions: [...UNTRACK, setField("tunnel_id", vni), setField("eth_dst", mac), { type: "output", port }] });
    out.flow(scope, "nat_known", { priority: 150, match: { ...tracked(zone), "reg:asked": 1, ct_state }, actions: [] });
  }
}

/** What connections of a router that has helpers spoke of finds its way, in either direction. */
function expected(router: LiveRouter, host: string, zone: number, view: ReadView, out: Emit<typeof nat>): void {
  if (view.count(translatedHelperTable, "router", router.id) === 0) return;
  const match = { ...tracked(zone), ct_state: EXPECTED } as const;
  out.flow(chassisScope(host), "nat_known", { priority: 140, match, meter: metered(calledMeters, host, zone, view, out), actions: [asExpected("nat_opened")] });
  out.flow(chassisScope(host), "nat_leaving", { priority: 140, match, meter: metered(openedMeters, host, zone, view, out), actions: [asExpected("nat_named")] });
}

const floating = nat.rule({
  name: "floating",
  about: "a floating IP where it is translated: what comes for it, and what leaves from the address that it leads to",
  on: each(floatingPlaceTable),
  counts: { resource: "floatingip", counters: { nat_in: "received" }, entities: (_view, id) => [id] },
  emit(place, view, out) {
    const { ip, mac, inside } = place;
    const router = view.get(liveRouterTable, place.router_id);
    const network = view.get(networkTable, place.network_id);
    if (router === undefined || network?.admin_state_up !== true) return;
    const hides = hidesSources(view, place.gateway_id);
    if (inside !== null) {
      answerThroughOwn(place, inside, router, network, view, out);
      leaveByGateway(out, view, place.gateway_id, { source: inside, asRouted: !isFirst(place, inside, view), byAny: place.distributed });
    }
    if (hides && domainOf(view, network.id, 4) !== "") calledFromInside(place, router, network, view, out);
    const links = linksOutside(view, router.id, network.id);
    const enters = inDomains(router, network.id, view);
    for (const host of place.hosts) {
      const zone = numberOf(view, zonePool, host, zoneHolder(router.id));
      const scope = chassisScope(host);
      const ofRouter = { "reg:router": router.key, eth_type: ethType.ip } as const;
      if (zone === undefined) {
        // Not yet: by the gateway meanwhile it would leave with another address, and who has a connection with this one would end it.
        if (place.distributed && inside !== null) leaveFrom(out, scope, { router: router.key, network: network.key, source: inside }, []);
        continue;
      }
      if (hides) out.flow(scope, "nat_in", { priority: 50, match: { ...ofRouter, "reg:net": network.key }, actions: [] });
      enterRouter(out, host, network, mac, router, "translate", links, "ipv4", enters, inwardBy(view, place.gateway_id));
      tellTooBig(out, host);
      toRouter(router, zone, scope, out);
      out.flow(scope, "nat_in", { priority: 100, match: { ...ofRouter, ipv4_dst: ip }, actions: [...AFRESH, asKnown] });
      // Not translated it would leave, and come in again.
      for (const table of ["nat_known", "nat_opened"] as const) out.flow(scope, table, { priority: 110, match: { ...tracked(zone), ipv4_dst: ip }, actions: [] });
      expected(router, host, zone, view, out);
      if (inside === null) continue;
      const [called, opened] = [metered(calledMeters, host, zone, view, out), metered(openedMeters, host, zone, view, out)];
      out.flow(scope, "nat_in", { priority: 110, match: { ...ofRouter, ct_state: NEW, ipv4_dst: ip }, meter: called, actions: [...AFRESH, asDestination(inside)] });
      out.flow(scope, "nat_known", { priority: 120, match: { "reg:router": router.key, ...tracked(zone), ct_state: NEW, ipv4_dst: ip }, meter: called, actions: [asDestination(inside)] });
      const leaves = { ...ofRouter, "reg:net": network.key, ipv4_src: inside } as const;
      out.flow(scope, "nat_out", { priority: 100, match: leaves, actions: [...leave(zone), asKnownOutside] });
      out.flow(scope, "nat_out", { priority: 105, match: { ...leaves, ct_state: NEW }, meter: opened, actions: [...leave(zone), asSource(ip)] });
      out.flow(scope, "nat_leaving", { priority: 60, match: { ...trackedInto(network, zone), ct_state: NEW, ipv4_src: inside }, meter: opened, actions: [asSource(ip)] });
      for (const known of OF_OTHERS) out.flow(scope, "nat_known", { priority: 115, match: { "reg:router": router.key, ...tracked(zone), ct_state: UNKNOWN, ipv4_dst: ip, ...known }, actions: [...UNTRACK, setField("ipv4_dst", inside), ...routeTranslated(router)] });
      for (const { opens, helper: { alg, protocol, port } } of helped(view, router.id)) {
        out.flow(scope, "nat_in", { priority: 112, match: { ...ofRouter, ct_state: NEW, ipv4_dst: ip, ...opens }, meter: called, actions: [...AFRESH, asDestination(inside, undefined, alg)] });
        const there = { "reg:router": router.key, ...tracked(zone), ct_state: NEW, ipv4_dst: ip, ct_nw_proto: ipProto[protocol], ct_tp_dst: port, ...opens } as const;
        out.flow(scope, "nat_known", { priority: 122, match: there, meter: called, actions: [asDestination(inside, undefined, alg)] });
        out.flow(scope, "nat_out", { priority: 107, match: { ...leaves, ct_state: NEW, ...opens }, meter: opened, actions: [...leave(zone), asSource(ip, alg)] });
        out.flow(scope, "nat_leaving", { priority: 62, match: { ...trackedInto(network, zone), ct_state: NEW, ipv4_src: inside, ...opens }, meter: opened, actions: [asSource(ip, alg)] });
      }
      if (!place.distributed) continue;
      if (othersOf(place, inside, view).length > 0) answerByGateway(out, view, scope, place.gateway_id, { source: inside, called: ip, zone, first: isFirst(place, inside, view) });
      leaveFrom(out, scope, { router: router.key, network: network.key, source: inside }, onwardBy(view, place.gateway_id));
      leadOutside(place, host, network, view, out);
    }
  },
});

/** Other floating IPs that lead to the same address by other gateways of the router. */
const othersOf = ({ id, router_id }: FloatingPlace, inside: string, view: ReadView): FloatingPlace[] => view.by(floatingPlaceTable, "inside", `${router_id}|${inside}`).filter((other) => other.id !== id);
/** Of these the one by which it opens connections. */
function isFirst(place: FloatingPlace, inside: string, view: ReadView): boolean {
  const positionOf = ({ gateway_id }: FloatingPlace): number => view.get(routerGatewayTable, gateway_id)?.position ?? Infinity;
  return othersOf(place, inside, view).every((other) => positionOf(place) < positionOf(other));
}

/** Who is inside and leaves as he is would get answers from whom the floating IP leads to, by another address: to call it he has the gateway's, as others. */
function calledFromInside({ gateway_id, ip }: FloatingPlace, router: LiveRouter, network: Network, view: ReadView, out: Emit<typeof nat>): void {
  const plan = view.get(gatewayPlanTable, gateway_id);
  const own = ownAddress(view, gateway_id);
  const mac = view.get(portTable, gateway_id)?.mac_address;
  if (plan === undefined || own === undefined || mac === undefined) return;
  const calls = { ...sentBy(plan, router, network, mac, view), eth_type: ethType.ip, ipv4_dst: ip } as const;
  for (const { host, scope, zone } of translating(plan.hosts, router.id, view)) {
    const meter = metered(openedMeters, host, zone, view, out);
    out.flow(scope, "nat_out", { priority: 65, match: calls, actions: [...leave(zone), asKnownOutside] });
    out.flow(scope, "nat_out", { priority: 70, match: { ...calls, ct_state: NEW }, meter, actions: [...leave(zone), asSource(own)] });
  }
}

/** Somebody inside who called a floating IP was translated to the gateway's address before, so that is where the answer goes. */
function answerThroughOwn({ gateway_id }: FloatingPlace, inside: string, router: LiveRouter, network: Network, view: ReadView, out: Outputs): void {
  const own = ownAddress(view, gateway_id);
  const port = view.get(portTable, gateway_id);
  if (own === undefined || port === undefined || !hidesSources(view, gateway_id)) return;
  routeToOwn(out, routerScope(router.id), router, { source: inside, address: own, network, mac: port.mac_address, onward: wayOut.table });
}

const leaving = nat.rule({
  name: "leaving",
  about: "what was translated to a floating IP leaves with its MAC: physical switches learn by it where the address is",
  on: each(floatingPlaceTable),
  counts: { resource: "floatingip", counters: { nat_leaving: "sent", nat_named: "sent" }, entities: (_view, id) => [id] },
  emit({ ip, mac, inside, router_id, network_id, hosts }, view, out) {
    const network = view.get(networkTable, network_id);
    if (view.get(liveRouterTable, router_id) === undefined || network?.admin_state_up !== true) return;
    for (const { scope, zone } of translating(hosts, router_id, view)) {
      const leaves = trackedInto(network, zone);
      outAs(ip, mac, leaves, scope, out);
      if (inside === null) continue;
      for (const known of OF_OTHERS) out.flow(scope, "nat_leaving", { priority: 90, match: { ...leaves, ct_state: UNKNOWN, ipv4_src: inside, ...known }, actions: outOfOthers(ip, mac) });
    }
  },
});

/** Ports of a floating IP, and no address as a whole, lead inside. Undefined: the way there is not open. */
function forwardedAt(floatingIp: string, view: ReadView): { readonly place: FloatingPlace; readonly router: LiveRouter; readonly network: Network } | undefined {
  const place = view.get(floatingPlaceTable, floatingIp);
  const router = place === undefined ? undefined : view.get(liveRouterTable, place.router_id);
  const network = place === undefined ? undefined : view.get(networkTable, place.network_id);
  return place?.inside !== null || router === undefined || network?.admin_state_up !== true ? undefined : { place, router, network };
}
const ofFloatingIp = { resource: "floatingip", entities: (view: ReadView, id: string) => view.by(portForwardingTable, "floatingip", id).map((f) => f.id) } as const;

const forwarding = nat.rule({
  name: "forwarding",
  about: "ports of a floating IP that lead to ports of an address inside, and answers from there",
  on: each(portForwardingTable),
  counts: { ...ofFloatingIp, counters: { nat_in: "received" } },
  emit({ floatingip_id, protocol, internal, external, internal_ip_address: inside }, view, out) {
    const at = forwardedAt(floatingip_id, view);
    if (at === undefined) return;
    const { place, router, network } = at;
    answerThroughOwn(place, inside, router, network, view, out);
    for (const { match } of forwarded(internal, internal)) leaveByGateway(out, view, place.gateway_id, { source: inside, ports: { protocol, match } });
    const ofRouter = { "reg:router": router.key, eth_type: ethType.ip } as const;
    for (const { host, scope, zone } of translating(place.hosts, router.id, view)) {
      const meter = metered(calledMeters, host, zone, view, out);
      const opens = { ...ofRouter, ct_state: NEW, ip_frag: UNFRAGMENTED, ipv4_dst: place.ip } as const;
      for (const { match: port, to } of forwarded(external, internal)) {
        const there = { meter, actions: [asDestination(inside, to)] } as const;
        out.flow(scope, "nat_in", { priority: 110, match: { ...opens, ip_proto: ipProto[protocol], [`${protocol}_dst`]: port }, meter, actions: [...AFRESH, ...there.actions] });
        out.flow(scope, "nat_known", { priority: 130, match: { ...opens, ...tracked(zone), ct_nw_proto: ipProto[protocol], ct_tp_dst: port }, ...there });
      }
      for (const { opens: helps, helper } of helped(view, router.id)) {
        // What is read is read at one port, whichever side says it.
        const kept = sizeOf(internal) === 1 ? internal.min === helper.port : internal.min === external.min;
        if (helper.protocol !== protocol || helper.port < external.min || helper.port > external.max || !kept) continue;
        const there = asDestination(inside, undefined, helper.alg);
        out.flow(scope, "nat_in", { priority: 112, match: { ...opens, ...helps }, meter, actions: [...AFRESH, there] });
        out.flow(scope, "nat_known", { priority: 132, match: { ...opens, ...tracked(zone), ...helps, ct_nw_proto: ipProto[protocol], ct_tp_dst: helper.port }, meter, actions: [there] });
      }
      // Of a connection that another host knows, what the server says has begun long ago.
      const opened = metered(openedMeters, host, zone, view, out);
      const goesOn = { ...trackedInto(network, zone), ip_frag: UNFRAGMENTED, ipv4_src: inside, ip_proto: ipProto.tcp } as const;
      for (const { match: port, to } of protocol === "tcp" && isPlain(external, internal) ? forwarded(internal, external) : []) {
        out.flow(scope, "nat_leaving", { priority: 58, match: { ...goesOn, ct_state: NEW, tcp_src: port, tcp_flags: NO_SYN }, meter: opened, actions: [asAnswer(place.ip, to)] });
      }
      // Where sources are translated, answers are on the same way; else they alone are.
      if (!hidesSources(view, place.gateway_id)) {
        const isAtHome = router.domains?.[4] === undefined || ofDomain(view, router.id, network.id).some((cidr) => contains(parseCidr(cidr)!, parseIp(inside)!));
        if (isAtHome) out.flow(scope, "nat_leaving", { priority: 100, match: { ...trackedInto(network, zone), ct_state: VALID, ipv4_src: inside }, actions: [toStage("forward")] });
        out.flow(scope, "nat_out", { priority: 90, match: { ...ofRouter, "reg:net": network.key, ipv4_src: inside }, actions: [...leave(zone), asKnownOutside] });
      }
    }
  },
});

const answering = nat.rule({
  name: "answering",
  about: "answers by a forwarded port of connections that another host knows",
  on: each(portForwardingTable),
  counts: { ...ofFloatingIp, counters: { nat_leaving: "sent" } },
  emit({ floatingip_id, protocol, internal, external, internal_ip_address: inside }, view, out) {
    const at = protocol === "tcp" && isPlain(external, internal) ? forwardedAt(floatingip_id, view) : undefined;
    if (at === undefined) return;
    const { place, router, network } = at;
    for (const { scope, zone } of translating(place.hosts, router.id, view)) {
      const answers = { ...trackedInto(network, zone), ct_state: UNKNOWN, ip_frag: UNFRAGMENTED, ipv4_src: inside, ip_proto: ipProto.tcp, ...WITH_ACK } as const;
      for (const { match: port, to } of forwarded(internal, external)) {
        out.flow(scope, "nat_leaving", { priority: 58, match: { ...answers, tcp_src: port }, actions: outOfOthers(place.ip, place.mac, to) });
      }
    }
  },
});

/** Of a connection that conntrack does not know here: translated without it. */
const outOfOthers = (ip: string, mac: string, port?: number) =>
  [...UNTRACK, setField("ipv4_src", ip), ...(port === undefined ? [] : [setField("tcp_src", port)]), setField("eth_src", mac), toStage("forward")] as const;

/** What conntrack knows or has translated goes on to whom it is for, with the addresses that it has by now. */
function toRouter(router: LiveRouter, zone: number, scope: Scope, out: Emit<typeof nat>): void {
  for (const table of ["nat_known", "nat_opened"] as const) out.flow(scope, table, { priority: 100, match: { ...tracked(zone), ct_state: VALID }, actions: routeTranslated(router) });
  out.flow(scope, "nat_known", { priority: 160, match: { ...tracked(zone), ct_state: RECEIVED_LATE, ip_proto: ipProto.tcp, ...WITH_ACK }, actions: [...UNTRACK, ...routeTranslated(router)] });
}

/** Prefixes of the inside that are of the routing domain of a network outside: they leave by it as they are, and are reached from there. */
const ofDomain = (view: ReadView, routerId: string, networkId: string): string[] => {
  const domain = domainOf(view, networkId, 4);
  const legs = view.by(legTable, "router", routerId).filter((leg) => leg.enter && leg.guest !== true && domainOf(view, leg.network_id, 4) === domain);
  return [...new Set(legs.flatMap((leg) => leg.addresses.map((a) => a.cidr)))].filter((cidr) => !isIpv6(cidr)).sort();
};

function outAs(ip: string, mac: string, leaving: ReturnType<typeof trackedInto>, scope: Scope, out: Emit<typeof nat>): void {
  const [match, actions] = [{ ...leaving, ipv4_src: ip }, [setField("eth_src", mac), toStage("forward")]] as const;
  for (const table of ["nat_leaving", "nat_named"] as const) out.flow(scope, table, { priority: 100, match, actions });
  out.flow(scope, "nat_leaving", { priority: 110, match: { ...match, ct_state: SENT_LATE, ip_proto: ipProto.tcp, ...WITH_ACK }, actions: [...UNTRACK, ...actions] });
}

/** What a router's zone on a host takes of the host's connection table in a second. */
function metered(pool: Pool, host: string, zone: number, view: ReadView, out: Emit<typeof nat>): number {
  const meter = meterOfZone(pool, zone);
  const limit = view.get(translatedLimitTable, host);
  if (limit !== undefined) out.item(chassisScope(host), "meter", meter, { unit: "pps", rate: limit.pps, burst: limit.burst });
  return meter;
}

/** On a host that may have neither port nor gateway there. */
function leadOutside({ ip, mac }: FloatingPlace, host: string, network: Network, view: ReadView, out: Outputs): void {
  const scope = chassisScope(host);
  const key = view.get(chassisTable, host)?.key;
  for (const needed of [lanScope(network.id), netScope(network.id), outsideScope(network.id)]) out.include(scope, needed);
  answerFor(out, scope, network, ip, mac, { arp: true });
  if (key !== undefined) holdMac(out, network, mac, { chassis: host, host_key: key });
}

const divided = nat.rule({
  name: "domains",
  about: "where floating IPs alone are translated, what is not of the routing domain of the network outside leaves by one or not at all",
  on: each(gatewayPlanTable),
  emit(plan, view, out) {
    const router = view.get(liveRouterTable, plan.router_id);
    if (router?.domains?.[4] === undefined || plan.kind !== "gateway" || hidesSources(view, plan.id)) return;
    const network = view.get(networkTable, plan.network_id);
    const mac = view.get(portTable, plan.id)?.mac_address;
    if (network === undefined || mac === undefined || !view.by(translationTable, "router", router.id).some((t) => t.out === network.id)) return;
    const leaves = { ...sentBy(plan, router, network, mac, view), eth_type: ethType.ip } as const;
    const prefixes = ofDomain(view, router.id, network.id);
    for (const host of plan.hosts) {
      out.flow(chassisScope(host), "nat_out", { priority: 50, match: leaves, actions: [] });
      for (const cidr of prefixes) out.flow(chassisScope(host), "nat_out", { priority: 60, match: { ...leaves, ipv4_src: cidr }, actions: [next] });
    }
  },
});

export const rules = [sources, floating, leaving, forwarding, answering, divided];
