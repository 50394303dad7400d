// Why a machine that asks for DHCP is not answered.
import { ipProto, type Explains, type PacketCause } from "#app";
import { dhcpPorts } from "packet-codec";
import { addressesOf } from "../l2/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { asksNetwork, BROADCAST, hasServedAddress } from "./model.ts";

export const explains: Explains = {
  unanswered(view, stop) {
    const port = asksNetwork(view, stop, { ip_proto: ipProto.udp, udp_src: dhcpPorts.client, udp_dst: dhcpPorts.server, ipv4_dst: BROADCAST });
    if (port === undefined || hasServedAddress(view, port.id)) return undefined;
    const subnets = [...new Set(addressesOf(view, port.id, 4).map((a) => a.subnet_id))].filter((id) => view.get(subnetTable, id) !== undefined);
    const [first] = subnets;
    const resources = [{ type: "port", id: port.id }, ...subnets.map((id) => ({ type: "subnet", id }))];
    const because = (text: string, cure: PacketCause["cure"]): PacketCause => ({ reason: "no_dhcp", text, resources, cure });
    if (first === undefined) return because(`port ${port.id} has no IPv4 address that DHCP could tell its machine`, { text: "give the port an address (fixed_ips) of a subnet with enable_dhcp; which one is yours to choose" });
    return because(`no subnet of port ${port.id} has DHCP: enable_dhcp of ${subnets.join(", ")} is false, and no machine of the network gets the request`, {
      text: "let the network answer DHCP there", call: { method: "PUT", path: `/v2.0/subnets/${first}`, body: { subnet: { enable_dhcp: true } } },
    });
  },
};
