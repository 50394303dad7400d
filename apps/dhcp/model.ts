// dhcp's entities, and what other apps may say to machines by it. Everything else it answers with is l2's and ipam's.
import { defineSettings, defineSoftTable, defineTable, learned, type Fact, type LiveView, type PacketStart, type PacketStop, type ReadView, type Row } from "#app";
import { activeAttachment, addressesOf, addressId, addressTable, deviceOwner, hasPair, isNetworkPort, portTable, type Port } from "../l2/model.ts";
import { ON_LINK, subnetTable, type HostRoute, type Subnet } from "../ipam/model.ts";

export { checkRoom, extraOptions, portDhcpOptsTable, unsentOptions, type DhcpOpt, type OptionFamily } from "./port-options.ts";

/** Source of every reply of DHCP: locally administered, outside what ports get. Not the gateway's, which may be another's port. */
export const SERVER_MAC = "fe:ff:ff:ff:ff:01";
/** Server identifier where a subnet has no gateway: link-local, so no tenant address is ever the same. */
export const SERVER_ADDRESS = "169.254.0.1";
export const BROADCAST = "255.255.255.255";

/** MaxRtrAdvInterval, RFC 4861 section 6.2.1; and for how long addresses are lent. */
export const dhcpSettings = defineSettings({
  "dhcp-lease": {
    kind: { integer: [120, 31_536_000] }, value: "SECONDS", fallback: "86400",
    about: "seconds for which DHCP and DHCPv6 lend an address; clients renew after half of them. A port keeps its addresses, whether its lease is over or not",
  },
  "ra-interval": {
    kind: { integer: [4, 1800] }, fallback: "200",
    about: "longest time in seconds between two unasked advertisements of a router (MaxRtrAdvInterval, RFC 4861); the shortest is a third of it",
  },
});

/**
 * What clients in a subnet are told by another app's wish (derived). A joint. `id` is `<app>/<subnet>`.
 */
export interface SubnetOffer extends Row {
  readonly subnet_id: string;
  /** Of its family, for a subnet that names none itself. */
  readonly name_servers: readonly string[];
  /** Where names without a domain are looked for; without a dot at its end. */
  readonly domain: string;
}
export const subnetOfferTable = defineTable<SubnetOffer>()("subnet_offer", { derived: true, open: true, indexes: { subnet: (o) => o.subnet_id } });

/** A route that DHCP tells clients of a subnet beside the subnet's own (derived). A joint. `id` is `<app>/<subnet>/<destination>`. */
export interface SubnetRoute extends Row {
  readonly subnet_id: string;
  readonly destination: string;
  readonly nexthop: string;
}
export const subnetRouteTable = defineTable<SubnetRoute>()("subnet_route", { derived: true, open: true, indexes: { subnet: (r) => r.subnet_id } });

/** Likewise what a port is told beside that. `id` is `<app>/<port>`. */
export interface PortOffer extends Row {
  readonly port_id: string;
  readonly host_name: string;
}
export const portOfferTable = defineTable<PortOffer>()("port_offer", { derived: true, open: true, indexes: { port: (o) => o.port_id } });

/** An address that a machine does not take, since it found that somebody else uses it (DECLINE). `id` is `<port>/<address>`, the owner the port. */
export interface DeclinedAddress extends Row {
  readonly port_id: string;
  readonly project_id: string;
  readonly ip: string;
}
export const declinedAddressTable = defineSoftTable<DeclinedAddress>()("declined_address", { ttlS: 600, limitPerOwner: 8, limit: 10_000, group: (d) => d.project_id });
export const declinedId = (port: string, ip: string): string => `${port}/${ip}`;

/** What there is to remember of addresses that a port's machine declines, and those of which it is news. */
export function declines(view: LiveView, { id, project_id }: Port, ips: readonly string[]): { readonly facts: readonly Fact[]; readonly news: readonly string[] } {
  return {
    facts: ips.map((ip) => learned(declinedAddressTable, id, { id: declinedId(id, ip), port_id: id, project_id, ip })),
    news: ips.filter((ip) => view.fact(declinedAddressTable, declinedId(id, ip)) === undefined),
  };
}

/** Whether a port has an address, at that MAC, as its own or as a pair that names it: behind one without port security may be machines that have any. */
export const hasAddress = (view: ReadView, port: Port, ip: string, mac: string): boolean =>
  (mac === port.mac_address && view.get(addressTable, addressId(port.network_id, ip))?.port_id === port.id) || hasPair(port, ip, mac);

/** Why what a relay agent asks is not answered, by what would mend it. */
export type RelayFault = "source" | "giaddr" | "link" | "client" | "down" | "address" | "message";
export interface NotRelayed {
  readonly ignored: string;
  readonly fault: RelayFault;
}
export const notRelayed = (fault: RelayFault, ignored: string): NotRelayed => ({ ignored, fault });

/** A client that a relay agent at a port asks for in vain. The owner is the port; one whose client has been answered since has no fault. */
export interface RelayRefusal extends Row {
  readonly port_id: string;
  readonly project_id: string;
  readonly family: 4 | 6;
  /** Of the client, as the relay says; "": it says none. */
  readonly mac: string;
  readonly why: string;
  readonly fault: RelayFault | undefined;
}
export const relayRefusalTable = defineSoftTable<RelayRefusal>()("relay_refusal", { ttlS: 600, limitPerOwner: 8, limit: 10_000, group: (r) => r.project_id });

/** What there is to remember of a relay's request; `refused` undefined: it is answered. */
export function relayRefusal(view: LiveView, { id: port, project_id }: Port, family: 4 | 6, mac: string, refused?: NotRelayed): readonly Fact[] {
  const id = `${port}/${family}/${mac}`;
  if (refused === undefined && view.fact(relayRefusalTable, id)?.fault === undefined) return [];
  return [learned(relayRefusalTable, port, { id, port_id: port, project_id, family, mac, why: refused?.ignored ?? "", fault: refused?.fault })];
}

/** The port that a relay agent at another asks for, by the MAC of its client: of the same network, and of the same project though the network be shared. */
export function relayedPort(view: ReadView, { network_id, project_id }: Port, mac: string): Port | NotRelayed {
  const [client] = view.by(portTable, "network_mac", `${network_id}|${mac}`);
  if (client === undefined || client.project_id !== project_id || isNetworkPort(client)) return notRelayed("client", "its client has the MAC of no port of the relay's project in the relay's network");
  return client.admin_state_up ? client : notRelayed("down", "its client's port is down");
}

/** Name servers that clients of a subnet are told. */
export const nameServersOf = (view: ReadView, { id, dns_nameservers: own }: Subnet): readonly string[] => (own.length > 0 ? own : view.by(subnetOfferTable, "subnet", id).flatMap((o) => o.name_servers));

/** Routes that clients of a subnet are told of beside its own, in a fixed order; of what is on their link the next hop is ON_LINK, which needs none (RFC 3442). */
export const routesBeside = (view: ReadView, { id }: Pick<Subnet, "id">): readonly HostRoute[] =>
  view.by(subnetRouteTable, "subnet", id).toSorted((a, b) => (a.id < b.id ? -1 : 1)).map(({ destination, nexthop }) => ({ destination, nexthop }));

/** The route by which machines of a subnet find an IPv4 address outside of it on their link, where a service of an app has it; undefined: none. */
export function onLinkRoute(view: ReadView, app: string, { id, network_id, ip_version, gateway_ip }: Subnet, address: string): SubnetRoute | undefined {
  if (ip_version !== 4) return undefined;
  const gateway = gateway_ip === null ? undefined : view.get(addressTable, addressId(network_id, gateway_ip));
  // By a router a machine finds it without being told: what it sends there is taken off before.
  if (gateway !== undefined && view.get(portTable, gateway.port_id)?.device_owner === deviceOwner.routerInterface) return undefined;
  const destination = `${address}/32`;
  return { id: `${app}/${id}/${destination}`, subnet_id: id, destination, nexthop: ON_LINK };
}
export const onLinkReads = [addressTable, portTable] as const;

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

/** The port that asks its network so by a traced packet, as it may: where its MAC or its place is the reason, nobody has to answer. */
export function asksNetwork(view: ReadView, { question, start }: PacketStop, asked: PacketStart["fields"]): Port | undefined {
  const port = question === undefined ? undefined : view.get(portTable, question.from);
  if (port === undefined || start === undefined || !port.admin_state_up || activeAttachment(view, port.id) === undefined) return undefined;
  if (port.port_security_enabled && start.sourceMac !== port.mac_address) return undefined;
  return Object.entries(asked).every(([name, value]) => start.fields[name as keyof typeof asked] === value) ? port : undefined;
}
