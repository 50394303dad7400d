// Interfaces of routers on physical networks, for machines there. Every host that routes into such a network does so itself, with a MAC of its own;
// what machines ask of the router, and send to it, is for one host at a time, chosen as that of a gateway is: that one alone sends with the router's
// MAC, whatever it routes there. A host that is not on the physical network sends what it routes there by way of that one.
import { chassisScope, chassisTable, claim, claimTable, derivation, each, isIpv6, load, numberOf, setField, toEntrance, toStage, type Chassis, type Claim, type FlowAction, type ReadView, type SharedRegister } from "#app";
import { linkLocal } from "packet-codec";
import { subnetTable } from "../ipam/model.ts";
import { addressTable, attachmentTable, chosenSegmentTable, handleMac, handleQuestions, netScope, networkTable, portTable, readsTags, segmentTable, type Segment } from "../l2/model.ts";
import { legOfInterface, legTable, liveRouterTable, routerHopTable, routerInterfaceTable, type Leg } from "../l3/model.ts";
import { leaveChosen, leaveRoundabout, profileTable, receiveVni, vniPool } from "../overlay/model.ts";
import { groupOf, listOf, usersOf } from "./derive.ts";
import { gatewayGroups, gatewayPlanTable, gatewayReadyTable, handsOver, legId, listScope, outsideScope, roundaboutHolder, type GatewayPlan } from "./model.ts";
import { place } from "./placement.ts";
import { groupsBefore, hostsBefore, ping } from "./rules.ts";
import { gateway } from "./tables.ts";

/** The physical segment that a network is on, and nowhere else. Between several segments a host hands on, and would take what is for the router. */
function physicalSegmentOf(view: ReadView, networkId: string): Readonly<Segment> | undefined {
  const [only, ...more] = view.by(segmentTable, "network", networkId);
  return more.length > 0 || only?.physical_network == null ? undefined : only;
}

/** Hosts that may answer for routers on a physical network: those that may have gateways if there are any, else all that are on it. */
function candidates(view: ReadView, segment: Segment): readonly Chassis[] {
  const there = view.by(chassisTable, "physical_network", segment.physical_network!).filter((c) => readsTags(segment, c));
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
    reads: [segmentTable, chassisTable, networkTable, gatewayReadyTable],
    derive({ id, router_id, network_id }, view): GatewayPlan | undefined {
      const physical = physicalSegmentOf(view, network_id);
      if (physical === undefined) return undefined;
      const there = view.get(networkTable, network_id)?.admin_state_up === true ? candidates(view, physical) : [];
      // All routers on a network have the same, so that what is routed there from elsewhere has one way.
      const hosts = place(network_id, there.map((c) => c.id), (host) => handsOver(view, view.get(chassisTable, host)));
      return { id, kind: "interface", router_id, network_id, hosts, list: listOf(hosts.map((host) => there.find((c) => c.id === host)!)) };
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
    name: "roundabout-vni",
    on: each(gatewayPlanTable),
    into: claimTable,
    reads: [gatewayPlanTable, segmentTable, attachmentTable, routerInterfaceTable, routerHopTable, chassisTable],
    derive: (plan, view): Claim | undefined => (plan.kind === "interface" && plan.hosts.length > 0 && usersOf(plan, view).size > 0 ? claim(`gateway/roundabout/${plan.id}`, vniPool, "", roundaboutHolder(plan.network_id)) : undefined),
  }),
];

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

export const rules = [interfaces];
