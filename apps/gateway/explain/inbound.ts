// How a packet of a machine outside begins: at the host that answers for the address it is for, or for the gateway of its router.
import { EXTERNAL, EXTERNAL_ADDRESS, normalizeIp, parseIp, VLAN_PRESENT, type Ask, type LiveView, type PacketCause, type PacketQuestion, type PacketStart, type ReadView } from "#app";
import { firstPacket, UNKNOWN_MAC } from "../../ipam/model.ts";
import { activeAttachment, addressesOf, addressId, addressTable, isNetworkPort, networkTable, portTable, wireEntrance } from "../../l2/model.ts";
import { routerInterfaceTable, routerTable, type Router } from "../../l3/model.ts";
import { answering, externalNetworkTable, gatewayAddressTable, gatewayPlanTable, portBehind, routerGatewayTable, travelsInTunnels, type GatewayPlan, type RouterGateway } from "../model.ts";
import { HOST_IT, nameOf, resourcesOf } from "../problems.ts";

/** What answers for an address outside. */
interface Door {
  readonly network: string;
  readonly mac: string;
  readonly address: string;
  /** Chassis, who answers first. */
  readonly hosts: readonly string[];
  /** Port that it leads to, where one is known. */
  readonly to: string | undefined;
  /** Why nobody may answer. */
  readonly plan: GatewayPlan | undefined;
}

export const hostsOf = (view: ReadView, portId: string): readonly string[] => {
  const plan = view.get(gatewayPlanTable, portId);
  if (plan === undefined) return [];
  return plan.apart === undefined ? plan.hosts : [...answering(view, plan), ...plan.hosts];
};

export function inbound(view: LiveView, question: PacketQuestion, ask: Ask): PacketStart | PacketCause | undefined {
  if (question.from !== EXTERNAL) return undefined;
  const door = doorOf(view, question, ask);
  if (door === undefined) {
    return { reason: "unknown_address", text: `from outside nothing here is reached by ${question.to.slice(0, 64)}`, resources: [], cure: { text: "name an address of an external network (a floating IP, a router's gateway, a port there), or a port whose router leads outside without translating" } };
  }
  const { network, mac, address, hosts, to, plan } = door;
  const places = hosts.flatMap((chassis) => ask(wireEntrance, view, network, chassis).flatMap((at) => (at === undefined ? [] : [{ chassis, ...at }])));
  const [at] = places;
  if (at === undefined) {
    if (view.get(networkTable, network)?.admin_state_up === false) return closed("network", network);
    if (travelsInTunnels(view, network)) return { reason: "physical_network", text: `network ${network} is on no physical network: nothing comes in from outside`, resources: [{ type: "network", id: network }], cure: { text: "give the external network a physical one (provider:physical_network), or trace from a port of it" } };
    const shut = to === undefined ? undefined : routersOf(view, to, network).find((router) => !router.admin_state_up);
    if (shut !== undefined) return closed("router", shut.id);
    if (plan !== undefined) return { reason: "no_gateway", text: `no host can have the gateway of ${nameOf(plan, view)}`, resources: resourcesOf(plan), cure: HOST_IT };
    if (to === undefined) return { reason: "unknown_address", text: `${address} leads to nothing that packets of this kind are for`, resources: [{ type: "network", id: network }], cure: { text: "associate the floating IP with a port, or forward the port" } };
    return { reason: "not_plugged", text: `${address} is of no host that leads to its physical network`, resources: [{ type: "network", id: network }], cure: { text: "see where its port is plugged in, and axion-bridge-mappings there" } };
  }
  const source = question.source ?? EXTERNAL_ADDRESS[address.includes(":") ? 6 : 4];
  const guest = to === undefined ? undefined : activeAttachment(view, to);
  return {
    chassis: at.chassis, ofport: at.ofport, fields: { ...(at.vlan !== null && { vlan_vid: VLAN_PRESENT | at.vlan }), ...firstPacket(question, { mac: UNKNOWN_MAC, ip: source }, { mac, ip: address }) },
    source, sourceMac: question.sourceMac ?? UNKNOWN_MAC, address, to, goal: to === undefined ? "anywhere" : guest === undefined ? "none" : { chassis: guest.chassis, ofport: guest.ofport, vlan: guest.vlan },
  };
}

export const closed = (type: "network" | "router", id: string): PacketCause => ({
  reason: "admin_state_down", text: `${type} ${id} is closed: its admin_state_up is false`, resources: [{ type, id }],
  cure: { text: "open it", call: { method: "PUT", path: `/v2.0/${type}s/${id}`, body: { [type]: { admin_state_up: true } } } },
});

/** Routers by which a port is reached from a network outside. */
const routersOf = (view: ReadView, port: string, outside: string): readonly Readonly<Router>[] =>
  view.by(routerInterfaceTable, "network", view.get(portTable, port)?.network_id ?? "")
    .filter(({ router_id }) => view.by(routerGatewayTable, "router", router_id).some((gateway) => gateway.network_id === outside))
    .map(({ router_id }) => view.get(routerTable, router_id)!);

function doorOf(view: LiveView, question: PacketQuestion, ask: Ask): Door | undefined {
  const port = view.get(portTable, question.to);
  if (port !== undefined) return routedTo(view, port.id, question, ask);
  const ip = normalizeIp(question.to);
  if (ip === undefined || (question.family !== undefined && parseIp(ip)!.family !== question.family)) return undefined;
  return outsideAt(view, ip, undefined, question, ask) ?? insideAt(view, ip);
}

/** By an address of an external network; `only`: of this one, as several may have the same. */
function outsideAt(view: LiveView, ip: string, only: string | undefined, question: PacketQuestion, ask: Ask): Door | undefined {
  for (const further of view.by(gatewayAddressTable, "ip", ip)) {
    const plan = view.get(gatewayPlanTable, further.gateway_id);
    if (plan?.kind !== "gateway" || (only !== undefined && plan.network_id !== only)) continue;
    const to = ask(portBehind, view, plan.network_id, ip, question).find((id) => id !== undefined);
    return { network: plan.network_id, mac: further.mac, address: ip, hosts: further.at ?? hostsOf(view, plan.id), to, plan };
  }
  for (const { id: network } of view.by(externalNetworkTable, "all", "")) {
    const holder = only !== undefined && only !== network ? undefined : view.get(addressTable, addressId(network, ip))?.port_id;
    const own = holder === undefined ? undefined : view.get(portTable, holder);
    if (own === undefined) continue;
    const plan = view.get(gatewayPlanTable, own.id);
    const at = activeAttachment(view, own.id);
    return { network, mac: own.mac_address, address: ip, hosts: plan !== undefined ? hostsOf(view, own.id) : at === undefined ? [] : [at.chassis], to: isNetworkPort(own) ? ask(portBehind, view, network, ip, question).find((id) => id !== undefined) : own.id, plan };
  }
  return undefined;
}

/** By an address of the inside, as outside knows it that has a route by a router's gateway. Nobody finds addresses of all networks: who asks so is a person. */
function insideAt(view: ReadView, ip: string): Door | undefined {
  for (const gateway of view.all(routerGatewayTable)) {
    for (const { network_id } of view.by(routerInterfaceTable, "router", gateway.router_id)) {
      const holder = view.get(addressTable, addressId(network_id, ip))?.port_id;
      const door = holder === undefined ? undefined : byGateway(view, gateway, ip, holder);
      if (door !== undefined) return door;
    }
  }
  return undefined;
}

/** By the port's own address: one outside, or of the inside. */
function routedTo(view: LiveView, id: string, question: PacketQuestion, ask: Ask): Door | undefined {
  const { network_id } = view.get(portTable, id)!;
  const own = addressesOf(view, id).filter((a) => question.family === undefined || a.family === question.family);
  const [address] = own;
  if (address === undefined) return undefined;
  if (view.get(externalNetworkTable, network_id) !== undefined) return outsideAt(view, address.ip, network_id, question, ask);
  for (const { router_id } of view.by(routerInterfaceTable, "network", network_id)) {
    for (const gateway of view.by(routerGatewayTable, "router", router_id)) {
      for (const { ip } of own) {
        const door = byGateway(view, gateway, ip, id);
        if (door !== undefined) return door;
      }
    }
  }
  return undefined;
}

/** Of sources that are translated outside knows none. */
function byGateway(view: ReadView, { id, network_id: network, enable_snat }: Readonly<RouterGateway>, ip: string, to: string): Door | undefined {
  const plan = view.get(gatewayPlanTable, id);
  const mac = view.get(portTable, id)?.mac_address;
  if (plan === undefined || mac === undefined || (enable_snat && !ip.includes(":"))) return undefined;
  return { network, mac, address: ip, hosts: hostsOf(view, id), to, plan };
}
