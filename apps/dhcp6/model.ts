// dhcp6's one stored entity: who the server is. All that it answers with is l2's, ipam's and dhcp's.
import { defineTable, type ReadView, type Row } from "#app";
import { addressesOf } from "../l2/model.ts";
import { subnetTable, type Subnet } from "../ipam/model.ts";

/** The one row's. */
export const SERVER = "server";

/** As whom all controllers answer, made once: clients renew with the server that they know by it (RFC 8415 section 11). */
export interface Dhcp6Server extends Row {
  /** RFC 9562, of DUID-UUID (RFC 6355). */
  readonly uuid: string;
}
export const dhcp6ServerTable = defineTable<Dhcp6Server>()("dhcp6_server", {});

/** A prefix that is delegated to a port (derived), as CIDR. A joint. `id` is `<app>/<port>`. */
export interface PortPrefix extends Row {
  readonly port_id: string;
  readonly prefix: string;
}
export const portPrefixTable = defineTable<PortPrefix>()("port_prefix", { derived: true, open: true, indexes: { port: (p) => p.port_id } });
/** The name of an extra_dhcp_opt by which a port asks for one: it is no option that is sent as it is. */
export const PREFIX_OPTION = "ia-pd";

/** Whether machines of a subnet are answered DHCPv6. */
export const isServed = ({ ip_version, enable_dhcp, ipv6_address_mode: mode }: Pick<Subnet, "ip_version" | "enable_dhcp" | "ipv6_address_mode">): boolean =>
  ip_version === 6 && enable_dhcp && (mode === "dhcpv6-stateful" || mode === "dhcpv6-stateless");

/** The port's addresses of subnets with DHCPv6, in the order of its fixed_ips; those of stateless ones it makes itself. */
export function servedAddresses(view: ReadView, portId: string): { readonly ip: string; readonly subnet: Subnet }[] {
  return addressesOf(view, portId, 6).flatMap(({ ip, subnet_id }) => {
    const subnet = view.get(subnetTable, subnet_id);
    return subnet !== undefined && isServed(subnet) ? [{ ip, subnet }] : [];
  });
}
