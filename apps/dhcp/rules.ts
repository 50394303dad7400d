// Which ports' questions come to the controller. Answers depend on much more (packet-in.ts), but flows do not, so a new
// nameserver or route touches no switch.
import { chassisScope, each, ethType, ipProto, toEntrance } from "#app";
import { icmpv6Types } from "packet-codec";
import { attachmentTable, hearSolicitations, networkTable, type Attachment } from "../l2/model.ts";
import { legTable, outsideMeter } from "../l3/model.ts";
import { dhcp } from "./tables.ts";
import { advertisedSubnets, hasServedAddress } from "./model.ts";

const PUNT = [{ type: "punt" }] as const;

const served = dhcp.rule({
  name: "served-port",
  about: "requests of an attached port that has something to learn: an address, or its routers",
  on: each(attachmentTable),
  emit(at: Attachment, view, out) {
    const scope = chassisScope(at.chassis);
    if (hasServedAddress(view, at.port_id)) {
      out.flow(scope, "dhcp_request", {
        priority: 100,
        match: { "reg:in_port_key": at.port_key, eth_type: ethType.ip, ip_proto: ipProto.udp, udp_src: 68, udp_dst: 67 },
        actions: PUNT,
        meter: at.slot,
      });
    }
    if (advertisedSubnets(view, at.network_id).length > 0) {
      out.flow(scope, "dhcp_request", {
        priority: 100,
        match: { "reg:in_port_key": at.port_key, eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type: icmpv6Types.routerSolicitation },
        actions: PUNT,
        meter: at.slot,
      });
    }
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
      out.flow(scope, "dhcp_request", {
        priority: 100, match: { "reg:in_port_key": 0, eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type: icmpv6Types.routerSolicitation }, actions: PUNT, meter: outsideMeter(out, scope),
      });
    }
  },
});

export const rules = [served, machines];
