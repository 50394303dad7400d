// Interfaces of routers on physical networks, for machines there. Every host that routes into such a network does so itself, with a MAC of its own;
// what machines ask of the router, and send to it, is for one host at a time, chosen as that of a gateway is: that one alone sends with the router's
// MAC, whatever it routes there. A host that is not on the physical network sends what it routes there by way of that one.
import { chassisScope, chassisTable, claim, claimTable, derivation, each, isIpv6, load, numberOf, setField, toEntrance, toStage, type Chassis, type Claim, type Emit, type FlowAction, type ReadView, type SharedRegister } from "#app";
import { linkLocal } from "packet-codec";
import { subnetTable } from "../ipam/model.ts";
import {
  addressTable, attachmentTable, chosenSegments, chosenSegmentTable, handleMac, handleQuestions, handOnHostTable, isPhysical, netScope, networkHostTable, networkTable, portTable, readsTags, segmentFault, segmentTable, sendUnknown, type HandOnHost, type Network,
} from "../l2/model.ts";
import { legOfInterface, legTable, liveRouterTable, routerHopTable, routerInterfaceTable, type Leg, type LiveRouter } from "../l3/model.ts";
import { leaveChosen, leaveRoundabout, profileTable, receiveVni, vniPool } from "../overlay/model.ts";
import { groupOf, listOf, routingInto, usersOf } from "./derive.ts";
import { answering, gatewayGroups, gatewayPlanTable, gatewayReadyTable, handsOver, legId, listScope, outsideScope, roundaboutHolder, type GatewayPlan } from "./model.ts";
import { place } from "./placement.ts";
import { groupsBefore, hostsBefore, ping } from "./rules.ts";
import { gateway } from "./tables.ts";

/** Hosts that may answer for routers on a physical network: those that may have gateways if there are any, else all that are on it. */
function candidates(view: ReadView, there: readonly Chassis[]): readonly Chassis[] {
  // Those that have no tunnels cannot watch each other: one of them has to do.
  const watched = there.filter((c) => c.encap_ip !== "" && c.encap_types.length > 0);
  const gateways = watched.filter((c) => c.gateway || handsOver(view, c));
  // One that is being drained hands over to the others.
  return gateways.some((c) => !handsOver(view, c)) ? gateways : watched.length > 0 ? watched : there.toSorted((a, b) => a.key - b.key).slice(0, 1);
}

export const derive = [
  derivation({
    name: "interface-plan",
    on: each(routerInterfaceTable),
    into: gatewayPlanTable,
    reads: [segmentTable, chosenSegmentTable, chassisTable, networkTable, gatewayReadyTable],
    derive({ id, router_id, network_id }, view): GatewayPlan | undefined {
      const segments = view.by(segmentTable, "network", network_id);
      if (!segments.some((s) => s.physical_network !== null)) return undefined;
      const plan = { id, kind: "interface", router_id, network_id } as const;
      const up = view.get(networkTable, network_id)?.admin_state_up === true;
      // All routers on a network have the same, so that what is routed there from elsewhere has one way.
      const placed = (key: string, hosts: readonly Chassis[]): string[] => place(key, hosts.map((c) => c.id), (host) => handsOver(view, view.get(chassisTable, host)));
      const [only, ...more] = segments;
      if (more.length === 0) {
        const there = up ? candidates(view, view.by(chassisTable, "physical_network", only!.physical_network!).filter((c) => readsTags(only!, c))) : [];
        const hosts = placed(network_id, there);
        return { ...plan, hosts, list: listOf(hosts.map((host) => there.find((c) => c.id === host)!)) };
      }
      const apart = up ? onEach(view, network_id).map(({ index, hosts }) => placed(`${network_id}/${index}`, candidates(view, hosts))) : [];
      return { ...plan, hosts: apart.flat(), list: "", apart };
    },
  }),
  derivation({
    name: "interface-leg",
    on: each(routerInterfaceTable),
    into: legTable,
    reads: [gatewayPlanTable, portTable, networkTable, addressTable, subnetTable, chosenSegmentTable, profileTable],
    derive(row, view): Leg | undefined {
      const plan = view.get(gatewayPlanTable, row.id);
      const leg = plan === undefined || plan.hosts.length === 0 ? undefined : legOfInterface(row, view);
      return leg === undefined ? undefined : { ...leg, id: legId(row), enter: false, at: plan!.hosts, tells: true };
    },
  }),
  derivation({
    name: "interface-hands-on",
    on: each(gatewayPlanTable),
    into: handOnHostTable,
    reads: [gatewayReadyTable],
    derive: (plan, view): HandOnHost[] => answering(view, plan).map((chassis) => ({ id: `gateway/${plan.id}/${chassis}`, network_id: plan.network_id, chassis })),
  }),
  derivation({
    name: "roundabout-vni",
    on: each(gatewayPlanTable),
    into: claimTable,
    reads: [gatewayPlanTable, segmentTable, attachmentTable, routerInterfaceTable, routerHopTable, chassisTable],
    derive: (plan, view): Claim | undefined => (plan.kind === "interface" && plan.list !== "" && usersOf(plan, view).size > 0 ? claim(`gateway/roundabout/${plan.id}`, vniPool, "", roundaboutHolder(plan.network_id)) : undefined),
  }),
];

/** The hosts of each physical segment of a network: each is on the first that it has, with those that have the tunnels too before others. */
function onEach(view: ReadView, networkId: string): { readonly index: number; readonly hosts: readonly Chassis[] }[] {
  const segments = chosenSegments(view, networkId);
  const tunnel = segments.find((s) => !isPhysical(s));
  return segments.filter(isPhysical).flatMap((segment) => {
    const there = view.by(chassisTable, "physical_network", segment.physical_network!).filter((c) => segments.find((s) => isPhysical(s) && segmentFault(s, c) === undefined) === segment);
    const both = tunnel === undefined ? [] : there.filter((c) => segmentFault(tunnel, c) === undefined);
    return there.length === 0 ? [] : [{ index: segment.index, hosts: both.length > 0 ? both : there }];
  });
}

type Through = FlowAction<never, SharedRegister>;

const interfaces = gateway.rule({
  name: "interfaces",
  about: "what machines on a physical network ask of a router there, and send to it, is for the host that has its interface now; hosts that are not on that network send there by that one",
  on: each(gatewayPlanTable),
  emit(plan, view, out) {
    const router = view.get(liveRouterTable, plan.router_id);
    const network = view.get(networkTable, plan.network_id);
    const port = view.get(portTable, plan.id);
    if (plan.kind !== "interface" || router === undefined || network?.admin_state_up !== true || port?.admin_state_up !== true) return;
    // Whoever routes into the network knows who answered there.
    out.include(netScope(network.id), outsideScope(network.id));
    const mac = port.mac_address;
    const addresses = view.by(addressTable, "port", plan.id).map((a) => a.ip);
    const asked = addresses.some(isIpv6) ? [...addresses, linkLocal(mac)] : addresses;
    if (plan.apart !== undefined) {
      answerApart(plan, router, network, mac, asked, view, out);
      return;
    }
    const vni = numberOf(view, vniPool, "", roundaboutHolder(network.id));
    for (const [place, id] of plan.hosts.entries()) {
      const here = chassisScope(id);
      if (vni !== undefined) receiveVni(out, here, vni, { eth_src: mac }, [load("net", network.key), load("router", router.key), setField("in_port", 0), toStage("forward")]);
      const before = groupsBefore(view, hostsBefore(plan, place));
      if (place > 0 && before === undefined) continue;
      const [through, taken] = (["in", "take"] as const).map((which) => (place === 0 ? toEntrance(gateway.entrance("gateway_in")) : ({ type: "group", id: before![which] } as const))) as [Through, Through];
      handleMac(out, here, network, mac, [taken], { rank: 2, from: "afar" });
      // Switches between here and there learn from every packet that its MAC is here. While others have yet to hear that this one is ready, or have heard
      // that it is not, one of them sends so.
      const own = numberOf(view, gatewayGroups, "", groupOf.own(hostsBefore(plan, place)));
      const believed = view.get(gatewayReadyTable, id)?.fellows === true;
      if (believed && place === 0) leaveChosen(out, here, network, router);
      else if (believed && own !== undefined) leaveChosen(out, here, network, router, own);
      for (const ip of asked) {
        handleQuestions(out, here, network, ip, [through]);
        ping(out, here, network, mac, ip);
      }
    }
    const to = numberOf(view, gatewayGroups, "", groupOf.to(plan.list));
    if (vni === undefined || to === undefined) return;
    for (const user of usersOf(plan, view)) {
      out.include(chassisScope(user), listScope(plan.list));
      leaveRoundabout(out, chassisScope(user), network, [setField("tunnel_id", vni), { type: "group", id: to }]);
    }
  },
});

/**
 * On a network of several segments: on each the host that hands on answers, so that for switches there the router's MAC is where all comes from that is on other segments.
 * Hosts that have nothing of the network send those that nobody knows to these.
 */
function answerApart(plan: GatewayPlan, router: LiveRouter, network: Network, mac: string, asked: readonly string[], view: ReadView, out: Emit<typeof gateway>): void {
  const answers = answering(view, plan);
  const take = toEntrance(gateway.entrance("gateway_in"));
  for (const id of plan.hosts) {
    const here = chassisScope(id);
    const takes = answers.includes(id);
    handleMac(out, here, network, mac, takes ? [take] : [], { rank: 2, from: "no port" });
    if (!takes) continue;
    leaveChosen(out, here, network, router);
    for (const ip of asked) {
      handleQuestions(out, here, network, ip, [take]);
      ping(out, here, network, mac, ip);
    }
  }
  const keys = answers.flatMap((id) => {
    const chassis = view.get(chassisTable, id);
    return chassis === undefined || chassis.encap_ip === "" || chassis.encap_types.length === 0 ? [] : chassis.key;
  });
  if (keys.length === 0) return;
  for (const user of routingInto(plan, view)) if (!has(view, network.id, user)) sendUnknown(out, chassisScope(user), network, keys);
}

/** Whether a host has a network: ports of it, or what an app has there. */
const has = (view: ReadView, networkId: string, chassis: string): boolean =>
  view.byPair(attachmentTable, "network_chassis", networkId, chassis).length + view.byPair(networkHostTable, "network_chassis", networkId, chassis).length > 0;

export const rules = [interfaces];
