// Names of ports, the domains of ports and networks, and which names there are in a network.
import { defineSettings, defineSoftTable, defineTable, formatIp, parseIp, type ReadView, type Row } from "#app";
import { hostOfAddress, subnetTable, type Subnet } from "../ipam/model.ts";
import { addressId, addressTable, networkTable, portTable, type Address, type Network, type Port } from "../l2/model.ts";
import { routerInterfaceTable, routerTable } from "../l3/model.ts";

/** The extension that names of ports, networks and floating IPs are. */
export const DNS_INTEGRATION = "dns-integration";

export const dnsSettings = defineSettings({
  "dns-domain": { kind: "domain", fallback: "axion.internal.", about: "names of ports end with it" },
  "dns-forwarders": { kind: { addresses: { port: 53 } }, about: "name servers that are asked what the names of ports do not answer, each an address, with its port behind a colon or without; default: those that this machine asks" },
});

/**
 * Where machines ask: an address on the link of every network that is served, so that it is the same for all and never a tenant's. What is sent there
 * is taken off at the sender's own switch, whichever router it was given to. RFC 3927 section 2.8, RFC 4291 section 2.5.6
 */
export const SERVICE = { ipv4: "169.254.169.253", ipv6: "fe80::a9fe:a9fd", mac: "fe:ff:ff:ff:ff:02" } as const;

/** A port that has a name or a domain; `id` is the port's. Both as given, in lower case. */
export interface PortName extends Row {
  readonly network_id: string;
  readonly project_id: string;
  readonly dns_name: string;
  readonly dns_domain: string;
  /** `dns_name` below the domain of all: what comes in front of any of its domains. "" if it has no name. */
  readonly host: string;
}
const namesOf = ({ host, dns_domain }: PortName): string[] => (host === "" ? [] : [host, ...(dns_domain === "" ? [] : [`${host}.${bare(dns_domain)}`])]);
export const portNameTable = defineTable<PortName>()("port_name", {
  indexes: {
    /** `<network>|<project>|<host>`, and with the port's own domain behind it. */
    own: (n) => namesOf(n).map((name) => `${n.network_id}|${n.project_id}|${name}`),
    /** `<network>|<host>` of those of one label. */
    name: ({ network_id, host }) => (host === "" || host.includes(".") ? undefined : `${network_id}|${host}`),
  },
});

/** A network that has a domain; `id` is the network's. */
export interface NetworkDomain extends Row {
  readonly dns_domain: string;
}
export const networkDomainTable = defineTable<NetworkDomain>()("network_domain", {});

/** Why a name server did not answer lately. */
export interface NameServerTrouble extends Row {
  readonly text: string;
}
export const nameServerTroubleTable = defineSoftTable<NameServerTrouble>()("name_server_trouble", { ttlS: 60, limitPerOwner: 8, limit: 8 });

/** A name without the dot at its end. */
export const bare = (name: string): string => (name.endsWith(".") ? name.slice(0, -1) : name);

/** The domain of machines in a network: its own, or that of all. */
export function domainOf(view: ReadView, networkId: string): string {
  const own = view.get(networkDomainTable, networkId)?.dns_domain ?? "";
  return own === "" ? view.settings(dnsSettings)["dns-domain"] : bare(own);
}

/** The address that a name of `hostOfAddress` is of. */
function addressOfHost(host: string): string | undefined {
  if (!host.startsWith("host-")) return undefined;
  const text = host.slice("host-".length);
  const ip = parseIp(/^\d+-\d+-\d+-\d+$/.test(text) ? text.replaceAll("-", ".") : text.replaceAll("-", ":"));
  return ip === undefined ? undefined : formatIp(ip);
}

/** What an address of a port is called below the domain of all. */
export function hostOf(view: ReadView, { port_id, ip }: Pick<Address, "port_id" | "ip">): string {
  const host = view.get(portNameTable, port_id)?.host ?? "";
  return host === "" ? hostOfAddress(ip) : host;
}

/** Whether machines in a subnet are told of the service: they are told of some server, and the subnet names none. */
export const isServed = ({ ip_version, enable_dhcp, ipv6_ra_mode, dns_nameservers }: Subnet): boolean => dns_nameservers.length === 0 && (ip_version === 4 ? enable_dhcp : ipv6_ra_mode !== null);
export const servedFamilies = (view: ReadView, networkId: string): { readonly ipv4: boolean; readonly ipv6: boolean } => {
  const served = view.by(subnetTable, "network", networkId).filter(isServed);
  return { ipv4: served.some((s) => s.ip_version === 4), ipv6: served.some((s) => s.ip_version === 6) };
};

/** Addresses of one name. */
export const ANSWERS_MAX = 32;
/** Networks that a machine finds names of others in, beside its own. */
const NETWORKS_MAX = 64;

/** The network of a machine, and behind it those that a router of its project connects with it. */
export function networksOf(view: ReadView, { network_id, project_id }: Port): Network[] {
  const ids = new Set([network_id]);
  const routers = view.by(routerInterfaceTable, "network", network_id).filter((i) => view.get(routerTable, i.router_id)?.project_id === project_id);
  for (const there of routers.slice(0, NETWORKS_MAX).flatMap((i) => view.by(routerInterfaceTable, "router", i.router_id))) {
    if (ids.size >= NETWORKS_MAX) break;
    ids.add(there.network_id);
  }
  return [...ids].flatMap((id) => view.get(networkTable, id) ?? []);
}

const isOwn = (asker: Port, found: Port | undefined): boolean => found?.project_id === asker.project_id;
/** Whether a machine may find another: in its own network any, elsewhere those of its project. */
const mayFind = (asker: Port, found: Port | undefined): found is Port => found !== undefined && (found.network_id === asker.network_id || isOwn(asker, found));

/**
 * Addresses that go by a name, the domain of all or of their network left out, or with the domain of their port. Names are chosen by whoever has the port: what a
 * machine's own project calls so comes before what others do, and others' names count as they are alone, of one label.
 */
export function addressesOfName(view: ReadView, asker: Port, name: string, networks: readonly Network[]): Address[] {
  const addressesOf = (index: "own" | "name", key: (network: string) => string): Address[] =>
    networks.flatMap(({ id }) => view.by(portNameTable, index, key(id)).slice(0, ANSWERS_MAX)).slice(0, ANSWERS_MAX).flatMap((n) => view.by(addressTable, "port", n.id)).slice(0, ANSWERS_MAX);
  const own = addressesOf("own", (network) => `${network}|${asker.project_id}|${name}`);
  if (own.length > 0) return own;
  const numbered = addressOfHost(name);
  const unnamed = networks.flatMap(({ id }) => {
    const address = numbered === undefined ? undefined : view.get(addressTable, addressId(id, numbered));
    return address !== undefined && hostOf(view, address) === name && mayFind(asker, view.get(portTable, address.port_id)) ? [address] : [];
  });
  if (unnamed.length > 0 || name.includes(".")) return unnamed;
  return addressesOf("name", (network) => (network === asker.network_id ? `${network}|${name}` : ""));
}

/** Who has an address, of those that a machine may find. */
export function holderOf(view: ReadView, asker: Port, ip: string, networks: readonly Network[]): Address | undefined {
  for (const { id } of networks) {
    const address = view.get(addressTable, addressId(id, ip));
    if (address !== undefined && mayFind(asker, view.get(portTable, address.port_id))) return address;
  }
  return undefined;
}
