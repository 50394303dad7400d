// Why a machine that asks for DHCPv6 is not answered.
import { ipProto, type Explains } from "#app";
import { dhcp6Ports } from "packet-codec";
import { asksNetwork } from "../dhcp/model.ts";
import { addressesOf } from "../l2/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { servedAddresses } from "./model.ts";

/** All_DHCP_Relay_Agents_and_Servers. RFC 8415 section 7.1 */
const SERVERS = "ff02::1:2";

export const explains: Explains = {
  unanswered(view, stop) {
    const port = asksNetwork(view, stop, { ip_proto: ipProto.udp, udp_src: dhcp6Ports.client, udp_dst: dhcp6Ports.server, ipv6_dst: SERVERS });
    if (port === undefined || servedAddresses(view, port.id).length > 0) return undefined;
    const subnets = [...new Set(addressesOf(view, port.id, 6).map((a) => a.subnet_id))].flatMap((id) => view.get(subnetTable, id) ?? []);
    // A subnet has a mode with enable_dhcp alone, and keeps the one that it was made with.
    const modes = subnets.map(({ id, ipv6_address_mode: mode }) => `ipv6_address_mode of ${id} is ${mode ?? "null"}`);
    return {
      reason: "no_dhcp", text: `no subnet of port ${port.id} has DHCPv6: ${modes.join(", ") || "it has no IPv6 address"}`, resources: [{ type: "port", id: port.id }, ...subnets.map(({ id }) => ({ type: "subnet", id }))],
      cure: { text: "ipv6_address_mode is chosen when a subnet is made: give the port an address (fixed_ips) of one with dhcpv6-stateful, or dhcpv6-stateless where machines make theirs" },
    };
  },
};
