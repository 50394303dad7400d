// Which routers translate, where each floating IP does, and what that takes on a host: a zone, the network outside.
import { chassisTable, claim, claimTable, contains, derivation, each, parseCidr, parseIp, zonePool, type Claim, type ReadView } from "#app";
import { gatewayAddressTable, gatewayNeighbourTable, gatewayPlanTable, isOnNetwork, knownAt, routerGatewaysOf, routerGatewayTable, travelsInTunnels, type GatewayAddress } from "../gateway/model.ts";
import { activeAttachment, addressTable, attachmentTable, knownAtTable, networkHostTable, networkTable, placesOf, portDetailTable, portTable, segmentTable, type NetworkHost, type PortDetail } from "../l2/model.ts";
import { liveRouterTable, routeTable, translationTable, zoneHolder, type Translation } from "../l3/model.ts";
import { floatingIpTable, floatingPlaceTable, gatewayOn, hidesSources, natSettings, translatedLimitTable, type FloatingIp, type FloatingPlace, type TranslatedLimit } from "./model.ts";

/** Whether a host leads to a network itself: it is mapped to its physical one, or carries tunnels. */
function leadsTo(view: ReadView, networkId: string, chassisId: string): boolean {
  const chassis = view.get(chassisTable, chassisId);
  if (chassis === undefined) return false;
  if (travelsInTunnels(view, networkId)) return chassis.encap_ip !== "" && chassis.encap_types.length > 0;
  return isOnNetwork(view, networkId, chassisId);
}

/** Whether a router leads to an address by a route that does not lead outside. */
function leadsInside(view: ReadView, routerId: string, address: string): boolean {
  const outside = new Set(routerGatewaysOf(view, routerId).map((g) => g.network_id));
  const ip = parseIp(address)!;
  return view.by(routeTable, "router", routerId).some(({ via, destination }) => !outside.has(via) && contains(parseCidr(destination)!, ip));
}

function placeOf({ id, floating_network_id: network_id, floating_ip_address: ip, floating_port_id, router_id, port_id, fixed_ip_address: inside, by_routes }: FloatingIp, view: ReadView): FloatingPlace | undefined {
  const mac = view.get(portTable, floating_port_id)?.mac_address;
  if (router_id === null || mac === undefined || view.get(liveRouterTable, router_id) === undefined || view.get(networkTable, network_id)?.admin_state_up !== true) return undefined;
  const gateway_id = gatewayOn(view, router_id, network_id);
  if (gateway_id === undefined || (by_routes === true && !leadsInside(view, router_id, inside!))) return undefined;
  // What other routers pass on goes by the gateway's host, wherever the port is: there alone it comes to this router again. Forwarded ports may lead to many hosts; an address that several ports may have is at none of them: the host of the gateway finds who has it.
  const at = port_id === null || by_routes === true ? undefined : activeAttachment(view, port_id)?.chassis;
  const distributed = at !== undefined && leadsTo(view, network_id, at);
  const next = port_id === null || by_routes === true ? [] : placesOf(view, port_id).filter(({ role, chassis }) => role === "standby" && leadsTo(view, network_id, chassis)).map(({ chassis }) => chassis);
  return { id, router_id, network_id, gateway_id, ip, mac, inside, distributed, hosts: distributed ? [at] : (view.get(gatewayPlanTable, gateway_id)?.hosts ?? []), next };
}

export const derive = [
  derivation({
    name: "translated-limit",
    on: each(chassisTable),
    into: translatedLimitTable,
    reads: [],
    derive({ id }, view): TranslatedLimit {
      const settings = view.settings(natSettings);
      return { id, pps: settings["translated-connections-pps"], burst: settings["translated-connections-burst"] };
    },
  }),
  derivation({
    name: "source-translation",
    on: each(routerGatewayTable),
    into: translationTable,
    reads: [addressTable],
    derive: ({ id, router_id, network_id }, view): Translation | undefined => (hidesSources(view, id) ? { id: `nat/${id}`, router_id, out: network_id, from: network_id } : undefined),
  }),
  derivation({
    name: "gateway-zone",
    on: each(gatewayPlanTable),
    into: claimTable,
    reads: [routerGatewayTable, addressTable],
    derive: ({ id, router_id, hosts }, view): Claim[] => (hidesSources(view, id) ? hosts.map((host) => claim(`nat/gateway/${id}`, zonePool, host, zoneHolder(router_id))) : []),
  }),
  derivation({
    name: "floating-place",
    on: each(floatingIpTable),
    into: floatingPlaceTable,
    reads: [liveRouterTable, portTable, networkTable, routerGatewayTable, routeTable, attachmentTable, chassisTable, segmentTable, gatewayPlanTable],
    derive: placeOf,
  }),
  derivation({
    name: "floating-translation",
    on: each(floatingPlaceTable),
    into: translationTable,
    reads: [],
    derive: ({ id, router_id, network_id }): Translation => ({ id: `nat/floating/${id}`, router_id, out: network_id, from: network_id }),
  }),
  derivation({
    name: "floating-zone",
    on: each(floatingPlaceTable),
    into: claimTable,
    reads: [],
    derive: ({ id, router_id, hosts, next }): Claim[] => [...new Set([...hosts, ...next])].map((host) => claim(`nat/floating/${id}`, zonePool, host, zoneHolder(router_id))),
  }),
  derivation({
    name: "floating-network",
    on: each(floatingPlaceTable),
    into: networkHostTable,
    reads: [],
    derive: ({ id, network_id, distributed, hosts, next }): NetworkHost[] => [...new Set([...(distributed ? hosts : []), ...next])].map((chassis) => ({ id: `nat/${id}/${chassis}`, network_id, chassis })),
  }),
  derivation({
    name: "floating-known",
    on: each(floatingPlaceTable),
    into: knownAtTable,
    reads: [floatingIpTable, segmentTable, addressTable, gatewayNeighbourTable, gatewayPlanTable],
    derive({ id, network_id, gateway_id, hosts }, view) {
      const port = view.get(floatingIpTable, id)?.floating_port_id;
      return port === undefined ? undefined : knownAt(view, "nat", network_id, port, [...new Set([...hosts, ...(view.get(gatewayPlanTable, gateway_id)?.hosts ?? [])])]);
    },
  }),
  derivation({
    name: "floating-detail",
    on: each(floatingIpTable),
    into: portDetailTable,
    reads: [],
    derive: ({ id, port_id, floating_ip_address: ip, fixed_ip_address: inside }): PortDetail | undefined => (port_id === null ? undefined : { id: `nat/${id}`, port_id, text: `${ip} ${inside}` }),
  }),
  derivation({
    name: "floating-address",
    on: each(floatingPlaceTable),
    into: gatewayAddressTable,
    reads: [],
    derive: ({ id, gateway_id, ip, mac, distributed, hosts }): GatewayAddress => ({ id: `nat/${id}`, gateway_id, ip, mac, ...(distributed && { at: hosts }) }),
  }),
];
