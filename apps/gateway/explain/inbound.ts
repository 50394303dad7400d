// How a packet of a machine outside begins: at the host that answers for the address it is for, or for the gateway of its router.
import { EXTERNAL, EXTERNAL_ADDRESS, normalizeIp, parseIp, type Ask, type LiveView, type PacketCause, type PacketQuestion, type PacketStart, type ReadView } from "#app";
import { firstPacket, UNKNOWN_MAC } from "../../ipam/model.ts";
import { activeAttachment, addressesOf, addressId, addressTable, portTable, wireEntrance } from "../../l2/model.ts";
import { routerInterfaceTable } from "../../l3/model.ts";
import { answering, externalNetworkTable, gatewayAddressTable, gatewayPlanTable, portBehind, routerGatewayTable, type GatewayPlan } from "../model.ts";
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
    return plan === undefined ? { reason: "not_plugged", text: `${address} is of no host that leads to its physical network`, resources: [{ type: "network", id: network }], cure: { text: "see where its port is plugged in, and axion-bridge-mappings there" } }
      : { reason: "no_gateway", text: `no host can have the gateway of ${nameOf(plan, view)}`, resources: resourcesOf(plan), cure: HOST_IT };
  }
  const source = question.source ?? EXTERNAL_ADDRESS[address.includes(":") ? 6 : 4];
  const guest = to === undefined ? undefined : activeAttachment(view, to);
  return {
    chassis: at.chassis, ofport: at.ofport, fields: { ...(at.vlan !== null && { vlan_vid: TAGGED | at.vlan }), ...firstPacket(question, { mac: UNKNOWN_MAC, ip: source }, { mac, ip: address }) },
    source, sourceMac: question.sourceMac ?? UNKNOWN_MAC, address, to, goal: to === undefined ? "anywhere" : guest === undefined ? "none" : { chassis: guest.chassis, ofport: guest.ofport },
  };
}
/** Of vlan_vid: there is a tag. */
const TAGGED = 0x1000;

function doorOf(view: LiveView, question: PacketQuestion, ask: Ask): Door | undefined {
  const port = view.get(portTable, question.to);
  if (port !== undefined) return routedTo(view, port.id, question.family);
  const ip = normalizeIp(question.to);
  if (ip === undefined || (question.family !== undefined && parseIp(ip)!.family !== question.family)) return undefined;
  for (const further of view.by(gatewayAddressTable, "ip", ip)) {
    const plan = view.get(gatewayPlanTable, further.gateway_id);
    if (plan?.kind !== "gateway") continue;
    const to = ask(portBehind, view, plan.network_id, ip, question).find((id) => id !== undefined);
    return { network: plan.network_id, mac: further.mac, address: ip, hosts: further.at ?? hostsOf(view, plan.id), to, plan };
  }
  for (const { id: network } of view.by(externalNetworkTable, "all", "")) {
    const holder = view.get(addressTable, addressId(network, ip))?.port_id;
    const own = holder === undefined ? undefined : view.get(portTable, holder);
    if (own === undefined) continue;
    const plan = view.get(gatewayPlanTable, own.id);
    const at = activeAttachment(view, own.id);
    return { network, mac: own.mac_address, address: ip, hosts: plan !== undefined ? hostsOf(view, own.id) : at === undefined ? [] : [at.chassis], to: at === undefined ? undefined : own.id, plan };
  }
  return undefined;
}

/** By the port's own address, as outside knows it that has a route by the gateway of its router. */
function routedTo(view: ReadView, id: string, family: 4 | 6 | undefined): Door | undefined {
  const { network_id } = view.get(portTable, id)!;
  const own = addressesOf(view, id).filter((a) => family === undefined || a.family === family);
  if (own.length === 0) return undefined;
  const [address] = own;
  if (view.get(externalNetworkTable, network_id) !== undefined) {
    const at = activeAttachment(view, id);
    return { network: network_id, mac: view.get(portTable, id)!.mac_address, address: address!.ip, hosts: at === undefined ? [] : [at.chassis], to: id, plan: undefined };
  }
  for (const { router_id } of view.by(routerInterfaceTable, "network", network_id)) {
    for (const gateway of view.by(routerGatewayTable, "router", router_id)) {
      const plan = view.get(gatewayPlanTable, gateway.id);
      const mac = view.get(portTable, gateway.id)?.mac_address;
      // Of sources that are translated outside knows none.
      const known = own.find((a) => a.family === 6 || !gateway.enable_snat);
      if (plan !== undefined && mac !== undefined && known !== undefined) return { network: gateway.network_id, mac, address: known.ip, hosts: hostsOf(view, gateway.id), to: id, plan };
    }
  }
  return undefined;
}
