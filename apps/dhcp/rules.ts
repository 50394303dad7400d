// Whose questions come to the controller, and which they are. Answers depend on much more (packet-in.ts), but flows do not, so a new
// nameserver or route touches no switch.
import { baseScope, chassisScope, each, ethType, ipProto, toEntrance, toTable } from "#app";
import { dhcpPorts, icmpv6Types } from "packet-codec";
import { subnetTable } from "../ipam/model.ts";
import { addressId, addressTable, attachmentTable, hearSolicitations, isNetworkPort, lanScope, networkTable, portTable, type Attachment } from "../l2/model.ts";
import { legTable, outsideMeter } from "../l3/model.ts";
import { dhcp } from "./tables.ts";
import { advertisedSubnets, BROADCAST, hasServedAddress, SERVER_ADDRESS } from "./model.ts";

const PUNT = [{ type: "punt" }] as const;
const TO_REQUESTS = [toTable("dhcp_request")] as const;
const { client, server } = dhcpPorts;
const fromClient = { eth_type: ethType.ip, ip_proto: ipProto.udp, udp_src: client, udp_dst: server } as const;
/** Those of relay agents are the network's where they are sent to its server, or to all: a tenant may have a server of its own elsewhere. */
const fromRelay = { ...fromClient, udp_src: server } as const;
const solicitation = { eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type: icmpv6Types.routerSolicitation } as const;

const served = dhcp.rule({
  name: "served-port",
  about: "requests of an attached port that has something to learn: an address, or its routers",
  on: each(attachmentTable),
  emit(at: Attachment, view, out) {
    const scope = chassisScope(at.chassis);
    const punt = (eth_type: number): void => out.flow(scope, "dhcp_request", { priority: 100, match: { "reg:in_port_key": at.port_key, eth_type }, actions: PUNT, meter: at.slot });
    if (hasServedAddress(view, at.port_id)) punt(ethType.ip);
    if (advertisedSubnets(view, at.network_id).length > 0) punt(ethType.ipv6);
  },
});

const relayed = dhcp.rule({
  name: "relayed",
  about: "what relay agents send to the address as which a subnet's DHCP server answers, unless that is a machine's",
  on: each(subnetTable),
  emit({ enable_dhcp, ip_version, gateway_ip, network_id }, view, out) {
    const network = view.get(networkTable, network_id);
    if (network === undefined || !enable_dhcp || ip_version !== 4 || gateway_ip === null) return;
    const holder = view.get(addressTable, addressId(network_id, gateway_ip));
    const port = holder === undefined ? undefined : view.get(portTable, holder.port_id);
    if (port !== undefined && !isNetworkPort(port)) return;
    out.flow(lanScope(network_id), "dhcp_server", { priority: 100, match: { "reg:net": network.key, ...fromRelay, ipv4_dst: gateway_ip }, actions: TO_REQUESTS });
  },
});

const machines = dhcp.rule({
  name: "machines",
  about: "router solicitations of machines on a physical network, at the hosts that may answer for the router there",
  on: each(legTable),
  emit({ network_id, tells, at = [] }, view, out) {
    const network = view.get(networkTable, network_id);
    if (tells !== true || network === undefined || advertisedSubnets(view, network_id).length === 0) return;
    for (const chassis of at) {
      const scope = chassisScope(chassis);
      hearSolicitations(out, scope, network, [toEntrance(dhcp.entrance("dhcp_request"))]);
      out.flow(scope, "dhcp_request", { priority: 100, match: { "reg:in_port_key": 0, eth_type: ethType.ipv6 }, actions: PUNT, meter: outsideMeter(out, scope) });
    }
  },
});

export const rules = [served, relayed, machines];

export const staticFlows = dhcp.static((out) => {
  const own = [fromClient, { ...fromRelay, ipv4_dst: SERVER_ADDRESS }, { ...fromRelay, ipv4_dst: BROADCAST }, solicitation] as const;
  for (const match of own) out.flow(baseScope, "dhcp_server", { priority: 100, match, actions: TO_REQUESTS });
});
