// Local IPs: an address of a network that leads, on each host by itself, to a port there that was associated with it.
import { defineTable, meterOfZone, resourceHandle, zoneMeters, type Row, type StandardRow } from "#app";

export const LOCAL_IP_OWNER = "network:local_ip";

export interface LocalIp extends StandardRow {
  readonly network_id: string;
  /** Whose address it is: a port of its own (LOCAL_IP_OWNER), or one that a caller named. */
  readonly local_port_id: string;
  readonly local_ip_address: string;
  /** translate: the associated port is sent its own address. passthrough: it has this one itself. */
  readonly ip_mode: "translate" | "passthrough";
}
export const localIpResource = resourceHandle<LocalIp>("local_ip");
export const localIpTable = defineTable<LocalIp>()("local_ip", { resource: "local_ip", indexes: { network: (l) => l.network_id, port: (l) => l.local_port_id } });

/** A port that answers for a Local IP on its host. `id`: associationId. */
export interface Association extends Row {
  readonly local_ip_id: string;
  readonly fixed_port_id: string;
  readonly fixed_ip: string;
}
export const associationId = (localIp: string, port: string): string => `${localIp}/${port}`;
export const associationResource = resourceHandle<Association>("port_association");
export const associationTable = defineTable<Association>()("local_ip_association", { resource: "port_association", indexes: { local_ip: (a) => a.local_ip_id, port: (a) => a.fixed_port_id } });
/** Of a Local IP, and of a port: each is a few flows at its host. */
export const ASSOCIATIONS_MAX = 1000;
export const PER_PORT_MAX = 16;

/** An association whose port is at a host, and has its address still (derived). `id` is the association's. */
export interface AssociatedPort extends Row {
  readonly local_ip_id: string;
  readonly fixed_port_id: string;
  readonly chassis: string;
}
export const associatedPortTable = defineTable<AssociatedPort>()("local_ip_associated_port", { derived: true, pairs: { hosts: (a) => [a.local_ip_id, a.chassis] } });

/** An association in use at a host: of several of one Local IP there that with the least port id (derived). `id` is the association's. */
export interface LocalIpPlace extends Row {
  readonly network_id: string;
  readonly chassis: string;
  readonly address: string;
  /** Of the local port: what machines have as that of the address, on every host. */
  readonly mac: string;
  /** Of the associated port. */
  readonly port_id: string;
  readonly port_key: number;
  readonly port_mac: string;
  readonly port_ip: string;
  readonly mode: LocalIp["ip_mode"];
  /** Nobody has the local port, and it is not one of the network's own, whose addresses are known everywhere: whoever asks for the address is answered where there is an association. */
  readonly answers: boolean;
}
export const localIpPlaceTable = defineTable<LocalIpPlace>()("local_ip_place", { derived: true, pairs: { here: (p) => [p.network_id, p.chassis] } });

/** Ports of a network at a host where local IPs lead somewhere pass the tables (derived). `id`: hereOf. */
export interface LocalIpHost extends Row {
  /** Answers are translated back. */
  readonly translates: boolean;
}
export const localIpHostTable = defineTable<LocalIpHost>()("local_ip_host", { derived: true });
export const hereOf = (network: string, chassis: string): string => `${network}|${chassis}`;

/** The zone is the associated port's, whichever Local IPs lead to it: its answers are looked up in one. */
export const zoneHolderOf = (port: string): string => `local-ip/${port}`;

/** What connections to an associated port take of its host's connection table. */
export const OPENED_METER = { unit: "pps", rate: 1000, burst: 2000 } as const;
export const openedMeters = zoneMeters("local-ip-meter", 0x8015_0000, "meters of connections that are opened to local IPs, one for each associated port at its host: by its zone for them");
export const openedMeter = (zone: number): number => meterOfZone(openedMeters, zone);
