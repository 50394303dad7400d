// Networks, ports with what they may send beside their own addresses, and addresses: what the API stores of them.
import { conflict, definePool, defineTable, isIpv6, parseIp, resourceHandle, type ApiContext, type PacketIn, type ReadView, type Row, type StandardRow } from "#app";

export interface Network extends StandardRow {
  /** 1..2^24-1, unique: `net` in the pipeline. How the network travels between hosts is its segments' business. */
  readonly key: number;
  readonly admin_state_up: boolean;
  readonly shared: boolean;
  readonly port_security_enabled: boolean;
  /** As the tenant asked; absent: as large as the encapsulation leaves. The attribute is the overlay's, who knows how large that is. */
  readonly mtu?: number;
  /** Tags of guests pass. The attribute is of the app that knows which segments can carry them. */
  readonly vlan_transparent?: true;
  /** They pass as well, inside a tag of 802.1ad where it is a VLAN. */
  readonly qinq?: true;
}
export const networkTable = defineTable<Network>()("network", {
  resource: "network",
  indexes: { key: (n) => String(n.key), project: (n) => n.project_id, shared: (n) => (n.shared ? "true" : undefined), transparent: (n) => (n.vlan_transparent === true || n.qinq === true ? n.id : undefined) },
});

/** Whether tags of guests pass in a network. */
export const isTransparent = (view: ReadView, networkId: string): boolean => view.count(networkTable, "transparent", networkId) > 0;

/** Keys of networks: of the pipeline, and of nothing that leaves a host. */
export const networkKeys = definePool({
  name: "network-key", of: "key", min: 1, max: 2 ** 24 - 1, about: "keys of networks: `net` in the pipeline", taken: (view, _part, n) => view.count(networkTable, "key", String(n)) > 0,
});

export const networkResource = resourceHandle<Network>("network");

export interface AddressPair {
  /** Address or CIDR. */
  readonly ip_address: string;
  /** "" = the port's own, whatever it is now. */
  readonly mac_address: string;
}
/** So many has a port, whoever gave them to it. */
export const ADDRESS_PAIRS_MAX = 10;

export interface Port extends StandardRow {
  /** 1..2^32-1, unique: in_port_key and out_port_key in the pipeline. */
  readonly key: number;
  readonly network_id: string;
  /** Lower case, colons. */
  readonly mac_address: string;
  readonly admin_state_up: boolean;
  readonly device_id: string;
  readonly device_owner: string;
  readonly port_security_enabled: boolean;
  readonly allowed_address_pairs: readonly AddressPair[];
}
export const portTable = defineTable<Port>()("port", {
  resource: "port",
  indexes: {
    key: (p) => String(p.key),
    network: (p) => p.network_id,
    network_mac: (p) => `${p.network_id}|${p.mac_address}`,
    device: (p) => p.device_id,
    project: (p) => p.project_id,
    /** Those that may have addresses beside their own. */
    takers: (p) => (!isNetworkPort(p) && (!p.port_security_enabled || p.allowed_address_pairs.length > 0) ? p.network_id : undefined),
    /** Single extra addresses: `<network>|<ip>`. */
    pair_ip: (p) => singlePairs(p).map((ip) => `${p.network_id}|${ip}`),
    /** Those with pairs of more than one address. */
    prefix_pairs: (p) => (p.allowed_address_pairs.some((a) => singleAddress(a.ip_address) === undefined) ? p.network_id : undefined),
    /** Those that may have any address. */
    unsecured: (p) => (!isNetworkPort(p) && !p.port_security_enabled ? p.network_id : undefined),
    network_pairs: (p) => (p.allowed_address_pairs.length > 0 ? p.network_id : undefined),
    /** Extra MACs: `<network>|<mac>`. */
    pair_mac: (p) => extraMacs(p).map((mac) => `${p.network_id}|${mac}`),
    /** Those behind which there may be MACs that the model does not place: without port security, or with a MAC that others may have too. */
    network_guests: (p) => (!isNetworkPort(p) && (!p.port_security_enabled || extraMacs(p).length > 0) ? p.network_id : undefined),
  },
});
/** Whose packet it is that a switch punted: undefined when the port is gone, or it came by a tunnel. */
export const senderOf = (view: ReadView, packet: Pick<PacketIn, "register">): Readonly<Port> | undefined => view.by(portTable, "key", String(packet.register("in_port_key")))[0];

/** The MAC that a pair is of. */
export const macOfPair = (port: Pick<Port, "mac_address">, { mac_address: mac }: Pick<AddressPair, "mac_address">): string => (mac === "" ? port.mac_address : mac);
/** Of no host: who has no address yet sends from it, as any port may. RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2 */
export const isUnspecified = (ip: string): boolean => ip === "0.0.0.0" || ip === "::";
/** The one address that a pair names, alone or as a prefix of full length; undefined: it names more. */
export function singleAddress(text: string): string | undefined {
  const at = text.indexOf("/");
  if (at < 0) return text;
  return text.slice(at + 1) === (isIpv6(text) ? "128" : "32") ? text.slice(0, at) : undefined;
}
const NO_ADDRESSES: readonly string[] = [];
/** Single addresses of a port's pairs, each once. */
function singlePairs({ allowed_address_pairs: pairs }: Pick<Port, "allowed_address_pairs">): readonly string[] {
  if (pairs.length === 0) return NO_ADDRESSES;
  return [...new Set(pairs.flatMap(({ ip_address: text }) => singleAddress(text) ?? []))];
}
/** MACs that a port may send from beside its own, each once. */
export function extraMacs({ mac_address: own, allowed_address_pairs: pairs }: Pick<Port, "mac_address" | "allowed_address_pairs">): string[] {
  const macs: string[] = [];
  for (const { mac_address: mac } of pairs) if (mac !== "" && mac !== own && !macs.includes(mac) && !isGroupMac(mac)) macs.push(mac);
  return macs;
}
/** The same as a match. */
export const GROUP_MAC = { value: "01:00:00:00:00:00", mask: "01:00:00:00:00:00" } as const;
export const isGroupMac = (mac: string): boolean => (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;

/** Whether a port has an address at a MAC as a pair that names it. */
export const hasPair = (port: Pick<Port, "mac_address" | "allowed_address_pairs">, ip: string, mac: string): boolean =>
  port.allowed_address_pairs.some((p) => singleAddress(p.ip_address) === ip && macOfPair(port, p) === mac);

export const isLinkLocal = (ip: string): boolean => ip.startsWith("fe80:");

/** The MAC that a link-local address is made of, RFC 4291 appendix A; "": it is none such. */
export function macOfLinkLocal(ip: string): string {
  const parsed = isLinkLocal(ip) ? parseIp(ip) : undefined;
  if (parsed?.family !== 6) return "";
  const hex = (parsed.value & 0xffff_ffff_ffff_ffffn).toString(16).padStart(16, "0");
  const bytes = [(Number.parseInt(hex.slice(0, 2), 16) ^ 2).toString(16).padStart(2, "0"), hex.slice(2, 4), hex.slice(4, 6), hex.slice(10, 12), hex.slice(12, 14), hex.slice(14)];
  return hex.slice(6, 10) === "fffe" ? bytes.join(":") : "";
}

export const portKeys = definePool({
  name: "port", of: "key", min: 1, max: 2 ** 32 - 1, about: "keys of ports: in_port_key and out_port_key in the pipeline", taken: (view, _part, n) => view.count(portTable, "key", String(n)) > 0,
});

export const portResource = resourceHandle<Port>("port");

/**
 * What a port is shown with and none of its own attributes says, such as a floating IP (derived). A joint: apps derive their rows, and who tells others
 * of ports hears that one came, changed or went. `id` is `<app>/<what of it>`.
 */
export interface PortDetail extends Row {
  readonly port_id: string;
  /** Changes with it. */
  readonly text: string;
}
export const portDetailTable = defineTable<PortDetail>()("port_detail", { derived: true, open: true });

/** Values of `device_owner` that this controller knows: ports that the network's own functions made. */
export const deviceOwner = {
  dhcp: "network:dhcp",
  distributed: "network:distributed",
  floatingIp: "network:floatingip",
  floatingIpAgentGateway: "network:floatingip_agent_gateway",
  routerInterface: "network:router_interface",
  routerInterfaceDistributed: "network:router_interface_distributed",
  routerInterfaceReplicated: "network:ha_router_replicated_interface",
  routerCentralizedSnat: "network:router_centralized_snat",
  routerGateway: "network:router_gateway",
} as const;

type Owned = Pick<Port, "device_owner">;
const SERVICE_OWNERS: ReadonlySet<string> = new Set([deviceOwner.dhcp, deviceOwner.distributed, deviceOwner.floatingIpAgentGateway]);
const ROUTER_OWNERS: ReadonlySet<string> = new Set([
  deviceOwner.routerInterface, deviceOwner.routerInterfaceDistributed, deviceOwner.routerInterfaceReplicated, deviceOwner.routerCentralizedSnat, deviceOwner.routerGateway,
]);

/** Whether a function of the network made the port, not a tenant's device. */
export const isNetworkPort = (port: Owned): boolean => port.device_owner.startsWith("network:");
/** Ports that the network's own services made: they go with it, and keep neither it nor its subnets. */
export const isServicePort = (port: Owned): boolean => SERVICE_OWNERS.has(port.device_owner);
/**
 * Ports that may be routers themselves: what they send is not held to their addresses, or to prefixes alone. Nobody but they can say what
 * they are.
 */
export const mayForward = (port: Pick<Port, "port_security_enabled" | "allowed_address_pairs">): boolean => !port.port_security_enabled || port.allowed_address_pairs.some((a) => singleAddress(a.ip_address) === undefined);
/** Ports of routers, whose addresses are the routers' choice. */
export const isRouterPort = (port: Owned): boolean => ROUTER_OWNERS.has(port.device_owner);

/** Kinds of interface that may be asked for. */
export const VNIC_TYPES = ["normal", "direct", "macvtap", "baremetal", "direct-physical", "virtio-forwarder", "smart-nic", "vdpa", "accelerator-direct", "accelerator-direct-physical", "remote-managed"] as const;

/** What the data plane does not depend on, kept apart so that its changes rerun no rule but those that ask. `id` is the port's. */
export interface PortBinding extends Row {
  /** Where the API caller wants it; "" = wherever it is plugged. */
  readonly requested_host: string;
  readonly vnic_type: string;
  readonly profile: Readonly<Record<string, unknown>>;
}
export const portBindingTable = defineTable<PortBinding>()("port_binding", { indexes: { host: (b) => b.requested_host || undefined } });

/**
 * A host where a port is about to be, or was, beside the one where it is: an interface that is plugged there does not count. A joint: stored by the app
 * that lets ports have several bindings. `id` is inactiveBindingId(...).
 */
export interface InactiveBinding extends Row {
  readonly port_id: string;
  /** As the API caller names it. */
  readonly host: string;
  readonly vnic_type: string;
  readonly profile: Readonly<Record<string, unknown>>;
  /** When its switch had confirmed the flows of the interface that is plugged there; absent: it has not, or there is none. */
  readonly wired_at?: string;
  /** No caller made it: the profile of the port says that it moves there. */
  readonly implied?: true;
}
export const inactiveBindingId = (portId: string, host: string): string => `${portId}/${host}`;
export const inactiveBindingTable = defineTable<InactiveBinding>()("inactive_binding", { indexes: { port: (b) => b.port_id } });

/** `id` is the port's. Status as the API shows it; host is where it is active. */
export interface PortStatus extends Row {
  /** "N/A": of the port that a floating IP is, which is nowhere by itself. */
  readonly status: "DOWN" | "BUILD" | "ACTIVE" | "ERROR" | "N/A";
  readonly host: string;
}
/** The status of a port that is nowhere. */
export const statusNowhere = ({ id, device_owner }: Pick<Port, "id" | "device_owner">): PortStatus => ({ id, status: device_owner === deviceOwner.floatingIp ? "N/A" : "DOWN", host: "" });
export const portStatusTable = defineTable<PortStatus>()("port_status", { indexes: { host: (s) => s.host || undefined } });

/** An address of a port: `id` is `<network id>/<ip>`, hence unique in its network. Which ones a port gets is ipam's decision. */
export interface Address extends Row {
  readonly network_id: string;
  readonly port_id: string;
  readonly subnet_id: string;
  /** IPv4 dotted quad or IPv6 in RFC 5952 form. */
  readonly ip: string;
  readonly family: 4 | 6;
  /** Position in the port's fixed_ips. */
  readonly position: number;
}
export const addressId = (networkId: string, ip: string): string => `${networkId}/${ip}`;
export const addressTable = defineTable<Address>()("address", {
  indexes: { port: (a) => a.port_id, network: (a) => a.network_id, subnet: (a) => a.subnet_id },
});

/** A port that the caller sees, on a network of his, and that is not for him to open to outside. */
export const isAnothersPort = (port: { readonly project_id: string }, opener: { readonly project_id: string }, { internal, caller }: Pick<ApiContext, "internal" | "caller">): boolean =>
  !internal && !caller.admin && port.project_id !== opener.project_id;

/** The addresses of a port, in the order of its `fixed_ips`; `family`: of one alone. */
export function addressesOf(view: ReadView, portId: string, family?: 4 | 6): readonly Address[] {
  const all = view.by(addressTable, "port", portId);
  return (family === undefined ? all : all.filter((a) => a.family === family)).toSorted((a, b) => a.position - b.position || (a.ip < b.ip ? -1 : 1));
}

/** Which of these attributes an update changes. */
export const changedOf = (before: Port, after: Port, ...attributes: readonly ("device_id" | "device_owner" | "mac_address")[]): string[] => attributes.filter((name) => before[name] !== after[name]);

/** What keeps a port from being taken from what it is there for, as `why` says. `changed`: attributes that an update would change; none: it is to be deleted. */
export function servicePortInUse(port: Port, why: string, changed: readonly string[] = []): Error {
  const what = changed.length === 0 ? "deleted" : `changed (${changed.join(", ")})`;
  return conflict("ServicePortInUse", `Port ${port.id} cannot be ${what} directly via the port API: has device owner ${port.device_owner}, ${why}.`);
}
