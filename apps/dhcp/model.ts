// dhcp's entities: the extra options of ports. Everything else it answers with is l2's and ipam's.
import { defineSettings, defineTable, type ReadView, type Row } from "#app";
import { addressesOf, addressTable } from "../l2/model.ts";
import { subnetTable, type Subnet } from "../ipam/model.ts";

/** MaxRtrAdvInterval, RFC 4861 section 6.2.1. */
export const dhcpSettings = defineSettings({
  "ra-interval": {
    kind: { integer: [4, 1800] }, fallback: "200",
    about: "longest time in seconds between two unasked advertisements of a router (MaxRtrAdvInterval, RFC 4861); the shortest is a third of it",
  },
});

export interface DhcpOpt {
  /** As given: a name or number of dnsmasq's, perhaps behind `tag:ipxe,` or `tag:!ipxe,`. */
  readonly opt_name: string;
  /** "" = do not send this option. */
  readonly opt_value: string;
  readonly ip_version: 4 | 6;
}

/** Options of a port that has any; `id` is the port's. */
export interface PortDhcpOpts extends Row {
  readonly opts: readonly DhcpOpt[];
}
export const portDhcpOptsTable = defineTable<PortDhcpOpts>()("port_dhcp_opts", {});

/** The port's IPv4 addresses that DHCP may hand out, in the order of its fixed_ips. */
export function servedAddresses(view: ReadView, portId: string): { readonly ip: string; readonly subnet: Subnet }[] {
  return addressesOf(view, portId, 4).flatMap((a) => {
    const subnet = view.get(subnetTable, a.subnet_id);
    return subnet?.enable_dhcp === true ? [{ ip: a.ip, subnet }] : [];
  });
}

/** Whether `servedAddresses` has any. */
export const hasServedAddress = (view: ReadView, portId: string): boolean =>
  view.by(addressTable, "port", portId).some((a) => a.family === 4 && view.get(subnetTable, a.subnet_id)?.enable_dhcp === true);

/** Subnets of the network whose routers advertise themselves, in a fixed order. */
export const advertisedSubnets = (view: ReadView, networkId: string): Subnet[] =>
  view
    .by(subnetTable, "network", networkId)
    .filter((s) => s.ip_version === 6 && s.ipv6_ra_mode !== null)
    .sort((a, b) => (a.id < b.id ? -1 : 1));
