// Gateways as flows. Which host has one now, no controller decides: hosts that use a gateway and hosts that may have it watch each other by
// BFD, in tunnels of their own, and groups choose by what these say. A host of the list that sees one before it alive is silent outside, and
// passes on to that one what leaves; so of all that see the same one alone has the gateway, and what travels goes up the list and never round.
import {
  chassisScope, chassisTable, each, eachPair, ethType, ipProto, isIpv6, load, next, NO_MAC, numberOf, setField, toEntrance, toStage, toTable,
  type Bucket, type Chassis, type Emit, type FlowAction, type Outputs, type ReadView, type SharedRegister,
} from "#app";
import { linkLocal } from "packet-codec";
import { addressTable, echoReply, echoRequest, handleMac, handleQuestions, laterEcho, neighbour, netScope, networkTable, portTable, segmentTable, turnedBack, type Network } from "../l2/model.ts";
import { liveRouterTable, routerScope, unresolvedInto } from "../l3/model.ts";
import { leaveAs, receiveVni, sharedEncap, tunnelPort, vniOf, vniPool } from "../overlay/model.ts";
import { answersMachines, groupOf, hostsIn, prefixesOf } from "./derive.ts";
import {
  asideId, gatewayAddressTable, gatewayAsideTable, gatewayGroups, gatewayMeters, gatewayNeighbourTable, gatewayPeerTable, gatewayPlanTable, gatewayReadyTable, listScope, onwardBy, outsideScope, peerPortName, peerPorts, PUNT_METER, sentBy, tellTooBig, travelsInTunnels, vniHolder, type GatewayPlan,
} from "./model.ts";
import { arrival, asRouted, bound, isAside } from "./multihoming/rules.ts";
import { gateway } from "./tables.ts";
import { keepsIn } from "./problems.ts";

/** A tenant's packet cannot pass for BFD: its key has to be 0 (CVE-2024-2182). Three lost in a row: dead, after 300 ms. */
const BFD = { enable: "true", min_rx: "100", min_tx: "100", mult: "3", check_tnl_key: "true" } as const;

const portTo = (view: ReadView, host: string): number | undefined => numberOf(view, peerPorts, "", host);
const group = (view: ReadView, holder: string): number | undefined => numberOf(view, gatewayGroups, "", holder);

const watching = gateway.rule({
  name: "watching",
  about: "one end of a tunnel in which two hosts watch each other; it says that the other shall not use this one while this is not ready",
  on: eachPair(gatewayPeerTable, "peers"),
  emit({ a, b }, view, out) {
    const [at, peer, port] = [view.get(chassisTable, a), view.get(chassisTable, b), portTo(view, b)];
    const type = at === undefined || peer === undefined ? undefined : sharedEncap(at.encap_types, peer.encap_types);
    if (at === undefined || peer === undefined || port === undefined || type === undefined || at.encap_ip === "" || peer.encap_ip === "" || isIpv6(at.encap_ip) !== isIpv6(peer.encap_ip)) return;
    const roles = new Set(view.byPair(gatewayPeerTable, "peers", a, b).map((p) => p.role));
    const ready = view.get(gatewayReadyTable, a);
    // Those that stand for each other hear first that one leaves, and last that it is back: then nobody is silent for want of the other.
    const isReady = roles.has("fellow") ? ready?.fellows === true : roles.has("gateway") ? ready?.users === true : true;
    out.row(chassisScope(a), "Port", peerPortName(peer.key), {
      interface: { type, options: { remote_ip: peer.encap_ip, key: "flow", local_ip: at.encap_ip }, ofport_request: port, bfd: { ...BFD, ...(isReady ? {} : { cpath_down: "true" }) } },
    });
  },
});

/** Hosts of a list of keys, if all of them are there and have a port number. */
function portsOf(view: ReadView, list: string): number[] | undefined {
  const ports = list.split(".").map((key) => {
    const host = view.by(chassisTable, "key", key)[0];
    return host === undefined ? undefined : portTo(view, host.id);
  });
  return ports.includes(undefined) ? undefined : (ports as number[]);
}
/** Whether there are tunnels to all hosts of a gateway: to a single one there are none where nobody else uses it. */
const isReached = ({ list }: GatewayPlan, view: ReadView): boolean => portsOf(view, list) !== undefined;
const toPeer = (port: number): Bucket => ({ watchPort: port, actions: [{ type: "output", port }] });
/** A bucket watches something: this is a port that lives as long as the host's tunnels. */
const otherwise = (chassis: Chassis, actions: Bucket["actions"]): Bucket => ({ watchPort: tunnelPort[chassis.encap_types[0]!], actions });

/** As if nobody else had the gateway. */
const OUT_HERE = [setField("eth_dst", NO_MAC), toTable("gateway_here")] as const;

/** As to a host that is none: whoever carries the network takes it to whatever is out there. */
const TO_THE_WIRE = [load("out_port_key", 0), load("out_host", 0), toStage("locate")] as const;

/** Numbers of the groups on a host before which these are; undefined: they are not there yet. */
export function groupsBefore(view: ReadView, before: string): Readonly<Record<"out" | "in" | "take" | "over" | "away", number>> | undefined {
  const [to, inwards, take, over, away] = [groupOf.out, groupOf.in, groupOf.take, groupOf.over, groupOf.away].map((of) => group(view, of(before)));
  return to === undefined || inwards === undefined || take === undefined || over === undefined || away === undefined ? undefined : { out: to, in: inwards, take, over, away };
}

const lists = gateway.rule({
  name: "lists",
  about: "the groups that choose among the hosts of gateways, on those that use them and on each of the hosts",
  on: eachPair(gatewayPlanTable, "lists"),
  emit({ b: list }, view, out) {
    const ports = portsOf(view, list);
    const to = group(view, groupOf.to(list));
    if (ports !== undefined && to !== undefined) out.item(listScope(list), "group", to, { type: "ff", buckets: ports.map(toPeer) });
    const keys = list.split(".");
    for (const [i, host] of hostsIn(view, list).entries()) {
      const others = group(view, groupOf.others(list, i));
      if (host === undefined || host.encap_types.length === 0 || ports === undefined || others === undefined || view.get(gatewayAsideTable, asideId(list, host.id)) === undefined) continue;
      out.item(chassisScope(host.id), "group", others, { type: "ff", buckets: [...ports.filter((_, n) => n !== i).map(toPeer), otherwise(host, OUT_HERE)] });
    }
    for (const [i, before] of prefixesOf(list).entries()) {
      const host = view.by(chassisTable, "key", keys[i + 1]!)[0];
      const earlier = portsOf(view, before);
      const ids = groupsBefore(view, before);
      if (host === undefined || host.encap_types.length === 0 || earlier === undefined || ids === undefined) continue;
      const here = chassisScope(host.id);
      const silent: Bucket[] = earlier.map((port) => ({ watchPort: port, actions: [setField("in_port", 0)] }));
      const inHere = otherwise(host, [toTable("gateway_in")]);
      out.item(here, "group", ids.out, { type: "ff", buckets: [...earlier.map(toPeer), otherwise(host, OUT_HERE)] });
      out.item(here, "group", ids.in, { type: "ff", buckets: [...silent, inHere] });
      // Answers to what one of both has sent may come to the other until the outside has learned where the gateway is.
      const isShared = before.split(".").some((key) => view.get(gatewayReadyTable, view.by(chassisTable, "key", key)[0]?.id ?? "")?.shared === true);
      out.item(here, "group", ids.take, { type: "ff", buckets: isShared ? [inHere] : [...silent, inHere] });
      out.item(here, "group", ids.over, { type: "ff", buckets: [...earlier.map(toPeer), inHere] });
      const own = group(view, groupOf.own(before));
      if (own !== undefined && answersMachines(view, list)) out.item(here, "group", own, { type: "ff", buckets: [...earlier.map((port) => ({ watchPort: port, actions: leaveAs("router") })), otherwise(host, leaveAs("port"))] });
      out.item(here, "group", ids.away, { type: "ff", buckets: [...earlier.map((port) => ({ watchPort: port, actions: TO_THE_WIRE })), inHere] });
    }
  },
});

const hosts = gateway.rule({
  name: "hosts",
  about: "what comes from outside for the gateways that a host has: questions are answered, answers heard, the rest is routed; of what is too large for the inside the sender is told",
  on: each(chassisTable),
  emit({ id }, view, out) {
    const plans = view.by(gatewayPlanTable, "host", id);
    if (plans.length === 0) return;
    const scope = chassisScope(id);
    const nd = (icmpv6_type: number) => ({ eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type }) as const;
    for (const question of [{ eth_type: ethType.arp, arp_op: 1 }, nd(135)] as const) out.flow(scope, "gateway_in", { priority: 200, match: question, actions: [load("from_tunnel", 0), toStage("services")] });
    // Who outside answers, or says what nobody asked, does not keep what waits for a neighbour from being heard.
    const answers = gatewayMeters.min;
    out.item(scope, "meter", answers, PUNT_METER);
    for (const answer of [{ eth_type: ethType.arp, arp_op: 2 }, nd(136)] as const) out.flow(scope, "gateway_in", { priority: 200, match: answer, meter: answers, actions: [{ type: "punt", maxLen: 128 }] });
    tellTooBig(out, id);
    out.flow(scope, "gateway_in", { priority: 10, match: {}, actions: [next] });
    if (!plans.some((plan) => plan.kind === "gateway")) return;
    tellUnresolved(id, out);
  },
});

/** Packets for next hops outside that a host does not know come to the controller. */
function tellUnresolved(host: string, out: Emit<typeof gateway>): void {
  const meter = gatewayMeters.min + 1;
  out.item(chassisScope(host), "meter", meter, PUNT_METER);
  for (const eth_type of [ethType.ip, ethType.ipv6]) out.flow(chassisScope(host), "gateway_unresolved", { priority: 100, match: { eth_type }, meter, actions: [{ type: "punt" }] });
}

/** Keys of the hosts before a place of a gateway's list, as text. */
export const hostsBefore = (plan: GatewayPlan, place: number): string => plan.list.split(".").slice(0, place).join(".");

/** What comes from outside for a MAC, and questions for its addresses, are for the host that has the gateway now. */
function takeFromOutside(plan: GatewayPlan, network: Network, mac: string, addresses: readonly string[], view: ReadView, out: Outputs): void {
  const to = isReached(plan, view) ? group(view, groupOf.to(plan.list)) : undefined;
  const vni = travelsInTunnels(view, network.id) ? vniOf(view, network.id) : undefined;
  const tunnelled = vni === undefined ? [] : ([setField("tunnel_id", vni), setField("in_port", 0)] as const);
  if (vni !== undefined && to !== undefined) {
    out.include(netScope(network.id), listScope(plan.list));
    handleMac(out, netScope(network.id), network, mac, [...tunnelled, { type: "group", id: to }]);
  }
  for (const [place, id] of plan.hosts.entries()) {
    const here = chassisScope(id);
    const before = groupsBefore(view, hostsBefore(plan, place));
    if (place > 0 && before === undefined) continue;
    const through = (which: "in" | "take" | "over" | "away"): FlowAction<never, SharedRegister> => (place === 0 ? toEntrance(gateway.entrance("gateway_in")) : { type: "group", id: before![which] });
    if (place === 0) handleMac(out, here, network, mac, [through("in")], { rank: 1 });
    else if (vni !== undefined) handleMac(out, here, network, mac, [...tunnelled, through("over")], { rank: 1 });
    else {
      // What ports and routers send here goes to the host that has it; what comes from out there has been there.
      handleMac(out, here, network, mac, [setField("in_port", 0), through("away")], { rank: 1 });
      handleMac(out, here, network, mac, [through("take")], { rank: 2, from: view.count(segmentTable, "network", network.id) > 1 ? "no port" : "afar" });
    }
    for (const ip of addresses) handleQuestions(out, here, network, ip, [through("in")]);
  }
}

const furtherAddresses = gateway.rule({
  name: "further-addresses",
  about: "addresses of others that lead to a router by its gateway",
  on: each(gatewayAddressTable),
  emit({ gateway_id, ip, mac, at }, view, out) {
    const plan = view.get(gatewayPlanTable, gateway_id);
    const network = plan === undefined ? undefined : view.get(networkTable, plan.network_id);
    if (at !== undefined && network?.admin_state_up === true) {
      for (const host of at) {
        unresolvedInto(out, host, network, gateway.entrance("gateway_unresolved"));
        tellUnresolved(host, out);
      }
      return;
    }
    if (plan === undefined || network?.admin_state_up !== true || plan.hosts.length === 0 || (plan.hosts.length > 1 && !isReached(plan, view))) return;
    takeFromOutside(plan, network, mac, [ip], view, out);
  },
});

const gateways = gateway.rule({
  name: "gateways",
  about: "what a router sends by its gateway goes to the host that has it, and leaves there; what comes from outside for it enters there",
  on: each(gatewayPlanTable),
  emit(plan, view, out) {
    if (plan.kind !== "gateway") return;
    const router = view.get(liveRouterTable, plan.router_id);
    const network = view.get(networkTable, plan.network_id);
    const port = view.get(portTable, plan.id);
    if (router === undefined || network?.admin_state_up !== true || port?.admin_state_up !== true) return;
    const scope = routerScope(router.id);
    const sent = sentBy(plan, router, network, port.mac_address, view);
    asRouted(plan, router, view, out);
    if (keepsIn(plan, view)) out.flow(scope, "gateway_out", { priority: 200, match: { ...sent, eth_type: ethType.ip }, actions: [] });
    out.flow(scope, "gateway_out", { priority: 50, match: sent, actions: [] });
    const vni = numberOf(view, vniPool, "", vniHolder(network.id));
    const to = group(view, groupOf.to(plan.list));
    const reached = isReached(plan, view);
    if (plan.hosts.length === 0 || vni === undefined || to === undefined || (plan.hosts.length > 1 && !reached)) return;
    const redirected = [setField("tunnel_id", vni), setField("eth_dst", port.mac_address)] as const;
    if (reached) {
      out.include(scope, listScope(plan.list));
      out.flow(scope, "gateway_out", { priority: 100, match: sent, actions: [...redirected, { type: "group", id: to }] });
    }
    const addresses = view.by(addressTable, "port", plan.id).map((a) => a.ip);
    const asked = addresses.some(isIpv6) ? [...addresses, linkLocal(port.mac_address)] : addresses;
    takeFromOutside(plan, network, port.mac_address, asked, view, out);
    for (const [place, id] of plan.hosts.entries()) {
      const here = chassisScope(id);
      out.include(here, outsideScope(network.id));
      const before = groupsBefore(view, hostsBefore(plan, place));
      if (place > 0 && before === undefined) continue;
      const passage = onwardBy(view, plan.id);
      if (passage.some(({ type }) => type !== "next")) out.flow(here, "gateway_here", { priority: 100, match: sent, actions: passage });
      const onward = place === 0 ? passage : ([...redirected, { type: "group", id: before!.out }] as const);
      const others = group(view, groupOf.others(plan.list, place));
      if (!isAside(plan, id, view) || others === undefined) out.flow(here, "gateway_out", { priority: 110, match: sent, actions: onward });
      else {
        // What others have sent here they have since they do not know yet, or nobody else lives.
        out.flow(here, "gateway_out", { priority: 120, match: { ...sent, "reg:by_gateway": port.key }, actions: onward });
        out.flow(here, "gateway_out", { priority: 110, match: sent, actions: [...redirected, { type: "group", id: others }] });
      }
      out.flow(here, "gateway_exit", { priority: 100, match: { "reg:net": network.key }, actions: [load("router", 0), next] });
      receiveVni(out, here, vni, { eth_dst: port.mac_address }, [load("net", network.key), load("router", router.key), setField("in_port", 0), arrival(plan, id, view)]);
      bound(plan, id, router, network, port, view, out);
      for (const ip of asked) ping(out, here, network, port.mac_address, ip);
    }
  },
});

/** Pings of the gateway itself, from outside; those from within are the router's to answer. */
export function ping(out: Emit<typeof gateway>, scope: ReturnType<typeof chassisScope>, network: Network, mac: string, ip: string): void {
  const match = { "reg:net": network.key, eth_dst: mac } as const;
  const back = [load("from_tunnel", 0), setField("in_port", 0), toStage("forward")] as const;
  out.flow(scope, "gateway_in", { priority: 150, match: { ...match, ...echoRequest(ip) }, actions: [...echoReply(ip), ...back] });
  out.flow(scope, "gateway_in", { priority: 150, match: { ...match, ...laterEcho(ip) }, actions: [...turnedBack(ip), ...back] });
}

const neighbours = gateway.rule({
  name: "outside-neighbours",
  about: "who outside has an address, for the hosts of gateways there; questions for it go on to who has it",
  on: each(gatewayNeighbourTable),
  emit({ id, network_id, ip, mac, listed }, view, out) {
    const network = view.get(networkTable, network_id);
    if (network !== undefined && listed !== true && view.get(addressTable, id) === undefined) neighbour(out, network, ip, mac, outsideScope(network_id), "asked");
  },
});

export const rules = [watching, lists, hosts, gateways, furtherAddresses, neighbours];
