// A proxied address as flows: the host that has the gateway answers for it in the gateway's name, and announces it; of what comes from outside
// for the inside nothing else goes on.
import { chassisScope, derivation, each, type ReadView } from "#app";
import { addressTable, answerFor, neighbour, netScope, networkTable, portTable } from "../l2/model.ts";
import { fromOutside, gatewayAddressTable, gatewayPlanTable, routerGatewayTable, travelsInTunnels, type GatewayAddress } from "../gateway/model.ts";
import { interfacesOf, liveRouterTable, routerInterfaceTable } from "../l3/model.ts";
import { ndpProxyTable, ndpRouterTable, proxiedAddressTable, subnetBetween, type NdpProxy, type ProxiedAddress } from "./model.ts";
import { ndpProxy } from "./tables.ts";

function proxied({ id, router_id, port_id, ip_address: ip }: NdpProxy, view: ReadView): ProxiedAddress | undefined {
  const gateway = view.get(routerGatewayTable, view.get(ndpRouterTable, router_id)?.gateway_id ?? "");
  const own = gateway === undefined ? undefined : view.get(portTable, gateway.id);
  const port = view.get(portTable, port_id);
  // An address that the port gave up may be somebody else's by now.
  if (gateway === undefined || own === undefined || port === undefined || view.get(liveRouterTable, router_id) === undefined || subnetBetween(view, router_id, port, ip) === undefined) return undefined;
  return { id, gateway_id: gateway.id, network_id: gateway.network_id, ip, mac: own.mac_address };
}

export const derive = [
  derivation({
    name: "proxied-address",
    on: each(ndpProxyTable),
    into: proxiedAddressTable,
    reads: [routerGatewayTable, ndpRouterTable, portTable, liveRouterTable, addressTable, routerInterfaceTable],
    derive: proxied,
  }),
  derivation({
    name: "ndp-proxy-address",
    on: each(proxiedAddressTable),
    into: gatewayAddressTable,
    reads: [],
    derive: ({ id, gateway_id, ip, mac }): GatewayAddress => ({ id: `ndp-proxy/${id}`, gateway_id, ip, mac }),
  }),
];

const shut = ndpProxy.rule({
  name: "shut",
  about: "what comes from outside for IPv6 networks of a router with enable_ndp_proxy goes no further",
  on: each(ndpRouterTable),
  emit({ id: routerId, gateway_id }, view, out) {
    const plan = view.get(gatewayPlanTable, gateway_id);
    const network = plan === undefined ? undefined : view.get(networkTable, plan.network_id);
    const mac = view.get(portTable, gateway_id)?.mac_address;
    if (plan === undefined || network === undefined || mac === undefined) return;
    for (const { cidr, ip_version } of interfacesOf(view, routerId).flatMap((i) => i.subnets)) {
      if (ip_version === 6) for (const host of plan.hosts) fromOutside(out, host, network, mac, cidr, "nowhere");
    }
  },
});

const answered = ndpProxy.rule({
  name: "answered",
  about: "the gateway answers outside for an address of the inside, and lets in what is sent to it",
  on: each(proxiedAddressTable),
  emit({ gateway_id, network_id, ip, mac }, view, out) {
    const plan = view.get(gatewayPlanTable, gateway_id);
    const network = view.get(networkTable, network_id);
    if (plan === undefined || network?.admin_state_up !== true) return;
    // In tunnels a question is answered where it is asked, by whoever has the network: it is not carried to hosts that have no port there.
    const tunnelled = travelsInTunnels(view, network_id);
    if (tunnelled) neighbour(out, network, ip, mac, netScope(network_id), "router");
    for (const host of plan.hosts) {
      if (!tunnelled) answerFor(out, chassisScope(host), network, ip, mac, { arp: true, router: true });
      fromOutside(out, host, network, mac, ip, "in");
    }
  },
});

export const rules = [shut, answered];
