// l2's entities: networks, ports, their addresses, and where ports are attached. The one file of l2 that other apps import.
import { chassisTable, defineTable, PER_VARIANT, type Chassis, type ReadView, type Row, type StandardRow, type Vif } from "#app";

export interface Network extends StandardRow {
  /** 1..2^24-1, unique: `net` in the pipeline, VNI on the wire. */
  readonly key: number;
  readonly admin_state_up: boolean;
  readonly shared: boolean;
  readonly port_security_enabled: boolean;
  /** As the tenant asked; absent: as large as the encapsulation leaves. */
  readonly mtu?: number;
}
export const networkTable = defineTable<Network>()("network", {
  resource: "network",
  indexes: { key: (n) => String(n.key), project: (n) => n.project_id, shared: (n) => (n.shared ? "true" : undefined) },
});

export interface AddressPair {
  /** Address or CIDR. */
  readonly ip_address: string;
  /** "" = the port's own, whatever it is now. */
  readonly mac_address: string;
}

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
    /** Single extra addresses: `<network>|<ip>`. */
    pair_ip: (p) => p.allowed_address_pairs.filter((a) => !a.ip_address.includes("/")).map((a) => `${p.network_id}|${a.ip_address}`),
  },
});

/** What the data plane does not depend on, kept apart so that its changes rerun no rule but those that ask. `id` is the port's. */
export interface PortBinding extends Row {
  /** Where the API caller wants it; "" = wherever it is plugged. */
  readonly requested_host: string;
  readonly vnic_type: string;
  readonly profile: Readonly<Record<string, unknown>>;
}
export const portBindingTable = defineTable<PortBinding>()("port_binding", {});

/** `id` is the port's. Status as the API shows it; host is where it is active. */
export interface PortStatus extends Row {
  readonly status: "DOWN" | "BUILD" | "ACTIVE" | "ERROR";
  readonly host: string;
}
export const portStatusTable = defineTable<PortStatus>()("port_status", {});

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

/** A port that is plugged on the chassis that has it (derived: port x vif x binding x chassis). `id` is the port's. */
export interface Attachment extends Row {
  readonly network_id: string;
  readonly net_key: number;
  readonly port_key: number;
  readonly chassis: string;
  readonly host_key: number;
  readonly ofport: number;
  readonly slot: number;
}
export const attachmentTable = defineTable<Attachment>()("attachment", {
  derived: true,
  indexes: { chassis: (a) => a.chassis, network: (a) => a.network_id },
  pairs: { network_chassis: (a) => [a.network_id, a.chassis] },
});

/** Scopes of l2. `lan`: chassis with a port of the network; `net`: chassis that can reach the network, through a router too. */
export const lanScope = (networkId: string): string => `lan:${networkId}`;
export const netScope = (networkId: string): string => `net:${networkId}`;

/** Of two interfaces of one port, where it may be: the one where it already is, so that a second plug takes nothing away. */
export const preferred = (a: Vif, b: Vif, host: string): boolean => (a.chassis === host) === (b.chassis === host) ? a.id < b.id : a.chassis === host;
/**
 * The chassis that a port's requested host names: by its system-id, which is proved. A hostname is self-declared, so it counts only
 * where exactly one chassis has it and none has it as its system-id.
 */
export function requestedChassis(view: ReadView, host: string): Readonly<Chassis> | undefined {
  const byId = view.get(chassisTable, host);
  if (byId !== undefined) return byId;
  const named = view.by(chassisTable, "hostname", host);
  return named.length === 1 ? named[0] : undefined;
}

/** How to reach a chassis: one scope for each encapsulation profile, `<this><profile>`. The overlay fills them. */
export const hostScope = (hostKey: number): string => `host:${hostKey}${PER_VARIANT}`;
